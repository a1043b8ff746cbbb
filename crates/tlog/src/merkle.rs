//! The Merkle tree of RFC 9162, section 2: hashes, roots and proofs, over [`Nodes`] that are kept
//! elsewhere.
//!
//! There is one kind of proof underneath: that a *subtree*, the entries `start..end`, is part of
//! the tree of a size (draft-ietf-plants-merkle-tree-certs, "Subtree Consistency Proofs"). An
//! inclusion proof (RFC 9162, section 2.1.3) is the one of `index..index + 1`, a consistency proof
//! (section 2.1.4) the one of `0..old`.

use std::{convert::Infallible, ops::Range};

use model::limits;

use crate::hash::Hash;

/// Where the hashes of a tree are kept: in memory, in tiles, behind a network.
pub trait Nodes {
    /// Why a hash could not be had.
    type Error;

    /// The root of the complete subtree of 2^`level` entries that begins at entry
    /// `index * 2^level`. Asked only for subtrees that lie in the tree wholly.
    ///
    /// # Errors
    ///
    /// When the hash cannot be had from where it is kept.
    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

/// A proof that does not lead from what it is about to the root.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the proof does not lead to the root of the tree")]
pub struct InvalidProof;

/// Why no proof was made.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unprovable<E> {
    /// The entry or the range is not one of a tree of this size.
    #[error("the entries {start}..{end} are no subtree of a tree of {size} entries")]
    NotInTree {
        /// First entry.
        start: u64,
        /// One past the last entry.
        end: u64,
        /// Entries of the tree.
        size: u64,
    },
    /// A hash could not be had.
    #[error(transparent)]
    Nodes(E),
}

/// The hash of an entry as a leaf of the tree (RFC 9162, section 2.1.1).
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash::of_tagged(0x00, entry)
}

/// The hash of an inner node (RFC 9162, section 2.1.1).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut both = [0; 2 * Hash::LENGTH];
    both[..Hash::LENGTH].copy_from_slice(&left.0);
    both[Hash::LENGTH..].copy_from_slice(&right.0);
    Hash::of_tagged(0x01, &both)
}

/// The root of the tree without entries (RFC 9162, section 2.1.1).
#[must_use]
pub fn empty_root() -> Hash {
    Hash::of(&[])
}

/// The root over leaf hashes that are at hand: of a whole tree, or of one tile.
#[must_use]
pub fn root_of(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len() as u64) as usize);
            node_hash(&root_of(left), &root_of(right))
        }
    }
}

/// The root of the tree of the first `size` entries.
///
/// # Errors
///
/// When a hash cannot be had.
pub fn root<N: Nodes>(size: u64, nodes: &N) -> Result<Hash, N::Error> {
    range_hash(0..size, nodes)
}

/// The proof that the entry at `index` is in the tree of `size` entries, the leaf's sibling first
/// (RFC 9162, section 2.1.3.1).
///
/// # Errors
///
/// When the tree has no such entry, or a hash cannot be had.
pub fn prove_inclusion<N: Nodes>(
    index: u64,
    size: u64,
    nodes: &N,
) -> Result<Vec<Hash>, Unprovable<N::Error>> {
    prove_subtree(index, index.saturating_add(1), size, nodes)
}

/// The proof that the tree of `old` entries is a prefix of the one of `new` entries
/// (RFC 9162, section 2.1.4.1). It is empty when `old` is 0 or `new`.
///
/// # Errors
///
/// When `old` is more than `new`, or a hash cannot be had.
pub fn prove_consistency<N: Nodes>(
    old: u64,
    new: u64,
    nodes: &N,
) -> Result<Vec<Hash>, Unprovable<N::Error>> {
    if old == 0 {
        return Ok(Vec::new());
    }
    prove_subtree(0, old, new, nodes)
}

/// The proof that the subtree of the entries `start..end` is part of the tree of `size` entries
/// (draft-ietf-plants-merkle-tree-certs, "Generating a Subtree Consistency Proof").
///
/// # Errors
///
/// When `start..end` is no subtree of such a tree (`start` must be a multiple of the power of two
/// that is not less than `end - start`), or a hash cannot be had.
pub fn prove_subtree<N: Nodes>(
    start: u64,
    end: u64,
    size: u64,
    nodes: &N,
) -> Result<Vec<Hash>, Unprovable<N::Error>> {
    let path = Path::to(start, end, size).ok_or(Unprovable::NotInTree { start, end, size })?;
    let mut proof = Vec::with_capacity(path.siblings.len() + 1);
    let hash = |range: &Range<u64>| range_hash(range.clone(), nodes).map_err(Unprovable::Nodes);
    if let Some(remainder) = &path.remainder {
        proof.push(hash(remainder)?);
    }
    for sibling in path.siblings.iter().rev() {
        proof.push(hash(&sibling.range)?);
    }
    Ok(proof)
}

/// Checks that the entry with this leaf hash is at `index` of the tree with this size and root
/// (RFC 9162, section 2.1.3.2).
///
/// # Errors
///
/// When the proof does not show that.
pub fn check_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), InvalidProof> {
    let end = index.checked_add(1).ok_or(InvalidProof)?;
    check_subtree(index, end, leaf, size, root, proof)
}

/// Checks that the old tree is a prefix of the new one (RFC 9162, section 2.1.4.2). The tree
/// without entries is a prefix of every tree, shown by an empty proof.
///
/// # Errors
///
/// When the proof does not show that.
pub fn check_consistency(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), InvalidProof> {
    if old == 0 {
        let holds = *old_root == empty_root()
            && proof.is_empty()
            && new <= limits::LOG_ENTRIES
            && (new > 0 || new_root == old_root);
        return if holds { Ok(()) } else { Err(InvalidProof) };
    }
    check_subtree(0, old, old_root, new, new_root, proof)
}

/// Checks that the subtree of the entries `start..end` with this hash is part of the tree with this
/// size and root (draft-ietf-plants-merkle-tree-certs, "Verifying a Subtree Consistency Proof").
///
/// # Errors
///
/// When the proof does not show that, or `start..end` is no subtree of such a tree.
pub fn check_subtree(
    start: u64,
    end: u64,
    subtree: &Hash,
    size: u64,
    root: &Hash,
    proof: &[Hash],
) -> Result<(), InvalidProof> {
    let path = Path::to(start, end, size).ok_or(InvalidProof)?;
    if proof.len() > limits::CONSISTENCY_HASHES
        || proof.len() != path.siblings.len() + usize::from(path.remainder.is_some())
    {
        return Err(InvalidProof);
    }
    // Two hashes climb together: of the subtree's part of a node, and of the node in the tree.
    let (mut part, mut whole, proof) = match (&path.remainder, proof) {
        (Some(_), [first, rest @ ..]) => (*first, *first, rest),
        (Some(_), []) => return Err(InvalidProof),
        (None, proof) => (*subtree, *subtree, proof),
    };
    for (sibling, hash) in path.siblings.iter().rev().zip(proof) {
        match sibling.place {
            Place::Right => whole = node_hash(&whole, hash),
            Place::LeftOutside => whole = node_hash(hash, &whole),
            Place::LeftInside => {
                part = node_hash(hash, &part);
                whole = node_hash(hash, &whole);
            }
        }
    }
    if part == *subtree && whole == *root {
        Ok(())
    } else {
        Err(InvalidProof)
    }
}

/// The way from the root down to a subtree.
struct Path {
    /// What lies beside the way, the root's child first.
    siblings: Vec<Sibling>,
    /// Where the way ends, when that is only a part of the subtree, whose hash the verifier
    /// therefore does not know.
    remainder: Option<Range<u64>>,
}

struct Sibling {
    range: Range<u64>,
    place: Place,
}

enum Place {
    /// To the right of the way, and so not in the subtree.
    Right,
    /// To the left of the way, before the subtree begins.
    LeftOutside,
    /// To the left of the way, and in the subtree.
    LeftInside,
}

impl Path {
    /// The way to the subtree `start..end` of the tree of `size` entries, if it is one.
    fn to(start: u64, end: u64, size: u64) -> Option<Self> {
        if start >= end || end > size || size > limits::LOG_ENTRIES {
            return None;
        }
        if !start.is_multiple_of((end - start).next_power_of_two()) {
            return None;
        }
        let mut siblings = Vec::new();
        // What of the subtree is still to be found, in the part of the tree that holds it.
        let (mut wanted, mut within) = (start..end, 0..size);
        while wanted != within {
            let middle = within.start + split(within.end - within.start);
            let (left, right) = (within.start..middle, middle..within.end);
            let (range, place) = if wanted.end <= middle {
                within = left;
                (right, Place::Right)
            } else if middle <= wanted.start {
                within = right;
                (left, Place::LeftOutside)
            } else {
                // The subtree begins where this part begins, since both are aligned.
                wanted.start = middle;
                within = right;
                (left, Place::LeftInside)
            };
            siblings.push(Sibling { range, place });
        }
        let remainder = (wanted.start != start).then_some(wanted);
        Some(Self {
            siblings,
            remainder,
        })
    }
}

/// The largest power of two below `size`, which is at least 2: the entries of the left child.
fn split(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

/// The hash over the entries of an aligned range: of its complete subtrees, folded from the right.
fn range_hash<N: Nodes>(range: Range<u64>, nodes: &N) -> Result<Hash, N::Error> {
    let mut peaks = Vec::new();
    let mut start = range.start;
    while start < range.end {
        let level = (range.end - start).ilog2() as u8;
        peaks.push(nodes.node(level, start >> level)?);
        start += 1 << level;
    }
    Ok(fold(&peaks))
}

/// The root over complete subtrees of falling size, the largest first.
pub(crate) fn fold(peaks: &[Hash]) -> Hash {
    let Some((last, rest)) = peaks.split_last() else {
        return empty_root();
    };
    rest.iter()
        .rev()
        .fold(*last, |right, left| node_hash(left, &right))
}

/// Leaf hashes in memory. Every node is computed anew, so it is for tests and for small trees.
impl Nodes for [Hash] {
    type Error = Infallible;

    /// # Panics
    ///
    /// When the subtree does not lie in the tree, which the functions of this module never ask.
    fn node(&self, level: u8, index: u64) -> Result<Hash, Infallible> {
        let start = (index << level) as usize;
        Ok(root_of(&self[start..start + (1 << level)]))
    }
}

impl Nodes for Vec<Hash> {
    type Error = Infallible;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Infallible> {
        self.as_slice().node(level, index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All pairs up to here; past one level more than a tile's, it would only be slower.
    const EVERY_SIZE: u64 = 70;

    #[test]
    fn the_root_is_the_one_of_the_definition() {
        let leaves = leaves(EVERY_SIZE);
        for size in 0..=EVERY_SIZE {
            let expected = naive_root(&leaves[..size as usize]);
            assert_eq!(root(size, &leaves), Ok(expected), "{size}");
            assert_eq!(root_of(&leaves[..size as usize]), expected, "{size}");
        }
    }

    #[test]
    fn known_answers_of_other_implementations_are_met() {
        // The entries and the root that Certificate Transparency implementations test with.
        let entries = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        let leaves: Vec<_> = entries.map(|hex| leaf_hash(&bytes(hex))).into();
        let expected = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328";
        assert_eq!(root_of(&leaves).0[..], bytes(expected));
        assert_eq!(
            empty_root().to_string(),
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
        );
        assert_eq!(
            leaf_hash(b"").to_string(),
            "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0="
        );
    }

    #[test]
    fn every_entry_of_every_tree_is_proved_and_nothing_else_is() {
        let leaves = leaves(EVERY_SIZE);
        for size in 1..=EVERY_SIZE {
            let root = root(size, &leaves).unwrap();
            for index in 0..size {
                let proof = prove_inclusion(index, size, &leaves).unwrap();
                assert!(proof.len() <= 7);
                assert_eq!(proof, naive_path(index, &leaves[..size as usize]));
                let leaf = &leaves[index as usize];
                assert_eq!(check_inclusion(leaf, index, size, &proof, &root), Ok(()));
                for other in (0..size).filter(|other| *other != index) {
                    assert_eq!(
                        check_inclusion(leaf, other, size, &proof, &root),
                        Err(InvalidProof)
                    );
                }
                for changed in mutations(&proof) {
                    assert_eq!(
                        check_inclusion(leaf, index, size, &changed, &root),
                        Err(InvalidProof)
                    );
                }
            }
        }
    }

    #[test]
    fn every_tree_is_proved_to_be_a_prefix_of_every_later_one() {
        let leaves = leaves(EVERY_SIZE);
        for new in 0..=EVERY_SIZE {
            let new_root = root(new, &leaves).unwrap();
            for old in 0..=new {
                let old_root = root(old, &leaves).unwrap();
                let proof = prove_consistency(old, new, &leaves).unwrap();
                if old > 0 {
                    let expected = naive_consistency(old, &leaves[..new as usize], true);
                    assert_eq!(proof, expected, "{old} {new}");
                }
                assert_eq!(
                    check_consistency(old, &old_root, new, &new_root, &proof),
                    Ok(()),
                    "{old} {new}"
                );
                for changed in mutations(&proof) {
                    assert_eq!(
                        check_consistency(old, &old_root, new, &new_root, &changed),
                        Err(InvalidProof)
                    );
                }
                let wrong = leaf_hash(b"another history");
                assert_eq!(
                    check_consistency(old, &wrong, new, &new_root, &proof),
                    Err(InvalidProof)
                );
                if old > 0 {
                    assert_eq!(
                        check_consistency(old, &old_root, new, &wrong, &proof),
                        Err(InvalidProof)
                    );
                }
            }
        }
    }

    #[test]
    fn every_subtree_of_every_tree_is_proved() {
        let size = 40;
        let leaves = leaves(size);
        for size in 1..=size {
            let root = root(size, &leaves).unwrap();
            for start in 0..size {
                for end in start + 1..=size {
                    let proof = prove_subtree(start, end, size, &leaves);
                    if !start.is_multiple_of((end - start).next_power_of_two()) {
                        assert_eq!(proof, Err(Unprovable::NotInTree { start, end, size }));
                        continue;
                    }
                    let proof = proof.unwrap();
                    let subtree = naive_root(&leaves[start as usize..end as usize]);
                    assert_eq!(
                        check_subtree(start, end, &subtree, size, &root, &proof),
                        Ok(()),
                        "{start}..{end} of {size}"
                    );
                    for changed in mutations(&proof) {
                        assert_eq!(
                            check_subtree(start, end, &subtree, size, &root, &changed),
                            Err(InvalidProof)
                        );
                    }
                    let wrong = leaf_hash(b"another entry");
                    assert_eq!(
                        check_subtree(start, end, &wrong, size, &root, &proof),
                        Err(InvalidProof)
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_not_in_the_tree_has_no_proof() {
        let leaves = leaves(4);
        for (start, end, size) in [(4, 5, 4), (0, 5, 4), (2, 2, 4), (3, 2, 4), (0, 1, 0)] {
            let refused = Err(Unprovable::NotInTree { start, end, size });
            assert_eq!(prove_subtree(start, end, size, &leaves), refused);
        }
        let any = leaf_hash(b"");
        assert_eq!(
            check_inclusion(&any, u64::MAX, u64::MAX, &[], &any),
            Err(InvalidProof)
        );
        assert_eq!(
            check_consistency(1, &any, u64::MAX, &any, &[any; 63]),
            Err(InvalidProof)
        );
        assert_eq!(
            check_consistency(0, &empty_root(), u64::MAX, &any, &[]),
            Err(InvalidProof)
        );
        assert_eq!(
            check_consistency(0, &empty_root(), 0, &any, &[]),
            Err(InvalidProof)
        );
    }

    /// A tree too large to make, whose entries are all the same.
    struct Uniform;

    impl Nodes for Uniform {
        type Error = Infallible;

        fn node(&self, level: u8, _: u64) -> Result<Hash, Infallible> {
            Ok((0..level).fold(leaf_hash(b"x"), |hash, _| node_hash(&hash, &hash)))
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn proofs_in_the_largest_trees_hold_and_are_bounded(
            size in 1..=limits::LOG_ENTRIES,
            place in 0.0..1.0f64,
        ) {
            let index = ((size as f64 * place) as u64).min(size - 1);
            let root = root(size, &Uniform).unwrap();
            let proof = prove_inclusion(index, size, &Uniform).unwrap();
            prop_assert!(proof.len() <= limits::CONSISTENCY_HASHES);
            let leaf = leaf_hash(b"x");
            prop_assert_eq!(check_inclusion(&leaf, index, size, &proof, &root), Ok(()));
            let old_root = super::root(index + 1, &Uniform).unwrap();
            let proof = prove_consistency(index + 1, size, &Uniform).unwrap();
            prop_assert!(proof.len() <= limits::CONSISTENCY_HASHES);
            prop_assert_eq!(
                check_consistency(index + 1, &old_root, size, &root, &proof),
                Ok(())
            );
        }
    }

    #[test]
    fn the_longest_proof_is_just_within_the_bound() {
        let proof =
            prove_consistency(limits::LOG_ENTRIES - 1, limits::LOG_ENTRIES, &Uniform).unwrap();
        assert_eq!(proof.len(), limits::CONSISTENCY_HASHES);
    }

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let (pairs, _) = hex.as_bytes().as_chunks::<2>();
        pairs
            .iter()
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    /// Every single change: a flipped bit, a hash less, one more, two exchanged.
    fn mutations(proof: &[Hash]) -> Vec<Vec<Hash>> {
        let mut all = vec![[proof, &[leaf_hash(b"more")]].concat()];
        for at in 0..proof.len() {
            let mut flipped = proof.to_vec();
            flipped[at].0[at % 32] ^= 1;
            all.push(flipped);
            let mut less = proof.to_vec();
            less.remove(at);
            all.push(less);
            if at > 0 {
                let mut exchanged = proof.to_vec();
                exchanged.swap(at - 1, at);
                all.push(exchanged);
            }
        }
        all
    }

    fn naive_split(count: usize) -> usize {
        let mut k = 1;
        while k * 2 < count {
            k *= 2;
        }
        k
    }

    /// RFC 9162, section 2.1.1, as it is written.
    fn naive_root(leaves: &[Hash]) -> Hash {
        match leaves.len() {
            0 => Hash::of(&[]),
            1 => leaves[0],
            n => {
                let k = naive_split(n);
                let (left, right) = (naive_root(&leaves[..k]), naive_root(&leaves[k..]));
                Hash::of(&[&[1], &left.0, &right.0])
            }
        }
    }

    /// RFC 9162, section 2.1.3.1, as it is written.
    fn naive_path(m: u64, leaves: &[Hash]) -> Vec<Hash> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let k = naive_split(leaves.len());
        let (mut path, other) = if m < k as u64 {
            (naive_path(m, &leaves[..k]), &leaves[k..])
        } else {
            (naive_path(m - k as u64, &leaves[k..]), &leaves[..k])
        };
        path.push(naive_root(other));
        path
    }

    /// RFC 9162, section 2.1.4.1, as it is written.
    fn naive_consistency(m: u64, leaves: &[Hash], known: bool) -> Vec<Hash> {
        if m == leaves.len() as u64 {
            return if known {
                Vec::new()
            } else {
                vec![naive_root(leaves)]
            };
        }
        let k = naive_split(leaves.len());
        let (mut proof, other) = if m <= k as u64 {
            (naive_consistency(m, &leaves[..k], known), &leaves[k..])
        } else {
            let proof = naive_consistency(m - k as u64, &leaves[k..], false);
            (proof, &leaves[..k])
        };
        proof.push(naive_root(other));
        proof
    }
}
