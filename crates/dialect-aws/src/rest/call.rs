//! One request, taken apart for the operation that answers it.

use bytes::Bytes;
use http::{HeaderValue, Response, request::Parts};
use hub::{Caller, Hub};
use model::Refusal;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    arn::Place,
    failure::{Failure, REQUEST_ID_HEADER},
    operations::Label,
};

/// What an operation answers.
pub(crate) type Outcome = Result<Reply, Failure>;

/// One admitted request.
pub(crate) struct Call<'a> {
    pub(crate) hub: &'a Hub,
    pub(crate) caller: &'a Caller,
    /// Region and account that resource names in the answer carry.
    pub(crate) place: Place,
    /// The host name that devices are told to connect to.
    pub(crate) endpoint: &'a str,
    pub(crate) head: &'a Parts,
    pub(crate) body: Bytes,
    pub(crate) labels: Vec<Label>,
    pub(crate) request_id: &'a str,
}

impl Call<'_> {
    /// The path's label at `index`, from 0.
    pub(crate) fn label(&self, index: usize) -> Result<&str, Refusal> {
        match self.labels.get(index) {
            Some(Label::Text(text)) => Ok(text),
            Some(Label::NotUtf8) => Err(invalid("the path is not UTF-8")),
            None => Err(Refusal::internal("the operation has no such label")),
        }
    }

    /// The path's label at `index`, as a name of the hub.
    pub(crate) fn name<T>(&self, index: usize) -> Result<T, Refusal>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        parse(self.label(index)?)
    }

    /// The query parameter `name`, decoded; a `+` is a plus.
    pub(crate) fn query(&self, name: &str) -> Result<Option<String>, Refusal> {
        let pairs = self.head.uri.query().unwrap_or_default().split('&');
        for pair in pairs {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if key == name {
                return percent_decode_str(value)
                    .decode_utf8()
                    .map(|value| Some(value.into_owned()))
                    .map_err(|_| invalid(format!("the parameter {name} is not UTF-8")));
            }
        }
        Ok(None)
    }

    /// The query parameter `name` as a name, number or other text of the hub.
    pub(crate) fn query_as<T>(&self, name: &str) -> Result<Option<T>, Refusal>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        self.query(name)?
            .map(|text| {
                text.parse()
                    .map_err(|error| invalid(format!("the parameter {name}: {error}")))
            })
            .transpose()
    }

    /// The query parameter `name`, `true` or `false`; absent is `false`.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Refusal> {
        Ok(self.query_as(name)?.unwrap_or(false))
    }

    /// The header `name`.
    pub(crate) fn header(&self, name: &str) -> Result<Option<&str>, Refusal> {
        self.head
            .headers
            .get(name)
            .map(|value| {
                value
                    .to_str()
                    .map_err(|_| invalid(format!("the header {name} is not ASCII")))
            })
            .transpose()
    }

    /// The header `name`, which must be there.
    pub(crate) fn required_header(&self, name: &str) -> Result<&str, Refusal> {
        self.header(name)?
            .ok_or_else(|| invalid(format!("the header {name} is missing")))
    }

    /// The body as JSON; an empty body is an empty object.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        let bytes: &[u8] = if self.body.is_empty() {
            b"{}"
        } else {
            &self.body
        };
        serde_json::from_slice(bytes).map_err(|error| {
            Refusal::malformed(
                "aws.json",
                format!("the body is not what is expected: {error}"),
            )
        })
    }
}

/// Reads a name.
pub(crate) fn parse<T>(text: &str) -> Result<T, Refusal>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|error| invalid(format!("{text:?} cannot be used here: {error}")))
}

/// The request breaks a rule of its operation.
pub(crate) fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::malformed("aws.invalid-request", message)
}

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Reply {
    content_type: Option<&'static str>,
    body: Bytes,
}

impl Reply {
    /// A JSON body.
    pub(crate) fn json(value: &Value) -> Self {
        Self {
            content_type: Some("application/json"),
            body: value.to_string().into(),
        }
    }

    /// Nothing but success.
    pub(crate) const fn empty() -> Self {
        Self {
            content_type: None,
            body: Bytes::new(),
        }
    }

    /// An empty JSON object: done, and there is nothing to tell.
    pub(crate) const fn done() -> Self {
        Self {
            content_type: Some("application/json"),
            body: Bytes::from_static(b"{}"),
        }
    }

    /// An XML body.
    pub(crate) fn xml(text: String) -> Self {
        Self {
            content_type: Some("text/xml"),
            body: text.into(),
        }
    }

    /// As an HTTP answer.
    pub(crate) fn respond(self, request_id: &str) -> Response<Bytes> {
        let mut answer = Response::new(self.body);
        let headers = answer.headers_mut();
        if let Some(content_type) = self.content_type {
            headers.insert("content-type", HeaderValue::from_static(content_type));
        }
        if let Ok(id) = HeaderValue::from_str(request_id) {
            headers.insert(REQUEST_ID_HEADER, id);
        }
        answer
    }
}
