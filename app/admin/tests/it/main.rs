//! The API over a backend in memory: every route, allowed and refused.

mod document;
mod fake;
mod http;
mod live;
mod pages;
mod session;
mod users;
