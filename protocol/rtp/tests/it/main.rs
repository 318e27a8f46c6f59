//! What can only be seen from outside.

mod frugal;
mod zrtp;
