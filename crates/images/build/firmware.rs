//! Runs a second cargo on `firmware/`, which is a workspace of its own.
//!
//! What the guest is built with is in `firmware/.cargo/config.toml` and the two below it,
//! and nowhere else: cargo finds them from its working directory, and nothing of the outer
//! build (its flags, wrappers, lints, profile) reaches the inner one. Always `--release`:
//! tests in a debug build boot the same bytes.
//!
//! The inner target directory is `<outer target>/firmware`, one for all outer profiles.
//! Inner and outer cargo lock different directories, and share the jobserver.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::recipe::Recipe;
use crate::variable;

/// What the guest is built for: a target that every `rustc` for x86-64 Linux brings along,
/// and any other can add. The flags make of it what the guest needs: no libc, no red zone.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Variables by which an outer build would change an inner one.
const OUTER: [&str; 5] = ["CARGO", "DEP_", "RUSTC", "RUSTDOC", "RUSTFLAGS"];
/// Those among them that are the user's own, or the jobserver's.
const KEPT: [&str; 7] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_MAKEFLAGS",
    "CARGO_NET_",
    "CARGO_REGISTR",
    "CARGO_SOURCE_",
    "CARGO_TERM_",
];

/// The workspace of the guest, and where its builds go.
pub(crate) struct Firmware {
    root: PathBuf,
    target_dir: PathBuf,
}

impl Firmware {
    /// Finds `firmware/` below `root`, and the outer target directory above `out`.
    pub(crate) fn new(root: &Path, out: &Path) -> Self {
        let build = out.ancestors().find(|path| path.ends_with("build"));
        let outer = build
            .and_then(|build| build.parent()?.parent())
            .unwrap_or(out);
        require_target();
        Self {
            root: root.to_owned(),
            target_dir: outer.join("firmware"),
        }
    }

    /// Builds the kernel; where it is.
    pub(crate) fn build_kernel(&self) -> PathBuf {
        self.cargo("kernel", &BTreeSet::from(["kernel"]));
        self.products().join("kernel")
    }

    /// Builds the programs of the recipe; the folder they are in.
    pub(crate) fn build_programs(&self, recipe: &Recipe) -> PathBuf {
        let packages = recipe
            .programs
            .iter()
            .map(|program| program.package.as_str());
        self.cargo("user", &packages.collect());
        self.products()
    }

    fn products(&self) -> PathBuf {
        self.target_dir.join(TARGET).join("release")
    }

    /// Builds packages, with the flags that hold in `folder`.
    fn cargo(&self, folder: &str, packages: &BTreeSet<&str>) {
        let folder = self.root.join("firmware").join(folder);
        let mut cargo = Command::new(variable("CARGO"));
        cargo
            .current_dir(&folder)
            .args(["build", "--release", "--locked", "--target", TARGET]);
        cargo.arg("--target-dir").arg(&self.target_dir);
        cargo.args(packages.iter().flat_map(|package| ["--package", package]));
        cargo.arg("--config").arg(self.path_flags());
        for (name, _) in env::vars_os().filter(|(name, _)| is_outer(&name.to_string_lossy())) {
            cargo.env_remove(name);
        }
        let status = cargo
            .status()
            .unwrap_or_else(|e| panic!("cannot run cargo: {e}"));
        assert!(
            status.success(),
            "building the guest failed: to see it alone, run `cargo build --release` in {}",
            folder.display(),
        );
    }

    /// Flags by which no path of this machine gets into the guest.
    fn path_flags(&self) -> String {
        let root = format!("--remap-path-prefix={}=.", self.root.display());
        let home = cargo_home().map(|home| format!("--remap-path-prefix={home}=cargo"));
        let flags: Vec<_> = [Some(root), home].into_iter().flatten().collect();
        format!("target.{TARGET}.rustflags={flags:?}")
    }
}

fn cargo_home() -> Option<String> {
    env::var("CARGO_HOME")
        .ok()
        .or_else(|| Some(format!("{}/.cargo", env::var("HOME").ok()?)))
}

/// Whether a variable belongs to the outer build.
fn is_outer(name: &str) -> bool {
    let starts_with_any = |prefixes: &[&str]| prefixes.iter().any(|p| name.starts_with(p));
    starts_with_any(&OUTER) && !starts_with_any(&KEPT)
}

/// Says what to do if there is no standard library for [`TARGET`].
fn require_target() {
    // `rustc` names the folder of every target it knows; only an installed one has files.
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(["--print", "target-libdir", "--target", TARGET]);
    let output = rustc
        .output()
        .unwrap_or_else(|e| panic!("cannot run rustc: {e}"));
    let libdir = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let is_core = |name: &str| name.starts_with("libcore-");
    let has_core = fs::read_dir(libdir).is_ok_and(|files| {
        files
            .flatten()
            .any(|file| is_core(&file.file_name().to_string_lossy()))
    });
    assert!(
        output.status.success() && has_core,
        "the guest is built for {TARGET}, which this toolchain lacks: run `rustup target add {TARGET}`",
    );
}
