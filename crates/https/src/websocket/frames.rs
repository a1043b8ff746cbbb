//! What a client's frames hold: bytes off the socket in, payload out, in the same memory.
//!
//! [`Frames::take`] is fed whatever was read, cut anywhere. It unmasks the payload of binary
//! messages where it lies and moves it together, so that nothing is copied twice and an idle
//! connection holds no buffer. Everything else a client may send is control frames of at most 125
//! bytes. Frames are read by `tungstenite`; what they may hold is decided here.
//!
//! Source: RFC 6455 §5; MQTT 5.0 §6.

use std::{borrow::Cow, io::Cursor};

use model::limits;
use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{CloseCode, Control, Data, OpCode},
};

/// Bytes of the longest frame header.
const HEAD_BYTES: usize = 14;

/// Bytes of the longest payload of a control frame. RFC 6455 §5.5.
pub(crate) const CONTROL_BYTES: usize = 125;

/// A rule that the client broke. The connection ends with the close code.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Violation {
    pub(crate) code: CloseCode,
    pub(crate) reason: &'static str,
    pub(crate) text: Cow<'static, str>,
}

/// The frames of one connection, read from the client's side.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// The beginning of a header whose rest has not come yet.
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    frame: Option<Frame>,
    /// Bytes of the message that is in fragments, so far.
    message: Option<u64>,
    control: Vec<u8>,
    ping: Option<Vec<u8>>,
    close: Option<CloseCode>,
}

/// A frame whose payload is coming.
#[derive(Debug)]
struct Frame {
    kind: Kind,
    mask: [u8; 4],
    left: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Data { last: bool },
    Ping,
    Pong,
    Close,
}

impl Frames {
    /// Takes what came next and leaves the payload of it at the beginning of `bytes`: as many
    /// bytes as this answers. What follows a close frame is ignored.
    ///
    /// # Errors
    ///
    /// A [`Violation`], after which nothing more can be taken.
    pub(crate) fn take(&mut self, bytes: &mut [u8]) -> Result<usize, Violation> {
        let (mut read, mut kept) = (0, 0);
        while read < bytes.len() && self.close.is_none() {
            match &mut self.frame {
                None => read += self.begin(&bytes[read..])?,
                Some(frame) => {
                    let left = usize::try_from(frame.left).unwrap_or(usize::MAX);
                    let end = read + left.min(bytes.len() - read);
                    let part = end - read;
                    unmask(&mut bytes[read..end], &mut frame.mask);
                    frame.left -= part as u64;
                    if matches!(frame.kind, Kind::Data { .. }) {
                        bytes.copy_within(read..end, kept);
                        kept += part;
                    } else {
                        self.control.extend_from_slice(&bytes[read..end]);
                    }
                    read = end;
                    self.finish()?;
                }
            }
        }
        Ok(kept)
    }

    /// The payload of the newest ping that was not answered yet. RFC 6455 §5.5.3 lets the older
    /// ones go.
    pub(crate) const fn take_ping(&mut self) -> Option<Vec<u8>> {
        self.ping.take()
    }

    /// Whether a pong is due.
    pub(crate) const fn wants_pong(&self) -> bool {
        self.ping.is_some()
    }

    /// The code of the client's close frame, once it has come.
    pub(crate) const fn close(&self) -> Option<CloseCode> {
        self.close
    }

    /// Takes a header, or what there is of it. Answers how many bytes of `bytes` belong to it.
    fn begin(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let before = self.head_bytes;
        let taken = bytes.len().min(HEAD_BYTES - before);
        let end = before + taken;
        self.head[before..end].copy_from_slice(&bytes[..taken]);
        let mut cursor = Cursor::new(&self.head[..end]);
        let header = FrameHeader::parse(&mut cursor)
            .map_err(|error| protocol(format!("a frame cannot be read: {error}")))?;
        let Some((header, length)) = header else {
            // Not complete, for a complete one fits into `head`.
            self.head_bytes = end;
            return Ok(taken);
        };
        let head_bytes = usize::try_from(cursor.position()).unwrap_or(HEAD_BYTES);
        self.head_bytes = 0;
        // RFC 6455 §5.2: the minimal number of bytes must be used to encode the length.
        if header.len(length) != head_bytes {
            return Err(protocol(
                "the length of a frame is not in its shortest form",
            ));
        }
        self.frame = Some(self.judge(&header, length)?);
        self.finish()?;
        Ok(head_bytes - before)
    }

    fn judge(&mut self, header: &FrameHeader, length: u64) -> Result<Frame, Violation> {
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(protocol(
                "a frame uses an extension, and none was agreed on in the handshake",
            ));
        }
        let Some(mask) = header.mask else {
            return Err(protocol(
                "a frame is not masked, as all frames of clients are",
            ));
        };
        let kind = match header.opcode {
            OpCode::Data(data) => self.judge_data(data, header.is_final, length)?,
            OpCode::Control(control) => {
                if !header.is_final || length > CONTROL_BYTES as u64 {
                    return Err(protocol(
                        "a control frame is in fragments or longer than 125 bytes",
                    ));
                }
                match control {
                    Control::Close => Kind::Close,
                    Control::Ping => Kind::Ping,
                    Control::Pong => Kind::Pong,
                    Control::Reserved(code) => {
                        return Err(protocol(format!("the opcode {code:#x} is reserved")));
                    }
                }
            }
        };
        Ok(Frame {
            kind,
            mask,
            left: length,
        })
    }

    fn judge_data(&mut self, data: Data, last: bool, length: u64) -> Result<Kind, Violation> {
        let before = match (data, self.message) {
            (Data::Binary, None) => 0,
            (Data::Continue, Some(before)) => before,
            // MQTT 5.0 §6: the connection ends when anything but a binary frame comes.
            (Data::Text, _) => {
                return Err(Violation {
                    code: CloseCode::Unsupported,
                    reason: "websocket.text",
                    text: "a text frame came; MQTT travels in binary frames".into(),
                });
            }
            (Data::Binary, Some(_)) => {
                return Err(protocol("a message begins within another one"));
            }
            (Data::Continue, None) => {
                return Err(protocol(
                    "a continuation frame came with nothing to continue",
                ));
            }
            (Data::Reserved(code), _) => {
                return Err(protocol(format!("the opcode {code:#x} is reserved")));
            }
        };
        let message = before.saturating_add(length);
        if message > limits::WEBSOCKET_MESSAGE_BYTES {
            return Err(Violation {
                code: CloseCode::Size,
                reason: "websocket.too-large",
                text: format!(
                    "a message of {message} bytes or more came, the hub takes {}; send each MQTT \
                     packet in a message of its own",
                    limits::WEBSOCKET_MESSAGE_BYTES
                )
                .into(),
            });
        }
        self.message = Some(message);
        Ok(Kind::Data { last })
    }

    /// Ends the current frame if all of it has come.
    fn finish(&mut self) -> Result<(), Violation> {
        let Some(frame) = self.frame.take_if(|frame| frame.left == 0) else {
            return Ok(());
        };
        match frame.kind {
            Kind::Data { last } => {
                if last {
                    self.message = None;
                }
            }
            Kind::Ping => self.ping = Some(std::mem::take(&mut self.control)),
            Kind::Pong => self.control = Vec::new(),
            Kind::Close => self.close = Some(read_close(&std::mem::take(&mut self.control))?),
        }
        Ok(())
    }
}

/// The code in a close frame; a close frame without one is answered like a normal end.
fn read_close(payload: &[u8]) -> Result<CloseCode, Violation> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return match payload {
            [] => Ok(CloseCode::Normal),
            _ => Err(protocol("a close frame holds half a code")),
        };
    };
    let code = CloseCode::from(u16::from_be_bytes(*code));
    if !code.is_allowed() {
        return Err(protocol(format!("nobody may send the close code {code}")));
    }
    if std::str::from_utf8(reason).is_err() {
        return Err(Violation {
            code: CloseCode::Invalid,
            reason: "websocket.protocol",
            text: "the reason in a close frame is not UTF-8".into(),
        });
    }
    Ok(code)
}

/// Unmasks a part of a payload, and turns the mask so that it begins with the byte that is next.
fn unmask(bytes: &mut [u8], mask: &mut [u8; 4]) {
    // Eight bytes at a time; the mask repeats after four.
    let [a, b, c, d] = *mask;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    mask.rotate_left(bytes.len() % 4);
}

fn protocol(text: impl Into<Cow<'static, str>>) -> Violation {
    Violation {
        code: CloseCode::Protocol,
        reason: "websocket.protocol",
        text: text.into(),
    }
}

/// For the fuzzer: frames hold the same payload, or break the same rule, however they are cut.
///
/// # Errors
///
/// Says what differs.
pub fn exercise(bytes: &[u8]) -> Result<(), String> {
    let read = |piece: usize| {
        let mut frames = Frames::default();
        let mut payload = Vec::new();
        for part in bytes.chunks(piece) {
            let mut part = part.to_vec();
            match frames.take(&mut part) {
                Ok(kept) => payload.extend_from_slice(&part[..kept]),
                // The payload before it in the same piece is lost with it.
                Err(violation) => return (Vec::new(), None, None, Some(violation)),
            }
            if frames.control.len() > CONTROL_BYTES || payload.len() > bytes.len() {
                return (payload, Some(CloseCode::Error), None, None);
            }
        }
        (payload, frames.close, frames.ping, None)
    };
    let whole = read(bytes.len().max(1));
    if whole.1 == Some(CloseCode::Error) {
        return Err("more is held than was sent".into());
    }
    for piece in [1, 3, 14] {
        let cut = read(piece);
        if cut != whole {
            return Err(format!("in pieces of {piece}: {cut:?}; whole: {whole:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// A frame as a client sends it.
    pub(crate) fn frame(opcode: OpCode, last: bool, payload: &[u8]) -> Vec<u8> {
        let header = FrameHeader {
            is_final: last,
            opcode,
            mask: Some(MASK),
            ..FrameHeader::default()
        };
        let mut bytes = Vec::new();
        header.format(payload.len() as u64, &mut bytes).unwrap();
        bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(b, m)| b ^ m));
        bytes
    }

    pub(crate) fn binary(payload: &[u8]) -> Vec<u8> {
        frame(OpCode::Data(Data::Binary), true, payload)
    }

    fn continuation(last: bool, payload: &[u8]) -> Vec<u8> {
        frame(OpCode::Data(Data::Continue), last, payload)
    }

    fn control(kind: Control, payload: &[u8]) -> Vec<u8> {
        frame(OpCode::Control(kind), true, payload)
    }

    /// The payload of `bytes`, taken in pieces of `piece` bytes.
    fn take(frames: &mut Frames, bytes: &[u8], piece: usize) -> Result<Vec<u8>, Violation> {
        let mut payload = Vec::new();
        for part in bytes.chunks(piece) {
            let mut part = part.to_vec();
            let kept = frames.take(&mut part)?;
            payload.extend_from_slice(&part[..kept]);
        }
        Ok(payload)
    }

    #[test]
    fn payload_is_the_same_however_frames_and_reads_are_cut() {
        let long: Vec<u8> = (0..70_000_u32).map(|n| n as u8).collect();
        let stream = [
            binary(b"one"),
            frame(OpCode::Data(Data::Binary), false, b"tw"),
            control(Control::Ping, b"in between"),
            continuation(false, b""),
            continuation(true, b"o"),
            binary(b""),
            control(Control::Pong, b"unasked"),
            binary(&long[..300]),
            binary(&long),
        ]
        .concat();
        let expected = [b"onetwo".as_slice(), &long[..300], &long].concat();
        for piece in [1, 2, 3, 7, 13, 14, 15, 1000, stream.len()] {
            let mut frames = Frames::default();
            assert_eq!(take(&mut frames, &stream, piece).unwrap(), expected);
            assert_eq!(frames.take_ping().as_deref(), Some(&b"in between"[..]));
            assert!(frames.close().is_none() && frames.control.capacity() == 0);
        }
    }

    #[test]
    fn a_close_frame_ends_the_stream_with_its_code() {
        for (payload, code) in [
            (&b""[..], CloseCode::Normal),
            (b"\x03\xe9", CloseCode::Away),
            (b"\x03\xe8bye", CloseCode::Normal),
            (b"\x0f\xa0", CloseCode::from(4000)),
        ] {
            let mut frames = Frames::default();
            let stream = [
                binary(b"a"),
                control(Control::Close, payload),
                binary(b"late"),
            ];
            assert_eq!(take(&mut frames, &stream.concat(), 4).unwrap(), b"a");
            assert_eq!(frames.close(), Some(code));
        }
    }

    #[test]
    fn what_breaks_the_rules_is_refused_with_the_code_that_says_so() {
        let unmasked = {
            let mut bytes = Vec::new();
            let header = FrameHeader {
                opcode: OpCode::Data(Data::Binary),
                ..FrameHeader::default()
            };
            header.format(2, &mut bytes).unwrap();
            [bytes, b"hi".to_vec()].concat()
        };
        let with_first_byte = |byte: u8| {
            let mut bytes = binary(b"x");
            bytes[0] = byte;
            bytes
        };
        let largest = usize::try_from(limits::WEBSOCKET_MESSAGE_BYTES).unwrap();
        let in_fragments = [
            frame(OpCode::Data(Data::Binary), false, &vec![0; largest]),
            continuation(true, b"x"),
        ];
        for (what, bytes, code, reason) in [
            (
                "text",
                frame(OpCode::Data(Data::Text), true, b"hi"),
                1003,
                "websocket.text",
            ),
            ("unmasked", unmasked, 1002, "websocket.protocol"),
            (
                "an extension",
                with_first_byte(0xc2),
                1002,
                "websocket.protocol",
            ),
            (
                "a reserved opcode",
                with_first_byte(0x83),
                1002,
                "websocket.protocol",
            ),
            (
                "a reserved control opcode",
                with_first_byte(0x8b),
                1002,
                "websocket.protocol",
            ),
            (
                "nothing to continue",
                continuation(true, b"x"),
                1002,
                "websocket.protocol",
            ),
            (
                "one in another",
                [frame(OpCode::Data(Data::Binary), false, b"x"), binary(b"y")].concat(),
                1002,
                "websocket.protocol",
            ),
            (
                "a ping in fragments",
                frame(OpCode::Control(Control::Ping), false, b""),
                1002,
                "websocket.protocol",
            ),
            (
                "a long ping",
                control(Control::Ping, &[0; 126]),
                1002,
                "websocket.protocol",
            ),
            (
                "half a code",
                control(Control::Close, &[3]),
                1002,
                "websocket.protocol",
            ),
            (
                "code 1005",
                control(Control::Close, b"\x03\xed"),
                1002,
                "websocket.protocol",
            ),
            (
                "a reason",
                control(Control::Close, b"\x03\xe8\xff"),
                1007,
                "websocket.protocol",
            ),
            (
                "too large",
                binary(&vec![0; largest + 1]),
                1009,
                "websocket.too-large",
            ),
            (
                "too large in all",
                in_fragments.concat(),
                1009,
                "websocket.too-large",
            ),
            (
                "a claimed length",
                [&[0x82, 0xff][..], &[0xff; 8], &MASK].concat(),
                1009,
                "websocket.too-large",
            ),
            (
                "a long length",
                [&[0x82, 0xfe, 0, 1][..], &MASK, b"x"].concat(),
                1002,
                "websocket.protocol",
            ),
        ] {
            let least = bytes.len() / 1000 + 1;
            for piece in [least, 5 * least, bytes.len()] {
                let violation = take(&mut Frames::default(), &bytes, piece).expect_err(what);
                assert_eq!(
                    u16::from(violation.code),
                    code,
                    "{what}: {}",
                    violation.text
                );
                assert_eq!(violation.reason, reason, "{what}");
            }
        }
    }

    #[test]
    fn the_largest_message_is_taken() {
        let largest = usize::try_from(limits::WEBSOCKET_MESSAGE_BYTES).unwrap();
        let taken = take(
            &mut Frames::default(),
            &binary(&vec![7; largest]),
            32 * 1024,
        );
        assert_eq!(taken.unwrap().len(), largest);
    }
}
