//! Who may do what: policy documents as values, their evaluation, and the explanation of each decision.
//!
//! A dialect parses its own language into [`Document`]s. [`compile`] makes a [`CompiledSet`] of
//! everything that applies to one caller; [`CompiledSet::decide`] answers on the data path without
//! building text, [`CompiledSet::explain`] answers the same question with the statement that
//! decided or came nearest. An explicit denial beats a permission, and what no statement allows is
//! denied. Everything here is a pure function of its arguments.

mod action;
mod compiled;
mod condition;
mod date;
mod document;
mod explain;
mod facts;
mod network;
mod pattern;
mod prefix;
mod resource;
mod variable;

pub use action::{Action, Actions};
pub use compiled::{CompiledSet, Request, StatementIndex, Verdict, compile};
pub use condition::{Comparison, Condition, InvalidOperand, Operand, Quantifier, Test};
pub use date::{format_date, parse_date};
pub use document::{Document, Effect, ResourcePattern, Statement};
pub use explain::{Sides, Spelling, reason};
pub use facts::{CertificateFacts, Context, DeviceFacts, Facts, NameFacts, Unresolved, Values};
pub use network::Network;
pub use pattern::{InvalidPattern, Pattern, Wildcards};
pub use prefix::{Prefix, Step};
pub use resource::{Resource, ResourceKind};
pub use variable::{
    AlternativeName, CertificateName, NameField, Occurrence, Variable, VariableUse,
};
