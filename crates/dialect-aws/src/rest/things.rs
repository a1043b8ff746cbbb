//! Things, and the principals attached to them.

use std::collections::BTreeMap;

use hub::{AttributeFilter, DeviceFilter, NewDevice};
use model::{DeviceId, Refusal, RefusalKind, TypeName};
use registry::{
    Attachment, AttachmentKind, AttributeChange, DeviceChange, DeviceRecord, Principal,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    arn::{Kind, Place, principal_arn, read_principal},
    call::{Call, Outcome, Reply, invalid, parse},
    failure::Failure,
    page::Paging,
};

/// What AWS's alphabet lets a thing be called; ids from elsewhere may hold more.
pub(crate) fn thing_name(text: &str) -> Result<DeviceId, Refusal> {
    let spelled = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'-');
    if text.bytes().all(spelled) {
        return parse(text);
    }
    Err(invalid(format!(
        "the thing name {text:?} may hold only A-Z a-z 0-9 : _ -"
    )))
}

/// Attributes, and whether they come in addition to the present ones.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct AttributePayload {
    attributes: BTreeMap<String, String>,
    merge: bool,
}

impl From<AttributePayload> for AttributeChange {
    fn from(payload: AttributePayload) -> Self {
        if payload.merge {
            Self::Merge(payload.attributes)
        } else {
            Self::Replace(payload.attributes)
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Create {
    thing_type_name: Option<String>,
    attribute_payload: AttributePayload,
    billing_group_name: Option<String>,
}

/// `CreateThing`.
pub(crate) async fn create(call: &Call<'_>) -> Outcome {
    let body: Create = call.json()?;
    if body.billing_group_name.is_some() {
        return Err(no_billing_groups().into());
    }
    let id = thing_name(call.label(0)?)?;
    let new = NewDevice {
        id: id.clone(),
        device_type: optional(body.thing_type_name.as_deref())?,
        attributes: body.attribute_payload.attributes,
    };
    match call.hub.create_device(call.caller, new).await {
        Ok(device) => Ok(Reply::json(&json!({
            "thingName": device.id.as_str(),
            "thingArn": call.place.arn(Kind::Thing, &device.id),
            "thingId": device.uuid,
        }))),
        Err(refusal) if refusal.kind == RefusalKind::AlreadyExists => {
            Err(exists(refusal, &call.place, Kind::Thing, id.as_str()))
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// What exists is named beside the message.
pub(crate) fn exists(refusal: Refusal, place: &Place, kind: Kind, name: &str) -> Failure {
    Failure::from(refusal)
        .with("resourceId", name)
        .with("resourceArn", place.arn(kind, name))
}

fn no_billing_groups() -> Refusal {
    Refusal::new(
        RefusalKind::Unsupported,
        "aws.not-implemented",
        "billing groups are not implemented by this hub yet; leave billingGroupName out",
    )
}

/// A name that may be absent or empty.
pub(crate) fn optional<T>(text: Option<&str>) -> Result<Option<T>, Refusal>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.filter(|text| !text.is_empty()).map(parse).transpose()
}

/// `DescribeThing`.
pub(crate) fn describe(call: &Call<'_>) -> Outcome {
    let device = call.hub.device(call.caller, &call.name(0)?)?;
    let mut body = summary(&call.place, &device);
    body["thingId"] = json!(device.uuid);
    // What a device of this name calls itself when it connects.
    body["defaultClientId"] = json!(device.id.as_str());
    Ok(Reply::json(&body))
}

fn summary(place: &Place, device: &DeviceRecord) -> Value {
    let mut body = json!({
        "thingName": device.id.as_str(),
        "thingArn": place.arn(Kind::Thing, &device.id),
        "attributes": device.attributes.as_map(),
        "version": device.version,
    });
    if let Some(device_type) = &device.device_type {
        body["thingTypeName"] = json!(device_type.as_str());
    }
    body
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Update {
    thing_type_name: Option<String>,
    attribute_payload: Option<AttributePayload>,
    expected_version: Option<u64>,
    remove_thing_type: bool,
}

/// `UpdateThing`.
pub(crate) async fn update(call: &Call<'_>) -> Outcome {
    let body: Update = call.json()?;
    let wanted: Option<TypeName> = optional(body.thing_type_name.as_deref())?;
    let device_type = match (wanted, body.remove_thing_type) {
        (Some(_), true) => {
            return Err(invalid("thingTypeName and removeThingType exclude each other").into());
        }
        (Some(name), false) => Some(Some(name)),
        (None, true) => Some(None),
        (None, false) => None,
    };
    let change = DeviceChange {
        attributes: body.attribute_payload.map(Into::into),
        device_type,
        expected_version: body.expected_version,
    };
    call.hub
        .update_device(call.caller, &call.name(0)?, change)
        .await?;
    Ok(Reply::done())
}

/// `DeleteThing`.
pub(crate) async fn delete(call: &Call<'_>) -> Outcome {
    let version = call.query_as("expectedVersion")?;
    call.hub
        .delete_device(call.caller, &call.name(0)?, version)
        .await?;
    Ok(Reply::done())
}

/// `ListThings`.
pub(crate) fn list(call: &Call<'_>) -> Outcome {
    let attribute = match (call.query("attributeName")?, call.query("attributeValue")?) {
        (None, None) => None,
        (Some(name), Some(value)) => Some(AttributeFilter {
            name,
            value,
            is_prefix: call.flag("usePrefixAttributeValue")?,
        }),
        (Some(_), None) | (None, Some(_)) => {
            return Err(invalid("attributeName and attributeValue belong together").into());
        }
    };
    let filter = DeviceFilter {
        device_type: optional(call.query("thingTypeName")?.as_deref())?,
        attribute,
    };
    let wanted = Paging::Tokens.request(call)?;
    let page = call.hub.devices(call.caller, &filter, &wanted)?;
    let answer = Paging::Tokens.answer("things", page, |device| summary(&call.place, device));
    Ok(Reply::json(&answer))
}

/// `AttachThingPrincipal`.
pub(crate) async fn attach_principal(call: &Call<'_>) -> Outcome {
    let attachment = Attachment {
        device: call.name(0)?,
        principal: read_principal(call.required_header("x-amzn-principal")?)?,
        kind: kind(call)?.unwrap_or_default(),
    };
    call.hub.attach_principal(call.caller, attachment).await?;
    Ok(Reply::done())
}

/// `DetachThingPrincipal`.
pub(crate) async fn detach_principal(call: &Call<'_>) -> Outcome {
    let principal = read_principal(call.required_header("x-amzn-principal")?)?;
    call.hub
        .detach_principal(call.caller, &call.name(0)?, &principal)
        .await?;
    Ok(Reply::done())
}

fn kind(call: &Call<'_>) -> Result<Option<AttachmentKind>, Refusal> {
    match call.query("thingPrincipalType")?.as_deref() {
        None => Ok(None),
        Some("EXCLUSIVE_THING") => Ok(Some(AttachmentKind::Exclusive)),
        Some("NON_EXCLUSIVE_THING") => Ok(Some(AttachmentKind::NonExclusive)),
        Some(other) => Err(invalid(format!(
            "thingPrincipalType is EXCLUSIVE_THING or NON_EXCLUSIVE_THING, not {other:?}"
        ))),
    }
}

const fn kind_name(kind: AttachmentKind) -> &'static str {
    match kind {
        AttachmentKind::Exclusive => "EXCLUSIVE_THING",
        AttachmentKind::NonExclusive => "NON_EXCLUSIVE_THING",
    }
}

/// `ListThingPrincipals`.
pub(crate) fn list_principals(call: &Call<'_>) -> Outcome {
    let page = principals(call, None)?;
    let answer = Paging::Tokens.answer("principals", page, |held| {
        json!(principal_arn(&call.place, &held.principal))
    });
    Ok(Reply::json(&answer))
}

/// `ListThingPrincipalsV2`.
pub(crate) fn list_principals_v2(call: &Call<'_>) -> Outcome {
    let page = principals(call, kind(call)?)?;
    let answer = Paging::Tokens.answer("thingPrincipalObjects", page, |held| {
        json!({
            "principal": principal_arn(&call.place, &held.principal),
            "thingPrincipalType": kind_name(held.kind),
        })
    });
    Ok(Reply::json(&answer))
}

fn principals(
    call: &Call<'_>,
    kind: Option<AttachmentKind>,
) -> Result<hub::Page<Attachment>, Refusal> {
    let wanted = Paging::Tokens.request(call)?;
    call.hub
        .principals_of_device(call.caller, &call.name(0)?, kind, &wanted)
}

/// `ListPrincipalThings`.
pub(crate) fn list_of_principal(call: &Call<'_>) -> Outcome {
    let page = things_of_principal(call, None)?;
    let answer = Paging::Tokens.answer("things", page, |held| json!(held.device.as_str()));
    Ok(Reply::json(&answer))
}

/// `ListPrincipalThingsV2`.
pub(crate) fn list_of_principal_v2(call: &Call<'_>) -> Outcome {
    let page = things_of_principal(call, kind(call)?)?;
    let answer = Paging::Tokens.answer("principalThingObjects", page, |held| {
        json!({
            "thingName": held.device.as_str(),
            "thingPrincipalType": kind_name(held.kind),
        })
    });
    Ok(Reply::json(&answer))
}

fn things_of_principal(
    call: &Call<'_>,
    kind: Option<AttachmentKind>,
) -> Result<hub::Page<Attachment>, Refusal> {
    let principal: Principal = read_principal(call.required_header("x-amzn-principal")?)?;
    let wanted = Paging::Tokens.request(call)?;
    call.hub
        .devices_of_principal(call.caller, &principal, kind, &wanted)
}
