//! Checking signatures with the algorithms that IoT fleets use: RSA (2048 to 8192 bits, PKCS#1
//! and PSS) and ECDSA (P-256, P-384, P-521) with SHA-256/384/512, and Ed25519. SHA-1 is absent.

use rustls_pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::{ALL_VERIFICATION_ALGS, RawPublicKeyEntity};

/// Why a signature was not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum VerifyError {
    /// The issuer named in the certificate is another.
    #[error("the certificate names another issuer")]
    OtherIssuer,
    /// Use RSA with at least 2048 bits, ECDSA on P-256, P-384 or P-521, or Ed25519, with SHA-2.
    #[error("the signature algorithm is not supported")]
    UnsupportedAlgorithm,
    /// The key is malformed, too short, or of a kind that does not fit the algorithm.
    #[error("the public key does not fit the signature")]
    UnsuitableKey,
    /// The signature is not of this message by this key.
    #[error("the signature is not valid")]
    BadSignature,
}

/// Checks `signature` over `message` by the key in `key_info`, a SubjectPublicKeyInfo in DER.
///
/// `algorithm` is the contents of an AlgorithmIdentifier (RFC 5280 §4.1.1.2).
pub(crate) fn verify(
    key_info: &[u8],
    algorithm: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), VerifyError> {
    let key_info = SubjectPublicKeyInfoDer::from(key_info);
    let key = RawPublicKeyEntity::try_from(&key_info).map_err(|_| VerifyError::UnsuitableKey)?;
    let mut outcome = VerifyError::UnsupportedAlgorithm;
    for candidate in ALL_VERIFICATION_ALGS {
        if candidate.signature_alg_id().as_ref() != algorithm {
            continue;
        }
        match key.verify_signature(*candidate, message, signature) {
            Ok(()) => return Ok(()),
            Err(webpki::Error::InvalidSignatureForPublicKey) => {
                return Err(VerifyError::BadSignature);
            }
            // The same algorithm with another curve may still fit.
            Err(_) => outcome = VerifyError::UnsuitableKey,
        }
    }
    Err(outcome)
}

/// Checks that the owner of the key in `key_info` (a SubjectPublicKeyInfo in DER, see
/// [`public_key_info`](crate::public_key_info)) signed `message`, by the first of `algorithms`
/// that fits the key. This is how a TLS peer proves that it holds the key of its certificate.
///
/// # Errors
///
/// See [`VerifyError`].
pub fn verify_possession(
    key_info: &[u8],
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    message: &[u8],
    signature: &[u8],
) -> Result<(), VerifyError> {
    let key_info = SubjectPublicKeyInfoDer::from(key_info);
    let key = RawPublicKeyEntity::try_from(&key_info).map_err(|_| VerifyError::UnsuitableKey)?;
    for algorithm in algorithms {
        match key.verify_signature(*algorithm, message, signature) {
            Ok(()) => return Ok(()),
            Err(webpki::Error::InvalidSignatureForPublicKey) => {
                return Err(VerifyError::BadSignature);
            }
            // The same scheme with another curve may still fit.
            Err(_) => {}
        }
    }
    Err(VerifyError::UnsuitableKey)
}
