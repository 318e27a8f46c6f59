//! The shapes of requests and responses. A test compares them with what the types really write.

use serde_json::{Map, Value, json};

/// All schemas by name.
pub(super) fn all() -> Value {
    let mut all = Map::new();
    for part in [sessions(), people(), calls(), events(), lists()] {
        if let Value::Object(part) = part {
            all.extend(part);
        }
    }
    Value::Object(all)
}

fn sessions() -> Value {
    let roles = json!({ "type": "array", "items": { "enum": ["admin", "user"] }, "minItems": 1 });
    let facts = [("account", text()), ("roles", roles), ("expires_at_ms", time())];
    let mut with_token = facts.to_vec();
    with_token.push(("token", about(text(), "Absent when `cookie_only` was asked for.")));
    json!({
        "SignIn": object(&[
            ("account", about(text(), "`user@domain`, or the name of an administrator.")),
            ("password", secret()),
            ("cookie_only", json!({ "type": "boolean", "default": false })),
        ], &["cookie_only"]),
        "RedeemLink": object(&[
            ("token", secret()),
            ("cookie_only", json!({ "type": "boolean", "default": false })),
        ], &["cookie_only"]),
        "Session": object(&facts, &[]),
        "SessionToken": object(&with_token, &["token"]),
        "PhoneSession": object(&[
            ("aor", text()), ("wss_url", text()), ("expires_at_ms", time()),
            ("display_name", text()),
            ("token", about(text(), "Sent as `Authorization: Bearer` in REGISTER and INVITE.")),
        ], &[]),
        "Health": object(&[("ready", json!({ "type": "boolean" })), ("version", text())], &[]),
        "Document": { "type": "object", "description": "An OpenAPI 3.1 document." },
        "Problem": object(&[
            ("type", about(text(), "`urn:whimbrel:problem:` and the kind of problem.")),
            ("title", text()), ("status", count()), ("detail", text()), ("remedy", text()),
            ("field", text()), ("value", text()),
        ], &["field", "value"]),
    })
}

fn people() -> Value {
    let password = json!({ "type": "string", "minLength": 8, "maxLength": 256, "writeOnly": true });
    json!({
        "Tenant": object(&[("domain", text()), ("users", count())], &[]),
        "User": object(&[("account", text()), ("created_at_ms", time())], &[]),
        "AddUser": object(&[("account", text()), ("password", password.clone())], &[]),
        "SetPassword": object(&[("password", password)], &[]),
        "Registration": object(&[
            ("id", text()), ("aor", text()), ("contact", text()), ("transport", text()),
            ("source", text()), ("user_agent", nullable("string")), ("registered_at_ms", time()),
            ("expires_at_ms", time()),
        ], &[]),
    })
}

fn calls() -> Value {
    let codecs = json!({ "type": "array", "items": { "type": "string" } });
    json!({
        "LiveCall": object(&[
            ("id", text()), ("session_id", text()), ("call_id", text()),
            ("from", text()), ("to", text()),
            ("state", json!({ "enum": ["started", "ringing", "answered"] })),
            ("started_at_ms", time()), ("answered_at_ms", nullable("integer")),
            ("codecs", codecs.clone()),
        ], &[]),
        "MediaQuality": object(&[
            ("packets", count()), ("lost", count()), ("jitter_ms", json!({ "type": "number" })),
            ("rtt_ms", nullable("number")),
        ], &[]),
        "Record": object(&[
            ("session_id", text()), ("call_id", text()), ("from", text()), ("to", text()),
            ("answered", json!({ "type": "boolean" })), ("started_at_ms", time()),
            ("answered_at_ms", nullable("integer")), ("ended_at_ms", nullable("integer")),
            ("duration_ms", nullable("integer")), ("cause", nullable("string")),
            ("q850", nullable("integer")), ("ended_by", nullable("string")),
            ("status", nullable("integer")), ("codecs", codecs), ("source", text()),
            ("user_agent", nullable("string")), ("caller_media", quality()),
            ("callee_media", quality()),
        ], &[]),
    })
}

fn events() -> Value {
    let kind = |name: &str, mut fields: Vec<(&'static str, Value)>| {
        fields.push(("type", json!({ "const": name })));
        object(&fields, &[])
    };
    json!({
        "LiveEvent": {
            "description": "The data of one Server-Sent Event, whose name is the same as `type`.",
            "oneOf": [
                kind("snapshot", vec![
                    ("registrations", list("Registration")), ("calls", list("LiveCall")),
                ]),
                kind("registered", vec![("registration", of("Registration"))]),
                kind("unregistered", vec![("id", text()), ("aor", text())]),
                kind("call", vec![("call", of("LiveCall"))]),
                kind("call_ended", vec![
                    ("id", text()), ("from", text()), ("to", text()), ("cause", text()),
                    ("ended_at_ms", time()), ("caller_media", quality()),
                    ("callee_media", quality()),
                ]),
            ],
        },
    })
}

fn lists() -> Value {
    let page = |of: &str| object(&[("items", list(of)), ("next", nullable("string"))], &[]);
    json!({
        "TenantList": list("Tenant"),
        "RegistrationList": list("Registration"),
        "LiveCallList": list("LiveCall"),
        "UserPage": page("User"),
        "RecordPage": page("Record"),
    })
}

/// An object that has all of `fields` but the `optional` ones, and nothing else.
fn object(fields: &[(&str, Value)], optional: &[&str]) -> Value {
    let properties: Map<String, Value> =
        fields.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    let required: Vec<&str> =
        fields.iter().map(|(name, _)| *name).filter(|name| !optional.contains(name)).collect();
    json!({
        "type": "object", "properties": properties, "required": required,
        "additionalProperties": false,
    })
}

fn of(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn list(name: &str) -> Value {
    json!({ "type": "array", "items": of(name) })
}

/// What one side received, or nothing.
fn quality() -> Value {
    json!({ "oneOf": [of("MediaQuality"), { "type": "null" }] })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn secret() -> Value {
    json!({ "type": "string", "writeOnly": true })
}

fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn time() -> Value {
    json!({ "type": "integer", "minimum": 0, "description": "Unix time in milliseconds." })
}

fn nullable(kind: &str) -> Value {
    json!({ "type": [kind, "null"] })
}

fn about(mut schema: Value, description: &str) -> Value {
    schema["description"] = Value::from(description);
    schema
}
