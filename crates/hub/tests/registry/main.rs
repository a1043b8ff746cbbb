//! The registry as operators change it, and what live connections feel of it.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests; the lint knows only the tests themselves"
)]

mod claims;
mod joining;
mod records;
mod world;

use std::{
    collections::BTreeMap,
    task::{Context, Waker},
    time::Duration,
};

use hub::{NewGroup, PageRequest, PublishRequest, clock::Clock};
use model::limits;
use mqtt_proto::{PublishProperties, QoS};
use registry::{AttachmentKind, CertificateStatus, GroupChange, PolicyTarget};

use crate::world::{
    closed, device_id, end, ephemeral, group_name, lasting, lose, policy_name, reason, subscribe,
    world, world_over,
};

#[tokio::test]
async fn revoking_a_certificate_ends_its_connection_before_the_operator_is_answered() {
    let world = world();
    let (id, mut connection) = world.live().await;
    assert_eq!(closed(&mut connection), None);
    let revoked = CertificateStatus::Revoked;
    world
        .hub
        .set_certificate_status(&world.operator, &id, revoked)
        .await
        .unwrap();
    assert_eq!(closed(&mut connection), Some("certificate.revoked"));
    end(connection);
    assert_eq!(reason(world.connect(&id, "c").await), "certificate.revoked");
}

#[tokio::test]
async fn a_certificate_revoked_while_its_bearer_connects_ends_the_connection() {
    let world = world();
    let (id, connection) = world.live().await;
    end(connection);
    let caller = world.authenticate(&id, "c").unwrap();
    world.revoke(&id).await;
    let mut connection = world.hub.connect(caller, ephemeral()).await.unwrap();
    assert_eq!(closed(&mut connection), Some("certificate.revoked"));
    end(connection);
}

#[tokio::test]
async fn a_change_that_leaves_a_connecting_client_its_rights_does_not_end_it() {
    let world = world();
    let (id, connection) = world.live().await;
    end(connection);
    let caller = world.authenticate(&id, "c").unwrap();
    world.policy("more", "allow topic/more").await.unwrap();
    world
        .attach("more", PolicyTarget::Certificate(id))
        .await
        .unwrap();
    let mut connection = world.hub.connect(caller, ephemeral()).await.unwrap();
    assert_eq!(closed(&mut connection), None);
    end(connection);
}

#[tokio::test]
async fn a_resumed_session_keeps_only_subscriptions_that_are_still_allowed() {
    let world = world();
    let id = world.certificate().await.id;
    for (name, text) in [
        ("connect", "allow client/*"),
        ("topics", "allow topic/*"),
        ("a", "allow topicfilter/a"),
        ("b", "allow topicfilter/b"),
    ] {
        world.policy(name, text).await.unwrap();
        world
            .attach(name, PolicyTarget::Certificate(id))
            .await
            .unwrap();
    }
    let connect = async || {
        let caller = world.authenticate(&id, "c").unwrap();
        world.hub.connect(caller, lasting()).await.unwrap()
    };
    let mut connection = connect().await;
    for filter in ["a", "b"] {
        subscribe(&mut connection, filter).await.unwrap();
    }
    end(connection);
    world
        .hub
        .detach_policy(
            &world.operator,
            &policy_name("b"),
            &PolicyTarget::Certificate(id),
        )
        .await
        .unwrap();
    let mut connection = connect().await;
    assert!(connection.session_present());
    let info = world.hub.connection_info(connection.client_id()).unwrap();
    let left: Vec<_> = info
        .subscriptions
        .iter()
        .map(|(filter, _)| filter.as_str())
        .collect();
    assert_eq!(left, ["a"]);
    assert_eq!(closed(&mut connection), None);
    end(connection);
}

#[tokio::test]
async fn the_will_of_a_certificate_that_was_revoked_meanwhile_is_not_published() {
    for revoked in [false, true] {
        let world = world();
        let (id, connection) = world.live().await;
        end(connection);
        let caller = world.authenticate(&id, "c").unwrap();
        lose(world.hub.connect(caller, lasting()).await.unwrap());
        if revoked {
            world.revoke(&id).await;
        }
        world.clock.advance(Duration::from_secs(60));
        world.hub.sweep().await;
        let mut watch = world
            .hub
            .watch(&world.operator, "wills/c".parse().unwrap())
            .unwrap();
        let heard = std::pin::pin!(watch.next()).poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(heard.is_pending(), revoked);
    }
}

#[tokio::test]
async fn a_will_that_waits_over_a_restart_is_judged_when_it_is_published() {
    for (attached, revoked) in [(false, false), (false, true), (true, false), (true, true)] {
        let folder = tempfile::tempdir().unwrap();
        let before = world_over(store::Store::open(folder.path()).unwrap());
        let (id, connection) = before.live().await;
        end(connection);
        if attached {
            before.device("c").await;
            let kind = AttachmentKind::NonExclusive;
            before.attach_device("c", id, kind).await;
        }
        let caller = before.authenticate(&id, "c").unwrap();
        lose(before.hub.connect(caller, lasting()).await.unwrap());
        drop(before);
        let world = world_over(store::Store::open(folder.path()).unwrap());
        if revoked {
            world.revoke(&id).await;
        }
        world.clock.advance(Duration::from_secs(60));
        world.hub.sweep().await;
        let mut watch = world
            .hub
            .watch(&world.operator, "wills/c".parse().unwrap())
            .unwrap();
        let heard = std::pin::pin!(watch.next()).poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(heard.is_pending(), revoked, "attached: {attached}");
    }
}

#[tokio::test]
async fn a_flood_of_refusals_is_counted_and_not_all_recorded() {
    use hub::timeline::Kind;
    let world = world();
    let id = world.certificate().await.id;
    world.policy("connect", "allow client/*").await.unwrap();
    world
        .attach("connect", PolicyTarget::Certificate(id))
        .await
        .unwrap();
    let mut connection = world.connect(&id, "c").await.unwrap();
    let request = PublishRequest {
        topic: "t".parse().unwrap(),
        payload: "x".into(),
        qos: QoS::AtMostOnce,
        retain: false,
        properties: PublishProperties::default(),
        packet_id: None,
    };
    for _ in 0..50 {
        assert!(connection.publish(request.clone()).is_err());
    }
    assert_eq!(
        world.recorded(Kind::PublishRefused),
        limits::RECORDS_PER_SECOND as usize
    );
    assert_eq!(world.recorded(Kind::RefusalsOmitted), 0);
    world.clock.advance(Duration::from_secs(1));
    assert!(connection.publish(request).is_err());
    assert_eq!(world.recorded(Kind::RefusalsOmitted), 1);
    let counted = world.hub.figures().happened;
    assert!(counted.contains(&(Kind::PublishRefused, 51)));
    end(connection);
}

#[tokio::test]
async fn a_policy_that_is_detached_or_replaced_ends_what_it_allowed() {
    let world = world();
    let (id, mut connection) = world.live().await;
    let name = policy_name("all");
    let (hub, operator) = (&world.hub, &world.operator);
    hub.create_policy_version(operator, &name, "allow nothing".into(), false)
        .await
        .unwrap();
    assert_eq!(closed(&mut connection), None);
    hub.set_default_policy_version(operator, &name, 2)
        .await
        .unwrap();
    assert!(closed(&mut connection).is_some());
    end(connection);
    hub.set_default_policy_version(operator, &name, 1)
        .await
        .unwrap();
    let mut connection = world.connect(&id, "c").await.unwrap();
    let target = PolicyTarget::Certificate(id);
    hub.detach_policy(operator, &name, &target).await.unwrap();
    assert!(closed(&mut connection).is_some());
    end(connection);
}

#[tokio::test]
async fn the_policies_of_a_group_count_for_the_devices_below_it() {
    let world = world();
    let (hub, operator) = (&world.hub, &world.operator);
    let certificate = world.certificate().await;
    world.device("c").await;
    world
        .attach_device("c", certificate.id, AttachmentKind::NonExclusive)
        .await;
    for (name, parent) in [("site", None), ("hall", Some("site"))] {
        let new = NewGroup {
            name: group_name(name),
            parent: parent.map(group_name),
            parts: GroupChange::default(),
            tags: BTreeMap::new(),
        };
        let details = hub.create_group(operator, new).await.unwrap();
        assert_eq!(details.ancestors.len(), usize::from(parent.is_some()));
    }
    world.policy("p", "allow *").await.unwrap();
    world
        .attach("p", PolicyTarget::Group(group_name("site")))
        .await
        .unwrap();
    assert!(world.connect(&certificate.id, "c").await.is_err());
    let hall = vec![group_name("hall")];
    hub.update_groups_of_device(operator, &device_id("c"), hall.clone(), vec![])
        .await
        .unwrap();
    let mut connection = world.connect(&certificate.id, "c").await.unwrap();
    // Under another client id the certificate does not speak for the device.
    assert!(world.connect(&certificate.id, "d").await.is_err());
    let page = PageRequest::default();
    let site = group_name("site");
    let devices = |recursive| {
        hub.devices_in_group(operator, &site, recursive, &page)
            .unwrap()
            .items
    };
    assert_eq!(devices(true), [device_id("c")]);
    assert!(devices(false).is_empty());
    hub.update_groups_of_device(operator, &device_id("c"), vec![], hall)
        .await
        .unwrap();
    assert!(closed(&mut connection).is_some());
    end(connection);
}
