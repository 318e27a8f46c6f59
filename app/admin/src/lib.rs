//! The HTTP API, its document and the delivery of the pages.
//!
//! ```text
//!   net::http --request, Source--> headers --> route table -> guard -> handler --> Backend
//!                                         \-> pages                        (in app/whimbrel)
//! ```
//!
//! Contract: [`router`] gives one axum service. It opens no socket and keeps no data; everything it
//! knows it asks of the [`Backend`]. One table ([`ROUTES`]) holds every operation with the access
//! it needs: the router, the guard and the OpenAPI document ([`document`]) are made from it, so
//! none can say something else than the others. The listener puts the peer's address into each
//! request as a [`Source`] extension; requests without it share one source.
//!
//! A browser signs in for an HttpOnly cookie (`SameSite=Strict`) and must send `X-Whimbrel: 1` with
//! every change; a program sends `Authorization: Bearer`. Errors are `application/problem+json`
//! (RFC 9457).
//!
//! ```
//! let document = admin::document();
//! let sign_in = &document["paths"]["/api/session"]["post"];
//! assert_eq!(sign_in["security"], serde_json::json!([])); // open to everyone
//! let hang_up = &document["paths"]["/api/calls/{id}"]["delete"];
//! assert_eq!(hang_up["security"][0]["bearer"], serde_json::json!(["admin"]));
//! ```
//!
//! It does not hash passwords, mint tokens, speak TLS or serve metrics (they have their own
//! listener). Start reading at `route.rs`, then `guard.rs`.

mod api;
mod backend;
mod event;
mod extract;
mod guard;
mod headers;
mod limiter;
mod model;
mod openapi;
mod pages;
mod problem;
mod route;
mod stream;

pub use api::{Options, Source, router};
pub use backend::{Answer, Backend, BackendError, EventStream};
pub use event::LiveEvent;
pub use limiter::{LoginLimiter, LoginLimits};
pub use model::{
    CallState, Health, LiveCall, MediaQuality, Page, PageRequest, PhoneAccount, Record,
    Registration, Role, Scope, Session, Tenant, User,
};
pub use openapi::document;
pub use pages::{PageFile, Pages};
pub use problem::Problem;
pub use route::{Access, ROUTES, Route};
