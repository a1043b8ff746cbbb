//! Retained messages, read by request instead of by subscription.

use std::sync::Arc;

use broker::Message;
use model::{Refusal, TopicName};
use policy::{Action, Resource};

use crate::{Caller, Hub, Page, PageRequest, Permit, act};

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

    /// The retained messages in the order of their topics.
    ///
    /// # Errors
    ///
    /// `page.token`, `page.limit`; [`model::RefusalKind::Denied`] with the decision.
    pub fn retained_messages(
        &self,
        caller: &Caller,
        page: &PageRequest,
    ) -> Result<Page<Arc<Message>>, Refusal> {
        let _: Permit<act::ReadRetained> =
            self.authorize_by_policy(caller, Action::ListRetainedMessages, Resource::every())?;
        let (after, limit) = (page.after()?, page.limit()?);
        let found = self.0.broker.retained_page(after.as_deref(), limit + 1);
        let mut page = Page::of(found, limit, |message| message.topic.to_string());
        let now = self.now();
        page.items.retain(|message| !message.is_expired(now));
        Ok(page)
    }
}
