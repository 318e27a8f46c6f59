//! With the feature `xdp`: has clang build the program that forwards streams in the kernel.

use std::env;
use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = "bpf/forward.bpf.c";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    if env::var_os("CARGO_FEATURE_XDP").is_none() {
        return;
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("forward.bpf.o");
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets it");
    let run = Command::new("clang")
        .args(["-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-mcpu=v3"])
        // Where Debian keeps <asm/types.h>.
        .arg(format!("-I/usr/include/{arch}-linux-gnu"))
        .args(["-c", SOURCE, "-o"])
        .arg(out)
        .output();
    let needs = "the feature xdp needs clang, libbpf-dev, libelf-dev and zlib1g-dev";
    match run {
        Ok(run) if run.status.success() => {}
        Ok(run) => panic!("{needs}; clang says: {}", String::from_utf8_lossy(&run.stderr)),
        Err(error) => panic!("{needs}; clang does not start: {error}"),
    }
}
