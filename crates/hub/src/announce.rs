//! Lifecycle events as messages on the hub's topics.
//!
//! Both follow AWS's: `$hub/events/presence/connected/{client id}` and so on. They are published
//! always; who may see them is the policies' business. Source: AWS IoT Core Developer Guide,
//! "Lifecycle events".

use bytes::Bytes;
use model::{ClientId, TopicName};
use mqtt_proto::QoS;
use serde_json::{Map, Value};

use crate::{DisconnectReason, Event, Hub};

impl Hub {
    /// Publishes an event. Clients whose id cannot stand in a topic get none.
    pub(crate) fn announce(&self, event: &Event) {
        let Ok(topic) = TopicName::new(event.topic()) else {
            return;
        };
        let payload = Bytes::from(event.payload().to_string());
        match self.publish_own(topic, payload, QoS::AtLeastOnce) {
            // Nobody waits for an event's acknowledgement.
            Ok(ack) => drop(ack),
            Err(refusal) => tracing::warn!(%refusal, "an event was not delivered"),
        }
    }
}

impl Event {
    /// Where it is published. No topic when the client id holds a wildcard.
    fn topic(&self) -> String {
        let (family, client_id) = match self {
            Self::Connected { client_id, .. }
            | Self::Disconnected { client_id, .. }
            | Self::ConnectFailed { client_id, .. } => ("presence", client_id),
            Self::Subscribed { client_id, .. } | Self::Unsubscribed { client_id, .. } => {
                ("subscriptions", client_id)
            }
        };
        format!("$hub/events/{family}/{}/{client_id}", self.name())
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Connected { .. } => "connected",
            Self::Disconnected { .. } => "disconnected",
            Self::ConnectFailed { .. } => "connect_failed",
            Self::Subscribed { .. } => "subscribed",
            Self::Unsubscribed { .. } => "unsubscribed",
        }
    }

    /// What is published. Times are in milliseconds.
    fn payload(&self) -> Value {
        let mut message = Message(Map::new());
        match self {
            Self::Connected {
                client_id,
                device,
                principal,
                session,
                address,
                version,
                at,
            } => {
                message.head(self, client_id, at.millis());
                message.optional("thingName", device.as_ref().map(ToString::to_string));
                message.set("sessionIdentifier", session.as_str());
                message.set("principalIdentifier", principal.as_str());
                message.set("ipAddress", address.to_string());
                message.set("versionNumber", *version);
            }
            Self::Disconnected {
                client_id,
                device,
                principal,
                session,
                version,
                reason,
                at,
            } => {
                message.head(self, client_id, at.millis());
                message.optional("thingName", device.as_ref().map(ToString::to_string));
                message.set("sessionIdentifier", session.as_str());
                message.set("principalIdentifier", principal.as_str());
                message.set(
                    "clientInitiatedDisconnect",
                    *reason == DisconnectReason::ClientInitiated,
                );
                message.set("disconnectReason", reason.name());
                message.set("versionNumber", *version);
            }
            Self::ConnectFailed {
                client_id,
                principal,
                at,
            } => {
                message.head(self, client_id, at.millis());
                message.set("principalIdentifier", principal.as_str());
                message.set("connectFailureReason", "AUTHORIZATION_FAILED");
            }
            Self::Subscribed {
                client_id,
                principal,
                session,
                filters,
                at,
            }
            | Self::Unsubscribed {
                client_id,
                principal,
                session,
                filters,
                at,
            } => {
                message.head(self, client_id, at.millis());
                message.set("sessionIdentifier", session.as_str());
                message.set("principalIdentifier", principal.as_str());
                message.set("topics", filters.clone());
            }
        }
        Value::Object(message.0)
    }
}

impl DisconnectReason {
    /// The name in events, which is AWS's.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientInitiated => "CLIENT_INITIATED_DISCONNECT",
            Self::Forbidden => "FORBIDDEN_ACCESS",
            Self::ClientError => "CLIENT_ERROR",
            Self::ConnectionLost => "CONNECTION_LOST",
            Self::DuplicateClientId => "DUPLICATE_CLIENTID",
            Self::KeepAliveTimeout => "MQTT_KEEP_ALIVE_TIMEOUT",
            Self::Unauthorized => "AUTH_ERROR",
            Self::ServerError => "SERVER_ERROR",
            Self::ServerInitiated => "SERVER_INITIATED_DISCONNECT",
            Self::ApiInitiated => "API_INITIATED_DISCONNECT",
            Self::Throttled => "THROTTLED",
        }
    }
}

/// A message in the making.
struct Message(Map<String, Value>);

impl Message {
    fn head(&mut self, event: &Event, client_id: &ClientId, millis: u64) {
        self.set("clientId", client_id.as_str());
        self.set("timestamp", millis);
        self.set("eventType", event.name());
    }

    fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    fn optional(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;

    const AT: Timestamp = Timestamp::from_millis(1_460_065_214_626);

    #[test]
    fn a_connection_is_told_like_this() {
        check(
            &Event::Connected {
                client_id: "c".parse().unwrap(),
                device: Some("T".parse().unwrap()),
                principal: "p".into(),
                session: "s".into(),
                address: "192.0.2.1".parse().unwrap(),
                version: 3,
                at: AT,
            },
            "$hub/events/presence/connected/c",
            r#"{"clientId":"c","timestamp":1460065214626,"eventType":"connected","thingName":"T","sessionIdentifier":"s","principalIdentifier":"p","ipAddress":"192.0.2.1","versionNumber":3}"#,
        );
    }

    #[test]
    fn its_end_is_told_with_the_reason() {
        for (reason, initiated, name) in [
            (
                DisconnectReason::ClientInitiated,
                true,
                "CLIENT_INITIATED_DISCONNECT",
            ),
            (
                DisconnectReason::KeepAliveTimeout,
                false,
                "MQTT_KEEP_ALIVE_TIMEOUT",
            ),
        ] {
            check(
                &Event::Disconnected {
                    client_id: "a/b".parse().unwrap(),
                    device: None,
                    principal: "p".into(),
                    session: "s".into(),
                    version: 3,
                    reason,
                    at: AT,
                },
                "$hub/events/presence/disconnected/a/b",
                &format!(
                    r#"{{"clientId":"a/b","timestamp":1460065214626,"eventType":"disconnected","sessionIdentifier":"s","principalIdentifier":"p","clientInitiatedDisconnect":{initiated},"disconnectReason":"{name}","versionNumber":3}}"#
                ),
            );
        }
    }

    #[test]
    fn a_refused_connection_is_told_like_this() {
        check(
            &Event::ConnectFailed {
                client_id: "c".parse().unwrap(),
                principal: "p".into(),
                at: AT,
            },
            "$hub/events/presence/connect_failed/c",
            r#"{"clientId":"c","timestamp":1460065214626,"eventType":"connect_failed","principalIdentifier":"p","connectFailureReason":"AUTHORIZATION_FAILED"}"#,
        );
    }

    #[test]
    fn subscriptions_are_told_with_all_their_filters() {
        check(
            &Event::Subscribed {
                client_id: "c".parse().unwrap(),
                principal: "p".into(),
                session: "s".into(),
                filters: vec!["a/#".into(), "b".into()],
                at: AT,
            },
            "$hub/events/subscriptions/subscribed/c",
            r#"{"clientId":"c","timestamp":1460065214626,"eventType":"subscribed","sessionIdentifier":"s","principalIdentifier":"p","topics":["a/#","b"]}"#,
        );
    }

    #[track_caller]
    fn check(event: &Event, topic: &str, payload: &str) {
        assert_eq!(event.topic(), topic);
        assert_eq!(event.payload().to_string(), payload);
    }
}
