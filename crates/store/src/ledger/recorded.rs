//! What the ledger records of `registry.db`: which tables, and what of each row.

use ledger::Object;
use rusqlite::types::Value;

/// A row as it is handed over: the values of [`Table::columns`], in their order.
pub(super) type Row = Vec<Value>;

/// A table whose changes are recorded.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// All of its columns that count, the key first.
    pub(super) columns: &'static [&'static str],
    /// An update that does not fulfil this changes nothing that counts.
    pub(super) update_when: Option<&'static str>,
    /// Which object a row is.
    pub(super) object: fn(&Row) -> Object,
    /// What of a row its fingerprint is made of; `None` when the object does not exist.
    pub(super) content: fn(&Row) -> Option<Vec<u8>>,
}

/// The tables of `registry.db` that nobody manages: they record what happened, or are the ledger's.
#[cfg(test)]
pub(super) const OTHER_TABLES: &[&str] = &[
    "timeline",
    "failed_connections",
    "provisioning_attempts",
    "ownership_tokens",
    "ledger_outbox",
    "ledger_actors",
    "ledger_state",
    "ledger_people",
    "ledger_salts",
];

pub(super) const TABLES: &[Table] = &[
    Table {
        name: "devices",
        columns: &[
            "id",
            "uuid",
            "type",
            "attributes",
            "version",
            "created_at",
            "modified_at",
        ],
        update_when: None,
        object: |row| named("device", row),
        content: whole,
    },
    Table {
        name: "types",
        columns: &[
            "name",
            "uuid",
            "description",
            "searchable_attributes",
            "deprecated_at",
            "created_at",
        ],
        update_when: None,
        object: |row| named("type", row),
        content: whole,
    },
    Table {
        name: "groups",
        columns: &[
            "name",
            "uuid",
            "parent",
            "description",
            "attributes",
            "version",
            "created_at",
        ],
        update_when: None,
        object: |row| named("group", row),
        content: whole,
    },
    Table {
        name: "memberships",
        columns: &["device", "group_name"],
        update_when: None,
        object: |row| Object {
            kind: "membership".into(),
            id: format!("device/{}", text(row, 0)),
            of: Some(format!("group/{}", text(row, 1))),
        },
        content: whole,
    },
    Table {
        name: "certificates",
        columns: &[
            "id",
            "status",
            "pem",
            "ca_id",
            "not_before",
            "not_after",
            "customer_version",
            "generation_id",
            "created_at",
            "modified_at",
        ],
        update_when: None,
        object: |row| named("certificate", row),
        content: whole,
    },
    Table {
        name: "ca_certificates",
        columns: &[
            "id",
            "subject",
            "status",
            "auto_registration",
            "mode",
            "pem",
            "template_body",
            "template_name",
            "role",
            "configured",
            "not_before",
            "not_after",
            "customer_version",
            "generation_id",
            "created_at",
            "modified_at",
        ],
        update_when: None,
        object: |row| named("ca", row),
        content: whole,
    },
    Table {
        name: "provisioning_templates",
        columns: &[
            "name",
            "kind",
            "description",
            "enabled",
            "role",
            "default_version",
            "next_version",
            "created_at",
            "modified_at",
        ],
        update_when: None,
        object: |row| named("template", row),
        content: whole,
    },
    Table {
        name: "provisioning_template_versions",
        columns: &["template", "version", "body", "created_at"],
        update_when: None,
        object: |row| Object {
            kind: "template-version".into(),
            id: number(row, 1).to_string(),
            of: Some(format!("template/{}", text(row, 0))),
        },
        content: whole,
    },
    Table {
        name: "attachments",
        columns: &["device", "principal", "exclusive"],
        update_when: None,
        object: |row| Object {
            kind: "attachment".into(),
            id: text(row, 1).into(),
            of: Some(format!("device/{}", text(row, 0))),
        },
        content: whole,
    },
    Table {
        name: "policies",
        columns: &[
            "name",
            "default_version",
            "next_version",
            "generation_id",
            "created_at",
            "modified_at",
        ],
        update_when: None,
        object: |row| named("policy", row),
        content: whole,
    },
    Table {
        name: "policy_versions",
        columns: &["policy", "version", "document", "created_at"],
        update_when: None,
        object: |row| Object {
            kind: "policy-version".into(),
            id: number(row, 1).to_string(),
            of: Some(format!("policy/{}", text(row, 0))),
        },
        content: whole,
    },
    Table {
        name: "policy_targets",
        columns: &["target", "policy"],
        update_when: None,
        object: |row| Object {
            kind: "policy-attachment".into(),
            id: format!("policy/{}", text(row, 1)),
            of: Some(text(row, 0).into()),
        },
        content: whole,
    },
    Table {
        name: "tags",
        columns: &["resource", "key", "value"],
        update_when: None,
        object: |row| Object {
            kind: "tag".into(),
            id: text(row, 1).into(),
            of: Some(text(row, 0).into()),
        },
        content: whole,
    },
    Table {
        name: "event_configurations",
        columns: &["family", "enabled"],
        update_when: None,
        object: |row| named("events", row),
        content: whole,
    },
    Table {
        name: "settings",
        columns: &["name", "value"],
        update_when: None,
        object: |row| named("setting", row),
        content: whole,
    },
    Table {
        name: "shadows",
        columns: &["device", "module", "name", "document"],
        // What devices report is not recorded, and must not cost what recording costs.
        update_when: Some(
            "OLD.desired_version IS NOT NEW.desired_version \
             OR (OLD.document IS NULL) IS NOT (NEW.document IS NULL)",
        ),
        object: shadow,
        content: desired,
    },
];

fn named(kind: &str, row: &Row) -> Object {
    Object {
        kind: kind.into(),
        id: text(row, 0).into(),
        of: None,
    }
}

fn shadow(row: &Row) -> Object {
    let (device, module, name) = (text(row, 0), text(row, 1), text(row, 2));
    let of = if module.is_empty() {
        format!("device/{device}")
    } else {
        format!("device/{device}/modules/{module}")
    };
    Object {
        kind: "shadow".into(),
        id: name.into(),
        of: Some(of),
    }
}

/// The desired state of a shadow, when it has one.
fn desired(row: &Row) -> Option<Vec<u8>> {
    let document: serde_json::Value = serde_json::from_str(text(row, 3)).ok()?;
    let state = document.get("desired")?.get("state")?;
    (!state.is_null()).then(|| state.to_string().into_bytes())
}

/// Every value of the row: one byte for its type, four for its length, and the value.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the shape of every table's function"
)]
fn whole(row: &Row) -> Option<Vec<u8>> {
    let mut content = Vec::with_capacity(256);
    for value in row {
        let mut put = |kind: u8, bytes: &[u8]| {
            let length =
                u32::try_from(bytes.len()).expect("SQLite holds less than 4 GiB in a value");
            content.push(kind);
            content.extend_from_slice(&length.to_be_bytes());
            content.extend_from_slice(bytes);
        };
        match value {
            Value::Null => put(0, &[]),
            Value::Integer(number) => put(1, &number.to_be_bytes()),
            Value::Real(number) => put(2, &number.to_be_bytes()),
            Value::Text(text) => put(3, text.as_bytes()),
            Value::Blob(bytes) => put(4, bytes),
        }
    }
    Some(content)
}

fn text(row: &Row, at: usize) -> &str {
    match row.get(at) {
        Some(Value::Text(text)) => text,
        Some(Value::Null | Value::Integer(_) | Value::Real(_) | Value::Blob(_)) | None => "",
    }
}

fn number(row: &Row, at: usize) -> i64 {
    match row.get(at) {
        Some(Value::Integer(number)) => *number,
        Some(Value::Null | Value::Real(_) | Value::Text(_) | Value::Blob(_)) | None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Failure, Store};

    #[test]
    fn every_table_is_recorded_whole_or_named_as_not() {
        /// What may change in a shadow without an entry.
        const REPORTED: &[&str] = &["version", "at", "desired_version"];
        let store = Store::open_temporary().unwrap();
        let there: Vec<(String, String)> = store
            .read::<_, Failure>(|txn| {
                let mut statement = txn.file().prepare(
                    "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c
                     WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'",
                )?;
                let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .unwrap();
        assert!(!there.is_empty());
        for (table, column) in &there {
            let recorded = TABLES.iter().find(|recorded| recorded.name == table);
            match recorded {
                Some(recorded) => assert!(
                    recorded.columns.contains(&column.as_str())
                        || table == "shadows" && REPORTED.contains(&column.as_str()),
                    "a change of {table}.{column} would not be recorded"
                ),
                None => assert!(
                    OTHER_TABLES.contains(&table.as_str()),
                    "say in TABLES what of {table} is recorded"
                ),
            }
        }
    }
}
