//! Provisioning templates and their versions.

use ledger::Verb;
use model::{Refusal, RefusalKind, TemplateName};
use provisioning::{Kind, Template, TemplateError};
use registry::{TemplateChange, TemplateKind, TemplateRecord, TemplateVersion};
use store::ReadTxn;

use crate::{Caller, Hub, Page, PageRequest, act};

/// A template to be created.
#[derive(Clone, Debug)]
pub struct NewTemplate {
    /// Its name.
    pub name: TemplateName,
    /// What it is for.
    pub kind: TemplateKind,
    /// For people.
    pub description: String,
    /// Whether devices may be provisioned by it.
    pub enabled: bool,
    /// The role that it runs as on AWS.
    pub role: String,
    /// The text of its first version.
    pub body: String,
}

impl Hub {
    /// Creates a template with its first version.
    ///
    /// # Errors
    ///
    /// `template.malformed` with the place, `template.exists`, `template.description`.
    pub async fn create_template(
        &self,
        caller: &Caller,
        new: NewTemplate,
    ) -> Result<TemplateRecord, Refusal> {
        let permit = self.authorize::<act::ManageTemplates>(caller, new.name.as_str())?;
        parse(&new.body, new.kind)?;
        TemplateRecord::check_description(&new.description)?;
        let now = self.now();
        let mut template = TemplateRecord {
            name: new.name,
            kind: new.kind,
            description: new.description,
            enabled: new.enabled,
            role: new.role,
            default_version: 1,
            next_version: 1,
            created_at: now,
            modified_at: now,
        };
        let version = template.add_version(new.body, true, 0, now)?;
        self.transact(permit, Verb::TemplateCreate, move |txn| {
            if txn.template(&template.name)?.is_some() {
                return Err(Refusal::new(
                    RefusalKind::AlreadyExists,
                    "template.exists",
                    format!(
                        "template {} already exists; create a version of it instead",
                        template.name
                    ),
                ));
            }
            txn.put_template(&template)?;
            txn.put_template_version(&template.name, &version)?;
            Ok(template)
        })
        .await
    }

    /// The template `name` with the version that counts.
    ///
    /// # Errors
    ///
    /// `template.not-found`.
    pub fn template(
        &self,
        caller: &Caller,
        name: &TemplateName,
    ) -> Result<(TemplateRecord, TemplateVersion), Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, name.as_str())?;
        self.0.store.read(|txn| in_force(txn, name))
    }

    /// Changes the template `name`.
    ///
    /// # Errors
    ///
    /// `template.not-found`, `template.no-version`, `template.description`.
    pub async fn update_template(
        &self,
        caller: &Caller,
        name: &TemplateName,
        change: TemplateChange,
    ) -> Result<(), Refusal> {
        let permit = self.authorize::<act::ManageTemplates>(caller, name.as_str())?;
        let (name, now) = (name.clone(), self.now());
        self.transact(permit, Verb::TemplateUpdate, move |txn| {
            let mut template = find_template(txn, &name)?;
            if let Some(version) = change.default_version {
                find_version(txn, &name, version)?;
            }
            template.apply(change, now)?;
            Ok::<_, Refusal>(txn.put_template(&template)?)
        })
        .await
    }

    /// Removes the template `name` with its versions.
    ///
    /// # Errors
    ///
    /// `template.not-found`.
    pub async fn delete_template(
        &self,
        caller: &Caller,
        name: &TemplateName,
    ) -> Result<(), Refusal> {
        let permit = self.authorize::<act::ManageTemplates>(caller, name.as_str())?;
        let name = name.clone();
        self.transact(permit, Verb::TemplateDelete, move |txn| {
            find_template(txn, &name)?;
            Ok::<_, Refusal>(txn.delete_template(&name)?)
        })
        .await
    }

    /// The templates, by name.
    ///
    /// # Errors
    ///
    /// `page.token`, `page.limit`.
    pub fn templates(
        &self,
        caller: &Caller,
        page: &PageRequest,
    ) -> Result<Page<TemplateRecord>, Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, "provisioning templates")?;
        let (after, limit) = (page.after()?, page.limit()?);
        let found = self
            .0
            .store
            .read(|txn| Ok::<_, Refusal>(txn.templates(after.as_deref(), limit + 1)?))?;
        Ok(Page::of(found, limit, |template| template.name.to_string()))
    }

    /// Adds a version to the template `name`.
    ///
    /// # Errors
    ///
    /// `template.malformed` with the place, `template.not-found`, `template.versions`.
    pub async fn create_template_version(
        &self,
        caller: &Caller,
        name: &TemplateName,
        body: String,
        is_default: bool,
    ) -> Result<TemplateVersion, Refusal> {
        let permit = self.authorize::<act::ManageTemplates>(caller, name.as_str())?;
        let (name, now) = (name.clone(), self.now());
        self.transact(permit, Verb::TemplateVersionCreate, move |txn| {
            let mut template = find_template(txn, &name)?;
            parse(&body, template.kind)?;
            let present = txn.template_versions(&name)?.len();
            let version = template.add_version(body, is_default, present, now)?;
            txn.put_template(&template)?;
            txn.put_template_version(&name, &version)?;
            Ok::<_, Refusal>(version)
        })
        .await
    }

    /// A version of the template `name`, and whether it is the one that counts.
    ///
    /// # Errors
    ///
    /// `template.not-found`, `template.no-version`.
    pub fn template_version(
        &self,
        caller: &Caller,
        name: &TemplateName,
        version: u32,
    ) -> Result<(TemplateVersion, bool), Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, name.as_str())?;
        self.0.store.read(|txn| {
            let template = find_template(txn, name)?;
            let found = find_version(txn, name, version)?;
            Ok((found, template.default_version == version))
        })
    }

    /// The template `name` and its versions, oldest first.
    ///
    /// # Errors
    ///
    /// `template.not-found`, `page.token`, `page.limit`.
    pub fn template_versions(
        &self,
        caller: &Caller,
        name: &TemplateName,
        page: &PageRequest,
    ) -> Result<(TemplateRecord, Page<TemplateVersion>), Refusal> {
        let _permit = self.authorize::<act::ReadRegistry>(caller, name.as_str())?;
        let (template, versions) = self.0.store.read(|txn| {
            let template = find_template(txn, name)?;
            Ok::<_, Refusal>((template, txn.template_versions(name)?))
        })?;
        let versions = Page::cut(versions, page, |version| format!("{:010}", version.version))?;
        Ok((template, versions))
    }

    /// Removes a version of the template `name` that does not count.
    ///
    /// # Errors
    ///
    /// `template.not-found`, `template.no-version`, `template.default-version`.
    pub async fn delete_template_version(
        &self,
        caller: &Caller,
        name: &TemplateName,
        version: u32,
    ) -> Result<(), Refusal> {
        let permit = self.authorize::<act::ManageTemplates>(caller, name.as_str())?;
        let name = name.clone();
        self.transact(permit, Verb::TemplateVersionDelete, move |txn| {
            let template = find_template(txn, &name)?;
            find_version(txn, &name, version)?;
            template.check_delete_version(version)?;
            Ok::<_, Refusal>(txn.delete_template_version(&name, version)?)
        })
        .await
    }
}

/// Reads a template of this kind.
pub(crate) fn parse(body: &str, kind: TemplateKind) -> Result<Template, Refusal> {
    let kind = match kind {
        TemplateKind::Fleet => Kind::Fleet,
        TemplateKind::JustInTime => Kind::JustInTime,
    };
    Template::parse(body, kind).map_err(unusable)
}

/// Why a template cannot be used, as a refusal.
pub(crate) fn unusable(error: TemplateError) -> Refusal {
    match error {
        TemplateError::Invalid { .. } => {
            Refusal::malformed("template.malformed", error.to_string())
        }
        TemplateError::Missing { .. } => {
            Refusal::malformed("template.parameter", error.to_string())
        }
    }
}

pub(crate) fn find_template(
    txn: &ReadTxn<'_>,
    name: &TemplateName,
) -> Result<TemplateRecord, Refusal> {
    txn.template(name)?.ok_or_else(|| {
        let message = format!("provisioning template {name} does not exist");
        Refusal::not_found("template.not-found", message)
    })
}

fn find_version(
    txn: &ReadTxn<'_>,
    name: &TemplateName,
    version: u32,
) -> Result<TemplateVersion, Refusal> {
    txn.template_version(name, version)?.ok_or_else(|| {
        let message = format!("provisioning template {name} has no version {version}");
        Refusal::not_found("template.no-version", message)
    })
}

/// The template `name` with the version that counts.
pub(crate) fn in_force(
    txn: &ReadTxn<'_>,
    name: &TemplateName,
) -> Result<(TemplateRecord, TemplateVersion), Refusal> {
    let template = find_template(txn, name)?;
    let version = find_version(txn, name, template.default_version)?;
    Ok((template, version))
}
