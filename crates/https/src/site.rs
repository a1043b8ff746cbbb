//! Which part of the site a request is for.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, request::Parts};
use hyper::body::Incoming;
use model::limits;
use tower_service::Service as _;

use crate::{
    Cloud, Door, Figure, Peer, Token,
    body::{self, BodyError, reply, with_type},
    metrics, websocket,
};

/// What only a hub in development answers, at `/_sekisho/`.
pub trait Development: Send + Sync {
    /// Empties everything but the certificate authority.
    ///
    /// # Errors
    ///
    /// A sentence that says what could not be emptied.
    fn reset(&self) -> Result<(), String>;

    /// Moves the hub's clock forward by so many seconds.
    fn advance_clock(&self, seconds: u64);
}

/// Everything that is reached by HTTP.
pub struct Site {
    clouds: Vec<Arc<dyn Cloud>>,
    door: Option<Arc<dyn Door>>,
    operators: axum::Router,
    token: Token,
    ready: Box<dyn Fn() -> bool + Send + Sync>,
    ledger_is_public: Box<dyn Fn() -> bool + Send + Sync>,
    figures: Box<dyn Fn() -> Vec<Figure> + Send + Sync>,
    development: Option<Box<dyn Development>>,
}

impl Site {
    /// A site whose REST v1 is `operators` (its routes begin with `/api/v1`), opened by `token`.
    #[must_use]
    pub fn new(operators: axum::Router, token: Token) -> Self {
        Self {
            clouds: Vec::new(),
            door: None,
            operators,
            token,
            ready: Box::new(|| true),
            ledger_is_public: Box::new(|| false),
            figures: Box::new(Vec::new),
            development: None,
        }
    }

    /// Mounts a cloud's API; the first that claims a request answers it.
    #[must_use]
    pub fn with_cloud(mut self, cloud: Arc<dyn Cloud>) -> Self {
        self.clouds.push(cloud);
        self
    }

    /// Serves MQTT over WebSocket at [`websocket::PATH`] to whom `door` admits.
    #[must_use]
    pub fn with_websocket(mut self, door: Arc<dyn Door>) -> Self {
        self.door = Some(door);
        self
    }

    /// What `/readyz` asks.
    #[must_use]
    pub fn with_readiness(mut self, ready: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.ready = Box::new(ready);
        self
    }

    /// Whether everybody may read the ledger's files at `/ledger/`; without this, nobody may
    /// without the token.
    #[must_use]
    pub fn with_ledger(mut self, is_public: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.ledger_is_public = Box::new(is_public);
        self
    }

    /// What `/metrics` shows.
    #[must_use]
    pub fn with_figures(
        mut self,
        figures: impl Fn() -> Vec<Figure> + Send + Sync + 'static,
    ) -> Self {
        self.figures = Box::new(figures);
        self
    }

    /// Opens `/_sekisho/`. Only for loopback listeners.
    #[must_use]
    pub fn with_development(mut self, development: impl Development + 'static) -> Self {
        self.development = Some(Box::new(development));
        self
    }

    pub(crate) async fn answer(&self, request: Request<Incoming>, peer: &Peer) -> Response<Body> {
        let (head, incoming) = request.into_parts();
        let path = head.uri.path();
        match path {
            "/healthz" => return plain(StatusCode::OK, "alive\n"),
            "/readyz" if (self.ready)() => return plain(StatusCode::OK, "ready\n"),
            "/readyz" => return plain(StatusCode::SERVICE_UNAVAILABLE, "not ready yet\n"),
            "/metrics" => {
                let text = metrics::render(&(self.figures)());
                return with_type(StatusCode::OK, "text/plain; version=0.0.4", text);
            }
            _ => {}
        }
        if let Some(rest) = path.strip_prefix("/_sekisho/") {
            return self.develop(&head, rest);
        }
        if path == "/api/v1" || path.starts_with("/api/v1/") {
            return self.operate(head, incoming, peer).await;
        }
        if path.starts_with("/ledger/") {
            return self.operate(head, incoming, peer).await;
        }
        if path == websocket::PATH
            && let Some(door) = &self.door
        {
            return websocket::shake(&**door, head, peer);
        }
        let cloud = self.clouds.iter().find(|cloud| cloud.claims(&head, peer));
        if let Some(cloud) = cloud {
            return Self::ask(&**cloud, head, incoming, peer)
                .await
                .map(Body::from);
        }
        if path == "/" && matches!(head.method, Method::GET | Method::HEAD) {
            return with_type(
                StatusCode::NOT_IMPLEMENTED,
                "text/html; charset=utf-8",
                NO_PORTAL,
            );
        }
        reply(
            StatusCode::NOT_FOUND,
            "http.unknown-path",
            "nothing is served at this path; see docs/operating.md for what is",
        )
    }

    async fn ask(
        cloud: &dyn Cloud,
        mut head: Parts,
        incoming: Incoming,
        peer: &Peer,
    ) -> Response<Bytes> {
        if let Err(refused) = cloud.admit(&mut head, peer) {
            return *refused;
        }
        match body::read(&head.headers, incoming).await {
            Ok(body) => cloud.answer(head, body, peer).await,
            Err(BodyError::TooLarge) => closing(cloud.too_large(&head, limits::HTTP_BODY_BYTES)),
            Err(BodyError::Broken) => closing(timed_out().map(|()| Bytes::new())),
        }
    }

    async fn operate(&self, mut head: Parts, incoming: Incoming, peer: &Peer) -> Response<Body> {
        let is_open = (self.ledger_is_public)() && is_ledger_file(&head);
        if !is_open && !self.token.opens(&head.headers) {
            let mut answer = reply(
                StatusCode::UNAUTHORIZED,
                "operator.token",
                "send `Authorization: Bearer TOKEN` with the token that `sekisho env` prints",
            );
            answer.headers_mut().insert(
                http::header::WWW_AUTHENTICATE,
                http::HeaderValue::from_static("Bearer"),
            );
            return answer;
        }
        let body = match body::read(&head.headers, incoming).await {
            Ok(body) => body,
            Err(BodyError::TooLarge) => {
                return closing(reply(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "http.body",
                    "the body is larger than 1 MiB",
                ));
            }
            Err(BodyError::Broken) => return closing(timed_out().map(|()| Body::empty())),
        };
        head.extensions.insert(peer.clone());
        let request = Request::from_parts(head, Body::from(body));
        // A router is always ready and cannot fail.
        let Ok(answer) = self.operators.clone().call(request).await;
        answer
    }

    fn develop(&self, head: &Parts, rest: &str) -> Response<Body> {
        let Some(development) = &self.development else {
            return reply(
                StatusCode::NOT_FOUND,
                "development.off",
                "this hub does not run with --dev",
            );
        };
        match (head.method.as_str(), rest) {
            ("GET", "health") => with_type(
                StatusCode::OK,
                "application/json",
                r#"{"status":"running"}"#,
            ),
            ("POST", "reset") => match development.reset() {
                Ok(()) => with_type(StatusCode::OK, "application/json", "{}"),
                Err(error) => reply(StatusCode::INTERNAL_SERVER_ERROR, "hub.internal", &error),
            },
            ("POST", "clock") => match advance_seconds(head) {
                Some(seconds) => {
                    development.advance_clock(seconds);
                    with_type(StatusCode::OK, "application/json", "{}")
                }
                None => reply(
                    StatusCode::BAD_REQUEST,
                    "development.clock",
                    "say by how much: POST /_sekisho/clock?advance_seconds=3600",
                ),
            },
            _ => reply(
                StatusCode::NOT_FOUND,
                "http.unknown-path",
                "GET /_sekisho/health, POST /_sekisho/reset and POST /_sekisho/clock are served",
            ),
        }
    }
}

/// Whether the request is for one of the ledger's files, which change nothing.
fn is_ledger_file(head: &Parts) -> bool {
    let reads = matches!(head.method, Method::GET | Method::HEAD);
    reads && head.uri.path().starts_with("/ledger/")
}

fn advance_seconds(head: &Parts) -> Option<u64> {
    head.uri
        .query()?
        .split('&')
        .find_map(|pair| pair.strip_prefix("advance_seconds="))?
        .parse()
        .ok()
}

fn timed_out() -> Response<()> {
    let mut answer = Response::new(());
    *answer.status_mut() = StatusCode::REQUEST_TIMEOUT;
    answer
}

/// Part of the request was not read, so the connection cannot go on.
fn closing<B>(mut answer: Response<B>) -> Response<B> {
    answer.headers_mut().insert(
        http::header::CONNECTION,
        http::HeaderValue::from_static("close"),
    );
    answer
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    with_type(status, "text/plain; charset=utf-8", text)
}

const NO_PORTAL: &str = "<!doctype html><title>Sekisho</title>\
<p>The portal is not built yet. Use the <code>sekisho</code> command line or REST v1 at \
<code>/api/v1/openapi.json</code>.\n";
