//! What must be true of every policy document, however it came to be.

use std::sync::Arc;

use model::{Outcome, Timestamp};
use policy::{Action, Context, DeviceFacts, Facts, Request, Resource, compile};

use super::{AwsSpelling, parse};

const ACCOUNT: &str = "123456789012";

/// Reads `bytes` as a policy document and, when it is one, checks that each statement's text reads
/// back as the same statement, that the quick decision and the explained one agree, and that the
/// statement an explanation proposes allows what was asked.
///
/// # Errors
///
/// What did not hold, for a fuzzer or a test to show.
pub fn exercise(bytes: &[u8]) -> Result<(), String> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Ok(());
    };
    let Ok(document) = parse(text, ACCOUNT) else {
        return Ok(());
    };
    for statement in &document.statements {
        let again = alone(&statement.text)?;
        if again.statements != [statement.clone()] {
            return Err(format!("{} reads back differently", statement.text));
        }
    }
    let set = compile(&[("p".into(), Arc::new(document))]);
    let mut facts = Facts::new(Some("pump-7"), Some([10, 1, 2, 3].into()));
    facts.device = Some(DeviceFacts {
        name: "pump-7".into(),
        ..DeviceFacts::default()
    });
    let context = Context {
        now: Timestamp::from_seconds(1_795_255_200),
        persistent_connect: true,
        last_will_topic: Some("will"),
    };
    let spelling = AwsSpelling {
        account: ACCOUNT.into(),
        region: "us-east-1".into(),
    };
    for action in Action::ALL {
        for resource in [
            Resource::client("pump-7"),
            Resource::topic("a/pump-7/é?*"),
            Resource::filter("a/+/#"),
            Resource::shadow("pump-7", Some("s")),
            Resource::every(),
        ] {
            let request = Request {
                action,
                resource,
                facts: &facts,
                context: &context,
            };
            let quick = set.decide(&request).outcome;
            let told = set.explain(&request, &spelling);
            if told.outcome != quick || set.sides(&request).outcome() != quick {
                return Err(format!("{action:?} on {resource} is decided two ways"));
            }
            let proposed = told.because.remedy.filter(|remedy| remedy.starts_with('{'));
            if let Some(remedy) = proposed.filter(|_| quick == Outcome::ImplicitlyDenied) {
                let set = compile(&[("r".into(), Arc::new(alone(&remedy)?))]);
                if !set.is_allowed(&request) {
                    return Err(format!("{remedy} does not allow {action:?} on {resource}"));
                }
            }
        }
    }
    Ok(())
}

fn alone(statement: &str) -> Result<policy::Document, String> {
    let text = format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#);
    parse(&text, ACCOUNT).map_err(|error| format!("{error}: {text}"))
}
