//! The broker beside one that anybody can check by reading: for property tests and fuzzing.
//!
//! The `Reference` keeps a list of subscriptions, matches each of them, and remembers what each
//! client is still to see. The `World` applies the same transitions to both and compares what
//! the clients of the real one see: each message as promised, in order per session at QoS 1 and
//! 2, nothing twice without the flag that says so, and exactly one member per shared subscription.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
    task::Waker,
    time::Duration,
};

use model::{ClientId, Timestamp, TopicFilter, TopicName};
use mqtt_proto::{PublishProperties, QoS};

use crate::{
    Broker, Delivery, Journal, MatchCache, Message, Next, OpenSession, Opened, Origin, Session,
    SessionKey, SessionKind, StoredDelivery, Subscribed, SubscriptionOptions,
};

mod reference;

use reference::Reference;

const CLIENTS: usize = 4;
const FILTERS: [&str; 14] = [
    "a",
    "a/b",
    "a/+",
    "a/#",
    "#",
    "+",
    "+/b",
    "a/b/#",
    "$hub/x",
    "$hub/#",
    "$share/g/a/+",
    "$share/h/a/+",
    "$share/g/#",
    "$share/g/$hub/x",
];
const TOPICS: [&str; 6] = ["a", "a/b", "a/c", "a/b/c", "b", "$hub/x"];

/// The most transitions that are made of one input.
const TRANSITIONS: usize = 400;

/// Takes `bytes`, four at a time, as transitions of both brokers.
///
/// # Errors
///
/// The first difference in what a client saw, in words.
pub fn model(bytes: &[u8]) -> Result<(), String> {
    let mut world = World::default();
    for (at, step) in bytes.chunks_exact(4).take(TRANSITIONS).enumerate() {
        let step = [step[0], step[1], step[2], step[3]];
        world
            .apply(step)
            .map_err(|difference| format!("transition {at}, {step:?}: {difference}"))?;
    }
    world.finish()
}

/// The journals of all sessions.
#[derive(Debug, Default)]
struct Disk(BTreeMap<SessionKey, BTreeMap<u64, StoredDelivery>>);

impl Journal for Disk {
    fn enqueue(&mut self, session: SessionKey, delivery: &Delivery) {
        let queue = self.0.entry(session).or_default();
        let last = queue.last_key_value().map_or(0, |(seq, _)| *seq);
        assert!(delivery.seq > last, "{} behind {last}", delivery.seq);
        queue.insert(delivery.seq, StoredDelivery::Message(delivery.clone()));
    }
}

/// A live connection, as the task that owns its socket would hold it.
#[derive(Debug)]
struct Connection {
    session: Arc<Session>,
    number: u64,
    cache: MatchCache,
    /// What was sent and is not settled, oldest first.
    flying: Vec<(u64, QoS)>,
}

/// What a client was found to see.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Seen {
    Message {
        text: String,
        topic: String,
        qos: QoS,
        retain: bool,
        dup: bool,
        identifiers: Vec<u32>,
    },
    Release,
}

#[derive(Debug, Default)]
struct World {
    broker: Broker,
    disk: Disk,
    reference: Reference,
    connections: [Option<Connection>; CLIENTS],
    now: Timestamp,
    keys: i64,
    messages: u32,
}

impl World {
    fn apply(&mut self, [act, who, x, y]: [u8; 4]) -> Result<(), String> {
        let client = usize::from(who) % CLIENTS;
        let filter = FILTERS[usize::from(x) % FILTERS.len()];
        match act % 16 {
            0 | 1 => self.connect(client, x & 1 > 0, y & 1 > 0, (y & 2 > 0).then_some(filter)),
            2 => self.lose(client),
            3..=5 => self.subscribe(client, filter, y),
            6 => self.unsubscribe(client, filter),
            7..=10 => self.publish(client, TOPICS[usize::from(x) % TOPICS.len()], y),
            11 => self.take(client, usize::from(x % 4), y & 1 > 0),
            12 => self.take(client, usize::MAX, true),
            13 => {
                self.acknowledge(client, usize::from(x), y & 1 > 0);
                Ok(())
            }
            14 => {
                self.pass(Duration::from_secs(u64::from(x % 8)));
                Ok(())
            }
            _ => self.forget(client),
        }
    }

    /// Connects, taking over from an older connection if there is one, which may have one more
    /// subscription to make before it notices.
    fn connect(
        &mut self,
        client: usize,
        clean_start: bool,
        persistent: bool,
        late: Option<&str>,
    ) -> Result<(), String> {
        self.keys += 1;
        let kind = if persistent {
            SessionKind::Persistent
        } else {
            SessionKind::Transient
        };
        let opened = self.broker.open(&OpenSession {
            client_id: client_id(client),
            clean_start,
            kind,
            owner: "owner".into(),
            key: SessionKey(self.keys),
        });
        let Some(Opened {
            session,
            connection,
            present,
            discarded,
        }) = opened
        else {
            return Err("no room for a session".into());
        };
        let expected = self.reference.connect(client, clean_start, persistent);
        same("session present", &present, &expected)?;
        if let Some(old) = discarded {
            self.disk.0.remove(&old.key());
        }
        let new = Connection {
            session,
            number: connection,
            cache: MatchCache::default(),
            flying: Vec::new(),
        };
        let Some(old) = self.connections[client].replace(new) else {
            return Ok(());
        };
        let next = old.session.next(old.number, true, Waker::noop());
        if !matches!(next, Next::Close(crate::CloseReason::TakenOver)) {
            return Err(format!("the older connection is told {next:?}"));
        }
        if let Some(text) = late {
            let (filter, options) = subscription(text, 2);
            let done = self.broker.subscribe(&old.session, filter, options);
            same(
                "late subscription",
                &(done != Subscribed::SessionEnded),
                &present,
            )?;
            if present {
                self.reference.subscribe(client, text, options);
            }
        }
        same(
            "end of the older connection",
            &old.session.detach(old.number),
            &false,
        )
    }

    fn lose(&mut self, client: usize) -> Result<(), String> {
        let Some(connection) = self.connections[client].take() else {
            return Ok(());
        };
        let session = connection.session;
        same(
            "end of the connection",
            &session.detach(connection.number),
            &true,
        )?;
        if session.kind() == SessionKind::Transient {
            self.broker.discard(&session);
        }
        self.reference.lose(client);
        Ok(())
    }

    /// Its session expires, if nobody is connected.
    fn forget(&mut self, client: usize) -> Result<(), String> {
        let session = self.broker.session(&client_id(client));
        same(
            "remembered",
            &session.is_some(),
            &self.reference.knows(client),
        )?;
        if let Some(session) = session.filter(|session| !session.is_online()) {
            self.broker.discard(&session);
            self.disk.0.remove(&session.key());
            self.reference.forget(client);
        }
        Ok(())
    }

    fn subscribe(&mut self, client: usize, text: &str, how: u8) -> Result<(), String> {
        let Some(connection) = &self.connections[client] else {
            return Ok(());
        };
        let (filter, options) = subscription(text, how);
        let shared = filter.parts().group.is_some();
        let done = self.broker.subscribe(&connection.session, filter, options);
        let new = self.reference.subscribe(client, text, options);
        same("new subscription", &(done == Subscribed::New), &new)?;
        if shared {
            return Ok(());
        }
        // As a hub does.
        let mut retained = self.broker.retained_matching(text, self.now);
        retained.sort_by(|a, b| a.topic.as_str().cmp(b.topic.as_str()));
        for message in retained {
            let identifiers = options.identifier.as_slice();
            let qos = message.qos.min(options.qos);
            connection
                .session
                .offer(&message, qos, true, identifiers, &mut self.disk);
        }
        self.reference
            .send_retained(client, text, options, self.now);
        Ok(())
    }

    fn unsubscribe(&mut self, client: usize, text: &str) -> Result<(), String> {
        let Some(connection) = &self.connections[client] else {
            return Ok(());
        };
        let (filter, _) = subscription(text, 0);
        let existed = self.broker.unsubscribe(&connection.session, &filter);
        let expected = self.reference.unsubscribe(client, text);
        same("subscription to end", &existed, &expected)
    }

    fn publish(&mut self, client: usize, topic: &str, how: u8) -> Result<(), String> {
        let Some(connection) = &mut self.connections[client] else {
            return Ok(());
        };
        self.messages += 1;
        let retain = how & 4 > 0;
        let payload = if retain && how & 8 > 0 { "" } else { "x" };
        let message = Arc::new(Message::new(
            TopicName::new(topic).map_err(|error| error.to_string())?,
            payload.into(),
            qos(how),
            retain,
            PublishProperties {
                // Tells messages apart, those without a payload too.
                content_type: Some(format!("m{}", self.messages).into()),
                message_expiry_seconds: (how & 16 > 0).then_some(u32::from(how >> 5)),
                ..PublishProperties::default()
            },
            Origin {
                session: Some(connection.session.key()),
                client_id: None,
            },
            self.now,
        ));
        let mut overflows = 0;
        if retain {
            self.broker.retain(&message);
        }
        let taken = self
            .broker
            .publish(&message, &mut connection.cache, &mut self.disk, |_, _| {
                overflows += 1;
            });
        same("overflows", &overflows, &0)?;
        let expected = self.reference.publish(client, &message);
        same("sessions that took it", &taken, &expected)
    }

    /// Takes up to `count` things off the mailbox; all of them if it is `usize::MAX`.
    fn take(&mut self, client: usize, count: usize, window_open: bool) -> Result<(), String> {
        let Some(connection) = &mut self.connections[client] else {
            return Ok(());
        };
        let (session, number) = (Arc::clone(&connection.session), connection.number);
        let queue = |disk: &mut Disk| disk.0.entry(session.key()).or_default().clone();
        let mut taken = 0;
        while taken < count {
            match session.next(number, window_open, Waker::noop()) {
                Next::Deliver(delivery) if delivery.message.is_expired(self.now) => {
                    if delivery.seq > 0 && session.settled(delivery.seq) {
                        let queue = self.disk.0.entry(session.key()).or_default();
                        queue.remove(&delivery.seq);
                    }
                }
                Next::Deliver(delivery) => {
                    taken += 1;
                    if delivery.seq > 0 {
                        connection.flying.push((delivery.seq, delivery.qos));
                    }
                    let seen = seen(&delivery);
                    self.reference.sees(client, &seen, delivery.seq, self.now)?;
                }
                Next::Release(seq) => {
                    taken += 1;
                    connection.flying.push((seq, QoS::ExactlyOnce));
                    self.reference.sees(client, &Seen::Release, seq, self.now)?;
                }
                Next::Load { after, tail } => {
                    // Two at a time, so that loading goes in steps.
                    let rest = queue(&mut self.disk).split_off(&(after + 1));
                    let entries: Vec<_> = rest.into_values().take(2).collect();
                    let complete = entries.is_empty();
                    session.loaded(number, entries, tail, complete);
                }
                Next::Close(reason) => return Err(format!("is told to end: {reason:?}")),
                Next::Wait if window_open && count == usize::MAX => {
                    return self.reference.has_seen_all(client, self.now);
                }
                Next::Wait => return Ok(()),
            }
        }
        Ok(())
    }

    /// The client acknowledges what it was sent, `at` places from the oldest. What came at QoS 2
    /// may stop half-way.
    fn acknowledge(&mut self, client: usize, at: usize, half: bool) {
        let Some(connection) = &mut self.connections[client] else {
            return;
        };
        if connection.flying.is_empty() {
            return;
        }
        let (seq, qos) = connection.flying[at % connection.flying.len()];
        let session = &connection.session;
        let queue = self.disk.0.entry(session.key()).or_default();
        if qos == QoS::ExactlyOnce && half {
            session.released(seq);
            if let Some(stored) = queue.get_mut(&seq) {
                *stored = StoredDelivery::Released(seq);
            }
            self.reference.releases(client, seq);
            return;
        }
        connection.flying.retain(|(other, _)| *other != seq);
        if session.settled(seq) {
            queue.remove(&seq);
        }
        self.reference.settles(client, seq);
    }

    /// Time passes, and the hub sweeps out what has expired.
    fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        for (session, queue) in &mut self.disk.0 {
            let before = queue.len();
            let mut bytes = 0;
            queue.retain(|_, stored| match stored {
                StoredDelivery::Message(delivery) if delivery.message.is_expired(self.now) => {
                    bytes += delivery.message.weight_bytes();
                    false
                }
                StoredDelivery::Message(_) | StoredDelivery::Released(_) => true,
            });
            if queue.len() < before {
                self.broker.expired(*session, before - queue.len(), bytes);
            }
        }
        for topic in TOPICS.map(|topic| TopicName::new(topic).expect("they are all topics")) {
            self.broker.forget_expired(&topic, self.now);
        }
        self.reference.expire(self.now);
    }

    /// Everybody comes back and sees all that is left.
    fn finish(mut self) -> Result<(), String> {
        for client in 0..CLIENTS {
            let says = |difference| format!("at the end, client {client}: {difference}");
            if self.connections[client].is_none() && self.reference.knows(client) {
                self.connect(client, false, true, None).map_err(says)?;
            }
            self.take(client, usize::MAX, true).map_err(says)?;
        }
        for client in 0..CLIENTS {
            if let Some(connection) = self.connections[client].take() {
                connection.session.detach(connection.number);
                self.broker.discard(&connection.session);
            }
        }
        same("subscriptions left", &self.broker.subscription_count(), &0)?;
        self.reference.all_shared_were_seen()
    }
}

fn client_id(client: usize) -> ClientId {
    ClientId::new(&format!("c{client}")).expect("short and plain")
}

fn qos(bits: u8) -> QoS {
    QoS::try_from(bits & 3).unwrap_or(QoS::AtLeastOnce)
}

/// Each filter has its own identifier, so that what is seen tells which subscriptions it is for.
fn subscription(text: &str, how: u8) -> (TopicFilter, SubscriptionOptions) {
    let filter: TopicFilter = text.parse().expect("they are all filters");
    let at = FILTERS.iter().position(|each| *each == text).unwrap_or(0);
    let options = SubscriptionOptions {
        qos: qos(how),
        // MQTT 5.0 §3.8.3.1: not on shared ones.
        no_local: how & 4 > 0 && filter.parts().group.is_none(),
        retain_as_published: how & 8 > 0,
        identifier: u32::try_from(at + 1).ok(),
    };
    (filter, options)
}

fn text(message: &Message) -> String {
    let text = message.properties.content_type.as_ref();
    text.map_or_else(String::new, ToString::to_string)
}

fn seen(delivery: &Delivery) -> Seen {
    let mut identifiers = delivery.subscription_ids.to_vec();
    identifiers.sort_unstable();
    Seen::Message {
        text: text(&delivery.message),
        topic: delivery.message.topic.as_str().into(),
        qos: delivery.qos,
        retain: delivery.retain,
        dup: delivery.dup,
        identifiers,
    }
}

fn same<T: fmt::Debug + PartialEq>(what: &str, is: &T, expected: &T) -> Result<(), String> {
    if is == expected {
        return Ok(());
    }
    Err(format!("{what}: {is:?} instead of {expected:?}"))
}
