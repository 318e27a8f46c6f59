//! Shards, TLS, WebSocket and clients over loopback.

mod diagnostics;
mod flows;
mod limits;
mod tls;
mod transports;
mod world;
