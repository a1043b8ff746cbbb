//! A provisioning template: what is to be made for a device, with holes for what is its own.
//!
//! A template is JSON: `Parameters`, at most one thing, one certificate and one policy under
//! `Resources`, and, in templates for fleets, `Mappings` and `DeviceConfiguration`. It is read
//! whole before anything is done, and everything that is not known is refused with its place.
//!
//! Source: AWS IoT Core Developer Guide, "Provisioning templates".

mod expression;
mod read;

use std::collections::BTreeMap;

use expression::{Expression, Mappings, Scope};

pub use expression::IMPLIED_PREFIX;

/// Which templates a text may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// For just-in-time provisioning and `RegisterThing`: `Ref` is the only function.
    JustInTime,
    /// For provisioning by claim: all functions, mappings and a configuration for the device.
    Fleet,
}

/// Why a template cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TemplateError {
    /// The text is wrong at this place.
    #[error("the template is wrong at {at}: {message}")]
    Invalid {
        /// Where, such as `Resources.thing.Properties.ThingName`.
        at: String,
        /// What was expected.
        message: String,
    },
    /// A parameter was not given and has no default.
    #[error("the parameter {name} is needed and has no default")]
    Missing {
        /// Its name.
        name: String,
    },
}

/// What is done when something exists already.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Override {
    /// It stays as it is.
    #[default]
    DoNothing,
    /// It becomes what the template says.
    Replace,
    /// Both together; what the template says wins.
    Merge,
    /// Nothing at all is done, and whoever asked is told.
    Fail,
}

/// A template that was read.
#[derive(Clone, Debug)]
pub struct Template {
    /// Their defaults, by name.
    parameters: BTreeMap<String, Option<String>>,
    mappings: Mappings,
    thing: Option<Thing>,
    certificate: Option<Certificate>,
    policy: Option<Policy>,
    configuration: BTreeMap<String, Expression>,
}

/// A resource and where it stands.
#[derive(Clone, Debug)]
struct Thing {
    label: String,
    name: Expression,
    device_type: Option<Expression>,
    attributes: BTreeMap<String, Expression>,
    groups: Option<Expression>,
    billing_group: Option<Expression>,
    overrides: ThingOverrides,
}

/// What is done with a thing that exists already.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ThingOverrides {
    /// With its attributes.
    pub attributes: Override,
    /// With its groups.
    pub groups: Override,
    /// With its type.
    pub device_type: Override,
}

#[derive(Clone, Debug)]
struct Certificate {
    label: String,
    source: CertificateSource<Expression>,
    status: Option<Expression>,
    principal_type: Option<Expression>,
    on_present: Override,
}

/// Which certificate a template is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CertificateSource<T> {
    /// One that is registered, by its id.
    Id(T),
    /// One to be issued for a signing request, PEM.
    Request(T),
    /// One that somebody else issued, PEM.
    Pem {
        /// The certificate.
        certificate: T,
        /// The authority that signed it, which is registered.
        ca: Option<T>,
    },
}

#[derive(Clone, Debug)]
struct Policy {
    label: String,
    source: PolicySource<Expression>,
}

/// Which policy a template is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PolicySource<T> {
    /// One that exists, by its name.
    Name(T),
    /// One with this text.
    Document(T),
}

/// What is to be made for one device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// The device.
    pub thing: Option<ThingPlan>,
    /// Its certificate.
    pub certificate: Option<CertificatePlan>,
    /// Its policy.
    pub policy: Option<PolicyPlan>,
    /// What the device is told.
    pub configuration: BTreeMap<String, String>,
}

/// The device that is to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ThingPlan {
    /// What the template calls it.
    pub label: String,
    /// Its name.
    pub name: String,
    /// Its type.
    pub device_type: Option<String>,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
    /// The groups it is put into.
    pub groups: Vec<String>,
    /// Its billing group.
    pub billing_group: Option<String>,
    /// When it exists already.
    pub overrides: ThingOverrides,
}

/// The certificate that is to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificatePlan {
    /// What the template calls it.
    pub label: String,
    /// Which.
    pub source: CertificateSource<String>,
    /// The status it gets; the usual one is active.
    pub status: Option<String>,
    /// How tightly it holds the device.
    pub principal_type: Option<String>,
    /// When it has a status already.
    pub on_present: Override,
}

/// The policy that is to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyPlan {
    /// What the template calls it.
    pub label: String,
    /// Which.
    pub source: PolicySource<String>,
}

impl Template {
    /// Reads a template of at most [`model::limits::TEMPLATE_BYTES`].
    ///
    /// # Errors
    ///
    /// [`TemplateError::Invalid`] with the place.
    pub fn parse(text: &str, kind: Kind) -> Result<Self, TemplateError> {
        read::template(text, kind)
    }

    /// The names of its parameters, with their defaults.
    #[must_use]
    pub const fn parameters(&self) -> &BTreeMap<String, Option<String>> {
        &self.parameters
    }

    /// Fills in the parameters: `implied` are those that the hub knows (their names begin with
    /// [`IMPLIED_PREFIX`]), and `given` what was sent, which cannot replace them.
    ///
    /// # Errors
    ///
    /// [`TemplateError::Missing`] for a parameter that is declared and not given;
    /// [`TemplateError::Invalid`] where a function cannot be carried out.
    pub fn resolve(
        &self,
        implied: &BTreeMap<String, String>,
        given: &BTreeMap<String, String>,
    ) -> Result<Plan, TemplateError> {
        let mut values = self.declared(implied, given)?;
        values.extend(
            implied
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        let mut scope = Scope::new(&values, &self.mappings);
        let thing = self
            .thing
            .as_ref()
            .map(|thing| thing.resolve(&mut scope))
            .transpose()?;
        let certificate = self
            .certificate
            .as_ref()
            .map(|certificate| certificate.resolve(&mut scope))
            .transpose()?;
        let policy = self
            .policy
            .as_ref()
            .map(|policy| policy.resolve(&mut scope))
            .transpose()?;
        let configuration = self
            .configuration
            .iter()
            .map(|(name, value)| {
                let at = format!("DeviceConfiguration.{name}");
                Ok((name.clone(), scope.text(value, &at)?))
            })
            .collect::<Result<_, TemplateError>>()?;
        Ok(Plan {
            thing,
            certificate,
            policy,
            configuration,
        })
    }

    /// The value of every declared parameter.
    fn declared(
        &self,
        implied: &BTreeMap<String, String>,
        given: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, TemplateError> {
        self.parameters
            .iter()
            .map(|(name, default)| {
                // What the hub knows nobody else may say.
                let sent = if name.starts_with(IMPLIED_PREFIX) {
                    implied.get(name)
                } else {
                    given.get(name)
                };
                let value = sent.or(default.as_ref());
                match value {
                    Some(value) => Ok((name.clone(), value.clone())),
                    None => Err(TemplateError::Missing { name: name.clone() }),
                }
            })
            .collect()
    }
}

/// Where a property of a resource stands.
fn place(label: &str, property: &str) -> String {
    format!("Resources.{label}.Properties.{property}")
}

impl Thing {
    fn resolve(&self, scope: &mut Scope<'_>) -> Result<ThingPlan, TemplateError> {
        let label = &self.label;
        let attributes = self
            .attributes
            .iter()
            .map(|(name, value)| {
                let at = place(label, &format!("AttributePayload.{name}"));
                Ok((name.clone(), scope.text(value, &at)?))
            })
            .collect::<Result<_, TemplateError>>()?;
        let groups = match &self.groups {
            Some(groups) => scope.list(groups, &place(label, "ThingGroups"))?,
            None => Vec::new(),
        };
        Ok(ThingPlan {
            label: label.clone(),
            name: scope.text(&self.name, &place(label, "ThingName"))?,
            device_type: scope
                .optional(self.device_type.as_ref(), &place(label, "ThingTypeName"))?,
            attributes,
            groups,
            billing_group: scope
                .optional(self.billing_group.as_ref(), &place(label, "BillingGroup"))?,
            overrides: self.overrides,
        })
    }
}

impl Certificate {
    fn resolve(&self, scope: &mut Scope<'_>) -> Result<CertificatePlan, TemplateError> {
        let label = &self.label;
        let at = |property| place(label, property);
        let source = match &self.source {
            CertificateSource::Id(id) => {
                CertificateSource::Id(scope.text(id, &at("CertificateId"))?)
            }
            CertificateSource::Request(request) => {
                CertificateSource::Request(scope.text(request, &at("CertificateSigningRequest"))?)
            }
            CertificateSource::Pem { certificate, ca } => CertificateSource::Pem {
                certificate: scope.text(certificate, &at("CertificatePem"))?,
                ca: scope.optional(ca.as_ref(), &at("CACertificatePem"))?,
            },
        };
        Ok(CertificatePlan {
            label: label.clone(),
            source,
            status: scope.optional(self.status.as_ref(), &at("Status"))?,
            principal_type: scope
                .optional(self.principal_type.as_ref(), &at("ThingPrincipalType"))?,
            on_present: self.on_present,
        })
    }
}

impl Policy {
    fn resolve(&self, scope: &mut Scope<'_>) -> Result<PolicyPlan, TemplateError> {
        let source = match &self.source {
            PolicySource::Name(name) => {
                PolicySource::Name(scope.text(name, &place(&self.label, "PolicyName"))?)
            }
            PolicySource::Document(text) => {
                PolicySource::Document(scope.text(text, &place(&self.label, "PolicyDocument"))?)
            }
        };
        Ok(PolicyPlan {
            label: self.label.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLEET: &str = r#"{
        "Parameters": {
            "SerialNumber": {"Type": "String"},
            "Where": {"Type": "String", "Default": "jp"},
            "AWS::IoT::Certificate::Id": {"Type": "String"}
        },
        "Mappings": {"Sites": {"jp": {"url": "tokyo", "groups": ["a", "b"]}}},
        "Resources": {
            "thing": {"Type": "AWS::IoT::Thing", "Properties": {
                "ThingName": {"Fn::Join": ["-", ["pump", {"Ref": "SerialNumber"}]]},
                "AttributePayload": {
                    "batch": {"Fn::Select": ["1", {"Fn::Split": [".", {"Ref": "SerialNumber"}]}]},
                    "note": {"Fn::Sub": ["${SerialNumber} of ${x}, ${!x}", {"x": {"Ref": "Where"}}]}
                },
                "ThingGroups": {"Fn::FindInMap": ["Sites", {"Ref": "Where"}, "groups"]}},
                "OverrideSettings": {"AttributePayload": "MERGE", "ThingGroups": "FAIL"}},
            "certificate": {"Type": "AWS::IoT::Certificate", "Properties": {
                "CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}, "Status": "Active"}},
            "policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "pumps"}}
        },
        "DeviceConfiguration": {"url": {"Fn::FindInMap": ["Sites", {"Ref": "Where"}, "url"]}}
    }"#;

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn every_function_makes_what_the_guide_says() {
        let template = Template::parse(FLEET, Kind::Fleet).unwrap();
        let id = [("AWS::IoT::Certificate::Id", "c0ffee")];
        let given = [
            ("SerialNumber", "7.8"),
            ("AWS::IoT::Certificate::Id", "forged"),
        ];
        let plan = template.resolve(&values(&id), &values(&given)).unwrap();
        let thing = plan.thing.unwrap();
        assert_eq!(thing.name, "pump-7.8");
        assert_eq!(thing.groups, ["a", "b"]);
        assert_eq!(
            thing.attributes,
            values(&[("batch", "8"), ("note", "7.8 of jp, ${x}")])
        );
        assert_eq!(thing.overrides.attributes, Override::Merge);
        assert_eq!(thing.overrides.groups, Override::Fail);
        assert_eq!(thing.overrides.device_type, Override::DoNothing);
        let certificate = plan.certificate.unwrap();
        assert_eq!(certificate.source, CertificateSource::Id("c0ffee".into()));
        assert_eq!(plan.configuration, values(&[("url", "tokyo")]));
    }

    #[test]
    fn a_parameter_without_a_value_is_named() {
        let template = Template::parse(FLEET, Kind::Fleet).unwrap();
        let id = values(&[("AWS::IoT::Certificate::Id", "c")]);
        let missing = template.resolve(&id, &values(&[])).unwrap_err();
        let name = "SerialNumber".to_owned();
        assert_eq!(missing, TemplateError::Missing { name });
        let elsewhere = values(&[("SerialNumber", "1.2"), ("Where", "de")]);
        let refused = template.resolve(&id, &elsewhere).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the template is wrong at Resources.thing.Properties.ThingGroups: the mapping Sites \
             has no de.groups"
        );
    }

    #[track_caller]
    fn check_place(resources: &str, kind: Kind, place: &str) {
        let text = format!(r#"{{"Resources": {resources}}}"#);
        match Template::parse(&text, kind) {
            Err(TemplateError::Invalid { at, .. }) => assert_eq!(at, place, "{resources}"),
            other => panic!("{resources} was taken: {other:?}"),
        }
    }

    #[test]
    fn what_is_not_known_is_refused_with_its_place() {
        let named = |name: &str| {
            format!(
                r#"{{"t": {{"Type": "AWS::IoT::Thing", "Properties": {{"ThingName": {name}}}}}}}"#
            )
        };
        let at = "Resources.t.Properties.ThingName";
        let fleet = Kind::Fleet;
        for (name, kind, inside) in [
            (r#"{"Fn::Rot13": "x"}"#, fleet, ".Fn::Rot13"),
            (
                r#"{"Fn::Join": ["", ["a", {"Fn::If": []}]]}"#,
                fleet,
                ".Fn::Join[1][1].Fn::If",
            ),
            (r#"{"Fn::Sub": "a"}"#, Kind::JustInTime, ".Fn::Sub"),
            (r#"{"Ref": "Unknown"}"#, fleet, ".Ref"),
            (r#"{"Fn::Sub": "${Unknown}"}"#, fleet, ".Fn::Sub"),
            (r#"{"Fn::Sub": "${x"}"#, fleet, ".Fn::Sub"),
            (
                r#"{"Fn::FindInMap": ["M", "a", "b"]}"#,
                fleet,
                ".Fn::FindInMap[0]",
            ),
            (r#"{"Fn::Split": ["", "b"]}"#, fleet, ".Fn::Split[0]"),
            (r#"{"Ref": "a", "Fn::Sub": "b"}"#, fleet, ""),
            ("7", fleet, ""),
        ] {
            check_place(&named(name), kind, &format!("{at}{inside}"));
        }
        check_place(
            r#"{"t": {"Type": "AWS::S3::Bucket"}}"#,
            fleet,
            "Resources.t.Type",
        );
        check_place(
            r#"{"t": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": "a", "Colour": "b"}}}"#,
            fleet,
            "Resources.t.Properties.Colour",
        );
        check_place(
            r#"{"t": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": "a"},
                "OverrideSettings": {"ThingTypeName": "MERGE"}}}"#,
            fleet,
            "Resources.t.OverrideSettings.ThingTypeName",
        );
        check_place(
            r#"{"p": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "a"}},
                "q": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "a"}}}"#,
            fleet,
            "Resources.q",
        );
    }

    #[test]
    fn a_template_that_grows_without_end_is_stopped() {
        let mut value = r#"{"Ref": "P"}"#.to_owned();
        for _ in 0..12 {
            let twenty = "${x}".repeat(20);
            value = format!(r#"{{"Fn::Sub": ["{twenty}", {{"x": {value}}}]}}"#);
        }
        let text = format!(
            r#"{{"Parameters": {{"P": {{"Type": "String"}}}}, "Resources": {{"t": {{
               "Type": "AWS::IoT::Thing", "Properties": {{"ThingName": {value}}}}}}}}}"#
        );
        let template = Template::parse(&text, Kind::Fleet).unwrap();
        let given = values(&[("P", "0123456789")]);
        let refused = template.resolve(&values(&[]), &given).unwrap_err();
        assert!(refused.to_string().contains("more than"), "{refused}");
        // An empty parameter makes nothing, however often.
        let nothing = values(&[("P", "")]);
        assert!(template.resolve(&values(&[]), &nothing).is_err());
    }
}
