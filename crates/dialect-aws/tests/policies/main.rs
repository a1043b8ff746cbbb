//! AWS policy documents decide and explain as their authors expect.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conditions;
mod documents;
mod explanations;
mod statements;
mod variables;

use std::{collections::BTreeMap, sync::Arc};

use dialect_aws::policies::{
    AwsSpelling, PolicyError, exercise, parse, policy_filter, policy_topic,
};
use model::{Decision, Outcome, Timestamp};
use policy::{
    Action, AlternativeName, CertificateFacts, Context, DeviceFacts, Facts, NameFacts, NameField,
    Request, Resource, compile,
};
use proptest::prelude::*;

const ACCOUNT: &str = "123456789012";

fn own(suffix: &str) -> String {
    format!("arn:aws:iot:us-east-1:{ACCOUNT}:{suffix}")
}

fn statement(effect: &str, action: &str, resource: &str, condition: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"{effect}","Action":"{action}","Resource":"{resource}","Condition":{condition}}}]}}"#
    )
}

/// A pump with everything a policy can see.
fn pump() -> Facts {
    let mut facts = Facts::new(Some("pump-7"), Some("10.1.2.3".parse().unwrap()));
    facts.device = Some(DeviceFacts {
        name: "pump-7".into(),
        type_name: Some("pump".into()),
        attributes: [
            ("site", "kyoto"),
            ("floor", "3"),
            ("wild", "a*"),
            ("address", "10.1.2.3"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
    });
    let values = |values: &[&str]| values.iter().map(ToString::to_string).collect::<Vec<_>>();
    facts.certificate = Some(Arc::new(CertificateFacts {
        subject: NameFacts {
            fields: BTreeMap::from([
                (NameField::CommonName, values(&["pump"])),
                (NameField::Organization, values(&["first", "second"])),
                (NameField::Country, values(&["JP"])),
            ]),
            alternatives: BTreeMap::from([(
                AlternativeName::DnsName,
                values(&["pump.example", "pump7.example"]),
            )]),
        },
        issuer: NameFacts {
            fields: BTreeMap::from([(NameField::CommonName, values(&["the root"]))]),
            alternatives: BTreeMap::new(),
        },
        serial_number: "0a1b".into(),
    }));
    facts.domain = Some("hub.example".into());
    facts
}

#[track_caller]
fn decide(policies: &[&str], action: Action, resource: Resource<'_>) -> Decision {
    decide_as(&pump(), policies, action, resource)
}

/// Decides both ways, which must agree, and gives the story.
#[track_caller]
fn decide_as(facts: &Facts, policies: &[&str], action: Action, resource: Resource<'_>) -> Decision {
    let named: Vec<_> = policies
        .iter()
        .enumerate()
        .map(|(at, text)| {
            let document = parse(text, ACCOUNT).unwrap_or_else(|error| panic!("{error}: {text}"));
            (format!("p{at}").into(), Arc::new(document))
        })
        .collect();
    let set = compile(&named);
    let context = Context {
        now: Timestamp::from_seconds(1_795_255_200),
        persistent_connect: true,
        last_will_topic: Some("will/pump-7"),
    };
    let request = Request {
        action,
        resource,
        facts,
        context: &context,
    };
    let spelling = AwsSpelling {
        account: ACCOUNT.into(),
        region: "us-east-1".into(),
    };
    let decision = set.explain(&request, &spelling);
    assert_eq!(set.decide(&request).outcome, decision.outcome);
    assert_eq!(set.sides(&request).outcome(), decision.outcome);
    decision
}
