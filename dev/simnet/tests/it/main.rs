//! The simulated network, tested as a network.

mod determinism;
mod links;
mod nats;
mod server;
mod stories;
mod streams;
