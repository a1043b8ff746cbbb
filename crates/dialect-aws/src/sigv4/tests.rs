//! Against requests that botocore signed (`vectors.json` says which version), and against every
//! one-byte change of them.

use super::*;

const LONG_LIVED: &str = "AKIDSEKISHO0000000001";
const TEMPORARY: &str = "ASIASEKISHO0000000002";
const SECRET: &str = "secret/with+signs=0123456789abcdefghijkl";
const TOKEN: &str = "a/session+token==";

#[derive(serde::Deserialize)]
struct Vectors {
    time: String,
    signed: Vec<Vector>,
    presigned: Vec<Vector>,
}

#[derive(Clone, serde::Deserialize)]
struct Vector {
    name: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    /// One character a byte.
    body: String,
}

impl Vector {
    fn head(&self) -> Result<Parts, http::Error> {
        let mut request = http::Request::builder()
            .method(self.method.as_str())
            .uri(self.target.as_str());
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        Ok(request.body(())?.into_parts().0)
    }

    fn body(&self) -> Vec<u8> {
        self.body
            .chars()
            .map(|byte| u8::try_from(u32::from(byte)).expect("one character a byte"))
            .collect()
    }

    fn verify(&self, keys: &SignaturePolicy, now: Timestamp) -> Result<(), SignatureError> {
        let head = self.head().expect("the vector is a request");
        Claim::read(&head)?.verify(&head, &self.body(), keys, now)
    }

    fn header(&mut self, name: &str) -> &mut String {
        let entry = self.headers.iter_mut().find(|(key, _)| key == name);
        &mut entry.expect("the vector has the header").1
    }
}

fn vectors() -> (Vectors, Timestamp) {
    let vectors: Vectors = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let now = read_stamp(&vectors.time).unwrap();
    (vectors, now)
}

fn keys() -> SignaturePolicy {
    SignaturePolicy::Verify(
        AccessKeys::default()
            .with(LONG_LIVED, SecretKey::new(SECRET))
            .with_session(TEMPORARY, SecretKey::new(SECRET), TOKEN),
    )
}

#[test]
fn what_botocore_signs_is_taken() {
    let (vectors, now) = vectors();
    for vector in &vectors.signed {
        assert_eq!(vector.verify(&keys(), now), Ok(()), "{}", vector.name);
    }
}

#[test]
fn a_change_of_any_signed_byte_is_refused() {
    let (vectors, now) = vectors();
    let keys = keys();
    let mut changes = 0;
    for vector in &vectors.signed {
        let mut check = |changed: &Vector, what: &str| {
            // What is no HTTP request any more never reaches the verifier.
            let Ok(head) = changed.head() else { return };
            changes += 1;
            let taken = Claim::read(&head)
                .and_then(|claim| claim.verify(&head, &changed.body(), &keys, now));
            assert!(taken.is_err(), "{}: {what}", vector.name);
        };
        for at in 0..vector.target.len() {
            let mut changed = vector.clone();
            flip(&mut changed.target, at);
            if changed.target.starts_with('/') {
                check(&changed, &format!("target {}", changed.target));
            }
        }
        for index in 0..vector.headers.len() {
            let (name, value) = &vector.headers[index];
            if name == "authorization" {
                continue;
            }
            for at in 0..value.len() {
                let mut changed = vector.clone();
                flip(&mut changed.headers[index].1, at);
                check(&changed, name);
            }
            let mut without = vector.clone();
            without.headers.remove(index);
            check(&without, &format!("without {name}"));
        }
        for at in 0..vector.body.len() {
            let mut changed = vector.clone();
            flip(&mut changed.body, at);
            check(&changed, "body");
        }
        let mut other_method = vector.clone();
        other_method.method = "OPTIONS".into();
        check(&other_method, "method");
        let signature_at = vector
            .headers
            .iter()
            .find(|(name, _)| name == "authorization");
        let authorization = &signature_at.expect("signed").1;
        for at in authorization.find("Signature=").unwrap() + 10..authorization.len() {
            let mut changed = vector.clone();
            flip(changed.header("authorization"), at);
            check(&changed, "signature");
        }
    }
    assert!(changes > 1000, "{changes}");
}

/// Changes one byte into another printable one.
fn flip(text: &mut String, at: usize) {
    if text.is_char_boundary(at) && text.as_bytes()[at].is_ascii() {
        let byte = text.as_bytes()[at];
        let other = if byte == b'x' { "y" } else { "x" };
        text.replace_range(at..=at, other);
    } else {
        text.push('x');
    }
}

#[test]
fn a_signature_counts_five_minutes_either_way() {
    let (vectors, now) = vectors();
    let vector = &vectors.signed[0];
    for (time, taken) in [
        (now.after(CLOCK_SKEW), true),
        (now.before(CLOCK_SKEW), true),
        (now.after(CLOCK_SKEW + Duration::from_secs(1)), false),
        (now.before(CLOCK_SKEW + Duration::from_secs(1)), false),
    ] {
        let result = vector.verify(&keys(), time);
        assert_eq!(result.is_ok(), taken, "{result:?}");
        if let Err(error) = result {
            assert!(matches!(error, SignatureError::ClockSkew { .. }));
            assert!(error.to_string().contains("20261121T223000Z"), "{error}");
        }
    }
}

#[test]
fn unknown_keys_tokens_and_services_are_told_apart() {
    let (vectors, now) = vectors();
    let vector = &vectors.signed[0];
    let nobody = SignaturePolicy::Verify(AccessKeys::default());
    assert_eq!(vector.verify(&nobody, now), Err(SignatureError::UnknownKey));
    let mut with_token = vector.clone();
    with_token
        .headers
        .push(("x-amz-security-token".into(), "x".into()));
    assert_eq!(
        with_token.verify(&keys(), now),
        Err(SignatureError::HeaderNotSigned {
            name: "x-amz-security-token".into()
        })
    );
    let session = vectors.signed.last().unwrap();
    let mut other_token = session.clone();
    other_token.header("x-amz-security-token").push('x');
    assert_eq!(
        other_token.verify(&keys(), now),
        Err(SignatureError::UnknownToken)
    );
    let mut unsigned = vector.clone();
    unsigned.headers.retain(|(name, _)| name != "authorization");
    assert_eq!(unsigned.verify(&keys(), now), Err(SignatureError::Missing));
    let mut foreign = vector.clone();
    let authorization = foreign.header("authorization");
    *authorization = authorization.replace("/iot/", "/execute-api/");
    assert_eq!(
        foreign.verify(&keys(), now),
        Err(SignatureError::Service {
            name: "execute-api".into()
        })
    );
}

#[test]
fn a_mismatch_shows_what_was_read_and_never_the_expected_signature() {
    let (vectors, now) = vectors();
    let mut vector = vectors.signed[0].clone();
    let sent = vector.header("authorization").clone();
    let expected = &sent[sent.len() - 64..];
    vector.target.push('x');
    let error = vector.verify(&keys(), now).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("/things/pump%253A7x"), "{text}");
    assert!(!text.contains(expected));
    assert_eq!(error.names().0, "InvalidSignatureException");
    // The signature of the changed request is not told either: the only 64-digit texts are the
    // hashes of the body and of the canonical request.
    let digests = text
        .split(|c: char| !c.is_ascii_hexdigit())
        .filter(|word| word.len() == 64)
        .count();
    assert_eq!(digests, 2, "{text}");
}

#[test]
fn development_takes_any_signature_and_still_reads_its_scope() {
    let (vectors, now) = vectors();
    let mut vector = vectors.signed[0].clone();
    vector.target.push('x');
    let later = now.after(Duration::from_secs(86_400));
    assert_eq!(vector.verify(&SignaturePolicy::AcceptAny, later), Ok(()));
    let head = vector.head().unwrap();
    assert_eq!(Claim::read(&head).unwrap().scope().region, "eu-central-1");
}

#[test]
fn presigned_urls_are_taken_as_every_sdk_makes_them() {
    let (vectors, now) = vectors();
    for vector in &vectors.presigned {
        let head = vector.head().unwrap();
        let scope = presigned::verify(&head, &keys(), now);
        assert_eq!(
            scope.as_ref().map(|scope| scope.service),
            Ok(SigningName::IotDeviceGateway),
            "{}",
            vector.name
        );
        for at in 1..vector.target.len() {
            let mut changed = vector.clone();
            flip(&mut changed.target, at);
            let Ok(head) = changed.head() else { continue };
            assert!(
                presigned::verify(&head, &keys(), now).is_err(),
                "{}: {}",
                vector.name,
                changed.target
            );
        }
        let late = now.after(Duration::from_secs(86_401));
        assert!(presigned::verify(&head, &keys(), late).is_err());
    }
}

#[test]
fn broken_authorization_headers_are_refused_by_name() {
    let (vectors, now) = vectors();
    for broken in [
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=",
        "AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host, Signature=00",
        "AWS4-HMAC-SHA256 Credential=AK/20261121/eu-central-1/iot/aws4_request",
        "AWS4-HMAC-SHA256 Credential=AK/20261121/eu central/iot/aws4_request, SignedHeaders=host;x-amz-date, Signature=00",
        "AWS4-HMAC-SHA256 Credential=AK/20261121/eu-central-1/iot/aws4_request, SignedHeaders=x-amz-date;host, Signature=00",
        "AWS4-HMAC-SHA256 Credential=AK/20261121/eu-central-1/iot/aws4_request, SignedHeaders=host;x-amz-date, Signature=zz",
    ] {
        let mut vector = vectors.signed[0].clone();
        *vector.header("authorization") = broken.into();
        let error = vector.verify(&keys(), now).unwrap_err();
        assert!(
            matches!(error, SignatureError::Incomplete { .. }),
            "{broken}: {error}"
        );
    }
}
