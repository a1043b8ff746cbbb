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
            CertificateSource::Request(request) => CertificateSource::Request(
                scope.text(request, &at("CertificateSigningRequest"))?,
            ),
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
