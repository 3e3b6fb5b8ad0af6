//! The kernel's half of linear memory.
//!
//! ```text
//! ffff_8000_0000_0000  direct map: RAM at its physical address, 2 MiB or 1 GiB pages,
//!                      and device registers, 4 KiB pages, uncached
//! ffff_ffff_8000_0000  kernel image: text R+X, constants R, data R+W, no page W+X
//! ffff_ffff_c000_0000  stacks of threads, a guard page below each
//! ```
//!
//! All of it is global and hangs on two PML4 entries, 256 and 511, which every
//! address space copies when it is made and which never change afterwards. New pages
//! only ever appear in this half, so nothing has to be flushed.
//!
//! **Spec:** SDM 3A "4-Level Paging and 5-Level Paging", "Global Pages".

use crate::boot::{BootInfo, Range};
use crate::{cpu, frames, heap, mmio::Registers, sync::SpinLock};
use core::sync::atomic::{AtomicU64, Ordering};
use x86::paging::{ADDR_51_12, ENTRIES, PS};
use x86::{Bits, Level, PhysAddr, VirtAddr, addr::PAGE_BYTES, apic};

/// Linear address of physical address 0.
pub const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;
/// Linear address the kernel image's physical addresses are added to.
const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;
/// Bytes of registers [`map_registers`] maps.
pub const REGISTER_WINDOW_BYTES: u64 = 0x2000;
/// First PML4 entry of the kernel's half.
const FIRST_KERNEL_ENTRY: u64 = ENTRIES / 2;
/// The PML4 entries the kernel's half consists of: direct map; image and stacks.
const KERNEL_ENTRIES: [u64; 2] = [256, 511];

const DATA: Bits = Bits::P.union(Bits::RW).union(Bits::G).union(Bits::XD);
const CONSTANTS: Bits = Bits::P.union(Bits::G).union(Bits::XD);
const TEXT: Bits = Bits::P.union(Bits::G);
const UNCACHED: Bits = DATA.union(Bits::PCD).union(Bits::PWT);

/// The kernel's own PML4; holds its lock while the tables below are edited.
static ROOT: SpinLock<PhysAddr> = SpinLock::new(PhysAddr::new(0));
/// The same, to be read without the lock.
static ROOT_ADDRESS: AtomicU64 = AtomicU64::new(0);

// SAFETY: kernel.ld and boot.s define these symbols; only their addresses are used.
unsafe extern "C" {
    static __text_start: u8;
    static __rodata_start: u8;
    static __data_start: u8;
    static __kernel_end: u8;
    static boot_stacks: u8;
}

/// Physical address of a byte of the heap.
pub(crate) fn physical_of_heap(pointer: *const u8) -> PhysAddr {
    let linear = pointer.expose_provenance() as u64;
    PhysAddr::new(
        linear
            .checked_sub(DIRECT_MAP)
            .expect("heap pointers are in the direct map"),
    )
}

/// Physical address after the kernel image.
pub(crate) fn kernel_end() -> PhysAddr {
    PhysAddr::new((&raw const __kernel_end).addr() as u64 - KERNEL_BASE)
}

/// Makes the tables and loads them.
///
/// # Safety
///
/// Once, on the boot tables, after the heap has its memory.
pub(crate) unsafe fn init(info: &BootInfo) {
    let root = heap::leak_pages(1);
    *ROOT.lock() = root;
    ROOT_ADDRESS.store(root.get(), Ordering::Relaxed);
    let page_1g = cpu::Features::read().page_1g;
    for ram in info.ram() {
        map_ram(root, *ram, page_1g);
    }
    map_image(root);
    crate::task::reserve_stack_tables(root);
    map_window(root, PhysAddr::new(apic::DEFAULT_BASE));
    // SAFETY: `root` maps this code, its stack and the heap where they are now.
    unsafe { cpu::write_cr3(root) };
}

/// Loads the kernel's own tables, on a started CPU.
pub(crate) fn load_kernel_tables() {
    // SAFETY: `init` made them, and they are never freed.
    unsafe { cpu::write_cr3(kernel_root()) };
}

/// The PML4 with nothing in the user half, for a CPU that is in no space.
#[must_use]
pub fn kernel_root() -> PhysAddr {
    PhysAddr::new(ROOT_ADDRESS.load(Ordering::Relaxed))
}

/// The upper half of the kernel's PML4, for new address spaces.
#[must_use]
pub fn kernel_half() -> [u64; 256] {
    let mut half = [0; 256];
    for index in KERNEL_ENTRIES {
        let slot = usize::try_from(index - FIRST_KERNEL_ENTRY).expect("an index");
        half[slot] = entry(kernel_root(), index).load(Ordering::Relaxed);
    }
    half
}

/// Makes this CPU use the address space at `root`.
///
/// # Panics
///
/// If `root` does not have the kernel's half.
pub fn load_space(root: PhysAddr) {
    if root != kernel_root() {
        for index in KERNEL_ENTRIES {
            let value = entry(kernel_root(), index).load(Ordering::Relaxed);
            let there = frames::quad(root.add(index * 8)).load(Ordering::Relaxed);
            // The processor sets A in the entries it uses, in each root by itself.
            let same = (there ^ value) & !Bits::A.bits() == 0;
            assert!(same, "{root:?} lacks the kernel's entry {index}");
        }
    }
    // SAFETY: the upper half is the kernel's; the caller keeps the root alive while
    // it is loaded, which `kernel::sched` does by owning the space of the thread.
    unsafe { cpu::write_cr3(root) };
}

/// Maps the registers of a device, uncached, for good.
#[must_use]
pub fn map_registers(base: PhysAddr) -> Registers {
    let root = ROOT.lock();
    map_window(*root, base);
    Registers::at(base.get())
}

fn map_window(root: PhysAddr, base: PhysAddr) {
    for offset in (0..REGISTER_WINDOW_BYTES).step_by(4096) {
        let at = base.add(offset);
        map(root, DIRECT_MAP + at.get(), at, Level::Pt, UNCACHED);
    }
}

fn map_ram(root: PhysAddr, ram: Range, page_1g: bool) {
    let end = ram.end.frame_base().get();
    let mut at = ram.start.get().next_multiple_of(PAGE_BYTES);
    while at < end {
        let fits =
            |level: Level| at.is_multiple_of(level.span_bytes()) && end - at >= level.span_bytes();
        let level = match () {
            () if page_1g && fits(Level::Pdpt) => Level::Pdpt,
            () if fits(Level::Pd) => Level::Pd,
            () => Level::Pt,
        };
        map(root, DIRECT_MAP + at, PhysAddr::new(at), level, DATA);
        at += level.span_bytes();
    }
}

fn map_image(root: PhysAddr) {
    let symbols = [
        &raw const __text_start,
        &raw const __rodata_start,
        &raw const __data_start,
        &raw const __kernel_end,
    ];
    let [text, constants, data, end] = symbols.map(|symbol| symbol.addr() as u64);
    for (range, bits) in [
        (text..constants, TEXT),
        (constants..data, CONSTANTS),
        (data..end, DATA),
    ] {
        for linear in range.step_by(4096).filter(|page| !is_guard_page(*page)) {
            map(
                root,
                linear,
                PhysAddr::new(linear - KERNEL_BASE),
                Level::Pt,
                bits,
            );
        }
    }
}

/// Whether `page` is the lowest of a boot stack.
fn is_guard_page(page: u64) -> bool {
    let stacks = (&raw const boot_stacks).addr() as u64;
    let bytes = crate::boot::BOOT_STACK_BYTES as u64;
    page >= stacks
        && page < stacks + bytes * crate::MAX_CPUS as u64
        && (page - stacks).is_multiple_of(bytes)
}

/// Maps one kernel page of the size `level` stands for.
pub(crate) fn map(root: PhysAddr, linear: u64, to: PhysAddr, level: Level, bits: Bits) {
    let linear = VirtAddr::new(linear).expect("kernel addresses are canonical");
    assert!(
        KERNEL_ENTRIES.contains(&linear.index(Level::Pml4)),
        "{linear:?} is not the kernel's"
    );
    let mut table = root;
    let mut at = Level::Pml4;
    while at != level {
        table = table_below(table, linear.index(at));
        at = at
            .next()
            .expect("a leaf is at the page table at the latest");
    }
    let large = if level == Level::Pt { 0 } else { PS };
    entry(table, linear.index(level)).store(to.get() | bits.bits() | large, Ordering::Release);
}

/// Makes the tables for `linear` down to the page table.
pub(crate) fn reserve(root: PhysAddr, linear: VirtAddr) {
    let pdpt = table_below(root, linear.index(Level::Pml4));
    let pd = table_below(pdpt, linear.index(Level::Pdpt));
    table_below(pd, linear.index(Level::Pd));
}

fn table_below(table: PhysAddr, index: u64) -> PhysAddr {
    let slot = entry(table, index);
    let value = slot.load(Ordering::Relaxed);
    if value & Bits::P.bits() != 0 {
        assert!(value & PS == 0, "a large page is in the way");
        return PhysAddr::new(value & ADDR_51_12);
    }
    let new = heap::leak_pages(1);
    let bits = Bits::P | Bits::RW;
    slot.store(new.get() | bits.bits(), Ordering::Release);
    new
}

/// Entry `index` of a kernel table.
fn entry(table: PhysAddr, index: u64) -> &'static AtomicU64 {
    let linear = DIRECT_MAP + table.get() + (index % ENTRIES) * 8;
    let pointer = core::ptr::with_exposed_provenance_mut::<u64>(
        usize::try_from(linear).expect("64-bit addresses"),
    );
    // SAFETY: kernel tables come from `leak_pages`: mapped, aligned, never freed,
    // and only reached here, always atomically.
    unsafe { AtomicU64::from_ptr(pointer) }
}
