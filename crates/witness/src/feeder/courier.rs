//! One address: what is sent there, and what is made of the answer.

use std::{error::Error, sync::Arc, time::Duration};

use model::limits;
use reqwest::{Client, Response, StatusCode, header::CONTENT_TYPE};
use tlog::{
    NoteSignature, VerifierKey,
    checkpoint::decimal,
    mirror::{AddEntries, MirrorInfo, PACKAGES_PER_REQUEST, Package},
    note::parse_signatures,
    witness::AddCheckpoint,
};

use super::{LatestCheckpoint, Log};
use crate::fetch::{self, FetchError};

/// How long an answer to a checkpoint may take.
const CHECKPOINT_PATIENCE: Duration = Duration::from_secs(10);

/// How long an answer to entries may take.
const ENTRIES_PATIENCE: Duration = Duration::from_secs(60);

/// How often one checkpoint is sent with another old size before it is left for later.
const ROUNDS: usize = 4;

/// Why a checkpoint was not cosigned.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("its answer is of no use: {0}")]
    Answer(String),
    #[error("the log could not prove what was asked: {0}")]
    Own(String),
    #[error("it refused with {0}: {1}")]
    Refused(u16, String),
    #[error("it answered without a valid cosignature of {0}, and is no mirror of this log")]
    NotCosigned(String),
    #[error(
        "it has seen {theirs} entries of this log, which has only {ours}: another history, or the \
         log was restored from an older backup"
    )]
    Ahead { theirs: u64, ours: u64 },
    #[error("it has seen another root for {0} entries of this log: another history")]
    OtherRoot(u64),
    #[error(
        "it does not take the proof that {new} entries continue the {old} it has seen: another \
         history"
    )]
    OtherHistory { old: u64, new: u64 },
}

/// Knows one address.
pub(super) struct Courier {
    client: Client,
    url: String,
    /// The witnesses of the policy at this address.
    keys: Vec<(String, VerifierKey)>,
    /// The size that it was at last.
    old: u64,
    /// How far a mirror has come. None while nobody knows it to be one.
    mirror: Option<Upload>,
}

#[derive(Clone, Debug, Default)]
struct Upload {
    next: u64,
    ticket: Vec<u8>,
}

impl Courier {
    pub(super) const fn new(client: Client, url: String, keys: Vec<(String, VerifierKey)>) -> Self {
        Self {
            client,
            url,
            keys,
            old: 0,
            mirror: None,
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|(name, _)| name.as_str())
    }

    /// Has a checkpoint cosigned by every key of this address.
    pub(super) async fn deliver<L: Log>(
        &mut self,
        log: &Arc<L>,
        latest: &LatestCheckpoint,
    ) -> Result<(), Trouble> {
        let answer = self.add_checkpoint(log, latest).await?;
        let mut missing = self.take(log, latest, &answer);
        if !missing.is_empty() {
            let answer = self.add_entries(log, latest, &missing).await?;
            let late = self.take(log, latest, &answer);
            missing.retain(|name| late.contains(name));
        }
        match missing.is_empty() {
            true => Ok(()),
            false => Err(Trouble::NotCosigned(missing.join(", "))),
        }
    }

    /// Hands on the cosignatures that verify. Answers whose are missing.
    fn take<L: Log>(
        &self,
        log: &Arc<L>,
        latest: &LatestCheckpoint,
        answer: &[NoteSignature],
    ) -> Vec<String> {
        let mut missing = Vec::new();
        let mut good = Vec::new();
        for (name, key) in &self.keys {
            let signature = answer.iter().find(|signature| {
                // C2SP tlog-witness: a cosignature must not omit its time.
                let time = key.verify(&latest.note.text, signature);
                time.is_ok_and(|time| time.is_some_and(|seconds| seconds > 0))
            });
            match signature {
                Some(signature) => good.push(signature.clone()),
                None => missing.push(name.clone()),
            }
        }
        if !good.is_empty() {
            log.cosigned(&latest.checkpoint, good);
        }
        missing
    }

    async fn add_checkpoint<L: Log>(
        &mut self,
        log: &Arc<L>,
        latest: &LatestCheckpoint,
    ) -> Result<Vec<NoteSignature>, Trouble> {
        let size = latest.checkpoint.size;
        for _ in 0..ROUNDS {
            let old = self.old;
            if old > size {
                return Err(Trouble::Ahead {
                    theirs: old,
                    ours: size,
                });
            }
            let proof = own(log, move |log| log.consistency(old, size)).await?;
            let note = latest.note.clone();
            let body = AddCheckpoint { old, proof, note }.to_string();
            let url = format!("{}/add-checkpoint", self.url);
            let request = self
                .client
                .post(url)
                .timeout(CHECKPOINT_PATIENCE)
                .body(body);
            let response = request.send().await;
            let answer = Answer::read(response).await?;
            match answer.status {
                StatusCode::OK => {
                    self.old = size;
                    return answer.signatures();
                }
                StatusCode::CONFLICT if answer.content_type == "text/x.tlog.size" => {
                    let told = answer.text.strip_suffix('\n').and_then(decimal);
                    let told = told.ok_or_else(|| Trouble::Answer(answer.text.clone()))?;
                    if told == old {
                        let text = format!("it asked for a proof from {old}, and had one");
                        return Err(Trouble::Answer(text));
                    }
                    self.old = told;
                }
                StatusCode::CONFLICT => return Err(Trouble::OtherRoot(size)),
                StatusCode::UNPROCESSABLE_ENTITY => {
                    return Err(Trouble::OtherHistory { old, new: size });
                }
                _ => return Err(answer.trouble()),
            }
        }
        Err(Trouble::Answer("it names another size every time".into()))
    }

    /// Uploads what a mirror has not, until it signs. No signatures when it is no mirror.
    async fn add_entries<L: Log>(
        &mut self,
        log: &Arc<L>,
        latest: &LatestCheckpoint,
        missing: &[String],
    ) -> Result<Vec<NoteSignature>, Trouble> {
        let size = latest.checkpoint.size;
        let mut idle = 0;
        while idle < ROUNDS {
            // What is not known yet is asked for, by an upload of nothing.
            let at = self.mirror.clone();
            let (start, end, ticket) = match &at {
                Some(at) if at.next <= size => (at.next, size, at.ticket.clone()),
                Some(_) => (size, size, Vec::new()),
                None => (0, 0, Vec::new()),
            };
            let head = AddEntries {
                origin: latest.checkpoint.origin.clone(),
                start,
                end,
                ticket,
            };
            let body = own(log, move |log| packages(log, &head)).await?;
            let url = format!("{}/add-entries", self.url);
            let request = self.client.post(url).timeout(ENTRIES_PATIENCE);
            let request = request.header(CONTENT_TYPE, "application/octet-stream");
            let answer = Answer::read(request.body(body).send().await).await?;
            match answer.status {
                StatusCode::OK => {
                    self.mirror = Some(Upload {
                        next: end,
                        ticket: Vec::new(),
                    });
                    // Of the empty log, which is signed at once; or of this checkpoint.
                    if end == size {
                        return answer.signatures();
                    }
                    idle += 1;
                }
                StatusCode::CONFLICT | StatusCode::ACCEPTED
                    if answer.content_type == "text/x.tlog.mirror-info" =>
                {
                    let info: MirrorInfo = answer
                        .text
                        .parse()
                        .map_err(|error| Trouble::Answer(format!("{error}")))?;
                    if info.size != size {
                        // Somebody brought it another checkpoint meanwhile.
                        self.old = info.size;
                    }
                    match at.is_some_and(|at| info.next > at.next) {
                        true => idle = 0,
                        false => idle += 1,
                    }
                    self.mirror = Some(Upload {
                        next: info.next,
                        ticket: info.ticket,
                    });
                }
                StatusCode::NOT_FOUND if self.mirror.is_none() => {
                    return Err(Trouble::NotCosigned(missing.join(", ")));
                }
                StatusCode::UNPROCESSABLE_ENTITY => {
                    return Err(Trouble::OtherHistory {
                        old: start,
                        new: size,
                    });
                }
                _ => return Err(answer.trouble()),
            }
        }
        Err(Trouble::Answer(
            "it takes entries and gets no further".into(),
        ))
    }
}

/// The body of an upload: the head, and as many packages as one request should have.
fn packages<L: Log>(log: &L, head: &AddEntries) -> Result<Vec<u8>, L::Error> {
    let mut body = head.encode();
    for span in head.spans().take(PACKAGES_PER_REQUEST) {
        let package = Package {
            entries: log.entries(span.start, span.end)?,
            proof: log.subtree(span.tile, span.end, head.end)?,
        };
        body.extend(package.encode());
        if body.len() > limits::MIRROR_REQUEST_BYTES {
            break;
        }
    }
    Ok(body)
}

/// Asks the log for something that may block on its disk.
async fn own<L: Log, T: Send + 'static, E: Error + Send + 'static>(
    log: &Arc<L>,
    ask: impl FnOnce(&L) -> Result<T, E> + Send + 'static,
) -> Result<T, Trouble> {
    let log = Arc::clone(log);
    match tokio::task::spawn_blocking(move || ask(&log)).await {
        Ok(Ok(made)) => Ok(made),
        Ok(Err(error)) => Err(Trouble::Own(error.to_string())),
        Err(error) => Err(Trouble::Own(error.to_string())),
    }
}

/// What was answered.
struct Answer {
    status: StatusCode,
    content_type: String,
    text: String,
}

impl Answer {
    async fn read(response: Result<Response, reqwest::Error>) -> Result<Self, Trouble> {
        let response = response.map_err(|error| fetch::unreachable(&error))?;
        let status = response.status();
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_owned();
        let body = fetch::body(response, limits::WITNESS_ANSWER_BYTES).await?;
        let text =
            String::from_utf8(body).map_err(|_| Trouble::Answer("it is not UTF-8".into()))?;
        Ok(Self {
            status,
            content_type,
            text,
        })
    }

    /// The signature lines; a mirror's answer to a checkpoint has none.
    fn signatures(&self) -> Result<Vec<NoteSignature>, Trouble> {
        if self.text.is_empty() {
            return Ok(Vec::new());
        }
        parse_signatures(&self.text).map_err(|error| Trouble::Answer(error.to_string()))
    }

    /// A refusal to be told, or an answer that is none.
    fn trouble(&self) -> Trouble {
        let said: String = self.text.trim().chars().take(200).collect();
        if self.status.is_client_error() {
            Trouble::Refused(self.status.as_u16(), said)
        } else {
            Trouble::Answer(format!("{}: {said}", self.status.as_u16()))
        }
    }
}
