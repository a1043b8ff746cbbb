//! What holds for every packet and for every string of bytes.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use model::Timestamp;
use mqtt_proto::{
    Alias, Delivery, EncodedPublish, PublishProperties, QoS, ReasonCode, Version,
    codec::Decoder,
    encode, exercise,
    packet::{
        Connect, ConnectProperties, Disconnect, Packet, PingReq, PubAck, Publish, RetainHandling,
        Subscribe, SubscribeOptions, Unsubscribe, UserProperties, Will,
    },
    server::{Event, Outgoing, Sent, Session, Settings},
};
use proptest::{collection::vec, option, prelude::*};

fn text() -> impl Strategy<Value = ByteString> {
    "[^\0]{0,12}".prop_map(ByteString::from)
}

fn topic() -> impl Strategy<Value = ByteString> {
    "[a-zü/$ ]{1,40}".prop_map(ByteString::from)
}

fn binary() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn user_properties() -> impl Strategy<Value = UserProperties> {
    vec((text(), text()), 0..4)
}

fn qos() -> impl Strategy<Value = QoS> {
    (0..3_u8).prop_map(|number| QoS::try_from(number).expect("below 3"))
}

prop_compose! {
    fn properties()(
        payload_format in any::<Option<bool>>(),
        message_expiry_seconds in any::<Option<u32>>(),
        content_type in option::of(text()),
        response_topic in option::of(topic()),
        correlation_data in option::of(binary()),
        user_properties in user_properties(),
    ) -> PublishProperties {
        PublishProperties {
            payload_format,
            message_expiry_seconds,
            content_type,
            response_topic,
            correlation_data,
            user_properties,
        }
    }
}

prop_compose! {
    fn publish()(
        dup in any::<bool>(),
        qos in qos(),
        retain in any::<bool>(),
        topic in topic(),
        id in any::<NonZeroU16>(),
        topic_alias in any::<Option<NonZeroU16>>(),
        payload in binary(),
        properties in properties(),
    ) -> Publish {
        Publish {
            dup: dup && qos != QoS::AtMostOnce,
            qos,
            retain,
            topic,
            packet_id: (qos != QoS::AtMostOnce).then_some(id),
            topic_alias,
            subscription_ids: Vec::new(),
            payload,
            properties,
        }
    }
}

prop_compose! {
    fn will()(
        topic in topic(),
        payload in binary(),
        qos in qos(),
        retain in any::<bool>(),
        delay_seconds in any::<u32>(),
        properties in properties(),
    ) -> Will {
        Will { topic, payload, qos, retain, delay_seconds, properties }
    }
}

prop_compose! {
    fn connect_properties()(
        session_expiry_seconds in any::<u32>(),
        receive_maximum in any::<NonZeroU16>(),
        maximum_packet_bytes in any::<Option<NonZeroU32>>(),
        topic_alias_maximum in any::<u16>(),
        information in any::<(bool, bool)>(),
        authentication_method in option::of(text()),
        data in binary(),
        user_properties in user_properties(),
    ) -> ConnectProperties {
        ConnectProperties {
            session_expiry_seconds,
            receive_maximum,
            maximum_packet_bytes,
            topic_alias_maximum,
            request_response_information: information.0,
            request_problem_information: information.1,
            authentication_data: authentication_method.is_some().then_some(data),
            authentication_method,
            user_properties,
        }
    }
}

prop_compose! {
    fn connect()(
        clean_start in any::<bool>(),
        keep_alive_seconds in any::<u16>(),
        client_id in "[a-z]{1,20}".prop_map(ByteString::from),
        will in option::of(will()),
        username in option::of(text()),
        password in option::of(binary()),
        properties in connect_properties(),
    ) -> Connect {
        Connect {
            version: Version::V5,
            clean_start,
            keep_alive_seconds,
            client_id,
            will,
            username,
            password,
            properties,
        }
    }
}

fn step() -> impl Strategy<Value = PubAck> {
    (any::<NonZeroU16>(), option::of(text()), user_properties()).prop_map(
        |(packet_id, reason_string, user_properties)| PubAck {
            reason_string,
            user_properties,
            ..PubAck::new(packet_id, ReasonCode::Success)
        },
    )
}

prop_compose! {
    fn options()(
        qos in qos(),
        no_local in any::<bool>(),
        retain_as_published in any::<bool>(),
        handling in 0..3,
    ) -> SubscribeOptions {
        SubscribeOptions {
            qos,
            no_local,
            retain_as_published,
            retain_handling: match handling {
                0 => RetainHandling::Send,
                1 => RetainHandling::SendIfNew,
                _ => RetainHandling::DoNotSend,
            },
        }
    }
}

fn packet() -> impl Strategy<Value = Packet> {
    let subscribe = (
        any::<NonZeroU16>(),
        option::of((1..268_435_456_u32).prop_map(|id| NonZeroU32::new(id).expect("from 1"))),
        vec((topic(), options()), 1..5),
        user_properties(),
    )
        .prop_map(|(packet_id, subscription_id, filters, user_properties)| {
            Packet::Subscribe(Subscribe {
                packet_id,
                subscription_id,
                filters,
                user_properties,
            })
        });
    let unsubscribe = (any::<NonZeroU16>(), vec(topic(), 1..5), user_properties()).prop_map(
        |(packet_id, filters, user_properties)| {
            Packet::Unsubscribe(Unsubscribe {
                packet_id,
                filters,
                user_properties,
            })
        },
    );
    let disconnect = (any::<Option<u32>>(), option::of(text()), user_properties()).prop_map(
        |(session_expiry_seconds, reason_string, user_properties)| {
            Packet::Disconnect(Box::new(Disconnect {
                reason: ReasonCode::DisconnectWithWill,
                session_expiry_seconds,
                reason_string,
                server_reference: None,
                user_properties,
            }))
        },
    );
    prop_oneof![
        publish().prop_map(Packet::Publish),
        connect().prop_map(|it| Packet::Connect(Box::new(it))),
        step().prop_map(Packet::PubAck),
        step().prop_map(Packet::PubRec),
        step().prop_map(Packet::PubRel),
        step().prop_map(Packet::PubComp),
        subscribe,
        unsubscribe,
        disconnect,
        Just(Packet::PingReq(PingReq)),
    ]
}

/// A server's decoder, after the CONNECT when `packet` is not one.
fn decoder(version: Version, packet: &Packet) -> Decoder {
    let mut decoder = Decoder::server();
    if !matches!(packet, Packet::Connect(_)) {
        let mut buffer = BytesMut::new();
        encode::append_connect(&plain_connect(version), &mut buffer);
        decoder
            .decode(&mut buffer)
            .expect("a plain CONNECT")
            .expect("all of it");
    }
    decoder
}

fn plain_connect(version: Version) -> Connect {
    Connect {
        version,
        clean_start: true,
        keep_alive_seconds: 60,
        client_id: "d".into(),
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

proptest! {
    #[test]
    fn what_5_0_writes_5_0_reads(packet in packet()) {
        let mut bytes = BytesMut::new();
        encode::append(&packet, Version::V5, &mut bytes);
        let read = decoder(Version::V5, &packet).decode(&mut bytes);
        prop_assert_eq!(read, Ok(Some(packet)));
        prop_assert!(bytes.is_empty());
    }

    #[test]
    fn what_3_1_1_writes_it_reads_and_writes_again(packet in packet()) {
        let mut packet = packet;
        if let Packet::Connect(connect) = &mut packet {
            connect.version = Version::V311;
            connect.password = connect.username.as_ref().and(connect.password.take());
        }
        let mut bytes = BytesMut::new();
        encode::append(&packet, Version::V311, &mut bytes);
        let before = bytes.clone();
        let read = decoder(Version::V311, &packet).decode(&mut bytes);
        let read = read.expect("our own packet").expect("a whole packet");
        let mut after = BytesMut::new();
        encode::append(&read, Version::V311, &mut after);
        prop_assert_eq!(before, after);
    }

    #[test]
    fn a_prepared_message_reads_as_if_written_whole(
        publish in publish(),
        version in prop_oneof![Just(Version::V311), Just(Version::V5)],
        subscription_ids in vec(1..268_435_456_u32, 0..3),
    ) {
        let prepared = EncodedPublish::new(&publish.topic, &publish.payload, &publish.properties);
        let delivery = Delivery {
            dup: publish.dup,
            qos: publish.qos,
            retain: publish.retain,
            packet_id: publish.packet_id,
            message_expiry_seconds: publish.properties.message_expiry_seconds,
            subscription_ids: &subscription_ids,
            alias: publish.topic_alias.map(Alias::Introduced),
        };
        let mut bytes = BytesMut::new();
        prepared.append(version, &delivery, &mut bytes);
        prop_assert_eq!(bytes.len(), prepared.packet_bytes(version, &delivery));
        let read = Decoder::client(version).decode(&mut bytes);
        let mut expected = publish;
        match version {
            Version::V5 => expected.subscription_ids = subscription_ids,
            Version::V311 => {
                expected.properties = PublishProperties::default();
                expected.topic_alias = None;
            }
        }
        prop_assert_eq!(read, Ok(Some(Packet::Publish(expected))));
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in vec(any::<u8>(), 0..200),
    ) {
        prop_assert_eq!(exercise::packets(&bytes), Ok(()));
        prop_assert_eq!(exercise::session(&bytes), Ok(()));
    }

    #[test]
    fn damaged_packets_never_panic(
        packets in vec(packet(), 1..6),
        version in prop_oneof![Just(Version::V311), Just(Version::V5)],
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = BytesMut::new();
        for packet in &packets {
            encode::append(packet, version, &mut bytes);
        }
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        prop_assert_eq!(exercise::packets(&bytes), Ok(()));
        prop_assert_eq!(exercise::session(&bytes), Ok(()));
    }

    #[test]
    fn a_session_never_sends_more_than_the_client_takes(
        maximum in 1..20_u16,
        seqs in vec(0..200_000_u64, 0..60),
    ) {
        let mut connect = plain_connect(Version::V5);
        connect.properties.receive_maximum = NonZeroU16::new(maximum).expect("from 1");
        let now = Timestamp::default();
        let mut out = BytesMut::new();
        let mut session = Session::new(Settings::default(), now);
        let event = session.handle(Packet::Connect(Box::new(connect)), now, &mut out);
        prop_assert!(matches!(event, Ok(Some(Event::Connect(_)))));
        session.accept(false, Default::default(), now, &mut out);
        let message = EncodedPublish::new("a", b"x", &PublishProperties::default());
        for seq in seqs {
            let can = session.can_send(seq);
            let sent = session.send(&Outgoing {
                message: &message,
                seq,
                dup: false,
                qos: QoS::AtLeastOnce,
                retain: false,
                message_expiry_seconds: None,
                subscription_ids: &[],
            }, &mut out);
            prop_assert_eq!(can, sent == Sent::Written);
            prop_assert!(session.in_flight() <= usize::from(maximum));
        }
    }
}
