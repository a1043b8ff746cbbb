//! How the hub is.

use serde::{Deserialize, Serialize};

/// Whether the hub can keep what it is given.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It can.
    Healthy,
    /// A write failed: nothing is acknowledged until the hub is restarted.
    Failed,
}

/// How the hub is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Status {
    /// The hub's version.
    pub version: String,
    /// Since when it runs.
    pub started_at: u64,
    /// For how many seconds it runs.
    pub uptime_seconds: u64,
    /// Live MQTT connections.
    pub connections: u64,
    /// Sessions, connected or remembered.
    pub sessions: u64,
    /// Subscriptions of all sessions.
    pub subscriptions: u64,
    /// Registered devices.
    pub devices: u64,
    /// Messages published since it started.
    pub messages_in: u64,
    /// Messages given to subscribers since it started.
    pub messages_out: u64,
    /// Refusals since it started.
    pub refusals: u64,
    /// Whether it can keep what it is given.
    pub store: Health,
}
