//! The ledger's files, sentence by sentence.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use ledger::{Actor, ActorKind, Change, Digest, Entry, Identity, Object, Verb};
use model::{RefusalKind, Timestamp};
use store::{Failure, LedgerError, Query, Recorded, SignedCheckpoint, Store};
use tlog::{Algorithm, Hash, Level, SignerKey, TILE_WIDTH, TileId, bundle::bundle_entries, merkle};

const ORIGIN: &str = "hub.example/ledger";

fn signer() -> Arc<SignerKey> {
    Arc::new(SignerKey::from_seed(ORIGIN, Algorithm::Ed25519, &[7; 32]).unwrap())
}

fn entry(n: u64) -> Entry {
    let actor = Actor {
        kind: ActorKind::Operator,
        id: Identity::Plain(format!("op-{}", n % 3)),
        credential: None,
        address: None,
    };
    let verb = if n.is_multiple_of(2) {
        Verb::DeviceCreate
    } else {
        Verb::DeviceUpdate
    };
    let mut entry = Entry::new(Timestamp::from_millis(1_000_000 + n), actor, verb);
    entry.changes = vec![Change {
        object: Object {
            kind: "device".to_owned(),
            id: format!("pump-{}", n % 50),
            of: None,
        },
        before: None,
        after: Some(Digest([3; 32])),
    }];
    entry
}

async fn record(store: &Store, entry: Entry) -> Result<Recorded, Failure> {
    store.write(move |txn| txn.record(entry)).await
}

async fn record_all(store: &Store, numbers: std::ops::Range<u64>) {
    store
        .write(move |txn| {
            for n in numbers {
                assert_eq!(txn.record(entry(n))?.first, n);
            }
            Ok::<_, Failure>(())
        })
        .await
        .unwrap();
}

/// Waits until the tree has everything, and checks it against a tree made here.
async fn settled(store: &Store, size: u64) -> Arc<SignedCheckpoint> {
    let signed = match store.ledger().latest() {
        Some(signed) if signed.checkpoint.size >= size => signed,
        _ => store.ledger().changed(size - 1).await,
    };
    assert_eq!(signed.checkpoint.size, size);
    let key = signer();
    let signature = &signed.note.signatures[0];
    assert!(key.verifier().verify(&signed.note.text, signature).is_ok());
    let entries = store.ledger().entries(0, usize::MAX).unwrap();
    assert_eq!(entries.len() as u64, size);
    let leaves: Vec<_> = (0..size)
        .map(|index| {
            let (at, entry) = &entries[index as usize];
            assert_eq!(*at, index);
            merkle::leaf_hash(&entry.encode().unwrap())
        })
        .collect();
    assert_eq!(signed.checkpoint.root, merkle::root_of(&leaves));
    signed
}

fn started(folder: &Path) -> Store {
    let store = Store::open(folder).unwrap();
    store.ledger().start(ORIGIN, vec![signer()]).unwrap();
    store
}

fn start_error(folder: &Path) -> LedgerError {
    let store = Store::open(folder).unwrap();
    store.ledger().start(ORIGIN, vec![signer()]).unwrap_err()
}

fn tile(folder: &Path, level: Level, index: u64) -> PathBuf {
    let id = TileId {
        level,
        index,
        width: 256,
    };
    folder.join("ledger").join(id.path())
}

/// A folder whose ledger has `size` entries, all of whose full tiles are on disk.
async fn folder_of(size: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = started(folder.path());
    record_all(&store, 0..size).await;
    settled(&store, size).await;
    drop(store);
    folder
}

/// How many full bundles are there, in a folder in which nothing is wrong.
fn bundles(folder: &Path) -> u64 {
    let problems = store::check(folder);
    assert!(
        problems.iter().all(|(_, problem)| problem.is_none()),
        "{problems:?}"
    );
    let there = (0..).take_while(|index| tile(folder, Level::Entries, *index).exists());
    there.count() as u64
}

#[tokio::test]
async fn entries_are_in_the_tree_in_their_order_and_can_be_proved() {
    let store = Store::open_temporary().unwrap();
    record_all(&store, 0..100).await;
    assert_eq!(store.ledger().size(), 0);
    assert_eq!(store.ledger().entries(0, 1000).unwrap().len(), 100);
    store.ledger().start(ORIGIN, vec![signer()]).unwrap();
    settled(&store, 100).await;
    record_all(&store, 100..1000).await;
    let signed = settled(&store, 1000).await;
    let root = signed.checkpoint.root;
    for index in [0, 255, 256, 511, 767, 768, 999] {
        let proof = store.ledger().prove_inclusion(index, 1000).unwrap();
        let entry = store.ledger().entry_bytes(index).unwrap().unwrap();
        let leaf = merkle::leaf_hash(&entry);
        merkle::check_inclusion(&leaf, index, 1000, &proof, &root).unwrap();
    }
    for old in [1, 100, 256, 700, 1000] {
        let proof = store.ledger().prove_consistency(old, 1000).unwrap();
        let old_root = store.ledger().root(old).unwrap();
        merkle::check_consistency(old, &old_root, 1000, &root, &proof).unwrap();
    }
    let not_there = store.ledger().prove_inclusion(1000, 1000);
    assert!(matches!(not_there, Err(LedgerError::NotInTree { .. })));
    assert!(matches!(
        store.ledger().prove_inclusion(1, 1001),
        Err(LedgerError::NotInTree { .. })
    ));
    assert_eq!(store.ledger().entry(1000).unwrap(), None);
}

#[tokio::test]
async fn every_tile_is_served_at_every_width_it_has_had() {
    let store = Store::open_temporary().unwrap();
    store.ledger().start(ORIGIN, vec![signer()]).unwrap();
    record_all(&store, 0..700).await;
    settled(&store, 700).await;
    for index in 0..4 {
        for width in 1..=256 {
            let there = index * TILE_WIDTH + width <= 700;
            for level in [Level::Entries, Level::Hashes(0)] {
                let width = width as u16;
                let bytes = store
                    .ledger()
                    .tile(TileId {
                        level,
                        index,
                        width,
                    })
                    .unwrap();
                assert_eq!(bytes.is_some(), there, "{level:?} {index} {width}");
                let Some(bytes) = bytes else { continue };
                let count = match level {
                    Level::Entries => bundle_entries(&bytes).count(),
                    Level::Hashes(_) => bytes.len() / 32,
                };
                assert_eq!(count, usize::from(width));
            }
        }
    }
    let above = |width| TileId {
        level: Level::Hashes(1),
        index: 0,
        width,
    };
    assert_eq!(store.ledger().tile(above(2)).unwrap().unwrap().len(), 64);
    assert_eq!(store.ledger().tile(above(3)).unwrap(), None);
}

#[tokio::test]
async fn an_actor_finds_its_entry_before() {
    let store = Store::open_temporary().unwrap();
    record_all(&store, 0..10).await;
    let previous = |index| store.ledger().entry(index).unwrap().unwrap().previous;
    assert_eq!(previous(2), None);
    assert_eq!(previous(3), Some(0));
    assert_eq!(previous(9), Some(6));
}

#[tokio::test]
async fn a_large_deed_is_recorded_in_parts() {
    let store = Store::open_temporary().unwrap();
    record_all(&store, 0..1).await;
    let mut large = entry(0);
    large.at = Timestamp::from_millis(2_000_000);
    let change = large.changes[0].clone();
    large.changes = vec![change; 200];
    let recorded = record(&store, large).await.unwrap();
    assert_eq!(recorded.first, 1);
    assert!(recorded.last > 2);
    let entries = store.ledger().entries(1, 1000).unwrap();
    assert_eq!(entries.len() as u64, recorded.last);
    for (index, entry) in entries {
        assert_eq!(entry.previous, Some(index - 1));
        let of = u32::try_from(recorded.last).unwrap();
        assert_eq!(entry.part, Some((u32::try_from(index).unwrap(), of)));
    }
    let mut wrong = entry(0);
    wrong.at = Timestamp::from_millis(3_000_000);
    wrong.verb = "x".repeat(100);
    assert!(matches!(
        record(&store, wrong).await,
        Err(Failure::LedgerEntry(_))
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn indices_are_dense_however_many_write_and_are_refused() {
    let store = Arc::new(Store::open_temporary().unwrap());
    store.ledger().start(ORIGIN, vec![signer()]).unwrap();
    let writers: Vec<_> = (0..8_u64)
        .map(|writer| {
            let store = Arc::clone(&store);
            #[expect(clippy::disallowed_methods, reason = "a test of many writers")]
            tokio::spawn(async move {
                let mut indices = Vec::new();
                for n in 0..100 {
                    let refused = (n + writer) % 3 == 0;
                    let outcome = store
                        .write(move |txn| {
                            let mut entry = entry(n);
                            entry.at = Timestamp::from_millis(1_000_000);
                            let recorded = txn.record(entry)?;
                            if refused {
                                return Err(Failure::Unreadable { what: "test" });
                            }
                            Ok(recorded)
                        })
                        .await;
                    match outcome {
                        Ok(recorded) => indices.push(recorded.first),
                        Err(Failure::Unreadable { .. }) if refused => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                indices
            })
        })
        .collect();
    let mut indices = Vec::new();
    for writer in writers {
        indices.extend(writer.await.unwrap());
    }
    indices.sort_unstable();
    let count = indices.len() as u64;
    assert_eq!(indices, (0..count).collect::<Vec<_>>());
    settled(&store, count).await;
}

#[tokio::test]
async fn a_clock_that_goes_back_is_refused_until_it_is_said() {
    let store = Store::open_temporary().unwrap();
    let at = |millis| {
        let mut entry = entry(0);
        entry.at = Timestamp::from_millis(millis);
        entry
    };
    record(&store, at(1_000_000)).await.unwrap();
    record(&store, at(999_000)).await.unwrap();
    let clamped = store.ledger().entry(1).unwrap().unwrap();
    assert_eq!(clamped.at, Timestamp::from_millis(1_000_000));
    let refused = record(&store, at(990_000)).await.unwrap_err();
    assert!(matches!(refused, Failure::LedgerClock { .. }));
    let refusal = model::Refusal::from(refused);
    assert_eq!(refusal.kind, RefusalKind::Unavailable);
    assert_eq!(refusal.reason.0, "ledger.clock");
    let mut set = at(990_000);
    set.verb = Verb::LedgerClock.into();
    assert_eq!(record(&store, set).await.unwrap().first, 2);
    assert_eq!(record(&store, at(990_001)).await.unwrap().first, 3);
    let last = store.read(|txn| txn.ledger_last_at()).unwrap();
    assert_eq!(last, Timestamp::from_millis(990_001));
}

#[tokio::test]
async fn a_ledger_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut size = 0;
    for more in [0, 1, 255, 256, 300, 2000] {
        let store = started(folder.path());
        if more > 0 {
            record_all(&store, size..size + more).await;
        }
        size += more;
        if size > 0 {
            settled(&store, size).await;
        }
        drop(store);
        assert_eq!(bundles(folder.path()), size / 256, "after {size} entries");
    }
    let store = Store::open(folder.path()).unwrap();
    let other = store.ledger().start("other.example", vec![signer()]);
    assert!(matches!(other, Err(LedgerError::Origin { .. })));
    let none = store.ledger().start(ORIGIN, vec![]);
    assert!(matches!(none, Err(LedgerError::NoSigner)));
    store.ledger().start(ORIGIN, vec![signer()]).unwrap();
    let again = store.ledger().start(ORIGIN, vec![signer()]);
    assert!(matches!(again, Err(LedgerError::Started)));
}

#[tokio::test]
async fn damaged_and_missing_tiles_are_made_again() {
    let folder = folder_of(1000).await;
    let path = tile(folder.path(), Level::Hashes(0), 1);
    let whole = fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[100] ^= 1;
    for damaged in [None, Some(&[][..]), Some(&whole[..500]), Some(&flipped)] {
        match damaged {
            None => fs::remove_file(&path).unwrap(),
            Some(bytes) => fs::write(&path, bytes).unwrap(),
        }
        let store = started(folder.path());
        settled(&store, 1000).await;
        assert_eq!(fs::read(&path).unwrap(), whole);
        // Also while it runs.
        match damaged {
            None => fs::remove_file(&path).unwrap(),
            Some(bytes) => fs::write(&path, bytes).unwrap(),
        }
        let id = TileId {
            level: Level::Hashes(0),
            index: 1,
            width: 256,
        };
        assert_eq!(store.ledger().tile(id).unwrap().unwrap(), whole);
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
}

#[tokio::test]
async fn a_damaged_bundle_is_named_and_never_signed_again() {
    let folder = folder_of(1000).await;
    let bundle = tile(folder.path(), Level::Entries, 1);
    let hashes = tile(folder.path(), Level::Hashes(0), 1);
    let (whole, whole_hashes) = (fs::read(&bundle).unwrap(), fs::read(&hashes).unwrap());
    let mut flipped = whole.clone();
    flipped[1000] ^= 1;
    // Alone it does not keep the ledger from going on, but it is not read.
    fs::write(&bundle, &flipped).unwrap();
    let store = started(folder.path());
    names(&store.ledger().entry(300).unwrap_err(), &bundle);
    names(&store.ledger().entries(0, 1000).unwrap_err(), &bundle);
    assert!(store.ledger().entry(600).unwrap().is_some());
    drop(store);
    for (bundle_bytes, hash_bytes) in [
        (Some(&flipped), None),
        (Some(&flipped), Some(vec![0; 8192])),
        (None, None),
    ] {
        match bundle_bytes {
            Some(bytes) => fs::write(&bundle, bytes).unwrap(),
            None => fs::remove_file(&bundle).unwrap(),
        }
        match hash_bytes {
            Some(bytes) => fs::write(&hashes, bytes).unwrap(),
            None => fs::remove_file(&hashes).unwrap(),
        }
        let checkpoint = fs::read(folder.path().join("ledger/checkpoint")).unwrap();
        let error = start_error(folder.path());
        assert!(matches!(error, LedgerError::Damaged { .. }), "{error}");
        let after = fs::read(folder.path().join("ledger/checkpoint")).unwrap();
        assert_eq!(checkpoint, after);
        fs::write(&bundle, &whole).unwrap();
        fs::write(&hashes, &whole_hashes).unwrap();
    }
    settled(&started(folder.path()), 1000).await;
}

#[track_caller]
fn names(error: &LedgerError, path: &Path) {
    let LedgerError::Damaged { file, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(file, path);
}

#[tokio::test]
async fn what_does_not_fit_the_checkpoint_is_refused() {
    let folder = folder_of(1000).await;
    let path = folder.path().join("ledger/checkpoint");
    let text = fs::read_to_string(&path).unwrap();
    let root = text.lines().nth(2).unwrap();
    let other = Hash([1; 32]).to_string();
    for damaged in [
        text.replace("\n1000\n", "\n999\n"),
        text.replace(root, &other),
        text[..text.len() / 2].to_owned(),
        String::new(),
    ] {
        fs::write(&path, &damaged).unwrap();
        names(&start_error(folder.path()), &path);
        assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
    }
    fs::remove_file(&path).unwrap();
    names(&start_error(folder.path()), &path);
    fs::write(&path, &text).unwrap();
    settled(&started(folder.path()), 1000).await;
}

#[tokio::test]
async fn a_registry_put_back_to_an_older_state_is_noticed() {
    let folder = folder_of(300).await;
    let kept = tempfile::tempdir().unwrap();
    let registry = folder.path().join("registry.db");
    let copy = kept.path().join("registry.db");
    store::backup(folder.path(), kept.path()).unwrap();
    let store = started(folder.path());
    record_all(&store, 300..600).await;
    settled(&store, 600).await;
    drop(store);
    for suffix in ["-wal", "-shm"] {
        let _absent = fs::remove_file(folder.path().join(format!("registry.db{suffix}")));
    }
    fs::copy(&copy, &registry).unwrap();
    let error = start_error(folder.path());
    assert!(
        matches!(
            error,
            LedgerError::RolledBack {
                found: 600,
                recorded: 300,
                ..
            }
        ),
        "{error}"
    );
    fs::remove_file(folder.path().join("ledger/checkpoint")).unwrap();
    let error = start_error(folder.path());
    assert!(
        matches!(
            error,
            LedgerError::RolledBack { found: 512, .. } | LedgerError::Damaged { .. }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_crash_between_any_two_steps_loses_nothing() {
    let folder = folder_of(1000).await;
    let before = fs::read(folder.path().join("ledger/checkpoint")).unwrap();
    let store = started(folder.path());
    record_all(&store, 1000..2000).await;
    store.ledger().changed(1999).await;
    // As a crash leaves it: the folder as it is now, before its files are brought to disk, without
    // what later steps would have written.
    let left = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), left.path());
    drop(store);
    let copy = |without: &dyn Fn(&Path)| {
        let crashed = tempfile::tempdir().unwrap();
        copy_folder(left.path(), crashed.path());
        without(crashed.path());
        crashed
    };
    let steps: [&dyn Fn(&Path); 6] = [
        &|_| {},
        &|at| drop(fs::write(at.join("ledger/checkpoint"), &before)),
        &|at| drop(fs::remove_file(tile(at, Level::Entries, 6))),
        &|at| drop(fs::write(tile(at, Level::Entries, 6), [])),
        &|at| drop(fs::write(tile(at, Level::Hashes(0), 6), [])),
        &|at| drop(fs::write(at.join("ledger/tile/0/006.tmp"), [1, 2, 3])),
    ];
    for step in steps {
        let crashed = copy(step);
        let again = started(crashed.path());
        settled(&again, 2000).await;
        record_all(&again, 2000..2100).await;
        settled(&again, 2100).await;
    }
}

fn copy_folder(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let target = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy_folder(&file.path(), &target);
        } else {
            fs::copy(file.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn files_that_cannot_be_written_stop_changes_before_memory_does() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    fs::create_dir(folder.path().join("ledger")).unwrap();
    fs::write(folder.path().join("ledger/tile"), "not a folder").unwrap();
    store.ledger().start(ORIGIN, vec![signer()]).unwrap();
    let mut next = 0;
    let refused = loop {
        let from = next;
        let outcome = store
            .write(move |txn| {
                for n in from..from + 10_000 {
                    txn.record(entry(n))?;
                }
                Ok::<_, Failure>(())
            })
            .await;
        match outcome {
            Ok(()) => next += 10_000,
            Err(error) => break error,
        }
    };
    assert_eq!(next, model::limits::LEDGER_OUTBOX_ENTRIES);
    let Failure::LedgerBehind { reason, waiting } = &refused else {
        panic!("{refused}");
    };
    assert_eq!(*waiting, next);
    assert!(reason.as_ref().unwrap().contains("tile"), "{reason:?}");
    assert_eq!(model::Refusal::from(refused).reason.0, "ledger.behind");
    fs::remove_file(folder.path().join("ledger/tile")).unwrap();
    store.ledger().changed(next - 1).await;
    while store.ledger().trouble().is_some() {
        tokio::task::yield_now().await;
    }
    let outcome = record(&store, entry(next)).await;
    assert_eq!(outcome.unwrap().first, next);
}

#[tokio::test]
async fn what_was_done_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = started(folder.path());
    record_all(&store, 0..5000).await;
    settled(&store, 5000).await;
    let all = |matches: fn(u64) -> bool| (0..5000).filter(|n| matches(*n)).collect::<Vec<_>>();
    let query = |actor: Option<&str>, subject: Option<&str>, verb: Option<&str>| Query {
        actor: actor.map(str::to_owned),
        subject: subject.map(str::to_owned),
        verb: verb.map(str::to_owned),
        limit: 10_000,
        ..Query::default()
    };
    let cases = [
        (query(None, None, None), all(|_| true)),
        (
            query(Some("operator/op-1"), None, None),
            all(|n| n % 3 == 1),
        ),
        (
            query(None, Some("device/pump-7"), None),
            all(|n| n % 50 == 7),
        ),
        (
            query(None, None, Some("device.update")),
            all(|n| n % 2 == 1),
        ),
        (
            query(
                Some("operator/op-2"),
                Some("device/pump-7"),
                Some("device.update"),
            ),
            all(|n| n % 150 == 107),
        ),
        (
            query(None, Some("device/pump-7"), Some("device.create")),
            vec![],
        ),
        (query(None, Some("device/none"), None), vec![]),
        (
            Query {
                since: Some(Timestamp::from_millis(1_000_000 + 100)),
                until: Some(Timestamp::from_millis(1_000_000 + 2900)),
                ..query(None, Some("device/pump-7"), None)
            },
            all(|n| n % 50 == 7 && (100..2900).contains(&n)),
        ),
        (
            Query {
                after_index: Some(107),
                limit: 2,
                ..query(None, Some("device/pump-7"), None)
            },
            vec![157, 207],
        ),
    ];
    let check = |store: &Store| {
        for (query, expected) in &cases {
            let found = store.ledger().search(query).unwrap();
            let indices: Vec<_> = found.iter().map(|(index, _)| *index).collect();
            assert_eq!(&indices, expected, "{query:?}");
        }
    };
    // Whether the index has caught up or not, the answers are the same.
    check(&store);
    drop(store);
    let store = started(folder.path());
    check(&store);
    drop(store);
    // An index that is damaged or of another ledger is made anew.
    let run = folder.path().join("ledger/index/0-000000000000");
    let bytes = fs::read(&run).unwrap();
    for damaged in [
        &bytes[..0],
        &bytes[..100],
        &[&bytes[..20], &[7; 100]].concat(),
    ] {
        fs::write(&run, damaged).unwrap();
        let store = started(folder.path());
        check(&store);
        drop(store);
        assert_eq!(fs::read(&run).unwrap(), bytes);
    }
    let store = started(folder.path());
    check(&store);
}

#[tokio::test]
async fn cosignatures_are_kept_for_the_newest_checkpoint() {
    let folder = folder_of(10).await;
    let witness =
        SignerKey::from_seed("w.example", Algorithm::Ed25519Cosignature, &[9; 32]).unwrap();
    let store = started(folder.path());
    let first = store.ledger().latest().unwrap();
    assert_eq!(store.ledger().cosigned(), None);
    let cosignature = witness.cosign(&first.checkpoint, 5);
    for _ in 0..2 {
        store
            .ledger()
            .add_cosignatures(&first.checkpoint, vec![cosignature.clone()])
            .unwrap();
    }
    let cosigned = store.ledger().cosigned().unwrap();
    assert_eq!(cosigned.note.signatures.len(), 2);
    assert_eq!(cosigned.note.signatures[1], cosignature);
    record_all(&store, 10..20).await;
    let second = settled(&store, 20).await;
    store
        .ledger()
        .add_cosignatures(&second.checkpoint, vec![])
        .unwrap();
    assert_eq!(store.ledger().cosigned().unwrap().checkpoint.size, 20);
    store
        .ledger()
        .add_cosignatures(&first.checkpoint, vec![cosignature])
        .unwrap();
    assert_eq!(store.ledger().cosigned().unwrap().checkpoint.size, 20);
    let mut foreign = second.checkpoint.clone();
    foreign.root = Hash([0; 32]);
    let refused = store.ledger().add_cosignatures(&foreign, vec![]);
    assert!(matches!(
        refused,
        Err(LedgerError::ForeignCheckpoint { size: 20 })
    ));
    drop(store);
    let store = started(folder.path());
    assert_eq!(store.ledger().cosigned().unwrap().checkpoint.size, 20);
}

#[tokio::test]
async fn a_backup_of_a_running_ledger_goes_on_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let store = started(folder.path());
    record_all(&store, 0..1500).await;
    settled(&store, 1500).await;
    record_all(&store, 1500..1700).await;
    let copy = tempfile::tempdir().unwrap();
    store::backup(folder.path(), copy.path()).unwrap();
    record_all(&store, 1700..2500).await;
    settled(&store, 2500).await;
    let restored = started(copy.path());
    settled(&restored, 1700).await;
    assert!(
        store::check(copy.path())
            .iter()
            .all(|(_, problem)| problem.is_none())
    );
}

#[tokio::test]
async fn a_long_ledger_is_searched_by_its_index() {
    let folder = tempfile::tempdir().unwrap();
    let size = 9 * 4096 + 100;
    let store = started(folder.path());
    record_all(&store, 0..size).await;
    store.ledger().changed(size - 1).await;
    let run = |name: &str| folder.path().join("ledger/index").join(name).exists();
    // Eight runs have become one of the next level, and the ninth stands beside it.
    while !(run("1-000000000000") && run("0-000000000008") && !run("0-000000000000")) {
        tokio::task::yield_now().await;
    }
    let query = |subject: &str, actor: &str| Query {
        subject: Some(subject.to_owned()),
        actor: Some(actor.to_owned()),
        limit: 10_000,
        ..Query::default()
    };
    let check = |store: &Store| {
        let found = store
            .ledger()
            .search(&query("device/pump-7", "operator/op-1"));
        let found: Vec<_> = found.unwrap().into_iter().map(|(index, _)| index).collect();
        let expected: Vec<_> = (0..size).filter(|n| n % 50 == 7 && n % 3 == 1).collect();
        assert_eq!(found, expected);
        let none = store
            .ledger()
            .search(&query("device/pump-7", "operator/none"));
        assert_eq!(none.unwrap(), []);
    };
    check(&store);
    drop(store);
    check(&started(folder.path()));
}

#[tokio::test]
async fn a_search_by_time_knows_that_the_clock_was_set_back() {
    let folder = tempfile::tempdir().unwrap();
    let times: Vec<u64> = (1000..1400).chain(1200..1500).map(|n| n * 10_000).collect();
    let store = started(folder.path());
    let all = times.clone();
    store
        .write(move |txn| {
            for (n, millis) in (0..).zip(all) {
                let mut entry = entry(n);
                entry.at = Timestamp::from_millis(millis);
                if n == 400 {
                    entry.verb = Verb::LedgerClock.into();
                }
                txn.record(entry)?;
            }
            Ok::<_, Failure>(())
        })
        .await
        .unwrap();
    settled(&store, 700).await;
    drop(store);
    let store = started(folder.path());
    for (since, until) in [
        (0, 1),
        (1000, 1100),
        (1250, 1300),
        (1390, 1450),
        (1450, 9999),
    ] {
        let (since, until) = (since * 10_000, until * 10_000);
        for by_verb in [None, Some(Verb::DeviceUpdate.name().to_owned())] {
            let query = Query {
                since: Some(Timestamp::from_millis(since)),
                until: Some(Timestamp::from_millis(until)),
                verb: by_verb.clone(),
                limit: 1000,
                ..Query::default()
            };
            let found = store.ledger().search(&query).unwrap();
            let found: Vec<_> = found.iter().map(|(index, _)| *index).collect();
            let expected: Vec<_> = (0..700_u64)
                .filter(|n| (since..until).contains(&times[*n as usize]))
                .filter(|n| by_verb.is_none() || n % 2 == 1)
                .collect();
            assert_eq!(found, expected, "{query:?}");
        }
    }
}

const CRASH_FOLDER: &str = "SEKISHO_TEST_LEDGER_CRASH_FOLDER";
const CRASH_ROUNDS: &str = "SEKISHO_TEST_LEDGER_CRASH_ROUNDS";

/// The child of the test below: changes and records for ever, and prints what is durable and what
/// is signed.
#[tokio::test]
#[ignore = "run by a_killed_process_leaves_state_and_ledger_equal"]
async fn child_that_is_killed() {
    use std::io::Write;
    let Some(folder) = std::env::var_os(CRASH_FOLDER) else {
        return;
    };
    let store = started(Path::new(&folder));
    let mut signed = 0;
    loop {
        let many = store.ledger().recorded() % 7 * 40 + 1;
        let recorded = store
            .write(move |txn| {
                let mut last = 0;
                for _ in 0..many {
                    let next = txn.ledger_next()?;
                    last = txn.record(entry(next))?.last;
                }
                txn.put_setting("last", &last.to_string())?;
                let _not_looked_at = txn.changes(&[0; 32])?;
                Ok::<_, Failure>(last)
            })
            .await
            .unwrap();
        writeln!(std::io::stdout(), "recorded {recorded}").unwrap();
        if let Some(latest) = store.ledger().latest()
            && latest.checkpoint.size > signed
        {
            signed = latest.checkpoint.size;
            let root = latest.checkpoint.root;
            writeln!(std::io::stdout(), "signed {signed} {root}").unwrap();
        }
    }
}

/// More rounds: `SEKISHO_TEST_LEDGER_CRASH_ROUNDS=200`.
#[tokio::test]
async fn a_killed_process_leaves_state_and_ledger_equal() {
    let rounds = std::env::var(CRASH_ROUNDS).map_or(4, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (mut recorded, mut signed) = (0, Vec::new());
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "child_that_is_killed",
                "--ignored",
                "--nocapture",
            ])
            .env(CRASH_FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut told = 0;
        // Another number of lines each round, so that it dies at another point.
        while told < 20 + round * 13 % 90 {
            let line = lines.next().unwrap().unwrap();
            told += heard(&line, &mut recorded, &mut signed);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it printed before it died counts too.
        for line in lines.map_while(Result::ok) {
            heard(&line, &mut recorded, &mut signed);
        }
        let store = started(folder.path());
        let last = store.read(|txn| txn.setting("last")).unwrap().unwrap();
        let last: u64 = last.parse().unwrap();
        assert!(last >= recorded, "round {round}");
        assert_eq!(store.ledger().recorded(), last + 1, "round {round}");
        let entries = store.ledger().entries(0, usize::MAX).unwrap();
        assert_eq!(entries.len() as u64, last + 1, "round {round}");
        for (size, root) in &signed {
            let now = store.ledger().root(*size).unwrap();
            assert_eq!(now.to_string(), *root, "round {round}, {size} entries");
        }
    }
    assert!(!signed.is_empty());
}

/// Takes in a line of the child; answers 1 when it told something.
fn heard(line: &str, recorded: &mut u64, signed: &mut Vec<(u64, String)>) -> u32 {
    // The test harness may print in front of the first.
    if let Some((_, last)) = line.split_once("recorded ")
        && let Ok(last) = last.parse()
    {
        *recorded = last;
        return 1;
    }
    if let Some((_, rest)) = line.split_once("signed ")
        && let Some((size, root)) = rest.split_once(' ')
    {
        signed.push((size.parse().unwrap(), root.to_owned()));
        return 1;
    }
    0
}
