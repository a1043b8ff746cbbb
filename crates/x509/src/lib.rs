//! Reading the certificates and requests that peers present; no trust decisions.
//!
//! A fleet brings what its factory made years ago: X.509 v1, leaves that carry the CA flag,
//! expired ones. [`Certificate::parse`] reads them all; whether one may do anything is the
//! registry's business. Signatures are checked by [`Certificate::verify_signed_by`] (a
//! certificate and its issuer), [`Request::from_der`] (a request proves it owns its key) and
//! [`verify_possession`] (a TLS peer holds the key of its
//! certificate). Certificates are made by `ca`.

mod certificate;
mod der;
mod key;
mod name;
mod pem;
mod request;
mod signature;

pub use certificate::{AlternativeNames, Certificate, ParseError, fingerprint, public_key_info};
pub use key::{KeyKind, PublicKey};
pub use name::{Attribute, DistinguishedName};
pub use pem::{
    PemError, certificate_from_pem, certificate_to_pem, certificates_from_pem, public_key_to_pem,
};
pub use request::{Request, RequestError};
pub use signature::{VerifyError, verify_possession};
