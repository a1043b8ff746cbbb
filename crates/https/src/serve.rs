//! HTTP/1.1 on one stream.

use std::{convert::Infallible, future::Future, net::SocketAddr, pin::pin, sync::Arc};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use model::limits;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use crate::Site;

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
/// being answered is finished and no other is taken.
///
/// A head is at most [`limits::UNAUTHENTICATED_BYTES`] and complete within
/// [`limits::HTTP_HEAD_DEADLINE`], counted from the end of the answer before it.
pub async fn serve<S>(stream: S, peer: Peer, site: Arc<Site>, stop: impl Future<Output = ()>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let peer = Arc::new(peer);
    let service = service_fn(|request| {
        let (site, peer) = (Arc::clone(&site), Arc::clone(&peer));
        async move { Ok::<_, Infallible>(site.answer(request, &peer).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HTTP_HEAD_DEADLINE)
        .max_header_size(limits::UNAUTHENTICATED_BYTES)
        .max_buf_size(limits::UNAUTHENTICATED_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        debug!(address = %peer.address, %error, "the HTTP connection ended");
    }
}
