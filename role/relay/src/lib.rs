//! Media relay: offers rewritten, ports, latching, SRTP in place.

mod api;
pub mod bridge;
mod config;
pub mod control;
mod error;
mod ports;
mod shell;

pub use api::{
    Command, Description, Direction, LegProfile, LegStats, Protocol, RelayEvent, SessionId,
    SessionStats,
};
pub use config::{Config, Interface};
pub use control::Control;
pub use error::RelayError;
pub use ports::{NumberedPorts, PairRange, PortOwner, Ports, SharedBridge};
pub use shell::{Relay, Reply};
