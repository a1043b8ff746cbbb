//! The command line's way to the hub: REST v1.

use std::{env, path::Path};

use reqwest::{Certificate, Client, Method, RequestBuilder, Response, StatusCode};
use serde::{Serialize, de::DeserializeOwned};

use crate::{environment, failure::Failure, folder};

/// A hub and the right to operate it.
pub(crate) struct Hub {
    client: Client,
    url: String,
    token: String,
}

impl Hub {
    /// The hub that `SEKISHO_URL` and `SEKISHO_TOKEN` name, else the one of the folder.
    pub(crate) fn find(data: &Path) -> Result<Self, Failure> {
        let (url, token, root) = match (env::var("SEKISHO_URL"), env::var("SEKISHO_TOKEN")) {
            (Ok(url), Ok(token)) => {
                let root = match env::var("SEKISHO_ROOT_CA") {
                    Ok(path) => Some(folder::read(Path::new(&path))?),
                    Err(_) => None,
                };
                (url, token, root)
            }
            _ => {
                let endpoints = environment::endpoints(data)?;
                let url = format!("https://{}:{}", endpoints.host, endpoints.https_port);
                let root = folder::read(&data.join("tls/root-ca.pem"))?;
                (url, environment::secrets(data)?.token, Some(root))
            }
        };
        let mut builder = Client::builder().no_proxy();
        if let Some(root) = root {
            let root = Certificate::from_pem(root.as_bytes()).map_err(Failure::usage)?;
            builder = builder.tls_certs_only([root]);
        }
        Ok(Self {
            client: builder.build().map_err(Failure::internal)?,
            url: url.trim_end_matches('/').to_owned(),
            token,
        })
    }

    /// Reads.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        read(self.send(Method::GET, path, None::<&()>).await?).await
    }

    /// Reads a whole list, part by part.
    pub(crate) async fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, Failure> {
        let mut page: api::Page<T> = self.get(path).await?;
        let mut items = page.items;
        while let Some(after) = page.next {
            page = self
                .get(&format!("{path}?after={}", escape(&after)))
                .await?;
            items.append(&mut page.items);
        }
        Ok(items)
    }

    /// Reads a text.
    pub(crate) async fn text(&self, path: &str) -> Result<String, Failure> {
        let response = self.send(Method::GET, path, None::<&()>).await?;
        response.text().await.map_err(Failure::usage)
    }

    /// Reads a file that is served beside REST v1; `None` when there is none.
    pub(crate) async fn file(&self, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        let url = format!("{}{path}", self.url);
        let response = self.exchange(self.client.get(url)).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let bytes = successful(response).await?.bytes().await;
        Ok(Some(bytes.map_err(Failure::usage)?.into()))
    }

    /// Asks for something to be done.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        read(self.send(Method::POST, path, Some(body)).await?).await
    }

    /// Asks for something to be removed.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), Failure> {
        self.send(Method::DELETE, path, None::<&()>).await.map(drop)
    }

    /// Reads lines as they come, until `line` says to stop or the hub ends.
    pub(crate) async fn lines(
        &self,
        path: &str,
        mut line: impl FnMut(&str) -> Result<Go, Failure>,
    ) -> Result<(), Failure> {
        let mut response = self.send(Method::GET, path, None::<&()>).await?;
        let mut rest = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(Failure::usage)? {
            rest.extend_from_slice(&chunk);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let whole: Vec<u8> = rest.drain(..=end).collect();
                let text = String::from_utf8_lossy(&whole);
                if let Go::Stop = line(text.trim_end())? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Response, Failure> {
        let url = format!("{}/api/v1{path}", self.url);
        let mut request = self.client.request(method, &url);
        if let Some(body) = body {
            request = request.json(body);
        }
        successful(self.exchange(request).await?).await
    }

    async fn exchange(&self, request: RequestBuilder) -> Result<Response, Failure> {
        request
            .bearer_auth(&self.token)
            .send()
            .await
            .map_err(|error| {
                Failure::usage(format!(
                    "cannot reach the hub at {}: {}; is it running?",
                    self.url,
                    innermost(&error)
                ))
            })
    }
}

async fn successful(response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let text = response.text().await.unwrap_or_default();
    let told = serde_json::from_str::<api::Error>(&text);
    let message = match told {
        Ok(told) => format!("{} ({})", told.message, told.reason),
        Err(_) => format!("the hub answered {status}: {text}"),
    };
    Err(if status == StatusCode::INTERNAL_SERVER_ERROR {
        Failure::Internal(message)
    } else {
        Failure::Refused(message)
    })
}

/// A text as part of a path or a query: everything but letters, digits, `-`, `.` and `_` is
/// escaped.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// Whether to go on reading.
pub(crate) enum Go {
    /// Go on.
    On,
    /// Stop here.
    Stop,
}

async fn read<T: DeserializeOwned>(response: Response) -> Result<T, Failure> {
    response.json().await.map_err(Failure::internal)
}

/// The cause that says most, at the end of the chain.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[test]
fn texts_are_escaped_for_paths_and_queries() {
    assert_eq!(escape("a-b_c.9"), "a-b_c.9");
    assert_eq!(escape("a/#+ \u{e9}"), "a%2F%23%2B%20%C3%A9");
}
