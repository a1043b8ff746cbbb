//! Which changes of the registry are announced as messages.

use std::collections::BTreeMap;

use model::Refusal;
use registry::EventFamily;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::call::{Call, Outcome, Reply, invalid};

const fn name(family: EventFamily) -> &'static str {
    match family {
        EventFamily::Device => "THING",
        EventFamily::Group => "THING_GROUP",
        EventFamily::Type => "THING_TYPE",
        EventFamily::GroupMembership => "THING_GROUP_MEMBERSHIP",
        EventFamily::GroupHierarchy => "THING_GROUP_HIERARCHY",
        EventFamily::TypeAssociation => "THING_TYPE_ASSOCIATION",
        EventFamily::Job => "JOB",
        EventFamily::JobExecution => "JOB_EXECUTION",
        EventFamily::Policy => "POLICY",
        EventFamily::Certificate => "CERTIFICATE",
        EventFamily::CertificateAuthority => "CA_CERTIFICATE",
    }
}

fn family(text: &str) -> Result<EventFamily, Refusal> {
    EventFamily::ALL
        .into_iter()
        .find(|family| name(*family) == text)
        .ok_or_else(|| invalid(format!("{text:?} is no type of event")))
}

/// `DescribeEventConfigurations`.
pub(crate) fn describe(call: &Call<'_>) -> Outcome {
    let switches = call.hub.event_configurations(call.caller)?;
    let entries: Map<String, Value> = EventFamily::ALL
        .into_iter()
        .map(|family| {
            let enabled = json!({ "Enabled": switches.is_enabled(family) });
            (name(family).to_owned(), enabled)
        })
        .collect();
    let mut body = json!({ "eventConfigurations": entries });
    if let Some(at) = switches.created_at {
        body["creationDate"] = json!(at.fractional_seconds());
    }
    if let Some(at) = switches.modified_at {
        body["lastModifiedDate"] = json!(at.fractional_seconds());
    }
    Ok(Reply::json(&body))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Update {
    event_configurations: BTreeMap<String, Switch>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Switch {
    enabled: bool,
}

/// `UpdateEventConfigurations`.
pub(crate) async fn update(call: &Call<'_>) -> Outcome {
    let body: Update = call.json()?;
    let changes: Result<BTreeMap<EventFamily, bool>, Refusal> = body
        .event_configurations
        .iter()
        .map(|(text, switch)| Ok((family(text)?, switch.enabled)))
        .collect();
    call.hub
        .update_event_configurations(call.caller, changes?)
        .await?;
    Ok(Reply::done())
}
