//! Certificates.

use serde::{Deserialize, Serialize};

/// Whether a certificate is trusted.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateStatus {
    /// It is.
    Active,
    /// Not now.
    Inactive,
    /// Never again.
    Revoked,
    /// Neither: it is being transferred or waits for its activation.
    #[serde(untagged)]
    Other(String),
}

/// A certificate of the registry.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Certificate {
    /// SHA-256 of its DER encoding, 64 hexadecimal digits.
    pub id: String,
    /// Whether it is trusted.
    pub status: CertificateStatus,
    /// The devices it is attached to.
    pub devices: Vec<String>,
    /// The policies attached to it.
    pub policies: Vec<String>,
    /// From when it is valid.
    pub not_before: u64,
    /// Until when it is valid.
    pub not_after: u64,
    /// When it was registered.
    pub created_at: u64,
}
