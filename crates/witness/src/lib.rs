//! Witnesses and mirrors of a ledger: the roles themselves, and the log's side of both.
//!
//! [`Server`] is `sekisho witness` and `sekisho mirror`: it cosigns what only ever grows (C2SP
//! `tlog-witness`), and a mirror also holds the entries (C2SP `tlog-mirror`). [`Feeder`] is the
//! hub's side: it brings each checkpoint to everyone in a policy and the cosignatures back. What
//! is decided is decided in `tlog`; here are the sockets and the files. Keys are made by the
//! program, and what an entry means is `ledger`'s.

mod alarms;
mod durable;
mod feeder;
mod fetch;
mod kept;
mod server;
mod split;
mod state;
mod tree;

pub use feeder::{Feeder, FeederError, LatestCheckpoint, Log, Standing};
pub use fetch::FetchError;
pub use kept::Role;
pub use server::{KnownLog, OpenError, Server};
