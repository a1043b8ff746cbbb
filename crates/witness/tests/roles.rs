//! Witnesses, mirrors and the log's side of both, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{fs, sync::Arc};

use listen::{Shutdown, Tasks};
use serde_json::Value;
use support::{
    MemoryLog, ORIGIN, PATIENCE, Running, keys, log_key, new_folder, open, policy, stands, start,
    start_at,
};
use tlog::{Note, Policy, tile::tiles_of, witness::AddCheckpoint};
use witness::{Feeder, Log, OpenError, Role, Standing};

/// Sends the checkpoint of a log by hand, and answers status and body.
async fn add_checkpoint(to: &Running, log: &MemoryLog, old: u64) -> (u16, String) {
    let size = log.checkpoint().size;
    let request = AddCheckpoint {
        old,
        proof: log.consistency(old, size).unwrap_or_default(),
        note: log.note(),
    };
    post(to, "add-checkpoint", request.to_string().into_bytes()).await
}

async fn post(to: &Running, path: &str, body: Vec<u8>) -> (u16, String) {
    let url = format!("{}/{path}", to.url);
    let answer = reqwest::Client::new()
        .post(url)
        .body(body)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn get(from: &Running, path: &str) -> (u16, Vec<u8>) {
    let url = format!("{}/{path}", from.url);
    let answer = reqwest::Client::new().get(url).send().await.unwrap();
    (
        answer.status().as_u16(),
        answer.bytes().await.unwrap().to_vec(),
    )
}

/// The alarms, once the search for the split has ended.
async fn alarms(of: &Running) -> Vec<Value> {
    let waiting = async {
        loop {
            let (_, body) = get(of, "alarms").await;
            let alarms: Vec<Value> = serde_json::from_slice(&body).unwrap();
            if alarms.iter().all(|alarm| alarm["finding"] != "sought") {
                return alarms;
            }
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap()
}

fn origin_hash() -> String {
    use aws_lc_rs::digest::{SHA256, digest};
    hex::encode(digest(&SHA256, ORIGIN.as_bytes()))
}

/// Feeds a policy until the answer is dropped.
fn feed(log: &Arc<MemoryLog>, policy: &Policy) -> listen::ShutdownTrigger {
    let (trigger, shutdown) = Shutdown::new();
    let feeder = Feeder::new(policy, &[]).unwrap();
    feeder.run(log, &Tasks::new(10), &shutdown).unwrap();
    trigger
}

#[tokio::test(flavor = "multi_thread")]
async fn three_witnesses_and_a_mirror_make_a_checkpoint_final() {
    let place = tempfile::tempdir().unwrap();
    let witnesses = [1, 2, 3].map(|number| {
        let folder = new_folder(place.path(), &number.to_string());
        start(&folder, Role::Witness, number, None)
    });
    let copy = new_folder(place.path(), "4");
    let mirror = start(&copy, Role::Mirror, 4, None);
    let [one, two, three] = &witnesses;
    let quorum = "group w 2 w1 w2 w3\ngroup pq all w1-pq w4-pq\ngroup q all w pq w4\nquorum q\n";
    let policy = policy(&[one, two, three, &mirror], quorum);
    let log = MemoryLog::new();
    let feeding = feed(&log, &policy);
    for size in [1, 2, 255, 256, 257, 1000, 20_000] {
        log.grow(size, "entry");
        log.cosigned_by(8).await;
        let standing = stands(&policy, &log);
        assert!(standing.is_final(), "{size}: {standing:?}");
        assert_eq!(standing.witnesses().count(), 8);
    }
    drop(feeding);
    for name in ["w1", "w1-pq", "w4", "w4-pq"] {
        assert_eq!(log.seen.borrow().standing(name), Some(&Standing::Cosigns));
    }

    // The mirror's copy is whole, and serves the checkpoint with its own cosignature.
    let hash = origin_hash();
    let (status, note) = get(&mirror, &format!("{hash}/checkpoint")).await;
    assert_eq!(status, 200);
    let note = Note::parse(&note).unwrap();
    assert_eq!(note.text, log.note().text);
    assert_eq!(note.signatures.len(), 3);
    for tile in tiles_of(20_000) {
        assert!(
            copy.join("logs").join(&hash).join(tile.path()).is_file(),
            "{tile}"
        );
    }
    let (status, bytes) = get(&mirror, &format!("{hash}/tile/0/000.p/7")).await;
    assert_eq!((status, bytes.len()), (200, 7 * 32));
    let (status, _) = get(&mirror, &format!("{hash}/tile/0/../state")).await;
    assert_eq!(status, 404);
    let (status, _) = get(one, &format!("{hash}/tile/0/000")).await;
    assert_eq!(status, 404);
    let (status, _) = get(one, &format!("{hash}/checkpoint")).await;
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_that_is_gone_delays_nobody_and_is_caught_up_later() {
    let place = tempfile::tempdir().unwrap();
    let folders = [1, 2].map(|number| new_folder(place.path(), &number.to_string()));
    let one = start(&folders[0], Role::Witness, 1, None);
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", gone.local_addr().unwrap());
    let lines: String = (0..2)
        .map(|key| {
            let key = keys(2)[key].verifier().to_string();
            format!("witness x{} {key} {silent}\n", key.len())
        })
        .collect();
    let text = format!("{}{lines}quorum w1\n", one.lines());
    let policy = Policy::parse(text.as_bytes())
        .unwrap()
        .with_log(log_key().verifier().clone());
    let log = MemoryLog::new();
    let feeding = feed(&log, &policy);
    for size in [1, 2, 3, 300] {
        log.grow(size, "entry");
        log.cosigned_by(2).await;
        assert!(stands(&policy, &log).is_final());
    }
    drop((feeding, gone));

    // A feeder that knows nothing learns from the witness where to begin.
    let two = start(&folders[1], Role::Mirror, 2, None);
    log.seen.send_replace(support::Seen::default());
    log.grow(400, "entry");
    let feeding = feed(&log, &support::policy(&[&one, &two], "quorum w2\n"));
    log.cosigned_by(4).await;
    assert!(
        log.seen
            .borrow()
            .standings
            .iter()
            .all(|(_, one)| *one == Standing::Cosigns)
    );
    drop(feeding);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_history_is_refused_and_the_mirror_names_where_they_part() {
    let place = tempfile::tempdir().unwrap();
    // The second history has its own mirror, which serves its tiles as the log would.
    let other = MemoryLog::new();
    let [honest, later] = [MemoryLog::new(), MemoryLog::new()];
    honest.grow(700, "entry");
    for log in [&other, &later] {
        log.grow(500, "entry");
    }
    other.grow(600, "other");
    later.grow(900, "later");
    let second = new_folder(place.path(), "second");
    let second = start(&second, Role::Mirror, 9, None);
    let feeding = feed(&other, &policy(&[&second], "quorum none\n"));
    for size in [600, 700] {
        other.grow(size, "other");
        other.cosigned_by(2).await;
    }
    drop(feeding);

    let url = format!("{}/{}", second.url, origin_hash());
    let mirror = new_folder(place.path(), "mirror");
    let mirror = start(&mirror, Role::Mirror, 1, Some(url.clone()));
    let witness = new_folder(place.path(), "witness");
    let witness = start(&witness, Role::Witness, 2, None);
    let feeding = feed(&honest, &policy(&[&mirror, &witness], "quorum none\n"));
    honest.cosigned_by(4).await;
    drop(feeding);

    // The same size and another root, from a sender that knows the size and from one that does not.
    let (status, _) = add_checkpoint(&mirror, &other, 700).await;
    assert_eq!(status, 409);
    let (status, body) = add_checkpoint(&witness, &other, 5).await;
    assert_eq!((status, body.as_str()), (409, "700\n"));
    let found = alarms(&mirror).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["first_difference"], 500, "{found:?}");
    assert_eq!(found[0]["kind"], "two-roots");
    for (part, log) in [("known", &honest), ("refused", &other)] {
        let note: Note = found[0][part].as_str().unwrap().parse().unwrap();
        assert_eq!(note.text, log.note().text);
        assert!(
            log_key()
                .verifier()
                .verify(&note.text, &note.signatures[0])
                .is_ok()
        );
    }
    let found = alarms(&witness).await;
    assert_eq!(
        found[0]["between"],
        serde_json::json!([0, 700]),
        "{found:?}"
    );

    // A root of the past that the mirror knows to be another.
    let past = MemoryLog::new();
    past.grow(500, "entry");
    past.grow(600, "other");
    for (to, alarmed) in [(&mirror, 2), (&witness, 1)] {
        let (status, body) = add_checkpoint(to, &past, 0).await;
        assert_eq!((status, body.as_str()), (409, "700\n"));
        assert_eq!(alarms(to).await.len(), alarmed);
    }
    let found = alarms(&mirror).await;
    let older = found
        .iter()
        .find(|alarm| alarm["kind"] == "other-past")
        .unwrap();
    assert_eq!(older["first_difference"], 500);
    let truth = MemoryLog::new();
    truth.grow(600, "entry");
    assert_eq!(add_checkpoint(&mirror, &truth, 0).await.0, 409);
    assert_eq!(alarms(&mirror).await.len(), 2, "what was true is no alarm");

    // A longer tree over another beginning, whose tiles nobody serves.
    for to in [&mirror, &witness] {
        assert_eq!(add_checkpoint(to, &later, 700).await.0, 422);
        assert_eq!(
            add_checkpoint(to, &later, 700).await.0,
            422,
            "asking twice changes nothing"
        );
    }
    let found = alarms(&mirror).await;
    assert_eq!(found.len(), 3);
    let bounded = found
        .iter()
        .find(|alarm| alarm["kind"] == "no-extension")
        .unwrap();
    assert_eq!(bounded["between"], serde_json::json!([0, 700]));

    // The log's side raises an alarm too, and the honest history goes on.
    let feeding = feed(&later, &policy(&[&mirror, &witness], "quorum none\n"));
    let other_history =
        |standing: Option<&Standing>| matches!(standing, Some(Standing::OtherHistory(_)));
    later
        .until("alarmed", |seen| {
            other_history(seen.standing("w1")) && other_history(seen.standing("w2"))
        })
        .await;
    assert!(later.seen.borrow().signatures.is_empty());
    drop(feeding);
    honest.grow(800, "entry");
    let (status, _) = add_checkpoint(&witness, &honest, 700).await;
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_refused_as_the_protocol_says() {
    let place = tempfile::tempdir().unwrap();
    let folder = new_folder(place.path(), "w");
    let witness = start(&folder, Role::Witness, 1, None);
    let log = MemoryLog::new();
    log.grow(3, "entry");
    let request = AddCheckpoint {
        old: 0,
        proof: Vec::new(),
        note: log.note(),
    };
    let text = request.to_string();
    for (body, expected) in [
        (text.replace("log.example", "other.example"), 404),
        (text.replacen("\n3\n", "\n4\n", 1), 403),
        (text.replace("old 0", "old 4"), 400),
        (text.replace("old 0", "old 00"), 400),
        ("x".repeat(300_000), 413),
        (text.replace("old 0", "old 3"), 409),
        (text.clone(), 200),
        (text.replace("old 0", "old 3"), 200),
    ] {
        let (status, said) = post(&witness, "add-checkpoint", body.clone().into()).await;
        assert_eq!(status, expected, "{said} {body:.300}");
    }
    assert_eq!(post(&witness, "add-entries", Vec::new()).await.0, 404);
    assert_eq!(post(&witness, "alarms", Vec::new()).await.0, 405);
    assert_eq!(get(&witness, "healthz").await, (200, b"ok\n".to_vec()));
    assert!(alarms(&witness).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_takes_nothing_that_is_not_proven() {
    let place = tempfile::tempdir().unwrap();
    let folder = new_folder(place.path(), "m");
    let mirror = start(&folder, Role::Mirror, 1, None);
    let log = MemoryLog::new();
    log.grow(300, "entry");
    let head = |start: u64, end: u64| tlog::mirror::AddEntries {
        origin: ORIGIN.into(),
        start,
        end,
        ticket: Vec::new(),
    };
    let upload = |head: &tlog::mirror::AddEntries, packages: usize| {
        let mut body = head.encode();
        for span in head.spans().take(packages) {
            let package = tlog::mirror::Package {
                entries: log.entries(span.start, span.end).unwrap(),
                proof: log.subtree(span.tile, span.end, head.end).unwrap(),
            };
            body.extend(package.encode());
        }
        body
    };
    let told = |next: u64| format!("300\n{next}\n\n");
    let asked = post(&mirror, "add-entries", head(0, 0).encode()).await;
    assert_eq!(asked, (409, "0\n0\n\n".into()));
    assert_eq!(add_checkpoint(&mirror, &log, 0).await, (200, String::new()));
    let (status, _) = get(&mirror, &format!("{}/checkpoint", origin_hash())).await;
    assert_eq!(status, 404, "a mirror signs only what it holds");
    assert_eq!(
        post(&mirror, "add-entries", head(0, 0).encode()).await,
        (409, told(0))
    );

    let whole = upload(&head(0, 300), 2);
    let mut changed = whole.clone();
    changed[60] ^= 1;
    assert_eq!(post(&mirror, "add-entries", changed).await.0, 422);
    let cut = whole[..200].to_vec();
    assert_eq!(post(&mirror, "add-entries", cut).await.0, 400);
    assert_eq!(post(&mirror, "add-entries", b"\0".to_vec()).await.0, 400);
    let ahead = upload(&head(256, 300), 1);
    assert_eq!(
        post(&mirror, "add-entries", ahead.clone()).await,
        (409, told(0))
    );
    let first = upload(&head(0, 300), 1);
    let with_more = [&first[..], b"\0"].concat();
    assert_eq!(
        post(&mirror, "add-entries", with_more).await,
        (202, told(256))
    );
    let again = post(&mirror, "add-entries", whole).await;
    assert_eq!(again.0, 200, "{}", again.1);
    assert_eq!(again.1.lines().count(), 2);
    let (status, signed) = post(&mirror, "add-entries", head(300, 300).encode()).await;
    assert_eq!((status, signed.lines().count()), (200, 2));
    let gzip = reqwest::Client::new()
        .post(format!("{}/add-entries", mirror.url))
        .header("Content-Encoding", "gzip")
        .body(ahead);
    assert_eq!(gzip.send().await.unwrap().status().as_u16(), 415);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_where_it_was_and_a_clock_that_went_back_signs_nothing() {
    let place = tempfile::tempdir().unwrap();
    let log = MemoryLog::new();
    log.grow(300, "entry");
    for (role, number) in [(Role::Witness, 1), (Role::Mirror, 2)] {
        let folder = new_folder(place.path(), &number.to_string());
        let running = start(&folder, role, number, None);
        let feeding = feed(&log, &policy(&[&running], "quorum none\n"));
        let before = log.seen.borrow().signatures.len();
        log.until("cosigned", |seen| seen.signatures.len() >= before + 2)
            .await;
        drop(feeding);
        running.stop().await;
        let running = start_at(&folder, role, number, None, support::NOW - 1);
        let (status, size) = add_checkpoint(&running, &log, 0).await;
        assert_eq!((status, size.as_str()), (409, "300\n"));
        let head = tlog::mirror::AddEntries {
            origin: ORIGIN.into(),
            start: 300,
            end: 300,
            ticket: Vec::new(),
        };
        let (status, said) = match role {
            Role::Witness => add_checkpoint(&running, &log, 300).await,
            Role::Mirror => post(&running, "add-entries", head.encode()).await,
        };
        assert_eq!(status, 503, "{said}");
        assert!(said.contains("clock"), "{said}");
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_down_is_not_signed() {
    let place = tempfile::tempdir().unwrap();
    let log = MemoryLog::new();
    log.grow(3, "entry");
    for (role, number) in [(Role::Witness, 1), (Role::Mirror, 2)] {
        let folder = new_folder(place.path(), &number.to_string());
        let running = start(&folder, role, number, None);
        let state = folder.join("logs").join(origin_hash()).join("state");
        let before = fs::read(&state).unwrap();
        // Where the new state is prepared, nothing can be written.
        let beside = state.with_extension("new");
        fs::create_dir(&beside).unwrap();
        let (status, said) = add_checkpoint(&running, &log, 0).await;
        assert_eq!(status, 503);
        assert!(said.contains("cannot be written down"), "{said}");
        assert_eq!(get(&running, "healthz").await.0, 503);
        assert_eq!(fs::read(&state).unwrap(), before);
        fs::remove_dir(&beside).unwrap();
        assert_eq!(add_checkpoint(&running, &log, 0).await.0, 200);
        assert_eq!(get(&running, "healthz").await.0, 200);
    }
}

#[test]
fn what_was_seen_is_never_forgotten_in_silence() {
    let place = tempfile::tempdir().unwrap();
    let log = MemoryLog::new();
    log.grow(300, "entry");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = new_folder(place.path(), "m");
    runtime.block_on(async {
        let running = start(&folder, Role::Mirror, 1, None);
        let feeding = feed(&log, &policy(&[&running], "quorum none\n"));
        log.cosigned_by(2).await;
        drop(feeding);
        running.stop().await;
    });
    let opened = || open(&folder, Role::Mirror, 1, None);
    assert!(opened().is_ok());
    let hash = folder.join("logs").join(origin_hash());
    for path in [folder.join("logs/known"), hash.join("state")] {
        let good = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(matches!(opened(), Err(OpenError::Missing(missing)) if missing == path));
        for at in [0, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, bad).unwrap();
            assert!(
                matches!(opened(), Err(OpenError::Damaged { .. })),
                "{path:?} {at}"
            );
        }
        fs::write(&path, good).unwrap();
    }
    // With its name taken from the list, the state itself is evidence that it was known.
    let known = folder.join("logs/known");
    let good = fs::read(&known).unwrap();
    let empty = new_folder(place.path(), "empty");
    fs::copy(empty.join("logs/known"), &known).unwrap();
    assert!(matches!(opened(), Err(OpenError::Damaged { .. })));
    fs::write(&known, good).unwrap();
    for tile in ["tile/0/001.p/44", "tile/entries/001.p/44", "tile/1/000.p/1"] {
        let path = hash.join(tile);
        let good = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(matches!(opened(), Err(OpenError::Damaged { .. })), "{tile}");
        fs::write(&path, good).unwrap();
    }
    assert!(opened().is_ok());
}
