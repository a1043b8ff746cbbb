//! Messages on their way to their subscribers.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use broker::{Delivery, Journal, MatchCache, Message, Origin, Overflow, Session, SessionKey};
use bytes::Bytes;
use model::{Refusal, RefusalKind, TopicName};
use mqtt_proto::{PublishProperties, QoS};
use policy::{Action, Resource};
use store::{Enqueue, QueueOp, Queues, RetainedMessage};

use crate::{
    Caller, Hub, PublishRequest, stored,
    timeline::{Kind, Subject},
};

/// Resolves when what must be on disk is: the moment to acknowledge.
#[derive(Debug, Default)]
#[must_use = "nothing may be acknowledged before it resolves"]
pub struct Ack(pub(crate) Option<store::Commit>);

impl Ack {
    /// Whether it has resolved already, without waiting.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.as_ref().is_none_or(store::Commit::is_ready)
    }
}

impl Future for Ack {
    type Output = Result<(), Refusal>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            None => Poll::Ready(Ok(())),
            Some(commit) => Pin::new(commit).poll(context).map_err(|_| not_stored()),
        }
    }
}

/// The message could not be made durable, so it is not acknowledged.
pub(crate) fn not_stored() -> Refusal {
    Refusal::new(
        RefusalKind::Unavailable,
        "store.unavailable",
        "the hub cannot store this now; send it again",
    )
}

/// Makes one message durable for whoever needs it, and remembers the last commit.
pub(crate) struct MessageJournal<'a> {
    queues: &'a Queues,
    message: &'a Message,
    kept: Option<Arc<store::Message>>,
    pub(crate) commit: Option<store::Commit>,
}

impl<'a> MessageJournal<'a> {
    pub(crate) const fn new(queues: &'a Queues, message: &'a Message) -> Self {
        Self {
            queues,
            message,
            kept: None,
            commit: None,
        }
    }

    pub(crate) fn append(&mut self, op: QueueOp) {
        self.commit = Some(self.queues.append(vec![op]));
    }

    fn kept(&mut self) -> Arc<store::Message> {
        let message = self.message;
        Arc::clone(self.kept.get_or_insert_with(|| stored::to_store(message)))
    }

    fn retain(&mut self) {
        let op = if self.message.payload.is_empty() {
            QueueOp::Unretain {
                topic: self.message.topic.clone(),
            }
        } else {
            QueueOp::Retain(RetainedMessage {
                qos: self.message.qos as u8,
                message: self.kept(),
            })
        };
        match self.message.qos {
            // Nobody waits for a message that may get lost anyway.
            QoS::AtMostOnce => drop(self.queues.append_lazily(vec![op])),
            QoS::AtLeastOnce | QoS::ExactlyOnce => self.append(op),
        }
    }
}

impl Journal for MessageJournal<'_> {
    fn enqueue(&mut self, session: SessionKey, delivery: &Delivery) {
        let message = self.kept();
        self.append(QueueOp::Enqueue(Enqueue {
            session: key(session),
            seq: delivery.seq,
            qos: delivery.qos as u8,
            retain: delivery.retain,
            subscription_ids: delivery.subscription_ids.as_slice().into(),
            message,
        }));
    }
}

/// The session's key as the store writes it.
pub(crate) const fn key(session: SessionKey) -> store::SessionKey {
    store::SessionKey(session.0)
}

impl Hub {
    /// Publishes for a caller without an MQTT connection: over HTTPS, or an operator.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::Denied`] with the whole decision; also in the timeline.
    pub fn publish(&self, caller: &Caller, request: PublishRequest) -> Result<Ack, Refusal> {
        self.check_publish(caller, &request)
            .inspect_err(|refusal| {
                self.record_refusal(Kind::PublishRefused, caller.subject(), refusal);
            })?;
        let origin = Origin {
            session: None,
            client_id: caller.client_id().cloned(),
        };
        self.deliver(request, origin, &mut MatchCache::default(), None)
    }

    /// Publishes a message of the hub's own on a canonical topic.
    pub(crate) fn publish_own(
        &self,
        topic: TopicName,
        payload: Bytes,
        qos: QoS,
    ) -> Result<Ack, Refusal> {
        let request = PublishRequest {
            topic,
            payload,
            qos,
            retain: false,
            properties: PublishProperties::default(),
            packet_id: None,
        };
        self.deliver(request, Origin::default(), &mut MatchCache::default(), None)
    }

    /// Whether the policies let `caller` publish this.
    pub(crate) fn check_publish(
        &self,
        caller: &Caller,
        request: &PublishRequest,
    ) -> Result<(), Refusal> {
        let spelled = self.0.language.topic(request.topic.as_str());
        let resource = Resource::topic(&spelled);
        let context = policy::Context::default();
        self.check(caller, Action::Publish, resource, &context)?;
        if request.retain {
            self.check(caller, Action::RetainPublish, resource, &context)?;
        }
        Ok(())
    }

    /// Gives a permitted message to everyone who wants it. `also` is one more change that must
    /// be on disk before it is acknowledged.
    pub(crate) fn deliver(
        &self,
        request: PublishRequest,
        origin: Origin,
        cache: &mut MatchCache,
        also: Option<QueueOp>,
    ) -> Result<Ack, Refusal> {
        let message = Arc::new(Message::new(
            request.topic,
            request.payload,
            request.qos,
            request.retain,
            request.properties,
            origin,
            self.now(),
        ));
        self.0.counts.message_in();
        let queues = self.0.store.queues();
        let mut journal = MessageJournal::new(queues, &message);
        // A crash between the two would lose or repeat an exactly-once message.
        let _together = also.is_some().then(|| queues.together());
        if message.retain {
            if !self.0.broker.retain(&message) {
                return Err(Refusal::new(
                    RefusalKind::TooMany,
                    "retained.too-many",
                    format!(
                        "the hub keeps at most {} retained messages; remove some by publishing empty ones",
                        model::limits::RETAINED_MESSAGES
                    ),
                ));
            }
            journal.retain();
        }
        self.0
            .broker
            .publish(&message, cache, &mut journal, |session, overflow| {
                self.dropped(session, overflow);
            });
        if let Some(op) = also {
            journal.append(op);
        }
        Ok(Ack(journal.commit))
    }

    /// Tells the operator about dropped messages, once per connection and burst.
    fn dropped(&self, session: &Arc<Session>, overflow: Overflow) {
        let count = session.dropped();
        // Powers of two: the first one, and then ever more rarely.
        if !count.is_power_of_two() {
            return;
        }
        let (reason, message) = match overflow {
            Overflow::Mailbox => (
                "mailbox.overflow",
                format!(
                    "{count} messages dropped so far: the client reads more slowly than it is sent to"
                ),
            ),
            Overflow::Queue => (
                "queue.overflow",
                format!(
                    "{count} messages dropped so far: the client was away too long and its queue is full"
                ),
            ),
        };
        let subject = Subject {
            client_id: Some(session.client_id().clone()),
            ..Subject::default()
        };
        self.record(
            Kind::MessagesDropped,
            subject,
            model::ReasonId(reason),
            message,
            None,
        );
    }
}
