//! Hands the linker script and its options to the linker, for the kernel binary only.

fn main() {
    let dir = env!("CARGO_MANIFEST_DIR");
    println!("cargo:rerun-if-changed=kernel.ld");
    println!("cargo:rerun-if-changed=build.rs");
    for argument in [
        &format!("-T{dir}/kernel.ld")[..],
        "-static",
        "--no-dynamic-linker",
        "--gc-sections",
        "--build-id=none",
        "-zmax-page-size=4096",
        "-znoexecstack",
        "--no-rosegment",
    ] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
}
