//! Shadows in `registry.db`: a document is text here, `hub` reads and writes it.

use model::{Address, ModuleId, ShadowName, Timestamp};
use rusqlite::params;

use crate::{
    Failure, ReadTxn, WriteTxn,
    rows::{all, limit, millis, name, one, run, time, unsigned},
};

/// A shadow as it is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ShadowRow {
    /// Its version; a deleted shadow keeps it, so that a new one continues from there.
    pub version: u64,
    /// The document as the hub spells it; `None` when deleted.
    pub document: Option<String>,
    /// When it was written or deleted last.
    pub modified_at: Timestamp,
}

fn module(address: &Address) -> &str {
    address.module.as_ref().map_or("", ModuleId::as_str)
}

fn name_text(shadow: Option<&ShadowName>) -> &str {
    shadow.map_or("", ShadowName::as_str)
}

impl ReadTxn<'_> {
    /// The shadow `shadow` of `address`, the unnamed one for `None`; deleted ones included.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn shadow(
        &self,
        address: &Address,
        shadow: Option<&ShadowName>,
    ) -> Result<Option<ShadowRow>, Failure> {
        one(
            self.file(),
            "SELECT version, document, modified_at FROM shadows \
             WHERE device = ?1 AND module = ?2 AND name = ?3",
            params![address.device.as_str(), module(address), name_text(shadow)],
            |row| {
                Ok(ShadowRow {
                    version: unsigned(row, 0)?,
                    document: row.get(1)?,
                    modified_at: time(row, 2)?,
                })
            },
        )
    }

    /// The names of the named shadows of `address` that are not deleted, after `after`: at most
    /// `rows`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn shadow_names(
        &self,
        address: &Address,
        after: Option<&str>,
        rows: usize,
    ) -> Result<Vec<ShadowName>, Failure> {
        all(
            self.file(),
            "SELECT name FROM shadows WHERE device = ?1 AND module = ?2 AND name > ?3 \
             AND document IS NOT NULL ORDER BY name LIMIT ?4",
            params![
                address.device.as_str(),
                module(address),
                after.unwrap_or(""),
                limit(rows),
            ],
            |row| name(row, 0, "shadow"),
        )
    }
}

impl WriteTxn<'_> {
    /// Creates or replaces the shadow `shadow` of `address`; a row without document is a deleted
    /// shadow.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn put_shadow(
        &mut self,
        address: &Address,
        shadow: Option<&ShadowName>,
        row: &ShadowRow,
    ) -> Result<(), Failure> {
        run(
            self.file(),
            "INSERT INTO shadows (device, module, name, version, document, modified_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (device, module, name) DO UPDATE SET \
             version = excluded.version, document = excluded.document, \
             modified_at = excluded.modified_at",
            params![
                address.device.as_str(),
                module(address),
                name_text(shadow),
                row.version.cast_signed(),
                row.document,
                millis(row.modified_at),
            ],
        )?;
        Ok(())
    }

    /// Forgets shadows that were deleted before `before`, versions included.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn forget_deleted_shadows(&mut self, before: Timestamp) -> Result<(), Failure> {
        run(
            self.file(),
            "DELETE FROM shadows WHERE document IS NULL AND modified_at < ?1",
            [millis(before)],
        )?;
        Ok(())
    }
}
