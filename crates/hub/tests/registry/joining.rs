//! Authorities of the operator's own, and devices that join by them.

use hub::{AttemptQuery, Caller, Credentials, NewCa, PageRequest, PeerFacts, clock::Clock};
use model::{ClientId, Refusal, Timestamp};
use registry::{AutoRegistration, CaChange, CaMode, CaStatus, CertificateStatus};

use crate::world::{World, ephemeral, reason, world};

const DAYS: u64 = 24 * 3600;

/// A factory with an authority of its own.
struct Factory(ca::Authority);

impl Factory {
    fn new(world: &World) -> Self {
        Self(ca::Authority::create(world.clock.now()).unwrap().0)
    }

    /// A certificate, by its common name, that begins this many days from the clock's epoch.
    fn certificate(&self, name: &str, since: Timestamp) -> x509::Certificate {
        let until = Timestamp::from_seconds(since.seconds() + 10 * DAYS);
        let subject = ca::Subject::common_name(name);
        let made = self
            .0
            .issue_device(&subject, ca::DeviceKey::P256, since, until);
        made.unwrap().certificate
    }

    fn pem(&self, name: &str, since: Timestamp) -> String {
        x509::certificate_to_pem(self.certificate(name, since).der())
    }

    fn new_ca(&self, verification: Option<String>) -> NewCa {
        NewCa {
            pem: self.0.root_pem(),
            mode: if verification.is_some() {
                CaMode::Default
            } else {
                CaMode::SniOnly
            },
            verification_pem: verification,
            status: CaStatus::Active,
            auto_registration: AutoRegistration::Enabled,
            registration: None,
        }
    }

    async fn registered(world: &World) -> Self {
        let factory = Self::new(world);
        let code = world.hub.registration_code(&world.operator).await.unwrap();
        let proof = factory.pem(&code, world.clock.now());
        let new = factory.new_ca(Some(proof));
        world.hub.register_ca(&world.operator, new).await.unwrap();
        factory
    }

    async fn change(&self, world: &World, change: CaChange) {
        let id = self.0.root().id();
        let changed = world.hub.update_ca(&world.operator, &id, change).await;
        changed.unwrap();
    }
}

/// Tries to connect with `certificate`.
async fn admit(
    world: &World,
    certificate: &x509::Certificate,
    server_name: Option<&str>,
) -> Result<Caller, Refusal> {
    let credentials = Credentials::Certificate(certificate.der().into());
    let peer = PeerFacts {
        address: ([127, 0, 0, 1], 1).into(),
        server_name: server_name.map(Into::into),
    };
    let client_id = ClientId::new("pump-1").unwrap();
    world.hub.admit(&credentials, client_id, peer).await
}

/// The newest attempt that is kept: where it failed, if it did.
async fn last_attempt(world: &World) -> hub::AttemptRecord {
    for _ in 0..1000 {
        let all = (AttemptQuery::default(), PageRequest::default());
        let found = world.hub.attempts(&world.operator, &all.0, &all.1).unwrap();
        if let Some(attempt) = found.items.into_iter().next() {
            return attempt;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("no attempt was kept");
}

#[tokio::test]
async fn an_authority_is_registered_by_whoever_can_sign_with_it() {
    let world = world();
    let (hub, operator, now) = (&world.hub, &world.operator, world.clock.now());
    let factory = Factory::new(&world);
    let code = hub.registration_code(operator).await.unwrap();
    assert_eq!(code.len(), 64);
    assert_eq!(hub.registration_code(operator).await.unwrap(), code);
    let register = |new| hub.register_ca(operator, new);

    let leaf = NewCa {
        pem: factory.pem("a leaf", now),
        ..factory.new_ca(None)
    };
    assert_eq!(reason(register(leaf).await), "ca.not-a-ca");
    let missing = NewCa {
        mode: CaMode::Default,
        ..factory.new_ca(None)
    };
    assert_eq!(reason(register(missing).await), "ca.verification");
    let impostor = Factory::new(&world).pem(&code, now);
    let new = factory.new_ca(Some(impostor));
    assert_eq!(reason(register(new).await), "ca.verification");
    let new = factory.new_ca(Some(factory.pem("another code", now)));
    assert_eq!(reason(register(new).await), "ca.registration-code");

    let new = || factory.new_ca(Some(factory.pem(&code, now)));
    hub.delete_registration_code(operator).await.unwrap();
    assert_eq!(reason(register(new()).await), "ca.registration-code");
    let code = hub.registration_code(operator).await.unwrap();
    let new = || factory.new_ca(Some(factory.pem(&code, now)));
    let ca = register(new()).await.unwrap();
    assert_eq!(reason(register(new()).await), "ca.exists");
    assert_eq!(reason(hub.delete_ca(operator, &ca.id).await), "ca.active");
    let change = CaChange {
        status: Some(CaStatus::Inactive),
        ..CaChange::default()
    };
    let changed = hub.update_ca(operator, &ca.id, change).await.unwrap();
    assert_eq!(changed.customer_version, 2);
    hub.delete_ca(operator, &ca.id).await.unwrap();
    assert_eq!(reason(hub.ca(operator, &ca.id)), "ca.not-found");
}

#[tokio::test]
async fn a_certificate_of_an_active_authority_is_registered_on_request() {
    let world = world();
    let (hub, operator, now) = (&world.hub, &world.operator, world.clock.now());
    let factory = Factory::registered(&world).await;
    let active = CertificateStatus::Active;
    let register = |pem: String, ca_pem: Option<String>, status| async move {
        hub.register_certificate_of_ca(operator, &pem, ca_pem.as_deref(), status)
            .await
    };
    let root = Some(factory.0.root_pem());
    let pem = factory.pem("a", now);
    let made = register(pem.clone(), root.clone(), active).await.unwrap();
    assert_eq!(made.ca_id, Some(factory.0.root().id()));
    assert_eq!(
        reason(register(pem, None, active).await),
        "certificate.exists"
    );
    register(factory.pem("b", now), None, active).await.unwrap();
    // Of the same name, with another key.
    let other = Factory::new(&world);
    let theirs = other.pem("c", now);
    assert_eq!(
        reason(register(theirs.clone(), None, active).await),
        "ca.signature"
    );
    assert_eq!(
        reason(register(theirs.clone(), root, active).await),
        "ca.signature"
    );
    let other_root = Some(other.0.root_pem());
    assert_eq!(
        reason(register(theirs, other_root, active).await),
        "ca.not-registered"
    );
    let pending = CertificateStatus::PendingActivation;
    assert_eq!(
        reason(register(factory.pem("d", now), None, pending).await),
        "certificate.pending"
    );
    let inactive = CaChange {
        status: Some(CaStatus::Inactive),
        ..CaChange::default()
    };
    factory.change(&world, inactive).await;
    assert_eq!(
        reason(register(factory.pem("e", now), None, active).await),
        "ca.inactive"
    );
}

#[tokio::test]
async fn a_device_joins_when_it_first_connects_and_is_let_in_once_activated() {
    let world = world();
    let factory = Factory::registered(&world).await;
    let certificate = factory.certificate("pump-1", world.clock.now());
    let id = certificate.id();
    for _ in 0..2 {
        assert_eq!(
            reason(admit(&world, &certificate, None).await),
            "certificate.pending-activation"
        );
        let record = world.hub.certificate(&world.operator, &id).unwrap();
        assert_eq!(record.status, CertificateStatus::PendingActivation);
        assert_eq!(record.ca_id, Some(factory.0.root().id()));
    }
    let attempt = last_attempt(&world).await;
    assert_eq!(attempt.refused, None);
    assert_eq!(attempt.certificate, Some(id.to_string()));
    world
        .hub
        .set_certificate_status(&world.operator, &id, CertificateStatus::Active)
        .await
        .unwrap();
    let caller = admit(&world, &certificate, None).await.unwrap();
    // It has no policy yet.
    assert!(world.hub.connect(caller, ephemeral()).await.is_err());
}

#[tokio::test]
async fn nobody_joins_without_an_authority_that_lets_them() {
    let world = world();
    let now = world.clock.now();
    let factory = Factory::registered(&world).await;
    // The impostor's root has the same name as the factory's.
    let impostor = Factory::new(&world).certificate("a", now);
    assert_eq!(
        reason(admit(&world, &impostor, None).await),
        "provisioning.issuer"
    );
    let attempt = last_attempt(&world).await;
    assert_eq!(attempt.refused.as_deref(), Some("provisioning.issuer"));
    assert_eq!(attempt.detail["steps"][0]["step"], "issuer");
    assert_eq!(attempt.detail["not_reached"][0], "server-name");

    let early = Timestamp::from_seconds(now.seconds() + DAYS);
    let not_yet = factory.certificate("b", early);
    assert_eq!(
        reason(admit(&world, &not_yet, None).await),
        "provisioning.validity"
    );
    let certificate = factory.certificate("c", now);
    let off = CaChange {
        auto_registration: Some(AutoRegistration::Disabled),
        ..CaChange::default()
    };
    factory.change(&world, off).await;
    assert_eq!(
        reason(admit(&world, &certificate, None).await),
        "provisioning.not-automatic"
    );
    let inactive = CaChange {
        status: Some(CaStatus::Inactive),
        auto_registration: Some(AutoRegistration::Enabled),
        registration: None,
    };
    factory.change(&world, inactive).await;
    assert_eq!(
        reason(admit(&world, &certificate, None).await),
        "provisioning.ca-inactive"
    );
    for refused in [&impostor, &not_yet, &certificate] {
        let kept = world.hub.certificate(&world.operator, &refused.id());
        assert_eq!(reason(kept), "certificate.not-found");
    }
}

#[tokio::test]
async fn an_unproved_authority_needs_server_name_indication() {
    let world = world();
    let factory = Factory::new(&world);
    let new = factory.new_ca(None);
    world.hub.register_ca(&world.operator, new).await.unwrap();
    let certificate = factory.certificate("a", world.clock.now());
    assert_eq!(
        reason(admit(&world, &certificate, None).await),
        "provisioning.server-name"
    );
    assert_eq!(
        reason(admit(&world, &certificate, Some("hub.example")).await),
        "certificate.pending-activation"
    );
}

const TEMPLATE: &str = r#"{
    "Parameters": {
        "AWS::IoT::Certificate::CommonName": {"Type": "String"},
        "AWS::IoT::Certificate::Id": {"Type": "String"}
    },
    "Resources": {
        "thing": {"Type": "AWS::IoT::Thing", "Properties": {
            "ThingName": {"Ref": "AWS::IoT::Certificate::CommonName"}}},
        "certificate": {"Type": "AWS::IoT::Certificate", "Properties": {
            "CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}, "Status": "ACTIVE"}},
        "policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyDocument": "allow *"}}
    }
}"#;

async fn with_template(world: &World, template: &str) -> Factory {
    let factory = Factory::registered(world).await;
    let change = CaChange {
        registration: Some(Some(registry::RegistrationConfig {
            template: Some(registry::TemplateSource::Body(template.into())),
            role: None,
        })),
        ..CaChange::default()
    };
    factory.change(world, change).await;
    factory
}

#[tokio::test]
async fn a_template_makes_all_of_a_device_when_it_first_connects() {
    let world = world();
    let factory = with_template(&world, TEMPLATE).await;
    let certificate = factory.certificate("pump-1", world.clock.now());
    assert_eq!(
        reason(admit(&world, &certificate, None).await),
        "provisioning.connect-again"
    );
    let attempt = last_attempt(&world).await;
    assert_eq!(attempt.flow, "just-in-time-provisioning");
    assert_eq!(attempt.refused, None);
    let caller = admit(&world, &certificate, None).await.unwrap();
    assert_eq!(caller.access().device.as_ref().unwrap().as_str(), "pump-1");
    crate::world::end(world.hub.connect(caller, ephemeral()).await.unwrap());
}

#[tokio::test]
async fn nothing_half_provisioned_remains() {
    let world = world();
    let missing = TEMPLATE.replace(r#""PolicyDocument": "allow *""#, r#""PolicyName": "none""#);
    let factory = with_template(&world, &missing).await;
    let certificate = factory.certificate("pump-1", world.clock.now());
    assert_eq!(
        reason(admit(&world, &certificate, None).await),
        "provisioning.template"
    );
    let attempt = last_attempt(&world).await;
    assert_eq!(attempt.refused.as_deref(), Some("policy.not-found"));
    assert_eq!(attempt.detail["not_reached"][0], "attached");
    let (hub, operator) = (&world.hub, &world.operator);
    assert_eq!(
        reason(hub.certificate(operator, &certificate.id())),
        "certificate.not-found"
    );
    let device = crate::world::device_id("pump-1");
    assert_eq!(reason(hub.device(operator, &device)), "device.not-found");
}

#[tokio::test]
async fn a_template_is_about_the_certificate_that_asks_and_no_other() {
    let world = world();
    let other = world.certificate().await.id.to_string();
    let stolen = TEMPLATE.replace(
        r#"{"Ref": "AWS::IoT::Certificate::Id"}, "Status": "ACTIVE""#,
        &format!(r#""{other}", "Status": "INACTIVE""#),
    );
    let factory = with_template(&world, &stolen).await;
    let certificate = factory.certificate("pump-1", world.clock.now());
    assert_eq!(
        reason(admit(&world, &certificate, None).await),
        "provisioning.template"
    );
    let attempt = last_attempt(&world).await;
    assert_eq!(attempt.refused.as_deref(), Some("template.certificate"));
}
