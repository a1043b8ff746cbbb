//! The records: created, changed, listed, deleted.

use std::{
    collections::BTreeMap,
    task::{Context, Poll, Waker},
    time::Duration,
};

use broker::SubscriptionOptions;
use hub::{Activation, Item, NewDevice, NewGroup, PageRequest, SubscribeRequest, clock::Clock};
use model::TypeName;
use mqtt_proto::{QoS, packet::RetainHandling};
use registry::{
    AttachmentKind, AttributeChange, CertificateStatus, DeviceChange, EventFamily, GroupChange,
    PolicyTarget, Principal, Resource, TagChange, TypeChange,
};
use store::{DeviceFilter, GroupFilter, Order};

use crate::world::{device_id, end, group_name, policy_name, reason, world};

#[tokio::test]
async fn a_group_with_children_stays_and_a_deleted_one_takes_its_policies_away() {
    let world = world();
    let (hub, operator) = (&world.hub, &world.operator);
    let create = |name: &str, parent: Option<&str>| NewGroup {
        name: group_name(name),
        parent: parent.map(group_name),
        parts: GroupChange::default(),
        tags: [("team".to_owned(), "a".to_owned())].into(),
    };
    hub.create_group(operator, create("a", None)).await.unwrap();
    hub.create_group(operator, create("b", Some("a")))
        .await
        .unwrap();
    assert_eq!(
        reason(hub.create_group(operator, create("b", None)).await),
        "group.exists"
    );
    assert_eq!(
        reason(hub.create_group(operator, create("c", Some("x"))).await),
        "group.not-found"
    );
    world.policy("p", "allow *").await.unwrap();
    world
        .attach("p", PolicyTarget::Group(group_name("b")))
        .await
        .unwrap();
    let attached = |name: &str| {
        let (target, page) = (
            PolicyTarget::Group(group_name(name)),
            PageRequest::default(),
        );
        hub.attached_policies(operator, &target, true, &page)
            .map(|page| page.items.len())
    };
    assert_eq!((attached("a").unwrap(), attached("b").unwrap()), (0, 1));
    let (a, b) = (group_name("a"), group_name("b"));
    assert_eq!(
        reason(hub.delete_group(operator, &a, None).await),
        "group.has-children"
    );
    assert_eq!(
        reason(hub.delete_policy(operator, &policy_name("p")).await),
        "policy.attached"
    );
    assert_eq!(
        reason(hub.delete_group(operator, &b, Some(7)).await),
        "group.version-conflict"
    );
    hub.delete_group(operator, &b, Some(1)).await.unwrap();
    hub.delete_group(operator, &b, None).await.unwrap();
    hub.delete_policy(operator, &policy_name("p"))
        .await
        .unwrap();
    let names = |is_recursive| {
        let filter = GroupFilter {
            is_recursive,
            ..GroupFilter::default()
        };
        let groups = hub.groups(operator, &filter, &PageRequest::default());
        groups.unwrap().items.len()
    };
    assert_eq!((names(true), names(false)), (1, 1));
}

#[tokio::test]
async fn a_device_is_created_once_changed_by_version_and_deleted_without_principals() {
    let world = world();
    let (hub, operator) = (&world.hub, &world.operator);
    let new = |value: &str| NewDevice {
        id: device_id("pump"),
        device_type: None,
        attributes: [("site".to_owned(), value.to_owned())].into(),
    };
    let first = hub.create_device(operator, new("a")).await.unwrap();
    assert_eq!(hub.create_device(operator, new("a")).await.unwrap(), first);
    assert_eq!(
        reason(hub.create_device(operator, new("b")).await),
        "device.exists"
    );
    let change = |expected_version| DeviceChange {
        attributes: Some(AttributeChange::Merge(
            [("hall".to_owned(), "2".to_owned())].into(),
        )),
        expected_version,
        ..DeviceChange::default()
    };
    let id = device_id("pump");
    let changed = hub
        .update_device(operator, &id, change(Some(1)))
        .await
        .unwrap();
    assert_eq!((changed.version, changed.attributes.as_map().len()), (2, 2));
    assert_eq!(
        reason(hub.update_device(operator, &id, change(Some(1))).await),
        "device.version-conflict"
    );
    let typed = DeviceChange {
        device_type: Some(Some(TypeName::new("nothing").unwrap())),
        ..DeviceChange::default()
    };
    assert_eq!(
        reason(hub.update_device(operator, &id, typed).await),
        "type.not-found"
    );
    let certificate = world.certificate().await;
    world
        .attach_device("pump", certificate.id, AttachmentKind::Exclusive)
        .await;
    assert_eq!(
        reason(hub.delete_device(operator, &id, None).await),
        "device.has-principals"
    );
    let principal = Principal::Certificate(certificate.id);
    hub.detach_principal(operator, &id, &principal)
        .await
        .unwrap();
    assert_eq!(
        reason(hub.detach_principal(operator, &id, &principal).await),
        "attachment.not-found"
    );
    hub.delete_device(operator, &id, Some(2)).await.unwrap();
    hub.delete_device(operator, &id, None).await.unwrap();
    assert_eq!(reason(hub.device(operator, &id)), "device.not-found");
    // A new device of the same name is another device.
    assert_ne!(
        hub.create_device(operator, new("a")).await.unwrap().uuid,
        first.uuid
    );
}

#[tokio::test]
async fn lists_are_cut_into_pages_and_filtered() {
    let world = world();
    let (hub, operator) = (&world.hub, &world.operator);
    hub.create_type(
        operator,
        TypeName::new("pump").unwrap(),
        TypeChange::default(),
        BTreeMap::new(),
    )
    .await
    .unwrap();
    for n in 0..25 {
        let new = NewDevice {
            id: device_id(&format!("d{n:02}")),
            device_type: (n % 5 == 0).then(|| TypeName::new("pump").unwrap()),
            attributes: [("site".to_owned(), format!("hall_{n}"))].into(),
        };
        hub.create_device(operator, new).await.unwrap();
    }
    let list = |filter: DeviceFilter| {
        let mut request = PageRequest {
            token: None,
            limit: Some(4),
        };
        let mut found = Vec::new();
        loop {
            let page = hub.devices(operator, &filter, &request).unwrap();
            found.extend(page.items.into_iter().map(|device| device.id.to_string()));
            request.token = page.next;
            if request.token.is_none() {
                return found;
            }
        }
    };
    assert_eq!(list(DeviceFilter::default()).len(), 25);
    let typed = DeviceFilter {
        device_type: Some(TypeName::new("pump").unwrap()),
        ..DeviceFilter::default()
    };
    assert_eq!(list(typed), ["d00", "d05", "d10", "d15", "d20"]);
    let by_site = |value: &str, is_prefix| DeviceFilter {
        attribute: Some(store::AttributeFilter {
            name: "site".into(),
            value: value.into(),
            is_prefix,
        }),
        ..DeviceFilter::default()
    };
    assert_eq!(list(by_site("hall_2", false)), ["d02"]);
    assert_eq!(
        list(by_site("hall_2", true)),
        ["d02", "d20", "d21", "d22", "d23", "d24"]
    );
    // `_` is no wildcard of the database here.
    assert!(list(by_site("hall__", true)).is_empty());
}

#[tokio::test]
async fn certificates_are_listed_by_age_and_deleted_only_out_of_use() {
    let world = world();
    let (hub, operator) = (&world.hub, &world.operator);
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(world.certificate().await.id);
        world.clock.advance(Duration::from_secs(1));
    }
    let list = |order| {
        let mut request = PageRequest {
            token: None,
            limit: Some(2),
        };
        let mut found = Vec::new();
        loop {
            let page = hub.certificates(operator, None, order, &request).unwrap();
            found.extend(page.items.into_iter().map(|certificate| certificate.id));
            request.token = page.next;
            if request.token.is_none() {
                return found;
            }
        }
    };
    assert_eq!(list(Order::Ascending), made);
    let mut newest_first = made.clone();
    newest_first.reverse();
    assert_eq!(list(Order::Descending), newest_first);

    let id = made[0];
    world.policy("p", "allow *").await.unwrap();
    world
        .attach("p", PolicyTarget::Certificate(id))
        .await
        .unwrap();
    let delete = |force| hub.delete_certificate(operator, &id, force);
    assert_eq!(reason(delete(true).await), "certificate.active");
    hub.set_certificate_status(operator, &id, CertificateStatus::Inactive)
        .await
        .unwrap();
    assert_eq!(reason(delete(false).await), "certificate.attached");
    delete(true).await.unwrap();
    assert_eq!(reason(delete(true).await), "certificate.not-found");
    hub.delete_policy(operator, &policy_name("p"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_foreign_certificate_is_registered_once() {
    let world = world();
    let (hub, operator) = (&world.hub, &world.operator);
    let pem = world.certificate().await.pem;
    let register = |pem| hub.register_certificate(operator, pem, CertificateStatus::Active);
    assert_eq!(reason(register(&pem).await), "certificate.exists");
    assert_eq!(reason(register("nonsense").await), "certificate.malformed");
    assert_eq!(
        reason(
            hub.certify_request(operator, "nonsense", Activation::Active)
                .await
        ),
        "request.malformed"
    );
}

#[tokio::test]
async fn a_policy_keeps_five_versions_and_is_deleted_with_one() {
    let world = world();
    let (hub, operator) = (&world.hub, &world.operator);
    assert_eq!(
        reason(world.policy("p", "nonsense").await),
        "policy.malformed"
    );
    world.policy("p", "allow a").await.unwrap();
    assert_eq!(reason(world.policy("p", "allow a").await), "policy.exists");
    let name = policy_name("p");
    for version in 2..=5 {
        let text = format!("allow {version}");
        let details = hub
            .create_policy_version(operator, &name, text, version == 3)
            .await;
        assert_eq!(details.unwrap().version.version, version);
    }
    let sixth = hub.create_policy_version(operator, &name, "allow 6".into(), true);
    assert_eq!(reason(sixth.await), "policy.versions");
    assert_eq!(
        hub.policy(operator, &name).unwrap().version.document,
        "allow 3"
    );
    assert_eq!(
        reason(hub.delete_policy_version(operator, &name, 3).await),
        "policy.default-version"
    );
    assert_eq!(
        reason(hub.delete_policy(operator, &name).await),
        "policy.not-empty"
    );
    for version in [1, 2, 4, 5] {
        hub.delete_policy_version(operator, &name, version)
            .await
            .unwrap();
    }
    assert_eq!(
        reason(hub.policy_version(operator, &name, 4)),
        "policy.version-not-found"
    );
    hub.delete_policy(operator, &name).await.unwrap();
}

#[tokio::test]
async fn only_operators_change_the_registry() {
    let world = world();
    let (id, connection) = world.live().await;
    let device = connection.caller();
    let hub = &world.hub;
    assert_eq!(reason(hub.certificate(device, &id)), "operator.required");
    let status = CertificateStatus::Revoked;
    assert_eq!(
        reason(hub.set_certificate_status(device, &id, status).await),
        "operator.required"
    );
    end(connection);
}

#[tokio::test]
async fn tags_belong_to_what_exists_and_go_with_it() {
    let world = world();
    let (hub, operator) = (&world.hub, &world.operator);
    let resource = Resource::Policy(policy_name("p"));
    let set = || TagChange::Set([("team".to_owned(), "a".to_owned())].into());
    assert_eq!(
        reason(hub.change_tags(operator, resource.clone(), set()).await),
        "policy.not-found"
    );
    world.policy("p", "allow *").await.unwrap();
    hub.change_tags(operator, resource.clone(), set())
        .await
        .unwrap();
    let tags = || {
        let page = hub.tags(operator, &resource, &PageRequest::default());
        page.unwrap().items.len()
    };
    assert_eq!(tags(), 1);
    hub.delete_policy(operator, &policy_name("p"))
        .await
        .unwrap();
    world.policy("p", "allow *").await.unwrap();
    assert_eq!(tags(), 0);
}

#[tokio::test]
async fn changes_are_announced_when_their_family_is_switched_on() {
    let world = world();
    let (hub, operator) = (&world.hub, &world.operator);
    let (_, mut connection) = world.live().await;
    let (granted, ack) = connection.subscribe(vec![SubscribeRequest {
        filter: "$hub/events/#".parse().unwrap(),
        spelled: "$hub/events/#".into(),
        options: SubscriptionOptions {
            qos: QoS::AtMostOnce,
            no_local: false,
            retain_as_published: false,
            identifier: None,
        },
        retain_handling: RetainHandling::Send,
    }]);
    granted[0].as_ref().unwrap();
    ack.await.unwrap();
    world.device("silent").await;
    hub.update_event_configurations(operator, [(EventFamily::Device, true)].into())
        .await
        .unwrap();
    let device = world.device("loud").await;
    hub.delete_device(operator, &device.id, None).await.unwrap();
    let mut heard = Vec::new();
    while let Poll::Ready(Item::Deliver(delivery)) =
        connection.poll_next(&mut Context::from_waker(Waker::noop()), true)
    {
        let topic = delivery.message.topic.to_string();
        if topic.contains("/thing/") {
            let text = String::from_utf8(delivery.message.payload.to_vec()).unwrap();
            assert!(
                text.contains(&device.uuid) && text.contains("THING_EVENT"),
                "{text}"
            );
            heard.push(topic);
        }
    }
    assert_eq!(
        heard,
        [
            "$hub/events/thing/loud/created",
            "$hub/events/thing/loud/deleted"
        ]
    );
    end(connection);
}
