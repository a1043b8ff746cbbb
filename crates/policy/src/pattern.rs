//! Patterns over resource names and condition values: `*` is any run, `/` included, `?` is one
//! character, `${name}` is a variable's value, taken literally.
//!
//! Matching cuts the pattern at its `*`s and finds each part leftmost, so that its cost is at most
//! the product of the two lengths and in practice their sum; nothing is tried twice.

use std::fmt;

use model::limits;

use crate::{
    Variable, VariableUse,
    facts::Values,
    prefix::{Prefix, residuals},
};

/// Whether `*` and `?` mean more than themselves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wildcards {
    /// `*` is any run of characters and `?` any one.
    On,
    /// Every character stands for itself.
    Off,
}

/// A pattern with variables in it.
#[derive(Clone, Eq, PartialEq)]
pub struct Pattern {
    /// The pieces between the `*`s; one more than there are `*`s.
    parts: Vec<Vec<Piece>>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Piece {
    /// These characters.
    Literal(Box<str>),
    /// Any one character.
    One,
    /// The value of a variable.
    Variable(VariableUse),
}

/// Why a text is not a pattern.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidPattern {
    /// Longer than [`limits::POLICY_PATTERN_BYTES`].
    #[error("it has {bytes} bytes, more than {}", limits::POLICY_PATTERN_BYTES)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// `${` without its `}`.
    #[error("the ${{ at byte {at} has no closing }}")]
    Unclosed {
        /// Offset of the `$`.
        at: usize,
    },
    /// `${}`.
    #[error("the ${{}} at byte {at} names nothing")]
    Nameless {
        /// Offset of the `$`.
        at: usize,
    },
    /// Its wildcards may end a prefix in more than [`limits::POLICY_PATTERN_ALTERNATIVES`] places.
    #[error("its wildcards can be read in too many ways; write out its beginning")]
    Ambiguous,
}

impl Pattern {
    /// Reads a pattern. `names` tells the variable of a name, [`Variable::Unknown`] when it knows
    /// none. `${*}`, `${?}` and `${$}` stand for the character itself.
    ///
    /// # Errors
    ///
    /// [`InvalidPattern`] says where.
    pub fn parse(
        text: &str,
        wildcards: Wildcards,
        names: &dyn Fn(&str) -> Variable,
    ) -> Result<Self, InvalidPattern> {
        if text.len() > limits::POLICY_PATTERN_BYTES {
            return Err(InvalidPattern::TooLong { bytes: text.len() });
        }
        let mut builder = Builder::default();
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            let at = text.len() - rest.len();
            match next {
                '$' if rest[1..].starts_with('{') => {
                    let inner = &rest[2..];
                    let end = inner.find('}').ok_or(InvalidPattern::Unclosed { at })?;
                    match &inner[..end] {
                        "" => return Err(InvalidPattern::Nameless { at }),
                        "*" => builder.literal('*'),
                        "?" => builder.literal('?'),
                        "$" => builder.literal('$'),
                        name => builder.piece(Piece::Variable(VariableUse {
                            variable: names(name),
                            spelled: name.into(),
                        })),
                    }
                    rest = &inner[end + 1..];
                    continue;
                }
                '*' if wildcards == Wildcards::On => builder.run(),
                '?' if wildcards == Wildcards::On => builder.piece(Piece::One),
                other => builder.literal(other),
            }
            rest = &rest[next.len_utf8()..];
        }
        Ok(builder.finish())
    }

    /// Whether `text` matches, with the variables' values taken literally. A pattern with a
    /// variable that may not be substituted matches nothing.
    #[must_use]
    pub fn matches(&self, text: &str, values: &Values<'_>) -> bool {
        self.matches_bytes(text.as_bytes(), values)
    }

    pub(crate) fn matches_bytes(&self, text: &[u8], values: &Values<'_>) -> bool {
        let (first, rest) = self.parts.split_first().expect("a pattern has a part");
        let Some(mut from) = match_front(first, text, values) else {
            return false;
        };
        let Some((last, middle)) = rest.split_last() else {
            return from == text.len();
        };
        let Some(kept) = match_back(last, &text[from..], values) else {
            return false;
        };
        let to = from + kept;
        for part in middle {
            match find(part, &text[from..to], values) {
                Some(past) => from += past,
                None => return false,
            }
        }
        true
    }

    /// The patterns that what follows `prefix` must match, when the whole is to match this one:
    /// none when no text with that prefix can match. A variable never stands for a part of the
    /// prefix.
    ///
    /// # Errors
    ///
    /// [`InvalidPattern::Ambiguous`].
    pub fn after(&self, prefix: &Prefix) -> Result<Vec<Self>, InvalidPattern> {
        residuals(self, prefix)
    }

    /// The variables in it, in order, repeated ones too.
    pub fn variables(&self) -> impl Iterator<Item = &VariableUse> {
        self.parts.iter().flatten().filter_map(|piece| match piece {
            Piece::Variable(variable) => Some(variable),
            Piece::Literal(_) | Piece::One => None,
        })
    }

    /// The text with every variable's value in its place; `None` when one may not be substituted.
    /// `*` and `?` stay as they are.
    #[must_use]
    pub fn substituted(&self, values: &Values<'_>) -> Option<String> {
        let mut text = String::new();
        for (at, part) in self.parts.iter().enumerate() {
            if at > 0 {
                text.push('*');
            }
            for piece in part {
                match piece {
                    Piece::Literal(literal) => text.push_str(literal),
                    Piece::One => text.push('?'),
                    Piece::Variable(used) => {
                        text.push_str(&values.substitute(&used.variable).ok()?);
                    }
                }
            }
        }
        Some(text)
    }

    /// The literal text it begins with.
    #[must_use]
    pub fn leading(&self) -> &str {
        match self.parts[0].first() {
            Some(Piece::Literal(text)) => text,
            Some(Piece::One | Piece::Variable(_)) | None => "",
        }
    }

    /// Whether one of its literal characters is `wanted`.
    #[must_use]
    pub fn has_literal(&self, wanted: char) -> bool {
        self.parts.iter().flatten().any(|piece| match piece {
            Piece::Literal(text) => text.contains(wanted),
            Piece::One | Piece::Variable(_) => false,
        })
    }

    pub(crate) fn parts(&self) -> &[Vec<Piece>] {
        &self.parts
    }

    /// How many of the pattern's own characters `text` can satisfy from the left before nothing
    /// more fits: what nearness is measured in.
    pub(crate) fn progress(&self, text: &[u8], values: &Values<'_>) -> usize {
        let mut reached = 0;
        let mut from = 0;
        for (at, part) in self.parts.iter().enumerate() {
            if at > 0 {
                match find(part, &text[from..], values) {
                    Some(past) => {
                        reached += weight(part);
                        from += past;
                        continue;
                    }
                    None => return reached,
                }
            }
            match match_front(part, text, values) {
                Some(past) => {
                    reached += weight(part);
                    from = past;
                }
                None => return common_length(part, text, values),
            }
        }
        reached
    }
}

impl fmt::Display for Pattern {
    /// As its author would write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.parts.iter().enumerate() {
            if at > 0 {
                f.write_str("*")?;
            }
            for piece in part {
                match piece {
                    Piece::Literal(text) => {
                        for run in text.split_inclusive(['*', '?']) {
                            match run.strip_suffix(['*', '?']) {
                                Some(plain) => {
                                    write!(f, "{plain}${{{}}}", &run[plain.len()..])?;
                                }
                                None => f.write_str(run)?,
                            }
                        }
                    }
                    Piece::One => f.write_str("?")?,
                    Piece::Variable(used) => write!(f, "${{{}}}", used.spelled)?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({self})")
    }
}

/// Collects pieces; neighbouring literals become one, neighbouring `*`s too.
#[derive(Default)]
pub(crate) struct Builder {
    parts: Vec<Vec<Piece>>,
    part: Vec<Piece>,
    literal: String,
}

impl Builder {
    pub(crate) fn literal(&mut self, character: char) {
        self.literal.push(character);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.literal.push_str(text);
    }

    pub(crate) fn piece(&mut self, piece: Piece) {
        self.end_literal();
        self.part.push(piece);
    }

    pub(crate) fn run(&mut self) {
        self.end_literal();
        if self.part.is_empty() && !self.parts.is_empty() {
            return;
        }
        self.parts.push(std::mem::take(&mut self.part));
    }

    fn end_literal(&mut self) {
        if !self.literal.is_empty() {
            let text = std::mem::take(&mut self.literal);
            self.part.push(Piece::Literal(text.into()));
        }
    }

    pub(crate) fn finish(mut self) -> Pattern {
        self.end_literal();
        self.parts.push(self.part);
        Pattern { parts: self.parts }
    }
}

const fn continues_character(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// How many bytes of the front of `text` match `part`, when it does.
fn match_front(part: &[Piece], text: &[u8], values: &Values<'_>) -> Option<usize> {
    let mut at = 0;
    for piece in part {
        let rest = &text[at..];
        at += match piece {
            Piece::Literal(literal) => rest
                .starts_with(literal.as_bytes())
                .then_some(literal.len())?,
            Piece::One => {
                let (_, tail) = rest.split_first()?;
                1 + tail
                    .iter()
                    .take_while(|byte| continues_character(**byte))
                    .count()
            }
            Piece::Variable(used) => {
                let value = values.substitute(&used.variable).ok()?;
                rest.starts_with(value.as_bytes()).then_some(value.len())?
            }
        };
    }
    Some(at)
}

/// How many bytes of `text` are left in front of its end that matches `part`, when it does.
fn match_back(part: &[Piece], text: &[u8], values: &Values<'_>) -> Option<usize> {
    let mut rest = text;
    for piece in part.iter().rev() {
        rest = match piece {
            Piece::Literal(literal) => rest.strip_suffix(literal.as_bytes())?,
            Piece::One => {
                let (_, mut head) = rest.split_last()?;
                // Back to the first byte of the character.
                while rest.len() > head.len() && continues_character(rest[head.len()]) {
                    (_, head) = head.split_last()?;
                }
                head
            }
            Piece::Variable(used) => {
                let value = values.substitute(&used.variable).ok()?;
                rest.strip_suffix(value.as_bytes())?
            }
        };
    }
    Some(rest.len())
}

/// The end of the leftmost place in `text` that matches `part`.
fn find(part: &[Piece], text: &[u8], values: &Values<'_>) -> Option<usize> {
    let past_match = |at: usize| match_front(part, &text[at..], values).map(|length| at + length);
    if let Some(Piece::Literal(literal)) = part.first() {
        // Most places fail at the first byte; looking at that alone is cheap.
        let first = *literal.as_bytes().first()?;
        return (0..text.len())
            .filter(|at| text[*at] == first)
            .find_map(past_match);
    }
    (0..=text.len())
        .filter(|at| !text.get(*at).is_some_and(|byte| continues_character(*byte)))
        .find_map(past_match)
}

/// The characters of its own that a part asks for.
fn weight(part: &[Piece]) -> usize {
    part.iter()
        .map(|piece| match piece {
            Piece::Literal(text) => text.len(),
            Piece::One => 0,
            Piece::Variable(_) => 1,
        })
        .sum()
}

/// How many bytes at the front of `text` agree with `part`.
fn common_length(part: &[Piece], text: &[u8], values: &Values<'_>) -> usize {
    let mut at = 0;
    for piece in part {
        let one = std::slice::from_ref(piece);
        match match_front(one, &text[at..], values) {
            Some(length) => at += length,
            None => {
                if let Piece::Literal(literal) = piece {
                    let pairs = literal.as_bytes().iter().zip(&text[at..]);
                    at += pairs.take_while(|(ours, theirs)| ours == theirs).count();
                }
                return at;
            }
        }
    }
    at
}
