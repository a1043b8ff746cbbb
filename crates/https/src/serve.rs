//! HTTP/1.1 on one stream.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use model::limits;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use crate::{
    Site,
    websocket::{Accepted, Upgraded},
};

/// What the wire proved about the other end.
#[derive(Clone, Debug)]
pub struct Peer {
    /// From where.
    pub address: SocketAddr,
    /// The client certificate whose key the handshake proved to be the peer's, in DER.
    pub certificate: Option<Arc<[u8]>>,
    /// The name it asked for, in SNI.
    pub server_name: Option<Arc<str>>,
}

/// Speaks HTTP/1.1 on `stream` until either side ends it. When `stop` resolves, the request that is
/// being answered is finished and no other is taken. Answers the stream when it has become a
/// WebSocket.
///
/// A head is at most [`limits::UNAUTHENTICATED_BYTES`] and complete within
/// [`limits::HTTP_HEAD_DEADLINE`], counted from the end of the answer before it.
pub async fn serve<S>(
    stream: S,
    peer: Peer,
    site: Arc<Site>,
    stop: impl Future<Output = ()>,
) -> Option<Upgraded<S>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let peer = Arc::new(peer);
    let accepted: Arc<Mutex<Option<Accepted>>> = Arc::default();
    let slot = &accepted;
    let service = service_fn(|request| {
        let (site, peer) = (Arc::clone(&site), Arc::clone(&peer));
        let slot = Arc::clone(slot);
        async move {
            let mut answer = site.answer(request, &peer).await;
            if let Some(accepted) = answer.extensions_mut().remove() {
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(accepted);
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HTTP_HEAD_DEADLINE)
        .max_header_size(limits::UNAUTHENTICATED_BYTES)
        .max_buf_size(limits::UNAUTHENTICATED_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    let ended = |error: &hyper::Error| {
        debug!(address = %peer.address, %error, "the HTTP connection ended");
    };
    if let Err(error) = result {
        ended(&error);
        return None;
    }
    let accepted = accepted
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()?;
    accepted.take_over().await.inspect_err(ended).ok()
}
