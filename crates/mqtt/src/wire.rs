//! A byte stream with a buffer on each side, both of which vanish while nothing is said.

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use listen::Io;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes read at a time.
const READ_BYTES: usize = 32 * 1024;

/// The largest buffer worth keeping for the next connection on this thread, in bytes.
const SPARE_BYTES: usize = 256 * 1024;

thread_local! {
    /// Room for what is written, lent to whichever connection is awake.
    static SPARE: Cell<BytesMut> = Cell::new(BytesMut::new());

    /// What is read lands here first, so that no idle connection holds room for it.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// A peer's bytes in, ours out.
pub(crate) struct Wire {
    io: Io,
    pub(crate) input: BytesMut,
    pub(crate) output: BytesMut,
    needs_flush: bool,
    moved: bool,
}

impl Wire {
    pub(crate) fn new(io: Io) -> Self {
        Self {
            io,
            input: BytesMut::new(),
            output: BytesMut::new(),
            needs_flush: false,
            moved: false,
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
            self.moved = true;
            self.output.advance(written);
        }
        ready!(Pin::new(&mut self.io).poll_flush(context))?;
        self.needs_flush = false;
        Poll::Ready(Ok(true))
    }

    pub(crate) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    /// Whether the socket took anything since this was asked last.
    pub(crate) const fn has_moved(&mut self) -> bool {
        std::mem::replace(&mut self.moved, false)
    }

    /// Takes room to write into, to be given back before the connection sleeps.
    pub(crate) fn borrow_room(&mut self) {
        if self.output.capacity() == 0 {
            self.output = SPARE.take();
        }
    }

    /// Gives back room that is not used. What was read stays alive as long as a message shares
    /// it, so an empty input is left behind rather than reused.
    pub(crate) fn release_room(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        if self.output.is_empty() {
            let room = std::mem::take(&mut self.output);
            if room.capacity() <= SPARE_BYTES {
                SPARE.set(room);
            }
        }
    }
}
