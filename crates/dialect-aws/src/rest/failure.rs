//! How a refusal is spelled over HTTPS: the exception's name, the status and the body, which each
//! service spells in its own way.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use model::{ReasonId, Refusal, RefusalKind};
use serde_json::json;

use super::operations::Service;
use crate::sigv4::SignatureError;

/// An answer that is an error.
#[derive(Debug)]
pub(crate) struct Failure {
    cause: Cause,
    /// Further members of the body, such as `resourceArn`.
    members: Vec<(&'static str, String)>,
}

#[derive(Debug)]
enum Cause {
    Refusal(Refusal),
    Signature(SignatureError),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self {
            cause: Cause::Refusal(refusal),
            members: Vec::new(),
        }
    }
}

impl From<SignatureError> for Failure {
    fn from(error: SignatureError) -> Self {
        Self {
            cause: Cause::Signature(error),
            members: Vec::new(),
        }
    }
}

/// The exception and the status with which `service` answers this refusal.
///
/// Printed as a column of `golden/refusals.md`.
#[must_use]
pub fn exception(service: Service, kind: RefusalKind, reason: ReasonId) -> (&'static str, u16) {
    match service {
        Service::Iot => control_plane(kind, reason.0),
        Service::IotData => data_plane(kind, reason.0),
        Service::IotJobsData => jobs_data_plane(kind),
        Service::SecureTunneling => tunneling(kind),
        Service::Sts => token_service(kind),
    }
}

fn control_plane(kind: RefusalKind, reason: &str) -> (&'static str, u16) {
    match kind {
        RefusalKind::Malformed => match reason {
            "policy.malformed" | "policy.too-large" => ("MalformedPolicyException", 400),
            "certificate.malformed"
            | "ca.malformed"
            | "ca.not-a-ca"
            | "ca.expired"
            | "ca.verification"
            | "ca.signature"
            | "ca.not-registered" => ("CertificateValidationException", 400),
            "ca.registration-code" => ("RegistrationCodeValidationException", 400),
            _ => ("InvalidRequestException", 400),
        },
        RefusalKind::Unauthenticated => ("UnrecognizedClientException", 403),
        RefusalKind::Denied => ("UnauthorizedException", 401),
        RefusalKind::NotFound => ("ResourceNotFoundException", 404),
        RefusalKind::AlreadyExists => ("ResourceAlreadyExistsException", 409),
        RefusalKind::Conflict => conflict(reason),
        RefusalKind::TooLarge => match reason {
            "http.body" => ("RequestEntityTooLargeException", 413),
            _ => ("InvalidRequestException", 400),
        },
        RefusalKind::TooMany => match reason {
            "hub.rate" => ("ThrottlingException", 400),
            _ => ("LimitExceededException", 410),
        },
        RefusalKind::Unsupported => NOT_IMPLEMENTED,
        RefusalKind::Expired => ("InvalidRequestException", 400),
        RefusalKind::Unavailable => ("ServiceUnavailableException", 503),
        RefusalKind::Internal => ("InternalFailureException", 500),
    }
}

fn conflict(reason: &str) -> (&'static str, u16) {
    match reason {
        "device.version-conflict" | "group.version-conflict" => ("VersionConflictException", 409),
        "certificate.active" | "certificate.pending" | "ca.active" | "ca.inactive" => {
            ("CertificateStateException", 406)
        }
        "policy.versions" | "template.versions" => ("VersionsLimitExceededException", 409),
        "certificate.attached"
        | "policy.attached"
        | "policy.not-empty"
        | "policy.default-version"
        | "template.default-version" => ("DeleteConflictException", 409),
        "template.conflict" => ("ResourceRegistrationFailureException", 400),
        _ => ("ConflictingResourceUpdateException", 409),
    }
}

fn data_plane(kind: RefusalKind, reason: &str) -> (&'static str, u16) {
    match kind {
        RefusalKind::Malformed => match reason {
            "shadow.encoding" => ("UnsupportedDocumentEncodingException", 415),
            _ => ("InvalidRequestException", 400),
        },
        RefusalKind::Unauthenticated | RefusalKind::Denied => ("ForbiddenException", 403),
        RefusalKind::NotFound => ("ResourceNotFoundException", 404),
        RefusalKind::AlreadyExists | RefusalKind::Conflict => ("ConflictException", 409),
        RefusalKind::TooLarge => ("RequestEntityTooLargeException", 413),
        RefusalKind::TooMany => ("ThrottlingException", 429),
        RefusalKind::Unsupported => NOT_IMPLEMENTED,
        RefusalKind::Expired => ("GatewayTimeoutException", 504),
        RefusalKind::Unavailable => ("ServiceUnavailableException", 503),
        RefusalKind::Internal => ("InternalFailureException", 500),
    }
}

fn jobs_data_plane(kind: RefusalKind) -> (&'static str, u16) {
    match kind {
        RefusalKind::Malformed | RefusalKind::TooLarge => ("InvalidRequestException", 400),
        RefusalKind::Unauthenticated | RefusalKind::Denied => ("ForbiddenException", 403),
        RefusalKind::NotFound => ("ResourceNotFoundException", 404),
        RefusalKind::AlreadyExists | RefusalKind::Conflict => {
            ("InvalidStateTransitionException", 409)
        }
        RefusalKind::TooMany => ("ThrottlingException", 429),
        RefusalKind::Unsupported => NOT_IMPLEMENTED,
        RefusalKind::Expired => ("TerminalStateException", 410),
        RefusalKind::Unavailable => ("ServiceUnavailableException", 503),
        RefusalKind::Internal => ("InternalException", 500),
    }
}

fn tunneling(kind: RefusalKind) -> (&'static str, u16) {
    match kind {
        RefusalKind::Malformed
        | RefusalKind::AlreadyExists
        | RefusalKind::Conflict
        | RefusalKind::TooLarge
        | RefusalKind::Expired => ("ValidationException", 400),
        RefusalKind::Unauthenticated | RefusalKind::Denied => ("AccessDeniedException", 403),
        RefusalKind::NotFound => ("ResourceNotFoundException", 404),
        RefusalKind::TooMany => ("LimitExceededException", 400),
        RefusalKind::Unsupported => NOT_IMPLEMENTED,
        RefusalKind::Unavailable => ("ServiceUnavailableException", 503),
        RefusalKind::Internal => ("InternalFailureException", 500),
    }
}

fn token_service(kind: RefusalKind) -> (&'static str, u16) {
    match kind {
        RefusalKind::Malformed
        | RefusalKind::AlreadyExists
        | RefusalKind::Conflict
        | RefusalKind::TooLarge
        | RefusalKind::NotFound => ("ValidationError", 400),
        RefusalKind::Unauthenticated | RefusalKind::Denied => ("AccessDenied", 403),
        RefusalKind::TooMany => ("Throttling", 400),
        RefusalKind::Unsupported => ("NotImplemented", 501),
        RefusalKind::Expired => ("ExpiredTokenException", 400),
        RefusalKind::Unavailable => ("ServiceUnavailable", 503),
        RefusalKind::Internal => ("InternalFailure", 500),
    }
}

const NOT_IMPLEMENTED: (&str, u16) = ("NotImplementedException", 501);

/// The exception with which `service` answers a signature that was not taken; always 403.
const fn signature_exception(service: Service, error: &SignatureError) -> &'static str {
    let (name, _) = error.names();
    match (service, error) {
        (Service::Sts, SignatureError::Missing) => "MissingAuthenticationToken",
        (Service::Sts, SignatureError::Incomplete { .. }) => "IncompleteSignature",
        (Service::Sts, SignatureError::UnknownKey | SignatureError::UnknownToken) => {
            "InvalidClientTokenId"
        }
        (
            Service::Sts,
            SignatureError::Service { .. }
            | SignatureError::ClockSkew { .. }
            | SignatureError::Expired { .. }
            | SignatureError::Region { .. }
            | SignatureError::HeaderNotSigned { .. }
            | SignatureError::Payload
            | SignatureError::Mismatch { .. },
        ) => "SignatureDoesNotMatch",
        (Service::Iot | Service::IotData | Service::IotJobsData | Service::SecureTunneling, _) => {
            name
        }
    }
}

impl Failure {
    /// The same with one more member in the body.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.members.push((name, value.into()));
        self
    }

    /// The refusal's sort; signatures are never taken from someone unauthenticated.
    pub(crate) const fn kind(&self) -> RefusalKind {
        match &self.cause {
            Cause::Refusal(refusal) => refusal.kind,
            Cause::Signature(_) => RefusalKind::Unauthenticated,
        }
    }

    /// As an HTTP answer, in the words of `service`.
    pub(crate) fn respond(self, service: Service, request_id: &str) -> Response<Bytes> {
        let (exception, status, reason, message) = match &self.cause {
            Cause::Refusal(refusal) => {
                let (name, status) = exception(service, refusal.kind, refusal.reason);
                (name, status, refusal.reason, refusal.message.to_string())
            }
            Cause::Signature(error) => (
                signature_exception(service, error),
                403,
                ReasonId(error.names().1),
                error.to_string(),
            ),
        };
        let json = || {
            let mut body = json!({ "message": message, "__type": exception });
            for (name, value) in &self.members {
                body[*name] = json!(value);
            }
            body.to_string()
        };
        let (content_type, body) = match service {
            Service::Sts => ("text/xml", xml(exception, status, &message, request_id)),
            Service::SecureTunneling => ("application/x-amz-json-1.1", json()),
            Service::Iot | Service::IotData | Service::IotJobsData => ("application/json", json()),
        };
        let mut answer = Response::new(Bytes::from(body));
        *answer.status_mut() =
            StatusCode::from_u16(status).expect("the tables above hold valid statuses");
        let headers = answer.headers_mut();
        headers.insert("content-type", HeaderValue::from_static(content_type));
        headers.insert("x-amzn-errortype", HeaderValue::from_static(exception));
        headers.insert(REASON_HEADER, HeaderValue::from_static(reason.0));
        if let Ok(id) = HeaderValue::from_str(request_id) {
            headers.insert(REQUEST_ID_HEADER, id);
        }
        answer
    }
}

fn xml(exception: &str, status: u16, message: &str, request_id: &str) -> String {
    let side = if status < 500 { "Sender" } else { "Receiver" };
    format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error>\
         <Type>{side}</Type><Code>{exception}</Code><Message>{}</Message></Error>\
         <RequestId>{}</RequestId></ErrorResponse>",
        escape(message),
        escape(request_id),
    )
}

/// The reason's stable name, beside AWS's own header for the exception.
const REASON_HEADER: &str = "x-sekisho-reason";

/// Which request this answers; clients print it.
pub(crate) const REQUEST_ID_HEADER: &str = "x-amzn-requestid";

/// Text as it may stand in XML.
pub(crate) fn escape(text: &str) -> String {
    text.chars()
        .fold(String::with_capacity(text.len()), |mut out, character| {
            match character {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '"' => out.push_str("&quot;"),
                '\n' | '\r' | '\t' => out.push(character),
                control if control.is_control() => out.push('\u{fffd}'),
                other => out.push(other),
            }
            out
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_has_a_name_and_a_status_for_every_kind() {
        for service in Service::ALL {
            for kind in RefusalKind::ALL {
                let (name, status) = exception(service, kind, ReasonId("x.y"));
                assert!(!name.is_empty());
                assert!((400..600).contains(&status), "{service:?} {kind:?}");
                // botocore repeats what ends in 5xx; only what may pass on its own may say so.
                let may_pass = matches!(
                    kind,
                    RefusalKind::Unavailable
                        | RefusalKind::Internal
                        | RefusalKind::Unsupported
                        | RefusalKind::Expired
                );
                assert!(status < 500 || may_pass, "{service:?} {kind:?}");
            }
        }
    }

    #[test]
    fn an_error_for_the_token_service_is_xml_and_escaped() {
        let refusal = Refusal::malformed("x.y", "<&>");
        let answer = Failure::from(refusal).respond(Service::Sts, "id-1");
        let body = String::from_utf8(answer.body().to_vec()).unwrap();
        assert!(body.contains("<Message>&lt;&amp;&gt;</Message>"), "{body}");
        assert!(body.contains("<RequestId>id-1</RequestId>"), "{body}");
    }

    #[test]
    fn an_error_carries_its_members_beside_the_message() {
        let refusal = Refusal::new(RefusalKind::AlreadyExists, "device.exists", "it exists");
        let answer = Failure::from(refusal)
            .with("resourceId", "t")
            .respond(Service::Iot, "id");
        assert_eq!(answer.status(), 409);
        assert_eq!(
            answer.headers()["x-amzn-errortype"],
            "ResourceAlreadyExistsException"
        );
        assert_eq!(answer.headers()["x-sekisho-reason"], "device.exists");
        let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(body["message"], "it exists");
        assert_eq!(body["resourceId"], "t");
    }
}
