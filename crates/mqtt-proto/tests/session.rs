//! One connection as the server sees it.

mod notation;

use std::time::Duration;

use bytes::BytesMut;
use model::Timestamp;
use mqtt_proto::{
    EncodedPublish, PublishProperties, QoS, ReasonCode, Version,
    codec::Decoder,
    packet::ConnAckProperties,
    server::{Event, Outgoing, Sent, Session, Settings, Violation, packet_id},
};

const START: Timestamp = Timestamp::from_seconds(1_000);

/// A session with the decoder before it and the buffer behind it.
struct Server {
    decoder: Decoder,
    session: Session,
    out: BytesMut,
}

impl Server {
    /// A server that was sent a CONNECT and took it.
    fn connected(connect: &str) -> Self {
        let mut server = Self::fresh();
        let event = server.hear(connect).expect("a CONNECT");
        assert!(matches!(event, Some(Event::Connect(_))));
        let properties = ConnAckProperties::default();
        server
            .session
            .accept(false, properties, START, &mut server.out);
        server.out.clear();
        server
    }

    fn v311() -> Self {
        Self::connected("10 * \"MQTT\" 04 02 003c \"d\"")
    }

    fn v5() -> Self {
        Self::connected("10 * \"MQTT\" 05 02 003c {} \"d\"")
    }

    fn fresh() -> Self {
        Self {
            decoder: Decoder::server(),
            session: Session::new(Settings::default(), START),
            out: BytesMut::new(),
        }
    }

    #[track_caller]
    fn hear(&mut self, text: &str) -> Result<Option<Event>, Violation> {
        self.hear_at(text, START)
    }

    #[track_caller]
    fn hear_at(&mut self, text: &str, now: Timestamp) -> Result<Option<Event>, Violation> {
        let mut buffer = BytesMut::from(&*notation::bytes(text));
        let packet = self.decoder.decode(&mut buffer).expect(text).expect(text);
        self.session.handle(packet, now, &mut self.out)
    }

    #[track_caller]
    fn hears_of(&mut self, text: &str) -> Event {
        self.hear(text).expect(text).expect(text)
    }

    #[track_caller]
    fn refuses(&mut self, text: &str, code: ReasonCode) {
        let violation = self.hear(text).expect_err(text);
        assert_eq!(violation.code, code, "{violation}");
        self.session.violated(&violation, &mut self.out);
        assert!(!self.session.is_open());
    }

    /// Compares everything said since the last time.
    #[track_caller]
    fn says(&mut self, text: &str) {
        let expected = notation::bytes(text);
        assert_eq!(notation::hex(&self.out), notation::hex(&expected));
        self.out.clear();
    }

    #[track_caller]
    fn sends(&mut self, topic: &str, qos: QoS, seq: u64) -> Sent {
        let message = EncodedPublish::new(topic, b"m", &PublishProperties::default());
        let outgoing = outgoing(&message, qos, seq);
        self.session.send(&outgoing, &mut self.out)
    }

    fn acknowledges(&mut self, id: u16, qos: QoS, reason: ReasonCode, text: Option<&str>) {
        let id = id.try_into().expect("an id");
        let out = &mut self.out;
        self.session.acknowledge(id, qos, reason, text, out);
    }
}

fn outgoing(message: &EncodedPublish, qos: QoS, seq: u64) -> Outgoing<'_> {
    Outgoing {
        message,
        seq,
        dup: false,
        qos,
        retain: false,
        message_expiry_seconds: None,
        subscription_ids: &[],
    }
}

#[track_caller]
fn topic_of(event: &Event) -> &str {
    let Event::Publish(publish) = event else {
        panic!("not a message: {event:?}");
    };
    &publish.topic
}

#[test]
fn a_client_is_told_what_the_server_takes() {
    let mut server = Server::fresh();
    server.hears_of("10 * \"MQTT\" 05 02 003c {} \"d\"");
    let properties = ConnAckProperties {
        assigned_client_id: Some("given".into()),
        ..ConnAckProperties::default()
    };
    let out = &mut server.out;
    server.session.accept(true, properties, START, out);
    server.says("20 * 01 00 {21 0064 27 00100000 12 \"given\" 22 0008}");
}

#[test]
fn a_3_1_1_client_is_told_no_properties() {
    let mut server = Server::fresh();
    server.hears_of("10 * \"MQTT\" 04 02 003c \"d\"");
    let properties = ConnAckProperties::default();
    let out = &mut server.out;
    server.session.accept(true, properties, START, out);
    server.says("20 02 01 00");
}

#[test]
fn a_refused_client_is_told_why_in_its_own_version() {
    for (connect, reason, answer) in [
        (
            "10 * \"MQTT\" 05 02 003c {} \"d\"",
            ReasonCode::NotAuthorized,
            "20 * 00 87 {1F \"why\"}",
        ),
        (
            "10 * \"MQTT\" 04 02 003c \"d\"",
            ReasonCode::NotAuthorized,
            "20 02 00 05",
        ),
        (
            "10 * \"MQTT\" 04 02 003c \"d\"",
            ReasonCode::ServerBusy,
            "20 02 00 03",
        ),
        // No return code says so: the connection just ends.
        (
            "10 * \"MQTT\" 04 02 003c \"d\"",
            ReasonCode::TopicNameInvalid,
            "",
        ),
    ] {
        let mut server = Server::fresh();
        server.hears_of(connect);
        server.session.refuse(reason, Some("why"), &mut server.out);
        server.says(answer);
    }
}

#[test]
fn an_undecodable_connect_is_answered_where_the_version_allows_it() {
    for (connect, answer) in [
        ("10 * \"MQIsdp\" 03 02 003c \"d\"", "20 02 00 01"),
        ("10 * \"MQTT\" 03 02 003c \"d\"", "20 02 00 01"),
        ("10 * \"MQTT\" 04 00 003c \"\"", "20 02 00 02"),
        ("10 * \"MQTT\" 04 03 003c \"d\"", ""),
        ("10 * \"HTTP\" 04 03 003c \"d\"", ""),
        ("C0 00", ""),
    ] {
        let mut server = Server::fresh();
        let mut buffer = BytesMut::from(&*notation::bytes(connect));
        let error = server.decoder.decode(&mut buffer).expect_err(connect);
        let version = server.decoder.version();
        server.session.undecodable(&error, version, &mut server.out);
        server.says(answer);
    }
    for connect in ["10 * \"MQTT\" 06 02", "10 * \"MQTT\" 05 03 003c {} \"d\""] {
        let mut server = Server::fresh();
        let mut buffer = BytesMut::from(&*notation::bytes(connect));
        let error = server.decoder.decode(&mut buffer).expect_err(connect);
        let version = server.decoder.version();
        server.session.undecodable(&error, version, &mut server.out);
        assert_eq!(server.out[0], 0x20);
        assert_eq!(server.out[3], error.reason().as_u8(), "{connect}");
    }
}

#[test]
fn enhanced_authentication_is_refused_by_name() {
    let mut server = Server::fresh();
    let connect = "10 * \"MQTT\" 05 02 003c {15 \"SCRAM\"} \"d\"";
    server.refuses(connect, ReasonCode::BadAuthenticationMethod);
    assert_eq!(server.out[..4], [0x20, server.out[1], 0, 0x8C]);
    Server::v5().refuses("F0 * 19 {15 \"m\"}", ReasonCode::ProtocolError);
}

#[test]
fn a_ping_is_answered() {
    let mut server = Server::v311();
    assert_eq!(server.hear("C0 00"), Ok(None));
    server.says("D0 00");
}

#[test]
fn silence_ends_after_one_and_a_half_keep_alives() {
    let mut server = Server::v311();
    let after = |seconds| START.after(Duration::from_secs(seconds));
    assert_eq!(server.session.deadline(), Some(after(90)));
    server.hear_at("C0 00", after(50)).expect("a ping");
    assert_eq!(server.session.deadline(), Some(after(140)));
    let endless = Server::connected("10 * \"MQTT\" 04 02 0000 \"d\"");
    assert_eq!(endless.session.deadline(), None);
}

#[test]
fn the_servers_keep_alive_goes_before_the_clients() {
    let mut server = Server::fresh();
    server.hears_of("10 * \"MQTT\" 05 02 0000 {} \"d\"");
    let properties = ConnAckProperties {
        server_keep_alive_seconds: Some(1200),
        ..ConnAckProperties::default()
    };
    let out = &mut server.out;
    server.session.accept(false, properties, START, out);
    let deadline = START.after(Duration::from_secs(1800));
    assert_eq!(server.session.deadline(), Some(deadline));
}

#[test]
fn an_alias_stands_for_the_topic_it_was_sent_with() {
    let mut server = Server::v5();
    let event = server.hears_of("30 * \"a/b\" {23 0001} 'x'");
    assert_eq!(topic_of(&event), "a/b");
    let event = server.hears_of("30 * \"\" {23 0001} 'y'");
    assert_eq!(topic_of(&event), "a/b");
    server.hears_of("30 * \"c\" {23 0001}");
    let event = server.hears_of("30 * \"\" {23 0001}");
    assert_eq!(topic_of(&event), "c");
}

#[test]
fn an_alias_that_stands_for_nothing_is_refused() {
    Server::v5().refuses("30 * \"\" {23 0001}", ReasonCode::ProtocolError);
    let mut server = Server::v5();
    server.hears_of("30 * \"a\" {23 0003}");
    server.refuses("30 * \"\" {23 0002}", ReasonCode::ProtocolError);
    Server::v5().refuses("30 * \"a\" {23 0009}", ReasonCode::TopicAliasInvalid);
}

#[test]
fn a_qos_2_message_is_forwarded_once() {
    let mut server = Server::v311();
    server.hears_of("34 * \"a\" 0005 'x'");
    server.acknowledges(5, QoS::ExactlyOnce, ReasonCode::Success, None);
    server.says("50 02 0005");
    let event = server.hears_of("3C * \"a\" 0005 'x'");
    let packet_id = 5.try_into().expect("an id");
    assert_eq!(event, Event::Duplicate { packet_id });
    assert_eq!(server.hears_of("62 02 0005"), Event::Released { packet_id });
    server.session.complete(packet_id, &mut server.out);
    server.says("70 02 0005");
    let event = server.hears_of("34 * \"a\" 0005 'x'");
    assert_eq!(topic_of(&event), "a");
}

#[test]
fn a_refused_qos_2_message_leaves_its_id_free() {
    let mut server = Server::v5();
    server.hears_of("34 * \"a\" 0005 {}");
    server.acknowledges(5, QoS::ExactlyOnce, ReasonCode::NotAuthorized, None);
    server.says("50 03 0005 87");
    let event = server.hears_of("34 * \"b\" 0005 {}");
    assert_eq!(topic_of(&event), "b");
}

#[test]
fn a_qos_2_message_of_an_earlier_connection_is_recognised() {
    let mut server = Server::v5();
    let packet_id = 5.try_into().expect("an id");
    server.session.resume_received([packet_id]);
    let event = server.hears_of("3C * \"a\" 0005 {}");
    assert_eq!(event, Event::Duplicate { packet_id });
    assert_eq!(server.hears_of("62 02 0005"), Event::Released { packet_id });
}

#[test]
fn the_release_of_an_unknown_message_is_completed() {
    let mut server = Server::v5();
    assert_eq!(server.hear("62 02 0005"), Ok(None));
    server.says("70 03 0005 92");
    let mut server = Server::v311();
    assert_eq!(server.hear("62 02 0005"), Ok(None));
    server.says("70 02 0005");
}

#[test]
fn more_messages_than_the_receive_maximum_are_refused_in_5_0() {
    let mut server = Server::v5();
    for id in 1..=100 {
        server.hears_of(&format!("32 * \"a\" {id:04x} {{}}"));
    }
    let mut refusing = Server {
        decoder: server.decoder.clone(),
        session: server.session.clone(),
        out: BytesMut::new(),
    };
    refusing.refuses("32 * \"a\" 0065 {}", ReasonCode::ReceiveMaximumExceeded);
    server.acknowledges(1, QoS::AtLeastOnce, ReasonCode::Success, None);
    server.hears_of("32 * \"a\" 0065 {}");
    let mut older = Server::v311();
    for id in 1..=150 {
        older.hears_of(&format!("32 * \"a\" {id:04x}"));
    }
}

#[test]
fn qos_0_messages_need_no_place_in_the_receive_maximum() {
    let mut server = Server::v5();
    for _ in 0..1000 {
        server.hears_of("30 * \"a\" {}");
    }
}

#[test]
fn a_level_of_service_over_the_maximum_is_refused() {
    let mut server = Server::fresh();
    server.hears_of("10 * \"MQTT\" 05 02 003c {} \"d\"");
    let properties = ConnAckProperties {
        maximum_qos: QoS::AtLeastOnce,
        ..ConnAckProperties::default()
    };
    let out = &mut server.out;
    server.session.accept(false, properties, START, out);
    server.refuses("34 * \"a\" 0001 {}", ReasonCode::QosNotSupported);
}

#[test]
fn packet_ids_follow_from_the_place_in_the_queue() {
    assert_eq!(packet_id(0).get(), 1);
    assert_eq!(packet_id(65_534).get(), 65_535);
    assert_eq!(packet_id(65_535).get(), 1);
    assert_eq!(packet_id(u64::MAX).get(), 1);
}

#[test]
fn a_message_waits_for_its_packet_id() {
    let mut server = Server::v311();
    assert_eq!(server.sends("a", QoS::AtLeastOnce, 3), Sent::Written);
    server.says("32 * \"a\" 0004 'm'");
    assert_eq!(server.sends("a", QoS::AtLeastOnce, 3 + 65_535), Sent::Later);
    let event = server.hears_of("40 02 0004");
    let reason = ReasonCode::Success;
    assert_eq!(event, Event::Acknowledged { seq: 3, reason });
    assert_eq!(
        server.sends("a", QoS::AtLeastOnce, 3 + 65_535),
        Sent::Written
    );
}

#[test]
fn no_more_is_sent_than_the_client_takes() {
    let mut server = Server::connected("10 * \"MQTT\" 05 02 003c {21 0002} \"d\"");
    assert_eq!(server.sends("a", QoS::AtLeastOnce, 0), Sent::Written);
    assert_eq!(server.sends("a", QoS::ExactlyOnce, 1), Sent::Written);
    assert_eq!(server.sends("a", QoS::AtLeastOnce, 2), Sent::Later);
    assert_eq!(server.sends("a", QoS::AtMostOnce, 2), Sent::Written);
    server.hears_of("40 02 0001");
    assert_eq!(server.sends("a", QoS::AtLeastOnce, 2), Sent::Written);
}

#[test]
fn a_qos_2_message_takes_four_steps() {
    let mut server = Server::v5();
    server.sends("a", QoS::ExactlyOnce, 0);
    server.says("34 * \"a\" 0001 {} 'm'");
    assert_eq!(server.hears_of("50 02 0001"), Event::Received { seq: 0 });
    server.session.release(0, &mut server.out);
    server.says("62 02 0001");
    assert_eq!(server.hear("50 02 0001"), Ok(None));
    server.says("62 02 0001");
    assert_eq!(server.hears_of("70 02 0001"), Event::Completed { seq: 0 });
    assert_eq!(server.session.in_flight(), 0);
}

#[test]
fn a_refused_delivery_is_done_with() {
    let mut server = Server::v5();
    server.sends("a", QoS::ExactlyOnce, 0);
    let event = server.hears_of("50 03 0001 97");
    let reason = ReasonCode::QuotaExceeded;
    assert_eq!(event, Event::Acknowledged { seq: 0, reason });
    assert_eq!(server.session.in_flight(), 0);
}

#[test]
fn answers_of_the_wrong_kind_are_refused() {
    let mut server = Server::v5();
    server.sends("a", QoS::ExactlyOnce, 0);
    server.refuses("40 02 0001", ReasonCode::ProtocolError);
    let mut server = Server::v5();
    server.sends("a", QoS::AtLeastOnce, 0);
    server.refuses("50 02 0001", ReasonCode::ProtocolError);
    let mut server = Server::v5();
    server.sends("a", QoS::ExactlyOnce, 0);
    server.refuses("70 02 0001", ReasonCode::ProtocolError);
}

#[test]
fn answers_to_nothing_are_passed_over() {
    let mut server = Server::v5();
    assert_eq!(server.hear("40 02 0009"), Ok(None));
    assert_eq!(server.hear("70 02 0009"), Ok(None));
    server.says("");
    assert_eq!(server.hear("50 02 0009"), Ok(None));
    server.says("62 03 0009 92");
}

#[test]
fn a_released_message_is_released_again_after_resumption() {
    let mut server = Server::v5();
    server.session.resume_released(7, &mut server.out);
    server.says("62 02 0008");
    assert!(!server.session.can_send(7 + 65_535));
    assert_eq!(server.hears_of("70 02 0008"), Event::Completed { seq: 7 });
}

#[test]
fn a_repeated_topic_is_sent_as_its_alias() {
    let mut server = Server::connected("10 * \"MQTT\" 05 02 003c {22 0001} \"d\"");
    server.sends("long/topic", QoS::AtMostOnce, 0);
    server.says("30 * \"long/topic\" {23 0001} 'm'");
    server.sends("long/topic", QoS::AtMostOnce, 0);
    server.says("30 * \"\" {23 0001} 'm'");
    server.sends("another", QoS::AtMostOnce, 0);
    server.says("30 * \"another\" {} 'm'");
}

#[test]
fn a_message_too_large_for_the_client_is_not_sent() {
    let mut server = Server::connected("10 * \"MQTT\" 05 02 003c {27 00000010} \"d\"");
    let message = EncodedPublish::new("a", &[0; 20], &PublishProperties::default());
    let out = &mut server.out;
    let sent = server
        .session
        .send(&outgoing(&message, QoS::AtLeastOnce, 0), out);
    let (bytes, maximum) = (28, 16);
    assert_eq!(sent, Sent::TooLarge { bytes, maximum });
    assert_eq!(server.session.in_flight(), 0);
    server.says("");
    assert_eq!(server.sends("a", QoS::AtLeastOnce, 1), Sent::Written);
}

#[test]
fn what_differs_between_subscribers_is_put_into_the_message() {
    let mut server = Server::v5();
    let properties = PublishProperties {
        message_expiry_seconds: Some(60),
        content_type: Some("t".into()),
        ..PublishProperties::default()
    };
    let message = EncodedPublish::new("a", b"m", &properties);
    let outgoing = Outgoing {
        dup: true,
        retain: true,
        message_expiry_seconds: Some(20),
        subscription_ids: &[1, 200],
        ..outgoing(&message, QoS::AtLeastOnce, 0)
    };
    server.session.send(&outgoing, &mut server.out);
    server.says("3B * \"a\" 0001 {0B 01 0B C8 01 02 00000014 03 \"t\"} 'm'");
    let mut older = Server::v311();
    older.session.send(&outgoing, &mut older.out);
    older.says("3B * \"a\" 0001 'm'");
}

#[test]
fn reasons_are_given_only_to_clients_that_want_them() {
    let why = Some("not allowed");
    let denied = ReasonCode::NotAuthorized;
    let mut server = Server::v5();
    server.hears_of("32 * \"a\" 0001 {}");
    server.acknowledges(1, QoS::AtLeastOnce, denied, why);
    server.says("40 * 0001 87 {1F \"not allowed\"}");
    let mut silent = Server::connected("10 * \"MQTT\" 05 02 003c {17 00} \"d\"");
    silent.acknowledges(1, QoS::AtLeastOnce, denied, why);
    silent.says("40 03 0001 87");
    // §3.1.2.11.7: DISCONNECT explains itself all the same.
    silent.session.close(denied, why, &mut silent.out);
    silent.says("E0 * 87 {1F \"not allowed\"}");
    let mut small = Server::connected("10 * \"MQTT\" 05 02 003c {27 0000000A} \"d\"");
    small.acknowledges(1, QoS::AtLeastOnce, denied, why);
    small.says("40 03 0001 87");
    small.session.close(denied, why, &mut small.out);
    small.says("E0 01 87");
}

#[test]
fn a_3_1_1_client_is_disconnected_without_a_word() {
    let mut server = Server::v311();
    let out = &mut server.out;
    server
        .session
        .close(ReasonCode::SessionTakenOver, None, out);
    server.says("");
    assert!(!server.session.is_open());
}

#[test]
fn subscriptions_are_answered_in_the_clients_version() {
    let id = 9.try_into().expect("an id");
    let reasons = [
        ReasonCode::GrantedQos1,
        ReasonCode::NotAuthorized,
        ReasonCode::TopicFilterInvalid,
    ];
    let mut server = Server::v5();
    let out = &mut server.out;
    server.session.suback(id, &reasons, Some("why"), out);
    server.says("90 * 0009 {1F \"why\"} 01 87 8F");
    let out = &mut server.out;
    server
        .session
        .unsuback(id, &[ReasonCode::Success], None, out);
    server.says("B0 * 0009 {} 00");
    let mut older = Server::v311();
    let out = &mut older.out;
    older.session.suback(id, &reasons, Some("why"), out);
    older.says("90 * 0009 01 80 80");
    let out = &mut older.out;
    older
        .session
        .unsuback(id, &[ReasonCode::Success], None, out);
    older.says("B0 02 0009");
}

#[test]
fn a_second_connect_is_refused() {
    let mut server = Server::v5();
    let mut buffer = BytesMut::from(&*notation::bytes("10 * \"MQTT\" 05 02 003c {} \"d\""));
    let error = server
        .decoder
        .decode(&mut buffer)
        .expect_err("a second one");
    let version = Some(Version::V5);
    server.session.undecodable(&error, version, &mut server.out);
    assert_eq!((server.out[0], server.out[2]), (0xE0, 0x82));
}

#[test]
fn disconnect_cannot_give_a_session_that_was_not_asked_for() {
    Server::v5().refuses("E0 * 00 {11 00000001}", ReasonCode::ProtocolError);
    let mut server = Server::connected("10 * \"MQTT\" 05 02 003c {11 00000009} \"d\"");
    assert!(matches!(
        server.hears_of("E0 * 04 {11 00000001}"),
        Event::Disconnect(_)
    ));
    assert!(!server.session.is_open());
}
