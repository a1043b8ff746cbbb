//! `golden/refusals.md`: every kind of refusal as each protocol tells it, and every reason id.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod reasons;
mod sources;

use std::fmt::Write as _;

use dialect_aws::{
    rest::{Service, exception},
    sigv4::SignatureError,
};
use model::{ReasonId, Refusal, RefusalKind, Timestamp};
use mqtt_proto::{PacketKind, ReasonCode};
use reasons::{REASONS, Reason, Told};

#[test]
fn refusals_are_told_as_committed() {
    let mut page = String::from(
        "# Refusals\n\n\
         Printed by a test of `testkit`; rewritten by `cargo xtask golden --update`. Search it for\n\
         the reason id that an answer, `sekisho timeline` or `sekisho explain` shows.\n\n\
         ## Reason ids\n\n\
         MQTT 5 codes stand for the packets that answer: CONNACK, PUBACK (and PUBREC), SUBACK and,\n\
         when nothing else can, DISCONNECT. 3.1.1 has codes in CONNACK and SUBACK only; any other\n\
         refusal closes the connection, and so does aws-strict where AWS does. *Timeline* is what\n\
         `sekisho timeline` and `sekisho trace` show the operator.\n\n\
         | reason | refusal | what it means | what to do | MQTT 5 | MQTT 3.1.1 | AWS iot | AWS iot-data | REST v1 |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for reason in REASONS {
        page.push_str(&row(reason));
    }
    page.push_str(
        "\n## Bad input\n\nWhich reasons a bad input meets.\n\n| input | reasons |\n|---|---|\n",
    );
    for (input, ids) in BAD_INPUT {
        let ids: Vec<_> = ids.iter().map(|id| format!("`{id}`")).collect();
        writeln!(page, "| {input} | {} |", ids.join(", ")).unwrap();
    }
    page.push_str("\n## Kinds over MQTT 5 and 3.1.1\n\n");
    page.push_str(&mqtt::refusals::table());
    page.push_str("\n## Kinds over AWS's HTTPS APIs\n\n");
    page.push_str(&exceptions());
    testkit::golden("refusals.md", &page);
}

/// The bad input that the hub must refuse clearly, and the reasons for it.
const BAD_INPUT: [(&str, &[&str]); 10] = [
    (
        "truncated",
        &[
            "mqtt.malformed-packet",
            "mqtt.no-connect",
            "connection.lost",
            "aws.json",
        ],
    ),
    (
        "oversized",
        &[
            "mqtt.packet-too-large",
            "publish.too-large",
            "listen.handshake-too-large",
            "shadow.too-large",
        ],
    ),
    (
        "not UTF-8",
        &[
            "mqtt.malformed-packet",
            "mqtt.payload-format",
            "shadow.encoding",
            "aws.json",
        ],
    ),
    (
        "a wildcard in a topic",
        &["mqtt.topic-name", "topic.invalid"],
    ),
    (
        "deep JSON",
        &[
            "shadow.too-deep",
            "policy.malformed",
            "aws.json",
            "request.malformed",
        ],
    ),
    ("a body of 10 MB", &["http.body", "mqtt.packet-too-large"]),
    (
        "a million topics",
        &[
            "retained.too-many",
            "subscription.too-many",
            "mqtt.too-many",
            "session.too-many",
        ],
    ),
    (
        "a wrong CA",
        &["certificate.unknown", "listen.server-not-trusted"],
    ),
    ("an expired certificate", &["certificate.expired"]),
    (
        "a stolen client id",
        &[
            "policy.no-statement",
            "policy.condition",
            "policy.variable",
            "connection.taken-over",
        ],
    ),
];

/// One reason as every protocol tells it, printed from the protocols' own matches.
fn row(reason: &Reason) -> String {
    let nothing = "—".to_owned();
    let id = ReasonId(reason.id);
    let both = |kinds: &[RefusalKind], tell: &dyn Fn(RefusalKind) -> String| {
        let told: Vec<_> = kinds.iter().map(|kind| tell(*kind)).collect();
        told.join(" / ")
    };
    let newer = |kind| {
        let codes = mqtt::refusals::codes_for(kind, id);
        let [connack, puback, suback, disconnect] =
            [codes.connack, codes.puback, codes.suback, codes.disconnect]
                .map(|code| format!("{:02X}", code.as_u8()));
        format!("CONNACK {connack}, PUBACK {puback}, SUBACK {suback}, DISCONNECT {disconnect}")
    };
    let older = |kind| {
        let connack = mqtt::refusals::codes_for(kind, id).connack;
        connack.v311_return_code().map_or_else(
            || "SUBACK 80, else closed".to_owned(),
            |code| format!("CONNACK {code}, SUBACK 80, else closed"),
        )
    };
    let aws = |service| {
        move |kind| {
            let (name, status) = exception(service, kind, id);
            format!("{status} {name}")
        }
    };
    let v1 = |kind| https::v1::status_of(kind).as_u16().to_string();
    let (kinds, mqtt, https) = match reason.told {
        Told::Anywhere(kinds) => (kinds, true, true),
        Told::Mqtt(kinds) => (kinds, true, false),
        Told::Https(kinds) => (kinds, false, true),
        Told::Signature => (&[RefusalKind::Unauthenticated][..], false, true),
        Told::Breach | Told::End(_) | Told::Handshake | Told::Timeline | Told::Status(_) => {
            (&[][..], false, false)
        }
    };
    let kind = if kinds.is_empty() {
        nothing.clone()
    } else {
        both(kinds, &|kind| format!("{kind:?}"))
    };
    let mut cells = [const { String::new() }; 5].map(|_| nothing.clone());
    if mqtt {
        cells[0] = both(kinds, &newer);
        cells[1] = both(kinds, &older);
    }
    if https {
        cells[2] = both(kinds, &aws(Service::Iot));
        cells[3] = both(kinds, &aws(Service::IotData));
        cells[4] = both(kinds, &v1);
    }
    match reason.told {
        Told::Breach => {
            let codes = breach_codes(reason.id);
            let spelled: Vec<_> = codes
                .iter()
                .map(|code| format!("{:02X} {code:?}", code.as_u8()))
                .collect();
            cells[0] = format!("CONNACK or DISCONNECT {}", spelled.join(", "));
            cells[1] = "closed".into();
            if let Some(code) = codes.iter().find_map(|code| code.v311_return_code()) {
                cells[1] = format!("CONNACK {code}, else closed");
            }
        }
        Told::End(code) => {
            cells[0] = code.map_or_else(
                || "closed".into(),
                |code| format!("DISCONNECT {:02X} {code:?}", code.as_u8()),
            );
            cells[1] = "closed".into();
        }
        Told::Handshake => cells.fill("closed; timeline".into()),
        Told::Timeline => cells.fill("timeline".into()),
        Told::Status(status) => cells[4] = status.to_string(),
        Told::Signature => {
            let name = signature_exception(reason.id);
            cells[2] = format!("403 {name}");
            cells[3] = format!("403 {name}");
            cells[4] = nothing;
        }
        Told::Anywhere(_) | Told::Mqtt(_) | Told::Https(_) => {}
    }
    format!(
        "| `{}` | {kind} | {} | {} | {} |\n",
        reason.id,
        reason.means,
        reason.remedy,
        cells.join(" | ")
    )
}

/// The codes of MQTT 5 that the timeline keeps under this name.
fn breach_codes(id: &str) -> Vec<ReasonCode> {
    if id == mqtt::refusals::violation_id(ReasonCode::ProtocolError) {
        // And every code that says no more.
        return vec![ReasonCode::ProtocolError];
    }
    let codes: Vec<_> = (0..=u8::MAX)
        .filter_map(ReasonCode::from_u8)
        .filter(|code| {
            code.may_stand_in(PacketKind::ConnAck) || code.may_stand_in(PacketKind::Disconnect)
        })
        .filter(|code| mqtt::refusals::violation_id(*code) == id)
        .collect();
    assert!(!codes.is_empty(), "{id} is no breach of MQTT");
    codes
}

/// AWS's name for a signature that was not taken.
fn signature_exception(id: &str) -> &'static str {
    let at = Timestamp::default();
    let all = [
        SignatureError::Missing,
        SignatureError::Incomplete { what: "" },
        SignatureError::UnknownKey,
        SignatureError::UnknownToken,
        SignatureError::Service {
            name: String::new(),
        },
        SignatureError::ClockSkew {
            signed_at: at,
            now: at,
        },
        SignatureError::Expired {
            expired_at: at,
            now: at,
        },
        SignatureError::Region {
            signed: String::new(),
            own: String::new(),
        },
        SignatureError::HeaderNotSigned {
            name: String::new(),
        },
        SignatureError::Payload,
        SignatureError::Mismatch {
            canonical: String::new(),
            to_sign: String::new(),
        },
    ];
    let (name, _) = all
        .iter()
        .map(SignatureError::names)
        .find(|(_, reason)| *reason == id)
        .unwrap_or_else(|| panic!("{id} is about no signature"));
    name
}

#[test]
fn every_reason_of_the_sources_is_in_the_table_with_its_kind() {
    for found in sources::literals() {
        let id = &found.id;
        let Some(reason) = REASONS.iter().find(|reason| reason.id == *id) else {
            panic!("{id} of {} is not in tests/reasons/mod.rs", found.file);
        };
        let kinds = match reason.told {
            Told::Anywhere(kinds) | Told::Mqtt(kinds) | Told::Https(kinds) => kinds,
            Told::Breach
            | Told::Signature
            | Told::End(_)
            | Told::Handshake
            | Told::Timeline
            | Told::Status(_) => continue,
        };
        if let Some(kind) = found.kind {
            assert!(
                kinds.contains(&kind),
                "{id} is {kind:?} in {}, and {kinds:?} in the table",
                found.file
            );
        }
    }
}

#[test]
fn every_reason_of_the_table_is_in_the_sources_once_and_in_order() {
    let found = sources::literals();
    for pair in REASONS.windows(2) {
        assert!(
            pair[0].id < pair[1].id,
            "{} before {}",
            pair[0].id,
            pair[1].id
        );
    }
    for reason in REASONS {
        let is_used = found.iter().any(|found| found.id == reason.id);
        assert!(is_used, "nothing gives the reason {}", reason.id);
        if let Told::Handshake = reason.told {
            let id = ReasonId(reason.id);
            assert!(listen::reasons::ALL.contains(&id), "{id}");
        }
    }
}

#[test]
fn every_bad_input_meets_reasons_of_the_table() {
    for (input, ids) in BAD_INPUT {
        for id in ids {
            assert!(
                REASONS.iter().any(|reason| reason.id == *id),
                "{input}: {id}"
            );
        }
    }
}

#[test]
fn bad_packets_are_named_as_the_table_says() {
    let connect = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c";
    for (input, packet, id) in [
        (
            "truncated",
            &b"\x32\x03\x00\x09a"[..],
            "mqtt.malformed-packet",
        ),
        (
            "oversized",
            b"\x30\xff\xff\xff\x7f",
            "mqtt.packet-too-large",
        ),
        (
            "not UTF-8",
            b"\x30\x03\x00\x01\xff",
            "mqtt.malformed-packet",
        ),
        (
            "a wildcard in a topic",
            b"\x30\x03\x00\x01#",
            "mqtt.topic-name",
        ),
    ] {
        let mut decoder = mqtt_proto::codec::Decoder::server();
        let mut bytes = bytes::BytesMut::from(&connect[..]);
        assert!(decoder.decode(&mut bytes).unwrap().is_some());
        bytes.extend_from_slice(packet);
        let error = decoder.decode(&mut bytes).unwrap_err();
        assert_eq!(mqtt::refusals::violation_id(error.reason()), id, "{input}");
        let (_, ids) = BAD_INPUT.iter().find(|(name, _)| *name == input).unwrap();
        assert!(ids.contains(&id), "{input}");
    }
}

#[test]
fn deep_json_is_named_as_the_table_says() {
    let (open, close) = ("[".repeat(1000), "]".repeat(1000));
    let limits = shadow::Limits::default();
    let update = format!(r#"{{"state":{{"desired":{{"a":{open}{close}}}}}}}"#);
    let refusal: Refusal = shadow::Patch::parse(update.as_bytes(), &limits)
        .unwrap_err()
        .into();
    assert_eq!(refusal.reason.0, "shadow.too-deep");
    let policy = format!(r#"{{"Version":"2012-10-17","Statement":{open}{close}}}"#);
    let error = dialect_aws::policies::parse(&policy, "000000000000").unwrap_err();
    // Which the hub refuses as `policy.malformed`.
    assert!(error.to_string().contains("nest"), "{error}");
}

/// What each service answers to each kind when no reason says otherwise.
fn exceptions() -> String {
    let services = Service::ALL;
    let mut table = String::from("| refusal |");
    for service in services {
        write!(table, " {service:?} |").unwrap();
    }
    table.push_str("\n|---|");
    table.push_str(&"---|".repeat(services.len()));
    table.push('\n');
    for kind in RefusalKind::ALL {
        write!(table, "| {kind:?} |").unwrap();
        for service in services {
            let (name, status) = exception(service, kind, ReasonId("any"));
            write!(table, " {status} {name} |").unwrap();
        }
        table.push('\n');
    }
    table
}
