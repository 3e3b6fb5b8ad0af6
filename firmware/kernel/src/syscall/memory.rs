//! `mmap`, `munmap`, `madvise`, `pagemap`.
//!
//! **Spec:** Linux man-pages `mmap(2)`, `madvise(2)`.

use crate::errno::{Errno, SysResult};
use crate::process::Process;
use crate::user;
use guest_abi::syscall::{MADV_DOFORK, MADV_DONTFORK, MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED};
use vm::{ForkAdvice, Placement, Prot, Sharing};
use x86::VirtAddr;

/// `mmap(addr, len, prot, flags, -1, 0)`.
pub(super) fn mmap(process: &Process, arguments: [u64; 6]) -> SysResult {
    let [at, len, prot, flags, _, _] = arguments;
    let prot = Prot::from_bits(prot).ok_or(Errno::EINVAL)?;
    let sharing = match flags.checked_sub(MAP_ANONYMOUS) {
        Some(MAP_PRIVATE) => Sharing::Private,
        Some(MAP_SHARED) => Sharing::Shared,
        _ => return Err(Errno::EINVAL),
    };
    let placement = match VirtAddr::new(at) {
        Ok(hint) if at != 0 => Placement::Hint(hint),
        _ => Placement::Anywhere,
    };
    let start =
        process.with_space(|space, mem| space.mmap(mem, placement, len, prot, sharing))??;
    Ok(start.get().cast_signed())
}

/// `munmap(addr, len)`.
pub(super) fn munmap(process: &Process, at: u64, len: u64) -> SysResult {
    let at = VirtAddr::new(at).map_err(|_| Errno::EINVAL)?;
    process.with_space(|space, mem| space.munmap(mem, at, len))??;
    Ok(0)
}

/// `madvise(addr, len, advice)`.
pub(super) fn madvise(process: &Process, at: u64, len: u64, advice: u64) -> SysResult {
    let at = VirtAddr::new(at).map_err(|_| Errno::EINVAL)?;
    let advice = match advice {
        MADV_DONTFORK => ForkAdvice::DontFork,
        MADV_DOFORK => ForkAdvice::DoFork,
        _ => return Err(Errno::EINVAL),
    };
    process.with_space(|space, _| space.madvise(at, len, advice))??;
    Ok(0)
}

/// `pagemap(addr, &PageInfo)`.
pub(super) fn pagemap(process: &Process, at: u64, into: u64) -> SysResult {
    let at = VirtAddr::new(at).map_err(|_| Errno::EINVAL)?;
    let info = process.with_space(|space, mem| space.page_info(mem, at))?;
    user::write(process, into, &info)?;
    Ok(0)
}
