//! Why a command did not run to its end, and what the shell is told.

use crate::exit;
use explore::race::RaceError;
use machine::{BuildError, OpenError, Stopped};
use std::io;
use std::path::PathBuf;

/// A failure, with the file it is about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A file could not be read or written.
    #[error("{}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// A kernel was refused.
    #[error("{name}")]
    Kernel { name: String, source: BuildError },
    /// A disk image was refused.
    #[error(transparent)]
    Disk(#[from] OpenError),
    /// A disk image was cut off.
    #[error("disk image {}: partition {partition} ends at sector {end}, the image has {sectors}: expected a whole image", path.display())]
    DiskTooSmall {
        path: PathBuf,
        partition: usize,
        end: u64,
        sectors: u64,
    },
    /// Arguments that do not go together.
    #[error("{0}")]
    Usage(String),
    /// A race came to no verdict.
    #[error("race {race} against {policy}")]
    Race {
        race: &'static str,
        policy: &'static str,
        source: Box<RaceError>,
    },
    /// Standard output or the terminal.
    #[error("console")]
    Console(#[source] io::Error),
}

impl Failure {
    /// Whoever read the output has gone: no failure worth a message.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Console(e) if e.kind() == io::ErrorKind::BrokenPipe)
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Kernel {
                source: BuildError::Ram(_) | BuildError::Cpus(_),
                ..
            } => 2,
            Self::File { .. }
            | Self::Kernel { .. }
            | Self::Disk(_)
            | Self::DiskTooSmall { .. }
            | Self::Console(_) => exit::BAD_FILE,
            Self::Race { source, .. } => match **source {
                RaceError::Stopped {
                    stopped: Stopped::Exit(_),
                    ..
                }
                | RaceError::Invalid { .. } => exit::DIFFERS,
                RaceError::Stopped { .. } => exit::GUEST_CRASH,
                RaceError::Limit { .. } => exit::LIMIT,
                RaceError::Build(_) | RaceError::Missing(_) => exit::DIFFERS,
            },
        }
    }
}

impl From<io::Error> for Failure {
    fn from(source: io::Error) -> Self {
        Self::Console(source)
    }
}

/// The failure and all that caused it, on one line.
pub(crate) fn chain(failure: &Failure) -> String {
    let mut text = failure.to_string();
    let mut cause = std::error::Error::source(failure);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
