//! `ledger …`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Where;

/// `ledger …`
#[derive(Debug, Subcommand)]
pub(crate) enum Ledger {
    /// How the ledger is: its size, its newest checkpoints, alarms
    Status {
        #[command(flatten)]
        hub: Where,
    },
    /// Print the policy by which anybody can check the ledger
    #[command(after_help = "Example:\n  sekisho ledger policy > policy.txt")]
    Policy {
        #[command(flatten)]
        hub: Where,
    },
    /// Copy the checkpoint, the tiles and the entries to a folder or an S3 bucket
    #[command(
        after_help = "Example:\n  sekisho ledger export --out ledger-export\n  sekisho ledger export --out s3://archive/hub-1 --s3-endpoint https://s3.example.org"
    )]
    Export {
        #[command(flatten)]
        hub: Where,
        /// A folder, or s3://BUCKET/PREFIX with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
        /// AWS_REGION set for it
        #[arg(long, value_name = "FOLDER")]
        out: String,
        /// Where the bucket is, when it is not at AWS
        #[arg(long, value_name = "URL")]
        s3_endpoint: Option<String>,
    },
    /// Check every entry, tile, checkpoint and cosignature
    #[command(
        after_help = "Exits with 0 when nothing is wrong, with 1 when something is.\n\nExample:\n  sekisho ledger verify\n  sekisho ledger verify --offline ledger-export --policy policy.txt"
    )]
    Verify {
        #[command(flatten)]
        hub: Where,
        /// An exported folder, instead of a running hub
        #[arg(long, value_name = "FOLDER")]
        offline: Option<PathBuf>,
        /// Whose signatures count (C2SP tlog-policy); by default what the hub itself says
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// A checkpoint from before, which the ledger must go on from
        #[arg(long, value_name = "FILE")]
        since: Option<PathBuf>,
    },
    /// Prove that an entry is in the ledger (C2SP tlog-proof)
    #[command(after_help = "Example:\n  sekisho ledger prove 17 --out 17.tlog-proof")]
    Prove {
        #[command(flatten)]
        hub: Where,
        /// The entry's index
        index: u64,
        /// The file to write
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Check a proof and show its entry; needs no hub
    #[command(after_help = "Example:\n  sekisho ledger check 17.tlog-proof --policy policy.txt")]
    Check {
        /// The proof
        proof: PathBuf,
        /// Whose signatures count (C2SP tlog-policy)
        #[arg(long, value_name = "FILE")]
        policy: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// The newest entries
    #[command(after_help = "Example:\n  sekisho ledger tail --follow")]
    Tail {
        #[command(flatten)]
        hub: Where,
        /// Go on as entries are made
        #[arg(long)]
        follow: bool,
        /// How many to begin with
        #[arg(long, default_value_t = 20, value_name = "N")]
        count: u64,
    },
    /// Find entries
    #[command(
        after_help = "Example:\n  sekisho ledger search --verb certificate.revoke --since 7d\n  sekisho ledger search --device pump-1 --actor operator/alice"
    )]
    Search {
        #[command(flatten)]
        hub: Where,
        #[command(flatten)]
        wanted: Wanted,
    },
    /// Forget what hashes in the ledger stand for; the ledger itself stays as it is
    #[command(
        after_help = "Example:\n  sekisho ledger erase operator/alice\n  sekisho ledger erase address/192.0.2.7\n  sekisho ledger erase device/pump-1"
    )]
    Erase {
        #[command(flatten)]
        hub: Where,
        /// operator/NAME, address/IP, or the states of a thing as KIND/NAME
        what: String,
    },
    /// The keys that sign the ledger, of a hub that is stopped
    Key {
        #[command(subcommand)]
        action: Key,
    },
    /// Everything that was ever done to a device
    #[command(after_help = "Example:\n  sekisho ledger history pump-1 --proofs pump-1-proofs")]
    History {
        #[command(flatten)]
        hub: Where,
        /// The device
        device: String,
        /// Where a proof of each entry goes, as INDEX.tlog-proof
        #[arg(long, value_name = "DIR")]
        proofs: Option<PathBuf>,
    },
}

/// `ledger key …`
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Add one; checkpoints are signed by all
    #[command(after_help = "Example:\n  sekisho ledger key add --data ./sekisho-data")]
    Add {
        #[command(flatten)]
        hub: Where,
    },
    /// Take one away
    #[command(after_help = "Example:\n  sekisho ledger key retire 5a549d6b")]
    Retire {
        #[command(flatten)]
        hub: Where,
        /// Its id, 8 hexadecimal digits
        id: String,
    },
    /// Show the public keys
    List {
        #[command(flatten)]
        hub: Where,
    },
}

/// Which entries.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Wanted {
    /// Whose: operator/NAME, certificate/ID or hub
    #[arg(long, value_name = "KIND/NAME")]
    pub(crate) actor: Option<String>,
    /// About this device
    #[arg(long, value_name = "ID")]
    pub(crate) device: Option<String>,
    /// About anything else
    #[arg(long, value_name = "KIND/NAME", conflicts_with = "device")]
    pub(crate) object: Option<String>,
    /// Such as device.create or certificate.revoke
    #[arg(long)]
    pub(crate) verb: Option<String>,
    /// Not before: 90s, 15m, 1h or 7d ago, or 2026-11-22T02:00:00Z
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<String>,
    /// Before
    #[arg(long, value_name = "WHEN")]
    pub(crate) until: Option<String>,
}
