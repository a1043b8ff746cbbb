//! The end of a connection: last words, and time for the peer to hear them.

use std::{future::poll_fn, io};

use model::limits;
use tokio::time::timeout;

use crate::wire::Wire;

/// Bytes of a peer that goes on talking which are thrown away before its socket is closed.
const DEAF_BYTES: usize = 1024 * 1024;

/// Sends what is in the buffer, closes this side, and listens until the peer closes its own:
/// closing a socket with unread bytes resets the connection, and the peer would lose the very
/// words that tell it why. All of it within [`limits::FAREWELL_DEADLINE`].
pub(crate) async fn say(wire: &mut Wire) {
    // A peer that does not wait for the end misses it: nothing else to be done.
    let _missed = timeout(limits::FAREWELL_DEADLINE, say_all(wire)).await;
}

async fn say_all(wire: &mut Wire) -> io::Result<()> {
    poll_fn(|context| wire.poll_write(context)).await?;
    poll_fn(|context| wire.poll_shutdown(context)).await?;
    let mut ignored = 0;
    while ignored < DEAF_BYTES {
        let read = poll_fn(|context| wire.poll_read(context)).await?;
        wire.input.clear();
        if read == 0 {
            break;
        }
        ignored += read;
    }
    Ok(())
}
