//! What happened.

use serde::{Deserialize, Serialize};

use crate::Decision;

/// One thing that happened to a device.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Entry {
    /// When.
    pub at: u64,
    /// What: `connected`, `publish-refused`, …
    pub kind: String,
    /// The stable name of the reason.
    pub reason: String,
    /// For people: what happened and, if it was refused, what to do.
    pub message: String,
    /// The principal, such as `certificate/ID`.
    pub principal: Option<String>,
    /// From where.
    pub address: Option<String>,
    /// The whole decision, when there was one.
    pub decision: Option<Decision>,
}

/// One thing that happened to anybody.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct TraceLine {
    /// Counts all entries since the hub started, from 1.
    pub number: u64,
    /// Whom it happened to, as it calls itself; absent when it did not come so far.
    pub client_id: Option<String>,
    /// Whether it did not go as the device wished.
    pub failed: bool,
    /// What happened.
    pub entry: Entry,
}
