//! Searching the ledger by who, what, to which object, and when.

use ledger::{Entry, EntryView, Verb};
use model::Timestamp;
use tlog::{Level, TILE_WIDTH, TileId, bundle::bundle_entries};

use super::{
    error::LedgerError,
    index::{Index, Term},
    log::Shared,
    read::{Flow, Tree, decode, unreadable},
};

/// What to find. What is `None` matches everything; the rest must match together.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Query {
    /// Who, as entries show it: `operator/<64 digits>`, `certificate/<64 digits>`, `hub/…`.
    pub actor: Option<String>,
    /// What it concerns, as KIND/NAME: `device/pump-1`.
    pub subject: Option<String>,
    /// What was done: `device.attach`.
    pub verb: Option<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Behind this index: where the page before ended.
    pub after_index: Option<u64>,
    /// The most entries to answer.
    pub limit: usize,
}

impl Query {
    fn terms(&self) -> Vec<Term> {
        [
            self.actor.as_deref().map(Term::actor),
            self.subject.as_deref().map(Term::subject),
            self.verb.as_deref().map(Term::verb),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn matches(&self, entry: &EntryView<'_>) -> bool {
        let wanted = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        self.since.is_none_or(|since| entry.at >= since)
            && self.until.is_none_or(|until| entry.at < until)
            && wanted(&self.verb, entry.verb)
            && (self.actor.is_none() || wanted(&self.actor, &entry.actor.to_string()))
            && self
                .subject
                .as_ref()
                .is_none_or(|subject| entry.subjects().contains(subject))
    }
}

/// What `query` finds, oldest first. What the index does not have is looked through.
pub(crate) fn search(shared: &Shared, query: &Query) -> Result<Vec<(u64, Entry)>, LedgerError> {
    // In this order: what is indexed is in the tree, and what is in the tree is recorded.
    let index = shared.index.get();
    let indexed = index.map_or(0, Index::next);
    let edge = shared.edge();
    let recorded = shared.gate.recorded();
    let tree = Tree {
        files: &shared.files,
        edge: &edge,
    };
    let mut search = Search {
        tree: &tree,
        bundle: None,
    };
    let mut found = Vec::new();
    let indexed = indexed.min(edge.size());
    let (mut from, end) = search.range(recorded, index.map(|index| (index, indexed)), query)?;
    let terms = query.terms();
    if let Some(index) = index
        && !terms.is_empty()
    {
        let indexed = indexed.min(end);
        index.candidates(&terms, from, indexed, |candidates| {
            for candidate in candidates {
                if found.len() >= query.limit {
                    return Ok(Flow::Stop);
                }
                let entry = search.entry(*candidate)?;
                if matches(query, *candidate, entry)? {
                    found.push((*candidate, decode(*candidate, entry)?));
                }
            }
            Ok(Flow::Go)
        })?;
        from = from.max(indexed);
    }
    if from < end && found.len() < query.limit {
        shared.visit(from, |index, entry| {
            if index >= end {
                return Ok(Flow::Stop);
            }
            if matches(query, index, entry)? {
                found.push((index, decode(index, entry)?));
            }
            Ok(if found.len() < query.limit {
                Flow::Go
            } else {
                Flow::Stop
            })
        })?;
    }
    Ok(found)
}

fn matches(query: &Query, index: u64, entry: &[u8]) -> Result<bool, LedgerError> {
    let view = EntryView::parse(entry).map_err(|error| unreadable(index, &error))?;
    Ok(query.matches(&view))
}

struct Search<'a> {
    tree: &'a Tree<'a>,
    /// The bundle that was read last: neighbours are often found together.
    bundle: Option<(u64, Vec<u8>)>,
}

impl Search<'_> {
    /// The bytes of an entry that is there.
    fn entry(&mut self, index: u64) -> Result<&[u8], LedgerError> {
        let (bundle, at) = (index / TILE_WIDTH, index % TILE_WIDTH);
        let size = self.tree.edge.size();
        let is_full = TileId::in_tree(Level::Entries, bundle, size).is_some_and(|id| id.is_full());
        if !is_full {
            let entry = self.tree.entry(index)?;
            let mut alone = Vec::new();
            tlog::bundle::push_entry(&mut alone, &entry)
                .expect("an entry of the ledger is shorter than a bundle's entries may be");
            self.bundle = None;
            let (_, alone) = self.bundle.insert((u64::MAX, alone));
            return Ok(&alone[2..]);
        }
        if self
            .bundle
            .as_ref()
            .is_none_or(|(known, _)| *known != bundle)
        {
            self.bundle = Some((bundle, self.tree.bundle(bundle)?));
        }
        let at = usize::try_from(at).unwrap_or_default();
        let entry = self
            .bundle
            .as_ref()
            .and_then(|(_, bundle)| bundle_entries(bundle).nth(at)?.ok());
        entry.ok_or(LedgerError::NotInTree { size })
    }

    fn time(&mut self, index: u64) -> Result<Timestamp, LedgerError> {
        let entry = self.entry(index)?;
        let view = EntryView::parse(entry).map_err(|error| unreadable(index, &error))?;
        Ok(view.at)
    }

    /// The entries that `query` can match by index and time: `from..end`.
    fn range(
        &mut self,
        recorded: u64,
        index: Option<(&Index, u64)>,
        query: &Query,
    ) -> Result<(u64, u64), LedgerError> {
        let first = query.after_index.map_or(0, |after| after.saturating_add(1));
        let (mut from, mut end) = (first, recorded);
        if query.since.is_none() && query.until.is_none() {
            return Ok((from, end));
        }
        // Times ascend, but for where the clock was set back.
        let mut spans = vec![0];
        if let Some((index, indexed)) = index {
            let clock = [Term::verb(Verb::LedgerClock.name())];
            index.candidates(&clock, 0, indexed, |set| {
                spans.extend(set);
                Ok(Flow::Go)
            })?;
            end = indexed;
        } else {
            return Ok((from, end));
        }
        let spans: Vec<_> = spans
            .iter()
            .zip(spans.iter().skip(1).chain([&end]))
            .map(|(start, stop)| (*start, *stop))
            .collect();
        // What is not indexed yet comes last, and is looked through.
        let beyond = end;
        if let Some(since) = query.since {
            let mut start = beyond;
            for (span, stop) in &spans {
                let place = self.position(*span, *stop, since)?;
                if place < *stop {
                    start = place;
                    break;
                }
            }
            from = from.max(start);
        }
        if let (Some(until), true) = (query.until, beyond == recorded) {
            let mut stop = 0;
            for (span, limit) in spans.iter().rev() {
                let place = self.position(*span, *limit, until)?;
                if place > *span {
                    stop = place;
                    break;
                }
            }
            return Ok((from, stop));
        }
        Ok((from, recorded))
    }

    /// The first entry in `from..end` at or after `time`, or `end`.
    fn position(&mut self, from: u64, end: u64, time: Timestamp) -> Result<u64, LedgerError> {
        let (mut low, mut high) = (from, end);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.time(middle)? < time {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}
