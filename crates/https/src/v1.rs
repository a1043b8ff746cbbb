//! REST v1, for operators: one file per noun.
//!
//! What it takes and answers are the types of [`api`]; its routes are those of [`api::ROUTES`].

mod certificates;
mod devices;
mod explain;
mod ledger;
mod lines;
mod messages;
mod policies;
mod provisioning;
mod status;
#[cfg(test)]
mod tests;
mod timeline;

use std::{borrow::Cow, sync::Arc};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{FromRequestParts, Query, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use dialect::Dialect;
use http::{HeaderValue, StatusCode, request::Parts};
use hub::{Caller, Hub, PeerFacts};
use model::{Refusal, RefusalKind};
use serde::de::DeserializeOwned;

pub use status::figures;

/// What REST v1 leaves to the program to choose.
#[derive(Clone)]
pub struct Setup {
    /// How operators may spell topics, besides the hub's own way.
    pub dialect: Arc<dyn Dialect>,
    /// The name of the policy that devices get when none is named.
    pub device_policy_name: Cow<'static, str>,
    /// Its text, in the hub's policy language. It is created with the first device that needs it.
    pub device_policy: Cow<'static, str>,
    /// The program's version, for `/api/v1/status`.
    pub version: Cow<'static, str>,
}

/// What all requests share.
#[derive(Clone)]
struct Shared(Arc<Inner>);

struct Inner {
    hub: Hub,
    setup: Setup,
}

/// What a handler sees: the site, and who asks.
#[derive(Clone)]
struct Site {
    shared: Shared,
    operator: Arc<Caller>,
}

impl Site {
    fn hub(&self) -> &Hub {
        &self.shared.0.hub
    }

    fn setup(&self) -> &Setup {
        &self.shared.0.setup
    }

    /// Whoever has shown the token.
    fn operator(&self) -> &Caller {
        &self.operator
    }
}

impl FromRequestParts<Shared> for Site {
    type Rejection = Refused;

    async fn from_request_parts(head: &mut Parts, shared: &Shared) -> Result<Self, Refused> {
        match head.extensions.get::<Arc<Caller>>() {
            Some(operator) => Ok(Self {
                shared: shared.clone(),
                operator: Arc::clone(operator),
            }),
            None => Err(Refused(Refusal::internal("nobody asked"))),
        }
    }
}

/// Says who asks, and afterwards under which number the ledger holds what was done.
async fn identify(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions_mut().remove::<crate::Peer>();
    let request_id = shared.0.hub.new_request_id();
    let operator = Caller::operator("token", peer.map(PeerFacts::from)).asking(request_id.clone());
    let operator = Arc::new(operator);
    request.extensions_mut().insert(Arc::clone(&operator));
    let mut answer = next.run(request).await;
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        answer.headers_mut().insert("x-request-id", id);
    }
    if let Some(index) = operator.ledger_index() {
        answer
            .headers_mut()
            .insert(dialect::LEDGER_INDEX_HEADER, index.into());
    }
    answer
}

impl From<crate::Peer> for PeerFacts {
    fn from(peer: crate::Peer) -> Self {
        Self {
            address: peer.address,
            server_name: peer.server_name,
        }
    }
}

/// The routes of REST v1. Whoever mounts them has checked the operator's token.
pub fn router(hub: Hub, setup: Setup) -> Router {
    let shared = Shared(Arc::new(Inner { hub, setup }));
    Router::new()
        .route("/api/v1/devices", get(devices::list).post(devices::add))
        .route(
            "/api/v1/devices/{id}",
            get(devices::show).delete(devices::remove),
        )
        .route("/api/v1/devices/{id}/disable", post(devices::disable))
        .route("/api/v1/devices/{id}/enable", post(devices::enable))
        .route("/api/v1/devices/{id}/timeline", get(timeline::of_device))
        .route("/api/v1/certificates", get(certificates::list))
        .route(
            "/api/v1/certificates/{id}/revoke",
            post(certificates::revoke),
        )
        .route(
            "/api/v1/policies",
            get(policies::list).post(policies::create),
        )
        .route("/api/v1/policies/{name}", get(policies::show))
        .route("/api/v1/policies/{name}/attach", post(policies::attach))
        .route("/api/v1/policies/{name}/detach", post(policies::detach))
        .route("/api/v1/explain", post(explain::explain))
        .route("/api/v1/trace", get(timeline::trace))
        .route("/api/v1/tail", get(messages::tail))
        .route("/api/v1/publish", post(messages::publish))
        .route("/api/v1/ledger", get(ledger::status))
        .route("/api/v1/ledger/entries", get(ledger::entries))
        .route("/api/v1/ledger/entries/{index}", get(ledger::one))
        .route("/api/v1/ledger/proofs/{index}", get(ledger::proof))
        .route("/api/v1/ledger/tail", get(ledger::tail))
        .route("/api/v1/ledger/state", get(ledger::state))
        .route("/api/v1/ledger/erasures", post(ledger::erase))
        .route("/api/v1/ledger/exports", post(ledger::export))
        .route("/api/v1/backups", post(ledger::backup))
        .route("/ledger/checkpoint", get(ledger::checkpoint))
        .route("/ledger/tile/{*path}", get(ledger::tile))
        .route("/api/v1/provisioning/attempts", get(provisioning::attempts))
        .route("/api/v1/status", get(status::status))
        .route("/api/v1/openapi.json", get(status::openapi))
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown_path)
        .layer(middleware::from_fn_with_state(shared.clone(), identify))
        .with_state(shared)
}

async fn wrong_method() -> Response {
    let message = "this path does not take this method; see /api/v1/openapi.json for those it does";
    crate::reply(StatusCode::METHOD_NOT_ALLOWED, "http.wrong-method", message)
}

async fn unknown_path() -> Response {
    let message = "REST v1 has no such path; see /api/v1/openapi.json for those it has";
    crate::reply(StatusCode::NOT_FOUND, "http.unknown-path", message)
}

/// A handler's answer.
type Answer<T> = Result<Json<T>, Refused>;

/// A refusal on its way out.
#[derive(Debug)]
struct Refused(Refusal);

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Refusal {
            kind,
            reason,
            message,
            ..
        } = self.0;
        crate::reply(status_of(kind), reason.0, &message)
    }
}

/// The HTTP status a refusal is answered with.
#[must_use]
pub const fn status_of(kind: RefusalKind) -> StatusCode {
    match kind {
        RefusalKind::Malformed => StatusCode::BAD_REQUEST,
        RefusalKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        RefusalKind::Denied => StatusCode::FORBIDDEN,
        RefusalKind::NotFound => StatusCode::NOT_FOUND,
        RefusalKind::AlreadyExists | RefusalKind::Conflict => StatusCode::CONFLICT,
        RefusalKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        RefusalKind::TooMany => StatusCode::TOO_MANY_REQUESTS,
        RefusalKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        RefusalKind::Expired => StatusCode::GONE,
        RefusalKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        RefusalKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Reads a body.
fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| {
        let message = format!("the body is not what this path takes: {error}");
        Refused(Refusal::malformed("request.malformed", message))
    })
}

/// Reads a name.
fn name<T: std::str::FromStr<Err = model::InvalidName>>(text: &str) -> Result<T, Refused> {
    text.parse().map_err(|error: model::InvalidName| {
        Refused(Refusal::malformed("name.invalid", error.to_string()))
    })
}

/// The query parameters of lists.
#[derive(serde::Deserialize)]
struct Part {
    after: Option<String>,
    limit: Option<usize>,
}

/// A query that was read, or not.
type Asked<T> = Result<Query<T>, axum::extract::rejection::QueryRejection>;

fn query<T>(asked: Asked<T>) -> Result<T, Refused> {
    match asked {
        Ok(Query(query)) => Ok(query),
        Err(error) => Err(Refused(Refusal::malformed(
            "request.malformed",
            error.body_text(),
        ))),
    }
}

impl From<Part> for hub::PageRequest {
    fn from(part: Part) -> Self {
        Self {
            token: part.after,
            limit: part.limit,
        }
    }
}

fn page<T, U>(page: hub::Page<T>, show: impl FnMut(T) -> U) -> Json<api::Page<U>> {
    Json(api::Page {
        items: page.items.into_iter().map(show).collect(),
        next: page.next,
    })
}

/// An answer of one JSON object to a line, that goes on.
fn stream(
    body: impl hyper::body::Body<Data = Bytes, Error = std::convert::Infallible> + Send + 'static,
) -> Response {
    crate::body::with_type(StatusCode::OK, "application/x-ndjson", Body::new(body))
}
