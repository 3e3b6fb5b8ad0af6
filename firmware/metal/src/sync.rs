//! The kernel's one lock.
//!
//! The kernel runs with interrupts off, so a lock needs no more than one word; but
//! for the same reason a CPU that waits here takes no shootdown interrupt. It
//! therefore serves shootdowns while it spins: the holder may be the CPU that
//! waits for the answer.
//!
//! **Spec:** SDM 3A "Locked Atomic Operations"; SDM 2 "PAUSE".

use crate::{CpuIndex, tlb};
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicUsize, Ordering};

/// Nobody holds the lock.
pub(crate) const FREE: usize = usize::MAX;

/// A value only one CPU at a time may reach.
pub struct SpinLock<T> {
    /// Index of the CPU inside, or [`FREE`].
    owner: AtomicUsize,
    value: UnsafeCell<T>,
}

// SAFETY: `lock` lets one CPU in at a time, so sharing the lock only ever moves
// access to the value between CPUs, which `T: Send` allows.
unsafe impl<T: Send> Sync for SpinLock<T> {}

impl<T> SpinLock<T> {
    /// A free lock around `value`.
    pub const fn new(value: T) -> Self {
        Self {
            owner: AtomicUsize::new(FREE),
            value: UnsafeCell::new(value),
        }
    }

    /// Waits for the lock and takes it.
    ///
    /// # Panics
    ///
    /// If this CPU already holds it: it would wait for itself.
    pub fn lock(&self) -> Guard<'_, T> {
        let me = CpuIndex::current().get();
        while let Err(owner) =
            self.owner
                .compare_exchange_weak(FREE, me, Ordering::Acquire, Ordering::Relaxed)
        {
            assert!(owner != me, "a CPU takes a lock it holds");
            while self.owner.load(Ordering::Relaxed) != FREE {
                tlb::serve();
                core::hint::spin_loop();
            }
        }
        Guard { lock: self }
    }

    /// The value, where the borrow proves that nobody else has it.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: Default> Default for SpinLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// A held [`SpinLock`]; dropping it lets go.
pub struct Guard<'a, T> {
    lock: &'a SpinLock<T>,
}

impl<T> Guard<'static, T> {
    /// Keeps the lock held and gives its owner word, for [`crate::task::switch`]: this
    /// CPU lets go by storing [`FREE`] there.
    pub(crate) fn hand_over(self) -> &'static AtomicUsize {
        let owner = &self.lock.owner;
        core::mem::forget(self);
        owner
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: this guard is the proof that no other reference exists.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: likewise, and `&mut self` makes it the only one.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.lock.owner.store(FREE, Ordering::Release);
    }
}
