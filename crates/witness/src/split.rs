//! Where two histories of one log part.
//!
//! The one is the checkpoint that was accepted, with a mirror's tiles under it; the other is the
//! one that was refused, whose tiles the log itself serves, if it does. From the roots down, the
//! halves that differ are followed, so that a log of a million entries costs a few tiles.

use std::{path::Path, time::Duration};

use reqwest::{Client, StatusCode};
use tlog::{
    Hash, Level, TileId, TileNodes,
    merkle::{Nodes, check_consistency, node_hash, prove_consistency, root},
    tile::TileError,
};

use crate::{
    alarms::Finding,
    fetch::{self, FetchError},
    tree::{self, cut},
};

/// How long one tile may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// One history: its size and its root.
#[derive(Clone, Copy, Debug)]
pub(crate) struct History {
    pub(crate) size: u64,
    pub(crate) root: Hash,
}

/// Why it could not be told where.
#[derive(Debug, thiserror::Error)]
enum Unknown {
    #[error("the log's tiles cannot be had: {0}")]
    Fetch(#[from] FetchError),
    #[error("the log serves a tile of the wrong length")]
    Length,
    #[error("the log serves another history at its address than the one that was refused")]
    Elsewhere,
    #[error("this mirror's own tiles cannot be read: {0}")]
    Own(String),
    #[error("the log's tiles contradict each other")]
    Contradiction,
}

impl From<TileError<FetchError>> for Unknown {
    fn from(error: TileError<FetchError>) -> Self {
        match error {
            TileError::Read(error) => Self::Fetch(error),
            TileError::Length(_) | TileError::NotInTree { .. } => Self::Length,
        }
    }
}

/// Finds where the histories part. `own` are a mirror's folder and how many entries of the known
/// history it holds. Blocks: run it where that is allowed, inside a runtime.
pub(crate) fn find(
    client: &Client,
    url: Option<&str>,
    known: History,
    refused: History,
    own: Option<(&Path, u64)>,
) -> Finding {
    let smaller = known.size.min(refused.size);
    let Some(url) = url else {
        let why = "the log's address is not known here, so it was not asked for its tiles";
        return Finding::Between(0, smaller, why.into());
    };
    let remote = TileNodes::new(refused.size, |id| {
        tokio::runtime::Handle::current().block_on(tile(client, url, id))
    });
    let own = own.map(|(folder, size)| (tree::nodes(folder, size), size));
    match compare(&remote, known, refused, own) {
        Ok(finding) => finding,
        Err(unknown) => Finding::Between(0, smaller, unknown.to_string()),
    }
}

/// Fetches one tile, or the part of it, from the log.
async fn tile(client: &Client, url: &str, id: TileId) -> Result<Vec<u8>, FetchError> {
    match one(client, url, id).await {
        // The full tile may have taken its place.
        Err(FetchError::Status(404)) if !id.is_full() => {
            let full = one(client, url, id.full()).await?;
            cut(&full, id).ok_or(FetchError::Status(404))
        }
        outcome => outcome,
    }
}

async fn one(client: &Client, url: &str, id: TileId) -> Result<Vec<u8>, FetchError> {
    debug_assert!(matches!(id.level, Level::Hashes(_)));
    let response = client
        .get(format!("{url}/{id}"))
        .timeout(PATIENCE)
        .send()
        .await
        .map_err(|error| fetch::unreachable(&error))?;
    match response.status() {
        StatusCode::OK => fetch::body(response, 256 * Hash::LENGTH).await,
        other => Err(FetchError::Status(other.as_u16())),
    }
}

fn compare<R, O>(
    remote: &R,
    known: History,
    refused: History,
    own: Option<(O, u64)>,
) -> Result<Finding, Unknown>
where
    R: Nodes,
    Unknown: From<R::Error>,
    O: Nodes,
    O::Error: std::fmt::Display,
{
    let smaller = known.size.min(refused.size);
    // What the log serves must be the history that was refused, or it tells nothing about it.
    if root(refused.size, remote)? != refused.root {
        return Err(Unknown::Elsewhere);
    }
    let their_root = root(smaller, remote)?;
    let proof = prove_consistency(smaller, refused.size, remote).map_err(|error| match error {
        tlog::merkle::Unprovable::Nodes(error) => error.into(),
        tlog::merkle::Unprovable::NotInTree { .. } => Unknown::Contradiction,
    })?;
    check_consistency(smaller, &their_root, refused.size, &refused.root, &proof)
        .map_err(|_| Unknown::Contradiction)?;
    if smaller == known.size && their_root == known.root {
        return Ok(Finding::NoSplit);
    }
    let Some((own, held)) = own else {
        let why = "a witness holds no entries; a mirror would tell which one";
        return Ok(Finding::Between(0, smaller, why.into()));
    };
    let shared = held.min(smaller);
    let own = |level, index| {
        own.node(level, index)
            .map_err(|error| Unknown::Own(error.to_string()))
    };
    let mut start = 0;
    while start < shared {
        let level = (shared - start).ilog2() as u8;
        let theirs = remote.node(level, start >> level)?;
        if own(level, start >> level)? != theirs {
            return descend(remote, own, level, start >> level, theirs);
        }
        start += 1 << level;
    }
    if shared == known.size && known.size == smaller {
        // The tiles agree and the roots do not: one of the two is not what it says.
        return Err(Unknown::Contradiction);
    }
    let why = if held < smaller {
        "as far as this mirror holds the entries they agree"
    } else {
        // The refused history is the shorter one, and all of it is in the known one.
        return Ok(Finding::NoSplit);
    };
    Ok(Finding::Between(shared, smaller, why.into()))
}

/// Follows the halves that differ down to an entry. Each pair that the log serves must make up the
/// hash above it.
fn descend<R>(
    remote: &R,
    own: impl Fn(u8, u64) -> Result<Hash, Unknown>,
    mut level: u8,
    mut index: u64,
    mut theirs: Hash,
) -> Result<Finding, Unknown>
where
    R: Nodes,
    Unknown: From<R::Error>,
{
    while level > 0 {
        level -= 1;
        let (left, right) = (index * 2, index * 2 + 1);
        let halves = (remote.node(level, left)?, remote.node(level, right)?);
        if node_hash(&halves.0, &halves.1) != theirs {
            return Err(Unknown::Contradiction);
        }
        (index, theirs) = if own(level, left)? == halves.0 {
            (right, halves.1)
        } else {
            (left, halves.0)
        };
    }
    Ok(Finding::FirstDifference(index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use tlog::merkle::{leaf_hash, root_of};

    impl From<Infallible> for Unknown {
        fn from(never: Infallible) -> Self {
            match never {}
        }
    }

    fn leaves(size: u64, changed: &[u64]) -> Vec<Hash> {
        let salt = |index: u64| u8::from(changed.contains(&index));
        let leaf = |index: u64| leaf_hash(&[&index.to_be_bytes()[..], &[salt(index)]].concat());
        (0..size).map(leaf).collect()
    }

    fn history(leaves: &[Hash]) -> History {
        History {
            size: leaves.len() as u64,
            root: root_of(leaves),
        }
    }

    #[track_caller]
    fn check(known: &[Hash], refused: &[Hash], held: u64, expected: &Finding) {
        let own = Some((known[..held as usize].to_vec(), held));
        let found = compare(&refused.to_vec(), history(known), history(refused), own);
        assert_eq!(found.unwrap(), *expected);
    }

    #[test]
    fn the_first_entry_that_differs_is_named() {
        for (known, refused) in [(10, 10), (10, 17), (17, 10), (700, 1000), (1000, 700)] {
            for at in [0, 1, 5, 9] {
                let (known, refused) = (leaves(known, &[]), leaves(refused, &[at, 9]));
                let held = known.len() as u64;
                check(&known, &refused, held, &Finding::FirstDifference(at));
            }
        }
        let (known, refused) = (leaves(1000, &[]), leaves(900, &[512, 899]));
        check(&known, &refused, 1000, &Finding::FirstDifference(512));
    }

    #[test]
    fn a_history_that_only_grew_is_no_split() {
        check(&leaves(10, &[]), &leaves(20, &[]), 10, &Finding::NoSplit);
        check(&leaves(20, &[]), &leaves(10, &[]), 20, &Finding::NoSplit);
        check(&leaves(10, &[]), &leaves(20, &[]), 3, &Finding::NoSplit);
    }

    #[test]
    fn what_is_not_held_is_bounded() {
        let (known, refused) = (leaves(10, &[]), leaves(10, &[7]));
        let why = "as far as this mirror holds the entries they agree";
        check(&known, &refused, 5, &Finding::Between(5, 10, why.into()));
        let own = None::<(Vec<Hash>, u64)>;
        let found = compare(&refused.clone(), history(&known), history(&refused), own);
        assert!(matches!(found, Ok(Finding::Between(0, 10, _))));
    }

    #[test]
    fn a_log_that_serves_something_else_proves_nothing() {
        let (known, refused) = (leaves(10, &[]), leaves(10, &[7]));
        let own = Some((known.clone(), 10));
        let found = compare(&known.clone(), history(&known), history(&refused), own);
        assert!(matches!(found, Err(Unknown::Elsewhere)));
    }
}
