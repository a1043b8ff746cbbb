//! What the registry says about a certificate: whether it is in good standing, which devices it
//! belongs to, and which policies apply to it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use model::{CertificateId, ClientId, DeviceId, PolicyName, Refusal, RefusalKind};
use policy::{CertificateFacts, CompiledSet, DeviceFacts, Document, Facts};
use registry::{Attachment, AttachmentKind, PolicyTarget};

use crate::{Access, Caller, Hub, PeerFacts};

/// Policy texts kept parsed.
const PARSED_POLICIES: usize = 4096;

/// Policies parsed and arranged before: the same few apply to most devices, and a connection
/// that shares them holds no copy.
#[derive(Debug, Default)]
pub(crate) struct ParsedPolicies {
    by_text: Mutex<HashMap<Arc<str>, Arc<Document>>>,
    sets: Mutex<HashMap<Vec<Named>, Arc<CompiledSet>>>,
}

/// A policy by its name and the address of its document, which a set that is kept keeps alive.
type Named = (Arc<str>, usize);

impl Hub {
    /// Whether a presented certificate is known, active and within its validity.
    pub(crate) fn check_standing(&self, certificate: &x509::Certificate) -> Result<(), Refusal> {
        let id = certificate.id();
        self.0.store.read(|txn| standing(txn, id))?;
        let now = self.now();
        if now < certificate.not_before() {
            return Err(Refusal::new(
                RefusalKind::Expired,
                "certificate.not-yet-valid",
                format!(
                    "certificate {id} is not valid yet; check the device's and the hub's clocks"
                ),
            ));
        }
        if now > certificate.not_after() {
            return Err(Refusal::new(
                RefusalKind::Expired,
                "certificate.expired",
                format!("certificate {id} has expired; give the device a new one"),
            ));
        }
        Ok(())
    }

    /// What the registry says about the bearer of a certificate in good standing.
    pub(crate) fn load_access(
        &self,
        certificate: &x509::Certificate,
        client_id: Option<&ClientId>,
        peer: &PeerFacts,
    ) -> Result<Access, Refusal> {
        let mut facts = Facts::new(client_id.map(ClientId::as_str), Some(peer.address.ip()));
        facts.certificate = Some(Arc::new(certificate_facts(certificate)));
        facts.domain.clone_from(&peer.server_name);
        self.fill_access(certificate.id(), client_id, facts)
    }

    /// Asks the registry about a live caller again.
    pub(crate) fn refresh_access(&self, caller: &Caller, id: CertificateId) -> Result<(), Refusal> {
        let _alone = self.0.live.refreshing();
        self.0.store.read(|txn| standing(txn, id))?;
        let facts = caller.access().facts.clone();
        let access = self.fill_access(id, caller.client_id(), facts)?;
        caller.replace_access(access);
        Ok(())
    }

    /// `facts` without the device, which is found here.
    pub(crate) fn fill_access(
        &self,
        id: CertificateId,
        client_id: Option<&ClientId>,
        mut facts: Facts,
    ) -> Result<Access, Refusal> {
        let found = self.0.store.read(|txn| in_force(txn, id, client_id))?;
        let Found {
            devices,
            device,
            record,
            policies,
        } = found;
        facts.device = record.map(|record| DeviceFacts {
            name: record.id.to_string(),
            type_name: record.device_type.map(|name| name.to_string()),
            attributes: record.attributes.as_map().clone(),
        });
        let policies = policies
            .into_iter()
            .map(|(name, text)| Ok((Arc::from(name.as_str()), self.parsed(&text)?)))
            .collect::<Result<Vec<_>, Refusal>>()?;
        Ok(Access {
            facts,
            policies: self.0.parsed.compiled(policies),
            devices,
            device,
            unrestricted: false,
        })
    }

    pub(crate) fn parsed(&self, text: &str) -> Result<Arc<Document>, Refusal> {
        self.0
            .parsed
            .get_or_parse(text, |text| self.0.language.parse(text))
            .map_err(|error| {
                // Policies are read before they are kept, so this one was kept by another version.
                tracing::error!(%error, "a stored policy cannot be read");
                Refusal::internal("a stored policy cannot be read; replace it")
            })
    }
}

fn standing(txn: &store::ReadTxn<'_>, id: CertificateId) -> Result<(), Refusal> {
    use registry::CertificateStatus as Status;
    let Some(record) = txn.certificate(&id)? else {
        return Err(Refusal::new(
            RefusalKind::Unauthenticated,
            "certificate.unknown",
            format!(
                "certificate {id} is not registered; register it or give the device one of the hub's"
            ),
        ));
    };
    let (reason, message) = match record.status {
        Status::Active => return Ok(()),
        Status::Inactive | Status::RegisterInactive => (
            "certificate.inactive",
            format!("certificate {id} is inactive; activate it"),
        ),
        Status::Revoked => (
            "certificate.revoked",
            format!("certificate {id} was revoked; give the device a new one"),
        ),
        Status::PendingTransfer => (
            "certificate.pending-transfer",
            format!("certificate {id} is being transferred; accept or cancel the transfer"),
        ),
        Status::PendingActivation => (
            "certificate.pending-activation",
            format!("certificate {id} waits to be activated; activate it"),
        ),
    };
    Err(Refusal::new(RefusalKind::Unauthenticated, reason, message))
}

/// What the registry holds of one certificate's rights.
struct Found {
    devices: Vec<DeviceId>,
    device: Option<DeviceId>,
    record: Option<registry::DeviceRecord>,
    policies: BTreeMap<PolicyName, String>,
}

/// Its own policies, and those of the groups of the device it speaks for and the groups above.
fn in_force(
    txn: &store::ReadTxn<'_>,
    id: CertificateId,
    client_id: Option<&ClientId>,
) -> Result<Found, store::Failure> {
    let attachments = txn.devices_of_principal(&registry::Principal::Certificate(id))?;
    let device = spoken_for(&attachments, client_id);
    let record = match &device {
        Some(device) => txn.device(device)?,
        None => None,
    };
    let mut targets = vec![PolicyTarget::Certificate(id)];
    if let Some(device) = &device {
        let groups = txn.groups_above_device(device)?;
        targets.extend(groups.into_iter().map(PolicyTarget::Group));
    }
    let mut policies = BTreeMap::new();
    for target in &targets {
        for name in txn.policies_of_target(target)? {
            if let Some(text) = txn.policy_document(&name)? {
                policies.insert(name, text);
            }
        }
    }
    Ok(Found {
        devices: attachments
            .into_iter()
            .map(|attachment| attachment.device)
            .collect(),
        device,
        record,
        policies,
    })
}

/// The device a caller speaks for: the one named like its client id, or the one that its
/// certificate belongs to exclusively.
fn spoken_for(attachments: &[Attachment], client_id: Option<&ClientId>) -> Option<DeviceId> {
    let named = attachments
        .iter()
        .find(|attachment| client_id.is_some_and(|id| id.as_str() == attachment.device.as_str()));
    let exclusive = || {
        attachments
            .iter()
            .find(|attachment| attachment.kind == AttachmentKind::Exclusive)
    };
    named
        .or_else(exclusive)
        .map(|attachment| attachment.device.clone())
}

pub(crate) fn certificate_facts(certificate: &x509::Certificate) -> CertificateFacts {
    CertificateFacts {
        subject: crate::facts::name_facts(certificate.subject(), certificate.subject_names()),
        issuer: crate::facts::name_facts(certificate.issuer(), certificate.issuer_names()),
        serial_number: hex::encode_upper(certificate.serial()),
    }
}

impl ParsedPolicies {
    fn get_or_parse<E>(
        &self,
        text: &str,
        parse: impl FnOnce(&str) -> Result<Document, E>,
    ) -> Result<Arc<Document>, E> {
        let mut known = self.by_text.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(document) = known.get(text) {
            return Ok(Arc::clone(document));
        }
        let document = Arc::new(parse(text)?);
        if known.len() >= PARSED_POLICIES {
            known.clear();
        }
        known.insert(text.into(), Arc::clone(&document));
        Ok(document)
    }

    /// The set of these policies, shared with everyone to whom the same apply.
    fn compiled(&self, policies: Vec<(Arc<str>, Arc<Document>)>) -> Arc<CompiledSet> {
        let key: Vec<Named> = policies
            .iter()
            .map(|(name, document)| (Arc::clone(name), Arc::as_ptr(document).addr()))
            .collect();
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = sets.get(&key) {
            return Arc::clone(set);
        }
        let set = Arc::new(policy::compile(&policies));
        if sets.len() >= PARSED_POLICIES {
            sets.clear();
        }
        sets.insert(key, Arc::clone(&set));
        set
    }
}
