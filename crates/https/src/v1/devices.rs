//! Devices.

use axum::{Json, body::Bytes, extract::Path};
use hub::{DevicePolicy, PageRequest};
use model::{ClientId, DeviceId};
use registry::DeviceRecord;
use store::DeviceFilter;

use super::{Answer, Asked, Part, Refused, Site, certificates, name, page, query, read};

pub(super) async fn list(site: Site, part: Asked<Part>) -> Answer<api::Page<api::Device>> {
    let part: PageRequest = query(part)?.into();
    let found = site
        .hub()
        .devices(site.operator(), &DeviceFilter::default(), &part)?;
    Ok(page(found, |record| device(&site, &record)))
}

pub(super) async fn add(site: Site, body: Bytes) -> Answer<api::IssuedDevice> {
    let new: api::NewDevice = read(&body)?;
    let id: DeviceId = name(&new.id)?;
    let setup = site.setup();
    let policy = match &new.policy {
        Some(policy) => DevicePolicy::Named(name(policy)?),
        None => DevicePolicy::OrCreated {
            name: name(&setup.device_policy_name)?,
            document: setup.device_policy.to_string(),
        },
    };
    let policy_name = policy.name().to_string();
    let issued = site
        .hub()
        .provision_device(site.operator(), id, ca::DeviceKey::P256, policy)
        .await?;
    Ok(Json(api::IssuedDevice {
        id: new.id,
        certificate_id: issued.certificate.id.to_string(),
        certificate_pem: issued.certificate.pem,
        private_key_pem: issued.private_key.expose().to_owned(),
        root_ca_pem: site.hub().root_pem(),
        policy: policy_name,
    }))
}

pub(super) async fn show(site: Site, Path(id): Path<String>) -> Answer<api::DeviceDetails> {
    details(&site, &name(&id)?)
}

pub(super) async fn remove(site: Site, Path(id): Path<String>) -> Answer<api::Done> {
    site.hub()
        .remove_device(site.operator(), &name(&id)?)
        .await?;
    Ok(Json(api::Done {}))
}

pub(super) async fn disable(site: Site, Path(id): Path<String>) -> Answer<api::DeviceDetails> {
    enable_or_disable(&site, &id, false).await
}

pub(super) async fn enable(site: Site, Path(id): Path<String>) -> Answer<api::DeviceDetails> {
    enable_or_disable(&site, &id, true).await
}

async fn enable_or_disable(site: &Site, id: &str, enabled: bool) -> Answer<api::DeviceDetails> {
    let id: DeviceId = name(id)?;
    site.hub()
        .enable_device(site.operator(), &id, enabled)
        .await?;
    details(site, &id)
}

fn details(site: &Site, id: &DeviceId) -> Answer<api::DeviceDetails> {
    let (hub, operator) = (site.hub(), site.operator());
    let record = hub.device(operator, id)?;
    let certificates = hub
        .certificates_of_device(operator, id)?
        .into_iter()
        .map(|record| certificates::certificate(site, record))
        .collect::<Result<Vec<_>, Refused>>()?;
    let groups = hub.groups_of_device(operator, id, &PageRequest::default())?;
    Ok(Json(api::DeviceDetails {
        device: device(site, &record),
        certificates,
        groups: groups.items.iter().map(ToString::to_string).collect(),
        connection: connection(site, id),
    }))
}

fn device(site: &Site, record: &DeviceRecord) -> api::Device {
    api::Device {
        id: record.id.to_string(),
        device_type: record.device_type.as_ref().map(ToString::to_string),
        attributes: record.attributes.as_map().clone(),
        connected: connection(site, &record.id).is_some_and(|connection| connection.connected),
        created_at: record.created_at.millis(),
        modified_at: record.modified_at.millis(),
    }
}

/// The connection of the client that calls itself as the device does.
fn connection(site: &Site, id: &DeviceId) -> Option<api::Connection> {
    let client_id = ClientId::new(id.as_str()).ok()?;
    let info = site.hub().connection_info(&client_id)?;
    Some(api::Connection {
        connected: info.connected,
        address: info.address.map(|address| address.to_string()),
        connected_at: info.connected_at.map(model::Timestamp::millis),
        keep_alive_seconds: info.keep_alive_seconds,
        subscriptions: info
            .subscriptions
            .into_iter()
            .map(|(filter, qos)| api::Subscription {
                filter: filter.to_string(),
                qos: qos as u8,
            })
            .collect(),
    })
}
