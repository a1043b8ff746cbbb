//! The little of DER that is read without a parser behind it: tag, length, contents.
//!
//! Only lengths that the remaining input holds are accepted, so nothing is ever allocated or
//! skipped on the word of a length.

/// SEQUENCE, constructed.
pub(crate) const SEQUENCE: u8 = 0x30;
/// INTEGER.
pub(crate) const INTEGER: u8 = 0x02;
/// BIT STRING.
pub(crate) const BIT_STRING: u8 = 0x03;
/// `[0] EXPLICIT`, the version of a certificate.
pub(crate) const CONTEXT_0: u8 = 0xa0;

/// The input is not the DER that was expected.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not the expected DER")]
pub(crate) struct Unexpected;

/// One value: its contents, and all of it with tag and length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'a> {
    pub(crate) tag: u8,
    pub(crate) contents: &'a [u8],
    pub(crate) whole: &'a [u8],
}

/// Values one after another.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    /// Whether everything was read.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tag of the next value, unless there is none.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// Reads the next value, whatever it is.
    pub(crate) fn any(&mut self) -> Result<Value<'a>, Unexpected> {
        let (&tag, rest) = self.0.split_first().ok_or(Unexpected)?;
        if tag & 0x1f == 0x1f {
            return Err(Unexpected); // X.509 has no tags of more than one byte.
        }
        let (&first, rest) = rest.split_first().ok_or(Unexpected)?;
        let (length, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            let bytes = usize::from(first & 0x7f);
            if bytes == 0 || bytes > 3 || rest.len() < bytes {
                return Err(Unexpected); // Indefinite, or beyond 16 MiB.
            }
            let (digits, rest) = rest.split_at(bytes);
            let length = digits
                .iter()
                .fold(0, |length, digit| length << 8 | usize::from(*digit));
            (length, rest)
        };
        let contents = rest.get(..length).ok_or(Unexpected)?;
        let header = self.0.len() - rest.len();
        let (whole, rest) = self.0.split_at(header + length);
        self.0 = rest;
        Ok(Value {
            tag,
            contents,
            whole,
        })
    }

    /// Reads the next value, which must have this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Result<Value<'a>, Unexpected> {
        let value = self.any()?;
        if value.tag == tag {
            Ok(value)
        } else {
            Err(Unexpected)
        }
    }
}

/// What certificates and requests have in common: `SEQUENCE { body, algorithm, signature }`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed<'a> {
    /// The signed bytes, tag and length included.
    pub(crate) message: &'a [u8],
    /// The contents of the body.
    pub(crate) body: &'a [u8],
    /// The contents of the outer AlgorithmIdentifier.
    pub(crate) algorithm: &'a [u8],
    /// The signature, without the count of unused bits.
    pub(crate) signature: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Reads the whole input as one signed value.
    pub(crate) fn read(input: &'a [u8]) -> Result<Self, Unexpected> {
        let mut outer = Reader::new(input);
        let mut parts = Reader::new(outer.expect(SEQUENCE)?.contents);
        let body = parts.expect(SEQUENCE)?;
        let algorithm = parts.expect(SEQUENCE)?;
        let signature = parts.expect(BIT_STRING)?;
        if !outer.is_empty() || !parts.is_empty() {
            return Err(Unexpected);
        }
        let Some((0, signature)) = signature.contents.split_first() else {
            return Err(Unexpected);
        };
        Ok(Self {
            message: body.whole,
            body: body.contents,
            algorithm: algorithm.contents,
            signature,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_beyond_the_input_is_refused() {
        check(&[0x30, 0x02, 0x05], None);
        check(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], None);
        check(&[0x30, 0x80, 0x00, 0x00], None);
        check(&[0x30], None);
        check(&[], None);
        check(&[0x30, 0x00], Some(&[]));
        check(&[0x30, 0x81, 0x01, 0x05], Some(&[5]));
    }

    #[track_caller]
    fn check(input: &[u8], contents: Option<&[u8]>) {
        let read = Reader::new(input).any().ok().map(|value| value.contents);
        assert_eq!(read, contents);
    }
}
