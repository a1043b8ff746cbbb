//! Plays `transcripts/aws/*.txt`: what a device publishes and what it then hears, in AWS's spelling.
//!
//! `> topic payload` is published by a device that subscribes to everything about things and to
//! `things/#`; the lines `< topic payload` after it are what it hears, in order and complete.
//! `! reason: message` is the refusal of a publish. `@ seconds` sets the clock, which begins at 100.
//! `cargo test -p dialect-aws --test device_transcripts -- --ignored` writes the answers anew.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use dialect::{Dialect, Inbound};
use dialect_aws::{Aws, policies::AwsSpelling};
use hub::{
    Caller, ConnectRequest, Connection, Hub, HubConfig, Item, SubscribeRequest,
    SubscriptionOptions,
    clock::{Clock, FakeClock},
};
use model::{Refusal, Timestamp, limits::Profile};
use mqtt_proto::{PublishProperties, QoS, packet::RetainHandling};

#[tokio::test]
async fn devices_hear_what_the_transcripts_say() {
    for path in transcripts() {
        let expected = fs::read_to_string(&path).unwrap();
        let played = play(&expected).await;
        for (number, (expected, played)) in expected.lines().zip(played.lines()).enumerate() {
            assert_eq!(played, expected, "{}:{}", path.display(), number + 1);
        }
        assert_eq!(played, expected, "{}", path.display());
    }
}

#[tokio::test]
#[ignore = "writes transcripts/aws"]
async fn write_the_transcripts() {
    for path in transcripts() {
        let played = play(&fs::read_to_string(&path).unwrap()).await;
        fs::write(&path, played).unwrap();
    }
}

fn transcripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../transcripts/aws");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

/// The transcript with the answers that the hub really gives.
async fn play(transcript: &str) -> String {
    let mut device = Device::new().await;
    let mut played = String::new();
    for line in transcript.lines() {
        if line.starts_with(['<', '!']) {
            continue;
        }
        played.push_str(line);
        played.push('\n');
        if let Some(seconds) = line.strip_prefix("@ ") {
            device.set_clock(seconds.parse().unwrap());
        } else if let Some(said) = line.strip_prefix("> ") {
            let (topic, payload) = split(said);
            match device.publish(topic, payload).await {
                Ok(()) => {}
                Err(refusal) => {
                    played.push_str(&format!("! {}: {}\n", refusal.reason, refusal.message));
                }
            }
            for (topic, payload) in device.heard() {
                played.push_str(format!("< {topic} {payload}").trim_end());
                played.push('\n');
            }
        } else {
            assert!(line.is_empty() || line.starts_with('#'), "{line}");
        }
    }
    played
}

/// The topic and the payload, which begins at the first brace or after the last space.
fn split(said: &str) -> (&str, &str) {
    let at = said.find(" {").or_else(|| said.rfind(' '));
    at.map_or((said, ""), |at| (&said[..at], &said[at + 1..]))
}

struct Device {
    clock: Arc<FakeClock>,
    connection: Connection,
}

impl Device {
    async fn new() -> Self {
        let clock = Arc::new(FakeClock::at(Timestamp::from_seconds(100)));
        let (authority, _) = ca::Authority::create(clock.now()).unwrap();
        let account = "123456789012".to_owned();
        let hub = Hub::open(
            store::Store::open_temporary().unwrap(),
            authority,
            Arc::clone(&clock) as Arc<dyn Clock>,
            Arc::new(AwsSpelling {
                account: account.clone(),
                region: "us-east-1".into(),
            }),
            HubConfig {
                profile: Profile::Standard,
                account,
                require_cosigned: None,
            },
        )
        .unwrap();
        let caller = Caller::operator("watcher", None).under("lamp".parse().unwrap());
        let request = ConnectRequest {
            clean_start: true,
            session_expiry: Duration::ZERO,
            keep_alive_seconds: 0,
            protocol_level: 5,
            will: None,
        };
        let mut connection = hub.connect(caller, request).await.unwrap();
        let requests = ["$aws/things/#", "$share/group/things/#"].map(|filter| SubscribeRequest {
            filter: Aws.filter(connection.caller(), &filter.into()).unwrap(),
            spelled: filter.into(),
            options: SubscriptionOptions {
                qos: QoS::AtLeastOnce,
                no_local: false,
                retain_as_published: false,
                identifier: None,
            },
            retain_handling: RetainHandling::default(),
        });
        let (granted, ack) = connection.subscribe(requests.into());
        assert!(granted.iter().all(Result::is_ok));
        ack.await.unwrap();
        Self { clock, connection }
    }

    fn set_clock(&self, seconds: u64) {
        let ahead = Timestamp::from_seconds(seconds).since(self.clock.now());
        self.clock.advance(ahead);
    }

    async fn publish(&mut self, topic: &str, payload: &str) -> Result<(), Refusal> {
        let inbound = Inbound {
            topic: topic.into(),
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: PublishProperties::default(),
            packet_id: None,
        };
        let intent = Aws.interpret(self.connection.caller(), inbound)?;
        self.connection.handle(intent).await?.await
    }

    fn heard(&mut self) -> Vec<(String, String)> {
        let mut context = Context::from_waker(Waker::noop());
        let mut heard = Vec::new();
        while let Poll::Ready(item) = self.connection.poll_next(&mut context, true) {
            let Item::Deliver(delivery) = item else {
                panic!("only messages are delivered: {item:?}");
            };
            self.connection.acknowledged(delivery.seq);
            let message = &delivery.message;
            let topic = Aws
                .spell(&message.topic)
                .map_or_else(|| message.topic.to_string(), |topic| topic.into_owned());
            let payload = String::from_utf8(message.payload.to_vec()).unwrap();
            heard.push((topic, payload));
        }
        heard
    }
}
