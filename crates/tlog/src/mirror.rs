//! The mirror protocol without the network (C2SP `tlog-mirror`, `add-entries`): entries in
//! packages, each with the proof that it belongs to a checkpoint the mirror has seen.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::limits;

use crate::{
    Hash,
    checkpoint::decimal,
    merkle::{InvalidProof, check_subtree, leaf_hash, root_of},
};

/// Entries of a whole package, as many as a tile is wide.
pub const PACKAGE_ENTRIES: u64 = 256;

/// Packages that a client should send in one request (C2SP `tlog-mirror`).
pub const PACKAGES_PER_REQUEST: usize = 32;

/// What an add-entries request begins with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AddEntries {
    /// Which log.
    pub origin: String,
    /// The first entry sent.
    pub start: u64,
    /// The size of the checkpoint that the proofs lead to; the packages may end earlier.
    pub end: u64,
    /// What the mirror gave with its last answer, or nothing.
    pub ticket: Vec<u8>,
}

/// Why bytes are not what an add-entries request holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidEntries {
    /// The origin is empty, too long or not UTF-8.
    #[error("an origin is UTF-8 and has 1 to {} bytes", limits::KEY_NAME_BYTES)]
    Origin,
    /// The interval ends before it starts, or where no tree does.
    #[error("the entries {start}..{end} are no interval of a log")]
    Interval {
        /// The first entry.
        start: u64,
        /// One past the last.
        end: u64,
    },
    /// The ticket is larger than any that was given.
    #[error("a ticket has at most {} bytes", limits::MIRROR_TICKET_BYTES)]
    Ticket,
    /// The proof is longer than any tree is high.
    #[error("a proof has at most {} hashes", limits::CONSISTENCY_HASHES)]
    Proof,
}

impl AddEntries {
    /// Reads the head off the front of a body: the head and how many bytes it took, or None when
    /// more bytes are needed.
    ///
    /// # Errors
    ///
    /// See [`InvalidEntries`].
    pub fn parse(body: &[u8]) -> Result<Option<(Self, usize)>, InvalidEntries> {
        let mut reader = Reader(body);
        let Some(length) = reader.u16() else {
            return Ok(None);
        };
        if length == 0 || length > limits::KEY_NAME_BYTES {
            return Err(InvalidEntries::Origin);
        }
        let Some(origin) = reader.take(length) else {
            return Ok(None);
        };
        let origin = std::str::from_utf8(origin).map_err(|_| InvalidEntries::Origin)?;
        let (Some(start), Some(end)) = (reader.u64(), reader.u64()) else {
            return Ok(None);
        };
        if start > end || end > limits::LOG_ENTRIES {
            return Err(InvalidEntries::Interval { start, end });
        }
        let Some(length) = reader.u16() else {
            return Ok(None);
        };
        if length > limits::MIRROR_TICKET_BYTES {
            return Err(InvalidEntries::Ticket);
        }
        let Some(ticket) = reader.take(length) else {
            return Ok(None);
        };
        let head = Self {
            origin: origin.into(),
            start,
            end,
            ticket: ticket.into(),
        };
        Ok(Some((head, body.len() - reader.0.len())))
    }

    /// Writes the head.
    ///
    /// # Panics
    ///
    /// When the origin or the ticket is longer than 65,535 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        put_bytes(&mut body, self.origin.as_bytes());
        body.extend_from_slice(&self.start.to_be_bytes());
        body.extend_from_slice(&self.end.to_be_bytes());
        put_bytes(&mut body, &self.ticket);
        body
    }

    /// What the packages of this request hold, in order; a request may end before the last.
    pub fn spans(&self) -> impl Iterator<Item = Span> + use<> {
        let (start, end) = (self.start, self.end);
        let mut next = (start < end).then_some(start);
        std::iter::from_fn(move || {
            let from = next?;
            let tile = from - from % PACKAGE_ENTRIES;
            let until = end.min(tile + PACKAGE_ENTRIES);
            next = (until < end).then_some(until);
            Some(Span {
                tile,
                start: from,
                end: until,
            })
        })
    }
}

/// What one package holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    /// Where the subtree begins that the proof is about: a multiple of [`PACKAGE_ENTRIES`].
    pub tile: u64,
    /// The first entry in the package.
    pub start: u64,
    /// One past its last entry, and the end of the subtree.
    pub end: u64,
}

/// Entries and the proof that they belong to a checkpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Package {
    /// The entries of the span, each at most 65,535 bytes.
    pub entries: Vec<Vec<u8>>,
    /// From the subtree `span.tile..span.end` to the checkpoint.
    pub proof: Vec<Hash>,
}

impl Package {
    /// Reads the package of this span off the front of what is left of a body: the package and how
    /// many bytes it took, or None when more bytes are needed.
    ///
    /// # Errors
    ///
    /// [`InvalidEntries::Proof`].
    pub fn parse(body: &[u8], span: Span) -> Result<Option<(Self, usize)>, InvalidEntries> {
        // The first pass takes nothing: a body comes in many parts, and most are no whole package.
        let mut reader = Reader(body);
        for _ in span.start..span.end {
            if reader.bytes().is_none() {
                return Ok(None);
            }
        }
        let Some([hashes]) = reader.take(1) else {
            return Ok(None);
        };
        let hashes = usize::from(*hashes);
        if hashes > limits::CONSISTENCY_HASHES {
            return Err(InvalidEntries::Proof);
        }
        let Some(proof) = reader.take(hashes * Hash::LENGTH) else {
            return Ok(None);
        };
        let took = body.len() - reader.0.len();
        let (chunks, _) = proof.as_chunks::<{ Hash::LENGTH }>();
        let mut reader = Reader(body);
        let entries = (span.start..span.end).map_while(|_| reader.bytes().map(<[u8]>::to_vec));
        let package = Self {
            entries: entries.collect(),
            proof: chunks.iter().copied().map(Hash).collect(),
        };
        Ok(Some((package, took)))
    }

    /// Writes the package.
    ///
    /// # Panics
    ///
    /// When an entry is longer than 65,535 bytes or the proof than 255 hashes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for entry in &self.entries {
            put_bytes(&mut body, entry);
        }
        body.push(
            u8::try_from(self.proof.len()).expect("a proof is no longer than a tree is high"),
        );
        for hash in &self.proof {
            body.extend_from_slice(&hash.0);
        }
        body
    }

    /// Checks that the entries are those of a checkpoint. `before` are the leaf hashes of the
    /// entries `span.tile..span.start`, which the mirror has already. Answers the leaf hashes of
    /// `span.tile..span.end`.
    ///
    /// # Errors
    ///
    /// [`InvalidProof`] when they are not, or `before` is not as long as it must be.
    pub fn check(
        &self,
        span: Span,
        before: &[Hash],
        size: u64,
        root: &Hash,
    ) -> Result<Vec<Hash>, InvalidProof> {
        let mut leaves = before.to_vec();
        leaves.extend(self.entries.iter().map(|entry| leaf_hash(entry)));
        if leaves.len() as u64 != span.end - span.tile {
            return Err(InvalidProof);
        }
        let subtree = root_of(&leaves);
        check_subtree(span.tile, span.end, &subtree, size, root, &self.proof)?;
        Ok(leaves)
    }
}

/// What a mirror answers with 202 and 409, as `text/x.tlog.mirror-info`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MirrorInfo {
    /// The size of a checkpoint that entries may be sent for.
    pub size: u64,
    /// The first entry that the mirror has not.
    pub next: u64,
    /// To be sent back with the next request.
    pub ticket: Vec<u8>,
}

/// A text that is not three lines of a size, an index and base64.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a mirror's state is three lines: a size, an index and a ticket in base64")]
pub struct InvalidMirrorInfo;

impl FromStr for MirrorInfo {
    type Err = InvalidMirrorInfo;

    fn from_str(text: &str) -> Result<Self, InvalidMirrorInfo> {
        let lines = text.strip_suffix('\n').ok_or(InvalidMirrorInfo)?;
        let mut lines = lines.split('\n');
        let mut next = || lines.next().ok_or(InvalidMirrorInfo);
        let (size, index, ticket) = (next()?, next()?, next()?);
        let ticket = STANDARD.decode(ticket).map_err(|_| InvalidMirrorInfo)?;
        if lines.next().is_some() || ticket.len() > limits::MIRROR_TICKET_BYTES {
            return Err(InvalidMirrorInfo);
        }
        Ok(Self {
            size: decimal(size).ok_or(InvalidMirrorInfo)?,
            next: decimal(index).ok_or(InvalidMirrorInfo)?,
            ticket,
        })
    }
}

impl fmt::Display for MirrorInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ticket = STANDARD.encode(&self.ticket);
        writeln!(f, "{}\n{}\n{ticket}", self.size, self.next)
    }
}

fn put_bytes(body: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).expect("what is sent has at most 65,535 bytes");
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(bytes);
}

/// Takes values off the front of bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<usize> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(usize::from(u16::from_be_bytes(*bytes)))
    }

    fn u64(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*bytes))
    }

    /// Bytes behind their 16-bit length.
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length)
    }
}

/// For the fuzzer: what is read is written back byte for byte, head and packages.
///
/// # Errors
///
/// What differed.
#[doc(hidden)]
pub fn exercise(bytes: &[u8]) -> Result<(), String> {
    let Ok(Some((head, mut at))) = AddEntries::parse(bytes) else {
        return Ok(());
    };
    if head.encode() != bytes[..at] {
        return Err(format!("written back differently: {head:?}"));
    }
    for span in head.spans() {
        let Ok(Some((package, took))) = Package::parse(&bytes[at..], span) else {
            break;
        };
        if package.encode() != bytes[at..at + took] {
            return Err(format!("written back differently: {span:?}"));
        }
        at += took;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::prove_subtree;
    use proptest::prelude::*;

    fn head(start: u64, end: u64) -> AddEntries {
        AddEntries {
            origin: "example.com/log".into(),
            start,
            end,
            ticket: b"ticket".to_vec(),
        }
    }

    fn entry(index: u64) -> Vec<u8> {
        format!("entry {index}").into_bytes()
    }

    fn leaves(size: u64) -> Vec<Hash> {
        (0..size).map(|index| leaf_hash(&entry(index))).collect()
    }

    /// The package of a span of the log of [`leaves`].
    fn package(span: Span, leaves: &[Hash]) -> Package {
        Package {
            entries: (span.start..span.end).map(entry).collect(),
            proof: prove_subtree(span.tile, span.end, leaves.len() as u64, &leaves.to_vec())
                .unwrap(),
        }
    }

    #[test]
    fn packages_end_where_tiles_end() {
        let spans = |start, end| {
            let spans = head(start, end).spans();
            spans
                .map(|span| (span.tile, span.start, span.end))
                .collect::<Vec<_>>()
        };
        assert_eq!(spans(5, 5), []);
        assert_eq!(spans(0, 256), [(0, 0, 256)]);
        assert_eq!(spans(0, 257), [(0, 0, 256), (256, 256, 257)]);
        assert_eq!(spans(300, 700), [(256, 300, 512), (512, 512, 700)]);
        assert_eq!(spans(256, 260), [(256, 256, 260)]);
    }

    #[test]
    fn the_head_is_laid_out_as_the_specification_says() {
        let head = AddEntries {
            origin: "ab".into(),
            start: 1,
            end: 258,
            ticket: vec![7],
        };
        let expected = b"\0\x02ab\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x01\x02\0\x01\x07";
        assert_eq!(head.encode(), expected);
        assert_eq!(
            AddEntries::parse(expected),
            Ok(Some((head, expected.len())))
        );
        for end in 0..expected.len() {
            assert_eq!(AddEntries::parse(&expected[..end]), Ok(None), "{end}");
        }
        let mut body = expected.to_vec();
        body[11] = 3;
        body[10] = 3;
        let interval = InvalidEntries::Interval {
            start: 771,
            end: 258,
        };
        assert_eq!(AddEntries::parse(&body), Err(interval));
        assert_eq!(AddEntries::parse(b"\0\0"), Err(InvalidEntries::Origin));
        assert_eq!(AddEntries::parse(b"\x01\0"), Err(InvalidEntries::Origin));
        assert_eq!(
            AddEntries::parse(b"\0\x01\xff"),
            Err(InvalidEntries::Origin)
        );
    }

    #[test]
    fn a_mirror_tells_how_far_it_is() {
        let info = MirrorInfo {
            size: 700,
            next: 256,
            ticket: b"t".to_vec(),
        };
        assert_eq!(info.to_string(), "700\n256\ndA==\n");
        assert_eq!("700\n256\ndA==\n".parse(), Ok(info));
        assert!("0\n0\n\n".parse::<MirrorInfo>().is_ok());
        for wrong in [
            "",
            "0\n0\n",
            "0\n0\n\n\n",
            "0\n00\n\n",
            "0\n0\nx\n",
            "0\n0\ndA==",
            "0 \n0\n\n",
        ] {
            assert_eq!(
                wrong.parse::<MirrorInfo>(),
                Err(InvalidMirrorInfo),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn a_package_of_other_entries_is_refused() {
        let leaves = leaves(700);
        let whole = root_of(&leaves);
        for span in head(300, 700).spans() {
            let package = package(span, &leaves);
            let before = &leaves[span.tile as usize..span.start as usize];
            let checked = package.check(span, before, 700, &whole).unwrap();
            assert_eq!(checked, leaves[span.tile as usize..span.end as usize]);

            let mut changed = package.clone();
            changed.entries[3].push(b'!');
            assert!(changed.check(span, before, 700, &whole).is_err());
            let mut swapped = package.clone();
            swapped.entries.swap(0, 1);
            assert!(swapped.check(span, before, 700, &whole).is_err());
            let mut missing = package.clone();
            missing.entries.pop();
            assert!(missing.check(span, before, 700, &whole).is_err());
            assert!(package.check(span, before, 700, &Hash([0; 32])).is_err());
        }
    }

    #[test]
    fn a_package_is_whole_or_waited_for() {
        let leaves = leaves(5);
        let span = head(2, 5).spans().next().unwrap();
        let body = package(span, &leaves).encode();
        for end in 0..body.len() {
            assert_eq!(Package::parse(&body[..end], span), Ok(None), "{end}");
        }
        let longer = [&body[..], b"more"].concat();
        let (read, took) = Package::parse(&longer, span).unwrap().unwrap();
        assert_eq!((read, took), (package(span, &leaves), body.len()));
        let mut endless = body;
        let at = endless.len() - 1 - 32 * package(span, &leaves).proof.len();
        endless[at] = 64;
        assert_eq!(Package::parse(&endless, span), Err(InvalidEntries::Proof));
    }

    proptest! {
        #[test]
        fn no_bytes_are_read_as_something_else(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            exercise(&bytes).unwrap();
            let head = head(0, 3).encode();
            exercise(&[head, bytes].concat()).unwrap();
        }
    }
}
