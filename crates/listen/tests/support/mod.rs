//! A hub's front door with services that hand every connection to the test.

#![allow(
    dead_code,
    reason = "each test file is a crate of its own and uses a part of this"
)]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ca::{Authority, ServerName, Subject};
use listen::{
    Gate, HandshakeFailure, HandshakeObserver, Io, Listener, Peer, Security, Selected,
    ServerIdentity, Service, ServiceFuture, Services, Shutdown, ShutdownTrigger, Tasks, Tls,
};
use model::Timestamp;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{net::TcpStream, sync::mpsc, time::timeout};

pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_795_000_000);
pub(crate) const END: Timestamp = Timestamp::from_seconds(2_524_607_999);

/// A connection that reached a service.
pub(crate) struct Arrived {
    pub(crate) selected: Selected,
    pub(crate) io: Io,
    pub(crate) peer: Peer,
}

pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) authority: Authority,
    pub(crate) identity: Arc<ServerIdentity>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) trigger: ShutdownTrigger,
    arrived: mpsc::Receiver<Arrived>,
    failed: mpsc::Receiver<HandshakeFailure>,
}

struct Hand {
    selected: Selected,
    to: mpsc::Sender<Arrived>,
}

impl Service for Hand {
    fn serve(&self, io: Io, peer: Peer, _shutdown: Shutdown) -> ServiceFuture {
        let (selected, to) = (self.selected, self.to.clone());
        Box::pin(async move {
            let arrived = Arrived { selected, io, peer };
            assert!(to.send(arrived).await.is_ok(), "the test is listening");
        })
    }
}

struct Record(mpsc::Sender<HandshakeFailure>);

impl HandshakeObserver for Record {
    fn failed(&self, failure: HandshakeFailure) {
        self.0.try_send(failure).unwrap();
    }
}

pub(crate) fn names() -> Vec<ServerName> {
    ["localhost", "127.0.0.1"]
        .map(|name| name.parse().unwrap())
        .to_vec()
}

impl Door {
    pub(crate) fn open() -> Self {
        Self::open_with(|_| {}, true)
    }

    pub(crate) fn open_plain() -> Self {
        Self::open_with(|_| {}, false)
    }

    pub(crate) fn open_with(adjust: impl FnOnce(&mut Gate), tls: bool) -> Self {
        let (authority, _) = Authority::create(NOW).unwrap();
        let server = authority.issue_server(&names(), NOW).unwrap();
        let identity = ServerIdentity::from_pem(
            &x509::certificate_to_pem(server.certificate.der()),
            server.private_key.expose(),
        )
        .unwrap();
        let (to, arrived) = mpsc::channel(100);
        let (record, failed) = mpsc::channel(1000);
        let service = |selected| -> Arc<dyn Service> {
            let to = to.clone();
            Arc::new(Hand { selected, to })
        };
        let services = Services {
            mqtt: service(Selected::Mqtt),
            http: service(Selected::Http),
            amqp: None,
        };
        let (trigger, shutdown) = Shutdown::new();
        let tasks = Tasks::new(10_000);
        let mut gate = Gate::new(
            services,
            Arc::new(Record(record)),
            tasks,
            shutdown,
            Arc::new(|| NOW),
        );
        adjust(&mut gate);
        let gate = Arc::new(gate);
        let security = if tls {
            Security::Tls(Tls::new(Arc::clone(&identity)))
        } else {
            Security::Plain
        };
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), security).unwrap();
        let address = listener.local_address();
        gate.tasks.spawn(listener.run(Arc::clone(&gate))).unwrap();
        Self {
            address,
            authority,
            identity,
            gate,
            trigger,
            arrived,
            failed,
        }
    }

    pub(crate) async fn arrival(&mut self) -> Arrived {
        tokio::select! {
            arrived = self.arrived.recv() => arrived.unwrap(),
            failure = self.failed.recv() => panic!("failed: {failure:?}"),
        }
    }

    pub(crate) async fn failure(&mut self) -> HandshakeFailure {
        tokio::select! {
            failure = self.failed.recv() => failure.unwrap(),
            arrived = self.arrived.recv() => panic!("arrived: {:?}", arrived.unwrap().peer),
        }
    }

    pub(crate) async fn dial(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A rustls client that trusts this hub, and presents what it is given.
    pub(crate) fn client(&self, identity: Option<&ca::DeviceIdentity>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.authority.root().der().to_vec().into())
            .unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots);
        match identity {
            None => config.with_no_client_auth(),
            Some(identity) => config
                .with_client_auth_cert(
                    vec![CertificateDer::from(identity.certificate.der().to_vec())],
                    PrivateKeyDer::from_pem_slice(identity.private_key.expose().as_bytes())
                        .unwrap(),
                )
                .unwrap(),
        }
    }

    pub(crate) fn device(&self, name: &str, key: ca::DeviceKey) -> ca::DeviceIdentity {
        self.authority
            .issue_device(&Subject::common_name(name), key, NOW, END)
            .unwrap()
    }
}

/// Shakes hands with the hub as `host`.
pub(crate) async fn shake(
    config: ClientConfig,
    tcp: TcpStream,
    host: &'static str,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    timeout(
        Duration::from_secs(20),
        connector.connect(host.try_into().unwrap(), tcp),
    )
    .await
    .unwrap()
}
