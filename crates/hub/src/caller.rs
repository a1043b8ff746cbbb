//! Who a peer is: what it claims, and what the registry says to that.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use model::{CertificateId, ClientId, DeviceId, Refusal, RefusalKind};
use policy::{CompiledSet, Facts};

use crate::{
    Hub,
    timeline::{Kind, Records, Subject},
};

/// What a peer claims to be. Parsed by its dialect, judged by [`Hub::authenticate`].
#[derive(Clone)]
pub enum Credentials {
    /// The certificate whose private key the handshake proved to be the peer's, in DER.
    Certificate(Arc<[u8]>),
    /// The peer showed nothing.
    None,
}

/// What the wire proved about a peer, for facts and records.
#[derive(Clone, Debug)]
pub struct PeerFacts {
    /// From where.
    pub address: SocketAddr,
    /// The name it asked for, in SNI.
    pub server_name: Option<Arc<str>>,
}

/// Who someone is.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Principal {
    /// A certificate of the registry.
    Certificate(CertificateId),
    /// A person or program that operates the hub, by the name of its key.
    Operator(Arc<str>),
    /// The hub itself.
    Hub,
}

impl Principal {
    /// The id alone, as lifecycle events show it.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Certificate(id) => id.to_string(),
            Self::Operator(name) => name.to_string(),
            Self::Hub => "hub".into(),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(id) => write!(f, "certificate/{id}"),
            Self::Operator(name) => write!(f, "operator/{name}"),
            Self::Hub => f.write_str("hub"),
        }
    }
}

/// Who a peer is, and how it came.
#[derive(Debug)]
pub struct Caller {
    principal: Principal,
    client_id: Option<ClientId>,
    peer: Option<PeerFacts>,
    /// What it may do; replaced when the registry changes under a live connection.
    access: ArcSwap<Access>,
    /// How often the registry had changed before it was asked about this caller.
    as_of: u64,
    records: Mutex<Records>,
    request_id: Option<Arc<str>>,
    receipt: Arc<Receipt>,
}

/// The last entry that was made in the ledger for a caller.
#[derive(Debug, Default)]
pub(crate) struct Receipt(AtomicU64);

impl Receipt {
    const NOTHING: u64 = u64::MAX;

    pub(crate) fn put(&self, index: u64) {
        self.0.store(!index, Ordering::Release);
    }

    /// Stored as its complement, so that zero, the default, is no index.
    fn get(&self) -> Option<u64> {
        Some(!self.0.load(Ordering::Acquire)).filter(|index| *index != Self::NOTHING)
    }
}

/// Who asks for one thing, and with which request: what the ledger tells about an entry's author.
#[derive(Clone, Debug)]
pub(crate) struct Errand {
    pub(crate) principal: Principal,
    pub(crate) address: Option<IpAddr>,
    pub(crate) request_id: Option<Arc<str>>,
    pub(crate) receipt: Arc<Receipt>,
}

/// What the registry says about a caller at one moment.
#[derive(Debug, Default)]
pub struct Access {
    /// Values of policy variables.
    pub facts: Facts,
    /// Everything that applies to it: its own policies and those of its devices' groups.
    pub policies: Arc<CompiledSet>,
    /// The devices its certificate is attached to.
    pub devices: Vec<DeviceId>,
    /// The device it speaks for: the one named like its client id, or the one its certificate
    /// belongs to exclusively.
    pub device: Option<DeviceId>,
    /// Whether everything is allowed: operators and the hub itself.
    pub unrestricted: bool,
}

impl Caller {
    /// An operator, who may do everything.
    #[must_use]
    pub fn operator(name: &str, peer: Option<PeerFacts>) -> Self {
        Self::unrestricted(Principal::Operator(name.into()), peer)
    }

    /// The hub itself.
    #[must_use]
    pub fn hub() -> Self {
        Self::unrestricted(Principal::Hub, None)
    }

    /// The same caller under a client id, so that it can open a connection: an operator who
    /// watches topics.
    #[must_use]
    pub fn under(self, client_id: ClientId) -> Self {
        Self {
            client_id: Some(client_id),
            ..self
        }
    }

    /// The same caller, asking with the request `id`, which its entries in the ledger will name.
    #[must_use]
    pub fn asking(self, id: Arc<str>) -> Self {
        Self {
            request_id: Some(id),
            ..self
        }
    }

    /// The index of the last entry in the ledger that was made for this caller.
    #[must_use]
    pub fn ledger_index(&self) -> Option<u64> {
        self.receipt.get()
    }

    pub(crate) fn errand(&self) -> Errand {
        Errand {
            principal: self.principal.clone(),
            address: self.peer.as_ref().map(|peer| peer.address.ip()),
            request_id: self.request_id.clone(),
            receipt: Arc::clone(&self.receipt),
        }
    }

    /// The author of a will from before the hub restarted, of whom no more is known. The registry
    /// is asked when it is published.
    pub(crate) fn remembered(client_id: ClientId, id: CertificateId) -> Self {
        let access = Access {
            facts: Facts::new(Some(client_id.as_str()), None),
            ..Access::default()
        };
        Self {
            principal: Principal::Certificate(id),
            access: ArcSwap::from_pointee(access),
            ..Self::hub().under(client_id)
        }
    }

    /// Someone whom no policy lets do anything.
    pub(crate) fn stranger(client_id: ClientId) -> Self {
        Self {
            access: ArcSwap::default(),
            ..Self::hub().under(client_id)
        }
    }

    fn unrestricted(principal: Principal, peer: Option<PeerFacts>) -> Self {
        let address = peer.as_ref().map(|peer| peer.address.ip());
        Self {
            principal,
            client_id: None,
            peer,
            as_of: 0,
            records: Mutex::default(),
            request_id: None,
            receipt: Arc::default(),
            access: ArcSwap::from_pointee(Access {
                facts: Facts::new(None, address),
                unrestricted: true,
                ..Access::default()
            }),
        }
    }

    /// Who it is.
    #[must_use]
    pub const fn principal(&self) -> &Principal {
        &self.principal
    }

    /// What it calls itself; `None` for callers without an MQTT connection.
    #[must_use]
    pub const fn client_id(&self) -> Option<&ClientId> {
        self.client_id.as_ref()
    }

    /// How it came; `None` for the hub itself.
    #[must_use]
    pub const fn peer(&self) -> Option<&PeerFacts> {
        self.peer.as_ref()
    }

    /// What it may do, as of now.
    #[must_use]
    pub fn access(&self) -> arc_swap::Guard<Arc<Access>> {
        self.access.load()
    }

    /// Whom records about it are filed under.
    #[must_use]
    pub fn subject(&self) -> Subject {
        Subject {
            client_id: self.client_id.clone(),
            principal: Some(self.principal.to_string()),
            address: self.peer.as_ref().map(|peer| peer.address),
        }
    }

    /// Whose sessions it may resume: those of its device, whatever certificate the device had
    /// then, or else those of its own principal.
    pub(crate) fn owner(&self) -> Arc<str> {
        match &self.access().device {
            Some(device) => format!("device/{device}").into(),
            None => self.principal.to_string().into(),
        }
    }

    pub(crate) fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) const fn as_of(&self) -> u64 {
        self.as_of
    }

    pub(crate) fn replace_access(&self, access: Access) {
        self.access.store(Arc::new(access));
    }
}

impl Hub {
    /// Finds out who a peer is. `client_id` is what it calls itself, when it speaks MQTT.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::Unauthenticated`] when the certificate is missing, unknown, not active or
    /// revoked; [`RefusalKind::Expired`] outside its validity. The refusal is in the timeline.
    pub fn authenticate(
        &self,
        credentials: &Credentials,
        client_id: Option<ClientId>,
        peer: PeerFacts,
    ) -> Result<Caller, Refusal> {
        let (id, result) = self.identify_caller(credentials, client_id.as_ref(), &peer);
        result.inspect_err(|refusal| {
            let subject = Subject {
                client_id: client_id.clone(),
                principal: id.map(|id| Principal::Certificate(id).to_string()),
                address: Some(peer.address),
            };
            let kind = if client_id.is_some() {
                Kind::ConnectRefused
            } else {
                Kind::RequestRefused
            };
            self.record_refusal(kind, subject, refusal);
        })
    }

    /// As [`Self::authenticate`], without a record of it; also gives the certificate's id.
    pub(crate) fn identify_caller(
        &self,
        credentials: &Credentials,
        client_id: Option<&ClientId>,
        peer: &PeerFacts,
    ) -> (Option<CertificateId>, Result<Caller, Refusal>) {
        let as_of = self.0.live.changes();
        let (id, result) = match credentials {
            Credentials::None => (None, Err(no_certificate())),
            Credentials::Certificate(der) => self.identify_certificate(der),
        };
        let result = result.and_then(|certificate| {
            let principal = Principal::Certificate(certificate.id());
            let access = self.load_access(&certificate, client_id, peer)?;
            Ok(Caller {
                principal,
                client_id: client_id.cloned(),
                peer: Some(peer.clone()),
                access: ArcSwap::from_pointee(access),
                as_of,
                records: Mutex::default(),
                request_id: None,
                receipt: Arc::default(),
            })
        });
        (id, result)
    }

    fn identify_certificate(
        &self,
        der: &[u8],
    ) -> (Option<CertificateId>, Result<x509::Certificate, Refusal>) {
        match x509::Certificate::parse(der) {
            Ok(certificate) => {
                let id = certificate.id();
                let standing = self.check_standing(&certificate);
                (Some(id), standing.map(|()| certificate))
            }
            Err(error) => {
                let refusal = Refusal::new(
                    RefusalKind::Unauthenticated,
                    "certificate.unreadable",
                    format!("the client certificate cannot be read: {error}"),
                );
                (None, Err(refusal))
            }
        }
    }
}

fn no_certificate() -> Refusal {
    Refusal::new(
        RefusalKind::Unauthenticated,
        "certificate.missing",
        "no client certificate was presented; configure the device's certificate and private key",
    )
}
