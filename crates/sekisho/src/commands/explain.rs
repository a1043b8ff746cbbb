//! `sekisho explain …`

use super::find;
use crate::{
    cli::{self, Where},
    failure::Failure,
    output,
};

pub(super) async fn run(
    hub: &Where,
    device: String,
    question: cli::Question,
) -> Result<(), Failure> {
    let (action, topic) = match question {
        cli::Question::Connect => (api::Action::Connect, None),
        cli::Question::Publish { topic } => (api::Action::Publish, Some(topic)),
        cli::Question::Subscribe { filter } => (api::Action::Subscribe, Some(filter)),
        cli::Question::Receive { topic } => (api::Action::Receive, Some(topic)),
    };
    let question = api::Question {
        device,
        action,
        topic,
    };
    let explanation: api::Explanation = find(hub)?.post("/explain", &question).await?;
    if hub.json {
        output::json(&explanation)?;
    } else {
        for answer in &explanation.answers {
            print(answer);
        }
    }
    if explanation.allowed {
        return Ok(());
    }
    Err(Failure::Refused("it would be refused".into()))
}

fn print(answer: &api::Answer) {
    if let Some(principal) = &answer.principal {
        output::line(&format!("as {principal}"));
    }
    for line in lines(&answer.decision) {
        output::line(&line);
    }
    if let Some(connect) = &answer.connect {
        output::line("  but it could not connect:");
        for line in lines(connect) {
            output::line(&line);
        }
    }
}

/// A decision for people.
fn lines(decision: &api::Decision) -> Vec<String> {
    let verdict = match decision.outcome {
        api::Outcome::Allowed => "ALLOWED",
        api::Outcome::ExplicitlyDenied => "DENIED by a statement",
        api::Outcome::NotAllowed => "NOT ALLOWED",
    };
    let mut lines = vec![format!(
        "  {verdict}: {} on {} ({})",
        decision.action, decision.resource, decision.reason
    )];
    if let Some(policy) = &decision.policy {
        let place = decision
            .statement
            .map_or_else(String::new, |at| format!(", statement {at}"));
        let sort = if decision.miss.is_some() {
            "nearest"
        } else {
            "by"
        };
        lines.push(format!("  {sort:9} policy {policy}{place}"));
    }
    let mut add = |name: &str, value: &Option<String>| {
        if let Some(value) = value {
            lines.push(format!("  {name:9} {value}"));
        }
    };
    add("statement", &decision.text);
    add("because", &decision.miss);
    for variable in &decision.variables {
        let value = variable.value.clone().or_else(|| {
            let note = variable.note.as_deref().unwrap_or("no value");
            Some(format!("({note})"))
        });
        let value = value.map(|value| format!("{} = {value}", variable.name));
        add("variable", &value);
    }
    add("remedy", &decision.remedy);
    lines
}

#[test]
fn a_decision_is_told_with_its_nearest_statement_and_remedy() {
    let decision = api::Decision {
        outcome: api::Outcome::NotAllowed,
        reason: "policy.no-statement".into(),
        action: "iot:Publish".into(),
        resource: "topic/b".into(),
        policy: Some("pumps".into()),
        statement: Some(1),
        text: None,
        miss: Some("topic/a is not topic/b".into()),
        variables: vec![api::Variable {
            name: "iot:ClientId".into(),
            value: None,
            note: Some("not connected".into()),
        }],
        remedy: Some("allow it".into()),
    };
    assert_eq!(
        lines(&decision),
        [
            "  NOT ALLOWED: iot:Publish on topic/b (policy.no-statement)",
            "  nearest   policy pumps, statement 1",
            "  because   topic/a is not topic/b",
            "  variable  iot:ClientId = (not connected)",
            "  remedy    allow it",
        ]
    );
}
