//! `halfpage image`: the kernel and the boot disk as files.

use crate::args::ImageArgs;
use crate::failure::Failure;
use crate::{Outcome, exit, output};
use std::fs;
use std::path::Path;

pub(crate) fn run(args: &ImageArgs) -> Outcome {
    fs::create_dir_all(&args.out).map_err(|source| Failure::File {
        path: args.out.clone(),
        source,
    })?;
    for (name, bytes) in [
        ("kernel.elf", images::KERNEL_ELF),
        ("boot-disk.img", images::BOOT_DISK),
    ] {
        let path = args.out.join(name);
        write_whole(&path, bytes)?;
        output::line(&format!("{} ({} bytes)", path.display(), bytes.len()))?;
    }
    Ok(exit::OK)
}

/// Writes beside the target and renames, so that no half file is ever found under its name.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failure = |source| Failure::File {
        path: path.to_owned(),
        source,
    };
    let partial = path.with_extension("partial");
    fs::write(&partial, bytes).map_err(failure)?;
    fs::rename(&partial, path).map_err(failure)
}
