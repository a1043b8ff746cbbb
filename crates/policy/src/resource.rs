//! What a caller asks to act on, as policies name it.

use std::fmt;

use smallvec::SmallVec;

/// The sort of a resource.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ResourceKind {
    /// A client id: `client/ID`.
    Client,
    /// A topic: `topic/T`.
    Topic,
    /// A topic filter, share prefix included: `topicfilter/F`.
    TopicFilter,
    /// A device, or one of its named shadows: `thing/T`, `thing/T/SHADOW`.
    Device,
    /// An alias of a role: `rolealias/R`.
    RoleAlias,
    /// Everything: an action that has no narrower resource.
    Every,
}

impl ResourceKind {
    /// What a resource of this kind begins with, the separator included.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Client => "client/",
            Self::Topic => "topic/",
            Self::TopicFilter => "topicfilter/",
            Self::Device => "thing/",
            Self::RoleAlias => "rolealias/",
            Self::Every => "",
        }
    }

    /// The kind that `text` is of, when it begins like one.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        [
            Self::Client,
            Self::Topic,
            Self::TopicFilter,
            Self::Device,
            Self::RoleAlias,
        ]
        .into_iter()
        .find(|kind| text.starts_with(kind.prefix()))
    }
}

/// One resource of a request. Patterns are matched against its text, which [`fmt::Display`] shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Resource<'a> {
    kind: ResourceKind,
    name: &'a str,
    part: Option<&'a str>,
}

/// The text of a resource; most fit on the stack.
pub(crate) type ResourceText = SmallVec<[u8; 256]>;

impl<'a> Resource<'a> {
    const fn whole(kind: ResourceKind, name: &'a str) -> Self {
        Self {
            kind,
            name,
            part: None,
        }
    }

    /// A resource of any kind by its name; a device's shadow is `DEVICE/SHADOW`.
    #[must_use]
    pub const fn of_kind(kind: ResourceKind, name: &'a str) -> Self {
        Self::whole(kind, name)
    }

    /// A client id.
    #[must_use]
    pub const fn client(id: &'a str) -> Self {
        Self::whole(ResourceKind::Client, id)
    }

    /// A topic, spelled as the policy's authors spell topics.
    #[must_use]
    pub const fn topic(topic: &'a str) -> Self {
        Self::whole(ResourceKind::Topic, topic)
    }

    /// A topic filter, spelled as the policy's authors spell filters.
    #[must_use]
    pub const fn filter(filter: &'a str) -> Self {
        Self::whole(ResourceKind::TopicFilter, filter)
    }

    /// A device, or its unnamed shadow.
    #[must_use]
    pub const fn device(name: &'a str) -> Self {
        Self::whole(ResourceKind::Device, name)
    }

    /// A shadow of a device; `None` is the unnamed one.
    #[must_use]
    pub const fn shadow(device: &'a str, shadow: Option<&'a str>) -> Self {
        Self {
            kind: ResourceKind::Device,
            name: device,
            part: shadow,
        }
    }

    /// An alias of a role.
    #[must_use]
    pub const fn role_alias(alias: &'a str) -> Self {
        Self::whole(ResourceKind::RoleAlias, alias)
    }

    /// What an action without a narrower resource acts on; only a pattern like `*` matches it.
    #[must_use]
    pub const fn every() -> Self {
        Self::whole(ResourceKind::Every, "")
    }

    /// Its sort.
    #[must_use]
    pub const fn kind(&self) -> ResourceKind {
        self.kind
    }

    /// The name without the kind's prefix and the part.
    #[must_use]
    pub const fn name(&self) -> &'a str {
        self.name
    }

    /// The text that patterns are matched against.
    pub(crate) fn text(&self) -> ResourceText {
        let mut text = ResourceText::new();
        text.extend_from_slice(self.kind.prefix().as_bytes());
        text.extend_from_slice(self.name.as_bytes());
        if let Some(part) = self.part {
            text.push(b'/');
            text.extend_from_slice(part.as_bytes());
        }
        text
    }
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == ResourceKind::Every {
            return f.write_str("*");
        }
        write!(f, "{}{}", self.kind.prefix(), self.name)?;
        match self.part {
            Some(part) => write!(f, "/{part}"),
            None => Ok(()),
        }
    }
}
