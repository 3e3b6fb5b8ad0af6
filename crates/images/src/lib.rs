//! What the machine boots: the kernel and the boot disk, as bytes.
//!
//! Both are built with this crate, from `firmware/` and `images/boot-disk.toml`, so they
//! are never older than their sources. They are ordinary files: [`KERNEL_ELF`] boots in
//! any machine with a PVH loader, and [`BOOT_DISK`] is a disk with a partition and an
//! archive that `tar` reads.
//!
//! Neighbours: `build.rs` makes them; `machine` loads them, and knows neither.
//!
//! **Spec:** Xen "x86/HVM direct boot ABI" (PVH); POSIX pax "ustar Interchange Format".

/// The kernel: a 64-bit ELF executable with a PVH entry note.
pub static KERNEL_ELF: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernel.elf"));

/// The boot disk: programs in `bin/`, data in `data/`, in a ustar archive in the only
/// partition. A whole number of MiB.
pub static BOOT_DISK: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/boot-disk.img"));

#[cfg(test)]
mod tests;
