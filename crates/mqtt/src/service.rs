//! The service that connections are handed to.

use std::{fmt, sync::Arc};

use dialect::Dialect;
use hub::Hub;
use listen::{Io, Peer, Service, ServiceFuture, Shutdown};

use crate::{connect, conversation::Conversation, terms::Terms};

/// Serves MQTT 3.1.1 and 5.0 on any byte stream.
///
/// A panic in one connection ends that connection: its task is spawned, so the runtime catches
/// it, and the hub's side of the connection tells on being dropped.
#[derive(Clone)]
pub struct Mqtt(Arc<Shared>);

/// Who a peer is, when that was found out before it spoke MQTT; its CONNECT proves nothing more.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Voucher {
    /// It signed with the access key of this id, which is an operator's.
    AccessKey(Arc<str>),
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) hub: Hub,
    pub(crate) dialect: Arc<dyn Dialect>,
    pub(crate) terms: Terms,
}

impl Mqtt {
    /// Serves `hub` as `dialect` spells it, on the terms of the hub's profile.
    #[must_use]
    pub fn new(hub: Hub, dialect: Arc<dyn Dialect>) -> Self {
        let terms = Terms::of(hub.config().profile);
        Self(Arc::new(Shared {
            hub,
            dialect,
            terms,
        }))
    }
}

impl Mqtt {
    /// Serves one connection until it ends or `shutdown` is requested. Without a voucher the
    /// dialect reads from the peer's certificate and CONNECT who it is.
    #[must_use]
    pub fn serve_vouched(
        &self,
        io: Io,
        peer: Peer,
        voucher: Option<Voucher>,
        shutdown: Shutdown,
    ) -> ServiceFuture {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let stopping = shutdown.clone();
            // Boxed apart: what it holds is given back once the client is known.
            let opened = Box::pin(connect::open(&shared, io, peer, voucher, shutdown)).await;
            let Some(opened) = opened else {
                return;
            };
            let conversation = Box::new(Conversation::new(shared, *opened));
            // Whoever ends all connections at shutdown may have missed this one.
            if stopping.is_requested() {
                return Box::pin(conversation.stop()).await;
            }
            drop(stopping);
            conversation.run().await;
        })
    }
}

impl fmt::Debug for Mqtt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mqtt").finish_non_exhaustive()
    }
}

impl Service for Mqtt {
    fn serve(&self, io: Io, peer: Peer, shutdown: Shutdown) -> ServiceFuture {
        self.serve_vouched(io, peer, None, shutdown)
    }
}

/// An idle connection is to cost as little as possible: it is this, its socket with the state of
/// TLS, and the hub's side of it.
#[test]
fn an_idle_connection_is_small() {
    const fn bytes<F>(_: fn(Box<Conversation>) -> F) -> usize {
        size_of::<F>()
    }
    let bytes = bytes(Conversation::run) + size_of::<Conversation>();
    assert!(bytes <= 1544, "{bytes} bytes");
}
