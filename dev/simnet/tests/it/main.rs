//! The simulated network, tested as a network.

mod determinism;
mod links;
mod nats;
mod server;
mod sessions;
mod stepping;
mod stories;
mod streams;
mod transfers;
