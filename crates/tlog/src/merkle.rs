//! The Merkle tree of RFC 9162, section 2: its hashes.

use crate::hash::Hash;

/// The hash of an entry as a leaf of the tree (RFC 9162, section 2.1.1).
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash::of(&[&[0x00], entry])
}

/// The hash of an inner node (RFC 9162, section 2.1.1).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash::of(&[&[0x01], &left.0, &right.0])
}

/// The root of the tree without entries (RFC 9162, section 2.1.1).
pub fn empty_root() -> Hash {
    Hash::of(&[])
}
