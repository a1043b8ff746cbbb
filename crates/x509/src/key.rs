//! Public keys: of what kind, how strong.

use x509_parser::{prelude::FromDer, public_key, x509};

use crate::ParseError;

/// The kind of a public key.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum KeyKind {
    /// RSA with a modulus of so many bits.
    Rsa {
        /// Bits of the modulus.
        bits: u32,
    },
    /// ECDSA on NIST P-256.
    P256,
    /// ECDSA on NIST P-384.
    P384,
    /// ECDSA on NIST P-521.
    P521,
    /// Ed25519.
    Ed25519,
    /// Anything else; nothing can be verified with it.
    Other,
}

impl KeyKind {
    /// Whether the hub certifies and registers keys of this kind: RSA of at least 2048 bits or a
    /// NIST curve. Source: AWS IoT Developer Guide, "X.509 client certificates".
    #[must_use]
    pub const fn is_certifiable(self) -> bool {
        match self {
            Self::Rsa { bits } => bits >= 2048 && bits <= 8192,
            Self::P256 | Self::P384 | Self::P521 => true,
            Self::Ed25519 | Self::Other => false,
        }
    }
}

/// A public key as it stands in a certificate or a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublicKey {
    info: Box<[u8]>,
    kind: KeyKind,
    bits: Box<[u8]>,
}

// Object identifiers, DER contents. RFC 3279, RFC 5480, RFC 8410.
const RSA_ENCRYPTION: &[u64] = &[1, 2, 840, 113_549, 1, 1, 1];
const EC_PUBLIC_KEY: &[u64] = &[1, 2, 840, 10_045, 2, 1];
const P256: &[u64] = &[1, 2, 840, 10_045, 3, 1, 7];
const P384: &[u64] = &[1, 3, 132, 0, 34];
const P521: &[u64] = &[1, 3, 132, 0, 35];
const ED25519: &[u64] = &[1, 3, 101, 112];

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    ///
    /// [`ParseError::Malformed`] when it is not one. A kind of key that is not known is no error.
    pub fn parse(info: &[u8]) -> Result<Self, ParseError> {
        let malformed = |_| ParseError::Malformed {
            what: "the public key",
        };
        let (rest, parsed) =
            x509::SubjectPublicKeyInfo::from_der(info).map_err(|_| ParseError::Malformed {
                what: "the public key",
            })?;
        if !rest.is_empty() {
            return Err(ParseError::Malformed {
                what: "the public key",
            });
        }
        let is = |oid: &x509_parser::der_parser::Oid<'_>, arcs: &[u64]| {
            oid.iter()
                .is_some_and(|found| found.eq(arcs.iter().copied()))
        };
        let algorithm = &parsed.algorithm.algorithm;
        let kind = if is(algorithm, RSA_ENCRYPTION) {
            let key = parsed.parsed().map_err(malformed)?;
            if let public_key::PublicKey::RSA(key) = key {
                KeyKind::Rsa {
                    bits: bit_length(key.modulus),
                }
            } else {
                KeyKind::Other
            }
        } else if is(algorithm, EC_PUBLIC_KEY) {
            let curve = parsed
                .algorithm
                .parameters
                .as_ref()
                .and_then(|any| any.as_oid().ok());
            match curve {
                Some(oid) if is(&oid, P256) => KeyKind::P256,
                Some(oid) if is(&oid, P384) => KeyKind::P384,
                Some(oid) if is(&oid, P521) => KeyKind::P521,
                _ => KeyKind::Other,
            }
        } else if is(algorithm, ED25519) {
            KeyKind::Ed25519
        } else {
            KeyKind::Other
        };
        Ok(Self {
            info: info.into(),
            kind,
            bits: parsed.subject_public_key.data.as_ref().into(),
        })
    }

    /// Its kind and strength.
    #[must_use]
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The SubjectPublicKeyInfo in DER.
    #[must_use]
    pub const fn info_der(&self) -> &[u8] {
        &self.info
    }

    /// The key alone, the contents of `subjectPublicKey`: what key identifiers are hashed from
    /// (RFC 5280 §4.2.1.2).
    #[must_use]
    pub const fn bits(&self) -> &[u8] {
        &self.bits
    }
}

/// Bits of a big-endian number, leading zeros not counted.
fn bit_length(number: &[u8]) -> u32 {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let significant = &number[zeros..];
    match significant.first() {
        None => 0,
        Some(first) => {
            let bits = significant.len().saturating_mul(8);
            u32::try_from(bits).unwrap_or(u32::MAX) - first.leading_zeros()
        }
    }
}
