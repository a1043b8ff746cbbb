//! Requests as they come, and the answers to them.

use std::time::Duration;

use hub::{
    HubConfig,
    clock::{Clock, FakeClock},
};
use model::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::policies::AwsSpelling;

const ACCOUNT: &str = "000000000000";

struct Fixture {
    api: Api,
    runtime: tokio::runtime::Runtime,
    authority: ca::Authority,
    now: Timestamp,
}

/// What came back: status, exception and body.
#[derive(Debug)]
struct Answered {
    status: u16,
    exception: String,
    text: String,
}

impl Answered {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    #[track_caller]
    fn is(&self, status: u16, exception: &str, part: &str) {
        assert_eq!(
            (self.status, &*self.exception),
            (status, exception),
            "{self:?}"
        );
        assert!(self.text.contains(part), "{self:?}");
    }
}

impl Fixture {
    fn new() -> Self {
        let now = Timestamp::from_seconds(1_795_000_000);
        let (authority, key) = ca::Authority::create(now).unwrap();
        let same = ca::Authority::open(&authority.root_pem(), key.expose()).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(FakeClock::at(now));
        let language = AwsSpelling {
            account: ACCOUNT.into(),
            region: "us-east-1".into(),
        };
        let config = HubConfig {
            profile: limits::Profile::Standard,
            account: ACCOUNT.into(),
            require_cosigned: None,
        };
        let store = store::Store::open_temporary().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let hub = Hub::open(store, same, clock, Arc::new(language), config).unwrap();
        let config = ApiConfig {
            endpoint: "hub.example".into(),
            region: "us-east-1".into(),
        };
        Self {
            api: Api::new(hub, SignaturePolicy::AcceptAny, config),
            runtime,
            authority,
            now,
        }
    }

    fn send(&self, head: &Parts, body: &str, certificate: Option<Arc<[u8]>>) -> Answered {
        let sender = Sender {
            address: ([127, 0, 0, 1], 5).into(),
            server_name: None,
            certificate,
        };
        assert!(Api::claims(head));
        let answer = match self.api.admit(head, &sender) {
            Err(refused) => *refused,
            Ok(admitted) => {
                let body = Bytes::copy_from_slice(body.as_bytes());
                let answering = self.api.answer(admitted, head, body, &sender);
                self.runtime.block_on(answering)
            }
        };
        let header = |name| {
            let value = answer.headers().get(name);
            value.map_or("", |value| value.to_str().unwrap()).to_owned()
        };
        assert!(!header("x-amzn-requestid").is_empty());
        Answered {
            status: answer.status().as_u16(),
            exception: header("x-amzn-errortype"),
            text: String::from_utf8(answer.body().to_vec()).unwrap(),
        }
    }

    /// Asks as an operator, signed for `service`.
    fn ask(&self, service: &str, method: &str, target: &str, body: &str) -> Answered {
        self.ask_with(service, method, target, body, &[])
    }

    fn ask_with(
        &self,
        service: &str,
        method: &str,
        target: &str,
        body: &str,
        more: &[(&str, &str)],
    ) -> Answered {
        let mut names = vec!["host", "x-amz-date"];
        names.extend(more.iter().map(|(name, _)| *name));
        names.sort_unstable();
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AK/20261121/eu-central-1/{service}/aws4_request, \
             SignedHeaders={}, Signature={}",
            names.join(";"),
            "0".repeat(64)
        );
        let mut headers = vec![
            ("host", "hub.example"),
            ("x-amz-date", "20261121T223000Z"),
            ("authorization", &authorization),
        ];
        headers.extend_from_slice(more);
        self.send(&head(method, target, &headers), body, None)
    }

    /// Asks as a device, with its certificate.
    fn ask_as(&self, certificate: &Arc<[u8]>, method: &str, target: &str, body: &str) -> Answered {
        let head = head(method, target, &[("host", "hub.example")]);
        self.send(&head, body, Some(Arc::clone(certificate)))
    }
}

fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = http::Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

#[test]
fn what_is_not_implemented_is_refused_by_its_name() {
    let hub = Fixture::new();
    for (service, method, target, body, name) in [
        ("iot", "PUT", "/jobs/j1", "{}", "CreateJob"),
        (
            "iot",
            "GET",
            "/things/t/jobs",
            "",
            "ListJobExecutionsForThing",
        ),
        (
            "iot-jobs-data",
            "GET",
            "/things/t/jobs",
            "",
            "GetPendingJobExecutions",
        ),
        (
            "iot-jobs-data",
            "GET",
            "/things/t/jobs/$next",
            "",
            "DescribeJobExecution",
        ),
    ] {
        let message = format!("{name} is not implemented by this hub yet");
        hub.ask(service, method, target, body)
            .is(501, "NotImplementedException", &message);
    }
    let target = [("x-amz-target", "IoTSecuredTunneling.OpenTunnel")];
    hub.ask_with("IoTSecuredTunneling", "POST", "/", "{}", &target)
        .is(501, "NotImplementedException", "OpenTunnel is not");
    hub.ask("sts", "POST", "/", "Action=AssumeRole&Version=2011-06-15")
        .is(
            501,
            "NotImplemented",
            "<Code>NotImplemented</Code><Message>AssumeRole is not",
        );
}

#[test]
fn every_operation_of_every_service_is_answered() {
    let hub = Fixture::new();
    let mut implemented = 0;
    for service in [Service::Iot, Service::IotData, Service::IotJobsData] {
        for operation in service.operations() {
            let (method, target) = operation.example();
            let signed_as = match service {
                Service::IotData => "iotdata",
                Service::Iot | Service::IotJobsData | Service::SecureTunneling | Service::Sts => {
                    service.name()
                }
            };
            let answer = hub.ask(signed_as, method, &target, "{}");
            if answer.status == 501 {
                answer.is(501, "NotImplementedException", operation.name);
            } else {
                implemented += 1;
                assert_ne!(answer.status, 500, "{}: {answer:?}", operation.name);
            }
        }
    }
    assert_eq!(implemented, 90, "the operations that dispatch knows");
}

#[test]
fn the_scope_decides_which_service_a_path_belongs_to() {
    let hub = Fixture::new();
    hub.ask("iot", "GET", "/things/t/shadow", "").is(
        404,
        "ResourceNotFoundException",
        "iot has no operation at GET /things/t/shadow",
    );
    hub.ask("iotdata", "GET", "/things/t/shadow", "").is(
        404,
        "ResourceNotFoundException",
        "No shadow exists with name: 't'",
    );
    hub.ask("iotdevicegateway", "GET", "/things", "")
        .is(403, "InvalidSignatureException", "");
}

#[test]
fn a_request_without_a_signature_is_told_to_sign() {
    let hub = Fixture::new();
    let unsigned = head("GET", "/things", &[("host", "hub.example")]);
    hub.send(&unsigned, "", None)
        .is(403, "MissingAuthenticationTokenException", "not signed");
}

#[test]
fn other_schemes_and_other_paths_are_not_claimed() {
    for (target, authorization) in [
        ("/things", Some("Bearer x")),
        ("/things", Some("SharedAccessSignature sr=x")),
        ("/healthz", None),
        ("/api/v1/devices", None),
        ("/", None),
    ] {
        let headers: Vec<(&str, &str)> = authorization
            .iter()
            .map(|value| ("authorization", *value))
            .collect();
        assert!(!Api::claims(&head("GET", target, &headers)), "{target}");
    }
}

#[test]
fn resource_names_carry_the_region_of_the_request() {
    let hub = Fixture::new();
    let body = hub.ask("iot", "POST", "/things/pump%3A7", "{}").json();
    assert_eq!(body["thingName"], "pump:7");
    assert_eq!(
        body["thingArn"],
        "arn:aws:iot:eu-central-1:000000000000:thing/pump:7"
    );
    let again = hub.ask(
        "iot",
        "POST",
        "/things/pump%3A7",
        r#"{"attributePayload":{"attributes":{"a":"b"}}}"#,
    );
    again.is(409, "ResourceAlreadyExistsException", "already exists");
    assert_eq!(again.json()["resourceArn"], body["thingArn"]);
    assert_eq!(again.json()["resourceId"], "pump:7");
}

#[test]
fn what_only_azure_can_spell_is_no_thing_name() {
    let hub = Fixture::new();
    hub.ask("iot", "POST", "/things/a%40b", "{}")
        .is(400, "InvalidRequestException", "a@b");
}

#[test]
fn a_list_is_read_page_by_page() {
    let hub = Fixture::new();
    for name in ["a", "b", "c", "d", "e"] {
        hub.ask("iot", "POST", &format!("/things/{name}"), "{}");
    }
    let mut target = "/things?maxResults=2".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = hub.ask("iot", "GET", &target, "").json();
        for thing in page["things"].as_array().unwrap() {
            seen.push(thing["thingName"].as_str().unwrap().to_owned());
        }
        let Some(token) = page["nextToken"].as_str() else {
            break;
        };
        target = format!(
            "/things?maxResults=2&nextToken={}",
            token.replace('=', "%3D")
        );
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    hub.ask("iot", "GET", "/things?maxResults=x", "").is(
        400,
        "InvalidRequestException",
        "maxResults",
    );
}

#[test]
fn a_published_message_is_retained_with_its_properties() {
    let hub = Fixture::new();
    let more = [
        ("x-amz-mqtt5-payload-format-indicator", "UTF8_DATA"),
        // [{"k":"v"}]
        ("x-amz-mqtt5-user-properties", "W3siayI6InYifV0="),
    ];
    let target = "/topics/a%2Fb?qos=1&retain=true&contentType=text%2Fplain";
    hub.ask_with("iotdata", "POST", target, "hello", &more)
        .is(200, "", "\"message\":\"OK\"");
    let kept = hub
        .ask("iotdata", "GET", "/retainedMessage/a%2Fb", "")
        .json();
    assert_eq!(kept["payload"], "aGVsbG8=");
    assert_eq!(kept["qos"], 1);
    assert_eq!(kept["userProperties"], "W3siayI6InYifV0=");
    for (target, part) in [
        ("/topics/a%2F%2B", "wildcards"),
        ("/topics/a?qos=2", "qos is 0 or 1"),
        ("/topics/a?messageExpiry=x", "messageExpiry"),
        ("/topics/%ff", "not UTF-8"),
    ] {
        hub.ask("iotdata", "POST", target, "")
            .is(400, "InvalidRequestException", part);
    }
}

#[test]
fn a_device_asks_with_its_certificate_and_gets_what_its_policies_allow() {
    let hub = Fixture::new();
    let since = hub.now.before(Duration::from_secs(60));
    let until = hub.now.after(Duration::from_secs(3600));
    let subject = ca::Subject::common_name("device");
    let identity = hub
        .authority
        .issue_device(&subject, ca::DeviceKey::P256, since, until)
        .unwrap();
    let der: Arc<[u8]> = Arc::from(identity.certificate.der());
    hub.ask_as(&der, "POST", "/topics/a", "x")
        .is(403, "ForbiddenException", "");

    let pem = x509::certificate_to_pem(identity.certificate.der());
    let body = json!({ "certificatePem": pem, "status": "ACTIVE" }).to_string();
    let arn = hub
        .ask("iot", "POST", "/certificate/register-no-ca", &body)
        .json();
    let policy = json!({ "policyDocument": json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Action": ["iot:Publish", "iot:UpdateThingShadow"],
            "Resource": ["arn:aws:iot:*:*:topic/a", "arn:aws:iot:*:*:thing/t"],
        }],
    }).to_string() });
    hub.ask("iot", "POST", "/policies/p", &policy.to_string())
        .is(200, "", "policyArn");
    let target = json!({ "target": arn["certificateArn"] }).to_string();
    hub.ask("iot", "PUT", "/target-policies/p", &target)
        .is(200, "", "");

    hub.ask_as(&der, "POST", "/topics/a", "x").is(200, "", "OK");
    hub.ask_as(&der, "POST", "/topics/b", "x")
        .is(403, "ForbiddenException", "topic/b");
    hub.ask_as(
        &der,
        "POST",
        "/things/t/shadow",
        r#"{"state":{"reported":{"on":1}}}"#,
    )
    .is(200, "", "\"version\":1");
    hub.ask_as(&der, "GET", "/things/t/shadow", "").is(
        403,
        "ForbiddenException",
        "iot:GetThingShadow",
    );
    // The control plane wants a signature, whoever asks.
    hub.ask_as(&der, "GET", "/things", "").is(
        403,
        "MissingAuthenticationTokenException",
        "not signed",
    );
    hub.ask_as(&der, "GET", "/connections/x", "").is(
        403,
        "ForbiddenException",
        "only an operator may",
    );
}
