//! What the checks allow, each with its reason.

/// What a crate may take from outside of the repository.
#[derive(Clone, Copy, Debug)]
pub enum Outside {
    /// Whatever earns its place.
    Any,
    /// These only: the crate runs in the guest, or is small on purpose.
    Only(&'static [&'static str]),
}

/// One row of the drawing in `ARCHITECTURE.md`: what a crate may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Arrows {
    /// Where the crate lies; `/*` stands for every crate in the folder without a row of its own.
    pub folder: &'static str,
    /// Crates of this repository it may use.
    pub uses: &'static [&'static str],
    /// Those its tests may use as well.
    pub tests_use: &'static [&'static str],
    /// What it may take from outside.
    pub outside: Outside,
}

const fn row(folder: &'static str, uses: &'static [&'static str], outside: Outside) -> Arrows {
    Arrows {
        folder,
        uses,
        tests_use: &[],
        outside,
    }
}

/// All crates, bottom up: arrows point to earlier rows only (a test holds this).
pub const ARROWS: &[Arrows] = &[
    // Vocabularies: host and guest speak them.
    row("crates/x86", &[], Outside::Only(&["bitflags"])),
    row(
        "crates/ahci-spec",
        &[],
        Outside::Only(&["bitflags", "zerocopy"]),
    ),
    row("crates/guest-abi", &[], Outside::Only(&[])),
    // The machine.
    row("crates/trace", &["x86"], Outside::Only(&[])),
    row(
        "crates/cost",
        &["x86"],
        Outside::Only(&["serde", "thiserror", "toml"]),
    ),
    row(
        "crates/memory",
        &["x86", "trace"],
        Outside::Only(&["memmap2", "thiserror"]),
    ),
    row(
        "crates/mmu",
        &["x86", "memory"],
        Outside::Only(&["bitflags"]),
    ),
    row(
        "crates/cpu",
        &["x86", "trace", "cost", "memory", "mmu"],
        Outside::Any,
    ),
    row(
        "crates/devices",
        &["x86", "ahci-spec", "guest-abi", "memory"],
        Outside::Any,
    ),
    row(
        "crates/machine",
        &[
            "x86",
            "ahci-spec",
            "guest-abi",
            "trace",
            "cost",
            "memory",
            "mmu",
            "cpu",
            "devices",
        ],
        Outside::Any,
    ),
    // The guest.
    row("firmware/vm", &["x86", "guest-abi"], Outside::Only(&[])),
    row(
        "firmware/metal",
        &["x86", "guest-abi"],
        Outside::Only(&["linked_list_allocator"]),
    ),
    row(
        "firmware/kernel",
        &["x86", "ahci-spec", "guest-abi", "vm", "metal"],
        Outside::Only(&["zerocopy"]),
    ),
    row("firmware/user/rt", &["guest-abi"], Outside::Only(&[])),
    row("firmware/user/*", &["guest-abi", "rt"], Outside::Only(&[])),
    // People. `images` runs cargo on the guest, and so depends on none of it.
    row("crates/images", &[], Outside::Any),
    row(
        "crates/explore",
        &["x86", "guest-abi", "trace", "cost", "machine", "images"],
        Outside::Any,
    ),
    row(
        "crates/cli",
        &["trace", "cost", "machine", "explore", "images"],
        Outside::Any,
    ),
    row(
        "benches",
        &[
            "x86", "trace", "cost", "memory", "mmu", "cpu", "machine", "images", "explore",
        ],
        Outside::Any,
    ),
    row("tools/*", &[], Outside::Any),
];

/// Crates that contain no policy and do without a heap, so that host and guest can share them.
pub const VOCABULARIES: &[&str] = &["crates/x86", "crates/ahci-spec", "crates/guest-abi"];

/// Words that must not be part of any name in the code of some crates.
#[derive(Clone, Copy, Debug)]
pub struct Strange {
    /// The crates' sources.
    pub folders: &'static [&'static str],
    /// The words, in lower case.
    pub words: &'static [&'static str],
    /// Why not.
    pub sentence: &'static str,
}

/// Who knows nothing of what.
pub const STRANGE: &[Strange] = &[
    Strange {
        folders: &["crates/cpu/src", "crates/mmu/src"],
        words: &["devices", "ahci", "hba", "prdt", "disk", "uart", "pci"],
        sentence: "processor and MMU name no device; they reach one through the bus",
    },
    Strange {
        folders: &[
            "crates/memory/src",
            "crates/mmu/src",
            "crates/cpu/src",
            "crates/devices/src",
        ],
        words: &["fork", "forked"],
        sentence: "hardware does not know what a fork is",
    },
];

/// Modules with unsafe code. A folder is a crate whose `lib.rs` gives the reason for all of it.
pub const UNSAFE: &[(&str, &str)] = &[
    ("crates/memory/src/ram.rs", "guest RAM is a raw mapping"),
    (
        "crates/cpu/tests/integer_against_silicon.rs",
        "runs assembled code natively",
    ),
    (
        "crates/cpu/tests/sse_against_silicon/run.rs",
        "runs assembled code natively",
    ),
    (
        "benches/src/native.rs",
        "the loop beside the guest's is written in the same instructions",
    ),
    (
        "firmware/metal/src",
        "boot, traps, page tables, ports: what the safe kernel stands on",
    ),
    ("firmware/user/rt/src/pages.rs", "a mapping becomes a slice"),
    (
        "firmware/user/rt/src/process.rs",
        "`execve` takes an array of pointers",
    ),
    (
        "firmware/user/rt/src/start.rs",
        "entry from assembly, strings on the stack",
    ),
    (
        "firmware/user/rt/src/sys.rs",
        "system calls hand addresses to the kernel",
    ),
    (
        "firmware/user/rt/src/thread.rs",
        "a stack is laid out by hand",
    ),
];

/// Files that may say `allow` where all others say `expect`, and why.
pub const ALLOW: &[(&str, &str)] = &[
    (
        "crates/cpu/tests/common/mod.rs",
        "each test file uses a part of it, so `expect(dead_code)` would fail where all is used",
    ),
    (
        "crates/machine/tests/common/mod.rs",
        "each test file uses a part of it, so `expect(dead_code)` would fail where all is used",
    ),
];

/// Files that may be long, and why. The list is meant to stay empty.
pub const LONG: &[(&str, &str)] = &[];

#[cfg(test)]
mod tests {
    use super::*;

    /// The name a row's crate goes by; programs of the guest and tools are used by nobody.
    fn name(row: &Arrows) -> &str {
        row.folder.rsplit('/').next().unwrap()
    }

    #[test]
    fn arrows_point_down() {
        for (at, row) in ARROWS.iter().enumerate() {
            for used in row.uses {
                let is_below = ARROWS[..at].iter().any(|below| name(below) == *used);
                assert!(
                    is_below,
                    "{} uses {used}, which is not below it",
                    row.folder
                );
            }
        }
    }

    #[test]
    fn every_exception_has_a_reason() {
        assert!(
            UNSAFE
                .iter()
                .chain(LONG)
                .all(|(_, reason)| reason.len() > 10)
        );
    }

    #[test]
    fn the_guest_knows_nothing_of_the_machine() {
        let machine = [
            "trace", "cost", "memory", "mmu", "cpu", "devices", "machine", "explore",
        ];
        let guest = ARROWS.iter().filter(|a| a.folder.starts_with("firmware"));
        assert!(
            guest
                .into_iter()
                .all(|a| a.uses.iter().all(|used| !machine.contains(used)))
        );
    }
}
