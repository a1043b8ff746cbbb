//! From JSON to a template.

use std::collections::BTreeMap;

use model::limits;
use serde_json::{Map, Value};

use super::{
    Certificate, CertificateSource, Expression, Kind, Mappings, Override, Policy, PolicySource,
    Template, TemplateError, Thing, ThingOverrides,
    expression::{Found, Names, invalid},
};

const THING: &str = "AWS::IoT::Thing";
const CERTIFICATE: &str = "AWS::IoT::Certificate";
const POLICY: &str = "AWS::IoT::Policy";

pub(super) fn template(text: &str, kind: Kind) -> Result<Template, TemplateError> {
    if text.len() > limits::TEMPLATE_BYTES {
        return Err(invalid(
            "its start",
            format!(
                "a template has at most {} bytes, this has {}",
                limits::TEMPLATE_BYTES,
                text.len()
            ),
        ));
    }
    let value: Value = serde_json::from_str(text).map_err(|error| {
        let at = format!("line {} column {}", error.line(), error.column());
        invalid(&at, format!("it is not JSON: {error}"))
    })?;
    let members = object(&value, "its start")?;
    let sections: &[&str] = match kind {
        Kind::JustInTime => &["Parameters", "Resources"],
        Kind::Fleet => &["Parameters", "Mappings", "Resources", "DeviceConfiguration"],
    };
    only(members, sections, "")?;
    let parameters = section(members, "Parameters")?
        .map(parameters)
        .transpose()?
        .unwrap_or_default();
    let mappings = section(members, "Mappings")?
        .map(mappings)
        .transpose()?
        .unwrap_or_default();
    let names = Names {
        kind,
        parameters: &parameters,
        mappings: &mappings,
    };
    let resources =
        section(members, "Resources")?.ok_or_else(|| invalid("its start", "expected Resources"))?;
    let mut read = Resources::default();
    for (label, resource) in resources {
        read.resource(label, resource, &names)?;
    }
    let configuration = match section(members, "DeviceConfiguration")? {
        Some(members) => texts(members, "DeviceConfiguration", &names)?,
        None => BTreeMap::new(),
    };
    Ok(Template {
        thing: read.thing,
        certificate: read.certificate,
        policy: read.policy,
        configuration,
        parameters,
        mappings,
    })
}

#[derive(Default)]
struct Resources {
    thing: Option<Thing>,
    certificate: Option<Certificate>,
    policy: Option<Policy>,
}

impl Resources {
    fn resource(
        &mut self,
        label: &str,
        resource: &Value,
        names: &Names<'_>,
    ) -> Result<(), TemplateError> {
        let at = format!("Resources.{label}");
        let members = object(resource, &at)?;
        only(members, &["Type", "Properties", "OverrideSettings"], &at)?;
        let kind = members.get("Type").and_then(Value::as_str);
        let no_properties = Map::new();
        let properties = match members.get("Properties") {
            Some(properties) => object(properties, &format!("{at}.Properties"))?,
            None => &no_properties,
        };
        let overrides = match members.get("OverrideSettings") {
            Some(overrides) => object(overrides, &format!("{at}.OverrideSettings"))?,
            None => &no_properties,
        };
        let of = Properties {
            at: format!("{at}.Properties"),
            overrides_at: format!("{at}.OverrideSettings"),
            properties,
            overrides,
            names,
        };
        let twice = match kind {
            Some(THING) => self.thing.replace(of.thing(label)?).is_some(),
            Some(CERTIFICATE) => self.certificate.replace(of.certificate(label)?).is_some(),
            Some(POLICY) => self.policy.replace(of.policy(label)?).is_some(),
            Some(_) | None => {
                return Err(invalid(
                    &format!("{at}.Type"),
                    format!("expected {THING}, {CERTIFICATE} or {POLICY}"),
                ));
            }
        };
        if twice {
            return Err(invalid(
                &at,
                "a template has at most one resource of each type",
            ));
        }
        Ok(())
    }
}

/// The properties of one resource.
struct Properties<'a> {
    at: String,
    overrides_at: String,
    properties: &'a Map<String, Value>,
    overrides: &'a Map<String, Value>,
    names: &'a Names<'a>,
}

impl Properties<'_> {
    fn get(&self, name: &str) -> Result<Option<Expression>, TemplateError> {
        self.properties
            .get(name)
            .map(|value| self.names.expression(value, &format!("{}.{name}", self.at)))
            .transpose()
    }

    fn override_of(&self, name: &str, allowed: &[Override]) -> Result<Override, TemplateError> {
        let Some(value) = self.overrides.get(name) else {
            return Ok(Override::default());
        };
        let read = match value.as_str() {
            Some("DO_NOTHING") => Some(Override::DoNothing),
            Some("REPLACE") => Some(Override::Replace),
            Some("MERGE") => Some(Override::Merge),
            Some("FAIL") => Some(Override::Fail),
            Some(_) | None => None,
        };
        read.filter(|read| allowed.contains(read)).ok_or_else(|| {
            let merge = if allowed.contains(&Override::Merge) {
                "MERGE, "
            } else {
                ""
            };
            invalid(
                &format!("{}.{name}", self.overrides_at),
                format!("expected {merge}REPLACE, DO_NOTHING or FAIL"),
            )
        })
    }

    fn thing(&self, label: &str) -> Result<Thing, TemplateError> {
        only(
            self.properties,
            &[
                "ThingName",
                "ThingTypeName",
                "AttributePayload",
                "ThingGroups",
                "BillingGroup",
            ],
            &self.at,
        )?;
        only(
            self.overrides,
            &["AttributePayload", "ThingTypeName", "ThingGroups"],
            &self.overrides_at,
        )?;
        let attributes = match self.properties.get("AttributePayload") {
            Some(payload) => {
                let at = format!("{}.AttributePayload", self.at);
                texts(object(payload, &at)?, &at, self.names)?
            }
            None => BTreeMap::new(),
        };
        let name = self.get("ThingName")?;
        use Override::{DoNothing, Fail, Merge, Replace};
        Ok(Thing {
            label: label.into(),
            name: name.ok_or_else(|| invalid(&self.at, "expected ThingName"))?,
            device_type: self.get("ThingTypeName")?,
            attributes,
            groups: self.get("ThingGroups")?,
            billing_group: self.get("BillingGroup")?,
            overrides: ThingOverrides {
                attributes: self
                    .override_of("AttributePayload", &[Merge, Replace, DoNothing, Fail])?,
                groups: self.override_of("ThingGroups", &[Merge, Replace, DoNothing, Fail])?,
                device_type: self.override_of("ThingTypeName", &[Replace, DoNothing, Fail])?,
            },
        })
    }

    fn certificate(&self, label: &str) -> Result<Certificate, TemplateError> {
        only(
            self.properties,
            &[
                "CertificateId",
                "CertificateSigningRequest",
                "CertificatePem",
                "CACertificatePem",
                "Status",
                "ThingPrincipalType",
            ],
            &self.at,
        )?;
        only(self.overrides, &["Status"], &self.overrides_at)?;
        let (id, request) = (
            self.get("CertificateId")?,
            self.get("CertificateSigningRequest")?,
        );
        let (pem, ca) = (self.get("CertificatePem")?, self.get("CACertificatePem")?);
        let source = match (id, request, pem, ca) {
            (Some(id), None, None, None) => CertificateSource::Id(id),
            (None, Some(request), None, None) => CertificateSource::Request(request),
            (None, None, Some(certificate), ca) => CertificateSource::Pem { certificate, ca },
            _ => {
                return Err(invalid(
                    &self.at,
                    "expected one of CertificateId, CertificateSigningRequest, and CertificatePem \
                     with or without CACertificatePem",
                ));
            }
        };
        use Override::{DoNothing, Fail, Replace};
        Ok(Certificate {
            label: label.into(),
            source,
            status: self.get("Status")?,
            principal_type: self.get("ThingPrincipalType")?,
            on_present: self.override_of("Status", &[Replace, DoNothing, Fail])?,
        })
    }

    fn policy(&self, label: &str) -> Result<Policy, TemplateError> {
        only(self.properties, &["PolicyName", "PolicyDocument"], &self.at)?;
        only(self.overrides, &[], &self.overrides_at)?;
        let name = self.get("PolicyName")?;
        let document = match self.properties.get("PolicyDocument") {
            // A policy as it is, rather than the text of one.
            Some(document @ Value::Object(members)) if members.contains_key("Statement") => {
                Some(Expression::Text(document.to_string()))
            }
            Some(_) | None => self.get("PolicyDocument")?,
        };
        let source = match (name, document) {
            (Some(name), None) => PolicySource::Name(name),
            (None, Some(document)) => PolicySource::Document(document),
            (Some(_), Some(_)) | (None, None) => {
                return Err(invalid(&self.at, "expected PolicyName or PolicyDocument"));
            }
        };
        Ok(Policy {
            label: label.into(),
            source,
        })
    }
}

fn object<'a>(value: &'a Value, at: &str) -> Result<&'a Map<String, Value>, TemplateError> {
    value
        .as_object()
        .ok_or_else(|| invalid(at, "expected an object"))
}

fn section<'a>(
    members: &'a Map<String, Value>,
    name: &str,
) -> Result<Option<&'a Map<String, Value>>, TemplateError> {
    members
        .get(name)
        .map(|value| object(value, name))
        .transpose()
}

/// Refuses members that are not known.
fn only(members: &Map<String, Value>, known: &[&str], at: &str) -> Result<(), TemplateError> {
    match members.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let dot = if at.is_empty() { "" } else { "." };
            let expected = if known.is_empty() {
                "expected nothing here".to_owned()
            } else {
                format!("expected {}", known.join(", "))
            };
            Err(invalid(&format!("{at}{dot}{name}"), expected))
        }
    }
}

fn texts(
    members: &Map<String, Value>,
    at: &str,
    names: &Names<'_>,
) -> Result<BTreeMap<String, Expression>, TemplateError> {
    members
        .iter()
        .map(|(name, value)| {
            let value = names.expression(value, &format!("{at}.{name}"))?;
            Ok((name.clone(), value))
        })
        .collect()
}

fn parameters(
    members: &Map<String, Value>,
) -> Result<BTreeMap<String, Option<String>>, TemplateError> {
    members
        .iter()
        .map(|(name, value)| {
            let at = format!("Parameters.{name}");
            let declared = object(value, &at)?;
            only(declared, &["Type", "Default", "Description"], &at)?;
            if declared.get("Type").and_then(Value::as_str) != Some("String") {
                return Err(invalid(
                    &format!("{at}.Type"),
                    "expected String, the only type of parameters",
                ));
            }
            let default = match declared.get("Default") {
                None => None,
                Some(Value::String(default)) => Some(default.clone()),
                Some(_) => return Err(invalid(&format!("{at}.Default"), "expected a text")),
            };
            Ok((name.clone(), default))
        })
        .collect()
}

fn mappings(members: &Map<String, Value>) -> Result<Mappings, TemplateError> {
    let mut read = Mappings::new();
    for (map, firsts) in members {
        let at = format!("Mappings.{map}");
        let kept = read.entry(map.clone()).or_default();
        for (first, seconds) in object(firsts, &at)? {
            let at = format!("{at}.{first}");
            let kept = kept.entry(first.clone()).or_default();
            for (second, value) in object(seconds, &at)? {
                kept.insert(second.clone(), mapped(value, &format!("{at}.{second}"))?);
            }
        }
    }
    Ok(read)
}

fn mapped(value: &Value, at: &str) -> Result<Found, TemplateError> {
    let expected = || invalid(at, "expected a text or a list of texts");
    match value {
        Value::String(text) => Ok(Found::Text(text.clone())),
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .map(Found::List)
            .ok_or_else(expected),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Err(expected()),
    }
}
