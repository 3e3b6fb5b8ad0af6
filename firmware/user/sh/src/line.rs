//! Lines from the console, and their words.
//!
//! Neighbours: `rt::console` for the bytes. Echo and editing are the console's: what
//! `read` returns is what was meant.
//!
//! Not modelled: history, completion.

use rt::console;

const LINE_BYTES: usize = 512;
const MAX_WORDS: usize = 32;

/// Text of bounded length.
pub(crate) struct Line {
    bytes: [u8; LINE_BYTES],
    len: usize,
}

impl Line {
    pub(crate) fn new() -> Self {
        Self {
            bytes: [0; LINE_BYTES],
            len: 0,
        }
    }

    /// Appends text; `None`, and nothing appended, if there is no room for all of it.
    pub(crate) fn push_str(&mut self, text: &str) -> Option<()> {
        self.push_bytes(text.as_bytes())
    }

    fn push_bytes(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len + bytes.len();
        self.bytes.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    /// The text; up to the first byte that is no UTF-8, if there is one.
    pub(crate) fn as_str(&self) -> &str {
        let valid = self.bytes[..self.len].utf8_chunks().next();
        valid.map_or("", |chunk| chunk.valid())
    }
}

/// What has been typed and not yet been used.
pub(crate) struct Input {
    bytes: [u8; 64],
    used: usize,
    len: usize,
}

impl Input {
    pub(crate) fn new() -> Self {
        Self {
            bytes: [0; 64],
            used: 0,
            len: 0,
        }
    }

    /// The next line, without its end; `None` at the end of input. What does not fit into
    /// a [`Line`] is dropped.
    pub(crate) fn read_line(&mut self) -> Option<Line> {
        let mut line = Line::new();
        loop {
            match self.next_byte()? {
                b'\n' | b'\r' => return Some(line),
                byte => {
                    let _ = line.push_bytes(&[byte]);
                }
            }
        }
    }

    fn next_byte(&mut self) -> Option<u8> {
        if self.used == self.len {
            self.used = 0;
            // A console that cannot be read is one at its end.
            self.len = console::read(&mut self.bytes).unwrap_or(0);
        }
        let byte = *self.bytes[..self.len].get(self.used)?;
        self.used += 1;
        Some(byte)
    }
}

/// The words of a command; those beyond the 32nd are dropped.
pub(crate) struct Words<'a> {
    words: [&'a str; MAX_WORDS],
    count: usize,
}

impl<'a> Words<'a> {
    pub(crate) fn split(command: &'a str) -> Self {
        let mut split = Self {
            words: [""; MAX_WORDS],
            count: 0,
        };
        for (slot, word) in split.words.iter_mut().zip(command.split_ascii_whitespace()) {
            *slot = word;
            split.count += 1;
        }
        split
    }

    pub(crate) fn as_slice(&self) -> &[&'a str] {
        &self.words[..self.count]
    }
}
