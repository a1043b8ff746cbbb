//! The ledger in the store: entries are made in the transaction they tell of, collect in the
//! registry's outbox, and are taken from there into the files of a transparency log.
//!
//! `DATA/ledger` holds `checkpoint`, `checkpoint.cosigned` and the full tiles at their C2SP paths.
//! Tiles never change; partial ones are served from memory. `index` beside them is derived.

mod adopt;
mod capture;
mod compare;
mod copy;
mod edge;
mod error;
mod filer;
mod files;
mod index;
mod integrate;
mod log;
mod outbox;
mod read;
mod recorded;
mod salts;
mod search;
mod start;
mod tiles;

pub(crate) use capture::Capture;
pub use compare::Comparison;
pub(crate) use copy::{Notes, problem};
pub use error::LedgerError;
pub use log::Ledger;
pub use outbox::Recorded;
pub(crate) use outbox::{Gate, Recorder};
pub use read::SignedCheckpoint;
pub use salts::PersonKind;
pub use search::Query;
