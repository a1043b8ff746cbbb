//! Why a shadow request was refused, in the service's own words.

use model::{DeviceId, Refusal, RefusalKind, ShadowName};

use crate::Version;

/// Why what a peer sent is not a shadow request. Each text is the AWS service's, letter for
/// letter, because clients compare them. Source: AWS IoT Core Developer Guide, "Device Shadow
/// error messages".
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidRequest {
    /// Not one JSON object.
    #[error("Invalid JSON")]
    Json,
    /// Send text in UTF-8.
    #[error("Unsupported documented encoding; supported encoding is UTF-8")]
    Encoding,
    /// An update without `state`.
    #[error("Missing required node: state")]
    StateMissing,
    /// `state` is neither an object nor `null`.
    #[error("State node must be an object")]
    StateNotObject,
    /// `state.desired` is neither an object nor `null`.
    #[error("Desired node must be an object")]
    DesiredNotObject,
    /// `state.reported` is neither an object nor `null`.
    #[error("Reported node must be an object")]
    ReportedNotObject,
    /// A key of `state` other than `desired` and `reported`, or a `null` within an array.
    #[error("State contains an invalid node")]
    InvalidNode,
    /// `version` is not a whole number from 0.
    #[error("Invalid version")]
    Version,
    /// `clientToken` is not text of at most 64 bytes.
    #[error("Invalid clientToken")]
    ClientToken,
    /// Nest less deeply.
    #[error("JSON contains too many levels of nesting; maximum is {limit}")]
    TooDeep {
        /// Levels that a section may have.
        limit: usize,
    },
    /// The request itself is longer than any shadow could need.
    #[error("The payload exceeds the maximum size allowed")]
    TooLarge,
}

/// Why a write was refused. The document is unchanged; each variant asks the writer for something
/// different. The texts are the AWS service's.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UpdateError {
    /// Read the shadow again, merge, and retry.
    #[error("Version conflict")]
    VersionConflict {
        /// The version the shadow is at.
        current: Version,
        /// The version the write expected.
        expected: Version,
    },
    /// Send less, or split the state over several named shadows.
    #[error("The payload exceeds the maximum size allowed")]
    TooLarge {
        /// What `desired` and `reported` would have together, as JSON text.
        bytes: usize,
        /// The most they may have.
        limit: usize,
    },
}

impl From<InvalidRequest> for Refusal {
    fn from(error: InvalidRequest) -> Self {
        let (kind, reason) = match error {
            InvalidRequest::Json => (RefusalKind::Malformed, "shadow.invalid-json"),
            InvalidRequest::Encoding => (RefusalKind::Malformed, ENCODING),
            InvalidRequest::StateMissing => (RefusalKind::Malformed, "shadow.state-missing"),
            InvalidRequest::StateNotObject
            | InvalidRequest::DesiredNotObject
            | InvalidRequest::ReportedNotObject => (RefusalKind::Malformed, "shadow.not-an-object"),
            InvalidRequest::InvalidNode => (RefusalKind::Malformed, "shadow.invalid-node"),
            InvalidRequest::Version => (RefusalKind::Malformed, "shadow.invalid-version"),
            InvalidRequest::ClientToken => (RefusalKind::Malformed, "shadow.invalid-client-token"),
            InvalidRequest::TooDeep { .. } => (RefusalKind::Malformed, "shadow.too-deep"),
            InvalidRequest::TooLarge => (RefusalKind::TooLarge, "shadow.too-large"),
        };
        Self::new(kind, reason, error.to_string())
    }
}

impl From<UpdateError> for Refusal {
    fn from(error: UpdateError) -> Self {
        let (kind, reason) = match error {
            UpdateError::VersionConflict { .. } => {
                (RefusalKind::Conflict, "shadow.version-conflict")
            }
            UpdateError::TooLarge { .. } => (RefusalKind::TooLarge, "shadow.too-large"),
        };
        Self::new(kind, reason, error.to_string())
    }
}

/// The refusal of a read or a deletion of a shadow that does not exist.
///
/// The service names a classic shadow after its device and a named one `device~name`.
#[must_use]
pub fn no_such_shadow(device: &DeviceId, name: Option<&ShadowName>) -> Refusal {
    let shown = match name {
        Some(name) => format!("{device}~{name}"),
        None => device.to_string(),
    };
    Refusal::not_found(
        "shadow.not-found",
        format!("No shadow exists with name: '{shown}'"),
    )
}

/// The reason id of [`InvalidRequest::Encoding`], which has an error code of its own.
const ENCODING: &str = "shadow.encoding";

/// The service's error code for a refusal, an HTTP status: the `code` of a rejected message.
pub(crate) fn code(refusal: &Refusal) -> u16 {
    match refusal.kind {
        RefusalKind::Malformed if refusal.reason.0 == ENCODING => 415,
        RefusalKind::Malformed => 400,
        RefusalKind::Unauthenticated => 401,
        RefusalKind::Denied => 403,
        RefusalKind::NotFound => 404,
        RefusalKind::AlreadyExists | RefusalKind::Conflict => 409,
        RefusalKind::TooLarge => 413,
        RefusalKind::TooMany => 429,
        RefusalKind::Unsupported => 501,
        RefusalKind::Expired => 400,
        RefusalKind::Unavailable => 503,
        RefusalKind::Internal => 500,
    }
}
