//! Proof of possession: the peer holds the key of the certificate it presents. Nothing else is
//! checked here.
//!
//! rustls's own check reads the certificate with a parser that refuses X.509 v1 and leaves with
//! the CA flag (rustls/webpki#29, #205), both of which old fleets have. So the key is taken from
//! the certificate here and the signature checked with the key alone.

use std::cell::RefCell;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use x509::{Certificate, VerifyError};

tokio::task_local! {
    /// The leaf of the handshake under way, so that a failure can name it: rustls forgets what a
    /// failed handshake presented.
    pub(crate) static PRESENTED: RefCell<Option<Box<[u8]>>>;
}

/// Accepts any certificate that can be read, from a peer that proves to hold its key.
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
        match Certificate::parse(end_entity) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(_) => Err(Error::InvalidCertificate(CertificateError::BadEncoding)),
        }
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
        Err(
            VerifyError::UnsuitableKey
            | VerifyError::UnsupportedAlgorithm
            | VerifyError::OtherIssuer,
        ) => Err(Error::PeerIncompatible(
            rustls::PeerIncompatible::NoSignatureSchemesInCommon,
        )),
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
