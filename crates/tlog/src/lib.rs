//! The formats of a transparency log: its Merkle tree, tiles, notes and proofs; no I/O.
//!
//! A log is a Merkle tree (RFC 9162, section 2) over entries that only ever grows. It is kept and
//! served as tiles (C2SP `tlog-tiles`), its state is told in signed checkpoints (C2SP
//! `signed-note`, `tlog-checkpoint`) which witnesses cosign (C2SP `tlog-cosignature`), and
//! a proof (C2SP `tlog-proof`) convinces whoever holds nothing but a policy. What an entry says
//! is not known here; that is `ledger`'s.

pub mod bundle;
pub mod checkpoint;
mod cosignature;
pub mod frontier;
pub mod hash;
pub mod key;
pub mod merkle;
pub mod mirror;
pub mod note;
pub mod policy;
pub mod proof;
pub mod tile;
pub mod witness;

pub use checkpoint::{Checkpoint, InvalidCheckpoint};
pub use frontier::Frontier;
pub use hash::{Hash, InvalidHash};
pub use key::{Algorithm, SignerKey, VerifierKey};
pub use note::{InvalidNote, Note, NoteSignature};
pub use policy::Policy;
pub use proof::{InvalidProofFile, Proof, Unproved};
pub use tile::{Level, TILE_WIDTH, TileId, TileNodes};
