//! A WebSocket as a byte stream: what is written leaves in binary frames, what is read is the
//! payload of those that came.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use listen::{Breach, Shutdown};
use model::ReasonId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{CloseCode, Control, Data, OpCode},
};

use super::{
    Subprotocol,
    frames::{CONTROL_BYTES, Frames},
};

/// Bytes of the longest header of a frame without mask.
const HEAD_BYTES: usize = 10;

/// The hub's side of a WebSocket.
///
/// Shutting it down sends a close frame: 1001 when the hub stops, the code of the rule that the
/// client broke, or 1000. Reading ends with the client's close frame. It holds no payload: what is
/// read is unframed in the reader's memory, what is written leaves from the writer's.
pub struct WebSocket<S> {
    io: S,
    /// What came behind the handshake.
    early: Bytes,
    frames: Frames,
    outgoing: Outgoing,
    /// The rule that the client broke.
    broken: Option<CloseCode>,
    shutdown: Shutdown,
    subprotocol: Subprotocol,
}

/// What is being written.
#[derive(Default)]
struct Outgoing {
    head: [u8; HEAD_BYTES],
    head_at: usize,
    head_end: usize,
    /// Bytes of payload that the current frame still needs.
    frame_left: usize,
    /// Bytes of the current MQTT packet that no frame was begun for.
    packet_left: usize,
    /// A control frame on its way out.
    control: Bytes,
    /// Whether the close frame was the last thing put into `control`.
    closed: bool,
}

impl Outgoing {
    const fn is_within_frame(&self) -> bool {
        self.head_at < self.head_end || self.frame_left > 0
    }
}

impl<S> WebSocket<S> {
    pub(super) fn new(io: S, early: Bytes, subprotocol: Subprotocol, shutdown: Shutdown) -> Self {
        Self {
            io,
            early,
            frames: Frames::default(),
            outgoing: Outgoing::default(),
            broken: None,
            shutdown,
            subprotocol,
        }
    }

    /// Begins a frame for the beginning of `bytes`, which is not empty.
    fn begin(&mut self, bytes: &[u8]) -> io::Result<()> {
        let payload = match self.subprotocol {
            Subprotocol::Mqtt => bytes.len(),
            // The first Python SDK takes one packet at a time from a frame, and looks for the next
            // only when its socket is readable again.
            Subprotocol::MqttV31 => {
                if self.outgoing.packet_left == 0 {
                    self.outgoing.packet_left = packet_bytes(bytes);
                }
                let payload = self.outgoing.packet_left.min(bytes.len());
                self.outgoing.packet_left -= payload;
                payload
            }
        };
        let head = header(OpCode::Data(Data::Binary), payload)?;
        self.outgoing.head[..head.len()].copy_from_slice(&head);
        self.outgoing.head_at = 0;
        self.outgoing.head_end = head.len();
        self.outgoing.frame_left = payload;
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Writes the control frames that are due, if one may stand here.
    fn poll_control(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while !self.outgoing.control.is_empty() {
                let written =
                    ready!(Pin::new(&mut self.io).poll_write(context, &self.outgoing.control))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.outgoing.control.advance(written);
            }
            self.outgoing.control = Bytes::new();
            if self.outgoing.closed || self.outgoing.is_within_frame() {
                return Poll::Ready(Ok(()));
            }
            match self.frames.take_ping() {
                Some(payload) => self.outgoing.control = control(Control::Pong, &payload)?,
                None => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Reads what came first: behind the handshake, then off the socket. `false` at the end.
    fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        if self.early.is_empty() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.io).poll_read(context, buffer))?;
            return Poll::Ready(Ok(buffer.filled().len() > before));
        }
        let part = self.early.len().min(buffer.remaining());
        buffer.put_slice(&self.early.split_to(part));
        if self.early.is_empty() {
            self.early = Bytes::new();
        }
        Poll::Ready(Ok(true))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let start = buffer.filled().len();
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        while this.frames.close().is_none() {
            if !ready!(this.poll_fill(context, buffer))? {
                break;
            }
            if this.broken.is_some() {
                // Frames can no longer be told apart; it is waited until the client closes.
                buffer.set_filled(start);
                continue;
            }
            let taken = this.frames.take(&mut buffer.filled_mut()[start..]);
            match taken {
                Ok(kept) => {
                    buffer.set_filled(start + kept);
                    if this.frames.wants_pong() {
                        // Should the socket not take it now, it wakes this task when it does.
                        if this.poll_control(context)?.is_ready() {
                            let _flushed_later = Pin::new(&mut this.io).poll_flush(context)?;
                        }
                    }
                    if kept > 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                Err(violation) => {
                    buffer.set_filled(start);
                    this.broken = Some(violation.code);
                    return Poll::Ready(Err(Breach {
                        reason: ReasonId(violation.reason),
                        text: violation.text,
                    }
                    .into()));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.outgoing.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if !this.outgoing.is_within_frame() {
            ready!(this.poll_control(context))?;
            this.begin(bytes)?;
        }
        loop {
            let out = &mut this.outgoing;
            let head = &out.head[out.head_at..out.head_end];
            let payload = &bytes[..out.frame_left.min(bytes.len())];
            let slices = [io::IoSlice::new(head), io::IoSlice::new(payload)];
            // A stream that takes one slice takes the first, which must not be empty.
            let slices = if head.is_empty() {
                &slices[1..]
            } else {
                &slices[..]
            };
            let written = ready!(Pin::new(&mut this.io).poll_write_vectored(context, slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_head = written.min(head.len());
            let of_payload = written - of_head;
            out.head_at += of_head;
            out.frame_left -= of_payload;
            if of_payload > 0 {
                return Poll::Ready(Ok(of_payload));
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.outgoing.is_within_frame() {
            ready!(self.poll_control(context))?;
        }
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // Within a frame a close frame would be read as payload: then the socket just closes.
        if !this.outgoing.is_within_frame() {
            ready!(this.poll_control(context))?;
            if !this.outgoing.closed {
                let code = match (this.broken, this.frames.close()) {
                    (Some(code), _) | (None, Some(code)) => code,
                    (None, None) if this.shutdown.is_requested() => CloseCode::Away,
                    (None, None) => CloseCode::Normal,
                };
                this.outgoing.control = control(Control::Close, &u16::from(code).to_be_bytes())?;
                this.outgoing.closed = true;
                ready!(this.poll_control(context))?;
            }
        }
        Pin::new(&mut this.io).poll_shutdown(context)
    }
}

/// The header of a frame that is a whole message.
fn header(opcode: OpCode, payload: usize) -> io::Result<Vec<u8>> {
    let header = FrameHeader {
        is_final: true,
        opcode,
        ..FrameHeader::default()
    };
    let mut bytes = Vec::with_capacity(HEAD_BYTES);
    header
        .format(payload as u64, &mut bytes)
        .map_err(io::Error::other)?;
    Ok(bytes)
}

/// A whole control frame.
fn control(kind: Control, payload: &[u8]) -> io::Result<Bytes> {
    debug_assert!(payload.len() <= CONTROL_BYTES);
    let mut bytes = header(OpCode::Control(kind), payload.len())?;
    bytes.extend_from_slice(payload);
    Ok(bytes.into())
}

/// Bytes of the MQTT packet that `bytes` begin with. MQTT 5.0 §2.1.4. At least 1; what is no
/// packet is as long as it is.
fn packet_bytes(bytes: &[u8]) -> usize {
    let mut length = 0;
    for (index, byte) in bytes.iter().enumerate().skip(1).take(4) {
        length |= usize::from(byte & 0x7f) << (7 * (index - 1));
        if byte & 0x80 == 0 {
            return index + 1 + length;
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tungstenite::protocol::{Message, Role, WebSocketConfig, WebSocketContext};

    use super::{
        super::frames::tests::{binary, frame},
        *,
    };

    fn pair(
        room: usize,
        early: Vec<u8>,
        subprotocol: Subprotocol,
    ) -> (DuplexStream, WebSocket<DuplexStream>) {
        let (client, server) = duplex(room);
        let (trigger, shutdown) = Shutdown::new();
        // A trigger that is gone has asked, but the flag it set is what counts here.
        drop(trigger);
        (
            client,
            WebSocket::new(server, early.into(), subprotocol, shutdown),
        )
    }

    /// The messages in what the hub sent, as `tungstenite`'s own client reads them.
    fn messages(bytes: Vec<u8>) -> Vec<Message> {
        let mut client = WebSocketContext::from_partially_read(
            bytes,
            Role::Client,
            Some(WebSocketConfig::default()),
        );
        let mut silence = Silence;
        let mut messages = Vec::new();
        while let Ok(message) = client.read(&mut silence) {
            messages.push(message);
        }
        messages
    }

    /// A stream on which nothing comes and everything goes.
    struct Silence;

    impl io::Read for Silence {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    impl io::Write for Silence {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn payloads(messages: &[Message]) -> Vec<u8> {
        messages
            .iter()
            .filter(|message| message.is_binary())
            .flat_map(|message| message.clone().into_data())
            .collect()
    }

    fn close_code(messages: &[Message]) -> Option<u16> {
        match messages.last() {
            Some(Message::Close(Some(frame))) => Some(frame.code.into()),
            _ => None,
        }
    }

    #[tokio::test]
    async fn bytes_pass_both_ways_through_a_narrow_pipe() {
        let sent: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        let (client, mut socket) = pair(7, binary(b"early"), Subprotocol::Mqtt);
        let (mut reading, mut writing) = tokio::io::split(client);
        let hub = async {
            let mut heard = [0; 10];
            socket.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"earlylater");
            socket.write_all(&sent).await.unwrap();
            socket.flush().await.unwrap();
            socket.shutdown().await.unwrap();
        };
        let client = async {
            writing.write_all(&binary(b"later")).await.unwrap();
            let mut heard = Vec::new();
            reading.read_to_end(&mut heard).await.unwrap();
            heard
        };
        let ((), heard) = tokio::join!(hub, client);
        let messages = messages(heard);
        assert_eq!(payloads(&messages), sent);
        assert_eq!(close_code(&messages), Some(1000));
    }

    #[tokio::test]
    async fn a_ping_is_answered_while_nothing_is_said() {
        let (mut client, mut socket) = pair(1024, Vec::new(), Subprotocol::Mqtt);
        let ping = frame(OpCode::Control(Control::Ping), true, b"there?");
        client.write_all(&ping).await.unwrap();
        client.write_all(&binary(b"x")).await.unwrap();
        let mut heard = [0];
        socket.read_exact(&mut heard).await.unwrap();
        let mut pong = [0; 8];
        client.read_exact(&mut pong).await.unwrap();
        assert_eq!(&pong, b"\x8a\x06there?");
    }

    #[tokio::test]
    async fn a_broken_rule_is_told_and_the_rest_is_thrown_away() {
        let (client, mut socket) = pair(1024, Vec::new(), Subprotocol::Mqtt);
        let (mut reading, mut writing) = tokio::io::split(client);
        let text = frame(OpCode::Data(Data::Text), true, b"hi");
        writing.write_all(&text).await.unwrap();
        let error = socket.read(&mut [0; 16]).await.unwrap_err();
        let breach = error.get_ref().unwrap().downcast_ref::<Breach>().unwrap();
        assert_eq!(breach.reason, ReasonId("websocket.text"));
        socket.shutdown().await.unwrap();
        writing.write_all(&binary(b"more")).await.unwrap();
        writing.shutdown().await.unwrap();
        assert_eq!(socket.read(&mut [0; 16]).await.unwrap(), 0);
        drop(socket);
        let mut heard = Vec::new();
        reading.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"\x88\x02\x03\xeb");
    }

    #[tokio::test]
    async fn a_close_frame_is_the_end_and_is_answered_with_its_code() {
        let (mut client, mut socket) = pair(1024, Vec::new(), Subprotocol::Mqtt);
        let close = frame(OpCode::Control(Control::Close), true, b"\x0f\xa1bye");
        client.write_all(&close).await.unwrap();
        assert_eq!(socket.read(&mut [0; 16]).await.unwrap(), 0);
        socket.shutdown().await.unwrap();
        assert!(socket.write(b"x").await.is_err());
        drop(socket);
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"\x88\x02\x0f\xa1");
    }

    #[tokio::test]
    async fn a_hub_that_stops_goes_away() {
        let (mut client, server) = duplex(64);
        let (trigger, shutdown) = Shutdown::new();
        let mut socket = WebSocket::new(server, Bytes::new(), Subprotocol::Mqtt, shutdown);
        trigger.request();
        socket.shutdown().await.unwrap();
        let mut heard = [0; 4];
        client.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, *b"\x88\x02\x03\xe9");
    }

    #[tokio::test]
    async fn the_first_sdks_are_sent_a_packet_in_each_frame() {
        let ping = b"\xd0\x00";
        let publish = [&b"\x30\x82\x01\x00\x01a"[..], &[7; 127]].concat();
        let packets = [&ping[..], &publish, &ping[..]];
        for (subprotocol, frames) in [(Subprotocol::MqttV31, 3), (Subprotocol::Mqtt, 1)] {
            let (mut client, mut socket) = pair(1024, Vec::new(), subprotocol);
            socket.write_all(&packets.concat()).await.unwrap();
            socket.flush().await.unwrap();
            drop(socket);
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).await.unwrap();
            let messages = messages(heard);
            assert_eq!(messages.len(), frames);
            assert_eq!(payloads(&messages), packets.concat());
        }
    }
}
