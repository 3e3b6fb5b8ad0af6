//! `memcpy` and its kin, which the compiler assumes and the host triple's
//! `compiler_builtins` does not supply.
//!
//! Bodies are string instructions or volatile loops: anything else the optimiser
//! would turn into a call of the very function it stands in.

use core::arch::asm;

/// Copies `n` bytes between ranges that do not overlap.
///
/// # Safety
///
/// `d` is writable and `s` readable for `n` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn memcpy(d: *mut u8, s: *const u8, n: usize) -> *mut u8 {
    // SAFETY: the caller promises both ranges; DF is clear by the ABI.
    unsafe {
        asm!(
            "rep movsb",
            inout("rcx") n => _,
            inout("rdi") d => _,
            inout("rsi") s => _,
            options(nostack, preserves_flags)
        );
    }
    d
}

/// Copies `n` bytes between ranges that may overlap.
///
/// # Safety
///
/// As [`memcpy`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn memmove(d: *mut u8, s: *const u8, n: usize) -> *mut u8 {
    if d.addr().wrapping_sub(s.addr()) >= n {
        // SAFETY: same promise; a forward copy never reads what it wrote.
        return unsafe { memcpy(d, s, n) };
    }
    // SAFETY: the caller promises both ranges; `d` is inside the source, so the
    // copy runs downwards, and DF is clear again at the end.
    unsafe {
        asm!("std", "rep movsb", "cld",
            inout("rcx") n => _,
            inout("rdi") d.wrapping_add(n).wrapping_sub(1) => _,
            inout("rsi") s.wrapping_add(n).wrapping_sub(1) => _,
            options(nostack));
    }
    d
}

/// Fills `n` bytes with the low byte of `c`.
///
/// # Safety
///
/// `d` is writable for `n` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn memset(d: *mut u8, c: i32, n: usize) -> *mut u8 {
    // SAFETY: the caller promises the range; DF is clear by the ABI.
    unsafe {
        asm!(
            "rep stosb",
            inout("rcx") n => _,
            inout("rdi") d => _,
            in("eax") c,
            options(nostack, preserves_flags)
        );
    }
    d
}

/// Compares `n` bytes as unsigned numbers.
///
/// # Safety
///
/// Both ranges are readable for `n` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    for i in 0..n {
        // SAFETY: `i` is below `n`, so inside the range the caller promises.
        let x = unsafe { a.wrapping_add(i).read_volatile() };
        // SAFETY: likewise.
        let y = unsafe { b.wrapping_add(i).read_volatile() };
        if x != y {
            return i32::from(x) - i32::from(y);
        }
    }
    0
}

/// [`memcmp`] for equality only.
///
/// # Safety
///
/// As [`memcmp`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    // SAFETY: same promise.
    unsafe { memcmp(a, b, n) }
}

/// Length of a NUL-terminated string.
///
/// # Safety
///
/// `s` is readable up to and including a NUL.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn strlen(s: *const u8) -> usize {
    let mut n = 0;
    // SAFETY: no byte before `n` is NUL, so byte `n` is inside the promise.
    while unsafe { s.wrapping_add(n).read_volatile() } != 0 {
        n += 1;
    }
    n
}

/// Named by landing pads of the precompiled `alloc`, which was built to unwind;
/// with `panic = "abort"` nothing reaches it.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn _Unwind_Resume() -> ! {
    unreachable!("nothing unwinds here")
}

/// Named by unwind tables of the precompiled `core` and `alloc` when LTO is off.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn rust_eh_personality() {}
