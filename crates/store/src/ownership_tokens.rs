//! Tokens of devices that are being provisioned, in `registry.db`.

use model::{CertificateId, Timestamp};
use rusqlite::params;

use crate::{
    Failure, ReadTxn, WriteTxn,
    rows::{all, count, millis, name, one, run, time},
};

/// What is kept of a token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OwnershipToken {
    /// SHA-256 of the token, in hexadecimal.
    pub fingerprint: String,
    /// The certificate that it is for.
    pub certificate: CertificateId,
    /// Who may use it.
    pub principal: String,
    /// Until when.
    pub expires_at: Timestamp,
}

impl ReadTxn<'_> {
    /// The token with this fingerprint.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn ownership_token(&self, fingerprint: &str) -> Result<Option<OwnershipToken>, Failure> {
        one(
            self.file(),
            "SELECT fingerprint, certificate, principal, expires_at FROM ownership_tokens \
             WHERE fingerprint = ?1",
            [fingerprint],
            |row| {
                Ok(OwnershipToken {
                    fingerprint: row.get(0)?,
                    certificate: name(row, 1, "ownership token")?,
                    principal: row.get(2)?,
                    expires_at: time(row, 3)?,
                })
            },
        )
    }

    /// How many tokens have not expired.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn ownership_token_count(&self, now: Timestamp) -> Result<usize, Failure> {
        count(
            self.file(),
            "SELECT COUNT(*) FROM ownership_tokens WHERE expires_at > ?1",
            [millis(now)],
        )
    }
}

impl WriteTxn<'_> {
    /// Keeps `token`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn put_ownership_token(&mut self, token: &OwnershipToken) -> Result<(), Failure> {
        run(
            self.file(),
            "INSERT INTO ownership_tokens (fingerprint, certificate, principal, expires_at) \
             VALUES (?1, ?2, ?3, ?4)",
            params![
                token.fingerprint,
                token.certificate.to_string(),
                token.principal,
                millis(token.expires_at)
            ],
        )?;
        Ok(())
    }

    /// Forgets a token.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn delete_ownership_token(&mut self, fingerprint: &str) -> Result<(), Failure> {
        run(
            self.file(),
            "DELETE FROM ownership_tokens WHERE fingerprint = ?1",
            [fingerprint],
        )?;
        Ok(())
    }

    /// Forgets the tokens that have expired; gives the certificates they were for.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn take_expired_ownership(
        &mut self,
        now: Timestamp,
    ) -> Result<Vec<CertificateId>, Failure> {
        let expired = all(
            self.file(),
            "SELECT certificate FROM ownership_tokens WHERE expires_at <= ?1",
            [millis(now)],
            |row| name(row, 0, "ownership token"),
        )?;
        run(
            self.file(),
            "DELETE FROM ownership_tokens WHERE expires_at <= ?1",
            [millis(now)],
        )?;
        Ok(expired)
    }
}
