//! A static group: devices that somebody put together, in a tree.

use model::{GroupName, Refusal, RefusalKind, Timestamp, limits};

use crate::{AttributeChange, Attributes, Version, check_description, check_version};

/// A group as the registry knows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupRecord {
    /// Its name.
    pub name: GroupName,
    /// Which group of this name it is: a UUID.
    pub uuid: String,
    /// The group above it, for ever.
    pub parent: Option<GroupName>,
    /// For people.
    pub description: String,
    /// Its attributes.
    pub attributes: Attributes,
    /// Its version, from 1.
    pub version: Version,
    /// When it was created.
    pub created_at: Timestamp,
}

/// What a writer wants of a group; `None` leaves a part as it is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct GroupChange {
    /// The description.
    pub description: Option<String>,
    /// The attributes.
    pub attributes: Option<AttributeChange>,
    /// Only if the group is at this version.
    pub expected_version: Option<Version>,
}

impl GroupRecord {
    /// A new group below `parent`, at version 1. `ancestors` counts the groups above it, `siblings`
    /// those its parent already holds.
    ///
    /// # Errors
    ///
    /// `group.too-deep`, `group.too-many-children`, `registry.description`, and as
    /// [`Attributes::apply`].
    pub fn new(
        name: GroupName,
        uuid: String,
        parent: Option<GroupName>,
        (ancestors, siblings): (usize, usize),
        change: GroupChange,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        if ancestors >= limits::GROUP_DEPTH {
            return Err(Refusal::new(
                RefusalKind::TooMany,
                "group.too-deep",
                format!("groups nest at most {} levels deep", limits::GROUP_DEPTH),
            ));
        }
        if parent.is_some() && siblings >= limits::GROUP_CHILDREN {
            return Err(Refusal::new(
                RefusalKind::TooMany,
                "group.too-many-children",
                format!(
                    "a group has at most {} groups directly below it",
                    limits::GROUP_CHILDREN
                ),
            ));
        }
        let mut record = Self {
            name,
            uuid,
            parent,
            description: String::new(),
            attributes: Attributes::default(),
            version: 0,
            created_at: now,
        };
        record.apply(change)?;
        Ok(record)
    }

    /// Whether creating `other` would change nothing, so that a repeated request may succeed.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.parent == other.parent
            && self.description == other.description
            && self.attributes == other.attributes
    }

    /// Makes `change`.
    ///
    /// # Errors
    ///
    /// `group.version-conflict`, `registry.description`, and as [`Attributes::apply`]; the group is
    /// unchanged then.
    pub fn apply(&mut self, change: GroupChange) -> Result<(), Refusal> {
        self.check_version(change.expected_version)?;
        if let Some(description) = &change.description {
            check_description(description)?;
        }
        if let Some(attributes) = change.attributes {
            self.attributes.apply(attributes)?;
        }
        if let Some(description) = change.description {
            self.description = description;
        }
        self.version += 1;
        Ok(())
    }

    /// Whether it may be deleted: at the expected version, with no groups below it. Devices in it
    /// and policies attached to it do not hold it.
    ///
    /// # Errors
    ///
    /// `group.version-conflict`, `group.has-children`.
    pub fn check_delete(
        &self,
        expected_version: Option<Version>,
        children: usize,
    ) -> Result<(), Refusal> {
        self.check_version(expected_version)?;
        if children > 0 {
            return Err(Refusal::malformed(
                "group.has-children",
                format!(
                    "cannot delete: group {} has {children} group(s) below it; delete them first",
                    self.name
                ),
            ));
        }
        Ok(())
    }

    fn check_version(&self, expected: Option<Version>) -> Result<(), Refusal> {
        let what = format!("group {}", self.name);
        check_version("group.version-conflict", &what, expected, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(ancestors: usize, siblings: usize) -> Result<GroupRecord, Refusal> {
        GroupRecord::new(
            GroupName::new("g").unwrap(),
            "u".into(),
            (ancestors > 0).then(|| GroupName::new("p").unwrap()),
            (ancestors, siblings),
            GroupChange::default(),
            Timestamp::default(),
        )
    }

    #[test]
    fn groups_nest_only_so_deep_and_so_wide() {
        for (ancestors, siblings, reason) in [
            (0, 100_000, None),
            (6, 99, None),
            (7, 0, Some("group.too-deep")),
            (1, 100, Some("group.too-many-children")),
        ] {
            let refusal = new(ancestors, siblings).err();
            assert_eq!(refusal.map(|refusal| refusal.reason.0), reason);
        }
    }

    #[test]
    fn a_group_starts_at_version_1_and_stays_while_it_has_children() {
        let group = new(0, 0).unwrap();
        assert_eq!(group.version, 1);
        for (expected, children, reason) in [
            (Some(1), 0, None),
            (Some(2), 0, Some("group.version-conflict")),
            (None, 1, Some("group.has-children")),
        ] {
            let refusal = group.check_delete(expected, children).err();
            assert_eq!(refusal.map(|refusal| refusal.reason.0), reason);
        }
    }
}
