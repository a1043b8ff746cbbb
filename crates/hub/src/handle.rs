//! What devices ask for with a message, one line per intent.

use std::sync::Arc;

use model::{Refusal, RefusalKind};

use crate::{Ack, Caller, Connection, Hub, Intent};

impl Connection {
    /// Carries out what a message asks for. A message that asks for something beyond its delivery
    /// is answered by messages; its own acknowledgement only says that it was delivered.
    ///
    /// # Errors
    ///
    /// [`model::RefusalKind::Denied`] with the decision when it may not be published.
    pub async fn handle(&mut self, intent: Intent) -> Result<Ack, Refusal> {
        match intent {
            Intent::Publish(message) => self.publish(message),
            Intent::Shadow(message, asked) => {
                let (topic, payload) = (message.topic.clone(), message.payload.clone());
                let ack = self.publish(message)?;
                let (hub, caller) = (self.hub().clone(), Arc::clone(self.caller()));
                hub.answer_shadow(&caller, &asked, &topic, &payload).await;
                Ok(ack)
            }
            Intent::Claim(message, asked, encoding) => {
                self.answer_claim(&message, &asked, encoding).await
            }
        }
    }
}

impl Hub {
    /// Carries out what a message asks for that came without an MQTT connection.
    ///
    /// # Errors
    ///
    /// [`model::RefusalKind::Denied`] with the decision when it may not be published.
    pub async fn handle(&self, caller: &Caller, intent: Intent) -> Result<Ack, Refusal> {
        match intent {
            Intent::Publish(message) => self.publish(caller, message),
            Intent::Shadow(message, asked) => {
                let (topic, payload) = (message.topic.clone(), message.payload.clone());
                let ack = self.publish(caller, message)?;
                self.answer_shadow(caller, &asked, &topic, &payload).await;
                Ok(ack)
            }
            // There is no connection that the answer could go to.
            Intent::Claim(..) => Err(Refusal::new(
                RefusalKind::Unsupported,
                "provisioning.mqtt-only",
                "devices are provisioned by claim over MQTT only",
            )),
        }
    }
}
