//! Pages of lists: how many entries, after which one, and the token that asks for the next page.
//!
//! A token is the last entry's name in base64, which the strictest of AWS's patterns for tokens
//! allows. Two spellings are in use: `maxResults` and `nextToken`, `pageSize` and `marker`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::Refusal;
use serde_json::{Value, json};

use super::call::{Call, invalid};

/// Entries of one page, at most. AWS: 250.
const LARGEST: usize = 250;

/// What part of a list is asked for.
#[derive(Debug)]
pub(crate) struct Page {
    /// The last entry of the page before.
    pub(crate) after: Option<String>,
    pub(crate) limit: usize,
    next_name: &'static str,
}

impl Page {
    /// Read from `maxResults` and `nextToken`.
    pub(crate) fn by_token(call: &Call<'_>) -> Result<Self, Refusal> {
        Self::read(call, "maxResults", "nextToken", "nextToken")
    }

    /// Read from `pageSize` and `marker`.
    pub(crate) fn by_marker(call: &Call<'_>) -> Result<Self, Refusal> {
        Self::read(call, "pageSize", "marker", "nextMarker")
    }

    /// Read from `pageSize` and `nextToken`.
    pub(crate) fn by_size_and_token(call: &Call<'_>) -> Result<Self, Refusal> {
        Self::read(call, "pageSize", "nextToken", "nextToken")
    }

    fn read(
        call: &Call<'_>,
        size: &str,
        token: &str,
        next_name: &'static str,
    ) -> Result<Self, Refusal> {
        let limit = call.query_as(size)?.unwrap_or(LARGEST);
        if !(1..=LARGEST).contains(&limit) {
            return Err(invalid(format!("{size} is 1 to {LARGEST}")));
        }
        let after = call
            .query(token)?
            .map(|token| {
                STANDARD
                    .decode(token)
                    .ok()
                    .and_then(|bytes| String::from_utf8(bytes).ok())
                    .ok_or_else(|| invalid("this token was not given out by this hub"))
            })
            .transpose()?;
        Ok(Self {
            after,
            limit,
            next_name,
        })
    }

    /// The last entry of the page before, as a name of the hub.
    pub(crate) fn after<T: std::str::FromStr>(&self) -> Result<Option<T>, Refusal> {
        self.after
            .as_deref()
            .map(|text| {
                text.parse()
                    .map_err(|_| invalid("this token was not given out by this hub"))
            })
            .transpose()
    }

    /// `{name: entries}` and, when there is more, the token of the next page.
    pub(crate) fn finish(&self, name: &str, entries: Vec<Value>, last: Option<String>) -> Value {
        let mut body = json!({ name: entries });
        if let Some(last) = last {
            body[self.next_name] = json!(STANDARD.encode(last));
        }
        body
    }

    /// Cuts a whole list, ordered by its keys, to this page.
    pub(crate) fn cut<T>(
        &self,
        entries: Vec<T>,
        key: impl Fn(&T) -> String,
    ) -> (Vec<T>, Option<String>) {
        let mut rest: Vec<T> = match &self.after {
            None => entries,
            Some(after) => entries
                .into_iter()
                .skip_while(|entry| key(entry) <= *after)
                .collect(),
        };
        if rest.len() <= self.limit {
            return (rest, None);
        }
        rest.truncate(self.limit);
        let last = rest.last().map(key);
        (rest, last)
    }
}
