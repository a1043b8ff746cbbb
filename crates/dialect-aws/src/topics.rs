//! AWS's topics and the hub's: one space, two spellings.
//!
//! The hub's topics follow AWS's segment by segment: `$aws/things/T/…` is `$hub/devices/T/…`, any
//! other `$aws/…` is `$hub/…`. Both spellings are exchanged for one another in both directions
//! (`$hub` as a client writes it is `$aws` to the hub), so that the translation is one to one: no
//! two topics meet in one, and nobody reaches the hub's topics by their inner names.
//!
//! Source: AWS IoT Core Developer Guide, "Reserved topics".

use std::borrow::Cow;

use bytestring::ByteString;
use hub::{ClaimRequest, Encoding, ShadowVerb};
use model::{
    Address, DeviceId, FILTER_SEPARATOR, InvalidTopic, Refusal, RefusalKind, ShadowName,
    TemplateName, TopicFilter, TopicName,
};

pub(crate) const AWS: &str = "$aws";
const HUB: &str = "$hub";
const THINGS: &str = "things";
const DEVICES: &str = "devices";
const SHARE: &str = "$share/";

/// The subject of certificates that the hub issues, as AWS's are named.
pub(crate) const ISSUED_COMMON_NAME: &str = "AWS IoT Certificate";

/// The hub's spelling of a topic that a client wrote.
///
/// # Errors
///
/// [`InvalidTopic`] when it is no topic name, or too long in the hub's spelling.
pub fn canonical_topic(text: &ByteString) -> Result<TopicName, InvalidTopic> {
    match exchange(text, AWS, THINGS, HUB, DEVICES) {
        Some(canonical) => TopicName::new(canonical),
        None => TopicName::new(text.clone()),
    }
}

/// The hub's spelling of a filter, shared or not, that a client wrote.
///
/// # Errors
///
/// [`InvalidTopic`] when it is no filter, or too long in the hub's spelling.
pub fn canonical_filter(text: &ByteString) -> Result<TopicFilter, InvalidTopic> {
    let (share, filter) = split_share(text);
    match exchange(filter, AWS, THINGS, HUB, DEVICES) {
        Some(canonical) => TopicFilter::new(format!("{share}{canonical}")),
        None => TopicFilter::new(text.clone()),
    }
}

/// AWS's spelling of one of the hub's topics.
#[must_use]
pub fn aws_topic(canonical: &str) -> Cow<'_, str> {
    exchange(canonical, HUB, DEVICES, AWS, THINGS).map_or(Cow::Borrowed(canonical), Cow::Owned)
}

/// AWS's spelling of one of the hub's filters, shared or not.
#[must_use]
pub fn aws_filter(canonical: &str) -> Cow<'_, str> {
    let (share, filter) = split_share(canonical);
    exchange(filter, HUB, DEVICES, AWS, THINGS).map_or(Cow::Borrowed(canonical), |spelled| {
        Cow::Owned(format!("{share}{spelled}"))
    })
}

/// `from/things/…` as `to/devices/…`, any other `from/…` as `to/…`, and the other way about.
/// `None` when the text stays as it is, which the first byte tells of nearly all topics.
fn exchange(
    text: &str,
    from: &str,
    from_family: &str,
    to: &str,
    to_family: &str,
) -> Option<String> {
    if !text.starts_with('$') {
        return None;
    }
    let (root, rest) = text
        .split_once(FILTER_SEPARATOR)
        .map_or((text, None), |(root, rest)| (root, Some(rest)));
    let root = match root {
        _ if root == from => to,
        _ if root == to => from,
        _ => return None,
    };
    let Some(rest) = rest else {
        return Some(root.to_owned());
    };
    let (family, tail) = match rest.find(FILTER_SEPARATOR) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let family = match family {
        _ if family == from_family => to_family,
        _ if family == to_family => from_family,
        other => other,
    };
    Some(format!("{root}/{family}{tail}"))
}

/// `$share/group/` and what follows it.
fn split_share(text: &str) -> (&str, &str) {
    text.strip_prefix(SHARE)
        .and_then(|rest| rest.find(FILTER_SEPARATOR))
        .map_or(("", text), |at| text.split_at(SHARE.len() + at + 1))
}

/// What publishing to one of the reserved topics asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reserved {
    /// A shadow request.
    Shadow(Address, Option<ShadowName>, ShadowVerb),
    /// Fleet provisioning.
    Claim(ClaimRequest, Encoding),
}

/// Reads a reserved topic in the hub's spelling that a client publishes to.
///
/// # Errors
///
/// [`RefusalKind::Unsupported`] names the family of topics when the hub has no such service;
/// [`RefusalKind::Denied`] for topics that only the hub publishes to, and for unknown ones;
/// [`RefusalKind::Malformed`] when a name within the topic cannot be one.
pub fn read_reserved(topic: &TopicName) -> Result<Reserved, Refusal> {
    let unsupported = |family: &str| {
        Err(Refusal::new(
            RefusalKind::Unsupported,
            "topic.unsupported",
            format!(
                "{} belongs to {family}, which this hub does not implement yet",
                aws_topic(topic.as_str())
            ),
        ))
    };
    let levels: Vec<&str> = topic.as_str().split(FILTER_SEPARATOR).collect();
    let Some((&HUB, levels)) = levels.split_first() else {
        return Err(reserved(topic));
    };
    match levels {
        [DEVICES, device, "shadow", rest @ ..] => {
            let (name, verb) = match rest {
                [verb] => (None, verb),
                ["name", name, verb] => (Some(*name), verb),
                _ => return Err(reserved(topic)),
            };
            let verb = match *verb {
                "get" => ShadowVerb::Get,
                "update" => ShadowVerb::Update,
                "delete" => ShadowVerb::Delete,
                _ => return Err(reserved(topic)),
            };
            let bad_name =
                |error: model::InvalidName| Refusal::malformed("topic.name", error.to_string());
            let device = DeviceId::new(device).map_err(bad_name)?;
            let name = name.map(ShadowName::new).transpose().map_err(bad_name)?;
            let address = Address {
                device,
                module: None,
            };
            Ok(Reserved::Shadow(address, name, verb))
        }
        [DEVICES, _, "jobs", ..] => unsupported("jobs"),
        [DEVICES, _, "tunnels", ..] => unsupported("secure tunneling"),
        [DEVICES, _, "defender", ..] => unsupported("device defender"),
        [DEVICES, _, "streams", ..] => unsupported("stream-based file delivery"),
        ["rules", _, _, ..] => unsupported("basic ingest into rules"),
        ["certificates", "create", encoding] => {
            let create = ClaimRequest::Create {
                common_name: ISSUED_COMMON_NAME,
            };
            Ok(Reserved::Claim(create, read_encoding(encoding, topic)?))
        }
        ["certificates", "create-from-csr", encoding] => Ok(Reserved::Claim(
            ClaimRequest::CreateFromRequest,
            read_encoding(encoding, topic)?,
        )),
        ["provisioning-templates", name, "provision", encoding] => {
            let encoding = read_encoding(encoding, topic)?;
            let name = TemplateName::new(name)
                .map_err(|error| Refusal::malformed("topic.name", error.to_string()))?;
            Ok(Reserved::Claim(ClaimRequest::Provision(name), encoding))
        }
        ["commands", ..] => unsupported("remote commands"),
        ["device_location", ..] => unsupported("device location"),
        _ => Err(reserved(topic)),
    }
}

fn read_encoding(level: &str, topic: &TopicName) -> Result<Encoding, Refusal> {
    match level {
        "json" => Ok(Encoding::Json),
        "cbor" => Ok(Encoding::Cbor),
        _ => Err(reserved(topic)),
    }
}

fn reserved(topic: &TopicName) -> Refusal {
    Refusal::new(
        RefusalKind::Denied,
        "topic.reserved",
        format!(
            "clients may not publish to {}: topics that begin with $ are reserved",
            aws_topic(topic.as_str())
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_fleet_provisioning_are_read_in_both_encodings() {
        let common_name = ISSUED_COMMON_NAME;
        let name = "t-1".parse().unwrap();
        for (topic, asked) in [
            (
                "$aws/certificates/create",
                ClaimRequest::Create { common_name },
            ),
            (
                "$aws/certificates/create-from-csr",
                ClaimRequest::CreateFromRequest,
            ),
            (
                "$aws/provisioning-templates/t-1/provision",
                ClaimRequest::Provision(name),
            ),
        ] {
            for (level, encoding) in [("json", Encoding::Json), ("cbor", Encoding::Cbor)] {
                let topic = canonical_topic(&format!("{topic}/{level}").into()).unwrap();
                let read = read_reserved(&topic).unwrap();
                assert_eq!(read, Reserved::Claim(asked.clone(), encoding));
            }
        }
    }

    #[test]
    fn reserved_topics_are_respelled_and_plain_ones_are_not() {
        for (aws, hub) in [
            (
                "$aws/things/T/shadow/update",
                "$hub/devices/T/shadow/update",
            ),
            ("$aws/things/T", "$hub/devices/T"),
            ("$aws/things", "$hub/devices"),
            ("$aws", "$hub"),
            ("$aws/", "$hub/"),
            (
                "$aws/events/presence/connected/c",
                "$hub/events/presence/connected/c",
            ),
            ("$aws/thingsX/T", "$hub/thingsX/T"),
            ("$aws/rules/things/x", "$hub/rules/things/x"),
            // Not AWS's: kept apart from what they look like.
            ("$aws/devices/T", "$hub/things/T"),
            ("$hub/devices/T", "$aws/things/T"),
            ("$awsx/things/T", "$awsx/things/T"),
            ("$SYS/uptime", "$SYS/uptime"),
            ("a/$aws/things", "a/$aws/things"),
            ("things/T", "things/T"),
        ] {
            let canonical = canonical_topic(&aws.into()).unwrap();
            assert_eq!(canonical.as_str(), hub);
            assert_eq!(aws_topic(hub), aws);
        }
    }

    #[test]
    fn filters_are_respelled_shared_or_not() {
        for (aws, hub) in [
            ("$aws/things/+/shadow/#", "$hub/devices/+/shadow/#"),
            ("$aws/+/T/shadow/#", "$hub/+/T/shadow/#"),
            ("$aws/#", "$hub/#"),
            ("$aws/things/#", "$hub/devices/#"),
            ("$share/g/$aws/things/+/x", "$share/g/$hub/devices/+/x"),
            ("$share/$aws/$aws/#", "$share/$aws/$hub/#"),
            ("$share/g/a/$aws", "$share/g/a/$aws"),
            ("#", "#"),
            ("+/things/+", "+/things/+"),
        ] {
            let canonical = canonical_filter(&aws.into()).unwrap();
            assert_eq!(canonical.as_str(), hub);
            assert_eq!(aws_filter(hub), aws);
        }
        assert!(canonical_filter(&"$share/g".into()).is_err());
        assert!(canonical_filter(&"$aws/a#".into()).is_err());
    }

    #[test]
    fn a_filter_matches_after_respelling_what_it_matched_before() {
        for (filter, topic) in [
            (
                "$aws/things/+/shadow/#",
                "$aws/things/T/shadow/get/accepted",
            ),
            ("$aws/+/T/#", "$aws/things/T/shadow/get"),
            ("$aws/+", "$aws/things"),
            ("$aws/#", "$hub/things/T"),
            ("$aws/devices/+", "$aws/things/T"),
            ("#", "$aws/things/T"),
        ] {
            let canonical_filter = canonical_filter(&filter.into()).unwrap();
            let canonical_topic = canonical_topic(&topic.into()).unwrap();
            assert_eq!(
                model::matches(canonical_filter.as_str(), canonical_topic.as_str()),
                model::matches(filter, topic),
                "{filter} {topic}"
            );
        }
    }

    #[test]
    fn shadow_requests_are_read_from_their_topics() {
        let address = Address {
            device: "T".parse().unwrap(),
            module: None,
        };
        for (topic, name, verb) in [
            ("$aws/things/T/shadow/get", None, ShadowVerb::Get),
            ("$aws/things/T/shadow/update", None, ShadowVerb::Update),
            ("$aws/things/T/shadow/delete", None, ShadowVerb::Delete),
            (
                "$aws/things/T/shadow/name/S/get",
                Some("S"),
                ShadowVerb::Get,
            ),
            (
                "$aws/things/T/shadow/name/name/update",
                Some("name"),
                ShadowVerb::Update,
            ),
        ] {
            assert_eq!(
                read(topic).unwrap(),
                Reserved::Shadow(
                    address.clone(),
                    name.map(|name| name.parse().unwrap()),
                    verb
                )
            );
        }
    }

    #[test]
    fn what_the_hub_does_not_do_and_what_nobody_may_do_are_told_apart() {
        use RefusalKind::{Denied, Malformed, Unsupported};
        for (topic, kind, told) in [
            ("$aws/things/T/jobs/get", Unsupported, "jobs"),
            (
                "$aws/things/T/defender/metrics/json",
                Unsupported,
                "defender",
            ),
            ("$aws/things/T/tunnels/notify", Unsupported, "tunneling"),
            ("$aws/things/T/streams/S/get/json", Unsupported, "stream"),
            ("$aws/rules/r/a/b", Unsupported, "basic ingest"),
            ("$aws/certificates/create/xml", Denied, "reserved"),
            ("$aws/certificates/create/json/accepted", Denied, "reserved"),
            (
                "$aws/commands/things/T/executions/e/response/json",
                Unsupported,
                "commands",
            ),
            ("$aws/things/T/shadow/update/accepted", Denied, "reserved"),
            ("$aws/things/T/shadow/update/delta", Denied, "reserved"),
            ("$aws/things/T/shadow/name/S", Denied, "reserved"),
            ("$aws/things/T/shadow", Denied, "reserved"),
            ("$aws/things/T/else", Denied, "reserved"),
            ("$aws/events/presence/connected/c", Denied, "reserved"),
            ("$aws/devices/T/shadow/update", Denied, "reserved"),
            ("$hub/devices/T/shadow/update", Denied, "reserved"),
            ("$aws", Denied, "reserved"),
            ("$SYS/x", Denied, "reserved"),
            ("$aws/things/a b/shadow/get", Malformed, "device id"),
            ("$aws/things//shadow/get", Malformed, "device id"),
            ("$aws/things/T/shadow/name//get", Malformed, "shadow name"),
        ] {
            let refusal = read(topic).unwrap_err();
            assert_eq!(refusal.kind, kind, "{topic}");
            assert!(refusal.message.contains(told), "{topic}: {refusal}");
            if kind != Malformed {
                assert!(refusal.message.contains(topic), "{topic}: {refusal}");
            }
        }
    }

    fn read(topic: &str) -> Result<Reserved, Refusal> {
        read_reserved(&canonical_topic(&topic.into()).unwrap())
    }
}
