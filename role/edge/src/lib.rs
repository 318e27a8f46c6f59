//! The edge: admission, authentication, forking, record-routing, dialog tracking (RFC 5853).
//!
//! ```text
//!   net shard ──Inbound──►┌──────────── EdgeCore ────────────┐──Outbound──► net shard
//!   other shards ──Note──►│ admit ─ authenticate ─ plan ─ fork│──Note──► the shard that owns it
//!   shells ────Answer────►│ response contexts · dialog tracks │──Question──► registrar, relay, records
//!                         └──────────────────────────────────┘──EdgeEvent──► the spine
//! ```
//!
//! Contract: sans-IO (see [`sansio`]); after any `handle_*` drain [`EdgeCore::poll_transmit`],
//! `poll_ask`, `poll_note` and `poll_event`, then sleep until [`EdgeCore::poll_timeout`]. One core
//! per shard; cores share nothing but keys and the snapshots behind [`Directory`], [`Locations`]
//! and [`Router`].
//!
//! What it does not do: it keeps no bindings (registrar), decides no route (router), moves no
//! packet (relay), writes no record (records). It imports none of them: see [`ports`](crate).
//!
//! Choices an integrator may trip over: a 3xx is the caller's to follow and passes as it is; of
//! several 2xx all pass, the media stays with the first; an answer nobody takes is acknowledged and
//! ended with BYE by us; a `tel:` number is a user of the caller's domain; `sips:` goes over TLS or
//! nowhere; a re-INVITE of a call this server does not remember (after a restart) is 481, all other
//! requests of it still pass; descriptions inside multipart bodies are refused with 415.
//!
//! Start reading at [`EdgeCore`], then `initial.rs` for a call's way in, `branch.rs` for its way on,
//! `branch_response.rs` and `upstream.rs` for the way back; `in_dialog.rs` for what follows.

mod access;
mod admission;
mod admit;
mod asker;
mod asks;
mod authenticate;
mod branch;
mod branch_response;
mod branches;
mod call;
mod conduct;
mod config;
mod core;
mod diagnose;
mod dialled;
mod dialog_made;
mod dialog_track;
mod digest_uri;
mod digits;
mod encryption;
mod end_reason;
mod forward;
mod held_back;
mod hiding;
mod hops;
mod hygiene;
mod ice_rule;
mod identity;
mod in_dialog;
mod in_dialog_response;
mod initial;
mod limits;
mod media_policy;
mod network;
mod nonce;
mod onward;
mod opening;
mod overload;
mod own_bye;
mod own_request;
mod peer;
mod peer_numbers;
mod peering;
mod plain;
mod ports;
mod profile;
mod proof;
mod reap;
mod register;
mod sanitize;
mod session_timer;
mod strict;
mod token;
mod trickle;
mod upstream;
mod veil;
mod zones;

pub use admission::{Admission, AdmissionError};
pub use branch::BranchId;
pub use conduct::{
    ACCOUNTS_MAX, Action, CALLS_MAX, Conduct, ConductConfig, Finding, Standing, Standings,
};
pub use config::{
    Config, ConfigError, HideFromPhones, Listener, MediaAnchor, MediaEncryption, Place,
};
pub use core::{Counters, EdgeCore, Inbound, Keys, Note, Outbound, OutboundTo, Present, Snapshots};
pub use dialog_track::{CSeqSpace, DialogPhase, DialogTrack, Party, Seen, Side};
pub use encryption::{Encryption, EncryptionRule};
pub use end_reason::EndedBy;
pub use ice_rule::{IceRule, WithoutIce};
pub use limits::{Attempts, Guesses};
pub use network::{Network, NotANetwork};
pub use nonce::{Fresh, NonceCheck, Nonces};
pub use peer::{
    PEERS_MAX, PeerConfig, PeerError, PeerIdentity, PeerMedia, PeerTransport, PrefixRule,
    peer_number,
};
pub use plain::Taken;
pub use ports::{
    Answer, AskId, CallFacts, CallOpening, ContactLine, Dialler, Directory, EdgeEvent, EndCause,
    Locations, MediaProfile, Plan, Pressed, Question, Reach, RecordWish, Refusal, RegisterAsk,
    RelayAsk, RelayDescription, RelayDigit, RelayTrickle, Router, Target,
};
pub use profile::{
    EarlyMedia, HeaderRules, HostForm, IdentityHeader, NumberForm, PrivacyForm, Profile,
    ProfileError, SessionTimer, UriForm,
};
pub use token::{DialogToken, FlowHint, TokenError, TokenKeys};
pub use zones::{MethodRule, MethodRuleError, MethodRules, Zone};
