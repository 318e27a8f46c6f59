//! The edge in virtual time, with scripted phones and four shards.

mod calls;
mod diagnose;
mod dialogs;
mod forking;
mod guesses;
mod headers;
mod hops;
mod identity;
mod lab;
mod limits;
mod methods;
mod offers;
mod open;
mod policy;
mod registers;
mod sessions;
mod storm;
mod talk;
