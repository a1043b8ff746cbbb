//! The HTTP client of both sides: to witnesses and mirrors, and from a mirror to the log.

use std::time::Duration;

use reqwest::{Certificate, Client, Response, redirect};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// How long an idle connection is kept: less than the servers of both roles keep it.
const IDLE: Duration = Duration::from_secs(10);

/// Why something could not be had over HTTP.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A file of certificates is none.
    #[error("the root certificates cannot be used: {0}")]
    Roots(String),
    /// The address is not one of HTTP.
    #[error("{0} is not the address of a witness, a mirror or a log; it begins with https://")]
    Address(String),
    /// No answer.
    #[error("{0}")]
    Unreachable(String),
    /// More than anybody should say.
    #[error("the answer has more than {limit} bytes")]
    TooLong {
        /// Bytes allowed.
        limit: usize,
    },
    /// An answer that helps nobody.
    #[error("the answer was {0}")]
    Status(u16),
}

/// A client that trusts these roots, PEM, and no others.
pub(crate) fn client(roots: &[String]) -> Result<Client, FetchError> {
    let roots_error = |error: reqwest::Error| FetchError::Roots(innermost(&error));
    let mut certificates = Vec::new();
    for pem in roots {
        certificates.extend(Certificate::from_pem_bundle(pem.as_bytes()).map_err(roots_error)?);
    }
    Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT)
        .pool_idle_timeout(IDLE)
        .tls_certs_only(certificates)
        .build()
        .map_err(roots_error)
}

/// An address without the slashes at its end.
pub(crate) fn prefix(url: &str) -> Result<String, FetchError> {
    let well_formed = reqwest::Url::parse(url)
        .is_ok_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
    if well_formed {
        Ok(url.trim_end_matches('/').to_owned())
    } else {
        Err(FetchError::Address(url.to_owned()))
    }
}

/// Reads an answer to its end, as far as it may go.
pub(crate) async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>, FetchError> {
    let mut held = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| unreachable(&error))?
    {
        if held.len() + chunk.len() > limit {
            return Err(FetchError::TooLong { limit });
        }
        held.extend_from_slice(&chunk);
    }
    Ok(held)
}

pub(crate) fn unreachable(error: &reqwest::Error) -> FetchError {
    FetchError::Unreachable(innermost(error))
}

/// The cause that says most, at the end of the chain.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
