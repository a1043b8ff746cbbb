//! A client's subscriptions, filter by filter.

use hub::{DisconnectReason, SubscribeRequest, SubscriptionOptions, timeline::Kind};
use model::{Refusal, RefusalKind, TopicFilter};
use mqtt_proto::{
    ReasonCode, Version,
    packet::{Subscribe, SubscribeOptions, Unsubscribe},
};

use crate::{
    answers::{Answer, Filters},
    conversation::{Conversation, Ending, refused},
    publishing::own,
    refusals, strict,
};

impl Conversation {
    /// Carries out SUBSCRIBE. A filter that is refused is refused in the answer; the others hold.
    ///
    /// # Errors
    ///
    /// The end of the connection, where the terms say so.
    pub(crate) fn subscribe(&mut self, subscribe: Subscribe) -> Result<(), Ending> {
        self.check_terms(subscribe.filters.len(), subscribe.subscription_id.is_some())?;
        let identifier = subscribe.subscription_id.map(|id| id.get());
        // Each filter is refused here, or has its place among those the hub is asked for.
        let mut requests = Vec::with_capacity(subscribe.filters.len());
        let places: Vec<Result<usize, Refusal>> = subscribe
            .filters
            .iter()
            .map(|(spelled, options)| {
                let filter = self.filter(spelled)?;
                requests.push(request(filter, spelled, *options, identifier));
                Ok(requests.len() - 1)
            })
            .collect();
        let (granted, ack) = self.connection.subscribe(requests);
        let mut reasons = Vec::with_capacity(places.len());
        let mut text = None;
        for place in places {
            let outcome = match place {
                Ok(at) => granted
                    .get(at)
                    .map_or(Ok(ReasonCode::UnspecifiedError), |it| {
                        it.as_ref().map(|qos| ReasonCode::from(*qos))
                    }),
                Err(ref refusal) => Err(refusal),
            };
            match outcome {
                Ok(reason) => reasons.push(reason),
                Err(refusal) => {
                    if self.closes_when_denied(refusal) {
                        return Err(refused(refusal, DisconnectReason::Unauthorized));
                    }
                    // One packet has one text: that of the first refusal.
                    text.get_or_insert_with(|| refusal.message.to_string());
                    reasons.push(refusals::codes(refusal.kind).suback);
                }
            }
        }
        let filters = Box::new(Filters { reasons, text });
        let answer = Answer::Subscribed(subscribe.packet_id, filters);
        self.answers.push(ack, answer);
        Ok(())
    }

    /// Carries out UNSUBSCRIBE.
    ///
    /// # Errors
    ///
    /// As [`Self::subscribe`].
    pub(crate) fn unsubscribe(&mut self, unsubscribe: &Unsubscribe) -> Result<(), Ending> {
        self.check_terms(unsubscribe.filters.len(), false)?;
        let mut filters = Vec::with_capacity(unsubscribe.filters.len());
        let caller = self.connection.caller();
        let places: Vec<Result<usize, Refusal>> = unsubscribe
            .filters
            .iter()
            .map(|spelled| {
                let filter = self.shared.dialect.filter(caller, spelled)?;
                filters.push((filter, own(spelled)));
                Ok(filters.len() - 1)
            })
            .collect();
        let (existed, ack) = self.connection.unsubscribe(&filters);
        let mut text = None;
        let reasons = places
            .iter()
            .map(|place| match place {
                Ok(at) if existed.get(*at) == Some(&true) => ReasonCode::Success,
                Ok(_) => ReasonCode::NoSubscriptionExisted,
                Err(refusal) => {
                    text.get_or_insert_with(|| refusal.message.to_string());
                    refusals::codes(refusal.kind).unsuback
                }
            })
            .collect();
        let filters = Box::new(Filters { reasons, text });
        let answer = Answer::Unsubscribed(unsubscribe.packet_id, filters);
        self.answers.push(ack, answer);
        Ok(())
    }

    fn check_terms(&self, filters: usize, has_identifier: bool) -> Result<(), Ending> {
        let terms = &self.shared.terms;
        let refusal = if has_identifier && !terms.subscription_ids {
            Refusal::new(
                RefusalKind::Unsupported,
                "mqtt.subscription-id",
                "subscription identifiers are not available here",
            )
        } else if filters > terms.filters_per_packet {
            Refusal::new(
                RefusalKind::TooMany,
                "mqtt.too-many-filters",
                format!(
                    "a SUBSCRIBE or UNSUBSCRIBE may have {} filters here",
                    terms.filters_per_packet
                ),
            )
        } else {
            return Ok(());
        };
        self.record_subscription(&refusal);
        Err(refused(&refusal, DisconnectReason::ClientError))
    }

    fn filter(&self, spelled: &bytestring::ByteString) -> Result<TopicFilter, Refusal> {
        let caller = self.connection.caller();
        let checked = if self.shared.terms.strict {
            strict::check_filter(spelled)
        } else {
            Ok(())
        };
        checked
            .and_then(|()| self.shared.dialect.filter(caller, spelled))
            .inspect_err(|refusal| self.record_subscription(refusal))
    }

    fn record_subscription(&self, refusal: &Refusal) {
        let subject = self.connection.caller().subject();
        self.shared
            .hub
            .record_refusal(Kind::SubscribeRefused, subject, refusal);
    }

    /// AWS closes the connection of a 3.1.1 client that subscribes to what it may not.
    fn closes_when_denied(&self, refusal: &Refusal) -> bool {
        self.session.version() == Version::V311
            && !self.shared.terms.tells_v311
            && refusal.kind == RefusalKind::Denied
    }
}

fn request(
    filter: TopicFilter,
    spelled: &bytestring::ByteString,
    options: SubscribeOptions,
    identifier: Option<u32>,
) -> SubscribeRequest {
    SubscribeRequest {
        filter,
        spelled: own(spelled),
        options: SubscriptionOptions {
            qos: options.qos,
            no_local: options.no_local,
            retain_as_published: options.retain_as_published,
            identifier,
        },
        retain_handling: options.retain_handling,
    }
}
