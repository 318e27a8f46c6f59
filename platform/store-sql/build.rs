//! The migrations are embedded by a macro that does not tell Cargo about them.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
