//! Devices in `registry.db`.

use model::{DeviceId, TypeName};
use registry::{Attributes, DeviceRecord};
use rusqlite::{Row, params};

use crate::{
    Failure, ReadTxn, WriteTxn,
    rows::{
        all, count, json, limit, millis, name, one, optional_name, prefix_pattern, run, time,
        to_json, unsigned,
    },
};

const COLUMNS: &str = "id, uuid, type, attributes, version, created_at, modified_at";

/// Which devices a list holds; all given conditions must be met.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DeviceFilter {
    /// Those of this type.
    pub device_type: Option<TypeName>,
    /// Those with this attribute.
    pub attribute: Option<AttributeFilter>,
}

/// An attribute and what its value must be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AttributeFilter {
    /// The attribute's name.
    pub name: String,
    /// Its value, or how it begins.
    pub value: String,
    /// Whether `value` is only the beginning.
    pub is_prefix: bool,
}

fn read(row: &Row<'_>) -> Result<DeviceRecord, Failure> {
    const WHAT: &str = "device";
    Ok(DeviceRecord {
        id: name(row, 0, WHAT)?,
        uuid: row.get(1)?,
        device_type: optional_name(row, 2, WHAT)?,
        attributes: Attributes::from_stored(json(row, 3, WHAT)?),
        version: unsigned(row, 4)?,
        created_at: time(row, 5)?,
        modified_at: time(row, 6)?,
    })
}

impl ReadTxn<'_> {
    /// The device `id`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn device(&self, id: &DeviceId) -> Result<Option<DeviceRecord>, Failure> {
        let sql = format!("SELECT {COLUMNS} FROM devices WHERE id = ?1");
        one(self.file(), &sql, [id.as_str()], read)
    }

    /// The devices that meet `filter`, by id, after `after`: at most `rows`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn devices(
        &self,
        filter: &DeviceFilter,
        after: Option<&str>,
        rows: usize,
    ) -> Result<Vec<DeviceRecord>, Failure> {
        let attribute = filter.attribute.as_ref();
        // The path is passed as a value; the name's alphabet holds no quotes.
        let path = attribute.map(|attribute| format!("$.\"{}\"", attribute.name));
        let pattern = attribute.map(|attribute| {
            if attribute.is_prefix {
                prefix_pattern(&attribute.value)
            } else {
                attribute.value.clone()
            }
        });
        let comparison = match attribute {
            None => "?3 IS NULL AND ?4 IS NULL",
            Some(attribute) if attribute.is_prefix => {
                "json_extract(attributes, ?3) LIKE ?4 ESCAPE '\\'"
            }
            Some(_) => "json_extract(attributes, ?3) = ?4",
        };
        let of_type = match filter.device_type {
            Some(_) => "type = ?2",
            None => "?2 IS NULL",
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM devices WHERE id > ?1 AND {of_type} AND {comparison} \
             ORDER BY id LIMIT ?5"
        );
        let values = params![
            after.unwrap_or(""),
            filter.device_type.as_ref().map(TypeName::as_str),
            path,
            pattern,
            limit(rows),
        ];
        all(self.file(), &sql, values, read)
    }

    /// How many devices there are, or are of the type `of_type`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn device_count(&self, of_type: Option<&TypeName>) -> Result<usize, Failure> {
        match of_type {
            Some(of_type) => count(
                self.file(),
                "SELECT count(*) FROM devices WHERE type = ?1",
                [of_type.as_str()],
            ),
            None => count(self.file(), "SELECT count(*) FROM devices", []),
        }
    }
}

impl WriteTxn<'_> {
    /// Creates or replaces `device`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn put_device(&mut self, device: &DeviceRecord) -> Result<(), Failure> {
        run(
            self.file(),
            "INSERT INTO devices (id, uuid, type, attributes, version, created_at, modified_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO UPDATE SET \
             uuid = excluded.uuid, type = excluded.type, attributes = excluded.attributes, \
             version = excluded.version, created_at = excluded.created_at, \
             modified_at = excluded.modified_at",
            params![
                device.id.as_str(),
                device.uuid,
                device.device_type.as_ref().map(TypeName::as_str),
                to_json(device.attributes.as_map()),
                device.version.cast_signed(),
                millis(device.created_at),
                millis(device.modified_at),
            ],
        )?;
        Ok(())
    }

    /// Removes the device `id`, its memberships in groups and its shadows.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn delete_device(&mut self, id: &DeviceId) -> Result<(), Failure> {
        for sql in [
            "DELETE FROM devices WHERE id = ?1",
            "DELETE FROM memberships WHERE device = ?1",
            "DELETE FROM shadows WHERE device = ?1",
        ] {
            run(self.file(), sql, [id.as_str()])?;
        }
        Ok(())
    }
}
