//! What a shadow's users see, whichever way they ask.

use std::{
    borrow::Cow,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use broker::SubscriptionOptions;
use model::{Timestamp, limits::Profile};
use mqtt_proto::{PublishProperties, packet::RetainHandling};
use serde_json::json;

use super::*;
use crate::{
    ConnectRequest, Connection, HubConfig, Intent, InvalidPolicy, Item, PolicyLanguage,
    PublishRequest, SubscribeRequest, clock::FakeClock,
};

const NOW: Timestamp = Timestamp::from_seconds(100);

#[tokio::test]
async fn a_write_over_mqtt_is_fanned_out_and_answered() {
    let mut watcher = Watcher::new().await;
    watcher
        .ask(
            "update",
            r#"{"state":{"desired":{"a":1}},"clientToken":"t"}"#,
        )
        .await;
    let request = (
        "update".to_owned(),
        json!({"state": {"desired": {"a": 1}}, "clientToken": "t"}),
    );
    let stamp = json!({"a": {"timestamp": 100}});
    assert_eq!(
        watcher.heard(),
        [
            request,
            (
                "update/accepted".to_owned(),
                json!({"state": {"desired": {"a": 1}}, "metadata": {"desired": stamp},
                    "version": 1, "timestamp": 100, "clientToken": "t"})
            ),
            (
                "update/delta".to_owned(),
                json!({"version": 1, "timestamp": 100, "state": {"a": 1},
                    "metadata": stamp, "clientToken": "t"})
            ),
            (
                "update/documents".to_owned(),
                json!({"previous": null, "current": {"state": {"desired": {"a": 1}},
                    "metadata": {"desired": stamp}, "version": 1},
                    "timestamp": 100, "clientToken": "t"})
            ),
        ]
    );
}

#[tokio::test]
async fn reading_and_removing_over_mqtt_are_answered() {
    let mut watcher = Watcher::new().await;
    watcher.ask("get", "").await;
    assert_eq!(
        watcher.heard()[1..],
        [(
            "get/rejected".to_owned(),
            json!({"code": 404, "message": "No shadow exists with name: 'T'"})
        )]
    );
    watcher.ask("update", r#"{"state":{"reported":{}}}"#).await;
    watcher.heard();
    watcher.ask("get", r#"{"clientToken":"g"}"#).await;
    assert_eq!(
        watcher.heard()[1..],
        [(
            "get/accepted".to_owned(),
            json!({"state": {"reported": {}}, "metadata": {"reported": {}},
                "version": 1, "timestamp": 100, "clientToken": "g"})
        )]
    );
    watcher.ask("delete", "").await;
    assert_eq!(
        watcher.heard()[1..],
        [(
            "delete/accepted".to_owned(),
            json!({"version": 1, "timestamp": 100})
        )]
    );
    watcher.ask("delete", r#"{"clientToken":"d"}"#).await;
    assert_eq!(watcher.heard()[1].1["code"], 404);
    watcher.ask("update", r#"{"state":{"reported":{}}}"#).await;
    assert_eq!(watcher.heard()[1].1["version"], 2);
}

#[tokio::test]
async fn a_refused_write_is_answered_with_its_token_and_recorded() {
    let mut watcher = Watcher::new().await;
    watcher
        .ask("update", r#"{"state":[],"clientToken":"t"}"#)
        .await;
    assert_eq!(
        watcher.heard()[1..],
        [(
            "update/rejected".to_owned(),
            json!({"code": 400, "message": "State node must be an object",
                "timestamp": 100, "clientToken": "t"})
        )]
    );
    watcher.ask("update", r#"{"state":{},"version":3}"#).await;
    assert_eq!(
        watcher.heard()[1..],
        [(
            "update/rejected".to_owned(),
            json!({"code": 409, "message": "Version conflict", "timestamp": 100})
        )]
    );
    let recorded: Vec<_> = watcher
        .hub
        .recent_entries(0)
        .iter()
        .filter(|entry| entry.kind == Kind::RequestRefused)
        .map(|entry| entry.reason)
        .collect();
    assert_eq!(
        recorded,
        ["shadow.not-an-object", "shadow.version-conflict"]
    );
}

#[tokio::test]
async fn a_write_by_request_is_announced_like_one_by_message() {
    let mut watcher = Watcher::new().await;
    let (hub, operator, device) = (watcher.hub.clone(), Caller::operator("o", None), device());
    let name = "S".parse().unwrap();
    let accepted = hub
        .update_shadow(
            &operator,
            &device,
            Some(&name),
            br#"{"state":{"reported":{"a":1}}}"#,
        )
        .await
        .unwrap();
    let heard = watcher.heard();
    let topics: Vec<_> = heard.iter().map(|(topic, _)| topic.as_str()).collect();
    assert_eq!(
        topics,
        ["name/S/update/accepted", "name/S/update/documents"]
    );
    assert_eq!(heard[0].1, accepted);
    assert_eq!(
        hub.get_shadow(&operator, &device, Some(&name)).unwrap()["state"],
        json!({"reported": {"a": 1}})
    );
    let refusal = hub.get_shadow(&operator, &device, None).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::NotFound);
    let gone = hub
        .delete_shadow(&operator, &device, Some(&name))
        .await
        .unwrap();
    assert_eq!(
        watcher.heard(),
        [("name/S/delete/accepted".to_owned(), gone)]
    );
}

#[tokio::test]
async fn writers_at_once_lose_no_write_and_are_announced_in_order() {
    const WRITERS: u64 = 40;
    let mut watcher = Watcher::new().await;
    let (hub, operator, device) = (&watcher.hub, Caller::operator("o", None), device());
    let requests: Vec<String> = (0..WRITERS)
        .map(|n| format!(r#"{{"state":{{"reported":{{"k{n}":{n}}}}}}}"#))
        .collect();
    let mut writes: Vec<_> = requests
        .iter()
        .map(|request| Box::pin(hub.update_shadow(&operator, &device, None, request.as_bytes())))
        .collect();
    // All under way at once, on one task.
    std::future::poll_fn(|context| {
        writes.retain_mut(|write| match write.as_mut().poll(context) {
            Poll::Ready(done) => {
                done.unwrap();
                false
            }
            Poll::Pending => true,
        });
        if writes.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    drop(writes);
    let all = hub.get_shadow(&operator, &device, None).unwrap();
    assert_eq!(all["version"], WRITERS);
    assert_eq!(
        all["state"]["reported"]
            .as_object()
            .map(serde_json::Map::len),
        usize::try_from(WRITERS).ok()
    );
    let versions: Vec<_> = watcher
        .heard()
        .into_iter()
        .filter(|(topic, _)| topic == "update/accepted")
        .map(|(_, message)| message["version"].as_u64().unwrap())
        .collect();
    assert_eq!(versions, (1..=WRITERS).collect::<Vec<_>>());
}

#[tokio::test]
async fn names_are_listed_in_pages() {
    let watcher = Watcher::new().await;
    let (hub, operator, device) = (&watcher.hub, Caller::operator("o", None), device());
    for name in ["b", "a", "c"] {
        let name = name.parse().unwrap();
        hub.update_shadow(&operator, &device, Some(&name), br#"{"state":{}}"#)
            .await
            .unwrap();
    }
    let page = |after: Option<&ShadowName>, limit| {
        let page = hub.list_shadows(&operator, &device, after, limit).unwrap();
        let names: Vec<String> = page.names.iter().map(ToString::to_string).collect();
        (names.concat(), page.next)
    };
    let (first, next) = page(None, 2);
    assert_eq!(first, "ab");
    assert_eq!(page(next.as_ref(), 2), ("c".to_owned(), None));
    assert_eq!(page(None, 3), ("abc".to_owned(), None));
}

#[tokio::test]
async fn nobody_without_a_policy_reaches_a_shadow() {
    let watcher = Watcher::new().await;
    let stranger = Caller::stranger("c".parse().unwrap());
    let refusal = watcher
        .hub
        .update_shadow(&stranger, &device(), None, br#"{"state":{}}"#)
        .await
        .unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Denied);
    let refusal = watcher
        .hub
        .get_shadow(&stranger, &device(), None)
        .unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Denied);
}

/// A client that subscribes to everything about the shadows of device `T`.
struct Watcher {
    hub: Hub,
    connection: Connection,
}

impl Watcher {
    async fn new() -> Self {
        let (authority, _) = ca::Authority::create(NOW).unwrap();
        let hub = Hub::open(
            store::Store::open_temporary().unwrap(),
            authority,
            Arc::new(FakeClock::at(NOW)),
            Arc::new(NoPolicies),
            HubConfig {
                profile: Profile::Standard,
                account: "123456789012".into(),
                require_cosigned: None,
            },
        )
        .unwrap();
        let caller = Caller::hub().under("watcher".parse().unwrap());
        let request = ConnectRequest {
            clean_start: true,
            session_expiry: Duration::ZERO,
            keep_alive_seconds: 0,
            protocol_level: 4,
            will: None,
        };
        let mut connection = hub.connect(caller, request).await.unwrap();
        let filter = "$hub/devices/T/shadow/#";
        let (granted, ack) = connection.subscribe(vec![SubscribeRequest {
            filter: filter.parse().unwrap(),
            spelled: filter.into(),
            options: SubscriptionOptions {
                qos: QoS::AtLeastOnce,
                no_local: false,
                retain_as_published: false,
                identifier: None,
            },
            retain_handling: RetainHandling::default(),
        }]);
        assert!(granted.iter().all(Result::is_ok));
        ack.await.unwrap();
        Self { hub, connection }
    }

    /// Publishes a request to the classic shadow of device `T`.
    async fn ask(&mut self, verb: &str, payload: &str) {
        let message = PublishRequest {
            topic: TopicName::new(format!("$hub/devices/T/shadow/{verb}")).unwrap(),
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: PublishProperties::default(),
            packet_id: None,
        };
        let asked = ShadowRequest {
            address: device(),
            name: None,
            verb: match verb {
                "get" => ShadowVerb::Get,
                "update" => ShadowVerb::Update,
                _ => ShadowVerb::Delete,
            },
        };
        let intent = Intent::Shadow(message, asked);
        self.connection.handle(intent).await.unwrap().await.unwrap();
    }

    /// What was delivered since the last call: the topic below `shadow/`, and the message.
    fn heard(&mut self) -> Vec<(String, Value)> {
        let mut context = Context::from_waker(Waker::noop());
        let mut heard = Vec::new();
        while let Poll::Ready(item) = self.connection.poll_next(&mut context, true) {
            let Item::Deliver(delivery) = item else {
                panic!("only messages are delivered: {item:?}");
            };
            let message = &delivery.message;
            let tail = message
                .topic
                .as_str()
                .strip_prefix("$hub/devices/T/shadow/");
            heard.push((
                tail.unwrap().to_owned(),
                serde_json::from_slice(&message.payload).unwrap_or_default(),
            ));
        }
        heard
    }
}

fn device() -> Address {
    Address {
        device: "T".parse().unwrap(),
        module: None,
    }
}

/// A language in which nobody has written anything.
pub(crate) struct NoPolicies;

impl policy::Spelling for NoPolicies {
    fn action(&self, _: Action) -> &'static str {
        "act"
    }

    fn statement(&self, _: Action, resource: &Resource<'_>) -> String {
        resource.to_string()
    }
}

impl PolicyLanguage for NoPolicies {
    fn parse(&self, _: &str) -> Result<policy::Document, InvalidPolicy> {
        Err(InvalidPolicy {
            at: "everywhere".into(),
            message: "there are no policies".into(),
        })
    }

    fn topic<'a>(&self, canonical: &'a str) -> Cow<'a, str> {
        canonical.into()
    }

    fn filter<'a>(&self, canonical: &'a str) -> Cow<'a, str> {
        canonical.into()
    }
}
