//! Thing types.

use model::{Refusal, RefusalKind, TypeName};
use registry::{TypeChange, TypeRecord};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    arn::{Kind, Place},
    call::{Call, Outcome, Reply, parse},
    page::Paging,
    tags::{Tag, tag_map},
    things::exists,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Properties {
    thing_type_description: Option<String>,
    searchable_attributes: Option<Vec<String>>,
    mqtt5_configuration: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Body {
    thing_type_properties: Properties,
    tags: Vec<Tag>,
    undo_deprecate: bool,
}

impl Properties {
    fn change(self) -> Result<TypeChange, Refusal> {
        if self.mqtt5_configuration.is_some() {
            return Err(Refusal::new(
                RefusalKind::Unsupported,
                "aws.not-implemented",
                "propagating attributes (mqtt5Configuration) are not implemented by this hub yet",
            ));
        }
        Ok(TypeChange {
            description: self.thing_type_description,
            searchable_attributes: self.searchable_attributes,
        })
    }
}

/// `CreateThingType`.
pub(crate) async fn create(call: &Call<'_>) -> Outcome {
    let body: Body = call.json()?;
    let name: TypeName = call.name(0)?;
    let parts = body.thing_type_properties.change()?;
    let made = call
        .hub
        .create_type(call.caller, name.clone(), parts, tag_map(body.tags))
        .await;
    match made {
        Ok(record) => Ok(Reply::json(&json!({
            "thingTypeName": record.name.as_str(),
            "thingTypeArn": call.place.arn(Kind::ThingType, &record.name),
            "thingTypeId": record.uuid,
        }))),
        Err(refusal) if refusal.kind == RefusalKind::AlreadyExists => {
            Err(exists(refusal, &call.place, Kind::ThingType, name.as_str()))
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// `DescribeThingType`.
pub(crate) fn describe(call: &Call<'_>) -> Outcome {
    let record = call.hub.device_type(call.caller, &call.name(0)?)?;
    let mut body = summary(&call.place, &record);
    body["thingTypeId"] = json!(record.uuid);
    Ok(Reply::json(&body))
}

fn summary(place: &Place, record: &TypeRecord) -> Value {
    let mut metadata = json!({
        "deprecated": record.deprecated_at.is_some(),
        "creationDate": record.created_at.fractional_seconds(),
    });
    if let Some(since) = record.deprecated_at {
        metadata["deprecationDate"] = json!(since.fractional_seconds());
    }
    json!({
        "thingTypeName": record.name.as_str(),
        "thingTypeArn": place.arn(Kind::ThingType, &record.name),
        "thingTypeProperties": {
            "thingTypeDescription": record.description,
            "searchableAttributes": record.searchable_attributes,
        },
        "thingTypeMetadata": metadata,
    })
}

/// `UpdateThingType`.
pub(crate) async fn update(call: &Call<'_>) -> Outcome {
    let body: Body = call.json()?;
    let change = body.thing_type_properties.change()?;
    call.hub
        .update_type(call.caller, &call.name(0)?, change)
        .await?;
    Ok(Reply::done())
}

/// `DeprecateThingType`.
pub(crate) async fn deprecate(call: &Call<'_>) -> Outcome {
    let body: Body = call.json()?;
    call.hub
        .deprecate_type(call.caller, &call.name(0)?, body.undo_deprecate)
        .await?;
    Ok(Reply::done())
}

/// `DeleteThingType`.
pub(crate) async fn delete(call: &Call<'_>) -> Outcome {
    call.hub.delete_type(call.caller, &call.name(0)?).await?;
    Ok(Reply::done())
}

/// `ListThingTypes`.
pub(crate) fn list(call: &Call<'_>) -> Outcome {
    let wanted = Paging::Tokens.request(call)?;
    let page = match call.query("thingTypeName")? {
        None => call.hub.device_types(call.caller, &wanted)?,
        // One name: a list of that type, or of none.
        Some(name) => match call.hub.device_type(call.caller, &parse(&name)?) {
            Ok(record) => hub::Page {
                items: vec![record],
                next: None,
            },
            Err(refusal) if refusal.kind == RefusalKind::NotFound => hub::Page {
                items: Vec::new(),
                next: None,
            },
            Err(refusal) => return Err(refusal.into()),
        },
    };
    let answer = Paging::Tokens.answer("thingTypes", page, |record| summary(&call.place, record));
    Ok(Reply::json(&answer))
}
