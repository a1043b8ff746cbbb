//! A device: what AWS calls a thing and Azure a device identity.

use model::{DeviceId, Refusal, Timestamp, TypeName};

use crate::{AttributeChange, Attributes, TypeRecord, Version, check_version};

/// A device as the registry knows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeviceRecord {
    /// Its name, for ever.
    pub id: DeviceId,
    /// Which device of this name it is: a UUID, new when a name is used again.
    pub uuid: String,
    /// Its type.
    pub device_type: Option<TypeName>,
    /// Its attributes.
    pub attributes: Attributes,
    /// Its version, from 1.
    pub version: Version,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub modified_at: Timestamp,
}

/// What a writer wants of a device.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DeviceChange {
    /// The attributes; `None` leaves them.
    pub attributes: Option<AttributeChange>,
    /// The type: `Some(None)` takes it away, `None` leaves it.
    pub device_type: Option<Option<TypeName>>,
    /// Only if the device is at this version.
    pub expected_version: Option<Version>,
}

impl DeviceRecord {
    /// A new device, at version 1.
    ///
    /// # Errors
    ///
    /// As [`Attributes::apply`], and `type.deprecated` when `device_type` takes no new devices.
    pub fn new(
        id: DeviceId,
        uuid: String,
        device_type: Option<&TypeRecord>,
        attributes: AttributeChange,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let mut kept = Attributes::default();
        kept.apply(attributes)?;
        if let Some(device_type) = device_type {
            device_type.check_takes_devices()?;
        }
        Ok(Self {
            id,
            uuid,
            device_type: device_type.map(|device_type| device_type.name.clone()),
            attributes: kept,
            version: 1,
            created_at: now,
            modified_at: now,
        })
    }

    /// Whether creating `other` would change nothing, so that a repeated request may succeed.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.device_type == other.device_type && self.attributes == other.attributes
    }

    /// Makes `change`. `new_type` is the record of the type it names.
    ///
    /// # Errors
    ///
    /// `device.version-conflict`, `type.deprecated`, and as [`Attributes::apply`]; the device is
    /// unchanged then.
    pub fn apply(
        &mut self,
        change: DeviceChange,
        new_type: Option<&TypeRecord>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.check_version(change.expected_version)?;
        if let Some(new_type) = new_type
            && self.device_type.as_ref() != Some(&new_type.name)
        {
            new_type.check_takes_devices()?;
        }
        if let Some(attributes) = change.attributes {
            self.attributes.apply(attributes)?;
        }
        if let Some(device_type) = change.device_type {
            self.device_type = device_type;
        }
        self.version += 1;
        self.modified_at = now;
        Ok(())
    }

    /// Whether it may be deleted: at the expected version, with no principals attached.
    ///
    /// # Errors
    ///
    /// `device.version-conflict`, `device.has-principals`.
    pub fn check_delete(
        &self,
        expected_version: Option<Version>,
        principals: usize,
    ) -> Result<(), Refusal> {
        self.check_version(expected_version)?;
        if principals > 0 {
            return Err(Refusal::malformed(
                "device.has-principals",
                format!(
                    "cannot delete: device {} is still attached to {principals} principal(s); \
                     detach them first",
                    self.id
                ),
            ));
        }
        Ok(())
    }

    fn check_version(&self, expected: Option<Version>) -> Result<(), Refusal> {
        let what = format!("device {}", self.id);
        check_version("device.version-conflict", &what, expected, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> DeviceRecord {
        let attributes = AttributeChange::Replace([("a".into(), "1".into())].into());
        let id = DeviceId::new("pump").unwrap();
        DeviceRecord::new(id, "u".into(), None, attributes, Timestamp::default()).unwrap()
    }

    #[test]
    fn every_change_counts_the_version_up() {
        let mut device = device();
        let later = Timestamp::from_millis(5);
        device.apply(DeviceChange::default(), None, later).unwrap();
        assert_eq!((device.version, device.modified_at), (2, later));
    }

    #[test]
    fn a_change_for_another_version_is_refused_and_changes_nothing() {
        let mut device = device();
        let before = device.clone();
        let change = DeviceChange {
            attributes: Some(AttributeChange::Replace([].into())),
            expected_version: Some(7),
            ..DeviceChange::default()
        };
        let refusal = device
            .apply(change, None, Timestamp::default())
            .unwrap_err();
        assert_eq!(refusal.reason.0, "device.version-conflict");
        assert_eq!(device, before);
    }

    #[test]
    fn a_device_with_principals_stays() {
        for (expected, principals, reason) in [
            (None, 0, None),
            (Some(1), 0, None),
            (Some(2), 0, Some("device.version-conflict")),
            (None, 1, Some("device.has-principals")),
        ] {
            let refusal = device().check_delete(expected, principals).err();
            assert_eq!(refusal.map(|refusal| refusal.reason.0), reason);
        }
    }
}
