//! The table of operations: one entry is a route, the access it needs and its part of the document.

mod live;
mod phone;
mod records;
mod session;
mod users;

use axum::routing::{MethodRouter, delete, get, post, put};

use crate::api::Shared;
use crate::stream;

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everyone.
    Public,
    /// Whoever is signed in; what is seen depends on who it is.
    SignedIn,
    /// Administrators.
    Admin,
}

/// One operation.
pub struct Route {
    /// HTTP method, lower case as in the document.
    pub method: &'static str,
    /// Path with `{name}` for its parameter, as in the router and in the document.
    pub path: &'static str,
    /// `operationId`.
    pub id: &'static str,
    /// One line on what it does.
    pub summary: &'static str,
    /// Who may call it.
    pub access: Access,
    /// Whether it takes the parameters of a long list.
    pub paged: bool,
    /// Schema of the body it takes.
    pub takes: Option<&'static str>,
    /// Status of success.
    pub status: u16,
    /// Schema of the body it gives, `None` for an empty one.
    pub gives: Option<&'static str>,
    /// What it refuses with, beyond what its access implies.
    pub refuses: &'static [u16],
    pub(crate) mount: fn() -> MethodRouter<Shared>,
}

impl Route {
    const fn new(
        method: &'static str,
        path: &'static str,
        id: &'static str,
        access: Access,
        mount: fn() -> MethodRouter<Shared>,
    ) -> Self {
        Self {
            method,
            path,
            id,
            summary: "",
            access,
            paged: false,
            takes: None,
            status: 200,
            gives: None,
            refuses: &[],
            mount,
        }
    }

    const fn about(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    const fn takes(mut self, schema: &'static str) -> Self {
        self.takes = Some(schema);
        self
    }

    const fn gives(mut self, status: u16, schema: Option<&'static str>) -> Self {
        self.status = status;
        self.gives = schema;
        self
    }

    const fn refuses(mut self, with: &'static [u16]) -> Self {
        self.refuses = with;
        self
    }

    const fn paged(mut self) -> Self {
        self.paged = true;
        self
    }
}

/// Every operation there is.
pub const ROUTES: &[Route] = &[
    Route::new("get", "/api/health", "health", Access::Public, || get(live::health))
        .about("Whether the server takes calls")
        .gives(200, Some("Health")),
    Route::new("get", "/api/openapi.json", "document", Access::Public, || get(live::document))
        .about("This document")
        .gives(200, Some("Document")),
    Route::new("post", "/api/session", "signIn", Access::Public, || post(session::sign_in))
        .about("Sign in by account and password; sets the cookie and gives the same token")
        .takes("SignIn")
        .gives(201, Some("SessionToken"))
        .refuses(&[401, 429]),
    Route::new("post", "/api/session/link", "redeemLink", Access::Public, || post(session::redeem))
        .about("Sign in by a one-time link's token, which is spent by it")
        .takes("RedeemLink")
        .gives(201, Some("SessionToken"))
        .refuses(&[401, 429]),
    Route::new("get", "/api/session", "session", Access::SignedIn, || get(session::current))
        .about("Who is signed in")
        .gives(200, Some("Session")),
    Route::new("delete", "/api/session", "signOut", Access::SignedIn, || delete(session::sign_out))
        .about("Sign out; the token and the cookie are worth nothing afterwards")
        .gives(204, None),
    Route::new("get", "/api/events", "events", Access::SignedIn, || get(stream::events))
        .about("Live events as text/event-stream: a snapshot, then each change")
        .gives(200, Some("LiveEvent"))
        .refuses(&[503]),
    Route::new("get", "/api/registrations", "registrations", Access::SignedIn, || {
        get(live::registrations)
    })
    .about("The bindings in force; a user sees its own")
    .gives(200, Some("RegistrationList")),
    Route::new("get", "/api/calls", "calls", Access::SignedIn, || get(live::calls))
        .about("The calls going on; a user sees its own")
        .gives(200, Some("LiveCallList")),
    Route::new("delete", "/api/calls/{id}", "hangUp", Access::Admin, || delete(live::hang_up))
        .about("End a call both ways")
        .gives(204, None)
        .refuses(&[404]),
    Route::new("post", "/api/calls/{id}/recording/pause", "pauseRecording", Access::Admin, || {
        post(live::pause_recording)
    })
    .about("Leave out what is said from now on in a call that is being recorded")
    .gives(204, None)
    .refuses(&[404]),
    Route::new(
        "post",
        "/api/calls/{id}/recording/resume",
        "resumeRecording",
        Access::Admin,
        || post(live::resume_recording),
    )
    .about("Record a call again whose recording rests")
    .gives(204, None)
    .refuses(&[404]),
    Route::new("get", "/api/records", "records", Access::SignedIn, || get(records::list))
        .about("Call records, newest first; a user sees its own")
        .paged()
        .gives(200, Some("RecordPage")),
    Route::new("get", "/api/tenants", "tenants", Access::Admin, || get(users::tenants))
        .about("The domains served")
        .gives(200, Some("TenantList")),
    Route::new("get", "/api/users", "users", Access::Admin, || get(users::list))
        .about("Users in alphabetical order")
        .paged()
        .gives(200, Some("UserPage")),
    Route::new("post", "/api/users", "addUser", Access::Admin, || post(users::add))
        .about("Add a user")
        .takes("AddUser")
        .gives(201, Some("User"))
        .refuses(&[404, 409]),
    Route::new("delete", "/api/users/{account}", "removeUser", Access::Admin, || {
        delete(users::remove)
    })
    .about("Remove a user with its sessions and registrations")
    .gives(204, None)
    .refuses(&[404, 422]),
    Route::new("put", "/api/users/{account}/password", "setPassword", Access::Admin, || {
        put(users::set_password)
    })
    .about("Set a user's password; ends its sessions")
    .takes("SetPassword")
    .gives(204, None)
    .refuses(&[404]),
    Route::new("get", "/api/phone/session", "phoneSession", Access::SignedIn, || {
        get(phone::session)
    })
    .about("A short-lived SIP token and the account's facts for the web phone")
    .gives(200, Some("PhoneSession"))
    .refuses(&[404]),
    Route::new("post", "/api/phone/session", "openPhoneSession", Access::SignedIn, || {
        post(phone::session)
    })
    .about("The same, for clients that must not cache")
    .gives(200, Some("PhoneSession"))
    .refuses(&[404]),
];
