//! What the registry says about a certificate: whether it is in good standing, which devices it
//! belongs to, and which policies apply to it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use model::{CertificateId, ClientId, DeviceId, Refusal, RefusalKind};
use policy::{CertificateFacts, Document, Facts};

use crate::{Access, Caller, Hub, PeerFacts};

/// Policy texts kept parsed.
const PARSED_POLICIES: usize = 4096;

/// Policies parsed before, by their text: the same few apply to most devices.
#[derive(Debug, Default)]
pub(crate) struct ParsedPolicies(Mutex<HashMap<Arc<str>, Arc<Document>>>);

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
        // The registry's tables land with the next merge; until then nobody has any access.
        let _ = (id, client_id);
        let texts: Vec<(String, String)> = Vec::new();
        let devices: Vec<(DeviceId, ())> = Vec::new();
        let device = None;
        facts.device = None;
        let policies = texts
            .into_iter()
            .map(|(name, text)| Ok((Arc::from(name.as_str()), self.parsed(&text)?)))
            .collect::<Result<Vec<_>, Refusal>>()?;
        Ok(Access {
            facts,
            policies: policy::compile(&policies),
            devices: devices.into_iter().map(|(device, _)| device).collect(),
            device,
            unrestricted: false,
        })
    }

    fn parsed(&self, text: &str) -> Result<Arc<Document>, Refusal> {
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

fn standing(_: &store::ReadTxn<'_>, id: CertificateId) -> Result<(), Refusal> {
    Err(Refusal::new(
        RefusalKind::Unauthenticated,
        "certificate.unknown",
        format!("certificate {id} is not registered"),
    ))
}

fn certificate_facts(certificate: &x509::Certificate) -> CertificateFacts {
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
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
}
