//! Why something was not done, for the one who asked.

use std::{borrow::Cow, fmt};

use crate::Decision;

/// What sort of refusal it is. Each protocol and dialect owns one `match` on this;
/// `golden/refusals.md` is printed from those matches.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum RefusalKind {
    /// The request breaks its own format.
    Malformed,
    /// The asker did not prove who it is.
    Unauthenticated,
    /// The asker is known and may not do this.
    Denied,
    /// What the request names does not exist.
    NotFound,
    /// What the request would create exists.
    AlreadyExists,
    /// The request contradicts the present state, a version included.
    Conflict,
    /// A size is over its limit.
    TooLarge,
    /// A rate or a count is over its limit.
    TooMany,
    /// The hub does not do this.
    Unsupported,
    /// The credential, the message or the deadline has passed its time.
    Expired,
    /// Not now; try again.
    Unavailable,
    /// A fault of the hub itself.
    Internal,
}

impl RefusalKind {
    /// All kinds, in the order of `golden/refusals.md`.
    pub const ALL: [Self; 12] = [
        Self::Malformed,
        Self::Unauthenticated,
        Self::Denied,
        Self::NotFound,
        Self::AlreadyExists,
        Self::Conflict,
        Self::TooLarge,
        Self::TooMany,
        Self::Unsupported,
        Self::Expired,
        Self::Unavailable,
        Self::Internal,
    ];
}

/// A stable, greppable name of one reason, such as `policy.no-statement`.
///
/// Lower-case words joined by `-`, with the family before the dot. Documented in
/// `golden/refusals.md`; never reused for another meaning.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ReasonId(pub &'static str);

impl fmt::Display for ReasonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Why something was not done.
///
/// `message` is for the one who asked: it says what was wrong and what to do, and holds nothing
/// the asker may not know. What only the operator may know goes to the timeline and the log.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The sort, on which protocols branch.
    pub kind: RefusalKind,
    /// The stable name of the reason.
    pub reason: ReasonId,
    /// For people: what was wrong and what to do. One sentence, no trailing full stop.
    pub message: Cow<'static, str>,
    /// The whole decision, when one was made (authorization).
    pub decision: Option<Box<Decision>>,
}

impl Refusal {
    /// A refusal without a decision behind it.
    #[must_use]
    pub fn new(
        kind: RefusalKind,
        reason: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            kind,
            reason: ReasonId(reason),
            message: message.into(),
            decision: None,
        }
    }

    /// The request breaks its own format.
    #[must_use]
    pub fn malformed(reason: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(RefusalKind::Malformed, reason, message)
    }

    /// What the request names does not exist.
    #[must_use]
    pub fn not_found(reason: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(RefusalKind::NotFound, reason, message)
    }

    /// The request contradicts the present state.
    #[must_use]
    pub fn conflict(reason: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(RefusalKind::Conflict, reason, message)
    }

    /// A fault of the hub itself. `message` must hold nothing an outsider may not know; log the
    /// cause where it is met.
    #[must_use]
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(RefusalKind::Internal, "hub.internal", message)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.reason)
    }
}

impl std::error::Error for Refusal {}
