//! A ledger's files in a bucket of S3 or of what speaks like it.

use std::{env, time::Duration};

use reqwest::{Client, Response, StatusCode, Url};
use rusty_s3::{Credentials, S3Action as _, UrlStyle, actions::ListObjectsV2};
use tokio::runtime::Handle;

use super::export::Place;
use crate::failure::Failure;

/// How long a signed request may be on its way.
const SIGNED_FOR: Duration = Duration::from_secs(300);

/// Where buckets are when nothing is said.
const REGION: &str = "us-east-1";

/// A prefix in a bucket. Threads that may wait use it, while the runtime's own thread drives the
/// connections.
pub(super) struct Bucket {
    bucket: rusty_s3::Bucket,
    /// Empty, or with a slash at its end.
    prefix: String,
    credentials: Credentials,
    client: Client,
    runtime: Handle,
}

impl Bucket {
    /// `BUCKET` or `BUCKET/PREFIX`, with the credentials and the region of the environment.
    pub(super) fn open(place: &str, endpoint: Option<&str>) -> Result<Self, Failure> {
        let (name, prefix) = place.split_once('/').unwrap_or((place, ""));
        let prefix = prefix.trim_matches('/');
        if name.is_empty() || prefix.split('/').any(|part| part == "." || part == "..") {
            return Err(Failure::usage("write the place as s3://BUCKET/PREFIX"));
        }
        let credentials = Credentials::from_env().ok_or_else(|| {
            Failure::usage(
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to the keys of the bucket, and \
                 AWS_REGION to its region (`sekisho env` sets them to the hub's)",
            )
        })?;
        let region = env::var("AWS_REGION")
            .or_else(|_| env::var("AWS_DEFAULT_REGION"))
            .unwrap_or_else(|_| REGION.to_owned());
        // At AWS the bucket is part of the host's name; elsewhere rarely.
        let (endpoint, style) = match endpoint {
            Some(endpoint) => (endpoint.to_owned(), UrlStyle::Path),
            None => (
                format!("https://s3.{region}.amazonaws.com"),
                UrlStyle::VirtualHost,
            ),
        };
        let url: Url = endpoint
            .parse()
            .map_err(|error| Failure::usage(format!("{endpoint} is not a URL: {error}")))?;
        let bucket = rusty_s3::Bucket::new(url, style, name.to_owned(), region)
            .map_err(|error| Failure::usage(format!("{endpoint} holds no buckets: {error}")))?;
        Ok(Self {
            bucket,
            prefix: match prefix {
                "" => String::new(),
                prefix => format!("{prefix}/"),
            },
            credentials,
            client: Client::builder().build().map_err(Failure::internal)?,
            runtime: Handle::current(),
        })
    }

    fn key(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, Failure> {
        self.runtime.block_on(async {
            let answer = request.send().await;
            let answer: Response = answer.map_err(|error| self.failed(&error.without_url()))?;
            let status = answer.status();
            let body = answer.bytes().await;
            let body = body.map_err(|error| self.failed(&error.without_url()))?;
            Ok(Answer {
                status,
                body: body.into(),
            })
        })
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> Failure {
        Failure::usage(format!("{}: {error}", self.name()))
    }

    fn list(
        &self,
        files: &mut Vec<(String, u64)>,
        from: Option<&str>,
    ) -> Result<Option<String>, Failure> {
        let mut action = self.bucket.list_objects_v2(Some(&self.credentials));
        action.with_prefix(self.prefix.as_str());
        if let Some(from) = from {
            action.with_continuation_token(from);
        }
        let answer = self.send(self.client.get(action.sign(SIGNED_FOR)))?;
        let body = answer.successful(self)?;
        let text = String::from_utf8_lossy(&body);
        let listed = ListObjectsV2::parse_response(&text).map_err(|error| self.failed(&error))?;
        files.extend(listed.contents.into_iter().filter_map(|object| {
            let path = object.key.strip_prefix(&self.prefix)?;
            // Of no length is none of ours, and is copied again.
            Some((path.to_owned(), object.size.unwrap_or(0)))
        }));
        Ok(listed.next_continuation_token)
    }
}

impl Place for Bucket {
    fn files(&self) -> Result<Vec<(String, u64)>, Failure> {
        let mut files = Vec::new();
        let mut next = self.list(&mut files, None)?;
        while let Some(from) = next {
            next = self.list(&mut files, Some(&from))?;
        }
        Ok(files)
    }

    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        let key = self.key(path);
        let action = self.bucket.get_object(Some(&self.credentials), &key);
        let answer = self.send(self.client.get(action.sign(SIGNED_FOR)))?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        answer.successful(self).map(Some)
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<(), Failure> {
        let key = self.key(path);
        let action = self.bucket.put_object(Some(&self.credentials), &key);
        let request = self.client.put(action.sign(SIGNED_FOR));
        self.send(request.body(bytes.to_vec()))?
            .successful(self)
            .map(drop)
    }

    fn remove(&self, path: &str) -> Result<(), Failure> {
        let key = self.key(path);
        let action = self.bucket.delete_object(Some(&self.credentials), &key);
        self.send(self.client.delete(action.sign(SIGNED_FOR)))?
            .successful(self)
            .map(drop)
    }

    /// What is put is there whole.
    fn is_leftover(&self, _: &str) -> bool {
        false
    }

    fn name(&self) -> String {
        format!("s3://{}/{}", self.bucket.name(), self.prefix)
    }
}

struct Answer {
    status: StatusCode,
    body: Vec<u8>,
}

impl Answer {
    fn successful(self, bucket: &Bucket) -> Result<Vec<u8>, Failure> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        let text = String::from_utf8_lossy(&self.body);
        Err(bucket.failed(&format!("the store answered {}: {text}", self.status)))
    }
}
