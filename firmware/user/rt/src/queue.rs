//! Queued transfers: `io_submit` and `io_getevents`.
//!
//! Neighbours: [`crate::file`] for the blocking kind.
//!
//! Buffers live for ever, because a transfer may outlive whoever started it.
//!
//! Not modelled: lists of requests in one call, vectors, polling, event descriptors.
//!
//! **Spec:** Linux man-pages, io_submit(2), io_getevents(2).

use core::sync::atomic::AtomicU8;

use guest_abi::syscall::{IOCB_CMD_PREAD, IOCB_CMD_PWRITE, IoEvent};

use crate::errno::Errno;
use crate::file::File;
use crate::sys::{self, Request};

/// Queued transfers and their results; destroyed when dropped.
#[derive(Debug)]
pub struct Queue {
    context: u64,
}

/// A transfer that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// What the transfer was submitted with.
    pub tag: u64,
    /// Bytes transferred.
    pub result: Result<usize, Errno>,
}

impl Queue {
    /// Makes a queue for up to `depth` transfers at a time.
    ///
    /// # Errors
    ///
    /// What `io_setup` returns.
    pub fn new(depth: u64) -> Result<Self, Errno> {
        Ok(Self {
            context: sys::io_setup(depth)?,
        })
    }

    /// Starts a read from `offset` on.
    ///
    /// # Errors
    ///
    /// What `io_submit` returns; nothing has been started then.
    pub fn read(
        &self,
        file: &File,
        buf: &'static [AtomicU8],
        offset: u64,
        tag: u64,
    ) -> Result<(), Errno> {
        let request = Request {
            opcode: IOCB_CMD_PREAD,
            fd: file.fd(),
            buf,
            offset,
            tag,
        };
        sys::io_submit(self.context, &request)
    }

    /// Starts a write at `offset`.
    ///
    /// # Errors
    ///
    /// What `io_submit` returns; nothing has been started then.
    pub fn write(
        &self,
        file: &File,
        buf: &'static [AtomicU8],
        offset: u64,
        tag: u64,
    ) -> Result<(), Errno> {
        let request = Request {
            opcode: IOCB_CMD_PWRITE,
            fd: file.fd(),
            buf,
            offset,
            tag,
        };
        sys::io_submit(self.context, &request)
    }

    /// Waits for a transfer to end and takes it from the queue.
    ///
    /// # Errors
    ///
    /// What `io_getevents` returns.
    pub fn wait(&self) -> Result<Completion, Errno> {
        Ok(self
            .take(1)?
            .expect("io_getevents waits for as many events as asked for"))
    }

    /// Takes a transfer that has ended from the queue, if there is one.
    ///
    /// # Errors
    ///
    /// What `io_getevents` returns.
    pub fn try_wait(&self) -> Result<Option<Completion>, Errno> {
        self.take(0)
    }

    fn take(&self, min: usize) -> Result<Option<Completion>, Errno> {
        let mut events = [IoEvent::default()];
        let count = sys::io_getevents(self.context, min, &mut events)?;
        let [event] = events;
        Ok((count == 1).then(|| Completion {
            tag: event.data,
            result: Errno::split(event.res)
                .map(|bytes| usize::try_from(bytes).expect("usize has 64 bits here")),
        }))
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        sys::io_destroy(self.context).expect("an open queue can be destroyed");
    }
}
