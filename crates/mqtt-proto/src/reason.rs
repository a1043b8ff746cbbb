//! Reason codes, MQTT 5.0 §2.4, where each may stand, and what 3.1.1 makes of them.

/// What sort of packet it is: its type in the fixed header. MQTT 5.0 §2.1.2.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub enum PacketKind {
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    PingReq = 12,
    PingResp = 13,
    Disconnect = 14,
    Auth = 15,
}

/// How a request ended, or why a connection does. MQTT 5.0 §2.4.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum ReasonCode {
    /// Success, normal disconnection, or QoS 0 granted.
    #[default]
    Success = 0x00,
    /// The subscription was accepted at QoS 1.
    GrantedQos1 = 0x01,
    /// The subscription was accepted at QoS 2.
    GrantedQos2 = 0x02,
    /// The client leaves and wants its will published.
    DisconnectWithWill = 0x04,
    /// The message was accepted, and nobody subscribes to it.
    NoMatchingSubscribers = 0x10,
    /// There was no such subscription.
    NoSubscriptionExisted = 0x11,
    /// Another step of authentication follows.
    ContinueAuthentication = 0x18,
    /// The client starts to authenticate again.
    ReAuthenticate = 0x19,
    /// No reason is given, or none of the others fits.
    UnspecifiedError = 0x80,
    /// The packet does not follow the specification's format.
    MalformedPacket = 0x81,
    /// The packet is well formed and breaks the protocol.
    ProtocolError = 0x82,
    /// Valid, and this receiver does not do it.
    ImplementationSpecificError = 0x83,
    /// The receiver does not speak this version.
    UnsupportedProtocolVersion = 0x84,
    /// The client id is valid UTF-8 and not allowed.
    ClientIdentifierNotValid = 0x85,
    /// The receiver does not accept these credentials.
    BadUserNameOrPassword = 0x86,
    /// The asker may not do this.
    NotAuthorized = 0x87,
    /// The server cannot serve now.
    ServerUnavailable = 0x88,
    /// Try again later.
    ServerBusy = 0x89,
    /// The client was banned by an administrator.
    Banned = 0x8A,
    /// The server is shutting down.
    ServerShuttingDown = 0x8B,
    /// The authentication method is not supported or not the current one.
    BadAuthenticationMethod = 0x8C,
    /// Nothing was heard for one and a half times the keep-alive.
    KeepAliveTimeout = 0x8D,
    /// Another connection uses the same client id.
    SessionTakenOver = 0x8E,
    /// The topic filter is not acceptable.
    TopicFilterInvalid = 0x8F,
    /// The topic name is not acceptable.
    TopicNameInvalid = 0x90,
    /// The packet id is in use already.
    PacketIdentifierInUse = 0x91,
    /// The packet id is not known; not an error while resuming.
    PacketIdentifierNotFound = 0x92,
    /// More unacknowledged messages than the receive maximum.
    ReceiveMaximumExceeded = 0x93,
    /// The topic alias is zero, over the maximum or unknown.
    TopicAliasInvalid = 0x94,
    /// The packet is larger than the receiver's maximum.
    PacketTooLarge = 0x95,
    /// Messages come too fast.
    MessageRateTooHigh = 0x96,
    /// An administrative or implementation limit was reached.
    QuotaExceeded = 0x97,
    /// The connection is closed by an administrator.
    AdministrativeAction = 0x98,
    /// The payload is not what its format indicator says.
    PayloadFormatInvalid = 0x99,
    /// Retained messages are not supported.
    RetainNotSupported = 0x9A,
    /// The level of service is higher than the maximum.
    QosNotSupported = 0x9B,
    /// The client should use another server for now.
    UseAnotherServer = 0x9C,
    /// The client should use another server from now on.
    ServerMoved = 0x9D,
    /// Shared subscriptions are not supported.
    SharedSubscriptionsNotSupported = 0x9E,
    /// Connections come too fast.
    ConnectionRateExceeded = 0x9F,
    /// The longest time allowed for this connection has passed.
    MaximumConnectTime = 0xA0,
    /// Subscription identifiers are not supported.
    SubscriptionIdentifiersNotSupported = 0xA1,
    /// Subscriptions with wildcards are not supported.
    WildcardSubscriptionsNotSupported = 0xA2,
}

impl ReasonCode {
    /// The code with this number; `None` when the specification has none.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        Some(match number {
            0x00 => Self::Success,
            0x01 => Self::GrantedQos1,
            0x02 => Self::GrantedQos2,
            0x04 => Self::DisconnectWithWill,
            0x10 => Self::NoMatchingSubscribers,
            0x11 => Self::NoSubscriptionExisted,
            0x18 => Self::ContinueAuthentication,
            0x19 => Self::ReAuthenticate,
            0x80 => Self::UnspecifiedError,
            0x81 => Self::MalformedPacket,
            0x82 => Self::ProtocolError,
            0x83 => Self::ImplementationSpecificError,
            0x84 => Self::UnsupportedProtocolVersion,
            0x85 => Self::ClientIdentifierNotValid,
            0x86 => Self::BadUserNameOrPassword,
            0x87 => Self::NotAuthorized,
            0x88 => Self::ServerUnavailable,
            0x89 => Self::ServerBusy,
            0x8A => Self::Banned,
            0x8B => Self::ServerShuttingDown,
            0x8C => Self::BadAuthenticationMethod,
            0x8D => Self::KeepAliveTimeout,
            0x8E => Self::SessionTakenOver,
            0x8F => Self::TopicFilterInvalid,
            0x90 => Self::TopicNameInvalid,
            0x91 => Self::PacketIdentifierInUse,
            0x92 => Self::PacketIdentifierNotFound,
            0x93 => Self::ReceiveMaximumExceeded,
            0x94 => Self::TopicAliasInvalid,
            0x95 => Self::PacketTooLarge,
            0x96 => Self::MessageRateTooHigh,
            0x97 => Self::QuotaExceeded,
            0x98 => Self::AdministrativeAction,
            0x99 => Self::PayloadFormatInvalid,
            0x9A => Self::RetainNotSupported,
            0x9B => Self::QosNotSupported,
            0x9C => Self::UseAnotherServer,
            0x9D => Self::ServerMoved,
            0x9E => Self::SharedSubscriptionsNotSupported,
            0x9F => Self::ConnectionRateExceeded,
            0xA0 => Self::MaximumConnectTime,
            0xA1 => Self::SubscriptionIdentifiersNotSupported,
            0xA2 => Self::WildcardSubscriptionsNotSupported,
            _ => return None,
        })
    }

    /// The number on the wire.
    #[must_use]
    pub const fn as_u8(self) -> u8 {
        self as u8
    }

    /// Whether it says that something failed: 0x80 and above.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.as_u8() >= 0x80
    }

    /// Whether a packet of this kind may carry the code. MQTT 5.0 §2.4, table 2-6.
    #[must_use]
    pub const fn may_stand_in(self, kind: PacketKind) -> bool {
        let code = self.as_u8();
        match kind {
            PacketKind::ConnAck => matches!(
                code,
                0x00 | 0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99 | 0x9A..=0x9D | 0x9F
            ),
            PacketKind::PubAck | PacketKind::PubRec => matches!(
                code,
                0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99
            ),
            PacketKind::PubRel | PacketKind::PubComp => matches!(code, 0x00 | 0x92),
            PacketKind::SubAck => matches!(
                code,
                0x00..=0x02 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91 | 0x97 | 0x9E | 0xA1 | 0xA2
            ),
            PacketKind::UnsubAck => {
                matches!(code, 0x00 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91)
            }
            PacketKind::Disconnect => matches!(
                code,
                0x00 | 0x04 | 0x80..=0x83 | 0x87 | 0x89 | 0x8B | 0x8D..=0x90 | 0x93..=0xA2
            ),
            PacketKind::Auth => matches!(code, 0x00 | 0x18 | 0x19),
            PacketKind::Connect
            | PacketKind::Publish
            | PacketKind::Subscribe
            | PacketKind::Unsubscribe
            | PacketKind::PingReq
            | PacketKind::PingResp => false,
        }
    }

    /// Whether a client may say so in DISCONNECT. MQTT 5.0 §3.14.2.1, "Sent by".
    #[must_use]
    pub const fn may_end_by_client(self) -> bool {
        matches!(
            self.as_u8(),
            0x00 | 0x04 | 0x80..=0x83 | 0x90 | 0x93..=0x99
        )
    }

    /// The CONNACK return code of MQTT 3.1.1 §3.2.2.3 that comes nearest; `None` when 3.1.1 has
    /// none and the connection is closed without CONNACK.
    #[must_use]
    pub const fn v311_return_code(self) -> Option<u8> {
        match self {
            Self::Success => Some(0),
            Self::UnsupportedProtocolVersion => Some(1),
            Self::ClientIdentifierNotValid => Some(2),
            Self::ServerUnavailable
            | Self::ServerBusy
            | Self::UseAnotherServer
            | Self::ServerMoved
            | Self::QuotaExceeded
            | Self::ConnectionRateExceeded => Some(3),
            Self::BadUserNameOrPassword | Self::BadAuthenticationMethod => Some(4),
            Self::NotAuthorized | Self::Banned => Some(5),
            Self::GrantedQos1
            | Self::GrantedQos2
            | Self::DisconnectWithWill
            | Self::NoMatchingSubscribers
            | Self::NoSubscriptionExisted
            | Self::ContinueAuthentication
            | Self::ReAuthenticate
            | Self::UnspecifiedError
            | Self::MalformedPacket
            | Self::ProtocolError
            | Self::ImplementationSpecificError
            | Self::ServerShuttingDown
            | Self::KeepAliveTimeout
            | Self::SessionTakenOver
            | Self::TopicFilterInvalid
            | Self::TopicNameInvalid
            | Self::PacketIdentifierInUse
            | Self::PacketIdentifierNotFound
            | Self::ReceiveMaximumExceeded
            | Self::TopicAliasInvalid
            | Self::PacketTooLarge
            | Self::MessageRateTooHigh
            | Self::AdministrativeAction
            | Self::PayloadFormatInvalid
            | Self::RetainNotSupported
            | Self::QosNotSupported
            | Self::SharedSubscriptionsNotSupported
            | Self::MaximumConnectTime
            | Self::SubscriptionIdentifiersNotSupported
            | Self::WildcardSubscriptionsNotSupported => None,
        }
    }

    /// What a CONNACK return code of MQTT 3.1.1 means; `None` above 5, which is reserved.
    #[must_use]
    pub const fn from_v311_return_code(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Success,
            1 => Self::UnsupportedProtocolVersion,
            2 => Self::ClientIdentifierNotValid,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }

    /// What a SUBACK of MQTT 3.1.1 §3.9.3 says instead: the granted QoS, or 0x80.
    #[must_use]
    pub const fn v311_suback(self) -> u8 {
        if self.is_error() { 0x80 } else { self.as_u8() }
    }
}

impl From<crate::QoS> for ReasonCode {
    /// The code that grants a subscription at this level.
    fn from(granted: crate::QoS) -> Self {
        match granted {
            crate::QoS::AtMostOnce => Self::Success,
            crate::QoS::AtLeastOnce => Self::GrantedQos1,
            crate::QoS::ExactlyOnce => Self::GrantedQos2,
        }
    }
}

#[test]
fn every_number_reads_as_it_is_written() {
    let known = (0..=u8::MAX).filter_map(ReasonCode::from_u8);
    assert_eq!(known.clone().count(), 43);
    for code in known {
        assert_eq!(ReasonCode::from_u8(code.as_u8()), Some(code));
    }
}
