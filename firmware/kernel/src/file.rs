//! Open files.
//!
//! fork's child shares the parent's open files, and with them the offset.
//!
//! Not modelled: `dup`, pipes, close-on-exec.

use crate::archive::{self, Entry};
use crate::block::Direction;
use crate::errno::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use guest_abi::syscall::{O_DIRECT, O_RDONLY, O_RDWR, O_WRONLY};
use metal::SpinLock;

/// Open files of one process at most.
const MAX_FILES: usize = 64;

/// How transfers of an open file go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// Through the kernel's memory, any bytes.
    Buffered,
    /// Between the device and the caller's own frames, whole sectors: O_DIRECT.
    Direct,
}

/// An open file of the archive.
pub(crate) struct ArchiveFile {
    /// Which.
    pub(crate) entry: Arc<Entry>,
    /// How its bytes go.
    pub(crate) path: Path,
    is_readable: bool,
    is_writable: bool,
    /// Where `read` and `write` go on.
    pub(crate) offset: SpinLock<u64>,
}

impl ArchiveFile {
    /// Whether it was opened for transfers this way.
    pub(crate) const fn allows(&self, direction: Direction) -> bool {
        match direction {
            Direction::Read => self.is_readable,
            Direction::Write => self.is_writable,
        }
    }
}

/// What a file descriptor stands for.
pub(crate) enum OpenFile {
    /// The serial console.
    Console,
    /// A file.
    Archive(ArchiveFile),
}

/// The file descriptors of a process.
#[derive(Clone, Default)]
pub(crate) struct Files {
    open: Vec<Option<Arc<OpenFile>>>,
}

impl Files {
    /// Descriptors 0, 1 and 2 on the console.
    pub(crate) fn console() -> Self {
        let console = Arc::new(OpenFile::Console);
        Self {
            open: Vec::from([const { None }; 3].map(|_: Option<()>| Some(console.clone()))),
        }
    }

    /// What `fd` stands for.
    ///
    /// # Errors
    ///
    /// EBADF.
    pub(crate) fn get(&self, fd: u64) -> Result<Arc<OpenFile>, Errno> {
        let file = usize::try_from(fd).ok().and_then(|fd| self.open.get(fd));
        file.cloned().flatten().ok_or(Errno::EBADF)
    }

    /// Gives a file the lowest free descriptor.
    ///
    /// # Errors
    ///
    /// EMFILE.
    pub(crate) fn insert(&mut self, file: OpenFile) -> Result<usize, Errno> {
        let free = self.open.iter().position(Option::is_none);
        let fd = free.unwrap_or(self.open.len());
        if fd >= MAX_FILES {
            return Err(Errno::EMFILE);
        }
        if fd == self.open.len() {
            self.open.push(None);
        }
        self.open[fd] = Some(Arc::new(file));
        Ok(fd)
    }

    /// Frees a descriptor.
    ///
    /// # Errors
    ///
    /// EBADF.
    pub(crate) fn close(&mut self, fd: u64) -> Result<(), Errno> {
        let slot = usize::try_from(fd)
            .ok()
            .and_then(|fd| self.open.get_mut(fd));
        slot.and_then(Option::take).map(drop).ok_or(Errno::EBADF)
    }
}

/// Opens a file of the archive.
///
/// # Errors
///
/// ENOENT, EINVAL for flags that mean nothing here.
pub(crate) fn open(name: &str, flags: u64) -> Result<OpenFile, Errno> {
    let access = flags & 3;
    if flags & !(O_DIRECT | 3) != 0 || access == 3 {
        return Err(Errno::EINVAL);
    }
    Ok(OpenFile::Archive(ArchiveFile {
        entry: archive::find(name).ok_or(Errno::ENOENT)?,
        path: if flags & O_DIRECT == 0 {
            Path::Buffered
        } else {
            Path::Direct
        },
        is_readable: access == O_RDONLY || access == O_RDWR,
        is_writable: access == O_WRONLY || access == O_RDWR,
        offset: SpinLock::new(0),
    }))
}
