//! The house's rules as tools.
fn main() {}
