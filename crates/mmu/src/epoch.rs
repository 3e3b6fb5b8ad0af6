//! Epochs: how everything cached for a PCID goes at once, at no cost.
//!
//! What is cached bears the epoch it was made in. A PCID has one epoch at a time, no two PCIDs
//! ever share one, and a flush begins the next: what bears an older one is dead without
//! being touched. [`tlb`](crate::tlb) and [`pcache`](crate::pcache) each keep a set of their own.
//!
//! Modelled: PCIDs as tags. Not modelled: a processor's freedom to keep but a few of the 4096 PCIDs apart.
//!
//! **Spec:** SDM 3A "Process-Context Identifiers (PCIDs)".

use x86::Pcid;

/// A number no two flushes share. Never comes round again: 2^64 flushes are out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Epoch(u64);

impl Epoch {
    /// The epoch of what was never made.
    pub(crate) const NEVER: Self = Self(0);

    /// The epoch after this one.
    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The epoch of every PCID, and which PCID is current.
#[derive(Clone, Debug)]
pub(crate) struct Epochs {
    /// By PCID, as far as PCIDs have been used.
    by_pcid: Vec<Epoch>,
    /// Epochs up to this one are over, whatever `by_pcid` says.
    over: Epoch,
    newest: Epoch,
    pcid: Pcid,
    current: Epoch,
}

impl Epochs {
    /// Nothing cached; PCID 0 is current.
    pub(crate) fn new() -> Self {
        let mut epochs = Self {
            by_pcid: Vec::new(),
            over: Epoch::NEVER,
            newest: Epoch::NEVER,
            pcid: Pcid::ZERO,
            current: Epoch::NEVER,
        };
        epochs.switch_to(Pcid::ZERO);
        epochs
    }

    /// The PCID in use.
    pub(crate) const fn pcid(&self) -> Pcid {
        self.pcid
    }

    /// The epoch in use: that of [`Self::pcid`].
    #[inline]
    pub(crate) const fn current(&self) -> Epoch {
        self.current
    }

    /// The epoch of `pcid`, if it has one.
    pub(crate) fn of(&self, pcid: Pcid) -> Option<Epoch> {
        let epoch = *self.by_pcid.get(usize::from(pcid.get()))?;
        (epoch > self.over).then_some(epoch)
    }

    /// An epoch that belongs to no PCID.
    pub(crate) const fn fresh(&mut self) -> Epoch {
        self.newest = self.newest.next();
        self.newest
    }

    /// Makes `pcid` current, with what is cached for it.
    pub(crate) fn switch_to(&mut self, pcid: Pcid) {
        self.pcid = pcid;
        match self.of(pcid) {
            Some(epoch) => self.current = epoch,
            None => self.begin(pcid),
        }
    }

    /// Ends the epoch of `pcid`.
    pub(crate) fn end(&mut self, pcid: Pcid) {
        if pcid == self.pcid {
            self.begin(pcid);
        } else if let Some(epoch) = self.by_pcid.get_mut(usize::from(pcid.get())) {
            *epoch = Epoch::NEVER;
        }
    }

    /// Ends the epoch of every PCID.
    pub(crate) fn end_all(&mut self) {
        self.over = self.newest;
        self.begin(self.pcid);
    }

    fn begin(&mut self, pcid: Pcid) {
        let index = usize::from(pcid.get());
        if self.by_pcid.len() <= index {
            self.by_pcid.resize(index + 1, Epoch::NEVER);
        }
        self.current = self.fresh();
        self.by_pcid[index] = self.current;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_of_two_pcids_end_apart_or_together() {
        let [one, two] = [Pcid::truncate(1), Pcid::truncate(2)];
        let mut epochs = Epochs::new();
        epochs.switch_to(one);
        let first = epochs.current();
        epochs.switch_to(two);
        let second = epochs.current();
        assert_ne!(first, second);
        assert_eq!(
            (epochs.of(one), epochs.of(two)),
            (Some(first), Some(second))
        );

        epochs.end(one);
        assert_eq!((epochs.of(one), epochs.of(two)), (None, Some(second)));
        epochs.end(two);
        assert_eq!(epochs.of(two), Some(epochs.current()));
        assert!(epochs.current() > second);

        epochs.switch_to(one);
        epochs.end_all();
        assert_eq!(
            (epochs.of(one), epochs.of(two)),
            (Some(epochs.current()), None)
        );
    }
}
