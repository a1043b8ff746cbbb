//! What `up` runs with: the command line over the configuration file over the defaults.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::Duration,
};

use model::limits::Profile;
use serde::Deserialize;

use crate::{
    cli::{ProfileName, Up},
    failure::Failure,
};

/// What `up` runs with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) data: PathBuf,
    pub(crate) bind: IpAddr,
    pub(crate) hostnames: Vec<String>,
    /// The first that can be bound is taken.
    pub(crate) https_ports: Vec<u16>,
    pub(crate) mqtt_port: u16,
    pub(crate) amqp_port: u16,
    pub(crate) profile: Profile,
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) dev: Option<DevSettings>,
    pub(crate) ready_file: Option<PathBuf>,
    pub(crate) ledger: LedgerSettings,
}

/// How the ledger is kept.
#[derive(Clone, Debug)]
pub(crate) struct LedgerSettings {
    pub(crate) origin: Option<String>,
    pub(crate) policy: Option<PathBuf>,
    pub(crate) roots: Vec<PathBuf>,
    pub(crate) require_cosigned: Option<Duration>,
    pub(crate) public: bool,
    pub(crate) accept_clock: bool,
}

/// What only a hub in development has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DevSettings {
    pub(crate) http_port: u16,
}

/// The configuration file: the options of `up` by their names, all optional.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct File {
    data: Option<PathBuf>,
    bind: Option<IpAddr>,
    hostname: Vec<String>,
    https_port: Option<u16>,
    mqtt_port: Option<u16>,
    amqp_port: Option<u16>,
    profile: Option<ProfileName>,
    account: Option<String>,
    region: Option<String>,
    dev: bool,
    http_port: Option<u16>,
    ready_file: Option<PathBuf>,
    ledger_origin: Option<String>,
    ledger_policy: Option<PathBuf>,
    ledger_roots: Vec<PathBuf>,
    require_cosigned: Option<u64>,
    ledger_public: bool,
}

impl Settings {
    /// Reads the configuration file, if one is named, and lays the command line over it.
    pub(crate) fn new(options: Up) -> Result<Self, Failure> {
        let file = match &options.config {
            Some(path) => read(path)?,
            None => File::default(),
        };
        let bind = options
            .bind
            .or(file.bind)
            .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let dev = options.dev || file.dev;
        if dev && !bind.is_loopback() {
            return Err(Failure::usage(format!(
                "--dev accepts any signature and so binds loopback addresses only, not {bind}; \
                 leave out --dev or --bind"
            )));
        }
        let profile = match options.profile.or(file.profile).unwrap_or_default() {
            ProfileName::Standard => Profile::Standard,
            ProfileName::AwsStrict => Profile::AwsStrict,
            ProfileName::AzureStrict => {
                return Err(Failure::usage(
                    "the profile azure-strict comes with the Azure dialect, which is not built yet",
                ));
            }
        };
        let ledger = LedgerSettings {
            origin: options.ledger.ledger_origin.or(file.ledger_origin),
            policy: options.ledger.ledger_policy.or(file.ledger_policy),
            roots: if options.ledger.ledger_roots.is_empty() {
                file.ledger_roots
            } else {
                options.ledger.ledger_roots
            },
            require_cosigned: options
                .ledger
                .require_cosigned
                .or(file.require_cosigned)
                .map(Duration::from_secs),
            public: options.ledger.ledger_public || file.ledger_public,
            // A hub in development has its clock moved forward, and forgets that when it stops.
            accept_clock: options.ledger.accept_clock || dev,
        };
        if ledger.require_cosigned.is_some() && ledger.policy.is_none() {
            return Err(Failure::usage(
                "--require-cosigned needs witnesses: name them with --ledger-policy FILE",
            ));
        }
        let hostnames = if options.hostname.is_empty() {
            file.hostname
        } else {
            options.hostname
        };
        Ok(Self {
            data: options
                .data
                .or(file.data)
                .unwrap_or_else(|| "./sekisho-data".into()),
            bind,
            hostnames,
            https_ports: match options.https_port.or(file.https_port) {
                Some(port) => vec![port],
                None => vec![443, 8443],
            },
            mqtt_port: options.mqtt_port.or(file.mqtt_port).unwrap_or(8883),
            amqp_port: options.amqp_port.or(file.amqp_port).unwrap_or(5671),
            profile,
            account: options
                .account
                .or(file.account)
                .unwrap_or_else(|| "000000000000".into()),
            region: options
                .region
                .or(file.region)
                .unwrap_or_else(|| "us-east-1".into()),
            dev: dev.then(|| DevSettings {
                http_port: options.http_port.or(file.http_port).unwrap_or(4566),
            }),
            ready_file: options.ready_file.or(file.ready_file),
            ledger,
        })
    }
}

impl Settings {
    /// What the ledger records of them: whatever decides who may do what, and what is promised.
    pub(crate) fn summary(&self) -> String {
        let Self {
            profile,
            account,
            region,
            bind,
            dev,
            ledger,
            ..
        } = self;
        let cosigned = match ledger.require_cosigned {
            Some(within) => format!("within {} s", within.as_secs()),
            None => "no".into(),
        };
        format!(
            "profile {profile:?}, account {account}, region {region}, bind {bind}, \
             development {}, cosigned {cosigned}, public ledger {}",
            dev.is_some(),
            ledger.public
        )
    }
}

fn read(path: &Path) -> Result<File, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
    toml::from_str(&text).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}
