//! The services over loopback, in real time.

mod caller;
mod services;
