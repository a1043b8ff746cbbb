//! Retained messages, arranged by the levels of their topics. MQTT 5.0 §3.3.1.3.

use std::{collections::BTreeMap, sync::Arc};

use model::{FILTER_SEPARATOR, Timestamp};

use crate::Message;

/// The last message of each topic whose publisher asked for it to be retained.
#[derive(Debug, Default)]
pub struct RetainedTree {
    root: Node,
    len: usize,
}

#[derive(Debug, Default)]
struct Node {
    children: BTreeMap<Box<str>, Self>,
    message: Option<Arc<Message>>,
}

impl RetainedTree {
    /// The number of topics with a retained message.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no topic has one.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keeps `message` as the retained message of its topic. Returns the one it replaces.
    pub fn insert(&mut self, message: Arc<Message>) -> Option<Arc<Message>> {
        let mut node = &mut self.root;
        let topic = message.topic.clone();
        for level in topic.as_str().split(FILTER_SEPARATOR) {
            if !node.children.contains_key(level) {
                node.children.insert(level.into(), Node::default());
            }
            node = node.children.get_mut(level).expect("inserted above");
        }
        let before = node.message.replace(message);
        self.len += usize::from(before.is_none());
        before
    }

    /// Forgets the retained message of `topic` and returns it.
    pub fn remove(&mut self, topic: &str) -> Option<Arc<Message>> {
        let levels: Vec<&str> = topic.split(FILTER_SEPARATOR).collect();
        let removed = self.root.remove(&levels);
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// The retained message of exactly `topic`.
    #[must_use]
    pub fn get(&self, topic: &str) -> Option<&Arc<Message>> {
        let mut node = &self.root;
        for level in topic.split(FILTER_SEPARATOR) {
            node = node.children.get(level)?;
        }
        node.message.as_ref()
    }

    /// The unexpired retained messages whose topics match `filter` (without share prefix), in
    /// the order of their levels.
    #[must_use]
    pub fn matching(&self, filter: &str, now: Timestamp) -> Vec<Arc<Message>> {
        let mut found = Vec::new();
        self.root.matching(Some(filter), true, &mut |message| {
            if !message.is_expired(now) {
                found.push(Arc::clone(message));
            }
        });
        found
    }

    /// Up to `limit` retained messages in the order of their topics' levels, from the first one
    /// behind the topic `after`; all of them when `after` is `None`.
    #[must_use]
    pub fn page(&self, after: Option<&str>, limit: usize) -> Vec<Arc<Message>> {
        let mut found = Vec::new();
        let mut passed = after.is_none();
        self.root.matching(Some("#"), false, &mut |message| {
            if passed && found.len() < limit {
                found.push(Arc::clone(message));
            }
            passed |= after == Some(message.topic.as_str());
        });
        found
    }
}

impl Node {
    fn remove(&mut self, levels: &[&str]) -> Option<Arc<Message>> {
        let Some((level, rest)) = levels.split_first() else {
            return self.message.take();
        };
        let child = self.children.get_mut(*level)?;
        let removed = child.remove(rest);
        if child.message.is_none() && child.children.is_empty() {
            self.children.remove(*level);
        }
        removed
    }

    /// `guarded`: at the first level, where a wildcard passes over topics with a leading `$`.
    fn matching<'a>(
        &'a self,
        rest: Option<&str>,
        guarded: bool,
        found: &mut impl FnMut(&'a Arc<Message>),
    ) {
        let Some(rest) = rest else {
            self.message.iter().for_each(found);
            return;
        };
        let (level, rest) = match rest.split_once(FILTER_SEPARATOR) {
            Some((level, rest)) => (level, Some(rest)),
            None => (rest, None),
        };
        let visible = |name: &str| !(guarded && name.starts_with('$'));
        match level {
            "#" => {
                self.message.iter().for_each(&mut *found);
                for (name, child) in &self.children {
                    if visible(name) {
                        child.matching(Some("#"), false, found);
                    }
                }
            }
            "+" => {
                for (name, child) in &self.children {
                    if visible(name) {
                        child.matching(rest, false, found);
                        // MQTT 5.0 §4.7.1.2: `+/#` also matches the parent level itself.
                    }
                }
            }
            name => {
                if let Some(child) = self.children.get(name) {
                    child.matching(rest, false, found);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Origin;
    use mqtt_proto::{PublishProperties, QoS};
    use proptest::prelude::*;

    fn message(topic: &str) -> Arc<Message> {
        Arc::new(Message::new(
            topic.parse().unwrap(),
            "x".into(),
            QoS::AtMostOnce,
            true,
            PublishProperties::default(),
            Origin::default(),
            Timestamp::default(),
        ))
    }

    proptest! {
        #[test]
        fn a_subscription_finds_what_it_matches(
            topics in proptest::collection::btree_set("(\\$hub/)?([ab]/){0,3}[ab]", 0..10),
            filter in "(\\$hub/)?([ab+]/){0,3}[ab+#]",
        ) {
            let mut tree = RetainedTree::default();
            for topic in &topics {
                tree.insert(message(topic));
            }
            let mut found: Vec<String> = tree.matching(&filter, Timestamp::default())
                .iter().map(|message| message.topic.as_str().to_owned()).collect();
            found.sort_unstable();
            let expected: Vec<String> = topics.iter()
                .filter(|topic| model::matches(&filter, topic)).cloned().collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(tree.page(None, 100).len(), topics.len());
            for topic in &topics {
                prop_assert!(tree.get(topic).is_some());
                prop_assert!(tree.remove(topic).is_some());
            }
            prop_assert!(tree.is_empty() && tree.root.children.is_empty());
        }
    }

    #[test]
    fn a_listing_goes_on_where_it_stopped() {
        let mut tree = RetainedTree::default();
        for topic in ["a", "a/b", "b", "c/d"] {
            tree.insert(message(topic));
        }
        let first = tree.page(None, 2);
        let second = tree.page(Some(first[1].topic.as_str()), 2);
        let topics: Vec<&str> = first
            .iter()
            .chain(&second)
            .map(|m| m.topic.as_str())
            .collect();
        assert_eq!(topics, ["a", "a/b", "b", "c/d"]);
    }
}
