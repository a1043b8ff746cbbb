//! Messages as the store keeps them.
//!
//! The properties of a message are one byte string there: for each present property a tag, the
//! length of its value (4 bytes, big-endian) and the value. Tags are never reused.

use std::sync::Arc;

use broker::{Delivery, Message, Origin, StoredDelivery};
use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use mqtt_proto::{PublishProperties, QoS};
use smallvec::SmallVec;
use store::{Queued, QueuedMessage};

const PAYLOAD_FORMAT: u8 = 1;
const MESSAGE_EXPIRY: u8 = 2;
const CONTENT_TYPE: u8 = 3;
const RESPONSE_TOPIC: u8 = 4;
const CORRELATION_DATA: u8 = 5;
const USER_PROPERTY: u8 = 6;

/// The message as the store keeps it.
pub(crate) fn to_store(message: &Message) -> Arc<store::Message> {
    Arc::new(store::Message {
        topic: message.topic.clone(),
        payload: message.payload.clone(),
        properties: encode(&message.properties),
        published_at: message.published_at,
        expires_at: message.expires_at,
    })
}

/// The message the store kept. Properties that do not read back are left out: the payload of a
/// damaged row is still worth delivering.
pub(crate) fn from_store(stored: &store::Message, qos: QoS, retain: bool) -> Message {
    let mut message = Message::new(
        stored.topic.clone(),
        stored.payload.clone(),
        qos,
        retain,
        decode(&stored.properties),
        Origin::default(),
        stored.published_at,
    );
    message.expires_at = stored.expires_at;
    message
}

/// A queue entry the store kept.
pub(crate) fn delivery(entry: QueuedMessage) -> StoredDelivery {
    match entry.content {
        Queued::Released => StoredDelivery::Released(entry.seq),
        Queued::Message {
            qos,
            retain,
            subscription_ids,
            message,
        } => {
            let qos = QoS::try_from(qos).unwrap_or(QoS::AtLeastOnce);
            StoredDelivery::Message(Delivery {
                message: Arc::new(from_store(&message, qos, retain)),
                qos,
                retain,
                dup: false,
                seq: entry.seq,
                subscription_ids: SmallVec::from_slice(&subscription_ids),
            })
        }
    }
}

fn encode(properties: &PublishProperties) -> Bytes {
    let mut out = BytesMut::new();
    let mut put = |tag: u8, value: &[u8]| {
        out.put_u8(tag);
        let length = u32::try_from(value.len()).expect("a packet is at most 256 MiB");
        out.put_u32(length);
        out.put_slice(value);
    };
    if let Some(text) = properties.payload_format {
        put(PAYLOAD_FORMAT, &[u8::from(text)]);
    }
    if let Some(seconds) = properties.message_expiry_seconds {
        put(MESSAGE_EXPIRY, &seconds.to_be_bytes());
    }
    if let Some(text) = &properties.content_type {
        put(CONTENT_TYPE, text.as_bytes());
    }
    if let Some(text) = &properties.response_topic {
        put(RESPONSE_TOPIC, text.as_bytes());
    }
    if let Some(data) = &properties.correlation_data {
        put(CORRELATION_DATA, data);
    }
    for (name, value) in &properties.user_properties {
        let name_bytes = u16::try_from(name.len()).expect("an MQTT string is at most 65,535 bytes");
        let pair = [
            &name_bytes.to_be_bytes()[..],
            name.as_bytes(),
            value.as_bytes(),
        ]
        .concat();
        put(USER_PROPERTY, &pair);
    }
    out.freeze()
}

fn decode(mut bytes: &[u8]) -> PublishProperties {
    let mut properties = PublishProperties::default();
    while let Some((tag, value, rest)) = next_field(bytes) {
        bytes = rest;
        match tag {
            PAYLOAD_FORMAT => properties.payload_format = value.first().map(|flag| *flag == 1),
            MESSAGE_EXPIRY => {
                properties.message_expiry_seconds = value.try_into().ok().map(u32::from_be_bytes);
            }
            CONTENT_TYPE => properties.content_type = text(value),
            RESPONSE_TOPIC => properties.response_topic = text(value),
            CORRELATION_DATA => properties.correlation_data = Some(Bytes::copy_from_slice(value)),
            USER_PROPERTY => properties.user_properties.extend(pair(value)),
            // Written by a newer version of the hub.
            _ => {}
        }
    }
    properties
}

fn next_field(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, bytes) = bytes.split_first()?;
    let (length, bytes) = bytes.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (value, rest) = bytes.split_at_checked(length)?;
    Some((*tag, value, rest))
}

fn pair(value: &[u8]) -> Option<(ByteString, ByteString)> {
    let (length, rest) = value.split_first_chunk()?;
    let (name, value) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    Some((text(name)?, text(value)?))
}

fn text(value: &[u8]) -> Option<ByteString> {
    std::str::from_utf8(value).ok().map(ByteString::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_read_back_as_written() {
        let properties = PublishProperties {
            payload_format: Some(true),
            message_expiry_seconds: Some(7),
            content_type: Some("text/plain".into()),
            response_topic: Some("answers".into()),
            correlation_data: Some(Bytes::from_static(b"\0\x01")),
            user_properties: vec![("k".into(), "v".into()), ("k".into(), "".into())],
        };
        assert_eq!(decode(&encode(&properties)), properties);
        assert_eq!(
            decode(b"\x03\xff\xff\xff\xffx"),
            PublishProperties::default()
        );
    }
}
