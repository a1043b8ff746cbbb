//! Connections from the first byte to the last, over pipes.

#[path = "../../mqtt-proto/tests/notation/mod.rs"]
mod notation;
mod world;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use hub::{clock::Clock, timeline::Kind};
use model::limits::Profile;
use mqtt_proto::{ReasonCode, packet::Packet};
use registry::CertificateStatus;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use world::World;

#[tokio::test]
async fn a_message_reaches_its_subscriber_in_either_version() {
    let world = World::new().await;
    let mut new = world.v5("new").await;
    let mut old = world.v311("old").await;
    new.say("82 * 0001 {} \"open/#\" 01").await;
    new.hears("90 * 0001 {} 01").await;
    old.say("82 * 0001 \"open/#\" 01").await;
    old.hears("90 * 0001 01").await;
    new.say("32 * \"open/a\" 0007 {26 \"k\" \"v\"} 'hi'").await;
    old.hears("32 * \"open/a\" 0002 'hi'").await;
    let mut heard = vec![new.hears_something().await, new.hears_something().await];
    heard.sort();
    let delivery = notation::bytes("32 * \"open/a\" 0002 {26 \"k\" \"v\"} 'hi'");
    assert_eq!(heard, [delivery, notation::bytes("40 02 0007")]);
}

#[tokio::test]
async fn whoever_is_vouched_for_needs_no_certificate_and_its_connect_says_nothing_more() {
    let world = World::new().await;
    let mut operator = world.dial_vouched("AKID1");
    // With the user name that AWS's SDKs send.
    operator
        .say("10 * \"MQTT\" 05 82 0000 {} \"console\" \"?SDK=Python&Version=1.6.2\"")
        .await;
    operator
        .hears("20 * 00 00 {21 0064 27 00100000 22 0008}")
        .await;
    let entry = world.records("connection.opened").await;
    assert_eq!(entry.principal.as_deref(), Some("operator/AKID1"));
    // What the device's policy does not allow.
    operator.say("82 * 0001 {} \"closed/#\" 01").await;
    operator.hears("90 * 0001 {} 01").await;
}

/// A stream whose peer breaks a rule of what MQTT travels in after so many bytes.
struct Breaking(tokio::io::Take<tokio::io::DuplexStream>);

impl AsyncRead for Breaking {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0.limit() == 0 {
            let breach = listen::Breach {
                reason: model::ReasonId("websocket.text"),
                text: "a text frame came".into(),
            };
            return Poll::Ready(Err(breach.into()));
        }
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Breaking {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.0.get_mut()).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.0.get_mut()).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.0.get_mut()).poll_shutdown(context)
    }
}

#[tokio::test]
async fn a_rule_that_is_broken_beneath_mqtt_is_recorded_by_its_own_name() {
    let connect = notation::bytes("10 * \"MQTT\" 04 02 0000 \"c\"");
    for (bytes, kind) in [
        (3, Kind::ConnectRefused),
        (connect.len(), Kind::Disconnected),
    ] {
        let world = World::new().await;
        let (mut near, far) = tokio::io::duplex(1024);
        near.write_all(&connect).await.unwrap();
        let voucher = mqtt::Voucher::AccessKey("AKID1".into());
        let stream = Breaking(far.take(bytes as u64));
        world.serve(listen::Io::new(stream), Vec::new(), Some(voucher));
        let entry = world.records("websocket.text").await;
        assert_eq!(entry.kind, kind);
        assert_eq!(entry.message, "a text frame came");
        assert_eq!(entry.principal.as_deref(), Some("operator/AKID1"));
    }
}

#[tokio::test]
async fn many_messages_keep_their_order_and_are_all_acknowledged() {
    let world = World::new().await;
    let mut subscriber = world.v311("subscriber").await;
    subscriber.say("82 * 0001 \"open/#\" 01").await;
    subscriber.hears("90 * 0001 01").await;
    let mut publisher = world.v311("publisher").await;
    for id in 1..=500 {
        publisher
            .say(&format!("32 * \"open/a\" {id:04x} '{id}'"))
            .await;
    }
    for id in 1..=500 {
        publisher.hears(&format!("40 02 {id:04x}")).await;
    }
    for id in 1..=500 {
        let packet_id = id + 1;
        subscriber
            .hears(&format!("32 * \"open/a\" {packet_id:04x} '{id}'"))
            .await;
        subscriber.say(&format!("40 02 {packet_id:04x}")).await;
    }
    subscriber.hears_nothing_else().await;
}

#[tokio::test]
async fn a_burst_is_answered_in_order_however_long_it_is() {
    let world = World::new().await;
    let mut client = world.v311("c").await;
    let burst: String = (1..=5000)
        .map(|id| format!("32 * \"open/a\" {id:04x} '{id:04}'"))
        .map(|packet| notation::hex(&notation::bytes(&packet)))
        .collect();
    client.say(&burst).await;
    let answers: String = (1..=5000).map(|id| format!("4002{id:04x}")).collect();
    client.hears(&answers).await;
    client.hears_nothing_else().await;
}

#[tokio::test]
async fn a_qos_2_message_arrives_once() {
    let world = World::new().await;
    let mut client = world.v5("c").await;
    client.say("82 * 0001 {} \"open/a\" 02").await;
    client.hears("90 * 0001 {} 02").await;
    let mut publisher = world.v5("p").await;
    publisher.say("34 * \"open/a\" 0009 {} 'x'").await;
    publisher.hears("50 02 0009").await;
    publisher.say("3C * \"open/a\" 0009 {} 'x'").await;
    publisher.hears("50 02 0009").await;
    publisher.say("62 02 0009").await;
    publisher.hears("70 02 0009").await;
    client.hears("34 * \"open/a\" 0002 {} 'x'").await;
    client.say("50 02 0002").await;
    client.hears("62 02 0002").await;
    client.say("70 02 0002").await;
    client.hears_nothing_else().await;
}

#[tokio::test]
async fn qos_2_state_survives_the_connection() {
    let world = World::new().await;
    let connect = "10 * \"MQTT\" 04 00 0000 \"c\"";
    let mut client = world.dial();
    client.say(connect).await;
    client.hears("20 02 00 00").await;
    client.say("82 * 0001 \"open/a\" 02").await;
    client.hears("90 * 0001 02").await;
    client.say("34 * \"open/a\" 0009 'x'").await;
    let mut heard = vec![
        client.hears_something().await,
        client.hears_something().await,
    ];
    heard.sort();
    let delivery = notation::bytes("34 * \"open/a\" 0002 'x'");
    assert_eq!(heard, [delivery, notation::bytes("50 02 0009")]);
    client.say("50 02 0002").await;
    client.hears("62 02 0002").await;
    drop(client);
    world.records("connection.lost").await;

    let mut client = world.dial();
    client.say(connect).await;
    client.hears("20 02 01 00").await;
    // Its PUBREC came, so only the release is repeated.
    client.hears("62 02 0002").await;
    client.say("70 02 0002").await;
    client.say("3C * \"open/a\" 0009 'x'").await;
    client.hears("50 02 0009").await;
    client.say("62 02 0009").await;
    client.hears("70 02 0009").await;
    client.hears_nothing_else().await;
}

#[tokio::test]
async fn unacknowledged_messages_are_repeated_with_their_packet_ids() {
    let world = World::new().await;
    let connect = "10 * \"MQTT\" 05 00 0000 {11 00000e10} \"c\"";
    let mut client = world.dial();
    client.say(connect).await;
    client
        .hears("20 * 00 00 {21 0064 27 00100000 22 0008}")
        .await;
    client.say("82 * 0001 {} \"open/a\" 01").await;
    client.hears("90 * 0001 {} 01").await;
    let mut publisher = world.v5("p").await;
    publisher.say("32 * \"open/a\" 0001 {} 'x'").await;
    publisher.hears("40 02 0001").await;
    client.hears("32 * \"open/a\" 0002 {} 'x'").await;
    drop(client);
    world.records("connection.lost").await;
    publisher.say("32 * \"open/a\" 0002 {} 'y'").await;
    publisher.hears("40 02 0002").await;

    let mut client = world.dial();
    client.say(connect).await;
    client
        .hears("20 * 01 00 {21 0064 27 00100000 22 0008}")
        .await;
    client.hears("3A * \"open/a\" 0002 {} 'x'").await;
    client.hears("32 * \"open/a\" 0003 {} 'y'").await;
}

#[tokio::test]
async fn a_denied_publish_is_told_or_ends_the_connection() {
    let world = World::new().await;
    let mut client = world.v5("c").await;
    client.say("32 * \"closed/a\" 0001 {}").await;
    let Packet::PubAck(answer) = client.hears_packet().await else {
        panic!("not a PUBACK");
    };
    assert_eq!(answer.reason, ReasonCode::NotAuthorized);
    let text = answer.reason_string.expect("why");
    assert!(text.contains("topic/closed/a"), "{text}");
    client.hears_nothing_else().await;
    client.say("30 * \"closed/a\" {}").await;
    let Packet::Disconnect(answer) = client.hears_packet().await else {
        panic!("not a DISCONNECT");
    };
    assert_eq!(answer.reason, ReasonCode::NotAuthorized);
    assert_eq!(answer.reason_string, Some(text));
    client.hears_the_end().await;

    let mut client = world.v311("old").await;
    client.say("32 * \"closed/a\" 0001").await;
    client.hears_the_end().await;
    let entry = world.records("policy.no-statement").await;
    assert!(entry.message.contains("topic/closed/a"), "{entry:?}");
}

#[tokio::test]
async fn a_denied_subscription_is_told_filter_by_filter() {
    let world = World::new().await;
    let mut client = world.v311("old").await;
    client
        .say("82 * 0001 \"open/a\" 01 \"closed/a\" 01 \"open/#/b\" 00 \"open/b\" 02")
        .await;
    client.hears("90 * 0001 01 80 80 02").await;
    let mut client = world.v5("new").await;
    client
        .say("82 * 0001 {} \"open/#/b\" 00 \"closed/a\" 01 \"open/a\" 00")
        .await;
    let answer = client.hears_something().await;
    assert_eq!(answer[0], 0x90);
    assert!(answer.ends_with(&[0x8F, 0x87, 0x00]), "{answer:02x?}");
    client.say("A2 * 0002 {} \"open/a\" \"open/b\"").await;
    client.hears("B0 * 0002 {} 00 11").await;
}

#[tokio::test]
async fn a_stranger_is_told_why_it_may_not_connect() {
    let world = World::new().await;
    let mut stranger = world.dial_with(Vec::new(), 1024);
    stranger.say("10 * \"MQTT\" 05 02 0000 {} \"s\"").await;
    let answer = stranger.hears_something().await;
    assert_eq!((answer[0], answer[3]), (0x20, 0x87));
    stranger.hears_the_end().await;
    world.records("certificate.missing").await;
    let mut stranger = world.dial_with(Vec::new(), 1024);
    stranger.say("10 * \"MQTT\" 04 02 0000 \"s\"").await;
    stranger.hears("20 02 00 05").await;
    stranger.hears_the_end().await;
}

#[tokio::test]
async fn nonsense_instead_of_connect_is_recorded_and_cut_off() {
    for (said, reason) in [
        ("C0 00", "mqtt.protocol-error"),
        ("10 ff ff ff 7f", "mqtt.packet-too-large"),
        ("10 80 80 80 80", "mqtt.malformed-packet"),
        ("10 * \"MQTT\" 04 03 003c \"d\"", "mqtt.malformed-packet"),
    ] {
        let world = World::new().await;
        let mut client = world.dial();
        client.say(said).await;
        client.hears_the_end().await;
        world.records(reason).await;
    }
    let world = World::new().await;
    let mut client = world.dial();
    client.say("10 * \"MQIsdp\" 03 02 003c \"d\"").await;
    client.hears("20 02 00 01").await;
    client.hears_the_end().await;
    world.records("mqtt.unsupported-version").await;
}

#[tokio::test]
async fn malformed_packets_end_the_connection_with_their_clause() {
    let world = World::new().await;
    let mut client = world.v5("c").await;
    client.say("C0 00 36 * \"open/a\" 0001 {}").await;
    client.hears("D0 00").await;
    let answer = client.hears_something().await;
    assert_eq!((answer[0], answer[2]), (0xE0, 0x81));
    client.hears_the_end().await;
    let entry = world.records("mqtt.malformed-packet").await;
    assert!(entry.message.contains("3.3.1.2"), "{entry:?}");
}

#[tokio::test]
async fn a_revoked_certificate_ends_the_connection_with_the_reason() {
    let world = World::new().await;
    let mut new = world.v5("new").await;
    let mut old = world.v311("old").await;
    world.set_standing(CertificateStatus::Revoked).await;
    let answer = new.hears_something().await;
    assert_eq!((answer[0], answer[2]), (0xE0, 0x87));
    new.hears_the_end().await;
    old.hears_the_end().await;
    world.records("certificate.revoked").await;
}

#[tokio::test]
async fn the_same_client_id_takes_over() {
    let world = World::new().await;
    let mut first = world.v5("c").await;
    let mut second = world.v5("c").await;
    let answer = first.hears_something().await;
    assert_eq!((answer[0], answer[2]), (0xE0, 0x8E));
    first.hears_the_end().await;
    second.hears_nothing_else().await;
}

#[tokio::test]
async fn a_will_is_published_when_the_client_is_lost_and_not_when_it_leaves() {
    let world = World::new().await;
    let mut watcher = world.v311("watcher").await;
    watcher.say("82 * 0001 \"open/wills\" 00").await;
    watcher.hears("90 * 0001 00").await;
    let connect = |id| format!("10 * \"MQTT\" 04 06 0000 \"{id}\" \"open/wills\" \"{id} died\"");
    let mut leaving = world.dial();
    leaving.say(&connect("a")).await;
    leaving.hears("20 02 00 00").await;
    leaving.say("E0 00").await;
    leaving.hears_the_end().await;
    watcher.hears_nothing_else().await;
    let mut lost = world.dial();
    lost.say(&connect("b")).await;
    lost.hears("20 02 00 00").await;
    drop(lost);
    watcher.hears("30 * \"open/wills\" 'b died'").await;
}

#[tokio::test]
async fn a_retained_message_waits_for_subscribers() {
    let world = World::new().await;
    let mut publisher = world.v5("p").await;
    publisher
        .say("33 * \"open/r\" 0001 {03 \"t\"} 'kept'")
        .await;
    publisher.hears("40 02 0001").await;
    let mut client = world.v5("c").await;
    client.say("82 * 0001 {0B 07} \"open/+\" 01").await;
    let mut heard = vec![
        client.hears_something().await,
        client.hears_something().await,
    ];
    heard.sort();
    let delivery = notation::bytes("33 * \"open/r\" 0002 {0B 07 03 \"t\"} 'kept'");
    assert_eq!(heard, [delivery, notation::bytes("90 * 0001 {} 01")]);
}

#[tokio::test]
async fn a_client_without_an_id_is_given_one() {
    let world = World::new().await;
    let mut client = world.dial();
    client.say("10 * \"MQTT\" 05 02 0000 {} \"\"").await;
    let answer = client.hears_something().await;
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("auto-"), "{text}");
    let mut older = world.dial();
    older.say("10 * \"MQTT\" 04 02 0000 \"\"").await;
    older.hears("20 02 00 00").await;
}

#[tokio::test]
async fn topics_of_the_hub_are_spelled_as_the_dialect_does() {
    let world = World::new().await;
    let mut client = world.v5("c").await;
    client.say("82 * 0001 {} \"$hub/x\" 00").await;
    client.hears("90 * 0001 {} 00").await;
    client.say("30 * \"$cloud/x\" {} 'x'").await;
    client.hears("30 * \"$cloud/x\" {} 'x'").await;
}

#[tokio::test]
async fn what_is_left_of_a_messages_life_is_told() {
    let world = World::new().await;
    let connect = "10 * \"MQTT\" 05 00 0000 {11 00000e10} \"c\"";
    let mut client = world.dial();
    client.say(connect).await;
    client.hears_something().await;
    client.say("82 * 0001 {} \"open/a\" 01").await;
    client.hears("90 * 0001 {} 01").await;
    client.say("E0 00").await;
    client.hears_the_end().await;
    let mut publisher = world.v5("p").await;
    publisher
        .say("32 * \"open/a\" 0001 {02 0000003c} 'x'")
        .await;
    publisher.hears("40 02 0001").await;
    publisher
        .say("32 * \"open/a\" 0002 {02 00000005} 'y'")
        .await;
    publisher.hears("40 02 0002").await;
    world.clock.advance(Duration::from_secs(20));
    let mut client = world.dial();
    client.say(connect).await;
    client.hears_something().await;
    client.hears("32 * \"open/a\" 0002 {02 00000028} 'x'").await;
    client.hears_nothing_else().await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_stalls_nobody_and_can_still_be_ended() {
    let world = World::new().await;
    let mut deaf = world.dial_through(1024);
    deaf.say("10 * \"MQTT\" 04 02 0000 \"deaf\"").await;
    deaf.hears("20 02 00 00").await;
    deaf.say("82 * 0001 \"open/#\" 00").await;
    deaf.hears("90 * 0001 00").await;
    let mut publisher = world.v311("p").await;
    let payload = "x".repeat(10_000);
    for id in 1..=100 {
        publisher
            .say(&format!("32 * \"open/a\" {id:04x} '{payload}'"))
            .await;
        publisher.hears(&format!("40 02 {id:04x}")).await;
    }
    world.set_standing(CertificateStatus::Revoked).await;
    let entry = world.records("certificate.revoked").await;
    assert!(entry.client_id.is_some());
}

#[tokio::test(start_paused = true)]
async fn silence_ends_the_connection() {
    let world = World::new().await;
    let mut client = world.dial();
    client.say("10 * \"MQTT\" 05 02 000a {} \"c\"").await;
    client.hears_something().await;
    world.clock.advance(Duration::from_secs(14));
    client.hears_nothing_else().await;
    world.clock.advance(Duration::from_secs(15));
    let answer = client.hears_something().await;
    assert_eq!((answer[0], answer[2]), (0xE0, 0x8D));
    client.hears_the_end().await;
    world.records("mqtt.keep-alive").await;
}

#[tokio::test]
async fn the_hub_says_that_it_stops() {
    let world = World::new().await;
    let mut client = world.v5("c").await;
    let mut silent = world.dial();
    world.stop.request();
    world.hub.close_all();
    let answer = client.hears_something().await;
    assert_eq!((answer[0], answer[2]), (0xE0, 0x8B));
    client.hears_the_end().await;
    silent.hears_the_end().await;
    drop(client);
    assert_eq!(world.tasks.wait(Duration::from_secs(10)).await, 0);
}

#[tokio::test]
async fn the_strict_profile_keeps_to_what_aws_allows() {
    let all = "client/* topic/* topicfilter/*";
    let world = World::allowing(Profile::AwsStrict, all).await;
    let mut client = world.dial();
    client
        .say("10 * \"MQTT\" 05 02 ffff {11 ffffffff 21 ffff 27 ffffffff} \"c\"")
        .await;
    client
        .hears("20 * 00 00 {11 00000e10 21 0064 24 01 27 00024800 22 0008 29 00 13 04b0}")
        .await;
    client.say("82 * 0001 {} \"a\" 02").await;
    client.hears("90 * 0001 {} 01").await;
    client.say("34 * \"a\" 0001 {}").await;
    let answer = client.hears_something().await;
    assert_eq!((answer[0], answer[2]), (0xE0, 0x9B));
    let world = World::allowing(Profile::AwsStrict, "client/*").await;
    let mut older = world.v311("old").await;
    older.say("82 * 0001 \"a\" 00").await;
    older.hears_the_end().await;
    let mut stranger = world.dial_with(Vec::new(), 1024);
    stranger.say("10 * \"MQTT\" 04 02 0000 \"s\"").await;
    stranger.hears_the_end().await;
}

#[tokio::test]
async fn the_strict_profile_ends_what_asks_for_qos_2() {
    let world = strict().await;
    let mut will = world.dial();
    will.say("10 * \"MQTT\" 05 16 0000 {} \"w\" {} \"a\" \"x\"")
        .await;
    let answer = will.hears_something().await;
    assert_eq!((answer[0], answer[3]), (0x20, 0x9B));
    will.hears_the_end().await;
    let mut older = world.dial();
    older
        .say("10 * \"MQTT\" 04 16 0000 \"w\" \"a\" \"x\"")
        .await;
    older.hears_the_end().await;
    world.records("mqtt.will-qos").await;
    let mut publisher = world.v311("p").await;
    publisher.say("34 * \"a\" 0001 'x'").await;
    publisher.hears_the_end().await;
    world.records("mqtt.qos").await;
}

#[tokio::test]
async fn the_strict_profile_bounds_filters_and_subscriptions() {
    let world = strict().await;
    let mut client = world.v311("c").await;
    client.say("82 * 0001 \"sensor/#\" 00").await;
    client.hears("90 * 0001 00").await;
    for number in 2..=50 {
        client
            .say(&format!("82 * {number:04x} \"{number}\" 00"))
            .await;
        client.hears(&format!("90 * {number:04x} 00")).await;
    }
    client.say("82 * 0040 \"51\" 00 \"50\" 00").await;
    client.hears("90 * 0040 80 00").await;
    world.records("subscription.too-many").await;
    client.say("82 * 0041 \"1/2/3/4/5/6/7/8/9\" 00").await;
    client.hears("90 * 0041 80").await;
    world.records("topic.too-deep").await;
    client.say("30 * \"sensor\" 'no'").await;
    client.say("30 * \"sensor/a\" 'yes'").await;
    client.hears("30 * \"sensor/a\" 'yes'").await;
    client.hears_nothing_else().await;
    let nine: String = (0..9).map(|number| format!("\"{number}\"")).collect();
    client.say(&format!("A2 * 0042 {nine}")).await;
    client.hears_the_end().await;
    world.records("mqtt.too-many-filters").await;
}

#[tokio::test]
async fn the_strict_profile_retains_for_filters_without_wildcards_only() {
    let world = strict().await;
    let mut client = world.v311("c").await;
    client.say("33 * \"r/x\" 0001 'kept'").await;
    client.hears("40 02 0001").await;
    client.say("82 * 0002 \"r/+\" 00 \"r/#\" 00").await;
    client.hears("90 * 0002 00 00").await;
    client.hears_nothing_else().await;
    client.say("82 * 0003 \"r/x\" 00").await;
    client.hears("90 * 0003 00").await;
    client.hears("31 * \"r/x\" 'kept'").await;
    client.say("31 * \"$cloud/x\" 'x'").await;
    client.hears_the_end().await;
    world.records("retained.reserved").await;
}

#[tokio::test]
async fn the_strict_profile_slows_down_who_publishes_too_much_and_loses_nothing() {
    let world = strict().await;
    let mut client = world.v311("c").await;
    for id in 1..=103 {
        client.say(&format!("32 * \"a\" {id:04x} 'x'")).await;
    }
    for id in 1..=103 {
        client.hears(&format!("40 02 {id:04x}")).await;
    }
    world.records("publish.rate").await;
    client.hears_nothing_else().await;
}

#[tokio::test]
async fn the_strict_profile_bounds_client_ids() {
    let world = strict().await;
    for id in ["$c".to_owned(), "x".repeat(129)] {
        let mut client = world.dial();
        client
            .say(&format!("10 * \"MQTT\" 05 02 0000 {{}} \"{id}\""))
            .await;
        let answer = client.hears_something().await;
        assert_eq!((answer[0], answer[3]), (0x20, 0x85));
        client.hears_the_end().await;
    }
    world.records("mqtt.client-id").await;
}

async fn strict() -> World {
    World::allowing(Profile::AwsStrict, "client/* topic/* topicfilter/*").await
}
