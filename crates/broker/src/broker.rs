//! The broker: finds who gets a message and offers it to them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use bytestring::ByteString;
use model::{ClientId, Timestamp, TopicFilter, TopicName, limits};
use mqtt_proto::QoS;
use smallvec::SmallVec;

use crate::{
    Journal, Message, Offer, RetainedTree, Session, SessionKey, SessionKind, SubscriptionOptions,
    SubscriptionTree,
    tree::{Found, Group, Subscriber},
};

/// What differs from cloud to cloud. The default is what MQTT says and the hub can hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rules {
    /// The most subscriptions a session may make.
    pub subscriptions_per_session: usize,
    /// Whether `a/#` leaves out `a`; see [`SubscriptionTree::leaving_out_parents`].
    pub leaves_out_parents: bool,
}

/// All sessions, subscriptions and retained messages of the hub.
#[derive(Debug)]
pub struct Broker {
    subscriptions_per_session: usize,
    tree: RwLock<SubscriptionTree>,
    /// Changes with every change of `tree`; see [`MatchCache`].
    epoch: AtomicU64,
    retained: RwLock<RetainedTree>,
    sessions: Mutex<HashMap<ClientId, Arc<Session>>>,
    next_connection: AtomicU64,
}

/// How a client wants its session.
#[derive(Clone, Debug)]
pub struct OpenSession {
    /// Whose.
    pub client_id: ClientId,
    /// Whether what is known of the client is forgotten first. MQTT 5.0 §3.1.2.4.
    pub clean_start: bool,
    /// Whether it outlives the connection.
    pub kind: SessionKind,
    /// Who opens it; a session of another owner is not resumed but forgotten.
    pub owner: Arc<str>,
    /// The identity of the session, if a new one is made. Never used before.
    pub key: SessionKey,
}

/// An opened session.
#[derive(Debug)]
pub struct Opened {
    /// The session, attached to the new connection.
    pub session: Arc<Session>,
    /// The number of the connection, never reused while the hub runs.
    pub connection: u64,
    /// Whether the hub remembered the client. MQTT 5.0 §3.2.2.1.1.
    pub present: bool,
    /// The session that was forgotten to make room; its traces on disk are to be removed.
    pub discarded: Option<Arc<Session>>,
}

/// What became of a subscription.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Subscribed {
    /// It is new.
    New,
    /// It replaces one on the same filter. MQTT 5.0 §3.8.4.
    Replaced,
    /// Not made: [`Rules::subscriptions_per_session`] or [`limits::SUBSCRIPTIONS_TOTAL`].
    TooMany,
    /// Not made: the session is over, because another connection forgot it.
    SessionEnded,
}

/// Whom the messages of one publisher's recent topics go to. Owned by the publisher's
/// connection; valid while the subscriptions have not changed. Holds at most 64 topics.
#[derive(Debug, Default)]
pub struct MatchCache {
    epoch: u64,
    by_topic: HashMap<ByteString, Arc<[Matched]>>,
}

const CACHED_TOPICS: usize = 64;

/// Everyone in a match is listed once.
#[derive(Debug)]
enum Matched {
    One {
        session: Arc<Session>,
        /// All subscriptions that match.
        all: Merged,
        /// Whether some of them leave out the subscriber's own messages.
        no_local: bool,
        /// Those that do not, if others do.
        own: Option<Box<Merged>>,
    },
    Group(Arc<Group>),
}

/// One delivery serves all overlapping subscriptions of a client, at the highest of their
/// qualities of service and with all their identifiers. MQTT 5.0 §3.3.4.
#[derive(Clone, Debug)]
struct Merged {
    qos: QoS,
    retain_as_published: bool,
    identifiers: SmallVec<[u32; 2]>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            subscriptions_per_session: limits::SUBSCRIPTIONS_PER_SESSION,
            leaves_out_parents: false,
        }
    }
}

impl Default for Broker {
    fn default() -> Self {
        Self::new(Rules::default())
    }
}

impl Broker {
    /// A broker without anyone.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        let tree = if rules.leaves_out_parents {
            SubscriptionTree::leaving_out_parents()
        } else {
            SubscriptionTree::default()
        };
        Self {
            subscriptions_per_session: rules.subscriptions_per_session,
            tree: RwLock::new(tree),
            // A new cache, at epoch 0, is never valid.
            epoch: AtomicU64::new(1),
            retained: RwLock::default(),
            sessions: Mutex::default(),
            next_connection: AtomicU64::new(1),
        }
    }

    /// Puts back a session as the store kept it, with its subscriptions.
    pub fn restore(
        &self,
        session: Session,
        subscriptions: Vec<(TopicFilter, SubscriptionOptions)>,
    ) -> Arc<Session> {
        let session = Arc::new(session);
        for (filter, options) in subscriptions {
            // Made under the rules of their time.
            self.add(&session, filter, options, usize::MAX);
        }
        self.sessions()
            .insert(session.client_id().clone(), Arc::clone(&session));
        session
    }

    /// Opens a session: resumes the one the client has, or makes a new one.
    ///
    /// An older connection of the same client is told [`crate::CloseReason::TakenOver`]. `None`
    /// when the hub holds [`limits::SESSIONS`] already.
    pub fn open(&self, request: &OpenSession) -> Option<Opened> {
        let connection = self.next_connection.fetch_add(1, Ordering::Relaxed);
        let mut sessions = self.sessions();
        let existing = sessions.get(&request.client_id).cloned();
        if existing.is_none() && sessions.len() >= limits::SESSIONS {
            return None;
        }
        if let Some(session) = &existing
            && !request.clean_start
            && session.kind() == SessionKind::Persistent
            && *session.owner() == request.owner
        {
            session.attach(connection);
            return Some(Opened {
                session: Arc::clone(session),
                connection,
                present: true,
                discarded: None,
            });
        }
        let session = Arc::new(Session::new(
            request.key,
            request.client_id.clone(),
            Arc::clone(&request.owner),
            request.kind,
        ));
        session.attach(connection);
        sessions.insert(request.client_id.clone(), Arc::clone(&session));
        drop(sessions);
        if let Some(old) = &existing {
            self.end(old);
        }
        Some(Opened {
            session,
            connection,
            present: false,
            discarded: existing,
        })
    }

    /// Forgets `session` and its subscriptions; a later session of the same client stays.
    pub fn discard(&self, session: &Arc<Session>) {
        self.end(session);
        let mut sessions = self.sessions();
        if sessions
            .get(session.client_id())
            .is_some_and(|known| known.key() == session.key())
        {
            sessions.remove(session.client_id());
        }
    }

    /// The session of a client.
    #[must_use]
    pub fn session(&self, client_id: &ClientId) -> Option<Arc<Session>> {
        self.sessions().get(client_id).cloned()
    }

    /// All sessions, in no order.
    #[must_use]
    pub fn all_sessions(&self) -> Vec<Arc<Session>> {
        self.sessions().values().cloned().collect()
    }

    /// Forgets every session, subscription and retained message. Live connections are told that
    /// they were taken over, and so leave nothing behind when they end.
    pub fn clear(&self) {
        let sessions: Vec<_> = self.sessions().drain().collect();
        for (_, session) in sessions {
            self.end(&session);
        }
        *self
            .retained
            .write()
            .expect("no panic happens while it is held") = RetainedTree::default();
    }

    /// The number of sessions, connected or remembered.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions().len()
    }

    /// The number of subscriptions of all sessions.
    #[must_use]
    pub fn subscription_count(&self) -> usize {
        self.tree
            .read()
            .expect("no panic happens while it is held")
            .len()
    }

    /// Subscribes `session` to `filter`.
    pub fn subscribe(
        &self,
        session: &Arc<Session>,
        filter: TopicFilter,
        options: SubscriptionOptions,
    ) -> Subscribed {
        self.add(session, filter, options, self.subscriptions_per_session)
    }

    /// Sessions that come back keep what they had under other rules.
    fn add(
        &self,
        session: &Arc<Session>,
        filter: TopicFilter,
        options: SubscriptionOptions,
        limit: usize,
    ) -> Subscribed {
        // Held until the tree has it, so that a session that ends meanwhile leaves nothing there.
        let mut known = session.subscription_map();
        let Some(own) = known.as_mut() else {
            return Subscribed::SessionEnded;
        };
        let mut tree = self
            .tree
            .write()
            .expect("no panic happens while it is held");
        if !own.contains_key(&filter)
            && (own.len() >= limit || tree.len() >= limits::SUBSCRIPTIONS_TOTAL)
        {
            return Subscribed::TooMany;
        }
        let new = tree.insert(
            &filter,
            Subscriber {
                session: Arc::clone(session),
                options,
            },
        );
        self.epoch.fetch_add(1, Ordering::Release);
        own.insert(filter, options);
        if new {
            Subscribed::New
        } else {
            Subscribed::Replaced
        }
    }

    /// Ends a subscription. Returns whether there was one.
    pub fn unsubscribe(&self, session: &Arc<Session>, filter: &TopicFilter) -> bool {
        let mut known = session.subscription_map();
        let removed = known
            .as_mut()
            .is_some_and(|own| own.remove(filter).is_some());
        if removed {
            self.tree
                .write()
                .expect("no panic happens while it is held")
                .remove(filter, session.key());
            self.epoch.fetch_add(1, Ordering::Release);
        }
        removed
    }

    /// Offers `message` to everyone subscribed to its topic.
    ///
    /// Returns how many took it. `overflowed` is called for each session that had no room.
    pub fn publish(
        &self,
        message: &Arc<Message>,
        cache: &mut MatchCache,
        journal: &mut dyn Journal,
        mut overflowed: impl FnMut(&Arc<Session>, crate::Overflow),
    ) -> usize {
        let matched = self.matched(message.topic.as_byte_string(), cache);
        let mut taken = 0;
        let mut offer =
            |session: &Arc<Session>, qos: QoS, retain, identifiers: &[u32]| match session.offer(
                message,
                qos,
                retain,
                identifiers,
                journal,
            ) {
                Offer::Taken => {
                    taken += 1;
                    true
                }
                Offer::Offline => false,
                Offer::Overflow(overflow) => {
                    overflowed(session, overflow);
                    false
                }
            };
        for one in matched.iter() {
            match one {
                Matched::One {
                    session,
                    all,
                    no_local,
                    own,
                } => {
                    let merged = if *no_local && message.origin.session == Some(session.key()) {
                        match own {
                            Some(own) => own,
                            None => continue,
                        }
                    } else {
                        all
                    };
                    let retain = message.retain && merged.retain_as_published;
                    let qos = message.qos.min(merged.qos);
                    offer(session, qos, retain, &merged.identifiers);
                }
                Matched::Group(group) => {
                    for member in group.candidates() {
                        let options = member.options;
                        let identifier = options.identifier.as_slice();
                        let retain = message.retain && options.retain_as_published;
                        let qos = message.qos.min(options.qos);
                        if offer(&member.session, qos, retain, identifier) {
                            break;
                        }
                    }
                }
            }
        }
        taken
    }

    /// Keeps `message` as its topic's retained message, or forgets the one there is when its
    /// payload is empty. MQTT 5.0 §3.3.1.3.
    ///
    /// Returns whether it did; not when there are [`limits::RETAINED_MESSAGES`] already.
    pub fn retain(&self, message: &Arc<Message>) -> bool {
        let mut retained = self
            .retained
            .write()
            .expect("no panic happens while it is held");
        let topic = message.topic.as_str();
        if message.payload.is_empty() {
            retained.remove(topic);
            return true;
        }
        if retained.len() >= limits::RETAINED_MESSAGES && retained.get(topic).is_none() {
            return false;
        }
        retained.insert(Arc::clone(message));
        true
    }

    /// So many messages and bytes have expired in the journal of `session`.
    pub fn expired(&self, session: SessionKey, messages: usize, bytes: usize) {
        // Rare enough to look through all of them.
        let found = self
            .sessions()
            .values()
            .find(|known| known.key() == session)
            .cloned();
        if let Some(session) = found {
            session.journal_expired(messages, bytes);
        }
    }

    /// Forgets the retained message of `topic` if its time has passed.
    pub fn forget_expired(&self, topic: &TopicName, now: Timestamp) {
        let mut retained = self
            .retained
            .write()
            .expect("no panic happens while it is held");
        if retained
            .get(topic.as_str())
            .is_some_and(|message| message.is_expired(now))
        {
            retained.remove(topic.as_str());
        }
    }

    /// The retained messages a new subscription on `filter` (without share prefix) is sent.
    #[must_use]
    pub fn retained_matching(&self, filter: &str, now: Timestamp) -> Vec<Arc<Message>> {
        self.retained
            .read()
            .expect("no panic happens while it is held")
            .matching(filter, now)
    }

    /// The retained message of exactly `topic`.
    #[must_use]
    pub fn retained(&self, topic: &str) -> Option<Arc<Message>> {
        self.retained
            .read()
            .expect("no panic happens while it is held")
            .get(topic)
            .cloned()
    }

    /// Up to `limit` retained messages behind the topic `after`.
    #[must_use]
    pub fn retained_page(&self, after: Option<&str>, limit: usize) -> Vec<Arc<Message>> {
        self.retained
            .read()
            .expect("no panic happens while it is held")
            .page(after, limit)
    }

    fn matched(&self, topic: &ByteString, cache: &mut MatchCache) -> Arc<[Matched]> {
        let epoch = self.epoch.load(Ordering::Acquire);
        if cache.epoch != epoch {
            cache.by_topic.clear();
            cache.epoch = epoch;
        }
        if let Some(matched) = cache.by_topic.get(topic) {
            return Arc::clone(matched);
        }
        let matched = self.find(topic);
        if cache.by_topic.len() >= CACHED_TOPICS {
            cache.by_topic.clear();
        }
        cache.by_topic.insert(topic.clone(), Arc::clone(&matched));
        matched
    }

    fn find(&self, topic: &str) -> Arc<[Matched]> {
        let tree = self.tree.read().expect("no panic happens while it is held");
        let mut matched: Vec<Matched> = Vec::new();
        let mut at: HashMap<SessionKey, usize> = HashMap::new();
        tree.matches(topic, &mut |found| match found {
            Found::Group(group) => matched.push(Matched::Group(Arc::clone(group))),
            Found::One(subscriber) => {
                let place = *at.entry(subscriber.session.key()).or_insert(matched.len());
                match matched.get_mut(place) {
                    Some(known) => known.add(&subscriber.options),
                    None => matched.push(Matched::new(subscriber)),
                }
            }
        });
        matched.into()
    }

    /// The session is over: whoever is connected to it is told, and nobody else finds it.
    fn end(&self, session: &Session) {
        session.end();
        let mut known = session.subscription_map();
        let Some(subscriptions) = known.take().filter(|own| !own.is_empty()) else {
            return;
        };
        let mut tree = self
            .tree
            .write()
            .expect("no panic happens while it is held");
        for filter in subscriptions.keys() {
            tree.remove(filter, session.key());
        }
        self.epoch.fetch_add(1, Ordering::Release);
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<ClientId, Arc<Session>>> {
        self.sessions
            .lock()
            .expect("no panic happens while it is held")
    }
}

impl Matched {
    fn new(subscriber: &Subscriber) -> Self {
        let options = &subscriber.options;
        Self::One {
            session: Arc::clone(&subscriber.session),
            all: Merged::new(options),
            no_local: options.no_local,
            own: None,
        }
    }

    fn add(&mut self, other: &SubscriptionOptions) {
        let Self::One {
            all, no_local, own, ..
        } = self
        else {
            return;
        };
        if other.no_local {
            if !*no_local {
                // So far none was left out.
                *own = Some(Box::new(all.clone()));
            }
            *no_local = true;
        } else if *no_local {
            match own {
                Some(own) => own.add(other),
                None => *own = Some(Box::new(Merged::new(other))),
            }
        }
        all.add(other);
    }
}

impl Merged {
    fn new(options: &SubscriptionOptions) -> Self {
        Self {
            qos: options.qos,
            retain_as_published: options.retain_as_published,
            identifiers: options.identifier.into_iter().collect(),
        }
    }

    fn add(&mut self, other: &SubscriptionOptions) {
        self.qos = self.qos.max(other.qos);
        self.retain_as_published |= other.retain_as_published;
        self.identifiers.extend(other.identifier);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Delivery, Next, Origin};
    use mqtt_proto::PublishProperties;
    use std::task::Waker;

    struct NoJournal;

    impl Journal for NoJournal {
        fn enqueue(&mut self, _: SessionKey, delivery: &Delivery) {
            panic!("nothing here is durable: {delivery:?}");
        }
    }

    fn open(broker: &Broker, id: &str) -> Opened {
        static KEYS: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(1);
        broker
            .open(&OpenSession {
                owner: "owner".into(),
                key: SessionKey(KEYS.fetch_add(1, Ordering::Relaxed)),
                client_id: ClientId::new(id).unwrap(),
                clean_start: true,
                kind: SessionKind::Transient,
            })
            .unwrap()
    }

    fn options(qos: QoS, identifier: Option<u32>) -> SubscriptionOptions {
        SubscriptionOptions {
            qos,
            no_local: false,
            retain_as_published: false,
            identifier,
        }
    }

    fn publish(
        broker: &Broker,
        cache: &mut MatchCache,
        topic: &str,
        qos: QoS,
        origin: Origin,
    ) -> usize {
        let message = Arc::new(Message::new(
            topic.parse().unwrap(),
            "x".into(),
            qos,
            false,
            PublishProperties::default(),
            origin,
            Timestamp::default(),
        ));
        broker.publish(&message, cache, &mut NoJournal, |_, _| {})
    }

    fn next(opened: &Opened) -> Option<Delivery> {
        match opened.session.next(opened.connection, true, Waker::noop()) {
            Next::Deliver(delivery) => Some(delivery),
            Next::Wait => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_session_makes_as_many_subscriptions_as_the_rules_say() {
        let broker = Broker::new(Rules {
            subscriptions_per_session: 2,
            ..Rules::default()
        });
        let client = open(&broker, "c");
        let subscribe = |filter: &str| {
            let options = options(QoS::AtMostOnce, None);
            broker.subscribe(&client.session, filter.parse().unwrap(), options)
        };
        assert_eq!(subscribe("a"), Subscribed::New);
        assert_eq!(subscribe("b"), Subscribed::New);
        assert_eq!(subscribe("c"), Subscribed::TooMany);
        assert_eq!(subscribe("b"), Subscribed::Replaced);
    }

    #[test]
    fn overlapping_subscriptions_deliver_once_with_all_identifiers() {
        let broker = Broker::default();
        let client = open(&broker, "c");
        broker.subscribe(
            &client.session,
            "a/+".parse().unwrap(),
            options(QoS::AtMostOnce, Some(7)),
        );
        broker.subscribe(
            &client.session,
            "a/#".parse().unwrap(),
            options(QoS::AtLeastOnce, Some(9)),
        );
        let cache = &mut MatchCache::default();
        assert_eq!(
            publish(&broker, cache, "a/b", QoS::ExactlyOnce, Origin::default()),
            1
        );
        let delivery = next(&client).unwrap();
        assert_eq!(delivery.qos, QoS::AtLeastOnce);
        let mut identifiers = delivery.subscription_ids.to_vec();
        identifiers.sort_unstable();
        assert_eq!(identifiers, [7, 9]);
        assert!(next(&client).is_none());
    }

    #[test]
    fn a_new_subscription_is_seen_by_publishers_that_cached_the_topic() {
        let broker = Broker::default();
        let cache = &mut MatchCache::default();
        assert_eq!(
            publish(&broker, cache, "t", QoS::AtMostOnce, Origin::default()),
            0
        );
        let client = open(&broker, "c");
        broker.subscribe(
            &client.session,
            "t".parse().unwrap(),
            options(QoS::AtMostOnce, None),
        );
        assert_eq!(
            publish(&broker, cache, "t", QoS::AtMostOnce, Origin::default()),
            1
        );
        broker.discard(&client.session);
        assert_eq!(
            publish(&broker, cache, "t", QoS::AtMostOnce, Origin::default()),
            0
        );
    }

    #[test]
    fn no_local_leaves_out_the_publisher_itself() {
        let broker = Broker::default();
        let client = open(&broker, "c");
        let no_local = SubscriptionOptions {
            no_local: true,
            ..options(QoS::AtMostOnce, None)
        };
        broker.subscribe(&client.session, "t".parse().unwrap(), no_local);
        let cache = &mut MatchCache::default();
        let own = Origin {
            session: Some(client.session.key()),
            client_id: None,
        };
        assert_eq!(publish(&broker, cache, "t", QoS::AtMostOnce, own), 0);
        assert_eq!(
            publish(&broker, cache, "t", QoS::AtMostOnce, Origin::default()),
            1
        );
    }

    #[test]
    fn a_shared_message_goes_to_the_member_who_is_there() {
        let broker = Broker::default();
        let (away, here) = (open(&broker, "away"), open(&broker, "here"));
        for member in [&away, &here] {
            broker.subscribe(
                &member.session,
                "$share/g/t".parse().unwrap(),
                options(QoS::AtMostOnce, None),
            );
        }
        away.session.detach(away.connection);
        let cache = &mut MatchCache::default();
        for _ in 0..4 {
            assert_eq!(
                publish(&broker, cache, "t", QoS::AtMostOnce, Origin::default()),
                1
            );
        }
        assert_eq!(std::iter::from_fn(|| next(&here)).count(), 4);
    }

    #[test]
    fn a_clean_start_forgets_the_old_session() {
        let broker = Broker::default();
        let first = open(&broker, "c");
        broker.subscribe(
            &first.session,
            "t".parse().unwrap(),
            options(QoS::AtMostOnce, None),
        );
        let second = open(&broker, "c");
        assert!(!second.present);
        assert_eq!(
            second.discarded.as_ref().map(|old| old.key()),
            Some(first.session.key())
        );
        assert_eq!(broker.subscription_count(), 0);
        assert!(matches!(
            first.session.next(first.connection, true, Waker::noop()),
            Next::Close(crate::CloseReason::TakenOver)
        ));
    }
}
