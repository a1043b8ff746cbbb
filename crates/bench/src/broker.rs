//! The brokers: how each is set up, started and stopped, and what the kernel says it costs.

use std::{
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::{
    Failure,
    client::{Client, Tls},
};

/// Longest a broker may take to answer its first CONNECT.
const START_DEADLINE: Duration = Duration::from_secs(20);
/// Longest a broker may take to end after SIGTERM.
const STOP_DEADLINE: Duration = Duration::from_secs(10);
/// The kernel's unit in `/proc/PID/stat`: USER_HZ, 100 on every Linux this runs on.
const TICKS_PER_SECOND: f64 = 100.0;
/// The hub decides about every message, so its device needs a policy; the peer decides nothing.
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Action":"iot:*","Resource":"*"}]}"#;
/// What the certificates name and the clients ask for.
pub(crate) const HOST: &str = "localhost";

/// Which of the two.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    /// The hub.
    Sekisho,
    /// What it is compared with.
    Peer,
}

impl Kind {
    /// Both, in the order they take turns.
    pub(crate) const BOTH: [Self; 2] = [Self::Sekisho, Self::Peer];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sekisho => "sekisho",
            Self::Peer => "peer",
        })
    }
}

/// What both brokers are set up with once: folders, certificates, one device.
pub(crate) struct Site {
    folder: tempfile::TempDir,
    hub: OsString,
    peer: OsString,
    /// The device's chain and key, which every client of both brokers shows.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    /// The roots of both brokers' certificates.
    pub(crate) roots: Arc<RootCertStore>,
}

/// A running broker.
pub(crate) struct Broker {
    child: Child,
    pid: u32,
    /// Where it speaks MQTT over TLS.
    pub(crate) port: u16,
    /// From `exec` to its first CONNACK.
    pub(crate) started_in: Duration,
}

impl Site {
    /// Makes the hub's folder with one device in it, and the peer's certificate.
    pub(crate) async fn prepare(peer: OsString) -> Result<Self, Failure> {
        let hub = std::env::var_os("SEKISHO_BIN")
            .ok_or("SEKISHO_BIN is not set: run it as `cargo xtask bench`")?;
        let folder = tempfile::Builder::new().prefix("sekisho-bench").tempdir()?;
        let mut site = Self {
            hub,
            peer,
            chain: Vec::new(),
            key: PrivateKeyDer::Pkcs8(Vec::new().into()),
            roots: Arc::new(RootCertStore::empty()),
            folder,
        };
        site.prepare_hub().await?;
        site.prepare_peer()?;
        Ok(site)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("hub")
    }

    fn device(&self) -> PathBuf {
        self.folder.path().join("device")
    }

    /// Starts the hub once to let it make its CA, and registers the device every client is.
    async fn prepare_hub(&mut self) -> Result<(), Failure> {
        let (mut child, _) = self.spawn_hub().await?;
        let policy = self.folder.path().join("policy.json");
        fs::write(&policy, POLICY)?;
        let device = self.device();
        self.ask(&["policy", "create", "bench"], &policy).await?;
        self.ask(
            &["device", "add", "bench", "--policy", "bench", "--out"],
            &device,
        )
        .await?;
        terminate(&mut child).await;
        self.chain = CertificateDer::pem_file_iter(self.device().join("device.pem"))?
            .collect::<Result<_, _>>()?;
        self.key = PrivateKeyDer::from_pem_file(self.device().join("device.key"))?;
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(self.device().join("root-ca.pem"))? {
            roots.add(root?)?;
        }
        self.roots = Arc::new(roots);
        Ok(())
    }

    /// Runs one command of the hub's own command line, with a path as its last word.
    async fn ask(&self, words: &[&str], path: &Path) -> Result<(), Failure> {
        let ended = Command::new(&self.hub)
            .args(words)
            .arg(path)
            .arg("--data")
            .arg(self.data())
            .stdin(Stdio::null())
            .output()
            .await?;
        if ended.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&ended.stderr);
        Err(format!("sekisho {}: {}\n{said}", words.join(" "), ended.status).into())
    }

    /// Starts the hub on free ports; answers when its ready file is there.
    async fn spawn_hub(&self) -> Result<(Child, u16), Failure> {
        let ready = self.folder.path().join("ready");
        drop(fs::remove_file(&ready));
        let port = free_port()?;
        let log = fs::File::create(self.folder.path().join("hub.log"))?;
        let mut child = Command::new(&self.hub)
            .arg("up")
            .arg("--data")
            .arg(self.data())
            .args(["--mqtt-port", &port.to_string()])
            .args(["--https-port", &free_port()?.to_string()])
            .args(["--amqp-port", &free_port()?.to_string()])
            .arg("--ready-file")
            .arg(&ready)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let deadline = Instant::now() + START_DEADLINE;
        while !ready.exists() {
            if let Some(status) = child.try_wait()? {
                let log = fs::read_to_string(self.folder.path().join("hub.log"))?;
                return Err(format!("the hub ended: {status}\n{log}").into());
            }
            if Instant::now() > deadline {
                return Err("the hub does not become ready".into());
            }
            sleep(Duration::from_millis(1)).await;
        }
        Ok((child, port))
    }

    /// A P-256 certificate like the hub's, from a CA of its own: the peer must not be handed the
    /// hub's CA key for a measurement.
    fn prepare_peer(&mut self) -> Result<(), Failure> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate()?;
        let root = authority.self_signed(&authority_key)?;
        let key = KeyPair::generate()?;
        let leaf = CertificateParams::new(vec![HOST.to_owned()])?
            .signed_by(&key, &Issuer::new(authority, authority_key))?;
        Arc::make_mut(&mut self.roots).add(root.der().clone())?;
        fs::write(self.folder.path().join("peer.pem"), leaf.pem())?;
        fs::write(self.folder.path().join("peer.key"), key.serialize_pem())?;
        Ok(())
    }

    /// mosquitto as an operator would set it up for devices with certificates: mutual TLS, the
    /// certificate's name as user name, nothing kept on disk.
    fn write_peer_configuration(&self, port: u16) -> Result<PathBuf, Failure> {
        let folder = self.folder.path().display();
        let file = self.folder.path().join("peer.conf");
        fs::write(
            &file,
            format!(
                "user root\npersistence false\nlog_type error\nmax_queued_messages 0\n\
                 max_inflight_messages 100\nset_tcp_nodelay true\n\
                 listener {port} 127.0.0.1\nallow_anonymous true\n\
                 cafile {folder}/device/root-ca.pem\ncertfile {folder}/peer.pem\n\
                 keyfile {folder}/peer.key\nrequire_certificate true\n\
                 use_identity_as_username true\n"
            ),
        )?;
        Ok(file)
    }
}

impl Broker {
    /// Starts one and waits until it has answered a CONNECT.
    pub(crate) async fn start(site: &Site, kind: Kind) -> Result<Self, Failure> {
        let before = Instant::now();
        let (child, port) = match kind {
            Kind::Sekisho => site.spawn_hub().await?,
            Kind::Peer => {
                let port = free_port()?;
                let child = Command::new(&site.peer)
                    .arg("-c")
                    .arg(site.write_peer_configuration(port)?)
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(fs::File::create(site.folder.path().join("peer.log"))?)
                    .kill_on_drop(true)
                    .spawn()
                    .map_err(|error| format!("{}: {error}", site.peer.display()))?;
                (child, port)
            }
        };
        let pid = child.id().ok_or("the broker ended at once")?;
        let mut broker = Self {
            child,
            pid,
            port,
            started_in: Duration::ZERO,
        };
        let tls = Tls::new(site, crate::client::Exchange::Classical)?;
        let deadline = before + START_DEADLINE;
        loop {
            match Client::connect(&tls, port, "first").await {
                Ok(client) => {
                    client.disconnect().await?;
                    break;
                }
                Err(error) if Instant::now() > deadline => {
                    return Err(format!("{kind} does not answer: {error}").into());
                }
                Err(_) => sleep(Duration::from_millis(2)).await,
            }
        }
        broker.started_in = before.elapsed();
        Ok(broker)
    }

    /// Ends it as a service manager would.
    pub(crate) async fn stop(&mut self) {
        terminate(&mut self.child).await;
    }

    /// Seconds of CPU it has used, user and system.
    pub(crate) fn cpu_seconds(&self) -> Result<f64, Failure> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // The name, in parentheses, may hold anything; fields are counted after it.
        let fields = stat.rsplit_once(')').ok_or("/proc/PID/stat")?.1;
        let mut fields = fields.split_whitespace().skip(11);
        let mut ticks = || -> Result<f64, Failure> {
            Ok(fields.next().ok_or("/proc/PID/stat")?.parse::<f64>()?)
        };
        Ok((ticks()? + ticks()?) / TICKS_PER_SECOND)
    }

    /// Its resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> Result<f64, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .ok_or("/proc/PID/status")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    }
}

/// SIGTERM through `kill`, then SIGKILL if it does not help.
async fn terminate(child: &mut Child) {
    if let Some(pid) = child.id() {
        let asked = Command::new("kill")
            .args(["-TERM", &pid.to_string()])
            .status()
            .await;
        if asked.is_ok() && timeout(STOP_DEADLINE, child.wait()).await.is_ok() {
            return;
        }
        // Already gone, or deaf: either way nothing is left to lose.
        drop(child.kill().await);
    }
}

/// A loopback port that nothing listens on.
fn free_port() -> Result<u16, Failure> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?
        .local_addr()?
        .port())
}
