//! The ledger of one processor: its clock, and what moved it.

use std::fmt;
use std::ops::{Add, Mul};

/// A time or a price, in 1/64 cycle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticks(pub u64);

impl Ticks {
    /// Ticks in one cycle.
    pub const PER_CYCLE: u64 = 64;
    /// No time.
    pub const ZERO: Self = Self(0);
    /// Later than everything.
    pub const MAX: Self = Self(u64::MAX);

    /// This many whole cycles; stops at the end of time instead of wrapping.
    #[must_use]
    pub const fn from_cycles(cycles: u64) -> Self {
        Self(cycles.saturating_mul(Self::PER_CYCLE))
    }

    /// Whole cycles, rounded down.
    #[must_use]
    pub const fn cycles(self) -> u64 {
        self.0 / Self::PER_CYCLE
    }

    /// The time from `earlier` to this one; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

impl Add for Ticks {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Mul<u64> for Ticks {
    type Output = Self;
    fn mul(self, times: u64) -> Self {
        Self(self.0.saturating_mul(times))
    }
}

macro_rules! categories {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What a cycle was spent on. Exactly one per charge.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Category { $($(#[$doc])* $variant,)* }

        impl Category {
            /// All of them, in the order of tables.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// The name used in output.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

categories! {
    /// Instructions at CPL 3.
    UserInstr = "user_instr",
    /// Instructions at CPL 0–2.
    KernelInstr = "kernel_instr",
    /// Page-table entries read by the walker.
    Walk = "walk",
    /// Entries in which the walker set A or D.
    AdUpdate = "ad_update",
    /// String moves.
    Copy = "copy",
    /// String stores.
    Zero = "zero",
    /// Delivery of exceptions and software interrupts.
    ExcEntry = "exc_entry",
    /// IRET.
    ExcReturn = "exc_return",
    /// SYSCALL and SYSRET.
    Syscall = "syscall",
    /// INVLPG, MOV to CR3 and other flushes.
    Flush = "flush",
    /// Sending interprocessor interrupts.
    Ipi = "ipi",
    /// Device registers, and delivery of external interrupts.
    MmioIrq = "mmio_irq",
    /// Halted, or not yet started.
    Idle = "idle",
}

/// Clock and account of one processor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    now: Ticks,
    spent: [Ticks; Category::ALL.len()],
}

impl Ledger {
    /// The processor's clock: all it was ever charged.
    #[inline]
    #[must_use]
    pub const fn now(&self) -> Ticks {
        self.now
    }

    /// What was charged to `category`.
    #[must_use]
    pub const fn spent(&self, category: Category) -> Ticks {
        self.spent[category as usize]
    }

    /// Moves time on by `ticks` and books it: the only place where time moves.
    #[inline]
    pub fn charge(&mut self, category: Category, ticks: Ticks) {
        self.now = self.now + ticks;
        self.spent[category as usize] = self.spent[category as usize] + ticks;
        debug_assert!(self.adds_up());
    }

    /// Whether the clock is the sum of its categories.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.now.0 == self.spent.iter().map(|t| t.0).sum::<u64>()
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for category in Category::ALL {
            writeln!(
                f,
                "{:>14} {:>14}",
                category.name(),
                self.spent(category).cycles()
            )?;
        }
        writeln!(f, "{:>14} {:>14}", "total", self.now.cycles())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_the_sum_of_its_categories() {
        let mut ledger = Ledger::default();
        for (i, category) in (1..).zip(Category::ALL) {
            ledger.charge(category, Ticks(i));
        }
        let n = Category::ALL.len() as u64;
        assert_eq!(ledger.now(), Ticks(n * (n + 1) / 2));
        assert!(ledger.adds_up());
        assert_eq!(ledger.spent(Category::Idle), Ticks(n));
    }

    #[test]
    fn time_stops_at_the_end_instead_of_wrapping() {
        assert_eq!(Ticks::MAX + Ticks(1), Ticks::MAX);
        assert_eq!(Ticks::from_cycles(u64::MAX), Ticks::MAX);
    }
}
