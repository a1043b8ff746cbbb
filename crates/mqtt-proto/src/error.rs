//! Why bytes are not a packet, with the clause they break.

use crate::ReasonCode;

/// Why a packet was refused. The connection cannot go on after any of them; `clause` is a section
/// of MQTT 5.0, with that of 3.1.1 where the numbers differ.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes do not follow the format.
    #[error("{what} (MQTT {clause})")]
    Malformed {
        /// The section that is broken.
        clause: &'static str,
        /// What was found.
        what: &'static str,
    },
    /// Well formed, and not allowed here.
    #[error("{what} (MQTT {clause})")]
    Protocol {
        /// The section that is broken.
        clause: &'static str,
        /// What was found.
        what: &'static str,
    },
    /// A topic name with a wildcard, or too long.
    #[error("{what} (MQTT {clause})")]
    TopicName {
        /// The section that is broken.
        clause: &'static str,
        /// What was found.
        what: &'static str,
    },
    /// A topic alias of zero.
    #[error("a topic alias is 1 or more (MQTT 3.3.2.3.4)")]
    TopicAlias,
    /// A payload that is not UTF-8 although its format indicator says so.
    #[error("the payload is not the UTF-8 text its format indicator promises (MQTT 3.3.2.3.2)")]
    PayloadFormat,
    /// A CONNECT of a version we do not speak; answered with CONNACK 0x01 or 0x84.
    #[error("protocol level {level} is not spoken here, use 4 (3.1.1) or 5 (MQTT 3.1.2.2)")]
    UnsupportedVersion {
        /// The protocol level asked for.
        level: u8,
    },
    /// A 3.1.1 client without a client id asked to keep its session; answered with CONNACK 0x02.
    #[error("a client without an id must ask for a clean session (MQTT 3.1.1 3.1.3.1)")]
    ClientIdentifier,
    /// The announced length is over the maximum.
    #[error("the packet has {bytes} bytes, the maximum is {maximum} (MQTT 3.1.2.11.4)")]
    TooLarge {
        /// Bytes of the whole packet, as its header announces.
        bytes: usize,
        /// The most that is taken.
        maximum: usize,
    },
    /// More entries of a list than [`model::limits`] allow.
    #[error("more than {limit} {of} in one packet (a limit of this server)")]
    TooMany {
        /// What there are too many of.
        of: &'static str,
        /// The most that is taken.
        limit: usize,
    },
}

impl DecodeError {
    /// The reason code for CONNACK or DISCONNECT.
    #[must_use]
    pub const fn reason(&self) -> ReasonCode {
        match self {
            Self::Malformed { .. } => ReasonCode::MalformedPacket,
            Self::Protocol { .. } => ReasonCode::ProtocolError,
            Self::TopicName { .. } => ReasonCode::TopicNameInvalid,
            Self::TopicAlias => ReasonCode::TopicAliasInvalid,
            Self::PayloadFormat => ReasonCode::PayloadFormatInvalid,
            Self::UnsupportedVersion { .. } => ReasonCode::UnsupportedProtocolVersion,
            Self::ClientIdentifier => ReasonCode::ClientIdentifierNotValid,
            Self::TooLarge { .. } => ReasonCode::PacketTooLarge,
            Self::TooMany { .. } => ReasonCode::QuotaExceeded,
        }
    }

    /// The section of the specification that is broken; empty for a limit of our own.
    #[must_use]
    pub const fn clause(&self) -> &'static str {
        match self {
            Self::Malformed { clause, .. }
            | Self::Protocol { clause, .. }
            | Self::TopicName { clause, .. } => clause,
            Self::TopicAlias => "3.3.2.3.4",
            Self::PayloadFormat => "3.3.2.3.2",
            Self::UnsupportedVersion { .. } => "3.1.2.2",
            Self::ClientIdentifier => "3.1.1 3.1.3.1",
            Self::TooLarge { .. } => "3.1.2.11.4",
            Self::TooMany { .. } => "",
        }
    }

    pub(crate) const fn malformed(clause: &'static str, what: &'static str) -> Self {
        Self::Malformed { clause, what }
    }

    pub(crate) const fn protocol(clause: &'static str, what: &'static str) -> Self {
        Self::Protocol { clause, what }
    }
}
