//! Sets the `shuttle` cfg, which compiles the crate's sources for the checker.

fn main() {
    println!("cargo::rustc-cfg=shuttle");
    println!("cargo::rerun-if-changed=build.rs");
}
