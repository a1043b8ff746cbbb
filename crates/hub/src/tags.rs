//! Tags of groups, types and policies.

use std::collections::BTreeMap;

use ledger::Verb;
use model::Refusal;
use registry::{Resource, TagChange};
use store::ReadTxn;

use crate::{
    Caller, Hub, Page, PageRequest, act, groups::find_group, policies::find_policy,
    types::find_type,
};

impl Hub {
    /// Adds tags to `resource`, or removes some.
    ///
    /// # Errors
    ///
    /// `group.not-found`, `type.not-found`, `policy.not-found`, and as [`registry::Tags::apply`].
    pub async fn change_tags(
        &self,
        caller: &Caller,
        resource: Resource,
        change: TagChange,
    ) -> Result<(), Refusal> {
        let permit = self.authorize::<act::ManageDevices>(caller, &resource.to_string())?;
        let verb = match &change {
            TagChange::Set(_) => Verb::TagSet,
            TagChange::Remove(_) => Verb::TagRemove,
        };
        self.transact(permit, verb, move |txn| {
            find_resource(txn, &resource)?;
            let mut tags = txn.tags(&resource)?;
            tags.apply(change)?;
            Ok::<_, Refusal>(txn.put_tags(&resource, &tags)?)
        })
        .await
    }

    /// The tags of `resource`, by key.
    ///
    /// # Errors
    ///
    /// `group.not-found`, `type.not-found`, `policy.not-found`, `page.token`.
    pub fn tags(
        &self,
        caller: &Caller,
        resource: &Resource,
        page: &PageRequest,
    ) -> Result<Page<(String, String)>, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, &resource.to_string())?;
        let tags = self.0.store.read(|txn| {
            find_resource(txn, resource)?;
            Ok::<BTreeMap<String, String>, Refusal>(txn.tags(resource)?.as_map().clone())
        })?;
        Page::cut(tags.into_iter().collect(), page, |(key, _)| key.clone())
    }
}

fn find_resource(txn: &ReadTxn<'_>, resource: &Resource) -> Result<(), Refusal> {
    match resource {
        Resource::Group(name) => find_group(txn, name).map(drop),
        Resource::Type(name) => find_type(txn, name).map(drop),
        Resource::Policy(name) => find_policy(txn, name).map(drop),
    }
}
