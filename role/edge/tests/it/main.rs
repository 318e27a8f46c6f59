//! The edge in virtual time, with scripted phones and four shards.

mod calls;
mod dialogs;
mod lab;
mod registers;
