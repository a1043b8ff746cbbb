//! AWS's signed HTTPS API: which operation a request asks for, who asks, and how it is answered.
//!
//! A request comes in two steps, so that nothing is read for a stranger: [`Api::admit`] sees the
//! head only, [`Api::answer`] head and body. What the hub does not do is refused by the name of the
//! operation.

mod failure;
mod operations;

use bytes::Bytes;
use http::{Response, request::Parts};
use model::{Refusal, RefusalKind, Timestamp};
use percent_encoding::percent_decode_str;

use self::{
    failure::Failure,
    operations::{Route, by_name, by_path, by_target},
};
pub use self::{
    failure::exception,
    operations::{Operation, Service},
};
use crate::sigv4::{Claim, SignatureError, SignaturePolicy, SigningName};

/// The API, ready to answer.
pub struct Api {
    signatures: SignaturePolicy,
}

/// A request whose head has been admitted and whose body may be read.
#[derive(Debug)]
pub struct Admitted {
    service: Service,
    /// `None` when the body must tell the operation (`sts`).
    route: Option<Route>,
    claim: Claim,
}

impl Api {
    /// An API that takes signatures as `signatures` tells.
    #[must_use]
    pub const fn new(signatures: SignaturePolicy) -> Self {
        Self { signatures }
    }

    /// Whether a request is for this API: it is signed the AWS way, names an AWS target, or asks at
    /// a path of the three REST services without another scheme's credentials.
    #[must_use]
    pub fn claims(head: &Parts) -> bool {
        if let Some(authorization) = head.headers.get("authorization") {
            return authorization.as_bytes().starts_with(b"AWS4-");
        }
        head.headers.contains_key("x-amz-target")
            || [Service::IotData, Service::IotJobsData, Service::Iot]
                .into_iter()
                .any(|service| by_path(service, &head.method, head.uri.path()).is_some())
    }

    /// Judges a request by its head.
    ///
    /// # Errors
    ///
    /// The answer to send, without reading the body.
    pub fn admit(
        &self,
        head: &Parts,
        request_id: &str,
        now: Timestamp,
    ) -> Result<Admitted, Response<Bytes>> {
        // Before a scope is known, errors are spelled as the control plane spells them.
        let claim = Claim::read(head)
            .map_err(|error| Failure::signature(guess_service(head), &error))
            .map_err(|failure| failure.respond(guess_service(head), request_id))?;
        let service = match claim.scope().service {
            SigningName::Iot => Service::Iot,
            SigningName::IotData => Service::IotData,
            SigningName::IotJobsData => Service::IotJobsData,
            SigningName::SecuredTunneling => Service::SecureTunneling,
            SigningName::Sts => Service::Sts,
            SigningName::IotDeviceGateway => {
                let error = SignatureError::Service {
                    name: "iotdevicegateway".into(),
                };
                return Err(
                    Failure::signature(Service::Iot, &error).respond(Service::Iot, request_id)
                );
            }
        };
        claim
            .admit(&self.signatures, now)
            .map_err(|error| Failure::signature(service, &error).respond(service, request_id))?;
        let route = match service {
            Service::Sts => None,
            Service::Iot | Service::IotData | Service::IotJobsData | Service::SecureTunneling => {
                let route = route(service, head).ok_or_else(|| {
                    Failure::of(service, unknown(service, head)).respond(service, request_id)
                })?;
                Some(route)
            }
        };
        Ok(Admitted {
            service,
            route,
            claim,
        })
    }

    /// Carries out an admitted request.
    pub async fn answer(
        &self,
        admitted: Admitted,
        head: &Parts,
        body: Bytes,
        request_id: &str,
        now: Timestamp,
    ) -> Response<Bytes> {
        let service = admitted.service;
        let outcome = self.carry_out(admitted, head, body, now).await;
        outcome.unwrap_or_else(|failure| failure.respond(service, request_id))
    }

    async fn carry_out(
        &self,
        admitted: Admitted,
        head: &Parts,
        body: Bytes,
        now: Timestamp,
    ) -> Result<Response<Bytes>, Failure> {
        let Admitted {
            service,
            route,
            claim,
        } = admitted;
        claim
            .verify(head, &body, &self.signatures, now)
            .map_err(|error| Failure::signature(service, &error))?;
        let route = match route {
            Some(route) => route,
            None => action(&body)
                .and_then(|name| by_name(service, &name))
                .ok_or_else(|| Failure::of(service, unknown(service, head)))?,
        };
        Err(not_implemented(route.operation))
    }
}

/// The refusal of an operation that the hub does not do.
fn not_implemented(operation: &Operation) -> Failure {
    Failure::of(
        operation.service,
        Refusal::new(
            RefusalKind::Unsupported,
            "aws.not-implemented",
            format!("{} is not implemented by this hub yet", operation.name),
        ),
    )
}

fn unknown(service: Service, head: &Parts) -> Refusal {
    Refusal::not_found(
        "aws.unknown-operation",
        format!(
            "{} has no operation at {} {}",
            service.name(),
            head.method,
            head.uri.path()
        ),
    )
}

fn route(service: Service, head: &Parts) -> Option<Route> {
    match service {
        Service::SecureTunneling => by_target(head.headers.get("x-amz-target")?.to_str().ok()?),
        Service::Iot | Service::IotData | Service::IotJobsData | Service::Sts => {
            by_path(service, &head.method, head.uri.path())
        }
    }
}

/// The service whose spelling an error has before its scope could be read.
fn guess_service(head: &Parts) -> Service {
    let authorization = head.headers.get("authorization");
    let names = |part: &str| {
        authorization
            .and_then(|value| value.to_str().ok())
            .is_some_and(|text| text.contains(part))
    };
    if names("/sts/aws4_request") {
        Service::Sts
    } else if head.headers.contains_key("x-amz-target") {
        Service::SecureTunneling
    } else {
        Service::Iot
    }
}

/// The form field `Action`.
fn action(body: &[u8]) -> Option<String> {
    std::str::from_utf8(body)
        .ok()?
        .split('&')
        .find_map(|pair| pair.strip_prefix("Action="))
        .and_then(|value| percent_decode_str(value).decode_utf8().ok())
        .map(|value| value.into_owned())
}

#[cfg(test)]
mod tests;
