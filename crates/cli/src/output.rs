//! Standard output that ends quietly when its reader goes away.

use crate::failure::Failure;
use std::io::{self, Write};

/// Prints one line.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(Failure::Console)
}

/// Prints one value as a line of JSON.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|e| Failure::Console(e.into()))?;
    line(&text)
}
