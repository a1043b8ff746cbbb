//! A provisioning template as the registry keeps it: a text in a few versions, of which one counts.
//!
//! The text is opaque here; whoever creates a version has parsed it already.

use std::str::FromStr;

use model::{Refusal, RefusalKind, TemplateName, Timestamp, limits};

/// What a template is for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TemplateKind {
    /// For devices with a claim certificate.
    #[default]
    Fleet,
    /// For devices that join by the certificate of a registered CA.
    JustInTime,
}

impl TemplateKind {
    /// Its name, as it is stored and as AWS spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fleet => "FLEET_PROVISIONING",
            Self::JustInTime => "JITP",
        }
    }
}

impl FromStr for TemplateKind {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        match text {
            "FLEET_PROVISIONING" => Ok(Self::Fleet),
            "JITP" => Ok(Self::JustInTime),
            _ => Err(Refusal::malformed(
                "template.type",
                format!("{text:?} is not the type of a provisioning template"),
            )),
        }
    }
}

/// A template, without its texts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TemplateRecord {
    /// Its name.
    pub name: TemplateName,
    /// What it is for.
    pub kind: TemplateKind,
    /// For people.
    pub description: String,
    /// Whether devices may be provisioned by it.
    pub enabled: bool,
    /// The role that it runs as on AWS; kept and told, not used.
    pub role: String,
    /// The version that counts.
    pub default_version: u32,
    /// The number of the next version; numbers are never used again.
    pub next_version: u32,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub modified_at: Timestamp,
}

/// One version of a template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TemplateVersion {
    /// Its number, from 1.
    pub version: u32,
    /// Its text.
    pub body: String,
    /// When it was created.
    pub created_at: Timestamp,
}

/// What an operator wants of a template; `None` leaves it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TemplateChange {
    /// For people.
    pub description: Option<String>,
    /// Whether devices may be provisioned by it.
    pub enabled: Option<bool>,
    /// The role.
    pub role: Option<String>,
    /// The version that counts, which exists.
    pub default_version: Option<u32>,
}

impl TemplateRecord {
    /// Refuses a description that is too long.
    ///
    /// # Errors
    ///
    /// `template.description`.
    pub fn check_description(description: &str) -> Result<(), Refusal> {
        if description.len() <= limits::TEMPLATE_DESCRIPTION_BYTES {
            return Ok(());
        }
        Err(Refusal::malformed(
            "template.description",
            format!(
                "the description of a template has at most {} bytes",
                limits::TEMPLATE_DESCRIPTION_BYTES
            ),
        ))
    }

    /// Adds a version beside `present` ones.
    ///
    /// # Errors
    ///
    /// `template.versions`.
    pub fn add_version(
        &mut self,
        body: String,
        is_default: bool,
        present: usize,
        now: Timestamp,
    ) -> Result<TemplateVersion, Refusal> {
        if present >= limits::TEMPLATE_VERSIONS {
            return Err(Refusal::new(
                RefusalKind::Conflict,
                "template.versions",
                format!(
                    "template {} has {present} versions already; delete one",
                    self.name
                ),
            ));
        }
        let version = TemplateVersion {
            version: self.next_version,
            body,
            created_at: now,
        };
        self.next_version += 1;
        if is_default {
            self.default_version = version.version;
        }
        self.modified_at = now;
        Ok(version)
    }

    /// Makes `change`.
    ///
    /// # Errors
    ///
    /// `template.description`.
    pub fn apply(&mut self, change: TemplateChange, now: Timestamp) -> Result<(), Refusal> {
        if let Some(description) = change.description {
            Self::check_description(&description)?;
            self.description = description;
        }
        self.enabled = change.enabled.unwrap_or(self.enabled);
        self.default_version = change.default_version.unwrap_or(self.default_version);
        if let Some(role) = change.role {
            self.role = role;
        }
        self.modified_at = now;
        Ok(())
    }

    /// Whether the version `version` may be deleted: it does not count.
    ///
    /// # Errors
    ///
    /// `template.default-version`.
    pub fn check_delete_version(&self, version: u32) -> Result<(), Refusal> {
        if version != self.default_version {
            return Ok(());
        }
        Err(Refusal::conflict(
            "template.default-version",
            format!(
                "version {version} of template {} is the one in force; make another one the \
                 default first",
                self.name
            ),
        ))
    }
}
