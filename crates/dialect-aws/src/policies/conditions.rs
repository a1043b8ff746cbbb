//! The `Condition` member: operator, key, values.

use model::limits;
use policy::{
    Comparison, Condition, Operand, Pattern, Quantifier, Test, Variable, VariableUse, Wildcards,
};

use super::{PolicyError, json::Node, resources, variables::variable, wrong};

/// Every operator without quantifier and `IfExists`: what it tests and whether it is negated.
const OPERATORS: [(&str, Test, bool); 26] = [
    ("StringEquals", Test::Text, false),
    ("StringNotEquals", Test::Text, true),
    ("StringEqualsIgnoreCase", Test::TextIgnoringCase, false),
    ("StringNotEqualsIgnoreCase", Test::TextIgnoringCase, true),
    ("StringLike", Test::Like, false),
    ("StringNotLike", Test::Like, true),
    ("NumericEquals", Test::Number(Comparison::Equal), false),
    ("NumericNotEquals", Test::Number(Comparison::Equal), true),
    ("NumericLessThan", Test::Number(Comparison::Less), false),
    (
        "NumericLessThanEquals",
        Test::Number(Comparison::LessOrEqual),
        false,
    ),
    (
        "NumericGreaterThan",
        Test::Number(Comparison::Greater),
        false,
    ),
    (
        "NumericGreaterThanEquals",
        Test::Number(Comparison::GreaterOrEqual),
        false,
    ),
    ("DateEquals", Test::Date(Comparison::Equal), false),
    ("DateNotEquals", Test::Date(Comparison::Equal), true),
    ("DateLessThan", Test::Date(Comparison::Less), false),
    (
        "DateLessThanEquals",
        Test::Date(Comparison::LessOrEqual),
        false,
    ),
    ("DateGreaterThan", Test::Date(Comparison::Greater), false),
    (
        "DateGreaterThanEquals",
        Test::Date(Comparison::GreaterOrEqual),
        false,
    ),
    ("Bool", Test::Truth, false),
    ("IpAddress", Test::Network, false),
    ("NotIpAddress", Test::Network, true),
    ("ArnEquals", Test::Resource, false),
    ("ArnLike", Test::Resource, false),
    ("ArnNotEquals", Test::Resource, true),
    ("ArnNotLike", Test::Resource, true),
    ("Null", Test::Absent, false),
];

/// Reads the whole member.
pub(super) fn read(node: &Node, at: &str, account: &str) -> Result<Vec<Condition>, PolicyError> {
    let Node::Object(blocks) = node else {
        return Err(wrong(at, "expected an object of operators"));
    };
    let mut conditions = Vec::new();
    for (spelled, keys) in blocks {
        let at = format!("{at}.{spelled}");
        let (test, negated, quantifier, if_exists) =
            operator(spelled).ok_or_else(|| wrong(&at, "this operator is not known"))?;
        let Node::Object(keys) = keys else {
            return Err(wrong(&at, "expected an object of condition keys"));
        };
        for (key, values) in keys {
            let at = format!("{at}.{key}");
            if key.len() > limits::POLICY_PATTERN_BYTES {
                return Err(wrong(&at, "the name of this key is too long"));
            }
            let key = VariableUse {
                variable: variable(key),
                spelled: key.as_str().into(),
            };
            conditions.push(Condition {
                operands: operands(test, &key.variable, values, &at, account)?,
                key,
                test,
                negated,
                quantifier,
                if_exists,
                spelled: spelled.as_str().into(),
            });
        }
    }
    if conditions.len() > limits::POLICY_LIST_ENTRIES {
        return Err(wrong(
            at,
            format!("more than {} conditions", limits::POLICY_LIST_ENTRIES),
        ));
    }
    Ok(conditions)
}

fn operator(spelled: &str) -> Option<(Test, bool, Quantifier, bool)> {
    let (quantifier, rest) = match spelled.split_once(':') {
        None => (Quantifier::Single, spelled),
        Some(("ForAnyValue", rest)) => (Quantifier::Any, rest),
        Some(("ForAllValues", rest)) => (Quantifier::All, rest),
        Some(_) => return None,
    };
    let (name, if_exists) = match rest.strip_suffix("IfExists") {
        Some(name) => (name, true),
        None => (rest, false),
    };
    let (_, test, negated) = OPERATORS.iter().find(|(known, _, _)| *known == name)?;
    // IAM: "IfExists" may end every operator but Null; a set has no meaning for Null either.
    if *test == Test::Absent && (if_exists || quantifier != Quantifier::Single) {
        return None;
    }
    Some((*test, *negated, quantifier, if_exists))
}

fn operands(
    test: Test,
    key: &Variable,
    node: &Node,
    at: &str,
    account: &str,
) -> Result<Vec<Operand>, PolicyError> {
    let one = std::slice::from_ref(node);
    let nodes = match node {
        Node::Array(items) => items,
        Node::Null | Node::Bool(_) | Node::Number(_) | Node::Text(_) | Node::Object(_) => one,
    };
    if nodes.len() > limits::POLICY_LIST_ENTRIES {
        return Err(wrong(
            at,
            format!("more than {} values", limits::POLICY_LIST_ENTRIES),
        ));
    }
    let mut operands = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let at = match nodes.len() {
            1 => at.to_owned(),
            _ => format!("{at}[{index}]"),
        };
        let truth;
        let text = match node {
            Node::Text(text) | Node::Number(text) => text,
            Node::Bool(value) => {
                truth = value.to_string();
                &truth
            }
            Node::Null | Node::Array(_) | Node::Object(_) => {
                return Err(wrong(&at, "expected a string, a number, true or false"));
            }
        };
        if *key == Variable::LastWillTopic {
            operands.extend(topics(test, text, account).map_err(|expected| wrong(&at, expected))?);
        } else {
            operands.push(
                Operand::parse(test, text, &variable)
                    .map_err(|error| wrong(&at, error.to_string()))?,
            );
        }
    }
    Ok(operands)
}

/// The operands of a condition on a topic that is named as a resource; none when it is not in this
/// account.
fn topics(test: Test, text: &str, account: &str) -> Result<Vec<Operand>, String> {
    let wildcards = match test {
        Test::Resource | Test::Like => Wildcards::On,
        Test::Text => Wildcards::Off,
        Test::TextIgnoringCase
        | Test::Number(_)
        | Test::Date(_)
        | Test::Truth
        | Test::Network
        | Test::Absent => {
            let operand = Operand::parse(test, text, &variable);
            return Ok(vec![operand.map_err(|error| error.to_string())?]);
        }
    };
    if !resources::is_arn(text) {
        return Err(resources::expected(text));
    }
    let whole = Pattern::parse(text, wildcards, &variable).map_err(|error| error.to_string())?;
    Ok(resources::own(&whole, account)?
        .into_iter()
        .map(Operand::Text)
        .collect())
}
