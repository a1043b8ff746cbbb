//! What a device, a group, a type, a policy and a certificate are, and which changes to them make
//! sense.
//!
//! Records and rules only: everything is a pure function of its arguments. `store` keeps the
//! records, `hub` asks these rules inside its transactions. A rule that is broken is told as a
//! [`model::Refusal`] whose reason id is named in the rule's documentation.

mod attachments;
mod attributes;
mod ca_certificates;
mod certificates;
mod devices;
mod event_configurations;
mod groups;
mod policies;
mod tags;
mod templates;
mod types;

pub use attachments::{Attachment, AttachmentKind, PolicyTarget, Principal};
pub use attributes::{AttributeChange, Attributes};
pub use ca_certificates::{
    AutoRegistration, CaChange, CaMode, CaRecord, CaStatus, RegistrationConfig, TemplateSource,
};
pub use certificates::{CertificateRecord, CertificateStatus, Validity};
pub use devices::{DeviceChange, DeviceRecord};
pub use event_configurations::{EventConfigurations, EventFamily};
pub use groups::{GroupChange, GroupRecord};
pub use policies::{PolicyRecord, PolicyVersion, check_policy_attachment};
pub use tags::{Resource, TagChange, Tags};
pub use templates::{TemplateChange, TemplateKind, TemplateRecord, TemplateVersion};
pub use types::{DEPRECATED_BEFORE_DELETE, TypeChange, TypeRecord};

use model::Refusal;

/// The version of a record: starts at 1, one more with every change.
pub type Version = u64;

/// Refuses a change that was made for another version than the current one.
fn check_version(
    reason: &'static str,
    what: &str,
    expected: Option<Version>,
    current: Version,
) -> Result<(), Refusal> {
    match expected {
        Some(expected) if expected != current => Err(Refusal::conflict(
            reason,
            format!(
                "{what} is at version {current}, the request expects {expected}; read it again"
            ),
        )),
        Some(_) | None => Ok(()),
    }
}

/// Refuses a description longer than [`model::limits::DESCRIPTION_BYTES`].
fn check_description(description: &str) -> Result<(), Refusal> {
    let limit = model::limits::DESCRIPTION_BYTES;
    if description.len() > limit {
        return Err(Refusal::malformed(
            "registry.description",
            format!(
                "a description has at most {limit} bytes, this has {}",
                description.len()
            ),
        ));
    }
    Ok(())
}
