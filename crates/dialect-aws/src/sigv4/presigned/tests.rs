//! Against the handshakes of AWS's own SDKs (`handshakes.json`, each by its name and version), and
//! against every one-byte change of them.

use super::*;
use crate::sigv4::{AccessKeys, SecretKey, SigningName};

const SECRET: &str = "secret/with+signs=0123456789abcdefghijkl";
const TOKEN: &str = "a/session+token==";

#[derive(serde::Deserialize)]
struct Handshake {
    name: String,
    time: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
}

impl Handshake {
    fn head(&self) -> Result<Parts, http::Error> {
        self.head_to(&self.target)
    }

    fn head_to(&self, target: &str) -> Result<Parts, http::Error> {
        let mut request = http::Request::builder()
            .method(self.method.as_str())
            .uri(target);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        Ok(request.body(())?.into_parts().0)
    }

    fn signed_at(&self) -> Timestamp {
        read_stamp(&self.time).unwrap()
    }

    fn lifetime(&self) -> Duration {
        if self.target.contains("X-Amz-Expires=86400") {
            Duration::from_secs(86_400)
        } else {
            CLOCK_SKEW
        }
    }
}

fn handshakes() -> Vec<Handshake> {
    serde_json::from_str(include_str!("../handshakes.json")).unwrap()
}

fn keys(secret: &str, token: &str) -> SignaturePolicy {
    let keys = AccessKeys::default()
        .with("AKIDSEKISHO0000000001", SecretKey::new(secret))
        .with_session("ASIASEKISHO0000000002", SecretKey::new(secret), token);
    SignaturePolicy::Verify(keys)
}

#[test]
fn the_url_of_every_sdk_is_taken_for_its_whole_life_and_no_longer() {
    let second = Duration::from_secs(1);
    let keys = keys(SECRET, TOKEN);
    let handshakes = handshakes();
    assert_eq!(handshakes.len(), 12);
    for handshake in &handshakes {
        let head = handshake.head().unwrap();
        let at = handshake.signed_at();
        let last = at.after(handshake.lifetime());
        for (now, taken) in [
            (at, true),
            (last, true),
            (last.after(second), false),
            (at.before(CLOCK_SKEW), true),
            (at.before(CLOCK_SKEW + second), false),
        ] {
            let result = verify(&head, &keys, now);
            assert_eq!(result.is_ok(), taken, "{}: {result:?}", handshake.name);
        }
        let scope = verify(&head, &keys, at).unwrap();
        let expected = if handshake.name.starts_with("AWSIoTPythonSDK") {
            SigningName::IotData
        } else {
            SigningName::IotDeviceGateway
        };
        assert_eq!(scope.service, expected, "{}", handshake.name);
        assert_eq!(scope.region, "eu-central-1");
    }
}

#[test]
fn a_change_of_any_byte_of_the_url_or_of_a_signed_header_is_refused() {
    let keys = keys(SECRET, TOKEN);
    for handshake in handshakes() {
        let now = handshake.signed_at();
        for at in 1..handshake.target.len() {
            let other = if handshake.target.as_bytes()[at] == b'x' {
                "y"
            } else {
                "x"
            };
            let mut changed = handshake.target.clone();
            changed.replace_range(at..=at, other);
            let Ok(head) = handshake.head_to(&changed) else {
                continue;
            };
            let taken = verify(&head, &keys, now);
            assert!(taken.is_err(), "{}: {changed}", handshake.name);
        }
        for (appended, what) in [("&X-Amz-Expires=604800", "a life"), ("&a=b", "a parameter")] {
            let head = handshake.head_to(&(handshake.target.clone() + appended));
            let taken = verify(&head.unwrap(), &keys, now);
            assert!(taken.is_err(), "{}: {what} more", handshake.name);
        }
        for name in ["host", "connection"] {
            let mut head = handshake.head().unwrap();
            head.headers.insert(name, "other".parse().unwrap());
            let signed = name == "host" || handshake.target.contains("connection%3Bhost");
            let taken = verify(&head, &keys, now);
            assert_eq!(taken.is_err(), signed, "{}: {name}", handshake.name);
        }
    }
}

#[test]
fn a_wrong_key_an_unknown_key_and_a_foreign_token_are_told_apart() {
    for handshake in handshakes() {
        let head = handshake.head().unwrap();
        let now = handshake.signed_at();
        let told = |keys: &SignaturePolicy| verify(&head, keys, now).unwrap_err().names().1;
        assert_eq!(told(&keys("another secret", TOKEN)), "signature.mismatch");
        let nobody = SignaturePolicy::Verify(AccessKeys::default());
        let with_token = handshake.name.ends_with("token");
        let unknown = if with_token {
            "signature.unknown-token"
        } else {
            "signature.unknown-key"
        };
        assert_eq!(told(&nobody), unknown);
        if with_token {
            assert_eq!(told(&keys(SECRET, "another")), "signature.unknown-token");
        }
    }
}

#[test]
fn an_expired_url_says_since_when() {
    let handshakes = handshakes();
    let python = handshakes
        .iter()
        .find(|handshake| handshake.lifetime() > CLOCK_SKEW)
        .unwrap();
    let signed_at = python.signed_at();
    let now = signed_at.after(Duration::from_secs(86_401));
    let error = verify(&python.head().unwrap(), &keys(SECRET, TOKEN), now).unwrap_err();
    let expired_at = signed_at.after(Duration::from_secs(86_400));
    assert_eq!(error, SignatureError::Expired { expired_at, now });
    assert!(error.to_string().contains("20261123T"), "{error}");
}

#[test]
fn lifetimes_are_whole_seconds_of_a_week_at_most() {
    for (text, seconds) in [("0", 0), ("60", 60), ("86400", 86_400), ("604800", 604_800)] {
        assert_eq!(read_lifetime(text), Ok(Duration::from_secs(seconds)));
    }
    for text in [
        "",
        "-1",
        "+60",
        "6e4",
        "604801",
        "18446744073709551616",
        "60 ",
    ] {
        assert!(read_lifetime(text).is_err(), "{text:?}");
    }
}
