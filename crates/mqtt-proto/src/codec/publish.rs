//! PUBLISH. MQTT 5.0 §3.3.

use std::num::NonZeroU16;

use model::limits;

use crate::{
    DecodeError, PublishProperties, QoS, Version,
    codec::Role,
    packet::Publish,
    properties::{Section, id},
    read::Reader,
};

/// §3.3.1: no QoS 3, and DUP only above QoS 0.
pub(super) fn check_flags(flags: u8) -> Result<(), DecodeError> {
    match (flags >> 1 & 3, flags & 8 != 0) {
        (3, _) => Err(DecodeError::malformed("3.3.1.2", "a PUBLISH with QoS 3")),
        (0, true) => Err(DecodeError::malformed(
            "3.3.1.1",
            "a PUBLISH with QoS 0 and DUP",
        )),
        _ => Ok(()),
    }
}

/// §3.3.2.1: a topic name without wildcards. Emptiness is judged by the caller.
pub(super) fn check_topic(topic: &str) -> Result<(), DecodeError> {
    if topic.len() > limits::TOPIC_BYTES {
        return Err(DecodeError::TopicName {
            clause: "4.7.3",
            what: "the topic is longer than this server takes",
        });
    }
    if topic.bytes().any(|byte| matches!(byte, b'+' | b'#')) {
        return Err(DecodeError::TopicName {
            clause: "3.3.2.1",
            what: "a topic to publish to holds a wildcard",
        });
    }
    Ok(())
}

pub(super) fn publish(
    flags: u8,
    mut body: Reader,
    version: Version,
    role: Role,
) -> Result<Publish, DecodeError> {
    let qos = QoS::try_from(flags >> 1 & 3)
        .map_err(|_invalid| DecodeError::malformed("3.3.1.2", "a PUBLISH with QoS 3"))?;
    let topic = body.string()?;
    check_topic(&topic)?;
    let packet_id = match qos {
        QoS::AtMostOnce => None,
        QoS::AtLeastOnce | QoS::ExactlyOnce => Some(body.packet_id()?),
    };
    let mut properties = PublishProperties::default();
    let mut topic_alias = None;
    let mut subscription_ids = Vec::new();
    if version == Version::V5 {
        let mut section = Section::read(&mut body)?;
        while let Some(id) = section.next()? {
            match id {
                id::TOPIC_ALIAS => {
                    let alias = NonZeroU16::new(section.value.u16()?);
                    topic_alias = Some(alias.ok_or(DecodeError::TopicAlias)?);
                }
                id::SUBSCRIPTION_ID if role == Role::Client => {
                    let id = section.value.varint()?;
                    if id == 0 {
                        return Err(DecodeError::protocol(
                            "3.3.2.3.8",
                            "a subscription identifier of 0",
                        ));
                    }
                    if subscription_ids.len() >= limits::SUBSCRIPTIONS_PER_SESSION {
                        return Err(DecodeError::TooMany {
                            of: "subscription identifiers",
                            limit: limits::SUBSCRIPTIONS_PER_SESSION,
                        });
                    }
                    subscription_ids.push(id);
                }
                id::SUBSCRIPTION_ID => {
                    return Err(DecodeError::protocol(
                        "3.3.4",
                        "a client sends a subscription identifier in PUBLISH",
                    ));
                }
                other => section.message_property(other, &mut properties)?,
            }
        }
    }
    if topic.is_empty() && topic_alias.is_none() {
        return Err(DecodeError::protocol(
            "3.3.2.1 (3.1.1 4.7.3)",
            "a PUBLISH without topic",
        ));
    }
    Ok(Publish {
        dup: flags & 8 != 0,
        qos,
        retain: flags & 1 != 0,
        topic,
        packet_id,
        topic_alias,
        subscription_ids,
        payload: body.rest(),
        properties,
    })
}

pub(super) fn check_payload_format(publish: &Publish) -> Result<(), DecodeError> {
    let promised = publish.properties.payload_format == Some(true);
    if promised && str::from_utf8(&publish.payload).is_err() {
        return Err(DecodeError::PayloadFormat);
    }
    Ok(())
}
