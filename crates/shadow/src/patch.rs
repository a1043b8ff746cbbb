//! What a peer asks of a shadow, parsed once.

use model::limits;
use serde_json::Value;

use crate::{InvalidRequest, Object, Version};

/// How large and how deep a shadow may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Bytes of `desired` and `reported` together as JSON text, metadata excluded.
    pub document_bytes: usize,
    /// Bytes of one request, which may say more than it leaves in the document.
    pub request_bytes: usize,
    /// Levels of objects and arrays in a section, the section itself included.
    pub depth: usize,
}

impl Default for Limits {
    /// AWS's.
    fn default() -> Self {
        Self {
            document_bytes: limits::SHADOW_DOCUMENT_BYTES,
            request_bytes: limits::SHADOW_REQUEST_BYTES,
            depth: limits::SHADOW_DEPTH,
        }
    }
}

/// What the asker calls its request, repeated in every answer: at most 64 bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientToken(String);

impl ClientToken {
    /// Checks the length.
    ///
    /// # Errors
    ///
    /// [`InvalidRequest::ClientToken`] when `text` has more than
    /// [`limits::CLIENT_TOKEN_BYTES`] bytes.
    pub fn new(text: &str) -> Result<Self, InvalidRequest> {
        if text.len() > limits::CLIENT_TOKEN_BYTES {
            return Err(InvalidRequest::ClientToken);
        }
        Ok(Self(text.to_owned()))
    }

    /// The token as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a write says about one section.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum SectionPatch {
    /// Nothing; the section stays as it is.
    #[default]
    Absent,
    /// `null`: the section ceases to exist.
    Clear,
    /// Merge these members into the section; a `null` among them deletes its key.
    Merge(Object),
}

/// One write to a shadow.
///
/// Its sections are at most [`Limits::depth`] deep, so that code that walks them may recurse, and
/// no array in them holds a `null`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Patch {
    pub(crate) desired: SectionPatch,
    pub(crate) reported: SectionPatch,
    pub(crate) client_token: Option<ClientToken>,
    pub(crate) version: Option<Version>,
    /// `{"state": null}`: repeated to the asker as it was sent.
    pub(crate) clears_state: bool,
}

/// A read or a deletion: `{"clientToken"?, "version"?}`, or nothing at all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Request {
    /// What the asker calls this request.
    pub client_token: Option<ClientToken>,
    /// The version the asker expects the shadow to be at.
    pub version: Option<Version>,
}

impl Patch {
    /// Parses an update request: `{"state": {"desired"?, "reported"?}, "clientToken"?, "version"?}`.
    ///
    /// Other members of the request are ignored, as the service does.
    ///
    /// # Errors
    ///
    /// [`InvalidRequest`] names the first rule that `bytes` break.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, InvalidRequest> {
        let mut root = read(bytes, limits)?;
        let request = Request::from_root(&root)?;
        let state = root
            .shift_remove("state")
            .ok_or(InvalidRequest::StateMissing)?;
        let mut patch = Self {
            client_token: request.client_token,
            version: request.version,
            ..Self::default()
        };
        match state {
            Value::Null => {
                patch.desired = SectionPatch::Clear;
                patch.reported = SectionPatch::Clear;
                patch.clears_state = true;
            }
            Value::Object(sections) => {
                for (key, value) in sections {
                    match key.as_str() {
                        "desired" => {
                            patch.desired = section(value, InvalidRequest::DesiredNotObject)?;
                        }
                        "reported" => {
                            patch.reported = section(value, InvalidRequest::ReportedNotObject)?;
                        }
                        _ => return Err(InvalidRequest::InvalidNode),
                    }
                }
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                return Err(InvalidRequest::StateNotObject);
            }
        }
        Ok(patch)
    }

    /// What the write says about `desired`.
    #[must_use]
    pub const fn desired(&self) -> &SectionPatch {
        &self.desired
    }

    /// What the write says about `reported`.
    #[must_use]
    pub const fn reported(&self) -> &SectionPatch {
        &self.reported
    }

    /// What the writer calls this request.
    #[must_use]
    pub const fn client_token(&self) -> Option<&ClientToken> {
        self.client_token.as_ref()
    }

    /// The version the writer expects the shadow to be at.
    #[must_use]
    pub const fn version(&self) -> Option<Version> {
        self.version
    }
}

impl Request {
    /// Parses a read or a deletion. No bytes at all are a request without token and version.
    ///
    /// # Errors
    ///
    /// [`InvalidRequest`] names the first rule that `bytes` break.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, InvalidRequest> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        Self::from_root(&read(bytes, limits)?)
    }

    /// The client token in `bytes` if there is a valid one: for the answer to a request that is
    /// refused for something else.
    #[must_use]
    pub fn token_of(bytes: &[u8], limits: &Limits) -> Option<ClientToken> {
        token(&read(bytes, limits).ok()?).ok().flatten()
    }

    fn from_root(root: &Object) -> Result<Self, InvalidRequest> {
        let client_token = token(root)?;
        let version = match root.get("version") {
            None | Some(Value::Null) => None,
            Some(version) => Some(Version(version.as_u64().ok_or(InvalidRequest::Version)?)),
        };
        Ok(Self {
            client_token,
            version,
        })
    }
}

fn token(root: &Object) -> Result<Option<ClientToken>, InvalidRequest> {
    match root.get("clientToken") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => ClientToken::new(text).map(Some),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(InvalidRequest::ClientToken)
        }
    }
}

fn section(value: Value, not_an_object: InvalidRequest) -> Result<SectionPatch, InvalidRequest> {
    match value {
        Value::Null => Ok(SectionPatch::Clear),
        Value::Object(members) => {
            if members.values().any(holds_null_in_array) || holds_parser_key(&members) {
                return Err(InvalidRequest::InvalidNode);
            }
            Ok(SectionPatch::Merge(members))
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(not_an_object)
        }
    }
}

fn holds_null_in_array(value: &Value) -> bool {
    match value {
        Value::Array(elements) => elements.iter().any(holds_null),
        Value::Object(members) => members.values().any(holds_null_in_array),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The parser keeps the spelling of numbers as objects with one key of this kind. An object that
/// really has such a key would be kept as one value and read back as another.
const PARSER_KEY: &str = "$serde_json::private::";

fn holds_parser_key(members: &Object) -> bool {
    fn within(value: &Value) -> bool {
        match value {
            Value::Array(elements) => elements.iter().any(within),
            Value::Object(members) => holds_parser_key(members),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }
    members
        .iter()
        .any(|(key, value)| key.starts_with(PARSER_KEY) || within(value))
}

fn holds_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(elements) => elements.iter().any(holds_null),
        Value::Object(members) => members.values().any(holds_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// One JSON object, after its size, encoding and depth have been found acceptable.
fn read(bytes: &[u8], limits: &Limits) -> Result<Object, InvalidRequest> {
    if bytes.len() > limits.request_bytes {
        return Err(InvalidRequest::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| InvalidRequest::Encoding)?;
    // A section lies within `state` within the request.
    if deepest(text) > limits.depth + 2 {
        return Err(InvalidRequest::TooDeep {
            limit: limits.depth,
        });
    }
    serde_json::from_str(text).map_err(|_| InvalidRequest::Json)
}

/// The most objects and arrays that stand open at once, counted without recursion. In a text that
/// is not JSON the number is at least what a parser would meet before it notices.
fn deepest(text: &str) -> usize {
    let (mut open, mut most) = (0usize, 0);
    let (mut quoted, mut escaped) = (false, false);
    for byte in text.bytes() {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'{' | b'[' => {
                open += 1;
                most = most.max(open);
            }
            b'}' | b']' => open = open.saturating_sub(1),
            _ => {}
        }
    }
    most
}
