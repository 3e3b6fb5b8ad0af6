//! From the loader's state to the kernel's first function.
//!
//! `boot.s` ends in `metal_first_cpu` or `metal_started_cpu` with paging on by
//! the boot tables. This file keeps what the loader said ([`BootInfo`]), gives the
//! heap its memory, and has the real tables made. Memory from 1 MiB to the end of
//! the heap is the kernel's; RAM above is for `vm`; RAM below 1 MiB is left alone
//! but for the start-up page of the other CPUs.
//!
//! Not modelled: modules (the programs are on the disk), ACPI.
//!
//! **Spec:** Xen "x86/HVM direct boot ABI"; SDM 3A "Multiple-Processor (MP)
//! Initialization".

use crate::{KERNEL_HOOKS, MAX_CPUS, apic, frames, heap, paging, tables};
use core::arch::global_asm;
use core::cell::UnsafeCell;
use x86::addr::PAGE_BYTES;
use x86::{PhysAddr, pvh};

/// Bytes of a boot stack, its guard page included.
pub(crate) const BOOT_STACK_BYTES: usize = 32 << 10;

/// Where started CPUs begin, in real mode; any page below 1 MiB that is RAM.
const TRAMPOLINE: u64 = 0x8000;

global_asm!(
    ".set MAX_CPUS, {max_cpus}",
    ".set BOOT_STACK_BYTES, {stack}",
    include_str!("boot.s"),
    ".text",
    max_cpus = const MAX_CPUS,
    stack = const BOOT_STACK_BYTES,
    options(att_syntax)
);

// SAFETY: boot.s defines these symbols; only the bytes between them are read.
unsafe extern "C" {
    static trampoline_start: u8;
    static trampoline_end: u8;
}

/// A half-open range of physical memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// First byte.
    pub start: PhysAddr,
    /// Byte after the last one.
    pub end: PhysAddr,
}

const MAX_RANGES: usize = 32;
const MAX_CMDLINE: usize = 512;

/// What the loader said, copied before the memory it said it in is used.
pub struct BootInfo {
    ram: [Range; MAX_RANGES],
    ram_len: usize,
    cmdline: [u8; MAX_CMDLINE],
    cmdline_len: usize,
    /// First byte above the heap.
    free_from: PhysAddr,
}

struct BootInfoCell(UnsafeCell<BootInfo>);

// SAFETY: written by the first CPU before any other runs, read-only afterwards.
unsafe impl Sync for BootInfoCell {}

static INFO: BootInfoCell = BootInfoCell(UnsafeCell::new(BootInfo {
    ram: [Range {
        start: PhysAddr::new(0),
        end: PhysAddr::new(0),
    }; MAX_RANGES],
    ram_len: 0,
    cmdline: [0; MAX_CMDLINE],
    cmdline_len: 0,
    free_from: PhysAddr::new(0),
}));

impl BootInfo {
    /// Every range of RAM the loader reported.
    #[must_use]
    pub fn ram(&self) -> &[Range] {
        &self.ram[..self.ram_len]
    }

    /// RAM that is neither below 1 MiB nor the kernel's, in whole frames.
    pub fn free_ram(&self) -> impl Iterator<Item = Range> {
        self.ram().iter().filter_map(|ram| {
            let start = ram.start.max(self.free_from).get();
            let range = Range {
                start: PhysAddr::new(start.next_multiple_of(PAGE_BYTES)),
                end: ram.end.frame_base(),
            };
            (range.start < range.end).then_some(range)
        })
    }

    /// The kernel command line; bytes that are no UTF-8 end it.
    #[must_use]
    pub fn cmdline(&self) -> &str {
        let bytes = &self.cmdline[..self.cmdline_len];
        match core::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => core::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or(""),
        }
    }

    fn fill(&mut self, start_info: u64) {
        let info: pvh::StartInfo = read_low(start_info);
        assert!(
            info.magic == pvh::MAGIC,
            "no hvm_start_info at {start_info:#x}"
        );
        assert!(info.version >= 1, "the loader gives no memory map");
        for i in 0..u64::from(info.memmap_entries) {
            let entry: pvh::MemmapEntry = read_low(info.memmap_paddr + 24 * i);
            if entry.kind == pvh::E820_RAM && self.ram_len < MAX_RANGES {
                self.ram[self.ram_len] = Range {
                    start: PhysAddr::truncate(entry.addr),
                    end: PhysAddr::truncate(entry.addr).add(entry.size),
                };
                self.ram_len += 1;
            }
        }
        while info.cmdline_paddr != 0 && self.cmdline_len < MAX_CMDLINE {
            let byte: u8 = read_low(info.cmdline_paddr + self.cmdline_len as u64);
            if byte == 0 {
                break;
            }
            self.cmdline[self.cmdline_len] = byte;
            self.cmdline_len += 1;
        }
    }

    /// Chooses the heap: behind the image, 16 MiB and a 64th of all RAM. All kernel
    /// stacks together take 7 MiB, what `vm` keeps about the frames a hundredth of RAM.
    fn place_heap(&mut self) -> Range {
        let start = PhysAddr::new(paging::kernel_end().get().next_multiple_of(PAGE_BYTES));
        let total: u64 = self.ram().iter().map(|r| r.end.get() - r.start.get()).sum();
        let bytes = (16 << 20) + (total / 64).next_multiple_of(PAGE_BYTES);
        let end = start.add(bytes);
        assert!(
            self.ram().iter().any(|r| r.start <= start && end <= r.end),
            "no room for a heap of {bytes} bytes at {start:?}"
        );
        self.free_from = end;
        Range { start, end }
    }
}

/// Reads a value below 4 GiB, while the boot tables are in use.
fn read_low<T: Copy>(physical: u64) -> T {
    assert!(physical < 1 << 32, "boot data at {physical:#x}");
    let pointer = core::ptr::with_exposed_provenance::<T>(
        usize::try_from(paging::DIRECT_MAP + physical).expect("64-bit addresses"),
    );
    // SAFETY: the boot tables map the low 4 GiB; the types read are plain numbers,
    // valid for any bytes.
    unsafe { pointer.read_unaligned() }
}

/// First Rust function on the CPU that boots; `boot.s` calls it once.
#[unsafe(no_mangle)]
extern "C" fn metal_first_cpu(start_info: u64) -> ! {
    // SAFETY: first thing on this CPU, and index 0 is nobody else's.
    unsafe { tables::set_current(0) };
    // SAFETY: only this CPU runs, and no reference to it exists yet.
    let info = unsafe { &mut *INFO.0.get() };
    info.fill(start_info);
    let heap = info.place_heap();
    let start = core::ptr::with_exposed_provenance_mut(
        usize::try_from(paging::DIRECT_MAP + heap.start.get()).expect("64-bit addresses"),
    );
    let bytes = usize::try_from(heap.end.get() - heap.start.get()).expect("64-bit addresses");
    // SAFETY: RAM behind the image, mapped now and later at this address; what the
    // loader left there has been copied.
    unsafe { heap::init(start, bytes) };
    let ceiling = info.ram().iter().map(|ram| ram.end).max();
    frames::set_bounds(heap.end, ceiling.expect("there is RAM: the heap is in it"));
    // SAFETY: once, on the boot tables, with a heap.
    unsafe { paging::init(info) };
    tables::load();
    apic::mask_legacy_controllers();
    apic::init();
    (KERNEL_HOOKS.first_cpu)(info)
}

/// First Rust function on a started CPU; `boot.s` gives it its index.
#[unsafe(no_mangle)]
extern "C" fn metal_started_cpu(index: usize) -> ! {
    // SAFETY: first thing on this CPU; `boot.s` counts indices up, below MAX_CPUS.
    unsafe { tables::set_current(index) };
    paging::load_kernel_tables();
    tables::load();
    apic::init();
    (KERNEL_HOOKS.started_cpu)()
}

/// Starts every other processor: INIT, then STARTUP twice, to all at once. They
/// arrive in [`crate::Hooks::started_cpu`], in no particular order.
///
/// Hardware wants 10 ms after INIT; processors since the P6 family need
/// none of it, and virtual ones neither, so the wait is short.
pub fn start_other_cpus() {
    let code = &raw const trampoline_start;
    let len = (&raw const trampoline_end).addr() - code.addr();
    let page = core::ptr::with_exposed_provenance_mut(
        usize::try_from(paging::DIRECT_MAP + TRAMPOLINE).expect("64-bit addresses"),
    );
    // SAFETY: the two symbols bound the code; the page is RAM below 1 MiB that nothing
    // else uses, in the direct map.
    unsafe { core::ptr::copy_nonoverlapping(code, page, len) };
    let page = u8::try_from(TRAMPOLINE / PAGE_BYTES).expect("below 1 MiB");
    apic::send_init_to_others();
    apic::Deadline::in_us(200).wait();
    for _ in 0..2 {
        apic::send_startup_to_others(page);
        apic::Deadline::in_us(200).wait();
    }
}
