//! The OpenAPI 3.1 document, made from the table of routes.

mod schema;

use serde_json::{Map, Value, json};

use crate::route::{Access, ROUTES, Route};

/// The whole document; the same for every server of this version.
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        item[route.method] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Whimbrel",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "The administration and phone API of a Whimbrel server.",
            "description": DESCRIPTION,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "securitySchemes": security_schemes(),
            "schemas": schema::all(),
        },
    })
}

const DESCRIPTION: &str = "\
    Times ending in `_at_ms` are Unix time in milliseconds, lengths of time end in `_ms`. \
    Errors are `application/problem+json` (RFC 9457) and carry `remedy`, and `field` and `value` \
    where one is at fault. \
    Changes that are signed in by cookie must carry the header `X-Whimbrel: 1`.";

fn security_schemes() -> Value {
    json!({
        "bearer": {
            "type": "http", "scheme": "bearer",
            "description": "The token of POST /api/session.",
        },
        "cookie": {
            "type": "apiKey", "in": "cookie", "name": "__Host-whimbrel",
            "description": "Set by POST /api/session. Changes need `X-Whimbrel: 1` as well.",
        },
    })
}

fn operation(route: &Route) -> Value {
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.summary,
        "security": security(route.access),
        "responses": responses(route),
    });
    let parameters = parameters(route);
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    if let Some(schema) = route.takes {
        operation["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": reference(schema) } },
        });
    }
    operation
}

/// OpenAPI 3.1 lets every scheme name the roles that are needed; an empty list is open to everyone.
fn security(access: Access) -> Value {
    match access {
        Access::Public => json!([]),
        Access::SignedIn => json!([{ "bearer": [] }, { "cookie": [] }]),
        Access::Admin => json!([{ "bearer": ["admin"] }, { "cookie": ["admin"] }]),
    }
}

fn parameters(route: &Route) -> Vec<Value> {
    let named = route.path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let mut list: Vec<Value> = named
        .map(|name| {
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
        })
        .collect();
    if route.paged {
        let limit = json!({ "type": "integer", "minimum": 1, "maximum": 200, "default": 50 });
        list.push(query("limit", "How many at most.", limit));
        let text = json!({ "type": "string", "maxLength": 256 });
        list.push(query("after", "The `next` of the page before.", text.clone()));
        list.push(query(
            "search",
            "Users: the beginning of an account. Calls: a party, `user@domain`.",
            text,
        ));
    }
    list
}

fn responses(route: &Route) -> Value {
    let mut responses = Map::new();
    let mut success = json!({ "description": "Done." });
    if let Some(schema) = route.gives {
        let kind = if route.id == "events" { "text/event-stream" } else { "application/json" };
        success["content"] = json!({ kind: { "schema": reference(schema) } });
    }
    responses.insert(route.status.to_string(), success);
    for status in refusals(route) {
        let refusal = json!({
            "description": meaning(status),
            "content": { "application/problem+json": { "schema": reference("Problem") } },
        });
        responses.insert(status.to_string(), refusal);
    }
    Value::Object(responses)
}

fn refusals(route: &Route) -> Vec<u16> {
    let mut list = route.refuses.to_vec();
    if route.access != Access::Public {
        list.push(401);
    }
    if route.access == Access::Admin || route.method != "get" {
        list.push(403);
    }
    if route.takes.is_some() {
        list.extend([400, 413, 415, 422]);
    }
    if route.paged {
        list.extend([400, 422]);
    }
    list.sort_unstable();
    list.dedup();
    list
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => "The request cannot be read.",
        401 => "Not signed in, or sign-in refused.",
        403 => "Not allowed, or the request may come from a foreign page.",
        404 => "What was named does not exist.",
        409 => "It exists already.",
        413 => "The body is too large.",
        415 => "The body is not JSON.",
        422 => "A field is not acceptable.",
        429 => "Too many attempts; `Retry-After` says how long to wait.",
        503 => "Not available now; `Retry-After` says when to ask again.",
        _ => "Refused.",
    }
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn query(name: &str, about: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "query", "description": about, "schema": schema })
}
