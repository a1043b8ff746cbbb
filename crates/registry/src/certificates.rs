//! A client certificate: who a device proves to be.

use std::str::FromStr;

use model::{CertificateId, Refusal, RefusalKind, Timestamp};

/// Whether a certificate is trusted.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CertificateStatus {
    /// Trusted.
    Active,
    /// Not trusted now.
    Inactive,
    /// Not trusted any more.
    Revoked,
    /// Offered to another owner.
    PendingTransfer,
    /// Registered on first sight and waiting for an operator; an old spelling.
    RegisterInactive,
    /// Registered on first sight and waiting for an operator.
    PendingActivation,
}

impl CertificateStatus {
    /// All, in the order of their declaration.
    pub const ALL: [Self; 6] = [
        Self::Active,
        Self::Inactive,
        Self::Revoked,
        Self::PendingTransfer,
        Self::RegisterInactive,
        Self::PendingActivation,
    ];

    /// Its name, as it is stored and as AWS spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Inactive => "INACTIVE",
            Self::Revoked => "REVOKED",
            Self::PendingTransfer => "PENDING_TRANSFER",
            Self::RegisterInactive => "REGISTER_INACTIVE",
            Self::PendingActivation => "PENDING_ACTIVATION",
        }
    }
}

impl FromStr for CertificateStatus {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| {
                Refusal::malformed(
                    "certificate.status",
                    format!("{text:?} is not the status of a certificate"),
                )
            })
    }
}

/// The time a certificate says it is good for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    /// From here.
    pub not_before: Timestamp,
    /// To here.
    pub not_after: Timestamp,
}

/// A certificate as the registry knows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateRecord {
    /// SHA-256 of its DER encoding.
    pub id: CertificateId,
    /// The certificate itself.
    pub pem: String,
    /// Whether it is trusted.
    pub status: CertificateStatus,
    /// The registered CA it was signed by, when it was registered with one.
    pub ca_id: Option<CertificateId>,
    /// What it says about its validity.
    pub validity: Validity,
    /// Counts the changes of its status, from 1.
    pub customer_version: u32,
    /// A UUID, new with every change of its status.
    pub generation_id: String,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When its status was changed last.
    pub modified_at: Timestamp,
}

impl CertificateRecord {
    /// Changes the status. Setting the present status again succeeds.
    ///
    /// # Errors
    ///
    /// `certificate.transition`: nobody may set `PENDING_TRANSFER` or `PENDING_ACTIVATION`, and a
    /// certificate that is being transferred waits for the transfer.
    pub fn set_status(
        &mut self,
        status: CertificateStatus,
        generation_id: String,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let may_be_set = match status {
            CertificateStatus::Active
            | CertificateStatus::Inactive
            | CertificateStatus::Revoked
            | CertificateStatus::RegisterInactive => true,
            CertificateStatus::PendingTransfer | CertificateStatus::PendingActivation => false,
        };
        if !may_be_set {
            return Err(Refusal::malformed(
                "certificate.transition",
                format!("a certificate cannot be set to {}", status.as_str()),
            ));
        }
        if self.status == CertificateStatus::PendingTransfer {
            return Err(Refusal::malformed(
                "certificate.transition",
                format!("certificate {} is being transferred", self.id),
            ));
        }
        self.status = status;
        self.customer_version += 1;
        self.generation_id = generation_id;
        self.modified_at = now;
        Ok(())
    }

    /// Whether it may be deleted: not active, without devices, and without policies unless `force`
    /// takes those away too.
    ///
    /// # Errors
    ///
    /// `certificate.active`, `certificate.attached`.
    pub fn check_delete(
        &self,
        devices: usize,
        policies: usize,
        force: bool,
    ) -> Result<(), Refusal> {
        if self.status == CertificateStatus::Active {
            return Err(Refusal::new(
                RefusalKind::Conflict,
                "certificate.active",
                format!(
                    "certificate {} is active; set it to INACTIVE or REVOKED before deleting it",
                    self.id
                ),
            ));
        }
        if devices > 0 {
            return Err(Refusal::conflict(
                "certificate.attached",
                format!(
                    "devices must be detached before deletion: {devices} attached to certificate {}",
                    self.id
                ),
            ));
        }
        if policies > 0 && !force {
            return Err(Refusal::conflict(
                "certificate.attached",
                format!(
                    "policies must be detached before deletion, or force it: {policies} attached \
                     to certificate {}",
                    self.id
                ),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(status: CertificateStatus) -> CertificateRecord {
        CertificateRecord {
            id: CertificateId::from_sha256([1; 32]),
            pem: String::new(),
            status,
            ca_id: None,
            validity: Validity {
                not_before: Timestamp::default(),
                not_after: Timestamp::default(),
            },
            customer_version: 1,
            generation_id: "g".into(),
            created_at: Timestamp::default(),
            modified_at: Timestamp::default(),
        }
    }

    #[test]
    fn only_these_changes_of_status_are_allowed() {
        use CertificateStatus as S;
        for from in S::ALL {
            for to in S::ALL {
                let allowed = from != S::PendingTransfer
                    && !matches!(to, S::PendingTransfer | S::PendingActivation);
                let mut record = certificate(from);
                let done = record.set_status(to, "h".into(), Timestamp::from_millis(1));
                assert_eq!(done.is_ok(), allowed, "{from:?} to {to:?}");
                let expected = if allowed { to } else { from };
                assert_eq!(record.status, expected);
            }
        }
    }

    #[test]
    fn a_status_reads_what_it_prints() {
        for status in CertificateStatus::ALL {
            assert_eq!(
                status.as_str().parse::<CertificateStatus>().unwrap(),
                status
            );
        }
        assert!("active".parse::<CertificateStatus>().is_err());
    }

    #[test]
    fn a_certificate_in_use_stays() {
        use CertificateStatus as S;
        for (status, devices, policies, force, reason) in [
            (S::Active, 0, 0, true, Some("certificate.active")),
            (S::Inactive, 1, 0, true, Some("certificate.attached")),
            (S::Revoked, 0, 1, false, Some("certificate.attached")),
            (S::Revoked, 0, 1, true, None),
            (S::PendingActivation, 0, 0, false, None),
        ] {
            let refusal = certificate(status)
                .check_delete(devices, policies, force)
                .err();
            assert_eq!(refusal.map(|refusal| refusal.reason.0), reason);
        }
    }
}
