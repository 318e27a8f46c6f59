//! Tests of the transaction layer (R1.1): state tables, schedules in virtual time, races, loss.

mod cancel;
mod client;
mod kit;
mod lossy;
mod random;
mod server;
mod tables;
