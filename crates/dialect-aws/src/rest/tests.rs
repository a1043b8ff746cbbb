//! Requests as they come, and the answers to them.

use super::*;

fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = http::Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn signed(service: &str) -> Vec<(&'static str, String)> {
    vec![
        ("host", "hub.example".to_owned()),
        ("x-amz-date", "20261121T223000Z".to_owned()),
        (
            "authorization",
            format!(
                "AWS4-HMAC-SHA256 Credential=AK/20261121/eu-central-1/{service}/aws4_request, \
                 SignedHeaders=host;x-amz-date;x-amz-target, Signature={}",
                "0".repeat(64)
            ),
        ),
    ]
}

/// The error that a signed request gets, as `status exception: message`.
#[track_caller]
fn check(service: &str, method: &str, target: &str, body: &str, expected: &str) {
    let api = Api::new(SignaturePolicy::AcceptAny);
    let mut headers = signed(service);
    if service == "IoTSecuredTunneling" {
        headers.push(("x-amz-target", "IoTSecuredTunneling.OpenTunnel".to_owned()));
    }
    let headers: Vec<(&str, &str)> = headers.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let head = head(method, target, &headers);
    assert!(Api::claims(&head));
    let now = Timestamp::default();
    let answer = api.admit(&head, "id", now).map_or_else(
        |refused| refused,
        |admitted| {
            let body = Bytes::copy_from_slice(body.as_bytes());
            tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap()
                .block_on(api.answer(admitted, &head, body, "id", now))
        },
    );
    let text = String::from_utf8(answer.body().to_vec()).unwrap();
    let message = serde_json::from_str::<serde_json::Value>(&text)
        .map_or(text, |body| body["message"].as_str().unwrap().to_owned());
    let line = format!(
        "{} {}: {message}",
        answer.status().as_u16(),
        answer.headers()["x-amzn-errortype"].to_str().unwrap(),
    );
    assert!(line.contains(expected), "{line}");
}

#[test]
fn what_is_not_implemented_is_refused_by_its_name() {
    check(
        "iot",
        "PUT",
        "/jobs/j1",
        "{}",
        "501 NotImplementedException: CreateJob is not implemented by this hub yet",
    );
    check(
        "iot-jobs-data",
        "GET",
        "/things/t/jobs/$next",
        "",
        "501 NotImplementedException: DescribeJobExecution is not",
    );
    check(
        "IoTSecuredTunneling",
        "POST",
        "/",
        "{}",
        "501 NotImplementedException: OpenTunnel is not",
    );
    check(
        "sts",
        "POST",
        "/",
        "Action=AssumeRole&Version=2011-06-15",
        "<Code>NotImplemented</Code><Message>AssumeRole is not",
    );
}

#[test]
fn the_scope_decides_which_service_a_path_belongs_to() {
    check(
        "iot",
        "GET",
        "/things/t/jobs",
        "",
        "ListJobExecutionsForThing is not",
    );
    check(
        "iot-jobs-data",
        "GET",
        "/things/t/jobs",
        "",
        "GetPendingJobExecutions is not",
    );
    check(
        "iot",
        "GET",
        "/things/t/shadow",
        "",
        "404 ResourceNotFoundException: iot has no operation at GET /things/t/shadow",
    );
    check(
        "iotdevicegateway",
        "GET",
        "/things",
        "",
        "403 InvalidSignatureException",
    );
}

#[test]
fn a_request_without_a_signature_is_told_to_sign() {
    let api = Api::new(SignaturePolicy::AcceptAny);
    let head = head("GET", "/things", &[("host", "hub.example")]);
    assert!(Api::claims(&head));
    let refused = api.admit(&head, "id", Timestamp::default()).unwrap_err();
    assert_eq!(refused.status(), 403);
    assert_eq!(
        refused.headers()["x-amzn-errortype"],
        "MissingAuthenticationTokenException"
    );
    assert_eq!(refused.headers()["x-amzn-requestid"], "id");
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
