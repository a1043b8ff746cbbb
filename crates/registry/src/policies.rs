//! A policy: a text in the operator's policy language, kept in a few versions of which one counts.
//!
//! The text is opaque here; whoever creates a version has parsed it already.

use model::{PolicyName, Refusal, RefusalKind, Timestamp, limits};

/// A policy as the registry knows it, without its documents.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyRecord {
    /// Its name.
    pub name: PolicyName,
    /// The version that counts.
    pub default_version: u32,
    /// The number of the next version; numbers are never used again.
    pub next_version: u32,
    /// A UUID, new with every change.
    pub generation_id: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub modified_at: Timestamp,
}

/// One version of a policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyVersion {
    /// Its number, from 1.
    pub version: u32,
    /// Its text.
    pub document: String,
    /// When it was created.
    pub created_at: Timestamp,
}

impl PolicyRecord {
    /// A new policy with its first version.
    ///
    /// # Errors
    ///
    /// `policy.too-large`.
    pub fn new(
        name: PolicyName,
        document: String,
        generation_id: String,
        now: Timestamp,
    ) -> Result<(Self, PolicyVersion), Refusal> {
        check_document(&document)?;
        let record = Self {
            name,
            default_version: 1,
            next_version: 2,
            generation_id,
            created_at: now,
            modified_at: now,
        };
        let version = PolicyVersion {
            version: 1,
            document,
            created_at: now,
        };
        Ok((record, version))
    }

    /// Adds a version to the `existing` ones.
    ///
    /// # Errors
    ///
    /// `policy.too-large`, `policy.versions`.
    pub fn add_version(
        &mut self,
        document: String,
        existing: usize,
        set_as_default: bool,
        generation_id: String,
        now: Timestamp,
    ) -> Result<PolicyVersion, Refusal> {
        check_document(&document)?;
        if existing >= limits::POLICY_VERSIONS {
            return Err(Refusal::conflict(
                "policy.versions",
                format!(
                    "the policy {} already has the maximum number of versions ({}); delete one first",
                    self.name,
                    limits::POLICY_VERSIONS
                ),
            ));
        }
        let version = PolicyVersion {
            version: self.next_version,
            document,
            created_at: now,
        };
        self.next_version += 1;
        if set_as_default {
            self.default_version = version.version;
        }
        self.generation_id = generation_id;
        self.modified_at = now;
        Ok(version)
    }

    /// Makes `version`, which exists, the one that counts.
    pub fn set_default(&mut self, version: u32, generation_id: String, now: Timestamp) {
        self.default_version = version;
        self.generation_id = generation_id;
        self.modified_at = now;
    }

    /// Whether `version` may be deleted: it is not the one that counts.
    ///
    /// # Errors
    ///
    /// `policy.default-version`.
    pub fn check_delete_version(&self, version: u32) -> Result<(), Refusal> {
        if version == self.default_version {
            return Err(Refusal::conflict(
                "policy.default-version",
                format!(
                    "cannot delete version {version}: it is the default version of policy {}",
                    self.name
                ),
            ));
        }
        Ok(())
    }

    /// Whether it may be deleted: attached to nothing, with no version but the default one.
    ///
    /// # Errors
    ///
    /// `policy.attached`, `policy.not-empty`.
    pub fn check_delete(&self, targets: usize, versions: usize) -> Result<(), Refusal> {
        if targets > 0 {
            return Err(Refusal::conflict(
                "policy.attached",
                format!(
                    "cannot delete: policy {} is attached to {targets} target(s); detach it first",
                    self.name
                ),
            ));
        }
        if versions > 1 {
            return Err(Refusal::conflict(
                "policy.not-empty",
                format!(
                    "cannot delete: policy {} has {versions} versions; delete all but the default \
                     one first",
                    self.name
                ),
            ));
        }
        Ok(())
    }
}

/// Refuses one more policy on a target that has `existing` ones.
///
/// # Errors
///
/// `policy.too-many-on-target`.
pub fn check_policy_attachment(existing: usize) -> Result<(), Refusal> {
    if existing >= limits::POLICIES_PER_TARGET {
        return Err(Refusal::new(
            RefusalKind::TooMany,
            "policy.too-many-on-target",
            format!(
                "at most {} policies are attached to one target; detach one first",
                limits::POLICIES_PER_TARGET
            ),
        ));
    }
    Ok(())
}

fn check_document(document: &str) -> Result<(), Refusal> {
    let limit = limits::POLICY_DOCUMENT_BYTES;
    if document.len() > limit {
        return Err(Refusal::malformed(
            "policy.too-large",
            format!(
                "a policy has at most {limit} bytes, this has {}",
                document.len()
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> PolicyRecord {
        let name = PolicyName::new("p").unwrap();
        PolicyRecord::new(name, "{}".into(), "g".into(), Timestamp::default())
            .unwrap()
            .0
    }

    #[test]
    fn version_numbers_are_never_used_again_and_at_most_five_exist() {
        let mut policy = policy();
        let mut add = |existing, default| {
            policy.add_version(
                "{}".into(),
                existing,
                default,
                "g".into(),
                Timestamp::default(),
            )
        };
        assert_eq!(add(1, false).unwrap().version, 2);
        assert_eq!(add(2, true).unwrap().version, 3);
        // Version 2 deleted in between.
        assert_eq!(add(2, false).unwrap().version, 4);
        assert_eq!(add(5, true).unwrap_err().reason.0, "policy.versions");
        assert_eq!((policy.default_version, policy.next_version), (3, 5));
        assert!(policy.check_delete_version(3).is_err());
        assert!(policy.check_delete_version(4).is_ok());
    }

    #[test]
    fn a_policy_in_use_stays() {
        for (targets, versions, reason) in [
            (0, 1, None),
            (1, 1, Some("policy.attached")),
            (0, 2, Some("policy.not-empty")),
        ] {
            let refusal = policy().check_delete(targets, versions).err();
            assert_eq!(refusal.map(|refusal| refusal.reason.0), reason);
        }
        assert!(check_policy_attachment(9).is_ok());
        assert!(check_policy_attachment(10).is_err());
    }

    #[test]
    fn a_policy_document_has_a_limit() {
        let text = "x".repeat(limits::POLICY_DOCUMENT_BYTES + 1);
        let name = PolicyName::new("p").unwrap();
        let refusal = PolicyRecord::new(name, text, "g".into(), Timestamp::default()).unwrap_err();
        assert_eq!(refusal.reason.0, "policy.too-large");
    }
}
