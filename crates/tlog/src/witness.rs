//! The witness protocol without the network (C2SP `tlog-witness`, `add-checkpoint`): what a log
//! sends, and what a witness makes of it.

use std::fmt;

use model::limits;

use crate::{
    Hash,
    checkpoint::{Checkpoint, InvalidCheckpoint, decimal},
    key::VerifierKey,
    merkle::{check_consistency, empty_root},
    note::{InvalidNote, Note},
};

/// A request to cosign a checkpoint.
///
/// ```text
/// old 20852014
/// base64 of a hash, 0 to 63 lines
///
/// the signed checkpoint
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AddCheckpoint {
    /// The size that the sender takes for the witness's latest.
    pub old: u64,
    /// That the tree of `old` entries is a prefix of the checkpoint's.
    pub proof: Vec<Hash>,
    /// The signed checkpoint; not verified yet.
    pub note: Note,
}

/// Why bytes are not such a request. All of them are answered 400.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidRequest {
    /// Nobody needs to send so much.
    #[error("a request has at most {} bytes", limits::ADD_CHECKPOINT_BYTES)]
    TooLong,
    /// The first line is not the old size.
    #[error("the first line is `old` and a decimal number")]
    Old,
    /// A line that is not a hash, or too many of them.
    #[error(
        "line {line} is no hash of a proof of at most {} hashes",
        limits::CONSISTENCY_HASHES
    )]
    Proof {
        /// Which, from 1.
        line: usize,
    },
    /// The empty line is missing.
    #[error("there is no empty line between the proof and the checkpoint")]
    NoCheckpoint,
    /// What follows is no note.
    #[error(transparent)]
    Note(#[from] InvalidNote),
}

impl AddCheckpoint {
    /// Reads the body of a request strictly.
    ///
    /// # Errors
    ///
    /// See [`InvalidRequest`].
    pub fn parse(body: &[u8]) -> Result<Self, InvalidRequest> {
        if body.len() > limits::ADD_CHECKPOINT_BYTES {
            return Err(InvalidRequest::TooLong);
        }
        let (old, mut rest) = line(body).ok_or(InvalidRequest::Old)?;
        let old = old
            .strip_prefix("old ")
            .and_then(decimal)
            .ok_or(InvalidRequest::Old)?;
        let mut proof = Vec::new();
        loop {
            let number = proof.len() + 2;
            let (text, below) = line(rest).ok_or(InvalidRequest::NoCheckpoint)?;
            rest = below;
            if text.is_empty() {
                break;
            }
            let hash = text.parse().ok();
            let hash = hash.filter(|_| proof.len() < limits::CONSISTENCY_HASHES);
            proof.push(hash.ok_or(InvalidRequest::Proof { line: number })?);
        }
        Ok(Self {
            old,
            proof,
            note: Note::parse(rest)?,
        })
    }
}

/// The first line, without its newline, and what is below it. A line that is not UTF-8 reads as
/// one that is nothing it should be.
fn line(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let text = std::str::from_utf8(&bytes[..end]).unwrap_or("\u{fffd}");
    Some((text, &bytes[end + 1..]))
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        for hash in &self.proof {
            writeln!(f, "{hash}")?;
        }
        write!(f, "\n{}", self.note)
    }
}

/// A checkpoint that a witness may cosign once it has written it down.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Accepted {
    /// What is to be cosigned.
    pub checkpoint: Checkpoint,
    /// The checkpoint with the log's own signatures that were verified, and no others.
    pub note: Note,
}

/// Why a witness does not cosign.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    /// The note is not a checkpoint.
    #[error("{0}")]
    NotACheckpoint(#[from] InvalidCheckpoint),
    /// No key is configured for this origin.
    #[error("this witness does not know the log {0}")]
    UnknownLog(String),
    /// No signature by a key of the log, or one that is forged.
    #[error("the checkpoint is not signed by the log's key")]
    NotSigned,
    /// The old size is larger than the checkpoint's.
    #[error("the old size {old} is larger than the checkpoint's, {size}")]
    OldTooLarge {
        /// The sender's old size.
        old: u64,
        /// The checkpoint's size.
        size: u64,
    },
    /// Ask again with a proof from the latest size.
    #[error("the old size is not the one of the latest checkpoint seen, {latest}")]
    Stale {
        /// The size of the latest checkpoint that this witness has recorded.
        latest: u64,
        /// The checkpoint itself, when it says another root for exactly that size: the log has
        /// signed two histories.
        split: Option<Box<Accepted>>,
    },
    /// The log has signed two roots for one size.
    #[error("the log has signed another root for {} entries", .0.checkpoint.size)]
    Split(Box<Accepted>),
    /// The new checkpoint was not shown to continue the old one. Either the proof is wrong, or
    /// the log has rewritten its history.
    #[error("the proof does not show that {} entries continue the {old} known", .refused.checkpoint.size)]
    Inconsistent {
        /// The size of the latest checkpoint that this witness has recorded.
        old: u64,
        /// What the log has signed.
        refused: Box<Accepted>,
    },
}

impl Refused {
    /// The status that the protocol asks for.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::NotACheckpoint(_) | Self::OldTooLarge { .. } => 400,
            Self::UnknownLog(_) => 404,
            Self::NotSigned => 403,
            Self::Stale { .. } | Self::Split(_) => 409,
            Self::Inconsistent { .. } => 422,
        }
    }

    /// What the log has signed and this witness could not fit to what it knows.
    #[must_use]
    pub fn conflict(&self) -> Option<&Accepted> {
        match self {
            Self::Stale { split, .. } => split.as_deref(),
            Self::Split(refused) | Self::Inconsistent { refused, .. } => Some(refused),
            Self::NotACheckpoint(_)
            | Self::UnknownLog(_)
            | Self::NotSigned
            | Self::OldTooLarge { .. } => None,
        }
    }
}

/// Decides on a request. `known` is the latest checkpoint recorded for the log that the request
/// names, and must not change until what is accepted is recorded in its place; `logs` are the keys
/// trusted, each named as its log's origin.
///
/// # Errors
///
/// See [`Refused`].
pub fn judge(
    known: Option<(u64, Hash)>,
    request: &AddCheckpoint,
    logs: &[VerifierKey],
) -> Result<Accepted, Refused> {
    let new = accept(&request.note, logs)?;
    let size = new.checkpoint.size;
    if request.old > size {
        return Err(Refused::OldTooLarge {
            old: request.old,
            size,
        });
    }
    let (latest, root) = known.unwrap_or_else(|| (0, empty_root()));
    let differs = size == latest && new.checkpoint.root != root;
    if request.old != latest {
        return Err(Refused::Stale {
            latest,
            split: differs.then(|| Box::new(new)),
        });
    }
    if differs {
        return Err(Refused::Split(Box::new(new)));
    }
    match check_consistency(latest, &root, size, &new.checkpoint.root, &request.proof) {
        Ok(()) => Ok(new),
        Err(_) => Err(Refused::Inconsistent {
            old: latest,
            refused: Box::new(new),
        }),
    }
}

/// Takes a checkpoint that one of the logs has signed, with that log's signatures alone.
///
/// # Errors
///
/// [`Refused::NotACheckpoint`], [`Refused::UnknownLog`], [`Refused::NotSigned`].
pub fn accept(note: &Note, logs: &[VerifierKey]) -> Result<Accepted, Refused> {
    let checkpoint: Checkpoint = note.text.parse()?;
    let keys: Vec<_> = logs
        .iter()
        .filter(|key| key.name() == checkpoint.origin)
        .collect();
    if keys.is_empty() {
        return Err(Refused::UnknownLog(checkpoint.origin));
    }
    let mut signatures = Vec::new();
    for signature in &note.signatures {
        if let Some(key) = keys.iter().find(|key| key.claims(signature)) {
            // One that is forged spoils the note, whatever else stands there.
            key.verify(&note.text, signature)
                .map_err(|_| Refused::NotSigned)?;
            if !signatures.contains(signature) {
                signatures.push(signature.clone());
            }
        }
    }
    if signatures.is_empty() {
        return Err(Refused::NotSigned);
    }
    Ok(Accepted {
        checkpoint,
        note: Note {
            text: note.text.clone(),
            signatures,
        },
    })
}

/// For the fuzzer: what is read is written back byte for byte, and is never accepted, since nobody
/// here knows a log.
///
/// # Errors
///
/// What differed.
#[doc(hidden)]
pub fn exercise(bytes: &[u8]) -> Result<(), String> {
    let Ok(request) = AddCheckpoint::parse(bytes) else {
        return Ok(());
    };
    if request.to_string().as_bytes() != bytes {
        return Err(format!("written back differently: {request}"));
    }
    match judge(None, &request, &[]) {
        Ok(accepted) => Err(format!("accepted: {accepted:?}")),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        key::{Algorithm, SignerKey},
        merkle::{leaf_hash, prove_consistency, root_of},
    };
    use proptest::prelude::*;

    // The example of the specification.
    const EXAMPLE: &str = "old 20852014\n\
        PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n\
        jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n\
        5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n\
        /6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\n\
        example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/\
        Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        — example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+\
        49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=\n";

    fn log() -> SignerKey {
        SignerKey::from_seed("example.com/log", Algorithm::Ed25519, &[1; 32]).unwrap()
    }

    fn leaves(size: u64, salt: u8) -> Vec<Hash> {
        let entry = |index: u64| leaf_hash(&[&index.to_be_bytes()[..], &[salt]].concat());
        (0..size).map(entry).collect()
    }

    fn signed(leaves: &[Hash]) -> Note {
        let checkpoint = Checkpoint {
            origin: "example.com/log".into(),
            size: leaves.len() as u64,
            root: root_of(leaves),
            extensions: Vec::new(),
        };
        Note {
            text: checkpoint.to_string(),
            signatures: vec![log().sign_checkpoint(&checkpoint)],
        }
    }

    fn request(old: u64, leaves: &[Hash]) -> AddCheckpoint {
        AddCheckpoint {
            old,
            proof: prove_consistency(old, leaves.len() as u64, &leaves.to_vec())
                .unwrap_or_default(),
            note: signed(leaves),
        }
    }

    /// What a witness that knows these leaves answers: 200, or a refusal's status.
    fn answer(known: &[Hash], request: &AddCheckpoint) -> u16 {
        let size = known.len() as u64;
        let known = (size > 0).then(|| (size, root_of(known)));
        match judge(known, request, &[log().verifier().clone()]) {
            Ok(accepted) => {
                assert_eq!(accepted.note.text, accepted.checkpoint.to_string());
                200
            }
            Err(refused) => refused.status(),
        }
    }

    #[test]
    fn the_example_of_the_specification_is_read_and_written() {
        let request = AddCheckpoint::parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!(request.old, 20_852_014);
        assert_eq!(request.proof.len(), 4);
        assert_eq!(request.note.signatures.len(), 2);
        assert_eq!(request.to_string(), EXAMPLE);
        let unknown = judge(None, &request, &[log().verifier().clone()]).unwrap_err();
        assert_eq!(unknown.status(), 404);
    }

    #[test]
    fn what_is_not_quite_a_request_is_refused() {
        let hash = "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n";
        for (body, expected) in [
            (String::new(), InvalidRequest::Old),
            ("old 1".into(), InvalidRequest::Old),
            ("old 01\n\n".into(), InvalidRequest::Old),
            ("old  1\n\n".into(), InvalidRequest::Old),
            ("new 1\n\n".into(), InvalidRequest::Old),
            ("old 1\n".into(), InvalidRequest::NoCheckpoint),
            (format!("old 1\n{hash}"), InvalidRequest::NoCheckpoint),
            ("old 1\nx\n\n".into(), InvalidRequest::Proof { line: 2 }),
            (
                format!("old 1\n{hash} \n\n"),
                InvalidRequest::Proof { line: 3 },
            ),
            (
                format!("old 1\n{}\n", hash.repeat(64)),
                InvalidRequest::Proof { line: 65 },
            ),
            (
                "old 1\n\n".into(),
                InvalidRequest::Note(InvalidNote::Unsigned),
            ),
            (
                "x".repeat(limits::ADD_CHECKPOINT_BYTES + 1),
                InvalidRequest::TooLong,
            ),
        ] {
            let outcome = AddCheckpoint::parse(body.as_bytes());
            assert_eq!(outcome, Err(expected), "{body:.80}");
        }
        let most = EXAMPLE.replacen(hash, &hash.repeat(60), 1);
        assert_eq!(
            AddCheckpoint::parse(most.as_bytes()).unwrap().proof.len(),
            63
        );
    }

    #[test]
    fn only_growth_is_accepted() {
        let (three, seven) = (leaves(3, 0), leaves(7, 0));
        assert_eq!(answer(&[], &request(0, &three)), 200);
        assert_eq!(answer(&three, &request(3, &seven)), 200);
        assert_eq!(answer(&three, &request(3, &three)), 200);
        // The sender is behind, or ahead: it is told the size and asks again.
        assert_eq!(answer(&three, &request(0, &seven)), 409);
        assert_eq!(answer(&seven, &request(3, &seven)), 409);
        assert_eq!(answer(&seven, &request(3, &three)), 409);
        assert_eq!(answer(&seven, &request(7, &three)), 400);
        assert_eq!(answer(&[], &request(3, &three)), 409);
    }

    #[test]
    fn another_history_is_refused_and_kept_as_evidence() {
        let (known, other) = (leaves(5, 0), leaves(5, 1));
        let longer = leaves(9, 1);
        let judge_it = |request: &AddCheckpoint| {
            let logs = [log().verifier().clone()];
            judge(Some((5, root_of(&known))), request, &logs).unwrap_err()
        };
        // The same size, another root.
        let split = judge_it(&request(5, &other));
        assert_eq!(split.status(), 409);
        assert_eq!(split.conflict().unwrap().note, signed(&other));
        // The same, from a sender that believes the witness to be elsewhere.
        let stale = judge_it(&request(2, &other));
        assert!(matches!(stale, Refused::Stale { latest: 5, .. }));
        assert_eq!(stale.conflict().unwrap().note, signed(&other));
        // A longer tree over another beginning.
        let inconsistent = judge_it(&request(5, &longer));
        assert_eq!(inconsistent.status(), 422);
        assert_eq!(inconsistent.conflict().unwrap().note, signed(&longer));
        // The right tree with a wrong proof.
        let mut wrong = request(5, &leaves(9, 0));
        wrong.proof.pop();
        assert_eq!(judge_it(&wrong).status(), 422);
        // A proof where none belongs.
        let mut first = request(0, &known);
        first.proof.push(Hash([0; 32]));
        assert_eq!(answer(&[], &first), 422);
        // A sender that is merely behind is no evidence.
        assert_eq!(judge_it(&request(2, &leaves(9, 0))).conflict(), None);
    }

    #[test]
    fn an_empty_tree_has_one_root() {
        let empty = request(0, &[]);
        assert_eq!(answer(&[], &empty), 200);
        let checkpoint = Checkpoint {
            origin: "example.com/log".into(),
            size: 0,
            root: Hash([9; 32]),
            extensions: Vec::new(),
        };
        let other = AddCheckpoint {
            note: Note {
                text: checkpoint.to_string(),
                signatures: vec![log().sign_checkpoint(&checkpoint)],
            },
            ..empty
        };
        assert_eq!(answer(&[], &other), 409);
    }

    #[test]
    fn only_the_logs_own_signatures_open_the_door() {
        let leaves = leaves(3, 0);
        let good = request(0, &leaves);
        let other = SignerKey::from_seed("example.com/log", Algorithm::Ed25519, &[2; 32]).unwrap();
        let checkpoint: Checkpoint = good.note.text.parse().unwrap();
        let foreign = other.sign_checkpoint(&checkpoint);

        let mut unsigned = good.clone();
        unsigned.note.signatures = vec![foreign.clone()];
        assert_eq!(answer(&[], &unsigned), 403);

        let mut both = good.clone();
        both.note.signatures.push(foreign);
        let accepted = judge(None, &both, &[log().verifier().clone()]).unwrap();
        assert_eq!(
            accepted.note, good.note,
            "the unknown signature is not kept"
        );

        let mut forged = good.clone();
        let mut copy = good.note.signatures[0].clone();
        copy.bytes[0] ^= 1;
        forged.note.signatures.push(copy);
        assert_eq!(answer(&[], &forged), 403);

        let mut elsewhere = good.clone();
        elsewhere.note.text = good.note.text.replace("example.com", "example.org");
        assert_eq!(answer(&[], &elsewhere), 404);

        let mut not_one = good;
        not_one.note.text = "hello\n".into();
        assert_eq!(answer(&[], &not_one), 400);
    }

    proptest! {
        #[test]
        fn a_grown_tree_is_accepted_and_a_rewritten_one_is_not(old in 1_u64..40, more in 0_u64..40, at in 0_u64..40) {
            let before = leaves(old, 0);
            let mut after = leaves(old + more, 0);
            prop_assert_eq!(answer(&before, &request(old, &after)), 200);
            let at = (at % old) as usize;
            after[at] = leaf_hash(b"rewritten");
            let status = answer(&before, &request(old, &after));
            prop_assert_eq!(status, if more == 0 { 409 } else { 422 });
        }

        #[test]
        fn no_bytes_are_read_as_something_else(at in 0..EXAMPLE.len(), to: u8) {
            let mut bytes = EXAMPLE.as_bytes().to_vec();
            bytes[at] = to;
            exercise(&bytes).unwrap();
        }
    }
}
