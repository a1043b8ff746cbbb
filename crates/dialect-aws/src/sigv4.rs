//! AWS Signature Version 4: who signed an HTTP request, and whether it arrived as it was signed.
//!
//! [`Claim::read`] takes the evidence out of a request's head and judges nothing but its shape;
//! [`Claim::admit`] checks what can be checked before the body is read; [`Claim::verify`] checks
//! the signature itself. Presigned URLs, as WebSocket clients send them, are [`presigned`].
//! Nothing here is ever decoded before it is compared: the canonical path is the path on the wire,
//! encoded a second time.
//!
//! Source: AWS General Reference, "Signature Version 4 signing process".

mod canonical;
mod failure;
mod keys;
pub mod presigned;

use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use http::{HeaderMap, request::Parts};
use model::Timestamp;
use time::{PrimitiveDateTime, format_description::BorrowedFormatItem, macros::format_description};

pub use self::{
    failure::SignatureError,
    keys::{AccessKeys, SecretKey, SignaturePolicy},
};

/// The only algorithm; stands first in the `Authorization` header.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// How far a signature's time may be from the hub's, either way. AWS: five minutes.
pub const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// The names under which AWS clients sign requests that this hub answers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SigningName {
    /// `iot`: the control plane.
    Iot,
    /// `iotdata`: the data plane; Python's first SDK signs WebSockets with it too.
    IotData,
    /// `iotdevicegateway`: WebSockets.
    IotDeviceGateway,
    /// `iot-jobs-data`: jobs, for devices.
    IotJobsData,
    /// `IoTSecuredTunneling`.
    SecuredTunneling,
    /// `sts`: who am I.
    Sts,
}

impl SigningName {
    /// The name as it stands in a credential scope; anything else is another service's.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        Some(match text {
            "iot" => Self::Iot,
            "iotdata" => Self::IotData,
            "iotdevicegateway" => Self::IotDeviceGateway,
            "iot-jobs-data" => Self::IotJobsData,
            "IoTSecuredTunneling" => Self::SecuredTunneling,
            "sts" => Self::Sts,
            _ => return None,
        })
    }

    /// The name as it stands in a credential scope.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Iot => "iot",
            Self::IotData => "iotdata",
            Self::IotDeviceGateway => "iotdevicegateway",
            Self::IotJobsData => "iot-jobs-data",
            Self::SecuredTunneling => "IoTSecuredTunneling",
            Self::Sts => "sts",
        }
    }
}

/// What a signer says: its key, and the day, region and service it signed for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Scope {
    /// The access key's id; not secret.
    pub key_id: String,
    /// The day, `YYYYMMDD`.
    pub date: String,
    /// The region; ARNs in the answer carry it.
    pub region: String,
    /// The service.
    pub service: SigningName,
}

/// A request's evidence, taken out of its head and not yet believed.
#[derive(Clone, Debug)]
pub struct Claim {
    scope: Scope,
    /// `x-amz-date` as it was sent.
    stamp: String,
    signed_headers: Vec<String>,
    signature: [u8; 32],
    token: Option<String>,
}

impl Claim {
    /// Reads the `Authorization` header and what belongs to it.
    ///
    /// # Errors
    ///
    /// [`SignatureError::Missing`] without evidence; [`SignatureError::Incomplete`] when a part is
    /// absent or unreadable; [`SignatureError::Service`] for a scope this hub does not answer;
    /// [`SignatureError::HeaderNotSigned`] when a header that changes the meaning is not covered.
    pub fn read(head: &Parts) -> Result<Self, SignatureError> {
        let header = text(&head.headers, "authorization").ok_or(SignatureError::Missing)?;
        let fields = header
            .strip_prefix(ALGORITHM)
            .ok_or(SignatureError::Missing)?;
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for field in fields.split(',') {
            match field.trim().split_once('=') {
                Some(("Credential", value)) => credential = Some(value),
                Some(("SignedHeaders", value)) => signed_headers = Some(value),
                Some(("Signature", value)) => signature = Some(value),
                Some(_) | None => {}
            }
        }
        let absent = |what| move || SignatureError::Incomplete { what };
        let scope = read_scope(credential.ok_or_else(absent("Credential"))?)?;
        let signed_headers = read_names(signed_headers.ok_or_else(absent("SignedHeaders"))?)?;
        let signature = read_signature(signature.ok_or_else(absent("Signature"))?)?;
        let stamp = text(&head.headers, "x-amz-date")
            .ok_or_else(absent("the x-amz-date header"))?
            .to_owned();
        let claim = Self {
            scope,
            stamp,
            signed_headers,
            signature,
            token: text(&head.headers, "x-amz-security-token").map(str::to_owned),
        };
        claim.check_coverage(&head.headers)?;
        Ok(claim)
    }

    /// What the signer says it signed for.
    #[must_use]
    pub const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Checks everything that does not need the body: the time, the key and the session token.
    ///
    /// # Errors
    ///
    /// [`SignatureError::ClockSkew`], [`SignatureError::UnknownKey`] and
    /// [`SignatureError::UnknownToken`].
    pub fn admit(&self, keys: &SignaturePolicy, now: Timestamp) -> Result<(), SignatureError> {
        let keys = match keys {
            SignaturePolicy::AcceptAny => return Ok(()),
            SignaturePolicy::Verify(keys) => keys,
        };
        let signed_at = read_stamp(&self.stamp)?;
        if !self.stamp.starts_with(&self.scope.date) {
            return Err(SignatureError::Incomplete {
                what: "a Credential of the same day as x-amz-date",
            });
        }
        if signed_at.since(now) > CLOCK_SKEW || now.since(signed_at) > CLOCK_SKEW {
            return Err(SignatureError::ClockSkew { signed_at, now });
        }
        keys.find(&self.scope.key_id, self.token.as_deref())
            .map(|_| ())
    }

    /// Checks the signature over head and body.
    ///
    /// # Errors
    ///
    /// [`SignatureError::Mismatch`] with the canonical request as the hub read it, and what
    /// [`Claim::admit`] tells.
    pub fn verify(
        &self,
        head: &Parts,
        body: &[u8],
        keys: &SignaturePolicy,
        now: Timestamp,
    ) -> Result<(), SignatureError> {
        self.admit(keys, now)?;
        let keys = match keys {
            SignaturePolicy::AcceptAny => return Ok(()),
            SignaturePolicy::Verify(keys) => keys,
        };
        let secret = keys.find(&self.scope.key_id, self.token.as_deref())?;
        let payload = sha256_hex(body);
        if let Some(declared) = text(&head.headers, "x-amz-content-sha256")
            && declared != payload
        {
            return Err(SignatureError::Payload);
        }
        let path = head.uri.path();
        let query = canonical::query(head.uri.query().unwrap_or_default(), |_| true);
        let canonical = canonical::request(
            head.method.as_str(),
            path,
            &query,
            &head.headers,
            &self.signed_headers,
            None,
            &payload,
        );
        let to_sign = self.string_to_sign(&canonical);
        if is_signed(secret, &self.scope, to_sign.as_bytes(), &self.signature) {
            Ok(())
        } else {
            Err(SignatureError::Mismatch {
                canonical: String::from_utf8_lossy(&canonical).into_owned(),
                to_sign,
            })
        }
    }

    fn string_to_sign(&self, canonical: &[u8]) -> String {
        string_to_sign(&self.scope, &self.stamp, canonical)
    }

    /// What changes a request's meaning must be under its signature: the host, the time, and
    /// every `x-amz-` and `x-amzn-` header (principals, policies and tags travel in these).
    fn check_coverage(&self, headers: &HeaderMap) -> Result<(), SignatureError> {
        let covered = |name: &str| self.signed_headers.iter().any(|signed| signed == name);
        for name in ["host", "x-amz-date"] {
            if !covered(name) {
                return Err(SignatureError::HeaderNotSigned { name: name.into() });
            }
        }
        for name in headers.keys() {
            let name = name.as_str();
            // The trace id is set by proxies on the way; clients never sign it.
            let meant = (name.starts_with("x-amz-") || name.starts_with("x-amzn-"))
                && name != "x-amzn-trace-id";
            if meant && !covered(name) {
                return Err(SignatureError::HeaderNotSigned { name: name.into() });
            }
        }
        Ok(())
    }
}

fn string_to_sign(scope: &Scope, stamp: &str, canonical: &[u8]) -> String {
    let service = scope.service.as_str();
    let Scope { date, region, .. } = scope;
    format!(
        "{ALGORITHM}\n{stamp}\n{date}/{region}/{service}/aws4_request\n{}",
        sha256_hex(canonical)
    )
}

fn is_signed(secret: &SecretKey, scope: &Scope, message: &[u8], signature: &[u8; 32]) -> bool {
    let key = signing_key(secret, scope);
    hmac::verify(&key, message, signature).is_ok()
}

fn signing_key(secret: &SecretKey, scope: &Scope) -> hmac::Key {
    let step = |key: &hmac::Key, message: &str| {
        hmac::Key::new(
            hmac::HMAC_SHA256,
            hmac::sign(key, message.as_bytes()).as_ref(),
        )
    };
    let first = secret.first_key();
    let of_day = step(&first, &scope.date);
    let of_region = step(&of_day, &scope.region);
    let of_service = step(&of_region, scope.service.as_str());
    step(&of_service, "aws4_request")
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

fn read_scope(credential: &str) -> Result<Scope, SignatureError> {
    const WHAT: SignatureError = SignatureError::Incomplete {
        what: "a Credential of KEY/DATE/REGION/SERVICE/aws4_request",
    };
    // From the right: nothing but the key's id may hold a slash.
    let mut parts = credential.rsplitn(5, '/');
    let mut next = || parts.next().filter(|part| !part.is_empty());
    let (Some(end), Some(service), Some(region), Some(date), Some(key_id)) =
        (next(), next(), next(), next(), next())
    else {
        return Err(WHAT);
    };
    let region_is_plain = region
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if end != "aws4_request"
        || date.len() != 8
        || !date.bytes().all(|byte| byte.is_ascii_digit())
        || !region_is_plain
    {
        return Err(WHAT);
    }
    Ok(Scope {
        key_id: key_id.to_owned(),
        date: date.to_owned(),
        region: region.to_owned(),
        service: SigningName::read(service).ok_or_else(|| SignatureError::Service {
            name: service.to_owned(),
        })?,
    })
}

fn read_names(list: &str) -> Result<Vec<String>, SignatureError> {
    let names: Vec<String> = list.split(';').map(str::to_owned).collect();
    let well_formed = names
        .iter()
        .all(|name| !name.is_empty() && !name.bytes().any(|b| b.is_ascii_uppercase() || b == b' '))
        && names.is_sorted_by(|a, b| a < b);
    if well_formed {
        Ok(names)
    } else {
        Err(SignatureError::Incomplete {
            what: "SignedHeaders in lower case, sorted and each once",
        })
    }
}

fn read_signature(text: &str) -> Result<[u8; 32], SignatureError> {
    let mut signature = [0; 32];
    let lower_case = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    if lower_case && hex::decode_to_slice(text, &mut signature).is_ok() {
        Ok(signature)
    } else {
        Err(SignatureError::Incomplete {
            what: "a Signature of 64 lower-case hexadecimal digits",
        })
    }
}

const STAMP: &[BorrowedFormatItem<'static>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");

fn read_stamp(text: &str) -> Result<Timestamp, SignatureError> {
    PrimitiveDateTime::parse(text, STAMP)
        .ok()
        .and_then(|time| u64::try_from(time.assume_utc().unix_timestamp()).ok())
        .map(Timestamp::from_seconds)
        .ok_or(SignatureError::Incomplete {
            what: "a time of the form YYYYMMDDTHHMMSSZ",
        })
}

fn write_stamp(time: Timestamp) -> String {
    i64::try_from(time.seconds())
        .ok()
        .and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|time| time.format(STAMP).ok())
        .unwrap_or_else(|| format!("{} s after 1970", time.seconds()))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests;
