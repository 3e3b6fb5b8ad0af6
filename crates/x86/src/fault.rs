//! Exception vectors, the #PF error code, and a #PF complete.
//!
//! **Spec:** SDM 3A "Exception and Interrupt Reference", "Page-Fault Exceptions".

use crate::addr::VirtAddr;
use bitflags::bitflags;

/// Vectors 0–31, as the architecture fixes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Vector {
    /// #DE, divide error.
    De = 0,
    /// #DB, debug.
    Db = 1,
    /// Non-maskable interrupt.
    Nmi = 2,
    /// #BP, breakpoint (INT3).
    Bp = 3,
    /// #OF, overflow (INTO).
    Of = 4,
    /// #BR, BOUND range exceeded.
    Br = 5,
    /// #UD, invalid opcode.
    Ud = 6,
    /// #NM, device not available.
    Nm = 7,
    /// #DF, double fault.
    Df = 8,
    /// #TS, invalid TSS.
    Ts = 10,
    /// #NP, segment not present.
    Np = 11,
    /// #SS, stack-segment fault.
    Ss = 12,
    /// #GP, general protection.
    Gp = 13,
    /// #PF, page fault.
    Pf = 14,
    /// #MF, x87 floating-point error.
    Mf = 16,
    /// #AC, alignment check.
    Ac = 17,
    /// #MC, machine check.
    Mc = 18,
    /// #XM, SIMD floating-point exception.
    Xm = 19,
}

impl Vector {
    /// Whether delivery pushes an error code.
    #[must_use]
    pub const fn has_error_code(self) -> bool {
        matches!(
            self,
            Self::Df | Self::Ts | Self::Np | Self::Ss | Self::Gp | Self::Pf | Self::Ac
        )
    }
}

bitflags! {
    /// The #PF error code, as pushed on the guest stack.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PfErrorCode: u32 {
        /// 0: an entry was not present. 1: a protection or reserved-bit violation.
        const P = 1 << 0;
        /// The access was a write.
        const WR = 1 << 1;
        /// The access was made in user mode.
        const US = 1 << 2;
        /// A reserved bit was set in some entry.
        const RSVD = 1 << 3;
        /// The access was an instruction fetch (with NXE or SMEP on).
        const ID = 1 << 4;
        /// The page's protection key forbade the access.
        const PK = 1 << 5;
    }
}

/// A #PF, complete: what goes to CR2 and what goes to the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFault {
    /// Value for CR2.
    pub linear: VirtAddr,
    /// Value pushed as the error code.
    pub code: PfErrorCode,
}

/// What an instruction wants to do at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Data read.
    Read,
    /// Data write, or the read half of a read-modify-write.
    Write,
    /// Instruction fetch.
    Fetch,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Privilege {
    /// CPL 0–2, or an implicit supervisor access (descriptor tables, TSS).
    Supervisor,
    /// CPL 3.
    User,
}
