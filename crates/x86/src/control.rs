//! Control registers, PKRU, EFER and RFLAGS.
//!
//! **Spec:** SDM 3A "Control Registers", SDM 1 "EFLAGS Register", SDM 4 "IA32_EFER".

use crate::paging::ProtectionKey;
use bitflags::bitflags;

bitflags! {
    /// CR0.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Cr0: u64 {
        /// Protection enable.
        const PE = 1 << 0;
        /// Monitor coprocessor.
        const MP = 1 << 1;
        /// Emulation: x87 and SSE instructions fault.
        const EM = 1 << 2;
        /// Task switched: the next x87 or SSE instruction raises #NM.
        const TS = 1 << 3;
        /// Extension type; hard-wired to 1.
        const ET = 1 << 4;
        /// Numeric error: x87 errors raise #MF.
        const NE = 1 << 5;
        /// Write protect: supervisor writes honour R/W.
        const WP = 1 << 16;
        /// Alignment mask.
        const AM = 1 << 18;
        /// Not write-through.
        const NW = 1 << 29;
        /// Cache disable.
        const CD = 1 << 30;
        /// Paging.
        const PG = 1 << 31;
    }
}

bitflags! {
    /// CR4.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Cr4: u64 {
        /// Virtual-8086 mode extensions.
        const VME = 1 << 0;
        /// Protected-mode virtual interrupts.
        const PVI = 1 << 1;
        /// Time-stamp disable: RDTSC only at CPL 0.
        const TSD = 1 << 2;
        /// Debugging extensions.
        const DE = 1 << 3;
        /// Page-size extensions (32-bit paging).
        const PSE = 1 << 4;
        /// Physical-address extension.
        const PAE = 1 << 5;
        /// Machine-check enable.
        const MCE = 1 << 6;
        /// Page-global enable.
        const PGE = 1 << 7;
        /// Performance-monitoring counter enable.
        const PCE = 1 << 8;
        /// FXSAVE, FXRSTOR and SSE are usable.
        const OSFXSR = 1 << 9;
        /// SIMD floating-point exceptions raise #XM.
        const OSXMMEXCPT = 1 << 10;
        /// User-mode instruction prevention.
        const UMIP = 1 << 11;
        /// RDFSBASE and its kin.
        const FSGSBASE = 1 << 16;
        /// Process-context identifiers.
        const PCIDE = 1 << 17;
        /// XSAVE and extended states.
        const OSXSAVE = 1 << 18;
        /// Supervisor-mode execution prevention.
        const SMEP = 1 << 20;
        /// Supervisor-mode access prevention.
        const SMAP = 1 << 21;
        /// Protection keys for user pages.
        const PKE = 1 << 22;
    }
}

/// Bit 63 of the operand of MOV to CR3 under CR4.PCIDE: keep what is cached. CR3 itself never has it.
pub const CR3_NO_FLUSH: u64 = 1 << 63;

/// A process-context identifier: bits 11:0 of CR3 under CR4.PCIDE, else 0.
///
/// **Spec:** SDM 3A "Process-Context Identifiers (PCIDs)".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pcid(u16);

impl Pcid {
    /// The only one while CR4.PCIDE = 0.
    pub const ZERO: Self = Self(0);

    /// The low 12 bits of `raw`.
    #[must_use]
    pub const fn truncate(raw: u64) -> Self {
        Self((raw & 0xfff) as u16)
    }

    /// Its number, below 4096.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// PKRU: for each protection key, AD at bit 2·key and WD above it.
///
/// **Spec:** SDM 3A "Protection Keys".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pkru(pub u32);

impl Pkru {
    /// AD: no data access to pages of `key`.
    #[must_use]
    pub const fn disables_access(self, key: ProtectionKey) -> bool {
        self.0 >> (2 * key.get()) & 1 != 0
    }

    /// WD: no writes to pages of `key`, save a supervisor's while CR0.WP = 0.
    #[must_use]
    pub const fn disables_writes(self, key: ProtectionKey) -> bool {
        self.0 >> (2 * key.get() + 1) & 1 != 0
    }
}

bitflags! {
    /// IA32_EFER.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Efer: u64 {
        /// SYSCALL enable.
        const SCE = 1 << 0;
        /// Long mode enable.
        const LME = 1 << 8;
        /// Long mode active; set by the CPU.
        const LMA = 1 << 10;
        /// Execute-disable enable.
        const NXE = 1 << 11;
    }
}

bitflags! {
    /// RFLAGS.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Rflags: u64 {
        /// Carry.
        const CF = 1 << 0;
        /// Bit 1 always reads 1.
        const ALWAYS_1 = 1 << 1;
        /// Parity of the low byte.
        const PF = 1 << 2;
        /// Carry out of bit 3.
        const AF = 1 << 4;
        /// Zero.
        const ZF = 1 << 6;
        /// Sign.
        const SF = 1 << 7;
        /// Trap: single step.
        const TF = 1 << 8;
        /// Interrupts enabled.
        const IF = 1 << 9;
        /// String instructions count down.
        const DF = 1 << 10;
        /// Overflow.
        const OF = 1 << 11;
        /// I/O privilege level, low bit.
        const IOPL_LOW = 1 << 12;
        /// I/O privilege level, high bit.
        const IOPL_HIGH = 1 << 13;
        /// Nested task.
        const NT = 1 << 14;
        /// Resume: suppresses instruction breakpoints once.
        const RF = 1 << 16;
        /// Virtual-8086 mode.
        const VM = 1 << 17;
        /// Alignment check; with SMAP, explicit access to user pages allowed.
        const AC = 1 << 18;
        /// Virtual interrupt flag.
        const VIF = 1 << 19;
        /// Virtual interrupt pending.
        const VIP = 1 << 20;
        /// Software can toggle it: CPUID exists.
        const ID = 1 << 21;
    }
}

impl Rflags {
    /// The six status flags.
    pub const STATUS: Self = Self::CF
        .union(Self::PF)
        .union(Self::AF)
        .union(Self::ZF)
        .union(Self::SF)
        .union(Self::OF);
}
