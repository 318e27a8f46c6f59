//! Where phones are: the registrar (RFC 3261 §10.3, RFC 5626) and its location table.
//!
//! ```text
//!   REGISTER ─► Registrar::handle_register ─► RegisterPlan ─► Journal (one per shard)
//!                   │ at once, in memory                          │ one write per group
//!                   ▼                                             ▼
//!             LocationTable ◄── lookup(aor), by_key(binding)    Ok ─► 200 OK
//!             (shared by all shards, 256 stripes)               Err ─► taken back, 500
//! ```
//!
//! Contract
//! - A change is in memory when the plan is made, and in `DATA/location/` before `done` hears of
//!   it: whoever got a 200 is found again after `kill -9`. What could not be written is taken back.
//! - A binding carries its absolute expiry, so no restart and no replica prolongs or shortens it.
//! - One binding per instance and reg-id, or per Contact URI without instance. A refresh by
//!   another flow moves the binding there; its key stays, so calls in progress find the phone.
//! - Flows do not survive a restart: a UDP phone is reached by its address at once, one on a
//!   connection when it registers again.
//!
//! ```
//! use registrar::{Contact, Contacts, LocationTable, Origin, RegisterRequest, Registrar, Limits};
//! use sansio::{FlowId, Transport, WallTime};
//! use std::sync::Arc;
//!
//! let registrar = Registrar::new(Arc::new(LocationTable::new()), Limits::default());
//! let peer = "192.0.2.7:5060".parse().unwrap();
//! let flow = FlowId { node: 0, shard: 0, id: 1 };
//! let origin = Origin { flow, transport: Transport::Udp, local: peer, source: peer };
//! let contact = Contact::new("sip:alice@192.0.2.7");
//! let mut request = RegisterRequest::new("sip:alice@example.com", "call-1", 1, origin);
//! request.contacts = Contacts::List(vec![contact].into());
//! let now = WallTime::from_secs(1_000);
//! let plan = registrar.handle_register(now, &request).unwrap();
//! assert_eq!(plan.contact_lines(now), ["<sip:alice@192.0.2.7>;expires=600"]);
//! assert_eq!(registrar.table().lookup("sip:alice@example.com", now).len(), 1);
//! ```
//!
//! What this crate does not do: no authentication (the edge has done it), no routing, no SQL, no
//! push. It sends nothing.
//!
//! Start reading at [`Registrar`], then [`LocationTable`], then [`Location`].

mod binding;
mod codec;
mod core;
mod plan;
mod refusal;
mod request;
mod shell;
mod table;

pub use crate::core::{Limits, Registrar};
pub use binding::{Binding, BindingKey, NewBinding};
pub use codec::{Entry, decode_entry, encode_entry};
pub use plan::{Change, Changes, RegisterPlan};
pub use refusal::{Refusal, RefusalReason};
pub use request::{Contact, Contacts, Origin, RegisterRequest};
pub use shell::{Journal, JournalConfig, Location, LocationConfig, LocationShard, OnRegistered};
pub use table::{Bindings, LocationTable};
