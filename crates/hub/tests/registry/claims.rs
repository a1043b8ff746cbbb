//! Devices that are provisioned by claim.

use std::{
    collections::BTreeMap,
    task::{Context, Poll, Waker},
    time::Duration,
};

use hub::{
    ClaimRequest, Connection, Encoding, Intent, Item, NewTemplate, PublishRequest, clock::Clock,
};
use model::TemplateName;
use mqtt_proto::{PublishProperties, QoS};
use registry::{CertificateStatus, TemplateKind};
use serde_json::{Value, json};

use crate::world::{World, device_id, end, reason, world};

const TEMPLATE: &str = r#"{
    "Parameters": {"Serial": {"Type": "String"}},
    "Resources": {
        "thing": {"Type": "AWS::IoT::Thing", "Properties": {
            "ThingName": {"Fn::Sub": "pump-${Serial}"}}},
        "certificate": {"Type": "AWS::IoT::Certificate", "Properties": {
            "CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}}}
    }
}"#;

fn template() -> TemplateName {
    "pumps".parse().unwrap()
}

async fn world_with_template() -> World {
    let world = world();
    let new = NewTemplate {
        name: template(),
        kind: TemplateKind::Fleet,
        description: String::new(),
        enabled: true,
        role: String::new(),
        body: TEMPLATE.into(),
    };
    let made = world.hub.create_template(&world.operator, new).await;
    made.unwrap();
    world
}

/// Asks, and reads what comes back to this connection.
async fn ask(connection: &mut Connection, asked: ClaimRequest, payload: Value) -> (String, Value) {
    let topic = match &asked {
        ClaimRequest::Create { .. } => "$hub/certificates/create/json".to_owned(),
        ClaimRequest::CreateFromRequest => "$hub/certificates/create-from-csr/json".to_owned(),
        ClaimRequest::Provision(name) => {
            format!("$hub/provisioning-templates/{name}/provision/json")
        }
    };
    let message = PublishRequest {
        topic: topic.parse().unwrap(),
        payload: payload.to_string().into(),
        qos: QoS::AtMostOnce,
        retain: false,
        properties: PublishProperties::default(),
        packet_id: None,
    };
    let intent = Intent::Claim(message, asked, Encoding::Json);
    connection.handle(intent).await.unwrap().await.unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(Item::Deliver(delivery)) = connection.poll_next(&mut context, true) else {
        panic!("no answer came");
    };
    let answer = serde_json::from_slice(&delivery.message.payload).unwrap();
    let (_, tail) = delivery.message.topic.as_str().rsplit_once('/').unwrap();
    (tail.to_owned(), answer)
}

async fn create(connection: &mut Connection) -> Value {
    let common_name = "device";
    let (outcome, made) = ask(connection, ClaimRequest::Create { common_name }, json!({})).await;
    assert_eq!(outcome, "accepted", "{made}");
    made
}

async fn provision(connection: &mut Connection, made: &Value, serial: &str) -> (String, Value) {
    let payload = json!({
        "certificateOwnershipToken": made["certificateOwnershipToken"],
        "parameters": BTreeMap::from([("Serial", serial)]),
    });
    ask(connection, ClaimRequest::Provision(template()), payload).await
}

#[tokio::test]
async fn a_token_counts_once_and_for_an_hour() {
    let world = world_with_template().await;
    let (hub, operator) = (&world.hub, &world.operator);
    let (_, mut connection) = world.live().await;
    let (first, late) = (create(&mut connection).await, create(&mut connection).await);
    let status = |made: &Value| {
        let id = made["certificateId"].as_str().unwrap().parse().unwrap();
        hub.certificate(operator, &id).map(|record| record.status)
    };
    assert_eq!(
        status(&first).unwrap(),
        CertificateStatus::PendingActivation
    );
    let (outcome, answer) = provision(&mut connection, &first, "1").await;
    assert_eq!(
        (outcome.as_str(), &answer["thingName"]),
        ("accepted", &json!("pump-1"))
    );
    assert_eq!(status(&first).unwrap(), CertificateStatus::Active);
    let (outcome, answer) = provision(&mut connection, &first, "2").await;
    assert_eq!(outcome, "rejected");
    assert_eq!(answer["errorCode"], "InvalidCertificateOwnershipToken");

    world.clock.advance(Duration::from_hours(1));
    let (outcome, answer) = provision(&mut connection, &late, "3").await;
    assert_eq!(outcome, "rejected");
    assert_eq!(answer["errorCode"], "InvalidCertificateOwnershipToken");
    let absent = hub.device(operator, &device_id("pump-3"));
    assert_eq!(reason(absent), "device.not-found");
    // The next to ask sweeps up what the late one has left, and nothing else.
    create(&mut connection).await;
    assert_eq!(reason(status(&late)), "certificate.not-found");
    assert_eq!(status(&first).unwrap(), CertificateStatus::Active);
    end(connection);
}

#[tokio::test]
async fn what_cannot_be_read_is_rejected_and_nothing_is_made() {
    let world = world_with_template().await;
    let (_, mut connection) = world.live().await;
    let made = create(&mut connection).await;
    for (payload, code) in [
        (json!([]), "InvalidPayload"),
        (json!({"certificateOwnershipToken": 7}), "InvalidPayload"),
        (
            json!({"certificateOwnershipToken": made["certificateOwnershipToken"],
                "parameters": {"Serial": 7}}),
            "InvalidPayload",
        ),
        (
            json!({"certificateOwnershipToken": made["certificateOwnershipToken"]}),
            "InvalidParameters",
        ),
        (
            json!({"certificateOwnershipToken": "guessed", "parameters": {"Serial": "1"}}),
            "InvalidCertificateOwnershipToken",
        ),
    ] {
        let asked = ClaimRequest::Provision(template());
        let (outcome, answer) = ask(&mut connection, asked, payload.clone()).await;
        assert_eq!(outcome, "rejected", "{payload}");
        assert_eq!(answer["errorCode"], code, "{payload}");
    }
    let request = json!({"certificateSigningRequest": "x".repeat(1_000_000)});
    let (outcome, _) = ask(&mut connection, ClaimRequest::CreateFromRequest, request).await;
    assert_eq!(outcome, "rejected");
    let (outcome, _) = provision(&mut connection, &made, "1").await;
    assert_eq!(outcome, "accepted");
    end(connection);
}
