//! MQTT connections: sockets joined to the sans-I/O session and the hub.
//!
//! [`Mqtt`] is the service that `listen` hands connections to. It hears the CONNECT, has the hub
//! decide who the client is, and then lets one loop per connection wait, carry out and flush:
//! `mqtt_proto` says what packets mean, the dialect what topics mean, the hub does it. Whatever is
//! refused is told through the one table in [`refusals`].

mod answers;
mod connect;
mod conversation;
mod farewell;
mod publishing;
pub mod refusals;
mod service;
mod strict;
mod subscribing;
mod terms;
mod wire;

pub use service::{Mqtt, Voucher};
