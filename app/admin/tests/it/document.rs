//! The document says what the router does, and the file in `docs/` says what the document says.

use admin::{Access, Health, LiveEvent, Page, ROUTES, Tenant, User};
use serde_json::{Value, json};

use crate::http::Site;
use crate::live;

/// Set to write the file instead of comparing it.
const WRITE: &str = "WHIMBREL_WRITE_DOCS";

#[tokio::test]
async fn every_route_is_in_the_document_and_every_operation_is_routed() {
    let site = Site::new();
    let document = site.get("/api/openapi.json", "").await.json();
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations += 1;
            let route = ROUTES.iter().find(|r| r.path == path && r.method == method);
            let route = route.unwrap_or_else(|| panic!("{method} {path} is not in the table"));
            assert!(operation["security"].is_array(), "{method} {path} says who may call it");
            assert_eq!(operation["operationId"], route.id);
            assert!(!operation["summary"].as_str().unwrap().is_empty());
            let path = path.replace("{id}", "x").replace("{account}", "x%40example.com");
            let reply = site.call(&method.to_uppercase(), &path, "", None).await;
            // Reached: not the fallback's 404 or 405, and guarded as the document says.
            match route.access {
                Access::Public => {
                    assert!(![401, 404, 405].contains(&reply.status.as_u16()), "{path}")
                }
                _ => drop(reply.problem(401, "not-signed-in")),
            }
        }
    }
    assert_eq!(operations, ROUTES.len());
}

#[tokio::test]
async fn a_user_is_kept_out_of_every_operation_of_administrators() {
    let site = Site::new();
    let alice = site.user("alice@example.com").await;
    for route in ROUTES.iter().filter(|route| route.access == Access::Admin) {
        let path = route.path.replace("{id}", "x").replace("{account}", "bob%40example.com");
        let reply = site.call(&route.method.to_uppercase(), &path, &alice, Some(json!({}))).await;
        reply.problem(403, "forbidden");
    }
    assert!(site.fake.state.lock().unwrap().users.contains_key("bob@example.com"));
}

#[test]
fn security_names_the_role_an_operation_needs() {
    let document = admin::document();
    for route in ROUTES {
        let security = &document["paths"][route.path][route.method]["security"];
        match route.access {
            Access::Public => assert_eq!(security, &json!([])),
            Access::SignedIn => assert_eq!(security, &json!([{ "bearer": [] }, { "cookie": [] }])),
            Access::Admin => assert_eq!(security[0], json!({ "bearer": ["admin"] })),
        }
    }
    let public: Vec<&str> =
        ROUTES.iter().filter(|r| r.access == Access::Public).map(|r| r.id).collect();
    assert_eq!(public, ["health", "document", "signIn", "redeemLink"], "default is deny");
}

#[test]
fn every_reference_leads_somewhere() {
    let document = admin::document();
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 30);
    for reference in references {
        let target = document.pointer(reference.trim_start_matches('#'));
        assert!(target.is_some(), "{reference}");
    }
}

#[test]
fn schemas_say_what_the_types_write() {
    let user = User { account: "a@b".into(), created_at_ms: 1 };
    let users = Page { items: vec![user.clone()], next: None };
    let call = live::call("c", "alice", "bob");
    let registration = live::registration("r", "alice");
    fits("User", &json!(user));
    fits("UserPage", &json!(users));
    fits("Tenant", &json!(Tenant { domain: "d".into(), users: 1 }));
    fits("Health", &json!(Health { ready: true, version: "1".into() }));
    fits("LiveCall", &json!(call));
    fits("Registration", &json!(registration));
    let record = live::record("s", "alice", "bob");
    fits("Record", &json!(record));
    fits("MediaQuality", &json!(record.caller_media));
    let events = [
        LiveEvent::Snapshot { registrations: vec![], calls: vec![] },
        LiveEvent::Registered { registration },
        LiveEvent::Unregistered { id: "r".into(), aor: "a".into() },
        LiveEvent::Call { call },
        LiveEvent::CallEnded {
            id: "c".into(),
            from: "a".into(),
            to: "b".into(),
            cause: "bye".into(),
            ended_at_ms: 1,
            caller_media: None,
            callee_media: None,
        },
    ];
    let variants = &admin::document()["components"]["schemas"]["LiveEvent"]["oneOf"];
    for event in &events {
        let written = json!(event);
        assert_eq!(written["type"], event.name());
        let mut variants = variants.as_array().unwrap().iter();
        let schema = variants.find(|schema| schema["properties"]["type"]["const"] == event.name());
        same_fields(event.name(), schema.unwrap(), &written);
    }
}

#[tokio::test]
async fn responses_made_by_hand_fit_their_schemas_too() {
    let site = Site::new();
    let sign_in = json!({ "account": "alice@example.com", "password": crate::fake::PASSWORD });
    let opened = site.call("POST", "/api/session", "", Some(sign_in)).await.json();
    fits("SessionToken", &opened);
    let token = opened["token"].as_str().unwrap();
    fits("Session", &site.get("/api/session", token).await.json());
    fits("PhoneSession", &site.get("/api/phone/session", token).await.json());
    fits("Problem", &site.get("/api/users", token).await.json());
}

#[test]
fn the_checked_in_document_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/api/openapi.json");
    let text = serde_json::to_string_pretty(&admin::document()).unwrap() + "\n";
    if std::env::var_os(WRITE).is_some() {
        std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        return;
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == text,
        "docs/reference/api/openapi.json is out of date: run `{WRITE}=1 cargo test -p admin`"
    );
}

#[track_caller]
fn fits(name: &str, written: &Value) {
    same_fields(name, &admin::document()["components"]["schemas"][name], written);
}

#[track_caller]
fn same_fields(name: &str, schema: &Value, written: &Value) {
    let properties = schema["properties"].as_object().unwrap();
    let written = written.as_object().unwrap();
    for field in written.keys() {
        assert!(properties.contains_key(field), "{name}.{field} is not in its schema");
    }
    for field in schema["required"].as_array().unwrap() {
        assert!(written.contains_key(field.as_str().unwrap()), "{name} has no {field}");
    }
}

fn collect<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => {
            into.extend(map.get("$ref").and_then(Value::as_str));
            map.values().for_each(|value| collect(value, into));
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, into)),
        _ => {}
    }
}
