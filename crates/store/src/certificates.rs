//! Certificates in `registry.db`.

use model::{CertificateId, Timestamp};
use registry::{CertificateRecord, Validity};
use rusqlite::{Row, params};

use crate::{
    Failure, ReadTxn, WriteTxn,
    rows::{all, limit, millis, name, one, optional_name, run, time},
};

const COLUMNS: &str = "id, status, pem, ca_id, not_before, not_after, customer_version, \
     generation_id, created_at, modified_at";

/// The order of a list of certificates, by the time they were registered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Order {
    /// The oldest first.
    Ascending,
    /// The newest first.
    #[default]
    Descending,
}

/// Where a list of certificates continues: after this one.
pub type CertificatePlace = (Timestamp, CertificateId);

fn read(row: &Row<'_>) -> Result<CertificateRecord, Failure> {
    const WHAT: &str = "certificate";
    Ok(CertificateRecord {
        id: name(row, 0, WHAT)?,
        status: name(row, 1, WHAT)?,
        pem: row.get(2)?,
        ca_id: optional_name(row, 3, WHAT)?,
        validity: Validity {
            not_before: time(row, 4)?,
            not_after: time(row, 5)?,
        },
        customer_version: row.get(6)?,
        generation_id: row.get(7)?,
        created_at: time(row, 8)?,
        modified_at: time(row, 9)?,
    })
}

impl ReadTxn<'_> {
    /// The certificate `id`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn certificate(&self, id: &CertificateId) -> Result<Option<CertificateRecord>, Failure> {
        let sql = format!("SELECT {COLUMNS} FROM certificates WHERE id = ?1");
        one(self.file(), &sql, [id.to_string()], read)
    }

    /// The certificates, or those registered with the CA `of_ca`, in `order`, after `after`: at
    /// most `rows`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn certificates(
        &self,
        of_ca: Option<&CertificateId>,
        order: Order,
        after: Option<CertificatePlace>,
        rows: usize,
    ) -> Result<Vec<CertificateRecord>, Failure> {
        let (comparison, direction) = match order {
            Order::Ascending => (">", "ASC"),
            Order::Descending => ("<", "DESC"),
        };
        let ca = match of_ca {
            Some(_) => "ca_id = ?1",
            None => "?1 IS NULL",
        };
        let (at, id) = match after {
            Some((at, id)) => (millis(at), id.to_string()),
            None if order == Order::Ascending => (-1, String::new()),
            None => (i64::MAX, String::new()),
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM certificates WHERE {ca} \
             AND (created_at, id) {comparison} (?2, ?3) \
             ORDER BY created_at {direction}, id {direction} LIMIT ?4"
        );
        let values = params![of_ca.map(ToString::to_string), at, id, limit(rows)];
        all(self.file(), &sql, values, read)
    }
}

impl WriteTxn<'_> {
    /// Creates or replaces `certificate`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn put_certificate(&mut self, certificate: &CertificateRecord) -> Result<(), Failure> {
        run(
            self.file(),
            "INSERT OR REPLACE INTO certificates (id, status, pem, ca_id, not_before, not_after, \
             customer_version, generation_id, created_at, modified_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                certificate.id.to_string(),
                certificate.status.as_str(),
                certificate.pem,
                certificate.ca_id.map(|id| id.to_string()),
                millis(certificate.validity.not_before),
                millis(certificate.validity.not_after),
                certificate.customer_version,
                certificate.generation_id,
                millis(certificate.created_at),
                millis(certificate.modified_at),
            ],
        )?;
        Ok(())
    }

    /// Removes the certificate `id`. Its attachments must be taken away separately.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn delete_certificate(&mut self, id: &CertificateId) -> Result<(), Failure> {
        run(
            self.file(),
            "DELETE FROM certificates WHERE id = ?1",
            [id.to_string()],
        )?;
        Ok(())
    }
}
