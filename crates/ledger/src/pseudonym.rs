//! Salted hashes: what stands in an entry for a person, or for content that may have to be erased.
//!
//! Whoever has the salt can check a guess; whoever has not learns nothing, however small the set
//! of guesses. Erasing the salt is erasing the data, and the tree stays whole. The first bytes
//! name the purpose, so that a hash made for one can never be taken for the other.

use aws_lc_rs::digest::{Context, SHA256};

use crate::Digest;

const PSEUDONYM: &[u8] = b"sekisho ledger pseudonym v1\n";
const FINGERPRINT: &[u8] = b"sekisho ledger fingerprint v1\n";

/// What stands for the person or address `value` under `salt`:
/// SHA-256(purpose ‖ salt ‖ value).
#[must_use]
pub fn pseudonym(salt: &[u8; 32], value: &str) -> Digest {
    hash(&[PSEUDONYM, salt, value.as_bytes()])
}

/// What stands for `content`, the stored form of an object of this `kind`, under `salt`:
/// SHA-256(purpose ‖ salt ‖ length of kind as u64-BE ‖ kind ‖ content).
#[must_use]
pub fn fingerprint(salt: &[u8; 32], kind: &str, content: &[u8]) -> Digest {
    let length = u64::try_from(kind.len()).unwrap_or(u64::MAX).to_be_bytes();
    hash(&[FINGERPRINT, salt, &length, kind.as_bytes(), content])
}

fn hash(parts: &[&[u8]]) -> Digest {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    Digest(digest)
}

#[test]
fn another_salt_purpose_kind_or_value_is_another_digest() {
    let salt = [1; 32];
    let digests = [
        pseudonym(&salt, "alice"),
        pseudonym(&[2; 32], "alice"),
        pseudonym(&salt, "alicf"),
        fingerprint(&salt, "", b"alice"),
        fingerprint(&salt, "a", b"lice"),
        fingerprint(&salt, "al", b"ice"),
    ];
    for (at, digest) in digests.iter().enumerate() {
        assert!(!digests[..at].contains(digest), "{at}");
    }
    assert_eq!(pseudonym(&salt, "alice"), digests[0]);
}
