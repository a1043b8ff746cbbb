//! SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK. MQTT 5.0 §3.8 to §3.11.

use std::num::NonZeroU32;

use bytestring::ByteString;
use model::limits;

use crate::{
    DecodeError, PacketKind, QoS, ReasonCode, Version,
    codec::reason,
    packet::{
        RetainHandling, SubAck, Subscribe, SubscribeOptions, UnsubAck, Unsubscribe, UserProperties,
    },
    properties::{Section, id},
    read::Reader,
};

pub(super) fn subscribe(mut body: Reader, version: Version) -> Result<Subscribe, DecodeError> {
    let packet_id = body.packet_id()?;
    let mut subscription_id = None;
    let mut user_properties = Vec::new();
    if version == Version::V5 {
        let mut section = Section::read(&mut body)?;
        while let Some(id) = section.next()? {
            match id {
                id::SUBSCRIPTION_ID => {
                    let id = NonZeroU32::new(section.value.varint()?).ok_or(
                        DecodeError::protocol("3.8.2.1.2", "a subscription identifier of 0"),
                    )?;
                    if subscription_id.replace(id).is_some() {
                        return Err(DecodeError::protocol(
                            "3.8.2.1.2",
                            "more than one subscription identifier",
                        ));
                    }
                }
                id::USER_PROPERTY => section.user_property(&mut user_properties)?,
                _ => return Err(Section::misplaced()),
            }
        }
    }
    let mut filters = Vec::new();
    while !body.is_empty() {
        let filter = filter(&mut body, filters.len())?;
        let options = options(body.u8()?, &filter, version)?;
        filters.push((filter, options));
    }
    if filters.is_empty() {
        return Err(DecodeError::protocol(
            "3.8.3",
            "a SUBSCRIBE without filters",
        ));
    }
    Ok(Subscribe {
        packet_id,
        subscription_id,
        filters,
        user_properties,
    })
}

/// A topic filter; whether its wildcards stand right is judged where it is subscribed to, so that
/// one bad filter is refused in the answer and the others are served.
fn filter(body: &mut Reader, before: usize) -> Result<ByteString, DecodeError> {
    if before >= limits::FILTERS_PER_PACKET {
        return Err(DecodeError::TooMany {
            of: "filters",
            limit: limits::FILTERS_PER_PACKET,
        });
    }
    let filter = body.string()?;
    if filter.is_empty() {
        return Err(DecodeError::protocol("4.7.3", "an empty topic filter"));
    }
    Ok(filter)
}

/// §3.8.3.1.
fn options(byte: u8, filter: &str, version: Version) -> Result<SubscribeOptions, DecodeError> {
    let reserved = match version {
        Version::V311 => 0xFC,
        Version::V5 => 0xC0,
    };
    if byte & reserved != 0 {
        return Err(DecodeError::malformed(
            "3.8.3.1 (3.1.1 3.8.3)",
            "reserved bits of the subscription options are set",
        ));
    }
    let qos = QoS::try_from(byte & 3).map_err(|_invalid| {
        DecodeError::protocol("3.8.3.1 (3.1.1 3.8.3)", "a subscription at QoS 3")
    })?;
    let no_local = byte & 4 != 0;
    if no_local && filter.starts_with("$share/") {
        return Err(DecodeError::protocol(
            "3.8.3.1",
            "No Local on a shared subscription",
        ));
    }
    let retain_handling = match byte >> 4 & 3 {
        0 => RetainHandling::Send,
        1 => RetainHandling::SendIfNew,
        2 => RetainHandling::DoNotSend,
        _ => return Err(DecodeError::protocol("3.8.3.1", "a Retain Handling of 3")),
    };
    Ok(SubscribeOptions {
        qos,
        no_local,
        retain_as_published: byte & 8 != 0,
        retain_handling,
    })
}

pub(super) fn unsubscribe(mut body: Reader, version: Version) -> Result<Unsubscribe, DecodeError> {
    let packet_id = body.packet_id()?;
    let mut user_properties = Vec::new();
    if version == Version::V5 {
        let mut section = Section::read(&mut body)?;
        while let Some(id) = section.next()? {
            match id {
                id::USER_PROPERTY => section.user_property(&mut user_properties)?,
                _ => return Err(Section::misplaced()),
            }
        }
    }
    let mut filters = Vec::new();
    while !body.is_empty() {
        filters.push(filter(&mut body, filters.len())?);
    }
    if filters.is_empty() {
        return Err(DecodeError::protocol(
            "3.10.3",
            "an UNSUBSCRIBE without filters",
        ));
    }
    Ok(Unsubscribe {
        packet_id,
        filters,
        user_properties,
    })
}

/// A reason string and user properties.
fn explanation(body: &mut Reader) -> Result<(Option<ByteString>, UserProperties), DecodeError> {
    let mut reason_string = None;
    let mut user_properties = Vec::new();
    let mut section = Section::read(body)?;
    while let Some(id) = section.next()? {
        match id {
            id::REASON_STRING => reason_string = Some(section.value.string()?),
            id::USER_PROPERTY => section.user_property(&mut user_properties)?,
            _ => return Err(Section::misplaced()),
        }
    }
    Ok((reason_string, user_properties))
}

/// One reason code for each filter that was asked for; no more than can have been.
fn reasons(kind: PacketKind, mut body: Reader) -> Result<Vec<ReasonCode>, DecodeError> {
    let mut reasons = Vec::new();
    while !body.is_empty() {
        if reasons.len() >= limits::FILTERS_PER_PACKET {
            return Err(DecodeError::TooMany {
                of: "reason codes",
                limit: limits::FILTERS_PER_PACKET,
            });
        }
        reasons.push(reason(kind, body.u8()?)?);
    }
    if reasons.is_empty() {
        return Err(DecodeError::protocol(
            "3.9.3",
            "an acknowledgement without reason codes",
        ));
    }
    Ok(reasons)
}

pub(super) fn suback(mut body: Reader, version: Version) -> Result<SubAck, DecodeError> {
    let packet_id = body.packet_id()?;
    let (reason_string, user_properties) = match version {
        Version::V311 => (None, Vec::new()),
        Version::V5 => explanation(&mut body)?,
    };
    let reasons = reasons(PacketKind::SubAck, body)?;
    let known = |code: &ReasonCode| code.v311_suback() == code.as_u8();
    if version == Version::V311 && !reasons.iter().all(known) {
        return Err(DecodeError::malformed(
            "3.1.1 3.9.3",
            "a return code that SUBACK does not have",
        ));
    }
    Ok(SubAck {
        packet_id,
        reasons,
        reason_string,
        user_properties,
    })
}

pub(super) fn unsuback(mut body: Reader, version: Version) -> Result<UnsubAck, DecodeError> {
    let packet_id = body.packet_id()?;
    if version == Version::V311 {
        body.end()?;
        return Ok(UnsubAck {
            packet_id,
            reasons: Vec::new(),
            reason_string: None,
            user_properties: Vec::new(),
        });
    }
    let (reason_string, user_properties) = explanation(&mut body)?;
    Ok(UnsubAck {
        packet_id,
        reasons: reasons(PacketKind::UnsubAck, body)?,
        reason_string,
        user_properties,
    })
}
