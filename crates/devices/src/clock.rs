//! From the machine's ticks to the counts of a crystal, and back, without drift.

/// A counter of `hz` counts a second, on a machine with `ticks_per_second`.
#[derive(Clone, Copy, Debug)]
pub struct Crystal {
    hz: u64,
    ticks_per_second: u64,
}

impl Crystal {
    /// A crystal; a rate of 0 ticks a second counts as 1.
    #[must_use]
    pub const fn new(hz: u64, ticks_per_second: u64) -> Self {
        let ticks_per_second = if ticks_per_second == 0 {
            1
        } else {
            ticks_per_second
        };
        Self {
            hz,
            ticks_per_second,
        }
    }

    /// Whole counts at time `now`.
    #[must_use]
    pub fn counts(self, now: u64) -> u64 {
        let counts = u128::from(now) * u128::from(self.hz) / u128::from(self.ticks_per_second);
        u64::try_from(counts).unwrap_or(u64::MAX)
    }

    /// The first time at which there are `counts` counts.
    #[must_use]
    pub fn time(self, counts: u64) -> u64 {
        let ticks =
            (u128::from(counts) * u128::from(self.ticks_per_second)).div_ceil(u128::from(self.hz));
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::Crystal;

    #[test]
    fn the_time_of_a_count_is_the_first_with_that_count() {
        let crystal = Crystal::new(1_193_182, 192_000_000_000);
        for counts in [1, 2, 65_536, 1_193_182, u64::from(u32::MAX)] {
            let at = crystal.time(counts);
            assert_eq!(
                (crystal.counts(at - 1), crystal.counts(at)),
                (counts - 1, counts)
            );
        }
    }
}
