//! The other CPUs: starting them, and which address space each is in.
//!
//! **Spec:** SDM 3A "MP Initialization Protocol Algorithm for MP Systems".

use crate::process::Process;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use metal::tlb::CpuSet;
use metal::{CpuIndex, MAX_CPUS, apic, paging};
use vm::SpaceId;

/// How long to wait for CPUs nobody announced.
const ARRIVAL_US: u32 = 20_000;

static ONLINE: AtomicUsize = AtomicUsize::new(1);

/// In [`SPACES`]: the kernel's own tables.
const NONE: u64 = 0;

/// The space each CPU is in. Written before CR3: a CPU that may have translations of a
/// space is in its set, except for an instant in which it runs kernel code only and is
/// about to drop them.
static SPACES: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(NONE) }; MAX_CPUS];

/// CPUs that run.
pub(crate) fn online() -> usize {
    ONLINE.load(Ordering::Acquire)
}

/// Counts this CPU in.
pub(crate) fn arrive() {
    ONLINE.fetch_add(1, Ordering::AcqRel);
}

/// Starts the other CPUs and waits until `expected` run, or for a bounded time; one
/// that comes later still joins.
pub(crate) fn start_others(expected: Option<usize>) {
    let expected = expected.unwrap_or(MAX_CPUS).min(MAX_CPUS);
    if expected <= 1 {
        return;
    }
    metal::boot::start_other_cpus();
    let deadline = apic::Deadline::in_us(ARRIVAL_US);
    while online() < expected && !deadline.is_over() {
        core::hint::spin_loop();
    }
}

/// CPUs that are in `space`.
pub(crate) fn cpus_in(space: SpaceId) -> CpuSet {
    CpuIndex::all()
        .filter(|cpu| SPACES[cpu.get()].load(Ordering::SeqCst) == space.0)
        .fold(CpuSet::default(), |set, cpu| {
            CpuSet(set.0 | CpuSet::one(cpu).0)
        })
}

/// Makes this CPU use the space of `process`.
pub(crate) fn enter_space(process: &Process) {
    let Some((id, root)) = process.address() else {
        return leave_space();
    };
    let mine = &SPACES[CpuIndex::current().get()];
    if mine.load(Ordering::Relaxed) != id.0 {
        mine.store(id.0, Ordering::SeqCst);
        paging::load_space(root);
    }
}

/// Makes this CPU use the kernel's own tables.
pub(crate) fn leave_space() {
    let mine = &SPACES[CpuIndex::current().get()];
    if mine.load(Ordering::Relaxed) != NONE {
        mine.store(NONE, Ordering::SeqCst);
        paging::load_space(paging::kernel_root());
    }
}

/// Makes every other CPU that runs look up from what it does.
pub(crate) fn kick_others() {
    let me = CpuIndex::current();
    for cpu in CpuIndex::all().take(online()).filter(|cpu| *cpu != me) {
        apic::send(cpu, apic::VECTOR_RESCHEDULE);
    }
}
