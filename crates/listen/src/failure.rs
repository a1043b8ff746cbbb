//! Connections that did not get as far as a service, and why.

use std::{fmt, io, net::SocketAddr};

use model::ReasonId;
use rustls::{AlertDescription, CertificateError, Error as TlsError};

use crate::{io::HandshakeTooLarge, verifier::UnsupportedKey};

/// The reasons, stable. Documented in `golden/refusals.md`.
pub mod reasons {
    use model::ReasonId;

    /// The hub has as many connections as it may.
    pub const TOO_MANY_CONNECTIONS: ReasonId = ReasonId("listen.too-many-connections");
    /// This address has as many connections as it may.
    pub const TOO_MANY_FROM_ADDRESS: ReasonId = ReasonId("listen.too-many-from-address");
    /// The handshake took too long.
    pub const HANDSHAKE_TIMEOUT: ReasonId = ReasonId("listen.handshake-timeout");
    /// The handshake was longer than is held for a stranger.
    pub const HANDSHAKE_TOO_LARGE: ReasonId = ReasonId("listen.handshake-too-large");
    /// What came is not TLS.
    pub const NOT_TLS: ReasonId = ReasonId("listen.not-tls");
    /// The peer closed during the handshake.
    pub const CLOSED_IN_HANDSHAKE: ReasonId = ReasonId("listen.closed-in-handshake");
    /// The connection broke.
    pub const CONNECTION_LOST: ReasonId = ReasonId("listen.connection-lost");
    /// The peer does not trust the hub's certificate: give it the root CA, and a host name that
    /// the certificate holds.
    pub const SERVER_NOT_TRUSTED: ReasonId = ReasonId("listen.server-not-trusted");
    /// The peer ended the handshake with another alert.
    pub const PEER_ALERT: ReasonId = ReasonId("listen.peer-alert");
    /// No version, cipher suite, curve or signature scheme in common.
    pub const NOTHING_IN_COMMON: ReasonId = ReasonId("listen.nothing-in-common");
    /// The client certificate cannot be read.
    pub const CERTIFICATE_MALFORMED: ReasonId = ReasonId("listen.certificate-malformed");
    /// The key of the client certificate is too short or of an unknown kind.
    pub const CERTIFICATE_KEY: ReasonId = ReasonId("listen.certificate-key-unsupported");
    /// The peer did not prove that it holds the key of its certificate.
    pub const NO_POSSESSION: ReasonId = ReasonId("listen.no-proof-of-possession");
    /// The handshake broke the rules of TLS.
    pub const PROTOCOL_ERROR: ReasonId = ReasonId("listen.tls-protocol-error");
    /// Nothing came after the handshake.
    pub const HELLO_TIMEOUT: ReasonId = ReasonId("listen.hello-timeout");
    /// The peer closed after the handshake without a word.
    pub const CLOSED_SILENTLY: ReasonId = ReasonId("listen.closed-without-a-byte");
    /// The first byte is that of no protocol we know.
    pub const UNKNOWN_PROTOCOL: ReasonId = ReasonId("listen.unknown-protocol");
    /// AMQP is not served yet.
    pub const AMQP_NOT_SERVED: ReasonId = ReasonId("listen.amqp-not-served");
    /// As many tasks run as may.
    pub const TOO_MANY_TASKS: ReasonId = ReasonId("listen.too-many-tasks");

    /// All of them.
    pub const ALL: [ReasonId; 19] = [
        TOO_MANY_CONNECTIONS,
        TOO_MANY_FROM_ADDRESS,
        HANDSHAKE_TIMEOUT,
        HANDSHAKE_TOO_LARGE,
        NOT_TLS,
        CLOSED_IN_HANDSHAKE,
        CONNECTION_LOST,
        SERVER_NOT_TRUSTED,
        PEER_ALERT,
        NOTHING_IN_COMMON,
        CERTIFICATE_MALFORMED,
        CERTIFICATE_KEY,
        NO_POSSESSION,
        PROTOCOL_ERROR,
        HELLO_TIMEOUT,
        CLOSED_SILENTLY,
        UNKNOWN_PROTOCOL,
        AMQP_NOT_SERVED,
        TOO_MANY_TASKS,
    ];
}

/// How far a connection came.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Stage {
    /// It was not let in.
    Accept,
    /// Until the whole ClientHello was read.
    ClientHello,
    /// From the ClientHello to the end of the handshake.
    Handshake,
    /// From the handshake to the first byte.
    FirstByte,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accept => "accept",
            Self::ClientHello => "client hello",
            Self::Handshake => "handshake",
            Self::FirstByte => "first byte",
        })
    }
}

/// A connection that did not get as far as a service.
#[derive(Clone, Debug)]
pub struct HandshakeFailure {
    /// Where it came from.
    pub address: SocketAddr,
    /// The port it connected to.
    pub local_port: u16,
    /// The host name it asked for, if it said so.
    pub sni: Option<Box<str>>,
    /// The application protocols it offered, at most 8 of at most 64 bytes.
    pub alpn: Vec<String>,
    /// The subject of the certificate it presented, if it came so far.
    pub subject: Option<String>,
    /// How far it came.
    pub stage: Stage,
    /// Why it failed; one of [`reasons::ALL`].
    pub reason: ReasonId,
    /// Details for the operator: the TLS error, the alert.
    pub detail: String,
    /// Failures before this one that were not reported, because there were too many per second.
    pub suppressed: u64,
}

/// Is told about failed handshakes; at most
/// [`HANDSHAKE_FAILURES_PER_SECOND`](model::limits::HANDSHAKE_FAILURES_PER_SECOND).
pub trait HandshakeObserver: Send + Sync {
    /// A connection did not get as far as a service. Must not block.
    fn failed(&self, failure: HandshakeFailure);
}

/// Why a step failed.
#[derive(Debug)]
pub(crate) struct Cause {
    pub(crate) reason: ReasonId,
    pub(crate) detail: String,
}

impl Cause {
    pub(crate) fn new(reason: ReasonId, detail: impl fmt::Display) -> Self {
        Self {
            reason,
            detail: detail.to_string(),
        }
    }

    /// Finds the reason in what reading, writing or TLS said.
    pub(crate) fn of(error: &io::Error, stage: Stage) -> Self {
        let inner = error.get_ref();
        if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<TlsError>()) {
            return Self::new(reason_of_tls(tls, stage), tls);
        }
        let too_large = inner.and_then(|inner| inner.downcast_ref::<HandshakeTooLarge>());
        let reason = if too_large.is_some() {
            reasons::HANDSHAKE_TOO_LARGE
        } else if error.kind() == io::ErrorKind::UnexpectedEof {
            reasons::CLOSED_IN_HANDSHAKE
        } else {
            reasons::CONNECTION_LOST
        };
        Self::new(reason, error)
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "foreign enums that grow; the rest is a breach of the protocol"
)]
fn reason_of_tls(error: &TlsError, stage: Stage) -> ReasonId {
    match error {
        TlsError::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            // A root of the same name and another key: our signature does not fit it.
            | AlertDescription::DecryptError,
        ) => reasons::SERVER_NOT_TRUSTED,
        TlsError::AlertReceived(_) => reasons::PEER_ALERT,
        TlsError::InvalidCertificate(CertificateError::BadEncoding) => {
            reasons::CERTIFICATE_MALFORMED
        }
        TlsError::InvalidCertificate(CertificateError::Other(other))
            if other.0.is::<UnsupportedKey>() =>
        {
            reasons::CERTIFICATE_KEY
        }
        TlsError::InvalidCertificate(_) => reasons::NO_POSSESSION,
        TlsError::PeerIncompatible(_) => reasons::NOTHING_IN_COMMON,
        TlsError::InvalidMessage(_) if stage == Stage::ClientHello => reasons::NOT_TLS,
        _ => reasons::PROTOCOL_ERROR,
    }
}
