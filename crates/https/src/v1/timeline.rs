//! What happened, to one device and to all.

use std::sync::Arc;

use axum::{Json, body::Bytes, extract::Path, response::Response};
use bytes::BytesMut;
use hub::timeline::{Entry, KeptEntry};
use model::Timestamp;

use super::{
    Answer, Asked, Refused, Site, explain,
    lines::{Lines, write as write_line},
    query, stream,
};

/// What a timeline is asked.
#[derive(serde::Deserialize)]
pub(super) struct Since {
    since: Option<u64>,
}

pub(super) async fn of_device(
    site: Site,
    Path(client): Path<String>,
    since: Asked<Since>,
) -> Answer<api::Page<api::Entry>> {
    let since = Timestamp::from_millis(query(since)?.since.unwrap_or(0));
    let kept = site.hub().timeline(&client, since)?;
    Ok(Json(api::Page {
        items: kept.into_iter().map(kept_entry).collect(),
        next: None,
    }))
}

fn kept_entry(kept: KeptEntry) -> api::Entry {
    let text = |name| kept.detail.get(name)?.as_str().map(str::to_owned);
    let decision = kept.detail.get("decision").cloned();
    api::Entry {
        at: kept.at.millis(),
        message: text("message").unwrap_or_default(),
        principal: text("principal"),
        address: text("address"),
        // An entry of an older version may say less; the rest of it is shown all the same.
        decision: decision.and_then(|decision| serde_json::from_value(decision).ok()),
        kind: kept.kind,
        reason: kept.reason,
    }
}

/// What `trace` is asked.
#[derive(serde::Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    failed: bool,
    #[serde(default)]
    follow: bool,
}

pub(super) async fn trace(site: Site, wanted: Asked<Wanted>) -> Result<Response, Refused> {
    let trace = Trace {
        site,
        wanted: query(wanted)?,
        after: Some(0),
    };
    Ok(stream(Lines::new(trace, |trace| Box::pin(trace.next()))))
}

struct Trace {
    site: Site,
    wanted: Wanted,
    /// The last entry that was looked at; `None` when no more are wanted.
    after: Option<u64>,
}

impl Trace {
    /// The next lines: all there are at first, then as they come.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        let mut text = BytesMut::new();
        loop {
            let after = self.after?;
            let hub = self.site.hub().clone();
            let entries = hub.recent_entries(after);
            let last = entries.last().map_or(after, |entry| entry.number);
            self.after = self.wanted.follow.then_some(last);
            for entry in entries {
                if entry.kind.is_failure() || !self.wanted.failed {
                    write_line(&mut text, &line(&entry));
                }
            }
            if !text.is_empty() || !self.wanted.follow {
                return Some((text.freeze(), self));
            }
            tokio::select! {
                () = hub.entry_behind(last) => {}
                () = hub.stopping() => return None,
            }
        }
    }
}

fn line(entry: &Arc<Entry>) -> api::TraceLine {
    api::TraceLine {
        number: entry.number,
        client_id: entry.client_id.as_ref().map(ToString::to_string),
        failed: entry.kind.is_failure(),
        entry: api::Entry {
            at: entry.at.millis(),
            kind: entry.kind.name().to_owned(),
            reason: entry.reason.to_owned(),
            message: entry.message.clone(),
            principal: entry.principal.clone(),
            address: entry.address.map(|address| address.to_string()),
            decision: entry.decision.as_ref().map(explain::decision),
        },
    }
}
