//! Subscriptions, arranged by the levels of their filters. MQTT 5.0 §4.7, §4.8.2.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use indexmap::IndexMap;
use model::{FILTER_SEPARATOR, TopicFilter};
use mqtt_proto::QoS;

use crate::{Session, SessionKey};

/// What a subscription asks for besides its filter. MQTT 5.0 §3.8.3.1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SubscriptionOptions {
    /// The most it is delivered at.
    pub qos: QoS,
    /// Whether the subscriber's own messages are left out.
    pub no_local: bool,
    /// Whether the RETAIN flag is passed on as published.
    pub retain_as_published: bool,
    /// The identifier to send along; `None` when it has none.
    pub identifier: Option<u32>,
}

/// One subscription of one session.
#[derive(Clone, Debug)]
pub struct Subscriber {
    /// Who subscribed.
    pub session: Arc<Session>,
    /// How.
    pub options: SubscriptionOptions,
}

/// A shared subscription: each message goes to one of its members.
#[derive(Debug)]
pub struct Group {
    name: Box<str>,
    members: Vec<Subscriber>,
    next: AtomicUsize,
}

/// All subscriptions of the hub.
#[derive(Debug, Default)]
pub struct SubscriptionTree {
    root: Node,
    len: usize,
    /// Whether `a/#` leaves out `a`, against MQTT 5.0 §4.7.1.2 and as AWS does.
    leaves_out_parent: bool,
}

#[derive(Debug, Default)]
struct Node {
    children: HashMap<Box<str>, Self>,
    any: Option<Box<Self>>,
    here: Subscribers,
    below: Subscribers,
}

#[derive(Debug, Default)]
struct Subscribers {
    plain: IndexMap<SessionKey, Subscriber>,
    shared: Vec<Arc<Group>>,
}

impl SubscriptionTree {
    /// A tree in which `a/#` does not match `a`. MQTT 5.0 §4.7.1.2 says it does, and so does the
    /// default; AWS IoT Core Developer Guide, "MQTT topics and topic filters", says it does not.
    #[must_use]
    pub fn leaving_out_parents() -> Self {
        Self {
            leaves_out_parent: true,
            ..Self::default()
        }
    }

    /// The number of subscriptions.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody subscribes to anything.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a subscription, or replaces the one the session has on the same filter.
    ///
    /// Returns whether it is new.
    pub fn insert(&mut self, filter: &TopicFilter, subscriber: Subscriber) -> bool {
        let parts = filter.parts();
        let mut node = &mut self.root;
        let mut subscribers = None;
        for level in parts.filter.split(FILTER_SEPARATOR) {
            match level {
                "#" => {
                    subscribers = Some(&mut node.below);
                    break;
                }
                "+" => node = node.any.get_or_insert_default(),
                name => {
                    // `entry` would allocate the key even when it is there.
                    if !node.children.contains_key(name) {
                        node.children.insert(name.into(), Node::default());
                    }
                    node = node.children.get_mut(name).expect("inserted above");
                }
            }
        }
        let subscribers = match subscribers {
            Some(below) => below,
            None => &mut node.here,
        };
        let new = match parts.group {
            None => subscribers
                .plain
                .insert(subscriber.session.key(), subscriber)
                .is_none(),
            Some(group) => subscribers.join(group, subscriber),
        };
        self.len += usize::from(new);
        new
    }

    /// Removes the session's subscription on exactly this filter. Returns whether there was one.
    pub fn remove(&mut self, filter: &TopicFilter, session: SessionKey) -> bool {
        let parts = filter.parts();
        let levels: Vec<&str> = parts.filter.split(FILTER_SEPARATOR).collect();
        let removed = self.root.remove(&levels, parts.group, session);
        self.len -= usize::from(removed);
        removed
    }

    /// Calls `found` for everyone subscribed to `topic`, once per matching subscription.
    pub fn matches<'a>(&'a self, topic: &str, found: &mut impl FnMut(Found<'a>)) {
        // MQTT 5.0 §4.7.2: a wildcard at the first level does not match a topic with a leading `$`.
        let wild = !topic.starts_with('$');
        self.root
            .matches(Some(topic), wild, !self.leaves_out_parent, found);
    }
}

/// A matching subscription, borrowed from the tree.
#[derive(Debug)]
pub enum Found<'a> {
    /// A plain one.
    One(&'a Subscriber),
    /// A shared one.
    Group(&'a Arc<Group>),
}

impl Node {
    fn is_empty(&self) -> bool {
        self.children.is_empty()
            && self.any.is_none()
            && self.here.is_empty()
            && self.below.is_empty()
    }

    /// `rest` is what remains of the topic; `None` behind its last level. `parent` is whether `#`
    /// also matches there.
    fn matches<'a>(
        &'a self,
        rest: Option<&str>,
        wild: bool,
        parent: bool,
        found: &mut impl FnMut(Found<'a>),
    ) {
        if wild && (parent || rest.is_some()) {
            self.below.visit(found);
        }
        let Some(rest) = rest else {
            self.here.visit(found);
            return;
        };
        let (level, rest) = match rest.split_once(FILTER_SEPARATOR) {
            Some((level, rest)) => (level, Some(rest)),
            None => (rest, None),
        };
        if let Some(child) = self.children.get(level) {
            child.matches(rest, true, parent, found);
        }
        if wild && let Some(any) = &self.any {
            any.matches(rest, true, parent, found);
        }
    }

    fn remove(&mut self, levels: &[&str], group: Option<&str>, session: SessionKey) -> bool {
        let Some((level, rest)) = levels.split_first() else {
            return self.here.leave(group, session);
        };
        match *level {
            "#" => self.below.leave(group, session),
            "+" => {
                let Some(any) = &mut self.any else {
                    return false;
                };
                let removed = any.remove(rest, group, session);
                if any.is_empty() {
                    self.any = None;
                }
                removed
            }
            name => {
                let Some(child) = self.children.get_mut(name) else {
                    return false;
                };
                let removed = child.remove(rest, group, session);
                if child.is_empty() {
                    self.children.remove(name);
                    if self.children.is_empty() {
                        // A map that was once large would keep its table for ever.
                        self.children = HashMap::new();
                    }
                }
                removed
            }
        }
    }
}

impl Subscribers {
    fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.shared.is_empty()
    }

    fn visit<'a>(&'a self, found: &mut impl FnMut(Found<'a>)) {
        for subscriber in self.plain.values() {
            found(Found::One(subscriber));
        }
        for group in &self.shared {
            found(Found::Group(group));
        }
    }

    fn join(&mut self, name: &str, subscriber: Subscriber) -> bool {
        let Some(group) = self.shared.iter_mut().find(|group| &*group.name == name) else {
            self.shared.push(Arc::new(Group {
                name: name.into(),
                members: vec![subscriber],
                next: AtomicUsize::new(0),
            }));
            return true;
        };
        let mut members = group.members.clone();
        let key = subscriber.session.key();
        let new = match members
            .iter_mut()
            .find(|member| member.session.key() == key)
        {
            Some(member) => {
                *member = subscriber;
                false
            }
            None => {
                members.push(subscriber);
                true
            }
        };
        *group = group.with(members);
        new
    }

    fn leave(&mut self, group: Option<&str>, session: SessionKey) -> bool {
        let Some(name) = group else {
            let removed = self.plain.swap_remove(&session).is_some();
            if self.plain.is_empty() {
                self.plain = IndexMap::new();
            }
            return removed;
        };
        let Some(at) = self.shared.iter().position(|group| &*group.name == name) else {
            return false;
        };
        let group = &mut self.shared[at];
        let mut members = group.members.clone();
        let before = members.len();
        members.retain(|member| member.session.key() != session);
        let removed = members.len() < before;
        if members.is_empty() {
            self.shared.remove(at);
        } else {
            *group = group.with(members);
        }
        removed
    }
}

impl Group {
    /// The same group with other members: publishers that hold the old one finish with it.
    fn with(&self, members: Vec<Subscriber>) -> Arc<Self> {
        Arc::new(Self {
            name: self.name.clone(),
            members,
            next: AtomicUsize::new(self.next.load(Ordering::Relaxed)),
        })
    }

    /// The members in the order in which they should be tried for the next message: the turn
    /// goes round, those with a live connection before those without.
    pub fn candidates(&self) -> impl Iterator<Item = &Subscriber> {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let turn = move |at: usize| &self.members[(start.wrapping_add(at)) % self.members.len()];
        let online = (0..self.members.len())
            .map(turn)
            .filter(|member| member.session.is_online());
        let offline = (0..self.members.len())
            .map(turn)
            .filter(|member| !member.session.is_online());
        online.chain(offline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SessionKind;
    use proptest::prelude::*;

    fn subscriber(key: i64) -> Subscriber {
        Subscriber {
            session: Arc::new(Session::new(
                SessionKey(key),
                model::ClientId::new(&format!("c{key}")).unwrap(),
                "owner".into(),
                SessionKind::Transient,
            )),
            options: SubscriptionOptions {
                qos: QoS::AtMostOnce,
                no_local: false,
                retain_as_published: false,
                identifier: None,
            },
        }
    }

    fn found(tree: &SubscriptionTree, topic: &str) -> Vec<i64> {
        let mut keys = Vec::new();
        tree.matches(topic, &mut |found| match found {
            Found::One(one) => keys.push(one.session.key().0),
            Found::Group(group) => {
                keys.extend(group.candidates().next().map(|one| one.session.key().0));
            }
        });
        keys.sort_unstable();
        keys
    }

    fn filter(text: &str) -> TopicFilter {
        text.parse().unwrap()
    }

    #[test]
    fn a_message_reaches_every_matching_subscription() {
        let mut tree = SubscriptionTree::default();
        for (key, text) in ["a/b", "a/+", "a/#", "#", "+/b", "$hub/#", "a/b/#", "+"]
            .iter()
            .enumerate()
        {
            assert!(tree.insert(&filter(text), subscriber(key as i64)));
        }
        assert_eq!(found(&tree, "a/b"), [0, 1, 2, 3, 4, 6]);
        assert_eq!(found(&tree, "a"), [2, 3, 7]);
        assert_eq!(found(&tree, "$hub/x"), [5]);
        assert_eq!(found(&tree, "$hub"), [5]);
        assert_eq!(found(&tree, "$other"), [0_i64; 0]);
    }

    #[test]
    fn a_strict_tree_leaves_out_the_parent_of_everything_below() {
        let mut tree = SubscriptionTree::leaving_out_parents();
        for (key, text) in ["sensor/#", "+/#", "#", "sensor", "$share/g/sensor/#"]
            .iter()
            .enumerate()
        {
            tree.insert(&filter(text), subscriber(key as i64));
        }
        assert_eq!(found(&tree, "sensor"), [2, 3]);
        assert_eq!(found(&tree, "sensor/"), [0, 1, 2, 4]);
        assert_eq!(found(&tree, "sensor/a/b"), [0, 1, 2, 4]);
    }

    #[test]
    fn an_unsubscribed_filter_leaves_nothing_behind() {
        let mut tree = SubscriptionTree::default();
        for text in ["a/b/c", "+/+/#", "$share/g/a/b", "#"] {
            tree.insert(&filter(text), subscriber(1));
        }
        assert!(!tree.remove(&filter("a/b"), SessionKey(1)));
        for text in ["a/b/c", "+/+/#", "$share/g/a/b", "#"] {
            assert!(tree.remove(&filter(text), SessionKey(1)), "{text}");
            assert!(!tree.remove(&filter(text), SessionKey(1)), "{text}");
        }
        assert!(tree.is_empty() && tree.root.is_empty());
    }

    #[test]
    fn a_shared_subscription_takes_turns() {
        let mut tree = SubscriptionTree::default();
        for key in 1..=3 {
            tree.insert(&filter("$share/g/t"), subscriber(key));
        }
        let mut served: Vec<i64> = (0..6).flat_map(|_| found(&tree, "t")).collect();
        served.sort_unstable();
        assert_eq!(served, [1, 1, 2, 2, 3, 3]);
    }

    proptest! {
        #[test]
        fn the_tree_agrees_with_matching_each_filter(
            filters in proptest::collection::vec("(\\$hub/)?([ab+]/){0,3}[ab+#]", 0..12),
            topics in proptest::collection::vec("(\\$hub/)?([ab]/){0,3}[ab]?", 1..8),
        ) {
            let mut tree = SubscriptionTree::default();
            for (key, text) in filters.iter().enumerate() {
                tree.insert(&filter(text), subscriber(key as i64));
            }
            for topic in topics.iter().filter(|topic| !topic.is_empty()) {
                let expected: Vec<i64> = filters.iter().enumerate()
                    .filter(|(_, text)| model::matches(text, topic))
                    .map(|(key, _)| key as i64)
                    .collect();
                prop_assert_eq!(found(&tree, topic), expected, "{}", topic);
            }
            for (key, text) in filters.iter().enumerate() {
                prop_assert!(tree.remove(&filter(text), SessionKey(key as i64)));
            }
            prop_assert!(tree.root.is_empty());
        }
    }
}
