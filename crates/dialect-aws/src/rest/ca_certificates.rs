//! Certificate authorities of the customer's own.

use hub::{NewCa, Order};
use model::{RefusalKind, limits};
use registry::{
    AutoRegistration, CaChange, CaMode, CaRecord, CaStatus, RegistrationConfig, TemplateSource,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    arn::{Kind, Place},
    call::{Call, Outcome, Reply, invalid, parse},
    page::Paging,
};

/// `GetRegistrationCode`.
pub(crate) async fn registration_code(call: &Call<'_>) -> Outcome {
    let code = call.hub.registration_code(call.caller).await?;
    Ok(Reply::json(&json!({ "registrationCode": code })))
}

/// `DeleteRegistrationCode`.
pub(crate) async fn delete_registration_code(call: &Call<'_>) -> Outcome {
    call.hub.delete_registration_code(call.caller).await?;
    Ok(Reply::done())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    template_body: Option<String>,
    #[serde(default)]
    template_name: Option<String>,
    #[serde(default)]
    role_arn: Option<String>,
}

impl Config {
    fn read(self) -> Result<RegistrationConfig, model::Refusal> {
        let template = match (self.template_body, self.template_name) {
            (Some(_), Some(_)) => {
                return Err(invalid(
                    "registrationConfig holds a templateBody or a templateName, not both",
                ));
            }
            (Some(body), None) => Some(TemplateSource::Body(body)),
            (None, Some(name)) => Some(TemplateSource::Name(name)),
            (None, None) => None,
        };
        Ok(RegistrationConfig {
            template,
            role: self.role_arn,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Register {
    ca_certificate: String,
    #[serde(default)]
    verification_certificate: Option<String>,
    #[serde(default)]
    registration_config: Option<Config>,
    #[serde(default)]
    certificate_mode: Option<String>,
    #[serde(default)]
    tags: Vec<Value>,
}

/// `RegisterCACertificate`.
pub(crate) async fn register(call: &Call<'_>) -> Outcome {
    let body: Register = call.json()?;
    if !body.tags.is_empty() {
        return Err(not_yet("tags of CA certificates are").into());
    }
    let pems = [
        Some(&body.ca_certificate),
        body.verification_certificate.as_ref(),
    ];
    if pems
        .into_iter()
        .flatten()
        .any(|pem| pem.len() > limits::PEM_BYTES)
    {
        return Err(invalid(format!(
            "a certificate has at most {} bytes of PEM",
            limits::PEM_BYTES
        ))
        .into());
    }
    let mode = match &body.certificate_mode {
        Some(text) => parse(text)?,
        None => CaMode::Default,
    };
    let new = NewCa {
        pem: body.ca_certificate,
        verification_pem: body.verification_certificate,
        mode,
        status: if call.flag("setAsActive")? {
            CaStatus::Active
        } else {
            CaStatus::Inactive
        },
        auto_registration: if call.flag("allowAutoRegistration")? {
            AutoRegistration::Enabled
        } else {
            AutoRegistration::Disabled
        },
        registration: body.registration_config.map(Config::read).transpose()?,
    };
    let pem = new.pem.clone();
    match call.hub.register_ca(call.caller, new).await {
        Ok(ca) => Ok(Reply::json(&named(&call.place, &ca))),
        Err(refusal) if refusal.kind == RefusalKind::AlreadyExists => {
            match x509::certificate_from_pem(&pem) {
                Ok(ca) => {
                    let id = ca.id().to_string();
                    Err(super::things::exists(
                        refusal,
                        &call.place,
                        Kind::CaCertificate,
                        &id,
                    ))
                }
                Err(_) => Err(refusal.into()),
            }
        }
        Err(refusal) => Err(refusal.into()),
    }
}

fn not_yet(what: &str) -> model::Refusal {
    model::Refusal::new(
        RefusalKind::Unsupported,
        "aws.not-implemented",
        format!("{what} not implemented by this hub yet"),
    )
}

fn named(place: &Place, ca: &CaRecord) -> Value {
    json!({
        "certificateArn": place.arn(Kind::CaCertificate, ca.id),
        "certificateId": ca.id.to_string(),
    })
}

fn summary(place: &Place, ca: &CaRecord) -> Value {
    let mut body = named(place, ca);
    body["status"] = json!(ca.status.as_str());
    body["creationDate"] = json!(ca.created_at.fractional_seconds());
    body
}

/// `DescribeCACertificate`.
pub(crate) fn describe(call: &Call<'_>) -> Outcome {
    let ca = call.hub.ca(call.caller, &call.name(0)?)?;
    let mut description = summary(&call.place, &ca);
    description["certificatePem"] = json!(ca.pem);
    description["ownedBy"] = json!(call.place.account);
    description["autoRegistrationStatus"] = json!(ca.auto_registration.as_str());
    description["lastModifiedDate"] = json!(ca.modified_at.fractional_seconds());
    description["customerVersion"] = json!(ca.customer_version);
    description["generationId"] = json!(ca.generation_id);
    description["certificateMode"] = json!(ca.mode.as_str());
    description["validity"] = json!({
        "notBefore": ca.validity.not_before.seconds(),
        "notAfter": ca.validity.not_after.seconds(),
    });
    let mut body = json!({ "certificateDescription": description });
    if let Some(config) = &ca.registration {
        let mut told = json!({});
        match &config.template {
            Some(TemplateSource::Body(text)) => told["templateBody"] = json!(text),
            Some(TemplateSource::Name(name)) => told["templateName"] = json!(name),
            None => {}
        }
        if let Some(role) = &config.role {
            told["roleArn"] = json!(role);
        }
        body["registrationConfig"] = told;
    }
    Ok(Reply::json(&body))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Update {
    #[serde(default)]
    registration_config: Option<Config>,
    #[serde(default)]
    remove_auto_registration: bool,
}

/// `UpdateCACertificate`.
pub(crate) async fn update(call: &Call<'_>) -> Outcome {
    let body: Update = call.json()?;
    let registration = match body.registration_config {
        Some(_) if body.remove_auto_registration => {
            return Err(invalid(
                "removeAutoRegistration and registrationConfig exclude one another",
            )
            .into());
        }
        Some(config) => Some(Some(config.read()?)),
        None => body.remove_auto_registration.then_some(None),
    };
    let auto_registration = match call.query_as("newAutoRegistrationStatus")? {
        Some(status) => Some(status),
        None => body
            .remove_auto_registration
            .then_some(AutoRegistration::Disabled),
    };
    let change = CaChange {
        status: call.query_as("newStatus")?,
        auto_registration,
        registration,
    };
    call.hub
        .update_ca(call.caller, &call.name(0)?, change)
        .await?;
    Ok(Reply::empty())
}

/// `DeleteCACertificate`.
pub(crate) async fn delete(call: &Call<'_>) -> Outcome {
    call.hub.delete_ca(call.caller, &call.name(0)?).await?;
    Ok(Reply::done())
}

/// `ListCACertificates`.
pub(crate) fn list(call: &Call<'_>) -> Outcome {
    let order = if call.flag("isAscendingOrder")? {
        Order::Ascending
    } else {
        Order::Descending
    };
    let template = call.query("templateName")?;
    let wanted = Paging::Markers.request(call)?;
    let page = call
        .hub
        .cas(call.caller, template.as_deref(), order, &wanted)?;
    let answer = Paging::Markers.answer("certificates", page, |ca| summary(&call.place, ca));
    Ok(Reply::json(&answer))
}
