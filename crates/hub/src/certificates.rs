//! Certificates: issued, registered, trusted, revoked, removed.

use std::time::Duration;

use ledger::Verb;
use model::{CertificateId, Refusal, RefusalKind, Timestamp};
use registry::{CertificateRecord, CertificateStatus, PolicyTarget, Principal, Validity};
use store::{CertificatePlace, Order, ReadTxn};

use crate::{Caller, Changed, Hub, Page, PageRequest, act, registry_events::new_uuid};

/// Certificates the hub issues are valid until the end of 2049, as those of AWS IoT are.
const ISSUED_UNTIL: Timestamp = Timestamp::from_seconds(2_524_607_999);
/// Certificates the hub issues are valid from a little before they are made, for devices whose
/// clocks are late.
const ISSUED_SINCE: Duration = Duration::from_secs(2 * 60);

/// A certificate with the key that was made for it. Nobody else has the key.
pub struct IssuedCertificate {
    /// The certificate, in the registry.
    pub certificate: CertificateRecord,
    /// The public key, PEM.
    pub public_key_pem: String,
    /// The private key, PEM.
    pub private_key: ca::PrivateKeyPem,
}

/// Whether a new certificate is trusted at once.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Activation {
    /// It is.
    Active,
    /// It waits for somebody to set it to active.
    #[default]
    Inactive,
}

impl From<Activation> for CertificateStatus {
    fn from(activation: Activation) -> Self {
        match activation {
            Activation::Active => Self::Active,
            Activation::Inactive => Self::Inactive,
        }
    }
}

impl Hub {
    /// Makes a key, certifies it under the common name `common_name` and registers the
    /// certificate.
    ///
    /// # Errors
    ///
    /// `operator.required`; `hub.internal` when no key can be made.
    pub async fn issue_certificate(
        &self,
        caller: &Caller,
        common_name: &str,
        key: ca::DeviceKey,
        activation: Activation,
    ) -> Result<IssuedCertificate, Refusal> {
        let permit = self.authorize::<act::ManageCertificates>(caller, "a new certificate")?;
        let now = self.now();
        let identity = identity_for(self, common_name, key, now).await?;
        let certificate = new_record(&identity.certificate, activation.into(), now);
        let certificate = self
            .register(permit, Verb::CertificateCreate, certificate)
            .await?;
        Ok(IssuedCertificate {
            certificate,
            public_key_pem: identity.public_key_pem,
            private_key: identity.private_key,
        })
    }

    /// Certifies the key of a certificate signing request (PEM) and registers the certificate.
    ///
    /// # Errors
    ///
    /// `request.malformed` when the request cannot be read or does not prove possession of its key.
    pub async fn certify_request(
        &self,
        caller: &Caller,
        request_pem: &str,
        activation: Activation,
    ) -> Result<CertificateRecord, Refusal> {
        let permit = self.authorize::<act::ManageCertificates>(caller, "a new certificate")?;
        let record = self.certify(request_pem, activation.into())?;
        self.register(permit, Verb::CertificateCreate, record).await
    }

    /// Certifies the key of a request; nothing is registered yet.
    pub(crate) fn certify(
        &self,
        request_pem: &str,
        status: CertificateStatus,
    ) -> Result<CertificateRecord, Refusal> {
        let request = x509::Request::from_pem(request_pem).map_err(|error| {
            let message = format!("the certificate signing request cannot be used: {error}");
            Refusal::malformed("request.malformed", message)
        })?;
        let now = self.now();
        let since = now.before(ISSUED_SINCE);
        let authority = &self.0.authority;
        let certificate = authority
            .issue_for_request(&request, since, ISSUED_UNTIL)
            .map_err(|error| not_issued(&error))?;
        Ok(new_record(&certificate, status, now))
    }

    /// Registers a certificate (PEM) that somebody else issued, without asking who.
    ///
    /// # Errors
    ///
    /// `certificate.malformed`, `certificate.exists`, `certificate.transition` for a status that
    /// nobody may set.
    pub async fn register_certificate(
        &self,
        caller: &Caller,
        certificate_pem: &str,
        status: CertificateStatus,
    ) -> Result<CertificateRecord, Refusal> {
        let permit = self.authorize::<act::ManageCertificates>(caller, "a foreign certificate")?;
        let certificate = x509::certificate_from_pem(certificate_pem).map_err(|error| {
            let message = format!("the certificate cannot be read: {error}");
            Refusal::malformed("certificate.malformed", message)
        })?;
        let now = self.now();
        let mut record = new_record(&certificate, CertificateStatus::Inactive, now);
        if status != record.status {
            let generation = record.generation_id.clone();
            record.set_status(status, generation, now)?;
            record.customer_version = 1;
        }
        self.register(permit, Verb::CertificateRegister, record)
            .await
    }

    async fn register(
        &self,
        permit: crate::Permit<act::ManageCertificates>,
        verb: Verb,
        certificate: CertificateRecord,
    ) -> Result<CertificateRecord, Refusal> {
        let id = certificate.id;
        let registered = self
            .transact(permit, verb, move |txn| {
                if txn.certificate(&certificate.id)?.is_some() {
                    return Err(Refusal::new(
                        RefusalKind::AlreadyExists,
                        "certificate.exists",
                        format!(
                            "the certificate is already registered as {}",
                            certificate.id
                        ),
                    ));
                }
                txn.put_certificate(&certificate)?;
                Ok(certificate)
            })
            .await?;
        self.registry_changed(&Changed::Certificate(id));
        Ok(registered)
    }

    /// The certificate `id`.
    ///
    /// # Errors
    ///
    /// `certificate.not-found`.
    pub fn certificate(
        &self,
        caller: &Caller,
        id: &CertificateId,
    ) -> Result<CertificateRecord, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, &id.to_string())?;
        self.0.store.read(|txn| find_certificate(txn, id))
    }

    /// Changes whether the certificate `id` is trusted. Live connections of one that is not end
    /// before this returns.
    ///
    /// # Errors
    ///
    /// `certificate.not-found`, and as [`CertificateRecord::set_status`].
    pub async fn set_certificate_status(
        &self,
        caller: &Caller,
        id: &CertificateId,
        status: CertificateStatus,
    ) -> Result<CertificateRecord, Refusal> {
        let permit = self.authorize::<act::ManageCertificates>(caller, &id.to_string())?;
        let (now, generation, id) = (self.now(), new_uuid(), *id);
        let verb = match status {
            CertificateStatus::Active => Verb::CertificateActivate,
            CertificateStatus::Inactive => Verb::CertificateDeactivate,
            CertificateStatus::Revoked => Verb::CertificateRevoke,
            CertificateStatus::PendingTransfer
            | CertificateStatus::RegisterInactive
            | CertificateStatus::PendingActivation => Verb::CertificateUpdate,
        };
        let certificate = self
            .transact(permit, verb, move |txn| {
                let mut certificate = find_certificate(txn, &id)?;
                certificate.set_status(status, generation, now)?;
                txn.put_certificate(&certificate)?;
                Ok::<_, Refusal>(certificate)
            })
            .await?;
        self.registry_changed(&Changed::Certificate(id));
        Ok(certificate)
    }

    /// Removes the certificate `id`; with `force`, its policies are detached first.
    ///
    /// # Errors
    ///
    /// `certificate.not-found`, and as [`CertificateRecord::check_delete`].
    pub async fn delete_certificate(
        &self,
        caller: &Caller,
        id: &CertificateId,
        force: bool,
    ) -> Result<(), Refusal> {
        let permit = self.authorize::<act::ManageCertificates>(caller, &id.to_string())?;
        let id = *id;
        self.transact(permit, Verb::CertificateDelete, move |txn| {
            let certificate = find_certificate(txn, &id)?;
            let target = PolicyTarget::Certificate(id);
            let devices = txn.devices_of_principal(&Principal::Certificate(id))?.len();
            let policies = txn.policies_of_target(&target)?.len();
            certificate.check_delete(devices, policies, force)?;
            txn.detach_all_policies(&target)?;
            Ok::<_, Refusal>(txn.delete_certificate(&id)?)
        })
        .await?;
        self.registry_changed(&Changed::Certificate(id));
        Ok(())
    }

    /// The certificates, or those registered with the CA `of_ca`, by age.
    ///
    /// # Errors
    ///
    /// `page.token`, `page.limit`.
    pub fn certificates(
        &self,
        caller: &Caller,
        of_ca: Option<&CertificateId>,
        order: Order,
        page: &PageRequest,
    ) -> Result<Page<CertificateRecord>, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, "certificates")?;
        let limit = page.limit()?;
        let after = page.after()?.map(|key| place(&key)).transpose()?;
        let found = self
            .0
            .store
            .read(|txn| Ok::<_, Refusal>(txn.certificates(of_ca, order, after, limit + 1)?))?;
        Ok(Page::of(found, limit, |certificate| {
            format!("{} {}", certificate.created_at.millis(), certificate.id)
        }))
    }
}

/// Reads the place of a certificate in a list.
pub(crate) fn place(key: &str) -> Result<CertificatePlace, Refusal> {
    let parse = || -> Option<CertificatePlace> {
        let (millis, id) = key.split_once(' ')?;
        Some((
            Timestamp::from_millis(millis.parse().ok()?),
            id.parse().ok()?,
        ))
    };
    parse().ok_or_else(|| {
        Refusal::malformed(
            "page.token",
            "the token is not one this list has handed out; begin again without one",
        )
    })
}

pub(crate) fn find_certificate(
    txn: &ReadTxn<'_>,
    id: &CertificateId,
) -> Result<CertificateRecord, Refusal> {
    txn.certificate(id)?.ok_or_else(|| {
        let message = format!("certificate {id} does not exist");
        Refusal::not_found("certificate.not-found", message)
    })
}

/// Makes a key and certifies it.
pub(crate) async fn identity_for(
    hub: &Hub,
    common_name: &str,
    key: ca::DeviceKey,
    now: Timestamp,
) -> Result<ca::DeviceIdentity, Refusal> {
    identity_until(hub, common_name, key, now, ISSUED_UNTIL).await
}

/// The same for a certificate that ends at `until`.
pub(crate) async fn identity_until(
    hub: &Hub,
    common_name: &str,
    key: ca::DeviceKey,
    now: Timestamp,
    until: Timestamp,
) -> Result<ca::DeviceIdentity, Refusal> {
    let (hub, subject) = (hub.clone(), ca::Subject::common_name(common_name));
    // An RSA key takes a good part of a second.
    tokio::task::spawn_blocking(move || {
        let since = now.before(ISSUED_SINCE);
        hub.0.authority.issue_device(&subject, key, since, until)
    })
    .await
    .map_err(|error| not_issued(&error))?
    .map_err(|error| not_issued(&error))
}

pub(crate) fn new_record(
    certificate: &x509::Certificate,
    status: CertificateStatus,
    now: Timestamp,
) -> CertificateRecord {
    CertificateRecord {
        id: certificate.id(),
        pem: x509::certificate_to_pem(certificate.der()),
        status,
        ca_id: None,
        validity: Validity {
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
        },
        customer_version: 1,
        generation_id: new_uuid(),
        created_at: now,
        modified_at: now,
    }
}

fn not_issued(error: &dyn std::fmt::Display) -> Refusal {
    tracing::error!(%error, "a certificate was not issued");
    Refusal::internal("no certificate could be issued; the operator's log says why")
}
