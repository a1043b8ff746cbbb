//! A message, and its delivery to one subscriber.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use model::{ClientId, Timestamp, TopicName};
use mqtt_proto::{EncodedPublish, PublishProperties, QoS};
use smallvec::SmallVec;

use crate::SessionKey;

/// A published message: made once, shared by every subscriber, queue and rule.
#[derive(Debug)]
pub struct Message {
    /// Where it was published, in the hub's canonical spelling.
    pub topic: TopicName,
    /// What was published; at most `limits::PACKET_BYTES` bytes.
    pub payload: Bytes,
    /// At what quality of service its publisher sent it.
    pub qos: QoS,
    /// Whether its publisher asked for it to be retained.
    pub retain: bool,
    /// The properties that travel from publisher to subscriber (MQTT 5.0 §3.3.2.3).
    pub properties: PublishProperties,
    /// Who published it.
    pub origin: Origin,
    /// When the hub took it.
    pub published_at: Timestamp,
    /// After this time it is delivered to no one. MQTT 5.0 §3.3.2.3.3.
    pub expires_at: Option<Timestamp>,
    encoded: OnceLock<EncodedPublish>,
}

/// Who published a message.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Origin {
    /// The session it came from, for the No Local option. `None` when not by MQTT.
    pub session: Option<SessionKey>,
    /// What its publisher calls itself, for rules. `None` when it has no client id.
    pub client_id: Option<ClientId>,
}

impl Message {
    /// A message taken at `published_at`; its expiry is computed from its properties.
    #[must_use]
    pub fn new(
        topic: TopicName,
        payload: Bytes,
        qos: QoS,
        retain: bool,
        properties: PublishProperties,
        origin: Origin,
        published_at: Timestamp,
    ) -> Self {
        let expires_at = properties
            .message_expiry_seconds
            .map(|seconds| published_at.after(std::time::Duration::from_secs(seconds.into())));
        Self {
            topic,
            payload,
            qos,
            retain,
            properties,
            origin,
            published_at,
            expires_at,
            encoded: OnceLock::new(),
        }
    }

    /// Whether its time has passed.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Its PUBLISH under its canonical topic, encoded once for all its subscribers.
    pub fn encoded(&self) -> &EncodedPublish {
        self.encoded.get_or_init(|| {
            EncodedPublish::new(self.topic.as_str(), &self.payload, &self.properties)
        })
    }

    /// What it weighs in a queue, in bytes: topic, payload and properties.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        let properties = &self.properties;
        let text =
            |text: &Option<bytestring::ByteString>| text.as_ref().map_or(0, |text| text.len());
        self.topic.as_str().len()
            + self.payload.len()
            + text(&properties.content_type)
            + text(&properties.response_topic)
            + properties.correlation_data.as_ref().map_or(0, Bytes::len)
            + properties
                .user_properties
                .iter()
                .map(|(name, value)| name.len() + value.len())
                .sum::<usize>()
    }
}

/// A message on its way to one subscriber.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What is delivered, shared with everyone else who gets it.
    pub message: Arc<Message>,
    /// At what quality of service: the lower of the publisher's and the subscription's.
    pub qos: QoS,
    /// The RETAIN flag as this subscriber sees it. MQTT 5.0 §3.3.1.3.
    pub retain: bool,
    /// Whether it may have been sent before. MQTT 5.0 §3.3.1.1.
    pub dup: bool,
    /// Its place in the session's queue; 0 at QoS 0. The packet id derives from it.
    pub seq: u64,
    /// The identifiers of the subscriptions it matched. MQTT 5.0 §3.3.2.3.8.
    pub subscription_ids: SmallVec<[u32; 2]>,
}
