//! What can be done: the verbs this version writes.
//!
//! Entries hold the name, so that an older binary reads what a newer one wrote.

use std::{fmt, str::FromStr};

macro_rules! verbs {
    ($($(#[$doc:meta])+ $verb:ident = $name:literal,)+) => {
        /// A verb this version writes. Its name is `NOUN.VERB` and never changes its meaning.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Verb {
            $($(#[$doc])+ $verb,)+
        }

        impl Verb {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$verb),+];

            /// The name that stands in entries.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$verb => $name,)+
                }
            }
        }
    };
}

verbs! {
    /// A device was registered.
    DeviceCreate = "device.create",
    /// A device's type or attributes were changed.
    DeviceUpdate = "device.update",
    /// A device was deleted, with its attachments, memberships, tags and shadows.
    DeviceDelete = "device.delete",
    /// A device's certificates were made active.
    DeviceEnable = "device.enable",
    /// A device's certificates were made inactive.
    DeviceDisable = "device.disable",
    /// A principal was attached to a device.
    DeviceAttach = "device.attach",
    /// A principal was detached from a device.
    DeviceDetach = "device.detach",
    /// The hub's authority issued a certificate.
    CertificateCreate = "certificate.create",
    /// A certificate of another authority was registered.
    CertificateRegister = "certificate.register",
    /// A certificate was changed in another way than its status.
    CertificateUpdate = "certificate.update",
    /// A certificate became active.
    CertificateActivate = "certificate.activate",
    /// A certificate became inactive.
    CertificateDeactivate = "certificate.deactivate",
    /// A certificate was revoked.
    CertificateRevoke = "certificate.revoke",
    /// A certificate was deleted.
    CertificateDelete = "certificate.delete",
    /// A certificate authority of the operator's own was registered.
    CaRegister = "ca.register",
    /// A certificate authority was changed.
    CaUpdate = "ca.update",
    /// A certificate authority was deleted.
    CaDelete = "ca.delete",
    /// A device was provisioned by a template, with all that belongs to it.
    DeviceProvision = "device.provision",
    /// A provisioning template was created, with its first version.
    TemplateCreate = "template.create",
    /// A provisioning template was changed.
    TemplateUpdate = "template.update",
    /// A provisioning template was deleted.
    TemplateDelete = "template.delete",
    /// A provisioning template got another version.
    TemplateVersionCreate = "template.version-create",
    /// A version of a provisioning template was deleted.
    TemplateVersionDelete = "template.version-delete",
    /// A policy was created, with its first version.
    PolicyCreate = "policy.create",
    /// A policy was deleted.
    PolicyDelete = "policy.delete",
    /// A policy got another version.
    PolicyVersionCreate = "policy.version-create",
    /// A version of a policy was deleted.
    PolicyVersionDelete = "policy.version-delete",
    /// Another version of a policy became the one in force.
    PolicyVersionDefault = "policy.version-default",
    /// A policy was attached to a principal or group.
    PolicyAttach = "policy.attach",
    /// A policy was detached from a principal or group.
    PolicyDetach = "policy.detach",
    /// A type was created.
    TypeCreate = "type.create",
    /// A type was changed.
    TypeUpdate = "type.update",
    /// A type was deprecated.
    TypeDeprecate = "type.deprecate",
    /// A type's deprecation was undone.
    TypeUndeprecate = "type.undeprecate",
    /// A type was deleted.
    TypeDelete = "type.delete",
    /// A group was created.
    GroupCreate = "group.create",
    /// A group was changed.
    GroupUpdate = "group.update",
    /// A group was deleted.
    GroupDelete = "group.delete",
    /// A device was put into a group.
    GroupAdd = "group.add",
    /// A device was taken out of a group.
    GroupRemove = "group.remove",
    /// A tag was set.
    TagSet = "tag.set",
    /// A tag was removed.
    TagRemove = "tag.remove",
    /// The desired section of a shadow was changed.
    ShadowDesired = "shadow.desired",
    /// A shadow was deleted.
    ShadowDelete = "shadow.delete",
    /// A setting of the hub was changed.
    SettingUpdate = "setting.update",
    /// Which lifecycle events are published was changed.
    EventsConfigure = "events.configure",
    /// An operator ended a client's connection.
    ConnectionEnd = "connection.end",
    /// The hub started.
    HubStart = "hub.start",
    /// The hub started with another configuration than before.
    HubConfigure = "hub.configure",
    /// Everything was removed, in a hub in development.
    HubReset = "hub.reset",
    /// The hub was restored from a backup.
    HubRestore = "hub.restore",
    /// A backup was made.
    HubBackup = "hub.backup",
    /// The ledger's first entry.
    LedgerBegin = "ledger.begin",
    /// What stood in the registry before the ledger began.
    LedgerAdopt = "ledger.adopt",
    /// The clock was set back, and the operator accepts it.
    LedgerClock = "ledger.clock",
    /// The ledger got another key.
    LedgerKeyAdd = "ledger.key-add",
    /// A key of the ledger is used no more.
    LedgerKeyRetire = "ledger.key-retire",
    /// Salts were erased, and with them the personal data behind their hashes.
    LedgerErase = "ledger.erase",
    /// The ledger was exported.
    LedgerExport = "ledger.export",
}

/// This version does not write the verb; a newer one may.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("this version does not know the verb")]
pub struct UnknownVerb;

impl FromStr for Verb {
    type Err = UnknownVerb;

    fn from_str(name: &str) -> Result<Self, UnknownVerb> {
        let known = Self::ALL.iter().find(|verb| verb.name() == name);
        known.copied().ok_or(UnknownVerb)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Verb> for String {
    fn from(verb: Verb) -> Self {
        verb.name().to_owned()
    }
}

#[test]
fn names_are_distinct_and_fit_their_bound() {
    for (at, verb) in Verb::ALL.iter().enumerate() {
        assert_eq!(verb.name().parse(), Ok(*verb));
        assert!(verb.name().len() <= model::limits::LEDGER_NAME_BYTES);
        assert!(verb.name().split('.').count() == 2, "{verb}");
        assert!(
            Verb::ALL[..at]
                .iter()
                .all(|other| other.name() != verb.name())
        );
    }
    assert_eq!("device.dream".parse::<Verb>(), Err(UnknownVerb));
}
