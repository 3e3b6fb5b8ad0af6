//! Why a kernel was refused: where in the file, what is there, what would do.

/// Longest command line in bytes, its terminator not counted.
pub const CMDLINE_MAX: usize = 2047;

/// Why a kernel was refused. Offsets are in the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// No ELF header, and nothing else that is known.
    #[error(
        "offset 0: {found}, expected the ELF magic 7f 45 4c 46 (no Multiboot header and no bzImage either)"
    )]
    NotElf {
        /// What is there.
        found: String,
    },
    /// A header field with a value that does not do.
    #[error("offset {offset:#x}: {found}, expected {expected}")]
    Header {
        /// Offset of the field.
        offset: u64,
        /// Its value.
        found: String,
        /// What would do.
        expected: &'static str,
    },
    /// The file ends before something its headers promise.
    #[error("offset {offset:#x}: {what} needs {need} bytes, the file ends at {len:#x}")]
    Truncated {
        /// What is cut off.
        what: String,
        /// Where it begins.
        offset: u64,
        /// Its length.
        need: u64,
        /// Length of the file.
        len: u64,
    },
    /// A part with more bytes in the file than in memory.
    #[error("{what}: file size {file:#x} is larger than memory size {memory:#x}")]
    FileLargerThanMemory {
        /// Which part.
        what: String,
        /// Bytes in the file.
        file: u64,
        /// Bytes in memory.
        memory: u64,
    },
    /// A part does not fit in RAM.
    #[error("{what}: {at:#x}..{end:#x} is not all RAM")]
    OutsideRam {
        /// Which part.
        what: String,
        /// First address.
        at: u64,
        /// First address after it.
        end: u64,
    },
    /// Two parts overlap in memory.
    #[error("{first} and {second} overlap in physical memory at {at:#x}")]
    Overlap {
        /// One.
        first: String,
        /// The other.
        second: String,
        /// First address both claim.
        at: u64,
    },
    /// No free memory for a part that may lie anywhere in a range.
    #[error("{what}: no {len:#x} free bytes of RAM between {from:#x} and {to:#x}")]
    NoRoom {
        /// Which part.
        what: String,
        /// Its length.
        len: u64,
        /// First address that would do.
        from: u64,
        /// First address that would not.
        to: u64,
    },
    /// Nothing to load.
    #[error("no PT_LOAD program header: nothing to load")]
    Empty,
    /// No PVH note.
    #[error(
        "no PVH entry: expected an ELF note named \"Xen\" of type 18 (XEN_ELFNOTE_PHYS32_ENTRY)"
    )]
    NoPvhNote,
    /// The PVH note's descriptor is not an address.
    #[error(
        "PVH note: entry is {0}, expected a 4- or 8-byte physical address below 4 GiB inside a segment"
    )]
    BadPvhNote(String),
    /// No Multiboot header.
    #[error(
        "no Multiboot header: expected magic 1badb002 at a multiple of 4 in the first 8192 bytes, with flags and a checksum that add up to 0"
    )]
    NoMultibootHeader,
    /// The entry point lies outside what is loaded.
    #[error("entry point {0:#x}, expected an address below 4 GiB in what is loaded")]
    BadEntry(u64),
    /// The protocol has no place for so many modules.
    #[error("{given} modules: {protocol} takes at most {most}")]
    Modules {
        /// The boot protocol.
        protocol: &'static str,
        /// How many were given.
        given: usize,
        /// How many it takes.
        most: usize,
    },
    /// The command line is too long or holds a NUL.
    #[error("command line of {len} bytes: expected at most {most} bytes without NUL")]
    CommandLine {
        /// Its length.
        len: usize,
        /// The longest that would do.
        most: usize,
    },
}

/// `need` bytes of the file at `offset`.
pub(super) fn slice<'f>(
    file: &'f [u8],
    offset: u64,
    need: u64,
    what: &str,
) -> Result<&'f [u8], LoadError> {
    let end = offset.checked_add(need);
    let range = usize::try_from(offset)
        .ok()
        .zip(end.and_then(|end| usize::try_from(end).ok()));
    let bytes = range.and_then(|(from, to)| file.get(from..to));
    bytes.ok_or_else(|| LoadError::Truncated {
        what: what.to_owned(),
        offset,
        need,
        len: file.len() as u64,
    })
}

/// The command line with its terminator.
pub(super) fn c_string(text: &str, most: usize) -> Result<Vec<u8>, LoadError> {
    if text.len() > most || text.contains('\0') {
        return Err(LoadError::CommandLine {
            len: text.len(),
            most,
        });
    }
    Ok([text.as_bytes(), b"\0"].concat())
}
