//! Which function answers which operation. Every other operation is refused by its name.

use model::{Refusal, RefusalKind};

use super::{
    ca_certificates,
    call::{Call, Outcome},
    certificates, connections, data, endpoint, event_configurations, groups,
    operations::{Operation, Service},
    policies, shadows, sts, tags, templates, things, types,
};

pub(crate) async fn dispatch(call: &Call<'_>, operation: &Operation) -> Outcome {
    match operation.service {
        Service::Iot => control_plane(call, operation).await,
        Service::IotData => data_plane(call, operation).await,
        Service::Sts => token_service(call, operation),
        Service::IotJobsData | Service::SecureTunneling => not_implemented(operation),
    }
}

async fn control_plane(call: &Call<'_>, operation: &Operation) -> Outcome {
    match operation.name {
        "CreateThing" => things::create(call).await,
        "DescribeThing" => things::describe(call),
        "UpdateThing" => things::update(call).await,
        "DeleteThing" => things::delete(call).await,
        "ListThings" => things::list(call),
        "AttachThingPrincipal" => things::attach_principal(call).await,
        "DetachThingPrincipal" => things::detach_principal(call).await,
        "ListThingPrincipals" => things::list_principals(call),
        "ListThingPrincipalsV2" => things::list_principals_v2(call),
        "ListPrincipalThings" => things::list_of_principal(call),
        "ListPrincipalThingsV2" => things::list_of_principal_v2(call),
        "GetThingConnectivityData" => connections::connectivity(call),

        "CreateThingType" => types::create(call).await,
        "DescribeThingType" => types::describe(call),
        "UpdateThingType" => types::update(call).await,
        "DeprecateThingType" => types::deprecate(call).await,
        "DeleteThingType" => types::delete(call).await,
        "ListThingTypes" => types::list(call),

        "CreateThingGroup" => groups::create(call).await,
        "DescribeThingGroup" => groups::describe(call),
        "UpdateThingGroup" => groups::update(call).await,
        "DeleteThingGroup" => groups::delete(call).await,
        "ListThingGroups" => groups::list(call),
        "AddThingToThingGroup" => groups::add_thing(call).await,
        "RemoveThingFromThingGroup" => groups::remove_thing(call).await,
        "UpdateThingGroupsForThing" => groups::update_for_thing(call).await,
        "ListThingsInThingGroup" => groups::list_things(call),
        "ListThingGroupsForThing" => groups::list_for_thing(call),

        "TagResource" => tags::tag(call).await,
        "UntagResource" => tags::untag(call).await,
        "ListTagsForResource" => tags::list(call),

        "CreateKeysAndCertificate" => certificates::create_with_keys(call).await,
        "CreateCertificateFromCsr" => certificates::create_from_csr(call).await,
        "RegisterCertificate" => certificates::register(call).await,
        "RegisterCertificateWithoutCA" => certificates::register_without_ca(call).await,
        "DescribeCertificate" => certificates::describe(call),
        "UpdateCertificate" => certificates::update(call).await,
        "DeleteCertificate" => certificates::delete(call).await,
        "ListCertificates" => certificates::list(call),
        "ListCertificatesByCA" => certificates::list_by_ca(call),

        "GetRegistrationCode" => ca_certificates::registration_code(call).await,
        "DeleteRegistrationCode" => ca_certificates::delete_registration_code(call).await,
        "RegisterCACertificate" => ca_certificates::register(call).await,
        "DescribeCACertificate" => ca_certificates::describe(call),
        "UpdateCACertificate" => ca_certificates::update(call).await,
        "DeleteCACertificate" => ca_certificates::delete(call).await,
        "ListCACertificates" => ca_certificates::list(call),

        "CreateProvisioningTemplate" => templates::create(call).await,
        "DescribeProvisioningTemplate" => templates::describe(call),
        "UpdateProvisioningTemplate" => templates::update(call).await,
        "DeleteProvisioningTemplate" => templates::delete(call).await,
        "ListProvisioningTemplates" => templates::list(call),
        "CreateProvisioningTemplateVersion" => templates::create_version(call).await,
        "ListProvisioningTemplateVersions" => templates::list_versions(call),
        "DescribeProvisioningTemplateVersion" => templates::describe_version(call),
        "DeleteProvisioningTemplateVersion" => templates::delete_version(call).await,
        "CreateProvisioningClaim" => templates::create_claim(call).await,
        "RegisterThing" => templates::register_thing(call).await,

        "CreatePolicy" => policies::create(call).await,
        "GetPolicy" => policies::get(call),
        "DeletePolicy" => policies::delete(call).await,
        "ListPolicies" => policies::list(call),
        "CreatePolicyVersion" => policies::create_version(call).await,
        "ListPolicyVersions" => policies::list_versions(call),
        "GetPolicyVersion" => policies::get_version(call),
        "DeletePolicyVersion" => policies::delete_version(call).await,
        "SetDefaultPolicyVersion" => policies::set_default_version(call).await,
        "AttachPolicy" => policies::attach(call).await,
        "DetachPolicy" => policies::detach(call).await,
        "ListAttachedPolicies" => policies::list_attached(call),
        "ListTargetsForPolicy" => policies::list_targets(call),
        "AttachPrincipalPolicy" => policies::attach_to_principal(call).await,
        "DetachPrincipalPolicy" => policies::detach_from_principal(call).await,
        "ListPrincipalPolicies" => policies::list_of_principal(call),
        "ListPolicyPrincipals" => policies::list_principals(call),
        "GetEffectivePolicies" => policies::effective(call),
        "TestAuthorization" => policies::test(call),

        "DescribeEndpoint" => endpoint::describe(call),
        "DescribeEventConfigurations" => event_configurations::describe(call),
        "UpdateEventConfigurations" => event_configurations::update(call).await,
        _ => not_implemented(operation),
    }
}

async fn data_plane(call: &Call<'_>, operation: &Operation) -> Outcome {
    match operation.name {
        "Publish" => data::publish(call).await,
        "GetRetainedMessage" => data::get_retained(call),
        "ListRetainedMessages" => data::list_retained(call),
        "GetThingShadow" => shadows::get(call),
        "UpdateThingShadow" => shadows::update(call).await,
        "DeleteThingShadow" => shadows::delete(call).await,
        "ListNamedShadowsForThing" => shadows::list(call),
        "GetConnection" => connections::get(call),
        "ListSubscriptions" => connections::list_subscriptions(call),
        "DeleteConnection" => connections::delete(call).await,
        _ => not_implemented(operation),
    }
}

fn token_service(call: &Call<'_>, operation: &Operation) -> Outcome {
    match operation.name {
        "GetCallerIdentity" => sts::get_caller_identity(call),
        _ => not_implemented(operation),
    }
}

fn not_implemented(operation: &Operation) -> Outcome {
    Err(Refusal::new(
        RefusalKind::Unsupported,
        "aws.not-implemented",
        format!("{} is not implemented by this hub yet", operation.name),
    )
    .into())
}
