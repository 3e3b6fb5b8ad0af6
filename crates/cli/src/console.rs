//! The terminal as a serial console: raw while the guest runs, restored whatever happens.

use crossbeam::channel::{self, Receiver};
use crossterm::terminal;
use std::io::{self, IsTerminal, Read, Write};
use std::thread;

/// Ctrl-A: the next key is for us.
const ESCAPE: u8 = 0x01;
/// Ctrl-D: end of input for the guest's shell.
const END_OF_INPUT: u8 = 0x04;

/// What came from the keyboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// Bytes for the guest.
    Bytes(Vec<u8>),
    /// Ctrl-A x.
    Quit,
}

/// The terminal, or a pipe.
pub(crate) struct Console {
    input: Receiver<Typed>,
    raw: bool,
    to_stderr: bool,
}

impl Console {
    /// Takes the terminal; a thread reads it.
    pub(crate) fn open(to_stderr: bool) -> io::Result<Self> {
        let is_terminal = io::stdin().is_terminal();
        if is_terminal {
            terminal::enable_raw_mode()?;
        }
        let (send, input) = channel::unbounded();
        thread::spawn(move || {
            let mut splitter = Splitter {
                escape: is_terminal,
                escaped: false,
            };
            let mut buffer = [0; 1024];
            loop {
                let n = io::stdin().lock().read(&mut buffer).unwrap_or(0);
                if n == 0 {
                    // The end of a pipe ends the shell; keep it the guest's last input.
                    let _gone = send.send(Typed::Bytes(vec![END_OF_INPUT]));
                    return;
                }
                for typed in splitter.split(&buffer[..n]) {
                    if send.send(typed).is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Self {
            input,
            raw: is_terminal,
            to_stderr,
        })
    }

    /// Keys typed so far.
    pub(crate) fn typed(&self) -> impl Iterator<Item = Typed> {
        self.input.try_iter()
    }

    /// Waits a moment for a key: nothing else is going on.
    pub(crate) fn wait(&self) -> Option<Typed> {
        self.input
            .recv_timeout(std::time::Duration::from_millis(5))
            .ok()
    }

    /// Says something of our own on standard error.
    pub(crate) fn warn(&self, text: &str) {
        if self.raw {
            eprint!(
                "{}",
                String::from_utf8_lossy(&with_carriage_returns(text.as_bytes()))
            );
        } else {
            eprint!("{text}");
        }
    }

    /// Shows what the guest printed.
    pub(crate) fn print(&self, bytes: &[u8]) -> io::Result<()> {
        let text = if self.raw {
            with_carriage_returns(bytes)
        } else {
            bytes.to_vec()
        };
        if self.to_stderr {
            io::stderr().write_all(&text)
        } else {
            let mut out = io::stdout().lock();
            out.write_all(&text)?;
            out.flush()
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if self.raw && terminal::disable_raw_mode().is_err() {
            eprintln!("halfpage: the terminal could not be restored; `stty sane` helps");
        }
    }
}

/// In raw mode a line feed no longer returns the carriage.
fn with_carriage_returns(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 8);
    for &byte in bytes {
        if byte == b'\n' && out.last() != Some(&b'\r') {
            out.push(b'\r');
        }
        out.push(byte);
    }
    out
}

/// Sorts keys into those for the guest and those for us.
struct Splitter {
    escape: bool,
    escaped: bool,
}

impl Splitter {
    fn split(&mut self, bytes: &[u8]) -> Vec<Typed> {
        let mut out = Vec::new();
        let mut plain = Vec::new();
        for &byte in bytes {
            match (std::mem::take(&mut self.escaped), byte) {
                (true, b'x' | b'X') => {
                    out.push(Typed::Bytes(std::mem::take(&mut plain)));
                    out.push(Typed::Quit);
                }
                (false, ESCAPE) if self.escape => self.escaped = true,
                _ => plain.push(byte),
            }
        }
        out.push(Typed::Bytes(plain));
        out.retain(|t| !matches!(t, Typed::Bytes(b) if b.is_empty()));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_escape_key_quits_only_before_x_and_only_on_a_terminal() {
        let mut terminal = Splitter {
            escape: true,
            escaped: false,
        };
        assert_eq!(terminal.split(b"ls\x01"), [Typed::Bytes(b"ls".to_vec())]);
        assert_eq!(terminal.split(b"x"), [Typed::Quit]);
        assert_eq!(
            terminal.split(b"\x01\x01"),
            [Typed::Bytes(b"\x01".to_vec())]
        );
        let mut pipe = Splitter {
            escape: false,
            escaped: false,
        };
        assert_eq!(pipe.split(b"\x01x"), [Typed::Bytes(b"\x01x".to_vec())]);
    }

    #[test]
    fn a_line_feed_gets_one_carriage_return() {
        assert_eq!(with_carriage_returns(b"a\nb\r\nc"), b"a\r\nb\r\nc");
    }
}
