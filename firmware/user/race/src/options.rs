//! What the race programs can be told.
//!
//! Neighbours: [`crate::main`] reads these from the arguments.

use rt::pages::ForkAdvice;

/// How the transfer waits for its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A thread blocks in `pread` or `pwrite`.
    Blocking,
    /// `io_submit` starts it, `io_getevents` takes its result.
    Queued,
}

/// How to run a scenario.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What the child gets of the page that is transferred.
    pub advice: ForkAdvice,
    /// How the transfer waits.
    pub kind: Kind,
    /// How long to sleep after starting the transfer, so that it is in flight.
    pub settle_ms: u64,
}

/// The argument that was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadArgument<'a>(pub &'a str);

impl Options {
    const DEFAULT: Self = Self {
        advice: ForkAdvice::DoFork,
        kind: Kind::Blocking,
        settle_ms: 20,
    };

    /// Reads the arguments after the program's name.
    ///
    /// # Errors
    ///
    /// The first argument that is none of the options.
    pub fn parse<'a>(mut args: impl Iterator<Item = &'a str>) -> Result<Self, BadArgument<'a>> {
        let mut options = Self::DEFAULT;
        while let Some(arg) = args.next() {
            match arg {
                "--dontfork" => options.advice = ForkAdvice::DontFork,
                "--queued" => options.kind = Kind::Queued,
                "--settle-ms" => {
                    let value = args.next().and_then(|ms| ms.parse().ok());
                    options.settle_ms = value.ok_or(BadArgument(arg))?;
                }
                _ => return Err(BadArgument(arg)),
            }
        }
        Ok(options)
    }
}
