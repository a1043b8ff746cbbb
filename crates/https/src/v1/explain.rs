//! Whether a device may do something, and why.

use axum::{Json, body::Bytes};
use hub::Question;
use model::{DeviceId, Refusal};

use super::{Answer, Refused, Site, messages, name, read};

pub(super) async fn explain(site: Site, body: Bytes) -> Answer<api::Explanation> {
    let asked: api::Question = read(&body)?;
    let device: DeviceId = name(&asked.device)?;
    let question = question(&site, &asked)?;
    let answers = site
        .hub()
        .explain(site.operator(), &device, &question)?
        .into_iter()
        .map(|explanation| api::Answer {
            principal: explanation.principal.map(|principal| principal.to_string()),
            decision: decision(&explanation.decision),
            connect: explanation.connect.as_ref().map(decision),
        })
        .collect::<Vec<_>>();
    let allows = |answer: &api::Answer| {
        answer.decision.outcome == api::Outcome::Allowed && answer.connect.is_none()
    };
    Ok(Json(api::Explanation {
        allowed: answers.iter().any(allows),
        answers,
    }))
}

fn question(site: &Site, asked: &api::Question) -> Result<Question, Refused> {
    let topic = asked.topic.as_deref().unwrap_or_default();
    let needs_topic = !matches!(asked.action, api::Action::Connect);
    if needs_topic == topic.is_empty() {
        let message = if needs_topic {
            "say which topic or filter"
        } else {
            "connecting has no topic; leave it out"
        };
        return Err(Refused(Refusal::malformed("request.malformed", message)));
    }
    Ok(match asked.action {
        api::Action::Connect => Question::Connect,
        api::Action::Publish => Question::Publish(messages::topic(site, topic)?),
        api::Action::Subscribe => Question::Subscribe(messages::filter(site, topic)?),
        api::Action::Receive => Question::Receive(messages::topic(site, topic)?),
    })
}

pub(super) fn decision(decision: &model::Decision) -> api::Decision {
    let because = &decision.because;
    api::Decision {
        outcome: match decision.outcome {
            model::Outcome::Allowed => api::Outcome::Allowed,
            model::Outcome::ExplicitlyDenied => api::Outcome::ExplicitlyDenied,
            model::Outcome::ImplicitlyDenied => api::Outcome::NotAllowed,
        },
        reason: decision.reason.0.to_owned(),
        action: decision.action.clone(),
        resource: decision.resource.clone(),
        policy: because.policy.clone(),
        statement: because.statement,
        text: because.text.clone(),
        miss: because.miss.clone(),
        variables: because
            .variables
            .iter()
            .map(|variable| api::Variable {
                name: variable.name.clone(),
                value: variable.value.clone(),
                note: variable.note.clone(),
            })
            .collect(),
        remedy: because.remedy.clone(),
    }
}
