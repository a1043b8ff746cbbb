use std::sync::Arc;

use axum::body::Body;
use bytestring::ByteString;
use dialect::{Hello, Inbound};
use http::{Method, Request};
use http_body_util::BodyExt as _;
use hub::{
    Credentials, HubConfig, Intent, InvalidPolicy, PolicyLanguage, PublishRequest,
    clock::FakeClock,
    timeline::{Kind, Subject},
};
use model::{ReasonId, Timestamp, TopicFilter, TopicName, limits::Profile};
use serde_json::{Value, json};
use tower_service::Service as _;

use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

/// A language whose only policy is the text `nothing`, which allows nothing.
struct Nothing;

impl policy::Spelling for Nothing {
    fn action(&self, _: policy::Action) -> &'static str {
        "act"
    }

    fn statement(&self, _: policy::Action, resource: &policy::Resource<'_>) -> String {
        resource.to_string()
    }
}

impl PolicyLanguage for Nothing {
    fn parse(&self, text: &str) -> Result<policy::Document, InvalidPolicy> {
        if text == "nothing" {
            return Ok(policy::Document {
                statements: Vec::new(),
            });
        }
        Err(InvalidPolicy {
            at: "everywhere".into(),
            message: "expected nothing".into(),
        })
    }

    fn topic<'a>(&self, canonical: &'a str) -> Cow<'a, str> {
        canonical.into()
    }

    fn filter<'a>(&self, canonical: &'a str) -> Cow<'a, str> {
        canonical.into()
    }
}

/// Spells everything as the hub does, but for `$hub/`, which it spells `$$/`.
struct Plain;

impl Dialect for Plain {
    fn identify(&self, _: &Hello<'_>) -> Result<Credentials, Refusal> {
        Ok(Credentials::None)
    }

    fn interpret(&self, caller: &Caller, inbound: Inbound) -> Result<Intent, Refusal> {
        Ok(Intent::Publish(PublishRequest {
            topic: self.will_topic(caller, inbound.topic)?,
            payload: inbound.payload,
            qos: inbound.qos,
            retain: inbound.retain,
            properties: inbound.properties,
            packet_id: inbound.packet_id,
        }))
    }

    fn will_topic(&self, _: &Caller, topic: ByteString) -> Result<TopicName, Refusal> {
        TopicName::new(topic.replace("$$/", "$hub/"))
            .map_err(|error| Refusal::malformed("topic.invalid", error.to_string()))
    }

    fn filter(&self, _: &Caller, filter: &ByteString) -> Result<TopicFilter, Refusal> {
        TopicFilter::new(filter.replace("$$/", "$hub/"))
            .map_err(|error| Refusal::malformed("filter.invalid", error.to_string()))
    }

    fn spell<'a>(&self, canonical: &'a TopicName) -> Option<Cow<'a, str>> {
        let rest = canonical.as_str().strip_prefix("$hub/")?;
        Some(format!("$$/{rest}").into())
    }
}

struct Bench {
    hub: Hub,
    router: Router,
}

impl Bench {
    fn new() -> Self {
        let (authority, _) = ca::Authority::create(NOW).unwrap();
        let hub = Hub::open(
            store::Store::open_temporary().unwrap(),
            authority,
            Arc::new(FakeClock::at(NOW)),
            Arc::new(Nothing),
            HubConfig {
                profile: Profile::Standard,
                account: "123456789012".into(),
                require_cosigned: None,
            },
        )
        .unwrap();
        let setup = Setup {
            dialect: Arc::new(Plain),
            device_policy_name: "device-default".into(),
            device_policy: "nothing".into(),
            version: "9.9.9".into(),
        };
        Self {
            router: router(hub.clone(), setup),
            hub,
        }
    }

    async fn send(&self, method: &str, path: &str, body: Value) -> Response {
        let body = if body.is_null() {
            Body::empty()
        } else {
            Body::from(body.to_string())
        };
        let request = Request::builder()
            .method(method.parse::<Method>().unwrap())
            .uri(format!("/api/v1{path}"))
            .body(body)
            .unwrap();
        self.router.clone().call(request).await.unwrap()
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let answer = self.send(method, path, body).await;
        let status = answer.status().as_u16();
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        let value = serde_json::from_slice(&text)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&text).into_owned()));
        (status, value)
    }

    #[track_caller]
    fn check(answer: &(u16, Value), status: u16) {
        assert_eq!(answer.0, status, "{}", answer.1);
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, Value::Null).await;
        Self::check(&answer, 200);
        answer.1
    }

    async fn add(&self, id: &str) -> Value {
        let answer = self.ask("POST", "/devices", json!({ "id": id })).await;
        Self::check(&answer, 200);
        answer.1
    }
}

/// The next line of an answer that goes on.
async fn next_line(body: &mut Body) -> Value {
    let frame = body.frame().await.unwrap().unwrap();
    serde_json::from_slice(&frame.into_data().unwrap()).unwrap()
}

#[tokio::test]
async fn a_device_is_added_with_all_it_needs_in_one_call() {
    let bench = Bench::new();
    let issued = bench.add("pump-1").await;
    assert_eq!(issued["policy"], "device-default");
    let pem = |name: &str| {
        issued[name]
            .as_str()
            .unwrap()
            .lines()
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(pem("certificate_pem"), "-----BEGIN CERTIFICATE-----");
    assert_eq!(pem("private_key_pem"), "-----BEGIN PRIVATE KEY-----");
    assert_eq!(issued["root_ca_pem"], bench.hub.root_pem());

    let shown = bench.get("/devices/pump-1").await;
    assert_eq!(shown["certificates"][0]["id"], issued["certificate_id"]);
    assert_eq!(shown["certificates"][0]["status"], "active");
    assert_eq!(
        shown["certificates"][0]["policies"],
        json!(["device-default"])
    );
    assert_eq!(shown["certificates"][0]["devices"], json!(["pump-1"]));
    assert_eq!(shown["device"]["connected"], false);

    let again = bench
        .ask("POST", "/devices", json!({ "id": "pump-1" }))
        .await;
    Bench::check(&again, 409);
    assert_eq!(again.1["reason"], "device.exists");
    bench.add("pump-2").await;
    let listed = bench.get("/devices?limit=1").await;
    assert_eq!(listed["items"][0]["id"], "pump-1");
    let rest = bench
        .get(&format!(
            "/devices?after={}",
            listed["next"].as_str().unwrap()
        ))
        .await;
    assert_eq!(rest["items"][0]["id"], "pump-2");
    assert_eq!(rest["next"], Value::Null);
}

#[tokio::test]
async fn a_device_with_an_unknown_policy_is_not_half_added() {
    let bench = Bench::new();
    let body = json!({ "id": "pump-1", "policy": "none" });
    let answer = bench.ask("POST", "/devices", body).await;
    Bench::check(&answer, 404);
    assert_eq!(answer.1["reason"], "policy.not-found");
    let answer = bench.ask("GET", "/devices/pump-1", Value::Null).await;
    Bench::check(&answer, 404);
    assert_eq!(bench.get("/certificates").await["items"], json!([]));
}

#[tokio::test]
async fn disabling_and_removing_a_device_take_its_certificates_along() {
    let bench = Bench::new();
    let id = bench.add("pump-1").await["certificate_id"].clone();
    for (verb, status) in [("disable", "inactive"), ("enable", "active")] {
        let path = format!("/devices/pump-1/{verb}");
        let answer = bench.ask("POST", &path, Value::Null).await;
        Bench::check(&answer, 200);
        assert_eq!(answer.1["certificates"][0]["status"], status);
    }
    let path = format!("/certificates/{}/revoke", id.as_str().unwrap());
    let answer = bench.ask("POST", &path, Value::Null).await;
    assert_eq!(answer.1["status"], "revoked");
    let answer = bench
        .ask("POST", "/devices/pump-1/enable", Value::Null)
        .await;
    Bench::check(&answer, 409);
    assert_eq!(answer.1["reason"], "device.no-certificate");

    Bench::check(
        &bench.ask("DELETE", "/devices/pump-1", Value::Null).await,
        200,
    );
    assert_eq!(bench.get("/devices").await["items"], json!([]));
    assert_eq!(bench.get("/certificates").await["items"], json!([]));
    let policy = bench.get("/policies/device-default").await;
    assert_eq!(policy["targets"], json!([]));
}

#[tokio::test]
async fn policies_are_created_attached_and_detached() {
    let bench = Bench::new();
    bench.add("pump-1").await;
    let new = |document: &str| json!({ "name": "pumps", "document": document });
    let answer = bench.ask("POST", "/policies", new("all")).await;
    Bench::check(&answer, 400);
    assert_eq!(answer.1["reason"], "policy.malformed");
    Bench::check(&bench.ask("POST", "/policies", new("nothing")).await, 200);
    assert_eq!(bench.get("/policies/pumps").await["document"], "nothing");
    for (verb, targets) in [("attach", 1), ("attach", 1), ("detach", 0)] {
        let path = format!("/policies/pumps/{verb}");
        let answer = bench
            .ask("POST", &path, json!({ "device": "pump-1" }))
            .await;
        Bench::check(&answer, 200);
        let shown = bench.get("/policies/pumps").await;
        assert_eq!(shown["targets"].as_array().unwrap().len(), targets);
    }
    let names = bench.get("/policies").await;
    assert_eq!(names["items"][0]["name"], "device-default");
    assert_eq!(names["items"][1]["name"], "pumps");
}

#[tokio::test]
async fn a_question_is_answered_with_the_decision() {
    let bench = Bench::new();
    bench.add("pump-1").await;
    let question = json!({ "device": "pump-1", "action": "publish", "topic": "a" });
    let answer = bench.ask("POST", "/explain", question).await;
    Bench::check(&answer, 200);
    assert_eq!(answer.1["allowed"], false);
    assert_eq!(answer.1["answers"][0]["decision"]["outcome"], "not-allowed");
    for (question, status) in [
        (json!({ "device": "pump-1", "action": "publish" }), 400),
        (
            json!({ "device": "pump-1", "action": "connect", "topic": "a" }),
            400,
        ),
        (
            json!({ "device": "pump-1", "action": "publish", "topic": "a/#" }),
            400,
        ),
        (
            json!({ "device": "pump-1", "action": "subscribe", "topic": "a/#" }),
            200,
        ),
        (json!({ "device": "pump-2", "action": "connect" }), 404),
        (json!({ "device": "pump 2", "action": "connect" }), 400),
        (json!({ "device": "pump-1", "action": "dance" }), 400),
    ] {
        let answer = bench.ask("POST", "/explain", question.clone()).await;
        assert_eq!(answer.0, status, "{question}: {}", answer.1);
    }
}

#[tokio::test]
async fn a_watcher_sees_what_is_retained_and_then_what_is_published() {
    let bench = Bench::new();
    let publish = async |body: Value| {
        let answer = bench.ask("POST", "/publish", body).await;
        Bench::check(&answer, 200);
    };
    publish(json!({ "topic": "a/1", "text": "kept", "retain": true })).await;
    let answer = bench.send("GET", "/tail?filter=a/%23", Value::Null).await;
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    let mut lines = answer.into_body();
    let line = next_line(&mut lines).await;
    assert_eq!(
        (&line["text"], &line["retained"]),
        (&"kept".into(), &true.into())
    );
    publish(json!({ "topic": "b/1", "text": "elsewhere" })).await;
    publish(json!({ "topic": "a/2", "base64": "/w==", "qos": 1 })).await;
    let line = next_line(&mut lines).await;
    assert_eq!(line["topic"], "a/2");
    assert_eq!(
        (&line["base64"], &line["text"]),
        (&"/w==".into(), &Value::Null)
    );
    assert_eq!(
        (&line["qos"], &line["retained"]),
        (&1.into(), &false.into())
    );
    assert_eq!(bench.hub.figures().subscriptions, 1);
    drop(lines);
    let figures = bench.hub.figures();
    assert_eq!((figures.subscriptions, figures.sessions), (0, 0));
}

#[tokio::test]
async fn topics_are_spelled_as_the_operator_does() {
    let bench = Bench::new();
    let answer = bench.send("GET", "/tail?filter=$$/x", Value::Null).await;
    let mut lines = answer.into_body();
    let body = json!({ "topic": "$$/x", "text": "hello" });
    Bench::check(&bench.ask("POST", "/publish", body).await, 200);
    assert_eq!(next_line(&mut lines).await["topic"], "$$/x");
}

#[tokio::test]
async fn an_answer_that_goes_on_ends_when_the_hub_stops() {
    let bench = Bench::new();
    for path in ["/tail?filter=a", "/trace?follow=true"] {
        let bench = Bench::new();
        let answer = bench.send("GET", path, Value::Null).await;
        bench.hub.close_all();
        let rest = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(rest.is_empty(), "{path}");
    }
    drop(bench);
}

#[tokio::test]
async fn the_trace_tells_what_happened_and_goes_on() {
    let bench = Bench::new();
    let record = |kind, client_id: &str| {
        let subject = Subject {
            client_id: Some(client_id.parse().unwrap()),
            ..Subject::default()
        };
        bench.hub.record(
            kind,
            subject,
            ReasonId("test.test"),
            "it happened".into(),
            None,
        );
    };
    record(Kind::Connected, "a");
    record(Kind::PublishRefused, "b");
    let all = bench.ask("GET", "/trace", Value::Null).await.1;
    assert_eq!(all.as_str().unwrap().lines().count(), 2);
    let answer = bench
        .send("GET", "/trace?failed=true&follow=true", Value::Null)
        .await;
    let mut lines = answer.into_body();
    assert_eq!(next_line(&mut lines).await["client_id"], "b");
    record(Kind::Connected, "c");
    record(Kind::ConnectRefused, "d");
    let line = next_line(&mut lines).await;
    assert_eq!(
        (&line["client_id"], &line["failed"]),
        (&"d".into(), &true.into())
    );
    assert_eq!(line["entry"]["kind"], "connect-refused");
    let status = bench.get("/status").await;
    assert_eq!(
        (&status["refusals"], &status["version"]),
        (&2.into(), &"9.9.9".into())
    );
}

#[tokio::test]
async fn a_device_s_timeline_begins_where_it_is_asked_to() {
    let bench = Bench::new();
    let subject = Subject {
        client_id: Some("pump-1".parse().unwrap()),
        ..Subject::default()
    };
    let reason = ReasonId("test.test");
    bench
        .hub
        .record(Kind::Connected, subject, reason, "it came".into(), None);
    // The store writes in order, so that this makes the record readable.
    bench.add("pump-1").await;
    let all = bench.get("/devices/pump-1/timeline").await;
    assert_eq!(all["items"][0]["message"], "it came");
    let path = format!("/devices/pump-1/timeline?since={}", NOW.millis() + 1);
    assert_eq!(bench.get(&path).await["items"], json!([]));
}

#[tokio::test]
async fn a_reset_hub_is_empty_and_works() {
    let bench = Bench::new();
    bench.add("pump-1").await;
    let kept = json!({ "topic": "a", "text": "kept", "retain": true });
    Bench::check(&bench.ask("POST", "/publish", kept).await, 200);
    let root = bench.hub.root_pem();
    bench.hub.reset().unwrap();
    for path in ["/devices", "/certificates", "/policies"] {
        assert_eq!(bench.get(path).await["items"], json!([]), "{path}");
    }
    assert_eq!(bench.hub.root_pem(), root);
    let answer = bench.send("GET", "/tail?filter=a", Value::Null).await;
    let mut lines = answer.into_body();
    let new = json!({ "topic": "a", "text": "new" });
    Bench::check(&bench.ask("POST", "/publish", new).await, 200);
    assert_eq!(next_line(&mut lines).await["text"], "new");
    bench.add("pump-1").await;
}

#[tokio::test]
async fn every_published_route_is_served_and_answers_json() {
    let bench = Bench::new();
    for route in api::ROUTES {
        let path = route.path.replace("{id}", "x").replace("{name}", "x");
        let path = path.strip_prefix("/api/v1").unwrap();
        let answer = bench.send(route.method, path, Value::Null).await;
        assert_ne!(answer.status(), 405, "{} {path}", route.method);
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        let value: Value = serde_json::from_slice(&text).unwrap_or(Value::Null);
        assert_ne!(
            value["reason"], "http.unknown-path",
            "{} {path}",
            route.method
        );
        let wrong = bench.ask("PATCH", path, Value::Null).await;
        Bench::check(&wrong, 405);
        assert_eq!(wrong.1["reason"], "http.wrong-method");
    }
    let unknown = bench.ask("GET", "/nothing", Value::Null).await;
    Bench::check(&unknown, 404);
    assert_eq!(unknown.1["reason"], "http.unknown-path");
    assert_eq!(bench.get("/openapi.json").await, api::openapi());
}

#[test]
fn every_kind_of_refusal_has_a_status_of_an_error() {
    for kind in RefusalKind::ALL {
        let status = status_of(kind);
        assert!(
            status.is_client_error() || status.is_server_error(),
            "{kind:?}"
        );
    }
}
