//! The loop of one connection: it waits, has things carried out, and flushes.
//!
//! Everything that can be done at one wake-up is done before the socket is written to once. The
//! loop stops reading while too many answers wait for the disk or the client does not take what
//! it was sent, so that a client is slowed down by its own demands and by nobody else's.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use broker::Delivery;
use hub::{CloseReason, Connection, Disconnect, DisconnectReason, Item, timeline::Kind};
use listen::Breach;
use model::{ReasonId, Refusal, limits};
use mqtt_proto::{
    ReasonCode,
    codec::Decoder,
    packet::{self, Packet},
    server::{Event, Outgoing, Sent, Session, Violation},
};
use tokio::time::{Sleep, sleep};

use crate::{
    answers::{Answer, Answers},
    connect::Opened,
    farewell,
    publishing::{self, Request},
    refusals,
    service::Shared,
    strict::Allowance,
    wire::Wire,
};

/// How often a connection that takes nothing is looked at.
const STALL_CHECK: Duration = Duration::from_secs(5);

/// When there is nothing to wait for.
const FAR_AWAY: Duration = Duration::from_secs(24 * 3600);

/// One open connection.
pub(crate) struct Conversation {
    pub(crate) shared: Arc<Shared>,
    pub(crate) wire: Wire,
    decoder: Decoder,
    pub(crate) session: Session,
    pub(crate) connection: Connection,
    pub(crate) answers: Answers,
    /// Taken from the mailbox and not yet sent.
    held: VecDeque<Delivery>,
    /// Bytes that came with the packets being carried out.
    pub(crate) read_bytes: usize,
    /// Whether something was read that the socket has not been written to for.
    has_read: bool,
    /// Whether packets were left in the input because too many answers wait.
    left_packets: bool,
    /// Times in a row that the client was found to take nothing.
    stalled_checks: u32,
    /// Whether the alarm is set to look at that again.
    watches_stall: bool,
    /// What the client may still publish, where that is bounded.
    pub(crate) allowance: Option<Box<Allowance>>,
}

/// How a connection ends.
pub(crate) struct Ending {
    pub(crate) disconnect: Disconnect,
    /// What the client is told, if it can be.
    pub(crate) words: Option<(ReasonCode, String)>,
}

/// Why the loop woke up.
enum Woken {
    /// There may be packets in the input.
    Packets,
    /// The connection ends.
    End(Ending),
}

impl Conversation {
    pub(crate) fn new(shared: Arc<Shared>, opened: Opened) -> Self {
        Self {
            allowance: shared.terms.strict.then(Box::default),
            shared,
            wire: opened.wire,
            decoder: opened.decoder,
            session: opened.session,
            connection: opened.connection,
            answers: Answers::default(),
            held: VecDeque::new(),
            read_bytes: 0,
            has_read: false,
            // What came behind the CONNECT.
            left_packets: true,
            stalled_checks: 0,
            watches_stall: false,
        }
    }

    /// Serves the connection until it ends, and takes leave.
    pub(crate) async fn run(mut self: Box<Self>) {
        let ending = self.converse().await;
        // Boxed, so that idle connections do not hold room for it.
        Box::pin(self.leave(ending)).await;
    }

    /// Takes leave at once, because the hub stops.
    pub(crate) async fn stop(self: Box<Self>) {
        self.leave(closed(&CloseReason::ShuttingDown)).await;
    }

    async fn leave(self: Box<Self>, ending: Ending) {
        let Self {
            mut session,
            mut wire,
            connection,
            ..
        } = *self;
        if let Some((code, text)) = &ending.words {
            session.close(*code, Some(text), &mut wire.output);
        }
        // First the hub, then the socket: nobody waits for a client that is gone.
        connection.end(ending.disconnect);
        farewell::say(&mut wire).await;
    }

    async fn converse(&mut self) -> Ending {
        let mut alarm = pin!(sleep(self.silence_left().unwrap_or(FAR_AWAY)));
        loop {
            match poll_fn(|context| self.poll_wake(context, alarm.as_mut())).await {
                Woken::Packets => {
                    if let Err(ending) = self.carry_out_packets().await {
                        return ending;
                    }
                }
                Woken::End(ending) => return ending,
            }
        }
    }

    /// Reads, answers, delivers and writes until nothing more can be done now.
    fn poll_wake(&mut self, context: &mut Context<'_>, mut alarm: Pin<&mut Sleep>) -> Poll<Woken> {
        self.wire.borrow_room();
        loop {
            match self.poll_read(context) {
                Poll::Ready(Ok(true)) => return Poll::Ready(Woken::Packets),
                Poll::Ready(Ok(false)) => return Poll::Ready(Woken::End(lost("it was closed"))),
                Poll::Ready(Err(error)) => return Poll::Ready(Woken::End(failed(&error))),
                Poll::Pending => {}
            }
            match self.poll_speak(context) {
                Ok(true) => {}
                Ok(false) if self.has_read => {}
                Ok(false) => break,
                Err(ending) => return Poll::Ready(Woken::End(ending)),
            }
            self.has_read = false;
        }
        self.wire.release_room();
        while alarm.as_mut().poll(context).is_ready() {
            self.watches_stall = false;
            if let Some(ending) = self.alarmed() {
                return Poll::Ready(Woken::End(ending));
            }
            alarm.set(sleep(self.silence_left().unwrap_or(FAR_AWAY)));
        }
        if self.is_stalled()
            && let Poll::Ready(reason) = self.connection.poll_close(context)
        {
            return Poll::Ready(Woken::End(closed(&reason)));
        }
        if self.is_stalled() && !self.watches_stall {
            self.watches_stall = true;
            alarm.set(sleep(STALL_CHECK));
            // Registers the new time; it has not come yet.
            let _pending = alarm.as_mut().poll(context);
        }
        Poll::Pending
    }

    /// Ready when there may be packets to carry out; `false` at the end of the stream.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.has_read || !self.takes_more() {
            return Poll::Pending;
        }
        if self.left_packets {
            return Poll::Ready(Ok(true));
        }
        self.wire.poll_read(context).map_ok(|bytes| {
            self.has_read = true;
            self.read_bytes = bytes;
            bytes > 0
        })
    }

    fn takes_more(&self) -> bool {
        let waiting = self.answers.len();
        // Room for half of them, so that what is left is not carried out one by one.
        let enough = if self.left_packets {
            limits::PENDING_ANSWERS / 2
        } else {
            limits::PENDING_ANSWERS
        };
        waiting < enough && self.wire.output.len() < limits::OUTPUT_BYTES
    }

    async fn carry_out_packets(&mut self) -> Result<(), Ending> {
        self.left_packets = false;
        loop {
            if self.answers.len() >= limits::PENDING_ANSWERS {
                self.left_packets = true;
                return Ok(());
            }
            match self.decoder.decode(&mut self.wire.input) {
                Ok(Some(packet)) => {
                    if let Some(request) = self.carry_out(packet)? {
                        Box::pin(self.answer(request)).await?;
                    }
                    if let Some(pause) = self.take_pause() {
                        // A quarter of a second at most: that is what the largest message costs.
                        Box::pin(sleep(pause)).await;
                        // What there is to say goes out before the next is read.
                        self.left_packets = true;
                        self.has_read = true;
                        return Ok(());
                    }
                }
                Ok(None) => return Ok(()),
                Err(error) => return Err(violated(&error.into())),
            }
        }
    }

    /// How long nothing more is read, because the client published more than its share.
    fn take_pause(&mut self) -> Option<Duration> {
        let pause = std::mem::take(&mut self.allowance.as_mut()?.pause);
        (!pause.is_zero()).then_some(pause)
    }

    /// Carries out one packet, or says which request of it takes longer.
    fn carry_out(&mut self, packet: Packet) -> Result<Option<Box<Request>>, Ending> {
        let now = self.shared.hub.now();
        let output = &mut self.wire.output;
        let event = match self.session.handle(packet, now, output) {
            Ok(Some(event)) => event,
            Ok(None) => return Ok(None),
            Err(violation) => return Err(violated(&violation)),
        };
        match event {
            Event::Publish(publish) => return self.publish(publish),
            Event::Duplicate { packet_id } => self.answers.push(
                hub::Ack::default(),
                Answer::Published {
                    packet_id,
                    qos: mqtt_proto::QoS::ExactlyOnce,
                    reason: ReasonCode::Success,
                    text: None,
                },
            ),
            Event::Released { packet_id } => {
                let ack = self.connection.release_inbound(packet_id.get());
                self.answers.push(ack, Answer::Completed(packet_id));
            }
            Event::Subscribe(subscribe) => self.subscribe(subscribe)?,
            Event::Unsubscribe(unsubscribe) => self.unsubscribe(&unsubscribe)?,
            Event::Acknowledged { seq, .. } | Event::Completed { seq } => {
                self.connection.acknowledged(seq);
            }
            Event::Received { seq } => {
                let ack = self.connection.received(seq);
                self.answers.push(ack, Answer::Released(seq));
            }
            Event::Disconnect(disconnect) => return Err(goodbye(&disconnect)),
            // A second CONNECT is a violation.
            Event::Connect(_) => {}
        }
        Ok(None)
    }

    /// Gives answers and deliveries, and writes. Returns whether anything moved.
    fn poll_speak(&mut self, context: &mut Context<'_>) -> Result<bool, Ending> {
        let output = &mut self.wire.output;
        let answered = self
            .answers
            .poll_give(context, &mut self.session, output)
            .map_err(|refusal| refused(&refusal, DisconnectReason::ServerError))?;
        let delivered = self.poll_deliver(context)?;
        match self.wire.poll_write(context) {
            Poll::Ready(Ok(written)) => Ok(answered || delivered || written),
            Poll::Ready(Err(error)) => Err(failed(&error)),
            // Nothing more to be said before the socket takes this, but for answers that come.
            Poll::Pending => Ok(false),
        }
    }

    /// Takes deliveries from the mailbox while there is room for them.
    fn poll_deliver(&mut self, context: &mut Context<'_>) -> Result<bool, Ending> {
        let before = self.wire.output.len();
        while self.wire.output.len() < limits::OUTPUT_BYTES {
            let delivery = match self.held.pop_front() {
                Some(delivery) => delivery,
                None => match self.poll_item(context)? {
                    Poll::Ready(Some(delivery)) => delivery,
                    Poll::Ready(None) => continue,
                    Poll::Pending => break,
                },
            };
            if self.send(&delivery) == Sent::Later {
                // An older message has its packet id.
                self.held.push_front(delivery);
                break;
            }
        }
        Ok(self.wire.output.len() > before)
    }

    /// The next delivery; `None` when something else was done.
    fn poll_item(&mut self, context: &mut Context<'_>) -> Result<Poll<Option<Delivery>>, Ending> {
        let window_open = self.session.window_open() && self.held.is_empty();
        match self.connection.poll_next(context, window_open) {
            Poll::Ready(Item::Deliver(delivery)) => Ok(Poll::Ready(Some(delivery))),
            Poll::Ready(Item::Release(seq)) => {
                let output = &mut self.wire.output;
                self.session.resume_released(seq, output);
                Ok(Poll::Ready(None))
            }
            Poll::Ready(Item::Close(reason)) => Err(closed(&reason)),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    fn send(&mut self, delivery: &Delivery) -> Sent {
        let message = &delivery.message;
        let now = self.shared.hub.now();
        // MQTT 5.0 §3.3.2.3.3: less the time it has waited here.
        let waited = u32::try_from(now.since(message.published_at).as_secs()).unwrap_or(u32::MAX);
        let left = message.properties.message_expiry_seconds;
        // Most topics are spelled the same everywhere, and share their encoding.
        let spelled = if message.topic.is_reserved() {
            self.shared.dialect.spell(&message.topic)
        } else {
            None
        };
        let own;
        let encoded = match &spelled {
            None => message.encoded(),
            Some(topic) => {
                own = publishing::encode(topic, message);
                &own
            }
        };
        let outgoing = Outgoing {
            message: encoded,
            seq: delivery.seq,
            dup: delivery.dup,
            qos: delivery.qos,
            retain: delivery.retain,
            message_expiry_seconds: left.map(|seconds| seconds.saturating_sub(waited)),
            subscription_ids: &delivery.subscription_ids,
        };
        let sent = self.session.send(&outgoing, &mut self.wire.output);
        if let Sent::TooLarge { bytes, maximum } = sent {
            self.connection.acknowledged(delivery.seq);
            self.shared.hub.record(
                Kind::MessagesDropped,
                self.connection.caller().subject(),
                ReasonId("mqtt.too-large-for-client"),
                format!(
                    "a message on {} takes {bytes} bytes, the client takes {maximum}; raise its \
                     maximum packet size",
                    message.topic
                ),
                None,
            );
        }
        sent
    }

    /// How long the client may stay silent from now; `None` is for ever.
    fn silence_left(&self) -> Option<Duration> {
        let deadline = self.session.deadline()?;
        Some(deadline.since(self.shared.hub.now()))
    }

    fn is_stalled(&self) -> bool {
        self.wire.output.len() >= limits::OUTPUT_BYTES || !self.held.is_empty()
    }

    /// The alarm rang: has the client been silent for too long, or does it take nothing?
    fn alarmed(&mut self) -> Option<Ending> {
        if self.wire.has_moved() {
            self.stalled_checks = 0;
        }
        if self.is_stalled() {
            self.stalled_checks += 1;
            if STALL_CHECK * self.stalled_checks > limits::STALL_DEADLINE {
                return Some(ending(
                    DisconnectReason::Throttled,
                    "mqtt.stalled",
                    "the client took nothing off its socket for too long".into(),
                    None,
                ));
            }
        }
        // Whoever is not listened to cannot be blamed for silence.
        if self.silence_left() == Some(Duration::ZERO) && self.takes_more() {
            let text = "nothing was heard for one and a half times the keep-alive";
            return Some(ending(
                DisconnectReason::KeepAliveTimeout,
                "mqtt.keep-alive",
                text.into(),
                Some(ReasonCode::KeepAliveTimeout),
            ));
        }
        None
    }
}

fn ending(
    reason: DisconnectReason,
    id: &'static str,
    text: String,
    code: Option<ReasonCode>,
) -> Ending {
    Ending {
        words: code.map(|code| (code, text.clone())),
        disconnect: Disconnect {
            reason,
            send_will: true,
            session_expiry: None,
            because: (ReasonId(id), text),
        },
    }
}

fn lost(how: &str) -> Ending {
    ending(
        DisconnectReason::ConnectionLost,
        "connection.lost",
        format!("the connection was lost: {how}"),
        None,
    )
}

fn failed(error: &io::Error) -> Ending {
    if let Some(breach) = Breach::behind(error) {
        let text = breach.text.to_string();
        return ending(DisconnectReason::ClientError, breach.reason.0, text, None);
    }
    if error.kind() == io::ErrorKind::UnexpectedEof {
        // TLS's own words for it are for programmers.
        return lost("the client closed its socket without taking leave");
    }
    lost(&error.to_string())
}

fn violated(violation: &Violation) -> Ending {
    ending(
        DisconnectReason::ClientError,
        refusals::violation_id(violation.code),
        violation.to_string(),
        Some(violation.code),
    )
}

/// The end of a connection because of something that was refused and cannot be told otherwise.
pub(crate) fn refused(refusal: &Refusal, reason: DisconnectReason) -> Ending {
    ending(
        reason,
        refusal.reason.0,
        refusal.message.to_string(),
        Some(refusals::codes_for(refusal.kind, refusal.reason).disconnect),
    )
}

fn goodbye(disconnect: &packet::Disconnect) -> Ending {
    let expiry = disconnect.session_expiry_seconds;
    let text = match &disconnect.reason_string {
        // Not repeated: it is the client's word, and as long as it likes.
        Some(_) | None if disconnect.reason == ReasonCode::Success => "the client disconnected",
        Some(_) | None => "the client disconnected and wants its will published",
    };
    Ending {
        words: None,
        disconnect: Disconnect {
            reason: DisconnectReason::ClientInitiated,
            // MQTT 5.0 §3.14.4: only a normal disconnection discards the will.
            send_will: disconnect.reason != ReasonCode::Success,
            session_expiry: expiry.map(|seconds| Duration::from_secs(seconds.into())),
            because: (ReasonId("connection.closed-by-client"), text.into()),
        },
    }
}

fn closed(reason: &CloseReason) -> Ending {
    match reason {
        CloseReason::TakenOver => ending(
            DisconnectReason::DuplicateClientId,
            "connection.taken-over",
            "another connection uses the same client id".into(),
            Some(ReasonCode::SessionTakenOver),
        ),
        CloseReason::NoLongerAllowed(refusal) => refused(refusal, DisconnectReason::Forbidden),
        CloseReason::Administrative {
            send_will,
            end_session,
        } => {
            let mut ending = ending(
                DisconnectReason::ApiInitiated,
                "connection.ended-by-operator",
                "an operator ended the connection".into(),
                Some(ReasonCode::AdministrativeAction),
            );
            ending.disconnect.send_will = *send_will;
            if *end_session {
                ending.disconnect.session_expiry = Some(Duration::ZERO);
            }
            ending
        }
        CloseReason::ShuttingDown => ending(
            DisconnectReason::ServerInitiated,
            "hub.shutting-down",
            "the hub stops; connect again in a moment".into(),
            Some(ReasonCode::ServerShuttingDown),
        ),
        CloseReason::StorageFailed => ending(
            DisconnectReason::ServerError,
            "store.unavailable",
            "the hub cannot store what must be kept".into(),
            Some(ReasonCode::UnspecifiedError),
        ),
    }
}
