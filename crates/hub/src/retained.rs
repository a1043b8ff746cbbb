//! Retained messages, read by request instead of by subscription.

use std::sync::Arc;

use broker::Message;
use model::{Refusal, TopicName};
use policy::{Action, Resource};

use crate::{Caller, Hub, Permit, act};

impl Hub {
    /// The message retained on `topic`.
    ///
    /// # Errors
    ///
    /// [`model::RefusalKind::NotFound`] when there is none;
    /// [`model::RefusalKind::Denied`] with the decision.
    pub fn retained_message(
        &self,
        caller: &Caller,
        topic: &TopicName,
    ) -> Result<Arc<Message>, Refusal> {
        let spelled = self.0.language.topic(topic.as_str());
        let _: Permit<act::ReadRetained> = self.authorize_by_policy(
            caller,
            Action::GetRetainedMessage,
            Resource::topic(&spelled),
        )?;
        let now = self.now();
        self.0
            .broker
            .retained(topic.as_str())
            .filter(|message| !message.is_expired(now))
            .ok_or_else(|| {
                Refusal::not_found(
                    "retained.unknown",
                    format!("no message is retained on the topic {spelled}"),
                )
            })
    }

    /// At most `limit` retained messages in the order of their topics, beginning after `after`, and
    /// after which topic the next page begins when there may be one.
    ///
    /// # Errors
    ///
    /// [`model::RefusalKind::Denied`] with the decision.
    pub fn retained_messages(
        &self,
        caller: &Caller,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Arc<Message>>, Option<TopicName>), Refusal> {
        let _: Permit<act::ReadRetained> =
            self.authorize_by_policy(caller, Action::ListRetainedMessages, Resource::every())?;
        let now = self.now();
        let mut page = self.0.broker.retained_page(after, limit);
        let next = page.last().filter(|_| page.len() == limit);
        let next = next.map(|message| message.topic.clone());
        page.retain(|message| !message.is_expired(now));
        Ok((page, next))
    }
}
