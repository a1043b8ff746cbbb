//! What the wire proved about a peer.

use std::{fmt, net::SocketAddr, time::Duration};

use model::CertificateId;

/// What the wire proved about a peer. Nothing here says that it is trusted.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where it connects from.
    pub address: SocketAddr,
    /// The port it connected to.
    pub local_port: u16,
    /// The protocol that was agreed on in the TLS handshake, if any was.
    pub alpn: Option<Alpn>,
    /// The host name it asked for, in lower case; never an IP address, which clients that follow
    /// RFC 6066 §3 do not send and the others send in vain.
    pub sni: Option<Box<str>>,
    /// The certificates it presented, DER, leaf first; empty when it presented none. It has
    /// proved that it holds the leaf's key, and nothing more. Drop them once it is known: they
    /// are most of what an idle connection would hold.
    pub chain: Vec<Box<[u8]>>,
    /// The version of TLS; `None` on a plain connection.
    pub tls_version: Option<TlsVersion>,
    /// The cipher suite, as the registry of TLS spells it.
    pub cipher: Option<&'static str>,
    /// The key exchange, such as `X25519MLKEM768`.
    pub key_exchange: Option<&'static str>,
    /// From accepting the connection to the end of the handshake, whole milliseconds.
    pub handshake: Duration,
}

impl Peer {
    /// The identity of the leaf certificate, if one was presented.
    #[must_use]
    pub fn certificate_id(&self) -> Option<CertificateId> {
        self.chain.first().map(|leaf| x509::fingerprint(leaf))
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls_version.is_some()
    }
}

/// The application protocols that the hub agrees to (RFC 7301), and what they promise.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Alpn {
    /// `x-amzn-mqtt-ca`: MQTT, authenticated by client certificate.
    AmznMqttCa,
    /// `mqtt`: MQTT, authenticated by what CONNECT holds.
    Mqtt,
    /// `x-amzn-http-ca`: HTTP, authenticated by client certificate.
    AmznHttpCa,
    /// `http/1.1`.
    Http11,
}

impl Alpn {
    /// All of them, the preferred first.
    pub const ALL: [Self; 4] = [Self::AmznMqttCa, Self::Mqtt, Self::AmznHttpCa, Self::Http11];

    /// As it is spelled on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AmznMqttCa => "x-amzn-mqtt-ca",
            Self::Mqtt => "mqtt",
            Self::AmznHttpCa => "x-amzn-http-ca",
            Self::Http11 => "http/1.1",
        }
    }

    pub(crate) fn from_wire(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|alpn| alpn.as_str().as_bytes() == name)
    }
}

impl fmt::Display for Alpn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls12 => "TLS 1.2",
            Self::Tls13 => "TLS 1.3",
        })
    }
}
