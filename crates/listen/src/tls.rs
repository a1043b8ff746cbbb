//! The TLS handshake. The only place that knows rustls's server configuration.

use std::{cell::RefCell, net::SocketAddr, sync::Arc, time::Duration};

use model::limits;
use rustls::{
    ProtocolVersion, ServerConfig,
    crypto::aws_lc_rs,
    server::{Acceptor, ClientHello, NoServerSessionStorage},
    version::{TLS12, TLS13},
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use crate::{
    Alpn, Peer, ServerIdentity, Stage, TlsVersion,
    failure::Cause,
    io::Socket,
    verifier::{PRESENTED, PossessionVerifier},
};

/// How the hub does TLS: 1.2 and 1.3, the hybrid post-quantum key exchange preferred, a client
/// certificate requested and never required, no resumption, no early data.
///
/// Resumption is off because with client certificates it saves little and sends the client's
/// chain back and forth in every ticket.
#[derive(Clone)]
pub struct Tls {
    /// For clients that offer a protocol we know.
    agreeing: Arc<ServerConfig>,
    /// For clients that offer none, or none that we know: refusing them would tell them nothing,
    /// so the first byte decides.
    sniffing: Arc<ServerConfig>,
}

/// What a ClientHello says, kept for the record of a failure.
#[derive(Default)]
pub(crate) struct Hello {
    /// Whether there was one yet.
    pub(crate) complete: bool,
    pub(crate) sni: Option<Box<str>>,
    pub(crate) alpn: Vec<String>,
    pub(crate) presented: Option<Box<[u8]>>,
}

impl Tls {
    /// Serves under this identity.
    #[must_use]
    pub fn new(identity: Arc<ServerIdentity>) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("the provider has cipher suites for both versions")
            .with_client_cert_verifier(Arc::new(PossessionVerifier::new(algorithms)))
            .with_cert_resolver(identity);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        let sniffing = Arc::new(config.clone());
        config.alpn_protocols = Alpn::ALL.map(|alpn| alpn.as_str().into()).into();
        Self {
            agreeing: Arc::new(config),
            sniffing,
        }
    }

    fn config_for(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let known = hello
            .alpn()
            .is_some_and(|mut offered| offered.any(|name| Alpn::from_wire(name).is_some()));
        Arc::clone(if known {
            &self.agreeing
        } else {
            &self.sniffing
        })
    }

    /// Shakes hands. `hello` is filled as the handshake goes on, so that whoever cuts it off
    /// knows how far it came; the deadline is the caller's.
    pub(crate) async fn accept(
        &self,
        socket: Socket,
        hello: &mut Hello,
    ) -> Result<TlsStream<Socket>, (Stage, Cause)> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), socket)
            .await
            .map_err(|error| (Stage::ClientHello, Cause::of(&error, Stage::ClientHello)))?;
        let config = {
            let client = start.client_hello();
            *hello = Hello::read(&client);
            self.config_for(&client)
        };
        let shake = start.into_stream_with(config, |connection| {
            connection.set_buffer_limit(Some(limits::TLS_SEND_BYTES));
        });
        let (outcome, presented) = PRESENTED
            .scope(RefCell::new(None), async move {
                let outcome = shake.await;
                (outcome, PRESENTED.with(RefCell::take))
            })
            .await;
        match outcome {
            Ok(mut stream) => {
                stream.get_mut().0.lift_limit();
                Ok(stream)
            }
            Err(error) => {
                hello.presented = presented;
                Err((Stage::Handshake, Cause::of(&error, Stage::Handshake)))
            }
        }
    }
}

impl Hello {
    fn read(client: &ClientHello<'_>) -> Self {
        let alpn = client.alpn().into_iter().flatten().take(8);
        Self {
            complete: true,
            sni: client.server_name().map(Into::into),
            alpn: alpn
                .map(|name| {
                    let shown = &name[..name.len().min(64)];
                    String::from_utf8_lossy(shown).into_owned()
                })
                .collect(),
            presented: None,
        }
    }

    /// The subject of the presented certificate, if there was one and it can be read.
    pub(crate) fn subject(&self) -> Option<String> {
        let presented = self.presented.as_deref()?;
        let certificate = x509::Certificate::parse(presented).ok()?;
        Some(certificate.subject().to_string())
    }
}

/// What the finished handshake proved.
pub(crate) fn peer_of(
    stream: &TlsStream<Socket>,
    address: SocketAddr,
    local_port: u16,
    handshake: Duration,
) -> Peer {
    let connection = stream.get_ref().1;
    let tls_version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
        // Only two versions are enabled.
        _ => TlsVersion::Tls13,
    };
    Peer {
        address,
        local_port,
        alpn: connection.alpn_protocol().and_then(Alpn::from_wire),
        sni: connection.server_name().map(Into::into),
        chain: connection
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|certificate| certificate.as_ref().into())
            .collect(),
        tls_version: Some(tls_version),
        cipher: connection
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str()),
        key_exchange: connection
            .negotiated_key_exchange_group()
            .and_then(|group| group.name().as_str()),
        handshake,
    }
}
