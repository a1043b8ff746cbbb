//! Proof files: that an entry is in a log, for whoever holds nothing but a policy (C2SP
//! `tlog-proof`).
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra BASE64                 only when there is something to add
//! index 17
//! BASE64                       the inclusion proof, the leaf's sibling first
//!
//! a checkpoint, as its log and its witnesses signed it
//! ```

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::limits;

use crate::{
    Hash,
    checkpoint::{Checkpoint, InvalidCheckpoint, decimal},
    merkle::{InvalidProof, check_inclusion, leaf_hash},
    note::{InvalidNote, Note},
    policy::Policy,
};

/// The first line.
const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// That the entry at an index is in the tree of a checkpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Proof {
    /// What its maker added, which nothing vouches for; never empty.
    pub extra: Option<Vec<u8>>,
    /// The entry's index.
    pub index: u64,
    /// The inclusion proof, the leaf's sibling first.
    pub hashes: Vec<Hash>,
    /// The checkpoint with its signatures.
    pub note: Note,
}

/// Why bytes are not a proof file.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidProofFile {
    /// Nobody proves so much.
    #[error("a proof file has at most {limit} bytes, this one {bytes}")]
    TooLong {
        /// Bytes given.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not UTF-8, or not the first line of a proof file.
    #[error("a proof file is a text whose first line is `{HEADER}`")]
    Header,
    /// The line of extra data is not the base64 of one byte or more in its canonical form.
    #[error("the extra data is not standard base64 in its canonical form")]
    Extra,
    /// No index, or one that is not a plain number.
    #[error("the line after it is `index` and a decimal number without leading zeroes")]
    Index,
    /// A line of the proof that is no hash.
    #[error("line {line} of the inclusion proof is no hash")]
    Hash {
        /// Which line of the proof, from 1.
        line: usize,
    },
    /// More hashes than any tree needs.
    #[error("an inclusion proof has at most {limit} hashes")]
    TooManyHashes {
        /// Hashes allowed.
        limit: usize,
    },
    /// No empty line and checkpoint behind the proof.
    #[error("the proof does not end in an empty line and a checkpoint")]
    NoCheckpoint,
    /// The checkpoint is no signed note.
    #[error("the checkpoint cannot be read: {0}")]
    Note(#[from] InvalidNote),
}

/// Why a proof does not convince.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unproved {
    /// What is signed is no checkpoint.
    #[error("what is signed is no checkpoint: {0}")]
    Checkpoint(#[from] InvalidCheckpoint),
    /// None of the policy's logs signed the checkpoint.
    #[error("none of the policy's logs signed the checkpoint")]
    NotFromLog,
    /// A signature claims to be of a key in the policy and is not.
    #[error("the checkpoint carries a forged signature")]
    Forged,
    /// Those who must have witnessed the checkpoint have not.
    #[error("the witnesses that the policy's quorum asks for have not cosigned the checkpoint")]
    NoQuorum,
    /// The entry is not where the proof says, or not in the tree at all.
    #[error("the entry is not at index {index} of the tree of {size} entries: {why}")]
    Inclusion {
        /// The index in the proof.
        index: u64,
        /// Entries of the checkpoint's tree.
        size: u64,
        /// What does not fit.
        why: InvalidProof,
    },
}

impl Proof {
    /// Reads a proof file strictly; what is read is written back byte for byte.
    ///
    /// # Errors
    ///
    /// See [`InvalidProofFile`].
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidProofFile> {
        if bytes.len() > limits::PROOF_FILE_BYTES {
            return Err(InvalidProofFile::TooLong {
                bytes: bytes.len(),
                limit: limits::PROOF_FILE_BYTES,
            });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| InvalidProofFile::Header)?;
        let (header, mut rest) = line(text).ok_or(InvalidProofFile::Header)?;
        if header != HEADER {
            return Err(InvalidProofFile::Header);
        }
        let mut next = || {
            let (line, below) = line(rest)?;
            rest = below;
            Some(line)
        };
        let mut current = next().ok_or(InvalidProofFile::Index)?;
        let mut extra = None;
        if let Some(encoded) = current.strip_prefix("extra ") {
            // The engine refuses missing padding and stray bits behind the last byte.
            let decoded = STANDARD.decode(encoded);
            let decoded = decoded.map_err(|_| InvalidProofFile::Extra)?;
            if decoded.is_empty() {
                return Err(InvalidProofFile::Extra);
            }
            extra = Some(decoded);
            current = next().ok_or(InvalidProofFile::Index)?;
        }
        let index = current.strip_prefix("index ").and_then(decimal);
        let index = index.ok_or(InvalidProofFile::Index)?;
        let mut hashes = Vec::new();
        loop {
            match next().ok_or(InvalidProofFile::NoCheckpoint)? {
                "" => break,
                _ if hashes.len() == limits::CONSISTENCY_HASHES => {
                    return Err(InvalidProofFile::TooManyHashes {
                        limit: limits::CONSISTENCY_HASHES,
                    });
                }
                line => hashes.push(line.parse().map_err(|_| InvalidProofFile::Hash {
                    line: hashes.len() + 1,
                })?),
            }
        }
        Ok(Self {
            extra,
            index,
            hashes,
            note: Note::parse(rest.as_bytes())?,
        })
    }

    /// Checks that `entry` is where the proof says, in a tree whose checkpoint the policy
    /// accepts, and answers that checkpoint. The [`extra`](Self::extra) data is not looked at.
    ///
    /// # Errors
    ///
    /// See [`Unproved`].
    pub fn check(&self, entry: &[u8], policy: &Policy) -> Result<Checkpoint, Unproved> {
        let standing = policy.is_final(&self.note)?;
        if !standing.from_log {
            return Err(Unproved::NotFromLog);
        }
        if standing.is_forged() {
            return Err(Unproved::Forged);
        }
        if !standing.quorum {
            return Err(Unproved::NoQuorum);
        }
        let checkpoint = standing.checkpoint;
        let Checkpoint { size, root, .. } = &checkpoint;
        check_inclusion(&leaf_hash(entry), self.index, *size, &self.hashes, root).map_err(
            |why| Unproved::Inclusion {
                index: self.index,
                size: *size,
                why,
            },
        )?;
        Ok(checkpoint)
    }
}

/// The first line, without its newline, and what is below.
fn line(text: &str) -> Option<(&str, &str)> {
    text.split_once('\n')
}

impl FromStr for Proof {
    type Err = InvalidProofFile;

    fn from_str(text: &str) -> Result<Self, InvalidProofFile> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{hash}")?;
        }
        write!(f, "\n{}", self.note)
    }
}

/// For the fuzzer: what is read is written back byte for byte.
///
/// # Errors
///
/// What differed.
#[doc(hidden)]
pub fn exercise(bytes: &[u8]) -> Result<(), String> {
    match Proof::parse(bytes) {
        Ok(proof) if proof.to_string().as_bytes() == bytes => Ok(()),
        Ok(proof) => Err(format!("written back differently: {proof}")),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        key::{Algorithm, SignerKey},
        merkle::{prove_inclusion, root_of},
    };

    #[test]
    fn a_proof_convinces_whoever_holds_the_policy() {
        let (proof, policy) = proof(17, 300);
        let text = proof.to_string();
        assert!(text.starts_with("c2sp.org/tlog-proof@v1\nextra c2Vl\nindex 17\n"));
        let read = Proof::parse(text.as_bytes());
        assert_eq!(read, Ok(proof.clone()));
        let checkpoint = proof.check(&entry(17), &policy).unwrap();
        assert_eq!(
            (checkpoint.origin.as_str(), checkpoint.size),
            ("hub.example", 300)
        );
    }

    #[test]
    fn another_entry_and_another_log_are_refused() {
        let (proof, policy) = proof(17, 300);
        let refused = proof.check(&entry(18), &policy);
        assert!(matches!(
            refused,
            Err(Unproved::Inclusion {
                index: 17,
                size: 300,
                ..
            })
        ));
        let other = SignerKey::from_seed("hub.example", Algorithm::Ed25519, &[8; 32]).unwrap();
        let other = Policy::of_log(other.verifier().clone());
        assert_eq!(proof.check(&entry(17), &other), Err(Unproved::NotFromLog));
    }

    #[test]
    fn any_one_changed_byte_is_refused() {
        let (mut proof, policy) = proof(17, 300);
        proof.extra = None;
        let text = proof.to_string().into_bytes();
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut changed = text.clone();
                changed[at] ^= 1 << bit;
                let outcome = Proof::parse(&changed).map(|proof| proof.check(&entry(17), &policy));
                assert!(!matches!(outcome, Ok(Ok(_))), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_missing_quorum_and_a_forged_cosignature_are_told() {
        let (mut proof, policy) = proof(0, 1);
        let witness =
            SignerKey::from_seed("w.example", Algorithm::Ed25519Cosignature, &[9; 32]).unwrap();
        let key = policy.logs()[0].key.to_string();
        let text = format!("log {key}\nwitness w {}\nquorum w\n", witness.verifier());
        let policy = Policy::parse(text.as_bytes()).unwrap();
        assert_eq!(proof.check(&entry(0), &policy), Err(Unproved::NoQuorum));
        let checkpoint: Checkpoint = proof.note.text.parse().unwrap();
        proof
            .note
            .signatures
            .push(witness.cosign(&checkpoint, 1_700_000_000));
        assert!(proof.check(&entry(0), &policy).is_ok());
        proof.note.signatures[1].bytes[20] ^= 1;
        assert_eq!(proof.check(&entry(0), &policy), Err(Unproved::Forged));
    }

    #[test]
    fn what_is_not_exactly_a_proof_file_is_refused() {
        let (proof, _) = proof(0, 2);
        let text = proof.to_string();
        let hash = proof.hashes[0].to_string();
        let changed = |from: &str, to: &str| text.replacen(from, to, 1);
        let many = format!("{hash}\n").repeat(64);
        let (header, extra, index) = (
            InvalidProofFile::Header,
            InvalidProofFile::Extra,
            InvalidProofFile::Index,
        );
        for (text, expected) in [
            (String::new(), header),
            (changed("@v1", "@v2"), header),
            (changed("\nextra", "\r\nextra"), header),
            (changed("c2Vl", ""), extra),
            (changed("c2Vl", "c2Vl="), extra),
            (changed("c2Vl", "c2V"), extra),
            (changed("extra", "Extra"), index),
            (changed("index 0", "index 00"), index),
            (changed("index 0", "index"), index),
            (changed("index 0", "index -1"), index),
            (changed("index 0", "index 18446744073709551616"), index),
            (
                changed(&hash, &hash[1..]),
                InvalidProofFile::Hash { line: 1 },
            ),
            (
                changed(&format!("{hash}\n"), &many),
                InvalidProofFile::TooManyHashes { limit: 63 },
            ),
            (
                text[..text.find("\n\n").unwrap() + 1].to_owned(),
                InvalidProofFile::NoCheckpoint,
            ),
        ] {
            assert_eq!(Proof::parse(text.as_bytes()), Err(expected), "{text}");
        }
        let unsigned = &text[..text.find('\u{2014}').unwrap()];
        assert!(matches!(
            Proof::parse(unsigned.as_bytes()),
            Err(InvalidProofFile::Note(_))
        ));
        let long = vec![b'x'; limits::PROOF_FILE_BYTES + 1];
        assert!(matches!(
            Proof::parse(&long),
            Err(InvalidProofFile::TooLong { .. })
        ));
    }

    fn entry(index: u64) -> Vec<u8> {
        format!("entry {index}").into_bytes()
    }

    fn proof(index: u64, size: u64) -> (Proof, Policy) {
        let leaves: Vec<_> = (0..size).map(|index| leaf_hash(&entry(index))).collect();
        let key = SignerKey::from_seed("hub.example", Algorithm::Ed25519, &[7; 32]).unwrap();
        let checkpoint = Checkpoint {
            origin: "hub.example".into(),
            size,
            root: root_of(&leaves),
            extensions: Vec::new(),
        };
        let proof = Proof {
            extra: Some(b"see".to_vec()),
            index,
            hashes: prove_inclusion(index, size, &leaves).unwrap(),
            note: Note {
                text: checkpoint.to_string(),
                signatures: vec![key.sign_checkpoint(&checkpoint)],
            },
        };
        (proof, Policy::of_log(key.verifier().clone()))
    }
}
