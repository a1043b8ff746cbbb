//! Which function answers which operation. Every other operation is refused by its name.

use model::{Refusal, RefusalKind};

use super::{
    call::{Call, Outcome},
    connections, data, endpoint,
    operations::{Operation, Service},
    sts,
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
        "DescribeEndpoint" => endpoint::describe(call),
        _ => not_implemented(operation),
    }
}

async fn data_plane(call: &Call<'_>, operation: &Operation) -> Outcome {
    match operation.name {
        "Publish" => data::publish(call).await,
        "GetRetainedMessage" => data::get_retained(call),
        "ListRetainedMessages" => data::list_retained(call),
        "GetConnection" => connections::get(call),
        "ListSubscriptions" => connections::list_subscriptions(call),
        "DeleteConnection" => connections::delete(call),
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
