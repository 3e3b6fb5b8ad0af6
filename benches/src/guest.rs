//! A guest of a few instructions: 64-bit mode, 1 GiB mapped one to one, and the code under test.
//!
//! It is an ELF file with a PVH note, as any kernel is, so what is measured goes through
//! the whole machine: loader, run loop, schedule, processor.
//!
//! Not modelled: interrupts (they stay off, there is no IDT: an exception ends the machine).
//!
//! **Spec:** SDM 3A "Initializing IA-32e Mode"; System V ABI "Program Header";
//! Xen "x86/HVM direct boot ABI".

use cost::{Profile, Ticks};
use iced_x86::IcedError;
use iced_x86::code_asm::{CodeAssembler, cr0, cr3, cr4, eax, ecx, edx, esp, ptr};
use machine::{Config, Machine, MemDisk, Pause, Timing};
use std::time::{Duration, Instant};
use trace::Tracer;
use x86::addr::PAGE_BYTES;
use x86::control::{Cr0, Cr4, Efer};
use x86::paging::PageSize;
use x86::{Bits, PhysAddr, msr, pvh};

/// What the assembler says.
pub type Asm = Result<(), IcedError>;

/// Where a guest may count what it has done.
pub const COUNTER: u64 = 0x20_0000;
/// Memory the guest may use as it likes, up to the end of RAM.
pub const FREE: u64 = 0x100_0000;

/// RAM of every machine here.
const MEMORY_BYTES: u64 = 64 << 20;
/// How far a guest is let run at once: long against a slice of the schedule. An instruction takes a cycle or more.
pub const CHUNK_CYCLES: u64 = 200_000;

/// The image: entry code and GDT, three tables, then the code under test.
const ORIGIN: u64 = 0x10_0000;
const GDT: u64 = ORIGIN + 0x800;
const GDT_POINTER: u64 = ORIGIN + 0x900;
const PML4: u64 = ORIGIN + PAGE_BYTES;
const PDPT: u64 = PML4 + PAGE_BYTES;
const PD: u64 = PDPT + PAGE_BYTES;
const CODE: u64 = PD + PAGE_BYTES;
const STACK_TOP: u64 = 0x9_0000;

/// Null, and 64-bit code at ring 0.
const DESCRIPTORS: [u64; 2] = [0, 0x00af_9b00_0000_ffff];
const CODE_SELECTOR: u32 = 8;

/// What machines here are made of; a disk with `disk` on it, if that is not empty.
#[must_use]
pub fn config(disk: &[u8], tracer: Tracer) -> Config {
    let profile = Profile::flat();
    let timing = Timing {
        service_ticks: profile.ns(20_000).0,
        sector_ticks: profile.ns(1_000).0,
    };
    Config {
        memory_bytes: MEMORY_BYTES,
        cpus: 1,
        seed: 1,
        profile,
        disk: (!disk.is_empty()).then(|| Box::new(MemDisk::new(disk.to_vec())) as _),
        timing,
        tracer,
    }
}

/// A machine that runs assembled code.
#[derive(Debug)]
pub struct Guest {
    machine: Machine,
}

impl Guest {
    /// A machine that stands before its first instruction; it will come to `code` in 64-bit mode.
    ///
    /// # Panics
    ///
    /// If `code` cannot be assembled.
    #[must_use]
    pub fn new(code: impl FnOnce(&mut CodeAssembler) -> Asm) -> Self {
        let kernel = kernel(&assemble(64, CODE, code));
        let machine = Machine::boot(config(&[], Tracer::default()), &kernel, "");
        Self {
            machine: machine.expect("the image fits the machine"),
        }
    }

    /// Instructions completed.
    #[must_use]
    pub fn instructions(&self) -> u64 {
        self.machine.instructions()
    }

    /// What is in RAM at `at`.
    ///
    /// # Panics
    ///
    /// If there is no RAM.
    #[must_use]
    pub fn quad(&self, at: u64) -> u64 {
        self.machine.ram().read(PhysAddr::new(at)).expect("RAM")
    }

    /// Runs until the guest halts for good.
    ///
    /// # Panics
    ///
    /// If it ends in another way.
    pub fn run_to_end(&mut self) {
        let end = self.machine.run(Ticks::MAX);
        assert_eq!(
            end,
            Pause::Stopped(machine::Stopped::Dead),
            "the guest halts with interrupts off"
        );
    }

    /// How long the guest takes to move what `count` counts by `units`.
    ///
    /// It runs in chunks and so a little further; the time is scaled to the units asked for.
    ///
    /// # Panics
    ///
    /// If the guest stops.
    pub fn time(&mut self, units: u64, count: impl Fn(&Self) -> u64) -> Duration {
        let before = count(self);
        let start = Instant::now();
        let done = loop {
            let until = self.machine.now() + Ticks::from_cycles(CHUNK_CYCLES);
            let pause = self.machine.run(until);
            assert_eq!(pause, Pause::Limit, "the guest goes on for ever");
            let done = count(self) - before;
            if done >= units {
                break done;
            }
        };
        start.elapsed().mul_f64(units as f64 / done as f64)
    }
}

/// Assembles code for `bits` at `origin`.
///
/// # Panics
///
/// If the assembler refuses.
#[must_use]
pub fn assemble(bits: u32, origin: u64, code: impl FnOnce(&mut CodeAssembler) -> Asm) -> Vec<u8> {
    let mut assembler = CodeAssembler::new(bits).expect("16, 32 and 64 are its modes");
    code(&mut assembler).expect("operands fit their instructions");
    assembler.assemble(origin).expect("all labels are near")
}

/// A PVH kernel whose entry goes to 64-bit mode and then to `code`, assembled for [`CODE`].
fn kernel(code: &[u8]) -> Vec<u8> {
    let mut image = assemble(32, ORIGIN, enter_long_mode);
    put(&mut image, GDT, &DESCRIPTORS);
    put(
        &mut image,
        GDT_POINTER,
        &[(GDT << 16) | (8 * DESCRIPTORS.len() as u64 - 1)],
    );
    let table = (Bits::P | Bits::RW | Bits::A).bits();
    put(&mut image, PML4, &[PDPT | table]);
    put(&mut image, PDPT, &[PD | table]);
    // Bit 7 of an entry in a page directory is PS: it maps 2 MiB.
    let page = table | Bits::D.bits() | 1 << 7;
    let pages: Vec<_> = (0..512)
        .map(|n| (n * PageSize::Size2M.bytes()) | page)
        .collect();
    put(&mut image, PD, &pages);
    image.extend(code);
    elf(&image)
}

/// Writes `quads` into the image at `address`, behind what is there.
fn put(image: &mut Vec<u8>, address: u64, quads: &[u64]) {
    let offset = usize::try_from(address - ORIGIN).expect("an image is small");
    assert!(image.len() <= offset, "{address:#x} is taken");
    image.resize(offset, 0);
    image.extend(quads.iter().flat_map(|q| q.to_le_bytes()));
}

fn enter_long_mode(a: &mut CodeAssembler) -> Asm {
    a.mov(esp, low(STACK_TOP))?;
    a.lgdt(ptr(GDT_POINTER))?;
    a.mov(eax, low((Cr4::PAE | Cr4::OSFXSR).bits()))?;
    a.mov(cr4, eax)?;
    a.mov(eax, low(PML4))?;
    a.mov(cr3, eax)?;
    a.mov(ecx, msr::EFER)?;
    a.mov(eax, low(Efer::LME.bits()))?;
    a.xor(edx, edx)?;
    a.wrmsr()?;
    a.mov(eax, cr0)?;
    a.or(eax, low((Cr0::PG | Cr0::WP).bits()).cast_signed())?;
    a.mov(cr0, eax)?;
    a.push(CODE_SELECTOR.cast_signed())?;
    a.push(low(CODE).cast_signed())?;
    a.retf()
}

fn low(address: u64) -> u32 {
    u32::try_from(address).expect("the image lies below 4 GiB")
}

/// An ELF executable of one segment at [`ORIGIN`], entered there by PVH.
fn elf(image: &[u8]) -> Vec<u8> {
    const HEADERS: u64 = 64 + 2 * 56;
    let note = note();
    let image_at = HEADERS + note.len() as u64;
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
    file.resize(16, 0);
    // e_type EXEC, e_machine x86-64, e_version.
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for quad in [ORIGIN, 64, 0] {
        file.extend(quad.to_le_bytes());
    }
    // e_flags, e_ehsize, e_phentsize, e_phnum, no sections.
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    let len = image.len() as u64;
    // PT_LOAD, R and X and W; PT_NOTE, R.
    program_header(&mut file, 1 | 7 << 32, image_at, ORIGIN, len);
    program_header(&mut file, 4 | 4 << 32, HEADERS, 0, note.len() as u64);
    file.extend(note);
    file.extend(image);
    file
}

/// Appends a program header; `kind` is p_type and, above it, p_flags.
fn program_header(file: &mut Vec<u8>, kind: u64, offset: u64, address: u64, len: u64) {
    for quad in [kind, offset, address, address, len, len, 4] {
        file.extend(quad.to_le_bytes());
    }
}

/// The ELF note with the entry point.
fn note() -> Vec<u8> {
    let mut note = Vec::new();
    for word in [4, 4, pvh::NOTE_PHYS32_ENTRY] {
        note.extend(word.to_le_bytes());
    }
    note.extend(pvh::NOTE_NAME);
    note.extend(low(ORIGIN).to_le_bytes());
    note
}

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::code_asm::{qword_ptr, rax};

    #[test]
    fn time_is_taken_until_the_guest_has_counted_far_enough() {
        let mut guest = Guest::new(|a| {
            let mut again = a.create_label();
            a.mov(rax, COUNTER)?;
            a.set_label(&mut again)?;
            a.inc(qword_ptr(rax))?;
            a.jmp(again)
        });
        let took = guest.time(500_000, |g| g.quad(COUNTER));
        assert!(took > Duration::ZERO);
        assert!(guest.quad(COUNTER) >= 500_000);
    }
}
