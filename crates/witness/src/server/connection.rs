//! HTTP/1.1 on one connection.

use std::{convert::Infallible, pin::pin};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use listen::{Io, Peer, Service, ServiceFuture, Shutdown};
use model::limits;
use tracing::debug;

use super::Server;

impl Service for Server {
    fn serve(&self, io: Io, peer: Peer, mut shutdown: Shutdown) -> ServiceFuture {
        let server = self.clone();
        Box::pin(async move {
            let service = service_fn(|request| {
                let server = server.clone();
                async move { Ok::<_, Infallible>(server.answer(request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits::HTTP_HEAD_DEADLINE)
                .max_header_size(limits::UNAUTHENTICATED_BYTES)
                .max_buf_size(limits::UNAUTHENTICATED_BYTES)
                .serve_connection(TokioIo::new(io), service);
            let mut connection = pin!(connection);
            let result = tokio::select! {
                result = connection.as_mut() => result,
                () = shutdown.requested() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = result {
                debug!(address = %peer.address, %error, "the HTTP connection ended");
            }
        })
    }
}
