//! An entry read in place: the one parser, which allocates nothing.

use std::fmt;

use model::{Timestamp, limits};

use crate::{
    DEVICES, Digest, InvalidEntry,
    cbor::{Keys, Reader},
    entry::{
        ACTOR, Bound, DETAIL_KEY, DETAIL_VALUE, KIND, OBJECT, REQUEST, Subjects, VERB, VERSION,
    },
};

/// An entry that borrows from its encoding, checked whole.
#[derive(Clone, Copy, Debug)]
pub struct EntryView<'a> {
    /// When the hub did it.
    pub at: Timestamp,
    /// Who asked for it.
    pub actor: ActorView<'a>,
    /// What was done.
    pub verb: &'a str,
    /// The number of this part, from 1, and of how many.
    pub part: Option<(u32, u32)>,
    /// The id of the request.
    pub request: Option<&'a str>,
    /// The index of the actor's entry before this one.
    pub previous: Option<u64>,
    detail: Items<'a>,
    changes: Items<'a>,
}

/// See [`crate::Actor`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ActorView<'a> {
    /// The sort of actor.
    pub kind: &'a str,
    /// Which one.
    pub id: IdentityView<'a>,
    /// A fingerprint of the credential.
    pub credential: Option<Digest>,
    /// The network address, as a pseudonym.
    pub address: Option<Digest>,
}

/// See [`crate::Identity`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IdentityView<'a> {
    /// By name.
    Plain(&'a str),
    /// Behind a salted hash.
    Pseudonym(Digest),
}

/// See [`crate::Change`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ChangeView<'a> {
    /// The object's kind.
    pub kind: &'a str,
    /// Its name.
    pub id: &'a str,
    /// What it belongs to.
    pub of: Option<&'a str>,
    /// A fingerprint of it before.
    pub before: Option<Digest>,
    /// A fingerprint of it after.
    pub after: Option<Digest>,
}

/// Values that were read once and can be read again.
#[derive(Clone, Copy, Debug)]
struct Items<'a> {
    count: u64,
    bytes: &'a [u8],
}

impl fmt::Display for ActorView<'_> {
    /// As [`crate::Actor`] is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            IdentityView::Plain(name) => write!(f, "{}/{name}", self.kind),
            IdentityView::Pseudonym(digest) => write!(f, "{}/{digest}", self.kind),
        }
    }
}

impl<'a> EntryView<'a> {
    /// Reads an entry and checks all of it.
    ///
    /// # Errors
    ///
    /// [`InvalidEntry`] when it is not the one encoding of an entry, or a newer version's.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, InvalidEntry> {
        if bytes.len() > limits::LEDGER_ENTRY_BYTES {
            return Err(InvalidEntry::TooLarge { bytes: bytes.len() });
        }
        let mut reader = Reader::new(bytes);
        let mut keys = reader.map()?;
        let (mut at, mut version, mut verb, mut actor) = (None, None, None, None);
        let (mut part, mut request, mut previous) = (None, None, None);
        let mut detail = Items::NONE;
        let mut changes = Items::NONE;
        while let Some(key) = keys.next(&mut reader)? {
            match key {
                "t" => at = Some(Timestamp::from_millis(reader.unsigned()?)),
                "v" => match reader.unsigned()? {
                    VERSION => version = Some(()),
                    found => return Err(InvalidEntry::Version { found }),
                },
                "part" => part = Some(read_part(&mut reader)?),
                "verb" => verb = Some(text(&mut reader, VERB)?),
                "actor" => actor = Some(read_actor(&mut reader)?),
                "detail" => detail = read_detail(&mut reader)?,
                "changes" => changes = read_changes(&mut reader)?,
                "request" => request = Some(text(&mut reader, REQUEST)?),
                "previous" => previous = Some(reader.unsigned()?),
                _ => return Err(unknown(key)),
            }
        }
        reader.finish()?;
        required(version, "v")?;
        Ok(Self {
            at: required(at, "t")?,
            actor: required(actor, "actor")?,
            verb: required(verb, "verb")?,
            part,
            request,
            previous,
            detail,
            changes,
        })
    }

    /// What it did to which objects.
    pub fn changes(&self) -> impl Iterator<Item = ChangeView<'a>> + use<'a> {
        // `parse` has read every one of them.
        self.changes.again(|reader| read_change(reader).ok())
    }

    /// What else is worth knowing.
    pub fn detail(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.detail
            .again(|reader| Some((reader.text().ok()?, reader.text().ok()?)))
    }

    /// What this entry is found by: `device/pump-1`, `certificate/…`; each once.
    #[must_use]
    pub fn subjects(&self) -> Vec<String> {
        let mut subjects = Subjects::default();
        for change in self.changes() {
            subjects.add(change.kind, change.id, change.of);
        }
        let devices = self.detail().find(|(key, _)| *key == DEVICES);
        subjects.concerned(devices.map(|(_, devices)| devices));
        subjects.0
    }
}

impl<'a> Items<'a> {
    const NONE: Self = Self {
        count: 0,
        bytes: &[],
    };

    fn again<T>(
        self,
        mut read: impl FnMut(&mut Reader<'a>) -> Option<T>,
    ) -> impl Iterator<Item = T> {
        let mut reader = Reader::new(self.bytes);
        (0..self.count).map_while(move |_| read(&mut reader))
    }
}

fn required<T>(value: Option<T>, key: &'static str) -> Result<T, InvalidEntry> {
    value.ok_or(InvalidEntry::Missing { key })
}

#[cold]
fn unknown(key: &str) -> InvalidEntry {
    InvalidEntry::UnknownKey {
        key: key.chars().take(32).collect(),
    }
}

#[inline]
fn text<'a>(reader: &mut Reader<'a>, bound: Bound) -> Result<&'a str, InvalidEntry> {
    let text = reader.text()?;
    if text.len() > bound.limit {
        return Err(InvalidEntry::Bounds { what: bound.what });
    }
    Ok(text)
}

fn digest(reader: &mut Reader<'_>) -> Result<Option<Digest>, InvalidEntry> {
    Ok(Some(Digest(reader.digest()?)))
}

fn read_part(reader: &mut Reader<'_>) -> Result<(u32, u32), InvalidEntry> {
    const BOUNDS: InvalidEntry = InvalidEntry::Bounds { what: "the part" };
    if reader.array()? != 2 {
        return Err(BOUNDS);
    }
    let number = u32::try_from(reader.unsigned()?).map_err(|_| BOUNDS)?;
    let of = u32::try_from(reader.unsigned()?).map_err(|_| BOUNDS)?;
    if number < 1 || number > of || of < 2 {
        return Err(BOUNDS);
    }
    Ok((number, of))
}

fn read_actor<'a>(reader: &mut Reader<'a>) -> Result<ActorView<'a>, InvalidEntry> {
    let mut keys = reader.map()?;
    let (mut id, mut kind, mut address, mut credential) = (None, None, None, None);
    while let Some(key) = keys.next(reader)? {
        match key {
            "id" if reader.is_bytes() => {
                id = Some(IdentityView::Pseudonym(Digest(reader.digest()?)));
            }
            "id" => id = Some(IdentityView::Plain(text(reader, ACTOR)?)),
            "kind" => kind = Some(text(reader, KIND)?),
            "address" => address = digest(reader)?,
            "credential" => credential = digest(reader)?,
            _ => return Err(unknown(key)),
        }
    }
    Ok(ActorView {
        kind: required(kind, "kind")?,
        id: required(id, "id")?,
        credential,
        address,
    })
}

fn read_detail<'a>(reader: &mut Reader<'a>) -> Result<Items<'a>, InvalidEntry> {
    let mut keys: Keys<'a> = reader.map()?;
    let before = reader.rest();
    let mut count = 0;
    while let Some(key) = keys.next(reader)? {
        if key.len() > DETAIL_KEY.limit {
            let what = DETAIL_KEY.what;
            return Err(InvalidEntry::Bounds { what });
        }
        text(reader, DETAIL_VALUE)?;
        count += 1;
    }
    items("the detail", count, before, reader)
}

fn read_changes<'a>(reader: &mut Reader<'a>) -> Result<Items<'a>, InvalidEntry> {
    let count = reader.array()?;
    let before = reader.rest();
    for _ in 0..count {
        read_change(reader)?;
    }
    items("the list of changes", count, before, reader)
}

/// An empty list is written by leaving it out.
fn items<'a>(
    what: &'static str,
    count: u64,
    before: &'a [u8],
    reader: &Reader<'a>,
) -> Result<Items<'a>, InvalidEntry> {
    if count == 0 {
        return Err(InvalidEntry::Bounds { what });
    }
    let bytes = &before[..before.len() - reader.rest().len()];
    Ok(Items { count, bytes })
}

fn read_change<'a>(reader: &mut Reader<'a>) -> Result<ChangeView<'a>, InvalidEntry> {
    let mut keys = reader.map()?;
    let (mut id, mut of, mut kind, mut after, mut before) = (None, None, None, None, None);
    while let Some(key) = keys.next(reader)? {
        match key {
            "id" => id = Some(text(reader, OBJECT)?),
            "of" => of = Some(text(reader, OBJECT)?),
            "kind" => kind = Some(text(reader, KIND)?),
            "after" => after = digest(reader)?,
            "before" => before = digest(reader)?,
            _ => return Err(unknown(key)),
        }
    }
    Ok(ChangeView {
        kind: required(kind, "kind")?,
        id: required(id, "id")?,
        of,
        before,
        after,
    })
}
