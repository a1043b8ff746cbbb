//! Answers that wait for the disk, in the order of what they answer.

use std::{collections::VecDeque, num::NonZeroU16, pin::Pin, task::Context};

use bytes::BytesMut;
use hub::Ack;
use model::Refusal;
use mqtt_proto::{QoS, ReasonCode, Version, server::Session};

use crate::refusals;

/// Room for answers that an idle connection may keep.
const KEPT_ANSWERS: usize = 8;

/// What is said once everything before it is on disk.
#[derive(Debug)]
pub(crate) enum Answer {
    /// PUBACK or PUBREC.
    Published {
        packet_id: NonZeroU16,
        qos: QoS,
        reason: ReasonCode,
        text: Option<Box<str>>,
    },
    /// PUBCOMP.
    Completed(NonZeroU16),
    /// PUBREL.
    Released(u64),
    /// SUBACK.
    Subscribed(NonZeroU16, Box<Filters>),
    /// UNSUBACK.
    Unsubscribed(NonZeroU16, Box<Filters>),
}

/// What became of each filter of a request.
#[derive(Debug)]
pub(crate) struct Filters {
    pub(crate) reasons: Vec<ReasonCode>,
    pub(crate) text: Option<String>,
}

/// Answers in the order they will be given.
#[derive(Debug, Default)]
pub(crate) struct Answers(VecDeque<(Ack, Answer)>);

impl Answers {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds an answer that waits for `ack`, and for the answers before it.
    pub(crate) fn push(&mut self, ack: Ack, answer: Answer) {
        self.0.push_back((ack, answer));
    }

    /// Gives every answer that need not wait any more. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// The refusal of something that could not be written, when the client cannot be told but by
    /// the end of its connection.
    pub(crate) fn poll_give(
        &mut self,
        context: &mut Context<'_>,
        session: &mut Session,
        out: &mut BytesMut,
    ) -> Result<bool, Refusal> {
        let before = self.0.len();
        while let Some((ack, _)) = self.0.front_mut() {
            let std::task::Poll::Ready(written) = Future::poll(Pin::new(ack), context) else {
                break;
            };
            let Some((_, answer)) = self.0.pop_front() else {
                break;
            };
            give(answer, written, session, out)?;
        }
        if self.0.is_empty() && self.0.capacity() > KEPT_ANSWERS {
            self.0 = VecDeque::new();
        }
        Ok(self.0.len() < before)
    }
}

fn give(
    answer: Answer,
    written: Result<(), Refusal>,
    session: &mut Session,
    out: &mut BytesMut,
) -> Result<(), Refusal> {
    match (answer, written) {
        (
            Answer::Published {
                packet_id,
                qos,
                reason,
                text,
            },
            Ok(()),
        ) => session.acknowledge(packet_id, qos, reason, text.as_deref(), out),
        (Answer::Published { packet_id, qos, .. }, Err(refusal))
            if session.version() == Version::V5 =>
        {
            let code = refusals::codes(refusal.kind).puback;
            session.acknowledge(packet_id, qos, code, Some(&refusal.message), out);
        }
        (Answer::Completed(packet_id), Ok(())) => session.complete(packet_id, out),
        (Answer::Released(seq), Ok(())) => session.release(seq, out),
        (Answer::Subscribed(packet_id, filters), Ok(())) => {
            session.suback(packet_id, &filters.reasons, filters.text.as_deref(), out);
        }
        (Answer::Unsubscribed(packet_id, filters), Ok(())) => {
            session.unsuback(packet_id, &filters.reasons, filters.text.as_deref(), out);
        }
        // The client sends it again on its next connection.
        (
            Answer::Published { .. }
            | Answer::Completed(_)
            | Answer::Released(_)
            | Answer::Subscribed(..)
            | Answer::Unsubscribed(..),
            Err(refusal),
        ) => return Err(refusal),
    }
    Ok(())
}
