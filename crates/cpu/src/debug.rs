//! Breakpoints of the debug registers.
//!
//! While DR7 enables none and no trap flag is set nothing here is called: [`Core::run`] asks once
//! per block. Otherwise instructions run one at a time, and data accesses go through [`Core::watch`].
//!
//! Modelled: instruction, data and I/O breakpoints of all lengths, general detect, single step,
//! DR6, RF, and what MOV SS and POP SS hold off. Not modelled: branch trace, single step on branches.
//!
//! **Spec:** SDM 3B "Debug Registers", "Debug Exceptions", "Masking Exceptions and Interrupts When Switching Stacks".

use crate::block::CodeCache;
use crate::core::{Core, Pace};
use crate::exception::Exception;
use crate::segment::SegReg;
use crate::state::Cpu;
use cost::Ticks;
use x86::fault::Access;
use x86::{Cr0, Cr4, Rflags, VirtAddr};

/// DR6.BD: a debug register was accessed under DR7.GD.
pub(crate) const DR6_BD: u64 = 1 << 13;
/// DR6.BS: single step.
pub(crate) const DR6_BS: u64 = 1 << 14;
/// DR6.BT: task switch to a TSS with T set.
pub(crate) const DR6_BT: u64 = 1 << 15;
/// DR7.GD: the next access to a debug register raises #DB.
pub(crate) const DR7_GD: u64 = 1 << 13;

/// What there is to watch for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DebugState {
    /// Some breakpoint is enabled.
    pub(crate) armed: bool,
    /// DR6 bits of the trap due at the next instruction boundary.
    pub(crate) pending: u64,
    /// MOV SS and POP SS hold debug exceptions and NMI off for one instruction.
    pub(crate) stack_shadow: bool,
    /// Data accesses of this instruction are to be looked at.
    pub(crate) watching: bool,
}

/// R/W field of DR7: what a breakpoint waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Execute,
    Write,
    Io,
    ReadWrite,
}

/// One enabled breakpoint.
#[derive(Clone, Copy, Debug)]
struct Breakpoint {
    condition: Condition,
    first: u64,
    bytes: u64,
    /// Its bit in DR6.
    bit: u64,
}

impl Breakpoint {
    const fn overlaps(self, at: u64, len: u64) -> bool {
        self.first < at.wrapping_add(len) && at < self.first.wrapping_add(self.bytes)
    }
}

impl Cpu {
    /// Whether the next instruction needs more than its handler: asked once per block.
    #[inline]
    pub(crate) const fn needs_care(&self) -> bool {
        const CARE: u64 = Rflags::TF.bits() | Rflags::RF.bits() | Rflags::AC.bits();
        self.flags & CARE != 0
            || self.interrupt_shadow
            || self.debug.armed
            || self.debug.pending != 0
    }

    /// Writes DR7.
    pub(crate) const fn set_dr7(&mut self, value: u64) {
        self.dr[7] = value & 0xffff_23ff | 0x400;
        self.debug.armed = value & 0xff != 0;
    }

    fn breakpoints(&self) -> impl Iterator<Item = Breakpoint> {
        let (dr, io) = (self.dr, self.cr4().contains(Cr4::DE));
        (0..4)
            .filter(move |n| dr[7] >> (2 * n) & 3 != 0)
            .filter_map(move |n| {
                let control = dr[7] >> (16 + 4 * n);
                let condition = match control & 3 {
                    0 => Condition::Execute,
                    1 => Condition::Write,
                    2 if io => Condition::Io,
                    2 => return None,
                    _ => Condition::ReadWrite,
                };
                let bytes = match control >> 2 & 3 {
                    0 => 1,
                    1 => 2,
                    2 => 8,
                    _ => 4,
                };
                let first = dr[n] & !(bytes - 1);
                Some(Breakpoint {
                    condition,
                    first,
                    bytes,
                    bit: 1 << n,
                })
            })
    }

    /// DR6 bits of the breakpoints for which `hit` holds.
    fn hits(&self, hit: impl Fn(Breakpoint) -> bool) -> u64 {
        self.breakpoints()
            .filter(|b| hit(*b))
            .fold(0, |bits, b| bits | b.bit)
    }
}

impl Core<'_> {
    /// Runs one instruction, with debug exceptions where they are due; as far as ever if only RF
    /// or an AC without effect brought it here.
    #[cold]
    pub(crate) fn run_carefully(&mut self, cache: &mut CodeCache, until: Ticks) {
        let shadow = std::mem::take(&mut self.cpu.interrupt_shadow);
        let masked = std::mem::take(&mut self.cpu.debug.stack_shadow);
        if !masked && self.cpu.debug.pending != 0 {
            return self.raise_pending();
        }
        let resumed = self.cpu.flags & Rflags::RF.bits() != 0;
        if self.cpu.debug.armed && !masked && !resumed {
            self.cpu.debug.pending = self.instruction_breakpoints();
            if self.cpu.debug.pending != 0 {
                return self.raise_pending();
            }
        }
        self.cpu.flags &= !Rflags::RF.bits();
        self.single_step = self.cpu.flags & Rflags::TF.bits() != 0;
        let watching = self.cpu.debug.armed || self.checks_alignment();
        let pace = if shadow || self.single_step || watching {
            Pace::One
        } else {
            Pace::Until(until)
        };
        if watching {
            self.cpu.set_watching(true);
        }
        let result = self.run_cached(cache, pace);
        if watching {
            self.cpu.set_watching(false);
        }
        self.finish_carefully(result);
    }

    /// Traps of the instruction that has just ended; a fault has none.
    fn finish_carefully(&mut self, result: Result<(), Exception>) {
        if let Err(e) = result {
            self.cpu.debug.pending = 0;
            return self.raise(e);
        }
        if self.cpu.debug.stack_shadow {
            // MOV SS: its traps come after the next instruction, and it is not stepped.
            return;
        }
        if self.single_step {
            self.cpu.debug.pending |= DR6_BS;
        }
        if self.cpu.debug.pending != 0 {
            self.raise_pending();
        }
    }

    /// DR6 bits of the instruction breakpoints at CS:RIP.
    fn instruction_breakpoints(&self) -> u64 {
        let rip = self.cpu.rip();
        let at = if self.cpu.is_64bit() {
            rip
        } else {
            self.cpu.seg(SegReg::Cs).base.wrapping_add(rip) & 0xffff_ffff
        };
        self.cpu
            .hits(|b| b.condition == Condition::Execute && b.overlaps(at, 1))
    }

    /// #DB for what is pending; DR6 keeps why, until software clears it.
    fn raise_pending(&mut self) {
        self.cpu.dr[6] |= std::mem::take(&mut self.cpu.debug.pending);
        self.raise(Exception::Db);
    }

    /// Looks at a data access before it is made: alignment, then breakpoints, which trap afterwards.
    ///
    /// # Errors
    ///
    /// #AC at CPL 3 under CR0.AM and EFLAGS.AC, if `at` is no multiple of `len`.
    pub(crate) fn watch(
        &mut self,
        at: VirtAddr,
        len: u64,
        access: Access,
    ) -> Result<(), Exception> {
        if access == Access::Fetch {
            return Ok(());
        }
        // Sixteen bytes without an alignment of their own need that of eight.
        let alignment = if len.is_power_of_two() { len.min(8) } else { 1 };
        if self.checks_alignment() && !at.get().is_multiple_of(alignment) {
            return Err(Exception::Ac);
        }
        let hits = self.cpu.hits(|b| {
            let wanted = match b.condition {
                Condition::ReadWrite => true,
                Condition::Write => access == Access::Write,
                Condition::Execute | Condition::Io => false,
            };
            wanted && b.overlaps(at.get(), len)
        });
        self.cpu.debug.pending |= hits;
        Ok(())
    }

    /// Looks at an access to a port.
    pub(crate) fn watch_port(&mut self, port: u16, bytes: u64) {
        if self.cpu.debug.armed {
            let hits = self
                .cpu
                .hits(|b| b.condition == Condition::Io && b.overlaps(u64::from(port), bytes));
            self.cpu.debug.pending |= hits;
        }
    }

    /// Whether misaligned accesses raise #AC.
    pub(crate) fn checks_alignment(&self) -> bool {
        self.cpu.cpl == 3
            && self.cpu.flags & Rflags::AC.bits() != 0
            && self.cpu.cr0().contains(Cr0::AM)
    }
}
