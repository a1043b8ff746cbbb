//! Which principals belong to which devices, in `registry.db`.

use model::{DeviceId, limits};
use registry::{Attachment, AttachmentKind, Principal};
use rusqlite::{Row, params};

use crate::{
    Failure, ReadTxn, WriteTxn,
    rows::{all, limit, name, run},
};

const COLUMNS: &str = "device, principal, exclusive";

fn read(row: &Row<'_>) -> Result<Attachment, Failure> {
    Ok(Attachment {
        device: name(row, 0, "attachment")?,
        principal: name(row, 1, "attachment")?,
        kind: if row.get(2)? {
            AttachmentKind::Exclusive
        } else {
            AttachmentKind::NonExclusive
        },
    })
}

impl ReadTxn<'_> {
    /// All attachments of `device`, by principal; at most [`limits::ATTACHMENTS`] exist.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn principals_of_device(&self, device: &DeviceId) -> Result<Vec<Attachment>, Failure> {
        let sql = format!(
            "SELECT {COLUMNS} FROM attachments WHERE device = ?1 ORDER BY principal LIMIT ?2"
        );
        let values = params![device.as_str(), limit(limits::ATTACHMENTS)];
        all(self.file(), &sql, values, read)
    }

    /// All attachments of `principal`, by device; at most [`limits::ATTACHMENTS`] exist.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn devices_of_principal(&self, principal: &Principal) -> Result<Vec<Attachment>, Failure> {
        let sql = format!(
            "SELECT {COLUMNS} FROM attachments WHERE principal = ?1 ORDER BY device LIMIT ?2"
        );
        let values = params![principal.to_string(), limit(limits::ATTACHMENTS)];
        all(self.file(), &sql, values, read)
    }
}

impl WriteTxn<'_> {
    /// Makes `attachment`, or changes its kind.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn put_attachment(&mut self, attachment: &Attachment) -> Result<(), Failure> {
        run(
            self.file(),
            "INSERT OR REPLACE INTO attachments (device, principal, exclusive) VALUES (?1, ?2, ?3)",
            params![
                attachment.device.as_str(),
                attachment.principal.to_string(),
                attachment.kind == AttachmentKind::Exclusive,
            ],
        )?;
        Ok(())
    }

    /// Takes `principal` off `device`; whether it was attached.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn delete_attachment(
        &mut self,
        device: &DeviceId,
        principal: &Principal,
    ) -> Result<bool, Failure> {
        let changed = run(
            self.file(),
            "DELETE FROM attachments WHERE device = ?1 AND principal = ?2",
            params![device.as_str(), principal.to_string()],
        )?;
        Ok(changed > 0)
    }
}
