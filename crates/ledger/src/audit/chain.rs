//! What must hold from entry to entry: times, and each actor's chain.
//!
//! A [`Span`] sums up the entries of one bundle, so that bundles can be read at the same time; the
//! [`Chain`] then joins them in their order. An entry that cannot be believed leaves a *gap*: what
//! follows may refer to it, and nothing more can be said of it.

use std::{collections::BTreeMap, ops::Range};

use model::Timestamp;
use tlog::TileId;

use super::{Fault, Trouble};
use crate::{Digest, EntryView, IdentityView, Verb};

/// Tells actors apart.
type Actor<'a> = (&'a str, Id<'a>);

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Id<'a> {
    Plain(&'a str),
    Pseudonym(Digest),
}

/// An [`Actor`] that outlives its bundle.
type Known = (Box<str>, KnownId);

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum KnownId {
    Plain(Box<str>),
    Pseudonym(Digest),
}

/// An actor's entries in one bundle.
#[derive(Clone, Copy, Debug)]
struct Links {
    first: u64,
    /// What the first one says.
    previous: Option<u64>,
    last: u64,
}

/// The entries of one bundle, as far as those of other bundles need to know.
#[derive(Debug)]
pub(super) struct Span {
    bundle: TileId,
    /// The first entry and its time, when that must not be before the one of the bundle before.
    first: Option<(u64, Timestamp)>,
    /// The time of the last entry, unless a gap comes after it.
    last: Option<Timestamp>,
    gaps: Vec<Range<u64>>,
    actors: Vec<(Known, Links)>,
    /// What is wrong among these entries alone.
    pub(super) faults: Vec<Fault>,
}

/// Makes a [`Span`], entry by entry.
pub(super) struct Reading<'a> {
    bundle: TileId,
    is_first: bool,
    first: Option<(u64, Timestamp)>,
    last: Option<Timestamp>,
    gaps: Vec<Range<u64>>,
    actors: BTreeMap<Actor<'a>, Links>,
    faults: Vec<Fault>,
}

impl<'a> Reading<'a> {
    pub(super) const fn new(bundle: TileId) -> Self {
        Self {
            bundle,
            is_first: true,
            first: None,
            last: None,
            gaps: Vec::new(),
            actors: BTreeMap::new(),
            faults: Vec::new(),
        }
    }

    /// Entries of which nothing can be said.
    pub(super) fn gap(&mut self, range: Range<u64>) {
        self.is_first = false;
        self.last = None;
        match self.gaps.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.gaps.push(range),
        }
    }

    /// The next entry.
    pub(super) fn entry(&mut self, index: u64, entry: &EntryView<'a>) {
        if entry.verb != Verb::LedgerClock.name() {
            if let Some(trouble) = backwards(self.last, entry.at) {
                self.fault(index, trouble);
            }
            if self.is_first {
                self.first = Some((index, entry.at));
            }
        }
        self.is_first = false;
        self.last = Some(entry.at);
        let id = match entry.actor.id {
            IdentityView::Plain(name) => Id::Plain(name),
            IdentityView::Pseudonym(digest) => Id::Pseudonym(digest),
        };
        let links = self.actors.entry((entry.actor.kind, id));
        let mut trouble = None;
        links
            .and_modify(|links| {
                trouble = unlinked(entry.previous, Some(links.last), index, &self.gaps);
                links.last = index;
            })
            .or_insert(Links {
                first: index,
                previous: entry.previous,
                last: index,
            });
        if let Some(trouble) = trouble {
            self.fault(index, trouble);
        }
    }

    /// Something else that is wrong with an entry.
    pub(super) fn fault(&mut self, index: u64, trouble: Trouble) {
        self.faults
            .push(Fault::of_entry(self.bundle, index, trouble));
    }

    pub(super) fn finish(self) -> Span {
        let known = |(kind, id): Actor<'_>| {
            let id = match id {
                Id::Plain(name) => KnownId::Plain(name.into()),
                Id::Pseudonym(digest) => KnownId::Pseudonym(digest),
            };
            (kind.into(), id)
        };
        Span {
            bundle: self.bundle,
            first: self.first,
            last: self.last,
            gaps: self.gaps,
            actors: self
                .actors
                .into_iter()
                .map(|(actor, links)| (known(actor), links))
                .collect(),
            faults: self.faults,
        }
    }
}

/// The entries so far.
#[derive(Default)]
pub(super) struct Chain {
    last: Option<Timestamp>,
    gaps: Vec<Range<u64>>,
    actors: BTreeMap<Known, u64>,
}

impl Chain {
    /// Joins the next bundle to those before it and answers what does not fit, with what does not
    /// fit in itself.
    pub(super) fn join(&mut self, span: Span) -> Vec<Fault> {
        let mut faults = span.faults;
        let mut fault = |index, trouble| {
            faults.push(Fault::of_entry(span.bundle, index, trouble));
        };
        if let Some((index, at)) = span.first
            && let Some(trouble) = backwards(self.last, at)
        {
            fault(index, trouble);
        }
        self.last = span.last;
        self.gaps.extend(span.gaps);
        for (actor, links) in span.actors {
            let last = self.actors.get(&actor).copied();
            if let Some(trouble) = unlinked(links.previous, last, links.first, &self.gaps) {
                fault(links.first, trouble);
            }
            self.actors.insert(actor, links.last);
        }
        faults.sort_by_key(|fault| fault.entry);
        faults
    }
}

fn backwards(before: Option<Timestamp>, at: Timestamp) -> Option<Trouble> {
    let before = before.filter(|before| at < *before)?;
    Some(Trouble::Backwards { at, before })
}

/// What is wrong with an entry that says `says` when the actor's last entry that could be read is
/// `is`.
fn unlinked(
    says: Option<u64>,
    is: Option<u64>,
    index: u64,
    gaps: &[Range<u64>],
) -> Option<Trouble> {
    if says == is {
        return None;
    }
    // The entry it names may be one that could not be read.
    let unread = says.is_some_and(|says| {
        let after = gaps.partition_point(|gap| gap.end <= says);
        let in_gap = gaps.get(after).is_some_and(|gap| gap.contains(&says));
        in_gap && says < index && is.is_none_or(|is| is < says)
    });
    (!unread).then_some(Trouble::Previous { says, is })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Actor as Who, ActorKind, Entry, Identity};
    use tlog::Level;

    #[test]
    fn entries_that_follow_one_another_are_sound() {
        check(
            &[
                Some((1, "a", None, "x.y")),
                Some((1, "b", None, "x.y")),
                Some((2, "a", Some(0), "x.y")),
                Some((2, "a", Some(2), "x.y")),
                Some((3, "b", Some(1), "x.y")),
            ],
            &[],
        );
    }

    #[test]
    fn an_entry_that_names_another_than_its_actors_last_is_told() {
        for says in [None, Some(0), Some(3), Some(99)] {
            check(
                &[
                    Some((1, "a", None, "x.y")),
                    Some((1, "a", Some(0), "x.y")),
                    Some((1, "b", None, "x.y")),
                    Some((1, "a", says, "x.y")),
                ],
                &[3],
            );
        }
        check(&[Some((1, "a", Some(0), "x.y"))], &[0]);
    }

    #[test]
    fn time_runs_backwards_only_where_the_clock_was_set() {
        check(
            &[
                Some((5, "a", None, "x.y")),
                Some((4, "b", None, "x.y")),
                Some((4, "c", None, "x.y")),
                Some((2, "d", None, "ledger.clock")),
                Some((2, "e", None, "x.y")),
                Some((1, "f", None, "x.y")),
            ],
            &[1, 5],
        );
    }

    #[test]
    fn what_is_after_an_entry_that_cannot_be_read_may_refer_to_it() {
        check(
            &[
                Some((5, "a", None, "x.y")),
                None,
                None,
                Some((4, "a", Some(2), "x.y")),
                Some((4, "b", Some(1), "x.y")),
                Some((4, "c", Some(0), "x.y")),
                Some((4, "d", Some(5), "x.y")),
            ],
            &[5, 6],
        );
    }

    type Sketch = Option<(u64, &'static str, Option<u64>, &'static str)>;

    /// The same faults are found wherever the bundles end.
    #[track_caller]
    fn check(entries: &[Sketch], expected: &[u64]) {
        let encoded: Vec<_> = entries.iter().map(|entry| entry.map(encode)).collect();
        for width in 1..=entries.len() {
            let mut chain = Chain::default();
            let mut found = Vec::new();
            for (number, bundle) in encoded.chunks(width).enumerate() {
                let mut reading = Reading::new(TileId {
                    level: Level::Entries,
                    index: number as u64,
                    width: 1,
                });
                for (at, bytes) in bundle.iter().enumerate() {
                    let index = (number * width + at) as u64;
                    match bytes {
                        Some(bytes) => reading.entry(index, &EntryView::parse(bytes).unwrap()),
                        None => reading.gap(index..index + 1),
                    }
                }
                found.extend(chain.join(reading.finish()));
            }
            let found: Vec<_> = found.iter().filter_map(|fault| fault.entry).collect();
            assert_eq!(found, expected, "bundles of {width}");
        }
    }

    fn encode((at, name, previous, verb): (u64, &str, Option<u64>, &str)) -> Vec<u8> {
        let actor = Who {
            kind: ActorKind::Hub,
            id: Identity::Plain(name.into()),
            credential: None,
            address: None,
        };
        let mut entry = Entry::new(Timestamp::from_millis(at), actor, verb);
        entry.previous = previous;
        entry.encode().unwrap()
    }
}
