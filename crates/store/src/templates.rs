//! Provisioning templates and their versions in `registry.db`.

use model::TemplateName;
use registry::{TemplateRecord, TemplateVersion};
use rusqlite::{Row, params};

use crate::{
    Failure, ReadTxn, WriteTxn,
    rows::{all, limit, millis, name, one, run, time},
};

const COLUMNS: &str = "name, kind, description, enabled, role, default_version, next_version, created_at, modified_at";

fn read(row: &Row<'_>) -> Result<TemplateRecord, Failure> {
    const WHAT: &str = "provisioning template";
    Ok(TemplateRecord {
        name: name(row, 0, WHAT)?,
        kind: name(row, 1, WHAT)?,
        description: row.get(2)?,
        enabled: row.get(3)?,
        role: row.get(4)?,
        default_version: row.get(5)?,
        next_version: row.get(6)?,
        created_at: time(row, 7)?,
        modified_at: time(row, 8)?,
    })
}

fn read_version(row: &Row<'_>) -> Result<TemplateVersion, Failure> {
    Ok(TemplateVersion {
        version: row.get(0)?,
        body: row.get(1)?,
        created_at: time(row, 2)?,
    })
}

impl ReadTxn<'_> {
    /// The template `name`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn template(&self, name: &TemplateName) -> Result<Option<TemplateRecord>, Failure> {
        let sql = format!("SELECT {COLUMNS} FROM provisioning_templates WHERE name = ?1");
        one(self.file(), &sql, [name.as_str()], read)
    }

    /// The templates by name, after `after`: at most `rows`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn templates(
        &self,
        after: Option<&str>,
        rows: usize,
    ) -> Result<Vec<TemplateRecord>, Failure> {
        let sql = format!(
            "SELECT {COLUMNS} FROM provisioning_templates WHERE name > ?1 ORDER BY name LIMIT ?2"
        );
        all(
            self.file(),
            &sql,
            params![after.unwrap_or_default(), limit(rows)],
            read,
        )
    }

    /// A version of the template `name`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn template_version(
        &self,
        name: &TemplateName,
        version: u32,
    ) -> Result<Option<TemplateVersion>, Failure> {
        one(
            self.file(),
            "SELECT version, body, created_at FROM provisioning_template_versions \
             WHERE template = ?1 AND version = ?2",
            params![name.as_str(), version],
            read_version,
        )
    }

    /// All versions of the template `name`, oldest first. Few.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn template_versions(&self, name: &TemplateName) -> Result<Vec<TemplateVersion>, Failure> {
        all(
            self.file(),
            "SELECT version, body, created_at FROM provisioning_template_versions \
             WHERE template = ?1 ORDER BY version",
            [name.as_str()],
            read_version,
        )
    }
}

impl WriteTxn<'_> {
    /// Creates or replaces `template`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn put_template(&mut self, template: &TemplateRecord) -> Result<(), Failure> {
        let sql = format!(
            "INSERT OR REPLACE INTO provisioning_templates ({COLUMNS}) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
        );
        run(
            self.file(),
            &sql,
            params![
                template.name.as_str(),
                template.kind.as_str(),
                template.description,
                template.enabled,
                template.role,
                template.default_version,
                template.next_version,
                millis(template.created_at),
                millis(template.modified_at),
            ],
        )?;
        Ok(())
    }

    /// Adds a version to the template `name`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn put_template_version(
        &mut self,
        name: &TemplateName,
        version: &TemplateVersion,
    ) -> Result<(), Failure> {
        run(
            self.file(),
            "INSERT INTO provisioning_template_versions (template, version, body, created_at) \
             VALUES (?1, ?2, ?3, ?4)",
            params![
                name.as_str(),
                version.version,
                version.body,
                millis(version.created_at)
            ],
        )?;
        Ok(())
    }

    /// Removes a version of the template `name`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn delete_template_version(
        &mut self,
        name: &TemplateName,
        version: u32,
    ) -> Result<(), Failure> {
        run(
            self.file(),
            "DELETE FROM provisioning_template_versions WHERE template = ?1 AND version = ?2",
            params![name.as_str(), version],
        )?;
        Ok(())
    }

    /// Removes the template `name` with its versions.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn delete_template(&mut self, name: &TemplateName) -> Result<(), Failure> {
        for sql in [
            "DELETE FROM provisioning_template_versions WHERE template = ?1",
            "DELETE FROM provisioning_templates WHERE name = ?1",
        ] {
            run(self.file(), sql, [name.as_str()])?;
        }
        Ok(())
    }
}
