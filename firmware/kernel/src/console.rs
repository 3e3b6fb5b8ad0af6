//! The console: a 16550 on 3F8h, polled, and a line discipline for what it receives.
//!
//! Input is looked for at every tick of the first CPU, which is often enough for the
//! 16 bytes of its FIFO. What is not yet read stays in the FIFO once [`MAX_PENDING`]
//! bytes wait here, so the sender is slowed and nothing is lost.
//!
//! Not modelled: the UART's interrupt (on a PC it needs an I/O APIC), flow control
//! lines, modes other than canonical with echo.
//!
//! **Spec:** National Semiconductor PC16550D "Registers".

use crate::process::Ending;
use crate::sched::{self, Channel};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use metal::{SpinLock, port};

const BASE: u16 = 0x3f8;
/// Receiver buffer, transmitter holding; divisor low while DLAB is set.
const DATA: u16 = BASE;
/// Interrupt enable; divisor high while DLAB is set.
const IER: u16 = BASE + 1;
const FCR: u16 = BASE + 2;
const LCR: u16 = BASE + 3;
const MCR: u16 = BASE + 4;
const LSR: u16 = BASE + 5;

const LSR_DATA_READY: u8 = 1 << 0;
const LSR_THR_EMPTY: u8 = 1 << 5;
/// What an absent port reads.
const ABSENT: u8 = 0xff;

/// Bytes of finished lines kept for readers.
const MAX_PENDING: usize = 4096;

static OUTPUT: SpinLock<Uart> = SpinLock::new(Uart);
static INPUT: SpinLock<Input> = SpinLock::new(Input {
    line: Vec::new(),
    lines: VecDeque::new(),
});

struct Uart;

impl Uart {
    fn put(&mut self, byte: u8) {
        while port::read8(LSR) & LSR_THR_EMPTY == 0 {
            core::hint::spin_loop();
        }
        port::write8(DATA, byte);
    }
}

impl Write for Uart {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.put(byte));
        Ok(())
    }
}

/// Sets 115,200 baud, 8 data bits, no parity, FIFOs on, interrupts off.
pub(crate) fn init() {
    for (register, value) in [
        (IER, 0),
        (LCR, 0x80),
        (DATA, 1),
        (IER, 0),
        (LCR, 0x03),
        (FCR, 0x07),
        (MCR, 0x03),
    ] {
        port::write8(register, value);
    }
}

/// Writes bytes, those of one call together.
pub(crate) fn write(bytes: &[u8]) {
    let mut uart = OUTPUT.lock();
    bytes.iter().for_each(|byte| uart.put(*byte));
}

/// Prints; see [`println!`].
pub(crate) fn print(text: fmt::Arguments<'_>) {
    // The UART takes every byte.
    let _ = OUTPUT.lock().write_fmt(text);
}

/// Prints from a panic, which may have come while the lock is held.
pub(crate) fn print_without_lock(text: fmt::Arguments<'_>) {
    let _ = Uart.write_fmt(text);
}

/// Prints a line on the console.
macro_rules! println {
    ($($argument:tt)*) => {
        $crate::console::print(format_args!("{}\n", format_args!($($argument)*)))
    };
}
pub(crate) use println;

struct Input {
    /// What has been typed of the current line.
    line: Vec<u8>,
    /// Finished lines, with their newline; an empty one is end of file.
    lines: VecDeque<Vec<u8>>,
}

impl Input {
    fn has_room(&self) -> bool {
        let finished: usize = self.lines.iter().map(|line| line.len().max(1)).sum();
        finished + self.line.len() < MAX_PENDING
    }

    /// Takes one byte; returns what to echo.
    fn take(&mut self, byte: u8) -> &'static [u8] {
        const CTRL_D: u8 = 4;
        const BACKSPACE: u8 = 8;
        const DELETE: u8 = 127;
        match byte {
            b'\r' | b'\n' => {
                self.line.push(b'\n');
                self.finish();
                b"\n"
            }
            CTRL_D => {
                self.finish();
                b""
            }
            BACKSPACE | DELETE if self.line.pop().is_some() => b"\x08 \x08",
            BACKSPACE | DELETE => b"",
            _ => {
                self.line.push(byte);
                core::slice::from_ref(&BYTES[usize::from(byte)])
            }
        }
    }

    fn finish(&mut self) {
        let line = core::mem::take(&mut self.line);
        self.lines.push_back(line);
    }
}

/// Every byte, to echo one without a buffer.
static BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut i = 0;
    while i < 256 {
        bytes[i] = i.to_le_bytes()[0];
        i += 1;
    }
    bytes
};

/// Takes what the UART has received. Called at every tick of one CPU.
pub(crate) fn poll() {
    let mut input = INPUT.lock();
    let mut finished = false;
    while input.has_room() {
        let status = port::read8(LSR);
        if status == ABSENT || status & LSR_DATA_READY == 0 {
            break;
        }
        write(input.take(port::read8(DATA)));
        finished = !input.lines.is_empty();
    }
    drop(input);
    if finished {
        sched::wake_all(Channel::Console);
    }
}

/// Takes up to `max` bytes of the next line, waiting for one; none at end of file.
pub(crate) fn read(max: usize) -> Result<Vec<u8>, Ending> {
    loop {
        let mut input = INPUT.lock();
        if let Some(mut line) = input.lines.pop_front() {
            if line.len() > max {
                let rest = line.split_off(max);
                input.lines.push_front(rest);
            }
            return Ok(line);
        }
        sched::sleep(Channel::Console, input)?;
    }
}
