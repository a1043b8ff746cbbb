//! What policies would decide, asked by an operator.

use hub::{AuthorizationCheck, AuthorizationResult, AuthorizationTest};
use model::{Outcome as Verdict, PolicyName, Refusal, RefusalKind};
use policy::{Action, ResourceKind};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, Kind, Outcome, Place, Reply, invalid, parse, read_principal};
use crate::rest::things::optional;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Effective {
    principal: Option<String>,
    cognito_identity_pool_id: Option<String>,
}

fn no_identity_pools() -> Refusal {
    Refusal::new(
        RefusalKind::Unsupported,
        "aws.not-implemented",
        "Cognito identity pools are not implemented by this hub yet; name a principal",
    )
}

/// `GetEffectivePolicies`.
pub(crate) fn effective(call: &Call<'_>) -> Outcome {
    let body: Effective = call.json()?;
    if body.cognito_identity_pool_id.is_some() {
        return Err(no_identity_pools().into());
    }
    let principal = body.principal.as_deref().map(read_principal).transpose()?;
    let thing = optional(call.query("thingName")?.as_deref())?;
    let found = call
        .hub
        .effective_policies(call.caller, principal.as_ref(), thing.as_ref())?;
    let policies: Vec<Value> = found
        .iter()
        .map(|policy| {
            json!({
                "policyName": policy.name.as_str(),
                "policyArn": call.place.arn(Kind::Policy, &policy.name),
                "policyDocument": policy.document,
            })
        })
        .collect();
    Ok(Reply::json(&json!({ "effectivePolicies": policies })))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Test {
    principal: Option<String>,
    cognito_identity_pool_id: Option<String>,
    auth_infos: Vec<AuthInfo>,
    policy_names_to_add: Vec<String>,
    policy_names_to_skip: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthInfo {
    action_type: String,
    resources: Vec<String>,
}

/// `TestAuthorization`.
pub(crate) fn test(call: &Call<'_>) -> Outcome {
    let body: Test = call.json()?;
    if body.cognito_identity_pool_id.is_some() {
        return Err(no_identity_pools().into());
    }
    if body.auth_infos.is_empty() {
        return Err(invalid("authInfos holds at least one request to try").into());
    }
    let names = |list: &[String]| -> Result<Vec<PolicyName>, Refusal> {
        list.iter().map(|name| parse(name)).collect()
    };
    let mut checks = Vec::new();
    for info in &body.auth_infos {
        let action = action(&info.action_type)?;
        for resource in &info.resources {
            checks.push(check(action, resource)?);
        }
    }
    let client_id = optional(call.query("clientId")?.as_deref())?;
    let principal = body.principal.as_deref().map(read_principal).transpose()?;
    let results = call.hub.test_authorization(
        call.caller,
        AuthorizationTest {
            principal,
            client_id,
            add: names(&body.policy_names_to_add)?,
            skip: names(&body.policy_names_to_skip)?,
            checks,
        },
    )?;
    let mut results = results.iter();
    let mut answers = Vec::new();
    for info in &body.auth_infos {
        for resource in &info.resources {
            let result = results
                .next()
                .ok_or_else(|| Refusal::internal("a request was tried without a result"))?;
            answers.push(answer(&call.place, info, resource, result));
        }
    }
    Ok(Reply::json(&json!({ "authResults": answers })))
}

fn action(text: &str) -> Result<Action, Refusal> {
    match text {
        "CONNECT" => Ok(Action::Connect),
        "PUBLISH" => Ok(Action::Publish),
        "RECEIVE" => Ok(Action::Receive),
        "SUBSCRIBE" => Ok(Action::Subscribe),
        other => Err(invalid(format!(
            "actionType is PUBLISH, SUBSCRIBE, RECEIVE or CONNECT, not {other:?}"
        ))),
    }
}

/// Resources are ARNs such as `arn:aws:iot:REGION:ACCOUNT:topic/a/b`.
fn check(action: Action, arn: &str) -> Result<AuthorizationCheck, Refusal> {
    let resource = arn.splitn(6, ':').nth(5);
    let (kind, name) = resource
        .and_then(|resource| resource.split_once('/'))
        .and_then(|(word, name)| Some((ResourceKind::of(&format!("{word}/{name}"))?, name)))
        .ok_or_else(|| {
            invalid(format!(
                "{arn:?} is not the ARN of a client, topic or topicfilter"
            ))
        })?;
    Ok(AuthorizationCheck {
        action,
        kind,
        name: name.to_owned(),
    })
}

fn answer(place: &Place, info: &AuthInfo, resource: &str, result: &AuthorizationResult) -> Value {
    let list = |names: &[PolicyName]| -> Vec<Value> {
        names
            .iter()
            .map(|name| {
                json!({ "policyName": name.as_str(), "policyArn": place.arn(Kind::Policy, name) })
            })
            .collect()
    };
    let decision = match result.outcome() {
        Verdict::Allowed => "ALLOWED",
        Verdict::ExplicitlyDenied => "EXPLICIT_DENY",
        Verdict::ImplicitlyDenied => "IMPLICIT_DENY",
    };
    json!({
        "authInfo": { "actionType": info.action_type, "resources": [resource] },
        "allowed": { "policies": list(&result.allowing) },
        "denied": {
            "implicitDeny": { "policies": list(&result.silent) },
            "explicitDeny": { "policies": list(&result.denying) },
        },
        "authDecision": decision,
        "missingContextValues": result.missing,
    })
}
