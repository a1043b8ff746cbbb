//! The ledger in the store: entries are made in the transaction they tell of.

mod capture;
mod recorded;
mod salts;
mod stub;

pub(crate) use capture::Capture;
pub use salts::PersonKind;
pub use stub::Recorded;
