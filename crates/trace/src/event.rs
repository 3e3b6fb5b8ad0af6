//! The events, and how a line of a trace spells them.

use std::fmt;
use x86::{PageFault, PhysAddr, VirtAddr};

/// Who caused an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Logical processor with this number.
    Cpu(u8),
    /// The disk controller.
    Disk,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu(n) => write!(f, "cpu{n}"),
            Self::Disk => f.write_str("disk"),
        }
    }
}

/// Direction of a disk transfer, as the program sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Disk to memory.
    Read,
    /// Memory to disk.
    Write,
}

/// One thing the hardware did that changes shared state or control flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An exception is delivered.
    Exception {
        /// Vector.
        vector: u8,
        /// Error code, if the vector has one.
        code: Option<u32>,
        /// RIP that was pushed.
        rip: u64,
        /// CPL it interrupted.
        cpl: u8,
    },
    /// A #PF, emitted before its [`Event::Exception`].
    PageFault(PageFault),
    /// An external interrupt is delivered.
    Interrupt {
        /// Vector.
        vector: u8,
        /// RIP that was pushed.
        rip: u64,
    },
    /// MOV to CR3.
    Cr3 {
        /// New value.
        value: u64,
    },
    /// INVLPG.
    Invlpg {
        /// Its operand.
        va: VirtAddr,
    },
    /// SYSCALL.
    Syscall {
        /// RAX.
        number: u64,
    },
    /// The walker set A or D bits.
    SetAccessedDirty {
        /// Page walked for.
        va: VirtAddr,
        /// Entries changed.
        entries: u8,
    },
    /// A device register was read or written through memory.
    Mmio {
        /// Where.
        at: PhysAddr,
        /// As seen by the CPU.
        direction: Direction,
        /// Value moved.
        value: u64,
    },
    /// A mark came through the measuring port.
    Mark {
        /// Its number.
        mark: u32,
        /// Its argument.
        argument: u64,
        /// CR3 of the CPU that announced it.
        cr3: u64,
    },
    /// A disk command was fetched: its addresses are fixed now.
    Command {
        /// Slot of the command list.
        slot: u32,
        /// ATA command code.
        command: u8,
        /// First sector.
        lba: u64,
        /// Sectors.
        sectors: u32,
    },
    /// One sector moved between disk and memory.
    Sector {
        /// Which way.
        direction: Direction,
        /// Sector number.
        lba: u64,
        /// Address of its first byte in memory.
        at: u64,
    },
    /// A disk command ended.
    Completed {
        /// Slot of the command list.
        slot: u32,
        /// ATA status register.
        status: u8,
    },
    /// A processor stopped executing until an interrupt.
    Halt,
    /// A processor got a start-up IPI.
    Startup {
        /// Page number of the entry point.
        vector: u8,
    },
    /// An instruction this machine does not have; #UD follows.
    Missing {
        /// Where.
        rip: u64,
        /// Its first bytes, zero-padded.
        bytes: [u8; 15],
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Exception {
                vector,
                code: Some(code),
                rip,
                cpl,
            } => {
                write!(
                    f,
                    "exception vector={vector} code={code:#x} rip={rip:#x} cpl={cpl}"
                )
            }
            Self::Exception {
                vector,
                code: None,
                rip,
                cpl,
            } => {
                write!(f, "exception vector={vector} rip={rip:#x} cpl={cpl}")
            }
            Self::PageFault(p) => {
                write!(f, "page-fault va={:#x} code={:#x}", p.linear.get(), p.code)
            }
            Self::Interrupt { vector, rip } => write!(f, "interrupt vector={vector} rip={rip:#x}"),
            Self::Cr3 { value } => write!(f, "cr3 value={value:#x}"),
            Self::Invlpg { va } => write!(f, "invlpg va={:#x}", va.get()),
            Self::Syscall { number } => write!(f, "syscall number={number}"),
            Self::SetAccessedDirty { va, entries } => {
                write!(f, "set-ad va={:#x} entries={entries}", va.get())
            }
            Self::Mmio {
                at,
                direction,
                value,
            } => {
                write!(
                    f,
                    "mmio-{} at={:#x} value={value:#x}",
                    word(direction),
                    at.get()
                )
            }
            Self::Mark {
                mark,
                argument,
                cr3,
            } => write!(f, "mark {mark:#x} argument={argument:#x} cr3={cr3:#x}"),
            Self::Command {
                slot,
                command,
                lba,
                sectors,
            } => {
                write!(
                    f,
                    "command slot={slot} ata={command:#x} lba={lba} sectors={sectors}"
                )
            }
            Self::Sector { direction, lba, at } => {
                write!(f, "sector-{} lba={lba} at={at:#x}", word(direction))
            }
            Self::Completed { slot, status } => {
                write!(f, "completed slot={slot} status={status:#x}")
            }
            Self::Halt => f.write_str("halt"),
            Self::Startup { vector } => write!(f, "startup vector={vector:#x}"),
            Self::Missing { rip, bytes } => {
                write!(f, "missing-instruction rip={rip:#x} bytes={bytes:02x?}")
            }
        }
    }
}

const fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Read => "read",
        Direction::Write => "write",
    }
}
