//! Accepting connections and bringing each to its service.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use model::{Timestamp, limits};
use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use tokio::{
    io::AsyncBufReadExt,
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tracing::warn;

use crate::{
    Gate, HandshakeFailure, Io, OverLimit, Peer, Permit, Selected, Service, Stage, Tls,
    failure::{Cause, reasons},
    io::Socket,
    select,
    tls::{Hello, peer_of},
};

/// How long accepting rests after the system refused us a socket, so that being out of file
/// descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Whether a listener speaks TLS.
#[derive(Clone)]
pub enum Security {
    /// TLS.
    Tls(Tls),
    /// Nothing; for development, on loopback only.
    Plain,
}

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Stop the other program, or choose another port.
    #[error("{0} is in use by another program")]
    InUse(SocketAddr),
    /// Choose a port from 1024, or give the program the right to low ports.
    #[error("this program may not listen on {0}")]
    NotPermitted(SocketAddr),
    /// Choose an address of this machine.
    #[error("{0} is not an address of this machine")]
    NotOurs(SocketAddr),
    /// Without TLS the hub listens on loopback only.
    #[error("without TLS the hub listens on loopback addresses only, and {0} is none")]
    PlainBeyondLoopback(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {address}: {source}")]
    Other {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl BindError {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a foreign enum of which three variants concern us"
    )]
    fn of(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse(address),
            io::ErrorKind::PermissionDenied => Self::NotPermitted(address),
            io::ErrorKind::AddrNotAvailable => Self::NotOurs(address),
            _ => Self::Other { address, source },
        }
    }
}

/// One open port.
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    security: Security,
}

impl Listener {
    /// Opens a port; port 0 lets the system choose. Connections queue from now on, and are
    /// accepted once [`Self::run`] runs.
    ///
    /// # Errors
    ///
    /// See [`BindError`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn bind(address: SocketAddr, security: Security) -> Result<Self, BindError> {
        if matches!(security, Security::Plain) && !address.ip().to_canonical().is_loopback() {
            return Err(BindError::PlainBeyondLoopback(address));
        }
        let (tcp, address) = open(address).map_err(|source| BindError::of(address, source))?;
        Ok(Self {
            tcp,
            address,
            security,
        })
    }

    /// Where it listens, with the port that the system chose.
    #[must_use]
    pub const fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections until shutdown is requested. Each runs in a task of
    /// [`Gate::tasks`], which the program waits for.
    pub async fn run(self, gate: Arc<Gate>) {
        let mut shutdown = gate.shutdown.clone();
        let security = Arc::new(self.security);
        loop {
            let accepted = tokio::select! {
                accepted = self.tcp.accept() => accepted,
                () = shutdown.requested() => return,
            };
            match accepted {
                Ok((tcp, address)) => admit(&gate, &security, tcp, address, self.address.port()),
                Err(error) => {
                    warn!(%error, address = %self.address, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

fn open(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = RawSocket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restart must not wait for the connections of the last run to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(limits::LISTEN_BACKLOG)?;
    let tcp = TcpListener::from_std(socket.into())?;
    let address = tcp.local_addr()?;
    Ok((tcp, address))
}

/// Takes a permit and starts the connection's task; without a permit the connection is closed.
fn admit(
    gate: &Arc<Gate>,
    security: &Arc<Security>,
    tcp: TcpStream,
    address: SocketAddr,
    local_port: u16,
) {
    let arrival = Arrival {
        address: SocketAddr::new(canonical(address.ip()), address.port()),
        local_port,
        at: (gate.clock)(),
    };
    let refuse = |cause| gate.report(arrival.failure(Stage::Accept, &Hello::default(), cause));
    let permit = match gate.permits.acquire(address.ip()) {
        Ok(permit) => permit,
        Err(over @ OverLimit::Total { .. }) => {
            return refuse(Cause::new(reasons::TOO_MANY_CONNECTIONS, over));
        }
        Err(over @ OverLimit::PerAddress { .. }) => {
            return refuse(Cause::new(reasons::TOO_MANY_FROM_ADDRESS, over));
        }
    };
    let task = receive(Arc::clone(gate), Arc::clone(security), tcp, permit, arrival);
    if let Err(full) = gate.tasks.spawn(task) {
        refuse(Cause::new(reasons::TOO_MANY_TASKS, full));
    }
}

/// The address a person would write: an IPv4 peer of an IPv6 listener is shown as IPv4.
const fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// A connection as it was accepted.
#[derive(Clone, Copy)]
struct Arrival {
    address: SocketAddr,
    local_port: u16,
    at: Timestamp,
}

impl Arrival {
    fn failure(&self, stage: Stage, hello: &Hello, cause: Cause) -> HandshakeFailure {
        HandshakeFailure {
            address: self.address,
            local_port: self.local_port,
            sni: hello.sni.clone(),
            alpn: hello.alpn.clone(),
            subject: hello.subject(),
            stage,
            reason: cause.reason,
            detail: cause.detail,
            suppressed: 0,
        }
    }
}

/// A connection from its first byte to its end.
async fn receive(
    gate: Arc<Gate>,
    security: Arc<Security>,
    tcp: TcpStream,
    permit: Permit,
    arrival: Arrival,
) {
    // Boxed, and gone before the service starts: a handshake is far bigger than a connection.
    let ready = Box::pin(prepare(&gate, &security, tcp, permit, arrival)).await;
    drop(security);
    let Some((service, io, peer)) = ready else {
        return;
    };
    let served = service.serve(io, peer, gate.shutdown.clone());
    drop((service, gate));
    served.await;
}

/// Shakes hands and finds the service; reports the failure when there is one.
async fn prepare(
    gate: &Gate,
    security: &Security,
    tcp: TcpStream,
    permit: Permit,
    arrival: Arrival,
) -> Option<(Arc<dyn Service>, Io, Peer)> {
    let mut shutdown = gate.shutdown.clone();
    let mut hello = Hello::default();
    let outcome = tokio::select! {
        outcome = connect(gate, security, tcp, permit, arrival, &mut hello) => outcome,
        // Nothing was promised to a stranger.
        () = shutdown.requested() => return None,
    };
    match outcome {
        Ok(ready) => Some(ready),
        Err((stage, cause)) => {
            gate.report(arrival.failure(stage, &hello, cause));
            None
        }
    }
}

async fn connect(
    gate: &Gate,
    security: &Security,
    tcp: TcpStream,
    permit: Permit,
    arrival: Arrival,
    hello: &mut Hello,
) -> Result<(Arc<dyn Service>, Io, Peer), (Stage, Cause)> {
    tcp.set_nodelay(true)
        .map_err(|error| (Stage::Accept, Cause::of(&error, Stage::Accept)))?;
    let mut socket = Socket::with_limit(tcp, permit, limits::UNAUTHENTICATED_BYTES);
    match security {
        Security::Tls(tls) => {
            let accept = tls.accept(socket, hello);
            let mut stream = match timeout(gate.deadlines.handshake, accept).await {
                Ok(outcome) => outcome?,
                Err(late) => {
                    let stage = if hello.complete {
                        Stage::Handshake
                    } else {
                        Stage::ClientHello
                    };
                    return Err((stage, Cause::new(reasons::HANDSHAKE_TIMEOUT, late)));
                }
            };
            let peer = peer_of(
                &stream,
                arrival.address,
                arrival.local_port,
                (gate.clock)().since(arrival.at),
            );
            // The leaf is known from here on, should the first byte never come.
            hello.presented = peer.chain.first().cloned();
            let first = match peer.alpn {
                Some(_) => None,
                None => {
                    first_byte(gate, async {
                        Ok(stream.fill_buf().await?.first().copied())
                    })
                    .await?
                }
            };
            let service = find_service(gate, &peer, first)?;
            Ok((service, Io::new(stream), peer))
        }
        Security::Plain => {
            let peer = Peer {
                address: arrival.address,
                local_port: arrival.local_port,
                alpn: None,
                sni: None,
                chain: Vec::new(),
                tls_version: None,
                cipher: None,
                key_exchange: None,
                handshake: Duration::ZERO,
            };
            let mut byte = [0];
            let first = first_byte(gate, async {
                let peeked = socket.tcp().peek(&mut byte).await?;
                Ok((peeked == 1).then_some(byte[0]))
            })
            .await?;
            let service = find_service(gate, &peer, first)?;
            socket.lift_limit();
            Ok((service, Io::new(socket), peer))
        }
    }
}

/// Waits for the first byte, without taking it.
async fn first_byte(
    gate: &Gate,
    peek: impl Future<Output = io::Result<Option<u8>>>,
) -> Result<Option<u8>, (Stage, Cause)> {
    let stage = Stage::FirstByte;
    match timeout(gate.deadlines.hello, peek).await {
        Ok(Ok(Some(byte))) => Ok(Some(byte)),
        Ok(Ok(None)) => {
            let cause = Cause::new(reasons::CLOSED_SILENTLY, "the peer closed");
            Err((stage, cause))
        }
        Ok(Err(error)) => Err((stage, Cause::of(&error, stage))),
        Err(late) => Err((stage, Cause::new(reasons::HELLO_TIMEOUT, late))),
    }
}

fn find_service(
    gate: &Gate,
    peer: &Peer,
    first: Option<u8>,
) -> Result<Arc<dyn Service>, (Stage, Cause)> {
    let stage = Stage::FirstByte;
    let Some(selected) = select(peer, first) else {
        let detail = match first {
            Some(byte) => format!("the first byte is {byte:#04x}"),
            None => "no first byte".to_owned(),
        };
        return Err((stage, Cause::new(reasons::UNKNOWN_PROTOCOL, detail)));
    };
    match gate.services.get(selected) {
        Some(service) => Ok(Arc::clone(service)),
        None => {
            debug_assert_eq!(selected, Selected::Amqp);
            let detail = "this hub does not serve AMQP yet";
            Err((stage, Cause::new(reasons::AMQP_NOT_SERVED, detail)))
        }
    }
}
