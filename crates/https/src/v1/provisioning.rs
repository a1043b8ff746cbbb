//! How devices tried to become registered.

use hub::{AttemptQuery, AttemptRecord, PageRequest};
use model::Refusal;
use serde_json::Value;

use super::{Answer, Asked, Refused, Site, page, query};

/// What the list is asked.
#[derive(serde::Deserialize)]
pub(super) struct Wanted {
    after: Option<String>,
    limit: Option<usize>,
    certificate: Option<String>,
    #[serde(default)]
    failed: bool,
}

pub(super) async fn attempts(site: Site, wanted: Asked<Wanted>) -> Answer<api::Page<api::Attempt>> {
    let wanted = query(wanted)?;
    let certificate = wanted
        .certificate
        .map(|id| {
            id.parse().map_err(|error: model::InvalidName| {
                Refused(Refusal::malformed("name.invalid", error.to_string()))
            })
        })
        .transpose()?;
    let asked = AttemptQuery {
        certificate,
        only_refused: wanted.failed,
    };
    let part = PageRequest {
        token: wanted.after,
        limit: wanted.limit,
    };
    let found = site.hub().attempts(site.operator(), &asked, &part)?;
    Ok(page(found, attempt))
}

fn attempt(kept: AttemptRecord) -> api::Attempt {
    let text = |name| kept.detail.get(name)?.as_str().map(str::to_owned);
    let list = |name| kept.detail.get(name).and_then(Value::as_array);
    let steps = list("steps").into_iter().flatten().map(step).collect();
    let not_reached = list("not_reached")
        .into_iter()
        .flatten()
        .filter_map(|step| step.as_str().map(str::to_owned))
        .collect();
    api::Attempt {
        number: kept.number,
        at: kept.at.millis(),
        ca: text("ca"),
        template: text("template"),
        address: text("address"),
        steps,
        not_reached,
        flow: kept.flow,
        client_id: kept.subject,
        certificate: kept.certificate,
        refused: kept.refused,
    }
}

fn step(kept: &Value) -> api::AttemptStep {
    let text = |name| kept.get(name)?.as_str().map(str::to_owned);
    api::AttemptStep {
        step: text("step").unwrap_or_default(),
        reason: text("reason"),
        note: text("note").unwrap_or_default(),
    }
}
