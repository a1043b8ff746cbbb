//! PEM (RFC 7468): certificates as text.

use model::limits;
use pem::{EncodeConfig, LineEnding, Pem};

use crate::{Certificate, ParseError};

const CERTIFICATE: &str = "CERTIFICATE";

/// Why a PEM text was not read as what it should hold.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PemError {
    /// The text is too long to be looked at.
    #[error("the PEM text is {bytes} bytes, more than {limit}")]
    TooLarge {
        /// Bytes given.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not PEM at all.
    #[error("the text is not PEM: {0}")]
    NotPem(String),
    /// PEM of another thing, or not exactly one.
    #[error("expected {expected}, found {found}")]
    Contents {
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// The certificate inside is malformed.
    #[error(transparent)]
    Certificate(#[from] ParseError),
}

/// Reads a PEM text that holds exactly one certificate.
///
/// # Errors
///
/// See [`PemError`]; above [`limits::PEM_BYTES`] nothing is parsed.
pub fn certificate_from_pem(text: &str) -> Result<Certificate, PemError> {
    let found = blocks(text, limits::PEM_BYTES)?;
    match found.as_slice() {
        [block] if block.tag() == CERTIFICATE => Ok(Certificate::parse(block.contents())?),
        other => Err(PemError::Contents {
            expected: "exactly one certificate",
            found: describe(other),
        }),
    }
}

/// Reads a PEM text that holds one or more certificates, leaf first, and nothing else.
///
/// # Errors
///
/// See [`PemError`]; above [`limits::PEM_BYTES`] nothing is parsed.
pub fn certificates_from_pem(text: &str) -> Result<Vec<Certificate>, PemError> {
    let found = blocks(text, limits::PEM_BYTES)?;
    if found.is_empty() || found.iter().any(|block| block.tag() != CERTIFICATE) {
        return Err(PemError::Contents {
            expected: "one or more certificates",
            found: describe(&found),
        });
    }
    found
        .iter()
        .map(|block| Ok(Certificate::parse(block.contents())?))
        .collect()
}

/// Spells a certificate in DER as PEM, lines of 64 characters ending in a line feed.
#[must_use]
pub fn certificate_to_pem(der: &[u8]) -> String {
    encode(CERTIFICATE, der)
}

pub(crate) fn encode(tag: &str, der: &[u8]) -> String {
    pem::encode_config(
        &Pem::new(tag, der),
        EncodeConfig::new().set_line_ending(LineEnding::LF),
    )
}

/// The PEM blocks of a bounded text.
pub(crate) fn blocks(text: &str, limit: usize) -> Result<Vec<Pem>, PemError> {
    if text.len() > limit {
        return Err(PemError::TooLarge {
            bytes: text.len(),
            limit,
        });
    }
    pem::parse_many(text).map_err(|error| PemError::NotPem(error.to_string()))
}

pub(crate) fn describe(blocks: &[Pem]) -> String {
    match blocks {
        [] => "no PEM block".to_owned(),
        [one] => format!("a PEM block {:?}", one.tag()),
        more => format!("{} PEM blocks", more.len()),
    }
}

/// Spells a public key as PEM (`BEGIN PUBLIC KEY`, RFC 7468 §13).
#[must_use]
pub fn public_key_to_pem(key: &crate::PublicKey) -> String {
    encode("PUBLIC KEY", key.info_der())
}
