//! A message made ready once, for all its subscribers, whatever their version and QoS.

use std::num::NonZeroU16;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    PublishProperties, QoS, Version,
    encode::{Sink, count, publish_head, varint_len},
    properties::{PropertySink, id},
};

/// A PUBLISH without what differs from subscriber to subscriber. Cloning one copies no bytes.
///
/// The topic, the properties that travel end to end (but for the expiry, which shrinks on the way)
/// and the payload are encoded; version, flags, packet id, alias, subscription identifiers and the
/// remaining expiry are put between them by [`EncodedPublish::append`], which is three copies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EncodedPublish {
    /// Topic with its length, properties without theirs, payload.
    bytes: Bytes,
    properties_at: usize,
    payload_at: usize,
}

/// A number that stands for the topic on one connection. MQTT 5.0 §3.3.2.3.4.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Alias {
    /// Sent together with the topic, which it stands for from here on.
    Introduced(NonZeroU16),
    /// Sent instead of the topic.
    Known(NonZeroU16),
}

/// What differs from one subscriber to the next.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delivery<'a> {
    /// Whether it was sent before.
    pub dup: bool,
    /// At which level of service.
    pub qos: QoS,
    /// Whether it is a retained message.
    pub retain: bool,
    /// Must be present exactly when `qos` is not 0.
    pub packet_id: Option<NonZeroU16>,
    /// What is left of its life, in seconds. MQTT 5.0 §3.3.2.3.3.
    pub message_expiry_seconds: Option<u32>,
    /// The subscriptions it is sent for.
    pub subscription_ids: &'a [u32],
    /// What stands for the topic.
    pub alias: Option<Alias>,
}

impl EncodedPublish {
    /// Makes a message ready. `topic` must be a topic name; properties are left out when it is
    /// sent to a 3.1.1 subscriber.
    #[must_use]
    pub fn new(topic: &str, payload: &[u8], properties: &PublishProperties) -> Self {
        let properties_bytes = count(|sink| sink.message_properties(properties));
        let mut bytes = BytesMut::with_capacity(topic.len() + 2 + properties_bytes + payload.len());
        bytes.string(topic);
        let properties_at = bytes.len();
        bytes.message_properties(properties);
        let payload_at = bytes.len();
        bytes.put_slice(payload);
        Self {
            bytes: bytes.freeze(),
            properties_at,
            payload_at,
        }
    }

    /// The topic's bytes.
    #[must_use]
    pub fn topic(&self) -> &[u8] {
        &self.bytes[2..self.properties_at]
    }

    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.payload_at..]
    }

    /// Bytes it keeps in memory.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of the packet that [`Self::append`] would write.
    #[must_use]
    pub fn packet_bytes(&self, version: Version, delivery: &Delivery<'_>) -> usize {
        let body = self.lengths(version, delivery).0;
        1 + varint_len(body) + body
    }

    /// Appends the packet for one subscriber.
    pub fn append(&self, version: Version, delivery: &Delivery<'_>, out: &mut BytesMut) {
        let (body, properties) = self.lengths(version, delivery);
        out.reserve(body + 5);
        out.put_u8(publish_head(delivery.dup, delivery.qos, delivery.retain));
        out.varint(body);
        if self.sends_topic(version, delivery) {
            out.put_slice(&self.bytes[..self.properties_at]);
        } else {
            out.put_u16(0);
        }
        if let Some(packet_id) = delivery.packet_id {
            out.put_u16(packet_id.get());
        }
        if version == Version::V5 {
            out.varint(properties);
            delivery_properties(delivery, out);
            out.put_slice(&self.bytes[self.properties_at..]);
        } else {
            out.put_slice(self.payload());
        }
    }

    fn sends_topic(&self, version: Version, delivery: &Delivery<'_>) -> bool {
        version == Version::V311 || !matches!(delivery.alias, Some(Alias::Known(_)))
    }

    /// The remaining length, and the length of the property list within it.
    fn lengths(&self, version: Version, delivery: &Delivery<'_>) -> (usize, usize) {
        let topic = if self.sends_topic(version, delivery) {
            self.properties_at
        } else {
            2
        };
        let packet_id = if delivery.packet_id.is_some() { 2 } else { 0 };
        let fixed = topic + packet_id + self.payload().len();
        match version {
            Version::V311 => (fixed, 0),
            Version::V5 => {
                let properties = self.payload_at - self.properties_at
                    + count(|sink| delivery_properties(delivery, sink));
                (fixed + varint_len(properties) + properties, properties)
            }
        }
    }
}

fn delivery_properties(delivery: &Delivery<'_>, sink: &mut (impl Sink + ?Sized)) {
    match delivery.alias {
        Some(Alias::Introduced(alias) | Alias::Known(alias)) => {
            sink.u16_property(id::TOPIC_ALIAS, alias.get());
        }
        None => {}
    }
    for &subscription in delivery.subscription_ids {
        sink.u8(id::SUBSCRIPTION_ID);
        sink.varint(subscription as usize);
    }
    if let Some(seconds) = delivery.message_expiry_seconds {
        sink.u32_property(id::MESSAGE_EXPIRY, seconds);
    }
}
