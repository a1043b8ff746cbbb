//! Changes of the registry as messages on the hub's topics, as far as they are switched on.
//!
//! Topics and members follow AWS's: `$hub/events/thing/{name}/created` and so on. Full names of
//! resources (`groupArn`) are spelled by the policy language, because the hub has none. Source: AWS
//! IoT Core Developer Guide, "Registry events".

use model::{DeviceId, GroupName, Timestamp, TopicName, TypeName};
use mqtt_proto::QoS;
use registry::{DeviceRecord, EventFamily, GroupRecord, TypeRecord};
use serde_json::{Value, json};

use crate::{Hub, PolicyLanguage};

/// What was done to something.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Operation {
    /// It is new.
    Created,
    /// It is different.
    Updated,
    /// It is gone.
    Deleted,
    /// It was put into something.
    Added,
    /// It was taken out of something.
    Removed,
}

/// A device as events name it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeviceIdentity {
    /// Its name.
    pub id: DeviceId,
    /// Which device of this name.
    pub uuid: String,
}

/// A group as events name it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupIdentity {
    /// Its name.
    pub name: GroupName,
    /// Which group of this name.
    pub uuid: String,
}

/// What changed in the registry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RegistryChange {
    /// A device; deleted ones as they were last.
    Device(DeviceRecord),
    /// A type; deleted ones as they were last.
    Type(TypeRecord),
    /// A device was given a type, or it was taken away.
    TypeAssociation {
        /// The device.
        device: DeviceIdentity,
        /// The type.
        device_type: TypeName,
    },
    /// A group; deleted ones as they were last.
    Group {
        /// The group.
        group: GroupRecord,
        /// The groups above it, from the root to its parent.
        ancestors: Vec<GroupIdentity>,
    },
    /// A device was put into a group or taken out.
    Membership {
        /// The device.
        device: DeviceIdentity,
        /// The group.
        group: GroupIdentity,
    },
    /// A group was put below another or taken away.
    Hierarchy {
        /// The group above.
        parent: GroupIdentity,
        /// The group below.
        child: GroupIdentity,
    },
}

impl RegistryChange {
    /// The family it is switched on with.
    #[must_use]
    pub const fn family(&self) -> EventFamily {
        match self {
            Self::Device(_) => EventFamily::Device,
            Self::Type(_) => EventFamily::Type,
            Self::TypeAssociation { .. } => EventFamily::TypeAssociation,
            Self::Group { .. } => EventFamily::Group,
            Self::Membership { .. } => EventFamily::GroupMembership,
            Self::Hierarchy { .. } => EventFamily::GroupHierarchy,
        }
    }

    /// Where it is told. Names of devices that cannot stand in a topic make none.
    fn topic(&self, operation: Operation) -> String {
        let what = match self {
            Self::Device(device) => format!("thing/{}", device.id),
            Self::Type(record) => format!("thingType/{}", record.name),
            Self::TypeAssociation {
                device,
                device_type,
            } => format!(
                "thingTypeAssociation/thing/{}/thingType/{device_type}",
                device.id
            ),
            Self::Group { group, .. } => format!("thingGroup/{}", group.name),
            Self::Membership { device, group } => format!(
                "thingGroupMembership/thingGroup/{}/thing/{}",
                group.name, device.id
            ),
            Self::Hierarchy { parent, child } => format!(
                "thingGroupHierarchy/thingGroup/{}/childThingGroup/{}",
                parent.name, child.name
            ),
        };
        format!(
            "$hub/events/{what}/{}",
            operation.name().to_ascii_lowercase()
        )
    }

    /// What is told of it.
    fn payload(&self, language: &dyn PolicyLanguage) -> Value {
        let group_arn =
            |group: &GroupIdentity| language.resource_name(&format!("thinggroup/{}", group.name));
        match self {
            Self::Device(device) => json!({
                "eventType": "THING_EVENT",
                "thingId": device.uuid,
                "thingName": device.id.as_str(),
                "versionNumber": device.version,
                "thingTypeName": device.device_type.as_ref().map(TypeName::as_str),
                "attributes": device.attributes.as_map(),
            }),
            Self::Type(record) => json!({
                "eventType": "THING_TYPE_EVENT",
                "thingTypeId": record.uuid,
                "thingTypeName": record.name.as_str(),
                "isDeprecated": record.deprecated_at.is_some(),
                "deprecationDate": record.deprecated_at.map(Timestamp::millis),
                "searchableAttributes": record.searchable_attributes,
                "description": record.description,
            }),
            Self::TypeAssociation {
                device,
                device_type,
            } => json!({
                "eventType": "THING_TYPE_ASSOCIATION_EVENT",
                "thingId": device.uuid,
                "thingName": device.id.as_str(),
                "thingTypeName": device_type.as_str(),
            }),
            Self::Group { group, ancestors } => {
                let parent = ancestors.last();
                json!({
                    "eventType": "THING_GROUP_EVENT",
                    "thingGroupId": group.uuid,
                    "thingGroupName": group.name.as_str(),
                    "versionNumber": group.version,
                    "parentGroupName": parent.map(|parent| parent.name.as_str()),
                    "parentGroupId": parent.map(|parent| &parent.uuid),
                    "description": group.description,
                    "rootToParentThingGroups": ancestors.iter().map(|above| json!({
                        "groupArn": group_arn(above),
                        "groupId": above.uuid,
                    })).collect::<Vec<_>>(),
                    "attributes": group.attributes.as_map(),
                    "dynamicGroupMappingId": null,
                })
            }
            Self::Membership { device, group } => json!({
                "eventType": "THING_GROUP_MEMBERSHIP_EVENT",
                "groupArn": group_arn(group),
                "groupId": group.uuid,
                "thingArn": language.resource_name(&format!("thing/{}", device.id)),
                "thingId": device.uuid,
                // Names the pair, as long as both exist.
                "membershipId": format!("{}/{}", group.uuid, device.uuid),
            }),
            Self::Hierarchy { parent, child } => json!({
                "eventType": "THING_GROUP_HIERARCHY_EVENT",
                "thingGroupId": parent.uuid,
                "thingGroupName": parent.name.as_str(),
                "childThingGroupId": child.uuid,
                "childThingGroupName": child.name.as_str(),
            }),
        }
    }
}

impl Operation {
    /// The name in events, which is AWS's.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::Updated => "UPDATED",
            Self::Deleted => "DELETED",
            Self::Added => "ADDED",
            Self::Removed => "REMOVED",
        }
    }
}

impl From<&DeviceRecord> for DeviceIdentity {
    fn from(device: &DeviceRecord) -> Self {
        Self {
            id: device.id.clone(),
            uuid: device.uuid.clone(),
        }
    }
}

impl From<&GroupRecord> for GroupIdentity {
    fn from(group: &GroupRecord) -> Self {
        Self {
            name: group.name.clone(),
            uuid: group.uuid.clone(),
        }
    }
}

impl Hub {
    /// Tells whoever subscribes to it what changed, as far as that is switched on.
    pub(crate) fn announce_changes(
        &self,
        changes: impl IntoIterator<Item = (Operation, RegistryChange)>,
    ) {
        let mut changes = changes.into_iter().peekable();
        if changes.peek().is_none() {
            return;
        }
        let switches = match self.0.store.read(|txn| txn.event_configurations()) {
            Ok(switches) => switches,
            Err(error) => {
                // The change itself is done; only its announcement is lost.
                tracing::error!(%error, "changes of the registry are not announced");
                return;
            }
        };
        for (operation, change) in changes {
            if switches.is_enabled(change.family()) {
                self.announce_change(operation, &change);
            }
        }
    }

    fn announce_change(&self, operation: Operation, change: &RegistryChange) {
        let Ok(topic) = TopicName::new(change.topic(operation)) else {
            return;
        };
        let mut payload = change.payload(&*self.0.language);
        payload["eventId"] = new_uuid().into();
        payload["timestamp"] = self.now().millis().into();
        payload["operation"] = operation.name().into();
        payload["accountId"] = self.config().account.as_str().into();
        match self.publish_own(topic, payload.to_string().into(), QoS::AtLeastOnce) {
            // Nobody waits for an event's acknowledgement.
            Ok(ack) => drop(ack),
            Err(refusal) => tracing::warn!(%refusal, "an event was not delivered"),
        }
    }
}

/// A random UUID: which thing of a name this is, or which state of it.
pub(crate) fn new_uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

#[cfg(test)]
mod tests {
    use registry::{AttributeChange, Attributes};

    use super::*;
    const AT: Timestamp = Timestamp::from_millis(1_234_567_890_123);

    #[test]
    fn each_change_is_told_where_and_how_the_guide_says() {
        let attributes = || {
            let mut attributes = Attributes::default();
            attributes
                .apply(AttributeChange::Replace(
                    [("k".to_owned(), "v".to_owned())].into(),
                ))
                .unwrap();
            attributes
        };
        let device = || DeviceIdentity {
            id: "T".parse().unwrap(),
            uuid: "t-id".into(),
        };
        let group = |name: &str| GroupIdentity {
            name: name.parse().unwrap(),
            uuid: format!("{name}-id"),
        };
        check(
            Operation::Created,
            &RegistryChange::Device(DeviceRecord {
                id: "T".parse().unwrap(),
                uuid: "t-id".into(),
                device_type: None,
                attributes: attributes(),
                version: 1,
                created_at: AT,
                modified_at: AT,
            }),
            "thing/T/created",
            r#""eventType":"THING_EVENT","thingId":"t-id","thingName":"T","versionNumber":1,"thingTypeName":null,"attributes":{"k":"v"}"#,
        );
        check(
            Operation::Updated,
            &RegistryChange::Type(TypeRecord {
                name: "Y".parse().unwrap(),
                uuid: "y-id".into(),
                description: "d".into(),
                searchable_attributes: vec!["k".into()],
                deprecated_at: Some(AT),
                created_at: AT,
            }),
            "thingType/Y/updated",
            r#""eventType":"THING_TYPE_EVENT","thingTypeId":"y-id","thingTypeName":"Y","isDeprecated":true,"deprecationDate":1234567890123,"searchableAttributes":["k"],"description":"d""#,
        );
        check(
            Operation::Added,
            &RegistryChange::TypeAssociation {
                device: device(),
                device_type: "Y".parse().unwrap(),
            },
            "thingTypeAssociation/thing/T/thingType/Y/added",
            r#""eventType":"THING_TYPE_ASSOCIATION_EVENT","thingId":"t-id","thingName":"T","thingTypeName":"Y""#,
        );
        check(
            Operation::Deleted,
            &RegistryChange::Group {
                group: GroupRecord {
                    name: "G".parse().unwrap(),
                    uuid: "G-id".into(),
                    parent: Some("P".parse().unwrap()),
                    description: String::new(),
                    attributes: Attributes::default(),
                    version: 3,
                    created_at: AT,
                },
                ancestors: vec![group("R"), group("P")],
            },
            "thingGroup/G/deleted",
            r#""eventType":"THING_GROUP_EVENT","thingGroupId":"G-id","thingGroupName":"G","versionNumber":3,"parentGroupName":"P","parentGroupId":"P-id","description":"","rootToParentThingGroups":[{"groupArn":"thinggroup/R","groupId":"R-id"},{"groupArn":"thinggroup/P","groupId":"P-id"}],"attributes":{},"dynamicGroupMappingId":null"#,
        );
        check(
            Operation::Removed,
            &RegistryChange::Membership {
                device: device(),
                group: group("G"),
            },
            "thingGroupMembership/thingGroup/G/thing/T/removed",
            r#""eventType":"THING_GROUP_MEMBERSHIP_EVENT","groupArn":"thinggroup/G","groupId":"G-id","thingArn":"thing/T","thingId":"t-id","membershipId":"G-id/t-id""#,
        );
        check(
            Operation::Added,
            &RegistryChange::Hierarchy {
                parent: group("P"),
                child: group("C"),
            },
            "thingGroupHierarchy/thingGroup/P/childThingGroup/C/added",
            r#""eventType":"THING_GROUP_HIERARCHY_EVENT","thingGroupId":"P-id","thingGroupName":"P","childThingGroupId":"C-id","childThingGroupName":"C""#,
        );
    }

    #[track_caller]
    fn check(operation: Operation, change: &RegistryChange, topic: &str, members: &str) {
        assert_eq!(change.topic(operation), format!("$hub/events/{topic}"));
        let payload = change.payload(&crate::shadows::tests::NoPolicies);
        assert_eq!(payload.to_string(), format!("{{{members}}}"));
    }
}
