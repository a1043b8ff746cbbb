//! The registry as operators change it, and what live connections feel of it.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests; the lint knows only the tests themselves"
)]

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use broker::{CloseReason, SubscriptionOptions};
use hub::{
    Activation, Caller, ConnectRequest, Connection, Credentials, Disconnect, DisconnectReason, Hub,
    HubConfig, InvalidPolicy, Item, NewDevice, NewGroup, PageRequest, PeerFacts, PolicyLanguage,
    SubscribeRequest,
    clock::{Clock, FakeClock},
};
use model::{
    CertificateId, ClientId, DeviceId, GroupName, PolicyName, ReasonId, Refusal, Timestamp,
    TypeName, limits::Profile,
};
use mqtt_proto::{QoS, packet::RetainHandling};
use policy::{Action, Document, Effect, Pattern, ResourcePattern, Statement, Variable, Wildcards};
use registry::{
    Attachment, AttachmentKind, AttributeChange, CertificateStatus, DeviceChange, EventFamily,
    GroupChange, PolicyTarget, Principal, Resource, TagChange, TypeChange,
};
use store::{DeviceFilter, GroupFilter, Order};

/// A policy is `allow` and a pattern of resources.
struct Patterns;

impl policy::Spelling for Patterns {
    fn action(&self, _: Action) -> &'static str {
        "act"
    }

    fn statement(&self, _: Action, _: &policy::Resource<'_>) -> String {
        String::new()
    }
}

impl PolicyLanguage for Patterns {
    fn parse(&self, text: &str) -> Result<Document, InvalidPolicy> {
        let Some(pattern) = text.strip_prefix("allow ") else {
            return Err(InvalidPolicy {
                at: "0".into(),
                message: "expected allow".into(),
            });
        };
        let parsed = Pattern::parse(pattern, Wildcards::On, &|_| Variable::Unknown).unwrap();
        Ok(Document {
            statements: vec![Statement {
                sid: None,
                effect: Effect::Allow,
                actions: Action::ALL.into_iter().collect(),
                resources: vec![ResourcePattern {
                    spelled: pattern.into(),
                    patterns: vec![parsed],
                    elsewhere: None,
                }],
                conditions: Vec::new(),
                text: text.into(),
            }],
        })
    }

    fn topic<'a>(&self, canonical: &'a str) -> Cow<'a, str> {
        canonical.into()
    }

    fn filter<'a>(&self, canonical: &'a str) -> Cow<'a, str> {
        canonical.into()
    }
}

struct World {
    clock: Arc<FakeClock>,
    hub: Hub,
    operator: Caller,
}

fn world() -> World {
    let clock = Arc::new(FakeClock::at(Timestamp::from_seconds(1_800_000_000)));
    let (authority, _) = ca::Authority::create(clock.now()).unwrap();
    let hub = Hub::open(
        store::Store::open_temporary().unwrap(),
        authority,
        Arc::clone(&clock) as Arc<dyn Clock>,
        Arc::new(Patterns),
        HubConfig {
            profile: Profile::Standard,
            account: "000000000000".into(),
        },
    )
    .unwrap();
    World {
        clock,
        hub,
        operator: Caller::operator("admin", None),
    }
}

impl World {
    async fn device(&self, id: &str) -> registry::DeviceRecord {
        let new = NewDevice {
            id: device_id(id),
            device_type: None,
            attributes: BTreeMap::new(),
        };
        self.hub.create_device(&self.operator, new).await.unwrap()
    }

    async fn certificate(&self) -> registry::CertificateRecord {
        let key = ca::DeviceKey::P256;
        let issued = self
            .hub
            .issue_certificate(&self.operator, "device", key, Activation::Active)
            .await
            .unwrap();
        assert!(issued.private_key.expose().contains("PRIVATE KEY"));
        issued.certificate
    }

    async fn policy(&self, name: &str, document: &str) -> Result<hub::PolicyDetails, Refusal> {
        let name = policy_name(name);
        let tags = BTreeMap::new();
        self.hub
            .create_policy(&self.operator, name, document.into(), tags)
            .await
    }

    async fn attach(&self, policy: &str, target: PolicyTarget) -> Result<(), Refusal> {
        self.hub
            .attach_policy(&self.operator, &policy_name(policy), &target)
            .await
    }

    async fn attach_device(&self, device: &str, id: CertificateId, kind: AttachmentKind) {
        let attachment = Attachment {
            device: device_id(device),
            principal: Principal::Certificate(id),
            kind,
        };
        self.hub
            .attach_principal(&self.operator, attachment)
            .await
            .unwrap();
    }

    async fn connect(&self, id: &CertificateId, client: &str) -> Result<Connection, Refusal> {
        let record = self.hub.certificate(&self.operator, id).unwrap();
        let certificate = x509::certificate_from_pem(&record.pem).unwrap();
        let caller = self.hub.authenticate(
            &Credentials::Certificate(certificate.der().into()),
            Some(ClientId::new(client).unwrap()),
            PeerFacts {
                address: ([127, 0, 0, 1], 1).into(),
                server_name: None,
            },
        )?;
        let request = ConnectRequest {
            clean_start: true,
            session_expiry: Duration::ZERO,
            keep_alive_seconds: 0,
            protocol_level: 5,
            will: None,
        };
        self.hub.connect(caller, request).await
    }

    /// A connected device that everything is allowed to, by policy `all` on its certificate.
    async fn live(&self) -> (CertificateId, Connection) {
        let certificate = self.certificate().await;
        self.policy("all", "allow *").await.unwrap();
        self.attach("all", PolicyTarget::Certificate(certificate.id))
            .await
            .unwrap();
        let connection = self.connect(&certificate.id, "c").await.unwrap();
        (certificate.id, connection)
    }
}

fn device_id(id: &str) -> DeviceId {
    id.parse().unwrap()
}

fn group_name(name: &str) -> GroupName {
    name.parse().unwrap()
}

fn policy_name(name: &str) -> PolicyName {
    name.parse().unwrap()
}

fn reason<T>(result: Result<T, Refusal>) -> &'static str {
    result.err().map_or("done", |refusal| refusal.reason.0)
}

/// Why the connection is to end, as the stable reason; `None` while it lives.
fn closed(connection: &mut Connection) -> Option<&'static str> {
    match connection.poll_next(&mut Context::from_waker(Waker::noop()), true) {
        Poll::Ready(Item::Close(CloseReason::NoLongerAllowed(refusal))) => Some(refusal.reason.0),
        Poll::Ready(other) => panic!("{other:?}"),
        Poll::Pending => None,
    }
}

fn end(connection: Connection) {
    connection.end(Disconnect {
        reason: DisconnectReason::ConnectionLost,
        send_will: false,
        session_expiry: None,
        because: (ReasonId("test.lost"), "lost".into()),
    });
}

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
