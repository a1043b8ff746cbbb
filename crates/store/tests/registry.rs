//! The registry's file: group commit, refused jobs, timelines.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests; the lint knows only the tests themselves"
)]

use std::{collections::BTreeMap, sync::Arc};

use model::{DeviceId, Timestamp, limits};
use registry::{AttributeChange, DeviceRecord};
use store::{FailedConnection, Failure, Store, TimelineEntry, WriteTxn};

fn device(id: &str) -> DeviceRecord {
    let attributes = AttributeChange::Replace(BTreeMap::new());
    let (id, now) = (DeviceId::new(id).unwrap(), Timestamp::from_millis(1));
    DeviceRecord::new(id, "u".into(), None, attributes, now).unwrap()
}

#[derive(Debug, Eq, PartialEq)]
struct No;

impl From<Failure> for No {
    fn from(failure: Failure) -> Self {
        panic!("{failure}")
    }
}

/// Waits until everything written so far is on disk.
async fn settle(store: &Store) {
    store.write(|_| Ok::<_, Failure>(())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_share_few_transactions_and_a_refused_one_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(folder.path()).unwrap());
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..500 {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            let job = move |txn: &mut WriteTxn<'_>| {
                txn.put_device(&device(&format!("d{n}")))?;
                txn.changes(&[7; 32])?;
                if n % 10 == 0 { Err(No) } else { Ok(n) }
            };
            (n, store.write(job).await)
        });
    }
    while let Some(done) = writers.join_next().await {
        let (n, result) = done.unwrap();
        assert_eq!(result, if n % 10 == 0 { Err(No) } else { Ok(n) });
    }
    let count = store.read(|txn| txn.device_count(None)).unwrap();
    assert_eq!(count, 450);
    let transactions = store.transactions();
    assert!(
        transactions < 250,
        "{transactions} transactions for 500 writers"
    );
    drop(store);
    let reopened = Store::open(folder.path()).unwrap();
    assert_eq!(reopened.read(|txn| txn.device_count(None)).unwrap(), 450);
}

#[tokio::test]
async fn a_job_sees_its_own_writes() {
    let store = Store::open_temporary().unwrap();
    let found = store
        .write(|txn| {
            txn.put_device(&device("a"))?;
            txn.changes(&[7; 32])?;
            txn.device(&DeviceId::new("a").unwrap())
        })
        .await
        .unwrap();
    assert_eq!(found, Some(device("a")));
}

#[tokio::test]
async fn a_timeline_keeps_its_last_entries_and_is_asked_by_time() {
    let store = Store::open_temporary().unwrap();
    let entry = |subject: &str, at: u64| TimelineEntry {
        at: Timestamp::from_millis(at),
        subject: subject.into(),
        what: "publish".into(),
        allowed: false,
        reason: "policy.no-statement".into(),
        detail: "{}".into(),
    };
    let total = limits::TIMELINE_ENTRIES as u64 + 5;
    store.note((1..=total).map(|at| entry("busy", at)).collect());
    store.note(vec![entry("quiet", 7)]);
    settle(&store).await;
    let timeline = |subject: &str, since, rows| {
        let since = Timestamp::from_millis(since);
        let entries = store
            .read(|txn| txn.timeline(subject, since, rows))
            .unwrap();
        entries
            .iter()
            .map(|entry| entry.at.millis())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        timeline("busy", 0, usize::MAX),
        (6..=total).collect::<Vec<_>>()
    );
    assert_eq!(timeline("busy", total - 1, usize::MAX), [total - 1, total]);
    assert_eq!(timeline("busy", 0, 1), [total]);
    assert_eq!(timeline("quiet", 0, 10), [7]);
    assert!(timeline("nobody", 0, 10).is_empty());
}

#[tokio::test]
async fn failed_connections_are_kept_for_the_operator() {
    let store = Store::open_temporary().unwrap();
    let failed = FailedConnection {
        at: Timestamp::from_millis(5),
        address: "[::1]:1".into(),
        reason: "tls.handshake".into(),
        detail: "{}".into(),
    };
    store.note_failed_connection(failed.clone());
    settle(&store).await;
    let since = |millis| {
        let since = Timestamp::from_millis(millis);
        store.read(|txn| txn.failed_connections(since, 10)).unwrap()
    };
    assert_eq!(since(5), [failed]);
    assert!(since(6).is_empty());
}

#[tokio::test]
async fn a_change_that_nobody_records_is_undone() {
    let store = Store::open_temporary().unwrap();
    let forgot = store
        .write::<_, Failure>(|txn| txn.put_device(&device("a")))
        .await;
    assert!(matches!(forgot, Err(Failure::Unrecorded)));
    assert_eq!(store.read(|txn| txn.device_count(None)).unwrap(), 0);
}

#[tokio::test]
async fn the_database_tells_each_object_once_with_what_it_was_and_is() {
    let store = Store::open_temporary().unwrap();
    let change = |job: fn(&mut WriteTxn<'_>) -> Result<(), Failure>| {
        store.write::<_, Failure>(move |txn| {
            job(txn)?;
            txn.changes(&[7; 32])
        })
    };
    let made = change(|txn| {
        txn.put_device(&device("a"))?;
        txn.put_device(&DeviceRecord {
            version: 2,
            ..device("a")
        })
    });
    let made = made.await.unwrap();
    assert_eq!(made.len(), 1);
    assert_eq!(made[0].object.kind, "device");
    assert_eq!(made[0].object.id, "a");
    assert!(made[0].before.is_none() && made[0].after.is_some());

    // The row is replaced, which the database calls a deletion and an insertion.
    let changed = change(|txn| {
        txn.put_device(&DeviceRecord {
            version: 3,
            ..device("a")
        })
    });
    let changed = changed.await.unwrap();
    assert_eq!(changed[0].before, made[0].after);
    assert!(changed[0].after.is_some() && changed[0].after != changed[0].before);

    let nothing = change(|txn| {
        txn.delete_device(&DeviceId::new("a").unwrap())?;
        txn.put_device(&DeviceRecord {
            version: 3,
            ..device("a")
        })
    });
    assert_eq!(nothing.await.unwrap(), []);

    let gone = change(|txn| txn.delete_device(&DeviceId::new("a").unwrap()));
    let gone = gone.await.unwrap();
    assert_eq!(gone[0].before, changed[0].after);
    assert_eq!(gone[0].after, None);
}
