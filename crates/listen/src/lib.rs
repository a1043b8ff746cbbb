//! Sockets and TLS: accepts peers within limits, learns what the wire proves, and hands them to
//! services.
//!
//! A [`Listener`] takes a permit for every connection, shakes hands under one deadline, and gives
//! the service that fits an [`Io`] to talk through and a [`Peer`]: what the wire proved. A client
//! certificate is requested and never required, and whether it is trusted is not decided here:
//! the registry does, at CONNECT, where it can say why. Handshakes that fail are told to a
//! [`HandshakeObserver`].
//!
//! What one peer can make us hold before it is authenticated: during the handshake, what it has
//! sent, at most [`model::limits::UNAUTHENTICATED_BYTES`]; after it, one TLS record and what
//! the service reads. [`Tasks`] is the only place that spawns.

mod failure;
mod gate;
mod identity;
mod io;
mod listener;
mod peer;
mod permits;
mod select;
mod tasks;
mod tls;
mod verifier;

pub use failure::{HandshakeFailure, HandshakeObserver, Stage, reasons};
pub use gate::{Clock, Deadlines, Gate, Service, ServiceFuture, Services};
pub use identity::{IdentityError, ServerIdentity};
pub use io::{Breach, Io, Stream};
pub use listener::{BindError, Listener, Security};
pub use peer::{Alpn, Peer, TlsVersion};
pub use permits::{OverLimit, Permit, Permits};
pub use select::{Selected, select};
pub use tasks::{Shutdown, ShutdownTrigger, Tasks, TasksFull};
pub use tls::Tls;
