//! The console and the web phone, embedded.
