//! What a connection subscribes to, and the retained messages that greet a subscription.

use std::sync::Arc;

use broker::{Message, Offer, Subscribed, SubscriptionOptions};
use bytestring::ByteString;
use model::{Refusal, RefusalKind, TopicFilter, limits, limits::Profile};
use mqtt_proto::{QoS, packet::RetainHandling};
use policy::{Action, Resource};
use store::{QueueOp, SubscriptionRecord};

use super::Connection;
use crate::{Ack, Event, publish::key, timeline::Kind};

/// A filter to subscribe to.
#[derive(Clone, Debug)]
pub struct SubscribeRequest {
    /// In canonical spelling.
    pub filter: TopicFilter,
    /// As the client wrote it, for events.
    pub spelled: ByteString,
    /// Quality of service, flags and identifier.
    pub options: SubscriptionOptions,
    /// Whether retained messages are sent.
    pub retain_handling: RetainHandling,
}

#[derive(Debug)]
pub(super) struct Waiting {
    message: Arc<Message>,
    qos: QoS,
    identifier: Option<u32>,
}

impl Connection {
    /// Subscribes. Answers for each filter, in order, what was granted; all of it holds once the
    /// acknowledgement resolves.
    pub fn subscribe(
        &mut self,
        requests: Vec<SubscribeRequest>,
    ) -> (Vec<Result<QoS, Refusal>>, Ack) {
        let mut ops = Vec::new();
        let mut spelled = Vec::new();
        let answers = requests
            .into_iter()
            .map(|request| {
                let name = request.spelled.to_string();
                let granted = self.subscribe_one(request, &mut ops);
                match &granted {
                    Ok(_) => spelled.push(name),
                    Err(refusal) => {
                        self.hub
                            .record_refused(Kind::SubscribeRefused, &self.caller, refusal)
                    }
                }
                granted
            })
            .collect();
        if !spelled.is_empty() {
            self.hub.announce(&Event::Subscribed {
                client_id: self.session.client_id().clone(),
                principal: self.caller.principal().id(),
                session: self.event_session(),
                filters: spelled,
                at: self.hub.now(),
            });
        }
        (answers, self.append_all(ops))
    }

    /// Unsubscribes. Answers for each filter whether there was a subscription.
    pub fn unsubscribe(&mut self, filters: &[(TopicFilter, ByteString)]) -> (Vec<bool>, Ack) {
        let mut ops = Vec::new();
        let answers = filters
            .iter()
            .map(|(filter, _)| {
                let existed = self.hub.0.broker.unsubscribe(&self.session, filter);
                if existed && self.is_persistent() {
                    ops.push(QueueOp::Unsubscribe {
                        session: key(self.session.key()),
                        filter: filter.clone(),
                    });
                }
                existed
            })
            .collect();
        self.hub.announce(&Event::Unsubscribed {
            client_id: self.session.client_id().clone(),
            principal: self.caller.principal().id(),
            session: self.event_session(),
            filters: filters.iter().map(|(_, name)| name.to_string()).collect(),
            at: self.hub.now(),
        });
        (answers, self.append_all(ops))
    }

    /// Ends the subscriptions of a resumed session that its client may not make any more: they
    /// may be from before a policy changed, or from another certificate of the same device.
    pub(super) fn give_up_forbidden(&self, ops: &mut Vec<QueueOp>) {
        for (filter, _) in self.session.subscriptions() {
            let spelled = self.hub.0.language.filter(filter.as_str());
            let checked = self.hub.check(
                &self.caller,
                Action::Subscribe,
                Resource::filter(&spelled),
                &policy::Context::default(),
            );
            let Err(refusal) = checked else {
                continue;
            };
            self.hub.0.broker.unsubscribe(&self.session, &filter);
            if self.is_persistent() {
                ops.push(QueueOp::Unsubscribe {
                    session: key(self.session.key()),
                    filter: filter.clone(),
                });
            }
            self.hub
                .record_refused(Kind::SubscribeRefused, &self.caller, &refusal);
        }
    }

    fn subscribe_one(
        &mut self,
        request: SubscribeRequest,
        ops: &mut Vec<QueueOp>,
    ) -> Result<QoS, Refusal> {
        let hub = self.hub.clone();
        let spelled = hub.0.language.filter(request.filter.as_str());
        hub.check(
            &self.caller,
            Action::Subscribe,
            Resource::filter(&spelled),
            &policy::Context::default(),
        )?;
        let mut options = request.options;
        if hub.0.config.profile == Profile::AwsStrict {
            options.qos = options.qos.min(QoS::AtLeastOnce);
        }
        if self.retained.len() >= limits::RETAINED_BACKLOG {
            return Err(Refusal::new(
                RefusalKind::TooMany,
                "subscription.retained-backlog",
                format!(
                    "{} retained messages wait to be sent; take them before subscribing to more",
                    self.retained.len()
                ),
            ));
        }
        let filter = request.filter.clone();
        let outcome = hub
            .0
            .broker
            .subscribe(&self.session, request.filter, options);
        if outcome == Subscribed::SessionEnded {
            return Err(Refusal::new(
                RefusalKind::Conflict,
                "session.ended",
                "another connection with the same client id has ended this session",
            ));
        }
        if outcome == Subscribed::TooMany {
            return Err(Refusal::new(
                RefusalKind::TooMany,
                "subscription.too-many",
                format!(
                    "a client may have {} subscriptions; unsubscribe from some or use wildcards",
                    crate::start::rules(hub.0.config.profile).subscriptions_per_session
                ),
            ));
        }
        if self.is_persistent() {
            ops.push(QueueOp::Subscribe {
                session: key(self.session.key()),
                subscription: SubscriptionRecord {
                    filter: filter.clone(),
                    options: options_byte(&options, request.retain_handling),
                    subscription_id: options.identifier,
                },
            });
        }
        self.send_retained(&filter, &options, request.retain_handling, outcome);
        Ok(options.qos)
    }

    /// MQTT 5.0 §3.8.4 and §4.8.2: retained messages go to new subscriptions that are not shared.
    fn send_retained(
        &mut self,
        filter: &TopicFilter,
        options: &SubscriptionOptions,
        handling: RetainHandling,
        outcome: Subscribed,
    ) {
        let wanted = match handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => outcome == Subscribed::New,
            RetainHandling::DoNotSend => false,
        };
        let parts = filter.parts();
        let strict = self.hub.0.config.profile == Profile::AwsStrict;
        if !wanted || parts.group.is_some() || (strict && filter.has_wildcard()) {
            return;
        }
        let now = self.hub.now();
        for message in self.hub.0.broker.retained_matching(parts.filter, now) {
            let qos = message.qos.min(options.qos);
            self.retained.push_back(Waiting {
                message,
                qos,
                identifier: options.identifier,
            });
        }
        self.feed_retained();
    }

    /// Moves retained messages into the mailbox while it has room.
    pub(super) fn feed_retained(&mut self) {
        while !self.retained.is_empty() && self.session.has_room() {
            let Some(waiting) = self.retained.pop_front() else {
                return;
            };
            let message = &waiting.message;
            let queues = self.hub.0.store.queues();
            let mut journal = crate::publish::MessageJournal::new(queues, message);
            let offer = self.session.offer(
                message,
                waiting.qos,
                true,
                waiting.identifier.as_slice(),
                &mut journal,
            );
            // The mailbox has room; the queue of one that acknowledges nothing may have none.
            if let Offer::Overflow(overflow) = offer {
                self.hub.dropped(&self.session, overflow);
            }
        }
    }
}

/// MQTT 5.0 §3.8.3.1.
fn options_byte(options: &SubscriptionOptions, handling: RetainHandling) -> u8 {
    options.qos as u8
        | u8::from(options.no_local) << 2
        | u8::from(options.retain_as_published) << 3
        | (handling as u8) << 4
}

/// The inverse of [`options_byte`].
pub(crate) fn options_from_byte(byte: u8, identifier: Option<u32>) -> SubscriptionOptions {
    SubscriptionOptions {
        qos: QoS::try_from(byte & 3).unwrap_or(QoS::AtMostOnce),
        no_local: byte & 4 != 0,
        retain_as_published: byte & 8 != 0,
        identifier,
    }
}
