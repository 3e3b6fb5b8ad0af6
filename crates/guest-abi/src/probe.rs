//! The measuring port: announcements from a guest to whoever watches the machine.
//!
//! Sixteen I/O ports at [`BASE`], write only, 32 bits wide:
//!
//! | offset | written value |
//! |---|---|
//! | 4 ([`ARG_LOW`]) | bits 31:0 of the argument |
//! | 8 ([`ARG_HIGH`]) | bits 63:32 of the argument |
//! | 0 ([`EVENT`]) | a [`Mark`]; announces it with the argument last written by this CPU |
//!
//! The argument registers are per CPU. No port answers reads, and the guest must
//! not wait for anything: on a machine that has nothing here (QEMU, a PC) the
//! writes are ignored and the guest behaves the same.

/// First port.
pub const BASE: u16 = 0x4850;
/// Number of ports.
pub const LEN: u16 = 16;
/// Offset of the event register.
pub const EVENT: u16 = 0;
/// Offset of the low half of the argument.
pub const ARG_LOW: u16 = 4;
/// Offset of the high half of the argument.
pub const ARG_HIGH: u16 = 8;

/// What is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Mark {
    /// Kernel: `fork` begins. Argument: pid of the caller.
    ForkEnter = 0x10,
    /// Kernel: `fork` is done, still on the same CPU. Argument: pages copied at fork.
    ForkExit = 0x11,
    /// Program: this address space is the parent of the scenario; argument: linear
    /// address of the 512-byte buffer the transfer is about. Transfers issued from now
    /// on may be held by whoever drives the disk.
    Parent = 0x20,
    /// Program: this address space is the child; argument as for [`Mark::Parent`].
    Child = 0x21,
    /// Program: all that has to happen before the transfer has happened.
    Release = 0x22,
    /// Program (child): it looked at its copy of the buffer after the transfer.
    ChildLooked = 0x23,
    /// Program (parent): the transfer is complete and the buffer was compared.
    ParentLooked = 0x24,
    /// Program: the scenario is over. Argument: a [`verdict`] word.
    Verdict = 0x25,
}

impl Mark {
    /// The mark with this number, if there is one.
    #[must_use]
    pub const fn from_u32(raw: u32) -> Option<Self> {
        Some(match raw {
            0x10 => Self::ForkEnter,
            0x11 => Self::ForkExit,
            0x20 => Self::Parent,
            0x21 => Self::Child,
            0x22 => Self::Release,
            0x23 => Self::ChildLooked,
            0x24 => Self::ParentLooked,
            0x25 => Self::Verdict,
            _ => return None,
        })
    }

    /// Whether programs may announce it through [`syscall::nr::PROBE`](crate::syscall::nr::PROBE);
    /// the others are the kernel's own.
    #[must_use]
    pub const fn is_for_programs(self) -> bool {
        self as u32 >= Self::Parent as u32
    }
}

/// Bits of the argument of [`Mark::Verdict`]: what the guest program itself saw.
pub mod verdict {
    /// The parent's `read` returned, and its buffer does not hold the file's bytes.
    pub const LOST: u64 = 1 << 0;
    /// The child's buffer holds file bytes that only the parent read.
    pub const CHILD_SAW_DMA: u64 = 1 << 1;
    /// The disk holds bytes the child stored, after a `write` by the parent.
    pub const DISK_HAS_CHILD_BYTES: u64 = 1 << 2;
    /// Something the scenario relies on failed (a system call, a signal): no verdict.
    pub const INVALID: u64 = 1 << 63;
}
