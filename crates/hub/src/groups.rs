//! Static groups and the devices in them.

use std::collections::BTreeMap;

use ledger::Verb;
use model::{DeviceId, GroupName, Refusal, RefusalKind, limits};
use registry::{
    Attachment, DeviceRecord, GroupChange, GroupRecord, PolicyTarget, Resource, TagChange, Tags,
};
use store::{GroupFilter, ReadTxn, WriteTxn};

use crate::{
    Caller, Changed, Hub, Page, PageRequest, act,
    devices::find_device,
    registry_events::{GroupIdentity, Operation, RegistryChange, new_uuid},
};

/// A group to be created.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewGroup {
    /// Its name.
    pub name: GroupName,
    /// The group above it, which exists.
    pub parent: Option<GroupName>,
    /// Description and attributes.
    pub parts: GroupChange,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// A group and where it stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupDetails {
    /// The group.
    pub group: GroupRecord,
    /// The groups above it, from the root to its parent.
    pub ancestors: Vec<GroupIdentity>,
}

/// What happened to a device's memberships, for those who must hear of it.
pub(crate) struct Moved {
    device: DeviceRecord,
    attached: Vec<Attachment>,
    pub(crate) groups: Vec<(Operation, GroupIdentity)>,
}

impl Hub {
    /// Creates a group. Creating one again that is the same succeeds and changes nothing.
    ///
    /// # Errors
    ///
    /// `group.exists` when there is a different one, `group.not-found` for its parent, and as
    /// [`GroupRecord::new`] and [`Tags::apply`].
    pub async fn create_group(
        &self,
        caller: &Caller,
        new: NewGroup,
    ) -> Result<GroupDetails, Refusal> {
        let permit = self.authorize::<act::ManageDevices>(caller, new.name.as_str())?;
        let (now, uuid) = (self.now(), new_uuid());
        let (details, created) = self
            .transact(permit, Verb::GroupCreate, move |txn| {
                let place = match &new.parent {
                    Some(parent) => {
                        let parent = find_group(txn, parent)?;
                        let above = txn.ancestors(&parent)?.len() + 1;
                        (above, txn.child_count(&parent.name)?)
                    }
                    None => (0, 0),
                };
                let present = txn.group(&new.name)?;
                let group = GroupRecord::new(new.name, uuid, new.parent, place, new.parts, now)?;
                match present {
                    None => {
                        txn.put_group(&group)?;
                        let mut kept = Tags::default();
                        kept.apply(TagChange::Set(new.tags))?;
                        txn.put_tags(&Resource::Group(group.name.clone()), &kept)?;
                        Ok((details(txn, group)?, true))
                    }
                    Some(present) if present.is_same_as(&group) => {
                        Ok((details(txn, present)?, false))
                    }
                    Some(present) => Err(Refusal::new(
                        RefusalKind::AlreadyExists,
                        "group.exists",
                        format!(
                            "group {} already exists with other properties",
                            present.name
                        ),
                    )),
                }
            })
            .await?;
        if created {
            let place = hierarchy(Operation::Added, &details);
            let change = group_change(&details);
            self.announce_changes([(Operation::Created, change)].into_iter().chain(place));
        }
        Ok(details)
    }

    /// The group `name` and where it stands.
    ///
    /// # Errors
    ///
    /// `group.not-found`.
    pub fn group(&self, caller: &Caller, name: &GroupName) -> Result<GroupDetails, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, name.as_str())?;
        self.0.store.read(|txn| {
            let group = find_group(txn, name)?;
            details(txn, group)
        })
    }

    /// Changes the group `name`.
    ///
    /// # Errors
    ///
    /// `group.not-found`, and as [`GroupRecord::apply`].
    pub async fn update_group(
        &self,
        caller: &Caller,
        name: &GroupName,
        change: GroupChange,
    ) -> Result<GroupRecord, Refusal> {
        let permit = self.authorize::<act::ManageDevices>(caller, name.as_str())?;
        let name = name.clone();
        let details = self
            .transact(permit, Verb::GroupUpdate, move |txn| {
                let mut group = find_group(txn, &name)?;
                group.apply(change)?;
                txn.put_group(&group)?;
                details(txn, group)
            })
            .await?;
        self.announce_changes([(Operation::Updated, group_change(&details))]);
        Ok(details.group)
    }

    /// Removes the group `name`; its devices stay, its policies count for them no more. Removing
    /// one that is not there succeeds, as on AWS.
    ///
    /// # Errors
    ///
    /// As [`GroupRecord::check_delete`].
    pub async fn delete_group(
        &self,
        caller: &Caller,
        name: &GroupName,
        expected_version: Option<u64>,
    ) -> Result<(), Refusal> {
        let permit = self.authorize::<act::ManageDevices>(caller, name.as_str())?;
        let name = name.clone();
        let deleted = self
            .transact(permit, Verb::GroupDelete, move |txn| {
                let Some(group) = txn.group(&name)? else {
                    return Ok::<_, Refusal>(None);
                };
                group.check_delete(expected_version, txn.child_count(&name)?)?;
                let details = details(txn, group)?;
                txn.detach_all_policies(&PolicyTarget::Group(name.clone()))?;
                txn.put_tags(&Resource::Group(name.clone()), &Tags::default())?;
                txn.delete_group(&name)?;
                Ok(Some(details))
            })
            .await?;
        if let Some(details) = deleted {
            self.registry_changed(&Changed::Everyone);
            let place = hierarchy(Operation::Removed, &details);
            let change = group_change(&details);
            self.announce_changes([(Operation::Deleted, change)].into_iter().chain(place));
        }
        Ok(())
    }

    /// The groups that meet `filter`, by name.
    ///
    /// # Errors
    ///
    /// `group.not-found` for a parent, `page.token`, `page.limit`.
    pub fn groups(
        &self,
        caller: &Caller,
        filter: &GroupFilter,
        page: &PageRequest,
    ) -> Result<Page<GroupRecord>, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, "groups")?;
        let (after, limit) = (page.after()?, page.limit()?);
        let found = self.0.store.read(|txn| {
            if let Some(parent) = &filter.parent {
                find_group(txn, parent)?;
            }
            Ok::<_, Refusal>(txn.groups(filter, after.as_deref(), limit + 1)?)
        })?;
        Ok(Page::of(found, limit, |group| group.name.to_string()))
    }

    /// Puts `device` into the groups `add` and takes it out of `remove`. Being there already, or
    /// not being there, is no error.
    ///
    /// # Errors
    ///
    /// `device.not-found`, `group.not-found`, `group.too-many-for-device`; nothing is changed then.
    pub async fn update_groups_of_device(
        &self,
        caller: &Caller,
        device: &DeviceId,
        add: Vec<GroupName>,
        remove: Vec<GroupName>,
    ) -> Result<(), Refusal> {
        let permit = self.authorize::<act::ManageDevices>(caller, device.as_str())?;
        let device = device.clone();
        let verb = if add.is_empty() {
            Verb::GroupRemove
        } else {
            Verb::GroupAdd
        };
        let moved = self
            .transact(permit, verb, move |txn| {
                move_device(txn, &device, &add, &remove)
            })
            .await?;
        if !moved.groups.is_empty() {
            self.principals_changed(&moved.attached);
        }
        let device = &moved.device;
        self.announce_changes(moved.groups.into_iter().map(|(operation, group)| {
            let device = device.into();
            (operation, RegistryChange::Membership { device, group })
        }));
        Ok(())
    }

    /// The devices in the group `name`, or in it and those below it, by id.
    ///
    /// # Errors
    ///
    /// `group.not-found`, `page.token`, `page.limit`.
    pub fn devices_in_group(
        &self,
        caller: &Caller,
        name: &GroupName,
        is_recursive: bool,
        page: &PageRequest,
    ) -> Result<Page<DeviceId>, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, name.as_str())?;
        let (after, limit) = (page.after()?, page.limit()?);
        let found = self.0.store.read(|txn| {
            find_group(txn, name)?;
            let found = txn.devices_in_group(name, is_recursive, after.as_deref(), limit + 1)?;
            Ok::<_, Refusal>(found)
        })?;
        Ok(Page::of(found, limit, ToString::to_string))
    }

    /// The groups `device` was put into, by name.
    ///
    /// # Errors
    ///
    /// `device.not-found`, `page.token`, `page.limit`.
    pub fn groups_of_device(
        &self,
        caller: &Caller,
        device: &DeviceId,
        page: &PageRequest,
    ) -> Result<Page<GroupName>, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, device.as_str())?;
        let (after, limit) = (page.after()?, page.limit()?);
        let found = self.0.store.read(|txn| {
            find_device(txn, device)?;
            Ok::<_, Refusal>(txn.groups_of_device(device, after.as_deref(), limit + 1)?)
        })?;
        Ok(Page::of(found, limit, ToString::to_string))
    }
}

pub(crate) fn find_group(txn: &ReadTxn<'_>, name: &GroupName) -> Result<GroupRecord, Refusal> {
    txn.group(name)?.ok_or_else(|| {
        Refusal::not_found("group.not-found", format!("group {name} does not exist"))
    })
}

fn details(txn: &ReadTxn<'_>, group: GroupRecord) -> Result<GroupDetails, Refusal> {
    let ancestors = txn.ancestors(&group)?;
    Ok(GroupDetails {
        group,
        ancestors: ancestors.iter().rev().map(GroupIdentity::from).collect(),
    })
}

fn group_change(details: &GroupDetails) -> RegistryChange {
    RegistryChange::Group {
        group: details.group.clone(),
        ancestors: details.ancestors.clone(),
    }
}

/// The group's place below its parent, as a change.
fn hierarchy(operation: Operation, details: &GroupDetails) -> Option<(Operation, RegistryChange)> {
    let change = RegistryChange::Hierarchy {
        parent: details.ancestors.last()?.clone(),
        child: (&details.group).into(),
    };
    Some((operation, change))
}

pub(crate) fn move_device(
    txn: &mut WriteTxn<'_>,
    device: &DeviceId,
    add: &[GroupName],
    remove: &[GroupName],
) -> Result<Moved, Refusal> {
    let mut moved = Moved {
        device: find_device(txn, device)?,
        attached: txn.principals_of_device(device)?,
        groups: Vec::new(),
    };
    for name in remove {
        let group = find_group(txn, name)?;
        if txn.remove_from_group(device, name)? {
            moved.groups.push((Operation::Removed, (&group).into()));
        }
    }
    for name in add {
        let group = find_group(txn, name)?;
        if txn.add_to_group(device, name)? {
            moved.groups.push((Operation::Added, (&group).into()));
        }
    }
    let limit = limits::GROUPS_PER_DEVICE;
    if !add.is_empty() && txn.groups_of_device(device, None, limit + 1)?.len() > limit {
        return Err(Refusal::new(
            RefusalKind::TooMany,
            "group.too-many-for-device",
            format!("a device is in at most {limit} groups"),
        ));
    }
    Ok(moved)
}
