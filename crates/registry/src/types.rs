//! A type of devices: what they have in common.

use std::time::Duration;

use model::{Refusal, RefusalKind, Timestamp, TypeName, limits};

use crate::{attributes::check_name, check_description};

/// How long a type must be deprecated before it can be deleted. AWS IoT API, `DeleteThingType`.
pub const DEPRECATED_BEFORE_DELETE: Duration = Duration::from_secs(5 * 60);

/// A type as the registry knows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TypeRecord {
    /// Its name.
    pub name: TypeName,
    /// Which type of this name it is: a UUID.
    pub uuid: String,
    /// For people.
    pub description: String,
    /// The attributes that search may use.
    pub searchable_attributes: Vec<String>,
    /// Since when it takes no new devices.
    pub deprecated_at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
}

/// What a writer wants of a type; `None` leaves a part as it is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TypeChange {
    /// The description.
    pub description: Option<String>,
    /// The attributes that search may use.
    pub searchable_attributes: Option<Vec<String>>,
}

impl TypeRecord {
    /// A new type.
    ///
    /// # Errors
    ///
    /// `registry.description`, `attribute.name`, `type.searchable-attributes`.
    pub fn new(
        name: TypeName,
        uuid: String,
        change: TypeChange,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let mut record = Self {
            name,
            uuid,
            description: String::new(),
            searchable_attributes: Vec::new(),
            deprecated_at: None,
            created_at: now,
        };
        record.apply(change)?;
        Ok(record)
    }

    /// Whether creating `other` would change nothing, so that a repeated request may succeed.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.description == other.description
            && self.searchable_attributes == other.searchable_attributes
            && self.deprecated_at == other.deprecated_at
    }

    /// Makes `change`.
    ///
    /// # Errors
    ///
    /// As [`Self::new`]; the type is unchanged then.
    pub fn apply(&mut self, change: TypeChange) -> Result<(), Refusal> {
        if let Some(description) = &change.description {
            check_description(description)?;
        }
        if let Some(names) = &change.searchable_attributes {
            names.iter().try_for_each(|name| check_name(name))?;
            if names.len() > limits::SEARCHABLE_ATTRIBUTES {
                return Err(Refusal::malformed(
                    "type.searchable-attributes",
                    format!(
                        "a type has at most {} searchable attributes, this has {}",
                        limits::SEARCHABLE_ATTRIBUTES,
                        names.len()
                    ),
                ));
            }
        }
        if let Some(description) = change.description {
            self.description = description;
        }
        if let Some(names) = change.searchable_attributes {
            self.searchable_attributes = names;
        }
        Ok(())
    }

    /// Deprecates it, or takes that back.
    pub fn deprecate(&mut self, undo: bool, now: Timestamp) {
        self.deprecated_at = match (undo, self.deprecated_at) {
            (true, _) => None,
            (false, Some(since)) => Some(since),
            (false, None) => Some(now),
        };
    }

    /// Whether devices may be given this type.
    ///
    /// # Errors
    ///
    /// `type.deprecated`.
    pub fn check_takes_devices(&self) -> Result<(), Refusal> {
        match self.deprecated_at {
            Some(_) => Err(Refusal::malformed(
                "type.deprecated",
                format!("type {} is deprecated and takes no devices", self.name),
            )),
            None => Ok(()),
        }
    }

    /// Whether it may be deleted: deprecated for `grace` (5 minutes on AWS), and without devices.
    ///
    /// # Errors
    ///
    /// `type.not-deprecated`, `type.too-recently-deprecated`, `type.in-use`.
    pub fn check_delete(
        &self,
        devices: usize,
        grace: Duration,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let Some(since) = self.deprecated_at else {
            return Err(Refusal::malformed(
                "type.not-deprecated",
                format!("cannot delete: type {} is not deprecated yet", self.name),
            ));
        };
        let waited = now.since(since);
        if waited < grace {
            return Err(Refusal::new(
                RefusalKind::Malformed,
                "type.too-recently-deprecated",
                format!(
                    "cannot delete: type {} must be deprecated for {} s before it is deleted, \
                     wait {} s more",
                    self.name,
                    grace.as_secs(),
                    grace.saturating_sub(waited).as_secs().max(1),
                ),
            ));
        }
        if devices > 0 {
            return Err(Refusal::malformed(
                "type.in-use",
                format!(
                    "cannot delete: type {} is the type of {devices} device(s)",
                    self.name
                ),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_deleted_only_after_a_quiet_deprecation() {
        let at = Timestamp::from_seconds;
        for (deprecated, devices, now, reason) in [
            (None, 0, 1000, Some("type.not-deprecated")),
            (Some(800), 0, 1000, Some("type.too-recently-deprecated")),
            (Some(700), 1, 1000, Some("type.in-use")),
            (Some(700), 0, 1000, None),
        ] {
            let mut record = TypeRecord::new(
                TypeName::new("pump").unwrap(),
                "u".into(),
                TypeChange::default(),
                at(1),
            )
            .unwrap();
            if let Some(since) = deprecated {
                record.deprecate(false, at(since));
                record.deprecate(false, at(since + 50));
                assert!(record.check_takes_devices().is_err());
            }
            let refusal = record
                .check_delete(devices, DEPRECATED_BEFORE_DELETE, at(now))
                .err();
            assert_eq!(refusal.map(|refusal| refusal.reason.0), reason);
            record.deprecate(true, at(now));
            assert!(record.check_takes_devices().is_ok());
        }
    }

    #[test]
    fn a_type_names_few_searchable_attributes() {
        let change = |names: &[&str]| TypeChange {
            searchable_attributes: Some(names.iter().map(|&name| name.into()).collect()),
            ..TypeChange::default()
        };
        let new = |change| {
            let name = TypeName::new("pump").unwrap();
            TypeRecord::new(name, "u".into(), change, Timestamp::default())
        };
        assert!(new(change(&["a", "b", "c"])).is_ok());
        assert!(new(change(&["a", "b", "c", "d"])).is_err());
        assert!(new(change(&["a b"])).is_err());
    }
}
