//! Reading `queues.db`: everything small at the start, queues piece by piece.

use std::sync::Arc;

use bytes::Bytes;
use model::{ClientId, Timestamp, TopicFilter, TopicName};
use rusqlite::{Connection, Row, params};

use super::{
    Message, Queued, QueuedMessage, RetainedMessage, SessionKey, SessionRecord, StoredWill,
    SubscriptionRecord, text,
};
use crate::{
    Failure,
    rows::{millis, optional_time, time, unsigned},
};

/// What the broker starts from.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Loaded {
    /// All sessions, by key. `next_seq` is above everything queued.
    pub sessions: Vec<SessionRecord>,
    /// All subscriptions, by session.
    pub subscriptions: Vec<(SessionKey, SubscriptionRecord)>,
    /// Packet ids of QoS 2 messages whose PUBREL has not come, by session.
    pub inbound: Vec<(SessionKey, u16)>,
    /// The wills, by session.
    pub wills: Vec<(SessionKey, StoredWill)>,
    /// The sizes of the queues that are not empty, by session.
    pub backlog: Vec<Backlog>,
}

/// The size of a queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Backlog {
    /// The session.
    pub session: SessionKey,
    /// Places in its queue, released ones included.
    pub messages: u64,
    /// Bytes of its messages, as [`Message::size`] counts.
    pub bytes: u64,
    /// The first place.
    pub first_seq: u64,
    /// The last place.
    pub last_seq: u64,
}

/// What had expired.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Expired {
    /// Per session: how many messages and bytes went; `first_seq` and `last_seq` enclose them.
    pub queued: Vec<Backlog>,
    /// The topics whose retained messages went.
    pub retained: Vec<TopicName>,
}

pub(super) fn highest_session_key(file: &Connection) -> rusqlite::Result<i64> {
    // Keys of deleted sessions may come again after a restart: nothing of them is left.
    file.query_row(
        "SELECT max((SELECT ifnull(max(key), 0) FROM sessions), \
         (SELECT ifnull(max(session), 0) FROM queue))",
        [],
        |row| row.get(0),
    )
}

pub(super) fn load(file: &Connection) -> Result<Loaded, Failure> {
    let mut loaded = Loaded::default();
    let mut statement = file.prepare_cached(
        "SELECT session, count(*), sum(bytes), min(seq), max(seq) FROM queue GROUP BY session",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        loaded.backlog.push(backlog(row)?);
    }
    let mut statement = file.prepare_cached(
        "SELECT key, client_id, protocol, expiry_seconds, online, expires_at, next_seq, \
         sent_through, principal, created_at FROM sessions ORDER BY key",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let mut session = SessionRecord {
            key: SessionKey(row.get(0)?),
            client_id: ClientId::new(
                row.get_ref(1)?
                    .as_str()
                    .map_err(|_| unreadable("session"))?,
            )
            .map_err(|_| unreadable("session"))?,
            protocol: row.get(2)?,
            expiry_seconds: row.get(3)?,
            online: row.get(4)?,
            expires_at: optional_time(row, 5)?,
            next_seq: unsigned(row, 6)?,
            sent_through: unsigned(row, 7)?,
            principal: row.get(8)?,
            created_at: time(row, 9)?,
        };
        if let Ok(at) = loaded
            .backlog
            .binary_search_by_key(&session.key, |backlog| backlog.session)
        {
            session.next_seq = session.next_seq.max(loaded.backlog[at].last_seq + 1);
        }
        session.next_seq = session.next_seq.max(session.sent_through + 1);
        loaded.sessions.push(session);
    }
    let mut statement = file.prepare_cached(
        "SELECT session, filter, options, subscription_id FROM subscriptions \
         ORDER BY session, filter",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let filter = row
            .get_ref(1)?
            .as_str()
            .map_err(|_| unreadable("subscription"))?;
        let subscription = SubscriptionRecord {
            filter: TopicFilter::new(text(filter)).map_err(|_| unreadable("subscription"))?,
            options: row.get(2)?,
            subscription_id: row.get(3)?,
        };
        loaded
            .subscriptions
            .push((SessionKey(row.get(0)?), subscription));
    }
    let mut statement =
        file.prepare_cached("SELECT session, packet_id FROM inbound ORDER BY session, packet_id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        loaded.inbound.push((SessionKey(row.get(0)?), row.get(1)?));
    }
    let mut statement = file.prepare_cached(
        "SELECT session, delay_seconds, due_at, qos, retain, published_at, expires_at, topic, \
         properties, payload FROM wills ORDER BY session",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let will = StoredWill {
            delay_seconds: row.get(1)?,
            due_at: optional_time(row, 2)?,
            qos: row.get(3)?,
            retain: row.get(4)?,
            message: message(row, 5, 6, [7, 8, 9])?,
        };
        loaded.wills.push((SessionKey(row.get(0)?), will));
    }
    Ok(loaded)
}

pub(super) fn queue(
    file: &Connection,
    session: SessionKey,
    after_seq: u64,
    messages: usize,
    bytes: usize,
) -> Result<Vec<QueuedMessage>, Failure> {
    let mut statement = file.prepare_cached(
        "SELECT seq, released, qos, retain, subscription_ids, published_at, expires_at, \
         coalesce(queue.topic, bodies.topic), coalesce(queue.properties, bodies.properties), \
         coalesce(queue.payload, bodies.payload) \
         FROM queue LEFT JOIN bodies ON bodies.id = queue.body \
         WHERE session = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
    )?;
    let limit = i64::try_from(messages).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![session.0, after_seq.cast_signed(), limit])?;
    let mut found = Vec::new();
    let mut size = 0_usize;
    while let Some(row) = rows.next()? {
        let content = if row.get(1)? {
            Queued::Released
        } else {
            let message = message(row, 5, 6, [7, 8, 9])?;
            size = size.saturating_add(message.size());
            if size > bytes && !found.is_empty() {
                break;
            }
            Queued::Message {
                qos: row.get(2)?,
                retain: row.get(3)?,
                subscription_ids: subscription_ids(row, 4)?,
                message,
            }
        };
        let seq = unsigned(row, 0)?;
        found.push(QueuedMessage { seq, content });
    }
    Ok(found)
}

pub(super) fn retained(file: &Connection) -> Result<Vec<RetainedMessage>, Failure> {
    let mut statement = file.prepare_cached(
        "SELECT qos, published_at, expires_at, topic, properties, payload \
         FROM retained ORDER BY topic",
    )?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(RetainedMessage {
            qos: row.get(0)?,
            message: message(row, 1, 2, [3, 4, 5])?,
        });
    }
    Ok(found)
}

pub(super) fn expired(file: &Connection, now: Timestamp) -> rusqlite::Result<Expired> {
    let mut expired = Expired::default();
    let mut statement = file.prepare_cached(
        "SELECT session, count(*), sum(bytes), min(seq), max(seq) FROM queue \
         WHERE expires_at <= ?1 GROUP BY session",
    )?;
    let mut rows = statement.query([millis(now)])?;
    while let Some(row) = rows.next()? {
        expired.queued.push(backlog(row)?);
    }
    let mut statement =
        file.prepare_cached("SELECT topic FROM retained WHERE expires_at <= ?1 ORDER BY topic")?;
    let mut rows = statement.query([millis(now)])?;
    while let Some(row) = rows.next()? {
        let topic: String = row.get(0)?;
        // Checked when it was written; a topic that is none matches no subscription either.
        expired.retained.extend(TopicName::new(topic));
    }
    Ok(expired)
}

fn backlog(row: &Row<'_>) -> rusqlite::Result<Backlog> {
    Ok(Backlog {
        session: SessionKey(row.get(0)?),
        messages: unsigned(row, 1)?,
        bytes: unsigned(row, 2)?,
        first_seq: unsigned(row, 3)?,
        last_seq: unsigned(row, 4)?,
    })
}

/// Topic, properties and payload at the three `parts`.
fn message(
    row: &Row<'_>,
    published_at: usize,
    expires_at: usize,
    parts: [usize; 3],
) -> Result<Arc<Message>, Failure> {
    let [topic, properties, payload] = parts;
    let bytes = |at| -> Result<Bytes, Failure> {
        let value = row.get_ref(at)?;
        let blob = value.as_blob().map_err(|_| unreadable("message"))?;
        Ok(Bytes::copy_from_slice(blob))
    };
    let topic = row
        .get_ref(topic)?
        .as_str()
        .map_err(|_| unreadable("message"))?;
    Ok(Arc::new(Message {
        topic: TopicName::new(text(topic)).map_err(|_| unreadable("message"))?,
        payload: bytes(payload)?,
        properties: bytes(properties)?,
        published_at: time(row, published_at)?,
        expires_at: optional_time(row, expires_at)?,
    }))
}

fn subscription_ids(row: &Row<'_>, at: usize) -> Result<Box<[u32]>, Failure> {
    let value = row.get_ref(at)?;
    let Some(blob) = value.as_blob_or_null().map_err(|_| unreadable("message"))? else {
        return Ok(Box::default());
    };
    let (ids, _) = blob.as_chunks::<4>();
    Ok(ids.iter().map(|id| u32::from_le_bytes(*id)).collect())
}

fn unreadable(what: &'static str) -> Failure {
    Failure::Unreadable { what }
}
