//! Sessions over their whole life: away and back, restarted, taken over, expired.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests; the lint knows only the tests themselves"
)]

use std::{
    borrow::Cow,
    path::Path,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use broker::{CloseReason, SubscriptionOptions};
use hub::{
    Caller, ConnectRequest, Connection, Disconnect, DisconnectReason, Hub, HubConfig,
    InvalidPolicy, Item, PolicyLanguage, PublishRequest, SubscribeRequest, Will,
    clock::{Clock, FakeClock},
};
use model::{ClientId, ReasonId, Timestamp, limits, limits::Profile};
use mqtt_proto::{PublishProperties, QoS, packet::RetainHandling};

struct NoLanguage;

impl policy::Spelling for NoLanguage {
    fn action(&self, _: policy::Action) -> &'static str {
        "act"
    }

    fn statement(&self, _: policy::Action, _: &policy::Resource<'_>) -> String {
        String::new()
    }
}

impl PolicyLanguage for NoLanguage {
    fn parse(&self, _: &str) -> Result<policy::Document, InvalidPolicy> {
        Err(InvalidPolicy {
            at: "text".into(),
            message: "nobody writes policies here".into(),
        })
    }

    fn topic<'a>(&self, canonical: &'a str) -> Cow<'a, str> {
        canonical.into()
    }

    fn filter<'a>(&self, canonical: &'a str) -> Cow<'a, str> {
        canonical.into()
    }
}

fn start(folder: &Path, clock: &Arc<FakeClock>) -> Hub {
    let (authority, _) = ca::Authority::create(clock.now()).unwrap();
    Hub::open(
        store::Store::open(folder).unwrap(),
        authority,
        Arc::clone(clock) as Arc<dyn Clock>,
        Arc::new(NoLanguage),
        HubConfig {
            profile: Profile::Standard,
            account: "000000000000".into(),
            require_cosigned: None,
        },
    )
    .unwrap()
}

struct World {
    folder: tempfile::TempDir,
    clock: Arc<FakeClock>,
    hub: Hub,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(FakeClock::at(Timestamp::from_seconds(1000)));
        let hub = start(folder.path(), &clock);
        Self { folder, clock, hub }
    }

    /// Ends the process in the middle of things, as far as one process can, and starts again.
    fn restart(self) -> Self {
        let Self { folder, clock, hub } = self;
        drop(hub);
        let hub = start(folder.path(), &clock);
        Self { folder, clock, hub }
    }

    /// Starts again from a copy of what is on disk, as a crash leaves it: connections that were
    /// forgotten hold the store.
    fn crash(self) -> Self {
        let Self { folder, clock, hub } = self;
        let copy = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        drop(hub);
        let hub = start(copy.path(), &clock);
        Self {
            folder: copy,
            clock,
            hub,
        }
    }

    async fn connect(&self, id: &str, expiry_seconds: u64, will: Option<Will>) -> Connection {
        let caller = Caller::operator("o", None).under(ClientId::new(id).unwrap());
        let request = ConnectRequest {
            clean_start: expiry_seconds == 0,
            session_expiry: Duration::from_secs(expiry_seconds),
            keep_alive_seconds: 0,
            protocol_level: 5,
            will,
        };
        self.hub.connect(caller, request).await.unwrap()
    }

    async fn publish(&self, topic: &str, payload: &str, retain: bool) {
        let request = PublishRequest {
            topic: topic.parse().unwrap(),
            payload: payload.to_owned().into(),
            qos: QoS::AtLeastOnce,
            retain,
            properties: PublishProperties::default(),
            packet_id: None,
        };
        let ack = self.hub.publish(&Caller::hub(), request).unwrap();
        ack.await.unwrap();
    }
}

async fn subscribe(connection: &mut Connection, filter: &str) {
    let (granted, ack) = connection.subscribe(vec![SubscribeRequest {
        filter: filter.parse().unwrap(),
        spelled: filter.into(),
        options: SubscriptionOptions {
            qos: QoS::ExactlyOnce,
            no_local: false,
            retain_as_published: false,
            identifier: None,
        },
        retain_handling: RetainHandling::Send,
    }]);
    assert_eq!(granted[0].as_ref().unwrap(), &QoS::ExactlyOnce);
    ack.await.unwrap();
}

/// Everything the connection is sent, as `payload` or `payload!` when it may be a repetition;
/// `acknowledge` each.
async fn drain(connection: &mut Connection, acknowledge: bool) -> Vec<String> {
    let mut heard = Vec::new();
    // Loading from the journal takes a few turns of the writer.
    let mut idle = 0;
    while idle < 20 {
        match connection.poll_next(&mut Context::from_waker(Waker::noop()), true) {
            Poll::Ready(Item::Deliver(delivery)) => {
                let text = String::from_utf8(delivery.message.payload.to_vec()).unwrap();
                heard.push(if delivery.dup { text + "!" } else { text });
                if acknowledge {
                    connection.acknowledged(delivery.seq);
                }
            }
            Poll::Ready(Item::Release(seq)) => heard.push(format!("release {seq}")),
            Poll::Ready(Item::Close(reason)) => {
                heard.push(format!("close {reason:?}"));
                break;
            }
            Poll::Pending => {
                idle += 1;
                // A round trip through the writer, instead of sleeping.
                connection.hub().sweep().await;
            }
        }
    }
    heard
}

fn lost() -> Disconnect {
    Disconnect {
        reason: DisconnectReason::ConnectionLost,
        send_will: true,
        session_expiry: None,
        because: (ReasonId("test.lost"), "lost".into()),
    }
}

fn will(delay_seconds: u64) -> Will {
    Will {
        topic: "wills/c".parse().unwrap(),
        payload: "gone".into(),
        qos: QoS::AtLeastOnce,
        retain: false,
        delay: Duration::from_secs(delay_seconds),
        properties: PublishProperties::default(),
    }
}

#[tokio::test]
async fn what_is_published_while_a_client_is_away_survives_a_restart() {
    let world = World::new();
    let mut device = world.connect("c", 3600, None).await;
    subscribe(&mut device, "t/#").await;
    device.end(lost());
    for n in 0..3 {
        world.publish("t/1", &format!("m{n}"), false).await;
    }
    let world = world.restart();
    world.publish("t/1", "m3", false).await;
    let mut device = world.connect("c", 3600, None).await;
    assert!(device.session_present());
    assert_eq!(drain(&mut device, true).await, ["m0", "m1", "m2", "m3"]);
    device.end(lost());
    let mut device = world.connect("c", 3600, None).await;
    assert!(drain(&mut device, true).await.is_empty());
    device.end(lost());
}

#[tokio::test]
async fn what_was_sent_and_not_acknowledged_is_repeated_after_a_restart() {
    let world = World::new();
    let mut device = world.connect("c", 3600, None).await;
    subscribe(&mut device, "t").await;
    world.publish("t", "m", false).await;
    assert_eq!(drain(&mut device, false).await, ["m"]);
    device.end(lost());
    let world = world.restart();
    let mut device = world.connect("c", 3600, None).await;
    assert_eq!(drain(&mut device, true).await, ["m!"]);
    device.end(lost());
}

#[tokio::test]
async fn an_exactly_once_delivery_goes_on_where_it_stopped() {
    let world = World::new();
    let mut device = world.connect("c", 3600, None).await;
    subscribe(&mut device, "t").await;
    let request = PublishRequest {
        topic: "t".parse().unwrap(),
        payload: "m".into(),
        qos: QoS::ExactlyOnce,
        retain: false,
        properties: PublishProperties::default(),
        packet_id: None,
    };
    world
        .hub
        .publish(&Caller::hub(), request)
        .unwrap()
        .await
        .unwrap();
    assert_eq!(drain(&mut device, false).await, ["m"]);
    device.received(1).await.unwrap();
    device.end(lost());
    let world = world.restart();
    let mut device = world.connect("c", 3600, None).await;
    assert_eq!(drain(&mut device, false).await, ["release 1"]);
    device.acknowledged(1);
    device.end(lost());
    let mut device = world.connect("c", 3600, None).await;
    assert!(drain(&mut device, false).await.is_empty());
    device.end(lost());
}

#[tokio::test]
async fn a_packet_id_that_was_not_released_is_remembered_over_a_restart() {
    let world = World::new();
    let mut device = world.connect("c", 3600, None).await;
    let request = PublishRequest {
        topic: "t".parse().unwrap(),
        payload: "m".into(),
        qos: QoS::ExactlyOnce,
        retain: false,
        properties: PublishProperties::default(),
        packet_id: std::num::NonZeroU16::new(7),
    };
    device.publish(request).unwrap().await.unwrap();
    device.end(lost());
    let world = world.restart();
    let mut device = world.connect("c", 3600, None).await;
    assert_eq!(device.inbound_packet_ids(), [7]);
    device.release_inbound(7).await.unwrap();
    device.end(lost());
    let world = world.restart();
    let device = world.connect("c", 3600, None).await;
    assert!(device.inbound_packet_ids().is_empty());
    device.end(lost());
}

#[tokio::test]
async fn retained_messages_survive_a_restart_and_an_empty_one_removes_them() {
    let world = World::new();
    world.publish("r/1", "one", true).await;
    world.publish("r/2", "two", true).await;
    world.publish("r/2", "", true).await;
    let world = world.restart();
    let mut device = world.connect("c", 0, None).await;
    subscribe(&mut device, "r/#").await;
    assert_eq!(drain(&mut device, true).await, ["one"]);
    device.end(lost());
}

#[tokio::test]
async fn a_new_subscriber_gets_more_retained_messages_than_its_mailbox_holds() {
    let world = World::new();
    let count = limits::MAILBOX_MESSAGES * 2;
    for n in 0..count {
        let request = PublishRequest {
            topic: format!("r/{n}").parse().unwrap(),
            payload: "x".into(),
            qos: QoS::AtMostOnce,
            retain: true,
            properties: PublishProperties::default(),
            packet_id: None,
        };
        world
            .hub
            .publish(&Caller::hub(), request)
            .unwrap()
            .await
            .unwrap();
    }
    let mut device = world.connect("c", 0, None).await;
    subscribe(&mut device, "r/#").await;
    assert_eq!(drain(&mut device, true).await.len(), count);
    device.end(lost());
}

#[tokio::test]
async fn a_slow_persistent_client_is_sent_everything_in_order() {
    let world = World::new();
    let mut device = world.connect("c", 3600, None).await;
    subscribe(&mut device, "t").await;
    let count = limits::MAILBOX_MESSAGES * 3;
    for n in 0..count {
        let request = PublishRequest {
            topic: "t".parse().unwrap(),
            payload: n.to_string().into(),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: PublishProperties::default(),
            packet_id: None,
        };
        drop(world.hub.publish(&Caller::hub(), request).unwrap());
    }
    let expected: Vec<_> = (0..count).map(|n| n.to_string()).collect();
    assert_eq!(drain(&mut device, true).await, expected);
    device.end(lost());
}

#[tokio::test]
async fn a_broken_connection_publishes_its_will_and_a_clean_end_does_not() {
    let world = World::new();
    let mut watcher = world.connect("watcher", 0, None).await;
    subscribe(&mut watcher, "wills/#").await;
    world.connect("c", 0, Some(will(0))).await.end(Disconnect {
        send_will: false,
        ..lost()
    });
    assert!(drain(&mut watcher, true).await.is_empty());
    world.connect("c", 0, Some(will(0))).await.end(lost());
    assert_eq!(drain(&mut watcher, true).await, ["gone"]);
    watcher.end(lost());
}

#[tokio::test]
async fn a_delayed_will_is_published_unless_the_client_returns() {
    let world = World::new();
    let mut watcher = world.connect("watcher", 0, None).await;
    subscribe(&mut watcher, "wills/#").await;
    world.connect("c", 3600, Some(will(60))).await.end(lost());
    world.clock.advance(Duration::from_secs(59));
    assert!(drain(&mut watcher, true).await.is_empty());
    let device = world.connect("c", 3600, Some(will(60))).await;
    world.clock.advance(Duration::from_secs(120));
    assert!(drain(&mut watcher, true).await.is_empty());
    device.end(lost());
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(drain(&mut watcher, true).await, ["gone"]);
    watcher.end(lost());
}

#[tokio::test]
async fn the_will_of_a_connection_that_died_with_the_hub_is_published_after_the_restart() {
    let world = World::new();
    let mut watcher = world.connect("watcher", 3600, None).await;
    subscribe(&mut watcher, "wills/#").await;
    watcher.end(lost());
    let device = world.connect("c", 3600, Some(will(5))).await;
    // Nothing is told about the connection.
    std::mem::forget(device);
    let world = world.crash();
    world.clock.advance(Duration::from_secs(5));
    world.hub.sweep().await;
    let mut watcher = world.connect("watcher", 3600, None).await;
    assert_eq!(drain(&mut watcher, true).await, ["gone"]);
    watcher.end(lost());
}

#[tokio::test]
async fn a_delayed_will_is_published_when_a_clean_start_ends_its_session() {
    let world = World::new();
    let mut watcher = world.connect("watcher", 0, None).await;
    subscribe(&mut watcher, "wills/#").await;
    for (expiry, again, heard) in [
        (3600, 3600, vec![]),
        (3600, 0, vec!["gone"]),
        (0, 0, vec!["gone"]),
    ] {
        let first = world.connect("c", expiry, Some(will(60))).await;
        let second = world.connect("c", again, None).await;
        first.end(lost());
        assert_eq!(drain(&mut watcher, true).await, heard, "{expiry} {again}");
        second.end(Disconnect {
            session_expiry: Some(Duration::ZERO),
            ..lost()
        });
    }
    watcher.end(lost());
}

#[tokio::test]
async fn the_will_of_a_connection_that_was_taken_over_does_not_return_after_a_crash() {
    let world = World::new();
    let mut watcher = world.connect("watcher", 3600, None).await;
    subscribe(&mut watcher, "wills/#").await;
    watcher.end(lost());
    let first = world.connect("c", 3600, Some(will(60))).await;
    let second = world.connect("c", 3600, None).await;
    first.end(lost());
    std::mem::forget(second);
    let world = world.crash();
    world.clock.advance(Duration::from_secs(120));
    world.hub.sweep().await;
    let mut watcher = world.connect("watcher", 3600, None).await;
    assert!(drain(&mut watcher, true).await.is_empty());
    watcher.end(lost());
}

#[tokio::test]
async fn a_restored_will_is_published_when_its_session_ends_at_the_latest() {
    let world = World::new();
    let mut watcher = world.connect("watcher", 3600, None).await;
    subscribe(&mut watcher, "wills/#").await;
    watcher.end(lost());
    std::mem::forget(world.connect("c", 30, Some(will(600))).await);
    let world = world.crash();
    world.clock.advance(Duration::from_secs(30));
    world.hub.sweep().await;
    let mut watcher = world.connect("watcher", 3600, None).await;
    assert_eq!(drain(&mut watcher, true).await, ["gone"]);
    watcher.end(lost());
}

#[tokio::test]
async fn new_messages_are_no_repetitions_after_a_crash() {
    let world = World::new();
    let mut device = world.connect("c", 3600, None).await;
    subscribe(&mut device, "t").await;
    device.end(lost());
    world.publish("t", "m0", false).await;
    let mut device = world.connect("c", 3600, None).await;
    assert_eq!(drain(&mut device, true).await, ["m0"]);
    for n in 1..4 {
        world.publish("t", &format!("m{n}"), false).await;
        assert_eq!(drain(&mut device, true).await, [format!("m{n}")]);
    }
    std::mem::forget(device);
    let world = world.crash();
    world.publish("t", "new", false).await;
    let mut device = world.connect("c", 3600, None).await;
    assert_eq!(drain(&mut device, true).await, ["new"]);
    device.end(lost());
}

#[tokio::test]
async fn a_session_ends_when_its_time_has_passed() {
    let world = World::new();
    let mut device = world.connect("c", 60, None).await;
    subscribe(&mut device, "t").await;
    device.end(lost());
    world.clock.advance(Duration::from_secs(60));
    world.hub.sweep().await;
    let device = world.connect("c", 60, None).await;
    assert!(!device.session_present());
    device.end(lost());
    let world = world.restart();
    let device = world.connect("c", 60, None).await;
    assert!(device.session_present());
    device.end(lost());
}

#[tokio::test]
async fn a_second_connection_takes_over_and_the_first_is_told() {
    let world = World::new();
    let mut first = world.connect("c", 3600, None).await;
    subscribe(&mut first, "t").await;
    let mut second = world.connect("c", 3600, None).await;
    assert!(second.session_present());
    assert!(matches!(
        first.poll_next(&mut Context::from_waker(Waker::noop()), true),
        Poll::Ready(Item::Close(CloseReason::TakenOver))
    ));
    first.end(lost());
    world.publish("t", "m", false).await;
    assert_eq!(drain(&mut second, true).await, ["m"]);
    second.end(lost());
}

#[test]
fn a_client_that_is_back_while_it_leaves_keeps_its_session() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let world = World::new();
    for round in 0..100 {
        let leaving = runtime.block_on(world.connect("c", 3600, None));
        let mut back = std::thread::scope(|scope| {
            scope.spawn(|| {
                leaving.end(Disconnect {
                    session_expiry: Some(Duration::ZERO),
                    ..lost()
                });
            });
            runtime.block_on(world.connect("c", 3600, None))
        });
        let info = world.hub.connection_info(back.client_id());
        assert!(info.is_some_and(|info| info.connected), "round {round}");
        runtime.block_on(async {
            subscribe(&mut back, "t").await;
            world.publish("t", "m", false).await;
        });
        let next = back.poll_next(&mut Context::from_waker(Waker::noop()), true);
        assert!(matches!(next, Poll::Ready(Item::Deliver(_))), "{next:?}");
        back.end(Disconnect {
            session_expiry: Some(Duration::ZERO),
            ..lost()
        });
    }
}

#[tokio::test]
async fn a_stranger_who_uses_a_client_id_does_not_get_its_session() {
    let world = World::new();
    let mut device = world.connect("c", 3600, None).await;
    subscribe(&mut device, "t").await;
    device.end(lost());
    world.publish("t", "secret", false).await;
    let stranger = Caller::operator("stranger", None).under(ClientId::new("c").unwrap());
    let request = ConnectRequest {
        clean_start: false,
        session_expiry: Duration::from_secs(3600),
        keep_alive_seconds: 0,
        protocol_level: 5,
        will: None,
    };
    let mut connection = world.hub.connect(stranger, request).await.unwrap();
    assert!(!connection.session_present());
    assert!(drain(&mut connection, true).await.is_empty());
    connection.end(lost());
}

#[tokio::test]
async fn an_expired_message_is_not_delivered() {
    let world = World::new();
    let mut device = world.connect("c", 3600, None).await;
    subscribe(&mut device, "t").await;
    device.end(lost());
    let request = PublishRequest {
        topic: "t".parse().unwrap(),
        payload: "old".into(),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: PublishProperties {
            message_expiry_seconds: Some(10),
            ..PublishProperties::default()
        },
        packet_id: None,
    };
    world
        .hub
        .publish(&Caller::hub(), request)
        .unwrap()
        .await
        .unwrap();
    world.publish("t", "new", false).await;
    world.clock.advance(Duration::from_secs(11));
    let mut device = world.connect("c", 3600, None).await;
    assert_eq!(drain(&mut device, true).await, ["new"]);
    device.end(lost());
}
