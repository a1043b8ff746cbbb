//! Static thing groups, and the things in them.

use hub::{GroupDetails, GroupFilter, GroupIdentity, NewGroup};
use model::{DeviceId, GroupName, Refusal, RefusalKind};
use registry::GroupChange;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    arn::{Kind, Place, read_kind},
    call::{Call, Outcome, Reply, invalid, parse},
    page::Paging,
    tags::{Tag, tag_map},
    things::{AttributePayload, exists, optional},
};

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Properties {
    thing_group_description: Option<String>,
    attribute_payload: Option<AttributePayload>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Body {
    parent_group_name: Option<String>,
    thing_group_properties: Properties,
    tags: Vec<Tag>,
    expected_version: Option<u64>,
}

impl Properties {
    fn change(self, expected_version: Option<u64>) -> GroupChange {
        GroupChange {
            description: self.thing_group_description,
            attributes: self.attribute_payload.map(Into::into),
            expected_version,
        }
    }
}

/// `CreateThingGroup`.
pub(crate) async fn create(call: &Call<'_>) -> Outcome {
    let body: Body = call.json()?;
    let name: GroupName = call.name(0)?;
    let new = NewGroup {
        name: name.clone(),
        parent: optional(body.parent_group_name.as_deref())?,
        parts: body.thing_group_properties.change(None),
        tags: tag_map(body.tags),
    };
    match call.hub.create_group(call.caller, new).await {
        Ok(GroupDetails { group, .. }) => Ok(Reply::json(&json!({
            "thingGroupName": group.name.as_str(),
            "thingGroupArn": call.place.arn(Kind::ThingGroup, &group.name),
            "thingGroupId": group.uuid,
        }))),
        Err(refusal) if refusal.kind == RefusalKind::AlreadyExists => Err(exists(
            refusal,
            &call.place,
            Kind::ThingGroup,
            name.as_str(),
        )),
        Err(refusal) => Err(refusal.into()),
    }
}

/// `DescribeThingGroup`.
pub(crate) fn describe(call: &Call<'_>) -> Outcome {
    let GroupDetails { group, ancestors } = call.hub.group(call.caller, &call.name(0)?)?;
    let above: Vec<Value> = ancestors
        .iter()
        .map(|GroupIdentity { name, .. }| named(&call.place, name))
        .collect();
    let mut metadata = json!({
        "creationDate": group.created_at.fractional_seconds(),
        "rootToParentThingGroups": above,
    });
    if let Some(parent) = &group.parent {
        metadata["parentGroupName"] = json!(parent.as_str());
    }
    Ok(Reply::json(&json!({
        "thingGroupName": group.name.as_str(),
        "thingGroupId": group.uuid,
        "thingGroupArn": call.place.arn(Kind::ThingGroup, &group.name),
        "version": group.version,
        "thingGroupProperties": {
            "thingGroupDescription": group.description,
            "attributePayload": { "attributes": group.attributes.as_map() },
        },
        "thingGroupMetadata": metadata,
    })))
}

fn named(place: &Place, name: &GroupName) -> Value {
    json!({ "groupName": name.as_str(), "groupArn": place.arn(Kind::ThingGroup, name) })
}

/// `UpdateThingGroup`.
pub(crate) async fn update(call: &Call<'_>) -> Outcome {
    let body: Body = call.json()?;
    let change = body.thing_group_properties.change(body.expected_version);
    let group = call
        .hub
        .update_group(call.caller, &call.name(0)?, change)
        .await?;
    Ok(Reply::json(&json!({ "version": group.version })))
}

/// `DeleteThingGroup`.
pub(crate) async fn delete(call: &Call<'_>) -> Outcome {
    let version = call.query_as("expectedVersion")?;
    call.hub
        .delete_group(call.caller, &call.name(0)?, version)
        .await?;
    Ok(Reply::done())
}

/// `ListThingGroups`.
pub(crate) fn list(call: &Call<'_>) -> Outcome {
    let filter = GroupFilter {
        parent: optional(call.query("parentGroup")?.as_deref())?,
        name_prefix: call.query("namePrefixFilter")?,
        // Without the parameter, groups of every level are listed.
        is_recursive: call.query_as("recursive")?.unwrap_or(true),
    };
    let wanted = Paging::Tokens.request(call)?;
    let page = call.hub.groups(call.caller, &filter, &wanted)?;
    let answer =
        Paging::Tokens.answer("thingGroups", page, |group| named(&call.place, &group.name));
    Ok(Reply::json(&answer))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Membership {
    thing_group_name: Option<String>,
    thing_group_arn: Option<String>,
    thing_name: Option<String>,
    thing_arn: Option<String>,
}

impl Membership {
    /// Group and thing, each named or by its ARN.
    fn read(&self) -> Result<(GroupName, DeviceId), Refusal> {
        let one = |name: &Option<String>, arn: &Option<String>, kind, what: &str| match (name, arn)
        {
            (Some(name), _) => Ok(name.clone()),
            (None, Some(arn)) => read_kind(arn, kind).map(str::to_owned),
            (None, None) => Err(invalid(format!("name the {what}, or give its ARN"))),
        };
        let group = one(
            &self.thing_group_name,
            &self.thing_group_arn,
            Kind::ThingGroup,
            "thing group",
        )?;
        let thing = one(&self.thing_name, &self.thing_arn, Kind::Thing, "thing")?;
        Ok((parse(&group)?, parse(&thing)?))
    }
}

/// `AddThingToThingGroup`.
pub(crate) async fn add_thing(call: &Call<'_>) -> Outcome {
    let (group, thing) = call.json::<Membership>()?.read()?;
    call.hub
        .update_groups_of_device(call.caller, &thing, vec![group], Vec::new())
        .await?;
    Ok(Reply::done())
}

/// `RemoveThingFromThingGroup`.
pub(crate) async fn remove_thing(call: &Call<'_>) -> Outcome {
    let (group, thing) = call.json::<Membership>()?.read()?;
    call.hub
        .update_groups_of_device(call.caller, &thing, Vec::new(), vec![group])
        .await?;
    Ok(Reply::done())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Memberships {
    thing_name: String,
    #[serde(default)]
    thing_groups_to_add: Vec<String>,
    #[serde(default)]
    thing_groups_to_remove: Vec<String>,
}

/// `UpdateThingGroupsForThing`.
pub(crate) async fn update_for_thing(call: &Call<'_>) -> Outcome {
    let body: Memberships = call.json()?;
    let names = |list: &[String]| list.iter().map(|name| parse(name)).collect();
    let add: Result<Vec<GroupName>, Refusal> = names(&body.thing_groups_to_add);
    let remove: Result<Vec<GroupName>, Refusal> = names(&body.thing_groups_to_remove);
    call.hub
        .update_groups_of_device(call.caller, &parse(&body.thing_name)?, add?, remove?)
        .await?;
    Ok(Reply::done())
}

/// `ListThingsInThingGroup`.
pub(crate) fn list_things(call: &Call<'_>) -> Outcome {
    let wanted = Paging::Tokens.request(call)?;
    let recursive = call.flag("recursive")?;
    let page = call
        .hub
        .devices_in_group(call.caller, &call.name(0)?, recursive, &wanted)?;
    let answer = Paging::Tokens.answer("things", page, |thing| json!(thing.as_str()));
    Ok(Reply::json(&answer))
}

/// `ListThingGroupsForThing`.
pub(crate) fn list_for_thing(call: &Call<'_>) -> Outcome {
    let wanted = Paging::Tokens.request(call)?;
    let page = call
        .hub
        .groups_of_device(call.caller, &call.name(0)?, &wanted)?;
    let answer = Paging::Tokens.answer("thingGroups", page, |name| named(&call.place, name));
    Ok(Reply::json(&answer))
}
