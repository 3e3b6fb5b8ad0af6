//! The first instructions of a program, its arguments, its end by panic.
//!
//! The kernel enters at `_start` with the stack as Linux leaves it:
//!
//! ```text
//! RSP → argc │ argv[0] … argv[argc−1] │ 0 │ 0 (no environment)
//! ```
//!
//! Neighbours: [`entry!`](crate::entry) names the function that runs then.
//!
//! Not modelled: environment, auxiliary vector, thread-local storage.
//!
//! **Spec:** System V ABI AMD64 "Initial Stack and Register State".

// UNSAFETY: entry code, and strings that the kernel put on the stack.
#![expect(unsafe_code)]

use core::arch::global_asm;
use core::ffi::CStr;
use core::panic::PanicInfo;

use crate::println;
use crate::process::exit;

global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp", // the outermost frame, as the ABI asks
    "mov rdi, rsp",
    "and rsp, -16",
    "call {start}",
    "ud2",
    start = sym start,
);

// SAFETY: `entry!` defines it with this signature, once per program.
unsafe extern "Rust" {
    safe fn program_main(args: Args) -> i32;
}

/// Status of a program that panicked, as Rust programs have it elsewhere.
const PANIC_STATUS: i32 = 101;

/// # Safety
///
/// `stack` is the stack pointer at `_start`.
unsafe extern "C" fn start(stack: *const u64) -> ! {
    // SAFETY: argc is the word at the stack pointer.
    let argc = unsafe { stack.read() };
    let argc = usize::try_from(argc).expect("the kernel pushed fewer than 2^64 arguments");
    // SAFETY: argv begins one word above, and has `argc` pointers.
    let argv = unsafe { stack.add(1) };
    // SAFETY: as above; nobody writes them, they live as long as the program.
    let argv = unsafe { core::slice::from_raw_parts(argv.cast::<*const i8>(), argc) };
    exit(program_main(Args { argv }))
}

/// The program's arguments; the first is its own name.
#[derive(Clone)]
pub struct Args {
    argv: &'static [*const i8],
}

impl Iterator for Args {
    type Item = &'static str;

    fn next(&mut self) -> Option<&'static str> {
        let (&first, rest) = self.argv.split_first()?;
        self.argv = rest;
        // SAFETY: the kernel ended each argument with NUL; they live as long as the program.
        let argument = unsafe { CStr::from_ptr(first) };
        Some(argument.to_str().unwrap_or("(not UTF-8)"))
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    println!("{info}");
    exit(PANIC_STATUS)
}

/// Names the program's main function: `fn(Args) -> i32`, the exit status.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[unsafe(no_mangle)]
        fn program_main(args: $crate::Args) -> i32 {
            $main(args)
        }
    };
}
