//! Why a system call failed.
//!
//! Neighbours: `sys` makes these from negative results; the numbers are
//! `guest_abi`'s, and so Linux's.
//!
//! Not modelled: `errno` as a variable; errors are values here.
//!
//! **Spec:** Linux man-pages, errno(3).

use core::fmt;
use guest_abi::syscall::errno;

/// A positive `errno` number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(i64);

impl Errno {
    /// No such file.
    pub const ENOENT: Self = Self(errno::ENOENT);
    /// Argument list too long.
    pub const E2BIG: Self = Self(errno::E2BIG);
    /// Bad file descriptor.
    pub const EBADF: Self = Self(errno::EBADF);
    /// Not an executable this kernel loads.
    pub const ENOEXEC: Self = Self(errno::ENOEXEC);
    /// No child.
    pub const ECHILD: Self = Self(errno::ECHILD);
    /// Bad address.
    pub const EFAULT: Self = Self(errno::EFAULT);
    /// Invalid argument.
    pub const EINVAL: Self = Self(errno::EINVAL);
    /// Input/output error.
    pub const EIO: Self = Self(errno::EIO);
    /// No such system call.
    pub const ENOSYS: Self = Self(errno::ENOSYS);

    /// Splits a system call's result as the kernel encodes it: −4095..−1 is an error.
    pub(crate) fn split(result: i64) -> Result<u64, Self> {
        match result {
            -4095..=-1 => Err(Self(-result)),
            // The other negative values are addresses in the upper half.
            value => Ok(value.cast_unsigned()),
        }
    }

    fn describe(self) -> Option<&'static str> {
        Some(match self.0 {
            errno::EPERM => "operation not permitted",
            errno::ENOENT => "no such file",
            errno::ESRCH => "no such process",
            errno::EIO => "input/output error",
            errno::E2BIG => "argument list too long",
            errno::ENOEXEC => "not an executable",
            errno::EBADF => "bad file descriptor",
            errno::ECHILD => "no child",
            errno::EAGAIN => "try again",
            errno::ENOMEM => "out of memory",
            errno::EFAULT => "bad address",
            errno::EINVAL => "invalid argument",
            errno::EMFILE => "too many open files",
            errno::ENOSYS => "no such system call",
            _ => return None,
        })
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.describe() {
            Some(text) => f.write_str(text),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({}: {self})", self.0)
    }
}
