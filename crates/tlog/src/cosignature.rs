//! What a cosigner signs: a checkpoint and when it was seen (C2SP `tlog-cosignature`).

/// The label of a signed ML-DSA-44 message.
const SUBTREE_LABEL: &[u8; 12] = b"subtree/v1\n\0";

/// Bytes of the time in front of a cosignature.
pub(crate) const TIME_BYTES: usize = 8;

/// The message of an Ed25519 cosignature over a whole note text, seen at `seconds` since 1970.
pub(crate) fn ed25519_message(note_text: &str, seconds: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {seconds}\n{note_text}").into_bytes()
}

/// The leaves, from `start` to before `end`, whose root a message is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Subtree<'a> {
    pub(crate) origin: &'a str,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) root: &'a crate::Hash,
}

/// The message of an ML-DSA-44 cosignature by the cosigner of this name. None when a name does
/// not fit its length byte.
pub(crate) fn ml_dsa_44_message(
    cosigner: &str,
    seconds: u64,
    subtree: &Subtree<'_>,
) -> Option<Vec<u8>> {
    let mut message = SUBTREE_LABEL.to_vec();
    put_name(&mut message, cosigner)?;
    message.extend_from_slice(&seconds.to_be_bytes());
    put_name(&mut message, subtree.origin)?;
    message.extend_from_slice(&subtree.start.to_be_bytes());
    message.extend_from_slice(&subtree.end.to_be_bytes());
    message.extend_from_slice(&subtree.root.0);
    Some(message)
}

/// `opaque name<1..2^8-1>` (RFC 8446, section 3.4).
fn put_name(message: &mut Vec<u8>, name: &str) -> Option<()> {
    let length = u8::try_from(name.len()).ok().filter(|length| *length > 0)?;
    message.push(length);
    message.extend_from_slice(name.as_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hash;

    #[test]
    fn the_ed25519_message_is_the_one_of_the_specification() {
        let text = "example.com/behind-the-sofa\n20852163\n\
            CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let expected = "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n\
            CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        assert_eq!(ed25519_message(text, 1_679_315_147), expected.as_bytes());
    }

    #[test]
    fn the_ml_dsa_message_says_who_when_which_and_what() {
        let subtree = Subtree {
            origin: "log",
            start: 0,
            end: 258,
            root: &Hash([7; 32]),
        };
        let mut expected = b"subtree/v1\n\0\x02w1\0\0\0\0\0\0\x01\x02\x03log".to_vec();
        expected.extend([0; 8]);
        expected.extend([0, 0, 0, 0, 0, 0, 1, 2]);
        expected.extend([7; 32]);
        assert_eq!(ml_dsa_44_message("w1", 258, &subtree), Some(expected));
        assert_eq!(ml_dsa_44_message("", 0, &subtree), None);
        assert_eq!(ml_dsa_44_message(&"w".repeat(256), 0, &subtree), None);
    }
}
