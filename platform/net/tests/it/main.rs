//! Shards, TLS, WebSocket and clients over loopback.

mod diagnostics;
mod dialling;
mod discovery;
mod flows;
mod limits;
mod tls;
mod transports;
mod world;
