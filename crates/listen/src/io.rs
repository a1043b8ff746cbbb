//! The byte stream that services talk through.

use std::{
    borrow::Cow,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use model::ReasonId;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::Permit;

/// What an [`Io`] can be made of: TLS, TCP, a WebSocket, a test's pipe.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A byte stream to a peer. One pointer to the heap; holds the connection's permit, so that the
/// connection counts until its socket is closed, whoever holds it by then.
pub struct Io(Box<dyn Stream>);

impl Io {
    /// Wraps a stream; for WebSockets and tests.
    pub fn new(stream: impl Stream + 'static) -> Self {
        Self(Box::new(stream))
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(context)
    }
}

/// The peer broke a rule of what its bytes travel in, such as WebSocket. Comes out of reading as the
/// cause of an [`io::Error`]; the stream may still be shut down, which tells the peer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text}")]
pub struct Breach {
    /// The rule's stable name.
    pub reason: ReasonId,
    /// What the peer did, and what it should do instead.
    pub text: Cow<'static, str>,
}

impl Breach {
    /// The breach behind an error, if there is one.
    #[must_use]
    pub fn behind(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<Breach> for io::Error {
    fn from(breach: Breach) -> Self {
        Self::new(io::ErrorKind::InvalidData, breach)
    }
}

/// The peer sent more in its handshake than we hold for a stranger.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the handshake is longer than {limit} bytes")]
pub(crate) struct HandshakeTooLarge {
    pub(crate) limit: usize,
}

/// A TCP connection with its permit, and with a bound on what is read from it for as long as it
/// is a stranger's.
pub(crate) struct Socket {
    tcp: TcpStream,
    budget: Option<Budget>,
    _permit: Permit,
}

struct Budget {
    left: usize,
    limit: usize,
}

impl Socket {
    /// Reads at most `limit` bytes until [`Self::lift_limit`].
    pub(crate) const fn with_limit(tcp: TcpStream, permit: Permit, limit: usize) -> Self {
        Self {
            tcp,
            budget: Some(Budget { left: limit, limit }),
            _permit: permit,
        }
    }

    pub(crate) fn lift_limit(&mut self) {
        self.budget = None;
    }

    pub(crate) const fn tcp(&self) -> &TcpStream {
        &self.tcp
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Some(budget) = &mut this.budget else {
            return Pin::new(&mut this.tcp).poll_read(context, buffer);
        };
        if budget.left == 0 {
            let limit = budget.limit;
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                HandshakeTooLarge { limit },
            )));
        }
        let room = buffer.remaining().min(budget.left);
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(room));
        let outcome = Pin::new(&mut this.tcp).poll_read(context, &mut part);
        let read = part.filled().len();
        budget.left -= read;
        buffer.advance(read);
        outcome
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}
