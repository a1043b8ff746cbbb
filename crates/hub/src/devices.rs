//! Devices, and the principals attached to them.

use std::collections::BTreeMap;

use ledger::Verb;
use model::{DeviceId, Refusal, RefusalKind, TypeName};
use registry::{
    Attachment, AttachmentKind, AttributeChange, DeviceChange, DeviceRecord, Principal, TypeRecord,
};
use store::{DeviceFilter, ReadTxn};

use crate::{
    Caller, Changed, Hub, Page, PageRequest, act,
    registry_events::{Operation, RegistryChange, new_uuid},
};

/// A device to be registered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewDevice {
    /// Its name.
    pub id: DeviceId,
    /// Its type, which exists.
    pub device_type: Option<TypeName>,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
}

impl Hub {
    /// Registers a device. Registering one again that is the same succeeds and changes nothing.
    ///
    /// # Errors
    ///
    /// `device.exists` when there is a different one, `type.not-found`, and as
    /// [`DeviceRecord::new`].
    pub async fn create_device(
        &self,
        caller: &Caller,
        new: NewDevice,
    ) -> Result<DeviceRecord, Refusal> {
        let permit = self.authorize::<act::ManageDevices>(caller, new.id.as_str())?;
        let (now, uuid) = (self.now(), new_uuid());
        let (device, created) = self
            .transact(permit, Verb::DeviceCreate, move |txn| {
                let device_type = find_type(txn, new.device_type.as_ref())?;
                let attributes = AttributeChange::Replace(new.attributes);
                let present = txn.device(&new.id)?;
                let created =
                    DeviceRecord::new(new.id, uuid, device_type.as_ref(), attributes, now)?;
                match present {
                    None => {
                        txn.put_device(&created)?;
                        Ok((created, true))
                    }
                    Some(present) if present.is_same_as(&created) => Ok((present, false)),
                    Some(present) => Err(Refusal::new(
                        RefusalKind::AlreadyExists,
                        "device.exists",
                        format!(
                            "device {} already exists with another type or other attributes",
                            present.id
                        ),
                    )),
                }
            })
            .await?;
        if created {
            let association = type_change(&device, None, device.device_type.as_ref());
            let change = RegistryChange::Device(device.clone());
            self.announce_changes(
                [(Operation::Created, change)]
                    .into_iter()
                    .chain(association),
            );
        }
        Ok(device)
    }

    /// The device `id`.
    ///
    /// # Errors
    ///
    /// `device.not-found`.
    pub fn device(&self, caller: &Caller, id: &DeviceId) -> Result<DeviceRecord, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, id.as_str())?;
        self.0.store.read(|txn| find_device(txn, id))
    }

    /// Changes the device `id`. Live connections see new attributes at once.
    ///
    /// # Errors
    ///
    /// `device.not-found`, `type.not-found`, and as [`DeviceRecord::apply`].
    pub async fn update_device(
        &self,
        caller: &Caller,
        id: &DeviceId,
        change: DeviceChange,
    ) -> Result<DeviceRecord, Refusal> {
        let permit = self.authorize::<act::ManageDevices>(caller, id.as_str())?;
        let (now, id) = (self.now(), id.clone());
        let (before, after, attached) = self
            .transact(permit, Verb::DeviceUpdate, move |txn| {
                let before = find_device(txn, &id)?;
                let wanted = change.device_type.clone().flatten();
                let new_type = find_type(txn, wanted.as_ref())?;
                let mut after = before.clone();
                after.apply(change, new_type.as_ref(), now)?;
                txn.put_device(&after)?;
                let attached = txn.principals_of_device(&id)?;
                Ok::<_, Refusal>((before, after, attached))
            })
            .await?;
        self.principals_changed(&attached);
        let association = type_change(
            &after,
            before.device_type.as_ref(),
            after.device_type.as_ref(),
        );
        let change = RegistryChange::Device(after.clone());
        self.announce_changes(
            [(Operation::Updated, change)]
                .into_iter()
                .chain(association),
        );
        Ok(after)
    }

    /// Removes the device `id`, its shadows and its memberships. Removing one that is not there
    /// succeeds, as on AWS.
    ///
    /// # Errors
    ///
    /// As [`DeviceRecord::check_delete`].
    pub async fn delete_device(
        &self,
        caller: &Caller,
        id: &DeviceId,
        expected_version: Option<u64>,
    ) -> Result<(), Refusal> {
        let permit = self.authorize::<act::ManageDevices>(caller, id.as_str())?;
        let id = id.clone();
        let deleted = self
            .transact(permit, Verb::DeviceDelete, move |txn| {
                let Some(device) = txn.device(&id)? else {
                    return Ok::<_, Refusal>(None);
                };
                let principals = txn.principals_of_device(&id)?.len();
                device.check_delete(expected_version, principals)?;
                txn.delete_device(&id)?;
                Ok(Some(device))
            })
            .await?;
        if let Some(device) = deleted {
            let association = type_change(&device, device.device_type.as_ref(), None);
            let change = RegistryChange::Device(device);
            self.announce_changes(
                [(Operation::Deleted, change)]
                    .into_iter()
                    .chain(association),
            );
        }
        Ok(())
    }

    /// The devices that meet `filter`, by id.
    ///
    /// # Errors
    ///
    /// `page.token`, `page.limit`.
    pub fn devices(
        &self,
        caller: &Caller,
        filter: &DeviceFilter,
        page: &PageRequest,
    ) -> Result<Page<DeviceRecord>, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, "devices")?;
        let (after, limit) = (page.after()?, page.limit()?);
        let found = self
            .0
            .store
            .read(|txn| Ok::<_, Refusal>(txn.devices(filter, after.as_deref(), limit + 1)?))?;
        Ok(Page::of(found, limit, |device| device.id.to_string()))
    }

    /// Attaches a principal to a device, or changes how tightly.
    ///
    /// # Errors
    ///
    /// `device.not-found`, `certificate.not-found`, and as [`Attachment::check`].
    pub async fn attach_principal(
        &self,
        caller: &Caller,
        attachment: Attachment,
    ) -> Result<(), Refusal> {
        let permit = self.authorize::<act::ManageDevices>(caller, attachment.device.as_str())?;
        let made = attachment.clone();
        self.transact(permit, Verb::DeviceAttach, move |txn| {
            find_device(txn, &made.device)?;
            find_principal(txn, &made.principal)?;
            let of_principal = txn.devices_of_principal(&made.principal)?;
            let of_device = txn.principals_of_device(&made.device)?;
            made.check(&of_principal, &of_device)?;
            Ok::<_, Refusal>(txn.put_attachment(&made)?)
        })
        .await?;
        self.principals_changed(&[attachment]);
        Ok(())
    }

    /// Detaches a principal from a device.
    ///
    /// # Errors
    ///
    /// `device.not-found`, `certificate.not-found`, `attachment.not-found`.
    pub async fn detach_principal(
        &self,
        caller: &Caller,
        device: &DeviceId,
        principal: &Principal,
    ) -> Result<(), Refusal> {
        let permit = self.authorize::<act::ManageDevices>(caller, device.as_str())?;
        let attachment = Attachment {
            device: device.clone(),
            principal: principal.clone(),
            kind: AttachmentKind::default(),
        };
        let gone = attachment.clone();
        self.transact(permit, Verb::DeviceDetach, move |txn| {
            find_device(txn, &gone.device)?;
            if txn.delete_attachment(&gone.device, &gone.principal)? {
                return Ok(());
            }
            find_principal(txn, &gone.principal)?;
            Err(Refusal::not_found(
                "attachment.not-found",
                format!("the principal is not attached to device {}", gone.device),
            ))
        })
        .await?;
        self.principals_changed(&[attachment]);
        Ok(())
    }

    /// The principals attached to `device`, or those attached as `kind`.
    ///
    /// # Errors
    ///
    /// `device.not-found`, `page.token`, `page.limit`.
    pub fn principals_of_device(
        &self,
        caller: &Caller,
        device: &DeviceId,
        kind: Option<AttachmentKind>,
        page: &PageRequest,
    ) -> Result<Page<Attachment>, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, device.as_str())?;
        let mut attached = self.0.store.read(|txn| {
            find_device(txn, device)?;
            Ok::<_, Refusal>(txn.principals_of_device(device)?)
        })?;
        attached.retain(|attachment| kind.is_none_or(|kind| attachment.kind == kind));
        Page::cut(attached, page, |attachment| {
            attachment.principal.to_string()
        })
    }

    /// The devices `principal` is attached to, or those it is attached to as `kind`.
    ///
    /// # Errors
    ///
    /// `certificate.not-found`, `page.token`, `page.limit`.
    pub fn devices_of_principal(
        &self,
        caller: &Caller,
        principal: &Principal,
        kind: Option<AttachmentKind>,
        page: &PageRequest,
    ) -> Result<Page<Attachment>, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, &principal.to_string())?;
        let mut attached = self.0.store.read(|txn| {
            find_principal(txn, principal)?;
            Ok::<_, Refusal>(txn.devices_of_principal(principal)?)
        })?;
        attached.retain(|attachment| kind.is_none_or(|kind| attachment.kind == kind));
        Page::cut(attached, page, |attachment| attachment.device.to_string())
    }

    /// Asks live connections again whose device or attachment changed.
    pub(crate) fn principals_changed(&self, attached: &[Attachment]) {
        for attachment in attached {
            match &attachment.principal {
                Principal::Certificate(id) => self.registry_changed(&Changed::Certificate(*id)),
                // Nobody connects with an identity from elsewhere yet.
                Principal::Identity(_) => {}
            }
        }
    }
}

pub(crate) fn find_device(txn: &ReadTxn<'_>, id: &DeviceId) -> Result<DeviceRecord, Refusal> {
    txn.device(id)?.ok_or_else(|| {
        Refusal::not_found("device.not-found", format!("device {id} does not exist"))
    })
}

/// Refuses principals that are not known here; identities from elsewhere are known there.
pub(crate) fn find_principal(txn: &ReadTxn<'_>, principal: &Principal) -> Result<(), Refusal> {
    match principal {
        Principal::Certificate(id) => {
            crate::certificates::find_certificate(txn, id)?;
            Ok(())
        }
        Principal::Identity(_) => Ok(()),
    }
}

pub(crate) fn find_type(
    txn: &ReadTxn<'_>,
    name: Option<&TypeName>,
) -> Result<Option<TypeRecord>, Refusal> {
    name.map(|name| crate::types::find_type(txn, name))
        .transpose()
}

/// What is to be told of a device whose type was `before` and is `after`.
fn type_change(
    device: &DeviceRecord,
    before: Option<&TypeName>,
    after: Option<&TypeName>,
) -> Vec<(Operation, RegistryChange)> {
    if before == after {
        return Vec::new();
    }
    let change = |operation, device_type: Option<&TypeName>| {
        let change = RegistryChange::TypeAssociation {
            device: device.into(),
            device_type: device_type?.clone(),
        };
        Some((operation, change))
    };
    [
        change(Operation::Removed, before),
        change(Operation::Added, after),
    ]
    .into_iter()
    .flatten()
    .collect()
}
