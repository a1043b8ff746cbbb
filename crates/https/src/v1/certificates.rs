//! Certificates.

use axum::{Json, extract::Path};
use hub::PageRequest;
use registry::{CertificateRecord, CertificateStatus, PolicyTarget, Principal};
use store::Order;

use super::{Answer, Asked, Part, Refused, Site, name, query};

pub(super) async fn list(site: Site, part: Asked<Part>) -> Answer<api::Page<api::Certificate>> {
    let part: PageRequest = query(part)?.into();
    let found = site
        .hub()
        .certificates(site.operator(), None, Order::Descending, &part)?;
    let items = found
        .items
        .into_iter()
        .map(|record| certificate(&site, record))
        .collect::<Result<_, Refused>>()?;
    Ok(Json(api::Page {
        items,
        next: found.next,
    }))
}

pub(super) async fn revoke(site: Site, Path(id): Path<String>) -> Answer<api::Certificate> {
    let revoked = site
        .hub()
        .set_certificate_status(site.operator(), &name(&id)?, CertificateStatus::Revoked)
        .await?;
    Ok(Json(certificate(&site, revoked)?))
}

/// A certificate with what it is attached to and what is attached to it.
pub(super) fn certificate(
    site: &Site,
    record: CertificateRecord,
) -> Result<api::Certificate, Refused> {
    let (hub, operator) = (site.hub(), site.operator());
    let all = PageRequest::default();
    let devices =
        hub.devices_of_principal(operator, &Principal::Certificate(record.id), None, &all)?;
    let target = PolicyTarget::Certificate(record.id);
    let policies = hub.attached_policies(operator, &target, false, &all)?;
    Ok(api::Certificate {
        id: record.id.to_string(),
        status: status(record.status),
        devices: devices
            .items
            .iter()
            .map(|attachment| attachment.device.to_string())
            .collect(),
        policies: policies
            .items
            .iter()
            .map(|policy| policy.name.to_string())
            .collect(),
        not_before: record.validity.not_before.millis(),
        not_after: record.validity.not_after.millis(),
        created_at: record.created_at.millis(),
    })
}

fn status(status: CertificateStatus) -> api::CertificateStatus {
    match status {
        CertificateStatus::Active => api::CertificateStatus::Active,
        CertificateStatus::Inactive => api::CertificateStatus::Inactive,
        CertificateStatus::Revoked => api::CertificateStatus::Revoked,
        CertificateStatus::PendingTransfer
        | CertificateStatus::PendingActivation
        | CertificateStatus::RegisterInactive => {
            let name = status.as_str().to_ascii_lowercase().replace('_', "-");
            api::CertificateStatus::Other(name)
        }
    }
}
