//! The architectural state of one logical processor.
//!
//! **Spec:** SDM 3A "Processor State After Reset"; SDM 1 "Basic Execution Environment".

use crate::debug::DebugState;
use crate::segment::{SegReg, Segment, TableRegister};
use cost::Ledger;
use mmu::Mmu;
use trace::Source;
use x86::descriptor::Selector;
use x86::fault::Privilege;
use x86::{Cr0, Cr4, Efer, NonCanonical, Rflags, VirtAddr, msr};

/// Numbers of general registers in [`Cpu::regs`].
#[expect(missing_docs, reason = "the registers' own names")]
pub mod reg {
    pub const RAX: usize = 0;
    pub const RCX: usize = 1;
    pub const RDX: usize = 2;
    pub const RBX: usize = 3;
    pub const RSP: usize = 4;
    pub const RBP: usize = 5;
    pub const RSI: usize = 6;
    pub const RDI: usize = 7;
    pub const R11: usize = 11;
    /// Always 0: the base or index of an address that has none.
    pub const ZERO: usize = 16;
    /// The instruction pointer, here so that it can be the base of an address.
    pub const RIP: usize = 17;
}

/// What the processor is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Executing.
    Running,
    /// HLT: until an interrupt.
    Halted,
    /// After INIT: until a start-up IPI.
    WaitForSipi,
    /// An exception while delivering #DF; only a reset helps.
    Shutdown,
}

/// Code size the decoder works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CodeSize {
    Bits16 = 16,
    Bits32 = 32,
    Bits64 = 64,
}

/// MSRs that are plain storage to the processor core.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Msrs {
    pub(crate) star: u64,
    pub(crate) lstar: u64,
    pub(crate) cstar: u64,
    pub(crate) fmask: u64,
    pub(crate) kernel_gs_base: u64,
    pub(crate) tsc_offset: u64,
    pub(crate) tsc_aux: u64,
    pub(crate) pat: u64,
    pub(crate) sysenter: [u64; 3],
}

/// SSE registers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sse {
    pub(crate) xmm: [u128; 16],
    /// Bits 255:128 of the YMM registers.
    pub(crate) ymm_high: [u128; 16],
    pub(crate) mxcsr: u32,
}

/// x87 state: carried for FXSAVE and FXRSTOR; no x87 instruction computes with it yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct X87 {
    pub(crate) fcw: u16,
    pub(crate) fsw: u16,
    /// Abridged tag word: one bit per register.
    pub(crate) ftw: u8,
    pub(crate) fop: u16,
    pub(crate) fip: u64,
    pub(crate) fdp: u64,
    /// By physical number, not counted from FSW.TOP.
    pub(crate) st: [u128; 8],
}

/// One logical processor.
#[derive(Debug)]
pub struct Cpu {
    /// Number of the processor, its APIC ID.
    pub id: u8,
    /// General registers, then [`reg::ZERO`] and [`reg::RIP`].
    pub regs: [u64; 18],
    /// RFLAGS.
    pub flags: u64,
    /// Current privilege level.
    pub cpl: u8,
    pub(crate) segs: [Segment; 6],
    /// Bases used for addresses: by register, then two flat entries (see `op`).
    pub(crate) seg_base: [u64; 8],
    /// GDTR.
    pub gdtr: TableRegister,
    /// IDTR.
    pub idtr: TableRegister,
    pub(crate) ldtr: Segment,
    pub(crate) tr: Segment,
    /// CR2.
    pub cr2: u64,
    pub(crate) dr: [u64; 8],
    pub(crate) debug: DebugState,
    pub(crate) msr: Msrs,
    pub(crate) sse: Sse,
    pub(crate) x87: X87,
    /// Translation, with CR0, CR3, CR4 and EFER.
    pub mmu: Mmu,
    /// Clock and account.
    pub ledger: Ledger,
    /// What it is doing.
    pub activity: Activity,
    /// The local APIC asks for an interrupt; kept up to date by the board.
    pub interrupt_request: bool,
    /// An NMI has arrived and is not taken yet.
    pub(crate) nmi_pending: bool,
    /// From the delivery of an NMI to the next IRET no other is taken.
    pub(crate) nmi_blocked: bool,
    pub(crate) code_size: CodeSize,
    /// One question for each data access: 64-bit mode and not watched.
    plain_64bit: bool,
    /// STI and MOV SS hold interrupts off for one instruction.
    pub(crate) interrupt_shadow: bool,
    pub(crate) retired: u64,
}

impl Cpu {
    /// A processor after reset. `id` 0 is the bootstrap processor; the others wait for SIPI.
    #[must_use]
    pub fn new(id: u8) -> Self {
        let mut cpu = Self {
            id,
            regs: [0; 18],
            flags: Rflags::ALWAYS_1.bits(),
            cpl: 0,
            segs: [Segment::default(); 6],
            seg_base: [0; 8],
            gdtr: TableRegister::default(),
            idtr: TableRegister::default(),
            ldtr: Segment::default(),
            tr: Segment::default(),
            cr2: 0,
            dr: [0; 8],
            debug: DebugState::default(),
            msr: Msrs {
                pat: msr::PAT_RESET,
                ..Msrs::default()
            },
            sse: Sse {
                xmm: [0; 16],
                ymm_high: [0; 16],
                mxcsr: 0x1f80,
            },
            x87: X87 {
                fcw: 0x40,
                fsw: 0,
                ftw: 0xff,
                fop: 0,
                fip: 0,
                fdp: 0,
                st: [0; 8],
            },
            mmu: Mmu::new(crate::MAXPHYADDR),
            ledger: Ledger::default(),
            activity: Activity::Running,
            interrupt_request: false,
            nmi_pending: false,
            nmi_blocked: false,
            code_size: CodeSize::Bits16,
            plain_64bit: false,
            interrupt_shadow: false,
            retired: 0,
        };
        cpu.init();
        cpu
    }

    /// INIT: what an INIT IPI leaves; MSRs, SSE state and the clock are kept.
    ///
    /// The bootstrap processor goes on at the reset vector, the others wait for SIPI.
    pub fn init(&mut self) {
        self.regs = [0; 18];
        self.regs[reg::RDX] = u64::from(crate::cpuid::SIGNATURE);
        self.flags = Rflags::ALWAYS_1.bits();
        self.cpl = 0;
        self.mmu.reset();
        for which in [SegReg::Es, SegReg::Ss, SegReg::Ds, SegReg::Fs, SegReg::Gs] {
            self.load_segment(which, Segment::real(Selector(0)));
        }
        let cs = Segment {
            base: 0xffff_0000,
            ..Segment::real(Selector(0xf000))
        };
        self.load_segment(SegReg::Cs, cs);
        self.set_rip(0xfff0);
        self.gdtr = TableRegister {
            base: 0,
            limit: 0xffff,
        };
        self.idtr = TableRegister {
            base: 0,
            limit: 0xffff,
        };
        self.ldtr = Segment {
            limit: 0xffff,
            ..Segment::default()
        };
        self.tr = Segment {
            limit: 0xffff,
            ..Segment::default()
        };
        self.cr2 = 0;
        self.dr = [0; 8];
        self.dr[6] = 0xffff_0ff0;
        self.set_dr7(0x400);
        self.debug = DebugState::default();
        self.interrupt_shadow = false;
        (self.nmi_pending, self.nmi_blocked) = (false, false);
        let bootstrap = self.id == 0;
        self.activity = if bootstrap {
            Activity::Running
        } else {
            Activity::WaitForSipi
        };
    }

    /// A non-maskable interrupt: taken at the next instruction boundary, once the last one is done.
    pub const fn nmi(&mut self) {
        self.nmi_pending = true;
    }

    /// Whether an NMI would be taken now; it wakes a halted processor.
    #[must_use]
    pub const fn nmi_ready(&self) -> bool {
        self.nmi_pending && !self.nmi_blocked
    }

    /// A start-up IPI: real mode at page `vector`; ignored unless waiting for it.
    pub fn startup(&mut self, vector: u8) -> bool {
        if self.activity != Activity::WaitForSipi {
            return false;
        }
        self.load_segment(SegReg::Cs, Segment::real(Selector(u16::from(vector) << 8)));
        self.set_rip(0);
        self.activity = Activity::Running;
        true
    }

    /// RIP.
    #[inline]
    #[must_use]
    pub const fn rip(&self) -> u64 {
        self.regs[reg::RIP]
    }

    /// Sets RIP.
    #[inline]
    pub const fn set_rip(&mut self, rip: u64) {
        self.regs[reg::RIP] = rip;
    }

    /// Instructions completed.
    #[must_use]
    pub const fn retired(&self) -> u64 {
        self.retired
    }

    /// A segment register.
    #[must_use]
    pub const fn seg(&self, which: SegReg) -> &Segment {
        &self.segs[which as usize]
    }

    /// How traces name this processor.
    #[must_use]
    pub const fn source(&self) -> Source {
        Source::Cpu(self.id)
    }

    pub(crate) fn cr0(&self) -> Cr0 {
        self.mmu.regs().cr0
    }

    pub(crate) fn cr4(&self) -> Cr4 {
        self.mmu.regs().cr4
    }

    pub(crate) fn efer(&self) -> Efer {
        self.mmu.regs().efer
    }

    /// CR0.PE.
    pub(crate) fn is_protected(&self) -> bool {
        self.cr0().contains(Cr0::PE)
    }

    /// Virtual-8086 mode.
    pub(crate) fn is_vm86(&self) -> bool {
        self.flags & Rflags::VM.bits() != 0
    }

    /// Protected mode without virtual-8086 mode: selectors name descriptors.
    pub(crate) fn uses_descriptors(&self) -> bool {
        self.is_protected() && !self.is_vm86()
    }

    /// EFER.LMA: 64-bit or compatibility mode.
    pub(crate) fn is_ia32e(&self) -> bool {
        self.efer().contains(Efer::LMA)
    }

    /// 64-bit mode.
    #[inline]
    pub(crate) const fn is_64bit(&self) -> bool {
        matches!(self.code_size, CodeSize::Bits64)
    }

    /// 64-bit mode, and no access is looked at by [`Core::watch`](crate::Core).
    #[inline]
    pub(crate) const fn is_plain_64bit(&self) -> bool {
        self.plain_64bit
    }

    /// Has every data access looked at, or none.
    pub(crate) fn set_watching(&mut self, on: bool) {
        self.debug.watching = on;
        self.update_code_size();
    }

    #[inline]
    pub(crate) const fn privilege(&self) -> Privilege {
        if self.cpl == 3 {
            Privilege::User
        } else {
            Privilege::Supervisor
        }
    }

    /// I/O privilege level.
    pub(crate) const fn iopl(&self) -> u8 {
        ((self.flags >> 12) & 3) as u8
    }

    /// Loads a segment register with its hidden part, and what depends on it.
    pub(crate) fn load_segment(&mut self, which: SegReg, segment: Segment) {
        self.segs[which as usize] = segment;
        self.seg_base[which as usize] = segment.base;
        if which == SegReg::Cs {
            self.update_code_size();
        }
    }

    pub(crate) fn set_real_segment(&mut self, which: SegReg, selector: Selector) {
        // Real mode changes selector and base only; limit and attributes stay ("unreal mode").
        let old = *self.seg(which);
        self.load_segment(
            which,
            Segment {
                selector,
                base: u64::from(selector.0) << 4,
                ..old
            },
        );
    }

    /// FS or GS base, from an MSR or an instruction.
    pub(crate) fn set_segment_base(&mut self, which: SegReg, base: u64) {
        self.segs[which as usize].base = base;
        self.seg_base[which as usize] = base;
    }

    /// Must follow every change of CS, CR0.PE and EFER.LMA.
    pub(crate) fn update_code_size(&mut self) {
        let cs = self.seg(SegReg::Cs).desc;
        self.code_size = if self.is_ia32e() && cs.is_long() {
            CodeSize::Bits64
        } else if cs.is_32bit() {
            CodeSize::Bits32
        } else {
            CodeSize::Bits16
        };
        self.plain_64bit = self.is_64bit() && !self.debug.watching;
    }

    /// MOV SS and POP SS: nothing comes between them and the load of RSP that follows.
    pub(crate) const fn shadow_stack_load(&mut self) {
        self.interrupt_shadow = true;
        self.debug.stack_shadow = true;
    }

    /// Mask of the stack pointer: by SS.B outside 64-bit mode.
    pub(crate) const fn stack_mask(&self) -> u64 {
        if self.is_64bit() {
            u64::MAX
        } else if self.segs[SegReg::Ss as usize].desc.is_32bit() {
            0xffff_ffff
        } else {
            0xffff
        }
    }

    /// RSP, ESP or SP.
    pub(crate) const fn stack_pointer(&self) -> u64 {
        self.regs[reg::RSP] & self.stack_mask()
    }

    /// Writes RSP, ESP or SP; outside 64-bit mode the bits above are kept.
    pub(crate) const fn set_stack_pointer(&mut self, value: u64) {
        let mask = self.stack_mask();
        self.regs[reg::RSP] = (self.regs[reg::RSP] & !mask) | (value & mask);
    }

    /// A linear address of a descriptor table: canonical in IA-32e mode, 32 bits outside.
    pub(crate) fn system_address(&self, linear: u64) -> Result<VirtAddr, crate::Exception> {
        if self.is_ia32e() {
            VirtAddr::new(linear).map_err(|NonCanonical(_)| crate::Exception::Gp(0))
        } else {
            Ok(VirtAddr::from_u32((linear & 0xffff_ffff) as u32))
        }
    }
}
