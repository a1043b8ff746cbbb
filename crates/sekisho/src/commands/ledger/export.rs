//! `sekisho ledger export`: the ledger's files in another place, brought up to date.
//!
//! Tiles and bundles come first, the checkpoint after all of them, and only then do the partial
//! tiles go that the new ones replace: whenever it breaks off, the place holds the old export or
//! the new one, and exporting again completes it.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use ledger::audit::Source as _;
use tlog::{
    Checkpoint, Hash, Level, Note, Policy, TileId, TileNodes,
    merkle::root,
    tile::{TileError, tiles_of},
};

use super::{CHECKPOINT, find, folder::Folder, ledger, remote::Remote, s3::Bucket};
use crate::{cli::Where, client::Hub, failure::Failure, output};

/// Files that are copied at the same time: what is waited for is the network.
const COPIERS: usize = 8;

/// How often, and how far apart, the hub is asked whether all is final: some seconds in all.
const SETTLE_TRIES: u32 = 100;
const SETTLE_PAUSE: Duration = Duration::from_millis(100);

/// Where an export goes.
pub(super) trait Place: Sync {
    /// Every file there, with its bytes.
    fn files(&self) -> Result<Vec<(String, u64)>, Failure>;

    /// The bytes of a file.
    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, Failure>;

    /// Writes a file, whole or not at all.
    fn put(&self, path: &str, bytes: &[u8]) -> Result<(), Failure>;

    /// Removes a file.
    fn remove(&self, path: &str) -> Result<(), Failure>;

    /// Whether an export that broke off left this file behind.
    fn is_leftover(&self, path: &str) -> bool;

    /// What people call it.
    fn name(&self) -> String;
}

/// What was done.
#[derive(serde::Serialize)]
struct Done {
    origin: String,
    size: u64,
    copied: usize,
    kept: usize,
    removed: usize,
}

pub(super) async fn run(
    hub: &Where,
    out: String,
    s3_endpoint: Option<String>,
) -> Result<(), Failure> {
    let place: Box<dyn Place + Send> = match out.strip_prefix("s3://") {
        Some(out) => Box::new(Bucket::open(out, s3_endpoint.as_deref())?),
        None if s3_endpoint.is_some() => {
            return Err(Failure::usage("--s3-endpoint goes with --out s3://…"));
        }
        None => Box::new(Folder::new(&out)),
    };
    let client = find(hub)?;
    // That somebody took a copy is itself worth an entry.
    let recorded: api::Ledger = client.post("/ledger/exports", &()).await?;
    let policy = settled(&client, recorded.size).await?.policy;
    let policy = Policy::parse(policy.as_bytes())
        .map_err(|error| Failure::internal(format!("the hub's policy cannot be read: {error}")))?;
    let remote = Remote::new(client);
    let done = tokio::task::spawn_blocking(move || export(&remote, &policy, place.as_ref()));
    let done = done.await.map_err(Failure::internal)??;
    if hub.json {
        return output::json(&done);
    }
    output::note(&format!(
        "{out} holds the {} entries of {}: {} files copied, {} already there, {} old ones removed",
        done.size, done.origin, done.copied, done.kept, done.removed
    ));
    output::note(
        "to check it elsewhere, take the policy along: sekisho ledger policy > policy.txt; then \
         sekisho ledger verify --offline FOLDER --policy policy.txt",
    );
    Ok(())
}

/// Waits until what was done before the export is in the final checkpoint, which the witnesses may
/// take a moment for; without them, an export of what is final is better than none.
async fn settled(client: &Hub, size: u64) -> Result<api::Ledger, Failure> {
    let mut last = ledger(client).await?;
    for _ in 0..SETTLE_TRIES {
        if last.final_size >= size {
            return Ok(last);
        }
        tokio::time::sleep(SETTLE_PAUSE).await;
        last = ledger(client).await?;
    }
    output::note(&format!(
        "the newest {} entries are not final yet and stay out; see `sekisho ledger status`",
        size.saturating_sub(last.final_size)
    ));
    Ok(last)
}

fn export(remote: &Remote, policy: &Policy, place: &dyn Place) -> Result<Done, Failure> {
    let text = remote
        .read(CHECKPOINT)?
        .ok_or_else(|| Failure::Refused("the hub has no checkpoint yet; try again".into()))?;
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::Refused(format!("the hub's checkpoint is not right: {error}"))
    };
    let note = Note::parse(&text).map_err(|error| wrong(&error))?;
    let standing = policy.is_final(&note).map_err(|error| wrong(&error))?;
    if !standing.is_final() {
        return Err(wrong(&"its signatures are not those of its policy"));
    }
    let checkpoint = standing.checkpoint;
    let held: BTreeMap<_, _> = place.files()?.into_iter().collect();
    if held.contains_key(CHECKPOINT) {
        goes_on(remote, policy, &checkpoint, place)?;
    }
    let wanted: Vec<_> = tiles_of(checkpoint.size)
        .filter(|id| !is_held(*id, &held))
        .collect();
    copy(remote, place, &wanted)?;
    place.put(CHECKPOINT, &text)?;
    let mut removed = 0;
    for path in held.keys() {
        let old = path.parse().is_ok_and(|id: TileId| {
            TileId::in_tree(id.level, id.index, checkpoint.size) != Some(id)
        });
        if old || place.is_leftover(path) {
            place.remove(path)?;
            removed += 1;
        }
    }
    Ok(Done {
        copied: wanted.len(),
        kept: tiles_of(checkpoint.size).count() - wanted.len(),
        removed,
        size: checkpoint.size,
        origin: checkpoint.origin,
    })
}

/// What is full never changes. The length of a bundle is not known beforehand, so only that it is
/// there can be seen; `verify` sees the rest.
fn is_held(id: TileId, held: &BTreeMap<String, u64>) -> bool {
    let whole = TileId::is_full(&id).then_some(u64::from(id.width) * Hash::LENGTH as u64);
    match (held.get(&id.path()), whole, id.level) {
        (Some(length), Some(whole), Level::Hashes(_)) => *length == whole,
        (Some(_), Some(_), Level::Entries) => true,
        (None, _, _) | (_, None, _) => false,
    }
}

/// An export is evidence: one that the ledger does not go on from is not written over.
fn goes_on(
    remote: &Remote,
    policy: &Policy,
    now: &Checkpoint,
    place: &dyn Place,
) -> Result<(), Failure> {
    let refused = |why: String| {
        Failure::Refused(format!(
            "{} is left as it is, because {why}; keep it, and export into another place",
            place.name()
        ))
    };
    let bytes = place.get(CHECKPOINT)?.unwrap_or_default();
    let before = Note::parse(&bytes)
        .map_err(|error| error.to_string())
        .and_then(|note| policy.is_final(&note).map_err(|error| error.to_string()))
        .map_err(|error| refused(format!("its checkpoint cannot be read: {error}")))?;
    if !before.from_log || before.checkpoint.origin != now.origin {
        return Err(refused("it is of another ledger".into()));
    }
    let Checkpoint {
        size, root: was, ..
    } = before.checkpoint;
    let nodes = TileNodes::new(now.size, |id| {
        remote
            .tile(id)?
            .ok_or_else(|| Failure::Refused(format!("the hub does not have {id}")))
    });
    let continued = size <= now.size
        && was
            == root(size, &nodes).map_err(|error| match error {
                TileError::Read(failure) => failure,
                wrong @ (TileError::Length(_) | TileError::NotInTree { .. }) => {
                    Failure::Refused(format!("the hub's tiles are wrong: {wrong}"))
                }
            })?;
    if continued {
        Ok(())
    } else {
        Err(refused(format!(
            "the hub's ledger of {} entries does not go on from its {size}",
            now.size
        )))
    }
}

fn copy(remote: &Remote, place: &dyn Place, wanted: &[TileId]) -> Result<(), Failure> {
    let bar = ProgressBar::new(wanted.len() as u64).with_style(bar_style("files")?);
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let work = || {
        while let Some(id) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
            let copied = remote
                .tile(*id)
                .and_then(|bytes| {
                    bytes.ok_or_else(|| Failure::Refused(format!("the hub does not have {id}")))
                })
                .and_then(|bytes| place.put(&id.path(), &bytes));
            if let Err(failure) = copied {
                // The first is told; the others stop at their next file.
                next.store(wanted.len(), Ordering::Relaxed);
                let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.get_or_insert(failure);
                return;
            }
            bar.inc(1);
        }
    };
    thread::scope(|scope| {
        for _ in 0..COPIERS.min(wanted.len()) {
            scope.spawn(work);
        }
    });
    bar.finish_and_clear();
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        None => Ok(()),
        Some(failure) => Err(failure),
    }
}

/// A bar on standard error, which shows only on a terminal.
pub(super) fn bar_style(unit: &str) -> Result<ProgressStyle, Failure> {
    ProgressStyle::with_template(&format!(
        "{{wide_bar}} {{human_pos}}/{{human_len}} {unit} ({{per_sec}}, {{eta}})"
    ))
    .map_err(Failure::internal)
}
