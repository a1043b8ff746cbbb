//! What a connection costs the server: CPU of a full mutual TLS handshake, resident memory of an
//! idle connection. Linux only.
//!
//! `cargo run --release -p listen --example cost [CONNECTIONS]`. The server is a process of its
//! own, so that the clients' memory and time are not counted.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement, not a part of the hub: it prints, spawns and gives up"
)]

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    pin::Pin,
    process::{Command, Stdio},
    sync::Arc,
    task::ready,
    time::Duration,
};

use ca::{Authority, DeviceKey, Subject};
use listen::{
    Gate, HandshakeFailure, HandshakeObserver, Io, Listener, Peer, Security, ServerIdentity,
    Service, ServiceFuture, Services, Shutdown, Tasks, Tls,
};
use model::Timestamp;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
};

const NOW: Timestamp = Timestamp::from_seconds(1_795_000_000);

thread_local! {
    /// One read buffer per thread instead of one per connection.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; 16 * 1024]);
}

/// Reads and ignores, as an idle MQTT connection does.
struct Idle;

impl Service for Idle {
    fn serve(&self, mut io: Io, peer: Peer, mut shutdown: Shutdown) -> ServiceFuture {
        drop(peer);
        Box::pin(async move {
            let read = poll_fn(|context| {
                loop {
                    let outcome = SCRATCH.with_borrow_mut(|scratch| {
                        let mut buffer = ReadBuf::new(scratch);
                        let polled = Pin::new(&mut io).poll_read(context, &mut buffer);
                        polled.map(|outcome| outcome.map(|()| buffer.filled().len()))
                    });
                    match ready!(outcome) {
                        Ok(1..) => {}
                        Ok(0) | Err(_) => return std::task::Poll::Ready(()),
                    }
                }
            });
            tokio::select! {
                () = read => {}
                () = shutdown.requested() => {}
            }
        })
    }
}

struct Print;

impl HandshakeObserver for Print {
    fn failed(&self, failure: HandshakeFailure) {
        println!("failed: {failure:?}");
    }
}

fn main() {
    let argument = std::env::args().nth(1);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if argument.as_deref() == Some("serve") {
        runtime.block_on(serve());
    } else {
        let connections = argument.map_or(2000, |text| text.parse().unwrap());
        runtime.block_on(measure(connections));
    }
}

/// Serves on a port of the system's choice; prints it, the root and a device's identity.
async fn serve() {
    let (authority, _) = Authority::create(NOW).unwrap();
    let server = authority
        .issue_server(&["localhost".parse().unwrap()], NOW)
        .unwrap();
    let identity = ServerIdentity::from_pem(
        &x509::certificate_to_pem(server.certificate.der()),
        server.private_key.expose(),
    )
    .unwrap();
    let (_trigger, shutdown) = Shutdown::new();
    let services = Services {
        mqtt: Arc::new(Idle),
        http: Arc::new(Idle),
        amqp: None,
    };
    let tasks = Tasks::new(1_000_000);
    let gate = Gate::new(services, Arc::new(Print), tasks, shutdown, Arc::new(|| NOW));
    let tls = Security::Tls(Tls::new(identity));
    let listener = Listener::bind(([127, 0, 0, 1], 0).into(), tls).unwrap();
    let device = authority
        .issue_device(
            &Subject::common_name("pump-7"),
            DeviceKey::P256,
            NOW,
            NOW.after(Duration::from_secs(1_000_000_000)),
        )
        .unwrap();
    println!("{}", listener.local_address());
    print!("{}", authority.root_pem());
    print!("{}", x509::certificate_to_pem(device.certificate.der()));
    print!("{}", device.private_key.expose());
    println!("ready");
    listener.run(Arc::new(gate)).await;
}

async fn measure(connections: usize) {
    let mut server = Command::new(std::env::current_exe().unwrap())
        .arg("serve")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(server.stdout.take().unwrap());
    let mut text = String::new();
    while !text.ends_with("ready\n") {
        assert_ne!(output.read_line(&mut text).unwrap(), 0, "the server ended");
    }
    std::thread::spawn(move || {
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        print!("{rest}");
    });
    let address: SocketAddr = text.lines().next().unwrap().parse().unwrap();
    let config = client(&text);

    let mut open = Vec::with_capacity(connections);
    // Warm: the runtime's threads, the allocator's arenas, the code pages.
    for _ in 0..100 {
        open.push(connect(address, &config).await);
    }
    let before = Usage::of(server.id());
    while open.len() < connections {
        let batch = (0..20).map(|_| {
            let config = Arc::clone(&config);
            tokio::spawn(async move { connect(address, &config).await })
        });
        let batch: Vec<_> = batch.collect();
        for connecting in batch {
            open.push(connecting.await.unwrap());
        }
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let after = Usage::of(server.id());
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let per = |total: u64| total as f64 / (open.len() - 100) as f64;
    println!(
        "{} idle mTLS connections: {:.2} KiB RSS each; {:.3} ms server CPU per \
         handshake ({:.3} user, {:.3} system)",
        open.len(),
        per(after.resident_kib - before.resident_kib),
        per(after.user_millis + after.system_millis - before.user_millis - before.system_millis),
        per(after.user_millis - before.user_millis),
        per(after.system_millis - before.system_millis),
    );
    server.kill().unwrap();
    server.wait().unwrap();
}

fn client(text: &str) -> Arc<ClientConfig> {
    let mut certificates: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
        .map(Result::unwrap)
        .collect();
    let device = certificates.pop().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificates.pop().unwrap()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).unwrap();
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![device], key)
        .unwrap();
    config.alpn_protocols = vec![b"x-amzn-mqtt-ca".to_vec()];
    Arc::new(config)
}

/// A handshake and two packets' worth of bytes, as a device sends.
async fn connect(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let tcp = TcpStream::connect(address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
    let name = "localhost".try_into().unwrap();
    let mut stream = connector.connect(name, tcp).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, &[0x10; 60])
        .await
        .unwrap();
    stream
}

/// What a process uses, as Linux tells it in `/proc`.
struct Usage {
    resident_kib: u64,
    user_millis: u64,
    system_millis: u64,
}

impl Usage {
    fn of(process: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let resident = status
            .lines()
            .find(|line| line.starts_with("VmRSS"))
            .unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
        let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        // 100 ticks a second, wherever Linux runs.
        let millis = |field: &str| field.parse::<u64>().unwrap() * 10;
        Self {
            resident_kib: resident.split_whitespace().nth(1).unwrap().parse().unwrap(),
            user_millis: millis(fields[11]),
            system_millis: millis(fields[12]),
        }
    }
}
