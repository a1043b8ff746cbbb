//! Tags.

use std::collections::BTreeMap;

use model::Refusal;
use registry::{Resource, TagChange};
use serde::Deserialize;
use serde_json::json;

use super::{
    arn::{Kind, read},
    call::{Call, Outcome, Reply, invalid, parse},
    page::Paging,
};

/// One tag.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Tag {
    key: String,
    #[serde(default)]
    value: String,
}

pub(crate) fn tag_map(tags: Vec<Tag>) -> BTreeMap<String, String> {
    tags.into_iter().map(|tag| (tag.key, tag.value)).collect()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TagResource {
    resource_arn: String,
    tags: Vec<Tag>,
}

/// `TagResource`.
pub(crate) async fn tag(call: &Call<'_>) -> Outcome {
    let body: TagResource = call.json()?;
    let change = TagChange::Set(tag_map(body.tags));
    call.hub
        .change_tags(call.caller, resource(&body.resource_arn)?, change)
        .await?;
    Ok(Reply::done())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UntagResource {
    resource_arn: String,
    tag_keys: Vec<String>,
}

/// `UntagResource`.
pub(crate) async fn untag(call: &Call<'_>) -> Outcome {
    let body: UntagResource = call.json()?;
    let change = TagChange::Remove(body.tag_keys);
    call.hub
        .change_tags(call.caller, resource(&body.resource_arn)?, change)
        .await?;
    Ok(Reply::done())
}

/// `ListTagsForResource`.
pub(crate) fn list(call: &Call<'_>) -> Outcome {
    let arn = call
        .query("resourceArn")?
        .ok_or_else(|| invalid("resourceArn is missing"))?;
    let wanted = Paging::Tokens.request(call)?;
    let page = call.hub.tags(call.caller, &resource(&arn)?, &wanted)?;
    let answer = Paging::Tokens.answer(
        "tags",
        page,
        |(key, value)| json!({ "Key": key, "Value": value }),
    );
    Ok(Reply::json(&answer))
}

fn resource(arn: &str) -> Result<Resource, Refusal> {
    let (kind, name) = read(arn)?;
    match kind {
        Kind::Policy => Ok(Resource::Policy(parse(name)?)),
        Kind::ThingGroup => Ok(Resource::Group(parse(name)?)),
        Kind::ThingType => Ok(Resource::Type(parse(name)?)),
        Kind::CaCertificate | Kind::Certificate | Kind::ProvisioningTemplate | Kind::Thing => {
            Err(invalid(format!(
                "{arn} cannot be tagged; groups, types and policies can"
            )))
        }
    }
}
