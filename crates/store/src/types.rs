//! Types of devices in `registry.db`.

use model::TypeName;
use registry::TypeRecord;
use rusqlite::{Row, params};

use crate::{
    Failure, ReadTxn, WriteTxn,
    rows::{all, json, limit, millis, name, one, optional_time, run, time, to_json},
};

const COLUMNS: &str = "name, uuid, description, searchable_attributes, deprecated_at, created_at";

fn read(row: &Row<'_>) -> Result<TypeRecord, Failure> {
    Ok(TypeRecord {
        name: name(row, 0, "type")?,
        uuid: row.get(1)?,
        description: row.get(2)?,
        searchable_attributes: json(row, 3, "type")?,
        deprecated_at: optional_time(row, 4)?,
        created_at: time(row, 5)?,
    })
}

impl ReadTxn<'_> {
    /// The type `name`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn device_type(&self, name: &TypeName) -> Result<Option<TypeRecord>, Failure> {
        let sql = format!("SELECT {COLUMNS} FROM types WHERE name = ?1");
        one(self.file(), &sql, [name.as_str()], read)
    }

    /// The types by name, after `after`: at most `rows`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn device_types(
        &self,
        after: Option<&str>,
        rows: usize,
    ) -> Result<Vec<TypeRecord>, Failure> {
        let sql = format!("SELECT {COLUMNS} FROM types WHERE name > ?1 ORDER BY name LIMIT ?2");
        all(
            self.file(),
            &sql,
            params![after.unwrap_or(""), limit(rows)],
            read,
        )
    }
}

impl WriteTxn<'_> {
    /// Creates or replaces `record`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn put_device_type(&mut self, record: &TypeRecord) -> Result<(), Failure> {
        run(
            self.file(),
            "INSERT OR REPLACE INTO types (name, uuid, description, searchable_attributes, \
             deprecated_at, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                record.name.as_str(),
                record.uuid,
                record.description,
                to_json(&record.searchable_attributes),
                record.deprecated_at.map(millis),
                millis(record.created_at),
            ],
        )?;
        Ok(())
    }

    /// Removes the type `name`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn delete_device_type(&mut self, name: &TypeName) -> Result<(), Failure> {
        run(
            self.file(),
            "DELETE FROM types WHERE name = ?1",
            [name.as_str()],
        )?;
        Ok(())
    }
}
