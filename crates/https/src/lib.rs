//! The HTTPS listener: REST v1 for operators, and the door through which the clouds' APIs are
//! reached.
//!
//! [`serve`] speaks HTTP/1.1 on a stream that is already accepted (and decrypted); [`Site`] tells
//! requests apart and answers them. A cloud's API is a [`Cloud`], mounted by the program; this crate
//! knows none of them. A connection that becomes a [`WebSocket`] leaves as a byte stream.

mod body;
mod cloud;
mod metrics;
mod serve;
mod site;
mod token;
pub mod v1;
pub mod websocket;

pub use body::reply;
pub use cloud::{Answer, Cloud};
pub use metrics::{Figure, Sort};
pub use serve::{Peer, serve};
pub use site::{Development, Site};
pub use token::Token;
pub use websocket::{Door, Upgraded, WebSocket};
