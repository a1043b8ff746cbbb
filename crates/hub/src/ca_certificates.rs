//! Certificate authorities of the operator's own: registered, changed, removed, and asked whether
//! they signed a certificate.

use ledger::Verb;
use model::{CertificateId, Refusal, RefusalKind, TemplateName, Timestamp};
use registry::{
    AutoRegistration, CaChange, CaMode, CaRecord, CaStatus, CertificateRecord, CertificateStatus,
    RegistrationConfig, TemplateKind, TemplateSource, Validity,
};
use store::{Order, ReadTxn};

use crate::{
    Caller, Changed, Hub, Page, PageRequest, act,
    certificates::{new_record, place},
    registry_events::new_uuid,
    templates::{find_template, parse},
};

/// The setting that holds the registration code.
const REGISTRATION_CODE: &str = "ca.registration-code";

/// An authority to be registered.
#[derive(Clone, Debug)]
pub struct NewCa {
    /// Its certificate, PEM.
    pub pem: String,
    /// A certificate of its own over the registration code, PEM; needed in [`CaMode::Default`].
    pub verification_pem: Option<String>,
    /// How it is proved to be the operator's.
    pub mode: CaMode,
    /// Whether new certificates are taken.
    pub status: CaStatus,
    /// Whether they are registered at first sight.
    pub auto_registration: AutoRegistration,
    /// What is done at first sight.
    pub registration: Option<RegistrationConfig>,
}

impl Hub {
    /// The code that a verification certificate carries as its common name: 64 hexadecimal digits,
    /// the same until it is deleted.
    ///
    /// # Errors
    ///
    /// `operator.required`.
    pub async fn registration_code(&self, caller: &Caller) -> Result<String, Refusal> {
        let permit = self.authorize::<act::ManageCertificates>(caller, "the registration code")?;
        let present = self
            .0
            .store
            .read(|txn| Ok::<_, Refusal>(txn.setting(REGISTRATION_CODE)?))?;
        if let Some(code) = present {
            return Ok(code);
        }
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| {
            tracing::error!(%error, "the machine has no randomness");
            Refusal::internal("the machine has no randomness")
        })?;
        let fresh = hex::encode(random);
        self.transact(permit, Verb::SettingUpdate, move |txn| {
            if let Some(code) = txn.setting(REGISTRATION_CODE)? {
                return Ok::<_, Refusal>(code);
            }
            txn.put_setting(REGISTRATION_CODE, &fresh)?;
            Ok(fresh)
        })
        .await
    }

    /// Forgets the registration code; the next one is another.
    ///
    /// # Errors
    ///
    /// `operator.required`.
    pub async fn delete_registration_code(&self, caller: &Caller) -> Result<(), Refusal> {
        let permit = self.authorize::<act::ManageCertificates>(caller, "the registration code")?;
        self.transact(permit, Verb::SettingUpdate, |txn| {
            Ok::<_, Refusal>(txn.delete_setting(REGISTRATION_CODE)?)
        })
        .await
    }

    /// Registers an authority.
    ///
    /// # Errors
    ///
    /// `ca.malformed`, `ca.not-a-ca`, `ca.expired`, `ca.verification`, `ca.registration-code`,
    /// `ca.exists`, `ca.same-subject`.
    pub async fn register_ca(&self, caller: &Caller, new: NewCa) -> Result<CaRecord, Refusal> {
        let permit = self.authorize::<act::ManageCertificates>(caller, "a CA certificate")?;
        let now = self.now();
        let ca = read_ca(&new.pem, now)?;
        let expected_code = match (new.mode, &new.verification_pem) {
            (CaMode::Default, Some(pem)) => Some(check_verification(&ca, pem, now)?),
            (CaMode::Default, None) => {
                return Err(Refusal::malformed(
                    "ca.verification",
                    "a verification certificate is needed: one that the CA signed and whose common \
                     name is the registration code; or register the CA with the mode SNI_ONLY",
                ));
            }
            (CaMode::SniOnly, Some(_)) => {
                return Err(Refusal::malformed(
                    "ca.verification",
                    "a CA in the mode SNI_ONLY is registered without a verification certificate",
                ));
            }
            (CaMode::SniOnly, None) => None,
        };
        if let Some(config) = &new.registration {
            self.check_registration(config)?;
        }
        let record = CaRecord {
            id: ca.id(),
            pem: x509::certificate_to_pem(ca.der()),
            subject: ca.subject().der().to_vec(),
            status: new.status,
            auto_registration: new.auto_registration,
            mode: new.mode,
            registration: new.registration,
            validity: Validity {
                not_before: ca.not_before(),
                not_after: ca.not_after(),
            },
            customer_version: 1,
            generation_id: new_uuid(),
            created_at: now,
            modified_at: now,
        };
        self.transact(permit, Verb::CaRegister, move |txn| {
            if let Some(code) = expected_code {
                check_code(txn, &code)?;
            }
            if txn.ca_certificate(&record.id)?.is_some() {
                return Err(Refusal::new(
                    RefusalKind::AlreadyExists,
                    "ca.exists",
                    format!("the CA certificate is already registered as {}", record.id),
                ));
            }
            CaRecord::check_beside(txn.cas_of_subject(&record.subject)?.len())?;
            txn.put_ca_certificate(&record)?;
            Ok(record)
        })
        .await
    }

    /// A template that could not be carried out is refused when it is named.
    fn check_registration(&self, config: &RegistrationConfig) -> Result<(), Refusal> {
        match &config.template {
            None => Ok(()),
            Some(TemplateSource::Body(body)) => parse(body, TemplateKind::JustInTime).map(drop),
            Some(TemplateSource::Name(name)) => {
                let name = template_name(name)?;
                let template = self.0.store.read(|txn| find_template(txn, &name))?;
                if template.kind == TemplateKind::JustInTime {
                    return Ok(());
                }
                Err(Refusal::malformed(
                    "template.type",
                    format!("template {name} is not of the type JITP"),
                ))
            }
        }
    }

    /// The authority `id`.
    ///
    /// # Errors
    ///
    /// `ca.not-found`.
    pub fn ca(&self, caller: &Caller, id: &CertificateId) -> Result<CaRecord, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, &id.to_string())?;
        self.0.store.read(|txn| find_ca(txn, id))
    }

    /// Changes the authority `id`. Devices that are registered already are not affected.
    ///
    /// # Errors
    ///
    /// `ca.not-found`.
    pub async fn update_ca(
        &self,
        caller: &Caller,
        id: &CertificateId,
        change: CaChange,
    ) -> Result<CaRecord, Refusal> {
        let permit = self.authorize::<act::ManageCertificates>(caller, &id.to_string())?;
        if let Some(Some(config)) = &change.registration {
            self.check_registration(config)?;
        }
        let (now, generation, id) = (self.now(), new_uuid(), *id);
        self.transact(permit, Verb::CaUpdate, move |txn| {
            let mut ca = find_ca(txn, &id)?;
            ca.apply(change, generation, now);
            txn.put_ca_certificate(&ca)?;
            Ok::<_, Refusal>(ca)
        })
        .await
    }

    /// Removes the authority `id`. Certificates that were registered with it stay as they are.
    ///
    /// # Errors
    ///
    /// `ca.not-found`, `ca.active`.
    pub async fn delete_ca(&self, caller: &Caller, id: &CertificateId) -> Result<(), Refusal> {
        let permit = self.authorize::<act::ManageCertificates>(caller, &id.to_string())?;
        let id = *id;
        self.transact(permit, Verb::CaDelete, move |txn| {
            find_ca(txn, &id)?.check_delete()?;
            Ok::<_, Refusal>(txn.delete_ca_certificate(&id)?)
        })
        .await
    }

    /// The authorities, or those that provision by the template `template`, by age.
    ///
    /// # Errors
    ///
    /// `page.token`, `page.limit`.
    pub fn cas(
        &self,
        caller: &Caller,
        template: Option<&str>,
        order: Order,
        page: &PageRequest,
    ) -> Result<Page<CaRecord>, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, "CA certificates")?;
        let limit = page.limit()?;
        let after = page.after()?.map(|key| place(&key)).transpose()?;
        let found = self.0.store.read(|txn| {
            Ok::<_, Refusal>(txn.ca_certificates(template, order, after, limit + 1)?)
        })?;
        Ok(Page::of(found, limit, |ca| {
            format!("{} {}", ca.created_at.millis(), ca.id)
        }))
    }

    /// Registers a certificate (PEM) that a registered authority signed: `ca_pem`, or the one that
    /// it names as its issuer.
    ///
    /// # Errors
    ///
    /// `certificate.malformed`, `certificate.exists`, `certificate.pending`; `ca.not-registered`
    /// and `ca.signature` when no registered authority signed it; `ca.inactive`.
    pub async fn register_certificate_of_ca(
        &self,
        caller: &Caller,
        certificate_pem: &str,
        ca_pem: Option<&str>,
        status: CertificateStatus,
    ) -> Result<CertificateRecord, Refusal> {
        let permit = self.authorize::<act::ManageCertificates>(caller, "a foreign certificate")?;
        let certificate = x509::certificate_from_pem(certificate_pem).map_err(|error| {
            let message = format!("the certificate cannot be read: {error}");
            Refusal::malformed("certificate.malformed", message)
        })?;
        if status == CertificateStatus::PendingActivation {
            return Err(Refusal::conflict(
                "certificate.pending",
                "Not allowed to register certificate with PENDING_ACTIVATION status",
            ));
        }
        let now = self.now();
        let named = ca_pem.map(|pem| read_ca(pem, now)).transpose()?;
        let mut record = new_record(&certificate, CertificateStatus::Inactive, now);
        if status != record.status {
            let generation = record.generation_id.clone();
            record.set_status(status, generation, now)?;
            record.customer_version = 1;
        }
        let id = record.id;
        let registered = self
            .transact(permit, Verb::CertificateRegister, move |txn| {
                let ca = match named {
                    Some(named) => {
                        let ca = txn.ca_certificate(&named.id())?.ok_or_else(|| {
                            not_registered(&format!("CA certificate {}", named.id()))
                        })?;
                        check_signed(&certificate, &named)?;
                        ca
                    }
                    None => signer_of(txn, &certificate)?,
                };
                check_takes_certificates(&ca)?;
                if txn.certificate(&id)?.is_some() {
                    return Err(Refusal::new(
                        RefusalKind::AlreadyExists,
                        "certificate.exists",
                        format!("the certificate is already registered as {id}"),
                    ));
                }
                record.ca_id = Some(ca.id);
                txn.put_certificate(&record)?;
                Ok(record)
            })
            .await?;
        self.registry_changed(&Changed::Certificate(id));
        Ok(registered)
    }
}

/// Reads the certificate of an authority: one that may sign, now.
fn read_ca(pem: &str, now: Timestamp) -> Result<x509::Certificate, Refusal> {
    let ca = x509::certificate_from_pem(pem).map_err(|error| {
        let message = format!("the CA certificate cannot be read: {error}");
        Refusal::malformed("ca.malformed", message)
    })?;
    if !ca.is_ca() {
        return Err(Refusal::malformed(
            "ca.not-a-ca",
            "the certificate does not say that it is a CA's: basicConstraints must hold CA:TRUE",
        ));
    }
    check_ca_validity(ca.not_before(), ca.not_after(), now)?;
    Ok(ca)
}

/// Whether an authority of this validity may vouch for anybody now.
pub(crate) fn check_ca_validity(
    not_before: Timestamp,
    not_after: Timestamp,
    now: Timestamp,
) -> Result<(), Refusal> {
    if (not_before.seconds()..=not_after.seconds()).contains(&now.seconds()) {
        return Ok(());
    }
    Err(Refusal::malformed(
        "ca.expired",
        "the CA certificate is not valid now; check its validity and the hub's clock",
    ))
}

/// Checks that `ca` signed the verification certificate; returns its common name.
fn check_verification(
    ca: &x509::Certificate,
    pem: &str,
    now: Timestamp,
) -> Result<String, Refusal> {
    let invalid = |message: String| Refusal::malformed("ca.verification", message);
    let verification = x509::certificate_from_pem(pem).map_err(|error| {
        invalid(format!(
            "the verification certificate cannot be read: {error}"
        ))
    })?;
    verification.verify_signed_by(ca).map_err(|error| {
        invalid(format!(
            "the CA did not sign the verification certificate: {error}"
        ))
    })?;
    if !verification.is_valid_at(now) {
        return Err(invalid(
            "the verification certificate is not valid now".into(),
        ));
    }
    verification
        .subject()
        .common_name()
        .map(str::to_owned)
        .ok_or_else(wrong_code)
}

fn check_code(txn: &ReadTxn<'_>, presented: &str) -> Result<(), Refusal> {
    let code = txn.setting(REGISTRATION_CODE)?;
    // Whoever asks is an operator, who may read the code: nothing to be learnt from the time.
    if code.as_deref() == Some(presented) {
        Ok(())
    } else {
        Err(wrong_code())
    }
}

fn wrong_code() -> Refusal {
    Refusal::malformed(
        "ca.registration-code",
        "the common name of the verification certificate is not the registration code; ask \
         GetRegistrationCode and make a new verification certificate",
    )
}

fn find_ca(txn: &ReadTxn<'_>, id: &CertificateId) -> Result<CaRecord, Refusal> {
    txn.ca_certificate(id)?.ok_or_else(|| {
        let message = format!("CA certificate {id} does not exist");
        Refusal::not_found("ca.not-found", message)
    })
}

/// The registered authority that signed `certificate`.
///
/// # Errors
///
/// `ca.not-registered` when none has its issuer's name, `ca.signature` when none of those signed it.
pub(crate) fn signer_of(
    txn: &ReadTxn<'_>,
    certificate: &x509::Certificate,
) -> Result<CaRecord, Refusal> {
    let candidates = txn.cas_of_subject(certificate.issuer().der())?;
    let mut refused = not_registered(&format!("the issuer \"{}\"", certificate.issuer()));
    for candidate in candidates {
        let ca = x509::certificate_from_pem(&candidate.pem).map_err(|error| {
            tracing::error!(%error, ca = %candidate.id, "a stored CA certificate cannot be read");
            Refusal::internal("a stored CA certificate cannot be read; register it again")
        })?;
        match check_signed(certificate, &ca) {
            Ok(()) => return Ok(candidate),
            Err(refusal) => refused = refusal,
        }
    }
    Err(refused)
}

fn not_registered(what: &str) -> Refusal {
    Refusal::malformed(
        "ca.not-registered",
        format!("{what} is no registered CA; register it with RegisterCACertificate"),
    )
}

fn check_signed(certificate: &x509::Certificate, ca: &x509::Certificate) -> Result<(), Refusal> {
    certificate.verify_signed_by(ca).map_err(|error| {
        Refusal::malformed(
            "ca.signature",
            format!("CA certificate {} did not sign it: {error}", ca.id()),
        )
    })
}

/// Whether new certificates of `ca` are taken.
pub(crate) fn check_takes_certificates(ca: &CaRecord) -> Result<(), Refusal> {
    match ca.status {
        CaStatus::Active => Ok(()),
        CaStatus::Inactive => Err(Refusal::conflict(
            "ca.inactive",
            format!(
                "CA certificate {} is inactive: no new certificates of it are registered; activate \
                 it",
                ca.id
            ),
        )),
    }
}

/// The name of a template, as a CA's configuration holds it.
pub(crate) fn template_name(text: &str) -> Result<TemplateName, Refusal> {
    TemplateName::new(text).map_err(|error| Refusal::malformed("template.name", error.to_string()))
}
