//! Why a signature was not taken, in words that help its honest maker and no one else.

use model::{Refusal, RefusalKind, Timestamp};

use super::write_stamp;

/// Why a request's signature was not taken. The expected signature is in none of them.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SignatureError {
    /// Sign the request.
    #[error("the request is not signed; sign it with AWS Signature Version 4 (AWS4-HMAC-SHA256)")]
    Missing,
    /// Send the part that is absent or unreadable.
    #[error("the signature needs {what}")]
    Incomplete {
        /// The part.
        what: &'static str,
    },
    /// Use the access key that `sekisho env` prints.
    #[error("this hub does not know the access key; `sekisho env` prints the key it takes")]
    UnknownKey,
    /// Use a long-lived access key.
    #[error("this hub issued no such session token; sign with a long-lived access key")]
    UnknownToken,
    /// Sign for one of the IoT services.
    #[error("the signature is for the service {name}, which this hub does not answer")]
    Service {
        /// The service in the credential scope.
        name: String,
    },
    /// Set the clock.
    #[error(
        "the signature expired or is not valid yet: it was made at {}, here it is {}; set the client's clock",
        write_stamp(*.signed_at),
        write_stamp(*.now)
    )]
    ClockSkew {
        /// When it was made.
        signed_at: Timestamp,
        /// The hub's time.
        now: Timestamp,
    },
    /// Sign a new URL.
    #[error(
        "the presigned URL expired at {}, here it is {}; sign a new one for each connection",
        write_stamp(*.expired_at),
        write_stamp(*.now)
    )]
    Expired {
        /// Until when it counted.
        expired_at: Timestamp,
        /// The hub's time.
        now: Timestamp,
    },
    /// Sign for the hub's region.
    #[error("the signature is for the region {signed}; this hub is in {own}")]
    Region {
        /// The region in the credential scope.
        signed: String,
        /// The hub's.
        own: String,
    },
    /// Sign the header.
    #[error("the header {name} is not among the signed headers")]
    HeaderNotSigned {
        /// Which one.
        name: String,
    },
    /// The body is not the one that was signed.
    #[error("the x-amz-content-sha256 header is not the SHA-256 of the body")]
    Payload,
    /// Compare the canonical request with the client's own.
    #[error(
        "the signature does not match the request; check the secret access key and what stands between client and hub. The hub read the canonical request\n'{canonical}'\nand the string to sign\n'{to_sign}'"
    )]
    Mismatch {
        /// The canonical request as the hub read it.
        canonical: String,
        /// The string to sign made of it.
        to_sign: String,
    },
}

impl SignatureError {
    /// AWS's name for it, and the reason's stable name.
    #[must_use]
    pub const fn names(&self) -> (&'static str, &'static str) {
        match self {
            Self::Missing => ("MissingAuthenticationTokenException", "signature.missing"),
            Self::Incomplete { .. } => ("IncompleteSignatureException", "signature.incomplete"),
            Self::UnknownKey => ("UnrecognizedClientException", "signature.unknown-key"),
            Self::UnknownToken => ("UnrecognizedClientException", "signature.unknown-token"),
            Self::Service { .. } => ("InvalidSignatureException", "signature.wrong-service"),
            Self::ClockSkew { .. } => ("InvalidSignatureException", "signature.clock-skew"),
            Self::Expired { .. } => ("InvalidSignatureException", "signature.expired"),
            Self::Region { .. } => ("InvalidSignatureException", "signature.wrong-region"),
            Self::HeaderNotSigned { .. } => {
                ("InvalidSignatureException", "signature.header-not-signed")
            }
            Self::Payload => ("InvalidSignatureException", "signature.payload"),
            Self::Mismatch { .. } => ("InvalidSignatureException", "signature.mismatch"),
        }
    }

    /// In few words, for the record: without what the client sent.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::Mismatch { .. } => "the signature does not match the request; check the secret \
                                      access key and what stands between client and hub"
                .into(),
            Self::Missing
            | Self::Incomplete { .. }
            | Self::UnknownKey
            | Self::UnknownToken
            | Self::ClockSkew { .. }
            | Self::Expired { .. }
            | Self::HeaderNotSigned { .. }
            | Self::Payload => self.to_string(),
            // What a stranger sent may be long.
            Self::Service { .. } => {
                "the signature is for a service this hub does not answer".into()
            }
            Self::Region { own, .. } => {
                format!("the signature is for another region; this hub is in {own}")
            }
        }
    }

    /// The refusal behind it.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        Refusal::new(
            RefusalKind::Unauthenticated,
            self.names().1,
            self.to_string(),
        )
    }
}
