//! Changes of the registry as events, and the switches that decide which are announced.

use std::collections::BTreeMap;

use model::{DeviceId, GroupName, Refusal, Timestamp, TypeName};
use registry::{DeviceRecord, EventConfigurations, EventFamily, GroupRecord, TypeRecord};

use crate::{Caller, Event, Hub, act};

/// What was done to something.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Operation {
    /// It is new.
    Created,
    /// It is different.
    Updated,
    /// It is gone.
    Deleted,
    /// It was put into something.
    Added,
    /// It was taken out of something.
    Removed,
}

/// A device as events name it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeviceIdentity {
    /// Its name.
    pub id: DeviceId,
    /// Which device of this name.
    pub uuid: String,
}

/// A group as events name it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupIdentity {
    /// Its name.
    pub name: GroupName,
    /// Which group of this name.
    pub uuid: String,
}

/// What changed in the registry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RegistryChange {
    /// A device; deleted ones as they were last.
    Device(DeviceRecord),
    /// A type; deleted ones as they were last.
    Type(TypeRecord),
    /// A device was given a type, or it was taken away.
    TypeAssociation {
        /// The device.
        device: DeviceIdentity,
        /// The type.
        device_type: TypeName,
    },
    /// A group; deleted ones as they were last.
    Group {
        /// The group.
        group: GroupRecord,
        /// The groups above it, from the root to its parent.
        ancestors: Vec<GroupIdentity>,
    },
    /// A device was put into a group or taken out.
    Membership {
        /// The device.
        device: DeviceIdentity,
        /// The group.
        group: GroupIdentity,
    },
    /// A group was put below another or taken away.
    Hierarchy {
        /// The group above.
        parent: GroupIdentity,
        /// The group below.
        child: GroupIdentity,
    },
}

/// A change of the registry, for whoever subscribes to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RegistryEvent {
    /// Identifies the event: a UUID.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// What was done.
    pub operation: Operation,
    /// To what.
    pub change: RegistryChange,
}

impl RegistryChange {
    /// The family it is switched on with.
    #[must_use]
    pub const fn family(&self) -> EventFamily {
        match self {
            Self::Device(_) => EventFamily::Device,
            Self::Type(_) => EventFamily::Type,
            Self::TypeAssociation { .. } => EventFamily::TypeAssociation,
            Self::Group { .. } => EventFamily::Group,
            Self::Membership { .. } => EventFamily::GroupMembership,
            Self::Hierarchy { .. } => EventFamily::GroupHierarchy,
        }
    }
}

impl From<&DeviceRecord> for DeviceIdentity {
    fn from(device: &DeviceRecord) -> Self {
        Self {
            id: device.id.clone(),
            uuid: device.uuid.clone(),
        }
    }
}

impl From<&GroupRecord> for GroupIdentity {
    fn from(group: &GroupRecord) -> Self {
        Self {
            name: group.name.clone(),
            uuid: group.uuid.clone(),
        }
    }
}

impl Hub {
    /// Which changes of the registry are announced.
    ///
    /// # Errors
    ///
    /// `operator.required`.
    pub fn event_configurations(&self, caller: &Caller) -> Result<EventConfigurations, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, "event configurations")?;
        self.0.store.read(|txn| Ok(txn.event_configurations()?))
    }

    /// Sets the switches in `changes`; the others stay.
    ///
    /// # Errors
    ///
    /// `operator.required`.
    pub async fn update_event_configurations(
        &self,
        caller: &Caller,
        changes: BTreeMap<EventFamily, bool>,
    ) -> Result<(), Refusal> {
        let permit = self.authorize::<act::ManageSettings>(caller, "event configurations")?;
        let now = self.now();
        self.transact(permit, move |txn| {
            let mut switches = txn.event_configurations()?;
            switches.apply(changes, now);
            Ok::<_, Refusal>(txn.put_event_configurations(&switches)?)
        })
        .await
    }

    /// Tells whoever subscribes to it what changed, as far as that is switched on.
    pub(crate) fn announce_changes(
        &self,
        changes: impl IntoIterator<Item = (Operation, RegistryChange)>,
    ) {
        let mut changes = changes.into_iter().peekable();
        if changes.peek().is_none() {
            return;
        }
        let switches = match self.0.store.read(|txn| txn.event_configurations()) {
            Ok(switches) => switches,
            Err(error) => {
                // The change itself is done; only its announcement is lost.
                tracing::error!(%error, "changes of the registry are not announced");
                return;
            }
        };
        for (operation, change) in changes {
            if switches.is_enabled(change.family()) {
                self.announce(&Event::Registry(Box::new(RegistryEvent {
                    id: new_uuid(),
                    at: self.now(),
                    operation,
                    change,
                })));
            }
        }
    }
}

/// A random UUID: which thing of a name this is, or which state of it.
pub(crate) fn new_uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}
