//! Watching messages as an operator, without being a client.

use std::{
    collections::VecDeque,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use broker::{CloseReason, Message, Next, OpenSession, Session, SessionKind, SubscriptionOptions};
use model::{ClientId, Refusal, RefusalKind, TopicFilter};
use mqtt_proto::QoS;

use crate::{Caller, Hub, act, registry_events::new_uuid};

/// Messages of a filter, as they are published. Dropping it ends it.
///
/// It is a subscriber like any other, with a mailbox of the same bound, but no client: nobody is
/// told of it and nothing of it is kept.
pub struct Watch {
    hub: Hub,
    session: Arc<Session>,
    number: u64,
    retained: VecDeque<Arc<Message>>,
}

/// A message that was watched.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The message.
    pub message: Arc<Message>,
    /// Whether it had been retained before the watch began.
    pub retained: bool,
    /// How many messages were missed so far, because they were taken too slowly.
    pub missed: u64,
}

impl Hub {
    /// Begins to watch the messages of `filter`, those that are retained first.
    ///
    /// # Errors
    ///
    /// `operator.required`; [`RefusalKind::TooMany`] when the hub holds too many sessions or
    /// subscriptions.
    pub fn watch(&self, caller: &Caller, filter: TopicFilter) -> Result<Watch, Refusal> {
        let _permit = self.authorize::<act::WatchMessages>(caller, filter.as_str())?;
        let too_many = || {
            Refusal::new(
                RefusalKind::TooMany,
                "watch.too-many",
                "the hub holds as many sessions or subscriptions as it can; end some first",
            )
        };
        let client_id = ClientId::new(&format!("watch-{}", new_uuid()))
            .map_err(|_| Refusal::internal("a UUID is always part of a client id"))?;
        let key = self.0.store.queues().next_session_key();
        let opened = self.0.broker.open(&OpenSession {
            client_id,
            clean_start: true,
            kind: SessionKind::Transient,
            owner: caller.principal().to_string().into(),
            key: broker::SessionKey(key.0),
        });
        let opened = opened.ok_or_else(too_many)?;
        let mut watch = Watch {
            hub: self.clone(),
            session: opened.session,
            number: opened.connection,
            retained: VecDeque::new(),
        };
        let options = SubscriptionOptions {
            qos: QoS::AtMostOnce,
            no_local: false,
            retain_as_published: false,
            identifier: None,
        };
        let wanted = filter.clone();
        match self.0.broker.subscribe(&watch.session, filter, options) {
            // Watches have client ids of their own, so nobody else ends their sessions but a reset.
            broker::Subscribed::TooMany | broker::Subscribed::SessionEnded => {
                return Err(too_many());
            }
            broker::Subscribed::New | broker::Subscribed::Replaced => {}
        }
        let parts = wanted.parts();
        if parts.group.is_none() {
            let retained = self.0.broker.retained_matching(parts.filter, self.now());
            watch.retained = retained.into();
        }
        Ok(watch)
    }
}

impl Watch {
    /// The next message; `None` when the hub ends the watch.
    pub async fn next(&mut self) -> Option<Watched> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Watched>> {
        let missed = self.session.dropped();
        if let Some(message) = self.retained.pop_front() {
            return Poll::Ready(Some(Watched {
                message,
                retained: true,
                missed,
            }));
        }
        match self.session.next(self.number, true, context.waker()) {
            Next::Deliver(delivery) => Poll::Ready(Some(Watched {
                message: delivery.message,
                retained: delivery.retain,
                missed,
            })),
            Next::Wait => Poll::Pending,
            // There is no journal to release or load anything from.
            Next::Close(_) | Next::Release(_) | Next::Load { .. } => Poll::Ready(None),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.session.detach(self.number);
        self.hub.0.broker.discard(&self.session);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Hub {
    /// Resolves when the hub begins to stop, for answers that go on until then.
    pub async fn stopping(&self) {
        let mut stopping = self.0.stopping.subscribe();
        // The hub holds the sender, and this its hub.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }

    /// Asks everyone to end, because the hub stops: connections, and answers that go on.
    pub fn close_all(&self) {
        self.0.stopping.send_replace(true);
        for (_, live) in self.0.live.all() {
            live.session.close(CloseReason::ShuttingDown);
        }
    }
}
