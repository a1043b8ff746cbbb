//! What operators do with a device and all that is its own, in one step each.

use ledger::Verb;
use model::{CertificateId, DeviceId, PolicyName, Refusal, RefusalKind, Timestamp};
use registry::{
    Attachment, AttachmentKind, AttributeChange, CertificateRecord, CertificateStatus,
    DeviceRecord, PolicyRecord, PolicyTarget, Principal,
};
use store::{ReadTxn, WriteTxn};

use crate::{
    Caller, Changed, Hub, IssuedCertificate, Operation, RegistryChange, act,
    certificates::{find_certificate, identity_for, new_record},
    devices::find_device,
    policies::{attach, find_policy},
    registry_events::new_uuid,
};

/// The policy of a new device's certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DevicePolicy {
    /// One that exists.
    Named(PolicyName),
    /// One that is created with this text unless it exists.
    OrCreated {
        /// Its name.
        name: PolicyName,
        /// Its text.
        document: String,
    },
}

impl DevicePolicy {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &PolicyName {
        match self {
            Self::Named(name) | Self::OrCreated { name, .. } => name,
        }
    }
}

impl Hub {
    /// Registers the device `id`, issues an active certificate for it, which is exclusively its
    /// own, and attaches `policy`. Either all of it is done or nothing.
    ///
    /// # Errors
    ///
    /// `device.exists`, `policy.not-found`, `policy.malformed`; `hub.internal` when no key can be
    /// made.
    pub async fn provision_device(
        &self,
        caller: &Caller,
        id: DeviceId,
        key: ca::DeviceKey,
        policy: DevicePolicy,
    ) -> Result<IssuedCertificate, Refusal> {
        let permit = self.authorize::<act::ManageDevices>(caller, id.as_str())?;
        if let DevicePolicy::OrCreated { document, .. } = &policy {
            self.check_document(document)?;
        }
        // Before a key is made for nothing; asked again in the transaction.
        self.0.store.read(|txn| check_new(txn, &id, &policy))?;
        let now = self.now();
        let identity = identity_for(self, id.as_str(), key, now).await?;
        let certificate = new_record(&identity.certificate, CertificateStatus::Active, now);
        let record = certificate.clone();
        let uuid = new_uuid();
        let device = self
            .transact(permit, Verb::DeviceCreate, move |txn| {
                check_new(txn, &id, &policy)?;
                let nothing = AttributeChange::Replace(Default::default());
                let device = DeviceRecord::new(id.clone(), uuid, None, nothing, now)?;
                txn.put_device(&device)?;
                txn.put_certificate(&record)?;
                txn.put_attachment(&Attachment {
                    device: id,
                    principal: Principal::Certificate(record.id),
                    kind: AttachmentKind::Exclusive,
                })?;
                let name = policy.name().clone();
                if let DevicePolicy::OrCreated { document, .. } = policy {
                    create_missing(txn, &name, document, now)?;
                }
                attach(txn, &name, &PolicyTarget::Certificate(record.id))?;
                Ok::<_, Refusal>(device)
            })
            .await?;
        self.announce_changes([(Operation::Created, RegistryChange::Device(device))]);
        self.registry_changed(&Changed::Certificate(certificate.id));
        Ok(IssuedCertificate {
            certificate,
            public_key_pem: identity.public_key_pem,
            private_key: identity.private_key,
        })
    }

    /// Removes the device `id` with its shadows, its memberships and the certificates that are
    /// attached to no other device; their connections end.
    ///
    /// # Errors
    ///
    /// `device.not-found`.
    pub async fn remove_device(&self, caller: &Caller, id: &DeviceId) -> Result<(), Refusal> {
        let permit = self.authorize::<act::ManageDevices>(caller, id.as_str())?;
        let id = id.clone();
        let (device, attached) = self
            .transact(permit, Verb::DeviceDelete, move |txn| {
                let device = find_device(txn, &id)?;
                let attached = txn.principals_of_device(&id)?;
                for attachment in &attached {
                    txn.delete_attachment(&id, &attachment.principal)?;
                    let Principal::Certificate(certificate) = &attachment.principal else {
                        continue;
                    };
                    if txn.devices_of_principal(&attachment.principal)?.is_empty() {
                        txn.detach_all_policies(&PolicyTarget::Certificate(*certificate))?;
                        txn.delete_certificate(certificate)?;
                    }
                }
                txn.delete_device(&id)?;
                Ok::<_, Refusal>((device, attached))
            })
            .await?;
        self.principals_changed(&attached);
        self.announce_changes([(Operation::Deleted, RegistryChange::Device(device))]);
        Ok(())
    }

    /// Activates or deactivates all certificates of the device `id`, but for revoked ones; live
    /// connections of those that are not active end before this returns.
    ///
    /// # Errors
    ///
    /// `device.not-found`, `device.no-certificate`, and as [`CertificateRecord::set_status`].
    pub async fn enable_device(
        &self,
        caller: &Caller,
        id: &DeviceId,
        enabled: bool,
    ) -> Result<(), Refusal> {
        let permit = self.authorize::<act::ManageCertificates>(caller, id.as_str())?;
        let (now, id) = (self.now(), id.clone());
        let (status, verb) = if enabled {
            (CertificateStatus::Active, Verb::DeviceEnable)
        } else {
            (CertificateStatus::Inactive, Verb::DeviceDisable)
        };
        let attached = self
            .transact(permit, verb, move |txn| {
                find_device(txn, &id)?;
                let attached = txn.principals_of_device(&id)?;
                if set_all(txn, &attached, status, now)? == 0 {
                    return Err(Refusal::conflict(
                        "device.no-certificate",
                        format!(
                            "device {id} has no certificate that could be enabled or disabled; \
                             issue one and attach it to the device"
                        ),
                    ));
                }
                Ok(attached)
            })
            .await?;
        self.principals_changed(&attached);
        Ok(())
    }

    /// The certificates of the device `id`.
    ///
    /// # Errors
    ///
    /// `device.not-found`.
    pub fn certificates_of_device(
        &self,
        caller: &Caller,
        id: &DeviceId,
    ) -> Result<Vec<CertificateRecord>, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, id.as_str())?;
        self.0.store.read(|txn| {
            find_device(txn, id)?;
            certificates_of(&txn.principals_of_device(id)?)
                .map(|id| find_certificate(txn, &id))
                .collect()
        })
    }
}

fn certificates_of(attached: &[Attachment]) -> impl Iterator<Item = CertificateId> {
    attached
        .iter()
        .filter_map(|attachment| match &attachment.principal {
            Principal::Certificate(id) => Some(*id),
            Principal::Identity(_) => None,
        })
}

/// Sets the status of all certificates that are not revoked, and counts them.
fn set_all(
    txn: &mut WriteTxn<'_>,
    attached: &[Attachment],
    status: CertificateStatus,
    now: Timestamp,
) -> Result<usize, Refusal> {
    let mut set = 0;
    for id in certificates_of(attached) {
        let mut certificate = find_certificate(txn, &id)?;
        if certificate.status == CertificateStatus::Revoked {
            continue;
        }
        certificate.set_status(status, new_uuid(), now)?;
        txn.put_certificate(&certificate)?;
        set += 1;
    }
    Ok(set)
}

fn check_new(txn: &ReadTxn<'_>, id: &DeviceId, policy: &DevicePolicy) -> Result<(), Refusal> {
    if txn.device(id)?.is_some() {
        return Err(Refusal::new(
            RefusalKind::AlreadyExists,
            "device.exists",
            format!("device {id} already exists; choose another name or remove it first"),
        ));
    }
    match policy {
        DevicePolicy::Named(name) => find_policy(txn, name).map(drop),
        DevicePolicy::OrCreated { .. } => Ok(()),
    }
}

pub(crate) fn create_missing(
    txn: &mut WriteTxn<'_>,
    name: &PolicyName,
    document: String,
    now: Timestamp,
) -> Result<(), Refusal> {
    if txn.policy(name)?.is_some() {
        return Ok(());
    }
    let (policy, version) = PolicyRecord::new(name.clone(), document, new_uuid(), now)?;
    txn.put_policy(&policy)?;
    Ok(txn.put_policy_version(name, &version)?)
}
