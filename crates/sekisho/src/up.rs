//! `sekisho up`: one line per part, in the order in which they start.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use ca::ServerName;
use hub::{Hub, HubConfig, clock::Clock, clock::SystemClock};
use listen::{BindError, Gate, Listener, Security, Services, Shutdown, Tasks, Tls};
use model::limits;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    cli,
    failure::Failure,
    folder::{self, Endpoints, Folder, OperatorSecrets, Secrecy},
    ledger, output,
    services::{Aws, Cosigned, Http, Recorder},
    settings::Settings,
};

/// How long connections may take to end when the hub stops.
pub(crate) const DRAIN: Duration = Duration::from_secs(10);

/// How often the server's certificate on disk is looked at.
const CERTIFICATE_POLL: Duration = Duration::from_secs(2);

/// How often it is asked whether the server's certificate is due for renewal.
const RENEWAL_CHECK: Duration = Duration::from_secs(12 * 3600);

/// How often what has come due is done.
const SWEEP: Duration = Duration::from_secs(1);

/// Runs the hub until it is told to stop.
pub(crate) fn run(options: cli::Up) -> Result<(), Failure> {
    let settings = Settings::new(options)?;
    start_log();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::internal)?
        .block_on(serve(settings))
}

async fn serve(settings: Settings) -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let names = server_names(&settings.hostnames, settings.bind)?;
    // Ports first: when one is taken, nothing has been created.
    let ports = Ports::reserve(&settings)?;
    let folder = Folder::open(&settings.data, &names, clock.now())?;
    let store = store::Store::open(&folder.path).map_err(Failure::usage)?;
    let tls = Tls::new(Arc::clone(&folder.server));
    let listeners = ports.listeners(&settings, &tls)?;
    let endpoints = listeners.endpoints(&settings);

    let language = dialect_aws::policies::AwsSpelling {
        account: settings.account.clone(),
        region: settings.region.clone(),
    };
    let hub = Hub::open(
        store,
        folder.authority,
        Arc::clone(&clock),
        Arc::new(language),
        HubConfig {
            profile: settings.profile,
            account: settings.account.clone(),
            require_cosigned: settings.ledger.require_cosigned,
        },
    )
    .map_err(Failure::usage)?;

    let begun = hub.has_ledger().map_err(Failure::usage)?;
    let kept = ledger::setup(&settings, begun)?;
    let feeder = ledger::feeder(&settings, &kept.policy, &folder.path)?;
    hub.begin_ledger(kept, env!("CARGO_PKG_VERSION"), &settings.summary())
        .await
        .map_err(Failure::usage)?;
    ledger::forget_restored(&settings.data)?;

    let (trigger, shutdown) = Shutdown::new();
    let tasks = Tasks::new(limits::CONNECTIONS_TOTAL + 64);
    let mqtt = mqtt::Mqtt::new(hub.clone(), Arc::new(dialect_aws::Aws));
    let gate = Arc::new(Gate::new(
        Services {
            mqtt: Arc::new(mqtt.clone()),
            http: Arc::new(Http {
                site: site(&settings, &folder.operator, &endpoints, &hub),
                mqtt,
            }),
            amqp: None,
        },
        Arc::new(Recorder(hub.clone())),
        tasks.clone(),
        shutdown.clone(),
        {
            let clock = Arc::clone(&clock);
            Arc::new(move || clock.now())
        },
    ));
    for listener in listeners.all() {
        spawn(&tasks, listener.run(Arc::clone(&gate)))?;
    }
    spawn(&tasks, sweep(hub.clone(), shutdown.clone()))?;
    feeder
        .run(&Arc::new(Cosigned(hub.clone())), &tasks, &shutdown)
        .map_err(Failure::internal)?;
    spawn(
        &tasks,
        watch_certificate(
            settings.data.clone(),
            Arc::clone(&folder.server),
            shutdown.clone(),
        ),
    )?;
    spawn(
        &tasks,
        renew_certificate(settings.data.clone(), names, clock, shutdown.clone()),
    )?;
    announce(&settings, &folder.path, &endpoints)?;

    wait_for_stop().await?;
    // In this order: a connection that opens in between sees the request.
    trigger.request();
    hub.close_all();
    let left = tasks.wait(DRAIN).await;
    if left > 0 {
        tracing::warn!(left, "some connections did not end in time");
    }
    // Dropping the store writes what still waits.
    drop(hub);
    Ok(())
}

pub(crate) fn spawn(
    tasks: &Tasks,
    task: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Failure> {
    tasks.spawn(task).map_err(Failure::internal)
}

fn site(
    settings: &Settings,
    operator: &OperatorSecrets,
    endpoints: &Endpoints,
    hub: &Hub,
) -> Arc<https::Site> {
    let signatures = if settings.dev.is_some() {
        dialect_aws::sigv4::SignaturePolicy::AcceptAny
    } else {
        let secret = dialect_aws::sigv4::SecretKey::new(&operator.secret_access_key);
        dialect_aws::sigv4::SignaturePolicy::Verify(
            dialect_aws::sigv4::AccessKeys::default().with(operator.access_key_id.clone(), secret),
        )
    };
    let aws = Arc::new(Aws(dialect_aws::rest::Api::new(
        hub.clone(),
        signatures,
        dialect_aws::rest::ApiConfig {
            endpoint: endpoints.host.clone(),
            region: settings.region.clone(),
        },
    )));
    let token = https::Token::new(&operator.token);
    let setup = https::v1::Setup {
        dialect: Arc::new(dialect_aws::Aws),
        device_policy_name: "device-default".into(),
        device_policy: dialect_aws::policies::device_policy(&settings.account).into(),
        version: env!("CARGO_PKG_VERSION").into(),
    };
    let ready = hub.clone();
    let figures = hub.clone();
    let kept = hub.clone();
    let mut site = https::Site::new(https::v1::router(hub.clone(), setup), token)
        .with_cloud(Arc::clone(&aws) as Arc<dyn https::Cloud>)
        .with_websocket(aws)
        .with_readiness(move || !ready.has_failed())
        .with_ledger(move || kept.is_ledger_public())
        .with_figures(move || https::v1::figures(&figures));
    if settings.dev.is_some() {
        site = site.with_development(Development(hub.clone()));
    }
    Arc::new(site)
}

/// What `--dev` adds.
struct Development(Hub);

impl https::Development for Development {
    fn reset(&self) -> Result<(), String> {
        self.0.reset().map_err(|refusal| refusal.to_string())
    }

    fn advance_clock(&self, seconds: u64) {
        self.0.clock().advance(Duration::from_secs(seconds));
    }
}

/// The ports, held from before the folder is made until the listeners take them over.
struct Ports {
    https: SocketAddr,
    mqtt: SocketAddr,
    amqp: SocketAddr,
    http: Option<SocketAddr>,
}

impl Ports {
    /// Finds out that every port can be had, and which of the HTTPS ports.
    fn reserve(settings: &Settings) -> Result<Self, Failure> {
        let at = |port| SocketAddr::new(settings.bind, port);
        let last = settings.https_ports.len() - 1;
        let mut https = None;
        for (index, port) in settings.https_ports.iter().enumerate() {
            match Listener::bind(at(*port), Security::Plain).map(drop) {
                Ok(()) | Err(BindError::PlainBeyondLoopback(_)) => {
                    https = Some(at(*port));
                    break;
                }
                // 443 when it may be had, else the next.
                Err(_) if index < last => {}
                Err(error) => return Err(port_taken(&error, "--https-port")),
            }
        }
        let probe = |port: u16, option| match Listener::bind(at(port), Security::Plain) {
            Ok(_) | Err(BindError::PlainBeyondLoopback(_)) => Ok(at(port)),
            Err(error) => Err(port_taken(&error, option)),
        };
        Ok(Self {
            https: https.ok_or_else(|| Failure::usage("no HTTPS port can be bound"))?,
            mqtt: probe(settings.mqtt_port, "--mqtt-port")?,
            amqp: probe(settings.amqp_port, "--amqp-port")?,
            http: match settings.dev {
                Some(dev) => Some(probe(dev.http_port, "--http-port")?),
                None => None,
            },
        })
    }

    fn listeners(&self, settings: &Settings, tls: &Tls) -> Result<Listeners, Failure> {
        let open = |address, security, option| {
            Listener::bind(address, security).map_err(|error| port_taken(&error, option))
        };
        let secure = || Security::Tls(tls.clone());
        debug_assert_eq!(settings.dev.is_some(), self.http.is_some());
        Ok(Listeners {
            https: open(self.https, secure(), "--https-port")?,
            mqtt: open(self.mqtt, secure(), "--mqtt-port")?,
            amqp: open(self.amqp, secure(), "--amqp-port")?,
            http: match self.http {
                Some(address) => Some(open(address, Security::Plain, "--http-port")?),
                None => None,
            },
        })
    }
}

/// The open ports.
struct Listeners {
    https: Listener,
    mqtt: Listener,
    amqp: Listener,
    http: Option<Listener>,
}

impl Listeners {
    fn endpoints(&self, settings: &Settings) -> Endpoints {
        Endpoints {
            host: settings
                .hostnames
                .first()
                .cloned()
                .unwrap_or_else(|| "localhost".into()),
            https_port: self.https.local_address().port(),
            mqtt_port: self.mqtt.local_address().port(),
            amqp_port: self.amqp.local_address().port(),
            http_port: self.http.as_ref().map(|http| http.local_address().port()),
            region: settings.region.clone(),
            process: std::process::id(),
        }
    }

    fn all(self) -> impl Iterator<Item = Listener> {
        [
            Some(self.https),
            Some(self.mqtt),
            Some(self.amqp),
            self.http,
        ]
        .into_iter()
        .flatten()
    }
}

pub(crate) fn port_taken(error: &BindError, option: &str) -> Failure {
    Failure::usage(format!("{error}; choose another with {option}"))
}

/// What the server certificate is for: the given names, the machine's own, and loopback.
pub(crate) fn server_names(hostnames: &[String], bind: IpAddr) -> Result<Vec<ServerName>, Failure> {
    let mut names: Vec<ServerName> = Vec::new();
    let mut add = |name: ServerName| {
        if !names.contains(&name) {
            names.push(name);
        }
    };
    for name in hostnames {
        add(name.parse().map_err(Failure::usage)?);
    }
    for name in ["localhost", "127.0.0.1", "::1"] {
        add(name.parse().map_err(Failure::internal)?);
    }
    // A machine whose name is no host name is reached by the others.
    let machine = rustix::system::uname();
    if let Ok(name) = machine.nodename().to_string_lossy().parse() {
        add(name);
    }
    if !bind.is_unspecified() {
        add(ServerName::Ip(bind));
    }
    Ok(names)
}

async fn sweep(hub: Hub, mut shutdown: Shutdown) {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => hub.sweep().await,
            () = shutdown.requested() => return,
        }
    }
}

/// Renews the server's certificate in time; [`watch_certificate`] takes it over.
pub(crate) async fn renew_certificate(
    data: PathBuf,
    names: Vec<ServerName>,
    clock: Arc<dyn Clock>,
    mut shutdown: Shutdown,
) {
    let mut ticks = tokio::time::interval(RENEWAL_CHECK);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.requested() => return,
        }
        match folder::renew(&data, &names, clock.now()) {
            Ok(true) => tracing::info!("renewed the server certificate"),
            Ok(false) => {}
            Err(failure) => tracing::error!(%failure, "cannot renew the server certificate"),
        }
    }
}

/// Takes over a new server certificate when its files change, or at once on SIGHUP.
pub(crate) async fn watch_certificate(
    data: PathBuf,
    identity: Arc<listen::ServerIdentity>,
    mut shutdown: Shutdown,
) {
    let tls = data.join("tls");
    let mut known = modified(&tls);
    let mut ticks = tokio::time::interval(CERTIFICATE_POLL);
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::error!("SIGHUP cannot be watched; a new certificate needs a restart");
        return;
    };
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let now = modified(&tls);
                if now == known {
                    continue;
                }
                known = now;
            }
            _ = hangup.recv() => {}
            () = shutdown.requested() => return,
        }
        match reload(&tls, &identity) {
            Ok(()) => tracing::info!("took over a new server certificate"),
            Err(failure) => tracing::warn!(%failure, "kept the old server certificate"),
        }
    }
}

fn reload(tls: &Path, identity: &listen::ServerIdentity) -> Result<(), Failure> {
    let chain = folder::read(&tls.join("server.pem"))?;
    let key = folder::read(&tls.join("server.key"))?;
    identity.reload(&chain, &key).map_err(Failure::usage)
}

fn modified(tls: &Path) -> [Option<SystemTime>; 2] {
    ["server.pem", "server.key"].map(|name| {
        std::fs::metadata(tls.join(name))
            .and_then(|file| file.modified())
            .ok()
    })
}

/// Tells programs (files) and people (one screen) that the hub serves.
fn announce(settings: &Settings, data: &Path, endpoints: &Endpoints) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(endpoints).map_err(Failure::internal)?;
    folder::write(&data.join("endpoints.json"), &text, Secrecy::Public)?;
    if let Some(path) = &settings.ready_file {
        folder::write(path, &text, Secrecy::Public)?;
    }
    let data = data.display();
    let host = &endpoints.host;
    let mut lines = vec![
        format!(
            "sekisho {} serves on {}",
            env!("CARGO_PKG_VERSION"),
            settings.bind
        ),
        String::new(),
        format!("  HTTPS    {host}:{}", endpoints.https_port),
        format!("  MQTT     {host}:{} (TLS)", endpoints.mqtt_port),
    ];
    if let Some(port) = endpoints.http_port {
        lines.push(format!(
            "  HTTP     127.0.0.1:{port} (development: any signature is taken)"
        ));
    }
    lines.extend([
        format!("  Root CA  {data}/tls/root-ca.pem"),
        String::new(),
        format!("  AWS      eval \"$(sekisho env --data {data})\" && aws iot describe-endpoint"),
        "  Azure    not built yet".into(),
        "  Portal   not built yet".into(),
        String::new(),
        format!("Next: sekisho device add my-device --data {data}"),
    ]);
    output::flushed_line(&lines.join("\n")).map_err(Failure::internal)
}

pub(crate) async fn wait_for_stop() -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::internal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::internal)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

pub(crate) fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SEKISHO_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // The only failure is a log that was started before, which there is not.
    let _ = log.try_init();
}
