//! The devices' side of AWS: who they say they are, and what their messages ask for.

use std::borrow::Cow;

use bytestring::ByteString;
use dialect::{Dialect, Hello, Inbound};
use hub::{Caller, Credentials, Intent, PublishRequest, ShadowRequest};
use model::{InvalidTopic, Refusal, RefusalKind, TopicFilter, TopicName};

use crate::topics::{self, Reserved};

/// AWS IoT Core's spelling, for MQTT clients and for messages published over HTTPS.
#[derive(Clone, Copy, Debug, Default)]
pub struct Aws;

/// What a user name of this kind begins its parameters with: the names of custom authentication.
/// Source: AWS IoT Core Developer Guide, "Connecting to AWS IoT Core by using custom
/// authentication".
const CUSTOM_AUTHENTICATION: &str = "x-amz-customauthorizer-";

impl Dialect for Aws {
    /// The certificate of the handshake. SDKs append `?SDK=…&Version=…` to the user name, which
    /// says nothing about who they are.
    fn identify(&self, hello: &Hello<'_>) -> Result<Credentials, Refusal> {
        if hello.user_name.is_some_and(asks_for_authorizer) {
            return Err(Refusal::new(
                RefusalKind::Unsupported,
                "authorizer.unsupported",
                "custom authorizers are not implemented yet; connect with a client certificate",
            ));
        }
        Ok(match &hello.certificate {
            Some(der) => Credentials::Certificate(der.clone()),
            None => Credentials::None,
        })
    }

    fn interpret(&self, _caller: &Caller, inbound: Inbound) -> Result<Intent, Refusal> {
        let topic = topics::canonical_topic(&inbound.topic).map_err(not_a_topic)?;
        let reserved = topic.is_reserved();
        let asked = reserved
            .then(|| topics::read_reserved(&topic))
            .transpose()?;
        let message = PublishRequest {
            topic,
            payload: inbound.payload,
            qos: inbound.qos,
            // AWS keeps no message of a reserved topic.
            retain: inbound.retain && !reserved,
            properties: inbound.properties,
            packet_id: inbound.packet_id,
        };
        Ok(match asked {
            None => Intent::Publish(message),
            Some(Reserved::Shadow(address, name, verb)) => Intent::Shadow(
                message,
                ShadowRequest {
                    address,
                    name,
                    verb,
                },
            ),
            Some(Reserved::Claim(asked, encoding)) => Intent::Claim(message, asked, encoding),
        })
    }

    /// The shadow service does not answer last wills; they are delivered as messages only.
    fn will_topic(&self, _caller: &Caller, topic: ByteString) -> Result<TopicName, Refusal> {
        let topic = topics::canonical_topic(&topic).map_err(not_a_topic)?;
        if topic.is_reserved() {
            topics::read_reserved(&topic)?;
        }
        Ok(topic)
    }

    fn filter(&self, _caller: &Caller, filter: &ByteString) -> Result<TopicFilter, Refusal> {
        topics::canonical_filter(filter)
            .map_err(|error| Refusal::malformed("filter.invalid", error.to_string()))
    }

    fn spell<'a>(&self, canonical: &'a TopicName) -> Option<Cow<'a, str>> {
        canonical
            .is_reserved()
            .then(|| topics::aws_topic(canonical.as_str()))
    }
}

fn not_a_topic(error: InvalidTopic) -> Refusal {
    Refusal::malformed("topic.invalid", error.to_string())
}

/// Whether a user name `name?key=value&…` names a custom authorizer, or signs for one.
fn asks_for_authorizer(user_name: &str) -> bool {
    user_name
        .split_once('?')
        .into_iter()
        .flat_map(|(_, query)| query.split('&'))
        .any(|parameter| {
            parameter
                .get(..CUSTOM_AUTHENTICATION.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(CUSTOM_AUTHENTICATION))
        })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use hub::ShadowVerb;
    use mqtt_proto::{PublishProperties, QoS};

    use super::*;

    #[test]
    fn the_metrics_of_an_sdk_are_no_evidence() {
        for user_name in [
            None,
            Some(""),
            Some("?SDK=Python&Version=1.6.2"),
            Some("?SDK=IoTDeviceSDK/Python&Platform=Unix&Metadata=(CRTVersion=1;IoTSDKVersion=2)"),
            Some("someone?x-amz=1&customauthorizer"),
            Some("x-amz-customauthorizer-name=A"),
        ] {
            assert!(
                matches!(identify(user_name, true), Ok(Credentials::Certificate(_))),
                "{user_name:?}"
            );
            assert!(
                matches!(identify(user_name, false), Ok(Credentials::None)),
                "{user_name:?}"
            );
        }
    }

    #[test]
    fn a_custom_authorizer_is_refused_by_name() {
        for user_name in [
            "u?x-amz-customauthorizer-name=A",
            "?SDK=x&x-amz-customauthorizer-signature=a%2Fb&t=1",
            "?X-Amz-CustomAuthorizer-Name=A",
        ] {
            let Err(refusal) = identify(Some(user_name), true) else {
                panic!("{user_name} was taken");
            };
            assert_eq!(refusal.kind, RefusalKind::Unsupported);
            assert!(refusal.message.contains("custom authorizers"));
        }
    }

    #[test]
    fn a_plain_message_is_published_as_it_is() {
        let Ok(Intent::Publish(message)) = interpret("a/b", true) else {
            panic!("a plain topic asks for nothing else");
        };
        assert_eq!(message.topic.as_str(), "a/b");
        assert!(message.retain);
    }

    #[test]
    fn a_shadow_request_is_read_from_its_topic_and_not_retained() {
        let intent = interpret("$aws/things/T/shadow/name/S/update", true);
        let Ok(Intent::Shadow(message, asked)) = intent else {
            panic!("not a shadow request: {intent:?}");
        };
        assert_eq!(
            message.topic.as_str(),
            "$hub/devices/T/shadow/name/S/update"
        );
        assert!(!message.retain);
        assert_eq!(asked.address.device.as_str(), "T");
        assert_eq!(asked.name, Some("S".parse().unwrap()));
        assert_eq!(asked.verb, ShadowVerb::Update);
    }

    #[test]
    fn what_is_no_topic_or_no_filter_is_refused_with_the_rule_it_breaks() {
        for topic in ["a/#", "", "$aws/things/+/shadow/get", "a\0b"] {
            let refusal = interpret(topic, false).unwrap_err();
            assert_eq!(refusal.kind, RefusalKind::Malformed, "{topic:?}");
        }
        for filter in ["a/#/b", "", "$share/g", "$share/g/$aws/a#"] {
            let refusal = Aws.filter(&Caller::hub(), &filter.into()).unwrap_err();
            assert_eq!(refusal.kind, RefusalKind::Malformed, "{filter:?}");
        }
    }

    #[test]
    fn a_will_may_go_where_a_message_may() {
        let will = |topic: &str| Aws.will_topic(&Caller::hub(), topic.into());
        assert_eq!(will("a/b").unwrap().as_str(), "a/b");
        assert_eq!(
            will("$aws/things/T/shadow/update").unwrap().as_str(),
            "$hub/devices/T/shadow/update"
        );
        assert_eq!(
            will("$aws/things/T/shadow/update/delta").unwrap_err().kind,
            RefusalKind::Denied
        );
    }

    #[test]
    fn deliveries_are_spelled_as_subscribed() {
        let spell = |canonical: &str| {
            let topic = TopicName::new(canonical).unwrap();
            Aws.spell(&topic).map(Cow::into_owned)
        };
        assert_eq!(spell("a/b"), None);
        assert_eq!(
            spell("$hub/devices/T/shadow/update/delta").as_deref(),
            Some("$aws/things/T/shadow/update/delta")
        );
        assert_eq!(
            spell("$hub/events/presence/connected/c").as_deref(),
            Some("$aws/events/presence/connected/c")
        );
    }

    fn identify(user_name: Option<&str>, certificate: bool) -> Result<Credentials, Refusal> {
        Aws.identify(&Hello {
            user_name,
            password: None,
            certificate: certificate.then(|| Arc::from(&b"DER"[..])),
        })
    }

    fn interpret(topic: &str, retain: bool) -> Result<Intent, Refusal> {
        let inbound = Inbound {
            topic: topic.into(),
            payload: Bytes::new(),
            qos: QoS::AtLeastOnce,
            retain,
            properties: PublishProperties::default(),
            packet_id: None,
        };
        Aws.interpret(&Caller::hub(), inbound)
    }
}
