//! `sekisho witness` and `sekisho mirror`: their folder, their keys, and how they are wired.
//!
//! ```text
//! DIR/role                 witness or mirror
//! DIR/keys                 0600: what it signs with, one key a line
//! DIR/tls/                 as a hub's: root-ca.pem is what hubs must trust
//! DIR/lock                 held while it runs
//! DIR/logs/, DIR/alarms/   what it has seen; see the crate `witness`
//! ```

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use ca::ServerName;
use hub::clock::{Clock, SystemClock};
use listen::{
    BindError, Gate, HandshakeFailure, HandshakeObserver, Io, Listener, Peer, Permits, Security,
    Service, ServiceFuture, Services, Shutdown, Tasks, Tls,
};
use model::limits;
use serde_json::json;
use tlog::{Algorithm, Policy, SignerKey};
use witness::{KnownLog, Role, Server};

use crate::{
    cli::Watch,
    failure::Failure,
    folder::{self, Secrecy},
    output,
    up::{
        DRAIN, port_taken, renew_certificate, server_names, spawn, start_log, wait_for_stop,
        watch_certificate,
    },
};

/// Runs a witness or a mirror until it is told to stop.
pub(super) fn run(options: Watch, role: Role) -> Result<(), Failure> {
    start_log();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::internal)?
        .block_on(serve(options, role))
}

async fn serve(options: Watch, role: Role) -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let logs = logs(&options)?;
    let names = server_names(&options.hostname, options.bind)?;
    let roots: Result<Vec<_>, _> = options
        .roots
        .iter()
        .map(|path| folder::read(path))
        .collect();
    let roots = roots?;
    let address = SocketAddr::new(options.bind, options.port.unwrap_or(default_port(role)));
    // The port first: when it is taken, nothing has been created.
    match Listener::bind(address, Security::Plain) {
        Ok(_) | Err(BindError::PlainBeyondLoopback(_)) => {}
        Err(error) => return Err(port_taken(&error, "--port")),
    }
    let data = options
        .data
        .clone()
        .unwrap_or_else(|| format!("./sekisho-{}", role.name()).into());
    if folder::is_absent_or_empty(&data)? {
        create(&data, role, &options, &names, clock.now())?;
    }
    let _lock = lock(&data, role)?;
    let keys = keys(&data, role, &options)?;
    let (_, identity) = folder::open_tls(&data, &names, clock.now())?;
    let listener = Listener::bind(address, Security::Tls(Tls::new(Arc::clone(&identity))))
        .map_err(|error| port_taken(&error, "--port"))?;
    let lines = policy_lines(&keys, &url(&options, &listener));

    let (trigger, shutdown) = Shutdown::new();
    let tasks = Tasks::new(limits::WITNESS_CONNECTIONS + 64);
    let now: listen::Clock = {
        let clock = Arc::clone(&clock);
        Arc::new(move || clock.now())
    };
    let (time, spawner) = (Arc::clone(&now), tasks.clone());
    let server = Server::open(&data, role, keys, &logs, &roots, time, spawner);
    let server = server.map_err(Failure::usage)?;
    let services = Services {
        mqtt: Arc::new(NotServed),
        http: Arc::new(server),
        amqp: None,
    };
    let heard = shutdown.clone();
    let mut gate = Gate::new(services, Arc::new(NotServed), tasks.clone(), heard, now);
    gate.permits = Permits::new(
        limits::WITNESS_CONNECTIONS,
        limits::WITNESS_CONNECTIONS_PER_ADDRESS,
    );
    let ready = Ready {
        url: url(&options, &listener),
        port: listener.local_address().port(),
        address: listener.local_address(),
        lines,
    };
    spawn(&tasks, listener.run(Arc::new(gate)))?;
    let watching = watch_certificate(data.clone(), identity, shutdown.clone());
    spawn(&tasks, watching)?;
    spawn(
        &tasks,
        renew_certificate(data.clone(), names, clock, shutdown),
    )?;
    announce(role, &data, &options, &logs, &ready)?;

    wait_for_stop().await?;
    trigger.request();
    let left = tasks.wait(DRAIN).await;
    if left > 0 {
        tracing::warn!(left, "some connections did not end in time");
    }
    Ok(())
}

const fn default_port(role: Role) -> u16 {
    match role {
        Role::Witness => 8447,
        Role::Mirror => 8448,
    }
}

/// The logs of the command line and of the policy file.
fn logs(options: &Watch) -> Result<Vec<KnownLog>, Failure> {
    let given = options.log.iter().map(|key| KnownLog {
        key: key.clone(),
        url: None,
    });
    let mut logs: Vec<_> = given.collect();
    if let Some(path) = &options.policy {
        let bytes = std::fs::read(path).map_err(|error| folder::cannot("read", path, &error))?;
        let policy = Policy::parse(&bytes)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        logs.extend(policy.logs().iter().map(|log| KnownLog {
            key: log.key.clone(),
            url: log.url.clone(),
        }));
    }
    if logs.is_empty() {
        return Err(Failure::usage(witness::OpenError::NoLog));
    }
    Ok(logs)
}

/// Makes the folder, with new keys.
fn create(
    data: &Path,
    role: Role,
    options: &Watch,
    names: &[ServerName],
    now: model::Timestamp,
) -> Result<(), Failure> {
    let name = match &options.name {
        Some(name) => name.clone(),
        None => own_name(role, options)?,
    };
    let mut algorithms = vec![Algorithm::Ed25519Cosignature];
    if options.post_quantum {
        algorithms.push(Algorithm::MlDsa44Cosignature);
    }
    let mut text = zeroize::Zeroizing::new(String::new());
    for algorithm in algorithms {
        let key = SignerKey::from_seed(&name, algorithm, &*folder::random()?);
        let key = key.map_err(|error| Failure::usage(format!("--name {name}: {error}")))?;
        text.push_str(&key.expose());
        text.push('\n');
    }
    folder::create(data, |beside| {
        folder::fill_tls(beside, names, now)?;
        folder::write(&beside.join("keys"), &text, Secrecy::Secret)?;
        Server::create(beside).map_err(Failure::usage)?;
        folder::write(&role_path(beside), role.name(), Secrecy::Public)
    })
}

/// A name that nobody else is likely to have: the host, the role and a few random digits.
fn own_name(role: Role, options: &Watch) -> Result<String, Failure> {
    let machine = rustix::system::uname();
    let machine = machine.nodename().to_string_lossy();
    let host = options.hostname.first().map_or(&*machine, String::as_str);
    let digits = hex::encode(*folder::random::<3>()?);
    Ok(format!("{host}/{}-{digits}", role.name()))
}

fn role_path(data: &Path) -> PathBuf {
    data.join("role")
}

/// Makes sure that the folder is one of this role, and that nobody else signs from it.
fn lock(data: &Path, role: Role) -> Result<File, Failure> {
    let path = role_path(data);
    let found = if path.exists() {
        folder::read(&path)?
    } else {
        String::new()
    };
    if found != role.name() {
        let what = match found.as_str() {
            "witness" | "mirror" => format!("the folder of a {found}"),
            _ => "not empty and not the folder of a witness or a mirror".into(),
        };
        let role = role.name();
        return Err(Failure::usage(format!(
            "{} is {what}; name the folder of a {role}, or a new one, with --data",
            data.display()
        )));
    }
    let path = data.join("lock");
    let file = File::create(&path).map_err(|error| folder::cannot("open", &path, &error))?;
    file.try_lock().map_err(|error| {
        Failure::usage(format!(
            "{} is in use by another process: {error}",
            data.display()
        ))
    })?;
    Ok(file)
}

/// The keys of the folder, which must be those that the command line speaks of.
fn keys(data: &Path, role: Role, options: &Watch) -> Result<Vec<SignerKey>, Failure> {
    let path = data.join("keys");
    if !path.exists() {
        return Err(Failure::usage(format!(
            "{} is missing; restore it from a backup: with another key it would be another {}, \
             which needs a new folder",
            path.display(),
            role.name()
        )));
    }
    let text = zeroize::Zeroizing::new(folder::read(&path)?);
    let keys: Result<Vec<_>, _> = text.lines().map(SignerKey::parse).collect();
    let keys = keys.map_err(|error| folder::damaged(&path, error))?;
    let Some(first) = keys.first() else {
        return Err(folder::damaged(&path, "it holds no key"));
    };
    let name = first.verifier().name();
    if options.name.as_ref().is_some_and(|wanted| wanted != name) {
        return Err(Failure::usage(format!(
            "the keys in {} are those of {name}; leave out --name, or name a new folder",
            data.display()
        )));
    }
    let has = |algorithm| {
        keys.iter()
            .any(|key| key.verifier().algorithm() == algorithm)
    };
    if options.post_quantum && !has(Algorithm::MlDsa44Cosignature) {
        return Err(Failure::usage(format!(
            "{} was made without --post-quantum; leave it out, or name a new folder",
            data.display()
        )));
    }
    Ok(keys)
}

/// The lines of a policy file that name these keys.
fn policy_lines(keys: &[SignerKey], url: &str) -> Vec<String> {
    let line = |key: &SignerKey| {
        let key = key.verifier();
        let suffix = match key.algorithm() {
            Algorithm::Ed25519 | Algorithm::Ed25519Cosignature => "",
            Algorithm::MlDsa44Cosignature => "-pq",
        };
        format!("witness {}{suffix} {key} {url}", key.name())
    };
    keys.iter().map(line).collect()
}

fn url(options: &Watch, listener: &Listener) -> String {
    let host = options.hostname.first().map_or("localhost", String::as_str);
    format!("https://{host}:{}", listener.local_address().port())
}

/// What is told once it serves.
struct Ready {
    url: String,
    port: u16,
    address: SocketAddr,
    lines: Vec<String>,
}

fn announce(
    role: Role,
    data: &Path,
    options: &Watch,
    logs: &[KnownLog],
    ready: &Ready,
) -> Result<(), Failure> {
    let root = data.join("tls/root-ca.pem");
    if let Some(path) = &options.ready_file {
        let value = json!({
            "url": ready.url,
            "port": ready.port,
            "root_ca": root,
            "policy_lines": ready.lines,
            "process": std::process::id(),
        });
        folder::write(path, &format!("{value:#}\n"), Secrecy::Public)?;
    }
    let mut lines = vec![
        format!(
            "sekisho {} is a {} on {}",
            env!("CARGO_PKG_VERSION"),
            role.name(),
            ready.address
        ),
        String::new(),
        format!("  URL      {}", ready.url),
        format!("  Root CA  {}", root.display()),
    ];
    for log in logs {
        lines.push(format!("  Ledger   {}", log.key.name()));
    }
    lines.extend([
        String::new(),
        "For the hub's --ledger-policy file (the root CA is for its --ledger-roots):".into(),
        String::new(),
    ]);
    lines.extend(ready.lines.iter().cloned());
    output::flushed_line(&lines.join("\n")).map_err(Failure::internal)
}

/// Serves nothing: neither MQTT, nor a record of those who came in vain but the log's.
struct NotServed;

impl Service for NotServed {
    fn serve(&self, _: Io, peer: Peer, _: Shutdown) -> ServiceFuture {
        tracing::debug!(address = %peer.address, "MQTT is not served here");
        Box::pin(async {})
    }
}

impl HandshakeObserver for NotServed {
    fn failed(&self, failure: HandshakeFailure) {
        tracing::info!(address = %failure.address, reason = %failure.reason, "a handshake failed");
    }
}
