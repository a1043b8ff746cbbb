//! Policies, their versions, and what they are attached to.

use std::collections::BTreeMap;

use ledger::Verb;
use model::{PolicyName, Refusal, RefusalKind};
use registry::{
    PolicyRecord, PolicyTarget, PolicyVersion, Resource, TagChange, Tags, check_policy_attachment,
};
use store::{ReadTxn, WriteTxn};

use crate::{
    Caller, Changed, Hub, Page, PageRequest, act, certificates::find_certificate,
    groups::find_group, registry_events::new_uuid,
};

/// A policy with one of its versions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyDetails {
    /// The policy.
    pub policy: PolicyRecord,
    /// The version: the one asked for, or the one that counts.
    pub version: PolicyVersion,
}

/// The order of a list by name.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum NameOrder {
    /// From a to z.
    #[default]
    Ascending,
    /// From z to a.
    Descending,
}

impl Hub {
    /// Creates a policy with its first version.
    ///
    /// # Errors
    ///
    /// `policy.malformed` when the document is not a policy, `policy.exists`, and as
    /// [`PolicyRecord::new`] and [`Tags::apply`].
    pub async fn create_policy(
        &self,
        caller: &Caller,
        name: PolicyName,
        document: String,
        tags: BTreeMap<String, String>,
    ) -> Result<PolicyDetails, Refusal> {
        let permit = self.authorize::<act::ManagePolicies>(caller, name.as_str())?;
        let (policy, version) = PolicyRecord::new(name, document, new_uuid(), self.now())?;
        self.check_document(&version.document)?;
        self.transact(permit, Verb::PolicyCreate, move |txn| {
            if txn.policy(&policy.name)?.is_some() {
                return Err(Refusal::new(
                    RefusalKind::AlreadyExists,
                    "policy.exists",
                    format!(
                        "policy {} already exists; create a version of it instead",
                        policy.name
                    ),
                ));
            }
            txn.put_policy(&policy)?;
            txn.put_policy_version(&policy.name, &version)?;
            let mut kept = Tags::default();
            kept.apply(TagChange::Set(tags))?;
            txn.put_tags(&Resource::Policy(policy.name.clone()), &kept)?;
            Ok(PolicyDetails { policy, version })
        })
        .await
    }

    /// The policy `name` with the version that counts.
    ///
    /// # Errors
    ///
    /// `policy.not-found`.
    pub fn policy(&self, caller: &Caller, name: &PolicyName) -> Result<PolicyDetails, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, name.as_str())?;
        self.0.store.read(|txn| default_version(txn, name))
    }

    /// Removes the policy `name`.
    ///
    /// # Errors
    ///
    /// `policy.not-found`, and as [`PolicyRecord::check_delete`].
    pub async fn delete_policy(&self, caller: &Caller, name: &PolicyName) -> Result<(), Refusal> {
        let permit = self.authorize::<act::ManagePolicies>(caller, name.as_str())?;
        let name = name.clone();
        self.transact(permit, Verb::PolicyDelete, move |txn| {
            let policy = find_policy(txn, &name)?;
            let versions = txn.policy_versions(&name)?.len();
            policy.check_delete(txn.target_count(&name)?, versions)?;
            txn.delete_policy(&name)?;
            Ok::<_, Refusal>(txn.put_tags(&Resource::Policy(name), &Tags::default())?)
        })
        .await
    }

    /// The policies by name.
    ///
    /// # Errors
    ///
    /// `page.token`, `page.limit`.
    pub fn policies(
        &self,
        caller: &Caller,
        order: NameOrder,
        page: &PageRequest,
    ) -> Result<Page<PolicyRecord>, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, "policies")?;
        let (after, limit) = (page.after()?, page.limit()?);
        let ascending = order == NameOrder::Ascending;
        let found = self.0.store.read(|txn| {
            Ok::<_, Refusal>(txn.policies(ascending, after.as_deref(), limit + 1)?)
        })?;
        Ok(Page::of(found, limit, |policy| policy.name.to_string()))
    }

    /// Adds a version to the policy `name`. As the default one it counts at once, for live
    /// connections too.
    ///
    /// # Errors
    ///
    /// `policy.not-found`, `policy.malformed`, and as [`PolicyRecord::add_version`].
    pub async fn create_policy_version(
        &self,
        caller: &Caller,
        name: &PolicyName,
        document: String,
        set_as_default: bool,
    ) -> Result<PolicyDetails, Refusal> {
        let permit = self.authorize::<act::ManagePolicies>(caller, name.as_str())?;
        self.check_document(&document)?;
        let (now, generation, name) = (self.now(), new_uuid(), name.clone());
        let details = self
            .transact(permit, Verb::PolicyVersionCreate, move |txn| {
                let mut policy = find_policy(txn, &name)?;
                let existing = txn.policy_versions(&name)?.len();
                let version =
                    policy.add_version(document, existing, set_as_default, generation, now)?;
                txn.put_policy_version(&name, &version)?;
                txn.put_policy(&policy)?;
                Ok::<_, Refusal>(PolicyDetails { policy, version })
            })
            .await?;
        if set_as_default {
            self.registry_changed(&Changed::Everyone);
        }
        Ok(details)
    }

    /// The policy `name` with its version `version`.
    ///
    /// # Errors
    ///
    /// `policy.not-found`, `policy.version-not-found`.
    pub fn policy_version(
        &self,
        caller: &Caller,
        name: &PolicyName,
        version: u32,
    ) -> Result<PolicyDetails, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, name.as_str())?;
        self.0.store.read(|txn| {
            Ok(PolicyDetails {
                policy: find_policy(txn, name)?,
                version: find_version(txn, name, version)?,
            })
        })
    }

    /// The policy `name` and all its versions, the newest first.
    ///
    /// # Errors
    ///
    /// `policy.not-found`.
    pub fn policy_versions(
        &self,
        caller: &Caller,
        name: &PolicyName,
    ) -> Result<(PolicyRecord, Vec<PolicyVersion>), Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, name.as_str())?;
        self.0.store.read(|txn| {
            let policy = find_policy(txn, name)?;
            Ok((policy, txn.policy_versions(name)?))
        })
    }

    /// Removes the version `version` of the policy `name`.
    ///
    /// # Errors
    ///
    /// `policy.not-found`, `policy.version-not-found`, `policy.default-version`.
    pub async fn delete_policy_version(
        &self,
        caller: &Caller,
        name: &PolicyName,
        version: u32,
    ) -> Result<(), Refusal> {
        let permit = self.authorize::<act::ManagePolicies>(caller, name.as_str())?;
        let name = name.clone();
        self.transact(permit, Verb::PolicyVersionDelete, move |txn| {
            let policy = find_policy(txn, &name)?;
            find_version(txn, &name, version)?;
            policy.check_delete_version(version)?;
            Ok::<_, Refusal>(txn.delete_policy_version(&name, version)?)
        })
        .await
    }

    /// Makes `version` the one of the policy `name` that counts, for live connections at once.
    ///
    /// # Errors
    ///
    /// `policy.not-found`, `policy.version-not-found`.
    pub async fn set_default_policy_version(
        &self,
        caller: &Caller,
        name: &PolicyName,
        version: u32,
    ) -> Result<(), Refusal> {
        let permit = self.authorize::<act::ManagePolicies>(caller, name.as_str())?;
        let (now, generation, name) = (self.now(), new_uuid(), name.clone());
        self.transact(permit, Verb::PolicyVersionDefault, move |txn| {
            let mut policy = find_policy(txn, &name)?;
            find_version(txn, &name, version)?;
            policy.set_default(version, generation, now);
            Ok::<_, Refusal>(txn.put_policy(&policy)?)
        })
        .await?;
        self.registry_changed(&Changed::Everyone);
        Ok(())
    }

    /// Attaches the policy `name` to `target`; doing it again is no error.
    ///
    /// # Errors
    ///
    /// `policy.not-found`, `certificate.not-found`, `group.not-found`, `policy.too-many-on-target`.
    pub async fn attach_policy(
        &self,
        caller: &Caller,
        name: &PolicyName,
        target: &PolicyTarget,
    ) -> Result<(), Refusal> {
        let permit = self.authorize::<act::ManagePolicies>(caller, name.as_str())?;
        let (name, to) = (name.clone(), target.clone());
        self.transact(permit, Verb::PolicyAttach, move |txn| {
            attach(txn, &name, &to)
        })
        .await?;
        self.target_changed(target);
        Ok(())
    }

    /// Detaches the policy `name` from `target`; when it is not attached, nothing happens.
    ///
    /// # Errors
    ///
    /// `operator.required`.
    pub async fn detach_policy(
        &self,
        caller: &Caller,
        name: &PolicyName,
        target: &PolicyTarget,
    ) -> Result<(), Refusal> {
        let permit = self.authorize::<act::ManagePolicies>(caller, name.as_str())?;
        let (name, from) = (name.clone(), target.clone());
        self.transact(permit, Verb::PolicyDetach, move |txn| {
            Ok::<_, Refusal>(txn.detach_policy(&name, &from)?)
        })
        .await?;
        self.target_changed(target);
        Ok(())
    }

    /// The policies attached to `target`; for a group with `is_recursive`, those of the groups
    /// above it too.
    ///
    /// # Errors
    ///
    /// `certificate.not-found`, `group.not-found`, `page.token`, `page.limit`.
    pub fn attached_policies(
        &self,
        caller: &Caller,
        target: &PolicyTarget,
        is_recursive: bool,
        page: &PageRequest,
    ) -> Result<Page<PolicyRecord>, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, &target.to_string())?;
        let found = self.0.store.read(|txn| {
            find_target(txn, target)?;
            let mut names = txn.policies_of_target(target)?;
            if let PolicyTarget::Group(name) = target
                && is_recursive
            {
                for group in txn.ancestors(&find_group(txn, name)?)? {
                    names.extend(txn.policies_of_target(&PolicyTarget::Group(group.name))?);
                }
            }
            names.sort();
            names.dedup();
            names
                .iter()
                .map(|name| find_policy(txn, name))
                .collect::<Result<Vec<_>, Refusal>>()
        })?;
        Page::cut(found, page, |policy| policy.name.to_string())
    }

    /// What the policy `name` is attached to.
    ///
    /// # Errors
    ///
    /// `policy.not-found`, `page.token`, `page.limit`.
    pub fn targets_of_policy(
        &self,
        caller: &Caller,
        name: &PolicyName,
        page: &PageRequest,
    ) -> Result<Page<PolicyTarget>, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, name.as_str())?;
        let (after, limit) = (page.after()?, page.limit()?);
        let found = self.0.store.read(|txn| {
            find_policy(txn, name)?;
            Ok::<_, Refusal>(txn.targets_of_policy(name, after.as_deref(), limit + 1)?)
        })?;
        Ok(Page::of(found, limit, ToString::to_string))
    }

    pub(crate) fn check_document(&self, document: &str) -> Result<(), Refusal> {
        match self.0.language.parse(document) {
            Ok(_) => Ok(()),
            Err(error) => Err(Refusal::malformed(
                "policy.malformed",
                format!("the document is not a policy: {error}"),
            )),
        }
    }

    fn target_changed(&self, target: &PolicyTarget) {
        match target {
            PolicyTarget::Certificate(id) => self.registry_changed(&Changed::Certificate(*id)),
            PolicyTarget::Group(_) => self.registry_changed(&Changed::Everyone),
            // Nobody connects with an identity from elsewhere yet.
            PolicyTarget::Identity(_) => {}
        }
    }
}

pub(crate) fn attach(
    txn: &mut WriteTxn<'_>,
    name: &PolicyName,
    target: &PolicyTarget,
) -> Result<(), Refusal> {
    find_policy(txn, name)?;
    find_target(txn, target)?;
    let present = txn.policies_of_target(target)?;
    if !present.contains(name) {
        check_policy_attachment(present.len())?;
        txn.attach_policy(name, target)?;
    }
    Ok(())
}

pub(crate) fn find_policy(txn: &ReadTxn<'_>, name: &PolicyName) -> Result<PolicyRecord, Refusal> {
    txn.policy(name)?.ok_or_else(|| {
        Refusal::not_found("policy.not-found", format!("policy {name} does not exist"))
    })
}

fn find_version(
    txn: &ReadTxn<'_>,
    name: &PolicyName,
    version: u32,
) -> Result<PolicyVersion, Refusal> {
    txn.policy_version(name, version)?.ok_or_else(|| {
        let message = format!("policy {name} has no version {version}");
        Refusal::not_found("policy.version-not-found", message)
    })
}

fn default_version(txn: &ReadTxn<'_>, name: &PolicyName) -> Result<PolicyDetails, Refusal> {
    let policy = find_policy(txn, name)?;
    let version = find_version(txn, name, policy.default_version)?;
    Ok(PolicyDetails { policy, version })
}

/// Refuses targets that are not known here; identities from elsewhere are known there.
fn find_target(txn: &ReadTxn<'_>, target: &PolicyTarget) -> Result<(), Refusal> {
    match target {
        PolicyTarget::Certificate(id) => find_certificate(txn, id).map(drop),
        PolicyTarget::Group(name) => find_group(txn, name).map(drop),
        PolicyTarget::Identity(_) => Ok(()),
    }
}
