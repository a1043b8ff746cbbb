//! Registered certificate authorities in `registry.db`.

use model::CertificateId;
use registry::{CaRecord, RegistrationConfig, TemplateSource, Validity};
use rusqlite::{Row, params};

use crate::{
    CertificatePlace, Failure, Order, ReadTxn, WriteTxn,
    rows::{all, limit, millis, name, one, run, time},
};

const COLUMNS: &str = "id, subject, status, auto_registration, mode, pem, template_body, \
     template_name, role, configured, not_before, not_after, customer_version, generation_id, \
     created_at, modified_at";

fn read(row: &Row<'_>) -> Result<CaRecord, Failure> {
    const WHAT: &str = "CA certificate";
    let subject: String = row.get(1)?;
    let body: Option<String> = row.get(6)?;
    let template_name: Option<String> = row.get(7)?;
    let template = body
        .map(TemplateSource::Body)
        .or_else(|| template_name.map(TemplateSource::Name));
    let role = row.get(8)?;
    let configured: bool = row.get(9)?;
    Ok(CaRecord {
        id: name(row, 0, WHAT)?,
        subject: hex::decode(subject).map_err(|_| Failure::Unreadable { what: WHAT })?,
        status: name(row, 2, WHAT)?,
        auto_registration: name(row, 3, WHAT)?,
        mode: name(row, 4, WHAT)?,
        pem: row.get(5)?,
        registration: configured.then_some(RegistrationConfig { template, role }),
        validity: Validity {
            not_before: time(row, 10)?,
            not_after: time(row, 11)?,
        },
        customer_version: row.get(12)?,
        generation_id: row.get(13)?,
        created_at: time(row, 14)?,
        modified_at: time(row, 15)?,
    })
}

impl ReadTxn<'_> {
    /// The authority `id`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn ca_certificate(&self, id: &CertificateId) -> Result<Option<CaRecord>, Failure> {
        let sql = format!("SELECT {COLUMNS} FROM ca_certificates WHERE id = ?1");
        one(self.file(), &sql, [id.to_string()], read)
    }

    /// The authorities with this subject (DER), the newest first. Few: see
    /// [`CaRecord::check_beside`].
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn cas_of_subject(&self, subject: &[u8]) -> Result<Vec<CaRecord>, Failure> {
        let sql = format!(
            "SELECT {COLUMNS} FROM ca_certificates WHERE subject = ?1 \
             ORDER BY created_at DESC, id DESC"
        );
        all(self.file(), &sql, [hex::encode(subject)], read)
    }

    /// The authorities, or those that provision by the template `template`, in `order`, after
    /// `after`: at most `rows`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn ca_certificates(
        &self,
        template: Option<&str>,
        order: Order,
        after: Option<CertificatePlace>,
        rows: usize,
    ) -> Result<Vec<CaRecord>, Failure> {
        let (comparison, direction) = match order {
            Order::Ascending => (">", "ASC"),
            Order::Descending => ("<", "DESC"),
        };
        let (at, id) = match after {
            Some((at, id)) => (millis(at), id.to_string()),
            None if order == Order::Ascending => (-1, String::new()),
            None => (i64::MAX, String::new()),
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM ca_certificates WHERE (?1 IS NULL OR template_name = ?1) \
             AND (created_at, id) {comparison} (?2, ?3) \
             ORDER BY created_at {direction}, id {direction} LIMIT ?4"
        );
        all(
            self.file(),
            &sql,
            params![template, at, id, limit(rows)],
            read,
        )
    }
}

impl WriteTxn<'_> {
    /// Creates or replaces `ca`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn put_ca_certificate(&mut self, ca: &CaRecord) -> Result<(), Failure> {
        let registration = ca.registration.as_ref();
        let template = registration.and_then(|config| config.template.as_ref());
        let (body, template_name) = match template {
            Some(TemplateSource::Body(body)) => (Some(body), None),
            Some(TemplateSource::Name(name)) => (None, Some(name)),
            None => (None, None),
        };
        let sql = format!(
            "INSERT OR REPLACE INTO ca_certificates ({COLUMNS}) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
        );
        run(
            self.file(),
            &sql,
            params![
                ca.id.to_string(),
                hex::encode(&ca.subject),
                ca.status.as_str(),
                ca.auto_registration.as_str(),
                ca.mode.as_str(),
                ca.pem,
                body,
                template_name,
                registration.and_then(|config| config.role.as_ref()),
                registration.is_some(),
                millis(ca.validity.not_before),
                millis(ca.validity.not_after),
                ca.customer_version,
                ca.generation_id,
                millis(ca.created_at),
                millis(ca.modified_at),
            ],
        )?;
        Ok(())
    }

    /// Removes the authority `id`. Certificates that were registered with it stay.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn delete_ca_certificate(&mut self, id: &CertificateId) -> Result<(), Failure> {
        run(
            self.file(),
            "DELETE FROM ca_certificates WHERE id = ?1",
            [id.to_string()],
        )?;
        Ok(())
    }
}
