//! One entry: its encoding, its bounds, and how one that is too large becomes several.
//!
//! A CBOR map with these keys; the ones in brackets stand only where there is something to say:
//!
//! ```text
//! "t"          milliseconds since the Unix epoch
//! "v"          1
//! ["part"]     [n, of]: this is the n-th of several entries that are one deed
//! "verb"       what was done
//! "actor"      {"id", "kind", ["address"], ["credential"]}; "id" is a text, or a digest
//! ["detail"]   {text: text}
//! ["changes"]  [{"id", ["of"], "kind", ["after"], ["before"]}]
//! ["request"]  the id of the request
//! ["previous"] the index of the actor's entry before this one
//! ```

use std::collections::BTreeMap;

use model::{Timestamp, limits};

use crate::{
    Actor, ActorKind, Change, Digest, Identity, InvalidCbor, Object,
    cbor::Writer,
    view::{ChangeView, EntryView, IdentityView},
};

/// The version of the encoding that this binary writes and reads.
pub const VERSION: u64 = 1;

/// The detail that names the devices an entry concerns though none of them was changed: those whose
/// certificate was. Their names are parted by spaces, which no name has.
pub const DEVICES: &str = "devices";

/// Who did what to which objects, when, and with what effect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// When the hub did it.
    pub at: Timestamp,
    /// Who asked for it.
    pub actor: Actor,
    /// What was done: one of [`crate::Verb`], or a newer one.
    pub verb: String,
    /// What it did to which objects.
    pub changes: Vec<Change>,
    /// Of several entries that are one deed: the number of this one, from 1, and of how many (at
    /// least 2).
    pub part: Option<(u32, u32)>,
    /// What else is worth knowing; nothing personal.
    pub detail: BTreeMap<String, String>,
    /// The id of the request that asked for it.
    pub request: Option<String>,
    /// The index of the actor's entry before this one.
    pub previous: Option<u64>,
}

/// The entry cannot be written.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EntryTooLarge {
    /// [`Entry::split`] it.
    #[error(
        "the entry has {bytes} bytes, more than {}",
        limits::LEDGER_ENTRY_BYTES
    )]
    Whole {
        /// Its bytes.
        bytes: usize,
    },
    /// Shorten the value; splitting does not help.
    #[error("{what} of the entry has {bytes} bytes, more than {limit}")]
    Field {
        /// Which value.
        what: &'static str,
        /// Its bytes.
        bytes: usize,
        /// The most it may have.
        limit: usize,
    },
}

/// The bytes are not an entry that this binary can read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidEntry {
    /// More bytes than an entry may have.
    #[error(
        "the entry has {bytes} bytes, more than {}",
        limits::LEDGER_ENTRY_BYTES
    )]
    TooLarge {
        /// Its bytes.
        bytes: usize,
    },
    /// Not the one deterministic encoding of anything.
    #[error(transparent)]
    Cbor(#[from] InvalidCbor),
    /// A newer binary wrote it: read it with that one.
    #[error("the entry is of version {found}, this binary reads {VERSION}; use a newer one")]
    Version {
        /// Its version.
        found: u64,
    },
    /// A newer binary wrote it: read it with that one.
    #[error(
        "the entry has the key {key:?}, which version {VERSION} does not know; use a newer binary"
    )]
    UnknownKey {
        /// The key, shortened.
        key: String,
    },
    /// A key that every entry has is not there.
    #[error("the entry lacks {key:?}")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A value is over its bound, or says what the absence of its key says.
    #[error("{what} of the entry is out of its bounds")]
    Bounds {
        /// Which value.
        what: &'static str,
    },
}

/// A text value and its bound, in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) what: &'static str,
    pub(crate) limit: usize,
}

pub(crate) const VERB: Bound = Bound {
    what: "the verb",
    limit: limits::LEDGER_NAME_BYTES,
};
pub(crate) const KIND: Bound = Bound {
    what: "a kind",
    limit: limits::LEDGER_NAME_BYTES,
};
pub(crate) const ACTOR: Bound = Bound {
    what: "the actor",
    limit: limits::LEDGER_ID_BYTES,
};
pub(crate) const OBJECT: Bound = Bound {
    what: "an object's name",
    limit: limits::LEDGER_ID_BYTES,
};
pub(crate) const REQUEST: Bound = Bound {
    what: "the request",
    limit: limits::LEDGER_REQUEST_BYTES,
};
pub(crate) const DETAIL_KEY: Bound = Bound {
    what: "a key of the detail",
    limit: limits::LEDGER_DETAIL_KEY_BYTES,
};
pub(crate) const DETAIL_VALUE: Bound = Bound {
    what: "a value of the detail",
    limit: limits::LEDGER_DETAIL_VALUE_BYTES,
};

impl Entry {
    /// An entry that says who did what and when; the rest is for the caller to fill.
    #[must_use]
    pub fn new(at: Timestamp, actor: Actor, verb: impl Into<String>) -> Self {
        Self {
            at,
            actor,
            verb: verb.into(),
            changes: Vec::new(),
            part: None,
            detail: BTreeMap::new(),
            request: None,
            previous: None,
        }
    }

    /// Adds to the detail. A value longer than an entry takes is cut and ends in `…`, because what
    /// is worth knowing may come from a peer, and the deed must be recorded.
    #[must_use]
    pub fn with_detail(mut self, key: &str, value: &str) -> Self {
        const END: &str = "…";
        let limit = limits::LEDGER_DETAIL_VALUE_BYTES;
        let value = if value.len() > limit {
            let cut = value.floor_char_boundary(limit - END.len());
            format!("{}{END}", &value[..cut])
        } else {
            value.to_owned()
        };
        self.detail.insert(key.to_owned(), value);
        self
    }

    /// The one encoding of this entry.
    ///
    /// # Errors
    ///
    /// [`EntryTooLarge`] when the whole is above 4,096 bytes, or a value above its bound.
    pub fn encode(&self) -> Result<Vec<u8>, EntryTooLarge> {
        let mut out = Writer(Vec::with_capacity(512));
        self.write(&mut out)?;
        match out.0.len() {
            bytes if bytes > limits::LEDGER_ENTRY_BYTES => Err(EntryTooLarge::Whole { bytes }),
            _ => Ok(out.0),
        }
    }

    fn write(&self, out: &mut Writer) -> Result<(), EntryTooLarge> {
        let optional = [
            self.part.is_some(),
            !self.detail.is_empty(),
            !self.changes.is_empty(),
            self.request.is_some(),
            self.previous.is_some(),
        ];
        out.map(4 + count(&optional));
        out.text("t");
        out.unsigned(self.at.millis());
        out.text("v");
        out.unsigned(VERSION);
        if let Some((number, of)) = self.part {
            out.text("part");
            out.array(2);
            out.unsigned(number.into());
            out.unsigned(of.into());
        }
        out.text("verb");
        bounded(&self.verb, VERB, out)?;
        out.text("actor");
        write_actor(&self.actor, out)?;
        if !self.detail.is_empty() {
            out.text("detail");
            out.map(self.detail.len());
            // Shorter keys come first in CBOR, not in a `BTreeMap`.
            let mut pairs: Vec<_> = self.detail.iter().collect();
            pairs.sort_by_key(|(key, _)| (key.len(), *key));
            for (key, value) in pairs {
                bounded(key, DETAIL_KEY, out)?;
                bounded(value, DETAIL_VALUE, out)?;
            }
        }
        if !self.changes.is_empty() {
            out.text("changes");
            out.array(self.changes.len());
            for change in &self.changes {
                write_change(change, out)?;
            }
        }
        if let Some(request) = &self.request {
            out.text("request");
            bounded(request, REQUEST, out)?;
        }
        if let Some(previous) = self.previous {
            out.text("previous");
            out.unsigned(previous);
        }
        Ok(())
    }

    /// Reads an entry.
    ///
    /// # Errors
    ///
    /// [`InvalidEntry`] when it is not the one encoding of an entry, or a newer version's.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidEntry> {
        EntryView::parse(bytes).map(|view| view.to_entry())
    }

    /// This entry, or several that are one deed: each fits into 4,096 bytes also with an index in
    /// `previous`, the numbers of its parts count from 1, and the detail and the changes are spread
    /// over them in their order.
    ///
    /// An entry with a value above its own bound stays too large, which [`Self::encode`] tells.
    #[must_use]
    pub fn split(self) -> Vec<Self> {
        if self.fits_with_previous() {
            return vec![self];
        }
        let head = Self {
            changes: Vec::new(),
            detail: BTreeMap::new(),
            part: Some((u32::MAX, u32::MAX)),
            previous: Some(u64::MAX),
            ..self.clone()
        };
        // The keys and lengths of `detail` and `changes` take at most 20 bytes.
        let room = limits::LEDGER_ENTRY_BYTES.saturating_sub(head.written(&head) + 20);
        let mut parts: Vec<Self> = Vec::new();
        let mut left = 0;
        let mut place = |bytes: usize, put: &mut dyn FnMut(&mut Self)| {
            if parts.is_empty() || bytes > left {
                parts.push(head.clone());
                left = room;
            }
            left = left.saturating_sub(bytes);
            if let Some(part) = parts.last_mut() {
                put(part);
            }
        };
        for (key, value) in self.detail {
            let bytes = key.len() + value.len() + 6;
            place(bytes, &mut |part| {
                part.detail.insert(key.clone(), value.clone());
            });
        }
        for change in self.changes {
            let mut out = Writer::default();
            // What is above its bound is told when the part is encoded.
            let _told_later = write_change(&change, &mut out);
            place(out.0.len(), &mut |part| part.changes.push(change.clone()));
        }
        let of = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        for (number, part) in (1..).zip(&mut parts) {
            part.part = (of > 1).then_some((number, of));
            part.previous = None;
        }
        if let Some(first) = parts.first_mut() {
            first.previous = self.previous;
        }
        parts
    }

    fn fits_with_previous(&self) -> bool {
        let mut out = Writer::default();
        // `"previous": u64::MAX` takes 18 bytes.
        self.write(&mut out).is_ok() && out.0.len() + 18 <= limits::LEDGER_ENTRY_BYTES
    }

    fn written(&self, entry: &Self) -> usize {
        let mut out = Writer::default();
        let _told_later = entry.write(&mut out);
        out.0.len()
    }

    /// What this entry is found by: `device/pump-1`, `certificate/…`; each once.
    pub fn subjects(&self) -> impl Iterator<Item = String> + use<> {
        let mut subjects = Subjects::default();
        for change in &self.changes {
            let object = &change.object;
            subjects.add(&object.kind, &object.id, object.of.as_deref());
        }
        subjects.concerned(self.detail.get(DEVICES).map(String::as_str));
        subjects.0.into_iter()
    }
}

/// What an entry is found by, each once, in the order of its changes.
#[derive(Debug, Default)]
pub(crate) struct Subjects(pub(crate) Vec<String>);

impl Subjects {
    /// What [`DEVICES`] says.
    pub(crate) fn concerned(&mut self, devices: Option<&str>) {
        for device in devices.unwrap_or_default().split(' ') {
            if !device.is_empty() {
                self.add("device", device, None);
            }
        }
    }

    pub(crate) fn add(&mut self, kind: &str, id: &str, of: Option<&str>) {
        crate::object::subjects_of(kind, id, of, &mut |subject| {
            // An entry has room for a few dozen.
            if self.0.iter().all(|known| known != subject) {
                self.0.push(subject.to_owned());
            }
        });
    }
}

fn count(present: &[bool]) -> usize {
    present.iter().filter(|present| **present).count()
}

fn bounded(text: &str, bound: Bound, out: &mut Writer) -> Result<(), EntryTooLarge> {
    if text.len() > bound.limit {
        return Err(EntryTooLarge::Field {
            what: bound.what,
            bytes: text.len(),
            limit: bound.limit,
        });
    }
    out.text(text);
    Ok(())
}

fn write_actor(actor: &Actor, out: &mut Writer) -> Result<(), EntryTooLarge> {
    out.map(2 + count(&[actor.address.is_some(), actor.credential.is_some()]));
    out.text("id");
    match &actor.id {
        Identity::Plain(name) => bounded(name, ACTOR, out)?,
        Identity::Pseudonym(digest) => out.bytes(&digest.0),
    }
    out.text("kind");
    bounded(actor.kind.name(), KIND, out)?;
    digest("address", actor.address, out);
    digest("credential", actor.credential, out);
    Ok(())
}

fn write_change(change: &Change, out: &mut Writer) -> Result<(), EntryTooLarge> {
    let Object { kind, id, of } = &change.object;
    let optional = [
        of.is_some(),
        change.after.is_some(),
        change.before.is_some(),
    ];
    out.map(2 + count(&optional));
    out.text("id");
    bounded(id, OBJECT, out)?;
    if let Some(of) = of {
        out.text("of");
        bounded(of, OBJECT, out)?;
    }
    out.text("kind");
    bounded(kind, KIND, out)?;
    digest("after", change.after, out);
    digest("before", change.before, out);
    Ok(())
}

fn digest(key: &str, digest: Option<Digest>, out: &mut Writer) {
    if let Some(digest) = digest {
        out.text(key);
        out.bytes(&digest.0);
    }
}

impl EntryView<'_> {
    /// The same, on its own.
    #[must_use]
    pub fn to_entry(&self) -> Entry {
        Entry {
            at: self.at,
            actor: Actor {
                kind: ActorKind::of_name(self.actor.kind),
                id: match self.actor.id {
                    IdentityView::Plain(name) => Identity::Plain(name.to_owned()),
                    IdentityView::Pseudonym(digest) => Identity::Pseudonym(digest),
                },
                credential: self.actor.credential,
                address: self.actor.address,
            },
            verb: self.verb.to_owned(),
            changes: self.changes().map(owned).collect(),
            part: self.part,
            detail: self
                .detail()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            request: self.request.map(str::to_owned),
            previous: self.previous,
        }
    }
}

fn owned(change: ChangeView<'_>) -> Change {
    Change {
        object: Object {
            kind: change.kind.to_owned(),
            id: change.id.to_owned(),
            of: change.of.map(str::to_owned),
        },
        before: change.before,
        after: change.after,
    }
}
