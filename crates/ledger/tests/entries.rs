//! What an entry is, sentence by sentence.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use ledger::{
    Actor, ActorKind, Change, Digest, Entry, EntryTooLarge, EntryView, Identity, InvalidCbor,
    InvalidEntry, Object, Verb,
};
use model::{Timestamp, limits};
use proptest::{collection::vec, option, prelude::*};

fn attach() -> Entry {
    let mut entry = Entry::new(
        Timestamp::from_millis(1_790_000_000_123),
        Actor {
            kind: ActorKind::Operator,
            id: Identity::Pseudonym(Digest([0xa1; 32])),
            credential: Some(Digest([0xc2; 32])),
            address: Some(Digest([0xad; 32])),
        },
        Verb::DeviceAttach,
    );
    entry.changes = vec![change(
        "attachment",
        &format!("certificate/{}", "7f".repeat(32)),
        Some("device/pump-1"),
    )];
    entry.request = Some("0b5c1c3e-8a57-4d0e-9d3e-6a6f0c3b9a11".to_owned());
    entry.previous = Some(41);
    entry.with_detail("exclusive", "false")
}

fn change(kind: &str, id: &str, of: Option<&str>) -> Change {
    Change {
        object: Object {
            kind: kind.to_owned(),
            id: id.to_owned(),
            of: of.map(str::to_owned),
        },
        before: None,
        after: Some(Digest([0xaf; 32])),
    }
}

#[test]
fn an_entry_is_written_as_committed() {
    let bytes = attach().encode().unwrap();
    let mut page = String::from(
        "# One entry of the ledger: its bytes (64 hexadecimal digits a line), and what they say in\n\
         # the diagnostic notation of CBOR (RFC 8949, section 8).\n\n",
    );
    for line in bytes.chunks(32) {
        for byte in line {
            page.push_str(&format!("{byte:02x}"));
        }
        page.push('\n');
    }
    page.push('\n');
    page.push_str(&ledger::diagnostic(&bytes).unwrap());
    page.push('\n');
    testkit::golden("ledger-entry.txt", &page);
}

#[test]
fn every_flipped_bit_is_another_entry_or_none() {
    let bytes = attach().encode().unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        ledger::exercise::entry(&flipped).unwrap();
        assert_ne!(Entry::decode(&flipped).ok(), Some(attach()), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(Entry::decode(&bytes[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn what_a_newer_version_wrote_is_refused_by_name() {
    let key = |key: &str| InvalidEntry::UnknownKey {
        key: key.to_owned(),
    };
    refused(b"\xa1\x61v\x02", InvalidEntry::Version { found: 2 });
    refused(b"\xa3\x61t\x00\x61v\x01\x63new\x00", key("new"));
    refused(b"\xa3\x61t\x00\x61v\x01\x65actor\xa1\x62is\x00", key("is"));
}

#[test]
fn what_is_not_the_one_encoding_of_an_entry_is_refused() {
    let missing = |key| InvalidEntry::Missing { key };
    let bounds = |what| InvalidEntry::Bounds { what };
    refused(b"", InvalidCbor::Truncated.into());
    refused(b"\xa0", missing("v"));
    refused(b"\xa1\x61v\x01", missing("t"));
    refused(
        b"\xa1\x61v\x01\x00",
        InvalidCbor::Trailing { bytes: 1 }.into(),
    );
    refused(b"\xa2\x61v\x01\x61t\x00", InvalidCbor::Unsorted.into());
    refused(b"\xa1\x61v\x18\x01", InvalidCbor::NotShortest.into());
    refused(b"\xa1\x64part\x82\x01\x01", bounds("the part"));
    refused(b"\xa1\x64part\x82\x00\x02", bounds("the part"));
    refused(b"\xa1\x64part\x82\x03\x02", bounds("the part"));
    refused(b"\xa1\x64part\x83\x01\x02\x03", bounds("the part"));
    refused(b"\xa1\x66detail\xa0", bounds("the detail"));
    refused(b"\xa1\x67changes\x80", bounds("the list of changes"));
    let bytes = limits::LEDGER_ENTRY_BYTES + 1;
    refused(&vec![0; bytes], InvalidEntry::TooLarge { bytes });
    refused(
        b"\xa1\x65actor\xa1\x62id\x41a",
        InvalidCbor::Unexpected {
            expected: "a digest of 32 bytes",
        }
        .into(),
    );
}

#[track_caller]
fn refused(bytes: &[u8], expected: InvalidEntry) {
    assert_eq!(Entry::decode(bytes), Err(expected));
}

#[test]
fn verbs_and_kinds_of_a_newer_version_are_read() {
    let mut entry = attach();
    entry.verb = "robot.wave".to_owned();
    entry.actor.kind = ActorKind::Other("robot".to_owned());
    entry.changes[0].object.kind = "arm".to_owned();
    assert_eq!(Entry::decode(&entry.encode().unwrap()), Ok(entry));
}

#[test]
fn an_entry_is_found_by_everything_it_concerns() {
    found_by(("device", "pump-1", None), &["device/pump-1"]);
    found_by(
        ("device", "pump-1/modules/valve", None),
        &["device/pump-1/modules/valve", "device/pump-1"],
    );
    found_by(
        ("attachment", "certificate/7f", Some("device/pump-1")),
        &["device/pump-1", "certificate/7f"],
    );
    found_by(
        ("policy-attachment", "policy/all", Some("group/pumps")),
        &["group/pumps", "policy/all"],
    );
    found_by(("policy-version", "3", Some("policy/all")), &["policy/all"]);
    found_by(("tag", "device/x", Some("group/pumps")), &["group/pumps"]);
    found_by(
        ("shadow", "", Some("device/pump-1/modules/valve")),
        &["device/pump-1/modules/valve", "device/pump-1"],
    );
    let mut twice = attach();
    twice.changes.push(twice.changes[0].clone());
    assert_eq!(twice.subjects().count(), 2);
}

#[track_caller]
fn found_by((kind, id, of): (&str, &str, Option<&str>), expected: &[&str]) {
    let mut entry = attach();
    entry.changes = vec![change(kind, id, of)];
    assert_eq!(entry.subjects().collect::<Vec<_>>(), expected);
    let bytes = entry.encode().unwrap();
    assert_eq!(EntryView::parse(&bytes).unwrap().subjects(), expected);
}

#[test]
fn a_large_deed_is_several_entries_in_order() {
    let mut entry = attach();
    let names: Vec<_> = (0..200).map(|n| format!("device-{n:0100}")).collect();
    entry.changes = names.iter().map(|id| change("device", id, None)).collect();
    for n in 0..20 {
        entry = entry.with_detail(&format!("note-{n}"), &"ä".repeat(400));
    }
    assert!(matches!(entry.encode(), Err(EntryTooLarge::Whole { .. })));
    let parts = entry.clone().split();
    let of = u32::try_from(parts.len()).unwrap();
    assert!(of > 5);
    let mut changes = Vec::new();
    let mut detail = std::collections::BTreeMap::new();
    for (number, part) in (1..).zip(&parts) {
        assert_eq!(part.part, Some((number, of)));
        assert_eq!(part.request, entry.request);
        assert_eq!(part.previous, entry.previous.filter(|_| number == 1));
        let mut numbered = part.clone();
        numbered.previous = Some(u64::MAX);
        assert!(numbered.encode().is_ok(), "part {number}");
        changes.extend(part.changes.clone());
        detail.extend(part.detail.clone());
    }
    assert_eq!(changes, entry.changes);
    assert_eq!(detail, entry.detail);
    assert_eq!(attach().split(), [attach()]);
}

#[test]
fn a_value_above_its_own_bound_is_named() {
    let mut entry = attach();
    entry.changes[0].object.id = "x".repeat(limits::LEDGER_ID_BYTES + 1);
    let expected = EntryTooLarge::Field {
        what: "an object's name",
        bytes: limits::LEDGER_ID_BYTES + 1,
        limit: limits::LEDGER_ID_BYTES,
    };
    assert_eq!(entry.encode(), Err(expected.clone()));
    let parts = entry.split();
    assert!(
        parts
            .iter()
            .any(|part| part.encode() == Err(expected.clone()))
    );
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

prop_compose! {
    fn some_change()(
        kind in "[a-z-]{0,64}",
        id in "\\PC{0,60}",
        of in option::of("\\PC{0,60}"),
        before in option::of(digest()),
        after in option::of(digest()),
    ) -> Change {
        Change { object: Object { kind, id, of }, before, after }
    }
}

prop_compose! {
    fn some_actor()(
        kind in "[a-z]{0,20}",
        plain in "\\PC{0,60}",
        pseudonym in option::of(digest()),
        credential in option::of(digest()),
        address in option::of(digest()),
    ) -> Actor {
        let kind = ActorKind::of_name(&kind);
        let id = pseudonym.map_or(Identity::Plain(plain), Identity::Pseudonym);
        Actor { kind, id, credential, address }
    }
}

prop_compose! {
    fn some_entry()(
        at in any::<u64>(),
        actor in some_actor(),
        verb in "[a-z.]{0,30}",
        changes in vec(some_change(), 0..12),
        part in option::of((any::<u32>(), any::<u32>())),
        detail in proptest::collection::btree_map("\\PC{0,15}", "\\PC{0,100}", 0..8),
        request in option::of("[0-9a-f-]{36}"),
        previous in option::of(any::<u64>()),
    ) -> Entry {
        let part = part.map(|(n, of)| {
            let of = of.max(2);
            (n % of + 1, of)
        });
        Entry { at: Timestamp::from_millis(at), actor, verb, changes, part, detail, request, previous }
    }
}

proptest! {
    #[test]
    fn an_entry_reads_back(entry in some_entry()) {
        for part in entry.split() {
            let bytes = part.encode().unwrap();
            prop_assert_eq!(Entry::decode(&bytes).unwrap(), part);
            ledger::exercise::entry(&bytes).unwrap();
        }
    }

    #[test]
    fn only_what_writes_back_alike_is_read(
        entry in some_entry(),
        edits in vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<proptest::sample::Index>(),
    ) {
        let Ok(mut bytes) = entry.encode() else { return Ok(()) };
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        ledger::exercise::entry(&bytes).unwrap();
        bytes.remove(cut.index(bytes.len()));
        ledger::exercise::entry(&bytes).unwrap();
    }
}

#[test]
#[ignore = "prints a rate; run by hand, in a release build"]
fn entries_are_read_at_a_million_per_second() {
    let bytes = attach().encode().unwrap();
    let rounds = 1_000_000;
    #[expect(clippy::disallowed_methods, reason = "it measures")]
    let start = std::time::Instant::now();
    for _ in 0..rounds {
        let view = EntryView::parse(std::hint::black_box(&bytes)).unwrap();
        std::hint::black_box(view);
    }
    let nanos = start.elapsed().as_nanos() / rounds;
    #[expect(clippy::print_stdout, reason = "it measures")]
    {
        println!("{} bytes: {nanos} ns", bytes.len());
    }
}
