//! The routes of REST v1 and the shapes of what they take and answer, as one table; the OpenAPI
//! description is printed from it.

use serde_json::{Map, Value, json};

/// One route.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Route {
    /// `GET`, `POST` or `DELETE`.
    pub method: &'static str,
    /// Its path, with `{parameters}`.
    pub path: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// Names of query parameters; none is required unless it ends in `!`.
    pub query: &'static [&'static str],
    /// The shape of the body it takes.
    pub takes: Option<&'static str>,
    /// The shape of what it answers; `[…]` is a [`crate::Page`] of it, `…*` is a stream of it, one
    /// JSON object to a line; `text` is plain text.
    pub answers: &'static str,
}

const fn route(
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    query: &'static [&'static str],
    takes: Option<&'static str>,
    answers: &'static str,
) -> Route {
    Route {
        method,
        path,
        summary,
        query,
        takes,
        answers,
    }
}

const PAGE: &[&str] = &["after", "limit"];

/// All routes.
#[rustfmt::skip]
pub const ROUTES: &[Route] = &[
    route("GET", "/api/v1/devices", "The devices, by name.", PAGE, None, "[Device]"),
    route("POST", "/api/v1/devices", "Registers a device, issues its key and certificate and attaches a policy.", &[], Some("NewDevice"), "IssuedDevice"),
    route("GET", "/api/v1/devices/{id}", "A device with its certificates, groups and connection.", &[], None, "DeviceDetails"),
    route("DELETE", "/api/v1/devices/{id}", "Removes a device with the certificates that are only its own.", &[], None, "Done"),
    route("POST", "/api/v1/devices/{id}/disable", "Deactivates its certificates and ends its connections.", &[], None, "DeviceDetails"),
    route("POST", "/api/v1/devices/{id}/enable", "Activates its certificates that are not revoked.", &[], None, "DeviceDetails"),
    route("GET", "/api/v1/devices/{id}/timeline", "What happened to a device or client, oldest first; `since` in milliseconds since the epoch.", &["since"], None, "[Entry]"),
    route("GET", "/api/v1/certificates", "The certificates, newest first.", PAGE, None, "[Certificate]"),
    route("POST", "/api/v1/certificates/{id}/revoke", "Revokes a certificate for good and ends its connections.", &[], None, "Certificate"),
    route("GET", "/api/v1/policies", "The policies, by name.", PAGE, None, "[Policy]"),
    route("POST", "/api/v1/policies", "Creates a policy.", &[], Some("NewPolicy"), "PolicyDetails"),
    route("GET", "/api/v1/policies/{name}", "A policy with its text in force and its targets.", &[], None, "PolicyDetails"),
    route("POST", "/api/v1/policies/{name}/attach", "Attaches a policy to a device's certificates.", &[], Some("PolicyTarget"), "Done"),
    route("POST", "/api/v1/policies/{name}/detach", "Detaches a policy from a device's certificates.", &[], Some("PolicyTarget"), "Done"),
    route("POST", "/api/v1/explain", "Whether a device may do something, and why.", &[], Some("Question"), "Explanation"),
    route("GET", "/api/v1/trace", "What happened to anybody; `follow=true` goes on as things happen.", &["failed", "follow"], None, "TraceLine*"),
    route("GET", "/api/v1/tail", "Messages of a topic filter as they are published.", &["filter!"], None, "Message*"),
    route("POST", "/api/v1/publish", "Publishes a message; answers when it is taken.", &[], Some("Publication"), "Done"),
    route("GET", "/api/v1/ledger", "How the ledger is: its size, its newest checkpoints, the policy to check it by.", &[], None, "Ledger"),
    route("GET", "/api/v1/ledger/entries", "Entries, oldest first: `from` an index, of an `actor` (KIND/NAME), an `object` (KIND/NAME) or `device`, with a `verb`, `since` and `until` in milliseconds since the epoch.", &["from", "limit", "actor", "object", "device", "verb", "since", "until"], None, "[LedgerEntry]"),
    route("GET", "/api/v1/ledger/entries/{index}", "One entry.", &[], None, "LedgerEntry"),
    route("GET", "/api/v1/ledger/proofs/{index}", "A C2SP tlog-proof of one entry, as text, with the entry as `extra`; against the newest final checkpoint.", &[], None, "text"),
    route("GET", "/api/v1/ledger/tail", "Entries as they are made, beginning at `from`, or behind the last.", &["from"], None, "LedgerEntry*"),
    route("GET", "/api/v1/ledger/state", "Compares everything the hub holds with what the ledger says it is.", &[], None, "LedgerState"),
    route("POST", "/api/v1/ledger/erasures", "Erases what hashes in the ledger stand for.", &[], Some("Erasure"), "Erased"),
    route("POST", "/api/v1/ledger/exports", "Records that the ledger is exported; to be asked before its tiles are read.", &[], None, "Ledger"),
    route("POST", "/api/v1/backups", "Records that a backup is made; the command line asks it before it copies the folder.", &[], None, "Done"),
    route("GET", "/api/v1/provisioning/attempts", "How devices tried to become registered, step by step, newest first: all, those about a `certificate`, or the `failed` ones.", &["after", "limit", "certificate", "failed"], None, "[Attempt]"),
    route("GET", "/api/v1/status", "How the hub is.", &[], None, "Status"),
    route("GET", "/api/v1/openapi.json", "This description.", &[], None, "Done"),
];

/// A field and its type: `string`, `integer`, `boolean`, `[…]` for a list, or the name of a shape.
/// A field that ends in `?` may be absent or null.
type Field = (&'static str, &'static str);

#[rustfmt::skip]
const SHAPES: &[(&str, &[Field])] = &[
    ("Answer", &[("principal?", "string"), ("decision", "Decision"), ("connect?", "Decision")]),
    ("Attempt", &[("number", "integer"), ("at", "integer"), ("flow", "string"), ("client_id", "string"), ("certificate?", "string"), ("ca?", "string"), ("template?", "string"), ("address?", "string"), ("refused?", "string"), ("steps", "[AttemptStep]"), ("not_reached", "[string]")]),
    ("AttemptStep", &[("step", "string"), ("reason?", "string"), ("note", "string")]),
    ("Certificate", &[("id", "string"), ("status", "string"), ("devices", "[string]"), ("policies", "[string]"), ("not_before", "integer"), ("not_after", "integer"), ("created_at", "integer")]),
    ("Connection", &[("connected", "boolean"), ("address?", "string"), ("connected_at?", "integer"), ("keep_alive_seconds", "integer"), ("subscriptions", "[Subscription]")]),
    ("Decision", &[("outcome", "string"), ("reason", "string"), ("action", "string"), ("resource", "string"), ("policy?", "string"), ("statement?", "integer"), ("text?", "string"), ("miss?", "string"), ("variables", "[Variable]"), ("remedy?", "string")]),
    ("Device", &[("id", "string"), ("device_type?", "string"), ("attributes", "object"), ("connected", "boolean"), ("created_at", "integer"), ("modified_at", "integer")]),
    ("DeviceDetails", &[("device", "Device"), ("certificates", "[Certificate]"), ("groups", "[string]"), ("connection?", "Connection")]),
    ("Done", &[]),
    ("Entry", &[("at", "integer"), ("kind", "string"), ("reason", "string"), ("message", "string"), ("principal?", "string"), ("address?", "string"), ("decision?", "Decision")]),
    ("Erased", &[("erased", "boolean")]),
    ("Erasure", &[("operator?", "string"), ("address?", "string"), ("object?", "string")]),
    ("Error", &[("message", "string"), ("reason", "string")]),
    ("Explanation", &[("allowed", "boolean"), ("answers", "[Answer]")]),
    ("IssuedDevice", &[("id", "string"), ("certificate_id", "string"), ("certificate_pem", "string"), ("private_key_pem", "string"), ("root_ca_pem", "string"), ("policy", "string")]),
    ("Ledger", &[("origin", "string"), ("size", "integer"), ("signed", "integer"), ("final_size", "integer"), ("checkpoint?", "string"), ("final_checkpoint?", "string"), ("policy", "string"), ("require_cosigned", "boolean"), ("public", "boolean"), ("alarms", "[string]")]),
    ("LedgerActor", &[("kind", "string"), ("name?", "string"), ("pseudonym?", "string"), ("credential?", "string"), ("address?", "string"), ("address_pseudonym?", "string")]),
    ("LedgerChange", &[("kind", "string"), ("id", "string"), ("of?", "string"), ("before?", "string"), ("after?", "string")]),
    ("LedgerEntry", &[("index", "integer"), ("at", "integer"), ("actor", "LedgerActor"), ("verb", "string"), ("changes", "[LedgerChange]"), ("part?", "[integer]"), ("detail?", "object"), ("request?", "string"), ("previous?", "integer"), ("bytes", "string")]),
    ("LedgerState", &[("agrees", "boolean"), ("entries", "integer"), ("objects", "integer"), ("differences", "[string]")]),
    ("Message", &[("topic", "string"), ("text?", "string"), ("base64?", "string"), ("qos", "integer"), ("retained", "boolean"), ("client_id?", "string"), ("published_at", "integer"), ("missed", "integer")]),
    ("NewDevice", &[("id", "string"), ("policy?", "string")]),
    ("NewPolicy", &[("name", "string"), ("document", "string")]),
    ("Policy", &[("name", "string"), ("version", "integer"), ("created_at", "integer"), ("modified_at", "integer")]),
    ("PolicyDetails", &[("policy", "Policy"), ("document", "string"), ("targets", "[string]")]),
    ("PolicyTarget", &[("device", "string")]),
    ("Publication", &[("topic", "string"), ("text?", "string"), ("base64?", "string"), ("qos?", "integer"), ("retain?", "boolean")]),
    ("Question", &[("device", "string"), ("action", "string"), ("topic?", "string")]),
    ("Status", &[("version", "string"), ("started_at", "integer"), ("uptime_seconds", "integer"), ("connections", "integer"), ("sessions", "integer"), ("subscriptions", "integer"), ("devices", "integer"), ("messages_in", "integer"), ("messages_out", "integer"), ("refusals", "integer"), ("store", "string")]),
    ("Subscription", &[("filter", "string"), ("qos", "integer")]),
    ("TraceLine", &[("number", "integer"), ("client_id?", "string"), ("failed", "boolean"), ("entry", "Entry")]),
    ("Variable", &[("name", "string"), ("value?", "string"), ("note?", "string")]),
];

/// The description of REST v1, as OpenAPI 3.1.
#[must_use]
pub fn openapi() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let methods = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Value::Object(methods) = methods {
            methods.insert(route.method.to_ascii_lowercase(), operation(route));
        }
    }
    let schemas: Map<_, _> = SHAPES
        .iter()
        .map(|(name, fields)| ((*name).to_owned(), object(fields)))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sekisho REST v1",
            "version": "1",
            "description": "For operators. Times are in milliseconds since the Unix epoch. \
                            Everything that is refused is answered with an Error.",
        },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas,
        },
    })
}

fn operation(route: &Route) -> Value {
    let in_path = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| parameter(name, "path", true));
    let in_query = route.query.iter().map(|name| {
        let required = name.ends_with('!');
        parameter(name.trim_end_matches('!'), "query", required)
    });
    let parameters: Vec<_> = in_path.chain(in_query).collect();
    let mut operation = json!({
        "summary": route.summary,
        "parameters": parameters,
        "responses": {
            "200": answer(route.answers),
            "default": {
                "description": "It was refused.",
                "content": { "application/json": { "schema": schema("Error") } },
            },
        },
    });
    if let Some(shape) = route.takes {
        operation["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": schema(shape) } },
        });
    }
    operation
}

fn parameter(name: &str, place: &str, required: bool) -> Value {
    json!({ "name": name, "in": place, "required": required, "schema": { "type": "string" } })
}

fn answer(shape: &str) -> Value {
    if shape == "text" {
        return json!({
            "description": "It was done.",
            "content": { "text/plain": { "schema": { "type": "string" } } },
        });
    }
    if let Some(shape) = shape.strip_suffix('*') {
        return json!({
            "description": "One object to a line.",
            "content": { "application/x-ndjson": { "schema": schema(shape) } },
        });
    }
    let schema = match shape
        .strip_prefix('[')
        .and_then(|item| item.strip_suffix(']'))
    {
        Some(item) => json!({
            "type": "object",
            "properties": {
                "items": { "type": "array", "items": schema(item) },
                "next": { "type": "string" },
            },
            "required": ["items"],
        }),
        None => schema(shape),
    };
    json!({
        "description": "It was done.",
        "content": { "application/json": { "schema": schema } },
    })
}

fn object(fields: &[Field]) -> Value {
    let required: Vec<_> = fields
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !name.ends_with('?'))
        .collect();
    let properties: Map<_, _> = fields
        .iter()
        .map(|(name, kind)| (name.trim_end_matches('?').to_owned(), schema(kind)))
        .collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

fn schema(kind: &str) -> Value {
    match kind {
        "string" | "integer" | "boolean" | "object" => json!({ "type": kind }),
        list if list.starts_with('[') => {
            let item = list.trim_start_matches('[').trim_end_matches(']');
            json!({ "type": "array", "items": schema(item) })
        }
        shape => json!({ "$ref": format!("#/components/schemas/{shape}") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_the_published_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/openapi-v1.json");
        let printed = format!("{:#}\n", openapi());
        if std::env::var_os("SEKISHO_WRITE_GOLDEN").is_some() {
            std::fs::write(path, &printed).unwrap();
        }
        let published = std::fs::read_to_string(path).unwrap();
        assert!(
            published == printed,
            "run this test again with SEKISHO_WRITE_GOLDEN=1 and look at the difference"
        );
    }

    #[test]
    fn every_shape_that_is_named_is_described() {
        let text = openapi().to_string();
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(SHAPES.iter().any(|(shape, _)| *shape == name), "{name}");
        }
    }

    #[track_caller]
    fn check<T: serde::de::DeserializeOwned + serde::Serialize>(shape: &str, text: &str) {
        let value: T = serde_json::from_str(text).unwrap();
        let written = serde_json::to_value(&value).unwrap();
        let fields = SHAPES.iter().find(|(name, _)| *name == shape).unwrap().1;
        let known: Vec<_> = fields
            .iter()
            .map(|(name, _)| name.trim_end_matches('?'))
            .collect();
        for name in written.as_object().unwrap().keys() {
            assert!(
                known.contains(&name.as_str()),
                "{shape} does not describe {name}"
            );
        }
        for (name, _) in fields.iter().filter(|(name, _)| !name.ends_with('?')) {
            assert!(written.get(*name).is_some(), "{shape} has no {name}");
        }
    }

    #[test]
    fn shapes_are_those_of_the_types() {
        check::<crate::Error>("Error", r#"{"message":"m","reason":"r.r"}"#);
        check::<crate::NewDevice>("NewDevice", r#"{"id":"d"}"#);
        check::<crate::Publication>("Publication", r#"{"topic":"t","text":"x"}"#);
        check::<crate::Question>("Question", r#"{"device":"d","action":"connect"}"#);
        check::<crate::Certificate>(
            "Certificate",
            r#"{"id":"0","status":"PENDING","devices":[],"policies":[],"not_before":1,
                "not_after":2,"created_at":3}"#,
        );
        check::<crate::Message>(
            "Message",
            r#"{"topic":"t","text":"x","qos":0,"retained":false,"published_at":1,"missed":0}"#,
        );
        check::<crate::TraceLine>(
            "TraceLine",
            r#"{"number":1,"client_id":null,"failed":true,"entry":{"at":1,"kind":"k","reason":"r",
                "message":"m","principal":null,"address":null,"decision":{"outcome":"not-allowed",
                "reason":"r","action":"a","resource":"b","policy":null,"statement":null,
                "text":null,"miss":null,"variables":[],"remedy":null}}}"#,
        );
        check::<crate::Status>(
            "Status",
            r#"{"version":"1","started_at":1,"uptime_seconds":1,"connections":1,"sessions":1,
                "subscriptions":1,"devices":1,"messages_in":1,"messages_out":1,"refusals":1,
                "store":"healthy"}"#,
        );
    }
}
