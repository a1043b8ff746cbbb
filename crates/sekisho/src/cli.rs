//! The command line.

mod ledger;

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use ledger::{Key, Ledger, Wanted};

/// The open IoT cloud that people can own: AWS IoT Core on the wire, in one binary.
#[derive(Debug, Parser)]
#[command(
    name = "sekisho",
    version,
    after_help = "Example:\n  sekisho up\n  sekisho device add pump-1 --out pump-1\n  sekisho explain --as pump-1 publish sensors/pump-1"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the hub
    #[command(after_help = "Example:\n  sekisho up --hostname hub.example.org --bind 0.0.0.0")]
    Up(Box<Up>),
    /// Run a witness: it cosigns a hub's ledger as long as that only grows
    #[command(
        after_help = "Example:\n  sekisho witness --data ./witness --log 'hub.example/ledger+1a2b3c4d+AZ…' --hostname w1.example"
    )]
    Witness(Box<Watch>),
    /// Run a mirror: a witness that also holds and serves a copy of the ledger
    #[command(
        after_help = "Example:\n  sekisho mirror --data ./mirror --policy ledger.policy --hostname m1.example"
    )]
    Mirror(Box<Watch>),
    /// Print what clients need: endpoint, keys, root CA
    #[command(after_help = "Example:\n  eval \"$(sekisho env)\" && aws iot list-things")]
    Env {
        #[command(flatten)]
        hub: Where,
        /// Lines for a shell, or one JSON object
        #[arg(long, value_enum, default_value_t = EnvFormat::Shell)]
        format: EnvFormat,
    },
    /// Devices: add, list, show, disable, enable, remove
    Device {
        #[command(subcommand)]
        action: Device,
    },
    /// Certificates: list, revoke
    Cert {
        #[command(subcommand)]
        action: Cert,
    },
    /// Policies: list, show, create, attach, detach
    Policy {
        #[command(subcommand)]
        action: Policy,
    },
    /// Tell whether a device may do something, and why
    #[command(
        after_help = "Example:\n  sekisho explain --as pump-1 publish sensors/pump-1/temperature"
    )]
    Explain {
        #[command(flatten)]
        hub: Where,
        /// The device
        #[arg(long = "as", value_name = "DEVICE")]
        device: String,
        #[command(subcommand)]
        question: Question,
    },
    /// What happened to a device, with reasons
    #[command(after_help = "Example:\n  sekisho timeline pump-1 --since 1h")]
    Timeline {
        #[command(flatten)]
        hub: Where,
        /// The device or client id
        device: String,
        /// How far back, such as 90s, 15m, 1h, 7d
        #[arg(long, default_value = "24h", value_name = "AGO")]
        since: String,
    },
    /// Handshakes and connections as they happen
    #[command(after_help = "Example:\n  sekisho trace --failed --follow")]
    Trace {
        #[command(flatten)]
        hub: Where,
        /// Only what did not go as the device wished
        #[arg(long)]
        failed: bool,
        /// Go on as things happen
        #[arg(long)]
        follow: bool,
    },
    /// Look at messages as they are published
    #[command(after_help = "Example:\n  sekisho tail 'sensors/#'")]
    Tail {
        #[command(flatten)]
        hub: Where,
        /// A topic filter
        filter: String,
        /// End after so many messages
        #[arg(long, value_name = "N")]
        count: Option<u64>,
    },
    /// Publish a message
    #[command(after_help = "Example:\n  sekisho publish commands/pump-1 '{\"run\":true}'")]
    Publish {
        #[command(flatten)]
        hub: Where,
        /// The topic
        topic: String,
        /// The payload
        payload: String,
        /// Quality of service: 0 or 1
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
        qos: u8,
        /// Keep it for later subscribers
        #[arg(long)]
        retain: bool,
    },
    /// The ledger of everything that was done: export, verify, prove, search
    Ledger {
        #[command(subcommand)]
        action: Ledger,
    },
    /// How the hub is
    Status {
        #[command(flatten)]
        hub: Where,
    },
    /// Check the data folder and the machine
    Doctor {
        /// The hub's folder
        #[arg(long, default_value = "./sekisho-data", value_name = "DIR")]
        data: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write everything the hub keeps into one file, also while it runs
    #[command(after_help = "Example:\n  sekisho backup hub.backup")]
    Backup {
        #[command(flatten)]
        hub: Where,
        /// The file
        file: PathBuf,
    },
    /// Make a data folder from a backup
    #[command(after_help = "Example:\n  sekisho restore hub.backup --data ./sekisho-data")]
    Restore {
        /// The folder to make
        #[arg(long, default_value = "./sekisho-data", value_name = "DIR")]
        data: PathBuf,
        /// An export or a mirror's copy of the ledger: what it has beyond the backup is taken over,
        /// so that the history goes on where it ended
        #[arg(long, value_name = "FOLDER")]
        ledger: Option<PathBuf>,
        /// The file
        file: PathBuf,
    },
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Where the hub is, and how to print.
#[derive(Clone, Debug, Args)]
pub(crate) struct Where {
    /// The hub's folder, for its address and token; or set SEKISHO_URL and SEKISHO_TOKEN
    #[arg(
        long,
        global = true,
        default_value = "./sekisho-data",
        value_name = "DIR"
    )]
    pub(crate) data: PathBuf,
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// How `env` prints.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum EnvFormat {
    /// `export NAME=value`
    Shell,
    /// One object
    Json,
}

/// Options of `up`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Up {
    /// The folder everything is kept in; created on first start [default: ./sekisho-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The address to listen on [default: 127.0.0.1]
    #[arg(long, value_name = "ADDR")]
    pub(crate) bind: Option<IpAddr>,
    /// A name clients reach the hub by, for its certificate; repeatable
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname: Vec<String>,
    /// HTTPS [default: 443 if it may be bound, else 8443]
    #[arg(long, value_name = "N")]
    pub(crate) https_port: Option<u16>,
    /// MQTT over TLS [default: 8883]
    #[arg(long, value_name = "N")]
    pub(crate) mqtt_port: Option<u16>,
    /// AMQP over TLS [default: 5671]
    #[arg(long, value_name = "N")]
    pub(crate) amqp_port: Option<u16>,
    /// Whose restrictions to keep to [default: standard]
    #[arg(long, value_enum)]
    pub(crate) profile: Option<ProfileName>,
    /// The account in resource names, 12 digits [default: 000000000000]
    #[arg(long, value_name = "DIGITS", value_parser = account)]
    pub(crate) account: Option<String>,
    /// The region in resource names that no request says otherwise of [default: us-east-1]
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Option<String>,
    #[command(flatten)]
    pub(crate) ledger: LedgerOptions,
    /// For development on this machine: plain HTTP, any request signature, a clock that can be
    /// moved. Loopback only
    #[arg(long)]
    pub(crate) dev: bool,
    /// Plain HTTP, with --dev [default: 4566]
    #[arg(long, value_name = "N", requires = "dev")]
    pub(crate) http_port: Option<u16>,
    /// Options from a TOML file; the command line wins
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Written when every listener accepts
    #[arg(long, value_name = "PATH")]
    pub(crate) ready_file: Option<PathBuf>,
}

/// A profile, by name.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ProfileName {
    /// A complete MQTT broker with generous limits
    #[default]
    Standard,
    /// What AWS IoT Core allows and nothing more
    AwsStrict,
    /// What Azure IoT Hub allows and nothing more
    AzureStrict,
}

/// The options of `up` that are about the ledger.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Ledger")]
pub(crate) struct LedgerOptions {
    /// The name of the ledger in its checkpoints, from the first start on
    /// [default: the first --hostname and a random part]
    #[arg(long, value_name = "NAME")]
    pub(crate) ledger_origin: Option<String>,
    /// Witnesses and mirrors, and how many of them make the ledger final: a C2SP tlog-policy file
    #[arg(long, value_name = "FILE")]
    pub(crate) ledger_policy: Option<PathBuf>,
    /// Root certificates of the witnesses and mirrors, PEM; repeatable
    #[arg(long, value_name = "FILE")]
    pub(crate) ledger_roots: Vec<PathBuf>,
    /// Answer changes only when the witnesses have cosigned them, and refuse changes when that
    /// takes longer than so many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "10",
          value_parser = clap::value_parser!(u64).range(1..=300))]
    pub(crate) require_cosigned: Option<u64>,
    /// Let everybody read the ledger's checkpoint and tiles
    #[arg(long)]
    pub(crate) ledger_public: bool,
    /// The clock was set back, and that is right: begin with an entry that says so
    #[arg(long)]
    pub(crate) accept_clock: bool,
}

/// Options of `witness` and `mirror`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Watch {
    /// The folder everything is kept in; created on first start
    /// [default: ./sekisho-witness or ./sekisho-mirror]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The public key of a ledger, as the hub prints it; repeatable
    #[arg(long, value_name = "VKEY")]
    pub(crate) log: Vec<tlog::VerifierKey>,
    /// A C2SP tlog-policy file, whose `log` lines are taken, with the addresses they name
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// What it signs as, from the first start on [default: host, role and a few random digits]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    pub(crate) bind: IpAddr,
    /// HTTPS; 0 lets the system choose [default: 8447 for a witness, 8448 for a mirror]
    #[arg(long, value_name = "N")]
    pub(crate) port: Option<u16>,
    /// A name that hubs reach it by, for its certificate; repeatable
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname: Vec<String>,
    /// Sign with an ML-DSA-44 key too, which holds against quantum computers; from the first
    /// start on
    #[arg(long)]
    pub(crate) post_quantum: bool,
    /// Root certificates to trust when a ledger is asked for its tiles, PEM; repeatable
    #[arg(long, value_name = "FILE")]
    pub(crate) roots: Vec<PathBuf>,
    /// Written when it accepts connections
    #[arg(long, value_name = "PATH")]
    pub(crate) ready_file: Option<PathBuf>,
}

/// `device …`
#[derive(Debug, Subcommand)]
pub(crate) enum Device {
    /// Register a device and issue its key and certificate
    #[command(after_help = "Example:\n  sekisho device add pump-1 --out pump-1 --policy pumps")]
    Add {
        #[command(flatten)]
        hub: Where,
        /// Its name
        id: String,
        /// Where its files go: device.pem, device.key, root-ca.pem [default: ./ID]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// The policy to attach; without one, a policy is made that lets the device use its own
        /// topics and shadows
        #[arg(long, value_name = "NAME")]
        policy: Option<String>,
    },
    /// All devices
    List {
        #[command(flatten)]
        hub: Where,
    },
    /// One device: certificates, groups, connection
    Show {
        #[command(flatten)]
        hub: Where,
        /// Its name
        id: String,
    },
    /// Deactivate its certificates and end its connection
    Disable {
        #[command(flatten)]
        hub: Where,
        /// Its name
        id: String,
    },
    /// Activate its certificates again
    Enable {
        #[command(flatten)]
        hub: Where,
        /// Its name
        id: String,
    },
    /// Remove it with the certificates that are only its own
    Remove {
        #[command(flatten)]
        hub: Where,
        /// Its name
        id: String,
    },
}

/// `cert …`
#[derive(Debug, Subcommand)]
pub(crate) enum Cert {
    /// All certificates
    List {
        #[command(flatten)]
        hub: Where,
    },
    /// Revoke one for good and end its connections
    Revoke {
        #[command(flatten)]
        hub: Where,
        /// Its id
        id: String,
    },
}

/// `policy …`
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// All policies
    List {
        #[command(flatten)]
        hub: Where,
    },
    /// The text in force
    Show {
        #[command(flatten)]
        hub: Where,
        /// Its name
        name: String,
    },
    /// Create one from a file (AWS IoT policy JSON)
    Create {
        #[command(flatten)]
        hub: Where,
        /// Its name
        name: String,
        /// The file
        file: PathBuf,
    },
    /// Attach one to a device's certificates
    Attach {
        #[command(flatten)]
        hub: Where,
        /// Its name
        name: String,
        /// The device
        device: String,
    },
    /// Detach one from a device's certificates
    Detach {
        #[command(flatten)]
        hub: Where,
        /// Its name
        name: String,
        /// The device
        device: String,
    },
}

/// `explain …`
#[derive(Debug, Subcommand)]
pub(crate) enum Question {
    /// May it connect?
    Connect,
    /// May it publish to this topic?
    Publish {
        /// The topic
        topic: String,
    },
    /// May it subscribe to this filter?
    Subscribe {
        /// The filter
        filter: String,
    },
    /// May it receive messages of this topic?
    Receive {
        /// The topic
        topic: String,
    },
}

fn account(text: &str) -> Result<String, String> {
    if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err("an account has 12 digits".into())
    }
}
