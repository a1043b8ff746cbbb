//! `sekisho status`

use super::{find, moment};
use crate::{cli::Where, failure::Failure, output};

pub(super) async fn run(hub: &Where) -> Result<(), Failure> {
    let found = find(hub)?;
    let status: api::Status = found.get("/status").await?;
    let ledger: api::Ledger = found.get("/ledger").await?;
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
        (
            "ledger",
            format!(
                "{} entries, {} final",
                ledger.size,
                if ledger.final_size == ledger.size {
                    "all".to_owned()
                } else {
                    ledger.final_size.to_string()
                }
            ),
        ),
    ];
    for (name, value) in rows {
        output::line(&format!("{name:14} {value}"));
    }
    for alarm in &ledger.alarms {
        output::line(&format!("{:14} {alarm}", "ALARM"));
    }
    if !ledger.alarms.is_empty() {
        return Err(Failure::Refused("the ledger raises an alarm".into()));
    }
    if healthy {
        return Ok(());
    }
    Err(Failure::Refused("the hub's store has failed".into()))
}
