//! Asynchronous transfers: contexts, what was submitted, what is done.
//!
//! A context is shared by its process and the transfers in flight, so it outlives
//! `io_destroy` and exit until the last one is done.
//!
//! Not modelled: timeouts, eventfd, cancelling, inheriting by fork.
//!
//! **Spec:** Linux man-pages `io_submit(2)`, `io_getevents(2)`.

use crate::errno::Errno;
use crate::process::Ending;
use crate::sched::{self, Channel};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use guest_abi::syscall::IoEvent;
use metal::SpinLock;

/// Most transfers one context may be made for.
const MAX_EVENTS: u64 = 1024;

/// A process's contexts by number.
pub(crate) type Contexts = BTreeMap<u64, Arc<Context>>;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// One context.
pub(crate) struct Context {
    /// Its number, which the program holds.
    pub(crate) id: u64,
    limit: usize,
    state: SpinLock<State>,
}

#[derive(Default)]
struct State {
    /// Submitted and not yet fetched, done or not.
    reserved: usize,
    done: VecDeque<IoEvent>,
}

impl Context {
    /// A context for up to `nr_events` transfers.
    ///
    /// # Errors
    ///
    /// EINVAL for none or too many.
    pub(crate) fn new(nr_events: u64) -> Result<Arc<Self>, Errno> {
        if nr_events == 0 || nr_events > MAX_EVENTS {
            return Err(Errno::EINVAL);
        }
        Ok(Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            limit: usize::try_from(nr_events).map_err(|_| Errno::EINVAL)?,
            state: SpinLock::default(),
        }))
    }

    /// Makes room for the event of one more transfer.
    ///
    /// # Errors
    ///
    /// EAGAIN if the context is full.
    pub(crate) fn reserve(&self) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if state.reserved == self.limit {
            return Err(Errno::EAGAIN);
        }
        state.reserved += 1;
        Ok(())
    }

    /// Takes back the room of a transfer that was not started.
    pub(crate) fn unreserve(&self) {
        self.state.lock().reserved -= 1;
    }

    /// Adds the event of a transfer that is done.
    pub(crate) fn complete(&self, event: IoEvent) {
        self.state.lock().done.push_back(event);
        sched::wake_all(Channel::Aio(self.id));
    }

    /// Takes up to `max` events, sleeping until there are `min`.
    pub(crate) fn fetch(&self, min: usize, max: usize) -> Result<Vec<IoEvent>, Ending> {
        loop {
            let mut state = self.state.lock();
            if state.done.len() >= min.min(max) {
                let len = state.done.len().min(max);
                state.reserved -= len;
                return Ok(state.done.drain(..len).collect());
            }
            sched::sleep(Channel::Aio(self.id), state)?;
        }
    }
}
