//! MQTT 3.1.1 and 5.0 between bytes and packets, and a server's view of one connection; no I/O.
//!
//! [`codec`] cuts a byte stream into [`packet`]s and refuses everything the specifications call
//! malformed; [`encode`] writes packets back; [`EncodedPublish`] is a message made ready once for
//! all its subscribers; [`server::Session`] keeps packet ids, windows, aliases and deadlines of one
//! connection. Who may do what, and what a topic means, is decided above this crate.

pub mod codec;
pub mod encode;
mod error;
pub mod exercise;
pub mod packet;
mod properties;
mod publish;
mod read;
mod reason;
pub mod server;
mod version;

pub use error::DecodeError;
pub use properties::PublishProperties;
pub use publish::{Alias, Delivery, EncodedPublish};
pub use reason::{PacketKind, ReasonCode};
pub use version::{InvalidQoS, QoS, Version};
