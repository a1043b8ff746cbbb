//! What the specifications allow, as it reads and as it is written back.

mod notation;

use bytes::BytesMut;
use mqtt_proto::{
    QoS, Version,
    codec::Decoder,
    encode,
    packet::{Packet, RetainHandling},
};

/// Decodes `text` byte by byte as a server (after a CONNECT when it is not one), writes it back
/// and compares.
#[track_caller]
fn check(version: Version, text: &str) -> Packet {
    read(server(version, text), version, text)
}

#[track_caller]
fn check_from_server(version: Version, text: &str) -> Packet {
    read(Decoder::client(version), version, text)
}

fn server(version: Version, text: &str) -> Decoder {
    let mut decoder = Decoder::server();
    if !text.starts_with("10") {
        let connect = match version {
            Version::V311 => "10 * \"MQTT\" 04 02 003c \"d\"",
            Version::V5 => "10 * \"MQTT\" 05 02 003c {} \"d\"",
        };
        let mut buffer = BytesMut::from(&*notation::bytes(connect));
        decoder
            .decode(&mut buffer)
            .expect("a plain CONNECT")
            .expect("all of it");
    }
    decoder
}

#[track_caller]
fn read(mut decoder: Decoder, version: Version, text: &str) -> Packet {
    let bytes = notation::bytes(text);
    let mut buffer = BytesMut::new();
    for (at, &byte) in bytes.iter().enumerate() {
        buffer.extend([byte]);
        let packet = decoder.decode(&mut buffer).expect(text);
        if at + 1 < bytes.len() {
            assert_eq!(packet, None, "{text}");
            continue;
        }
        let packet = packet.expect(text);
        assert!(buffer.is_empty(), "{text}");
        let mut written = BytesMut::new();
        encode::append(&packet, version, &mut written);
        assert_eq!(notation::hex(&written), notation::hex(&bytes), "{packet:?}");
        return packet;
    }
    panic!("{text} is empty");
}

#[test]
fn packets_of_3_1_1_are_read_and_written() {
    for text in [
        "10 * \"MQTT\" 04 02 003c \"dev-001\"",
        "10 * \"MQTT\" 04 02 0000 \"\"",
        "10 * \"MQTT\" 04 00 ffff \"dev-001\"",
        "10 * \"MQTT\" 04 EE 003c \"d\" \"will/t\" \"gone\" \"?SDK=x\" \"secret\"",
        "10 * \"MQTT\" 04 82 003c \"d\" \"user\"",
        "30 * \"a/b\" 'hi'",
        "31 * \"a/b\"",
        "32 * \"a/b\" 0007 'hi'",
        "3B * \"a/b\" 0007",
        "3D * \"a/b\" ffff 'hi'",
        "30 * \"/\"",
        "30 * \"a b/ü\" 00ff",
        "40 02 0001",
        "50 02 0001",
        "62 02 0001",
        "70 02 0001",
        "82 * 0001 \"a/+/#\" 00 \"b\" 02",
        "A2 * 0001 \"a/+/#\" \"b\"",
        "C0 00",
        "E0 00",
    ] {
        check(Version::V311, text);
    }
    for text in [
        "20 02 00 00",
        "20 02 01 00",
        "20 02 00 05",
        "90 * 0001 00 01 02 80",
        "B0 02 0001",
        "D0 00",
    ] {
        check_from_server(Version::V311, text);
    }
}

#[test]
fn packets_of_5_0_are_read_and_written() {
    for text in [
        "10 * \"MQTT\" 05 02 003c {} \"dev-001\"",
        // A password needs no user name in 5.0. §3.1.2.9.
        "10 * \"MQTT\" 05 42 003c {} \"d\" \"p\"",
        "10 * \"MQTT\" 05 00 003c {11 ffffffff 21 0001 27 00000400 22 000a 19 01 17 00 15 \"m\" 16 \"x\" 26 \"k\" \"v\"} \"\"",
        "10 * \"MQTT\" 05 C6 003c {} \"d\" {18 00000005 02 0000000a 01 01 03 \"text\" 08 \"r\" 09 \"c\" 26 \"k\" \"v\"} \"t\" \"m\" \"u\" \"p\"",
        "30 * \"a/b\" {} 'hi'",
        "30 * \"a/b\" {23 0001} 'hi'",
        "30 * \"\" {23 0001} 'hi'",
        "32 * \"a/b\" 0007 {02 0000000a 01 01 03 \"text\" 08 \"r\" 09 \"c\" 26 \"k\" \"v\" 26 \"k\" \"w\"} 'hi'",
        "34 * \"a/b\" 0007 {01 00}",
        "40 02 0001",
        "40 03 0001 10",
        "40 * 0001 87 {1F \"why\" 26 \"k\" \"v\"}",
        "50 03 0001 97",
        "62 03 0001 92",
        "70 03 0001 92",
        "82 * 0001 {} \"a/+/#\" 00",
        "82 * 0001 {0B 01 26 \"k\" \"v\"} \"a\" 2E \"$share/g/b\" 19",
        "A2 * 0001 {26 \"k\" \"v\"} \"a/+/#\" \"b\"",
        "C0 00",
        "E0 00",
        "E0 01 04",
        "E0 * 00 {11 00000001 1F \"bye\" 26 \"k\" \"v\"}",
        "F0 * 18 {15 \"m\" 16 \"x\" 1F \"why\"}",
    ] {
        check(Version::V5, text);
    }
    for text in [
        "20 03 00 00 00",
        "20 03 01 00 00",
        "20 * 00 87 {1F \"why\"}",
        "20 * 00 00 {11 00000e10 21 0064 24 01 25 00 27 00020000 12 \"id\" 22 0008 1F \"x\" 26 \"k\" \"v\" 28 00 29 00 2A 00 13 04b0 1A \"r\" 1C \"s\" 15 \"m\" 16 \"x\"}",
        "30 * \"a\" {0B 01 0B FFFFFF7F 02 00000001} 'x'",
        "90 * 0001 {1F \"why\"} 00 01 02 87 A2",
        "B0 * 0001 {} 00 11",
        "D0 00",
        "E0 * 8E {1F \"taken over\" 1C \"other\"}",
        "F0 * 00 {15 \"m\"}",
    ] {
        check_from_server(Version::V5, text);
    }
}

#[test]
fn shorter_forms_than_ours_are_read() {
    for (text, written) in [
        ("40 03 0001 00", "40 02 0001"),
        ("40 04 0001 00 00", "40 02 0001"),
        ("40 04 0001 87 00", "40 03 0001 87"),
        ("E0 01 00", "E0 00"),
        ("E0 02 00 00", "E0 00"),
        (
            "10 * \"MQTT\" 05 02 003c {21 ffff 17 01} \"d\"",
            "10 * \"MQTT\" 05 02 003c {} \"d\"",
        ),
    ] {
        let mut buffer = BytesMut::from(&*notation::bytes(text));
        let packet = server(Version::V5, text)
            .decode(&mut buffer)
            .expect(text)
            .expect(text);
        let mut out = BytesMut::new();
        encode::append(&packet, Version::V5, &mut out);
        assert_eq!(out, *notation::bytes(written), "{text}");
    }
}

#[test]
fn subscription_options_mean_what_the_specification_says() {
    let Packet::Subscribe(subscribe) = check(Version::V5, "82 * 0001 {0B 05} \"a\" 2E \"b\" 11")
    else {
        panic!("not a SUBSCRIBE");
    };
    assert_eq!(subscribe.subscription_id.map(|id| id.get()), Some(5));
    let (filter, options) = &subscribe.filters[0];
    assert_eq!(*filter, "a");
    assert_eq!(options.qos, QoS::ExactlyOnce);
    assert!(options.no_local && options.retain_as_published);
    assert_eq!(options.retain_handling, RetainHandling::DoNotSend);
    let (_, options) = &subscribe.filters[1];
    assert_eq!(options.qos, QoS::AtLeastOnce);
    assert!(!options.no_local && !options.retain_as_published);
    assert_eq!(options.retain_handling, RetainHandling::SendIfNew);
}

#[test]
fn payloads_share_the_buffer() {
    let mut buffer = BytesMut::from(&*notation::bytes("30 * \"a\" 'payload'"));
    let payload_at = buffer.as_ptr() as usize + 5;
    let mut decoder = Decoder::client(Version::V311);
    let Ok(Some(Packet::Publish(publish))) = decoder.decode(&mut buffer) else {
        panic!("not a PUBLISH");
    };
    assert_eq!(publish.payload.as_ptr() as usize, payload_at);
}
