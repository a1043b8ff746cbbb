//! Salts: what makes a hash in the ledger mean nothing once it is erased.

use ledger::{Digest, Object};
use rusqlite::{OptionalExtension, params};

use crate::{Failure, ReadTxn, Store, WriteTxn, rows::run};

/// What a pseudonym in the ledger stands for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum PersonKind {
    /// An operator, by the name of its key.
    Operator,
    /// The name of the key or token that an operator showed.
    Credential,
    /// A network address, without a port.
    Address,
}

impl PersonKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Operator, Self::Credential, Self::Address];

    /// The name in files and requests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Credential => "credential",
            Self::Address => "address",
        }
    }
}

impl ReadTxn<'_> {
    /// What `pseudonym` stands for; `None` when that was erased.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn person(&self, pseudonym: &Digest) -> Result<Option<String>, Failure> {
        let mut statement = self
            .file()
            .prepare_cached("SELECT value FROM ledger_people WHERE pseudonym = ?1")?;
        Ok(statement
            .query_row([pseudonym.0.as_slice()], |row| row.get(0))
            .optional()?)
    }

    /// What stands for `value` in the ledger; `None` when it never did, or was erased.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn pseudonym_of(&self, kind: PersonKind, value: &str) -> Result<Option<Digest>, Failure> {
        let mut statement = self
            .file()
            .prepare_cached("SELECT pseudonym FROM ledger_people WHERE kind = ?1 AND value = ?2")?;
        Ok(statement
            .query_row(params![kind.name(), value], |row| row.get(0))
            .optional()?
            .map(Digest))
    }

    /// Whether the states of `subject`, written KIND/NAME, have a salt.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn has_salt(&self, subject: &str) -> Result<bool, Failure> {
        let mut statement = self
            .file()
            .prepare_cached("SELECT 1 FROM ledger_salts WHERE subject = ?1")?;
        Ok(statement.exists([subject])?)
    }

    pub(crate) fn known_salt(&self, object: &Object) -> Result<Option<[u8; 32]>, Failure> {
        let mut statement = self
            .file()
            .prepare_cached("SELECT salt FROM ledger_salts WHERE subject = ?1")?;
        Ok(statement
            .query_row([subject(object)], |row| row.get(0))
            .optional()?)
    }
}

impl Store {
    /// Empties the registry's write-ahead log, where what was erased may still stand. Blocks until
    /// that is done, for as long as somebody reads. Whether it was done.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the file cannot be opened or written.
    pub fn empty_log(&self) -> Result<bool, Failure> {
        let layout = &crate::registry_file::LAYOUT;
        let file =
            crate::database::another(self.folder(), layout, crate::database::Durability::Disk)?;
        let was_busy: bool =
            file.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        Ok(!was_busy)
    }
}

impl WriteTxn<'_> {
    /// What stands for `value` in the ledger, from now on if there was nothing. `seed` is random;
    /// a new salt is made of it.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn pseudonym(
        &mut self,
        kind: PersonKind,
        value: &str,
        seed: &[u8; 32],
    ) -> Result<Digest, Failure> {
        if let Some(known) = self.pseudonym_of(kind, value)? {
            return Ok(known);
        }
        let salt = new_salt(seed, &format!("{}/{value}", kind.name()));
        let pseudonym = ledger::pseudonym(&salt, value);
        run(
            self.file(),
            "INSERT INTO ledger_people (kind, value, salt, pseudonym) VALUES (?1, ?2, ?3, ?4)",
            params![kind.name(), value, salt.as_slice(), pseudonym.0.as_slice()],
        )?;
        Ok(pseudonym)
    }

    /// The salt of the fingerprints of `object`.
    pub(crate) fn salt_of(
        &mut self,
        object: &Object,
        seed: &[u8; 32],
    ) -> Result<[u8; 32], Failure> {
        if let Some(known) = self.known_salt(object)? {
            return Ok(known);
        }
        let subject = subject(object);
        let salt = new_salt(seed, &subject);
        run(
            self.file(),
            "INSERT INTO ledger_salts (subject, salt) VALUES (?1, ?2)",
            params![subject, salt.as_slice()],
        )?;
        Ok(salt)
    }

    /// Erases what a pseudonym stands for: from now on nobody can tell, nor find out by trying. With
    /// an operator goes the credential of the same name.
    /// Answers the pseudonym; `None` when there was nothing to erase.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn erase_person(
        &mut self,
        kind: PersonKind,
        value: &str,
    ) -> Result<Option<Digest>, Failure> {
        let pseudonym = self.pseudonym_of(kind, value)?;
        let also = match kind {
            PersonKind::Operator => PersonKind::Credential,
            PersonKind::Credential | PersonKind::Address => kind,
        };
        self.securely(
            "DELETE FROM ledger_people WHERE kind IN (?1, ?2) AND value = ?3",
            params![kind.name(), also.name(), value],
        )?;
        Ok(pseudonym)
    }

    /// Erases the salt of the fingerprints of `subject`, written KIND/NAME: nobody can find out any
    /// more by trying what it was. Whether there was one.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn erase_salt(&mut self, subject: &str) -> Result<bool, Failure> {
        let erased = self.securely("DELETE FROM ledger_salts WHERE subject = ?1", [subject])?;
        Ok(erased > 0)
    }

    /// Overwrites what it deletes.
    fn securely(&self, sql: &str, values: impl rusqlite::Params) -> Result<usize, Failure> {
        self.file().pragma_update(None, "secure_delete", "ON")?;
        let deleted = run(self.file(), sql, values);
        self.file().pragma_update(None, "secure_delete", "OFF")?;
        deleted
    }
}

/// Whose salt the fingerprints of `object` are made with: what belongs to a thing shares its salt.
pub(super) fn subject(object: &Object) -> String {
    match &object.of {
        Some(of) => of.clone(),
        None => format!("{}/{}", object.kind, object.id),
    }
}

/// Different for every subject, and as random as `seed`.
fn new_salt(seed: &[u8; 32], subject: &str) -> [u8; 32] {
    ledger::pseudonym(seed, subject).0
}
