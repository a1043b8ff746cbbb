//! Device certificates.

use hub::{Activation, Order};
use model::{CertificateId, Refusal, RefusalKind, limits};
use registry::{CertificateRecord, CertificateStatus};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    arn::{Kind, Place},
    call::{Call, Outcome, Reply, invalid, parse},
    failure::Failure,
    page::Paging,
};

use crate::topics::ISSUED_COMMON_NAME as COMMON_NAME;

/// `CreateKeysAndCertificate`.
pub(crate) async fn create_with_keys(call: &Call<'_>) -> Outcome {
    let issued = call
        .hub
        .issue_certificate(
            call.caller,
            COMMON_NAME,
            ca::DeviceKey::Rsa2048,
            activation(call)?,
        )
        .await?;
    let mut body = created(&call.place, &issued.certificate);
    body["keyPair"] = json!({
        "PublicKey": issued.public_key_pem,
        "PrivateKey": issued.private_key.expose(),
    });
    Ok(Reply::json(&body))
}

fn activation(call: &Call<'_>) -> Result<Activation, Refusal> {
    Ok(if call.flag("setAsActive")? {
        Activation::Active
    } else {
        Activation::Inactive
    })
}

fn created(place: &Place, certificate: &CertificateRecord) -> Value {
    let mut body = registered(place, certificate);
    body["certificatePem"] = json!(certificate.pem);
    body
}

fn registered(place: &Place, certificate: &CertificateRecord) -> Value {
    json!({
        "certificateArn": place.arn(Kind::Certificate, certificate.id),
        "certificateId": certificate.id.to_string(),
    })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FromCsr {
    certificate_signing_request: String,
}

/// `CreateCertificateFromCsr`.
pub(crate) async fn create_from_csr(call: &Call<'_>) -> Outcome {
    let body: FromCsr = call.json()?;
    let request = body.certificate_signing_request;
    if request.len() > limits::CSR_BYTES {
        return Err(invalid(format!(
            "a certificate signing request has at most {} bytes",
            limits::CSR_BYTES
        ))
        .into());
    }
    let certificate = call
        .hub
        .certify_request(call.caller, &request, activation(call)?)
        .await?;
    Ok(Reply::json(&created(&call.place, &certificate)))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Register {
    certificate_pem: String,
    #[serde(default)]
    ca_certificate_pem: Option<String>,
    #[serde(default)]
    status: Option<String>,
}

/// `RegisterCertificate`.
pub(crate) async fn register(call: &Call<'_>) -> Outcome {
    let body: Register = call.json()?;
    let default = if call.flag("setAsActive")? {
        CertificateStatus::Active
    } else {
        CertificateStatus::Inactive
    };
    register_as(call, body, default, Issuer::Registered).await
}

/// `RegisterCertificateWithoutCA`.
pub(crate) async fn register_without_ca(call: &Call<'_>) -> Outcome {
    let body: Register = call.json()?;
    register_as(call, body, CertificateStatus::Inactive, Issuer::Any).await
}

/// Who must have signed a certificate that is registered.
#[derive(Clone, Copy, Debug)]
enum Issuer {
    /// A registered CA.
    Registered,
    /// Nobody asks.
    Any,
}

async fn register_as(
    call: &Call<'_>,
    body: Register,
    default: CertificateStatus,
    issuer: Issuer,
) -> Outcome {
    let status = match &body.status {
        Some(text) => parse(text)?,
        None => default,
    };
    if body.certificate_pem.len() > limits::PEM_BYTES {
        return Err(invalid(format!(
            "a certificate has at most {} bytes of PEM",
            limits::PEM_BYTES
        ))
        .into());
    }
    let (pem, ca_pem) = (&body.certificate_pem, body.ca_certificate_pem.as_deref());
    let result = match issuer {
        Issuer::Registered => {
            call.hub
                .register_certificate_of_ca(call.caller, pem, ca_pem, status)
                .await
        }
        Issuer::Any => {
            call.hub
                .register_certificate(call.caller, pem, status)
                .await
        }
    };
    match result {
        Ok(certificate) => Ok(Reply::json(&registered(&call.place, &certificate))),
        Err(refusal) if refusal.kind == RefusalKind::AlreadyExists => {
            Err(exists(refusal, &call.place, &body.certificate_pem))
        }
        Err(refusal) => Err(refusal.into()),
    }
}

fn exists(refusal: Refusal, place: &Place, pem: &str) -> Failure {
    match x509::certificate_from_pem(pem) {
        Ok(certificate) => super::things::exists(
            refusal,
            place,
            Kind::Certificate,
            &certificate.id().to_string(),
        ),
        Err(_) => refusal.into(),
    }
}

/// `DescribeCertificate`.
pub(crate) fn describe(call: &Call<'_>) -> Outcome {
    let certificate = call.hub.certificate(call.caller, &call.name(0)?)?;
    let mut body = summary(&call.place, &certificate);
    body["certificatePem"] = json!(certificate.pem);
    body["ownedBy"] = json!(call.place.account);
    body["lastModifiedDate"] = json!(certificate.modified_at.fractional_seconds());
    body["customerVersion"] = json!(certificate.customer_version);
    body["generationId"] = json!(certificate.generation_id);
    body["validity"] = json!({
        "notBefore": certificate.validity.not_before.seconds(),
        "notAfter": certificate.validity.not_after.seconds(),
    });
    if let Some(ca) = &certificate.ca_id {
        body["caCertificateId"] = json!(ca.to_string());
    }
    Ok(Reply::json(&json!({ "certificateDescription": body })))
}

fn summary(place: &Place, certificate: &CertificateRecord) -> Value {
    let mut body = registered(place, certificate);
    body["status"] = json!(certificate.status.as_str());
    body["certificateMode"] = json!("DEFAULT");
    body["creationDate"] = json!(certificate.created_at.fractional_seconds());
    body
}

/// `UpdateCertificate`.
pub(crate) async fn update(call: &Call<'_>) -> Outcome {
    let status: CertificateStatus = call
        .query_as("newStatus")?
        .ok_or_else(|| invalid("newStatus is missing"))?;
    call.hub
        .set_certificate_status(call.caller, &call.name(0)?, status)
        .await?;
    Ok(Reply::empty())
}

/// `DeleteCertificate`.
pub(crate) async fn delete(call: &Call<'_>) -> Outcome {
    let force = call.flag("forceDelete")?;
    call.hub
        .delete_certificate(call.caller, &call.name(0)?, force)
        .await?;
    Ok(Reply::empty())
}

/// `ListCertificates`.
pub(crate) fn list(call: &Call<'_>) -> Outcome {
    list_of(call, None)
}

/// `ListCertificatesByCA`.
pub(crate) fn list_by_ca(call: &Call<'_>) -> Outcome {
    list_of(call, Some(call.name(0)?))
}

fn list_of(call: &Call<'_>, ca: Option<CertificateId>) -> Outcome {
    let order = if call.flag("isAscendingOrder")? {
        Order::Ascending
    } else {
        Order::Descending
    };
    let wanted = Paging::Markers.request(call)?;
    let page = call
        .hub
        .certificates(call.caller, ca.as_ref(), order, &wanted)?;
    let answer = Paging::Markers.answer("certificates", page, |certificate| {
        summary(&call.place, certificate)
    });
    Ok(Reply::json(&answer))
}
