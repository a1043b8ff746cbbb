//! The operators' bearer token.

use http::HeaderMap;

/// The token that opens REST v1. Never printed; compared in constant time.
pub struct Token(Vec<u8>);

impl Token {
    /// The token whose text is `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }

    /// Whether the request's `Authorization: Bearer` header holds this token.
    #[must_use]
    pub fn opens(&self, headers: &HeaderMap) -> bool {
        let given = headers
            .get("authorization")
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        given.is_some_and(|given| !self.0.is_empty() && is_equal(given, &self.0))
    }
}

/// Compares without telling by its duration where two texts differ. Their lengths are no secret.
fn is_equal(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}

#[test]
fn only_the_whole_token_opens() {
    let token = Token::new("abc");
    let check = |header: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", http::HeaderValue::from_static(header));
        token.opens(&headers)
    };
    assert!(check("Bearer abc"));
    for wrong in [
        "Bearer ab",
        "Bearer abcd",
        "Bearer ",
        "bearer abc",
        "abc",
        "Basic abc",
    ] {
        assert!(!check(wrong), "{wrong}");
    }
    assert!(!token.opens(&HeaderMap::new()));
    let mut headers = HeaderMap::new();
    headers.insert("authorization", http::HeaderValue::from_static("Bearer "));
    assert!(!Token::new("").opens(&headers));
}
