//! A certificate authority of the operator's own: devices that bring its certificates may be
//! registered, on request or at first sight.

use std::str::FromStr;

use model::{CertificateId, Refusal, RefusalKind, Timestamp, limits};

use crate::Validity;

/// Whether new certificates of an authority are taken.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum CaStatus {
    /// They are.
    Active,
    /// They are not. Devices that are registered already are not affected.
    #[default]
    Inactive,
}

/// Whether a certificate of an authority is registered when it is first seen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum AutoRegistration {
    /// It is.
    Enabled,
    /// It is not.
    #[default]
    Disabled,
}

/// How it was proved that an authority is the operator's.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum CaMode {
    /// By a certificate over the registration code.
    #[default]
    Default,
    /// Not at all: its devices must name the hub in SNI.
    SniOnly,
}

/// A word in lists, as AWS spells it.
macro_rules! words {
    ($name:ident, $what:literal, $reason:literal, $($variant:ident $word:literal)*) => {
        impl $name {
            /// The word, as it is stored and as AWS spells it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl FromStr for $name {
            type Err = Refusal;

            fn from_str(text: &str) -> Result<Self, Refusal> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(Refusal::malformed(
                        $reason,
                        format!(concat!("{:?} is not ", $what), text),
                    )),
                }
            }
        }
    };
}

words!(CaStatus, "the status of a CA certificate", "ca.status", Active "ACTIVE" Inactive "INACTIVE");
words!(AutoRegistration, "an auto-registration status", "ca.status", Enabled "ENABLE" Disabled "DISABLE");
words!(CaMode, "a certificate mode", "ca.status", Default "DEFAULT" SniOnly "SNI_ONLY");

/// What is done for a device when its certificate is first seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RegistrationConfig {
    /// The provisioning template, if any.
    pub template: Option<TemplateSource>,
    /// The role that the template runs as on AWS; kept and told, not used.
    pub role: Option<String>,
}

/// Where a provisioning template stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TemplateSource {
    /// Here.
    Body(String),
    /// Among the hub's templates, under this name.
    Name(String),
}

/// An authority as the registry knows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CaRecord {
    /// SHA-256 of its certificate's DER encoding.
    pub id: CertificateId,
    /// The certificate.
    pub pem: String,
    /// The subject, DER: the issuer of its certificates.
    pub subject: Vec<u8>,
    /// Whether new certificates are taken.
    pub status: CaStatus,
    /// Whether they are registered at first sight.
    pub auto_registration: AutoRegistration,
    /// How it was proved to be the operator's.
    pub mode: CaMode,
    /// What is done at first sight.
    pub registration: Option<RegistrationConfig>,
    /// What it says about its validity.
    pub validity: Validity,
    /// Counts its changes, from 1.
    pub customer_version: u32,
    /// A UUID, new with every change.
    pub generation_id: String,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub modified_at: Timestamp,
}

/// What an operator wants of an authority.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CaChange {
    /// Whether new certificates are taken; `None` leaves it.
    pub status: Option<CaStatus>,
    /// Whether they are registered at first sight; `None` leaves it.
    pub auto_registration: Option<AutoRegistration>,
    /// What is done at first sight: `Some(None)` takes it away, `None` leaves it.
    pub registration: Option<Option<RegistrationConfig>>,
}

impl CaRecord {
    /// Makes `change`.
    pub fn apply(&mut self, change: CaChange, generation_id: String, now: Timestamp) {
        if let Some(status) = change.status {
            self.status = status;
        }
        if let Some(auto_registration) = change.auto_registration {
            self.auto_registration = auto_registration;
        }
        if let Some(registration) = change.registration {
            self.registration = registration;
        }
        self.customer_version += 1;
        self.generation_id = generation_id;
        self.modified_at = now;
    }

    /// The template that is carried out when one of its certificates is first seen.
    #[must_use]
    pub fn template(&self) -> Option<&TemplateSource> {
        self.registration.as_ref()?.template.as_ref()
    }

    /// Whether it may be deleted: not active.
    ///
    /// # Errors
    ///
    /// `ca.active`.
    pub fn check_delete(&self) -> Result<(), Refusal> {
        match self.status {
            CaStatus::Inactive => Ok(()),
            CaStatus::Active => Err(Refusal::conflict(
                "ca.active",
                format!(
                    "CA certificate {} is active; set it to INACTIVE before deleting it",
                    self.id
                ),
            )),
        }
    }

    /// Whether another authority of the same subject may be registered beside `present` ones.
    ///
    /// # Errors
    ///
    /// `ca.same-subject`.
    pub fn check_beside(present: usize) -> Result<(), Refusal> {
        if present < limits::CAS_PER_SUBJECT {
            return Ok(());
        }
        Err(Refusal::new(
            RefusalKind::TooMany,
            "ca.same-subject",
            format!(
                "at most {} CA certificates have the same subject; delete one",
                limits::CAS_PER_SUBJECT
            ),
        ))
    }
}

#[test]
fn words_read_what_they_print() {
    for status in [CaStatus::Active, CaStatus::Inactive] {
        assert_eq!(status.as_str().parse::<CaStatus>().unwrap(), status);
    }
    for mode in [CaMode::Default, CaMode::SniOnly] {
        assert_eq!(mode.as_str().parse::<CaMode>().unwrap(), mode);
    }
    for auto in [AutoRegistration::Enabled, AutoRegistration::Disabled] {
        assert_eq!(auto.as_str().parse::<AutoRegistration>().unwrap(), auto);
    }
    let refusal = "active".parse::<CaStatus>().unwrap_err();
    assert_eq!(refusal.reason.0, "ca.status");
}

#[test]
fn only_so_many_authorities_share_a_subject() {
    assert!(CaRecord::check_beside(limits::CAS_PER_SUBJECT - 1).is_ok());
    let refusal = CaRecord::check_beside(limits::CAS_PER_SUBJECT).unwrap_err();
    assert_eq!(refusal.reason.0, "ca.same-subject");
}
