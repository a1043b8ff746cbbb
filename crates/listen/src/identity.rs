//! The certificate that the hub serves under, replaceable while it serves.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

/// Why a certificate and key cannot be served with.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The certificate chain is not PEM, or empty.
    #[error("the server certificate cannot be read: {0}")]
    Chain(String),
    /// The key is not PEM (PKCS#8, PKCS#1 or SEC1).
    #[error("the server's private key cannot be read: {0}")]
    Key(String),
    /// The two do not belong together, or the key is of a kind that TLS does not know.
    #[error("the server certificate and its key cannot be used: {0}")]
    Unusable(#[source] rustls::Error),
}

/// The certificate and key of the hub's TLS listeners.
pub struct ServerIdentity(ArcSwap<CertifiedKey>);

impl ServerIdentity {
    /// Reads a certificate chain, leaf first, and its key, both PEM.
    ///
    /// # Errors
    ///
    /// See [`IdentityError`].
    pub fn from_pem(chain_pem: &str, key_pem: &str) -> Result<Arc<Self>, IdentityError> {
        let key = read(chain_pem, key_pem)?;
        Ok(Arc::new(Self(ArcSwap::from_pointee(key))))
    }

    /// Replaces both at once; handshakes from now on see the new ones, connections go on.
    ///
    /// # Errors
    ///
    /// See [`IdentityError`]; the old ones stay in use.
    pub fn reload(&self, chain_pem: &str, key_pem: &str) -> Result<(), IdentityError> {
        self.0.store(Arc::new(read(chain_pem, key_pem)?));
        Ok(())
    }
}

fn read(chain_pem: &str, key_pem: &str) -> Result<CertifiedKey, IdentityError> {
    let chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| IdentityError::Chain(error.to_string()))?;
    if chain.is_empty() {
        return Err(IdentityError::Chain("it holds no certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
        .map_err(|error| IdentityError::Key(error.to_string()))?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
        .map_err(IdentityError::Unusable)
}

impl ResolvesServerCert for ServerIdentity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerIdentity")
    }
}
