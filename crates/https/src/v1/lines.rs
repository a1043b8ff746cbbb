//! A body that is made line by line, while its reader reads.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use hyper::body::{Body, Frame};
use serde::Serialize;

/// A piece that is being made, and what makes the next one.
type Step<S> = Pin<Box<dyn Future<Output = Option<(Bytes, S)>> + Send>>;

/// A body of pieces, each made when the one before has been sent.
pub(super) struct Lines<S> {
    step: fn(S) -> Step<S>,
    running: Option<Step<S>>,
}

impl<S> Lines<S> {
    /// Begins with `state`; ends when `step` answers nothing.
    pub(super) fn new(state: S, step: fn(S) -> Step<S>) -> Self {
        Self {
            step,
            running: Some(step(state)),
        }
    }
}

impl<S> Body for Lines<S> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(running) = &mut self.running else {
            return Poll::Ready(None);
        };
        let Poll::Ready(made) = running.as_mut().poll(context) else {
            return Poll::Pending;
        };
        let Some((bytes, state)) = made else {
            self.running = None;
            return Poll::Ready(None);
        };
        self.running = Some((self.step)(state));
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

/// Writes `value` as one line.
pub(super) fn write(to: &mut BytesMut, value: &impl Serialize) {
    match serde_json::to_vec(value) {
        Ok(text) => {
            to.put_slice(&text);
            to.put_u8(b'\n');
        }
        Err(error) => tracing::error!(%error, "a line could not be written"),
    }
}
