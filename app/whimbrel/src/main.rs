//! The Whimbrel server and its command line.
fn main() {}
