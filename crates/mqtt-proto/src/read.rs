//! The data types of MQTT 5.0 §1.5, read off the front of shared bytes.

use std::num::NonZeroU16;

use bytes::{Buf, Bytes};
use bytestring::ByteString;

use crate::DecodeError;

/// What is left of a packet, or of a list of properties.
#[derive(Debug)]
pub(crate) struct Reader {
    bytes: Bytes,
}

/// The largest number a variable byte integer holds. §1.5.5.
pub(crate) const VARINT_MAX: u32 = 268_435_455;

const SHORT: DecodeError = DecodeError::malformed("1.5", "the packet ends within a field");

/// A variable byte integer at the front of `bytes`: the number and how many bytes it takes;
/// `None` when its end has not arrived. §1.5.5.
pub(crate) fn varint(bytes: &[u8]) -> Result<Option<(u32, usize)>, DecodeError> {
    let mut number = 0;
    for at in 0..4 {
        let Some(&byte) = bytes.get(at) else {
            return Ok(None);
        };
        number |= u32::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            if byte == 0 && at > 0 {
                return Err(DecodeError::malformed(
                    "1.5.5 (3.1.1 2.2.3)",
                    "a length is not in its shortest form",
                ));
            }
            return Ok(Some((number, at + 1)));
        }
    }
    Err(DecodeError::malformed(
        "1.5.5 (3.1.1 2.2.3)",
        "a length takes more than four bytes",
    ))
}

impl Reader {
    pub(crate) const fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        let &byte = self.bytes.first().ok_or(SHORT)?;
        self.bytes.advance(1);
        Ok(byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        let &number = self.bytes.first_chunk().ok_or(SHORT)?;
        self.bytes.advance(2);
        Ok(u16::from_be_bytes(number))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        let &number = self.bytes.first_chunk().ok_or(SHORT)?;
        self.bytes.advance(4);
        Ok(u32::from_be_bytes(number))
    }

    pub(crate) fn varint(&mut self) -> Result<u32, DecodeError> {
        let (number, bytes) = varint(&self.bytes)?.ok_or(SHORT)?;
        self.bytes.advance(bytes);
        Ok(number)
    }

    /// §2.2.1: a packet identifier is not zero.
    pub(crate) fn packet_id(&mut self) -> Result<NonZeroU16, DecodeError> {
        NonZeroU16::new(self.u16()?).ok_or(DecodeError::protocol(
            "2.2.1 (3.1.1 2.3.1)",
            "the packet identifier is 0",
        ))
    }

    /// Binary data. §1.5.6.
    pub(crate) fn binary(&mut self) -> Result<Bytes, DecodeError> {
        let bytes = usize::from(self.u16()?);
        if bytes > self.bytes.len() {
            return Err(SHORT);
        }
        Ok(self.bytes.split_to(bytes))
    }

    /// A UTF-8 encoded string. §1.5.4: no surrogates, which UTF-8 proper excludes, no U+0000.
    pub(crate) fn string(&mut self) -> Result<ByteString, DecodeError> {
        let text = ByteString::try_from(self.binary()?).map_err(|_invalid| {
            DecodeError::malformed("1.5.4 (3.1.1 1.5.3)", "a text is not UTF-8")
        })?;
        if text.as_bytes().contains(&0) {
            return Err(DecodeError::malformed(
                "1.5.4 (3.1.1 1.5.3)",
                "a text holds U+0000",
            ));
        }
        Ok(text)
    }

    /// The next `bytes` bytes, as a reader of their own.
    pub(crate) fn part(&mut self, bytes: usize) -> Result<Self, DecodeError> {
        if bytes > self.bytes.len() {
            return Err(SHORT);
        }
        Ok(Self::new(self.bytes.split_to(bytes)))
    }

    /// Everything that is left.
    pub(crate) fn rest(self) -> Bytes {
        self.bytes
    }

    /// The packet must have been read to its end.
    pub(crate) fn end(&self) -> Result<(), DecodeError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::malformed(
                "2.1.4 (3.1.1 2.2.3)",
                "bytes follow the end of the packet's contents",
            ))
        }
    }
}
