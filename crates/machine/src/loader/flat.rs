//! Flat binaries: the whole file at one address, entered at its first byte.
//!
//! The processor is in 32-bit protected mode with flat segments, as for PVH; all
//! general registers are 0. There is no boot data: no command line, no modules.

use super::error::LoadError;
use super::plan::Plan;
use super::{Entry, Image};
use memory::Ram;

pub(super) fn load(ram: &Ram, image: &Image<'_>, at: u32) -> Result<Entry, LoadError> {
    if !image.modules.is_empty() {
        return Err(LoadError::Modules {
            protocol: "a flat binary",
            given: image.modules.len(),
            most: 0,
        });
    }
    if !image.cmdline.is_empty() {
        return Err(LoadError::CommandLine {
            len: image.cmdline.len(),
            most: 0,
        });
    }
    if image.file.is_empty() {
        return Err(LoadError::Truncated {
            what: "flat binary".into(),
            offset: 0,
            need: 1,
            len: 0,
        });
    }
    let mut plan = Plan::new(ram);
    plan.claim(
        "flat binary",
        at.into(),
        image.file,
        image.file.len() as u64,
    )?;
    plan.carry_out();
    Ok(Entry::Flat { eip: at })
}
