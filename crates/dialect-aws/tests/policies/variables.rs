//! What variables stand for.

use super::*;

#[test]
fn every_variable_has_its_value() {
    for (variable, value) in [
        ("iot:ClientId", "pump-7"),
        ("IOT:clientid", "pump-7"),
        ("aws:SourceIp", "10.1.2.3"),
        ("iot:Connection.Thing.ThingName", "pump-7"),
        ("iot:Connection.Thing.ThingTypeName", "pump"),
        ("iot:Connection.Thing.Attributes[site]", "kyoto"),
        ("iot:Connection.Thing.IsAttached", "true"),
        ("iot:Certificate.Subject.CommonName", "pump"),
        ("iot:Certificate.Subject.Organization", "first"),
        ("iot:Certificate.Subject.Organization.1", "second"),
        ("iot:Certificate.Subject.Country.List", "JP"),
        ("iot:Certificate.Issuer.CommonName", "the root"),
        (
            "iot:Certificate.Subject.AlternativeName.DNSName",
            "pump.example",
        ),
        (
            "iot:Certificate.Subject.AlternativeName.DNSName.1",
            "pump7.example",
        ),
        ("iot:Certificate.SerialNumber", "0a1b"),
        ("aws:CurrentTime", "2026-11-21T10:00:00Z"),
        ("aws:EpochTime", "1795255200"),
        ("iot:DomainName", "hub.example"),
    ] {
        let document = statement(
            "Allow",
            "iot:Publish",
            &own(&format!("topic/${{{variable}}}/*")),
            "{}",
        );
        let topic = format!("{value}/t");
        let decision = decide(&[&document], Action::Publish, Resource::topic(&topic));
        assert!(decision.outcome.is_allowed(), "{variable}: {decision:?}");
        assert_eq!(
            decision.because.variables[0].value.as_deref(),
            Some(value),
            "{variable}"
        );
        let other = decide(&[&document], Action::Publish, Resource::topic("other/t"));
        assert!(!other.outcome.is_allowed(), "{variable}");
    }
}

#[test]
fn a_variable_without_a_usable_value_matches_nothing_and_says_why() {
    for (variable, note) in [
        (
            "iot:Connection.Thing.Attributes[none]",
            "the device does not have it",
        ),
        (
            "iot:Connection.Thing.Attributes[Site]",
            "the device does not have it",
        ),
        (
            "iot:Connection.Thing.Attributes[wild]",
            "its value holds one of * $ + ? # and is not substituted",
        ),
        (
            "iot:Certificate.Subject.Organization.2",
            "the certificate does not have it",
        ),
        (
            "iot:Certificate.Subject.Organization.List",
            "it has several values; name one of them",
        ),
        (
            "iot:Certificate.Subject.Title",
            "the certificate does not have it",
        ),
        (
            "iot:Certificate.AvailableKeys",
            "it has several values; name one of them",
        ),
        ("iot:LastWillTopic", "the request does not have it"),
        ("iot:NoSuchThing", "this hub knows no variable of that name"),
        (
            "iot:Certificate.Subject.CommonName.+1",
            "this hub knows no variable of that name",
        ),
    ] {
        let document = statement(
            "Allow",
            "iot:Publish",
            &own(&format!("topic/${{{variable}}}")),
            "{}",
        );
        for topic in ["a", "", "*", "${}", "second"] {
            let decision = decide(&[&document], Action::Publish, Resource::topic(topic));
            assert!(!decision.outcome.is_allowed(), "{variable}");
            assert_eq!(decision.reason.0, "policy.variable", "{variable}");
            assert_eq!(decision.because.variables[0].value, None);
            assert_eq!(
                decision.because.variables[0].note.as_deref(),
                Some(note),
                "{variable}"
            );
        }
    }
}

#[test]
fn only_five_values_of_a_certificate_field_are_seen() {
    let mut facts = pump();
    let certificate = Arc::make_mut(facts.certificate.as_mut().unwrap());
    let many = (0..7).map(|at| format!("o{at}")).collect();
    certificate
        .subject
        .fields
        .insert(NameField::Organization, many);
    for (at, expected) in [(4, true), (5, false)] {
        let pattern = own(&format!(
            "topic/${{iot:Certificate.Subject.Organization.{at}}}"
        ));
        let document = statement("Allow", "iot:Publish", &pattern, "{}");
        let topic = format!("o{at}");
        let decision = decide_as(
            &facts,
            &[&document],
            Action::Publish,
            Resource::topic(&topic),
        );
        assert_eq!(decision.outcome.is_allowed(), expected, "value {at}");
    }
}

#[test]
fn a_caller_without_a_device_has_no_device_variables() {
    let facts = Facts::new(Some("pump-7"), None);
    for (condition, expected) in [
        (
            r#"{"Bool":{"iot:Connection.Thing.IsAttached":"true"}}"#,
            false,
        ),
        (
            r#"{"Bool":{"iot:Connection.Thing.IsAttached":"false"}}"#,
            true,
        ),
        (
            r#"{"Null":{"iot:Connection.Thing.ThingName":"true"}}"#,
            true,
        ),
        (
            r#"{"StringEquals":{"iot:ClientId":"${iot:Connection.Thing.ThingName}"}}"#,
            false,
        ),
    ] {
        let document = statement("Allow", "iot:Connect", "*", condition);
        let client = Resource::client("pump-7");
        let decision = decide_as(&facts, &[&document], Action::Connect, client);
        assert_eq!(decision.outcome.is_allowed(), expected, "{condition}");
    }
}
