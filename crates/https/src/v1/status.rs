//! How the hub is, for operators and for Prometheus.

use axum::Json;
use hub::Hub;

use super::{Answer, Site};
use crate::{Figure, Sort};

pub(super) async fn status(site: Site) -> Answer<api::Status> {
    let hub = site.hub();
    let figures = hub.figures();
    let uptime = hub.now().since(figures.started_at);
    Ok(Json(api::Status {
        version: site.setup().version.to_string(),
        started_at: figures.started_at.millis(),
        uptime_seconds: uptime.as_secs(),
        connections: figures.connections as u64,
        sessions: figures.sessions as u64,
        subscriptions: figures.subscriptions as u64,
        devices: hub.device_count()? as u64,
        messages_in: figures.messages_in,
        messages_out: figures.messages_out,
        refusals: figures.failures(),
        store: if hub.has_failed() {
            api::Health::Failed
        } else {
            api::Health::Healthy
        },
    }))
}

pub(super) async fn openapi() -> Json<serde_json::Value> {
    Json(api::openapi())
}

/// What `/metrics` shows of the hub.
#[must_use]
pub fn figures(hub: &Hub) -> Vec<Figure> {
    let figures = hub.figures();
    let ledger = hub.ledger_figures();
    let one = |name, help, sort, value| Figure {
        name,
        help,
        sort,
        rows: vec![(Vec::new(), value)],
    };
    let mut shown = vec![
        one(
            "sekisho_connections",
            "Live MQTT connections.",
            Sort::Gauge,
            figures.connections as u64,
        ),
        one(
            "sekisho_sessions",
            "Sessions, connected or remembered.",
            Sort::Gauge,
            figures.sessions as u64,
        ),
        one(
            "sekisho_subscriptions",
            "Subscriptions of all sessions.",
            Sort::Gauge,
            figures.subscriptions as u64,
        ),
        one(
            "sekisho_store_pending_bytes",
            "Bytes that wait to be written.",
            Sort::Gauge,
            figures.pending_bytes as u64,
        ),
        one(
            "sekisho_store_failed",
            "1 when a write failed and the hub must be restarted.",
            Sort::Gauge,
            u64::from(hub.has_failed()),
        ),
        one(
            "sekisho_ledger_entries",
            "Entries of the ledger.",
            Sort::Gauge,
            ledger.recorded,
        ),
        one(
            "sekisho_ledger_signed",
            "Entries that the newest signed checkpoint covers.",
            Sort::Gauge,
            ledger.signed,
        ),
        one(
            "sekisho_ledger_final",
            "Entries that the newest final checkpoint covers.",
            Sort::Gauge,
            ledger.last_final,
        ),
        one(
            "sekisho_ledger_alarms",
            "What is wrong with the ledger: witnesses that saw another history, files that cannot \
             be written.",
            Sort::Gauge,
            ledger.alarms,
        ),
        one(
            "sekisho_messages_in_total",
            "Messages taken, those of the hub itself included.",
            Sort::Counter,
            figures.messages_in,
        ),
        one(
            "sekisho_messages_out_total",
            "Messages given to MQTT connections.",
            Sort::Counter,
            figures.messages_out,
        ),
    ];
    shown.push(Figure {
        name: "sekisho_events_total",
        help: "What happened to devices, by kind; the timeline has the reasons.",
        sort: Sort::Counter,
        rows: figures
            .happened
            .into_iter()
            .map(|(kind, count)| (vec![("kind", kind.name().to_owned())], count))
            .collect(),
    });
    shown
}
