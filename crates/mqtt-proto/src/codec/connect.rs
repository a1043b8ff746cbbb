//! CONNECT and CONNACK. MQTT 5.0 §3.1 and §3.2.

use std::num::{NonZeroU16, NonZeroU32};

use crate::{
    DecodeError, PacketKind, PublishProperties, QoS, ReasonCode, Version,
    codec::{publish::check_topic, reason},
    packet::{ConnAck, ConnAckProperties, Connect, ConnectProperties, Will},
    properties::{Section, id},
    read::Reader,
};

/// The protocol's name and level, which decide how the rest is read. §3.1.2.1, §3.1.2.2.
pub(super) fn version(body: &mut Reader) -> Result<Version, DecodeError> {
    let name = body.string()?;
    let level = body.u8()?;
    match (&*name, level) {
        ("MQTT", 4) => Ok(Version::V311),
        ("MQTT", 5) => Ok(Version::V5),
        // MQTT 3.1, and whatever comes after 5.
        ("MQTT" | "MQIsdp", level) => Err(DecodeError::UnsupportedVersion { level }),
        _ => Err(DecodeError::malformed(
            "3.1.2.1",
            "the protocol name is not MQTT",
        )),
    }
}

/// The connect flags. §3.1.2.3.
struct Flags {
    clean_start: bool,
    will: Option<(QoS, bool)>,
    password: bool,
    username: bool,
}

fn flags(byte: u8, version: Version) -> Result<Flags, DecodeError> {
    if byte & 1 != 0 {
        return Err(DecodeError::malformed(
            "3.1.2.3",
            "the reserved connect flag is set",
        ));
    }
    let will_qos = QoS::try_from(byte >> 3 & 3)
        .map_err(|_invalid| DecodeError::malformed("3.1.2.6", "a will with QoS 3"))?;
    let will_retain = byte & 0x20 != 0;
    let will = byte & 4 != 0;
    if !will && will_qos != QoS::AtMostOnce {
        return Err(DecodeError::malformed("3.1.2.6", "a will QoS without will"));
    }
    if !will && will_retain {
        return Err(DecodeError::malformed(
            "3.1.2.7",
            "a will retain flag without will",
        ));
    }
    let (password, username) = (byte & 0x40 != 0, byte & 0x80 != 0);
    if version == Version::V311 && password && !username {
        return Err(DecodeError::malformed(
            "3.1.1 3.1.2.9",
            "a password without user name",
        ));
    }
    Ok(Flags {
        clean_start: byte & 2 != 0,
        will: will.then_some((will_qos, will_retain)),
        password,
        username,
    })
}

/// The rest of a CONNECT, after name and level.
pub(super) fn connect(mut body: Reader, version: Version) -> Result<Connect, DecodeError> {
    let flags = flags(body.u8()?, version)?;
    let keep_alive_seconds = body.u16()?;
    let properties = match version {
        Version::V311 => ConnectProperties::default(),
        Version::V5 => connect_properties(&mut body)?,
    };
    let client_id = body.string()?;
    if version == Version::V311 && client_id.is_empty() && !flags.clean_start {
        return Err(DecodeError::ClientIdentifier);
    }
    let will = match flags.will {
        None => None,
        Some((qos, retain)) => Some(will(&mut body, version, qos, retain)?),
    };
    let username = flags.username.then(|| body.string()).transpose()?;
    let password = flags.password.then(|| body.binary()).transpose()?;
    body.end()?;
    Ok(Connect {
        version,
        clean_start: flags.clean_start,
        keep_alive_seconds,
        client_id,
        will,
        username,
        password,
        properties,
    })
}

fn connect_properties(body: &mut Reader) -> Result<ConnectProperties, DecodeError> {
    let mut properties = ConnectProperties::default();
    let mut section = Section::read(body)?;
    while let Some(id) = section.next()? {
        match id {
            id::SESSION_EXPIRY => properties.session_expiry_seconds = section.value.u32()?,
            id::RECEIVE_MAXIMUM => properties.receive_maximum = receive_maximum(&mut section)?,
            id::MAXIMUM_PACKET_SIZE => {
                properties.maximum_packet_bytes = Some(maximum_packet_bytes(&mut section)?);
            }
            id::TOPIC_ALIAS_MAXIMUM => properties.topic_alias_maximum = section.value.u16()?,
            id::REQUEST_RESPONSE_INFORMATION => {
                properties.request_response_information = section.flag("3.1.2.11.6")?;
            }
            id::REQUEST_PROBLEM_INFORMATION => {
                properties.request_problem_information = section.flag("3.1.2.11.7")?;
            }
            id::AUTHENTICATION_METHOD => {
                properties.authentication_method = Some(section.value.string()?);
            }
            id::AUTHENTICATION_DATA => {
                properties.authentication_data = Some(section.value.binary()?);
            }
            id::USER_PROPERTY => section.user_property(&mut properties.user_properties)?,
            _ => return Err(Section::misplaced()),
        }
    }
    if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
        return Err(DecodeError::protocol(
            "3.1.2.11.10",
            "authentication data without method",
        ));
    }
    Ok(properties)
}

fn receive_maximum(section: &mut Section) -> Result<NonZeroU16, DecodeError> {
    NonZeroU16::new(section.value.u16()?).ok_or(DecodeError::protocol(
        "3.1.2.11.3",
        "a receive maximum of 0",
    ))
}

fn maximum_packet_bytes(section: &mut Section) -> Result<NonZeroU32, DecodeError> {
    NonZeroU32::new(section.value.u32()?).ok_or(DecodeError::protocol(
        "3.1.2.11.4",
        "a maximum packet size of 0",
    ))
}

fn will(body: &mut Reader, version: Version, qos: QoS, retain: bool) -> Result<Will, DecodeError> {
    let mut properties = PublishProperties::default();
    let mut delay_seconds = 0;
    if version == Version::V5 {
        let mut section = Section::read(body)?;
        while let Some(id) = section.next()? {
            match id {
                id::WILL_DELAY => delay_seconds = section.value.u32()?,
                other => section.message_property(other, &mut properties)?,
            }
        }
    }
    let topic = body.string()?;
    if topic.is_empty() {
        return Err(DecodeError::protocol("3.1.3.3", "a will without topic"));
    }
    check_topic(&topic)?;
    Ok(Will {
        topic,
        payload: body.binary()?,
        qos,
        retain,
        delay_seconds,
        properties,
    })
}

pub(super) fn connack(mut body: Reader, version: Version) -> Result<ConnAck, DecodeError> {
    let session_present = match body.u8()? {
        0 => false,
        1 => true,
        _ => {
            return Err(DecodeError::malformed(
                "3.2.2.1",
                "reserved acknowledge flags are set",
            ));
        }
    };
    let number = body.u8()?;
    let (reason, properties) = match version {
        Version::V311 => (
            ReasonCode::from_v311_return_code(number).ok_or(DecodeError::malformed(
                "3.1.1 3.2.2.3",
                "the return code is reserved",
            ))?,
            ConnAckProperties::default(),
        ),
        Version::V5 => (
            reason(PacketKind::ConnAck, number)?,
            connack_properties(&mut body)?,
        ),
    };
    if session_present && reason != ReasonCode::Success {
        return Err(DecodeError::protocol(
            "3.2.2.1.1",
            "a session is present although the connection is refused",
        ));
    }
    body.end()?;
    Ok(ConnAck {
        session_present,
        reason,
        properties,
    })
}

fn connack_properties(body: &mut Reader) -> Result<ConnAckProperties, DecodeError> {
    let mut properties = ConnAckProperties::default();
    let mut section = Section::read(body)?;
    while let Some(id) = section.next()? {
        match id {
            id::SESSION_EXPIRY => properties.session_expiry_seconds = Some(section.value.u32()?),
            id::RECEIVE_MAXIMUM => properties.receive_maximum = receive_maximum(&mut section)?,
            id::MAXIMUM_QOS => {
                properties.maximum_qos = if section.flag("3.2.2.3.4")? {
                    QoS::AtLeastOnce
                } else {
                    QoS::AtMostOnce
                };
            }
            id::RETAIN_AVAILABLE => properties.retain_available = section.flag("3.2.2.3.5")?,
            id::MAXIMUM_PACKET_SIZE => {
                properties.maximum_packet_bytes = Some(maximum_packet_bytes(&mut section)?);
            }
            id::ASSIGNED_CLIENT_ID => {
                properties.assigned_client_id = Some(section.value.string()?);
            }
            id::TOPIC_ALIAS_MAXIMUM => properties.topic_alias_maximum = section.value.u16()?,
            id::REASON_STRING => properties.reason_string = Some(section.value.string()?),
            id::WILDCARD_AVAILABLE => {
                properties.wildcard_subscription_available = section.flag("3.2.2.3.11")?;
            }
            id::SUBSCRIPTION_IDS_AVAILABLE => {
                properties.subscription_ids_available = section.flag("3.2.2.3.12")?;
            }
            id::SHARED_AVAILABLE => {
                properties.shared_subscription_available = section.flag("3.2.2.3.13")?;
            }
            id::SERVER_KEEP_ALIVE => {
                properties.server_keep_alive_seconds = Some(section.value.u16()?);
            }
            id::RESPONSE_INFORMATION => {
                properties.response_information = Some(section.value.string()?);
            }
            id::SERVER_REFERENCE => properties.server_reference = Some(section.value.string()?),
            id::AUTHENTICATION_METHOD => {
                properties.authentication_method = Some(section.value.string()?);
            }
            id::AUTHENTICATION_DATA => {
                properties.authentication_data = Some(section.value.binary()?);
            }
            id::USER_PROPERTY => section.user_property(&mut properties.user_properties)?,
            _ => return Err(Section::misplaced()),
        }
    }
    Ok(properties)
}
