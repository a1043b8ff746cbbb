//! Messages: published and looked at.

use serde::{Deserialize, Serialize};

/// A message to be published: its payload is `text` or `base64`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Publication {
    /// Where.
    pub topic: String,
    /// The payload, when it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The payload in base64, when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// Quality of service: 0 or 1.
    #[serde(default)]
    pub qos: u8,
    /// Whether it is kept for later subscribers.
    #[serde(default)]
    pub retain: bool,
}

/// A message as it was delivered to a watcher: its payload is `text` when it is UTF-8, else
/// `base64`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Message {
    /// Where it was published.
    pub topic: String,
    /// The payload, when it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The payload in base64, when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// At what quality of service it was published.
    pub qos: u8,
    /// Whether it had been retained before the watcher came.
    pub retained: bool,
    /// Who published it, as it calls itself; absent for messages of the hub and of operators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// When the hub took it.
    pub published_at: u64,
    /// How many messages the watcher has missed so far, because it read too slowly.
    pub missed: u64,
}
