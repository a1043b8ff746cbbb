//! AWS's signed HTTPS API: which operation a request asks for, who asks, and how it is answered.
//!
//! A request comes in two steps, so that nothing is read for a stranger: [`Api::admit`] sees the
//! head only, [`Api::answer`] head and body. Devices may ask the data plane with their certificate
//! instead of a signature. What the hub does not do is refused by the name of the operation.

mod arn;
mod ca_certificates;
mod call;
mod certificates;
mod connections;
mod data;
mod dispatch;
mod endpoint;
mod event_configurations;
mod failure;
mod groups;
mod operations;
mod page;
mod policies;
mod shadows;
mod sts;
mod tags;
mod templates;
mod things;
mod types;
mod websocket;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http::{Response, request::Parts};
use hub::{Caller, Credentials, Hub, PeerFacts};
use model::{Refusal, RefusalKind, limits};
use percent_encoding::percent_decode_str;

use self::{
    arn::Place,
    call::Call,
    failure::Failure,
    operations::{Route, by_name, by_path, by_target},
};
pub use self::{
    failure::exception,
    operations::{Operation, Service},
    websocket::Opener,
};
use crate::sigv4::{Claim, SignatureError, SignaturePolicy, SigningName};

/// What the operator chose for this API.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// The host name that `DescribeEndpoint` tells, without a port.
    pub endpoint: String,
    /// The region in resource names for devices, which sign nothing.
    pub region: String,
}

/// The API, ready to answer.
pub struct Api {
    hub: Hub,
    signatures: SignaturePolicy,
    config: ApiConfig,
    requests: AtomicU64,
}

/// Who sends a request, as far as the wire proves.
#[derive(Clone, Debug)]
pub struct Sender {
    /// From where.
    pub address: SocketAddr,
    /// The name it asked for, in SNI.
    pub server_name: Option<Arc<str>>,
    /// The client certificate whose key the handshake proved to be the sender's, in DER.
    pub certificate: Option<Arc<[u8]>>,
}

/// A request whose head has been admitted and whose body may be read.
#[derive(Clone, Debug)]
pub struct Admitted {
    request_id: Arc<str>,
    service: Service,
    /// `None` when the body must tell the operation (`sts`).
    route: Option<Route>,
    proof: Proof,
}

/// What an admitted request brings to prove who asks.
#[derive(Clone, Debug)]
enum Proof {
    /// A signature; checked in full when the body is there.
    Signature(Box<Claim>),
    /// The certificate of the connection.
    Certificate(Arc<[u8]>),
}

impl Api {
    /// The API of `hub`, which takes signatures as `signatures` tells.
    #[must_use]
    pub const fn new(hub: Hub, signatures: SignaturePolicy, config: ApiConfig) -> Self {
        Self {
            hub,
            signatures,
            config,
            requests: AtomicU64::new(0),
        }
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
    pub fn admit(&self, head: &Parts, sender: &Sender) -> Result<Admitted, Box<Response<Bytes>>> {
        let request_id = self.next_request_id();
        let result = match &sender.certificate {
            Some(certificate) if !head.headers.contains_key("authorization") => {
                by_certificate(head, certificate)
            }
            Some(_) | None => self.by_signature(head),
        };
        match result {
            Ok((service, route, proof)) => Ok(Admitted {
                request_id,
                service,
                route,
                proof,
            }),
            Err((service, failure)) => Err(Box::new(failure.respond(service, &request_id))),
        }
    }

    /// Carries out an admitted request.
    pub async fn answer(
        &self,
        admitted: Admitted,
        head: &Parts,
        body: Bytes,
        sender: &Sender,
    ) -> Response<Bytes> {
        let service = admitted.service;
        let request_id = Arc::clone(&admitted.request_id);
        match self.carry_out(admitted, head, body, sender).await {
            Ok(answer) => answer,
            Err(failure) => Self::failed(failure, service, &request_id),
        }
    }

    fn failed(failure: Failure, service: Service, request_id: &str) -> Response<Bytes> {
        if failure.kind() == RefusalKind::Internal {
            tracing::error!(%request_id, ?failure, "an AWS request failed");
        }
        failure.respond(service, request_id)
    }

    /// The answer to an admitted request whose body is larger than the hub reads.
    #[must_use]
    pub fn too_large(&self, admitted: &Admitted) -> Response<Bytes> {
        let refusal = Refusal::new(
            RefusalKind::TooLarge,
            "http.body",
            format!(
                "the body is larger than {} bytes; send less",
                limits::HTTP_BODY_BYTES
            ),
        );
        Failure::from(refusal).respond(admitted.service, &admitted.request_id)
    }

    fn by_signature(&self, head: &Parts) -> Result<Judged, (Service, Failure)> {
        // Before a scope is known, errors are spelled as the service that seems meant spells them.
        let claim = Claim::read(head).map_err(|error| (guess_service(head), error.into()))?;
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
                return Err((Service::Iot, error.into()));
            }
        };
        claim
            .admit(&self.signatures, self.hub.now())
            .map_err(|error| (service, error.into()))?;
        let route = match service {
            Service::Sts => None,
            Service::Iot | Service::IotData | Service::IotJobsData | Service::SecureTunneling => {
                let route = route(service, head);
                Some(route.ok_or_else(|| (service, unknown(service, head).into()))?)
            }
        };
        Ok((service, route, Proof::Signature(Box::new(claim))))
    }

    async fn carry_out(
        &self,
        admitted: Admitted,
        head: &Parts,
        body: Bytes,
        sender: &Sender,
    ) -> Result<Response<Bytes>, Failure> {
        let peer = PeerFacts {
            address: sender.address,
            server_name: sender.server_name.clone(),
        };
        let (caller, region) = match &admitted.proof {
            Proof::Signature(claim) => {
                claim.verify(head, &body, &self.signatures, self.hub.now())?;
                let scope = claim.scope();
                let caller = Caller::operator(&scope.key_id, Some(peer))
                    .asking(Arc::clone(&admitted.request_id));
                (caller, scope.region.clone())
            }
            Proof::Certificate(der) => {
                let credentials = Credentials::Certificate(Arc::clone(der));
                let caller = self.hub.authenticate(&credentials, None, peer)?;
                (
                    caller.asking(Arc::clone(&admitted.request_id)),
                    self.config.region.clone(),
                )
            }
        };
        let service = admitted.service;
        let route = match admitted.route {
            Some(route) => route,
            None => action(&body)
                .and_then(|name| by_name(service, &name))
                .ok_or_else(|| unknown(service, head))?,
        };
        let call = Call {
            hub: &self.hub,
            caller: &caller,
            place: Place {
                region,
                account: self.hub.config().account.clone(),
            },
            endpoint: &self.config.endpoint,
            head,
            body,
            labels: route.labels,
            request_id: &admitted.request_id,
        };
        let answer = match dispatch::dispatch(&call, route.operation).await {
            Ok(reply) => reply.respond(&admitted.request_id),
            Err(failure) => Self::failed(failure, service, &admitted.request_id),
        };
        Ok(with_ledger_index(answer, &caller))
    }

    /// Unique among the requests of this hub, in the shape clients expect of a request id.
    fn next_request_id(&self) -> Arc<str> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let millis = self.hub.now().millis();
        format!(
            "{:08x}-{:04x}-4000-8000-{:012x}",
            (millis >> 16) & 0xffff_ffff,
            millis & 0xffff,
            number & 0xffff_ffff_ffff
        )
        .into()
    }
}

/// Says under which number the ledger holds what was done.
fn with_ledger_index(mut answer: Response<Bytes>, caller: &Caller) -> Response<Bytes> {
    if let Some(index) = caller.ledger_index() {
        answer
            .headers_mut()
            .insert(dialect::LEDGER_INDEX_HEADER, index.into());
    }
    answer
}

/// A head that may go on: the service, the operation unless the body names it, and the proof.
type Judged = (Service, Option<Route>, Proof);

/// A device asks: only the data planes, which have policies for devices.
fn by_certificate(head: &Parts, certificate: &Arc<[u8]>) -> Result<Judged, (Service, Failure)> {
    let route = [Service::IotData, Service::IotJobsData]
        .into_iter()
        .find_map(|service| by_path(service, &head.method, head.uri.path()))
        .ok_or_else(|| (guess_service(head), SignatureError::Missing.into()))?;
    let proof = Proof::Certificate(Arc::clone(certificate));
    Ok((route.operation.service, Some(route), proof))
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
