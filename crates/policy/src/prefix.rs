//! Taking a fixed prefix, such as an account's part of a resource name, off a pattern whose
//! wildcards may reach across it.

use std::collections::HashSet;

use model::limits;

use crate::{
    InvalidPattern,
    pattern::{Builder, Pattern, Piece},
};

/// A set of prefixes that patterns are relieved of: the ways through these steps.
#[derive(Clone, Debug, Default)]
pub struct Prefix {
    steps: Vec<Step>,
}

/// One step through a [`Prefix`].
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// This ASCII character.
    Byte(u8),
    /// One ASCII character of a class.
    OneOf(fn(u8) -> bool),
    /// Any number of ASCII characters of a class, none included.
    AnyOf(fn(u8) -> bool),
}

impl Prefix {
    /// An empty prefix, to be added to.
    #[must_use]
    pub const fn new() -> Self {
        Self { steps: Vec::new() }
    }

    /// Goes on with this text, which must be ASCII to ever match.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.steps.extend(text.bytes().map(Step::Byte));
        self
    }

    /// Goes on with one or more ASCII characters of a class.
    #[must_use]
    pub fn some_of(mut self, class: fn(u8) -> bool) -> Self {
        self.steps.push(Step::OneOf(class));
        self.any_of(class)
    }

    /// Goes on with any number of ASCII characters of a class, none included.
    #[must_use]
    pub fn any_of(mut self, class: fn(u8) -> bool) -> Self {
        self.steps.push(Step::AnyOf(class));
        self
    }
}

/// A place between two characters of a pattern, its `*`s counted as pieces.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Place {
    part: usize,
    piece: usize,
    byte: usize,
}

/// Places looked at for one pattern: far more than a resource name with a few wildcards needs.
const PLACES: usize = 1 << 16;

/// Runs the pattern and the prefix side by side and gathers the places in the pattern at which the
/// prefix ends, the latest first: they have the fewest wildcards left and read best.
pub(crate) fn residuals(
    pattern: &Pattern,
    prefix: &Prefix,
) -> Result<Vec<Pattern>, InvalidPattern> {
    let parts = pattern.parts();
    let start = Place {
        part: 0,
        piece: 0,
        byte: 0,
    };
    let mut ends: Vec<Place> = Vec::new();
    let mut seen = HashSet::new();
    let mut open = vec![(start, 0)];
    while let Some((place, step)) = open.pop() {
        if !seen.insert((place, step)) {
            continue;
        }
        if seen.len() > PLACES {
            return Err(InvalidPattern::Ambiguous);
        }
        let Some(wanted) = prefix.steps.get(step) else {
            ends.push(place);
            continue;
        };
        if let Step::AnyOf(_) = wanted {
            open.push((place, step + 1));
        }
        let next = match wanted {
            Step::Byte(_) | Step::OneOf(_) => step + 1,
            Step::AnyOf(_) => step,
        };
        let accepts = |byte: u8| match wanted {
            Step::Byte(only) => byte == *only,
            Step::OneOf(class) | Step::AnyOf(class) => class(byte),
        };
        match parts[place.part].get(place.piece) {
            Some(Piece::Literal(text)) => {
                let next_byte = text.as_bytes().get(place.byte).copied();
                if !next_byte.is_some_and(accepts) {
                    continue;
                }
                let past = place.byte + 1 == text.len();
                let place = Place {
                    part: place.part,
                    piece: place.piece + usize::from(past),
                    byte: if past { 0 } else { place.byte + 1 },
                };
                open.push((place, next));
            }
            Some(Piece::One) => open.push((
                Place {
                    piece: place.piece + 1,
                    ..place
                },
                next,
            )),
            Some(Piece::Variable(_)) => {}
            // At a `*`: it takes the character, or ends here.
            None if place.part + 1 < parts.len() => {
                open.push((place, next));
                let part = Place {
                    part: place.part + 1,
                    piece: 0,
                    byte: 0,
                };
                open.push((part, step));
            }
            None => {}
        }
    }
    ends.sort_unstable_by(|one, other| other.cmp(one));
    // What is left after the last `*` that the prefix may end in begins with that `*`, and so
    // matches all that is left after earlier places.
    let at_run =
        |place: &Place| place.part + 1 < parts.len() && place.piece == parts[place.part].len();
    if let Some(last) = ends.iter().position(at_run) {
        ends.truncate(last + 1);
        // The pattern's last `*`, when nothing follows it, matches everything.
        if ends[last].part + 2 == parts.len() && parts[ends[last].part + 1].is_empty() {
            ends.drain(..last);
        }
    }
    if ends.len() > limits::POLICY_PATTERN_ALTERNATIVES {
        return Err(InvalidPattern::Ambiguous);
    }
    Ok(ends.into_iter().map(|place| rest(parts, place)).collect())
}

fn rest(parts: &[Vec<Piece>], from: Place) -> Pattern {
    let mut builder = Builder::default();
    for (at, part) in parts.iter().enumerate().skip(from.part) {
        if at > from.part {
            builder.run();
        }
        let skip = if at == from.part { from.piece } else { 0 };
        for (index, piece) in part.iter().enumerate().skip(skip) {
            match piece {
                Piece::Literal(text) if at == from.part && index == from.piece => {
                    builder.text(&text[from.byte..]);
                }
                Piece::Literal(text) => builder.text(text),
                other @ (Piece::One | Piece::Variable(_)) => builder.piece(other.clone()),
            }
        }
    }
    builder.finish()
}
