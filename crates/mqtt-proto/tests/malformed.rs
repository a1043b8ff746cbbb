//! What the specifications forbid, each with its clause and its reason code.

mod notation;

use bytes::BytesMut;
use mqtt_proto::{DecodeError, ReasonCode as Code, Version, codec::Decoder};

/// Decodes `text` as the first packet of a server's connection.
#[track_caller]
fn first(text: &str) -> DecodeError {
    refusal(Decoder::server(), text)
}

#[track_caller]
fn refusal(mut decoder: Decoder, text: &str) -> DecodeError {
    let mut buffer = BytesMut::from(&*notation::bytes(text));
    match decoder.decode(&mut buffer) {
        Err(error) => error,
        Ok(packet) => panic!("{text} was taken as {packet:?}"),
    }
}

/// A server's decoder after a CONNECT of `version`.
fn connected(version: Version) -> Decoder {
    let connect = match version {
        Version::V311 => "10 * \"MQTT\" 04 02 003c \"d\"",
        Version::V5 => "10 * \"MQTT\" 05 02 003c {} \"d\"",
    };
    let mut decoder = Decoder::server();
    let mut buffer = BytesMut::from(&*notation::bytes(connect));
    decoder
        .decode(&mut buffer)
        .expect("a plain CONNECT")
        .expect("all of it");
    decoder
}

#[track_caller]
fn check(error: &DecodeError, code: Code, clause: &str, text: &str) {
    assert_eq!(error.reason(), code, "{text}: {error}");
    assert_eq!(error.clause(), clause, "{text}: {error}");
}

const MALFORMED: Code = Code::MalformedPacket;
const PROTOCOL: Code = Code::ProtocolError;

#[test]
fn malformed_first_packets_are_refused() {
    for (text, code, clause) in [
        // Not a CONNECT.
        ("C0 00", PROTOCOL, "3.1"),
        ("30 * \"a\"", PROTOCOL, "3.1"),
        ("82 * 0001 \"a\" 00", PROTOCOL, "3.1"),
        ("E0 00", PROTOCOL, "3.1"),
        ("F0 00", PROTOCOL, "3.1"),
        ("20 02 00 00", PROTOCOL, "3.1"),
        ("00 00", MALFORMED, "2.1.2 (3.1.1 2.2.1)"),
        // Fixed header.
        (
            "11 * \"MQTT\" 04 02 003c \"d\"",
            MALFORMED,
            "2.1.3 (3.1.1 2.2.2)",
        ),
        (
            "18 * \"MQTT\" 04 02 003c \"d\"",
            MALFORMED,
            "2.1.3 (3.1.1 2.2.2)",
        ),
        ("10 8D 00", MALFORMED, "1.5.5 (3.1.1 2.2.3)"),
        ("10 FF FF FF FF", MALFORMED, "1.5.5 (3.1.1 2.2.3)"),
        ("10 80 80 80 80 01", MALFORMED, "1.5.5 (3.1.1 2.2.3)"),
        ("10 80 80 00", MALFORMED, "1.5.5 (3.1.1 2.2.3)"),
        // 16 KiB at most before the client is known, refused from the announcement alone.
        ("10 FF FF FF 7F", Code::PacketTooLarge, "3.1.2.11.4"),
        ("10 80 80 01", Code::PacketTooLarge, "3.1.2.11.4"),
        // Name, level, flags.
        ("10 00", MALFORMED, "1.5"),
        ("10 * \"MQTT\"", MALFORMED, "1.5"),
        ("10 * \"MQT\" 04 02 003c \"d\"", MALFORMED, "3.1.2.1"),
        ("10 * \"mqtt\" 04 02 003c \"d\"", MALFORMED, "3.1.2.1"),
        ("10 * \"\" 04 02 003c \"d\"", MALFORMED, "3.1.2.1"),
        ("10 * 0005 'MQTT' 04 02 003c \"d\"", MALFORMED, "3.1.2.1"),
        (
            "10 * \"MQIsdp\" 03 02 003c \"d\"",
            Code::UnsupportedProtocolVersion,
            "3.1.2.2",
        ),
        (
            "10 * \"MQTT\" 03 02 003c \"d\"",
            Code::UnsupportedProtocolVersion,
            "3.1.2.2",
        ),
        (
            "10 * \"MQTT\" 06 02 003c \"d\"",
            Code::UnsupportedProtocolVersion,
            "3.1.2.2",
        ),
        (
            "10 * \"MQTT\" 84 02 003c \"d\"",
            Code::UnsupportedProtocolVersion,
            "3.1.2.2",
        ),
        ("10 * \"MQTT\" 04 03 003c \"d\"", MALFORMED, "3.1.2.3"),
        ("10 * \"MQTT\" 05 03 003c {} \"d\"", MALFORMED, "3.1.2.3"),
        (
            "10 * \"MQTT\" 04 1E 003c \"d\" \"t\" \"m\"",
            MALFORMED,
            "3.1.2.6",
        ),
        ("10 * \"MQTT\" 04 0A 003c \"d\"", MALFORMED, "3.1.2.6"),
        ("10 * \"MQTT\" 05 12 003c {} \"d\"", MALFORMED, "3.1.2.6"),
        ("10 * \"MQTT\" 04 22 003c \"d\"", MALFORMED, "3.1.2.7"),
        (
            "10 * \"MQTT\" 04 42 003c \"d\" \"p\"",
            MALFORMED,
            "3.1.1 3.1.2.9",
        ),
        // Payload.
        (
            "10 * \"MQTT\" 04 00 003c \"\"",
            Code::ClientIdentifierNotValid,
            "3.1.1 3.1.3.1",
        ),
        (
            "10 * \"MQTT\" 04 02 003c 0001 FF",
            MALFORMED,
            "1.5.4 (3.1.1 1.5.3)",
        ),
        (
            "10 * \"MQTT\" 04 02 003c 0001 00",
            MALFORMED,
            "1.5.4 (3.1.1 1.5.3)",
        ),
        (
            "10 * \"MQTT\" 04 02 003c 0003 EDA080",
            MALFORMED,
            "1.5.4 (3.1.1 1.5.3)",
        ),
        (
            "10 * \"MQTT\" 04 02 003c 0002 C080",
            MALFORMED,
            "1.5.4 (3.1.1 1.5.3)",
        ),
        (
            "10 * \"MQTT\" 04 02 003c 0004 F4908080",
            MALFORMED,
            "1.5.4 (3.1.1 1.5.3)",
        ),
        (
            "10 * \"MQTT\" 04 02 003c \"d\" 00",
            MALFORMED,
            "2.1.4 (3.1.1 2.2.3)",
        ),
        ("10 * \"MQTT\" 04 02 003c 0002 'd'", MALFORMED, "1.5"),
        ("10 * \"MQTT\" 04 06 003c \"d\" \"t\"", MALFORMED, "1.5"),
        (
            "10 * \"MQTT\" 04 06 003c \"d\" \"t/#\" \"m\"",
            Code::TopicNameInvalid,
            "3.3.2.1",
        ),
        (
            "10 * \"MQTT\" 04 06 003c \"d\" \"\" \"m\"",
            PROTOCOL,
            "3.1.3.3",
        ),
        ("10 * \"MQTT\" 04 82 003c \"d\"", MALFORMED, "1.5"),
        ("10 * \"MQTT\" 04 C2 003c \"d\" \"u\"", MALFORMED, "1.5"),
        // Properties.
        (
            "10 * \"MQTT\" 05 02 003c {11 00000001 11 00000001} \"d\"",
            PROTOCOL,
            "2.2.2.2",
        ),
        (
            "10 * \"MQTT\" 05 02 003c {21 0000} \"d\"",
            PROTOCOL,
            "3.1.2.11.3",
        ),
        (
            "10 * \"MQTT\" 05 02 003c {27 00000000} \"d\"",
            PROTOCOL,
            "3.1.2.11.4",
        ),
        (
            "10 * \"MQTT\" 05 02 003c {17 02} \"d\"",
            PROTOCOL,
            "3.1.2.11.7",
        ),
        (
            "10 * \"MQTT\" 05 02 003c {19 02} \"d\"",
            PROTOCOL,
            "3.1.2.11.6",
        ),
        (
            "10 * \"MQTT\" 05 02 003c {16 \"x\"} \"d\"",
            PROTOCOL,
            "3.1.2.11.10",
        ),
        (
            "10 * \"MQTT\" 05 02 003c {01 00} \"d\"",
            MALFORMED,
            "2.2.2.2",
        ),
        ("10 * \"MQTT\" 05 02 003c {00} \"d\"", MALFORMED, "2.2.2.2"),
        (
            "10 * \"MQTT\" 05 02 003c {7F 00} \"d\"",
            MALFORMED,
            "2.2.2.2",
        ),
        (
            "10 * \"MQTT\" 05 02 003c {91 00 00000001} \"d\"",
            MALFORMED,
            "2.2.2.2",
        ),
        ("10 * \"MQTT\" 05 02 003c {11 0000} \"d\"", MALFORMED, "1.5"),
        (
            "10 * \"MQTT\" 05 02 003c 7F 11 00000001 \"d\"",
            MALFORMED,
            "1.5",
        ),
        (
            "10 * \"MQTT\" 05 02 003c 80 00 \"d\"",
            MALFORMED,
            "1.5.5 (3.1.1 2.2.3)",
        ),
        (
            "10 * \"MQTT\" 05 06 003c {} \"d\" {23 0001} \"t\" \"m\"",
            MALFORMED,
            "2.2.2.2",
        ),
        (
            "10 * \"MQTT\" 05 06 003c {} \"d\" {01 02} \"t\" \"m\"",
            PROTOCOL,
            "3.3.2.3.2",
        ),
        (
            "10 * \"MQTT\" 05 06 003c {} \"d\" {18 00000001 18 00000001} \"t\" \"m\"",
            PROTOCOL,
            "2.2.2.2",
        ),
        (
            "10 * \"MQTT\" 05 02 003c {} \"d\" 00",
            MALFORMED,
            "2.1.4 (3.1.1 2.2.3)",
        ),
    ] {
        check(&first(text), code, clause, text);
    }
}

#[test]
fn malformed_packets_of_both_versions_are_refused() {
    for (text, code, clause) in [
        ("10 * \"MQTT\" 04 02 003c \"d\"", PROTOCOL, "3.1"),
        ("20 02 00 00", PROTOCOL, "2.1.2"),
        ("90 * 0001 00", PROTOCOL, "2.1.2"),
        ("B0 * 0001", PROTOCOL, "2.1.2"),
        ("D0 00", PROTOCOL, "2.1.2"),
        ("00 00", MALFORMED, "2.1.2 (3.1.1 2.2.1)"),
        ("36 * \"a\" 0001", MALFORMED, "3.3.1.2"),
        ("3F * \"a\" 0001", MALFORMED, "3.3.1.2"),
        ("38 * \"a\"", MALFORMED, "3.3.1.1"),
        ("41 * 0001", MALFORMED, "2.1.3 (3.1.1 2.2.2)"),
        ("52 * 0001", MALFORMED, "2.1.3 (3.1.1 2.2.2)"),
        ("60 * 0001", MALFORMED, "2.1.3 (3.1.1 2.2.2)"),
        ("66 * 0001", MALFORMED, "2.1.3 (3.1.1 2.2.2)"),
        ("71 * 0001", MALFORMED, "2.1.3 (3.1.1 2.2.2)"),
        ("80 * 0001", MALFORMED, "2.1.3 (3.1.1 2.2.2)"),
        ("A0 * 0001", MALFORMED, "2.1.3 (3.1.1 2.2.2)"),
        ("C1 00", MALFORMED, "2.1.3 (3.1.1 2.2.2)"),
        ("E1 00", MALFORMED, "2.1.3 (3.1.1 2.2.2)"),
        ("C0 01 00", MALFORMED, "2.1.4 (3.1.1 2.2.3)"),
        ("30 00", MALFORMED, "1.5"),
        ("30 01 00", MALFORMED, "1.5"),
        ("30 * 0001 00", MALFORMED, "1.5.4 (3.1.1 1.5.3)"),
        ("30 * 0001 80", MALFORMED, "1.5.4 (3.1.1 1.5.3)"),
        ("30 * \"a/+\" 00", Code::TopicNameInvalid, "3.3.2.1"),
        ("30 * \"#\" 00", Code::TopicNameInvalid, "3.3.2.1"),
        ("32 * \"a\" 0000", PROTOCOL, "2.2.1 (3.1.1 2.3.1)"),
        ("34 * \"a\" 0000", PROTOCOL, "2.2.1 (3.1.1 2.3.1)"),
        ("32 * \"a\"", MALFORMED, "1.5"),
        ("40 02 0000", PROTOCOL, "2.2.1 (3.1.1 2.3.1)"),
        ("40 01 00", MALFORMED, "1.5"),
        ("40 00", MALFORMED, "1.5"),
        ("62 02 0000", PROTOCOL, "2.2.1 (3.1.1 2.3.1)"),
        ("82 02 0000", PROTOCOL, "2.2.1 (3.1.1 2.3.1)"),
        ("A2 02 0000", PROTOCOL, "2.2.1 (3.1.1 2.3.1)"),
        ("30 FF FF FF 7F", Code::PacketTooLarge, "3.1.2.11.4"),
    ] {
        for version in [Version::V311, Version::V5] {
            check(&refusal(connected(version), text), code, clause, text);
        }
    }
}

#[test]
fn malformed_packets_of_3_1_1_are_refused() {
    for (text, code, clause) in [
        ("F0 00", MALFORMED, "2.1.2 (3.1.1 2.2.1)"),
        ("30 * \"\"", PROTOCOL, "3.3.2.1 (3.1.1 4.7.3)"),
        ("40 03 0001 00", MALFORMED, "2.1.4 (3.1.1 2.2.3)"),
        ("E0 01 00", MALFORMED, "2.1.4 (3.1.1 2.2.3)"),
        ("82 * 0001", PROTOCOL, "3.8.3"),
        ("82 * 0001 \"a\"", MALFORMED, "1.5"),
        ("82 * 0001 \"\" 00", PROTOCOL, "4.7.3"),
        ("82 * 0001 \"a\" 03", PROTOCOL, "3.8.3.1 (3.1.1 3.8.3)"),
        ("82 * 0001 \"a\" 04", MALFORMED, "3.8.3.1 (3.1.1 3.8.3)"),
        ("82 * 0001 \"a\" 80", MALFORMED, "3.8.3.1 (3.1.1 3.8.3)"),
        ("82 * 0001 0001 00 01", MALFORMED, "1.5.4 (3.1.1 1.5.3)"),
        ("A2 * 0001", PROTOCOL, "3.10.3"),
        ("A2 * 0001 \"\"", PROTOCOL, "4.7.3"),
        ("A2 * 0001 0002 'a'", MALFORMED, "1.5"),
    ] {
        check(&refusal(connected(Version::V311), text), code, clause, text);
    }
}

#[test]
fn malformed_packets_of_5_0_are_refused() {
    for (text, code, clause) in [
        // PUBLISH.
        ("30 * \"\" {}", PROTOCOL, "3.3.2.1 (3.1.1 4.7.3)"),
        ("30 * \"a\" {23 0000}", Code::TopicAliasInvalid, "3.3.2.3.4"),
        ("30 * \"a\" {23 0001 23 0001}", PROTOCOL, "2.2.2.2"),
        ("30 * \"a\" {0B 01}", PROTOCOL, "3.3.4"),
        ("30 * \"a\" {01 02}", PROTOCOL, "3.3.2.3.2"),
        ("30 * \"a\" {01 00 01 00}", PROTOCOL, "2.2.2.2"),
        ("30 * \"a\" {02 00000001 02 00000001}", PROTOCOL, "2.2.2.2"),
        ("30 * \"a\" {03 \"x\" 03 \"x\"}", PROTOCOL, "2.2.2.2"),
        ("30 * \"a\" {08 \"x\" 08 \"x\"}", PROTOCOL, "2.2.2.2"),
        ("30 * \"a\" {09 \"x\" 09 \"x\"}", PROTOCOL, "2.2.2.2"),
        ("30 * \"a\" {08 \"x/#\"}", PROTOCOL, "3.3.2.3.5"),
        ("30 * \"a\" {08 \"\"}", PROTOCOL, "3.3.2.3.5"),
        ("30 * \"a\" {11 00000001}", MALFORMED, "2.2.2.2"),
        ("30 * \"a\" {1F \"x\"}", MALFORMED, "2.2.2.2"),
        ("30 * \"a\" {26 \"k\"}", MALFORMED, "1.5"),
        (
            "30 * \"a\" {26 \"k\" 0001 FF}",
            MALFORMED,
            "1.5.4 (3.1.1 1.5.3)",
        ),
        ("30 * \"a\" {03 0001 00}", MALFORMED, "1.5.4 (3.1.1 1.5.3)"),
        ("30 * \"a\" 05 01", MALFORMED, "1.5"),
        ("30 * \"a\"", MALFORMED, "1.5"),
        ("30 * \"a\" 80 00", MALFORMED, "1.5.5 (3.1.1 2.2.3)"),
        // Acknowledgements.
        ("40 03 0001 01", MALFORMED, "2.4"),
        ("40 03 0001 92", MALFORMED, "2.4"),
        ("40 03 0001 FF", MALFORMED, "2.4"),
        ("62 03 0001 10", MALFORMED, "2.4"),
        ("40 * 0001 00 {1F \"x\" 1F \"x\"}", PROTOCOL, "2.2.2.2"),
        ("40 * 0001 00 {03 \"x\"}", MALFORMED, "2.2.2.2"),
        ("40 * 0001 00 {} 00", MALFORMED, "2.1.4 (3.1.1 2.2.3)"),
        ("40 * 0001 00 04 26", MALFORMED, "1.5"),
        // SUBSCRIBE, UNSUBSCRIBE.
        ("82 * 0001 {}", PROTOCOL, "3.8.3"),
        ("82 * 0001 {0B 00} \"a\" 00", PROTOCOL, "3.8.2.1.2"),
        ("82 * 0001 {0B 01 0B 02} \"a\" 00", PROTOCOL, "3.8.2.1.2"),
        (
            "82 * 0001 {0B FFFFFFFF 01} \"a\" 00",
            MALFORMED,
            "1.5.5 (3.1.1 2.2.3)",
        ),
        ("82 * 0001 {1F \"x\"} \"a\" 00", MALFORMED, "2.2.2.2"),
        ("82 * 0001 {} \"a\" 03", PROTOCOL, "3.8.3.1 (3.1.1 3.8.3)"),
        ("82 * 0001 {} \"a\" 30", PROTOCOL, "3.8.3.1"),
        ("82 * 0001 {} \"a\" 40", MALFORMED, "3.8.3.1 (3.1.1 3.8.3)"),
        ("82 * 0001 {} \"a\" 80", MALFORMED, "3.8.3.1 (3.1.1 3.8.3)"),
        ("82 * 0001 {} \"$share/g/a\" 04", PROTOCOL, "3.8.3.1"),
        ("82 * 0001 {} \"\" 00", PROTOCOL, "4.7.3"),
        ("82 * 0001 {} \"a\"", MALFORMED, "1.5"),
        ("A2 * 0001 {}", PROTOCOL, "3.10.3"),
        ("A2 * 0001 {0B 01} \"a\"", MALFORMED, "2.2.2.2"),
        // DISCONNECT, AUTH.
        ("E0 01 01", MALFORMED, "2.4"),
        ("E0 01 87", PROTOCOL, "3.14.2.1"),
        ("E0 01 8E", PROTOCOL, "3.14.2.1"),
        ("E0 * 00 {11 00000001 11 00000001}", PROTOCOL, "2.2.2.2"),
        ("E0 * 00 {1C \"x\"}", MALFORMED, "2.2.2.2"),
        ("E0 * 00 {} 00", MALFORMED, "2.1.4 (3.1.1 2.2.3)"),
        ("F0 00", PROTOCOL, "3.15.2.1"),
        ("F0 01 18", PROTOCOL, "3.15.2.2.2"),
        ("F0 01 42", MALFORMED, "2.4"),
        ("F1 00", MALFORMED, "2.1.3 (3.1.1 2.2.2)"),
    ] {
        check(&refusal(connected(Version::V5), text), code, clause, text);
    }
}

#[test]
fn malformed_packets_from_a_server_are_refused() {
    for (version, text, code, clause) in [
        (Version::V311, "20 02 02 00", MALFORMED, "3.2.2.1"),
        (Version::V311, "20 02 00 06", MALFORMED, "3.1.1 3.2.2.3"),
        (Version::V311, "20 02 01 05", PROTOCOL, "3.2.2.1.1"),
        (Version::V311, "90 03 0001 03", MALFORMED, "2.4"),
        (Version::V311, "90 03 0001 87", MALFORMED, "3.1.1 3.9.3"),
        (Version::V311, "E0 00", PROTOCOL, "2.1.2"),
        (Version::V5, "20 * 01 87 {}", PROTOCOL, "3.2.2.1.1"),
        (Version::V5, "20 * 00 01 {}", MALFORMED, "2.4"),
        (Version::V5, "20 * 00 00 {21 0000}", PROTOCOL, "3.1.2.11.3"),
        (Version::V5, "20 * 00 00 {24 02}", PROTOCOL, "3.2.2.3.4"),
        (
            Version::V5,
            "20 * 00 00 {02 00000001}",
            MALFORMED,
            "2.2.2.2",
        ),
        (Version::V5, "30 * \"a\" {0B 00}", PROTOCOL, "3.3.2.3.8"),
        (Version::V5, "90 * 0001 {}", PROTOCOL, "3.9.3"),
        (Version::V5, "E0 * 00 {11 00000001}", PROTOCOL, "3.14.2.2.2"),
        (Version::V5, "C0 00", PROTOCOL, "2.1.2"),
        (Version::V5, "82 * 0001 {} \"a\" 00", PROTOCOL, "2.1.2"),
    ] {
        check(&refusal(Decoder::client(version), text), code, clause, text);
    }
}

#[test]
fn too_many_user_properties_or_filters_are_refused() {
    let properties = "26 \"k\" \"v\" ".repeat(65);
    let text = format!("30 * \"a\" {{{properties}}}");
    let error = refusal(connected(Version::V5), &text);
    assert_eq!(error.reason(), Code::QuotaExceeded);
    let text = format!("82 * 0001 {}", "\"a\" 00 ".repeat(257));
    let error = refusal(connected(Version::V311), &text);
    assert_eq!(error.reason(), Code::QuotaExceeded);
}

#[test]
fn a_payload_is_checked_against_its_format_only_when_asked() {
    let text = "30 * \"a\" {01 01} FF";
    let decoder = connected(Version::V5);
    let error = refusal(decoder.clone().checking_payload_format(), text);
    check(&error, Code::PayloadFormatInvalid, "3.3.2.3.2", text);
    let mut buffer = BytesMut::from(&*notation::bytes(text));
    assert!({ decoder }.decode(&mut buffer).is_ok());
}

#[test]
fn an_announced_length_reserves_nothing() {
    let mut buffer = BytesMut::from(&*notation::bytes("30 FF FF 3E"));
    let before = buffer.capacity();
    assert_eq!(connected(Version::V5).decode(&mut buffer), Ok(None));
    assert_eq!(buffer.capacity(), before);
}
