//! The right edge of a tree: all that is needed to append entries and to know the root.

use model::limits;

use crate::{
    hash::Hash,
    merkle::{fold, node_hash},
};

/// The roots of the complete subtrees that a tree of some size is made of, the largest first:
/// one for each bit that is set in the size.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Frontier {
    size: u64,
    hashes: Vec<Hash>,
}

/// A size and a number of hashes that do not belong together.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a tree of {size} entries is not made of {hashes} complete subtrees")]
pub struct InvalidFrontier {
    /// Entries of the tree.
    pub size: u64,
    /// Hashes that were given.
    pub hashes: usize,
}

impl Frontier {
    /// The edge of the tree without entries.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            size: 0,
            hashes: Vec::new(),
        }
    }

    /// The edge that [`size`](Self::size) and [`hashes`](Self::hashes) once told.
    ///
    /// # Errors
    ///
    /// When there are not as many hashes as bits set in the size, or the size is past
    /// [`limits::LOG_ENTRIES`].
    pub fn from_parts(size: u64, hashes: Vec<Hash>) -> Result<Self, InvalidFrontier> {
        if size <= limits::LOG_ENTRIES && hashes.len() == size.count_ones() as usize {
            Ok(Self { size, hashes })
        } else {
            Err(InvalidFrontier {
                size,
                hashes: hashes.len(),
            })
        }
    }

    /// Appends an entry, given by its leaf hash.
    pub fn push(&mut self, leaf: Hash) {
        let complete = self.size.trailing_ones() as usize;
        let kept = self.hashes.len() - complete;
        let node = self
            .hashes
            .drain(kept..)
            .rev()
            .fold(leaf, |right, left| node_hash(&left, &right));
        self.hashes.push(node);
        self.size += 1;
    }

    /// Entries of the tree.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        fold(&self.hashes)
    }

    /// The roots of the complete subtrees, the largest first.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{leaf_hash, root_of};

    #[test]
    fn the_root_is_that_of_all_entries_after_each_one() {
        let mut frontier = Frontier::new();
        let mut leaves = Vec::new();
        for n in 0..300_u64 {
            assert_eq!(frontier.size(), n);
            assert_eq!(frontier.root(), root_of(&leaves), "{n}");
            let parts = Frontier::from_parts(n, frontier.hashes().to_vec());
            assert_eq!(parts, Ok(frontier.clone()));
            leaves.push(leaf_hash(&n.to_be_bytes()));
            frontier.push(leaves[n as usize]);
        }
    }

    #[test]
    fn a_size_with_the_wrong_number_of_hashes_is_refused() {
        let hash = leaf_hash(b"");
        for (size, hashes) in [(0, 1), (1, 0), (3, 1), (4, 2), (u64::MAX, 64)] {
            assert_eq!(
                Frontier::from_parts(size, vec![hash; hashes]),
                Err(InvalidFrontier { size, hashes })
            );
        }
    }
}
