//! Which changes of the registry are announced as messages. All are off until switched on.

use std::collections::BTreeMap;

use model::Timestamp;

/// A family of announcements that is switched on and off together.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum EventFamily {
    /// Devices created, updated, deleted.
    Device,
    /// Groups created, updated, deleted.
    Group,
    /// Types created, updated, deprecated, deleted.
    Type,
    /// Devices put into groups and taken out.
    GroupMembership,
    /// Groups put below groups and taken away.
    GroupHierarchy,
    /// Devices given a type and taken it away.
    TypeAssociation,
    /// Jobs completed, canceled, deleted.
    Job,
    /// Executions of jobs.
    JobExecution,
    /// Policies.
    Policy,
    /// Certificates.
    Certificate,
    /// Certificate authorities.
    CertificateAuthority,
}

impl EventFamily {
    /// All, in the order of their declaration.
    pub const ALL: [Self; 11] = [
        Self::Device,
        Self::Group,
        Self::Type,
        Self::GroupMembership,
        Self::GroupHierarchy,
        Self::TypeAssociation,
        Self::Job,
        Self::JobExecution,
        Self::Policy,
        Self::Certificate,
        Self::CertificateAuthority,
    ];

    /// Its name, as it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Group => "group",
            Self::Type => "type",
            Self::GroupMembership => "group-membership",
            Self::GroupHierarchy => "group-hierarchy",
            Self::TypeAssociation => "type-association",
            Self::Job => "job",
            Self::JobExecution => "job-execution",
            Self::Policy => "policy",
            Self::Certificate => "certificate",
            Self::CertificateAuthority => "certificate-authority",
        }
    }
}

/// The switches.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EventConfigurations {
    /// The families that are switched on or were once; absent is off.
    pub enabled: BTreeMap<EventFamily, bool>,
    /// When a switch was set first.
    pub created_at: Option<Timestamp>,
    /// When a switch was set last.
    pub modified_at: Option<Timestamp>,
}

impl EventConfigurations {
    /// Whether changes of `family` are announced.
    #[must_use]
    pub fn is_enabled(&self, family: EventFamily) -> bool {
        self.enabled.get(&family).copied().unwrap_or(false)
    }

    /// Sets the switches in `changes`; the others stay.
    pub fn apply(&mut self, changes: BTreeMap<EventFamily, bool>, now: Timestamp) {
        self.enabled.extend(changes);
        self.created_at.get_or_insert(now);
        self.modified_at = Some(now);
    }
}

#[test]
fn switches_stay_until_they_are_set_again() {
    let mut switches = EventConfigurations::default();
    assert!(!switches.is_enabled(EventFamily::Device));
    switches.apply(
        [(EventFamily::Device, true)].into(),
        Timestamp::from_millis(1),
    );
    switches.apply(
        [(EventFamily::Group, true)].into(),
        Timestamp::from_millis(2),
    );
    assert!(switches.is_enabled(EventFamily::Device));
    assert_eq!(switches.created_at, Some(Timestamp::from_millis(1)));
    assert_eq!(switches.modified_at, Some(Timestamp::from_millis(2)));
}
