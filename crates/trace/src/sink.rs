//! Where events go: nowhere, into text, into memory.

use crate::{Event, Source};
use std::io::{self, Write};

/// Receives events in the order they happen.
pub trait Sink {
    /// Takes one event. `at_cycles` is the clock of the processor that caused it,
    /// or the machine's for a device.
    fn event(&mut self, at_cycles: u64, source: Source, event: &Event);
}

/// Hands events to a sink, if there is one.
#[derive(Default)]
pub struct Tracer {
    sink: Option<Box<dyn Sink>>,
}

impl std::fmt::Debug for Tracer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracer")
            .field("on", &self.sink.is_some())
            .finish()
    }
}

impl Tracer {
    /// A tracer that hands everything to `sink`.
    #[must_use]
    pub fn new(sink: Box<dyn Sink>) -> Self {
        Self { sink: Some(sink) }
    }

    /// Emits `event`.
    #[inline]
    pub fn emit(&mut self, at_cycles: u64, source: Source, event: Event) {
        if let Some(sink) = &mut self.sink {
            sink.event(at_cycles, source, &event);
        }
    }
}

/// Writes one line per event: cycle, source, event with its fields.
///
/// The first write error ends the trace; [`Text::finish`] reports it.
#[derive(Debug)]
pub struct Text<W: Write> {
    out: W,
    error: Option<io::Error>,
}

impl<W: Write> Text<W> {
    /// A trace on `out`.
    pub const fn new(out: W) -> Self {
        Self { out, error: None }
    }

    /// Flushes, and tells whether all of the trace was written.
    ///
    /// # Errors
    ///
    /// The first error of the writer.
    pub fn finish(mut self) -> io::Result<W> {
        match self.error {
            Some(error) => Err(error),
            None => self.out.flush().map(|()| self.out),
        }
    }
}

impl<W: Write> Sink for Text<W> {
    fn event(&mut self, at_cycles: u64, source: Source, event: &Event) {
        if self.error.is_none() {
            self.error = writeln!(self.out, "{at_cycles:>12} {source} {event}").err();
        }
    }
}

/// A shared handle on a sink, for whoever wants it back after the run.
#[derive(Debug, Default)]
pub struct Memory<S>(pub std::rc::Rc<std::cell::RefCell<S>>);

impl<S> Clone for Memory<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Sink> Sink for Memory<S> {
    fn event(&mut self, at_cycles: u64, source: Source, event: &Event) {
        self.0.borrow_mut().event(at_cycles, source, event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_cycle_source_and_fields() {
        let mut text = Text::new(Vec::new());
        text.event(1200, Source::Cpu(1), &Event::Cr3 { value: 0x5000 });
        let out = String::from_utf8(text.finish().unwrap()).unwrap();
        assert_eq!(out, "        1200 cpu1 cr3 value=0x5000\n");
    }

    #[test]
    fn a_full_medium_is_reported_at_the_end() {
        let mut small = [0_u8; 8];
        let mut text = Text::new(&mut small[..]);
        text.event(0, Source::Disk, &Event::Halt);
        assert!(text.finish().is_err());
    }
}
