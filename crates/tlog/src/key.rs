//! The keys of logs, witnesses and mirrors, as text and at work (C2SP `signed-note`,
//! `tlog-cosignature`).
//!
//! ```text
//! NAME+HEX(key id)+BASE64(algorithm byte; public key)              a verifier key ("vkey")
//! PRIVATE+KEY+NAME+HEX(key id)+BASE64(algorithm byte; seed)        a signer key, secret
//! ```

use std::{fmt, str::FromStr};

use aws_lc_rs::signature::{
    ED25519, Ed25519KeyPair, KeyPair as _, ML_DSA_44, ML_DSA_44_SIGNING, PqdsaKeyPair,
    UnparsedPublicKey,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::limits;
use zeroize::Zeroizing;

use crate::{
    Hash,
    checkpoint::Checkpoint,
    cosignature::{Subtree, TIME_BYTES, ed25519_message, ml_dsa_44_message},
    note::{NoteSignature, control, is_key_name},
};

/// What a signer key's text begins with.
const PRIVATE: &str = "PRIVATE+KEY+";

/// Bytes of the secret that a key of any algorithm here is made of.
const SEED_BYTES: usize = 32;

/// How a key signs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Algorithm {
    /// Ed25519 over the note's text; a log's way. Byte 0x01.
    Ed25519,
    /// Ed25519 over the time and the text; a witness's way. Byte 0x04.
    Ed25519Cosignature,
    /// ML-DSA-44 over the time, the log, its size and its root, which holds against a quantum
    /// computer. Byte 0x06.
    MlDsa44Cosignature,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 3] = [
        Self::Ed25519,
        Self::Ed25519Cosignature,
        Self::MlDsa44Cosignature,
    ];

    /// The byte that stands for it in keys and key ids.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::Ed25519Cosignature => 0x04,
            Self::MlDsa44Cosignature => 0x06,
        }
    }

    /// Whether its signatures say when they were made, which is what a witness's must.
    #[must_use]
    pub const fn is_cosignature(self) -> bool {
        match self {
            Self::Ed25519 => false,
            Self::Ed25519Cosignature | Self::MlDsa44Cosignature => true,
        }
    }

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.byte() == byte)
    }

    const fn public_key_bytes(self) -> usize {
        match self {
            Self::Ed25519 | Self::Ed25519Cosignature => 32,
            Self::MlDsa44Cosignature => 1312,
        }
    }
}

/// Why a text is not a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidKey {
    /// Not three parts with plus signs between them.
    #[error("a key is written NAME+ID+KEY, with an id of eight hexadecimal digits in lower case")]
    Form,
    /// The name cannot be one.
    #[error(
        "the name of a key has 1 to {} bytes, no space, no plus sign and no control character",
        limits::KEY_NAME_BYTES
    )]
    Name,
    /// The last part is not base64 in its one canonical form.
    #[error("the key itself is not standard base64 in its canonical form")]
    Base64,
    /// An algorithm that is not spoken here.
    #[error("keys of type {0:#04x} are not supported; supported are 0x01, 0x04 and 0x06")]
    Algorithm(u8),
    /// Too short or too long for its algorithm.
    #[error("the key has {bytes} bytes, and one of its type has {expected}")]
    Length {
        /// Bytes given.
        bytes: usize,
        /// Bytes a key of this algorithm has.
        expected: usize,
    },
    /// The name or the key was changed by hand, or by accident.
    #[error("the key id does not belong to this name and key")]
    KeyId,
    /// The cryptographic library does not take it.
    #[error("the key is not one that can be used")]
    Unusable,
}

/// Why a signature does not count.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadSignature {
    /// Name or id are another key's.
    #[error("the signature is not from this key")]
    OtherKey,
    /// The time is missing, or later than 2^63 - 1 seconds.
    #[error("the cosignature carries no proper time")]
    Time,
    /// The text is not a checkpoint, which this algorithm signs and nothing else.
    #[error("the signature is one over a checkpoint, and the text is none")]
    NotACheckpoint,
    /// It was not made by the key over this text.
    #[error("the signature does not fit the text")]
    Forged,
}

/// Verifies the signatures of one key.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct VerifierKey {
    name: String,
    key_id: [u8; 4],
    algorithm: Algorithm,
    public_key: Box<[u8]>,
}

impl VerifierKey {
    /// The key of this name.
    ///
    /// # Errors
    ///
    /// [`InvalidKey::Name`], [`InvalidKey::Length`].
    pub fn new(name: &str, algorithm: Algorithm, public_key: &[u8]) -> Result<Self, InvalidKey> {
        if !is_key_name(name) || name.len() > limits::KEY_NAME_BYTES || control(name).is_some() {
            return Err(InvalidKey::Name);
        }
        let expected = algorithm.public_key_bytes();
        if public_key.len() != expected {
            return Err(InvalidKey::Length {
                bytes: public_key.len(),
                expected,
            });
        }
        let whole = Hash::of(&[name.as_bytes(), b"\n", &[algorithm.byte()], public_key]);
        let [a, b, c, d, ..] = whole.0;
        Ok(Self {
            name: name.into(),
            key_id: [a, b, c, d],
            algorithm,
            public_key: public_key.into(),
        })
    }

    /// Whose key it is; a log's is its origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first bytes of the hash of name, algorithm and key.
    #[must_use]
    pub const fn key_id(&self) -> [u8; 4] {
        self.key_id
    }

    /// How it signs.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public key itself: two keys with the same are the same key, whatever their names.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// Whether a signature claims to be this key's.
    #[must_use]
    pub fn claims(&self, signature: &NoteSignature) -> bool {
        signature.name == self.name && signature.key_id == self.key_id
    }

    /// Verifies this key's signature over a note's text. Answers when it was made, in seconds
    /// since 1970, when it says so: an [`Algorithm::Ed25519`] signature does not, and an ML-DSA-44
    /// one may leave it out by saying 0.
    ///
    /// # Errors
    ///
    /// See [`BadSignature`].
    pub fn verify(
        &self,
        text: &str,
        signature: &NoteSignature,
    ) -> Result<Option<u64>, BadSignature> {
        if !self.claims(signature) {
            return Err(BadSignature::OtherKey);
        }
        let bytes = signature.bytes.as_slice();
        match self.algorithm {
            Algorithm::Ed25519 => {
                self.verify_ed25519(text.as_bytes(), bytes)?;
                Ok(None)
            }
            Algorithm::Ed25519Cosignature => {
                let (seconds, bytes) = timed(bytes)?;
                self.verify_ed25519(&ed25519_message(text, seconds), bytes)?;
                Ok(Some(seconds))
            }
            Algorithm::MlDsa44Cosignature => {
                let (seconds, bytes) = timed(bytes)?;
                let checkpoint: Checkpoint =
                    text.parse().map_err(|_| BadSignature::NotACheckpoint)?;
                let message = ml_dsa_44_message(&self.name, seconds, &whole_tree(&checkpoint))
                    .ok_or(BadSignature::NotACheckpoint)?;
                UnparsedPublicKey::new(&ML_DSA_44, &self.public_key)
                    .verify(&message, bytes)
                    .map_err(|_| BadSignature::Forged)?;
                Ok((seconds > 0).then_some(seconds))
            }
        }
    }

    fn verify_ed25519(&self, message: &[u8], bytes: &[u8]) -> Result<(), BadSignature> {
        UnparsedPublicKey::new(&ED25519, &self.public_key)
            .verify(message, bytes)
            .map_err(|_| BadSignature::Forged)
    }
}

/// Splits a cosignature into its time and the signature proper.
fn timed(bytes: &[u8]) -> Result<(u64, &[u8]), BadSignature> {
    let (time, bytes) = bytes
        .split_first_chunk::<TIME_BYTES>()
        .ok_or(BadSignature::Time)?;
    let seconds = u64::from_be_bytes(*time);
    // C2SP tlog-cosignature: it MUST NOT exceed 2^63 - 1.
    if i64::try_from(seconds).is_err() {
        return Err(BadSignature::Time);
    }
    Ok((seconds, bytes))
}

fn whole_tree(checkpoint: &Checkpoint) -> Subtree<'_> {
    Subtree {
        origin: &checkpoint.origin,
        start: 0,
        end: checkpoint.size,
        root: &checkpoint.root,
    }
}

impl FromStr for VerifierKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let parts = Parts::split(text)?;
        let key = Self::new(parts.name, parts.algorithm, &parts.key)?;
        if key.key_id == parts.key_id {
            Ok(key)
        } else {
            Err(InvalidKey::KeyId)
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[self.algorithm.byte()], &self.public_key[..]].concat();
        write!(
            f,
            "{}+{}+{}",
            self.name,
            hex::encode(self.key_id),
            STANDARD.encode(key)
        )
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The whole of a post-quantum key would fill a screen.
        write!(f, "{}+{}", self.name, hex::encode(self.key_id))
    }
}

/// The parts of a key's text.
struct Parts<'a> {
    name: &'a str,
    key_id: [u8; 4],
    algorithm: Algorithm,
    key: Zeroizing<Vec<u8>>,
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Result<Self, InvalidKey> {
        // The base64 may hold plus signs, the name may not.
        let (name, rest) = text.split_once('+').ok_or(InvalidKey::Form)?;
        let (id, encoded) = rest.split_once('+').ok_or(InvalidKey::Form)?;
        let mut key_id = [0; 4];
        hex::decode_to_slice(id, &mut key_id).map_err(|_| InvalidKey::Form)?;
        if hex::encode(key_id) != id {
            return Err(InvalidKey::Form);
        }
        let bytes = STANDARD.decode(encoded).map_err(|_| InvalidKey::Base64)?;
        let bytes = Zeroizing::new(bytes);
        let (byte, key) = bytes.split_first().ok_or(InvalidKey::Base64)?;
        Ok(Self {
            name,
            key_id,
            algorithm: Algorithm::of(*byte).ok_or(InvalidKey::Algorithm(*byte))?,
            key: Zeroizing::new(key.to_vec()),
        })
    }
}

/// Signs with one key. Neither printed nor serialized by accident; the seed is wiped when dropped.
pub struct SignerKey {
    verifier: VerifierKey,
    seed: Zeroizing<[u8; SEED_BYTES]>,
    pair: Pair,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    MlDsa44(Box<PqdsaKeyPair>),
}

impl SignerKey {
    /// Bytes of a seed.
    pub const SEED_BYTES: usize = SEED_BYTES;

    /// The key that this secret makes; the seed must come from a source of randomness that nobody
    /// can predict.
    ///
    /// # Errors
    ///
    /// [`InvalidKey::Name`], [`InvalidKey::Unusable`].
    pub fn from_seed(
        name: &str,
        algorithm: Algorithm,
        seed: &[u8; SEED_BYTES],
    ) -> Result<Self, InvalidKey> {
        let pair = match algorithm {
            Algorithm::Ed25519 | Algorithm::Ed25519Cosignature => {
                Ed25519KeyPair::from_seed_unchecked(seed).map(Pair::Ed25519)
            }
            Algorithm::MlDsa44Cosignature => PqdsaKeyPair::from_seed(&ML_DSA_44_SIGNING, seed)
                .map(|pair| Pair::MlDsa44(Box::new(pair))),
        };
        let pair = pair.map_err(|_| InvalidKey::Unusable)?;
        let public_key = match &pair {
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
            Pair::MlDsa44(pair) => pair.public_key().as_ref(),
        };
        Ok(Self {
            verifier: VerifierKey::new(name, algorithm, public_key)?,
            seed: Zeroizing::new(*seed),
            pair,
        })
    }

    /// Reads `PRIVATE+KEY+NAME+ID+BASE64`.
    ///
    /// # Errors
    ///
    /// See [`InvalidKey`].
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let text = text.strip_prefix(PRIVATE).ok_or(InvalidKey::Form)?;
        let parts = Parts::split(text)?;
        let seed = parts.key.as_slice();
        let seed = seed.try_into().map_err(|_| InvalidKey::Length {
            bytes: seed.len(),
            expected: SEED_BYTES,
        })?;
        let key = Self::from_seed(parts.name, parts.algorithm, seed)?;
        if key.verifier.key_id == parts.key_id {
            Ok(key)
        } else {
            Err(InvalidKey::KeyId)
        }
    }

    /// The text that [`Self::parse`] reads, for the one file it is kept in.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        let mut key = Zeroizing::new([0; SEED_BYTES + 1]);
        key[0] = self.verifier.algorithm.byte();
        key[1..].copy_from_slice(&self.seed[..]);
        Zeroizing::new(format!(
            "{PRIVATE}{}+{}+{}",
            self.verifier.name,
            hex::encode(self.verifier.key_id),
            STANDARD.encode(&key[..])
        ))
    }

    /// What verifies its signatures.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs a checkpoint as the log whose it is. An ML-DSA-44 signature says nothing of the time.
    ///
    /// # Panics
    ///
    /// When the origin is longer than [`limits::KEY_NAME_BYTES`], which no checkpoint that was
    /// read can have.
    #[must_use]
    pub fn sign_checkpoint(&self, checkpoint: &Checkpoint) -> NoteSignature {
        self.cosign(checkpoint, 0)
    }

    /// Signs a checkpoint as one who saw it at this time, in seconds since 1970. A key of
    /// [`Algorithm::Ed25519`] signs the checkpoint alone: its signatures carry no time.
    ///
    /// # Panics
    ///
    /// As [`Self::sign_checkpoint`].
    #[must_use]
    pub fn cosign(&self, checkpoint: &Checkpoint, seconds: u64) -> NoteSignature {
        let text = || checkpoint.to_string();
        let bytes = match (&self.pair, self.verifier.algorithm) {
            (Pair::Ed25519(pair), Algorithm::Ed25519) => {
                pair.sign(text().as_bytes()).as_ref().to_vec()
            }
            (Pair::Ed25519(pair), _) => {
                let signature = pair.sign(&ed25519_message(&text(), seconds));
                [&seconds.to_be_bytes(), signature.as_ref()].concat()
            }
            (Pair::MlDsa44(pair), _) => {
                let name = self.verifier.name();
                let message = ml_dsa_44_message(name, seconds, &whole_tree(checkpoint))
                    .expect("names of keys and origins of checkpoints fit a length byte");
                let mut bytes = seconds.to_be_bytes().to_vec();
                bytes.resize(TIME_BYTES + ML_DSA_44_SIGNING.signature_len(), 0);
                pair.sign(&message, &mut bytes[TIME_BYTES..])
                    .expect("a key that was made from its seed signs");
                bytes
            }
        };
        self.signed(bytes)
    }

    /// Signs the text of any note, as only an [`Algorithm::Ed25519`] key can: None for others,
    /// which sign checkpoints and nothing else.
    #[must_use]
    pub fn sign_text(&self, text: &str) -> Option<NoteSignature> {
        match (&self.pair, self.verifier.algorithm) {
            (Pair::Ed25519(pair), Algorithm::Ed25519) => {
                Some(self.signed(pair.sign(text.as_bytes()).as_ref().to_vec()))
            }
            (Pair::Ed25519(_) | Pair::MlDsa44(_), _) => None,
        }
    }

    fn signed(&self, bytes: Vec<u8>) -> NoteSignature {
        NoteSignature {
            name: self.verifier.name.clone(),
            key_id: self.verifier.key_id,
            bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::Note;

    // Facts from the tests of Go's golang.org/x/mod/sumdb/note.
    const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const PETER_SECRET: &str =
        "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const TEXT: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n";
    const SIGNED: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FF\
        YC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";
    const ENOCH: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
    const ENOCH_SIGNED: &str = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOH\
        p+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=";

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            origin: "example.com/log".into(),
            size: 7,
            root: Hash([3; 32]),
            extensions: Vec::new(),
        }
    }

    #[test]
    fn keys_and_signatures_are_those_of_go() {
        let key: VerifierKey = PETER.parse().unwrap();
        assert_eq!(key.name(), "PeterNeumann");
        assert_eq!(key.to_string(), PETER);
        let signer = SignerKey::parse(PETER_SECRET).unwrap();
        assert_eq!(signer.expose().as_str(), PETER_SECRET);
        assert_eq!(*signer.verifier(), key);
        let signature = signer.sign_text(TEXT).unwrap();
        assert_eq!(signature.to_string(), SIGNED);
        assert_eq!(key.verify(TEXT, &signature), Ok(None));
        let enoch: VerifierKey = ENOCH.parse().unwrap();
        assert_eq!(enoch.verify(TEXT, &ENOCH_SIGNED.parse().unwrap()), Ok(None));
        assert_eq!(enoch.verify(TEXT, &signature), Err(BadSignature::OtherKey));
        let note = format!("{TEXT}\n{SIGNED}\n{ENOCH_SIGNED}\n");
        assert_eq!(note.parse::<Note>().unwrap().signatures.len(), 2);
    }

    #[test]
    fn a_mangled_key_is_refused() {
        for (whole, parse) in [
            (
                PETER,
                (|text| text.parse::<VerifierKey>().is_ok()) as fn(&str) -> bool,
            ),
            (PETER_SECRET, |text| SignerKey::parse(text).is_ok()),
        ] {
            assert!(parse(whole));
            for from in 0..=whole.len() {
                for to in from..=whole.len() {
                    assert!(to - from == whole.len() || !parse(&whole[from..to]));
                }
            }
            for at in 0..whole.len() {
                let mut bytes = whole.as_bytes().to_vec();
                bytes[at] += 1;
                assert!(!parse(std::str::from_utf8(&bytes).unwrap()), "byte {at}");
            }
        }
        let parse = |text: &str| text.parse::<VerifierKey>();
        assert_eq!(
            parse("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"),
            Err(InvalidKey::Algorithm(0x65))
        );
        assert_eq!(
            parse(&PETER.replace("c74f20a3", "C74F20A3")),
            Err(InvalidKey::Form)
        );
        assert_eq!(
            VerifierKey::new(&"n".repeat(256), Algorithm::Ed25519, &[0; 32]),
            Err(InvalidKey::Name)
        );
    }

    #[test]
    fn every_algorithm_signs_what_it_verifies_and_nothing_else() {
        for algorithm in Algorithm::ALL {
            let signer = SignerKey::from_seed("w.example/1", algorithm, &[9; 32]).unwrap();
            let again = SignerKey::parse(&signer.expose()).unwrap();
            let verifier: VerifierKey = again.verifier().to_string().parse().unwrap();
            let checkpoint = checkpoint();
            let text = checkpoint.to_string();
            let signature = signer.cosign(&checkpoint, 1_795_000_000);
            let time = algorithm.is_cosignature().then_some(1_795_000_000);
            assert_eq!(
                verifier.verify(&text, &signature),
                Ok(time),
                "{algorithm:?}"
            );

            let read: NoteSignature = signature.to_string().parse().unwrap();
            assert_eq!(read, signature);
            for changed in [
                text.replace("\n7\n", "\n8\n"),
                text.replace("example.com", "example.org"),
                text.replace("AwM", "AwQ"),
            ] {
                assert_ne!(changed, text);
                let outcome = verifier.verify(&changed, &signature);
                assert_eq!(
                    outcome,
                    Err(BadSignature::Forged),
                    "{algorithm:?} {changed}"
                );
            }
            for at in [0, 7, 8, signature.bytes.len() - 1] {
                let mut forged = signature.clone();
                forged.bytes[at] ^= 0x40;
                let outcome = verifier.verify(&text, &forged);
                assert_eq!(
                    outcome,
                    Err(BadSignature::Forged),
                    "{algorithm:?} byte {at}"
                );
            }
            let mut cut = signature.clone();
            cut.bytes.truncate(7);
            assert!(verifier.verify(&text, &cut).is_err());
            let mut late = signature;
            late.bytes[0] |= 0x80;
            assert!(verifier.verify(&text, &late).is_err());
        }
    }

    #[test]
    fn a_log_that_signs_with_ml_dsa_says_no_time() {
        let log = SignerKey::from_seed("example.com/log", Algorithm::MlDsa44Cosignature, &[1; 32]);
        let log = log.unwrap();
        let signature = log.sign_checkpoint(&checkpoint());
        let text = checkpoint().to_string();
        assert_eq!(log.verifier().verify(&text, &signature), Ok(None));
        assert_eq!(log.sign_text("any text\n"), None);
        assert_eq!(
            log.verifier().verify("any text\n", &signature),
            Err(BadSignature::NotACheckpoint)
        );
    }

    #[test]
    fn the_same_key_has_another_id_for_another_use() {
        let id = |algorithm| {
            let key = SignerKey::from_seed("a", algorithm, &[1; 32]).unwrap();
            key.verifier().key_id()
        };
        assert_ne!(id(Algorithm::Ed25519), id(Algorithm::Ed25519Cosignature));
    }
}
