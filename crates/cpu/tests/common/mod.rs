//! A bench for one processor: RAM, a bus that writes down what it is asked, and guest code.
//!
//! [`Bench::long`] is a processor in 64-bit mode with everything set up: flat segments, a TSS, an
//! IDT whose every handler halts, and the first 2 MiB mapped one to one for the supervisor. What
//! a test maps beyond that it maps itself. An exception therefore ends a run, and
//! [`Bench::caught`] reads its stack frame.
//!
//! Guest code is assembled by iced-x86 and lies in the test that runs it.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a bench that cannot be built is a failed test, and its addresses are small"
)]
#![allow(
    dead_code,
    reason = "each test file uses a part of it, so `expect` would fail where all is used"
)]

use cost::{Ledger, Profile, Ticks};
use cpu::{Activity, Bus, CodeCache, Core, Cpu, Stop, reg};
use iced_x86::IcedError;
use iced_x86::code_asm::{CodeAssembler, cr0, cr3, cr4, ds, eax, ecx, edx, es, fs, gs, ptr, ss};
use memory::{Ram, Width};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use trace::{Event, Memory, Sink, Source, Tracer};
use x86::addr::PAGE_BYTES;
use x86::descriptor::{Gate64, Selector};
use x86::{Bits, Level, PhysAddr, Rflags, VirtAddr, msr};

pub(crate) mod legacy;

/// Where things lie in memory.
pub(crate) mod at {
    pub(crate) const GDT: u64 = 0x1000;
    pub(crate) const IDT: u64 = 0x2000;
    pub(crate) const TSS: u64 = 0x3000;
    pub(crate) const BOOT: u64 = 0x7000;
    /// 16 bytes per vector, beginning with HLT.
    pub(crate) const HANDLERS: u64 = 0x8000;
    /// Page tables: the PML4 first.
    pub(crate) const TABLES: u64 = 0x1_0000;
    /// The code of [`super::Bench::code`].
    pub(crate) const CODE: u64 = 0x10_0000;
    pub(crate) const DATA: u64 = 0x11_0000;
    /// Top of the stack.
    pub(crate) const STACK: u64 = 0x12_0000;
    pub(crate) const IST1: u64 = 0x13_0000;
    pub(crate) const RSP0: u64 = 0x14_0000;
    /// Linear addresses of user code and the top of its stack.
    pub(crate) const USER_CODE: u64 = 0x4000_0000;
    pub(crate) const USER_STACK: u64 = 0x5000_0000;
    /// RAM from here on is mapped nowhere.
    pub(crate) const FRAMES: u64 = 0x20_0000;
    /// No RAM and no device: what the bench's bus answers.
    pub(crate) const MMIO: u64 = 0xfeb0_0000;
}

/// Selectors in the bench's GDT, arranged as SYSCALL and SYSRET want them.
pub(crate) mod sel {
    pub(crate) const CODE64: u16 = 0x08;
    pub(crate) const DATA: u16 = 0x10;
    pub(crate) const USER_CODE32: u16 = 0x18 | 3;
    pub(crate) const USER_DATA: u16 = 0x20 | 3;
    pub(crate) const USER_CODE64: u16 = 0x28 | 3;
    pub(crate) const TSS: u16 = 0x30;
    pub(crate) const CODE32: u16 = 0x40;
    pub(crate) const CODE16: u16 = 0x48;
}

/// The bench's GDT.
pub(crate) const GDT: [u64; 10] = [
    0,
    0x00af_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x00cf_fb00_0000_ffff,
    0x00cf_f300_0000_ffff,
    0x00af_fb00_0000_ffff,
    0x0000_8900_3000_0000 | TSS_LIMIT,
    0,
    0x00cf_9b00_0000_ffff,
    0x000f_9b00_0000_ffff,
];

/// The TSS, then an I/O map for ports 0–255 and the byte that must follow it.
const TSS_LIMIT: u64 = 104 + 32;

pub(crate) type Asm = Result<(), IcedError>;

/// Assembles code for `bits` at `origin`.
pub(crate) fn assemble(
    bits: u32,
    origin: u64,
    f: impl FnOnce(&mut CodeAssembler) -> Asm,
) -> Vec<u8> {
    let mut a = CodeAssembler::new(bits).unwrap();
    f(&mut a).unwrap();
    a.assemble(origin).unwrap()
}

/// WRMSR of a constant.
pub(crate) fn wrmsr(a: &mut CodeAssembler, number: u32, value: u64) -> Asm {
    a.mov(ecx, number)?;
    a.mov(eax, (value & 0xffff_ffff) as u32)?;
    a.mov(edx, (value >> 32) as u32)?;
    a.wrmsr()
}

/// What the bus was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    MmioRead(u64, Width),
    MmioWrite(u64, Width, u64),
    PortRead(u16, Width),
    PortWrite(u16, Width, u32),
}

/// A bus without devices that writes down what it is asked.
#[derive(Debug, Default)]
pub(crate) struct StubBus {
    pub(crate) asked: Vec<Asked>,
    /// What every read gives.
    pub(crate) reads: u64,
    /// Vectors the local APIC holds ready.
    pub(crate) interrupts: VecDeque<u8>,
    /// What [`Bus::missing_instruction`] was told: address, bytes, text.
    pub(crate) missing: Vec<(u64, Vec<u8>, String)>,
    pub(crate) task_priority: u8,
}

impl Bus for StubBus {
    fn apic_msr_read(&mut self, _: u8, _: u32, _: Ticks) -> Option<u64> {
        None
    }

    fn apic_msr_write(&mut self, _: u8, _: u32, _: u64, _: Ticks) -> bool {
        false
    }

    fn has_apic(&mut self, _: u8) -> bool {
        true
    }

    fn mmio_read(&mut self, _: u8, at: PhysAddr, width: Width, _: Ticks) -> u64 {
        self.asked.push(Asked::MmioRead(at.get(), width));
        self.reads
    }
    fn mmio_write(&mut self, _: u8, at: PhysAddr, width: Width, value: u64, _: Ticks) {
        self.asked.push(Asked::MmioWrite(at.get(), width, value));
    }
    fn port_read(&mut self, _: u8, port: u16, width: Width, _: Ticks) -> u32 {
        self.asked.push(Asked::PortRead(port, width));
        (self.reads & 0xffff_ffff) as u32
    }
    fn port_write(&mut self, _: u8, port: u16, width: Width, value: u32, _: u64, _: Ticks) {
        self.asked.push(Asked::PortWrite(port, width, value));
    }
    fn acknowledge(&mut self, _: u8) -> Option<u8> {
        self.interrupts.pop_front()
    }
    fn task_priority(&mut self, _: u8) -> u8 {
        self.task_priority
    }
    fn set_task_priority(&mut self, _: u8, class: u8) {
        self.task_priority = class;
    }
    fn missing_instruction(&mut self, _: u8, rip: u64, bytes: &[u8], text: &str) {
        self.missing.push((rip, bytes.to_vec(), text.to_owned()));
    }
}

/// Keeps the events.
#[derive(Debug, Default)]
pub(crate) struct Log(pub(crate) Vec<Event>);

impl Sink for Log {
    fn event(&mut self, _: u64, _: Source, event: &Event) {
        self.0.push(*event);
    }
}

/// The stack frame of an exception or interrupt, as the handler finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caught {
    pub(crate) vector: u8,
    pub(crate) code: Option<u64>,
    pub(crate) rip: u64,
    pub(crate) cs: u64,
    pub(crate) flags: u64,
    pub(crate) rsp: u64,
    pub(crate) ss: u64,
}

/// One processor and all it needs.
pub(crate) struct Bench {
    pub(crate) cpu: Cpu,
    pub(crate) ram: Ram,
    pub(crate) bus: StubBus,
    pub(crate) profile: Profile,
    pub(crate) cache: CodeCache,
    pub(crate) log: Rc<RefCell<Log>>,
    tracer: Tracer,
    bits: u32,
    /// Next unused page for tables.
    tables: u64,
}

impl Bench {
    fn new(cpu: Cpu, bits: u32) -> Self {
        let log = Rc::new(RefCell::new(Log::default()));
        Self {
            cpu,
            ram: Ram::new(8 << 20).unwrap(),
            bus: StubBus::default(),
            profile: Profile::flat(),
            cache: CodeCache::default(),
            tracer: Tracer::new(Box::new(Memory(Rc::clone(&log)))),
            log,
            bits,
            tables: at::TABLES + PAGE_BYTES,
        }
    }

    /// Real mode, as a start-up IPI for page `page` leaves it.
    pub(crate) fn real(page: u8) -> Self {
        let mut cpu = Cpu::new(1);
        assert!(
            cpu.startup(page),
            "an application processor waits for SIPI after reset"
        );
        Self::new(cpu, 16)
    }

    /// 32-bit flat protected mode, as the PVH protocol enters a kernel; a stack is added.
    pub(crate) fn protected() -> Self {
        let mut cpu = Cpu::new(0);
        cpu.enter_pvh(at::CODE as u32, 0);
        cpu.regs[reg::RSP] = at::STACK;
        Self::new(cpu, 32)
    }

    /// 64-bit mode; see the module's head.
    pub(crate) fn long() -> Self {
        let mut bench = Self::protected();
        bench.lay_tables();
        bench.boot();
        bench.bits = 64;
        bench.cpu.regs = [0; 18];
        bench.cpu.regs[reg::RSP] = at::STACK;
        bench.cpu.flags = Rflags::ALWAYS_1.bits();
        bench.cpu.ledger = Ledger::default();
        bench.log.borrow_mut().0.clear();
        bench
    }

    /// GDT, IDT, TSS and page tables.
    pub(crate) fn lay_tables(&mut self) {
        for (i, entry) in (0..).zip(GDT) {
            self.poke(at::GDT + 8 * i, entry);
        }
        for vector in 0..=255 {
            self.poke(at::HANDLERS + 16 * u64::from(vector), 0xf4_u8);
            self.set_gate(vector, self.gate(vector));
        }
        self.poke(at::TSS + 4, at::RSP0);
        self.poke(at::TSS + 36, at::IST1);
        self.poke(at::TSS + 102, 104_u16);
        self.load(at::TSS + 104, &[0xff; 33]);
        for page in (0..at::FRAMES).step_by(PAGE_BYTES as usize) {
            self.map(page, page, Bits::RW | Bits::A | Bits::D);
        }
    }

    /// The path every 64-bit kernel takes from 32-bit mode.
    fn boot(&mut self) {
        self.poke(at::DATA, (8 * GDT.len() - 1) as u16);
        self.poke(at::DATA + 2, at::GDT as u32);
        self.poke(at::DATA + 16, 256 * 16 - 1_u16);
        self.poke(at::DATA + 18, at::IDT);
        let long = assemble(64, at::BOOT + 0x100, |a| {
            a.mov(eax, u32::from(sel::DATA))?;
            a.mov(ss, eax)?;
            a.mov(ds, eax)?;
            a.mov(es, eax)?;
            a.mov(fs, eax)?;
            a.mov(gs, eax)?;
            a.lidt(ptr(at::DATA + 16))?;
            a.mov(eax, u32::from(sel::TSS))?;
            a.ltr(iced_x86::code_asm::ax)?;
            a.hlt()
        });
        self.load(at::BOOT + 0x100, &long);
        let boot = assemble(32, at::BOOT, |a| {
            a.lgdt(ptr(at::DATA))?;
            a.mov(eax, cr4)?;
            a.or(eax, 0x6a0)?; // PAE, PGE, OSFXSR, OSXMMEXCPT
            a.mov(cr4, eax)?;
            a.mov(eax, at::TABLES as u32)?;
            a.mov(cr3, eax)?;
            a.mov(ecx, msr::EFER)?;
            a.mov(eax, 0x901)?; // SCE, LME, NXE
            a.xor(edx, edx)?;
            a.wrmsr()?;
            a.mov(eax, cr0)?;
            a.or(eax, 0x8001_0000_u32)?; // PG, WP
            a.mov(cr0, eax)?;
            a.push(u32::from(sel::CODE64))?;
            a.push((at::BOOT + 0x100) as u32)?;
            a.retf()
        });
        self.load(at::BOOT, &boot);
        self.cpu.set_rip(at::BOOT);
        self.run();
        assert_eq!(
            self.cpu.rip(),
            at::BOOT + 0x100 + long.len() as u64,
            "64-bit mode was reached"
        );
    }

    /// A present interrupt gate to the handler of `vector`.
    pub(crate) fn gate(&self, vector: u8) -> Gate64 {
        Gate64::interrupt(
            at::HANDLERS + 16 * u64::from(vector),
            Selector(sel::CODE64),
            0,
            0,
        )
    }

    pub(crate) fn set_gate(&self, vector: u8, gate: Gate64) {
        self.poke(at::IDT + 16 * u64::from(vector), gate.low);
        self.poke(at::IDT + 16 * u64::from(vector) + 8, gate.high);
    }

    /// Lets `vectors` come in on a stack of their own.
    pub(crate) fn use_ist1(&mut self, vectors: &[u8]) -> &mut Self {
        for &vector in vectors {
            self.set_gate(
                vector,
                Gate64::interrupt(self.gate(vector).offset(), Selector(sel::CODE64), 1, 0),
            );
        }
        self
    }

    /// Writes an integer to RAM.
    pub(crate) fn poke<T: memory::ram::Scalar>(&self, pa: u64, value: T) {
        assert!(self.ram.write(PhysAddr::new(pa), value), "{pa:#x} is RAM");
    }

    /// Reads an integer from RAM.
    pub(crate) fn peek<T: memory::ram::Scalar>(&self, pa: u64) -> T {
        self.ram.read(PhysAddr::new(pa)).unwrap()
    }

    /// Writes bytes to RAM.
    pub(crate) fn load(&self, pa: u64, bytes: &[u8]) {
        assert!(
            self.ram.write_bytes(PhysAddr::new(pa), bytes),
            "{pa:#x} is RAM"
        );
    }

    /// Maps the page at `va` to the frame `pa` with `bits` (P is added); flushes nothing.
    pub(crate) fn map(&mut self, va: u64, pa: u64, bits: Bits) {
        let at = self.pte(va);
        self.poke(at, pa | bits.bits() | Bits::P.bits());
    }

    /// Takes the page at `va` out of the tables; flushes nothing.
    pub(crate) fn unmap(&mut self, va: u64) {
        let at = self.pte(va);
        self.poke(at, 0_u64);
    }

    /// Where the PTE for `va` lies; makes the tables above it.
    pub(crate) fn pte(&mut self, va: u64) -> u64 {
        let va = VirtAddr::new(va).unwrap();
        let mut table = at::TABLES;
        for level in [Level::Pml4, Level::Pdpt, Level::Pd] {
            let at = table + 8 * va.index(level);
            if self.peek::<u64>(at) == 0 {
                self.poke(
                    at,
                    self.tables | (Bits::P | Bits::RW | Bits::US | Bits::A).bits(),
                );
                self.tables += PAGE_BYTES;
            }
            table = self.peek::<u64>(at) & !0xfff;
        }
        table + 8 * va.index(Level::Pt)
    }

    /// Forgets all translations that are not global, as a MOV to CR3 would, at no cost.
    pub(crate) fn flush(&mut self) {
        let cr3_value = self.cpu.mmu.regs().cr3;
        self.cpu.mmu.write_cr3(cr3_value);
    }

    /// Puts code at [`at::CODE`] and RIP at its start.
    pub(crate) fn code(&mut self, f: impl FnOnce(&mut CodeAssembler) -> Asm) -> &mut Self {
        let bytes = assemble(self.bits, at::CODE, f);
        self.load(at::CODE, &bytes);
        self.cpu.set_rip(at::CODE);
        self.cpu.activity = Activity::Running;
        self
    }

    /// Runs `f` and a HLT after it.
    pub(crate) fn exec(&mut self, f: impl FnOnce(&mut CodeAssembler) -> Asm) -> &mut Self {
        self.code(|a| {
            f(a)?;
            a.hlt()
        });
        self.run()
    }

    /// Puts `f` at [`at::USER_CODE`] and starts it at CPL 3 with a stack, by IRETQ.
    pub(crate) fn user(&mut self, f: impl FnOnce(&mut CodeAssembler) -> Asm) -> &mut Self {
        let bytes = assemble(64, at::USER_CODE, f);
        let rw = Bits::RW | Bits::US | Bits::A | Bits::D;
        self.map(at::USER_CODE, at::FRAMES, rw);
        self.map(at::USER_STACK - PAGE_BYTES, at::FRAMES + PAGE_BYTES, rw);
        self.load(at::FRAMES, &bytes);
        let saved = self.cpu.regs;
        self.code(|a| a.iretq());
        let frame = [
            at::USER_CODE,
            u64::from(sel::USER_CODE64),
            self.cpu.flags,
            at::USER_STACK,
            u64::from(sel::USER_DATA),
        ];
        for (i, value) in (0..).zip(frame) {
            self.poke(at::STACK - 64 + 8 * i, value);
        }
        self.cpu.regs[reg::RSP] = at::STACK - 64;
        self.block();
        assert_eq!(
            (self.cpu.cpl, self.cpu.rip()),
            (3, at::USER_CODE),
            "user mode was reached"
        );
        self.cpu.regs[..4].copy_from_slice(&saved[..4]);
        self.cpu.ledger = Ledger::default();
        self
    }

    /// Runs until the processor is idle.
    pub(crate) fn run(&mut self) -> &mut Self {
        for _ in 0..1000 {
            if self.step(Ticks::from_cycles(1_000_000)) == Stop::Idle {
                return self;
            }
        }
        panic!("still running at {:#x}", self.cpu.rip());
    }

    /// Runs one block of instructions, or delivers one interrupt.
    pub(crate) fn block(&mut self) -> Stop {
        self.step(Ticks(1))
    }

    fn step(&mut self, time: Ticks) -> Stop {
        self.cpu.interrupt_request = !self.bus.interrupts.is_empty();
        let until = self.cpu.ledger.now() + time;
        Core::new(
            &mut self.cpu,
            &self.ram,
            &mut self.bus,
            &self.profile,
            &mut self.tracer,
        )
        .run(&mut self.cache, until)
    }

    /// The frame of the exception or interrupt the processor halted in.
    ///
    /// # Panics
    ///
    /// If it did not halt in a handler.
    pub(crate) fn caught(&self) -> Caught {
        let handler = self.cpu.rip().wrapping_sub(at::HANDLERS + 1);
        assert!(
            handler < 4096 && handler.is_multiple_of(16),
            "halted at {:#x}, in no handler: {:?}",
            self.cpu.rip(),
            self.cpu.activity
        );
        let vector = (handler / 16) as u8;
        let coded = matches!(vector, 8 | 10..=14 | 17);
        let rsp = self.cpu.regs[reg::RSP];
        let slot = |i| self.peek::<u64>(self.physical(rsp + 8 * i));
        let first = u64::from(coded);
        Caught {
            vector,
            code: coded.then(|| slot(0)),
            rip: slot(first),
            cs: slot(first + 1),
            flags: slot(first + 2),
            rsp: slot(first + 3),
            ss: slot(first + 4),
        }
    }

    /// Where `va` leads by the tables.
    pub(crate) fn physical(&self, va: u64) -> u64 {
        let va = VirtAddr::new(va).unwrap();
        mmu::Mmu::peek(&self.ram, self.cpu.mmu.regs(), va)
            .pa
            .expect("mapped")
            .get()
    }

    /// The events so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.log.borrow().0.clone()
    }
}

/// A bench that takes the exceptions of instructions on a stack of their own.
pub(crate) fn guarded() -> Bench {
    let mut bench = Bench::long();
    bench.use_ist1(&[0, 6, 8, 11, 12, 13, 14]);
    bench
}

/// Runs `f` and returns vector and error code of the exception at its first instruction.
pub(crate) fn first_faults(
    bench: &mut Bench,
    f: impl FnOnce(&mut CodeAssembler) -> Asm,
) -> (u8, Option<u64>) {
    bench.exec(f);
    let caught = bench.caught();
    assert_eq!(
        caught.rip,
        at::CODE,
        "{caught:x?} is not of the first instruction"
    );
    (caught.vector, caught.code)
}

/// Runs `f` at CPL 3 and returns the exception at its first instruction.
pub(crate) fn user_faults(
    bench: &mut Bench,
    f: impl FnOnce(&mut CodeAssembler) -> Asm,
) -> (u8, Option<u64>) {
    bench.user(f).run();
    let caught = bench.caught();
    assert_eq!(
        (caught.rip, caught.cs),
        (at::USER_CODE, u64::from(sel::USER_CODE64)),
        "{caught:x?}"
    );
    (caught.vector, caught.code)
}
