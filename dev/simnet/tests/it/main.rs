//! The simulated network, tested as a network.

mod determinism;
mod links;
mod nats;
mod server;
mod sessions;
mod stories;
mod streams;
mod transfers;
