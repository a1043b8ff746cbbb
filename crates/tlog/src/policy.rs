//! Whose signatures make a checkpoint final (C2SP `tlog-policy`).
//!
//! ```text
//! log VKEY [URL]
//! witness NAME VKEY [URL]
//! group NAME all|any|COUNT NAME…
//! quorum NAME|none
//! ```
//!
//! A mirror's cosignature says what a witness's says and more, so a mirror stands on a `witness`
//! line too.

use std::{borrow::Cow, collections::BTreeMap};

use model::limits;

use crate::{
    checkpoint::{Checkpoint, InvalidCheckpoint},
    key::{InvalidKey, VerifierKey},
    note::{Note, NoteSignature},
};

/// The name that needs nobody.
const NONE: &[u8] = b"none";

/// The rule by which a checkpoint is final.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorum: Quorum,
}

/// A `log` line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Log {
    /// Its key, whose name is the log's origin.
    pub key: VerifierKey,
    /// Where it is served, when the file says so.
    pub url: Option<String>,
}

/// A `witness` line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Witness {
    name: Vec<u8>,
    /// Its key.
    pub key: VerifierKey,
    /// Where checkpoints are sent to, when the file says so.
    pub url: Option<String>,
}

impl Witness {
    /// What the file calls it; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Group {
    threshold: usize,
    members: Vec<Member>,
}

/// One who can witness: by position in the policy's lists.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Member {
    Witness(usize),
    Group(usize),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Quorum {
    None,
    Of(Member),
}

/// Why bytes are not a policy.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidPolicy {
    /// Nobody needs so much.
    #[error("a policy has at most {limit} bytes, this one {bytes}")]
    TooLong {
        /// Bytes given.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The file may have been cut off, which can change what it says.
    #[error("the last line does not end in a newline")]
    Unfinished,
    /// No rule.
    #[error("a policy has exactly one quorum line, and this one has none")]
    NoQuorum,
    /// One line is wrong.
    #[error("line {line}: {why}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong with it.
        why: InvalidLine,
    },
}

/// Why a line of a policy is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidLine {
    /// A control character other than tab and newline.
    #[error("it holds a control character")]
    Control,
    /// A word that begins no line.
    #[error("a line begins with log, witness, group or quorum, not {0}")]
    Keyword(String),
    /// Too few or too many words.
    #[error("it is written {0}")]
    Form(&'static str),
    /// The key is none.
    #[error("{0}")]
    Key(#[from] InvalidKey),
    /// A witness's signatures carry a time; this key's do not.
    #[error("a witness needs a key of type 0x04 or 0x06, whose signatures carry a time")]
    NotACosigner,
    /// The same key stands on another such line.
    #[error("the same key stands on an earlier line")]
    DuplicateKey,
    /// The name is taken, or is `none`.
    #[error("the name {0} is taken")]
    NameTaken(String),
    /// Not one of the names defined above.
    #[error("{0} is not defined on an earlier line")]
    UnknownName(String),
    /// A name that is a member already, here or elsewhere.
    #[error("{0} is a member of a group already; it could count twice")]
    MemberTwice(String),
    /// More members needed than there are, or none.
    #[error("a group needs all, any, or a number from 1 to its {members} members")]
    Threshold {
        /// Members on the line.
        members: usize,
    },
    /// A second quorum line.
    #[error("a policy has exactly one quorum line, and this is the second")]
    SecondQuorum,
    /// Too many lines of one kind.
    #[error("there are more than {} such lines", limits::LEDGER_POLICY_LINES)]
    TooMany,
    /// An address that is not UTF-8.
    #[error("the key or the URL is not UTF-8")]
    NotUtf8,
}

/// How a note stands before a policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Standing {
    /// What the note says.
    pub checkpoint: Checkpoint,
    /// What each signature is worth, in the note's order.
    pub verdicts: Vec<(NoteSignature, Verdict)>,
    /// Whether one of the policy's logs signed it, the log whose origin it names.
    pub from_log: bool,
    /// Whether those who must have witnessed it have.
    pub quorum: bool,
}

/// What one signature is worth.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The log's own.
    Log,
    /// A witness's.
    Witness {
        /// What the policy calls it.
        name: String,
        /// When it saw the checkpoint, in seconds since 1970, if it says so.
        seconds: Option<u64>,
    },
    /// From a key that the policy does not know, or of another log. It is ignored.
    Unknown,
    /// Said to be from a key that the policy knows, and not made by it.
    Bad,
}

impl Standing {
    /// Whether the checkpoint is final: signed by the log, witnessed as the policy asks, and no
    /// signature is forged (C2SP signed-note: reject the whole note).
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.from_log && self.quorum && !self.is_forged()
    }

    /// Whether a signature claims to be from a known key and is not.
    #[must_use]
    pub fn is_forged(&self) -> bool {
        self.verdicts
            .iter()
            .any(|(_, verdict)| *verdict == Verdict::Bad)
    }

    /// The names of the witnesses that counted.
    pub fn witnesses(&self) -> impl Iterator<Item = &str> {
        self.verdicts
            .iter()
            .filter_map(|(_, verdict)| match verdict {
                Verdict::Witness { name, .. } => Some(name.as_str()),
                Verdict::Log | Verdict::Unknown | Verdict::Bad => None,
            })
    }
}

impl Policy {
    /// A policy of one log, its own word being enough.
    #[must_use]
    pub fn of_log(key: VerifierKey) -> Self {
        Self {
            logs: vec![Log { key, url: None }],
            witnesses: Vec::new(),
            groups: Vec::new(),
            quorum: Quorum::None,
        }
    }

    /// Reads a policy file.
    ///
    /// # Errors
    ///
    /// See [`InvalidPolicy`].
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidPolicy> {
        if bytes.len() > limits::LEDGER_POLICY_BYTES {
            return Err(InvalidPolicy::TooLong {
                bytes: bytes.len(),
                limit: limits::LEDGER_POLICY_BYTES,
            });
        }
        let lines = match bytes.strip_suffix(b"\n") {
            Some(lines) => lines,
            None if bytes.is_empty() => return Err(InvalidPolicy::NoQuorum),
            None => return Err(InvalidPolicy::Unfinished),
        };
        let mut reading = Reading::default();
        for (index, line) in lines.split(|byte| *byte == b'\n').enumerate() {
            reading.line(line).map_err(|why| InvalidPolicy::Line {
                line: index + 1,
                why,
            })?;
        }
        Ok(Self {
            logs: reading.logs,
            witnesses: reading.witnesses,
            groups: reading.groups,
            quorum: reading.quorum.ok_or(InvalidPolicy::NoQuorum)?,
        })
    }

    /// The same policy with a log that is known from elsewhere; a log it names already is not
    /// added again.
    #[must_use]
    pub fn with_log(mut self, key: VerifierKey) -> Self {
        if !self.logs.iter().any(|log| log.key == key) {
            self.logs.push(Log { key, url: None });
        }
        self
    }

    /// The logs whose checkpoints are accepted.
    #[must_use]
    pub fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// Every witness, whether the quorum needs it or not.
    #[must_use]
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// Tells how a signed checkpoint stands: which signatures count, which are unknown, which are
    /// forged, and whether it is final.
    ///
    /// # Errors
    ///
    /// [`InvalidCheckpoint`] when the note's text is not a checkpoint.
    pub fn is_final(&self, note: &Note) -> Result<Standing, InvalidCheckpoint> {
        let checkpoint: Checkpoint = note.text.parse()?;
        let mut witnessed = vec![false; self.witnesses.len()];
        let mut from_log = false;
        let mut verdicts = Vec::with_capacity(note.signatures.len());
        for signature in &note.signatures {
            let verdict = self.verdict(&checkpoint, &note.text, signature, &mut witnessed);
            from_log |= verdict == Verdict::Log;
            verdicts.push((signature.clone(), verdict));
        }
        Ok(Standing {
            quorum: match self.quorum {
                Quorum::None => true,
                Quorum::Of(member) => self.has_witnessed(member, &witnessed),
            },
            checkpoint,
            verdicts,
            from_log,
        })
    }

    fn verdict(
        &self,
        checkpoint: &Checkpoint,
        text: &str,
        signature: &NoteSignature,
        witnessed: &mut [bool],
    ) -> Verdict {
        // C2SP tlog-policy: the name in a log's key is its origin line.
        let log = self
            .logs
            .iter()
            .find(|log| log.key.name() == checkpoint.origin && log.key.claims(signature));
        if let Some(log) = log {
            return match log.key.verify(text, signature) {
                Ok(_) => Verdict::Log,
                Err(_) => Verdict::Bad,
            };
        }
        let witness = self
            .witnesses
            .iter()
            .position(|witness| witness.key.claims(signature));
        let Some(index) = witness else {
            return Verdict::Unknown;
        };
        match self.witnesses[index].key.verify(text, signature) {
            Ok(seconds) => {
                witnessed[index] = true;
                Verdict::Witness {
                    name: self.witnesses[index].name().into_owned(),
                    seconds,
                }
            }
            Err(_) => Verdict::Bad,
        }
    }

    /// Groups name only what stands above them, so this ends.
    fn has_witnessed(&self, member: Member, witnessed: &[bool]) -> bool {
        match member {
            Member::Witness(index) => witnessed[index],
            Member::Group(index) => {
                let group = &self.groups[index];
                let have = group
                    .members
                    .iter()
                    .filter(|member| self.has_witnessed(**member, witnessed))
                    .count();
                have >= group.threshold
            }
        }
    }
}

/// What the lines so far have said.
#[derive(Default)]
struct Reading {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorum: Option<Quorum>,
    names: BTreeMap<Vec<u8>, Defined>,
}

struct Defined {
    member: Member,
    in_a_group: bool,
}

impl Reading {
    fn line(&mut self, line: &[u8]) -> Result<(), InvalidLine> {
        // The one control character that may stand in a line is the tab; 0x7f is one as well.
        if line
            .iter()
            .any(|byte| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f)
        {
            return Err(InvalidLine::Control);
        }
        let words: Vec<&[u8]> = line
            .split(|byte| matches!(byte, b' ' | b'\t'))
            .filter(|word| !word.is_empty())
            .collect();
        match words.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", rest @ ..] => self.log(rest),
            [b"witness", rest @ ..] => self.witness(rest),
            [b"group", rest @ ..] => self.group(rest),
            [b"quorum", rest @ ..] => self.quorum(rest),
            [other, ..] => Err(InvalidLine::Keyword(shown(other))),
        }
    }

    fn log(&mut self, words: &[&[u8]]) -> Result<(), InvalidLine> {
        let (key, url) = match words {
            [key] => (key, None),
            [key, url] => (key, Some(utf8(url)?.to_owned())),
            _ => return Err(InvalidLine::Form("log VKEY [URL]")),
        };
        let key: VerifierKey = utf8(key)?.parse()?;
        if self.logs.iter().any(|log| same(&log.key, &key)) {
            return Err(InvalidLine::DuplicateKey);
        }
        bounded(self.logs.len())?;
        self.logs.push(Log { key, url });
        Ok(())
    }

    fn witness(&mut self, words: &[&[u8]]) -> Result<(), InvalidLine> {
        let (name, key, url) = match words {
            [name, key] => (name, key, None),
            [name, key, url] => (name, key, Some(utf8(url)?.to_owned())),
            _ => return Err(InvalidLine::Form("witness NAME VKEY [URL]")),
        };
        let key: VerifierKey = utf8(key)?.parse()?;
        if !key.algorithm().is_cosignature() {
            return Err(InvalidLine::NotACosigner);
        }
        if self
            .witnesses
            .iter()
            .any(|witness| same(&witness.key, &key))
        {
            return Err(InvalidLine::DuplicateKey);
        }
        bounded(self.witnesses.len())?;
        self.define(name, Member::Witness(self.witnesses.len()))?;
        self.witnesses.push(Witness {
            name: name.to_vec(),
            key,
            url,
        });
        Ok(())
    }

    fn group(&mut self, words: &[&[u8]]) -> Result<(), InvalidLine> {
        let [name, threshold, names @ ..] = words else {
            return Err(InvalidLine::Form("group NAME all|any|COUNT NAME…"));
        };
        if names.is_empty() {
            return Err(InvalidLine::Form("group NAME all|any|COUNT NAME…"));
        }
        let wanted = match *threshold {
            b"all" => Some(names.len()),
            b"any" => Some(1),
            digits if digits.iter().all(u8::is_ascii_digit) => utf8(digits)?.parse::<usize>().ok(),
            _ => None,
        };
        let threshold = wanted
            .filter(|count| (1..=names.len()).contains(count))
            .ok_or(InvalidLine::Threshold {
                members: names.len(),
            })?;
        let mut members = Vec::with_capacity(names.len());
        for member in names {
            let defined = self
                .names
                .get_mut(*member)
                .ok_or_else(|| InvalidLine::UnknownName(shown(member)))?;
            if defined.in_a_group {
                return Err(InvalidLine::MemberTwice(shown(member)));
            }
            defined.in_a_group = true;
            members.push(defined.member);
        }
        bounded(self.groups.len())?;
        self.define(name, Member::Group(self.groups.len()))?;
        self.groups.push(Group { threshold, members });
        Ok(())
    }

    fn quorum(&mut self, words: &[&[u8]]) -> Result<(), InvalidLine> {
        let [name] = words else {
            return Err(InvalidLine::Form("quorum NAME|none"));
        };
        if self.quorum.is_some() {
            return Err(InvalidLine::SecondQuorum);
        }
        self.quorum = Some(if *name == NONE {
            Quorum::None
        } else {
            let defined = self.names.get(*name);
            let defined = defined.ok_or_else(|| InvalidLine::UnknownName(shown(name)))?;
            Quorum::Of(defined.member)
        });
        Ok(())
    }

    fn define(&mut self, name: &[u8], member: Member) -> Result<(), InvalidLine> {
        if name == NONE || self.names.contains_key(name) {
            return Err(InvalidLine::NameTaken(shown(name)));
        }
        let defined = Defined {
            member,
            in_a_group: false,
        };
        self.names.insert(name.to_vec(), defined);
        Ok(())
    }
}

/// C2SP tlog-policy: two keys are the same when the public keys are, whatever they are called.
fn same(one: &VerifierKey, other: &VerifierKey) -> bool {
    one.public_key() == other.public_key()
}

const fn bounded(lines: usize) -> Result<(), InvalidLine> {
    if lines < limits::LEDGER_POLICY_LINES {
        Ok(())
    } else {
        Err(InvalidLine::TooMany)
    }
}

fn utf8(word: &[u8]) -> Result<&str, InvalidLine> {
    std::str::from_utf8(word).map_err(|_| InvalidLine::NotUtf8)
}

fn shown(word: &[u8]) -> String {
    String::from_utf8_lossy(word).chars().take(100).collect()
}

/// For the fuzzer: what is read decides on a note that nobody signed, and never finds it final.
///
/// # Errors
///
/// What was found.
#[doc(hidden)]
pub fn exercise(bytes: &[u8]) -> Result<(), String> {
    let Ok(policy) = Policy::parse(bytes) else {
        return Ok(());
    };
    let checkpoint = Checkpoint {
        origin: "a".into(),
        size: 0,
        root: crate::merkle::empty_root(),
        extensions: Vec::new(),
    };
    let note = Note {
        text: checkpoint.to_string(),
        signatures: Vec::new(),
    };
    match policy.is_final(&note) {
        Ok(standing) if !standing.is_final() => Ok(()),
        other => Err(format!("an unsigned note: {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Hash,
        key::{Algorithm, SignerKey},
    };

    fn key(name: &str, algorithm: Algorithm, seed: u8) -> SignerKey {
        SignerKey::from_seed(name, algorithm, &[seed; 32]).unwrap()
    }

    fn log() -> SignerKey {
        key("example.com/log", Algorithm::Ed25519, 100)
    }

    /// Every second one signs with ML-DSA-44.
    fn witness(number: u8) -> SignerKey {
        let algorithm = match number % 2 {
            0 => Algorithm::MlDsa44Cosignature,
            _ => Algorithm::Ed25519Cosignature,
        };
        key(&format!("w{number}.example"), algorithm, number)
    }

    /// The example of the specification: two of three, and one of another three.
    fn example() -> String {
        let vkey = |number| witness(number).verifier().to_string();
        format!(
            "# two organisations\nlog {} https://log.example/\n\n\
             witness X1 {} https://x1.example/\nwitness X2 {}\n\twitness  X3\t{}  \n\
             group X-witnesses 2 X1 X2 X3\n\
             witness Y1 {}\nwitness Y2 {}\nwitness Y3 {}\ngroup Y-witnesses any Y1 Y2 Y3\n\
             group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n",
            log().verifier(),
            vkey(1),
            vkey(2),
            vkey(3),
            vkey(4),
            vkey(5),
            vkey(6),
        )
    }

    fn signed(cosigners: &[u8]) -> Note {
        let checkpoint = Checkpoint {
            origin: "example.com/log".into(),
            size: 1,
            root: Hash([1; 32]),
            extensions: Vec::new(),
        };
        let mut signatures = vec![log().sign_checkpoint(&checkpoint)];
        for number in cosigners {
            signatures.push(witness(*number).cosign(&checkpoint, 42));
        }
        Note {
            text: checkpoint.to_string(),
            signatures,
        }
    }

    #[test]
    fn the_example_of_the_specification_asks_for_two_and_one() {
        let policy = Policy::parse(example().as_bytes()).unwrap();
        assert_eq!(
            policy.logs()[0].url.as_deref(),
            Some("https://log.example/")
        );
        assert_eq!(policy.witnesses().len(), 6);
        assert_eq!(policy.witnesses()[2].name(), "X3");
        for (cosigners, expected) in [
            (&[][..], false),
            (&[1, 2], false),
            (&[1, 2, 3], false),
            (&[1, 4, 5, 6], false),
            (&[1, 2, 4], true),
            (&[2, 3, 6], true),
            (&[1, 1, 4], false),
            (&[1, 2, 3, 4, 5, 6, 7], true),
        ] {
            let standing = policy.is_final(&signed(cosigners)).unwrap();
            assert_eq!(standing.is_final(), expected, "{cosigners:?}");
        }
    }

    #[test]
    fn a_standing_tells_what_each_signature_is_worth() {
        let policy = Policy::parse(example().as_bytes()).unwrap();
        let mut note = signed(&[1, 2, 4, 9]);
        let standing = policy.is_final(&note).unwrap();
        let verdicts: Vec<_> = standing
            .verdicts
            .iter()
            .map(|(_, verdict)| verdict)
            .collect();
        let by = |name: &str| Verdict::Witness {
            name: name.into(),
            seconds: Some(42),
        };
        let expected = [Verdict::Log, by("X1"), by("X2"), by("Y1"), Verdict::Unknown];
        assert_eq!(verdicts, expected.iter().collect::<Vec<_>>());
        assert_eq!(standing.witnesses().collect::<Vec<_>>(), ["X1", "X2", "Y1"]);

        // One forged signature of a known key spoils the note, though the others would do.
        let at = note.signatures[1].bytes.len() - 1;
        note.signatures[1].bytes[at] ^= 1;
        note.signatures.push(signed(&[3]).signatures[1].clone());
        let standing = policy.is_final(&note).unwrap();
        assert!(standing.quorum && standing.from_log);
        assert!(standing.is_forged() && !standing.is_final());
    }

    #[test]
    fn a_log_signs_only_for_its_own_origin() {
        let policy = Policy::parse(example().as_bytes()).unwrap();
        let mut checkpoint: Checkpoint = signed(&[]).text.parse().unwrap();
        checkpoint.origin = "example.com/other".into();
        let cosigned = [1, 2, 4].map(|number| witness(number).cosign(&checkpoint, 42));
        let note = Note {
            text: checkpoint.to_string(),
            signatures: [&[log().sign_checkpoint(&checkpoint)], &cosigned[..]].concat(),
        };
        let standing = policy.is_final(&note).unwrap();
        assert!(standing.quorum && !standing.from_log && !standing.is_final());
    }

    #[test]
    fn a_policy_without_witnesses_needs_the_log_alone() {
        let policy = Policy::parse(b"quorum none\n").unwrap();
        assert!(!policy.is_final(&signed(&[])).unwrap().is_final());
        let key = log().verifier().clone();
        let policy = policy.with_log(key.clone());
        assert!(policy.is_final(&signed(&[])).unwrap().is_final());
        assert_eq!(policy.clone().with_log(key.clone()), policy);
        assert_eq!(Policy::of_log(key), policy);
        let not_a_checkpoint = Note {
            text: "hello\n".into(),
            signatures: Vec::new(),
        };
        assert!(policy.is_final(&not_a_checkpoint).is_err());
    }

    #[test]
    fn a_wrong_line_is_named() {
        let log = log().verifier().to_string();
        let one = witness(1).verifier().to_string();
        let two = witness(2).verifier().to_string();
        let renamed = key("other", Algorithm::Ed25519Cosignature, 1);
        let renamed = renamed.verifier().to_string();
        let name = |name: &str| name.to_owned();
        for (text, line, why) in [
            ("what ever\n".into(), 1, InvalidLine::Keyword(name("what"))),
            ("\u{1}\n".into(), 1, InvalidLine::Control),
            ("# \u{7f}\n".into(), 1, InvalidLine::Control),
            ("log\n".into(), 1, InvalidLine::Form("log VKEY [URL]")),
            (
                format!("log {log} u v\n"),
                1,
                InvalidLine::Form("log VKEY [URL]"),
            ),
            ("log x\n".into(), 1, InvalidLine::Key(InvalidKey::Form)),
            (
                format!("log {log}\n\nlog {log}\n"),
                3,
                InvalidLine::DuplicateKey,
            ),
            (format!("witness a {log}\n"), 1, InvalidLine::NotACosigner),
            (
                format!("witness none {one}\n"),
                1,
                InvalidLine::NameTaken(name("none")),
            ),
            (
                format!("witness a {one}\nwitness a {two}\n"),
                2,
                InvalidLine::NameTaken(name("a")),
            ),
            (
                format!("witness a {one}\nwitness b {renamed}\n"),
                2,
                InvalidLine::DuplicateKey,
            ),
            (
                format!("witness a {one}\ngroup g any\n"),
                2,
                InvalidLine::Form("group NAME all|any|COUNT NAME…"),
            ),
            (
                format!("witness a {one}\ngroup g 0 a\n"),
                2,
                InvalidLine::Threshold { members: 1 },
            ),
            (
                format!("witness a {one}\ngroup g 2 a\n"),
                2,
                InvalidLine::Threshold { members: 1 },
            ),
            (
                format!("witness a {one}\ngroup g +1 a\n"),
                2,
                InvalidLine::Threshold { members: 1 },
            ),
            (
                format!("witness a {one}\ngroup g any a a\n"),
                2,
                InvalidLine::MemberTwice(name("a")),
            ),
            (
                format!("witness a {one}\ngroup g any a\ngroup h any a\n"),
                3,
                InvalidLine::MemberTwice(name("a")),
            ),
            (
                "group g any g\n".into(),
                1,
                InvalidLine::UnknownName(name("g")),
            ),
            (
                "group g any none\n".into(),
                1,
                InvalidLine::UnknownName(name("none")),
            ),
            (
                format!("quorum a\nwitness a {one}\n"),
                1,
                InvalidLine::UnknownName(name("a")),
            ),
            (
                "quorum none\nquorum none\n".into(),
                2,
                InvalidLine::SecondQuorum,
            ),
            ("quorum\n".into(), 1, InvalidLine::Form("quorum NAME|none")),
        ] {
            let outcome = Policy::parse(text.as_bytes());
            assert_eq!(outcome, Err(InvalidPolicy::Line { line, why }), "{text}");
        }
        assert_eq!(Policy::parse(b""), Err(InvalidPolicy::NoQuorum));
        assert_eq!(Policy::parse(b"\n"), Err(InvalidPolicy::NoQuorum));
        assert_eq!(
            Policy::parse(b"quorum none"),
            Err(InvalidPolicy::Unfinished)
        );
        assert!(Policy::parse(b"# \xff is opaque\nquorum none\n").is_ok());
    }

    #[test]
    fn a_policy_holds_more_than_thirty_two_of_everything() {
        let mut text = String::new();
        for number in 0..=255_u8 {
            let signer = key("w", Algorithm::Ed25519Cosignature, number);
            text.push_str(&format!("witness w{number} {}\n", signer.verifier()));
            if number < 128 {
                text.push_str(&format!("group g{number} any w{number}\n"));
            }
            let whole = format!("{text}quorum none\n");
            let outcome = Policy::parse(whole.as_bytes());
            if usize::from(number) < limits::LEDGER_POLICY_LINES {
                assert!(outcome.is_ok(), "{number}");
            } else {
                let why = InvalidLine::TooMany;
                assert_eq!(outcome, Err(InvalidPolicy::Line { line: 257, why }));
                break;
            }
        }
    }
}
