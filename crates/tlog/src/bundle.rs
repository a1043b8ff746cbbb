//! Entry bundles: up to 256 entries, each behind its length (C2SP `tlog-tiles`, "Log entries").

/// The most bytes of an entry: what its two length bytes can say.
pub const MAX_ENTRY_BYTES: usize = u16::MAX as usize;

/// An entry that a bundle cannot hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an entry of {0} bytes is longer than a bundle can hold, {MAX_ENTRY_BYTES}")]
pub struct EntryTooLong(pub usize);

/// A bundle that ends inside an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the bundle ends inside the entry that begins at byte {at}")]
pub struct InvalidBundle {
    /// Where the length of the unfinished entry stands.
    pub at: usize,
}

/// Appends an entry to a bundle: two bytes of length, big-endian, and its bytes.
///
/// # Errors
///
/// When the entry is longer than [`MAX_ENTRY_BYTES`]; the bundle is then as it was.
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), EntryTooLong> {
    let length = u16::try_from(entry.len()).map_err(|_| EntryTooLong(entry.len()))?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// The entries of a bundle. After the first error there is nothing more.
pub fn bundle_entries(bundle: &[u8]) -> impl Iterator<Item = Result<&[u8], InvalidBundle>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = bundle.get(at..).filter(|rest| !rest.is_empty())?;
        let start = at;
        let entry = rest.split_first_chunk().and_then(|(length, rest)| {
            let length = usize::from(u16::from_be_bytes(*length));
            at += 2 + length;
            rest.get(..length)
        });
        if entry.is_none() {
            at = bundle.len();
        }
        Some(entry.ok_or(InvalidBundle { at: start }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bundle_that_ends_inside_an_entry_is_refused_where_it_begins() {
        check(b"", &[], None);
        check(b"\0\x01a\0\0", &[b"a", b""], None);
        check(b"\0", &[], Some(0));
        check(b"\0\x01", &[], Some(0));
        check(b"\0\x01a\0\x02b", &[b"a"], Some(3));
        check(b"\xff\xffa", &[], Some(0));
    }

    #[test]
    fn an_entry_that_is_too_long_is_refused() {
        let mut bundle = Vec::new();
        let longest = vec![0; MAX_ENTRY_BYTES];
        assert_eq!(push_entry(&mut bundle, &longest), Ok(()));
        assert_eq!(bundle.len(), 65_537);
        let longer = vec![0; MAX_ENTRY_BYTES + 1];
        assert_eq!(push_entry(&mut bundle, &longer), Err(EntryTooLong(65_536)));
        assert_eq!(bundle.len(), 65_537);
    }

    proptest! {
        #[test]
        fn what_is_bundled_is_read_back(
            entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..20),
        ) {
            let mut bundle = Vec::new();
            for entry in &entries {
                push_entry(&mut bundle, entry).unwrap();
            }
            let read: Result<Vec<_>, _> = bundle_entries(&bundle).collect();
            prop_assert_eq!(read.unwrap(), entries);
        }

        #[test]
        fn what_is_read_is_what_the_bundle_says(bundle in prop::collection::vec(any::<u8>(), 0..99)) {
            let mut again = Vec::new();
            let mut broken = false;
            for entry in bundle_entries(&bundle) {
                prop_assert!(!broken);
                match entry {
                    Ok(entry) => push_entry(&mut again, entry).unwrap(),
                    Err(error) => {
                        prop_assert_eq!(error.at, again.len());
                        broken = true;
                    }
                }
            }
            prop_assert!(bundle.starts_with(&again));
            prop_assert_eq!(broken, again.len() < bundle.len());
        }
    }

    #[track_caller]
    fn check(bundle: &[u8], entries: &[&[u8]], fault: Option<usize>) {
        let mut read = bundle_entries(bundle);
        for entry in entries {
            assert_eq!(read.next(), Some(Ok(*entry)));
        }
        let expected = fault.map(|at| Err(InvalidBundle { at }));
        assert_eq!(read.next(), expected);
        assert_eq!(read.next(), None);
    }
}
