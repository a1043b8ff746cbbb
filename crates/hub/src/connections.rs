//! MQTT connections: opened, used by one task, ended, and remembered.

mod decisions;
mod subscribing;

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use broker::{
    CloseReason, Delivery, MatchCache, Message, Next, OpenSession, Origin, Session, SessionKind,
};
use bytes::Bytes;
use model::{ClientId, ReasonId, Refusal, RefusalKind, Timestamp, TopicName, limits};
use mqtt_proto::{PublishProperties, QoS};
use store::{QueueOp, SessionRecord, StoredWill};

use crate::{
    Ack, Caller, Event, Hub, PublishRequest, live::Live, publish::key, stored, timeline::Kind,
};

use decisions::Decisions;
pub use subscribing::SubscribeRequest;
use subscribing::Waiting;
pub(crate) use subscribing::options_from_byte;

/// Entries read from the journal at a time, and their bytes.
const LOAD_MESSAGES: usize = 512;
const LOAD_BYTES: usize = 1024 * 1024;

/// How a client asks to connect.
#[derive(Clone, Debug)]
pub struct ConnectRequest {
    /// Whether what is known of the client is forgotten first.
    pub clean_start: bool,
    /// How long the session outlives the connection; at most [`limits::SESSION_EXPIRY`], and
    /// zero for not at all.
    pub session_expiry: Duration,
    /// In seconds; 0 is never.
    pub keep_alive_seconds: u16,
    /// MQTT protocol level: 4 is 3.1.1, 5 is 5.0.
    pub protocol_level: u8,
    /// What is published when the connection breaks.
    pub will: Option<Will>,
}

/// A message published when a connection breaks. MQTT 5.0 §3.1.2.5.
#[derive(Clone, Debug)]
pub struct Will {
    /// Where, in canonical spelling.
    pub topic: TopicName,
    /// What.
    pub payload: Bytes,
    /// At what quality of service.
    pub qos: QoS,
    /// Whether it is kept for later subscribers.
    pub retain: bool,
    /// How long after the connection broke, unless the client is back by then.
    pub delay: Duration,
    /// Properties that travel with it.
    pub properties: PublishProperties,
}

/// What a connection is to do next.
#[derive(Debug)]
pub enum Item {
    /// Send this message.
    Deliver(Delivery),
    /// Send PUBREL for this delivery.
    Release(u64),
    /// End the connection.
    Close(CloseReason),
}

/// Why a connection ended, as lifecycle events tell it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DisconnectReason {
    /// The client said so.
    ClientInitiated,
    /// What it was allowed was taken away.
    Forbidden,
    /// It broke the protocol.
    ClientError,
    /// The socket closed or failed.
    ConnectionLost,
    /// Its client id connected again.
    DuplicateClientId,
    /// It was silent for one and a half times its keep-alive.
    KeepAliveTimeout,
    /// It asked for something it may not do.
    Unauthorized,
    /// The hub failed.
    ServerError,
    /// The hub stops.
    ServerInitiated,
    /// An operator ended it.
    ApiInitiated,
    /// It sends or receives too much.
    Throttled,
}

/// How a connection ended.
#[derive(Clone, Debug)]
pub struct Disconnect {
    /// Why.
    pub reason: DisconnectReason,
    /// Whether the will is published.
    pub send_will: bool,
    /// The session's life from here on, when the client changed it. MQTT 5.0 §3.14.2.2.2.
    pub session_expiry: Option<Duration>,
    /// For people and the timeline: the reason's stable name and what happened.
    pub because: (ReasonId, String),
}

/// A live MQTT connection, used by the one task that owns its socket.
///
/// Dropping it without [`Self::end`] counts as a failure of the hub.
#[derive(Debug)]
pub struct Connection {
    hub: Hub,
    caller: Arc<Caller>,
    session: Arc<Session>,
    number: u64,
    present: bool,
    opened: Opened,
    matches: MatchCache,
    decisions: Decisions,
    /// Retained messages that wait for room in the mailbox.
    retained: VecDeque<Waiting>,
    loading: Option<Loading>,
    /// Whether anybody was told that it was opened.
    announced: bool,
    ended: bool,
}

/// What was agreed at CONNECT.
#[derive(Debug)]
struct Opened {
    at: Timestamp,
    will: Option<Will>,
    session_expiry: Duration,
    keep_alive_seconds: u16,
    protocol_level: u8,
}

#[derive(Debug)]
struct Loading {
    commit: store::Commit,
    after: u64,
    tail: u64,
}

impl Hub {
    /// Opens a connection for an authenticated caller with a client id.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::Denied`] with the decision, for the connection itself or its will;
    /// [`RefusalKind::TooMany`] when the hub holds too many sessions;
    /// [`RefusalKind::Unavailable`] when the session cannot be written. Also in the timeline.
    pub async fn connect(
        &self,
        caller: Caller,
        request: ConnectRequest,
    ) -> Result<Connection, Refusal> {
        let Some(client_id) = caller.client_id().cloned() else {
            return Err(Refusal::internal("a connection needs a client id"));
        };
        if let Err(refusal) = self.may_connect(&caller, &client_id, &request) {
            self.record_refusal(Kind::ConnectRefused, caller.subject(), &refusal);
            self.announce(&Event::ConnectFailed {
                client_id,
                principal: caller.principal().id(),
                at: self.now(),
            });
            return Err(refusal);
        }
        self.open_connection(Arc::new(caller), client_id, request)
            .await
    }

    fn may_connect(
        &self,
        caller: &Caller,
        client_id: &ClientId,
        request: &ConnectRequest,
    ) -> Result<(), Refusal> {
        let will_topic = request
            .will
            .as_ref()
            .map(|will| self.0.language.topic(will.topic.as_str()).into_owned());
        let context = policy::Context {
            persistent_connect: request.is_persistent(),
            last_will_topic: will_topic.as_deref(),
            ..policy::Context::default()
        };
        self.check_connect(caller, client_id, &context)?;
        let Some(will) = &request.will else {
            return Ok(());
        };
        self.check_publish(caller, &will.to_publish())
    }

    async fn open_connection(
        &self,
        caller: Arc<Caller>,
        client_id: ClientId,
        request: ConnectRequest,
    ) -> Result<Connection, Refusal> {
        let (mut connection, stored) = self.take_place(caller, client_id, request)?;
        stored.await?;
        connection.announce_opened();
        Ok(connection)
    }

    /// Everything of [`Self::open_connection`] that nothing may come between.
    fn take_place(
        &self,
        caller: Arc<Caller>,
        client_id: ClientId,
        request: ConnectRequest,
    ) -> Result<(Connection, Ack), Refusal> {
        let _turn = self.0.departures.turn(&client_id);
        let session_expiry = request.session_expiry.min(limits::SESSION_EXPIRY);
        let owner = caller.owner();
        let queues = self.0.store.queues();
        let opened = self
            .0
            .broker
            .open(&OpenSession {
                client_id: client_id.clone(),
                clean_start: request.clean_start,
                kind: if session_expiry.is_zero() {
                    SessionKind::Transient
                } else {
                    SessionKind::Persistent
                },
                owner,
                key: broker::SessionKey(queues.next_session_key().0),
            })
            .ok_or_else(too_many_sessions)?;
        let now = self.now();
        let connection = Connection {
            hub: self.clone(),
            session: opened.session,
            number: opened.connection,
            present: opened.present,
            matches: MatchCache::default(),
            decisions: Decisions::new(&caller, now),
            retained: VecDeque::new(),
            loading: None,
            announced: false,
            ended: false,
            opened: Opened {
                at: now,
                session_expiry,
                keep_alive_seconds: request.keep_alive_seconds,
                protocol_level: request.protocol_level,
                will: request.will,
            },
            caller,
        };
        // Listed before anything is awaited: a certificate revoked meanwhile must find it.
        self.0
            .live
            .insert(connection.number, connection.live(request.clean_start));
        self.catch_up(connection.number);
        self.0.departures.returned(self, &connection.session);
        let mut ops = Vec::new();
        if let Some(old) = opened.discarded {
            self.0.departures.forget(self, &old);
            if old.kind() == SessionKind::Persistent {
                ops.push(QueueOp::DeleteSession {
                    session: key(old.key()),
                });
            }
        }
        if connection.session.kind() == SessionKind::Persistent {
            ops.push(connection.record(None));
            match connection.will_op() {
                Some(op) => ops.push(op),
                // The one of a connection that this one takes over from.
                None if connection.present => ops.push(connection.forget_will()),
                None => {}
            }
        }
        if connection.present {
            connection.give_up_forbidden(&mut ops);
        }
        let stored = connection.append_all(ops);
        Ok((connection, stored))
    }
}

impl ConnectRequest {
    fn is_persistent(&self) -> bool {
        !self.session_expiry.is_zero()
    }
}

impl Will {
    pub(crate) fn to_publish(&self) -> PublishRequest {
        PublishRequest {
            topic: self.topic.clone(),
            payload: self.payload.clone(),
            qos: self.qos,
            retain: self.retain,
            properties: self.properties.clone(),
            packet_id: None,
        }
    }
}

impl Connection {
    /// Who is connected.
    #[must_use]
    pub fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    /// As it calls itself.
    #[must_use]
    pub fn client_id(&self) -> &ClientId {
        self.session.client_id()
    }

    /// Whether the hub remembered the client.
    #[must_use]
    pub const fn session_present(&self) -> bool {
        self.present
    }

    /// How long the session outlives the connection, as granted.
    #[must_use]
    pub const fn session_expiry(&self) -> Duration {
        self.opened.session_expiry
    }

    /// The client's QoS 2 packet ids that were taken on an earlier connection and not released.
    #[must_use]
    pub fn inbound_packet_ids(&self) -> Vec<u16> {
        self.session.inbound()
    }

    /// The hub it is connected to.
    #[must_use]
    pub const fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Publishes a message. A QoS 2 message must be new: the session knows its packet ids.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::Denied`] with the decision; also in the timeline.
    pub fn publish(&mut self, request: PublishRequest) -> Result<Ack, Refusal> {
        if let Err(refusal) = self.may_publish(&request) {
            self.hub
                .record_refused(Kind::PublishRefused, &self.caller, &refusal);
            return Err(refusal);
        }
        let origin = Origin {
            session: Some(self.session.key()),
            client_id: Some(self.session.client_id().clone()),
        };
        let inbound = request
            .packet_id
            .filter(|_| request.qos == QoS::ExactlyOnce);
        let also = inbound.and_then(|packet_id| self.received_inbound(packet_id.get()));
        let mut done = self.hub.deliver(request, origin, &mut self.matches, also);
        if let Some(packet_id) = inbound
            && done.as_mut().map_or(true, Ack::is_refused)
        {
            // MQTT 5.0 §4.3.3: a refused packet id is free at once.
            self.session.inbound_released(packet_id.get());
        }
        done
    }

    /// Gives the client a message that is for it alone, whether or not it has subscribed to it; not
    /// when it may not receive it. It is not kept for a client that is gone.
    pub(crate) fn reply(&self, message: Message) {
        let message = Arc::new(message);
        let queues = self.hub.0.store.queues();
        let mut journal = crate::publish::MessageJournal::new(queues, &message);
        let offer = self
            .session
            .offer(&message, QoS::AtMostOnce, false, &[], &mut journal);
        if let broker::Offer::Overflow(overflow) = offer {
            self.hub.dropped(&self.session, overflow);
        }
    }

    /// The client has sent PUBREL: its packet id is free once this resolves.
    pub fn release_inbound(&mut self, packet_id: u16) -> Ack {
        if !self.session.inbound_released(packet_id) || !self.is_persistent() {
            return Ack::default();
        }
        Ack(Some(self.append(QueueOp::InboundReleased {
            session: key(self.session.key()),
            packet_id,
        })))
    }

    /// What the connection is to do next. `window_open` tells whether the client takes one more
    /// QoS 1 or 2 message now.
    pub fn poll_next(&mut self, context: &mut Context<'_>, window_open: bool) -> Poll<Item> {
        loop {
            let window_open = window_open && !self.poll_loading(context);
            self.feed_retained();
            match self.session.next(self.number, window_open, context.waker()) {
                Next::Deliver(delivery) => {
                    if self.may_receive(&delivery.message) {
                        self.hub.0.counts.message_out();
                        return Poll::Ready(Item::Deliver(delivery));
                    }
                    self.acknowledged(delivery.seq);
                }
                Next::Release(seq) => return Poll::Ready(Item::Release(seq)),
                Next::Close(reason) => return Poll::Ready(Item::Close(reason)),
                Next::Wait => return Poll::Pending,
                Next::Load { after, tail } => {
                    // Behind this commit, everything up to `tail` is readable.
                    let (sent_through, _) = self.session.progress();
                    let commit = self.append(QueueOp::Sent {
                        session: key(self.session.key()),
                        through: sent_through,
                    });
                    self.loading = Some(Loading {
                        commit,
                        after,
                        tail,
                    });
                }
            }
        }
    }

    /// Ready when the connection is to end. For a connection that takes nothing off its mailbox:
    /// unlike [`Self::poll_next`], it is not woken by messages.
    pub fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<CloseReason> {
        match self.session.close_reason(self.number, context.waker()) {
            Some(reason) => Poll::Ready(reason),
            None => Poll::Pending,
        }
    }

    /// The client has this delivery for good (PUBACK, PUBCOMP, or an error that ends it), or it
    /// will not be sent.
    pub fn acknowledged(&mut self, seq: u64) {
        if seq > 0 && self.session.settled(seq) {
            let op = QueueOp::Dequeue {
                session: key(self.session.key()),
                seq,
            };
            // Losing this only sends the message again.
            drop(self.hub.0.store.queues().append_lazily(vec![op]));
        }
    }

    /// The client has sent PUBREC for this delivery: PUBREL follows once this resolves.
    pub fn received(&mut self, seq: u64) -> Ack {
        self.session.released(seq);
        if !self.is_persistent() {
            return Ack::default();
        }
        Ack(Some(self.append(QueueOp::Release {
            session: key(self.session.key()),
            seq,
        })))
    }

    /// Ends the connection: publishes the will or schedules it, keeps or forgets the session,
    /// and tells subscribers.
    pub fn end(mut self, disconnect: Disconnect) {
        self.finish(disconnect);
    }

    fn finish(&mut self, disconnect: Disconnect) {
        self.ended = true;
        let hub = self.hub.clone();
        hub.0.live.remove(self.number);
        let turn = hub.0.departures.turn(self.session.client_id());
        let current = self.session.detach(self.number);
        let session_expiry = match disconnect.session_expiry {
            // MQTT 5.0 §3.14.2.2.2: a session that was to end with its connection still does.
            Some(expiry) if !self.opened.session_expiry.is_zero() => {
                expiry.min(limits::SESSION_EXPIRY)
            }
            Some(_) | None => self.opened.session_expiry,
        };
        // The hub has a will from when it says that the client is connected.
        let will = self.opened.will.take();
        let will = will.filter(|_| disconnect.send_will && self.announced);
        if current {
            self.leave(will, session_expiry);
        } else if let Some(will) = will.filter(|will| will.delay.is_zero() || self.is_replaced()) {
            // Taken over: a delayed will is not published, for the client is back. Unless its
            // session has ended thereby. MQTT 5.0 §3.1.3.2.2.
            hub.publish_will(&self.caller, &will);
        }
        drop(turn);
        if !self.announced {
            return;
        }
        hub.record_omitted(&self.caller);
        let now = hub.now();
        hub.announce(&Event::Disconnected {
            client_id: self.session.client_id().clone(),
            device: self.caller.access().device.clone(),
            principal: self.caller.principal().id(),
            session: self.event_session(),
            version: self.number,
            reason: disconnect.reason,
            at: now,
        });
        let (reason, message) = disconnect.because;
        hub.record(
            Kind::Disconnected,
            self.caller.subject(),
            reason,
            message,
            None,
        );
    }

    /// Whether the client has another session now.
    fn is_replaced(&self) -> bool {
        let session = self.hub.0.broker.session(self.session.client_id());
        session.is_some_and(|other| other.key() != self.session.key())
    }

    /// Nobody has taken over: the session waits for its client, or ends.
    fn leave(&self, will: Option<Will>, session_expiry: Duration) {
        let hub = &self.hub;
        let now = hub.now();
        if session_expiry.is_zero() {
            hub.0.broker.discard(&self.session);
            if self.is_persistent() {
                let op = QueueOp::DeleteSession {
                    session: key(self.session.key()),
                };
                drop(hub.0.store.queues().append_lazily(vec![op]));
            }
            // MQTT 5.0 §3.1.3.2.2: at the latest when the session ends.
            if let Some(will) = will {
                hub.publish_will(&self.caller, &will);
            }
            return;
        }
        let ends_at = now.after(session_expiry);
        let mut ops = vec![self.record(Some(ends_at))];
        match will {
            Some(will) if will.delay.is_zero() => {
                hub.publish_will(&self.caller, &will);
                ops.push(self.forget_will());
            }
            Some(will) => {
                let due = now.after(will.delay.min(session_expiry));
                ops.push(self.keep_will(&will, Some(due)));
                hub.0
                    .departures
                    .will(&self.session, Arc::clone(&self.caller), will, due);
            }
            None => ops.push(self.forget_will()),
        }
        hub.0.departures.left(&self.session, ends_at);
        drop(hub.0.store.queues().append_lazily(ops));
    }

    /// Goes on loading from the journal. Returns whether it is still waiting for the disk.
    fn poll_loading(&mut self, context: &mut Context<'_>) -> bool {
        let Some(loading) = &mut self.loading else {
            return false;
        };
        let Poll::Ready(written) = Pin::new(&mut loading.commit).poll(context) else {
            return true;
        };
        let (after, tail) = (loading.after, loading.tail);
        self.loading = None;
        let session = key(self.session.key());
        let read = written.map_err(store::Failure::from).and_then(|()| {
            self.hub
                .0
                .store
                .queues()
                .read_queue(session, after, LOAD_MESSAGES, LOAD_BYTES)
        });
        match read {
            Ok(entries) => {
                let complete = entries.is_empty();
                let entries = entries.into_iter().map(stored::delivery).collect();
                self.session.loaded(self.number, entries, tail, complete);
            }
            Err(error) => {
                tracing::error!(client = %self.session.client_id(), %error, "cannot read a queue");
                self.session.close(CloseReason::StorageFailed);
            }
        }
        false
    }

    fn received_inbound(&self, packet_id: u16) -> Option<QueueOp> {
        self.session.inbound_received(packet_id);
        self.is_persistent().then(|| QueueOp::InboundReceived {
            session: key(self.session.key()),
            packet_id,
        })
    }

    fn is_persistent(&self) -> bool {
        self.session.kind() == SessionKind::Persistent
    }

    fn append(&self, op: QueueOp) -> store::Commit {
        self.hub.0.store.queues().append(vec![op])
    }

    fn append_all(&self, ops: Vec<QueueOp>) -> Ack {
        if ops.is_empty() {
            return Ack::default();
        }
        Ack(Some(self.hub.0.store.queues().append(ops)))
    }

    /// The session's record; `ends_at` when nobody is connected.
    fn record(&self, ends_at: Option<Timestamp>) -> QueueOp {
        let (sent_through, next_seq) = self.session.progress();
        QueueOp::PutSession(Box::new(SessionRecord {
            key: key(self.session.key()),
            client_id: self.session.client_id().clone(),
            protocol: self.opened.protocol_level,
            expiry_seconds: u32::try_from(self.opened.session_expiry.as_secs()).unwrap_or(u32::MAX),
            online: ends_at.is_none(),
            expires_at: ends_at,
            next_seq,
            sent_through,
            principal: self.session.owner().to_string(),
            created_at: self.opened.at,
        }))
    }

    fn will_op(&self) -> Option<QueueOp> {
        self.opened
            .will
            .as_ref()
            .map(|will| self.keep_will(will, None))
    }

    fn keep_will(&self, will: &Will, due_at: Option<Timestamp>) -> QueueOp {
        let message = Message::new(
            will.topic.clone(),
            will.payload.clone(),
            will.qos,
            will.retain,
            will.properties.clone(),
            Origin::default(),
            self.opened.at,
        );
        QueueOp::PutWill {
            session: key(self.session.key()),
            will: Box::new(StoredWill {
                delay_seconds: u32::try_from(will.delay.as_secs()).unwrap_or(u32::MAX),
                due_at,
                qos: will.qos as u8,
                retain: will.retain,
                message: stored::to_store(&message),
            }),
        }
    }

    fn forget_will(&self) -> QueueOp {
        QueueOp::DeleteWill {
            session: key(self.session.key()),
        }
    }

    fn live(&self, clean_start: bool) -> Live {
        Live {
            caller: Arc::clone(&self.caller),
            session: Arc::clone(&self.session),
            persistent: !self.opened.session_expiry.is_zero(),
            will_topic: self
                .opened
                .will
                .as_ref()
                .map(|will| self.hub.0.language.topic(will.topic.as_str()).into_owned()),
            clean_start,
            keep_alive_seconds: self.opened.keep_alive_seconds,
            session_expiry: self.opened.session_expiry,
            connected_at: self.opened.at,
        }
    }

    fn announce_opened(&mut self) {
        self.announced = true;
        let hub = &self.hub;
        if let Some(peer) = self.caller.peer() {
            hub.announce(&Event::Connected {
                client_id: self.session.client_id().clone(),
                device: self.caller.access().device.clone(),
                principal: self.caller.principal().id(),
                session: self.event_session(),
                address: peer.address.ip(),
                version: self.number,
                at: self.opened.at,
            });
        }
        let message = match (self.present, self.is_persistent()) {
            (true, _) => "connected; its session was resumed",
            (false, true) => "connected with a new persistent session",
            (false, false) => "connected",
        };
        hub.record(
            Kind::Connected,
            self.caller.subject(),
            ReasonId("connection.opened"),
            message.into(),
            None,
        );
    }

    fn event_session(&self) -> String {
        format!("{:016x}-{:x}", self.opened.at.millis(), self.number)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.ended {
            self.finish(Disconnect {
                reason: DisconnectReason::ServerError,
                send_will: true,
                session_expiry: None,
                because: (
                    ReasonId("connection.dropped"),
                    "the hub dropped the connection; its log says why".into(),
                ),
            });
        }
    }
}

fn too_many_sessions() -> Refusal {
    Refusal::new(
        RefusalKind::TooMany,
        "session.too-many",
        format!("the hub holds {} sessions already", limits::SESSIONS),
    )
}
