//! Who acted, and what was changed.

use std::fmt;

use crate::Digest;

/// Who did it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Actor {
    /// The sort of actor.
    pub kind: ActorKind,
    /// Which one.
    pub id: Identity,
    /// A fingerprint of the credential that was shown: a token, an access key.
    pub credential: Option<Digest>,
    /// The network address it came from, as a pseudonym.
    pub address: Option<Digest>,
}

/// The sort of actor.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum ActorKind {
    /// A person or program that manages the hub.
    Operator,
    /// A device, known by its certificate.
    Certificate,
    /// The hub itself.
    Hub,
    /// A sort that a newer version wrote.
    Other(String),
}

impl ActorKind {
    /// The name that stands in entries.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Operator => "operator",
            Self::Certificate => "certificate",
            Self::Hub => "hub",
            Self::Other(name) => name,
        }
    }

    /// The sort of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        match name {
            "operator" => Self::Operator,
            "certificate" => Self::Certificate,
            "hub" => Self::Hub,
            _ => Self::Other(name.to_owned()),
        }
    }
}

/// Which actor of its sort.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Identity {
    /// By name: nothing about it is personal.
    Plain(String),
    /// A person, behind a salted hash; see [`crate::pseudonym`].
    Pseudonym(Digest),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(name) => f.write_str(name),
            Self::Pseudonym(digest) => digest.fmt(f),
        }
    }
}

impl fmt::Display for Actor {
    /// `KIND/NAME`, which search by actor takes: `hub/start`, `certificate/<64 digits>`,
    /// `operator/<64 digits>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.name(), self.id)
    }
}

/// What happened to one object.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Change {
    /// The object.
    pub object: Object,
    /// A fingerprint of it before; `None` when it did not exist.
    pub before: Option<Digest>,
    /// A fingerprint of it after; `None` when it exists no more.
    pub after: Option<Digest>,
}

/// An object, or a relation between two.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Object {
    /// `device`, `certificate`, `policy`, `attachment`, …
    pub kind: String,
    /// Its name among its kind, or, of a relation, the other end: `KIND/NAME` or a name.
    pub id: String,
    /// What it belongs to, as `KIND/NAME`.
    pub of: Option<String>,
}

/// Kinds that stand before the slash of a `KIND/NAME`.
const KINDS: [&str; 9] = [
    "device",
    "certificate",
    "policy",
    "type",
    "group",
    "operator",
    "setting",
    "hub",
    "ledger",
];

/// Passes what an entry about this object is found by: every `KIND/NAME` it concerns. Of a module
/// (`device/X/modules/M`), the device too.
pub(crate) fn subjects_of(kind: &str, id: &str, of: Option<&str>, pass: &mut impl FnMut(&str)) {
    let mut with_device = |subject: &str| {
        pass(subject);
        if let Some((device, _)) = subject
            .starts_with("device/")
            .then(|| subject.split_once("/modules/"))
            .flatten()
        {
            pass(device);
        }
    };
    let Some(of) = of else {
        return with_device(&format!("{kind}/{id}"));
    };
    with_device(of);
    // The keys of tags are free texts: one that looks like a name is none.
    let names = kind != "tag"
        && id
            .split_once('/')
            .is_some_and(|(kind, name)| KINDS.contains(&kind) && !name.is_empty());
    if names {
        with_device(id);
    }
}
