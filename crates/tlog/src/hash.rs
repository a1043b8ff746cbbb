//! A SHA-256 hash of the tree, as bytes and as the base64 that notes and proofs write.

use std::{fmt, str::FromStr};

use aws_lc_rs::digest::{Context, Digest, SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// A SHA-256 hash: of an entry, of a subtree, or of a whole tree.
///
/// It is written as standard base64 with padding, 44 characters (C2SP `tlog-checkpoint`,
/// `tlog-proof`), and read back only in exactly that form.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Hash(pub [u8; 32]);

/// A text that is not the base64 of 32 bytes in its one canonical form.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a hash is written as the 44 characters of the standard base64 of 32 bytes")]
pub struct InvalidHash;

impl Hash {
    /// Bytes of a hash.
    pub const LENGTH: usize = 32;

    /// SHA-256 over the parts, one after the other.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(part);
        }
        Self::from(context.finish())
    }

    /// SHA-256 of one byte and the bytes after it.
    pub(crate) fn of_tagged(tag: u8, bytes: &[u8]) -> Self {
        // One call over a copy is faster than a context that is fed twice, until copying costs.
        let mut copy = [0; 1024];
        if let Some(place) = copy.get_mut(..=bytes.len()) {
            place[0] = tag;
            place[1..].copy_from_slice(bytes);
            return Self::from(digest(&SHA256, place));
        }
        Self::of(&[&[tag], bytes])
    }
}

impl From<Digest> for Hash {
    fn from(digest: Digest) -> Self {
        let mut hash = [0; Self::LENGTH];
        hash.copy_from_slice(digest.as_ref());
        Self(hash)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        if text.len() != 44 {
            return Err(InvalidHash);
        }
        // The engine refuses missing padding and stray bits behind the last byte, so that one
        // hash has one spelling.
        let bytes = STANDARD.decode(text).map_err(|_| InvalidHash)?;
        bytes.try_into().map(Self).map_err(|_| InvalidHash)
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_canonical_spelling_is_read() {
        let text = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(text.parse::<Hash>(), Ok(Hash::of(&[])));
        for wrong in [
            "",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=", // a bit behind the last byte
            "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=", // the alphabet of URLs
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuF==",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", // 33 bytes
        ] {
            assert_eq!(wrong.parse::<Hash>(), Err(InvalidHash), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes: [u8; 32]) {
            let hash = Hash(bytes);
            prop_assert_eq!(hash.to_string().parse(), Ok(hash));
        }
    }
}
