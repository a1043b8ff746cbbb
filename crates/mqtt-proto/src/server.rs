//! A server's view of one connection, as a plain state machine: packets go in, events come out,
//! answers are appended to a buffer.
//!
//! It awaits the CONNECT, keeps packet ids, windows, topic aliases and the keep-alive deadline, and
//! says when the client breaks the protocol. It knows nothing of topics, subscriptions or storage:
//! the embedding carries out each [`Event`] and then calls the method that answers it. Whatever
//! must be answered in the order of arrival (PUBACK and PUBREC, §4.6) the embedding answers so.

mod inbound;
mod outbound;

use std::{
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use bytes::BytesMut;
use bytestring::ByteString;
use model::{Timestamp, limits};

pub use self::outbound::{Outgoing, Sent, packet_id};
use self::{inbound::Inbound, outbound::Outbound};
use crate::{
    DecodeError, PacketKind, QoS, ReasonCode, Version, encode,
    packet::{
        ConnAck, ConnAckProperties, Connect, Disconnect, Packet, PubAck, Publish, SubAck,
        Subscribe, UnsubAck, Unsubscribe,
    },
};

/// What this server takes and how much it sends at a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    /// QoS 1 and 2 messages taken before the first is acknowledged. Told to 5.0 clients, and
    /// enforced only for them.
    pub receive_maximum: NonZeroU16,
    /// Topic aliases taken; 0 is none.
    pub topic_alias_maximum: u16,
    /// Bytes of the largest packet taken. Told here; [`crate::codec::Decoder`] enforces it.
    pub maximum_packet_bytes: Option<NonZeroU32>,
    /// Most QoS 1 and 2 messages sent before the first is acknowledged, whatever the client takes.
    pub outbound_window: u16,
    /// Most topic aliases used towards the client, whatever it takes.
    pub outbound_aliases: u16,
}

impl Default for Settings {
    /// The limits of [`model::limits`].
    fn default() -> Self {
        Self {
            receive_maximum: NonZeroU16::new(limits::RECEIVE_MAXIMUM).unwrap_or(NonZeroU16::MAX),
            topic_alias_maximum: limits::TOPIC_ALIASES,
            maximum_packet_bytes: u32::try_from(limits::PACKET_BYTES)
                .ok()
                .and_then(NonZeroU32::new),
            outbound_window: limits::RECEIVE_MAXIMUM,
            outbound_aliases: limits::TOPIC_ALIASES,
        }
    }
}

/// What a packet means to the embedding.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// Answer with [`Session::accept`] or [`Session::refuse`]; feed nothing else before.
    Connect(Box<Connect>),
    /// A message, its topic resolved. Answer QoS 1 and 2 with [`Session::acknowledge`].
    Publish(Publish),
    /// A QoS 2 message that was received before. Answer with [`Session::acknowledge`], in order,
    /// and do not forward it.
    Duplicate {
        /// Of the PUBLISH.
        packet_id: NonZeroU16,
    },
    /// PUBREL: the id of a received QoS 2 message may be forgotten. Answer with
    /// [`Session::complete`].
    Released {
        /// Of the PUBLISH.
        packet_id: NonZeroU16,
    },
    /// Answer with [`Session::suback`].
    Subscribe(Subscribe),
    /// Answer with [`Session::unsuback`].
    Unsubscribe(Unsubscribe),
    /// The client has, or has refused, a message that was sent; it leaves the queue.
    Acknowledged {
        /// The message's number in its queue.
        seq: u64,
        /// How the client took it.
        reason: ReasonCode,
    },
    /// PUBREC: the client has a QoS 2 message. Answer with [`Session::release`].
    Received {
        /// The message's number in its queue.
        seq: u64,
    },
    /// PUBCOMP: a QoS 2 message leaves the queue.
    Completed {
        /// The message's number in its queue.
        seq: u64,
    },
    /// The client leaves. Whether its will is published depends on the reason.
    Disconnect(Box<Disconnect>),
}

/// How the client broke the protocol. The connection ends: [`Session::violated`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text} (MQTT {clause})")]
pub struct Violation {
    /// For CONNACK or DISCONNECT.
    pub code: ReasonCode,
    /// For people.
    pub text: String,
    /// The section of MQTT 5.0 that is broken.
    pub clause: &'static str,
}

impl Violation {
    fn new(code: ReasonCode, clause: &'static str, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            clause,
        }
    }

    fn protocol(clause: &'static str, text: &'static str) -> Self {
        Self::new(ReasonCode::ProtocolError, clause, text)
    }
}

impl From<DecodeError> for Violation {
    fn from(error: DecodeError) -> Self {
        Self::new(error.reason(), error.clause(), error.to_string())
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    AwaitingConnect,
    /// The CONNECT is with the embedding.
    Answering,
    Open,
    Closed,
}

/// A server's view of one connection.
#[derive(Clone, Debug)]
pub struct Session {
    settings: Settings,
    stage: Stage,
    version: Version,
    /// Whether reason strings on acknowledgements are welcome. §3.1.2.11.7.
    explains: bool,
    maximum_qos: QoS,
    session_expiry_seconds: u32,
    /// In force once the connection is open; `None` is no limit.
    keep_alive: Option<Duration>,
    asked_keep_alive_seconds: u16,
    heard: Timestamp,
    inbound: Inbound,
    outbound: Outbound,
}

impl Session {
    /// A connection that was just accepted and has said nothing.
    #[must_use]
    pub const fn new(settings: Settings, now: Timestamp) -> Self {
        Self {
            settings,
            stage: Stage::AwaitingConnect,
            version: Version::V311,
            explains: false,
            maximum_qos: QoS::ExactlyOnce,
            session_expiry_seconds: 0,
            keep_alive: None,
            asked_keep_alive_seconds: 0,
            heard: now,
            inbound: Inbound::new(),
            outbound: Outbound::new(),
        }
    }

    /// The version the client speaks; meaningless before its CONNECT.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Whether the connection is open: accepted and not yet closed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// When the client has been silent for too long; `None` is never. §3.1.2.10: one and a half
    /// times the keep-alive after the last packet.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        self.keep_alive
            .map(|keep_alive| self.heard.after(keep_alive + keep_alive / 2))
    }

    /// Takes one packet. What needs no embedding (PINGREQ, steps of unknown exchanges) is answered
    /// into `out` and gives `None`.
    ///
    /// # Errors
    ///
    /// [`Violation`] when the client breaks the protocol; the connection must then be closed.
    pub fn handle(
        &mut self,
        packet: Packet,
        now: Timestamp,
        out: &mut BytesMut,
    ) -> Result<Option<Event>, Violation> {
        self.heard = now;
        match self.stage {
            Stage::AwaitingConnect => {
                let Packet::Connect(connect) = packet else {
                    return Err(Violation::protocol(
                        "3.1",
                        "the first packet is not a CONNECT",
                    ));
                };
                self.connect(&connect)?;
                return Ok(Some(Event::Connect(connect)));
            }
            Stage::Answering | Stage::Closed => {
                return Err(Violation::protocol(
                    "3.1",
                    "a packet while the connection is not open",
                ));
            }
            Stage::Open => {}
        }
        match packet {
            Packet::Publish(publish) => self.publish(publish).map(Some),
            Packet::PubAck(step) => self.outbound.acknowledged(&step),
            Packet::PubRec(step) => self.outbound.received(&step, self.version, out),
            Packet::PubRel(step) => Ok(self.inbound.released(&step, self.version, out)),
            Packet::PubComp(step) => self.outbound.completed(&step),
            Packet::Subscribe(subscribe) => Ok(Some(Event::Subscribe(subscribe))),
            Packet::Unsubscribe(unsubscribe) => Ok(Some(Event::Unsubscribe(unsubscribe))),
            Packet::PingReq(_) => {
                encode::append_pong(out);
                Ok(None)
            }
            Packet::Disconnect(disconnect) => self.disconnect(disconnect).map(Some),
            Packet::Connect(_) => Err(Violation::protocol("3.1", "a second CONNECT")),
            // §3.15: only after a CONNECT with an authentication method, and those are refused.
            Packet::Auth(_) => Err(Violation::new(
                ReasonCode::ProtocolError,
                "3.15",
                "AUTH, although the CONNECT named no authentication method",
            )),
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp(_) => {
                Err(Violation::protocol(
                    "2.1.2",
                    "only servers send this packet",
                ))
            }
        }
    }

    fn connect(&mut self, connect: &Connect) -> Result<(), Violation> {
        let asked = &connect.properties;
        self.stage = Stage::Answering;
        self.version = connect.version;
        self.explains = connect.version == Version::V5 && asked.request_problem_information;
        self.asked_keep_alive_seconds = connect.keep_alive_seconds;
        self.session_expiry_seconds = asked.session_expiry_seconds;
        self.outbound.open(connect, &self.settings);
        if asked.authentication_method.is_some() {
            return Err(Violation::new(
                ReasonCode::BadAuthenticationMethod,
                "4.12",
                "enhanced authentication is not supported here",
            ));
        }
        Ok(())
    }

    fn publish(&mut self, publish: Publish) -> Result<Event, Violation> {
        if publish.qos > self.maximum_qos {
            return Err(Violation::new(
                ReasonCode::QosNotSupported,
                "3.2.2.3.4",
                format!("the highest QoS here is {}", self.maximum_qos as u8),
            ));
        }
        self.inbound.publish(publish, self.version, &self.settings)
    }

    fn disconnect(&mut self, disconnect: Box<Disconnect>) -> Result<Event, Violation> {
        // §3.14.2.2.2: an expiry of 0 in CONNECT cannot be raised later.
        if self.session_expiry_seconds == 0
            && disconnect.session_expiry_seconds.is_some_and(|it| it != 0)
        {
            return Err(Violation::protocol(
                "3.14.2.2.2",
                "DISCONNECT sets a session expiry, although CONNECT asked for none",
            ));
        }
        self.stage = Stage::Closed;
        Ok(Event::Disconnect(disconnect))
    }

    /// Answers [`Event::Connect`]: the client is connected.
    ///
    /// Receive maximum, topic alias maximum and maximum packet size of `properties` are filled in
    /// from the settings. A `server_keep_alive_seconds` is enforced for 3.1.1 clients too, who
    /// cannot be told.
    pub fn accept(
        &mut self,
        session_present: bool,
        properties: ConnAckProperties,
        now: Timestamp,
        out: &mut BytesMut,
    ) {
        let mut properties = properties;
        properties.receive_maximum = self.settings.receive_maximum;
        properties.topic_alias_maximum = self.settings.topic_alias_maximum;
        properties.maximum_packet_bytes = self.settings.maximum_packet_bytes;
        self.maximum_qos = properties.maximum_qos;
        let seconds = properties
            .server_keep_alive_seconds
            .unwrap_or(self.asked_keep_alive_seconds);
        self.keep_alive = (seconds != 0).then(|| Duration::from_secs(seconds.into()));
        self.heard = now;
        self.stage = Stage::Open;
        let connack = ConnAck {
            session_present,
            reason: ReasonCode::Success,
            properties,
        };
        encode::append_connack(&connack, self.version, out);
    }

    /// Answers [`Event::Connect`]: the client is not connected, and the connection ends.
    ///
    /// A 3.1.1 client is told with the return code that comes nearest, and nothing when there is
    /// none.
    pub fn refuse(&mut self, reason: ReasonCode, text: Option<&str>, out: &mut BytesMut) {
        self.stage = Stage::Closed;
        append_refusal(
            self.version,
            reason,
            text,
            self.outbound.maximum_bytes(),
            out,
        );
    }

    /// Ends the connection from this side: CONNACK before it is open, DISCONNECT after; nothing
    /// where the version or the moment has no words for it.
    pub fn close(&mut self, reason: ReasonCode, text: Option<&str>, out: &mut BytesMut) {
        match self.stage {
            Stage::AwaitingConnect | Stage::Closed => {}
            Stage::Answering => return self.refuse(reason, text, out),
            Stage::Open if self.version == Version::V311 => {}
            Stage::Open => {
                let version = self.version;
                append_explained(text, self.outbound.maximum_bytes(), out, |text, out| {
                    let disconnect = Disconnect {
                        reason,
                        reason_string: text,
                        ..Disconnect::default()
                    };
                    encode::append_disconnect(&disconnect, version, out);
                });
            }
        }
        self.stage = Stage::Closed;
    }

    /// Ends the connection because of what the client did.
    pub fn violated(&mut self, violation: &Violation, out: &mut BytesMut) {
        self.close(violation.code, Some(&violation.to_string()), out);
    }

    /// Ends the connection because of bytes that are no packet. `version` is the decoder's, which
    /// knows it even when the CONNECT itself was malformed.
    pub fn undecodable(
        &mut self,
        error: &DecodeError,
        version: Option<Version>,
        out: &mut BytesMut,
    ) {
        if self.stage != Stage::AwaitingConnect {
            return self.close(error.reason(), Some(&error.to_string()), out);
        }
        self.stage = Stage::Closed;
        let version = match error {
            // Levels above 5 are told in the newest words, older ones in 3.1.1's.
            DecodeError::UnsupportedVersion { level: 5..0x80 } => Some(Version::V5),
            DecodeError::UnsupportedVersion { .. } => Some(Version::V311),
            DecodeError::Malformed { .. }
            | DecodeError::Protocol { .. }
            | DecodeError::TopicName { .. }
            | DecodeError::TopicAlias
            | DecodeError::PayloadFormat
            | DecodeError::ClientIdentifier
            | DecodeError::TooLarge { .. }
            | DecodeError::TooMany { .. } => version,
        };
        if let Some(version) = version {
            let text = error.to_string();
            append_refusal(version, error.reason(), Some(&text), usize::MAX, out);
        }
    }

    /// Answers a QoS 1 or 2 [`Event::Publish`] or an [`Event::Duplicate`]: PUBACK or PUBREC.
    /// A 3.1.1 client cannot be told of errors; close its connection instead when it must know.
    pub fn acknowledge(
        &mut self,
        packet_id: NonZeroU16,
        qos: QoS,
        reason: ReasonCode,
        text: Option<&str>,
        out: &mut BytesMut,
    ) {
        let kind = match qos {
            QoS::AtMostOnce => return,
            QoS::AtLeastOnce => PacketKind::PubAck,
            QoS::ExactlyOnce => PacketKind::PubRec,
        };
        self.inbound
            .acknowledged(packet_id, qos, reason, self.version);
        let version = self.version;
        append_explained(
            self.explanation(text),
            self.outbound.maximum_bytes(),
            out,
            |text, out| {
                let step = PubAck {
                    reason_string: text,
                    ..PubAck::new(packet_id, reason)
                };
                encode::append_step(kind, &step, version, out);
            },
        );
    }

    /// Answers [`Event::Released`]: PUBCOMP.
    pub fn complete(&mut self, packet_id: NonZeroU16, out: &mut BytesMut) {
        self.inbound.complete(packet_id);
        let step = PubAck::new(packet_id, ReasonCode::Success);
        encode::append_step(PacketKind::PubComp, &step, self.version, out);
    }

    /// Answers [`Event::Received`]: PUBREL.
    pub fn release(&mut self, seq: u64, out: &mut BytesMut) {
        self.outbound.release(seq, self.version, out);
    }

    /// Answers [`Event::Subscribe`]; one reason for each filter, in their order.
    pub fn suback(
        &mut self,
        packet_id: NonZeroU16,
        reasons: &[ReasonCode],
        text: Option<&str>,
        out: &mut BytesMut,
    ) {
        let version = self.version;
        append_explained(
            self.explanation(text),
            self.outbound.maximum_bytes(),
            out,
            |text, out| {
                let suback = SubAck {
                    packet_id,
                    reasons: reasons.to_vec(),
                    reason_string: text,
                    user_properties: Vec::new(),
                };
                encode::append_suback(&suback, version, out);
            },
        );
    }

    /// Answers [`Event::Unsubscribe`]; one reason for each filter, in their order.
    pub fn unsuback(
        &mut self,
        packet_id: NonZeroU16,
        reasons: &[ReasonCode],
        text: Option<&str>,
        out: &mut BytesMut,
    ) {
        let version = self.version;
        append_explained(
            self.explanation(text),
            self.outbound.maximum_bytes(),
            out,
            |text, out| {
                let unsuback = UnsubAck {
                    packet_id,
                    reasons: reasons.to_vec(),
                    reason_string: text,
                    user_properties: Vec::new(),
                };
                encode::append_unsuback(&unsuback, version, out);
            },
        );
    }

    /// Writes one message to the client, or says why not; see [`Sent`].
    pub fn send(&mut self, outgoing: &Outgoing<'_>, out: &mut BytesMut) -> Sent {
        self.outbound.send(outgoing, self.version, out)
    }

    /// Whether a QoS 1 or 2 message with this number in its queue could be written now: the
    /// client's window has room, and the packet id is free.
    #[must_use]
    pub fn can_send(&self, seq: u64) -> bool {
        self.outbound.can_send(seq)
    }

    /// Whether the client takes one more QoS 1 or 2 message, whatever its packet id.
    #[must_use]
    pub fn window_open(&self) -> bool {
        self.outbound.window_open()
    }

    /// QoS 1 and 2 messages sent and not yet finished.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.outbound.in_flight()
    }

    /// After a resumed session was accepted: repeats the PUBREL of a message whose PUBREC came on
    /// an earlier connection. Call it before sending messages. §4.4.
    pub fn resume_released(&mut self, seq: u64, out: &mut BytesMut) {
        self.outbound.resume_released(seq, self.version, out);
    }

    /// After a resumed session was accepted: the QoS 2 messages received and not yet released on
    /// an earlier connection, so that repetitions are recognised. §4.4.
    pub fn resume_received(&mut self, packet_ids: impl IntoIterator<Item = NonZeroU16>) {
        self.inbound.resume_received(packet_ids);
    }

    /// The text, when the client wants explanations on acknowledgements.
    fn explanation<'a>(&self, text: Option<&'a str>) -> Option<&'a str> {
        text.filter(|_| self.explains)
    }
}

/// CONNACK with an error, or nothing when 3.1.1 has no return code for it.
fn append_refusal(
    version: Version,
    reason: ReasonCode,
    text: Option<&str>,
    maximum_bytes: usize,
    out: &mut BytesMut,
) {
    if version == Version::V311 && reason.v311_return_code().is_none() {
        return;
    }
    append_explained(text, maximum_bytes, out, |text, out| {
        let connack = ConnAck {
            session_present: false,
            reason,
            properties: ConnAckProperties {
                reason_string: text,
                ..ConnAckProperties::default()
            },
        };
        encode::append_connack(&connack, version, out);
    });
}

/// Appends a packet with its reason string, or without it when the client takes no packet as
/// large. §3.1.2.11.4, and [MQTT-3.4.2-2] and its likes.
fn append_explained(
    text: Option<&str>,
    maximum_bytes: usize,
    out: &mut BytesMut,
    append: impl Fn(Option<ByteString>, &mut BytesMut),
) {
    let before = out.len();
    append(text.map(ByteString::from), out);
    if text.is_some() && out.len() - before > maximum_bytes {
        out.truncate(before);
        append(None, out);
    }
}
