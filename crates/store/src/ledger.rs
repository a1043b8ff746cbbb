//! The ledger in the store: entries are made in the transaction they tell of.

mod capture;
mod recorded;
mod salts;

pub(crate) use capture::Capture;
pub use salts::PersonKind;
