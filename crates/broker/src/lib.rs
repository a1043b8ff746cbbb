//! Who gets a message: subscriptions, sessions, retained messages and mailboxes.
//!
//! Everything here decides and remembers; nothing here does I/O, reads a clock or spawns a task.
//! A publisher's own task walks the [`SubscriptionTree`] under a read lock and offers the message
//! to each subscriber's [`Session`]; the subscriber's task takes it from there. What must be on
//! disk before the publisher is told "received" is handed to a [`Journal`], which `hub` binds to
//! `store`.
//!
//! **Invariant:** a session's journal entries are written while its lock is held, so that their
//! order on disk is the order of their sequence numbers.

mod broker;
#[doc(hidden)]
pub mod exercise;
mod message;
mod retained;
mod session;
mod tree;

pub use broker::{Broker, MatchCache, OpenSession, Opened, Rules, Subscribed};
pub use message::{Delivery, Message, Origin};
pub use retained::RetainedTree;
pub use session::{
    CloseReason, Journal, Next, Offer, Overflow, Restored, Session, SessionKey, SessionKind,
    StoredDelivery,
};
pub use tree::{SubscriptionOptions, SubscriptionTree};
