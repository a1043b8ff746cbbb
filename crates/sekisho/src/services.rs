//! The services behind the listeners, and what the listeners report to.

use std::sync::Arc;

use hub::{
    Hub,
    timeline::{Kind, Subject},
};
use listen::{HandshakeFailure, HandshakeObserver, Io, Peer, Service, ServiceFuture, Shutdown};

/// MQTT on one connection.
pub(crate) struct Mqtt(pub(crate) Arc<mqtt::Server>);

/// HTTP on one connection.
pub(crate) struct Http(pub(crate) Arc<https::Site>);

/// Writes failed handshakes into the timeline.
pub(crate) struct Recorder(pub(crate) Hub);

impl Service for Mqtt {
    fn serve(&self, io: Io, peer: Peer, shutdown: Shutdown) -> ServiceFuture {
        Box::pin(mqtt::serve(io, peer, Arc::clone(&self.0), shutdown))
    }
}

impl Service for Http {
    fn serve(&self, io: Io, peer: Peer, mut shutdown: Shutdown) -> ServiceFuture {
        let site = Arc::clone(&self.0);
        let peer = https::Peer {
            address: peer.address,
            certificate: peer.chain.first().map(|leaf| Arc::from(&**leaf)),
            server_name: peer.sni.as_deref().map(Arc::from),
        };
        Box::pin(async move {
            https::serve(io, peer, site, async move { shutdown.requested().await }).await;
        })
    }
}

impl HandshakeObserver for Recorder {
    fn failed(&self, failure: HandshakeFailure) {
        let mut message = format!("{} at {}", failure.detail, failure.stage);
        let mut add = |name: &str, value: &str| {
            if !value.is_empty() {
                message.push_str(&format!("; {name} {value}"));
            }
        };
        add("server name", failure.sni.as_deref().unwrap_or_default());
        add("protocols", &failure.alpn.join(" "));
        add("certificate of", failure.subject.as_deref().unwrap_or_default());
        if failure.suppressed > 0 {
            add("before it, not recorded:", &failure.suppressed.to_string());
        }
        let subject = Subject {
            client_id: None,
            principal: failure.subject,
            address: Some(failure.address),
        };
        self.0
            .record(Kind::HandshakeFailed, subject, failure.reason, message, None);
    }
}
