//! The seam between the listener and a cloud's own HTTP API.

use std::{future::Future, pin::Pin};

use bytes::Bytes;
use http::{Response, request::Parts};

use crate::Peer;

/// An answer that is being made.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Response<Bytes>> + Send + 'a>>;

/// A cloud's HTTP API. It sees a request's head before the body is read, so that nothing is read
/// for a stranger.
pub trait Cloud: Send + Sync {
    /// Whether the request is spelled this cloud's way. Judges nothing.
    fn claims(&self, head: &Parts, peer: &Peer) -> bool;

    /// Judges the head. What it learns it may leave in the head's extensions for
    /// [`Self::answer`].
    ///
    /// # Errors
    ///
    /// The answer to send without reading the body.
    fn admit(&self, head: &mut Parts, peer: &Peer) -> Result<(), Box<Response<Bytes>>>;

    /// The answer to a body of more than `limit` bytes, in this cloud's spelling.
    fn too_large(&self, head: &Parts, limit: usize) -> Response<Bytes>;

    /// Carries out an admitted request.
    fn answer<'a>(&'a self, head: Parts, body: Bytes, peer: &'a Peer) -> Answer<'a>;
}
