//! Provisioning templates, and `RegisterThing`.

use std::collections::BTreeMap;

use hub::{NewTemplate, Provisioned};
use model::{Refusal, RefusalKind, TemplateName};
use registry::{TemplateChange, TemplateKind, TemplateRecord, TemplateVersion};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    arn::{Kind, Place},
    call::{Call, Outcome, Reply, parse},
    page::Paging,
    things::exists,
};
use crate::topics::{AWS, ISSUED_COMMON_NAME};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Create {
    template_name: String,
    template_body: String,
    provisioning_role_arn: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    enabled: bool,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    pre_provisioning_hook: Option<Value>,
    #[serde(default)]
    tags: Vec<Value>,
}

fn not_yet(what: &str) -> Refusal {
    Refusal::new(
        RefusalKind::Unsupported,
        "aws.not-implemented",
        format!("{what} not implemented by this hub yet"),
    )
}

const HOOKS: &str = "pre-provisioning hooks are";

/// `CreateProvisioningTemplate`.
pub(crate) async fn create(call: &Call<'_>) -> Outcome {
    let body: Create = call.json()?;
    if body.pre_provisioning_hook.is_some() {
        return Err(not_yet(HOOKS).into());
    }
    if !body.tags.is_empty() {
        return Err(not_yet("tags of provisioning templates are").into());
    }
    let name: TemplateName = parse(&body.template_name)?;
    let new = NewTemplate {
        name: name.clone(),
        kind: body
            .kind
            .as_deref()
            .map(parse::<TemplateKind>)
            .transpose()?
            .unwrap_or_default(),
        description: body.description,
        enabled: body.enabled,
        role: body.provisioning_role_arn,
        body: body.template_body,
    };
    match call.hub.create_template(call.caller, new).await {
        Ok(template) => {
            let mut answer = named(&call.place, &template.name);
            answer["defaultVersionId"] = json!(template.default_version);
            Ok(Reply::json(&answer))
        }
        Err(refusal) if refusal.kind == RefusalKind::AlreadyExists => Err(exists(
            refusal,
            &call.place,
            Kind::ProvisioningTemplate,
            name.as_str(),
        )),
        Err(refusal) => Err(refusal.into()),
    }
}

fn named(place: &Place, name: &TemplateName) -> Value {
    json!({
        "templateArn": place.arn(Kind::ProvisioningTemplate, name),
        "templateName": name.as_str(),
    })
}

fn summary(place: &Place, template: &TemplateRecord) -> Value {
    let mut body = named(place, &template.name);
    body["description"] = json!(template.description);
    body["creationDate"] = json!(template.created_at.fractional_seconds());
    body["lastModifiedDate"] = json!(template.modified_at.fractional_seconds());
    body["enabled"] = json!(template.enabled);
    body["type"] = json!(template.kind.as_str());
    body
}

/// `DescribeProvisioningTemplate`.
pub(crate) fn describe(call: &Call<'_>) -> Outcome {
    let (template, version) = call.hub.template(call.caller, &call.name(0)?)?;
    let mut body = summary(&call.place, &template);
    body["defaultVersionId"] = json!(template.default_version);
    body["templateBody"] = json!(version.body);
    body["provisioningRoleArn"] = json!(template.role);
    Ok(Reply::json(&body))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Update {
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    enabled: Option<bool>,
    #[serde(default)]
    default_version_id: Option<u32>,
    #[serde(default)]
    provisioning_role_arn: Option<String>,
    #[serde(default)]
    pre_provisioning_hook: Option<Value>,
}

/// `UpdateProvisioningTemplate`.
pub(crate) async fn update(call: &Call<'_>) -> Outcome {
    let body: Update = call.json()?;
    if body.pre_provisioning_hook.is_some() {
        return Err(not_yet(HOOKS).into());
    }
    let change = TemplateChange {
        description: body.description,
        enabled: body.enabled,
        role: body.provisioning_role_arn,
        default_version: body.default_version_id,
    };
    call.hub
        .update_template(call.caller, &call.name(0)?, change)
        .await?;
    Ok(Reply::done())
}

/// `DeleteProvisioningTemplate`.
pub(crate) async fn delete(call: &Call<'_>) -> Outcome {
    call.hub
        .delete_template(call.caller, &call.name(0)?)
        .await?;
    Ok(Reply::done())
}

/// `ListProvisioningTemplates`.
pub(crate) fn list(call: &Call<'_>) -> Outcome {
    let wanted = Paging::Tokens.request(call)?;
    let page = call.hub.templates(call.caller, &wanted)?;
    let answer =
        Paging::Tokens.answer("templates", page, |template| summary(&call.place, template));
    Ok(Reply::json(&answer))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateVersion {
    template_body: String,
}

/// `CreateProvisioningTemplateVersion`.
pub(crate) async fn create_version(call: &Call<'_>) -> Outcome {
    let body: CreateVersion = call.json()?;
    let name: TemplateName = call.name(0)?;
    let is_default = call.flag("setAsDefault")?;
    let version = call
        .hub
        .create_template_version(call.caller, &name, body.template_body, is_default)
        .await?;
    let mut answer = named(&call.place, &name);
    answer["versionId"] = json!(version.version);
    answer["isDefaultVersion"] = json!(is_default);
    Ok(Reply::json(&answer))
}

fn version_summary(version: &TemplateVersion, is_default: bool) -> Value {
    json!({
        "versionId": version.version,
        "creationDate": version.created_at.fractional_seconds(),
        "isDefaultVersion": is_default,
    })
}

/// `ListProvisioningTemplateVersions`.
pub(crate) fn list_versions(call: &Call<'_>) -> Outcome {
    let wanted = Paging::Tokens.request(call)?;
    let (template, page) = call
        .hub
        .template_versions(call.caller, &call.name(0)?, &wanted)?;
    let answer = Paging::Tokens.answer("versions", page, |version| {
        version_summary(version, version.version == template.default_version)
    });
    Ok(Reply::json(&answer))
}

/// `DescribeProvisioningTemplateVersion`.
pub(crate) fn describe_version(call: &Call<'_>) -> Outcome {
    let (version, is_default) =
        call.hub
            .template_version(call.caller, &call.name(0)?, parse(call.label(1)?)?)?;
    let mut answer = version_summary(&version, is_default);
    answer["templateBody"] = json!(version.body);
    Ok(Reply::json(&answer))
}

/// `DeleteProvisioningTemplateVersion`.
pub(crate) async fn delete_version(call: &Call<'_>) -> Outcome {
    call.hub
        .delete_template_version(call.caller, &call.name(0)?, parse(call.label(1)?)?)
        .await?;
    Ok(Reply::done())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Register {
    template_body: String,
    #[serde(default)]
    parameters: BTreeMap<String, String>,
}

/// `RegisterThing`.
pub(crate) async fn register_thing(call: &Call<'_>) -> Outcome {
    let body: Register = call.json()?;
    let made = call
        .hub
        .register_device_by_template(call.caller, &body.template_body, body.parameters)
        .await?;
    let mut answer = json!({ "resourceArns": resource_arns(&call.place, &made) });
    if let Some((_, certificate)) = &made.certificate {
        answer["certificatePem"] = json!(certificate.pem);
    }
    Ok(Reply::json(&answer))
}

/// The names of what was made, by what the template calls it.
fn resource_arns(place: &Place, made: &Provisioned) -> Value {
    let mut arns = json!({});
    if let Some((label, device)) = &made.device {
        arns[label] = json!(place.arn(Kind::Thing, &device.id));
    }
    if let Some((label, certificate)) = &made.certificate {
        arns[label] = json!(place.arn(Kind::Certificate, certificate.id));
    }
    if let Some((label, policy)) = &made.policy {
        arns[label] = json!(place.arn(Kind::Policy, policy));
    }
    arns
}

/// `CreateProvisioningClaim`.
pub(crate) async fn create_claim(call: &Call<'_>) -> Outcome {
    let name: TemplateName = call.name(0)?;
    let issued = call
        .hub
        .create_claim(
            call.caller,
            &name,
            ISSUED_COMMON_NAME,
            claim_policy(&call.place, &name),
        )
        .await?;
    let certificate = &issued.certificate;
    Ok(Reply::json(&json!({
        "certificateId": certificate.id.to_string(),
        "certificatePem": certificate.pem,
        "keyPair": {
            "PublicKey": issued.public_key_pem,
            "PrivateKey": issued.private_key.expose(),
        },
        "expiration": certificate.validity.not_after.seconds(),
    })))
}

/// What a claim may do: ask for a certificate, and for this template.
fn claim_policy(place: &Place, name: &TemplateName) -> String {
    let Place { region, account } = place;
    let arns = |kind: &str| -> Vec<String> {
        [
            "certificates/create*",
            &format!("provisioning-templates/{name}/provision/*"),
        ]
        .iter()
        .map(|tail| format!("arn:aws:iot:{region}:{account}:{kind}/{AWS}/{tail}"))
        .collect()
    };
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"},
            {
                "Effect": "Allow",
                "Action": ["iot:Publish", "iot:Receive"],
                "Resource": arns("topic"),
            },
            {"Effect": "Allow", "Action": "iot:Subscribe", "Resource": arns("topicfilter")},
        ],
    })
    .to_string()
}
