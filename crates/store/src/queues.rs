//! What the broker must not lose: sessions, subscriptions, queued messages, inbound QoS 2 ids,
//! wills and retained messages (`queues.db`).
//!
//! The broker holds sessions and subscriptions in memory and tells this file what changes, as plain
//! values ([`QueueOp`]); messages stay on disk until their session can take them. A message that is
//! queued and taken off again before the writer gets to it never touches the disk.

mod read;
mod write;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use bytes::Bytes;
use bytestring::ByteString;
use model::{ClientId, Timestamp, TopicFilter, TopicName};

use crate::{
    Commit, Failure,
    commit::{Inbox, Together, Urgency},
    database::{Layout, Readers},
};

pub use read::{Backlog, Expired, Loaded};
pub(crate) use write::write;

pub(crate) const LAYOUT: Layout = Layout {
    name: "queues.db",
    application_id: 0x5345_4b51,
    migrations: &[include_str!("queues/001.sql")],
    readers: 4,
    log_pages: 4000,
};

/// A persistent session within this data folder. Never used again after the session is deleted.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionKey(pub i64);

/// A persistent session, without its subscriptions and messages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SessionRecord {
    /// Its key, from [`Queues::next_session_key`].
    pub key: SessionKey,
    /// Whose it is; at most one session per client id.
    pub client_id: ClientId,
    /// MQTT protocol level: 4 is 3.1.1, 5 is 5.0.
    pub protocol: u8,
    /// Seconds it outlives its connection; `u32::MAX` is for ever.
    pub expiry_seconds: u32,
    /// Whether a connection held it when this was written; after a crash, it may have been sent
    /// anything in its queue.
    pub online: bool,
    /// When it ends; `None` while online, and for sessions that never end.
    pub expires_at: Option<Timestamp>,
    /// The sequence number of its next message, at least.
    pub next_seq: u64,
    /// Messages up to here have been sent at least once.
    pub sent_through: u64,
    /// Who opened it, as the hub spells principals.
    pub principal: String,
    /// When it began.
    pub created_at: Timestamp,
}

/// A subscription of a session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SubscriptionRecord {
    /// Its filter, share prefix included.
    pub filter: TopicFilter,
    /// The subscription options byte, MQTT 5.0 §3.8.3.1.
    pub options: u8,
    /// The subscription identifier; MQTT 5.0 §3.8.2.1.2.
    pub subscription_id: Option<u32>,
}

/// A published message as it is kept. Shared: queueing it for a thousand sessions keeps one body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// Where it was published.
    pub topic: TopicName,
    /// Its payload.
    pub payload: Bytes,
    /// Its MQTT 5 properties as the hub encodes them; opaque here.
    pub properties: Bytes,
    /// When it was published.
    pub published_at: Timestamp,
    /// When it is worth nothing any more.
    pub expires_at: Option<Timestamp>,
}

impl Message {
    /// Bytes it is counted with: topic, payload and properties.
    #[must_use]
    pub fn size(&self) -> usize {
        self.topic.as_str().len() + self.payload.len() + self.properties.len()
    }
}

/// A message for one session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Enqueue {
    /// The session.
    pub session: SessionKey,
    /// Its place in the session's queue; the hub counts up from 1 and never goes back.
    pub seq: u64,
    /// The quality of service of this delivery: 1 or 2.
    pub qos: u8,
    /// The retain flag of this delivery.
    pub retain: bool,
    /// The identifiers of the subscriptions it matched.
    pub subscription_ids: Box<[u32]>,
    /// What is delivered.
    pub message: Arc<Message>,
}

/// What stands at one place of a queue.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Queued {
    /// A message to deliver.
    Message {
        /// 1 or 2.
        qos: u8,
        /// The retain flag of this delivery.
        retain: bool,
        /// The identifiers of the subscriptions it matched.
        subscription_ids: Box<[u32]>,
        /// What is delivered.
        message: Arc<Message>,
    },
    /// A QoS 2 message whose PUBREC has come: PUBREL is to be sent (again).
    Released,
}

/// One place of a queue.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct QueuedMessage {
    /// Its place.
    pub seq: u64,
    /// What stands there.
    pub content: Queued,
}

/// A retained message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RetainedMessage {
    /// The quality of service it was published with.
    pub qos: u8,
    /// The message; its topic is where it is retained.
    pub message: Arc<Message>,
}

/// A will that outlives its connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredWill {
    /// Seconds between the end of the connection and its publication.
    pub delay_seconds: u32,
    /// When it is published; `None` while the connection lives.
    pub due_at: Option<Timestamp>,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Whether it is retained.
    pub retain: bool,
    /// The message; `published_at` is when the connection was opened.
    pub message: Arc<Message>,
}

/// One change. Changes are made in the order they are appended, all of one `append` together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum QueueOp {
    /// A message for a session.
    Enqueue(Enqueue),
    /// The receiver has taken it: PUBACK, PUBCOMP, or it was dropped.
    Dequeue {
        /// The session.
        session: SessionKey,
        /// Its place.
        seq: u64,
    },
    /// PUBREC has come: the message may be forgotten, its place stays until PUBCOMP.
    Release {
        /// The session.
        session: SessionKey,
        /// Its place.
        seq: u64,
    },
    /// Everything up to `through` has been sent at least once.
    Sent {
        /// The session.
        session: SessionKey,
        /// The last place sent.
        through: u64,
    },
    /// A QoS 2 message of the client has been accepted under this packet id.
    InboundReceived {
        /// The session.
        session: SessionKey,
        /// The client's packet id.
        packet_id: u16,
    },
    /// PUBREL has come: the packet id is free.
    InboundReleased {
        /// The session.
        session: SessionKey,
        /// The client's packet id.
        packet_id: u16,
    },
    /// Replaces what is retained at the message's topic.
    Retain(RetainedMessage),
    /// Removes what is retained at `topic`.
    Unretain {
        /// The topic.
        topic: TopicName,
    },
    /// Creates the session, or replaces its record.
    PutSession(Box<SessionRecord>),
    /// Ends the session: its subscriptions, messages, ids and will go with it.
    DeleteSession {
        /// The session.
        session: SessionKey,
    },
    /// Creates or replaces a subscription.
    Subscribe {
        /// The session.
        session: SessionKey,
        /// What it subscribes to.
        subscription: SubscriptionRecord,
    },
    /// Removes a subscription.
    Unsubscribe {
        /// The session.
        session: SessionKey,
        /// Its filter.
        filter: TopicFilter,
    },
    /// Creates or replaces the session's will.
    PutWill {
        /// The session.
        session: SessionKey,
        /// The will.
        will: Box<StoredWill>,
    },
    /// Removes the session's will.
    DeleteWill {
        /// The session.
        session: SessionKey,
    },
}

impl QueueOp {
    /// Bytes it holds in memory while it waits; none for what frees space.
    fn weight(&self) -> usize {
        const ROW: usize = 200;
        match self {
            // A body shared by several sessions is counted for each: an upper bound.
            Self::Enqueue(enqueue) => ROW + enqueue.message.size(),
            Self::Retain(retained) => ROW + retained.message.size(),
            Self::PutWill { will, .. } => ROW + will.message.size(),
            Self::PutSession(_) | Self::Subscribe { .. } | Self::InboundReceived { .. } => ROW,
            Self::Dequeue { .. }
            | Self::Release { .. }
            | Self::Sent { .. }
            | Self::InboundReleased { .. }
            | Self::Unretain { .. }
            | Self::DeleteSession { .. }
            | Self::Unsubscribe { .. }
            | Self::DeleteWill { .. } => 0,
        }
    }
}

pub(crate) enum Job {
    Ops(Vec<QueueOp>),
    Expire {
        now: Timestamp,
        found: Arc<std::sync::Mutex<Option<Expired>>>,
    },
    Clear,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ops(ops) => write!(f, "Ops({})", ops.len()),
            Self::Expire { now, .. } => write!(f, "Expire({now:?})"),
            Self::Clear => f.write_str("Clear"),
        }
    }
}

/// Sessions, queues and retained messages of a data folder.
#[derive(Debug)]
pub struct Queues {
    inbox: Arc<Inbox<Job>>,
    readers: Readers,
    next_key: AtomicI64,
}

impl Queues {
    pub(crate) fn new(readers: Readers) -> Result<Self, crate::OpenError> {
        let highest = readers
            .with(|file| Ok(read::highest_session_key(file)?))
            .map_err(|error| crate::OpenError::Damaged {
                file: LAYOUT.name.into(),
                reason: error.to_string(),
            })?;
        Ok(Self {
            inbox: Arc::new(Inbox::new()),
            readers,
            next_key: AtomicI64::new(highest + 1),
        })
    }

    pub(crate) fn inbox(&self) -> Arc<Inbox<Job>> {
        Arc::clone(&self.inbox)
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.inbox.has_failed()
    }

    /// A key for a new session.
    #[must_use]
    pub fn next_session_key(&self) -> SessionKey {
        SessionKey(self.next_key.fetch_add(1, Ordering::Relaxed))
    }

    /// Hands changes to the writer: all of them in one transaction, together with whatever else
    /// waits. Does not block. When more than [`model::limits::STORE_PENDING_BYTES`] wait, changes
    /// that take space are refused whole, and the commit resolves to an error.
    pub fn append(&self, ops: Vec<QueueOp>) -> Commit {
        if ops.is_empty() {
            return Commit::nothing();
        }
        let bytes = ops.iter().map(QueueOp::weight).sum();
        self.inbox.push(Job::Ops(ops), bytes, Urgency::Now)
    }

    /// Makes everything that is appended while the guard lives one transaction, together with
    /// whatever else waits: a QoS 2 message must be queued and its packet id remembered, or
    /// neither. The guard must not be held over an `await`, nor taken twice.
    pub fn together(&self) -> Together<'_> {
        self.inbox.together()
    }

    /// Like [`Self::append`] for changes nobody waits for: on disk within 100 ms.
    pub fn append_lazily(&self, ops: Vec<QueueOp>) -> Commit {
        if ops.is_empty() {
            return Commit::nothing();
        }
        let bytes = ops.iter().map(QueueOp::weight).sum();
        self.inbox.push(Job::Ops(ops), bytes, Urgency::Lazy)
    }

    /// Bytes that wait for the writer. A publisher of durable messages slows down when it is high.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.inbox.pending_bytes()
    }

    /// Sessions, subscriptions, inbound ids, wills and the sizes of queues, to start from.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the file cannot be read.
    pub fn load(&self) -> Result<Loaded, Failure> {
        self.readers.with(read::load)
    }

    /// All retained messages, in the order of their topics.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the file cannot be read.
    pub fn load_retained(&self) -> Result<Vec<RetainedMessage>, Failure> {
        self.readers.with(read::retained)
    }

    /// What stands in `session`'s queue after `after_seq`, in order: at most `messages` places, and
    /// after the first no more than fit in `bytes`. Expired messages are included.
    ///
    /// Sees what is committed: wait for the [`Commit`] of the last append to the session first.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the file cannot be read.
    pub fn read_queue(
        &self,
        session: SessionKey,
        after_seq: u64,
        messages: usize,
        bytes: usize,
    ) -> Result<Vec<QueuedMessage>, Failure> {
        self.readers
            .with(|file| read::queue(file, session, after_seq, messages, bytes))
    }

    /// Removes everything.
    pub(crate) fn clear(&self) -> Commit {
        self.inbox.push(Job::Clear, 0, Urgency::Now)
    }

    /// Removes queued and retained messages that have expired at `now`, and tells which.
    ///
    /// # Errors
    ///
    /// [`Failure::Unavailable`] when the store takes no writes.
    pub async fn remove_expired(&self, now: Timestamp) -> Result<Expired, Failure> {
        let found = Arc::new(std::sync::Mutex::new(None));
        let job = Job::Expire {
            now,
            found: Arc::clone(&found),
        };
        self.inbox.push(job, 0, Urgency::Now).await?;
        let mut found = found
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(found.take().unwrap_or_default())
    }
}

fn text(text: &str) -> ByteString {
    ByteString::from(text)
}
