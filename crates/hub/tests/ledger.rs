//! What the ledger says of what was done.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests; the lint knows only the tests themselves"
)]

use std::{borrow::Cow, collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use hub::{
    Caller, EntryQuery, Hub, HubConfig, InvalidPolicy, LedgerSetup, NamedEntry, NewDevice,
    PeerFacts, PersonKind, PolicyLanguage,
    clock::{Clock, FakeClock},
};
use ledger::Identity;
use model::{Address, Timestamp, limits::Profile};
use registry::{Attachment, AttachmentKind, CertificateStatus, DeviceChange, Principal};
use tlog::{Algorithm, Policy, SignerKey};

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const SEED: [u8; 32] = [9; 32];

/// A language in which nothing can be said.
struct Silence;

impl policy::Spelling for Silence {
    fn action(&self, _: policy::Action) -> &'static str {
        "act"
    }

    fn statement(&self, _: policy::Action, _: &policy::Resource<'_>) -> String {
        String::new()
    }
}

impl PolicyLanguage for Silence {
    fn parse(&self, _: &str) -> Result<policy::Document, InvalidPolicy> {
        Ok(policy::Document {
            statements: Vec::new(),
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
    hub: Hub,
    clock: Arc<FakeClock>,
    operator: Caller,
}

fn open(store: store::Store, clock: &Arc<FakeClock>) -> Hub {
    let (authority, _) = ca::Authority::create(NOW).unwrap();
    Hub::open(
        store,
        authority,
        Arc::clone(clock) as Arc<dyn Clock>,
        Arc::new(Silence),
        HubConfig {
            profile: Profile::Standard,
            account: "000000000000".into(),
            require_cosigned: None,
        },
    )
    .unwrap()
}

fn setup() -> LedgerSetup {
    let key = SignerKey::from_seed("test/ledger", Algorithm::Ed25519, &SEED).unwrap();
    let policy = Policy::of_log(key.verifier().clone());
    LedgerSetup {
        signers: vec![Arc::new(key)],
        policy,
        policy_text: None,
        is_public: false,
        accept_clock: false,
        restored: None,
    }
}

fn operator() -> Caller {
    let address: SocketAddr = "192.0.2.7:4711".parse().unwrap();
    let peer = PeerFacts {
        address,
        server_name: None,
    };
    Caller::operator("alice", Some(peer)).asking("request-1".into())
}

async fn world() -> World {
    let clock = Arc::new(FakeClock::at(NOW));
    let hub = open(store::Store::open_temporary().unwrap(), &clock);
    hub.begin_ledger(setup(), "1", "as it comes").await.unwrap();
    World {
        hub,
        clock,
        operator: operator(),
    }
}

impl World {
    async fn device(&self, id: &str) {
        let new = NewDevice {
            id: id.parse().unwrap(),
            device_type: None,
            attributes: BTreeMap::new(),
        };
        self.hub.create_device(&self.operator, new).await.unwrap();
    }

    fn entries(&self) -> Vec<NamedEntry> {
        let all = EntryQuery::default();
        self.hub.ledger_entries(&self.operator, &all).unwrap().items
    }

    fn verbs(&self) -> Vec<String> {
        self.entries()
            .into_iter()
            .map(|named| named.entry.verb)
            .collect()
    }

    async fn agrees(&self) {
        let compared = self.hub.compare_with_ledger(&self.operator).await.unwrap();
        assert_eq!(compared.differences, [""; 0]);
    }
}

#[tokio::test]
async fn a_change_is_an_entry_with_who_what_and_from_where() {
    let world = world().await;
    assert_eq!(
        world.verbs(),
        ["ledger.begin", "hub.configure", "hub.start"]
    );
    world.device("pump").await;
    let index = world.operator.ledger_index().unwrap();
    let named = world.hub.ledger_entry(&world.operator, index).unwrap();
    assert_eq!(named.entry.verb, "device.create");
    assert_eq!(named.actor.as_deref(), Some("alice"));
    assert_eq!(named.address.as_deref(), Some("192.0.2.7"));
    assert_eq!(named.entry.request.as_deref(), Some("request-1"));
    assert_eq!(named.entry.at, NOW);
    let credential = named.entry.actor.credential.unwrap();
    assert_ne!(Identity::Pseudonym(credential), named.entry.actor.id);
    let [change] = &named.entry.changes[..] else {
        panic!("one object was made: {:?}", named.entry.changes);
    };
    assert_eq!(
        (&*change.object.kind, &*change.object.id),
        ("device", "pump")
    );
    assert!(change.before.is_none() && change.after.is_some());
    // Nothing personal stands in the entry itself.
    let text = String::from_utf8_lossy(&named.bytes);
    assert!(!text.contains("alice") && !text.contains("192.0.2"));
    world.agrees().await;
}

#[tokio::test]
async fn what_changes_nothing_makes_no_entry() {
    let world = world().await;
    world.device("pump").await;
    let before = world.entries().len();
    // AWS: registering the same thing again succeeds.
    let again = operator();
    let new = NewDevice {
        id: "pump".parse().unwrap(),
        device_type: None,
        attributes: BTreeMap::new(),
    };
    world.hub.create_device(&again, new).await.unwrap();
    assert_eq!(again.ledger_index(), None);
    let refused = operator();
    let unknown = "nobody".parse().unwrap();
    let change = DeviceChange::default();
    world
        .hub
        .update_device(&refused, &unknown, change)
        .await
        .unwrap_err();
    assert_eq!(refused.ledger_index(), None);
    assert_eq!(world.entries().len(), before);
}

#[tokio::test]
async fn a_certificate_tells_its_whole_life() {
    let world = world().await;
    world.device("pump").await;
    let issued = world
        .hub
        .provision_device(
            &world.operator,
            "valve".parse().unwrap(),
            ca::DeviceKey::P256,
            hub::DevicePolicy::OrCreated {
                name: "p".parse().unwrap(),
                document: "{}".into(),
            },
        )
        .await
        .unwrap();
    let id = issued.certificate.id;
    let attachment = Attachment {
        device: "pump".parse().unwrap(),
        principal: Principal::Certificate(id),
        kind: AttachmentKind::NonExclusive,
    };
    let attached = world
        .hub
        .attach_principal(&world.operator, attachment)
        .await;
    assert!(attached.is_err(), "it belongs to valve alone");
    world
        .hub
        .set_certificate_status(&world.operator, &id, CertificateStatus::Revoked)
        .await
        .unwrap();
    let about = EntryQuery {
        object: Some(format!("certificate/{id}")),
        ..EntryQuery::default()
    };
    let found = world.hub.ledger_entries(&world.operator, &about).unwrap();
    let verbs: Vec<_> = found.items.iter().map(|named| &*named.entry.verb).collect();
    assert_eq!(verbs, ["device.create", "certificate.revoke"]);
    let by_device = EntryQuery {
        object: Some("device/valve".into()),
        ..EntryQuery::default()
    };
    let found = world.hub.ledger_entries(&world.operator, &by_device);
    let found = found.unwrap();
    let verbs: Vec<_> = found.items.iter().map(|named| &*named.entry.verb).collect();
    assert_eq!(verbs, ["device.create", "certificate.revoke"]);
    world.agrees().await;
}

#[tokio::test]
async fn what_is_desired_of_a_device_is_recorded_and_what_it_reports_is_not() {
    let world = world().await;
    let address = Address {
        device: "pump".parse().unwrap(),
        module: None,
    };
    let update = async |payload: &str| {
        let caller = operator();
        world
            .hub
            .update_shadow(&caller, &address, None, payload.as_bytes())
            .await
            .unwrap();
        caller.ledger_index()
    };
    assert_eq!(update(r#"{"state":{"reported":{"rpm":1}}}"#).await, None);
    let wished = update(r#"{"state":{"desired":{"rpm":2}}}"#).await.unwrap();
    assert_eq!(update(r#"{"state":{"reported":{"rpm":2}}}"#).await, None);
    assert_eq!(update(r#"{"state":{"desired":{"rpm":2}}}"#).await, None);
    let both = update(r#"{"state":{"desired":{"rpm":3},"reported":{"rpm":3}}}"#).await;
    let deleted = operator();
    world
        .hub
        .delete_shadow(&deleted, &address, None)
        .await
        .unwrap();
    let entry = |index| {
        world
            .hub
            .ledger_entry(&world.operator, index)
            .unwrap()
            .entry
    };
    let (wished, both) = (entry(wished), entry(both.unwrap()));
    assert_eq!(wished.verb, "shadow.desired");
    assert_eq!(wished.changes[0].object.of.as_deref(), Some("device/pump"));
    assert_eq!(wished.changes[0].before, None);
    assert_eq!(both.changes[0].before, wished.changes[0].after);
    let deleted = entry(deleted.ledger_index().unwrap());
    assert_eq!(deleted.verb, "shadow.delete");
    assert_eq!(deleted.changes[0].after, None);
    world.agrees().await;
}

#[tokio::test]
async fn an_erased_person_cannot_be_told_any_more_and_the_tree_stands() {
    let world = world().await;
    world.device("pump").await;
    let index = world.operator.ledger_index().unwrap();
    let before = world.hub.ledger_entry(&world.operator, index).unwrap();
    let erased = world
        .hub
        .erase_person(&world.operator, PersonKind::Operator, "alice")
        .await
        .unwrap();
    assert!(erased);
    let after = world.hub.ledger_entry(&world.operator, index).unwrap();
    assert_eq!(after.bytes, before.bytes);
    assert_eq!(after.actor, None);
    let again = world
        .hub
        .erase_person(&world.operator, PersonKind::Address, "198.51.100.1")
        .await
        .unwrap();
    assert!(!again, "there was nothing to erase");
    // Who acts again is somebody else to the ledger.
    world.device("valve").await;
    let last = world.operator.ledger_index().unwrap();
    let last = world.hub.ledger_entry(&world.operator, last).unwrap();
    assert_ne!(last.entry.actor.id, before.entry.actor.id);
    assert!(matches!(last.entry.actor.id, Identity::Pseudonym(_)));
}

#[tokio::test]
async fn erasing_an_objects_salt_gives_its_present_state_another() {
    let world = world().await;
    world.device("pump").await;
    assert!(
        world
            .hub
            .erase_object(&world.operator, "device/pump")
            .await
            .unwrap()
    );
    world.agrees().await;
    let index = world.operator.ledger_index().unwrap();
    let entry = world
        .hub
        .ledger_entry(&world.operator, index)
        .unwrap()
        .entry;
    assert_eq!(entry.verb, "ledger.erase");
    assert_eq!(entry.changes.len(), 1);
    assert!(
        !world
            .hub
            .erase_object(&world.operator, "device/nobody")
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn a_proof_holds_with_nothing_but_the_policy() {
    let world = world().await;
    world.device("pump").await;
    let index = world.operator.ledger_index().unwrap();
    let proof = world
        .hub
        .ledger_proof(&world.operator, index)
        .await
        .unwrap();
    let proof = tlog::proof::Proof::parse(proof.to_string().as_bytes()).unwrap();
    let entry = proof.extra.clone().unwrap();
    let policy = setup().policy;
    proof.check(&entry, &policy).unwrap();
    let mut forged = entry;
    forged[20] ^= 1;
    proof.check(&forged, &policy).unwrap_err();
}

#[tokio::test]
async fn a_clock_that_goes_back_refuses_changes_until_it_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(FakeClock::at(NOW));
    let hub = open(store::Store::open(folder.path()).unwrap(), &clock);
    hub.begin_ledger(setup(), "1", "").await.unwrap();
    clock.advance(Duration::from_hours(1));
    let world = World {
        hub,
        clock,
        operator: operator(),
    };
    world.device("pump").await;
    drop(world);
    let clock = Arc::new(FakeClock::at(NOW));
    let hub = open(store::Store::open(folder.path()).unwrap(), &clock);
    let refused = hub.begin_ledger(setup(), "1", "").await.unwrap_err();
    assert_eq!(refused.reason.0, "ledger.clock");
    drop(hub);
    let hub = open(store::Store::open(folder.path()).unwrap(), &clock);
    let accepting = LedgerSetup {
        accept_clock: true,
        ..setup()
    };
    hub.begin_ledger(accepting, "1", "").await.unwrap();
    let world = World {
        hub,
        clock,
        operator: operator(),
    };
    world.device("valve").await;
    let verbs = world.verbs();
    assert!(verbs.contains(&"ledger.clock".into()), "{verbs:?}");
    world.agrees().await;
    assert_eq!(world.clock.now(), NOW);
}

#[tokio::test]
async fn another_configuration_and_another_key_are_entries() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(FakeClock::at(NOW));
    let run = async |setup: LedgerSetup, configuration: &str| {
        let hub = open(store::Store::open(folder.path()).unwrap(), &clock);
        hub.begin_ledger(setup, "1", configuration).await.unwrap();
        World {
            hub,
            clock: Arc::clone(&clock),
            operator: operator(),
        }
        .verbs()
    };
    run(setup(), "a").await;
    let verbs = run(setup(), "a").await;
    assert_eq!(verbs.last().unwrap(), "hub.start");
    assert_eq!(verbs.len(), 4, "nothing but the start is new: {verbs:?}");
    let verbs = run(setup(), "b").await;
    assert_eq!(verbs[4..], ["hub.configure", "hub.start"]);
    let mut two = setup();
    let key = SignerKey::from_seed("test/ledger", Algorithm::Ed25519, &[8; 32]).unwrap();
    two.signers.push(Arc::new(key));
    let verbs = run(two, "b").await;
    assert_eq!(verbs[6..], ["ledger.key-add", "hub.start"]);
    let verbs = run(setup(), "b").await;
    assert_eq!(verbs[8..], ["ledger.key-retire", "hub.start"]);
}

#[tokio::test]
async fn a_reset_hub_remembers_that_it_was_reset() {
    let world = world().await;
    world.device("pump").await;
    world.hub.reset().unwrap();
    assert_eq!(world.verbs().last().unwrap(), "hub.reset");
    world.agrees().await;
}

#[tokio::test(start_paused = true)]
async fn where_changes_must_be_cosigned_they_wait_for_it_and_are_refused_without() {
    let clock = Arc::new(FakeClock::at(NOW));
    let (authority, _) = ca::Authority::create(NOW).unwrap();
    let hub = Hub::open(
        store::Store::open_temporary().unwrap(),
        authority,
        Arc::clone(&clock) as Arc<dyn Clock>,
        Arc::new(Silence),
        HubConfig {
            profile: Profile::Standard,
            account: "000000000000".into(),
            require_cosigned: Some(Duration::from_secs(10)),
        },
    )
    .unwrap();
    let key = SignerKey::from_seed("test/ledger", Algorithm::Ed25519, &SEED).unwrap();
    let witness =
        SignerKey::from_seed("test/witness", Algorithm::Ed25519Cosignature, &[5; 32]).unwrap();
    let text = format!(
        "log {}\nwitness w {}\nquorum w\n",
        key.verifier(),
        witness.verifier()
    );
    let policy = Policy::parse(text.as_bytes()).unwrap();
    let setup = LedgerSetup {
        signers: vec![Arc::new(key)],
        policy,
        policy_text: Some(text),
        is_public: false,
        accept_clock: false,
        restored: None,
    };
    hub.begin_ledger(setup, "1", "").await.unwrap();
    let create = async |id: &str| {
        let new = NewDevice {
            id: id.parse().unwrap(),
            device_type: None,
            attributes: BTreeMap::new(),
        };
        let operator = operator();
        let created = hub.create_device(&operator, new).await;
        (created.map(drop), operator.ledger_index())
    };
    let cosign = async {
        loop {
            if let Some(asked) = hub.checkpoint_to_cosign() {
                let cosignature = witness.cosign(&asked.checkpoint, 7);
                // The next one is asked for when this one came too late.
                let _ = hub.add_cosignatures(&asked.checkpoint, vec![cosignature]);
            }
            // Busy, so that the paused time stands still.
            tokio::task::yield_now().await;
            clock.advance(Duration::from_millis(1));
        }
    };
    let (created, index) = tokio::select! {
        created = create("cosigned") => created,
        () = cosign => unreachable!("it goes on for ever"),
    };
    created.unwrap();
    let status = hub.ledger_status(&operator()).unwrap();
    let last_final = status.last_final.unwrap();
    assert!(last_final.checkpoint.size > index.unwrap());
    assert_eq!(last_final.note.signatures.len(), 2);

    // Nobody cosigns any more: the change is made, and the answer says that it is not final.
    let (late, index) = create("late").await;
    assert_eq!(late.unwrap_err().reason.0, "ledger.not-cosigned");
    hub.ledger_beyond(index.unwrap()).await;
    hub.sweep().await;
    clock.advance(Duration::from_secs(11));
    let (refused, index) = create("never").await;
    assert_eq!(refused.unwrap_err().reason.0, "ledger.not-cosigned");
    assert_eq!(index, None, "nothing was done");
    let missing: model::DeviceId = "never".parse().unwrap();
    assert!(hub.device(&operator(), &missing).is_err());
}
