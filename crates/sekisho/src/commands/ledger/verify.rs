//! `sekisho ledger verify`: everything, from a running hub or from nothing but files.

use std::{num::NonZeroUsize, path::Path, thread};

use indicatif::ProgressBar;
use ledger::audit::{self, Options, Report, Source};
use tlog::{Note, Policy};

use super::{
    export::bar_style, find, folder::Folder, ledger, not_a, read, read_policy, remote::Remote,
};
use crate::{
    cli::Where,
    failure::Failure,
    ledger::{KEY_FILE, read_keys},
    output,
};

/// What is said when nobody has named a policy.
const OWN_POLICY: &str =
    "by the hub's own policy; one that was kept elsewhere (--policy) proves more";

/// Files that are asked of a hub at the same time.
const ASKED_AT_ONCE: NonZeroUsize = NonZeroUsize::new(8).expect("eight is not zero");

/// Verifies an export: by the policy in a file, or, where the hub itself is at hand, by its own.
pub(super) async fn offline(
    folder: &Path,
    hub: &Where,
    policy: Option<&Path>,
    since: Option<&Path>,
) -> Result<(), Failure> {
    if !folder.is_dir() {
        return Err(Failure::usage(format!(
            "{} is not a folder",
            folder.display()
        )));
    }
    let policy = match policy {
        Some(policy) => read_policy(policy)?,
        None => own_policy(hub).await?,
    };
    let options = Options {
        since: read_since(since)?,
        threads: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
    };
    tell(&verify(&Folder::new(folder), &policy, &options)?, hub.json)
}

/// The policy of the hub of `--data`: as it tells while it runs, else its own keys alone.
async fn own_policy(hub: &Where) -> Result<Policy, Failure> {
    if let Ok(client) = find(hub)
        && let Ok(ledger) = ledger(&client).await
    {
        output::note(OWN_POLICY);
        return parse_own(&ledger.policy);
    }
    let keys = read_keys(&hub.data.join(KEY_FILE)).map_err(|_| {
        Failure::usage(
            "name the policy to check by with --policy FILE; on the hub's machine, \
             `sekisho ledger policy` prints it",
        )
    })?;
    let mut keys = keys.iter().map(|key| key.verifier().clone());
    let first = keys
        .next()
        .ok_or_else(|| Failure::internal("a ledger has a key"))?;
    output::note(OWN_POLICY);
    Ok(keys.fold(Policy::of_log(first), Policy::with_log))
}

fn parse_own(text: &str) -> Result<Policy, Failure> {
    Policy::parse(text.as_bytes())
        .map_err(|error| Failure::internal(format!("the hub's policy cannot be read: {error}")))
}

/// Verifies what a running hub serves.
pub(super) async fn online(
    hub: &Where,
    policy: Option<&Path>,
    since: Option<&Path>,
) -> Result<(), Failure> {
    let client = find(hub)?;
    let policy = match policy {
        Some(policy) => read_policy(policy)?,
        None => {
            output::note(OWN_POLICY);
            parse_own(&ledger(&client).await?.policy)?
        }
    };
    let options = Options {
        since: read_since(since)?,
        threads: ASKED_AT_ONCE,
    };
    let remote = Remote::new(client);
    let report = tokio::task::spawn_blocking(move || verify(&remote, &policy, &options));
    tell(&report.await.map_err(Failure::internal)??, hub.json)
}

fn read_since(path: Option<&Path>) -> Result<Option<Note>, Failure> {
    let Some(path) = path else {
        return Ok(None);
    };
    let note = Note::parse(&read(path)?).map_err(|error| not_a("checkpoint", path, &error))?;
    Ok(Some(note))
}

fn verify<S: Source>(source: &S, policy: &Policy, options: &Options) -> Result<Report, Failure> {
    let bar = ProgressBar::no_length().with_style(bar_style("entries")?);
    let report = audit::verify(source, policy, options, &|done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    Ok(report)
}

/// As `--json` prints it.
#[derive(serde::Serialize)]
struct Verdict<'a> {
    sound: bool,
    origin: Option<&'a str>,
    size: Option<u64>,
    root: Option<String>,
    witnesses: &'a [String],
    entries: u64,
    files: u64,
    bytes: u64,
    fault_count: u64,
    faults: Vec<Fault<'a>>,
}

#[derive(serde::Serialize)]
struct Fault<'a> {
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<u64>,
    message: String,
}

fn tell(report: &Report, json: bool) -> Result<(), Failure> {
    if json {
        let checkpoint = report.checkpoint.as_ref();
        output::json(&Verdict {
            sound: report.is_sound(),
            origin: checkpoint.map(|checkpoint| checkpoint.origin.as_str()),
            size: checkpoint.map(|checkpoint| checkpoint.size),
            root: checkpoint.map(|checkpoint| checkpoint.root.to_string()),
            witnesses: &report.witnesses,
            entries: report.entries,
            files: report.files,
            bytes: report.bytes,
            fault_count: report.fault_count,
            faults: report
                .faults
                .iter()
                .map(|fault| Fault {
                    file: &fault.file,
                    entry: fault.entry,
                    message: fault.trouble.to_string(),
                })
                .collect(),
        })?;
    } else {
        for fault in &report.faults {
            output::line(&fault.to_string());
        }
        let unlisted = report.fault_count - report.faults.len() as u64;
        if unlisted > 0 {
            output::line(&format!("and {unlisted} more"));
        }
    }
    if !report.is_sound() {
        return Err(Failure::Refused(match report.fault_count {
            1 => "the ledger is not sound: 1 fault".into(),
            count => format!("the ledger is not sound: {count} faults"),
        }));
    }
    if let (false, Some(checkpoint)) = (json, &report.checkpoint) {
        let witnesses = match report.witnesses.as_slice() {
            [] => "nobody but the ledger itself".to_owned(),
            names => names.join(", "),
        };
        output::line(&format!(
            "sound: {} entries of {} in {} files ({} bytes), root {}, witnessed by {witnesses}",
            checkpoint.size, checkpoint.origin, report.files, report.bytes, checkpoint.root
        ));
    }
    Ok(())
}
