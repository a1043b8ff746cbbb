//! What a device could do, and what policies would decide, asked of the hub in AWS's language.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ca::{Authority, DeviceKey, Subject};
use dialect_aws::policies::AwsSpelling;
use hub::{
    AuthorizationCheck, AuthorizationTest, Caller, Credentials, Explanation, Hub, HubConfig,
    PeerFacts, Question, act, clock::FakeClock,
};
use model::{CertificateId, DeviceId, Outcome, PolicyName, Refusal, Timestamp, limits::Profile};
use policy::{Action, ResourceKind};
use registry::{
    Attachment, AttachmentKind, AttributeChange, CertificateRecord, CertificateStatus,
    DeviceRecord, GroupRecord, PolicyRecord, PolicyTarget, Principal, Validity,
};

const NOW: Timestamp = Timestamp::from_seconds(1_795_255_200);
const DAY: Duration = Duration::from_secs(24 * 3600);

const OWN: &str = r#"{"Version":"2012-10-17","Statement":[
{"Effect":"Allow","Action":"iot:Connect","Resource":"arn:aws:iot:us-east-1:123456789012:client/${iot:Connection.Thing.ThingName}"},
{"Effect":"Allow","Action":["iot:Publish","iot:Receive"],"Resource":"arn:aws:iot:us-east-1:123456789012:topic/$aws/things/${iot:Connection.Thing.ThingName}/shadow/*"},
{"Effect":"Allow","Action":"iot:Subscribe","Resource":"arn:aws:iot:us-east-1:123456789012:topicfilter/$aws/things/${iot:Connection.Thing.ThingName}/*"}]}"#;

const HOME: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}}"#;

const QUIET: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"iot:Publish","Resource":"*/loud"}}"#;

#[tokio::test]
async fn a_device_may_do_what_its_policy_says_in_both_spellings_of_a_topic() {
    let fleet = Fleet::new().await;
    fleet
        .enrol("pump-1", &[(CertificateStatus::Active, &["own"])])
        .await;
    for question in [
        Question::Connect,
        Question::Publish("$hub/devices/pump-1/shadow/update".parse().unwrap()),
        Question::Subscribe("$hub/devices/pump-1/#".parse().unwrap()),
        Question::Receive("$hub/devices/pump-1/shadow/get/accepted".parse().unwrap()),
    ] {
        let [only] = &fleet.explain("pump-1", &question)[..] else {
            panic!("one principal");
        };
        assert_eq!(only.decision.outcome, Outcome::Allowed, "{only:?}");
        assert_eq!(only.connect, None);
    }
}

#[tokio::test]
async fn a_refused_publish_names_the_nearest_statement_and_the_smallest_change() {
    let fleet = Fleet::new().await;
    fleet
        .enrol("pump-1", &[(CertificateStatus::Active, &["own"])])
        .await;
    let question = Question::Publish("$hub/devices/pump-2/shadow/update".parse().unwrap());
    let decision = &fleet.explain("pump-1", &question)[0].decision;
    assert_eq!(
        decision.summary(),
        "iot:Publish on topic/$aws/things/pump-2/shadow/update not allowed by policy own statement \
         1: resource topic/$aws/things/${iot:Connection.Thing.ThingName}/shadow/* does not match \
         topic/$aws/things/pump-2/shadow/update (with its variables: \
         topic/$aws/things/pump-1/shadow/*)"
    );
    assert_eq!(
        decision.because.remedy.as_deref(),
        Some(
            r#"{"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:iot:eu-west-1:123456789012:topic/$aws/things/pump-2/shadow/update"}"#
        )
    );
}

#[tokio::test]
async fn every_step_before_the_policies_has_its_reason() {
    let fleet = Fleet::new().await;
    for (device, certificates, reason) in [
        ("bare", &[][..], "device.no-certificate"),
        (
            "inactive",
            &[(CertificateStatus::Inactive, &["own"][..])],
            "certificate.inactive",
        ),
        (
            "revoked",
            &[(CertificateStatus::Revoked, &["own"])],
            "certificate.revoked",
        ),
        (
            "pending",
            &[(CertificateStatus::PendingActivation, &["own"])],
            "certificate.pending-activation",
        ),
        (
            "without-policy",
            &[(CertificateStatus::Active, &[])],
            "policy.no-policy",
        ),
        (
            "good",
            &[(CertificateStatus::Active, &["own"])],
            "policy.allowed",
        ),
    ] {
        fleet.enrol(device, certificates).await;
        let [only] = &fleet.explain(device, &Question::Connect)[..] else {
            panic!("one answer");
        };
        assert_eq!(only.decision.reason.0, reason);
        let allowed = only.decision.outcome.is_allowed();
        assert_eq!(allowed, reason == "policy.allowed");
        assert_eq!(only.decision.because.remedy.is_none(), allowed, "{only:?}");
        assert_eq!(only.decision.resource, format!("client/{device}"));
    }
    fleet.hub.clock().advance(DAY * 400);
    let expired = fleet.explain("good", &Question::Connect);
    assert_eq!(expired[0].decision.reason.0, "certificate.expired");
}

#[tokio::test]
async fn each_certificate_of_a_device_is_answered_for_itself() {
    let fleet = Fleet::new().await;
    let certificates = [
        (CertificateStatus::Active, &["own"][..]),
        (CertificateStatus::Revoked, &["own"]),
    ];
    fleet.enrol("pump-1", &certificates).await;
    let answers = fleet.explain("pump-1", &Question::Connect);
    let mut reasons: Vec<_> = answers.iter().map(|one| one.decision.reason.0).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["certificate.revoked", "policy.allowed"]);
}

#[tokio::test]
async fn a_device_that_cannot_connect_is_told_so_whatever_was_asked() {
    let fleet = Fleet::new().await;
    fleet
        .enrol("pump-1", &[(CertificateStatus::Active, &["home"])])
        .await;
    let question = Question::Publish("a".parse().unwrap());
    let answer = &fleet.explain("pump-1", &question)[0];
    let connect = answer.connect.as_ref().unwrap();
    assert_eq!(connect.action, "iot:Connect");
    assert_eq!(connect.reason.0, "policy.condition");
    assert_eq!(
        connect.because.miss.as_deref(),
        Some(
            "the condition IpAddress on aws:SourceIp fails: it has no value, the caller's address \
             is not known"
        )
    );
}

#[tokio::test]
async fn policies_of_groups_count_for_their_devices() {
    let fleet = Fleet::new().await;
    fleet
        .enrol("pump-1", &[(CertificateStatus::Active, &["own"])])
        .await;
    let before = fleet.explain("pump-1", &Question::Publish("loud".parse().unwrap()));
    assert_eq!(before[0].decision.outcome, Outcome::ImplicitlyDenied);
    fleet.group("pumps", "pump-1", "quiet").await;
    let after = fleet.explain("pump-1", &Question::Publish("a/loud".parse().unwrap()));
    assert_eq!(after[0].decision.reason.0, "policy.explicit-deny");
    assert_eq!(after[0].decision.because.policy.as_deref(), Some("quiet"));
    let operator = Caller::operator("test", None);
    let device = DeviceId::new("pump-1").unwrap();
    let names = |principal: Option<&Principal>, device: Option<&DeviceId>| -> Vec<String> {
        let found = fleet.hub.effective_policies(&operator, principal, device);
        found
            .unwrap()
            .into_iter()
            .map(|one| one.name.to_string())
            .collect()
    };
    let principal = after[0].principal.as_ref();
    assert_eq!(names(principal, None), ["own"]);
    assert_eq!(names(None, Some(&device)), ["quiet"]);
    assert_eq!(names(principal, Some(&device)), ["own", "quiet"]);
}

#[tokio::test]
async fn a_test_tells_which_policies_speak_and_what_it_does_not_know() {
    let fleet = Fleet::new().await;
    let ids = fleet
        .enrol("pump-1", &[(CertificateStatus::Active, &["own", "home"])])
        .await;
    let test = |add: &[&str], skip: &[&str], name: &str| {
        let named = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        let results = fleet.hub.test_authorization(
            &Caller::operator("test", None),
            AuthorizationTest {
                principal: Some(Principal::Certificate(ids[0])),
                client_id: Some("pump-1".parse().unwrap()),
                add: named(add),
                skip: named(skip),
                checks: vec![AuthorizationCheck {
                    action: Action::Publish,
                    kind: ResourceKind::Topic,
                    name: name.into(),
                }],
            },
        );
        let result = results.unwrap().remove(0);
        let texts = |names: &[PolicyName]| {
            names
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        };
        let sides = [&result.allowing, &result.denying, &result.silent].map(|side| texts(side));
        (result.outcome(), sides, result.missing)
    };
    let own = "$aws/things/pump-1/shadow/update";
    for (add, skip, name, outcome, [allowing, denying, silent]) in [
        (&[][..], &[][..], own, Outcome::Allowed, ["own", "", "home"]),
        (
            &[],
            &["own"],
            own,
            Outcome::ImplicitlyDenied,
            ["", "", "home"],
        ),
        (
            &["quiet"],
            &[],
            own,
            Outcome::Allowed,
            ["own", "", "home quiet"],
        ),
        (
            &["quiet"],
            &[],
            "soft",
            Outcome::ImplicitlyDenied,
            ["", "", "home own quiet"],
        ),
        (
            &["quiet"],
            &[],
            "a/loud",
            Outcome::ExplicitlyDenied,
            ["", "quiet", "home own"],
        ),
    ] {
        let (decided, sides, missing) = test(add, skip, name);
        assert_eq!(decided, outcome, "{add:?} {skip:?} {name}");
        assert_eq!(
            sides,
            [allowing, denying, silent],
            "{add:?} {skip:?} {name}"
        );
        assert_eq!(missing, ["aws:SourceIp"]);
    }
}

#[tokio::test]
async fn what_does_not_exist_is_refused_by_name() {
    let fleet = Fleet::new().await;
    let operator = Caller::operator("test", None);
    let device = DeviceId::new("nobody").unwrap();
    let nobody = Principal::Certificate(CertificateId::from_sha256([9; 32]));
    let hub = &fleet.hub;
    let test = |principal: Option<Principal>, add: &str, checks: usize| {
        let check = AuthorizationCheck {
            action: Action::Connect,
            kind: ResourceKind::Client,
            name: "c".into(),
        };
        let add = (!add.is_empty()).then(|| add.parse().unwrap());
        hub.test_authorization(
            &operator,
            AuthorizationTest {
                principal,
                add: add.into_iter().collect(),
                checks: vec![check; checks],
                ..AuthorizationTest::default()
            },
        )
    };
    check(
        hub.explain(&operator, &device, &Question::Connect),
        "device.unknown",
    );
    check(
        hub.effective_policies(&operator, None, Some(&device)),
        "device.unknown",
    );
    check(
        hub.effective_policies(&operator, Some(&nobody), None),
        "certificate.unknown",
    );
    check(test(Some(nobody), "", 1), "certificate.unknown");
    check(test(None, "none", 1), "policy.unknown");
    check(test(None, "", 11), "authorization.too-many-checks");
    assert_eq!(test(None, "home", 10).unwrap().len(), 10);
}

#[tokio::test]
async fn a_device_may_not_ask_about_others() {
    let fleet = Fleet::new().await;
    fleet
        .enrol("pump-1", &[(CertificateStatus::Active, &["own"])])
        .await;
    let der = fleet.last_certificate();
    let peer = PeerFacts {
        address: ([10, 1, 2, 3], 1).into(),
        server_name: None,
    };
    let credentials = Credentials::Certificate(der.into());
    let caller = fleet.hub.authenticate(&credentials, None, peer).unwrap();
    let device = DeviceId::new("pump-1").unwrap();
    let hub = &fleet.hub;
    check(
        hub.explain(&caller, &device, &Question::Connect),
        "operator.required",
    );
    check(
        hub.effective_policies(&caller, None, None),
        "operator.required",
    );
    check(
        hub.test_authorization(&caller, AuthorizationTest::default()),
        "operator.required",
    );
}

#[track_caller]
fn check<T>(result: Result<T, Refusal>, reason: &str) {
    let Err(refusal) = result else {
        panic!("{reason} was expected");
    };
    assert_eq!(refusal.reason.0, reason);
}

/// A hub with three policies, to which devices are added.
struct Fleet {
    hub: Hub,
    authority: Authority,
    issued: std::sync::Mutex<Vec<Vec<u8>>>,
}

impl Fleet {
    async fn new() -> Self {
        let (authority, _) = Authority::create(NOW).unwrap();
        let (hub_authority, _) = Authority::create(NOW).unwrap();
        let language = AwsSpelling {
            account: "123456789012".into(),
            region: "eu-west-1".into(),
        };
        let hub = Hub::open(
            store::Store::open_temporary().unwrap(),
            hub_authority,
            Arc::new(FakeClock::at(NOW)),
            Arc::new(language),
            HubConfig {
                profile: Profile::Standard,
                account: "123456789012".into(),
                require_cosigned: None,
            },
        )
        .unwrap();
        let fleet = Self {
            hub,
            authority,
            issued: std::sync::Mutex::default(),
        };
        for (name, text) in [("own", OWN), ("home", HOME), ("quiet", QUIET)] {
            let name: PolicyName = name.parse().unwrap();
            let (record, version) =
                PolicyRecord::new(name.clone(), text.into(), "g".into(), NOW).unwrap();
            fleet
                .write(move |txn| {
                    txn.put_policy(&record)?;
                    txn.put_policy_version(&name, &version)
                })
                .await;
        }
        fleet
    }

    async fn write(
        &self,
        job: impl FnOnce(&mut store::WriteTxn<'_>) -> Result<(), store::Failure> + Send + 'static,
    ) {
        let operator = Caller::operator("test", None);
        let permit = self
            .hub
            .authorize::<act::ManageDevices>(&operator, "all")
            .unwrap();
        self.hub
            .transact(permit, ledger::Verb::DeviceUpdate, job)
            .await
            .unwrap();
    }

    /// Registers a device with certificates of a status, each with its policies.
    async fn enrol(
        &self,
        device: &str,
        certificates: &[(CertificateStatus, &[&str])],
    ) -> Vec<CertificateId> {
        let device = DeviceId::new(device).unwrap();
        let attributes = AttributeChange::Replace(BTreeMap::new());
        let record = DeviceRecord::new(device.clone(), "u".into(), None, attributes, NOW).unwrap();
        self.write(move |txn| txn.put_device(&record)).await;
        let mut ids = Vec::new();
        for (status, policies) in certificates {
            let validity = Validity {
                not_before: NOW.before(DAY),
                not_after: NOW.after(DAY * 365),
            };
            let identity = self
                .authority
                .issue_device(
                    &Subject::common_name("device"),
                    DeviceKey::P256,
                    validity.not_before,
                    validity.not_after,
                )
                .unwrap();
            let certificate = identity.certificate;
            let id = certificate.id();
            ids.push(id);
            self.issued.lock().unwrap().push(certificate.der().into());
            let record = CertificateRecord {
                id,
                pem: x509::certificate_to_pem(certificate.der()),
                status: *status,
                ca_id: None,
                validity,
                customer_version: 1,
                generation_id: "g".into(),
                created_at: NOW,
                modified_at: NOW,
            };
            let attachment = Attachment {
                device: device.clone(),
                principal: Principal::Certificate(id),
                kind: AttachmentKind::NonExclusive,
            };
            let policies: Vec<PolicyName> =
                policies.iter().map(|name| name.parse().unwrap()).collect();
            self.write(move |txn| {
                txn.put_certificate(&record)?;
                txn.put_attachment(&attachment)?;
                for policy in &policies {
                    txn.attach_policy(policy, &PolicyTarget::Certificate(id))?;
                }
                Ok(())
            })
            .await;
        }
        ids
    }

    /// Makes a group of one device with a policy.
    async fn group(&self, group: &str, device: &str, policy: &str) {
        let (device, policy): (DeviceId, PolicyName) =
            (device.parse().unwrap(), policy.parse().unwrap());
        let group = GroupRecord::new(
            group.parse().unwrap(),
            "u".into(),
            None,
            (0, 0),
            Default::default(),
            NOW,
        )
        .unwrap();
        self.write(move |txn| {
            txn.put_group(&group)?;
            txn.add_to_group(&device, &group.name)?;
            txn.attach_policy(&policy, &PolicyTarget::Group(group.name.clone()))?;
            Ok(())
        })
        .await;
    }

    fn explain(&self, device: &str, question: &Question) -> Vec<Explanation> {
        let operator = Caller::operator("test", None);
        let device = DeviceId::new(device).unwrap();
        self.hub.explain(&operator, &device, question).unwrap()
    }

    fn last_certificate(&self) -> Vec<u8> {
        self.issued.lock().unwrap().last().unwrap().clone()
    }
}
