//! Devices that nobody has registered: those that bring a certificate of a registered authority
//! are registered when they first connect.
//!
//! As AWS does: the certificate is recorded at CONNECT (a bare handshake records nothing), waits to
//! be activated, and the connection is closed. Whoever subscribes to
//! `$hub/events/certificates/registered/{CA}` is told, and told again at every try until the
//! certificate is activated. Lists of revoked certificates are not asked yet.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use ledger::Verb;
use model::{CertificateId, ClientId, Refusal, RefusalKind, Timestamp, TopicName};
use mqtt_proto::QoS;
use provisioning::{Attempt, Flow, Step, Template};
use registry::{
    AutoRegistration, CaMode, CaRecord, CaStatus, CertificateRecord, CertificateStatus,
    TemplateKind, TemplateRecord, TemplateSource,
};
use serde_json::json;
use store::ReadTxn;

use crate::{
    Caller, Changed, Credentials, Hub, PeerFacts,
    ca_certificates::signer_of,
    caller::Errand,
    certificates::new_record,
    from_template::{Bearer, Shared, implied, lock, take},
    templates::{in_force, parse},
    timeline::{Kind, Subject},
};

impl Hub {
    /// As [`Hub::authenticate`], for a client that connects: one that brings an unknown certificate
    /// of a registered authority is registered, and refused until it is activated.
    ///
    /// # Errors
    ///
    /// As [`Hub::authenticate`]; `certificate.pending-activation` when it was registered just now.
    /// The refusal and the attempt are in the timeline.
    pub async fn admit(
        &self,
        credentials: &Credentials,
        client_id: ClientId,
        peer: PeerFacts,
    ) -> Result<Caller, Refusal> {
        let (id, result) = self.identify_caller(credentials, Some(&client_id), &peer);
        let mut refusal = match result {
            Ok(caller) => return Ok(caller),
            Err(refusal) => refusal,
        };
        let may_join = matches!(
            refusal.reason.0,
            "certificate.unknown" | "certificate.pending-activation"
        );
        if let Credentials::Certificate(der) = credentials
            && may_join
            && let Ok(certificate) = x509::Certificate::parse(der)
        {
            refusal = self.join(&certificate, &client_id, &peer, refusal).await;
        }
        let subject = Subject {
            client_id: Some(client_id),
            principal: id.map(|id| format!("certificate/{id}")),
            address: Some(peer.address),
        };
        self.record_refusal(Kind::ConnectRefused, subject, &refusal);
        Err(refusal)
    }

    /// Registers `certificate` if it may be, and says why the connection is refused all the same.
    async fn join(
        &self,
        certificate: &x509::Certificate,
        client_id: &ClientId,
        peer: &PeerFacts,
        unknown: Refusal,
    ) -> Refusal {
        // Strangers to every authority are no attempt: they are refused as before.
        let named = self.0.store.read(|txn| {
            let named = txn.cas_of_subject(certificate.issuer().der())?;
            Ok::<_, Refusal>(!named.is_empty())
        });
        match named {
            Ok(true) => {}
            Ok(false) => return unknown,
            Err(refusal) => return refusal,
        }
        let mut attempt = Attempt::new(Flow::JustInTimeRegistration, self.now());
        attempt.certificate = Some(certificate.id());
        let attempt = Arc::new(Mutex::new(attempt));
        let refusal = match self.register_at_sight(&attempt, certificate, peer).await {
            Ok(refusal) | Err(refusal) => refusal,
        };
        let done = lock(&attempt).clone();
        self.record_attempt(&done, Some(client_id), Some(peer));
        refusal
    }

    async fn register_at_sight(
        &self,
        attempt: &Shared,
        certificate: &x509::Certificate,
        peer: &PeerFacts,
    ) -> Result<Refusal, Refusal> {
        let now = self.now();
        let ca = self
            .0
            .store
            .read(|txn| signer_of(txn, certificate))
            .map_err(as_stranger);
        let ca = take(attempt, Step::Issuer, ca, |ca| {
            format!("CA certificate {} signed it", ca.id)
        })?;
        {
            let mut attempt = lock(attempt);
            attempt.ca = Some(ca.id);
            if ca.template().is_some() {
                attempt.flow = Flow::JustInTimeProvisioning;
            }
        }
        let named = check_server_name(&ca, peer);
        take(attempt, Step::ServerName, named, |name| name.clone())?;
        let active = check_active(&ca, now);
        take(attempt, Step::CaActive, active, |()| {
            "the CA is active".into()
        })?;
        take(
            attempt,
            Step::AutoRegistration,
            check_automatic(&ca),
            |()| "its certificates are registered at first sight".into(),
        )?;
        let valid = check_validity(certificate, now);
        take(attempt, Step::Validity, valid, |()| {
            "the certificate is valid".into()
        })?;
        if let Some(template) = ca.template() {
            return self
                .provision_at_sight(attempt, certificate, &ca, template, peer)
                .await;
        }
        let registered = self.record_at_sight(certificate, ca.id, peer, now).await;
        let (registered, _) = take(attempt, Step::Registered, registered, |(record, is_new)| {
            let status = record.status.as_str();
            if *is_new {
                format!("recorded as {status}")
            } else {
                format!("it is {status} already")
            }
        })?;
        self.announce_registered(&registered, ca.id);
        take(attempt, Step::Announced, Ok(()), |()| {
            format!("published to $hub/events/certificates/registered/{}", ca.id)
        })?;
        Ok(pending(registered.id))
    }

    /// Carries out the template of a CA; the device is let in when it comes again.
    async fn provision_at_sight(
        &self,
        attempt: &Shared,
        certificate: &x509::Certificate,
        ca: &CaRecord,
        template: &TemplateSource,
        peer: &PeerFacts,
    ) -> Result<Refusal, Refusal> {
        let now = self.now();
        let template = take(attempt, Step::Template, self.template_of(template), |_| {
            "the template was read".into()
        })
        .map_err(as_peer)?;
        let implied = implied(certificate);
        let nothing = BTreeMap::new();
        let bearer = Bearer::Only(certificate.id());
        let prepared = self
            .prepare(attempt, &template, &implied, &nothing, bearer)
            .map_err(as_peer)?;
        let mut record = new_record(certificate, CertificateStatus::PendingActivation, now);
        record.ca_id = Some(ca.id);
        let permit = self.authorize_by_ca(errand_of(&record, peer), &record);
        let ca = ca.id;
        let made = self
            .carry_out(permit, attempt, prepared, move |txn| {
                still_takes(txn, &ca, now)?;
                if txn.certificate(&record.id)?.is_none() {
                    txn.put_certificate(&record)?;
                }
                Ok(())
            })
            .await
            .map_err(as_peer)?;
        let device = made.device.map_or_else(String::new, |(_, device)| {
            format!(" as device {}", device.id)
        });
        Ok(Refusal::new(
            RefusalKind::Unavailable,
            "provisioning.connect-again",
            format!("provisioned{device}; connect again"),
        ))
    }

    /// The template that a CA names, read.
    fn template_of(&self, source: &TemplateSource) -> Result<Template, Refusal> {
        match source {
            TemplateSource::Body(body) => parse(body, TemplateKind::JustInTime),
            TemplateSource::Name(name) => {
                let name = crate::ca_certificates::template_name(name)?;
                let (template, version) = self.0.store.read(|txn| in_force(txn, &name))?;
                check_enabled(&template)?;
                parse(&version.body, template.kind)
            }
        }
    }

    /// Records `certificate`, unless it is recorded by now; says whether it was not.
    async fn record_at_sight(
        &self,
        certificate: &x509::Certificate,
        ca: CertificateId,
        peer: &PeerFacts,
        now: Timestamp,
    ) -> Result<(CertificateRecord, bool), Refusal> {
        let mut record = new_record(certificate, CertificateStatus::PendingActivation, now);
        record.ca_id = Some(ca);
        let permit = self.authorize_by_ca(errand_of(&record, peer), &record);
        let id = record.id;
        let registered = self
            .transact(permit, Verb::CertificateRegister, move |txn| {
                if let Some(present) = txn.certificate(&id)? {
                    return Ok((present, false));
                }
                // Asked again: an operator may have said no meanwhile.
                still_takes(txn, &ca, now)?;
                txn.put_certificate(&record)?;
                Ok::<_, Refusal>((record, true))
            })
            .await?;
        self.registry_changed(&Changed::Certificate(id));
        Ok(registered)
    }

    /// Tells whoever subscribes that a certificate waits to be activated.
    fn announce_registered(&self, certificate: &CertificateRecord, ca: CertificateId) {
        let topic = format!("$hub/events/certificates/registered/{ca}");
        let topic = TopicName::new(topic).expect("64 hexadecimal digits make a level");
        let payload = json!({
            "certificateId": certificate.id.to_string(),
            "caCertificateId": ca.to_string(),
            "timestamp": self.now().millis(),
            "certificateStatus": certificate.status.as_str(),
            "awsAccountId": self.config().account,
            // As AWS was seen to tell it.
            "certificateRegistrationTimestamp": null,
        });
        match self.publish_own(topic, payload.to_string().into(), QoS::AtLeastOnce) {
            // Nobody waits for an event's acknowledgement.
            Ok(ack) => drop(ack),
            Err(refusal) => tracing::warn!(%refusal, "an event was not delivered"),
        }
    }
}

/// The bearer of a certificate, on its own behalf.
fn errand_of(record: &CertificateRecord, peer: &PeerFacts) -> Errand {
    Errand {
        principal: crate::Principal::Certificate(record.id),
        address: Some(peer.address.ip()),
        request_id: None,
        receipt: Default::default(),
    }
}

/// Whether devices may be provisioned by `template`.
pub(crate) fn check_enabled(template: &TemplateRecord) -> Result<(), Refusal> {
    if template.enabled {
        return Ok(());
    }
    Err(Refusal::conflict(
        "template.disabled",
        format!("provisioning template {} is not enabled", template.name),
    ))
}

/// What went wrong is the operator's to mend; the device is told that it may not connect.
fn as_peer(refusal: Refusal) -> Refusal {
    if matches!(
        refusal.kind,
        RefusalKind::Unavailable | RefusalKind::Internal
    ) {
        return refusal;
    }
    refused(
        "provisioning.template",
        format!("the device was not provisioned: {}", refusal.message),
    )
}

fn pending(id: CertificateId) -> Refusal {
    Refusal::new(
        RefusalKind::Unauthenticated,
        "certificate.pending-activation",
        format!(
            "certificate {id} was registered because a registered CA signed it, and waits to be \
             activated; activate it and connect again"
        ),
    )
}

fn refused(reason: &'static str, message: String) -> Refusal {
    Refusal::new(RefusalKind::Unauthenticated, reason, message)
}

/// What an operator would be told of a request, as a connecting device is told.
fn as_stranger(refusal: Refusal) -> Refusal {
    if refusal.kind == RefusalKind::Malformed {
        refused("provisioning.issuer", refusal.message.into_owned())
    } else {
        refusal
    }
}

fn check_server_name(ca: &CaRecord, peer: &PeerFacts) -> Result<String, Refusal> {
    match (ca.mode, &peer.server_name) {
        (CaMode::Default, _) => Ok("the CA needs no SNI".into()),
        (CaMode::SniOnly, Some(name)) => Ok(format!("the client asked for {name}")),
        (CaMode::SniOnly, None) => Err(refused(
            "provisioning.server-name",
            format!(
                "CA certificate {} is registered as SNI_ONLY; have the client send the hub's name \
                 in SNI",
                ca.id
            ),
        )),
    }
}

fn check_active(ca: &CaRecord, now: Timestamp) -> Result<(), Refusal> {
    let validity = ca.validity;
    if ca.status == CaStatus::Inactive {
        return Err(refused(
            "provisioning.ca-inactive",
            format!(
                "CA certificate {} is inactive: no new certificates of it are registered; activate \
                 it",
                ca.id
            ),
        ));
    }
    crate::ca_certificates::check_ca_validity(validity.not_before, validity.not_after, now)
        .map_err(|refusal| refused("provisioning.ca-expired", refusal.message.into_owned()))
}

fn check_automatic(ca: &CaRecord) -> Result<(), Refusal> {
    match ca.auto_registration {
        AutoRegistration::Enabled => Ok(()),
        AutoRegistration::Disabled => Err(refused(
            "provisioning.not-automatic",
            format!(
                "certificates of CA {} are not registered at first sight; enable auto-registration \
                 or register the certificate",
                ca.id
            ),
        )),
    }
}

fn check_validity(certificate: &x509::Certificate, now: Timestamp) -> Result<(), Refusal> {
    if certificate.is_valid_at(now) {
        return Ok(());
    }
    Err(refused(
        "provisioning.validity",
        "the certificate is not valid now, so it is not registered; check its validity and the \
         clocks"
            .into(),
    ))
}

fn still_takes(txn: &ReadTxn<'_>, ca: &CertificateId, now: Timestamp) -> Result<(), Refusal> {
    let Some(ca) = txn.ca_certificate(ca)? else {
        return Err(refused(
            "provisioning.issuer",
            format!("CA certificate {ca} is not registered any more"),
        ));
    };
    check_active(&ca, now)?;
    check_automatic(&ca)
}
