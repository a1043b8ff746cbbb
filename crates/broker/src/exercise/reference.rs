//! A broker that is slow, has no locks and forgets nothing it should not.

use super::{Arc, BTreeMap, Message, QoS, Seen, SubscriptionOptions, Timestamp, VecDeque, text};

/// Something a client is to see.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    seen: Seen,
    expires_at: Option<Timestamp>,
    /// Its number, once it was sent.
    seq: Option<u64>,
    /// Of a shared subscription: somebody is to see it, perhaps another.
    shared: Option<usize>,
}

#[derive(Debug, Default)]
struct Client {
    persistent: bool,
    online: bool,
    /// What is to be seen at QoS 0, and at QoS 1 and 2.
    fleeting: VecDeque<Expected>,
    queue: VecDeque<Expected>,
    /// What was sent on this connection and is not settled.
    flying: Vec<Expected>,
}

#[derive(Debug, Default)]
pub(super) struct Reference {
    clients: BTreeMap<usize, Client>,
    subscriptions: Vec<(usize, String, SubscriptionOptions)>,
    retained: BTreeMap<String, Arc<Message>>,
    /// Who saw each message of a shared subscription, and whether somebody who may have been
    /// given it was lost before seeing it.
    shared: Vec<(Option<usize>, bool)>,
}

impl Reference {
    pub(super) fn knows(&self, client: usize) -> bool {
        self.clients.contains_key(&client)
    }

    /// Returns whether a session is resumed.
    pub(super) fn connect(&mut self, id: usize, clean_start: bool, persistent: bool) -> bool {
        let resumes = !clean_start && self.clients.get(&id).is_some_and(|known| known.persistent);
        if self.knows(id) {
            self.lose(id);
        }
        if !resumes {
            self.forget(id);
        }
        let client = self.clients.entry(id).or_insert_with(|| Client {
            persistent,
            ..Client::default()
        });
        client.online = true;
        resumes
    }

    pub(super) fn lose(&mut self, id: usize) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        client.online = false;
        let lost = std::mem::take(&mut client.fleeting);
        // Everything that is not settled is sent again, in order, before the rest.
        for mut again in std::mem::take(&mut client.flying).into_iter().rev() {
            if let Seen::Message { dup, .. } = &mut again.seen {
                *dup = true;
            }
            client.queue.push_front(again);
        }
        let transient = !client.persistent;
        self.may_be_lost(lost);
        if transient {
            self.forget(id);
        }
    }

    pub(super) fn forget(&mut self, id: usize) {
        self.subscriptions.retain(|(owner, ..)| *owner != id);
        if let Some(client) = self.clients.remove(&id) {
            self.may_be_lost(client.fleeting);
            self.may_be_lost(client.queue);
        }
    }

    fn may_be_lost(&mut self, lost: VecDeque<Expected>) {
        for at in lost.into_iter().filter_map(|expected| expected.shared) {
            self.shared[at].1 = true;
        }
    }

    pub(super) fn subscribe(&mut self, id: usize, text: &str, how: SubscriptionOptions) -> bool {
        let known = self
            .subscriptions
            .iter_mut()
            .find(|(owner, filter, _)| *owner == id && filter == text);
        match known {
            Some((.., options)) => {
                *options = how;
                false
            }
            None => {
                self.subscriptions.push((id, text.into(), how));
                true
            }
        }
    }

    pub(super) fn unsubscribe(&mut self, id: usize, text: &str) -> bool {
        let before = self.subscriptions.len();
        self.subscriptions
            .retain(|(owner, filter, _)| !(*owner == id && filter == text));
        self.subscriptions.len() < before
    }

    pub(super) fn send_retained(
        &mut self,
        id: usize,
        filter: &str,
        how: SubscriptionOptions,
        now: Timestamp,
    ) {
        let found: Vec<_> = self
            .retained
            .values()
            .filter(|message| model::matches(filter, message.topic.as_str()))
            .filter(|message| !message.is_expired(now))
            .cloned()
            .collect();
        for message in found {
            self.offer(id, &message, &[&how], true, None);
        }
    }

    /// Returns how many sessions take it.
    pub(super) fn publish(&mut self, publisher: usize, message: &Arc<Message>) -> usize {
        let topic = message.topic.as_str();
        if message.retain && message.payload.is_empty() {
            self.retained.remove(topic);
        } else if message.retain {
            self.retained.insert(topic.into(), Arc::clone(message));
        }
        let mut plain: BTreeMap<usize, Vec<SubscriptionOptions>> = BTreeMap::new();
        let mut groups: BTreeMap<(&str, &str), Vec<(usize, SubscriptionOptions)>> = BTreeMap::new();
        let subscriptions = self.subscriptions.clone();
        for (owner, text, options) in &subscriptions {
            let group = text
                .strip_prefix("$share/")
                .and_then(|rest| rest.split_once('/'));
            match group {
                Some((name, filter)) if model::matches(filter, topic) => {
                    let members = groups.entry((name, filter)).or_default();
                    members.push((*owner, *options));
                }
                None if model::matches(text, topic)
                    && !(options.no_local && *owner == publisher) =>
                {
                    plain.entry(*owner).or_default().push(*options);
                }
                Some(_) | None => {}
            }
        }
        let mut taken = 0;
        for (owner, options) in plain {
            let options: Vec<_> = options.iter().collect();
            let retain = message.retain && options.iter().any(|each| each.retain_as_published);
            taken += usize::from(self.offer(owner, message, &options, retain, None));
        }
        for members in groups.into_values() {
            let online = |id: &usize| self.clients.get(id).is_some_and(|client| client.online);
            let anybody = members.iter().any(|(id, _)| online(id));
            let may: Vec<_> = members
                .into_iter()
                .filter(|(id, _)| online(id) == anybody)
                .collect();
            let at = self.shared.len();
            self.shared.push((None, false));
            let mut offered = false;
            for (owner, options) in may {
                let retain = message.retain && options.retain_as_published;
                offered |= self.offer(owner, message, &[&options], retain, Some(at));
            }
            // Nobody is to see it: nobody was there, and it is not kept.
            self.shared[at].1 = !offered;
            taken += usize::from(offered);
        }
        taken
    }

    fn offer(
        &mut self,
        id: usize,
        message: &Message,
        subscriptions: &[&SubscriptionOptions],
        retain: bool,
        shared: Option<usize>,
    ) -> bool {
        let Some(client) = self.clients.get_mut(&id) else {
            return false;
        };
        let granted = subscriptions.iter().map(|each| each.qos).max();
        let qos = message.qos.min(granted.unwrap_or_default());
        if !client.online && qos == QoS::AtMostOnce {
            return false;
        }
        let mut identifiers: Vec<_> = subscriptions
            .iter()
            .filter_map(|each| each.identifier)
            .collect();
        identifiers.sort_unstable();
        let expected = Expected {
            seen: Seen::Message {
                text: text(message),
                topic: message.topic.as_str().into(),
                qos,
                retain,
                dup: false,
                identifiers,
            },
            expires_at: message.expires_at,
            seq: None,
            shared,
        };
        match qos {
            QoS::AtMostOnce => client.fleeting.push_back(expected),
            QoS::AtLeastOnce | QoS::ExactlyOnce => client.queue.push_back(expected),
        }
        true
    }

    /// The client sees this, which must be what comes next.
    pub(super) fn sees(
        &mut self,
        id: usize,
        seen: &Seen,
        seq: u64,
        now: Timestamp,
    ) -> Result<(), String> {
        let Some(client) = self.clients.get_mut(&id) else {
            return Err(format!("sees {seen:?} and is not known"));
        };
        let queue = if seq == 0 {
            &mut client.fleeting
        } else {
            &mut client.queue
        };
        let found = queue.iter().position(|next| {
            next.seen == *seen && !next.is_expired(now) && next.seq.is_none_or(|known| known == seq)
        });
        let Some(mut next) = found.and_then(|at| queue.remove(at)) else {
            return Err(format!("sees {seen:?} unexpectedly, {seq}"));
        };
        // What was to be seen before may have expired, or another member of a group has it. The
        // order in which one message is seen for several subscriptions does not matter.
        for passed in queue.drain(..found.unwrap_or(0)).collect::<Vec<_>>() {
            if passed.is_expired(now) {
                if let Some(at) = passed.shared {
                    self.shared[at].1 = true;
                }
            } else if passed.is_for_same_message(&next) {
                queue.push_front(passed);
            } else if passed.shared.is_none() || passed.seq.is_some() {
                return Err(format!("sees {seen:?} before {:?}", passed.seen));
            }
        }
        next.seq = Some(seq);
        if let Some(at) = next.shared {
            let owner = self.shared[at].0.get_or_insert(id);
            if *owner != id {
                return Err(format!("sees {seen:?}, as client {owner} did"));
            }
        }
        if seq > 0 {
            client.flying.push(next);
        }
        Ok(())
    }

    /// Nothing is waiting for the client any more.
    pub(super) fn has_seen_all(&mut self, id: usize, now: Timestamp) -> Result<(), String> {
        let Some(client) = self.clients.get_mut(&id) else {
            return Ok(());
        };
        for left in client.fleeting.drain(..).chain(client.queue.drain(..)) {
            match left.shared {
                _ if left.is_expired(now) => {
                    if let Some(at) = left.shared {
                        self.shared[at].1 = true;
                    }
                }
                Some(_) if left.seq.is_none() => {}
                Some(_) | None => return Err(format!("never sees {:?}", left.seen)),
            }
        }
        Ok(())
    }

    pub(super) fn releases(&mut self, id: usize, seq: u64) {
        let flying = self.clients.get_mut(&id).map(|client| &mut client.flying);
        for sent in flying.into_iter().flatten() {
            if sent.seq == Some(seq) {
                sent.seen = Seen::Release;
            }
        }
    }

    pub(super) fn settles(&mut self, id: usize, seq: u64) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.flying.retain(|sent| sent.seq != Some(seq));
        }
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        self.retained.retain(|_, message| !message.is_expired(now));
        for client in self.clients.values_mut() {
            // Once swept away they are not sent again, and cannot be released either.
            client.flying.retain(|sent| !sent.is_expired(now));
        }
    }

    pub(super) fn all_shared_were_seen(&self) -> Result<(), String> {
        let missing = self
            .shared
            .iter()
            .position(|(seen_by, may_be_lost)| seen_by.is_none() && !may_be_lost);
        match missing {
            Some(at) => Err(format!(
                "nobody sees message {at} of the shared subscriptions"
            )),
            None => Ok(()),
        }
    }
}

impl Expected {
    fn is_for_same_message(&self, other: &Self) -> bool {
        match (&self.seen, &other.seen) {
            (
                Seen::Message { text, topic, .. },
                Seen::Message {
                    text: other_text,
                    topic: other_topic,
                    ..
                },
            ) => text == other_text && topic == other_topic,
            (Seen::Message { .. }, Seen::Release)
            | (Seen::Release, Seen::Message { .. } | Seen::Release) => false,
        }
    }

    fn is_expired(&self, now: Timestamp) -> bool {
        self.seen != Seen::Release && self.expires_at.is_some_and(|at| at <= now)
    }
}
