//! Lists in pages: each names where the next one begins.

use base64::{Engine, engine::general_purpose::STANDARD};
use model::{Refusal, limits};

/// Which part of a list is wanted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PageRequest {
    /// Where to continue: [`Page::next`] of the page before.
    pub token: Option<String>,
    /// How many results at most, 1 to [`limits::PAGE_RESULTS`]; by default as many as possible.
    pub limit: Option<usize>,
}

/// A part of a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Page<T> {
    /// The results.
    pub items: Vec<T>,
    /// Where the list continues, when it does: opaque base64.
    pub next: Option<String>,
}

impl PageRequest {
    /// The key after which to continue.
    pub(crate) fn after(&self) -> Result<Option<String>, Refusal> {
        let invalid = || {
            Refusal::malformed(
                "page.token",
                "the token is not one this list has handed out; begin again without one",
            )
        };
        let Some(token) = self.token.as_deref().filter(|token| !token.is_empty()) else {
            return Ok(None);
        };
        let bytes = STANDARD.decode(token).map_err(|_| invalid())?;
        String::from_utf8(bytes).map(Some).map_err(|_| invalid())
    }

    /// How many results the page may hold.
    pub(crate) fn limit(&self) -> Result<usize, Refusal> {
        match self.limit {
            Some(0) => Err(Refusal::malformed(
                "page.limit",
                format!("a page holds 1 to {} results", limits::PAGE_RESULTS),
            )),
            Some(limit) => Ok(limit.min(limits::PAGE_RESULTS)),
            None => Ok(limits::PAGE_RESULTS),
        }
    }
}

impl<T> Page<T> {
    /// A page of at most `limit` of `items`, of which the caller has looked up one more to know
    /// whether there is a next page; `key` names the place of an item.
    pub(crate) fn of(mut items: Vec<T>, limit: usize, key: impl Fn(&T) -> String) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items
            .last()
            .filter(|_| more)
            .map(|last| STANDARD.encode(key(last)));
        Self { items, next }
    }

    /// A page of a list that is in memory whole, sorted by `key`.
    ///
    /// # Errors
    ///
    /// `page.token`, `page.limit`.
    pub fn cut(
        items: Vec<T>,
        request: &PageRequest,
        key: impl Fn(&T) -> String,
    ) -> Result<Self, Refusal> {
        let limit = request.limit()?;
        let items = match request.after()? {
            Some(after) => items.into_iter().filter(|item| key(item) > after).collect(),
            None => items,
        };
        Ok(Self::of(items, limit, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_put_together_are_the_whole_list() {
        let all: Vec<String> = (10..35).map(|n| n.to_string()).collect();
        let mut request = PageRequest {
            limit: Some(7),
            ..PageRequest::default()
        };
        let mut seen = Vec::new();
        loop {
            let page = Page::cut(all.clone(), &request, Clone::clone).unwrap();
            seen.extend(page.items);
            request.token = page.next;
            if request.token.is_none() {
                break;
            }
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn a_foreign_token_is_refused() {
        for token in ["%", "x", "//8="] {
            let request = PageRequest {
                token: Some(token.into()),
                limit: None,
            };
            assert_eq!(request.after().unwrap_err().reason.0, "page.token");
        }
    }
}
