//! Pages of lists, in AWS's two spellings: `maxResults` and `nextToken`, `pageSize` and `marker`.

use hub::{Page, PageRequest};
use model::Refusal;
use serde_json::{Value, json};

use super::call::Call;

/// How an operation spells its pages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Paging {
    /// `maxResults` and `nextToken`.
    Tokens,
    /// `pageSize` and `marker`, answered by `nextMarker`.
    Markers,
    /// `pageSize` and `nextToken`.
    SizeAndTokens,
}

impl Paging {
    const fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Tokens => ("maxResults", "nextToken", "nextToken"),
            Self::Markers => ("pageSize", "marker", "nextMarker"),
            Self::SizeAndTokens => ("pageSize", "nextToken", "nextToken"),
        }
    }

    /// The part of the list that is asked for.
    pub(crate) fn request(self, call: &Call<'_>) -> Result<PageRequest, Refusal> {
        let (size, token, _) = self.names();
        Ok(PageRequest {
            token: call.query(token)?,
            limit: call.query_as(size)?,
        })
    }

    /// `{name: entries}` and, when the list continues, where.
    pub(crate) fn answer<T>(self, name: &str, page: Page<T>, entry: impl Fn(&T) -> Value) -> Value {
        let entries: Vec<Value> = page.items.iter().map(entry).collect();
        let mut body = json!({ name: entries });
        if let Some(next) = page.next {
            body[self.names().2] = json!(next);
        }
        body
    }
}
