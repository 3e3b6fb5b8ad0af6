//! Translations cached by this CPU and by others.
//!
//! One request is under way at a time: whoever holds `INITIATOR` writes it, sends
//! the interrupt, and waits until every target has cleared its bit. Targets answer
//! from the interrupt or, if they spin with interrupts off, from the loop they spin
//! in (see [`crate::sync`]).
//!
//! **Spec:** SDM 3A "Invalidation of TLBs and Paging-Structure Caches",
//! "Propagation of Paging-Structure Changes to Multiple Processors".

use crate::{CpuIndex, apic, cpu, sync::SpinLock};
use core::arch::asm;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use x86::VirtAddr;

/// Pages a request can name one by one; beyond that it drops everything.
pub const MAX_PAGES: usize = 16;

/// What is to be dropped.
#[derive(Clone, Copy, Debug)]
pub enum Flush<'a> {
    /// Translations of these pages.
    Pages(&'a [VirtAddr]),
    /// Every translation of the loaded space that is not global.
    Space,
}

/// A set of CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuSet(pub u32);

impl CpuSet {
    /// The set with only `cpu`.
    #[must_use]
    pub const fn one(cpu: CpuIndex) -> Self {
        Self(1 << cpu.get())
    }

    /// Without `cpu`.
    #[must_use]
    pub const fn without(self, cpu: CpuIndex) -> Self {
        Self(self.0 & !Self::one(cpu).0)
    }

    /// Whether `cpu` is in it.
    #[must_use]
    pub const fn contains(self, cpu: CpuIndex) -> bool {
        self.0 & Self::one(cpu).0 != 0
    }
}

static INITIATOR: SpinLock<()> = SpinLock::new(());
/// CPUs that have not answered yet.
static PENDING: AtomicU32 = AtomicU32::new(0);
/// Pages named in [`PAGES`]; more than [`MAX_PAGES`] means [`Flush::Space`].
static COUNT: AtomicUsize = AtomicUsize::new(0);
static PAGES: [AtomicU64; MAX_PAGES] = [const { AtomicU64::new(0) }; MAX_PAGES];

/// Drops translations of this CPU.
pub fn flush_here(flush: Flush<'_>) {
    match flush {
        Flush::Pages(pages) if pages.len() <= MAX_PAGES => {
            for page in pages {
                invlpg(page.get());
            }
        }
        Flush::Pages(_) | Flush::Space => reload_cr3(),
    }
}

/// Drops translations of the CPUs in `targets`, and waits until it is done. The
/// calling CPU must not be among them.
pub fn shootdown(targets: CpuSet, flush: Flush<'_>) {
    if targets == CpuSet::default() {
        return;
    }
    let initiator = INITIATOR.lock();
    publish(flush);
    PENDING.store(targets.0, Ordering::Release);
    for target in CpuIndex::all().filter(|cpu| targets.contains(*cpu)) {
        apic::send(target, apic::VECTOR_SHOOTDOWN);
    }
    while PENDING.load(Ordering::Acquire) != 0 {
        core::hint::spin_loop();
    }
    drop(initiator);
}

fn publish(flush: Flush<'_>) {
    let count = match flush {
        Flush::Pages(pages) if pages.len() <= MAX_PAGES => {
            for (slot, page) in PAGES.iter().zip(pages) {
                slot.store(page.get(), Ordering::Relaxed);
            }
            pages.len()
        }
        Flush::Pages(_) | Flush::Space => MAX_PAGES + 1,
    };
    COUNT.store(count, Ordering::Relaxed);
}

/// Answers a request that names this CPU, if there is one.
pub fn serve() {
    // Before the first CPU has its per-CPU data there is nobody to ask for this.
    if PENDING.load(Ordering::Relaxed) == 0 {
        return;
    }
    let me = CpuSet::one(CpuIndex::current()).0;
    if PENDING.load(Ordering::Acquire) & me == 0 {
        return;
    }
    match COUNT.load(Ordering::Relaxed) {
        count @ ..=MAX_PAGES => {
            for page in &PAGES[..count] {
                invlpg(page.load(Ordering::Relaxed));
            }
        }
        _ => reload_cr3(),
    }
    PENDING.fetch_and(!me, Ordering::Release);
}

fn invlpg(linear: u64) {
    // SAFETY: dropping a translation changes no mapping.
    unsafe { asm!("invlpg [{}]", in(reg) linear, options(nostack, preserves_flags)) };
}

fn reload_cr3() {
    // SAFETY: the root in use is loaded again.
    unsafe { cpu::write_cr3(cpu::page_table_root()) };
}
