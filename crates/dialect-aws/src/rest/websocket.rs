//! Who may open a WebSocket: whoever signed its URL.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, request::Parts};
use hub::{
    Principal,
    timeline::{Kind, Subject},
};
use model::{Refusal, RefusalKind, limits::Profile};

use super::{Api, Failure, Sender, Service};
use crate::sigv4::{SignatureError, SignaturePolicy, SigningName, presigned};

/// Who opens a WebSocket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Opener {
    /// Whoever signed the URL with the access key of this id, which is an operator's.
    AccessKey(Arc<str>),
    /// A device, with the certificate of its connection; judged at CONNECT as over TCP.
    Certificate,
}

/// What a handshake that names a custom authorizer begins a header or parameter with. Source: AWS
/// IoT Core Developer Guide, "Connecting to AWS IoT Core by using custom authentication".
const CUSTOM_AUTHENTICATION: &str = "x-amz-customauthorizer-";

impl Api {
    /// Judges the head of a WebSocket handshake.
    ///
    /// A client certificate opens one when the URL is not signed, except in the `aws-strict`
    /// profile: AWS takes signatures and custom authorizers only, and answers 403 to the rest.
    ///
    /// # Errors
    ///
    /// The answer to send: 403 with the reason, which is in the timeline too, or 501 for a custom
    /// authorizer.
    pub fn admit_websocket(
        &self,
        head: &Parts,
        sender: &Sender,
    ) -> Result<Opener, Box<Response<Bytes>>> {
        let refused = match self.opener(head, sender) {
            Ok(opener) => return Ok(opener),
            Err(refused) => refused,
        };
        let subject = Subject {
            client_id: None,
            principal: sender
                .certificate
                .as_ref()
                .map(|der| Principal::Certificate(x509::fingerprint(der)).to_string()),
            address: Some(sender.address),
        };
        self.hub
            .record_refusal(Kind::ConnectRefused, subject, &refused.record);
        Err(Box::new(
            refused
                .answer
                .respond(Service::IotData, &self.next_request_id()),
        ))
    }

    fn opener(&self, head: &Parts, sender: &Sender) -> Result<Opener, Box<Refused>> {
        let asking = Asking::of(head);
        if presigned::is_presigned(head) {
            // Where any signature is taken, the URL proves nothing about the page that asks.
            let proves = matches!(self.signatures, SignaturePolicy::Verify(_));
            if !proves && asking == Asking::ForeignPage {
                return Err(foreign_page());
            }
            return self
                .verify_url(head)
                .map(Opener::AccessKey)
                .map_err(refused);
        }
        if asks_for_authorizer(head) {
            let refusal = Refusal::new(
                RefusalKind::Unsupported,
                "authorizer.unsupported",
                "custom authorizers are not implemented yet; sign the URL with an access key",
            );
            return Err(Box::new(Refused {
                record: refusal.clone(),
                answer: refusal.into(),
            }));
        }
        // A browser shows its certificate to whatever page asks for it.
        if sender.certificate.is_some() && matches!(asking, Asking::ForeignPage | Asking::LocalPage)
        {
            return Err(foreign_page());
        }
        match &sender.certificate {
            Some(_) if self.hub.config().profile != Profile::AwsStrict => Ok(Opener::Certificate),
            Some(_) | None => Err(refused(SignatureError::Missing)),
        }
    }

    /// The id of the access key that signed the URL.
    fn verify_url(&self, head: &Parts) -> Result<Arc<str>, SignatureError> {
        let scope = presigned::verify(head, &self.signatures, self.hub.now())?;
        match scope.service {
            // The first Python SDK signs for the data plane.
            SigningName::IotDeviceGateway | SigningName::IotData => {}
            SigningName::Iot
            | SigningName::IotJobsData
            | SigningName::SecuredTunneling
            | SigningName::Sts => {
                return Err(SignatureError::Service {
                    name: scope.service.as_str().into(),
                });
            }
        }
        // Development takes any signature, as over HTTPS.
        let exact = matches!(self.signatures, SignaturePolicy::Verify(_));
        if exact && scope.region != self.config.region {
            return Err(SignatureError::Region {
                signed: scope.region,
                own: self.config.region.clone(),
            });
        }
        Ok(scope.key_id.into())
    }
}

/// What is not taken: in few words for the record, and in full for the client.
struct Refused {
    record: Refusal,
    answer: Failure,
}

fn refused(error: SignatureError) -> Box<Refused> {
    let (_, reason) = error.names();
    let refusal = Refusal::new(RefusalKind::Unauthenticated, reason, error.summary());
    Box::new(Refused {
        record: refusal,
        answer: error.into(),
    })
}

fn foreign_page() -> Box<Refused> {
    let refusal = Refusal::new(
        RefusalKind::Unauthenticated,
        "websocket.origin",
        "a page of another origin must sign the URL with an access key of this hub; in \
         development, where signatures prove nothing, only pages of this machine may connect",
    );
    Box::new(Refused {
        record: refusal.clone(),
        answer: refusal.into(),
    })
}

/// Who asks, as far as `Origin` tells: browsers send it and no page can forge it. RFC 6455 §10.2,
/// RFC 6454 §7.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Asking {
    /// No browser.
    Program,
    /// A page that came from the hub itself.
    OwnPage,
    /// A page that came from another port of this machine.
    LocalPage,
    /// Any other page.
    ForeignPage,
}

impl Asking {
    fn of(head: &Parts) -> Self {
        let Some(origin) = head.headers.get(http::header::ORIGIN) else {
            return Self::Program;
        };
        let host = head.headers.get(http::header::HOST);
        let own = host.and_then(|host| host.to_str().ok());
        let asking = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.split_once("://"))
            .map(|(_, authority)| authority);
        match asking {
            Some(authority) if Some(authority) == own => Self::OwnPage,
            Some(authority) if is_local(authority) => Self::LocalPage,
            Some(_) | None => Self::ForeignPage,
        }
    }
}

fn is_local(authority: &str) -> bool {
    let name = authority
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
        .map_or(authority, |(name, _)| name);
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

fn asks_for_authorizer(head: &Parts) -> bool {
    let begins = |name: &str| {
        name.get(..CUSTOM_AUTHENTICATION.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(CUSTOM_AUTHENTICATION))
    };
    let query = head.uri.query().unwrap_or_default();
    head.headers.keys().any(|name| begins(name.as_str())) || query.split('&').any(begins)
}

#[cfg(test)]
mod tests;
