//! What an entry of the ledger is: who did what to which objects, when, and with what effect.
//!
//! An [`Entry`] is one deterministic CBOR map of at most 4,096 bytes, so that equal entries are
//! equal bytes and a hash of the bytes is a hash of the entry. Everything here is a pure function
//! of its arguments: the tree of hashes is `tlog`, the keeping is `store::ledger`, and the hub
//! decides what is recorded.
//!
//! Personal data does not enter: people stand as a [`pseudonym`], contents as a [`fingerprint`],
//! and erasing their salts erases the way back.

pub mod audit;
mod cbor;
mod digest;
mod entry;
pub mod exercise;
mod object;
mod pseudonym;
mod verb;
mod view;

pub use cbor::{InvalidCbor, diagnostic};
pub use digest::{Digest, InvalidDigest};
pub use entry::{DEVICES, Entry, EntryTooLarge, InvalidEntry, VERSION};
pub use object::{Actor, ActorKind, Change, Identity, Object};
pub use pseudonym::{fingerprint, pseudonym};
pub use verb::{UnknownVerb, Verb};
pub use view::{ActorView, ChangeView, EntryView, IdentityView};
