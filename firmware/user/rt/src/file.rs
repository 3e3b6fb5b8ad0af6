//! Files of the archive on the disk.
//!
//! Neighbours: [`crate::queue`] for transfers that do not block; [`crate::pages`] for the
//! buffers.
//!
//! Not modelled: creating, growing, seeking, directories; `read` keeps a position, the
//! positioned calls do not use it.
//!
//! **Spec:** Linux man-pages, open(2) "O_DIRECT", pread(2).

use core::sync::atomic::AtomicU8;

use guest_abi::syscall::{O_DIRECT, O_RDONLY, O_RDWR};

use crate::errno::Errno;
use crate::name::CName;
use crate::sys;

pub use crate::sys::Nowhere;

/// What an open file may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Reading.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// How bytes travel between the device and the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Through the kernel's page cache.
    Buffered,
    /// Between the device and the caller's own frames (`O_DIRECT`): address, length and
    /// offset are multiples of 512.
    Direct,
}

/// An open file, closed when dropped.
#[derive(Debug)]
pub struct File {
    fd: u64,
}

impl File {
    /// Opens the file of this name.
    ///
    /// # Errors
    ///
    /// What `open` returns.
    pub fn open(name: &str, mode: Mode, path: Path) -> Result<Self, Errno> {
        let mode = match mode {
            Mode::Read => O_RDONLY,
            Mode::ReadWrite => O_RDWR,
        };
        let path = match path {
            Path::Buffered => 0,
            Path::Direct => O_DIRECT,
        };
        let fd = sys::open(CName::new(name)?.as_c_str(), mode | path)?;
        Ok(Self { fd })
    }

    /// Reads on from where the last `read` ended; 0 at the end of the file.
    ///
    /// # Errors
    ///
    /// What `read` returns.
    pub fn read(&self, buf: &mut [u8]) -> Result<usize, Errno> {
        sys::read(self.fd, buf)
    }

    /// Reads from `offset` on, blocking until the bytes are there.
    ///
    /// # Errors
    ///
    /// What `pread` returns.
    pub fn pread(&self, buf: &[AtomicU8], offset: u64) -> Result<usize, Errno> {
        sys::pread(self.fd, buf, offset)
    }

    /// Writes at `offset`, blocking until the device has the bytes.
    ///
    /// # Errors
    ///
    /// What `pwrite` returns.
    pub fn pwrite(&self, buf: &[AtomicU8], offset: u64) -> Result<usize, Errno> {
        sys::pwrite(self.fd, buf, offset)
    }

    /// Tries to read to where no memory is: for tests of the kernel's checks.
    ///
    /// # Errors
    ///
    /// What `pread` returns: `EFAULT` from a kernel that checks.
    pub fn pread_nowhere(&self, at: Nowhere, len: u64, offset: u64) -> Result<usize, Errno> {
        sys::pread_nowhere(self.fd, at, len, offset)
    }

    pub(crate) fn fd(&self) -> u64 {
        self.fd
    }
}

impl Drop for File {
    fn drop(&mut self) {
        sys::close(self.fd).expect("an open file can be closed");
    }
}
