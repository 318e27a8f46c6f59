//! Stories between the recording client and an SRS, in virtual time.

mod opening;
mod running;
mod world;
mod xml;
