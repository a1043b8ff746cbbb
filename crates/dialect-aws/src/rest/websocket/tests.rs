//! Handshakes as they come, and who they open for.

use std::time::Duration;

use hub::{
    Hub, HubConfig,
    clock::{Clock, FakeClock},
};
use model::Timestamp;

use super::*;
use crate::{
    policies::AwsSpelling,
    rest::ApiConfig,
    sigv4::{AccessKeys, SecretKey},
};

/// Signed by AWSIoTPythonSDK 1.6.2 in eu-central-1, for a day; see `sigv4/handshakes.json`.
const TARGET: &str = "/mqtt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDSEKISHO0000000001%2F20261122%2Feu-central-1%2Fiotdata%2Faws4_request&X-Amz-Date=20261122T025722Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=14bcf07b6ea9f6343dd75d4f086766dd29d241c0664babc9512e27e77ac53461";
const HOST: &str = "hub-ats.iot.eu-central-1.amazonaws.lan";

/// 2026-11-22 02:57:22.
const SIGNED_AT: Timestamp = Timestamp::from_seconds(1_795_316_242);

struct Fixture {
    profile: Profile,
    region: &'static str,
    signatures: SignaturePolicy,
    now: Timestamp,
}

impl Fixture {
    fn new() -> Self {
        let secret = SecretKey::new("secret/with+signs=0123456789abcdefghijkl");
        Self {
            profile: Profile::Standard,
            region: "eu-central-1",
            signatures: SignaturePolicy::Verify(
                AccessKeys::default().with("AKIDSEKISHO0000000001", secret),
            ),
            now: SIGNED_AT,
        }
    }

    /// Who the handshake opens for, or the status, the body and what the timeline holds.
    fn ask(self, head: &Parts, certificate: bool) -> Result<Opener, (u16, String, String)> {
        let (authority, key) = ca::Authority::create(self.now).unwrap();
        let same = ca::Authority::open(&authority.root_pem(), key.expose()).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(FakeClock::at(self.now));
        let language = AwsSpelling {
            account: "000000000000".into(),
            region: self.region.into(),
        };
        let hub = Hub::open(
            store::Store::open_temporary().unwrap(),
            same,
            clock,
            Arc::new(language),
            HubConfig {
                profile: self.profile,
                account: "000000000000".into(),
                require_cosigned: None,
            },
        )
        .unwrap();
        let config = ApiConfig {
            endpoint: "hub.example".into(),
            region: self.region.into(),
        };
        let api = Api::new(hub.clone(), self.signatures, config);
        let sender = Sender {
            address: ([127, 0, 0, 1], 5).into(),
            server_name: None,
            certificate: certificate.then(|| Arc::from(&b"DER"[..])),
        };
        api.admit_websocket(head, &sender).map_err(|answer| {
            let body = String::from_utf8(answer.body().to_vec()).unwrap();
            let records = hub.recent_entries(0);
            let record = records.last().expect("it is recorded");
            assert_eq!(record.kind, Kind::ConnectRefused);
            assert_eq!(record.principal.is_some(), certificate);
            assert_eq!(
                answer.headers()["x-sekisho-reason"],
                record.reason,
                "{body}"
            );
            (answer.status().as_u16(), body, record.message.clone())
        })
    }
}

fn head(target: &str) -> Parts {
    let request = http::Request::builder().uri(target).header("host", HOST);
    request.body(()).unwrap().into_parts().0
}

#[track_caller]
fn refused(fixture: Fixture, target: &str, status: u16, part: &str) {
    let (found, body, record) = fixture.ask(&head(target), false).unwrap_err();
    assert_eq!(found, status, "{body}");
    assert!(body.contains(part), "{body}");
    assert!(record.contains(part), "{record}");
    assert!(!record.contains("X-Amz-"), "{record}");
}

#[test]
fn a_signed_url_opens_for_the_operator_whose_key_signed_it() {
    let operator = Ok(Opener::AccessKey("AKIDSEKISHO0000000001".into()));
    assert_eq!(Fixture::new().ask(&head(TARGET), false), operator);
    // A certificate beside it says nothing more.
    assert_eq!(Fixture::new().ask(&head(TARGET), true), operator);
}

#[test]
fn a_url_that_is_not_taken_is_answered_403_with_the_reason_and_recorded() {
    let late = Fixture {
        now: SIGNED_AT.after(Duration::from_secs(86_401)),
        ..Fixture::new()
    };
    refused(
        late,
        TARGET,
        403,
        "the presigned URL expired at 20261123T025722Z",
    );
    let elsewhere = Fixture {
        region: "us-east-1",
        ..Fixture::new()
    };
    refused(elsewhere, TARGET, 403, "this hub is in us-east-1");
    let stranger = Fixture {
        signatures: SignaturePolicy::Verify(AccessKeys::default()),
        ..Fixture::new()
    };
    refused(stranger, TARGET, 403, "does not know the access key");
    let tampered = TARGET.replace("86400", "86401");
    refused(Fixture::new(), &tampered, 403, "does not match the request");
    refused(Fixture::new(), "/mqtt", 403, "is not signed");
    refused(
        Fixture::new(),
        "/mqtt?X-Amz-Signature=00",
        403,
        "is not signed",
    );
}

#[test]
fn a_signature_for_another_service_opens_nothing() {
    for service in ["iot", "sts", "iot-jobs-data"] {
        let target = TARGET.replace("iotdata", service);
        let any = Fixture {
            signatures: SignaturePolicy::AcceptAny,
            ..Fixture::new()
        };
        refused(any, &target, 403, "service");
    }
}

#[test]
fn development_takes_any_signature_in_any_region() {
    let any = Fixture {
        signatures: SignaturePolicy::AcceptAny,
        region: "us-east-1",
        ..Fixture::new()
    };
    let target = TARGET.replace("14bc", "0000");
    assert!(any.ask(&head(&target), false).is_ok());
}

#[test]
fn a_certificate_opens_what_is_not_signed_but_not_where_all_is_as_on_aws() {
    let opened = Fixture::new().ask(&head("/mqtt"), true);
    assert_eq!(opened, Ok(Opener::Certificate));
    let strict = Fixture {
        profile: Profile::AwsStrict,
        ..Fixture::new()
    };
    let (status, ..) = strict.ask(&head("/mqtt"), true).unwrap_err();
    assert_eq!(status, 403);
}

#[test]
fn a_page_of_another_origin_needs_a_signed_url() {
    let asked_by = |target: &str, origin: &str| {
        let mut head = head(target);
        let origin = origin.parse().unwrap();
        head.headers.insert("origin", origin);
        Fixture::new().ask(&head, true)
    };
    let own = format!("https://{HOST}");
    assert_eq!(asked_by("/mqtt", &own), Ok(Opener::Certificate));
    assert!(asked_by(TARGET, "https://app.example").is_ok());
    for origin in [
        "https://app.example",
        "http://localhost",
        "null",
        "https://",
        HOST,
        "",
    ] {
        let (status, body, _) = asked_by("/mqtt", origin).unwrap_err();
        assert_eq!(status, 403);
        assert!(body.contains("must sign the URL"), "{body}");
    }
}

#[test]
fn where_any_signature_is_taken_only_pages_of_this_machine_may_connect() {
    for (origin, taken) in [
        ("http://localhost:3000", true),
        ("http://127.0.0.1:5173", true),
        ("http://[::1]", true),
        ("https://app.example", false),
        ("http://localhost.evil.example", false),
        ("null", false),
    ] {
        let any = Fixture {
            signatures: SignaturePolicy::AcceptAny,
            ..Fixture::new()
        };
        let mut head = head(TARGET);
        head.headers.insert("origin", origin.parse().unwrap());
        assert_eq!(any.ask(&head, false).is_ok(), taken, "{origin}");
    }
}

#[test]
fn a_custom_authorizer_is_refused_by_name() {
    let mut by_header = head("/mqtt");
    let name = "x-amz-customauthorizer-name";
    by_header.headers.insert(name, "A".parse().unwrap());
    for head in [by_header, head("/mqtt?X-Amz-CustomAuthorizer-Name=A")] {
        let (status, body, _) = Fixture::new().ask(&head, true).unwrap_err();
        assert_eq!(status, 501);
        assert!(body.contains("custom authorizers"), "{body}");
    }
}
