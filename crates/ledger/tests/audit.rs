//! A log's files, damaged in every way, and what the audit says of it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "one test measures for a person")]

use std::{collections::BTreeMap, convert::Infallible, num::NonZeroUsize};

use ledger::{
    Actor, ActorKind, Digest, Entry, Identity,
    audit::{self, Options, Report, Source, Trouble},
};
use model::Timestamp;
use tlog::{
    Algorithm, Checkpoint, Frontier, Hash, Level, Note, Policy, SignerKey, TileId,
    bundle::{bundle_entries, push_entry},
    merkle::{leaf_hash, root_of},
    tile::tiles_of,
};

#[test]
fn a_sound_log_has_no_faults() {
    for size in [0, 1, 2, 255, 256, 257, 600] {
        let log = Log::of(size);
        let report = log.audit();
        assert!(report.is_sound(), "{size}: {:?}", report.faults);
        assert_eq!(report.entries, size);
        assert_eq!(report.files, log.files.len() as u64);
        let bytes: usize = log.files.values().map(Vec::len).sum();
        assert_eq!(report.bytes, bytes as u64);
        assert_eq!(report.checkpoint.map(|found| found.size), Some(size));
        assert_eq!(report.witnesses, ["w"]);
    }
}

#[test]
fn every_changed_byte_of_a_small_log_is_found_and_its_file_named() {
    let log = Log::of(3);
    for (path, bytes) in &log.files {
        for at in 0..bytes.len() {
            for mask in [0x01, 0x20, 0x80] {
                check_changed(&log, path, at, mask);
            }
        }
    }
}

#[test]
fn changed_bytes_of_a_larger_log_are_found_and_their_file_named() {
    let log = Log::of(600);
    for (path, bytes) in &log.files {
        let step = (bytes.len() / 25).max(1) | 1;
        for at in (0..bytes.len()).step_by(step) {
            check_changed(&log, path, at, 0x04);
        }
    }
}

#[test]
fn a_changed_byte_of_every_tile_of_a_log_of_three_levels_is_found() {
    let log = Log::of(65_536 + 257);
    assert!(log.audit().is_sound());
    for path in ["tile/2/000.p/1", "tile/1/001.p/1", "tile/1/000"] {
        check_changed(&log, path, log.files[path].len() - 1, 0x10);
    }
    let mut changed = log;
    let bundle = changed.files.get_mut("tile/entries/100").unwrap();
    bundle[40] ^= 1;
    let faults = changed.audit().faults;
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(faults[0].file, "tile/entries/100");
    assert_eq!(faults[0].entry, Some(25_600));
}

#[test]
fn a_missing_a_longer_a_shorter_and_a_foreign_file_are_named() {
    let log = Log::of(600);
    for (path, bytes) in &log.files {
        let mut missing = log.clone();
        missing.files.remove(path);
        check_named(&missing, path);
        for changed in [[bytes, &[0][..]].concat(), bytes[1..].to_vec(), Vec::new()] {
            let mut other = log.clone();
            other.files.insert(path.clone(), changed);
            check_named(&other, path);
        }
    }
    for path in ["tile/0/002.p/80", "notes.txt", "tile/3/000.p/1", "tile"] {
        let mut foreign = log.clone();
        foreign.files.insert(path.into(), b"x".to_vec());
        let faults = foreign.audit().faults;
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(faults[0].file, path);
        assert_eq!(faults[0].trouble, Trouble::Foreign);
    }
}

#[test]
fn a_removed_entry_and_an_exchanged_pair_are_found_also_when_the_tiles_are_made_to_fit() {
    let log = Log::of(300);
    let mut entries: Vec<_> = (0..300).map(entry).collect();
    entries.swap(17, 18);
    let exchanged = log.with_entries(&entries);
    let faults = exchanged.audit().faults;
    assert!(faults.iter().any(|fault| fault.file == "checkpoint"));
    assert!(matches!(faults[0].trouble, Trouble::Root { .. }));
    // The chain of the actor shows which.
    assert!(
        faults.iter().any(|fault| fault.entry == Some(18)),
        "{faults:?}"
    );
    entries.remove(17);
    let removed = log.with_entries(&entries);
    let faults = removed.audit().faults;
    assert!(
        faults
            .iter()
            .any(|fault| fault.file == "tile/entries/001.p/44")
    );
    // An entry of a bundle and its hash, the tile above left as it was signed.
    let mut both = log;
    let bundle = both.files.get_mut("tile/entries/000").unwrap();
    bundle[30] ^= 1;
    let first = bundle_entries(bundle).next().unwrap().unwrap();
    let hash = leaf_hash(first);
    both.files.get_mut("tile/0/000").unwrap()[..32].copy_from_slice(&hash.0);
    let faults = both.audit().faults;
    assert!(
        faults.iter().any(|fault| fault.file == "tile/0/000"),
        "{faults:?}"
    );
}

#[test]
fn a_checkpoint_signed_by_another_key_says_nothing() {
    let log = Log::of(5);
    let other = Log::signed_by(5, 8);
    let mut swapped = log.clone();
    swapped
        .files
        .insert("checkpoint".into(), other.files["checkpoint"].clone());
    let report = swapped.audit();
    assert_eq!(report.entries, 0);
    let last = &report.faults.last().unwrap().trouble;
    assert!(matches!(last, Trouble::NotFromLog { .. }), "{last:?}");
    // Rewritten with the log's own key, as a log that lies would: the files give it away.
    let mut rewritten = log.clone();
    rewritten.sign(Checkpoint {
        root: leaf_hash(b"another history"),
        ..log.checkpoint()
    });
    let faults = rewritten.audit().faults;
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(matches!(faults[0].trouble, Trouble::Root { size: 5, .. }));
}

#[test]
fn a_missing_quorum_is_told_and_the_rest_is_still_checked() {
    let mut log = Log::of(5);
    let mut note = log.note();
    note.signatures.truncate(1);
    log.files
        .insert("checkpoint".into(), note.to_string().into());
    let report = log.audit();
    assert_eq!(report.entries, 5);
    assert_eq!(report.faults.len(), 1);
    assert_eq!(report.faults[0].trouble, Trouble::NoQuorum);
}

#[test]
fn a_log_that_does_not_go_on_from_what_it_was_is_told() {
    let before = Log::of(300);
    for (now, sound) in [
        (Log::of(300), true),
        (Log::of(301), true),
        (Log::of(900), true),
        (Log::of(299), false),
        (Log::with_another_start(900), false),
    ] {
        let report = now.audit_since(Some(before.note()));
        assert_eq!(report.is_sound(), sound, "{:?}", report.faults);
        if !sound {
            assert_eq!(report.faults[0].file, "since");
            let trouble = &report.faults[0].trouble;
            assert!(matches!(trouble, Trouble::NotSince { size: 300, .. }));
        }
    }
    let forged = Log::signed_by(300, 8);
    let report = Log::of(900).audit_since(Some(forged.note()));
    assert!(matches!(
        report.faults[0].trouble,
        Trouble::NotFromLog { .. }
    ));
}

#[test]
fn an_entry_that_the_log_took_though_it_is_none_is_named() {
    let mut entries: Vec<_> = (0..300).map(entry).collect();
    entries[280] = b"no entry".to_vec();
    let report = Log::of_entries(&entries, 7).audit();
    let faults: Vec<_> = report
        .faults
        .iter()
        .map(|fault| (fault.file.as_str(), fault.entry))
        .collect();
    assert_eq!(faults, [("tile/entries/001.p/44", Some(280))]);
}

#[test]
fn faults_are_counted_past_those_that_are_listed() {
    let mut log = Log::of(600);
    let bundle = log.files.get_mut("tile/entries/000").unwrap();
    let mut changed = Vec::new();
    for entry in bundle_entries(bundle) {
        let mut entry = entry.unwrap().to_vec();
        entry[4] ^= 1;
        push_entry(&mut changed, &entry).unwrap();
    }
    *bundle = changed;
    let report = log.audit();
    assert_eq!(report.faults.len(), audit::LISTED_FAULTS);
    assert_eq!(report.fault_count, 256);
}

#[test]
#[ignore = "prints a rate; run by hand, in a release build"]
fn entries_are_verified_fast() {
    let size = 600_000;
    let log = Log::of(size);
    let bytes: usize = log.files.values().map(Vec::len).sum();
    let threads = std::thread::available_parallelism().unwrap();
    #[expect(clippy::disallowed_methods, reason = "it measures")]
    let start = std::time::Instant::now();
    let report = log.audit_with(None, threads);
    let seconds = start.elapsed().as_secs_f64();
    assert!(report.is_sound(), "{:?}", report.faults);
    println!(
        "{:.0} entries/s, {:.0} MB/s, {threads} threads",
        size as f64 / seconds,
        bytes as f64 / seconds / 1e6
    );
}

/// Changes one byte, and looks whether the file is named and no other is.
#[track_caller]
fn check_changed(log: &Log, path: &str, at: usize, mask: u8) {
    let mut changed = log.clone();
    changed.files.get_mut(path).unwrap()[at] ^= mask;
    let report = changed.audit();
    let named: Vec<_> = report.faults.iter().map(|fault| &fault.file).collect();
    let only = !named.is_empty() && named.iter().all(|name| *name == path);
    assert!(only, "{path}, byte {at} ^ {mask}: {:?}", report.faults);
}

#[track_caller]
fn check_named(log: &Log, path: &str) {
    let faults = log.audit().faults;
    assert!(
        faults.iter().any(|fault| fault.file == path),
        "{path}: {faults:?}"
    );
}

/// A log in memory.
#[derive(Clone)]
struct Log {
    files: BTreeMap<String, Vec<u8>>,
    key: u8,
}

impl Source for Log {
    type Error = Infallible;

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.files.get(path).cloned())
    }

    fn list(&self) -> Result<Option<Vec<String>>, Infallible> {
        Ok(Some(self.files.keys().cloned().collect()))
    }
}

impl Log {
    fn of(size: u64) -> Self {
        Self::signed_by(size, 7)
    }

    fn signed_by(size: u64, key: u8) -> Self {
        let entries: Vec<_> = (0..size).map(entry).collect();
        Self::of_entries(&entries, key)
    }

    fn with_another_start(size: u64) -> Self {
        let mut entries: Vec<_> = (0..size).map(entry).collect();
        let mut first = Entry::decode(&entries[0]).unwrap();
        first.request = Some("another".into());
        entries[0] = first.encode().unwrap();
        Self::of_entries(&entries, 7)
    }

    fn of_entries(entries: &[Vec<u8>], key: u8) -> Self {
        let mut frontier = Frontier::new();
        let mut levels: Vec<Vec<Hash>> = vec![Vec::new()];
        for entry in entries {
            frontier.push(leaf_hash(entry));
            levels[0].push(leaf_hash(entry));
        }
        while levels[levels.len() - 1].len() >= 256 {
            let (tiles, _) = levels[levels.len() - 1].as_chunks::<256>();
            levels.push(tiles.iter().map(|tile| root_of(tile)).collect());
        }
        let size = entries.len() as u64;
        let content = |id: TileId| {
            let range = id.index as usize * 256..id.index as usize * 256 + usize::from(id.width);
            let mut bytes = Vec::new();
            match id.level {
                Level::Entries => {
                    for entry in &entries[range] {
                        push_entry(&mut bytes, entry).unwrap();
                    }
                }
                Level::Hashes(level) => {
                    bytes.extend(
                        levels[usize::from(level)][range]
                            .iter()
                            .flat_map(|hash| hash.0),
                    );
                }
            }
            (id.path(), bytes)
        };
        let mut log = Self {
            files: tiles_of(size).map(content).collect(),
            key,
        };
        log.sign(Checkpoint {
            origin: "hub.example".into(),
            size,
            root: frontier.root(),
            extensions: Vec::new(),
        });
        log
    }

    /// The same checkpoint over other entries.
    fn with_entries(&self, entries: &[Vec<u8>]) -> Self {
        let mut other = Self::of_entries(entries, self.key);
        let checkpoint = self.files["checkpoint"].clone();
        other.files.insert("checkpoint".into(), checkpoint);
        other
    }

    fn sign(&mut self, checkpoint: Checkpoint) {
        let log = log_key(self.key).sign_checkpoint(&checkpoint);
        let witness = witness_key().cosign(&checkpoint, 1_700_000_000);
        let note = Note {
            text: checkpoint.to_string(),
            signatures: vec![log, witness],
        };
        self.files
            .insert("checkpoint".into(), note.to_string().into());
    }

    fn note(&self) -> Note {
        Note::parse(&self.files["checkpoint"]).unwrap()
    }

    fn checkpoint(&self) -> Checkpoint {
        self.note().text.parse().unwrap()
    }

    fn audit(&self) -> Report {
        self.audit_since(None)
    }

    fn audit_since(&self, since: Option<Note>) -> Report {
        self.audit_with(since, NonZeroUsize::new(2).unwrap())
    }

    fn audit_with(&self, since: Option<Note>, threads: NonZeroUsize) -> Report {
        let (log, witness) = (log_key(7), witness_key());
        let policy = format!(
            "log {}\nwitness w {}\nquorum w\n",
            log.verifier(),
            witness.verifier()
        );
        let policy = Policy::parse(policy.as_bytes()).unwrap();
        audit::verify(self, &policy, &Options { since, threads }, &|_, _| {})
    }
}

fn log_key(seed: u8) -> SignerKey {
    SignerKey::from_seed("hub.example", Algorithm::Ed25519, &[seed; 32]).unwrap()
}

fn witness_key() -> SignerKey {
    SignerKey::from_seed("w.example", Algorithm::Ed25519Cosignature, &[9; 32]).unwrap()
}

/// The entry at an index, of one of three actors.
fn entry(index: u64) -> Vec<u8> {
    let actor = Actor {
        kind: ActorKind::Operator,
        id: match index % 3 {
            0 => Identity::Plain("hub".into()),
            other => Identity::Pseudonym(Digest([other as u8; 32])),
        },
        credential: Some(Digest([3; 32])),
        address: Some(Digest([4; 32])),
    };
    let at = Timestamp::from_millis(1_700_000_000_000 + index / 2);
    let mut entry = Entry::new(at, actor, "device.create");
    entry.changes.push(ledger::Change {
        object: ledger::Object {
            kind: "device".into(),
            id: format!("pump-{index}"),
            of: None,
        },
        before: Some(Digest([5; 32])),
        after: Some(Digest([6; 32])),
    });
    entry.request = Some(format!("request-{index}"));
    entry.previous = index.checked_sub(3);
    entry.encode().unwrap()
}
