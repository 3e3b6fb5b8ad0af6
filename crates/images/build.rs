//! Builds what the machine boots: the kernel, the programs, the disk that holds them.
//!
//! Two steps, one module each: [`firmware`] runs a second cargo on `firmware/`, and
//! [`disk`] packs the programs and the data that [`recipe`] names into an image. The
//! results go to `OUT_DIR`, where `src/lib.rs` includes them.
//!
//! A build script's only way to refuse is to panic; each panic here says what to do.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "build/disk.rs"]
mod disk;
#[path = "build/firmware.rs"]
mod firmware;
#[path = "build/recipe.rs"]
mod recipe;

use disk::Member;
use firmware::Firmware;
use recipe::Recipe;

/// Everything that goes into the images, seen from the root of the workspace. Folders
/// count with all that is in them.
const SOURCES: [&str; 13] = [
    "Cargo.toml",
    "crates/ahci-spec",
    "crates/guest-abi",
    "crates/images/build",
    "crates/images/build.rs",
    "crates/x86",
    "firmware/.cargo",
    "firmware/Cargo.lock",
    "firmware/Cargo.toml",
    "firmware/kernel",
    "firmware/metal",
    "firmware/user",
    "firmware/vm",
];
const RECIPE: &str = "images/boot-disk.toml";

fn main() {
    let out = PathBuf::from(variable("OUT_DIR"));
    let root = Path::new(&variable("CARGO_MANIFEST_DIR")).join("../..");
    let root = root
        .canonicalize()
        .expect("this crate is two levels below the workspace's root");
    for source in SOURCES.iter().chain(&[RECIPE]) {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    let recipe = Recipe::read(&root.join(RECIPE));
    let firmware = Firmware::new(&root, &out);
    write(&out.join("kernel.elf"), &read(&firmware.build_kernel()));
    let programs = firmware.build_programs(&recipe);
    write(
        &out.join("boot-disk.img"),
        &disk::image(&recipe.partition, &members(&recipe, &programs)),
    );
}

/// The files of the disk, programs first.
fn members(recipe: &Recipe, programs: &Path) -> Vec<Member> {
    let program = |program: &recipe::Program| Member {
        name: program.name.clone(),
        mode: 0o755,
        bytes: read(&programs.join(program.binary())),
    };
    let data = |data: &recipe::Data| Member {
        name: data.name.clone(),
        mode: 0o644,
        bytes: data.fill.bytes(data.size_bytes),
    };
    let programs = recipe.programs.iter().map(program);
    programs.chain(recipe.data.iter().map(data)).collect()
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|e| panic!("{name}, which cargo sets for build scripts: {e}"))
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
}
