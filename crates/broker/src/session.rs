//! The hub's memory of one client: its place in the world while connected, and its queue.
//!
//! A session's deliveries wait in two places. The *mailbox* is a bounded queue in memory for a
//! live connection. The *journal* is the queue on disk of a persistent session: it holds every
//! QoS 1 and 2 message until the client has acknowledged it. What does not fit into the mailbox,
//! or arrives while nobody is connected, stays in the journal only and is loaded from there, in
//! order, when the connection has caught up.
//!
//! Sequence numbers count the QoS 1 and 2 messages of a session from 1, without reuse. The
//! numbers in the mailbox are always below those that are only in the journal.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    task::Waker,
};

use model::{ClientId, Refusal, TopicFilter, limits};
use mqtt_proto::QoS;
use smallvec::SmallVec;

use crate::{Delivery, Message, SubscriptionOptions};

/// A session's identity: never reused, kept over restarts for persistent sessions.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionKey(pub i64);

/// Whether a session outlives its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SessionKind {
    /// It ends with its connection; nothing of it is on disk.
    Transient,
    /// It outlives its connection; its QoS 1 and 2 messages are on disk.
    Persistent,
}

/// Where a persistent session's messages are made durable.
pub trait Journal {
    /// Appends `delivery`, whose `seq` is set, to the queue of `session`.
    ///
    /// Called while the session is locked, so that the order on disk is the order of `seq`; must
    /// not block on disk.
    fn enqueue(&mut self, session: SessionKey, delivery: &Delivery);
}

/// What became of a message offered to a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Offer {
    /// It is in the mailbox, or in the journal, or in both.
    Taken,
    /// Nobody is connected and the session keeps no such messages.
    Offline,
    /// Dropped: see [`Overflow`].
    Overflow(Overflow),
}

/// Which bound dropped a message. The newest message is the one dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Overflow {
    /// [`limits::MAILBOX_MESSAGES`] or [`limits::MAILBOX_BYTES`]: the client reads too slowly.
    Mailbox,
    /// [`limits::QUEUE_MESSAGES`] or [`limits::QUEUE_BYTES`]: the client was away too long.
    Queue,
}

/// Why the hub ends a connection.
#[derive(Clone, Debug)]
pub enum CloseReason {
    /// Another connection uses the same client id. MQTT 5.0 §3.1.4.
    TakenOver,
    /// What was allowed no longer is: a certificate, a policy or an attachment changed.
    NoLongerAllowed(Arc<Refusal>),
    /// An operator asked for it, and said what becomes of the rest.
    Administrative {
        /// Whether the will is published.
        send_will: bool,
        /// Whether the session ends with its connection, whatever it was to outlive.
        end_session: bool,
    },
    /// The hub stops.
    ShuttingDown,
    /// What must be kept could not be written.
    StorageFailed,
}

/// What a connection does next.
#[derive(Debug)]
pub enum Next {
    /// Send this.
    Deliver(Delivery),
    /// Send PUBREL for this delivery: its PUBREC came before the connection ended.
    Release(u64),
    /// The mailbox is empty and the journal is not: load what comes behind `after`, which is on
    /// disk once everything appended so far is, and pass it to [`Session::loaded`] with `tail`.
    Load {
        /// The last sequence number already loaded.
        after: u64,
        /// The last one given out when this was said.
        tail: u64,
    },
    /// End the connection.
    Close(CloseReason),
    /// Nothing yet; the waker is called when there is something.
    Wait,
}

/// An entry read back from the journal.
#[derive(Clone, Debug)]
pub enum StoredDelivery {
    /// Not acknowledged yet.
    Message(Delivery),
    /// A QoS 2 message whose PUBREC has come; only PUBREL and PUBCOMP remain.
    Released(u64),
}

impl StoredDelivery {
    /// Its place in the queue.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        match self {
            Self::Message(delivery) => delivery.seq,
            Self::Released(seq) => *seq,
        }
    }
}

/// The hub's memory of one client.
#[derive(Debug)]
pub struct Session {
    key: SessionKey,
    client_id: ClientId,
    owner: Arc<str>,
    state: Mutex<State>,
    /// `None` once the session is over. Locked before the tree of subscriptions.
    subscriptions: Mutex<Option<Subscriptions>>,
}

pub(crate) type Subscriptions = BTreeMap<TopicFilter, SubscriptionOptions>;

#[derive(Debug)]
struct State {
    kind: SessionKind,
    /// The number of the live connection.
    connection: Option<u64>,
    close: Option<CloseReason>,
    waker: Option<Waker>,
    /// Whom to wake when the connection is to end; apart, so that messages do not wake it.
    close_waker: Option<Waker>,
    mailbox: VecDeque<StoredDelivery>,
    mailbox_bytes: usize,
    next_seq: u64,
    /// The last sequence number that is, or was, in this connection's mailbox.
    loaded_through: u64,
    /// The last one that was handed to any connection: what is not behind it may be sent again.
    sent_through: u64,
    /// Weights in bytes of what a connection has been handed and has not acknowledged.
    unacknowledged: HashMap<u64, usize>,
    journal_messages: usize,
    journal_bytes: usize,
    /// Whether `journal_messages` may be too low: what expired in the journal may have been
    /// counted as settled, too.
    miscounted: bool,
    inbound: BTreeSet<u16>,
    dropped: u64,
    /// Whether the session is over, so that it takes nothing more.
    ended: bool,
}

/// A session as the store kept it.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Its identity.
    pub key: SessionKey,
    /// Whose it is.
    pub client_id: ClientId,
    /// Who may resume it.
    pub owner: Arc<str>,
    /// Whether it outlives its connection.
    pub kind: SessionKind,
    /// The next sequence number.
    pub next_seq: u64,
    /// The last one that may have been sent.
    pub sent_through: u64,
    /// Messages in its journal.
    pub journal_messages: usize,
    /// Their bytes.
    pub journal_bytes: usize,
    /// The client's QoS 2 packet ids whose PUBREL has not come.
    pub inbound: Vec<u16>,
}

impl Session {
    /// A session nobody is connected to yet.
    #[must_use]
    pub fn new(key: SessionKey, client_id: ClientId, owner: Arc<str>, kind: SessionKind) -> Self {
        Self::restored(&Restored {
            key,
            client_id,
            owner,
            kind,
            next_seq: 1,
            sent_through: 0,
            journal_messages: 0,
            journal_bytes: 0,
            inbound: Vec::new(),
        })
    }

    /// A session as the store kept it.
    #[must_use]
    pub fn restored(from: &Restored) -> Self {
        Self {
            key: from.key,
            client_id: from.client_id.clone(),
            owner: Arc::clone(&from.owner),
            state: Mutex::new(State {
                kind: from.kind,
                connection: None,
                close: None,
                waker: None,
                close_waker: None,
                mailbox: VecDeque::new(),
                mailbox_bytes: 0,
                next_seq: from.next_seq.max(1),
                loaded_through: 0,
                sent_through: from.sent_through,
                unacknowledged: HashMap::new(),
                journal_messages: from.journal_messages,
                journal_bytes: from.journal_bytes,
                miscounted: false,
                ended: false,
                inbound: from.inbound.iter().copied().collect(),
                dropped: 0,
            }),
            subscriptions: Mutex::new(Some(BTreeMap::new())),
        }
    }

    /// Its identity.
    #[must_use]
    pub const fn key(&self) -> SessionKey {
        self.key
    }

    /// Whose session it is.
    #[must_use]
    pub const fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// Whether it outlives its connection.
    #[must_use]
    pub fn kind(&self) -> SessionKind {
        self.state().kind
    }

    /// Whether a connection is open.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.state().connection.is_some()
    }

    /// The number of its live connection.
    #[must_use]
    pub fn connection(&self) -> Option<u64> {
        self.state().connection
    }

    /// Its subscriptions, by filter.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<(TopicFilter, SubscriptionOptions)> {
        self.subscription_map()
            .iter()
            .flatten()
            .map(|(filter, options)| (filter.clone(), *options))
            .collect()
    }

    /// Messages and bytes waiting in its journal, those in flight included.
    #[must_use]
    pub fn journal_size(&self) -> (usize, usize) {
        let state = self.state();
        (state.journal_messages, state.journal_bytes)
    }

    /// The last sequence number that was handed to a connection, and the next one to give.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        let state = self.state();
        (state.sent_through, state.next_seq)
    }

    /// How many messages were dropped for want of room since the hub started.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.state().dropped
    }

    /// Who it belongs to, as the hub spells owners. Only the same owner may resume it.
    #[must_use]
    pub const fn owner(&self) -> &Arc<str> {
        &self.owner
    }

    /// Remembers that the client's QoS 2 message with this packet id was taken. Returns whether
    /// that is new. MQTT 5.0 §4.3.3.
    pub fn inbound_received(&self, packet_id: u16) -> bool {
        self.state().inbound.insert(packet_id)
    }

    /// Forgets a packet id of the client's: its PUBREL has come.
    pub fn inbound_released(&self, packet_id: u16) -> bool {
        self.state().inbound.remove(&packet_id)
    }

    /// The client's packet ids whose PUBREL has not come.
    #[must_use]
    pub fn inbound(&self) -> Vec<u16> {
        self.state().inbound.iter().copied().collect()
    }

    /// Opens connection `number`. Whoever was connected is told [`CloseReason::TakenOver`].
    pub fn attach(&self, number: u64) {
        let mut state = self.state();
        state.connection = Some(number);
        state.close = None;
        state.empty_mailbox();
        // Everything unacknowledged is sent again, in order, from the journal. MQTT 5.0 §4.4.
        state.loaded_through = match state.kind {
            SessionKind::Persistent if state.journal_messages > 0 || state.miscounted => 0,
            SessionKind::Persistent | SessionKind::Transient => state.next_seq - 1,
        };
        state.wake_to_close();
    }

    /// Ends connection `number`. Does nothing when another one has taken over, and says so.
    pub fn detach(&self, number: u64) -> bool {
        let mut state = self.state();
        if state.connection != Some(number) {
            return false;
        }
        state.connection = None;
        state.waker = None;
        state.close_waker = None;
        state.empty_mailbox();
        state.mailbox.shrink_to_fit();
        true
    }

    /// Ends the session. Its connection is told [`CloseReason::TakenOver`]; nothing is put into
    /// its journal from here on.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        state.connection = None;
        state.empty_mailbox();
        state.wake_to_close();
    }

    /// Asks the live connection to end. Returns whether there was one.
    pub fn close(&self, reason: CloseReason) -> bool {
        self.state().close(reason)
    }

    /// Asks connection `number` to end, and no other. Returns whether it was live.
    pub fn close_connection(&self, number: u64, reason: CloseReason) -> bool {
        let mut state = self.state();
        state.connection == Some(number) && state.close(reason)
    }

    /// Why connection `number` is to end. `None` when it is not; then the waker is called when
    /// that changes, and not for messages: for a connection that can take none.
    pub fn close_reason(&self, number: u64, waker: &Waker) -> Option<CloseReason> {
        let mut state = self.state();
        if state.connection != Some(number) {
            return Some(CloseReason::TakenOver);
        }
        if state.close.is_none() {
            match &mut state.close_waker {
                Some(known) => known.clone_from(waker),
                slot @ None => *slot = Some(waker.clone()),
            }
        }
        state.close.clone()
    }

    /// Offers a message to the session, at the quality of service it will be delivered at.
    pub fn offer(
        &self,
        message: &Arc<Message>,
        qos: QoS,
        retain: bool,
        subscription_ids: &[u32],
        journal: &mut dyn Journal,
    ) -> Offer {
        let mut state = self.state();
        let mut delivery = Delivery {
            message: Arc::clone(message),
            qos,
            retain,
            dup: false,
            seq: 0,
            subscription_ids: SmallVec::from_slice(subscription_ids),
        };
        let weight = message.weight_bytes();
        let online = state.connection.is_some();
        if state.ended {
            return Offer::Offline;
        }
        match (qos, state.kind) {
            (QoS::AtMostOnce, _) | (_, SessionKind::Transient) if !online => Offer::Offline,
            (QoS::AtMostOnce, _) | (_, SessionKind::Transient) => {
                if state.mailbox_is_full(weight) {
                    return state.drop_newest(Overflow::Mailbox);
                }
                if qos != QoS::AtMostOnce {
                    delivery.seq = state.take_seq();
                    state.loaded_through = delivery.seq;
                }
                state.push(delivery, weight);
                Offer::Taken
            }
            (QoS::AtLeastOnce | QoS::ExactlyOnce, SessionKind::Persistent) => {
                if state.journal_messages >= limits::QUEUE_MESSAGES
                    || state.journal_bytes + weight > limits::QUEUE_BYTES
                {
                    return state.drop_newest(Overflow::Queue);
                }
                delivery.seq = state.take_seq();
                journal.enqueue(self.key, &delivery);
                state.journal_messages += 1;
                state.journal_bytes += weight;
                if !online {
                    return Offer::Taken;
                }
                // An exactly-once message is not sent before it is on disk: after a crash its
                // publisher would send it again, and its packet id would go to another message.
                // So it is loaded from the journal, which the connection waits for.
                if qos == QoS::AtLeastOnce
                    && state.loaded_through + 1 == delivery.seq
                    && !state.mailbox_is_full(weight)
                {
                    state.loaded_through = delivery.seq;
                    state.push(delivery, weight);
                } else if state.mailbox.is_empty() {
                    // The connection is to load it.
                    state.wake();
                }
                Offer::Taken
            }
        }
    }

    /// Takes what connection `number` does next. `window_open` tells whether the client takes
    /// one more QoS 1 or 2 message now (MQTT 5.0 §4.9); while it does not, the mailbox waits,
    /// so that messages stay in order.
    pub fn next(&self, number: u64, window_open: bool, waker: &Waker) -> Next {
        let mut state = self.state();
        if state.connection != Some(number) {
            return Next::Close(CloseReason::TakenOver);
        }
        if let Some(reason) = state.close.clone() {
            return Next::Close(reason);
        }
        let sendable = match state.mailbox.front() {
            Some(StoredDelivery::Message(delivery)) => {
                window_open || delivery.qos == QoS::AtMostOnce
            }
            Some(StoredDelivery::Released(_)) => true,
            None => {
                let tail = state.next_seq - 1;
                if window_open && state.loaded_through < tail {
                    return Next::Load {
                        after: state.loaded_through,
                        tail,
                    };
                }
                false
            }
        };
        if !sendable {
            // Cloned only when it differs: this is on the data path.
            match &mut state.waker {
                Some(known) if known.will_wake(waker) => {}
                slot => *slot = Some(waker.clone()),
            }
            return Next::Wait;
        }
        match state.mailbox.pop_front() {
            Some(StoredDelivery::Message(delivery)) => {
                let weight = delivery.message.weight_bytes();
                state.mailbox_bytes -= weight;
                if delivery.seq > 0 {
                    state.sent_through = state.sent_through.max(delivery.seq);
                    state.unacknowledged.insert(delivery.seq, weight);
                }
                Next::Deliver(delivery)
            }
            Some(StoredDelivery::Released(seq)) => {
                state.unacknowledged.insert(seq, 0);
                Next::Release(seq)
            }
            None => unreachable!("the front was looked at under the same lock"),
        }
    }

    /// Takes what was read from the journal behind the `after` of [`Next::Load`], in order.
    ///
    /// `complete` tells that the read went to the end of the journal, so that `tail`, given out
    /// before the read, is the last one that can still be in it.
    pub fn loaded(&self, number: u64, entries: Vec<StoredDelivery>, tail: u64, complete: bool) {
        let mut state = self.state();
        if state.connection != Some(number) {
            return;
        }
        for mut entry in entries {
            if entry.seq() <= state.loaded_through {
                continue;
            }
            state.loaded_through = entry.seq();
            if let StoredDelivery::Message(delivery) = &mut entry {
                // It may have been sent on an earlier connection. MQTT 5.0 §3.3.1.1.
                delivery.dup = delivery.seq <= state.sent_through;
                state.mailbox_bytes += delivery.message.weight_bytes();
            }
            state.mailbox.push_back(entry);
        }
        if complete {
            state.loaded_through = state.loaded_through.max(tail);
        }
        state.wake();
    }

    /// So many messages and bytes of its journal have expired and are gone.
    pub(crate) fn journal_expired(&self, messages: usize, bytes: usize) {
        let mut state = self.state();
        state.journal_messages = state.journal_messages.saturating_sub(messages);
        state.journal_bytes = state.journal_bytes.saturating_sub(bytes);
        state.miscounted = true;
    }

    /// Whether the mailbox is at most half full and nothing older waits in the journal: whoever
    /// has more to send may go on.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let state = self.state();
        state.loaded_through + 1 >= state.next_seq
            && state.mailbox.len() < limits::MAILBOX_MESSAGES / 2
            && state.mailbox_bytes < limits::MAILBOX_BYTES / 2
    }

    /// The client's PUBREC has come for this delivery: its message is not kept any longer, only
    /// its place in the queue.
    pub fn released(&self, seq: u64) {
        let mut state = self.state();
        let weight = state.unacknowledged.get_mut(&seq).map(std::mem::take);
        if let (Some(weight), SessionKind::Persistent) = (weight, state.kind) {
            state.journal_bytes = state.journal_bytes.saturating_sub(weight);
        }
    }

    /// Forgets a delivery the client has acknowledged for good, or that will not be sent.
    ///
    /// Returns whether the journal holds it and must forget it too.
    pub fn settled(&self, seq: u64) -> bool {
        let mut state = self.state();
        let Some(weight) = state.unacknowledged.remove(&seq) else {
            return false;
        };
        match state.kind {
            SessionKind::Transient => false,
            SessionKind::Persistent => {
                state.journal_messages = state.journal_messages.saturating_sub(1);
                state.journal_bytes = state.journal_bytes.saturating_sub(weight);
                true
            }
        }
    }

    pub(crate) fn subscription_map(&self) -> MutexGuard<'_, Option<Subscriptions>> {
        self.subscriptions
            .lock()
            .expect("no panic happens while it is held")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no panic happens while it is held")
    }
}

impl State {
    fn mailbox_is_full(&self, weight: usize) -> bool {
        self.mailbox.len() >= limits::MAILBOX_MESSAGES
            || self.mailbox_bytes + weight > limits::MAILBOX_BYTES
    }

    fn take_seq(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }

    fn push(&mut self, delivery: Delivery, weight: usize) {
        self.mailbox_bytes += weight;
        self.mailbox.push_back(StoredDelivery::Message(delivery));
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn wake_to_close(&mut self) {
        self.wake();
        if let Some(waker) = self.close_waker.take() {
            waker.wake();
        }
    }

    fn close(&mut self, reason: CloseReason) -> bool {
        if self.connection.is_none() {
            return false;
        }
        // The first reason is the true one.
        self.close.get_or_insert(reason);
        self.wake_to_close();
        true
    }

    fn drop_newest(&mut self, overflow: Overflow) -> Offer {
        self.dropped += 1;
        Offer::Overflow(overflow)
    }

    fn empty_mailbox(&mut self) {
        self.mailbox.clear();
        self.mailbox_bytes = 0;
        self.unacknowledged.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Origin;
    use model::Timestamp;
    use mqtt_proto::PublishProperties;

    /// A journal in memory.
    #[derive(Default)]
    struct Disk(Vec<StoredDelivery>);

    impl Journal for Disk {
        fn enqueue(&mut self, _: SessionKey, delivery: &Delivery) {
            self.0.push(StoredDelivery::Message(delivery.clone()));
        }
    }

    fn session(kind: SessionKind) -> Session {
        Session::new(
            SessionKey(1),
            ClientId::new("c").unwrap(),
            "owner".into(),
            kind,
        )
    }

    fn offer(session: &Session, disk: &mut Disk, qos: QoS) -> Offer {
        let message = Arc::new(Message::new(
            "t".parse().unwrap(),
            "x".into(),
            qos,
            false,
            PublishProperties::default(),
            Origin::default(),
            Timestamp::default(),
        ));
        session.offer(&message, qos, false, &[], disk)
    }

    /// Takes everything, loading from `disk` as a connection would; returns (seq, dup).
    fn drain(session: &Session, disk: &Disk, number: u64) -> Vec<(u64, bool)> {
        let mut taken = Vec::new();
        loop {
            match session.next(number, true, Waker::noop()) {
                Next::Deliver(delivery) => taken.push((delivery.seq, delivery.dup)),
                Next::Release(seq) => taken.push((seq, false)),
                Next::Load { after, tail } => {
                    let entries: Vec<_> = disk
                        .0
                        .iter()
                        .filter(|entry| entry.seq() > after)
                        .take(3)
                        .cloned()
                        .collect();
                    let complete = entries.len() < 3;
                    session.loaded(number, entries, tail, complete);
                }
                Next::Wait => return taken,
                Next::Close(reason) => panic!("{reason:?}"),
            }
        }
    }

    #[test]
    fn what_arrives_while_a_persistent_client_is_away_is_delivered_in_order() {
        let (session, mut disk) = (session(SessionKind::Persistent), Disk::default());
        for _ in 0..10 {
            assert_eq!(offer(&session, &mut disk, QoS::AtLeastOnce), Offer::Taken);
        }
        session.attach(1);
        let expected: Vec<_> = (1..=10).map(|seq| (seq, false)).collect();
        assert_eq!(drain(&session, &disk, 1), expected);
        assert!(matches!(session.next(1, true, Waker::noop()), Next::Wait));
    }

    #[test]
    fn an_exactly_once_message_is_sent_only_from_disk() {
        let (session, mut disk) = (session(SessionKind::Persistent), Disk::default());
        session.attach(1);
        offer(&session, &mut disk, QoS::ExactlyOnce);
        offer(&session, &mut disk, QoS::AtLeastOnce);
        assert!(matches!(
            session.next(1, true, Waker::noop()),
            Next::Load { after: 0, tail: 2 }
        ));
        assert_eq!(drain(&session, &disk, 1), [(1, false), (2, false)]);
    }

    #[test]
    fn what_was_sent_and_not_acknowledged_is_sent_again_with_dup() {
        let (session, mut disk) = (session(SessionKind::Persistent), Disk::default());
        session.attach(1);
        for _ in 0..3 {
            offer(&session, &mut disk, QoS::AtLeastOnce);
        }
        assert_eq!(
            drain(&session, &disk, 1),
            [(1, false), (2, false), (3, false)]
        );
        assert!(session.settled(2));
        disk.0.retain(|entry| entry.seq() != 2);
        session.detach(1);
        offer(&session, &mut disk, QoS::AtLeastOnce);
        session.attach(2);
        assert_eq!(
            drain(&session, &disk, 2),
            [(1, true), (3, true), (4, false)]
        );
    }

    #[test]
    fn a_slow_persistent_client_loses_nothing() {
        let (session, mut disk) = (session(SessionKind::Persistent), Disk::default());
        session.attach(1);
        let count = limits::MAILBOX_MESSAGES + 50;
        for _ in 0..count {
            assert_eq!(offer(&session, &mut disk, QoS::AtLeastOnce), Offer::Taken);
        }
        assert_eq!(drain(&session, &disk, 1).len(), count);
        offer(&session, &mut disk, QoS::AtLeastOnce);
        assert_eq!(drain(&session, &disk, 1), [(count as u64 + 1, false)]);
    }

    #[test]
    fn a_slow_transient_client_loses_the_newest_and_it_is_counted() {
        let (session, mut disk) = (session(SessionKind::Transient), Disk::default());
        session.attach(1);
        for _ in 0..limits::MAILBOX_MESSAGES {
            assert_eq!(offer(&session, &mut disk, QoS::AtMostOnce), Offer::Taken);
        }
        assert_eq!(
            offer(&session, &mut disk, QoS::AtLeastOnce),
            Offer::Overflow(Overflow::Mailbox)
        );
        assert_eq!(session.dropped(), 1);
    }

    #[test]
    fn a_journal_that_is_full_drops_the_newest() {
        let (session, mut disk) = (session(SessionKind::Persistent), Disk::default());
        for _ in 0..limits::QUEUE_MESSAGES {
            offer(&session, &mut disk, QoS::AtLeastOnce);
        }
        assert_eq!(
            offer(&session, &mut disk, QoS::AtLeastOnce),
            Offer::Overflow(Overflow::Queue)
        );
        assert_eq!(disk.0.len(), limits::QUEUE_MESSAGES);
    }

    #[test]
    fn a_second_connection_ends_the_first() {
        let session = session(SessionKind::Transient);
        session.attach(1);
        session.attach(2);
        assert!(matches!(
            session.next(1, true, Waker::noop()),
            Next::Close(CloseReason::TakenOver)
        ));
        assert!(
            !session.detach(1),
            "the old one's end does not end the new one"
        );
        assert!(session.is_online());
        assert!(session.detach(2));
    }

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Alarm(std::sync::atomic::AtomicUsize);

    impl std::task::Wake for Alarm {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    #[test]
    fn a_connection_that_takes_nothing_is_woken_by_its_end_and_by_no_message() {
        for ends in [
            |session: &Session| assert!(session.close(CloseReason::ShuttingDown)),
            |session: &Session| session.attach(2),
            |session: &Session| session.end(),
        ] {
            let (session, mut disk) = (session(SessionKind::Persistent), Disk::default());
            session.attach(1);
            let alarm = Arc::new(Alarm::default());
            let waker = Waker::from(Arc::clone(&alarm));
            assert!(session.close_reason(1, &waker).is_none());
            offer(&session, &mut disk, QoS::AtMostOnce);
            offer(&session, &mut disk, QoS::AtLeastOnce);
            assert_eq!(alarm.0.load(std::sync::atomic::Ordering::Relaxed), 0);
            ends(&session);
            assert_eq!(alarm.0.load(std::sync::atomic::Ordering::Relaxed), 1);
            assert!(session.close_reason(1, &waker).is_some());
        }
    }

    #[test]
    fn ending_one_connection_leaves_the_one_that_took_over() {
        let session = session(SessionKind::Persistent);
        session.attach(1);
        session.attach(2);
        assert!(!session.close_connection(1, CloseReason::ShuttingDown));
        assert!(session.close_reason(2, Waker::noop()).is_none());
        assert!(session.close_connection(2, CloseReason::ShuttingDown));
        assert!(session.close_reason(2, Waker::noop()).is_some());
    }

    #[test]
    fn a_closed_window_holds_back_only_what_needs_it() {
        let (session, mut disk) = (session(SessionKind::Transient), Disk::default());
        session.attach(1);
        offer(&session, &mut disk, QoS::AtMostOnce);
        offer(&session, &mut disk, QoS::AtLeastOnce);
        assert!(matches!(
            session.next(1, false, Waker::noop()),
            Next::Deliver(_)
        ));
        assert!(matches!(session.next(1, false, Waker::noop()), Next::Wait));
        assert!(matches!(
            session.next(1, true, Waker::noop()),
            Next::Deliver(_)
        ));
    }

    #[test]
    fn qos_0_for_a_client_that_is_away_is_not_kept() {
        let (session, mut disk) = (session(SessionKind::Persistent), Disk::default());
        assert_eq!(offer(&session, &mut disk, QoS::AtMostOnce), Offer::Offline);
        assert!(disk.0.is_empty());
    }
}
