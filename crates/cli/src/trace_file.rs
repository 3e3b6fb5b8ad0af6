//! `--trace FILE`: events as text, complete or reported as not.

use crate::Outcome;
use crate::failure::Failure;
use std::cell::RefCell;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use trace::{Memory, Text, Tracer};

/// A trace being written.
pub(crate) struct TraceFile {
    path: PathBuf,
    sink: Memory<Text<BufWriter<File>>>,
}

impl TraceFile {
    /// Creates the file, or replaces it.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::create(path).map_err(|source| Failure::File {
            path: path.to_owned(),
            source,
        })?;
        let text = Text::new(BufWriter::new(file));
        Ok(Self {
            path: path.to_owned(),
            sink: Memory(Rc::new(RefCell::new(text))),
        })
    }

    /// The tracer to give to a machine.
    pub(crate) fn tracer(&self) -> Tracer {
        Tracer::new(Box::new(self.sink.clone()))
    }

    /// Ends the trace, after the machine is gone; `code` if all of it was written.
    pub(crate) fn finish(self, code: u8) -> Outcome {
        let Some(text) = Rc::into_inner(self.sink.0) else {
            unreachable!("the machine that held the other handle is gone");
        };
        match text.into_inner().finish() {
            Ok(_) => Ok(code),
            Err(source) => Err(Failure::File {
                path: self.path,
                source,
            }),
        }
    }
}
