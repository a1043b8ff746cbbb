//! Queues: what was acknowledged is there after a crash, in order, once.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests; the lint knows only the tests themselves"
)]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use bytes::Bytes;
use model::{ClientId, Timestamp, TopicFilter, TopicName};
use proptest::prelude::*;
use store::{
    Enqueue, Message, OpenError, QueueOp, Queued, QueuedMessage, RetainedMessage, SessionKey,
    SessionRecord, Store, StoredWill, SubscriptionRecord,
};

fn message(topic: &str, payload: impl Into<Bytes>) -> Arc<Message> {
    Arc::new(Message {
        topic: TopicName::new(topic.to_owned()).unwrap(),
        payload: payload.into(),
        properties: Bytes::from_static(b"\x01\x02"),
        published_at: Timestamp::from_millis(7),
        expires_at: None,
    })
}

fn enqueue(session: i64, seq: u64, message: &Arc<Message>) -> QueueOp {
    QueueOp::Enqueue(Enqueue {
        session: SessionKey(session),
        seq,
        qos: 1,
        retain: false,
        subscription_ids: Box::default(),
        message: Arc::clone(message),
    })
}

fn dequeue(session: i64, seq: u64) -> QueueOp {
    QueueOp::Dequeue {
        session: SessionKey(session),
        seq,
    }
}

fn session(key: i64, client: &str) -> SessionRecord {
    SessionRecord {
        key: SessionKey(key),
        client_id: ClientId::new(client).unwrap(),
        protocol: 5,
        expiry_seconds: 3600,
        online: true,
        expires_at: None,
        next_seq: 1,
        sent_through: 0,
        principal: "certificate/abc".into(),
        created_at: Timestamp::from_millis(1),
    }
}

fn append(store: &Store, ops: Vec<QueueOp>) {
    store.queues().append(ops).wait().unwrap();
}

fn read_all(store: &Store, session: i64) -> Vec<QueuedMessage> {
    store
        .queues()
        .read_queue(SessionKey(session), 0, usize::MAX, usize::MAX)
        .unwrap()
}

fn seqs(store: &Store, session: i64) -> Vec<u64> {
    read_all(store, session)
        .iter()
        .map(|place| place.seq)
        .collect()
}

/// The folder as `kill -9` would leave it: copied while the store still runs.
fn crash(store: &Store) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(store.folder()).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_name().to_string_lossy().ends_with("-shm") {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    copy
}

#[test]
fn everything_about_a_session_is_there_after_a_crash() {
    let store = Store::open_temporary().unwrap();
    let record = session(1, "pump-1");
    let subscription = SubscriptionRecord {
        filter: TopicFilter::new("$share/g/a/+").unwrap(),
        options: 0b10_1110,
        subscription_id: Some(268_435_455),
    };
    let will = StoredWill {
        delay_seconds: 30,
        due_at: Some(Timestamp::from_millis(99)),
        qos: 2,
        retain: true,
        message: message("will", "gone"),
    };
    let body = message("a/b", "hello");
    append(
        &store,
        vec![
            QueueOp::PutSession(Box::new(record.clone())),
            QueueOp::Subscribe {
                session: record.key,
                subscription: subscription.clone(),
            },
            QueueOp::PutWill {
                session: record.key,
                will: Box::new(will.clone()),
            },
            QueueOp::InboundReceived {
                session: record.key,
                packet_id: 65_535,
            },
            QueueOp::Enqueue(Enqueue {
                session: record.key,
                seq: 41,
                qos: 2,
                retain: true,
                subscription_ids: [1, 268_435_455].into(),
                message: Arc::clone(&body),
            }),
            enqueue(1, 42, &body),
            QueueOp::Release {
                session: record.key,
                seq: 42,
            },
        ],
    );
    let folder = crash(&store);
    let reopened = Store::open(folder.path()).unwrap();
    let loaded = reopened.queues().load().unwrap();
    assert_eq!(
        loaded.sessions,
        [SessionRecord {
            next_seq: 43,
            ..record.clone()
        }]
    );
    assert_eq!(loaded.subscriptions, [(record.key, subscription)]);
    assert_eq!(loaded.wills, [(record.key, will)]);
    assert_eq!(loaded.inbound, [(record.key, 65_535)]);
    assert_eq!(loaded.backlog[0].messages, 2);
    assert_eq!(loaded.backlog[0].bytes, 10);
    assert_eq!(
        read_all(&reopened, 1),
        [
            QueuedMessage {
                seq: 41,
                content: Queued::Message {
                    qos: 2,
                    retain: true,
                    subscription_ids: [1, 268_435_455].into(),
                    message: body,
                },
            },
            QueuedMessage {
                seq: 42,
                content: Queued::Released,
            },
        ]
    );
    assert!(reopened.queues().next_session_key() > record.key);
    append(
        &reopened,
        vec![QueueOp::DeleteSession {
            session: record.key,
        }],
    );
    assert_eq!(reopened.queues().load().unwrap(), store::Loaded::default());
    assert!(read_all(&reopened, 1).is_empty());
}

#[test]
fn a_retained_message_is_replaced_and_removed() {
    let store = Store::open_temporary().unwrap();
    let retain = |message: &Arc<Message>| {
        QueueOp::Retain(RetainedMessage {
            qos: 1,
            message: Arc::clone(message),
        })
    };
    let (old, new, other) = (message("t", "old"), message("t", "new"), message("u", ""));
    append(&store, vec![retain(&old), retain(&other), retain(&new)]);
    let kept = store.queues().load_retained().unwrap();
    assert_eq!(kept.len(), 2);
    assert_eq!(kept[0].message, new);
    append(
        &store,
        vec![QueueOp::Unretain {
            topic: new.topic.clone(),
        }],
    );
    assert_eq!(store.queues().load_retained().unwrap()[0].message, other);
}

#[test]
fn a_page_of_a_queue_respects_both_limits_and_is_never_empty_before_the_end() {
    let store = Store::open_temporary().unwrap();
    let body = message("t", vec![b'x'; 97]);
    append(&store, (1..=10).map(|seq| enqueue(1, seq, &body)).collect());
    let page = |after, messages, bytes| {
        let places = store
            .queues()
            .read_queue(SessionKey(1), after, messages, bytes)
            .unwrap();
        places.iter().map(|place| place.seq).collect::<Vec<_>>()
    };
    assert_eq!(page(0, 3, usize::MAX), [1, 2, 3]);
    assert_eq!(page(3, 100, 250), [4, 5]);
    assert_eq!(page(9, 100, 1), [10]);
    assert!(page(10, 100, 100).is_empty());
}

#[test]
fn a_large_message_for_many_sessions_is_kept_once() {
    let store = Store::open_temporary().unwrap();
    let body = message("big", vec![b'x'; 128 * 1024]);
    append(
        &store,
        (1..=1000).map(|key| enqueue(key, 1, &body)).collect(),
    );
    let size = std::fs::metadata(store.folder().join("queues.db-wal"))
        .unwrap()
        .len();
    assert!(
        size < 2 * 1024 * 1024,
        "{size} bytes for one body of 128 KiB"
    );
    let (first, rest) = (read_all(&store, 1), read_all(&store, 1000));
    assert_eq!(first, rest);
    assert!(matches!(&first[0].content, Queued::Message { message, .. } if *message == body));
    // The body lives as long as its last user.
    append(&store, (1..1000).map(|key| dequeue(key, 1)).collect());
    assert_eq!(read_all(&store, 1000), rest);
    append(
        &store,
        vec![QueueOp::Release {
            session: SessionKey(1000),
            seq: 1,
        }],
    );
    assert_eq!(read_all(&store, 1000)[0].content, Queued::Released);
    let folder = crash(&store);
    let file = rusqlite::Connection::open(folder.path().join("queues.db")).unwrap();
    let bodies: i64 = file
        .query_row("SELECT count(*) FROM bodies", [], |row| row.get(0))
        .unwrap();
    assert_eq!(bodies, 0);
}

#[test]
fn what_expired_is_removed_and_named() {
    let store = Store::open_temporary().unwrap();
    let brief = Arc::new(Message {
        expires_at: Some(Timestamp::from_millis(100)),
        ..(*message("t", "brief")).clone()
    });
    let lasting = message("t", "lasting");
    append(
        &store,
        vec![
            enqueue(1, 1, &brief),
            enqueue(1, 2, &lasting),
            enqueue(2, 1, &brief),
            QueueOp::Retain(RetainedMessage {
                qos: 0,
                message: brief,
            }),
        ],
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let expire = |millis| {
        runtime
            .block_on(
                store
                    .queues()
                    .remove_expired(Timestamp::from_millis(millis)),
            )
            .unwrap()
    };
    assert_eq!(expire(99), store::Expired::default());
    let expired = expire(100);
    assert_eq!(expired.queued.len(), 2);
    assert_eq!(expired.queued[0].messages, 1);
    assert_eq!(expired.retained, [TopicName::new("t").unwrap()]);
    assert_eq!(seqs(&store, 1), [2]);
    assert!(store.queues().load_retained().unwrap().is_empty());
}

#[test]
fn a_second_process_is_told_that_the_folder_is_in_use() {
    let store = Store::open_temporary().unwrap();
    assert!(matches!(
        Store::open(store.folder()),
        Err(OpenError::InUse { .. })
    ));
}

#[test]
fn a_foreign_or_newer_or_broken_file_is_refused_by_name() {
    let tamper = |change: &dyn Fn(&Path)| {
        let store = Store::open_temporary().unwrap();
        append(&store, vec![QueueOp::PutSession(Box::new(session(1, "c")))]);
        let folder = crash(&store);
        change(folder.path());
        Store::open(folder.path()).unwrap_err()
    };
    let sql = |folder: &Path, sql: &str| {
        let file = rusqlite::Connection::open(folder.join("queues.db")).unwrap();
        file.execute_batch(sql).unwrap();
    };
    assert!(matches!(
        tamper(&|folder| sql(folder, "PRAGMA user_version = 9999")),
        OpenError::Newer { found: 9999, .. }
    ));
    assert!(matches!(
        tamper(&|folder| sql(folder, "PRAGMA application_id = 1")),
        OpenError::Damaged { .. }
    ));
    assert!(matches!(
        tamper(&|folder| {
            std::fs::remove_file(folder.join("queues.db-wal")).unwrap();
            std::fs::write(folder.join("queues.db"), [b'x'; 8192]).unwrap();
        }),
        OpenError::Damaged { .. }
    ));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Whatever the grouping, a queue holds what was queued and not taken, in order.
    #[test]
    fn a_queue_keeps_order_and_loses_nothing(
        steps in proptest::collection::vec((1_i64..4, 0_u8..4, 0_usize..8), 1..120),
        flush in proptest::collection::vec(any::<bool>(), 120),
    ) {
        let store = Store::open_temporary().unwrap();
        let small = message("s", "small");
        let large = message("l", vec![b'y'; 600]);
        let mut expected: BTreeMap<i64, BTreeMap<u64, bool>> = BTreeMap::new();
        let mut next = BTreeMap::new();
        let mut last = store::Commit::nothing();
        for (at, (key, verb, pick)) in steps.into_iter().enumerate() {
            let mut ops = Vec::new();
            let mut put = |key: i64, body, expected: &mut BTreeMap<i64, BTreeMap<u64, bool>>| {
                let seq = next.entry(key).or_insert(0_u64);
                *seq += 1;
                expected.entry(key).or_default().insert(*seq, false);
                enqueue(key, *seq, body)
            };
            let waiting = expected.entry(key).or_default();
            let picked = waiting.keys().nth(pick).copied();
            match (verb, picked) {
                (0, _) => ops.push(put(key, &small, &mut expected)),
                (1, _) => ops.extend((1..4).map(|key| put(key, &large, &mut expected))),
                (2, Some(seq)) => {
                    waiting.remove(&seq);
                    ops.push(dequeue(key, seq));
                }
                (_, Some(seq)) => {
                    waiting.insert(seq, true);
                    ops.push(QueueOp::Release { session: SessionKey(key), seq });
                }
                (_, None) => {}
            }
            last = store.queues().append(ops);
            if flush[at] {
                last.wait().unwrap();
                last = store::Commit::nothing();
            }
        }
        last.wait().unwrap();
        append(&store, vec![QueueOp::DeleteWill { session: SessionKey(0) }]);
        let folder = crash(&store);
        let reopened = Store::open(folder.path()).unwrap();
        for (key, waiting) in expected {
            let found: Vec<_> = read_all(&reopened, key)
                .iter()
                .map(|place| (place.seq, place.content == Queued::Released))
                .collect();
            prop_assert_eq!(found, waiting.into_iter().collect::<Vec<_>>());
        }
    }
}

const CRASH_FOLDER: &str = "SEKISHO_TEST_CRASH_FOLDER";

/// The child of the test below: queues for ever and prints what is on disk.
#[test]
#[ignore = "run by a_killed_process_loses_nothing_it_acknowledged"]
fn child_that_is_killed() {
    use std::io::Write;
    let Some(folder) = std::env::var_os(CRASH_FOLDER) else {
        return;
    };
    let store = Store::open(Path::new(&folder)).unwrap();
    let body = message("t", vec![b'z'; 300]);
    for seq in 1.. {
        append(&store, vec![enqueue(1, seq, &body), enqueue(2, seq, &body)]);
        if seq % 3 == 0 {
            append(&store, vec![dequeue(2, seq)]);
        }
        writeln!(std::io::stdout(), "acknowledged {seq}").unwrap();
    }
}

#[test]
fn a_killed_process_loses_nothing_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
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
    let mut acknowledged = 0;
    while acknowledged < 50 {
        let line = lines.next().unwrap().unwrap();
        if let Some((_, seq)) = line.split_once("acknowledged ") {
            acknowledged = seq.parse().unwrap();
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it printed before it died counts too.
    for line in lines.map_while(Result::ok) {
        if let Some((_, seq)) = line.split_once("acknowledged ") {
            acknowledged = seq.parse().unwrap_or(acknowledged);
        }
    }
    let store = Store::open(folder.path()).unwrap();
    let kept = seqs(&store, 1);
    assert!(kept.len() as u64 >= acknowledged);
    assert!(kept.iter().copied().eq(1..=kept.len() as u64));
    let thinned = seqs(&store, 2);
    assert!((1..=acknowledged).all(|seq| thinned.contains(&seq) == (seq % 3 != 0)));
}

/// Not a benchmark, an order of magnitude: even an unoptimized build queues fast in groups.
#[test]
#[ignore = "prints a rate; run by hand"]
fn rate_of_group_commit() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let body = message("devices/pump-1/telemetry", vec![b'x'; 100]);
    #[expect(clippy::disallowed_methods, reason = "measures real time")]
    let start = std::time::Instant::now();
    let mut last = store::Commit::nothing();
    for seq in 1..=200_000 {
        last = store
            .queues()
            .append(vec![enqueue(seq % 1000, seq.cast_unsigned(), &body)]);
    }
    last.wait().unwrap();
    let rate = 200_000.0 / start.elapsed().as_secs_f64();
    println!("{rate:.0} messages/s");
}
