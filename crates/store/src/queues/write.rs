//! The writer of `queues.db`: what waits becomes one transaction.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};

use model::Timestamp;
use rusqlite::{CachedStatement, Connection, params};

use super::{Enqueue, Expired, Job, Message, QueueOp, RetainedMessage, SessionKey, read};
use crate::{commit::Inbox, rows::millis};

/// A message that stands in several queues is kept once when its body is larger than this; below
/// it, a copy in each row costs less than the reference.
const SHARED_BODY_BYTES: usize = 256;

/// Runs until the inbox is closed or a write fails.
pub(crate) fn write(inbox: &Inbox<Job>, mut file: Connection) {
    inbox.run(super::LAYOUT.name, |jobs| commit(&mut file, jobs));
}

fn commit(file: &mut Connection, jobs: Vec<Job>) -> rusqlite::Result<()> {
    let transaction = file.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    {
        let shortcuts = Shortcuts::of(&jobs);
        let mut statements = Statements::new(&transaction)?;
        for job in jobs {
            match job {
                Job::Ops(ops) => apply(&mut statements, ops, &shortcuts)?,
                Job::Expire { now, found } => {
                    let expired = remove_expired(&transaction, now)?;
                    *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(expired);
                }
                Job::Clear => crate::rows::clear(&transaction)?,
            }
        }
    }
    transaction.commit()
}

/// Messages that are queued and taken off again within one transaction: they skip the database.
#[derive(Default)]
struct Shortcuts(HashMap<(SessionKey, u64), ()>);

impl Shortcuts {
    fn of(jobs: &[Job]) -> Self {
        let mut queued = HashMap::new();
        let mut skipped = HashMap::new();
        let ops = || {
            jobs.iter().flat_map(|job| match job {
                Job::Ops(ops) => ops.as_slice(),
                Job::Expire { .. } | Job::Clear => &[],
            })
        };
        if !ops().any(|op| matches!(op, QueueOp::Dequeue { .. })) {
            return Self::default();
        }
        for op in ops() {
            if let QueueOp::Enqueue(enqueue) = op {
                queued.insert((enqueue.session, enqueue.seq), ());
            } else if let QueueOp::Dequeue { session, seq } = op
                && queued.remove(&(*session, *seq)).is_some()
            {
                skipped.insert((*session, *seq), ());
            }
        }
        Self(skipped)
    }

    fn skips(&self, session: SessionKey, seq: u64) -> bool {
        !self.0.is_empty() && self.0.contains_key(&(session, seq))
    }
}

/// The statements of the data path, prepared once per transaction from the connection's cache.
struct Statements<'file> {
    file: &'file Connection,
    enqueue: CachedStatement<'file>,
    dequeue: CachedStatement<'file>,
}

impl<'file> Statements<'file> {
    fn new(file: &'file Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            file,
            // A place is written once; writing it again (a retried batch) changes nothing.
            enqueue: file.prepare_cached(
                "INSERT OR IGNORE INTO queue (session, seq, bytes, released, qos, retain, \
                 published_at, expires_at, subscription_ids, body, topic, properties, payload) \
                 VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )?,
            dequeue: file.prepare_cached("DELETE FROM queue WHERE session = ?1 AND seq = ?2")?,
        })
    }

    fn run(&self, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<()> {
        self.file.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }
}

fn apply(
    statements: &mut Statements<'_>,
    ops: Vec<QueueOp>,
    shortcuts: &Shortcuts,
) -> rusqlite::Result<()> {
    let mut bodies = Bodies::of(&ops, shortcuts);
    for op in ops {
        match op {
            QueueOp::Enqueue(enqueue) => {
                if !shortcuts.skips(enqueue.session, enqueue.seq) {
                    let body = bodies.body(statements, &enqueue.message)?;
                    insert(statements, &enqueue, body)?;
                }
            }
            QueueOp::Dequeue { session, seq } => {
                if !shortcuts.skips(session, seq) {
                    statements
                        .dequeue
                        .execute(params![session.0, seq.cast_signed()])?;
                }
            }
            QueueOp::Release { session, seq } => {
                if !shortcuts.skips(session, seq) {
                    statements.run(
                        "UPDATE queue SET released = 1, bytes = 0, expires_at = NULL, \
                         subscription_ids = NULL, body = NULL, topic = NULL, properties = NULL, \
                         payload = NULL WHERE session = ?1 AND seq = ?2",
                        params![session.0, seq.cast_signed()],
                    )?;
                }
            }
            QueueOp::Retain(retained) => retain(statements, &retained)?,
            QueueOp::Unretain { topic } => statements.run(
                "DELETE FROM retained WHERE topic = ?1",
                params![topic.as_str()],
            )?,
            op @ (QueueOp::Sent { .. }
            | QueueOp::InboundReceived { .. }
            | QueueOp::InboundReleased { .. }
            | QueueOp::PutSession(_)
            | QueueOp::DeleteSession { .. }
            | QueueOp::Subscribe { .. }
            | QueueOp::Unsubscribe { .. }
            | QueueOp::PutWill { .. }
            | QueueOp::DeleteWill { .. }) => change_session(statements, op)?,
        }
    }
    Ok(())
}

fn retain(statements: &Statements<'_>, retained: &RetainedMessage) -> rusqlite::Result<()> {
    let message = &retained.message;
    statements.run(
        "INSERT OR REPLACE INTO retained \
         (topic, qos, published_at, expires_at, properties, payload) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            message.topic.as_str(),
            retained.qos,
            millis(message.published_at),
            message.expires_at.map(millis),
            &message.properties[..],
            &message.payload[..],
        ],
    )
}

/// Everything about a session but its queue.
fn change_session(statements: &Statements<'_>, op: QueueOp) -> rusqlite::Result<()> {
    match op {
        QueueOp::Enqueue(_)
        | QueueOp::Dequeue { .. }
        | QueueOp::Release { .. }
        | QueueOp::Retain(_)
        | QueueOp::Unretain { .. } => Ok(()),
        QueueOp::Sent { session, through } => statements.run(
            "UPDATE sessions SET sent_through = max(sent_through, ?2) WHERE key = ?1",
            params![session.0, through.cast_signed()],
        ),
        QueueOp::InboundReceived { session, packet_id } => statements.run(
            "INSERT OR IGNORE INTO inbound (session, packet_id) VALUES (?1, ?2)",
            params![session.0, packet_id],
        ),
        QueueOp::InboundReleased { session, packet_id } => statements.run(
            "DELETE FROM inbound WHERE session = ?1 AND packet_id = ?2",
            params![session.0, packet_id],
        ),
        QueueOp::PutSession(session) => statements.run(
            // A client has one session: a new key replaces the old row.
            "INSERT OR REPLACE INTO sessions (key, client_id, protocol, expiry_seconds, online, \
             expires_at, next_seq, sent_through, principal, created_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                session.key.0,
                session.client_id.as_str(),
                session.protocol,
                session.expiry_seconds,
                session.online,
                session.expires_at.map(millis),
                session.next_seq.cast_signed(),
                session.sent_through.cast_signed(),
                session.principal,
                millis(session.created_at),
            ],
        ),
        QueueOp::DeleteSession { session } => {
            for sql in [
                "DELETE FROM sessions WHERE key = ?1",
                "DELETE FROM subscriptions WHERE session = ?1",
                "DELETE FROM queue WHERE session = ?1",
                "DELETE FROM inbound WHERE session = ?1",
                "DELETE FROM wills WHERE session = ?1",
            ] {
                statements.run(sql, params![session.0])?;
            }
            Ok(())
        }
        QueueOp::Subscribe {
            session,
            subscription,
        } => statements.run(
            "INSERT OR REPLACE INTO subscriptions (session, filter, options, subscription_id) \
             VALUES (?1, ?2, ?3, ?4)",
            params![
                session.0,
                subscription.filter.as_str(),
                subscription.options,
                subscription.subscription_id,
            ],
        ),
        QueueOp::Unsubscribe { session, filter } => statements.run(
            "DELETE FROM subscriptions WHERE session = ?1 AND filter = ?2",
            params![session.0, filter.as_str()],
        ),
        QueueOp::PutWill { session, will } => {
            let message = &will.message;
            statements.run(
                "INSERT OR REPLACE INTO wills (session, delay_seconds, due_at, qos, retain, \
                 published_at, expires_at, topic, properties, payload) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                params![
                    session.0,
                    will.delay_seconds,
                    will.due_at.map(millis),
                    will.qos,
                    will.retain,
                    millis(message.published_at),
                    message.expires_at.map(millis),
                    message.topic.as_str(),
                    &message.properties[..],
                    &message.payload[..],
                ],
            )
        }
        QueueOp::DeleteWill { session } => {
            statements.run("DELETE FROM wills WHERE session = ?1", params![session.0])
        }
    }
}

fn insert(
    statements: &mut Statements<'_>,
    enqueue: &Enqueue,
    body: Option<i64>,
) -> rusqlite::Result<()> {
    let message = &enqueue.message;
    let inline = body.is_none();
    let ids: Option<Vec<u8>> = (!enqueue.subscription_ids.is_empty()).then(|| {
        enqueue
            .subscription_ids
            .iter()
            .flat_map(|id| id.to_le_bytes())
            .collect()
    });
    statements.enqueue.execute(params![
        enqueue.session.0,
        enqueue.seq.cast_signed(),
        i64::try_from(message.size()).unwrap_or(i64::MAX),
        enqueue.qos,
        enqueue.retain,
        millis(message.published_at),
        message.expires_at.map(millis),
        ids,
        body,
        inline.then(|| message.topic.as_str()),
        inline.then(|| &message.properties[..]),
        inline.then(|| &message.payload[..]),
    ])?;
    Ok(())
}

/// Large messages that one append queues for several sessions, found by their address.
#[derive(Default)]
struct Bodies(HashMap<*const Message, Body>);

struct Body {
    uses: u64,
    id: Option<i64>,
}

impl Bodies {
    fn of(ops: &[QueueOp], shortcuts: &Shortcuts) -> Self {
        let mut bodies = HashMap::new();
        if ops.len() < 2 {
            return Self(bodies);
        }
        for op in ops {
            if let QueueOp::Enqueue(enqueue) = op
                && enqueue.message.size() > SHARED_BODY_BYTES
                && !shortcuts.skips(enqueue.session, enqueue.seq)
            {
                let body = bodies
                    .entry(Arc::as_ptr(&enqueue.message))
                    .or_insert(Body { uses: 0, id: None });
                body.uses += 1;
            }
        }
        bodies.retain(|_, body| body.uses > 1);
        Self(bodies)
    }

    /// The number of the message's shared body, written on first use; `None` when it has none.
    fn body(
        &mut self,
        statements: &Statements<'_>,
        message: &Arc<Message>,
    ) -> rusqlite::Result<Option<i64>> {
        let Some(body) = self.0.get_mut(&Arc::as_ptr(message)) else {
            return Ok(None);
        };
        if body.id.is_none() {
            statements.run(
                "INSERT INTO bodies (uses, topic, properties, payload) VALUES (?1, ?2, ?3, ?4)",
                params![
                    body.uses.cast_signed(),
                    message.topic.as_str(),
                    &message.properties[..],
                    &message.payload[..],
                ],
            )?;
            body.id = Some(statements.file.last_insert_rowid());
        }
        Ok(body.id)
    }
}

fn remove_expired(file: &Connection, now: Timestamp) -> rusqlite::Result<Expired> {
    let expired = read::expired(file, now)?;
    if !expired.queued.is_empty() {
        file.prepare_cached("DELETE FROM queue WHERE expires_at <= ?1")?
            .execute([millis(now)])?;
    }
    if !expired.retained.is_empty() {
        file.prepare_cached("DELETE FROM retained WHERE expires_at <= ?1")?
            .execute([millis(now)])?;
    }
    Ok(expired)
}
