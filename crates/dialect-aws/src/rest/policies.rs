//! Policies, their versions and what they are attached to.

mod test_authorization;

use hub::{NameOrder, PolicyDetails};
use model::{PolicyName, Refusal, RefusalKind};
use registry::{PolicyRecord, PolicyTarget};
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) use self::test_authorization::{effective, test};
use super::{
    arn::{Kind, Place, principal_arn, read_principal, read_target, target_arn},
    call::{Call, Outcome, Reply, invalid, parse},
    page::Paging,
    tags::{Tag, tag_map},
    things::exists,
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Create {
    policy_document: String,
    #[serde(default)]
    tags: Vec<Tag>,
}

/// `CreatePolicy`.
pub(crate) async fn create(call: &Call<'_>) -> Outcome {
    let body: Create = call.json()?;
    let name: PolicyName = call.name(0)?;
    let made = call
        .hub
        .create_policy(
            call.caller,
            name.clone(),
            body.policy_document,
            tag_map(body.tags),
        )
        .await;
    match made {
        Ok(PolicyDetails { policy, version }) => Ok(Reply::json(&json!({
            "policyName": policy.name.as_str(),
            "policyArn": call.place.arn(Kind::Policy, &policy.name),
            "policyDocument": version.document,
            "policyVersionId": version.version.to_string(),
        }))),
        Err(refusal) if refusal.kind == RefusalKind::AlreadyExists => {
            Err(exists(refusal, &call.place, Kind::Policy, name.as_str()))
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// `GetPolicy`.
pub(crate) fn get(call: &Call<'_>) -> Outcome {
    let PolicyDetails { policy, version } = call.hub.policy(call.caller, &call.name(0)?)?;
    let mut body = summary(&call.place, &policy);
    body["policyDocument"] = json!(version.document);
    body["defaultVersionId"] = json!(policy.default_version.to_string());
    stamp(&mut body, &policy);
    Ok(Reply::json(&body))
}

fn summary(place: &Place, policy: &PolicyRecord) -> Value {
    json!({
        "policyName": policy.name.as_str(),
        "policyArn": place.arn(Kind::Policy, &policy.name),
    })
}

fn stamp(body: &mut Value, policy: &PolicyRecord) {
    body["creationDate"] = json!(policy.created_at.fractional_seconds());
    body["lastModifiedDate"] = json!(policy.modified_at.fractional_seconds());
    body["generationId"] = json!(policy.generation_id);
}

/// `DeletePolicy`.
pub(crate) async fn delete(call: &Call<'_>) -> Outcome {
    call.hub.delete_policy(call.caller, &call.name(0)?).await?;
    Ok(Reply::empty())
}

/// `ListPolicies`.
pub(crate) fn list(call: &Call<'_>) -> Outcome {
    let order = match call.query_as("isAscendingOrder")? {
        Some(false) => NameOrder::Descending,
        Some(true) | None => NameOrder::Ascending,
    };
    let wanted = Paging::Markers.request(call)?;
    let page = call.hub.policies(call.caller, order, &wanted)?;
    let answer = Paging::Markers.answer("policies", page, |policy| summary(&call.place, policy));
    Ok(Reply::json(&answer))
}

/// `CreatePolicyVersion`.
pub(crate) async fn create_version(call: &Call<'_>) -> Outcome {
    let body: Create = call.json()?;
    let set_as_default = call.flag("setAsDefault")?;
    let PolicyDetails { policy, version } = call
        .hub
        .create_policy_version(
            call.caller,
            &call.name(0)?,
            body.policy_document,
            set_as_default,
        )
        .await?;
    Ok(Reply::json(&json!({
        "policyArn": call.place.arn(Kind::Policy, &policy.name),
        "policyDocument": version.document,
        "policyVersionId": version.version.to_string(),
        "isDefaultVersion": version.version == policy.default_version,
    })))
}

/// `ListPolicyVersions`.
pub(crate) fn list_versions(call: &Call<'_>) -> Outcome {
    let (policy, versions) = call.hub.policy_versions(call.caller, &call.name(0)?)?;
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| {
            json!({
                "versionId": version.version.to_string(),
                "isDefaultVersion": version.version == policy.default_version,
                "createDate": version.created_at.fractional_seconds(),
            })
        })
        .collect();
    Ok(Reply::json(&json!({ "policyVersions": versions })))
}

fn version(call: &Call<'_>) -> Result<u32, Refusal> {
    call.name(1)
}

/// `GetPolicyVersion`.
pub(crate) fn get_version(call: &Call<'_>) -> Outcome {
    let details = call
        .hub
        .policy_version(call.caller, &call.name(0)?, version(call)?)?;
    let PolicyDetails { policy, version } = details;
    let mut body = summary(&call.place, &policy);
    body["policyDocument"] = json!(version.document);
    body["policyVersionId"] = json!(version.version.to_string());
    body["isDefaultVersion"] = json!(version.version == policy.default_version);
    stamp(&mut body, &policy);
    body["creationDate"] = json!(version.created_at.fractional_seconds());
    Ok(Reply::json(&body))
}

/// `DeletePolicyVersion`.
pub(crate) async fn delete_version(call: &Call<'_>) -> Outcome {
    call.hub
        .delete_policy_version(call.caller, &call.name(0)?, version(call)?)
        .await?;
    Ok(Reply::empty())
}

/// `SetDefaultPolicyVersion`.
pub(crate) async fn set_default_version(call: &Call<'_>) -> Outcome {
    call.hub
        .set_default_policy_version(call.caller, &call.name(0)?, version(call)?)
        .await?;
    Ok(Reply::empty())
}

#[derive(Debug, Deserialize)]
struct Target {
    target: String,
}

/// `AttachPolicy`.
pub(crate) async fn attach(call: &Call<'_>) -> Outcome {
    let body: Target = call.json()?;
    attach_to(call, &read_target(&body.target)?).await
}

/// `AttachPrincipalPolicy`, which `AttachPolicy` has replaced.
pub(crate) async fn attach_to_principal(call: &Call<'_>) -> Outcome {
    let principal = read_principal(call.required_header("x-amzn-iot-principal")?)?;
    attach_to(call, &principal.into()).await
}

async fn attach_to(call: &Call<'_>, target: &PolicyTarget) -> Outcome {
    call.hub
        .attach_policy(call.caller, &call.name(0)?, target)
        .await?;
    Ok(Reply::empty())
}

/// `DetachPolicy`.
pub(crate) async fn detach(call: &Call<'_>) -> Outcome {
    let body: Target = call.json()?;
    detach_from(call, &read_target(&body.target)?).await
}

/// `DetachPrincipalPolicy`, which `DetachPolicy` has replaced.
pub(crate) async fn detach_from_principal(call: &Call<'_>) -> Outcome {
    let principal = read_principal(call.required_header("x-amzn-iot-principal")?)?;
    detach_from(call, &principal.into()).await
}

async fn detach_from(call: &Call<'_>, target: &PolicyTarget) -> Outcome {
    call.hub
        .detach_policy(call.caller, &call.name(0)?, target)
        .await?;
    Ok(Reply::empty())
}

/// `ListAttachedPolicies`.
pub(crate) fn list_attached(call: &Call<'_>) -> Outcome {
    let target = read_target(call.label(0)?)?;
    attached(call, &target, call.flag("recursive")?)
}

/// `ListPrincipalPolicies`, which `ListAttachedPolicies` has replaced.
pub(crate) fn list_of_principal(call: &Call<'_>) -> Outcome {
    let principal = read_principal(call.required_header("x-amzn-iot-principal")?)?;
    attached(call, &principal.into(), false)
}

fn attached(call: &Call<'_>, target: &PolicyTarget, recursive: bool) -> Outcome {
    let wanted = Paging::Markers.request(call)?;
    let page = call
        .hub
        .attached_policies(call.caller, target, recursive, &wanted)?;
    let answer = Paging::Markers.answer("policies", page, |policy| summary(&call.place, policy));
    Ok(Reply::json(&answer))
}

/// `ListTargetsForPolicy`.
pub(crate) fn list_targets(call: &Call<'_>) -> Outcome {
    let wanted = Paging::Markers.request(call)?;
    let page = call
        .hub
        .targets_of_policy(call.caller, &call.name(0)?, &wanted)?;
    let answer = Paging::Markers.answer("targets", page, |target| {
        json!(target_arn(&call.place, target))
    });
    Ok(Reply::json(&answer))
}

/// `ListPolicyPrincipals`, which `ListTargetsForPolicy` has replaced.
pub(crate) fn list_principals(call: &Call<'_>) -> Outcome {
    let name = parse(call.required_header("x-amzn-iot-policy")?)?;
    let wanted = Paging::Markers.request(call)?;
    let page = call.hub.targets_of_policy(call.caller, &name, &wanted)?;
    let principals = hub::Page {
        items: page
            .items
            .into_iter()
            .filter_map(|target| match target {
                PolicyTarget::Certificate(id) => Some(registry::Principal::Certificate(id)),
                PolicyTarget::Identity(name) => Some(registry::Principal::Identity(name)),
                PolicyTarget::Group(_) => None,
            })
            .collect(),
        next: page.next,
    };
    let answer = Paging::Markers.answer("principals", principals, |principal| {
        json!(principal_arn(&call.place, principal))
    });
    Ok(Reply::json(&answer))
}
