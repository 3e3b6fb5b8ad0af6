//! The local APIC's timer: counts down, once or again and again.
//!
//! It stores when it was set going and computes the rest, so it costs nothing
//! while it runs. Masking and vector belong to [`LocalApic`](super::LocalApic).
//!
//! **Spec:** SDM 3A "APIC Timer".

/// LVT timer bit 17.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Stops at 0.
    OneShot,
    /// Starts again from the initial count.
    Periodic,
}

/// Countdown state.
#[derive(Clone, Debug)]
pub struct Timer {
    ticks_per_count: u64,
    divide: u32,
    initial: u32,
    /// Count at time `since`; 0 while stopped.
    count: u32,
    since: u64,
}

impl Timer {
    pub(super) const fn new(ticks_per_count: u64) -> Self {
        let ticks_per_count = if ticks_per_count == 0 {
            1
        } else {
            ticks_per_count
        };
        Self {
            ticks_per_count,
            divide: 0,
            initial: 0,
            count: 0,
            since: 0,
        }
    }

    pub(super) const fn ticks_per_count(&self) -> u64 {
        self.ticks_per_count
    }

    pub(super) const fn initial(&self) -> u32 {
        self.initial
    }

    pub(super) const fn divide(&self) -> u32 {
        self.divide
    }

    /// Ticks one count takes: bits 3, 1, 0 of the divide register are 000 for 2 … 110 for 128, 111 for 1.
    const fn unit(&self) -> u64 {
        let code = self.divide >> 1 & 4 | self.divide & 3;
        let divisor = if code == 7 { 1 } else { 2 << code };
        self.ticks_per_count.saturating_mul(divisor)
    }

    /// A write of the initial count starts the timer; 0 stops it.
    pub(super) const fn start(&mut self, now: u64, initial: u32) {
        self.initial = initial;
        self.count = initial;
        self.since = now;
    }

    /// The new divisor holds for what is left of the count.
    pub(super) fn set_divide(&mut self, now: u64, value: u32, mode: Mode) {
        self.count = self.current(now, mode);
        self.since = now;
        self.divide = value & 0b1011;
    }

    /// The count at `now`.
    pub(super) fn current(&self, now: u64, mode: Mode) -> u32 {
        let passed = now.saturating_sub(self.since) / self.unit();
        if let Some(left) = u64::from(self.count)
            .checked_sub(passed)
            .filter(|&left| left > 0)
        {
            return u32::try_from(left).unwrap_or(self.count);
        }
        if mode == Mode::OneShot || self.count == 0 || self.initial == 0 {
            return 0;
        }
        let into_period = (passed - u64::from(self.count)) % u64::from(self.initial);
        u32::try_from(u64::from(self.initial) - into_period).unwrap_or(self.initial)
    }

    /// When the count reaches 0, while it runs.
    pub(super) const fn deadline(&self) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        Some(
            self.since
                .saturating_add(self.unit().saturating_mul(self.count as u64)),
        )
    }

    /// Lets time pass; whether the count reached 0 at least once.
    pub(super) fn advance(&mut self, now: u64, mode: Mode) -> bool {
        let Some(deadline) = self.deadline().filter(|&at| at <= now) else {
            return false;
        };
        match mode {
            Mode::OneShot => self.count = 0,
            Mode::Periodic => {
                let period = self.unit().saturating_mul(self.initial.into()).max(1);
                let whole = (now - deadline) / period * period;
                self.since = deadline.saturating_add(whole);
                self.count = self.initial;
            }
        }
        true
    }
}
