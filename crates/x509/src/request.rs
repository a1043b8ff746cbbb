//! Certificate signing requests (PKCS#10, RFC 2986).

use model::limits;
use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer};

use crate::{
    DistinguishedName, KeyKind, PemError, PublicKey, VerifyError,
    der::Signed,
    pem::{blocks, describe},
    signature::verify,
};

/// Why a request was not accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// The text is not one PEM request, or too long.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The DER inside is not a request.
    #[error("the certificate signing request is malformed")]
    Malformed,
    /// Make a key of another kind.
    #[error(
        "a key of the kind {0:?} is not certified; use RSA with at least 2048 bits, or ECDSA on P-256, P-384 or P-521"
    )]
    Key(KeyKind),
    /// The request is not signed by the key it names.
    #[error("the request does not prove possession of its key: {0}")]
    Possession(VerifyError),
}

/// A request whose key is acceptable and whose asker has proved to hold it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    subject: DistinguishedName,
    key: PublicKey,
}

impl Request {
    /// Reads a PEM request (`CERTIFICATE REQUEST` or `NEW CERTIFICATE REQUEST`) of at most
    /// [`limits::CSR_BYTES`], and checks its key and its signature.
    ///
    /// # Errors
    ///
    /// See [`RequestError`].
    pub fn from_pem(text: &str) -> Result<Self, RequestError> {
        let found = blocks(text, limits::CSR_BYTES)?;
        match found.as_slice() {
            [block] if block.tag().ends_with("CERTIFICATE REQUEST") => {
                Self::from_der(block.contents())
            }
            other => Err(PemError::Contents {
                expected: "exactly one certificate request",
                found: describe(other),
            }
            .into()),
        }
    }

    /// Reads a request in DER and checks its key and its signature.
    ///
    /// # Errors
    ///
    /// See [`RequestError`].
    pub fn from_der(der: &[u8]) -> Result<Self, RequestError> {
        let signed = Signed::read(der).map_err(|_| RequestError::Malformed)?;
        let (_, parsed) =
            X509CertificationRequest::from_der(der).map_err(|_| RequestError::Malformed)?;
        let info = &parsed.certification_request_info;
        let key = PublicKey::parse(info.subject_pki.raw).map_err(|_| RequestError::Malformed)?;
        if !key.kind().is_certifiable() {
            return Err(RequestError::Key(key.kind()));
        }
        verify(
            key.info_der(),
            signed.algorithm,
            signed.message,
            signed.signature,
        )
        .map_err(RequestError::Possession)?;
        Ok(Self {
            subject: DistinguishedName::from_parsed(&info.subject),
            key,
        })
    }

    /// The name the asker wishes for.
    #[must_use]
    pub const fn subject(&self) -> &DistinguishedName {
        &self.subject
    }

    /// The key to certify.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }
}
