//! Patterns match what they say, at bounded cost, and no variable's value makes one match more.

use policy::{
    Context, DeviceFacts, Facts, InvalidPattern, Pattern, Prefix, Values, Variable, Wildcards,
};
use proptest::prelude::*;

#[test]
fn a_star_takes_any_run_and_a_question_mark_one_character() {
    for (pattern, text, expected) in [
        ("topic/a", "topic/a", true),
        ("topic/a", "topic/A", false),
        ("topic/a", "topic/ab", false),
        ("topic/*", "topic/", true),
        ("topic/*", "topic/a/b/c", true),
        ("topic/*", "topic", false),
        ("*", "", true),
        ("*", "anything/at all", true),
        ("", "", true),
        ("", "a", false),
        ("?", "", false),
        ("?", "a", true),
        ("?", "é", true),
        ("?", "ab", false),
        ("a?c", "aéc", true),
        ("*?", "é", true),
        ("?*", "é", true),
        ("*?c", "éc", true),
        ("*é", "aé", true),
        ("**", "a", true),
        ("a*b*c", "abc", true),
        ("a*b*c", "axxbyyc", true),
        ("a*b*c", "acb", false),
        ("a*bc", "abcbc", true),
        ("*ab*ab", "abab", true),
        ("*ab*ab", "ab", false),
        ("ab*ba", "aba", false),
        ("*a?b*", "xxacbyy", true),
        ("*a?b*", "xxab", false),
        // MQTT's wildcards stand for themselves.
        ("topicfilter/a/#", "topicfilter/a/#", true),
        ("topicfilter/a/#", "topicfilter/a/b", false),
        ("topicfilter/a/*", "topicfilter/a/#", true),
        ("topicfilter/+/b", "topicfilter/a/b", false),
        // Escapes.
        ("a${*}b", "a*b", true),
        ("a${*}b", "axb", false),
        ("a${?}b", "a?b", true),
        ("a${?}b", "axb", false),
        ("a${$}{client}", "a${client}", true),
        ("a$b", "a$b", true),
        // Variables.
        ("client/${client}", "client/pump-7", true),
        ("client/${client}", "client/pump-70", false),
        ("topic/${client}/*", "topic/pump-7/t", true),
        ("topic/*/${client}", "topic/x/y/pump-7", true),
        ("topic/*/${client}/*", "topic/x/y/pump-7/t", true),
        ("topic/${client}${client}", "topic/pump-7pump-7", true),
        ("topic/${device}", "topic/", false),
        ("topic/${device}", "topic/${device}", false),
        ("topic/*${unknown}", "topic/a", false),
    ] {
        assert_eq!(
            matches(pattern, text, "pump-7"),
            expected,
            "{pattern} on {text}"
        );
    }
}

#[test]
fn a_value_with_a_wildcard_or_of_excessive_length_is_not_substituted() {
    for value in ["*", "a*", "?", "pump?", "$", "$aws", "+", "#", "a/#"] {
        let pattern = "client/${client}";
        assert!(
            !matches(pattern, &format!("client/{value}"), value),
            "{value}"
        );
        assert!(!matches(pattern, "client/pump", value), "{value}");
        assert!(!matches("*${client}*", value, value), "{value}");
    }
    let long = "é".repeat(1024);
    assert!(matches("${client}", &long, &long));
    let longer = "é".repeat(1025);
    assert!(!matches("${client}", &longer, &longer));
}

#[test]
fn a_text_that_is_no_pattern_is_refused_with_its_place() {
    for (text, message) in [
        ("topic/${client", "the ${ at byte 6 has no closing }"),
        ("${}", "the ${} at byte 0 names nothing"),
    ] {
        let error = Pattern::parse(text, Wildcards::On, &names).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    assert!(Pattern::parse(&"a".repeat(8193), Wildcards::On, &names).is_err());
}

#[test]
fn without_wildcards_every_character_stands_for_itself() {
    let pattern = Pattern::parse("a*?", Wildcards::Off, &names).unwrap();
    let (facts, context) = (Facts::default(), Context::default());
    let values = Values::new(&facts, &context, false);
    assert!(pattern.matches("a*?", &values));
    assert!(!pattern.matches("abc", &values));
}

#[test]
fn a_prefix_is_taken_off_though_wildcards_reach_across_it() {
    let prefix = Prefix::new()
        .text("arn:iot:")
        .some_of(|byte| byte.is_ascii_lowercase())
        .text(":12:");
    for (pattern, expected) in [
        ("arn:iot:eu:12:topic/a", &["topic/a"][..]),
        (
            "arn:iot:*:12:topic/a",
            &["topic/a", "12:topic/a", "*:12:topic/a"],
        ),
        ("arn:iot:eu:12:*", &["*"]),
        ("arn:iot:*:*:topic/*", &["topic/*", "*:topic/*"]),
        ("arn:iot:*", &["*"]),
        ("arn:*", &["*"]),
        ("*", &["*"]),
        ("*/a", &["*/a"]),
        ("arn:iot:e?:1?:topic/a", &["topic/a"]),
        ("arn:iot:eu:12:${client}/x", &["${client}/x"]),
        ("arn:iot:eu:13:topic/a", &[]),
        ("arn:iot::12:topic/a", &[]),
        ("arn:iot:EU:12:topic/a", &[]),
        ("arn:s3:eu:12:topic/a", &[]),
        ("arn:iot:${client}:12:topic/a", &[]),
        ("arn:iot:eu:1", &[]),
        ("", &[]),
    ] {
        let parsed = Pattern::parse(pattern, Wildcards::On, &names).unwrap();
        let rest: Vec<String> = parsed
            .after(&prefix)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(rest, expected, "{pattern}");
    }
}

#[test]
fn a_pattern_whose_prefix_can_end_anywhere_is_refused() {
    let prefix = Prefix::new()
        .text("arn:")
        .some_of(|byte| byte != b'/')
        .text(":");
    for (pattern, expected) in [
        (
            format!("*{}", "?".repeat(8000)),
            Err(InvalidPattern::Ambiguous),
        ),
        ("*a".repeat(4000), Ok(1)),
        ("*a".repeat(40), Ok(1)),
        (format!("*{}", "?".repeat(40)), Ok(41)),
        ("*".repeat(8000), Ok(1)),
    ] {
        let parsed = Pattern::parse(&pattern, Wildcards::On, &names).unwrap();
        let count = parsed.after(&prefix).map(|left| left.len());
        assert_eq!(count, expected, "{}", &pattern[..9]);
    }
}

#[test]
fn a_hostile_pattern_costs_no_more_than_the_product_of_the_lengths() {
    // Backtracking over every star would need about 4000^20 steps here.
    let pattern = format!("{}b", "*a".repeat(20));
    assert!(!matches(&pattern, &"a".repeat(4000), ""));
    let pattern = format!("{}b", "*a?".repeat(1000));
    assert!(!matches(&pattern, &"a".repeat(4000), ""));
    let pattern = format!("*{}b*", "?".repeat(4000));
    assert!(!matches(&pattern, &"a".repeat(4096), ""));
}

proptest! {
    #[test]
    fn matching_agrees_with_the_plain_recursive_definition(
        pattern in "[ab*?é]{0,8}",
        text in "[abé]{0,10}",
    ) {
        let plain: Vec<char> = pattern.chars().collect();
        let letters: Vec<char> = text.chars().collect();
        prop_assert_eq!(matches(&pattern, &text, ""), naive(&plain, &letters));
    }

    #[test]
    fn a_value_matches_only_itself(
        before in "[ab*/]{0,4}",
        after in "[ab*/]{0,4}",
        value in "[ab*?$+#/]{0,4}",
        text in "[ab*?$+#/]{0,10}",
    ) {
        let pattern = format!("{before}${{client}}{after}");
        if matches(&pattern, &text, &value) {
            prop_assert!(!value.contains(['*', '?', '$', '+', '#']));
            // The same with the value written out as literal characters.
            let written_out = format!("{before}{value}{after}");
            prop_assert!(matches(&written_out, &text, ""));
        }
    }

    #[test]
    fn what_is_left_of_a_prefix_matches_what_the_whole_matched(
        pattern in "[ab:*?]{0,8}",
        text in "[ab:]{0,6}",
    ) {
        let prefix = Prefix::new().text("a").some_of(|byte| byte == b'b').text(":");
        let parsed = Pattern::parse(&pattern, Wildcards::On, &names).unwrap();
        let (facts, context) = (Facts::default(), Context::default());
        let values = Values::new(&facts, &context, false);
        let rest = parsed.after(&prefix).unwrap().iter().any(|rest| rest.matches(&text, &values));
        let whole = (1..12).any(|bs| {
            matches(&pattern, &format!("a{}:{text}", "b".repeat(bs)), "")
        });
        prop_assert_eq!(rest, whole);
    }

    #[test]
    fn a_pattern_prints_what_it_was_read_from(pattern in r"([ab*?é]|\$\{\*\}|\$\{client\}){0,8}") {
        let printed = Pattern::parse(&pattern, Wildcards::On, &names).unwrap();
        let again = Pattern::parse(&printed.to_string(), Wildcards::On, &names).unwrap();
        prop_assert_eq!(printed, again);
    }
}

fn names(name: &str) -> Variable {
    match name {
        "client" => Variable::ClientId,
        "device" => Variable::DeviceName,
        "place" => Variable::DeviceAttribute("place".into()),
        _ => Variable::Unknown,
    }
}

/// Whether `pattern` matches `text` for a caller with this client id, no device and an attribute.
fn matches(pattern: &str, text: &str, client: &str) -> bool {
    let facts = Facts::new(Some(client), None);
    let context = Context::default();
    Pattern::parse(pattern, Wildcards::On, &names)
        .expect("the test's pattern is one")
        .matches(text, &Values::new(&facts, &context, false))
}

fn naive(pattern: &[char], text: &[char]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        (['*', rest @ ..], _) => {
            naive(rest, text) || (!text.is_empty() && naive(pattern, &text[1..]))
        }
        (['?', rest @ ..], [_, tail @ ..]) => naive(rest, tail),
        ([wanted, rest @ ..], [found, tail @ ..]) => wanted == found && naive(rest, tail),
        _ => false,
    }
}

#[test]
fn device_variables_need_a_device() {
    let mut facts = Facts::new(Some("c"), None);
    let context = Context::default();
    let pattern = Pattern::parse("${device}/${place}", Wildcards::On, &names).unwrap();
    assert!(!pattern.matches("d/roof", &Values::new(&facts, &context, false)));
    facts.device = Some(DeviceFacts {
        name: "d".into(),
        type_name: None,
        attributes: [("place".to_owned(), "roof".to_owned())].into(),
    });
    assert!(pattern.matches("d/roof", &Values::new(&facts, &context, false)));
    assert!(!pattern.matches("d/cellar", &Values::new(&facts, &context, false)));
}
