//! Policies.

use axum::{Json, body::Bytes, extract::Path};
use hub::{NameOrder, PageRequest, PolicyDetails};
use model::{DeviceId, PolicyName, Refusal};
use registry::{PolicyRecord, PolicyTarget};

use super::{Answer, Asked, Part, Refused, Site, name, page, query, read};

pub(super) async fn list(site: Site, part: Asked<Part>) -> Answer<api::Page<api::Policy>> {
    let part: PageRequest = query(part)?.into();
    let found = site
        .hub()
        .policies(site.operator(), NameOrder::Ascending, &part)?;
    Ok(page(found, |record| policy(&record)))
}

pub(super) async fn create(site: Site, body: Bytes) -> Answer<api::PolicyDetails> {
    let new: api::NewPolicy = read(&body)?;
    let created = site
        .hub()
        .create_policy(
            site.operator(),
            name(&new.name)?,
            new.document,
            Default::default(),
        )
        .await?;
    Ok(Json(details(created, Vec::new())))
}

pub(super) async fn show(site: Site, Path(policy): Path<String>) -> Answer<api::PolicyDetails> {
    let policy: PolicyName = name(&policy)?;
    let (hub, operator) = (site.hub(), site.operator());
    let found = hub.policy(operator, &policy)?;
    let targets = hub.targets_of_policy(operator, &policy, &PageRequest::default())?;
    let targets = targets.items.iter().map(ToString::to_string).collect();
    Ok(Json(details(found, targets)))
}

pub(super) async fn attach(
    site: Site,
    Path(policy): Path<String>,
    body: Bytes,
) -> Answer<api::Done> {
    let policy: PolicyName = name(&policy)?;
    for target in targets(&site, &body)? {
        site.hub()
            .attach_policy(site.operator(), &policy, &target)
            .await?;
    }
    Ok(Json(api::Done {}))
}

pub(super) async fn detach(
    site: Site,
    Path(policy): Path<String>,
    body: Bytes,
) -> Answer<api::Done> {
    let policy: PolicyName = name(&policy)?;
    let targets = targets(&site, &body)?;
    // Says so when the policy does not exist, which detaching does not.
    site.hub().policy(site.operator(), &policy)?;
    for target in targets {
        site.hub()
            .detach_policy(site.operator(), &policy, &target)
            .await?;
    }
    Ok(Json(api::Done {}))
}

/// The certificates of the device that the body names; at least one.
fn targets(site: &Site, body: &Bytes) -> Result<Vec<PolicyTarget>, Refused> {
    let target: api::PolicyTarget = read(body)?;
    let device: DeviceId = name(&target.device)?;
    let certificates = site
        .hub()
        .certificates_of_device(site.operator(), &device)?;
    if certificates.is_empty() {
        return Err(Refused(Refusal::conflict(
            "device.no-certificate",
            format!(
                "no certificate is attached to device {device}; issue one and attach it to the \
                 device"
            ),
        )));
    }
    Ok(certificates
        .iter()
        .map(|certificate| PolicyTarget::Certificate(certificate.id))
        .collect())
}

fn policy(record: &PolicyRecord) -> api::Policy {
    api::Policy {
        name: record.name.to_string(),
        version: record.default_version,
        created_at: record.created_at.millis(),
        modified_at: record.modified_at.millis(),
    }
}

fn details(found: PolicyDetails, targets: Vec<String>) -> api::PolicyDetails {
    api::PolicyDetails {
        policy: policy(&found.policy),
        document: found.version.document,
        targets,
    }
}
