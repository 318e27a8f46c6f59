//! Two sessions over a virtual network, in virtual time.

mod calls;
mod descriptions;
mod hostile;
mod quality;
mod wire;
