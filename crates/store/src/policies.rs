//! Policies, their versions and their targets, in `registry.db`.

use model::PolicyName;
use registry::{PolicyRecord, PolicyTarget, PolicyVersion};
use rusqlite::{Row, params};

use crate::{
    Failure, ReadTxn, WriteTxn,
    rows::{all, limit, millis, name, one, run, time},
};

const COLUMNS: &str = "name, default_version, next_version, generation_id, created_at, modified_at";

fn read(row: &Row<'_>) -> Result<PolicyRecord, Failure> {
    Ok(PolicyRecord {
        name: name(row, 0, "policy")?,
        default_version: row.get(1)?,
        next_version: row.get(2)?,
        generation_id: row.get(3)?,
        created_at: time(row, 4)?,
        modified_at: time(row, 5)?,
    })
}

fn read_version(row: &Row<'_>) -> Result<PolicyVersion, Failure> {
    Ok(PolicyVersion {
        version: row.get(0)?,
        document: row.get(1)?,
        created_at: time(row, 2)?,
    })
}

/// The order of a list by name.
fn direction(is_ascending: bool) -> (&'static str, &'static str) {
    if is_ascending {
        (">", "ASC")
    } else {
        ("<", "DESC")
    }
}

impl ReadTxn<'_> {
    /// The policy `name`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn policy(&self, name: &PolicyName) -> Result<Option<PolicyRecord>, Failure> {
        let sql = format!("SELECT {COLUMNS} FROM policies WHERE name = ?1");
        one(self.file(), &sql, [name.as_str()], read)
    }

    /// The policies by name, after `after`: at most `rows`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn policies(
        &self,
        is_ascending: bool,
        after: Option<&str>,
        rows: usize,
    ) -> Result<Vec<PolicyRecord>, Failure> {
        let (comparison, direction) = direction(is_ascending);
        let sql = format!(
            "SELECT {COLUMNS} FROM policies WHERE ?1 IS NULL OR name {comparison} ?1 \
             ORDER BY name {direction} LIMIT ?2"
        );
        all(self.file(), &sql, params![after, limit(rows)], read)
    }

    /// One version of the policy `name`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn policy_version(
        &self,
        name: &PolicyName,
        version: u32,
    ) -> Result<Option<PolicyVersion>, Failure> {
        one(
            self.file(),
            "SELECT version, document, created_at FROM policy_versions \
             WHERE policy = ?1 AND version = ?2",
            params![name.as_str(), version],
            read_version,
        )
    }

    /// All versions of the policy `name`, the newest first; at most five exist.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn policy_versions(&self, name: &PolicyName) -> Result<Vec<PolicyVersion>, Failure> {
        all(
            self.file(),
            "SELECT version, document, created_at FROM policy_versions WHERE policy = ?1 \
             ORDER BY version DESC",
            [name.as_str()],
            read_version,
        )
    }

    /// The text of the policy `name` that counts.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn policy_document(&self, name: &PolicyName) -> Result<Option<String>, Failure> {
        one(
            self.file(),
            "SELECT document FROM policies JOIN policy_versions \
             ON policy = name AND version = default_version WHERE name = ?1",
            [name.as_str()],
            |row| Ok(row.get(0)?),
        )
    }

    /// The policies attached to `target`, by name; at most ten are.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn policies_of_target(&self, target: &PolicyTarget) -> Result<Vec<PolicyName>, Failure> {
        all(
            self.file(),
            "SELECT policy FROM policy_targets WHERE target = ?1 ORDER BY policy",
            [target.to_string()],
            |row| name(row, 0, "policy attachment"),
        )
    }

    /// The targets the policy `name` is attached to, after `after`: at most `rows`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn targets_of_policy(
        &self,
        policy: &PolicyName,
        after: Option<&str>,
        rows: usize,
    ) -> Result<Vec<PolicyTarget>, Failure> {
        all(
            self.file(),
            "SELECT target FROM policy_targets WHERE policy = ?1 AND target > ?2 \
             ORDER BY target LIMIT ?3",
            params![policy.as_str(), after.unwrap_or(""), limit(rows)],
            |row| name(row, 0, "policy attachment"),
        )
    }

    /// How many targets the policy `name` is attached to.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn target_count(&self, policy: &PolicyName) -> Result<usize, Failure> {
        crate::rows::count(
            self.file(),
            "SELECT count(*) FROM policy_targets WHERE policy = ?1",
            [policy.as_str()],
        )
    }
}

impl WriteTxn<'_> {
    /// Creates or replaces `policy`, without its versions.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn put_policy(&mut self, policy: &PolicyRecord) -> Result<(), Failure> {
        run(
            self.file(),
            "INSERT OR REPLACE INTO policies (name, default_version, next_version, generation_id, \
             created_at, modified_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                policy.name.as_str(),
                policy.default_version,
                policy.next_version,
                policy.generation_id,
                millis(policy.created_at),
                millis(policy.modified_at),
            ],
        )?;
        Ok(())
    }

    /// Adds `version` to the policy `name`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn put_policy_version(
        &mut self,
        name: &PolicyName,
        version: &PolicyVersion,
    ) -> Result<(), Failure> {
        run(
            self.file(),
            "INSERT INTO policy_versions (policy, version, document, created_at) \
             VALUES (?1, ?2, ?3, ?4)",
            params![
                name.as_str(),
                version.version,
                version.document,
                millis(version.created_at),
            ],
        )?;
        Ok(())
    }

    /// Removes one version of the policy `name`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn delete_policy_version(
        &mut self,
        name: &PolicyName,
        version: u32,
    ) -> Result<(), Failure> {
        run(
            self.file(),
            "DELETE FROM policy_versions WHERE policy = ?1 AND version = ?2",
            params![name.as_str(), version],
        )?;
        Ok(())
    }

    /// Removes the policy `name` with its versions.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn delete_policy(&mut self, name: &PolicyName) -> Result<(), Failure> {
        for sql in [
            "DELETE FROM policies WHERE name = ?1",
            "DELETE FROM policy_versions WHERE policy = ?1",
        ] {
            run(self.file(), sql, [name.as_str()])?;
        }
        Ok(())
    }

    /// Attaches `policy` to `target`; whether it was not attached before.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn attach_policy(
        &mut self,
        policy: &PolicyName,
        target: &PolicyTarget,
    ) -> Result<bool, Failure> {
        let changed = run(
            self.file(),
            "INSERT OR IGNORE INTO policy_targets (target, policy) VALUES (?1, ?2)",
            params![target.to_string(), policy.as_str()],
        )?;
        Ok(changed > 0)
    }

    /// Detaches `policy` from `target`; whether it was attached.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn detach_policy(
        &mut self,
        policy: &PolicyName,
        target: &PolicyTarget,
    ) -> Result<bool, Failure> {
        let changed = run(
            self.file(),
            "DELETE FROM policy_targets WHERE target = ?1 AND policy = ?2",
            params![target.to_string(), policy.as_str()],
        )?;
        Ok(changed > 0)
    }

    /// Detaches all policies from `target`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn detach_all_policies(&mut self, target: &PolicyTarget) -> Result<(), Failure> {
        run(
            self.file(),
            "DELETE FROM policy_targets WHERE target = ?1",
            [target.to_string()],
        )?;
        Ok(())
    }
}
