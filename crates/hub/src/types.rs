//! Types of devices.

use std::{collections::BTreeMap, time::Duration};

use ledger::Verb;
use model::{Refusal, RefusalKind, TypeName};
use registry::{Resource, TagChange, Tags, TypeChange, TypeRecord};
use store::ReadTxn;

use crate::{
    Caller, Hub, Page, PageRequest, act,
    registry_events::{Operation, RegistryChange, new_uuid},
};

impl Hub {
    /// Creates a type. Creating one again that is the same succeeds and changes nothing.
    ///
    /// # Errors
    ///
    /// `type.exists` when there is a different one, and as [`TypeRecord::new`] and
    /// [`Tags::apply`].
    pub async fn create_type(
        &self,
        caller: &Caller,
        name: TypeName,
        parts: TypeChange,
        tags: BTreeMap<String, String>,
    ) -> Result<TypeRecord, Refusal> {
        let permit = self.authorize::<act::ManageDevices>(caller, name.as_str())?;
        let (now, uuid) = (self.now(), new_uuid());
        let (record, created) = self
            .transact(permit, Verb::TypeCreate, move |txn| {
                let present = txn.device_type(&name)?;
                let created = TypeRecord::new(name, uuid, parts, now)?;
                match present {
                    None => {
                        txn.put_device_type(&created)?;
                        let mut kept = Tags::default();
                        kept.apply(TagChange::Set(tags))?;
                        txn.put_tags(&Resource::Type(created.name.clone()), &kept)?;
                        Ok((created, true))
                    }
                    Some(present) if present.is_same_as(&created) => Ok((present, false)),
                    Some(present) => Err(Refusal::new(
                        RefusalKind::AlreadyExists,
                        "type.exists",
                        format!("type {} already exists with other properties", present.name),
                    )),
                }
            })
            .await?;
        if created {
            let change = RegistryChange::Type(record.clone());
            self.announce_changes([(Operation::Created, change)]);
        }
        Ok(record)
    }

    /// The type `name`.
    ///
    /// # Errors
    ///
    /// `type.not-found`.
    pub fn device_type(&self, caller: &Caller, name: &TypeName) -> Result<TypeRecord, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, name.as_str())?;
        self.0.store.read(|txn| find_type(txn, name))
    }

    /// Changes the type `name`.
    ///
    /// # Errors
    ///
    /// `type.not-found`, and as [`TypeRecord::apply`].
    pub async fn update_type(
        &self,
        caller: &Caller,
        name: &TypeName,
        change: TypeChange,
    ) -> Result<TypeRecord, Refusal> {
        let apply = |record: &mut TypeRecord| record.apply(change);
        self.change_type(caller, name, Verb::TypeUpdate, apply)
            .await
    }

    /// Deprecates the type `name`, or takes that back: a deprecated type takes no new devices.
    ///
    /// # Errors
    ///
    /// `type.not-found`.
    pub async fn deprecate_type(
        &self,
        caller: &Caller,
        name: &TypeName,
        undo: bool,
    ) -> Result<TypeRecord, Refusal> {
        let now = self.now();
        let deprecate = move |record: &mut TypeRecord| {
            record.deprecate(undo, now);
            Ok(())
        };
        let verb = if undo {
            Verb::TypeUndeprecate
        } else {
            Verb::TypeDeprecate
        };
        self.change_type(caller, name, verb, deprecate).await
    }

    async fn change_type(
        &self,
        caller: &Caller,
        name: &TypeName,
        verb: Verb,
        change: impl FnOnce(&mut TypeRecord) -> Result<(), Refusal> + Send + 'static,
    ) -> Result<TypeRecord, Refusal> {
        let permit = self.authorize::<act::ManageDevices>(caller, name.as_str())?;
        let name = name.clone();
        let record = self
            .transact(permit, verb, move |txn| {
                let mut record = find_type(txn, &name)?;
                change(&mut record)?;
                txn.put_device_type(&record)?;
                Ok::<_, Refusal>(record)
            })
            .await?;
        let changed = RegistryChange::Type(record.clone());
        self.announce_changes([(Operation::Updated, changed)]);
        Ok(record)
    }

    /// Removes the type `name`.
    ///
    /// # Errors
    ///
    /// `type.not-found`, and as [`TypeRecord::check_delete`]; the wait after deprecation is
    /// required only where the profile keeps to AWS's restrictions.
    pub async fn delete_type(&self, caller: &Caller, name: &TypeName) -> Result<(), Refusal> {
        let permit = self.authorize::<act::ManageDevices>(caller, name.as_str())?;
        let grace = match self.config().profile {
            model::limits::Profile::AwsStrict => registry::DEPRECATED_BEFORE_DELETE,
            model::limits::Profile::Standard | model::limits::Profile::AzureStrict => {
                Duration::ZERO
            }
        };
        let (now, name) = (self.now(), name.clone());
        let record = self
            .transact(permit, Verb::TypeDelete, move |txn| {
                let record = find_type(txn, &name)?;
                let devices = txn.device_count(Some(&name))?;
                record.check_delete(devices, grace, now)?;
                txn.delete_device_type(&name)?;
                txn.put_tags(&Resource::Type(name), &Tags::default())?;
                Ok::<_, Refusal>(record)
            })
            .await?;
        self.announce_changes([(Operation::Deleted, RegistryChange::Type(record))]);
        Ok(())
    }

    /// The types by name.
    ///
    /// # Errors
    ///
    /// `page.token`, `page.limit`.
    pub fn device_types(
        &self,
        caller: &Caller,
        page: &PageRequest,
    ) -> Result<Page<TypeRecord>, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, "types")?;
        let (after, limit) = (page.after()?, page.limit()?);
        let found = self
            .0
            .store
            .read(|txn| Ok::<_, Refusal>(txn.device_types(after.as_deref(), limit + 1)?))?;
        Ok(Page::of(found, limit, |record| record.name.to_string()))
    }
}

pub(crate) fn find_type(txn: &ReadTxn<'_>, name: &TypeName) -> Result<TypeRecord, Refusal> {
    txn.device_type(name)?
        .ok_or_else(|| Refusal::not_found("type.not-found", format!("type {name} does not exist")))
}
