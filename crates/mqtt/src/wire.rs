//! A byte stream with a buffer on each side, both of which vanish while nothing is said.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use listen::Io;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes read at a time.
const READ_BYTES: usize = 32 * 1024;

/// Room that an empty buffer may keep, in bytes. An idle connection is to hold next to nothing.
const KEPT_BYTES: usize = 256;

thread_local! {
    /// What is read lands here first, so that no idle connection holds room for it.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// A peer's bytes in, ours out.
pub(crate) struct Wire {
    io: Io,
    pub(crate) input: BytesMut,
    pub(crate) output: BytesMut,
    needs_flush: bool,
}

impl Wire {
    pub(crate) fn new(io: Io) -> Self {
        Self {
            io,
            input: BytesMut::new(),
            output: BytesMut::new(),
            needs_flush: false,
        }
    }

    /// Reads once and appends to `input`. 0 is the end.
    pub(crate) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.io).poll_read(context, &mut buffer))?;
            self.input.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }

    /// Writes all of `output`. Ready when the socket has everything; tells whether that was
    /// anything.
    pub(crate) fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.output.is_empty() && !self.needs_flush {
            return Poll::Ready(Ok(false));
        }
        while !self.output.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(context, &self.output))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.needs_flush = true;
            self.output.advance(written);
        }
        ready!(Pin::new(&mut self.io).poll_flush(context))?;
        self.needs_flush = false;
        Poll::Ready(Ok(true))
    }

    pub(crate) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    /// Gives back room that is not used. What was read stays alive as long as a message shares
    /// it, so a buffer is left behind rather than reused.
    pub(crate) fn release_room(&mut self) {
        for buffer in [&mut self.input, &mut self.output] {
            if buffer.is_empty() && buffer.capacity() > KEPT_BYTES {
                *buffer = BytesMut::new();
            }
        }
    }
}
