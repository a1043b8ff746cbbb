//! `sekisho status`

use super::{find, moment};
use crate::{cli::Where, failure::Failure, output};

pub(super) async fn run(hub: &Where) -> Result<(), Failure> {
    let status: api::Status = find(hub)?.get("/status").await?;
    if hub.json {
        return output::json(&status);
    }
    let (store, healthy) = match status.store {
        api::Health::Healthy => ("healthy", true),
        api::Health::Failed => (
            "FAILED: nothing is acknowledged until the hub is restarted",
            false,
        ),
    };
    let rows = [
        ("version", status.version),
        ("running for", moment::length(status.uptime_seconds)),
        ("connections", status.connections.to_string()),
        ("sessions", status.sessions.to_string()),
        ("subscriptions", status.subscriptions.to_string()),
        ("devices", status.devices.to_string()),
        ("messages in", status.messages_in.to_string()),
        ("messages out", status.messages_out.to_string()),
        ("refusals", status.refusals.to_string()),
        ("store", store.to_owned()),
    ];
    for (name, value) in rows {
        output::line(&format!("{name:14} {value}"));
    }
    if healthy {
        return Ok(());
    }
    Err(Failure::Refused("the hub's store has failed".into()))
}
