//! The edge in virtual time, with scripted phones and four shards.

mod calls;
mod causes;
mod diagnose;
mod dialogs;
mod forking;
mod golden;
mod guesses;
mod headers;
mod hiding;
mod hops;
mod identity;
mod injection;
mod lab;
mod limits;
mod loops;
mod methods;
mod offers;
mod open;
mod peering;
mod policy;
mod proof;
mod registers;
mod sessions;
mod storm;
mod strict;
mod talk;
