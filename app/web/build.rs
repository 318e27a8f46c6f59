//! Makes sure that `dist` exists, so that Cargo can watch it: a folder that is missing would make
//! this crate, and all that hang on it, be built anew every time.

fn main() {
    // A read-only checkout is fine: the embedding accepts a missing folder.
    let _ = std::fs::create_dir_all("dist");
    println!("cargo::rerun-if-changed=dist");
    println!("cargo::rerun-if-changed=build.rs");
}
