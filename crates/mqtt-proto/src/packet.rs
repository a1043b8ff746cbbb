//! The packets of both versions, as values. MQTT 5.0 chapter 3; 3.1.1 uses a part of each.
//!
//! What 3.1.1 does not have is absent (`None`, empty, the default) in packets read from 3.1.1 and
//! is left out when such a packet is written.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;
use bytestring::ByteString;

use crate::{PacketKind, PublishProperties, QoS, ReasonCode, Version};

/// Names and values that applications send along. Order and repetition are kept.
pub type UserProperties = Vec<(ByteString, ByteString)>;

/// Any packet.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "each variant is documented at its type")]
pub enum Packet {
    Connect(Box<Connect>),
    ConnAck(Box<ConnAck>),
    Publish(Publish),
    PubAck(PubAck),
    PubRec(PubAck),
    PubRel(PubAck),
    PubComp(PubAck),
    Subscribe(Subscribe),
    SubAck(SubAck),
    Unsubscribe(Unsubscribe),
    UnsubAck(UnsubAck),
    PingReq(PingReq),
    PingResp(PingResp),
    Disconnect(Box<Disconnect>),
    Auth(Box<Auth>),
}

impl Packet {
    /// Its type.
    #[must_use]
    pub const fn kind(&self) -> PacketKind {
        match self {
            Self::Connect(_) => PacketKind::Connect,
            Self::ConnAck(_) => PacketKind::ConnAck,
            Self::Publish(_) => PacketKind::Publish,
            Self::PubAck(_) => PacketKind::PubAck,
            Self::PubRec(_) => PacketKind::PubRec,
            Self::PubRel(_) => PacketKind::PubRel,
            Self::PubComp(_) => PacketKind::PubComp,
            Self::Subscribe(_) => PacketKind::Subscribe,
            Self::SubAck(_) => PacketKind::SubAck,
            Self::Unsubscribe(_) => PacketKind::Unsubscribe,
            Self::UnsubAck(_) => PacketKind::UnsubAck,
            Self::PingReq(_) => PacketKind::PingReq,
            Self::PingResp(_) => PacketKind::PingResp,
            Self::Disconnect(_) => PacketKind::Disconnect,
            Self::Auth(_) => PacketKind::Auth,
        }
    }
}

/// A client asks to be connected. §3.1.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Connect {
    /// The version the connection speaks from here on.
    pub version: Version,
    /// Whether an existing session is discarded first ("clean session" in 3.1.1).
    pub clean_start: bool,
    /// Longest silence of the client, in seconds; 0 is no limit.
    pub keep_alive_seconds: u16,
    /// What the client calls itself; empty asks the server to choose.
    pub client_id: ByteString,
    /// What to publish when the client is lost.
    pub will: Option<Will>,
    /// User name.
    pub username: Option<ByteString>,
    /// Password; any bytes.
    pub password: Option<Bytes>,
    /// What 5.0 adds.
    pub properties: ConnectProperties,
}

/// The properties of CONNECT. §3.1.2.11.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectProperties {
    /// How long the session outlives the connection, in seconds; `u32::MAX` is for ever.
    pub session_expiry_seconds: u32,
    /// QoS 1 and 2 messages the client takes at a time.
    pub receive_maximum: NonZeroU16,
    /// Bytes of the largest packet the client takes; `None` is no limit.
    pub maximum_packet_bytes: Option<NonZeroU32>,
    /// The highest topic alias the client takes; 0 is none.
    pub topic_alias_maximum: u16,
    /// Whether the client asks for response information.
    pub request_response_information: bool,
    /// Whether the client wants reason strings and user properties on acknowledgements.
    pub request_problem_information: bool,
    /// The method of enhanced authentication asked for.
    pub authentication_method: Option<ByteString>,
    /// Its first data.
    pub authentication_data: Option<Bytes>,
    /// User properties.
    pub user_properties: UserProperties,
}

impl Default for ConnectProperties {
    fn default() -> Self {
        Self {
            session_expiry_seconds: 0,
            receive_maximum: NonZeroU16::MAX,
            maximum_packet_bytes: None,
            topic_alias_maximum: 0,
            request_response_information: false,
            request_problem_information: true,
            authentication_method: None,
            authentication_data: None,
            user_properties: Vec::new(),
        }
    }
}

/// What to publish when the client is lost. §3.1.2.5, §3.1.3.2.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Will {
    /// Where.
    pub topic: ByteString,
    /// What.
    pub payload: Bytes,
    /// How.
    pub qos: QoS,
    /// Whether it is kept for later subscribers.
    pub retain: bool,
    /// How long after the loss, in seconds.
    pub delay_seconds: u32,
    /// Properties of the message.
    pub properties: PublishProperties,
}

/// The server answers CONNECT. §3.2.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ConnAck {
    /// Whether the server kept a session of this client.
    pub session_present: bool,
    /// Whether the client is connected, and if not, why.
    pub reason: ReasonCode,
    /// What 5.0 adds.
    pub properties: ConnAckProperties,
}

/// The properties of CONNACK. §3.2.2.3.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnAckProperties {
    /// Seconds the session outlives the connection, when not what was asked for.
    pub session_expiry_seconds: Option<u32>,
    /// QoS 1 and 2 messages the server takes at a time.
    pub receive_maximum: NonZeroU16,
    /// The highest QoS the server takes.
    pub maximum_qos: QoS,
    /// Whether retained messages are supported.
    pub retain_available: bool,
    /// Bytes of the largest packet the server takes; `None` is no limit.
    pub maximum_packet_bytes: Option<NonZeroU32>,
    /// The client id the server chose, when the client gave none.
    pub assigned_client_id: Option<ByteString>,
    /// The highest topic alias the server takes; 0 is none.
    pub topic_alias_maximum: u16,
    /// For people: why.
    pub reason_string: Option<ByteString>,
    /// Whether subscriptions may hold wildcards.
    pub wildcard_subscription_available: bool,
    /// Whether subscriptions may carry identifiers.
    pub subscription_ids_available: bool,
    /// Whether subscriptions may be shared.
    pub shared_subscription_available: bool,
    /// The keep-alive the client must use instead of its own, in seconds.
    pub server_keep_alive_seconds: Option<u16>,
    /// A base for response topics.
    pub response_information: Option<ByteString>,
    /// Another server to use.
    pub server_reference: Option<ByteString>,
    /// The method of enhanced authentication.
    pub authentication_method: Option<ByteString>,
    /// Its data.
    pub authentication_data: Option<Bytes>,
    /// User properties.
    pub user_properties: UserProperties,
}

impl Default for ConnAckProperties {
    fn default() -> Self {
        Self {
            session_expiry_seconds: None,
            receive_maximum: NonZeroU16::MAX,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            maximum_packet_bytes: None,
            assigned_client_id: None,
            topic_alias_maximum: 0,
            reason_string: None,
            wildcard_subscription_available: true,
            subscription_ids_available: true,
            shared_subscription_available: true,
            server_keep_alive_seconds: None,
            response_information: None,
            server_reference: None,
            authentication_method: None,
            authentication_data: None,
            user_properties: Vec::new(),
        }
    }
}

/// A message, either way. §3.3.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Publish {
    /// Whether it may be a repetition.
    pub dup: bool,
    /// Level of service.
    pub qos: QoS,
    /// Whether it is kept for later subscribers, or was kept.
    pub retain: bool,
    /// Where; empty when the alias stands for it.
    pub topic: ByteString,
    /// Present when the QoS is 1 or 2.
    pub packet_id: Option<NonZeroU16>,
    /// A number that stands for the topic on this connection.
    pub topic_alias: Option<NonZeroU16>,
    /// Which subscriptions it is sent for; only from server to client.
    pub subscription_ids: Vec<u32>,
    /// What.
    pub payload: Bytes,
    /// The properties that travel from end to end.
    pub properties: PublishProperties,
}

/// One step of a QoS 1 or 2 exchange: PUBACK, PUBREC, PUBREL and PUBCOMP alike. §3.4 to §3.7.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PubAck {
    /// Of the PUBLISH.
    pub packet_id: NonZeroU16,
    /// How it went.
    pub reason: ReasonCode,
    /// For people: why.
    pub reason_string: Option<ByteString>,
    /// User properties.
    pub user_properties: UserProperties,
}

impl PubAck {
    /// A step that says nothing but its reason code.
    #[must_use]
    pub const fn new(packet_id: NonZeroU16, reason: ReasonCode) -> Self {
        Self {
            packet_id,
            reason,
            reason_string: None,
            user_properties: Vec::new(),
        }
    }
}

/// What happens to retained messages when a subscription is made. §3.8.3.1.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum RetainHandling {
    /// They are sent.
    #[default]
    Send = 0,
    /// They are sent when the subscription did not exist before.
    SendIfNew = 1,
    /// They are not sent.
    DoNotSend = 2,
}

/// How a subscription is to be served. §3.8.3.1.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct SubscribeOptions {
    /// The highest level of service wanted.
    pub qos: QoS,
    /// Whether the client's own messages are left out.
    pub no_local: bool,
    /// Whether the retain flag is kept as the publisher set it.
    pub retain_as_published: bool,
    /// What happens to retained messages.
    pub retain_handling: RetainHandling,
}

impl SubscribeOptions {
    /// The options as 3.1.1 has them: a level of service.
    #[must_use]
    pub const fn at(qos: QoS) -> Self {
        Self {
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        }
    }
}

/// A client asks for messages. §3.8.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Subscribe {
    /// Answered with the same.
    pub packet_id: NonZeroU16,
    /// Sent along with messages of these subscriptions.
    pub subscription_id: Option<NonZeroU32>,
    /// Filters, unchecked but for being non-empty text, and how to serve each.
    pub filters: Vec<(ByteString, SubscribeOptions)>,
    /// User properties.
    pub user_properties: UserProperties,
}

/// The server answers SUBSCRIBE. §3.9.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SubAck {
    /// Of the SUBSCRIBE.
    pub packet_id: NonZeroU16,
    /// One for each filter, in their order.
    pub reasons: Vec<ReasonCode>,
    /// For people: why.
    pub reason_string: Option<ByteString>,
    /// User properties.
    pub user_properties: UserProperties,
}

/// A client wants no more messages. §3.10.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unsubscribe {
    /// Answered with the same.
    pub packet_id: NonZeroU16,
    /// Filters, unchecked but for being non-empty text.
    pub filters: Vec<ByteString>,
    /// User properties.
    pub user_properties: UserProperties,
}

/// The server answers UNSUBSCRIBE. §3.11.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnsubAck {
    /// Of the UNSUBSCRIBE.
    pub packet_id: NonZeroU16,
    /// One for each filter, in their order; 3.1.1 has none.
    pub reasons: Vec<ReasonCode>,
    /// For people: why.
    pub reason_string: Option<ByteString>,
    /// User properties.
    pub user_properties: UserProperties,
}

/// A client shows that it is alive. §3.12.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PingReq;

/// The server answers. §3.13.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PingResp;

/// The last packet of a connection. §3.14.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Disconnect {
    /// Why.
    pub reason: ReasonCode,
    /// A new session expiry, in seconds; only from client to server.
    pub session_expiry_seconds: Option<u32>,
    /// For people: why.
    pub reason_string: Option<ByteString>,
    /// Another server to use; only from server to client.
    pub server_reference: Option<ByteString>,
    /// User properties.
    pub user_properties: UserProperties,
}

/// A step of enhanced authentication. §3.15.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Auth {
    /// Which step.
    pub reason: ReasonCode,
    /// The method.
    pub method: Option<ByteString>,
    /// Its data.
    pub data: Option<Bytes>,
    /// For people: why.
    pub reason_string: Option<ByteString>,
    /// User properties.
    pub user_properties: UserProperties,
}
