//! A hub with operators, devices and policies.

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
    HubConfig, InvalidPolicy, Item, NewDevice, PeerFacts, PolicyLanguage, SubscribeRequest, Will,
    clock::{Clock, FakeClock},
};
use model::{
    CertificateId, ClientId, DeviceId, GroupName, PolicyName, ReasonId, Refusal, Timestamp,
    limits::Profile,
};
use mqtt_proto::{PublishProperties, QoS, packet::RetainHandling};
use policy::{Action, Document, Effect, Pattern, ResourcePattern, Statement, Variable, Wildcards};
use registry::{Attachment, AttachmentKind, CertificateStatus, PolicyTarget, Principal};

/// A policy is `allow` and a pattern of resources.
pub(crate) struct Patterns;

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

pub(crate) struct World {
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) hub: Hub,
    pub(crate) operator: Caller,
}

pub(crate) fn world() -> World {
    world_over(store::Store::open_temporary().unwrap())
}

pub(crate) fn world_over(store: store::Store) -> World {
    let clock = Arc::new(FakeClock::at(Timestamp::from_seconds(1_800_000_000)));
    let (authority, _) = ca::Authority::create(clock.now()).unwrap();
    let hub = Hub::open(
        store,
        authority,
        Arc::clone(&clock) as Arc<dyn Clock>,
        Arc::new(Patterns),
        HubConfig {
            profile: Profile::Standard,
            account: "000000000000".into(),
            require_cosigned: None,
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
    pub(crate) async fn device(&self, id: &str) -> registry::DeviceRecord {
        let new = NewDevice {
            id: device_id(id),
            device_type: None,
            attributes: BTreeMap::new(),
        };
        self.hub.create_device(&self.operator, new).await.unwrap()
    }

    pub(crate) async fn certificate(&self) -> registry::CertificateRecord {
        let key = ca::DeviceKey::P256;
        let issued = self
            .hub
            .issue_certificate(&self.operator, "device", key, Activation::Active)
            .await
            .unwrap();
        assert!(issued.private_key.expose().contains("PRIVATE KEY"));
        issued.certificate
    }

    pub(crate) async fn policy(
        &self,
        name: &str,
        document: &str,
    ) -> Result<hub::PolicyDetails, Refusal> {
        let name = policy_name(name);
        let tags = BTreeMap::new();
        self.hub
            .create_policy(&self.operator, name, document.into(), tags)
            .await
    }

    pub(crate) async fn attach(&self, policy: &str, target: PolicyTarget) -> Result<(), Refusal> {
        self.hub
            .attach_policy(&self.operator, &policy_name(policy), &target)
            .await
    }

    pub(crate) async fn attach_device(
        &self,
        device: &str,
        id: CertificateId,
        kind: AttachmentKind,
    ) {
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

    pub(crate) async fn connect(
        &self,
        id: &CertificateId,
        client: &str,
    ) -> Result<Connection, Refusal> {
        let caller = self.authenticate(id, client)?;
        self.hub.connect(caller, ephemeral()).await
    }

    pub(crate) fn authenticate(&self, id: &CertificateId, client: &str) -> Result<Caller, Refusal> {
        let record = self.hub.certificate(&self.operator, id).unwrap();
        let certificate = x509::certificate_from_pem(&record.pem).unwrap();
        self.hub.authenticate(
            &Credentials::Certificate(certificate.der().into()),
            Some(ClientId::new(client).unwrap()),
            PeerFacts {
                address: ([127, 0, 0, 1], 1).into(),
                server_name: None,
            },
        )
    }

    pub(crate) async fn revoke(&self, id: &CertificateId) {
        self.hub
            .set_certificate_status(&self.operator, id, CertificateStatus::Revoked)
            .await
            .unwrap();
    }

    /// How many entries of this kind the timeline has.
    pub(crate) fn recorded(&self, kind: hub::timeline::Kind) -> usize {
        let entries = self.hub.recent_entries(0);
        entries.iter().filter(|entry| entry.kind == kind).count()
    }

    /// A connected device that everything is allowed to, by policy `all` on its certificate.
    pub(crate) async fn live(&self) -> (CertificateId, Connection) {
        let certificate = self.certificate().await;
        self.policy("all", "allow *").await.unwrap();
        self.attach("all", PolicyTarget::Certificate(certificate.id))
            .await
            .unwrap();
        let connection = self.connect(&certificate.id, "c").await.unwrap();
        (certificate.id, connection)
    }
}

pub(crate) fn ephemeral() -> ConnectRequest {
    ConnectRequest {
        clean_start: true,
        session_expiry: Duration::ZERO,
        keep_alive_seconds: 0,
        protocol_level: 5,
        will: None,
    }
}

/// A session of an hour, and a will after a minute.
pub(crate) fn lasting() -> ConnectRequest {
    ConnectRequest {
        clean_start: false,
        session_expiry: Duration::from_secs(3600),
        will: Some(Will {
            topic: "wills/c".parse().unwrap(),
            payload: "gone".into(),
            qos: QoS::AtLeastOnce,
            retain: true,
            delay: Duration::from_secs(60),
            properties: PublishProperties::default(),
        }),
        ..ephemeral()
    }
}

pub(crate) async fn subscribe(connection: &mut Connection, filter: &str) -> Result<QoS, Refusal> {
    let (mut granted, ack) = connection.subscribe(vec![SubscribeRequest {
        filter: filter.parse().unwrap(),
        spelled: filter.into(),
        options: SubscriptionOptions {
            qos: QoS::AtLeastOnce,
            no_local: false,
            retain_as_published: false,
            identifier: None,
        },
        retain_handling: RetainHandling::Send,
    }]);
    ack.await.unwrap();
    granted.remove(0)
}

pub(crate) fn lose(connection: Connection) {
    connection.end(Disconnect {
        reason: DisconnectReason::ConnectionLost,
        send_will: true,
        session_expiry: None,
        because: (ReasonId("test.lost"), "lost".into()),
    });
}

pub(crate) fn device_id(id: &str) -> DeviceId {
    id.parse().unwrap()
}

pub(crate) fn group_name(name: &str) -> GroupName {
    name.parse().unwrap()
}

pub(crate) fn policy_name(name: &str) -> PolicyName {
    name.parse().unwrap()
}

pub(crate) fn reason<T>(result: Result<T, Refusal>) -> &'static str {
    result.err().map_or("done", |refusal| refusal.reason.0)
}

/// Why the connection is to end, as the stable reason; `None` while it lives.
pub(crate) fn closed(connection: &mut Connection) -> Option<&'static str> {
    match connection.poll_next(&mut Context::from_waker(Waker::noop()), true) {
        Poll::Ready(Item::Close(CloseReason::NoLongerAllowed(refusal))) => Some(refusal.reason.0),
        Poll::Ready(other) => panic!("{other:?}"),
        Poll::Pending => None,
    }
}

pub(crate) fn end(connection: Connection) {
    connection.end(Disconnect {
        reason: DisconnectReason::ConnectionLost,
        send_will: false,
        session_expiry: None,
        because: (ReasonId("test.lost"), "lost".into()),
    });
}
