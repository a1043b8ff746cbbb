//! A restored ledger goes on where another copy of it ends, so that no history is lost with the
//! time between the backup and the end of the old hub.

use std::{num::NonZeroUsize, path::Path};

use indicatif::ProgressBar;
use ledger::audit::{self, Options, Source as _, Trouble};
use store::Store;
use tlog::{Checkpoint, Level, Policy, TILE_WIDTH, TileId, bundle::bundle_entries};

use super::ledger::Folder;
use crate::{failure::Failure, ledger::read_keys};

/// Entries that are taken over in one transaction.
const AT_ONCE: usize = 4096;

/// Takes into the restored folder `restored` what `copy`, an export or a mirror's copy of the same
/// ledger, has beyond it. Answers how many entries that were.
pub(super) fn take_over(restored: &Path, copy: &Path) -> Result<u64, Failure> {
    let refused = |why: String| Failure::Refused(format!("{}: {why}", copy.display()));
    let source = Folder::new(copy);
    let checkpoint = verify(restored, &source).map_err(refused)?;
    let store = Store::open(restored).map_err(Failure::usage)?;
    let next = next(&store)?;
    // What both have must be the same: the last entries of the backup tell for all before them,
    // whose hashes stand in tiles that are compared when the hub starts.
    let mut entries = Vec::new();
    let first = next.saturating_sub(1) / TILE_WIDTH * TILE_WIDTH;
    for index in first / TILE_WIDTH..checkpoint.size.div_ceil(TILE_WIDTH) {
        let tile = TileId::in_tree(Level::Entries, index, checkpoint.size)
            .ok_or_else(|| refused("it ends before its checkpoint".into()))?;
        let bundle = source
            .read(&tile.path())?
            .ok_or_else(|| refused(format!("{} is missing", tile.path())))?;
        for (index, entry) in (index * TILE_WIDTH..).zip(bundle_entries(&bundle)) {
            let entry = entry.map_err(|error| refused(error.to_string()))?;
            if index >= next {
                entries.push(entry.to_vec());
                continue;
            }
            let ours = store.ledger().entry_bytes(index).map_err(Failure::usage)?;
            if ours.as_deref() != Some(entry) {
                return Err(refused(format!(
                    "it and the backup tell two histories, which part at entry {index}"
                )));
            }
        }
    }
    let count = entries.len() as u64;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(Failure::internal)?;
    let bar = ProgressBar::new(count);
    for part in entries.chunks(AT_ONCE) {
        let part = part.to_vec();
        let taken = part.len() as u64;
        let job = move |txn: &mut store::WriteTxn<'_>| {
            for entry in &part {
                txn.adopt(entry)?;
            }
            Ok::<_, store::Failure>(())
        };
        runtime
            .block_on(store.write(job))
            .map_err(Failure::internal)?;
        bar.inc(taken);
    }
    bar.finish_and_clear();
    Ok(count)
}

/// How many entries the ledger of a data folder has.
pub(super) fn size(folder: &Path) -> Result<u64, Failure> {
    next(&Store::open(folder).map_err(Failure::usage)?)
}

fn next(store: &Store) -> Result<u64, Failure> {
    store
        .read(|txn| txn.ledger_next())
        .map_err(Failure::internal)
}

/// That the copy is whole and signed by the keys of the restored ledger. Who has cosigned it is not
/// asked: that is the policy's.
fn verify(restored: &Path, source: &Folder) -> Result<Checkpoint, String> {
    let signers = read_keys(&restored.join(crate::ledger::KEY_FILE)).map_err(|e| e.to_string())?;
    let policy = signers
        .iter()
        .map(|signer| signer.verifier().clone())
        .fold(None, |policy: Option<Policy>, key| {
            Some(match policy {
                None => Policy::of_log(key),
                Some(policy) => policy.with_log(key),
            })
        })
        .ok_or("the restored ledger has no key")?;
    let options = Options {
        since: None,
        threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
    };
    let report = audit::verify(source, &policy, &options, &|_, _| {});
    let fault = report.faults.iter().find(|fault| {
        !matches!(
            fault.trouble,
            Trouble::UnknownSignature { .. } | Trouble::Foreign
        )
    });
    match (fault, report.checkpoint) {
        (None, Some(checkpoint)) => Ok(checkpoint),
        (Some(fault), _) => Err(format!("{}: {}", fault.file, fault.trouble)),
        (None, None) => Err("it holds no checkpoint".into()),
    }
}
