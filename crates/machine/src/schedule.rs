//! Which processor runs next, and for how long.
//!
//! Always the one whose clock is furthest behind, for a time slice drawn from the
//! seed: so processors interleave as on real hardware, never by luck.

use cost::Ticks;

/// Shortest and longest time slice, in cycles. Short against anything a kernel
/// waits for; long against the cost of switching.
const SLICE_CYCLES: std::ops::Range<u64> = 200..1200;

/// A seeded source of time slices.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    state: u64,
}

impl Schedule {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next slice.
    pub(crate) const fn slice(&mut self) -> Ticks {
        let span = SLICE_CYCLES.end - SLICE_CYCLES.start;
        Ticks::from_cycles(SLICE_CYCLES.start + self.next() % span)
    }

    /// SplitMix64 (Steele, Lea, Flood 2014): one addition and three mixes, any seed will do.
    const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = self.state;
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_slices_and_another_gives_others() {
        let slices = |seed| {
            let mut schedule = Schedule::new(seed);
            (0..100).map(|_| schedule.slice()).collect::<Vec<_>>()
        };
        assert_eq!(slices(7), slices(7));
        assert_ne!(slices(7), slices(8));
    }

    #[test]
    fn slices_stay_in_their_range() {
        let mut schedule = Schedule::new(0);
        for _ in 0..1000 {
            assert!(SLICE_CYCLES.contains(&schedule.slice().cycles()));
        }
    }
}
