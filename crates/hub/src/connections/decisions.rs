//! What was decided about a connection lately, so that policies are not asked for every message.

use std::{collections::HashMap, sync::Arc, time::Duration};

use broker::Message;
use bytestring::ByteString;
use model::{Refusal, Timestamp};
use policy::{Action, Resource};

use super::Connection;
use crate::{Access, Caller, PublishRequest, timeline::Kind};

/// Decisions remembered for one connection.
const REMEMBERED_DECISIONS: usize = 256;

/// How long a remembered decision is trusted, because policies may speak of the time.
const DECISION_LIFE: Duration = Duration::from_secs(1);

/// What was decided recently, for as long as the registry says the same.
#[derive(Debug)]
pub(super) struct Decisions {
    access: Arc<Access>,
    since: Timestamp,
    publish: HashMap<ByteString, ()>,
    receive: HashMap<ByteString, bool>,
}

impl Decisions {
    pub(super) fn new(caller: &Caller, now: Timestamp) -> Self {
        Self {
            access: Arc::clone(&caller.access()),
            since: now,
            publish: HashMap::new(),
            receive: HashMap::new(),
        }
    }

    /// Forgets everything when the registry says something new, or after [`DECISION_LIFE`] when
    /// policies speak of the time.
    pub(super) fn keep_fresh(&mut self, caller: &Caller, now: Timestamp) {
        let access = caller.access();
        let stale = !Arc::ptr_eq(&access, &self.access)
            || (access.policies.depends_on_time() && now.since(self.since) > DECISION_LIFE);
        if stale {
            self.access = Arc::clone(&access);
            self.since = now;
            self.publish.clear();
            self.receive.clear();
        }
    }
}

impl Connection {
    pub(super) fn may_publish(&mut self, request: &PublishRequest) -> Result<(), Refusal> {
        let topic = request.topic.as_byte_string();
        let now = self.hub.now();
        self.decisions.keep_fresh(&self.caller, now);
        if !request.retain && self.decisions.publish.contains_key(topic) {
            return Ok(());
        }
        self.hub.check_publish(&self.caller, request)?;
        if self.decisions.publish.len() >= REMEMBERED_DECISIONS {
            self.decisions.publish.clear();
        }
        self.decisions.publish.insert(topic.clone(), ());
        Ok(())
    }

    /// Whether the message may and should still be delivered.
    pub(super) fn may_receive(&mut self, message: &Arc<Message>) -> bool {
        let now = self.hub.now();
        if message.is_expired(now) {
            return false;
        }
        self.decisions.keep_fresh(&self.caller, now);
        let topic = message.topic.as_byte_string();
        if let Some(allowed) = self.decisions.receive.get(topic) {
            return *allowed;
        }
        let spelled = self.hub.0.language.topic(topic);
        let checked = self.hub.check(
            &self.caller,
            Action::Receive,
            Resource::topic(&spelled),
            &policy::Context::default(),
        );
        if self.decisions.receive.len() >= REMEMBERED_DECISIONS {
            self.decisions.receive.clear();
        }
        self.decisions
            .receive
            .insert(topic.clone(), checked.is_ok());
        match checked {
            Ok(()) => true,
            Err(refusal) => {
                // Once per topic and while remembered, not once per message.
                self.hub
                    .record_refused(Kind::ReceiveRefused, &self.caller, &refusal);
                false
            }
        }
    }
}
