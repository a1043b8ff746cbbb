//! Proof of possession: the peer holds the key of the certificate it presents. Nothing else is
//! checked here.
//!
//! rustls's own check reads the certificate with a parser that refuses X.509 v1 and leaves with
//! the CA flag (rustls/webpki#29, #205), both of which old fleets have. So the key is taken from
//! the certificate here and the signature checked with the key alone.

use std::{cell::RefCell, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerMisbehaved,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use x509::{Certificate, KeyKind, VerifyError};

tokio::task_local! {
    /// The leaf of the handshake under way, so that a failure can name it: rustls forgets what a
    /// failed handshake presented.
    pub(crate) static PRESENTED: RefCell<Option<Box<[u8]>>>;
}

/// A key with which nothing can be proved. It needs a certificate on P-256, P-384, P-521 or
/// Ed25519, or on RSA with 2048 to 8192 bits.
#[derive(Debug, thiserror::Error)]
#[error("the client certificate has a key of the kind {0:?}; use RSA from 2048 bits, or ECDSA")]
pub(crate) struct UnsupportedKey(KeyKind);

impl From<UnsupportedKey> for CertificateError {
    fn from(key: UnsupportedKey) -> Self {
        Self::Other(OtherError(Arc::new(key)))
    }
}

/// Accepts any certificate that can be read and has a key we can check, from a peer that proves to hold its key.
#[derive(Debug)]
pub(crate) struct PossessionVerifier {
    algorithms: WebPkiSupportedAlgorithms,
}

impl PossessionVerifier {
    pub(crate) const fn new(algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { algorithms }
    }

    fn candidates(
        &self,
        scheme: SignatureScheme,
    ) -> Result<&'static [&'static dyn SignatureVerificationAlgorithm], Error> {
        self.algorithms
            .mapping
            .iter()
            .find(|(offered, _)| *offered == scheme)
            .map(|(_, algorithms)| *algorithms)
            .ok_or_else(|| PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
    }
}

impl ClientCertVerifier for PossessionVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// Empty, so that a client sends its certificate whoever issued it.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // Outside a handshake of ours there is nobody to tell.
        let _outside = PRESENTED.try_with(|presented| {
            *presented.borrow_mut() = Some(end_entity.as_ref().into());
        });
        let certificate = Certificate::parse(end_entity)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        match certificate.key().kind() {
            KeyKind::P256 | KeyKind::P384 | KeyKind::P521 | KeyKind::Ed25519 => {}
            KeyKind::Rsa { bits } if (2048..=8192).contains(&bits) => {}
            kind @ (KeyKind::Rsa { .. } | KeyKind::Other) => {
                return Err(CertificateError::from(UnsupportedKey(kind)).into());
            }
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify(self.candidates(dss.scheme)?, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if !is_tls13(dss.scheme) {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        // RFC 8446 §4.2.3: in TLS 1.3 a scheme names its curve, which is the first candidate's.
        let candidates = self.candidates(dss.scheme)?;
        verify(candidates.get(..1).unwrap_or_default(), message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn verify(
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let info = x509::public_key_info(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    match x509::verify_possession(info, algorithms, message, signed.signature()) {
        Ok(()) => Ok(HandshakeSignatureValid::assertion()),
        Err(VerifyError::BadSignature) => {
            Err(Error::InvalidCertificate(CertificateError::BadSignature))
        }
        // The peer signed with a scheme that does not fit its own key.
        Err(
            VerifyError::UnsuitableKey
            | VerifyError::UnsupportedAlgorithm
            | VerifyError::OtherIssuer,
        ) => Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into()),
    }
}

/// RFC 8446 §4.2.3: RSASSA-PKCS1-v1_5 does not sign a TLS 1.3 handshake.
fn is_tls13(scheme: SignatureScheme) -> bool {
    !matches!(
        scheme,
        SignatureScheme::RSA_PKCS1_SHA1
            | SignatureScheme::RSA_PKCS1_SHA256
            | SignatureScheme::RSA_PKCS1_SHA384
            | SignatureScheme::RSA_PKCS1_SHA512
            | SignatureScheme::ECDSA_SHA1_Legacy
    )
}
