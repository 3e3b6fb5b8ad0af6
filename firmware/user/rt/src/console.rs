//! Standard input and output: the serial console.
//!
//! Neighbours: [`print!`](crate::print) and [`println!`](crate::println) end here.
//!
//! A formatted message is gathered and written by as few system calls as fit, so that
//! lines of processes that run at the same time do not mix in the middle.
//!
//! Not modelled: standard error, buffering across messages.

use core::fmt::{self, Write};

use crate::errno::Errno;
use crate::sys;

const STDIN: u64 = 0;
const STDOUT: u64 = 1;

/// A message on its way to standard output.
struct Message {
    bytes: [u8; 256],
    len: usize,
}

impl Message {
    fn flush(&mut self) {
        // There is nobody to tell when the console itself fails.
        let _ = write_all(&self.bytes[..self.len]);
        self.len = 0;
    }
}

impl Write for Message {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.len == self.bytes.len() {
                self.flush();
            }
            self.bytes[self.len] = byte;
            self.len += 1;
        }
        Ok(())
    }
}

/// Writes a formatted message to standard output; [`print!`](crate::print) is its short form.
pub fn print(message: fmt::Arguments<'_>) {
    let mut out = Message {
        bytes: [0; 256],
        len: 0,
    };
    // A message never refuses text; a `Display` that fails ends its own output early.
    let _ = out.write_fmt(message);
    out.flush();
}

/// Writes bytes to standard output.
///
/// # Errors
///
/// What `write` returns; some of the bytes may be out by then.
pub fn write_all(mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match sys::write(STDOUT, bytes)? {
            0 => return Err(Errno::EIO),
            written => bytes = &bytes[written..],
        }
    }
    Ok(())
}

/// Reads what has been typed, waiting for at least one byte; 0 at the end of input.
///
/// # Errors
///
/// What `read` returns.
pub fn read(buf: &mut [u8]) -> Result<usize, Errno> {
    sys::read(STDIN, buf)
}

/// Writes to standard output.
#[macro_export]
macro_rules! print {
    ($($arg:tt)*) => { $crate::console::print(::core::format_args!($($arg)*)) };
}

/// Writes a line to standard output.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($format:literal $($arg:tt)*) => {
        $crate::console::print(::core::format_args!("{}\n", ::core::format_args!($format $($arg)*)))
    };
}
