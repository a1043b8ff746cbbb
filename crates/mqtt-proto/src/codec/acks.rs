//! PUBACK, PUBREC, PUBREL, PUBCOMP, DISCONNECT, AUTH. MQTT 5.0 §3.4 to §3.7, §3.14, §3.15.

use crate::{
    DecodeError, PacketKind, ReasonCode, Version,
    codec::{Role, reason},
    packet::{Auth, Disconnect, PubAck},
    properties::{Section, id},
    read::Reader,
};

/// §3.4.2: the reason code may be left out, and the properties after it.
pub(super) fn step(
    kind: PacketKind,
    mut body: Reader,
    version: Version,
) -> Result<PubAck, DecodeError> {
    let mut step = PubAck::new(body.packet_id()?, ReasonCode::Success);
    if version == Version::V5 && !body.is_empty() {
        step.reason = reason(kind, body.u8()?)?;
        if !body.is_empty() {
            let mut section = Section::read(&mut body)?;
            while let Some(id) = section.next()? {
                match id {
                    id::REASON_STRING => step.reason_string = Some(section.value.string()?),
                    id::USER_PROPERTY => section.user_property(&mut step.user_properties)?,
                    _ => return Err(Section::misplaced()),
                }
            }
        }
    }
    body.end()?;
    Ok(step)
}

pub(super) fn disconnect(
    mut body: Reader,
    version: Version,
    role: Role,
) -> Result<Disconnect, DecodeError> {
    let mut disconnect = Disconnect::default();
    if version == Version::V5 && !body.is_empty() {
        disconnect.reason = reason(PacketKind::Disconnect, body.u8()?)?;
        if role == Role::Server && !disconnect.reason.may_end_by_client() {
            return Err(DecodeError::protocol(
                "3.14.2.1",
                "a reason code that only servers give",
            ));
        }
        if !body.is_empty() {
            let mut section = Section::read(&mut body)?;
            while let Some(id) = section.next()? {
                match id {
                    id::SESSION_EXPIRY if role == Role::Server => {
                        disconnect.session_expiry_seconds = Some(section.value.u32()?);
                    }
                    id::SESSION_EXPIRY => {
                        return Err(DecodeError::protocol(
                            "3.14.2.2.2",
                            "a server sends a session expiry in DISCONNECT",
                        ));
                    }
                    id::SERVER_REFERENCE if role == Role::Client => {
                        disconnect.server_reference = Some(section.value.string()?);
                    }
                    id::REASON_STRING => disconnect.reason_string = Some(section.value.string()?),
                    id::USER_PROPERTY => section.user_property(&mut disconnect.user_properties)?,
                    _ => return Err(Section::misplaced()),
                }
            }
        }
    }
    body.end()?;
    Ok(disconnect)
}

/// §3.15.2.1: a client continues or starts again, only a server says success.
pub(super) fn auth(mut body: Reader, role: Role) -> Result<Auth, DecodeError> {
    let mut auth = Auth::default();
    if !body.is_empty() {
        auth.reason = reason(PacketKind::Auth, body.u8()?)?;
        if !body.is_empty() {
            let mut section = Section::read(&mut body)?;
            while let Some(id) = section.next()? {
                match id {
                    id::AUTHENTICATION_METHOD => auth.method = Some(section.value.string()?),
                    id::AUTHENTICATION_DATA => auth.data = Some(section.value.binary()?),
                    id::REASON_STRING => auth.reason_string = Some(section.value.string()?),
                    id::USER_PROPERTY => section.user_property(&mut auth.user_properties)?,
                    _ => return Err(Section::misplaced()),
                }
            }
        }
    }
    body.end()?;
    let sent_by_other_end = match role {
        Role::Server => auth.reason == ReasonCode::Success,
        Role::Client => auth.reason == ReasonCode::ReAuthenticate,
    };
    if sent_by_other_end {
        return Err(DecodeError::protocol(
            "3.15.2.1",
            "a reason code that only the other end gives",
        ));
    }
    // §3.15.2.2.2: leaving the method out is a protocol error; with nothing at all the packet
    // says "success" and needs none.
    if auth.method.is_none() && auth.reason != ReasonCode::Success {
        return Err(DecodeError::protocol(
            "3.15.2.2.2",
            "AUTH without authentication method",
        ));
    }
    Ok(auth)
}
