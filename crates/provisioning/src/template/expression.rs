//! Values in templates: texts, lists, and the functions that make them.

use std::collections::BTreeMap;

use model::limits;
use serde_json::{Map, Value};

use super::{Kind, TemplateError};

/// What the names of parameters begin with that the hub knows.
pub const IMPLIED_PREFIX: &str = "AWS::IoT::Certificate::";

/// Texts or lists by map, first key and second key.
pub(super) type Mappings = BTreeMap<String, BTreeMap<String, BTreeMap<String, Found>>>;

/// A value to be made.
#[derive(Clone, Debug)]
pub(super) enum Expression {
    Text(String),
    List(Vec<Self>),
    Ref(String),
    Join(String, Box<Self>),
    Select(Box<Self>, Box<Self>),
    FindInMap(Box<[Self; 3]>),
    Split(String, Box<Self>),
    Sub(Vec<Piece>, BTreeMap<String, Self>),
}

/// A part of the text of `Fn::Sub`.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    Text(String),
    Name(String),
}

/// A value that was made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Found {
    Text(String),
    List(Vec<String>),
}

pub(super) fn invalid(at: &str, message: impl Into<String>) -> TemplateError {
    TemplateError::Invalid {
        at: at.into(),
        message: message.into(),
    }
}

/// What is known while expressions are read.
pub(super) struct Names<'a> {
    pub(super) kind: Kind,
    pub(super) parameters: &'a BTreeMap<String, Option<String>>,
    pub(super) mappings: &'a Mappings,
}

impl Names<'_> {
    /// Reads a value: a text, a list, or an object with one function.
    pub(super) fn expression(&self, value: &Value, at: &str) -> Result<Expression, TemplateError> {
        match value {
            Value::String(text) => Ok(Expression::Text(text.clone())),
            Value::Array(items) => self.items(items, at).map(Expression::List),
            Value::Object(members) => self.function(members, at),
            Value::Null | Value::Bool(_) | Value::Number(_) => Err(invalid(
                at,
                "expected a text, a list or a function; numbers and booleans are written as texts",
            )),
        }
    }

    fn items(&self, items: &[Value], at: &str) -> Result<Vec<Expression>, TemplateError> {
        items
            .iter()
            .enumerate()
            .map(|(index, item)| self.expression(item, &format!("{at}[{index}]")))
            .collect()
    }

    fn function(
        &self,
        members: &Map<String, Value>,
        at: &str,
    ) -> Result<Expression, TemplateError> {
        let mut members = members.iter();
        let (Some((name, argument)), None) = (members.next(), members.next()) else {
            return Err(invalid(at, "expected an object with exactly one function"));
        };
        let at = &format!("{at}.{name}");
        if name == "Ref" {
            let Value::String(name) = argument else {
                return Err(invalid(at, "expected the name of a parameter"));
            };
            self.check_name(name, at)?;
            return Ok(Expression::Ref(name.clone()));
        }
        const FUNCTIONS: [&str; 5] = [
            "Fn::Join",
            "Fn::Select",
            "Fn::FindInMap",
            "Fn::Split",
            "Fn::Sub",
        ];
        if !FUNCTIONS.contains(&name.as_str()) {
            return Err(invalid(
                at,
                format!(
                    "{name} is not a function of templates; they are Ref, Fn::Join, Fn::Select, Fn::FindInMap, Fn::Split and Fn::Sub"
                ),
            ));
        }
        if self.kind == Kind::JustInTime {
            return Err(invalid(
                at,
                format!(
                    "{name} is for fleet provisioning; templates for just-in-time provisioning and RegisterThing have Ref only"
                ),
            ));
        }
        match name.as_str() {
            "Fn::Join" => {
                let [with, parts] = arguments(argument, at)?;
                let with = literal(with, &format!("{at}[0]"))?;
                let parts = self.expression(parts, &format!("{at}[1]"))?;
                Ok(Expression::Join(with, Box::new(parts)))
            }
            "Fn::Select" => {
                let [index, from] = arguments(argument, at)?;
                let index = if let Value::Number(number) = index {
                    Expression::Text(number.to_string())
                } else {
                    self.expression(index, &format!("{at}[0]"))?
                };
                let from = self.expression(from, &format!("{at}[1]"))?;
                Ok(Expression::Select(Box::new(index), Box::new(from)))
            }
            "Fn::FindInMap" => {
                let [map, first, second] = arguments(argument, at)?;
                if let Value::String(name) = map
                    && !self.mappings.contains_key(name)
                {
                    return Err(invalid(
                        &format!("{at}[0]"),
                        format!("there is no mapping {name}"),
                    ));
                }
                Ok(Expression::FindInMap(Box::new([
                    self.expression(map, &format!("{at}[0]"))?,
                    self.expression(first, &format!("{at}[1]"))?,
                    self.expression(second, &format!("{at}[2]"))?,
                ])))
            }
            "Fn::Split" => {
                let [by, of] = arguments(argument, at)?;
                let by = literal(by, &format!("{at}[0]"))?;
                if by.is_empty() {
                    return Err(invalid(&format!("{at}[0]"), "a text is split at something"));
                }
                let of = self.expression(of, &format!("{at}[1]"))?;
                Ok(Expression::Split(by, Box::new(of)))
            }
            _ => self.substitution(argument, at),
        }
    }

    /// `"text ${Name}"`, or that and an object of further names.
    fn substitution(&self, argument: &Value, at: &str) -> Result<Expression, TemplateError> {
        let (text, further) = if let Value::String(text) = argument {
            (text.clone(), BTreeMap::new())
        } else {
            let [text, names] = arguments(argument, at)?;
            let Value::Object(names) = names else {
                return Err(invalid(&format!("{at}[1]"), "expected an object of names"));
            };
            let further = names
                .iter()
                .map(|(name, value)| {
                    let at = format!("{at}[1].{name}");
                    Ok((name.clone(), self.expression(value, &at)?))
                })
                .collect::<Result<_, TemplateError>>()?;
            (literal(text, &format!("{at}[0]"))?, further)
        };
        let mut pieces = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| invalid(at, "a ${ has no }"))?;
            pieces.push(Piece::Text(before.into()));
            if let Some(literal) = name.strip_prefix('!') {
                pieces.push(Piece::Text(format!("${{{literal}}}")));
            } else {
                if !further.contains_key(name) {
                    self.check_name(name, at)?;
                }
                pieces.push(Piece::Name(name.into()));
            }
            rest = after;
        }
        pieces.push(Piece::Text(rest.into()));
        Ok(Expression::Sub(pieces, further))
    }

    fn check_name(&self, name: &str, at: &str) -> Result<(), TemplateError> {
        if name.starts_with(IMPLIED_PREFIX) || self.parameters.contains_key(name) {
            return Ok(());
        }
        Err(invalid(
            at,
            format!("{name} is not declared under Parameters"),
        ))
    }
}

fn arguments<'a, const N: usize>(
    value: &'a Value,
    at: &str,
) -> Result<[&'a Value; N], TemplateError> {
    let items: Option<Vec<&Value>> = value.as_array().map(|items| items.iter().collect());
    items
        .and_then(|items| items.try_into().ok())
        .ok_or_else(|| invalid(at, format!("expected a list of {N}")))
}

fn literal(value: &Value, at: &str) -> Result<String, TemplateError> {
    let Value::String(text) = value else {
        return Err(invalid(at, "expected a text"));
    };
    Ok(text.clone())
}

/// Parameters with their values, and how much may still be made of them.
pub(super) struct Scope<'a> {
    values: &'a BTreeMap<String, String>,
    mappings: &'a Mappings,
    /// Bytes: functions within functions can make very much of very little.
    room: usize,
}

impl<'a> Scope<'a> {
    pub(super) const fn new(values: &'a BTreeMap<String, String>, mappings: &'a Mappings) -> Self {
        Self {
            values,
            mappings,
            room: limits::TEMPLATE_RESULT_BYTES,
        }
    }

    /// The text that `expression` makes.
    pub(super) fn text(
        &mut self,
        expression: &Expression,
        at: &str,
    ) -> Result<String, TemplateError> {
        match self.make(expression, at)? {
            Found::Text(text) => Ok(text),
            Found::List(_) => Err(invalid(at, "expected a text, found a list")),
        }
    }

    /// The same where there may be none.
    pub(super) fn optional(
        &mut self,
        expression: Option<&Expression>,
        at: &str,
    ) -> Result<Option<String>, TemplateError> {
        expression
            .map(|expression| self.text(expression, at))
            .transpose()
    }

    /// The list that `expression` makes.
    pub(super) fn list(
        &mut self,
        expression: &Expression,
        at: &str,
    ) -> Result<Vec<String>, TemplateError> {
        match self.make(expression, at)? {
            Found::List(items) => Ok(items),
            Found::Text(_) => Err(invalid(at, "expected a list, found a text")),
        }
    }

    fn make(&mut self, expression: &Expression, at: &str) -> Result<Found, TemplateError> {
        let found = match expression {
            Expression::Text(text) => Found::Text(text.clone()),
            Expression::List(items) => Found::List(
                items
                    .iter()
                    .map(|item| self.text(item, at))
                    .collect::<Result<_, _>>()?,
            ),
            Expression::Ref(name) => Found::Text(self.value(name, at)?.into()),
            Expression::Join(with, parts) => Found::Text(self.list(parts, at)?.join(with)),
            Expression::Select(index, from) => {
                let index = self.text(index, at)?;
                let items = self.list(from, at)?;
                let index: usize = index
                    .parse()
                    .map_err(|_| invalid(at, format!("{index:?} is not the place of an item")))?;
                let count = items.len();
                let item = items.into_iter().nth(index);
                Found::Text(item.ok_or_else(|| {
                    invalid(at, format!("item {index} is asked of a list of {count}"))
                })?)
            }
            Expression::FindInMap(keys) => {
                let [map, first, second] = &**keys;
                let (map, first) = (self.text(map, at)?, self.text(first, at)?);
                let second = self.text(second, at)?;
                self.mappings
                    .get(&map)
                    .and_then(|map| map.get(&first)?.get(&second))
                    .cloned()
                    .ok_or_else(|| {
                        invalid(at, format!("the mapping {map} has no {first}.{second}"))
                    })?
            }
            Expression::Split(by, of) => {
                let text = self.text(of, at)?;
                Found::List(text.split(by.as_str()).map(str::to_owned).collect())
            }
            Expression::Sub(pieces, further) => {
                let mut text = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Text(piece) => text.push_str(piece),
                        Piece::Name(name) => match further.get(name) {
                            Some(expression) => text.push_str(&self.text(expression, at)?),
                            None => text.push_str(self.value(name, at)?),
                        },
                    }
                    self.check_room(text.len(), at)?;
                }
                Found::Text(text)
            }
        };
        // One more for the work: making nothing very often takes time, too.
        let bytes = 1 + match &found {
            Found::Text(text) => text.len(),
            Found::List(items) => items.iter().map(|item| item.len() + 1).sum(),
        };
        self.check_room(bytes, at)?;
        self.room -= bytes;
        Ok(found)
    }

    fn check_room(&self, bytes: usize, at: &str) -> Result<(), TemplateError> {
        if bytes > self.room {
            return Err(invalid(
                at,
                format!(
                    "the template makes more than {} bytes",
                    limits::TEMPLATE_RESULT_BYTES
                ),
            ));
        }
        Ok(())
    }

    fn value(&self, name: &str, at: &str) -> Result<&'a str, TemplateError> {
        match self.values.get(name) {
            Some(value) => Ok(value),
            None if name.starts_with(IMPLIED_PREFIX) => {
                Err(TemplateError::Missing { name: name.into() })
            }
            None => Err(invalid(at, format!("{name} has no value"))),
        }
    }
}
