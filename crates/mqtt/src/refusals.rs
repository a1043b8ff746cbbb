//! How a refusal is told in MQTT: the one `match` on its kind.

use std::fmt::Write;

use model::{ReasonId, RefusalKind};
use mqtt_proto::ReasonCode;

/// The reason codes that tell one kind of refusal, by the packet that answers. A 3.1.1 client is
/// told what `mqtt_proto` makes of them: a return code in CONNACK, 0x80 in SUBACK, and elsewhere
/// the end of its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Codes {
    /// To CONNECT.
    pub connack: ReasonCode,
    /// To PUBLISH: PUBACK, and PUBREC alike.
    pub puback: ReasonCode,
    /// To one filter of SUBSCRIBE.
    pub suback: ReasonCode,
    /// To one filter of UNSUBSCRIBE.
    pub unsuback: ReasonCode,
    /// When nothing else can answer.
    pub disconnect: ReasonCode,
}

/// The codes for one kind.
#[must_use]
pub const fn codes(kind: RefusalKind) -> Codes {
    use ReasonCode as Code;
    // §3.2.2.2, §3.4.2.1, §3.9.3, §3.11.3, §3.14.2.1 say which codes each packet may carry.
    let [connack, puback, suback, unsuback, disconnect] = match kind {
        RefusalKind::Malformed => [
            Code::ClientIdentifierNotValid,
            Code::TopicNameInvalid,
            Code::TopicFilterInvalid,
            Code::TopicFilterInvalid,
            Code::TopicNameInvalid,
        ],
        RefusalKind::Unauthenticated | RefusalKind::Denied | RefusalKind::Expired => [
            Code::NotAuthorized,
            Code::NotAuthorized,
            Code::NotAuthorized,
            Code::NotAuthorized,
            Code::NotAuthorized,
        ],
        RefusalKind::NotFound => [
            Code::NotAuthorized,
            Code::TopicNameInvalid,
            Code::TopicFilterInvalid,
            Code::NoSubscriptionExisted,
            Code::TopicNameInvalid,
        ],
        RefusalKind::AlreadyExists | RefusalKind::Conflict | RefusalKind::Unsupported => [
            Code::ImplementationSpecificError,
            Code::ImplementationSpecificError,
            Code::ImplementationSpecificError,
            Code::ImplementationSpecificError,
            Code::ImplementationSpecificError,
        ],
        RefusalKind::TooLarge => [
            Code::PacketTooLarge,
            Code::QuotaExceeded,
            Code::QuotaExceeded,
            Code::UnspecifiedError,
            Code::PacketTooLarge,
        ],
        RefusalKind::TooMany => [
            Code::QuotaExceeded,
            Code::QuotaExceeded,
            Code::QuotaExceeded,
            Code::UnspecifiedError,
            Code::QuotaExceeded,
        ],
        RefusalKind::Unavailable => [
            Code::ServerUnavailable,
            Code::UnspecifiedError,
            Code::UnspecifiedError,
            Code::UnspecifiedError,
            Code::ServerBusy,
        ],
        RefusalKind::Internal => [
            Code::UnspecifiedError,
            Code::UnspecifiedError,
            Code::UnspecifiedError,
            Code::UnspecifiedError,
            Code::UnspecifiedError,
        ],
    };
    Codes {
        connack,
        puback,
        suback,
        unsuback,
        disconnect,
    }
}

/// The codes for one refusal: those of its kind, unless MQTT 5 has a code for this very reason.
#[must_use]
pub fn codes_for(kind: RefusalKind, reason: ReasonId) -> Codes {
    let mut codes = codes(kind);
    match reason.0 {
        // §3.2.2.3.4
        "mqtt.will-qos" => codes.connack = ReasonCode::QosNotSupported,
        // §3.2.2.3.12
        "mqtt.subscription-id" => {
            codes.disconnect = ReasonCode::SubscriptionIdentifiersNotSupported;
        }
        _ => {}
    }
    codes
}

/// All of it as a Markdown table, for `golden/refusals.md`.
#[must_use]
pub fn table() -> String {
    let mut table = String::from(
        "| refusal | CONNACK | CONNACK 3.1.1 | PUBACK, PUBREC | SUBACK | UNSUBACK | DISCONNECT |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for kind in RefusalKind::ALL {
        let Codes {
            connack,
            puback,
            suback,
            unsuback,
            disconnect,
        } = codes(kind);
        let older = connack
            .v311_return_code()
            .map_or_else(|| "closed".to_owned(), |code| code.to_string());
        let [connack, puback, suback, unsuback, disconnect] =
            [connack, puback, suback, unsuback, disconnect]
                .map(|code| format!("0x{:02X} {code:?}", code.as_u8()));
        let written = writeln!(
            table,
            "| {kind:?} | {connack} | {older} | {puback} | {suback} | {unsuback} | {disconnect} |"
        );
        written.expect("writing to a string cannot fail");
    }
    table
}

/// The stable name under which the timeline keeps a breach of the protocol.
#[must_use]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "codes that say nothing more than that the protocol was broken"
)]
pub const fn violation_id(code: ReasonCode) -> &'static str {
    match code {
        ReasonCode::MalformedPacket => "mqtt.malformed-packet",
        ReasonCode::UnsupportedProtocolVersion => "mqtt.unsupported-version",
        ReasonCode::ClientIdentifierNotValid => "mqtt.client-id-missing",
        ReasonCode::BadAuthenticationMethod => "mqtt.authentication-method",
        ReasonCode::TopicNameInvalid => "mqtt.topic-name",
        ReasonCode::ReceiveMaximumExceeded => "mqtt.receive-maximum",
        ReasonCode::TopicAliasInvalid => "mqtt.topic-alias",
        ReasonCode::PacketTooLarge => "mqtt.packet-too-large",
        ReasonCode::QuotaExceeded => "mqtt.too-many",
        ReasonCode::PayloadFormatInvalid => "mqtt.payload-format",
        ReasonCode::QosNotSupported => "mqtt.qos",
        ReasonCode::SubscriptionIdentifiersNotSupported => "mqtt.subscription-id",
        _ => "mqtt.protocol-error",
    }
}

#[cfg(test)]
mod tests {
    use mqtt_proto::PacketKind;

    use super::*;

    #[test]
    fn every_code_may_stand_where_it_is_used() {
        for kind in RefusalKind::ALL {
            let codes = codes(kind);
            for (code, packet) in [
                (codes.connack, PacketKind::ConnAck),
                (codes.puback, PacketKind::PubAck),
                (codes.puback, PacketKind::PubRec),
                (codes.suback, PacketKind::SubAck),
                (codes.unsuback, PacketKind::UnsubAck),
                (codes.disconnect, PacketKind::Disconnect),
            ] {
                assert!(code.may_stand_in(packet), "{code:?} in {packet:?}");
            }
        }
    }
}
