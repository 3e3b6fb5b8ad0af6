//! What a system call answers when it cannot do what was asked.

use guest_abi::syscall::errno;
use vm::{FaultError, MapError, OutOfMemory};

/// A positive errno value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i64);

macro_rules! values {
    ($($name:ident),*) => { impl Errno { $(pub(crate) const $name: Self = Self(errno::$name);)* } };
}

values!(
    ENOENT, ESRCH, EIO, E2BIG, ENOEXEC, EBADF, ECHILD, EAGAIN, ENOMEM, EFAULT, EINVAL, EMFILE,
    ENOSPC, ENOSYS
);

/// What a system call returns: a value that is not negative, or an errno.
pub(crate) type SysResult = Result<i64, Errno>;

impl From<FaultError> for Errno {
    fn from(error: FaultError) -> Self {
        match error {
            FaultError::Sigsegv => Self::EFAULT,
            FaultError::OutOfMemory => Self::ENOMEM,
        }
    }
}

impl From<MapError> for Errno {
    fn from(error: MapError) -> Self {
        Self(error.errno())
    }
}

impl From<OutOfMemory> for Errno {
    fn from(OutOfMemory: OutOfMemory) -> Self {
        Self::ENOMEM
    }
}
