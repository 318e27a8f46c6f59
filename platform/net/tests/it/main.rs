//! Shards, TLS, WebSocket and clients over loopback.

mod diagnostics;
mod dialling;
mod discovery;
mod flows;
mod limits;
mod proof;
mod tls;
mod transports;
mod world;
