//! Bytes to packets. Strict: whatever a specification calls malformed is refused, with its clause.
//!
//! [`Decoder`] finds packets in a buffer and checks what their headers announce before their
//! contents arrive; the modules below read the contents. Strings and payloads share the buffer's
//! memory: whoever keeps one for long copies it.

mod acks;
mod connect;
mod publish;
mod subscribe;

use bytes::BytesMut;
use model::limits;

use crate::{DecodeError, PacketKind, Version, packet::Packet, read::Reader, read::varint};

/// Which end of the connection reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Reads what clients send.
    Server,
    /// Reads what servers send.
    Client,
}

/// Finds packets in the bytes of one connection.
#[derive(Clone, Debug)]
pub struct Decoder {
    role: Role,
    /// Known from the moment a CONNECT's protocol level was read.
    version: Option<Version>,
    maximum_bytes: usize,
    checks_payload_format: bool,
}

/// What was read before: decides which packets may come.
struct Header {
    kind: PacketKind,
    flags: u8,
    /// Bytes of the fixed header.
    head: usize,
    /// Bytes of the whole packet.
    total: usize,
}

impl Decoder {
    /// A server's. The first packet must be a CONNECT of at most
    /// [`limits::UNAUTHENTICATED_BYTES`]; later ones have at most [`limits::PACKET_BYTES`].
    #[must_use]
    pub const fn server() -> Self {
        Self {
            role: Role::Server,
            version: None,
            maximum_bytes: limits::PACKET_BYTES,
            checks_payload_format: false,
        }
    }

    /// A client's, which asked for `version`.
    #[must_use]
    pub const fn client(version: Version) -> Self {
        Self {
            role: Role::Client,
            version: Some(version),
            maximum_bytes: limits::PACKET_BYTES,
            checks_payload_format: false,
        }
    }

    /// Takes packets of at most `bytes`, fixed header included, after the CONNECT.
    #[must_use]
    pub const fn with_maximum_bytes(mut self, bytes: usize) -> Self {
        self.maximum_bytes = bytes;
        self
    }

    /// Refuses messages whose payload is not the UTF-8 text their format indicator promises.
    /// MQTT 5.0 §3.3.2.3.2 leaves it to the receiver; off by default, because AWS takes them.
    #[must_use]
    pub const fn checking_payload_format(mut self) -> Self {
        self.checks_payload_format = true;
        self
    }

    /// The version the connection speaks, once a CONNECT said so; also after that CONNECT turned
    /// out malformed, so that the refusal can be sent in it.
    #[must_use]
    pub const fn version(&self) -> Option<Version> {
        self.version
    }

    /// Takes the next packet off the front of `buffer`; `None` when it has not arrived whole.
    /// Never reserves room for a length that a peer announces.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] as soon as what is there cannot become an acceptable packet. The connection
    /// must be closed; `buffer` is left as it is.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Packet>, DecodeError> {
        let Some(header) = self.header(buffer)? else {
            return Ok(None);
        };
        if buffer.len() < header.total {
            return Ok(None);
        }
        let mut packet = buffer.split_to(header.total).freeze();
        let contents = packet.split_off(header.head);
        self.contents(&header, Reader::new(contents)).map(Some)
    }

    /// Reads the fixed header and checks everything that can be told from it. §2.1.
    fn header(&self, buffer: &[u8]) -> Result<Option<Header>, DecodeError> {
        let Some(&first) = buffer.first() else {
            return Ok(None);
        };
        let kind = self.kind(first)?;
        let flags = first & 0x0F;
        check_flags(kind, flags)?;
        let Some((length, length_bytes)) = varint(&buffer[1..])? else {
            return Ok(None);
        };
        let head = 1 + length_bytes;
        let total = head.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        let maximum = match self.role {
            Role::Server if kind == PacketKind::Connect => limits::UNAUTHENTICATED_BYTES,
            Role::Server | Role::Client => self.maximum_bytes,
        };
        if total > maximum {
            return Err(DecodeError::TooLarge {
                bytes: total,
                maximum,
            });
        }
        Ok(Some(Header {
            kind,
            flags,
            head,
            total,
        }))
    }

    /// The type in the first byte, when the other side may send it now.
    fn kind(&self, first: u8) -> Result<PacketKind, DecodeError> {
        const WRONG_WAY: DecodeError =
            DecodeError::protocol("2.1.2", "only the other end sends this packet");
        use PacketKind as Kind;
        let (kind, sent_by_client, sent_by_server) = match first >> 4 {
            1 => (Kind::Connect, true, false),
            2 => (Kind::ConnAck, false, true),
            3 => (Kind::Publish, true, true),
            4 => (Kind::PubAck, true, true),
            5 => (Kind::PubRec, true, true),
            6 => (Kind::PubRel, true, true),
            7 => (Kind::PubComp, true, true),
            8 => (Kind::Subscribe, true, false),
            9 => (Kind::SubAck, false, true),
            10 => (Kind::Unsubscribe, true, false),
            11 => (Kind::UnsubAck, false, true),
            12 => (Kind::PingReq, true, false),
            13 => (Kind::PingResp, false, true),
            14 => (Kind::Disconnect, true, self.version == Some(Version::V5)),
            15 if self.version != Some(Version::V311) => (Kind::Auth, true, true),
            _ => {
                return Err(DecodeError::malformed(
                    "2.1.2 (3.1.1 2.2.1)",
                    "the packet type is reserved",
                ));
            }
        };
        if self.version.is_none() && kind != Kind::Connect {
            return Err(DecodeError::protocol(
                "3.1",
                "the first packet is not a CONNECT",
            ));
        }
        let allowed = match self.role {
            Role::Server => sent_by_client,
            Role::Client => sent_by_server,
        };
        if allowed { Ok(kind) } else { Err(WRONG_WAY) }
    }

    fn contents(&mut self, header: &Header, mut body: Reader) -> Result<Packet, DecodeError> {
        let Some(version) = self.version else {
            let version = connect::version(&mut body)?;
            self.version = Some(version);
            return connect::connect(body, version).map(|it| Packet::Connect(Box::new(it)));
        };
        Ok(match header.kind {
            PacketKind::Connect => {
                return Err(DecodeError::protocol("3.1", "a second CONNECT"));
            }
            PacketKind::ConnAck => Packet::ConnAck(Box::new(connect::connack(body, version)?)),
            PacketKind::Publish => {
                let publish = publish::publish(header.flags, body, version, self.role)?;
                if self.checks_payload_format {
                    publish::check_payload_format(&publish)?;
                }
                Packet::Publish(publish)
            }
            PacketKind::PubAck => Packet::PubAck(acks::step(header.kind, body, version)?),
            PacketKind::PubRec => Packet::PubRec(acks::step(header.kind, body, version)?),
            PacketKind::PubRel => Packet::PubRel(acks::step(header.kind, body, version)?),
            PacketKind::PubComp => Packet::PubComp(acks::step(header.kind, body, version)?),
            PacketKind::Subscribe => Packet::Subscribe(subscribe::subscribe(body, version)?),
            PacketKind::SubAck => Packet::SubAck(subscribe::suback(body, version)?),
            PacketKind::Unsubscribe => Packet::Unsubscribe(subscribe::unsubscribe(body, version)?),
            PacketKind::UnsubAck => Packet::UnsubAck(subscribe::unsuback(body, version)?),
            PacketKind::PingReq => {
                body.end()?;
                Packet::PingReq(crate::packet::PingReq)
            }
            PacketKind::PingResp => {
                body.end()?;
                Packet::PingResp(crate::packet::PingResp)
            }
            PacketKind::Disconnect => {
                Packet::Disconnect(Box::new(acks::disconnect(body, version, self.role)?))
            }
            PacketKind::Auth => Packet::Auth(Box::new(acks::auth(body, self.role)?)),
        })
    }
}

/// §2.1.3: reserved flags have the value given in table 2-2.
fn check_flags(kind: PacketKind, flags: u8) -> Result<(), DecodeError> {
    let well_formed = match kind {
        PacketKind::Publish => return publish::check_flags(flags),
        PacketKind::PubRel | PacketKind::Subscribe | PacketKind::Unsubscribe => flags == 2,
        PacketKind::Connect
        | PacketKind::ConnAck
        | PacketKind::PubAck
        | PacketKind::PubRec
        | PacketKind::PubComp
        | PacketKind::SubAck
        | PacketKind::UnsubAck
        | PacketKind::PingReq
        | PacketKind::PingResp
        | PacketKind::Disconnect
        | PacketKind::Auth => flags == 0,
    };
    if well_formed {
        Ok(())
    } else {
        Err(DecodeError::malformed(
            "2.1.3 (3.1.1 2.2.2)",
            "reserved flags are set",
        ))
    }
}

/// The reason code `number`, when a packet of this kind may carry it.
fn reason(kind: PacketKind, number: u8) -> Result<crate::ReasonCode, DecodeError> {
    crate::ReasonCode::from_u8(number)
        .filter(|code| code.may_stand_in(kind))
        .ok_or(DecodeError::malformed(
            "2.4",
            "a reason code that this packet does not have",
        ))
}

const _: () = assert!(
    size_of::<Packet>() <= 256,
    "packets are moved about: box the rare large ones"
);
