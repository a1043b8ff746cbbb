//! The services behind the listeners, and what the listeners report to.

use std::sync::Arc;

use bytes::Bytes;
use dialect_aws::rest::{Admitted, Opener};
use http::{Response, request::Parts};
use hub::{
    Hub,
    timeline::{Kind, Subject},
};
use listen::{HandshakeFailure, HandshakeObserver, Io, Peer, Service, ServiceFuture, Shutdown};
use witness::{LatestCheckpoint, Standing};

/// HTTP on one connection.
pub(crate) struct Http {
    pub(crate) site: Arc<https::Site>,
    /// Speaks on connections that become WebSockets.
    pub(crate) mqtt: mqtt::Mqtt,
}

/// AWS's API, mounted on the site.
pub(crate) struct Aws(pub(crate) dialect_aws::rest::Api);

impl https::Cloud for Aws {
    fn claims(&self, head: &Parts, _: &https::Peer) -> bool {
        dialect_aws::rest::Api::claims(head)
    }

    fn admit(&self, head: &mut Parts, peer: &https::Peer) -> Result<(), Box<Response<Bytes>>> {
        let admitted = self.0.admit(head, &sender(peer))?;
        head.extensions.insert(admitted);
        Ok(())
    }

    fn too_large(&self, head: &Parts, _: usize) -> Response<Bytes> {
        match head.extensions.get::<Admitted>() {
            Some(admitted) => self.0.too_large(admitted),
            None => not_admitted(),
        }
    }

    fn answer<'a>(
        &'a self,
        mut head: Parts,
        body: Bytes,
        peer: &'a https::Peer,
    ) -> https::Answer<'a> {
        Box::pin(async move {
            match head.extensions.remove::<Admitted>() {
                Some(admitted) => self.0.answer(admitted, &head, body, &sender(peer)).await,
                None => not_admitted(),
            }
        })
    }
}

impl https::Door for Aws {
    fn admit(&self, head: &mut Parts, peer: &https::Peer) -> Result<(), Box<Response<Bytes>>> {
        let opener = self.0.admit_websocket(head, &sender(peer))?;
        head.extensions.insert(opener);
        Ok(())
    }
}

fn sender(peer: &https::Peer) -> dialect_aws::rest::Sender {
    dialect_aws::rest::Sender {
        address: peer.address,
        server_name: peer.server_name.clone(),
        certificate: peer.certificate.clone(),
    }
}

/// The site admits before it asks for an answer; were it ever not so, nothing is carried out.
fn not_admitted() -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(b"the request was not admitted"));
    *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
    response
}

/// The ledger, as it is shown to those who cosign it.
pub(crate) struct Cosigned(pub(crate) Hub);

impl witness::Log for Cosigned {
    type Error = hub::LedgerError;

    fn latest(&self) -> Option<LatestCheckpoint> {
        let signed = self.0.checkpoint_to_cosign()?;
        Some(LatestCheckpoint {
            checkpoint: signed.checkpoint.clone(),
            note: signed.note.clone(),
        })
    }

    async fn changed(&self, than: Option<u64>) {
        self.0.to_cosign_beyond(than).await;
    }

    fn consistency(&self, old: u64, new: u64) -> Result<Vec<tlog::Hash>, Self::Error> {
        self.0.ledger_consistency(old, new)
    }

    fn subtree(&self, start: u64, end: u64, size: u64) -> Result<Vec<tlog::Hash>, Self::Error> {
        self.0.ledger_subtree(start, end, size)
    }

    fn entries(&self, from: u64, to: u64) -> Result<Vec<Vec<u8>>, Self::Error> {
        self.0.ledger_bytes(from, to)
    }

    fn cosigned(&self, checkpoint: &tlog::Checkpoint, signatures: Vec<tlog::NoteSignature>) {
        if let Err(error) = self.0.add_cosignatures(checkpoint, signatures) {
            tracing::debug!(size = checkpoint.size, %error, "a cosignature came late");
        }
    }

    fn standing(&self, witness: &str, standing: &Standing) {
        let alarm = match standing {
            Standing::Cosigns => None,
            Standing::Unreachable(why) => Some(format!("it cannot be reached: {why}")),
            Standing::Refuses(why) => Some(format!("it refuses to cosign: {why}")),
            Standing::OtherHistory(why) => Some(format!("IT HAS SEEN ANOTHER HISTORY: {why}")),
        };
        self.0.alarm_of_witness(witness, alarm);
    }
}

/// Writes failed handshakes into the timeline.
pub(crate) struct Recorder(pub(crate) Hub);

impl Service for Http {
    fn serve(&self, io: Io, peer: Peer, mut shutdown: Shutdown) -> ServiceFuture {
        let site = Arc::clone(&self.site);
        let mqtt = self.mqtt.clone();
        let sender = https::Peer {
            address: peer.address,
            certificate: peer.chain.first().map(|leaf| Arc::from(&**leaf)),
            server_name: peer.sni.as_deref().map(Arc::from),
        };
        Box::pin(async move {
            let stopping = shutdown.clone();
            // Boxed apart: what HTTP holds is given back before MQTT speaks.
            let upgraded = Box::pin(https::serve(io, sender, site, async move {
                shutdown.requested().await;
            }));
            let Some(mut upgraded) = upgraded.await else {
                return;
            };
            let voucher = match upgraded.learned.remove::<Opener>() {
                Some(Opener::AccessKey(id)) => Some(mqtt::Voucher::AccessKey(id)),
                // The certificate and CONNECT tell who it is.
                Some(Opener::Certificate) | None => None,
            };
            let io = Io::new(upgraded.into_stream(stopping.clone()));
            let served = mqtt.serve_vouched(io, peer, voucher, stopping);
            drop(mqtt);
            served.await;
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
        add(
            "certificate of",
            failure.subject.as_deref().unwrap_or_default(),
        );
        if failure.suppressed > 0 {
            add("before it, not recorded:", &failure.suppressed.to_string());
        }
        let subject = Subject {
            client_id: None,
            principal: failure.subject,
            address: Some(failure.address),
        };
        self.0.record(
            Kind::HandshakeFailed,
            subject,
            failure.reason,
            message,
            None,
        );
    }
}
