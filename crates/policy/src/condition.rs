//! Conditions of a statement, in the operator families of AWS IAM.

use std::{net::IpAddr, sync::Arc};

use model::Timestamp;

use crate::{
    Effect, InvalidPattern, Network, Pattern, Variable, VariableUse, Wildcards, date::parse_date,
    facts::Values,
};

/// What a condition tests a value for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Test {
    /// The same text.
    Text,
    /// The same text but for case.
    TextIgnoringCase,
    /// A text that matches a pattern.
    Like,
    /// A resource that matches a pattern.
    Resource,
    /// A number.
    Number(Comparison),
    /// A point in time.
    Date(Comparison),
    /// A truth value.
    Truth,
    /// An address within a range.
    Network,
    /// Whether the key is absent: `true` or `false`.
    Absent,
}

/// How a number or a date is compared with the condition's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Comparison {
    /// The same.
    Equal,
    /// Before it.
    Less,
    /// Before it or the same.
    LessOrEqual,
    /// After it.
    Greater,
    /// After it or the same.
    GreaterOrEqual,
}

impl Comparison {
    fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

/// Which of a key's values must pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Quantifier {
    /// The key's one value; of several, any.
    Single,
    /// At least one value; none passes when the key is absent.
    Any,
    /// Every value; an absent key passes.
    All,
}

/// One condition: a key, a test and what to test against.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// What is tested.
    pub key: VariableUse,
    /// How.
    pub test: Test,
    /// Whether the test must fail for every operand instead of passing for one.
    pub negated: bool,
    /// Which of the key's values must pass.
    pub quantifier: Quantifier,
    /// Whether an absent key passes.
    pub if_exists: bool,
    /// What the values are tested against; one of them suffices.
    pub operands: Vec<Operand>,
    /// The operator as the author wrote it.
    pub spelled: Arc<str>,
}

/// What a value is tested against.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// Text, or any other kind that holds variables and is read at each evaluation.
    Text(Pattern),
    /// A number.
    Number(f64),
    /// A point in time.
    Date(Timestamp),
    /// A truth value.
    Truth(bool),
    /// A range of addresses.
    Network(Network),
}

/// Why a text is not an operand of a test.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidOperand {
    /// The pattern is wrong.
    #[error(transparent)]
    Pattern(#[from] InvalidPattern),
    /// Not of the kind the test compares.
    #[error("{0}")]
    Kind(&'static str),
}

impl Operand {
    /// Reads an operand of `test`; `names` as in [`Pattern::parse`].
    ///
    /// # Errors
    ///
    /// [`InvalidOperand`] says what was expected.
    pub fn parse(
        test: Test,
        text: &str,
        names: &dyn Fn(&str) -> Variable,
    ) -> Result<Self, InvalidOperand> {
        let wildcards = match test {
            Test::Like | Test::Resource => Wildcards::On,
            Test::Text
            | Test::TextIgnoringCase
            | Test::Number(_)
            | Test::Date(_)
            | Test::Truth
            | Test::Network
            | Test::Absent => Wildcards::Off,
        };
        let pattern = Pattern::parse(text, wildcards, names)?;
        if pattern.variables().next().is_some() {
            return Ok(Self::Text(pattern));
        }
        Self::read(test, text)
            .transpose()
            .unwrap_or(Ok(Self::Text(pattern)))
    }

    /// The typed value of `text`; `None` when the test compares text.
    fn read(test: Test, text: &str) -> Result<Option<Self>, InvalidOperand> {
        Ok(Some(match test {
            Test::Text | Test::TextIgnoringCase | Test::Like | Test::Resource => return Ok(None),
            Test::Number(_) => {
                Self::Number(number(text).ok_or(InvalidOperand::Kind("expected a decimal number"))?)
            }
            Test::Date(_) => Self::Date(parse_date(text).ok_or(InvalidOperand::Kind(
                "expected a date such as 2026-11-21T10:00:00Z, or seconds since 1970",
            ))?),
            Test::Truth | Test::Absent => {
                Self::Truth(truth(text).ok_or(InvalidOperand::Kind("expected true or false"))?)
            }
            Test::Network => Self::Network(text.parse().map_err(|_| {
                InvalidOperand::Kind("expected an address or a range such as 10.0.0.0/8")
            })?),
        }))
    }
}

fn number(text: &str) -> Option<f64> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'));
    text.parse()
        .ok()
        .filter(|value: &f64| plain && value.is_finite())
}

fn truth(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

impl Condition {
    /// The key and the variables in the operands.
    pub fn variables(&self) -> impl Iterator<Item = &VariableUse> {
        let in_operands = self.operands.iter().flat_map(|operand| match operand {
            Operand::Text(pattern) => Some(pattern.variables()),
            Operand::Number(_) | Operand::Date(_) | Operand::Truth(_) | Operand::Network(_) => None,
        });
        std::iter::once(&self.key).chain(in_operands.flatten())
    }

    /// Whether its answer may change while caller and request stay the same.
    #[must_use]
    pub fn depends_on_time(&self) -> bool {
        self.variables()
            .any(|used| matches!(used.variable, Variable::CurrentTime | Variable::EpochTime))
    }

    /// Whether it holds in a statement of this effect.
    ///
    /// A variable in an operand that may not be substituted makes the operand equal nothing; a
    /// negated test against it then holds in a denial, but fails in a permission, so that what a
    /// value hides never opens a door.
    #[must_use]
    pub fn holds(&self, values: &Values<'_>, effect: Effect) -> bool {
        let present = values.all(&self.key.variable);
        if self.test == Test::Absent {
            return self.operands.iter().any(|operand| match operand {
                Operand::Truth(wanted) => *wanted == present.is_empty(),
                Operand::Text(pattern) => {
                    let text = pattern.substituted(values);
                    text.as_deref().and_then(truth) == Some(present.is_empty())
                }
                Operand::Number(_) | Operand::Date(_) | Operand::Network(_) => false,
            });
        }
        if self.negated && effect == Effect::Allow && !self.is_resolved(values) {
            return false;
        }
        if present.is_empty() {
            return match self.quantifier {
                Quantifier::All => true,
                Quantifier::Any => self.if_exists,
                Quantifier::Single => self.if_exists || self.negated,
            };
        }
        let passes = |value: &str| {
            let equal = self
                .operands
                .iter()
                .any(|operand| operand.accepts(self.test, value, values));
            equal != self.negated
        };
        match self.quantifier {
            Quantifier::All => present.iter().all(|value| passes(value)),
            Quantifier::Any => present.iter().any(|value| passes(value)),
            // Of several values, a negated test must hold for each.
            Quantifier::Single if self.negated => present.iter().all(|value| passes(value)),
            Quantifier::Single => present.iter().any(|value| passes(value)),
        }
    }

    fn is_resolved(&self, values: &Values<'_>) -> bool {
        self.operands.iter().all(|operand| match operand {
            Operand::Text(pattern) => pattern
                .variables()
                .all(|used| values.substitute(&used.variable).is_ok()),
            Operand::Number(_) | Operand::Date(_) | Operand::Truth(_) | Operand::Network(_) => true,
        })
    }
}

impl Operand {
    fn accepts(&self, test: Test, value: &str, values: &Values<'_>) -> bool {
        match self {
            Self::Text(pattern) => match test {
                Test::Text | Test::Like | Test::Resource => pattern.matches(value, values),
                Test::TextIgnoringCase => pattern
                    .substituted(values)
                    .is_some_and(|text| text.to_lowercase() == value.to_lowercase()),
                Test::Number(_) | Test::Date(_) | Test::Truth | Test::Network | Test::Absent => {
                    let Some(text) = pattern.substituted(values) else {
                        return false;
                    };
                    match Self::read(test, &text) {
                        Ok(Some(operand)) => operand.accepts(test, value, values),
                        Ok(None) | Err(_) => false,
                    }
                }
            },
            Self::Number(operand) => match (test, number(value)) {
                (Test::Number(comparison), Some(value)) => comparison.holds(&value, operand),
                _ => false,
            },
            Self::Date(operand) => match (test, parse_date(value)) {
                (Test::Date(comparison), Some(value)) => comparison.holds(&value, operand),
                _ => false,
            },
            Self::Truth(operand) => truth(value) == Some(*operand),
            Self::Network(operand) => value
                .parse()
                .is_ok_and(|address: IpAddr| operand.contains(address)),
        }
    }
}
