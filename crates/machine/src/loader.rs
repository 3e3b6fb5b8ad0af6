//! Loads a kernel by the PVH protocol: ELF segments to physical addresses, boot data beside them.
//!
//! Everything is checked before the first byte is written, so a refused kernel
//! leaves RAM untouched. Not modelled: modules, an RSDP (the field is 0).
//!
//! **Spec:** System V ABI "Program Header"; Xen "x86/HVM direct boot ABI".

use memory::Ram;
use object::LittleEndian as LE;
use object::elf::{self, FileHeader64, ProgramHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use x86::PhysAddr;
use x86::pvh::{E820_RAM, MAGIC, NOTE_NAME, NOTE_PHYS32_ENTRY};

/// Where [`x86::pvh::StartInfo`] lies.
const START_INFO: u32 = 0x6000;
/// Where the memory map lies.
const MEMMAP: PhysAddr = PhysAddr::new(0x6100);
/// Where the command line lies.
const CMDLINE: PhysAddr = PhysAddr::new(0x7000);
/// Longest command line in bytes, its terminator not counted.
pub const CMDLINE_MAX: usize = 2047;
/// First byte after the boot data; kernels may not be loaded below.
const BOOT_DATA_END: u64 = 0x8000;

/// What a processor needs to start the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Physical address to start at, in 32-bit mode.
    pub eip: u32,
    /// Physical address of the start information, for EBX.
    pub start_info: u32,
}

/// Why a kernel was refused. Offsets are in the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// No ELF header.
    #[error("offset 0: {found}, expected the ELF magic 7f 45 4c 46")]
    NotElf {
        /// What is there.
        found: String,
    },
    /// An ELF of another kind.
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
    /// A segment with more bytes in the file than in memory.
    #[error("program header {index}: file size {file:#x} is larger than memory size {memory:#x}")]
    FileLargerThanMemory {
        /// Number of the program header.
        index: usize,
        /// p_filesz.
        file: u64,
        /// p_memsz.
        memory: u64,
    },
    /// A segment does not fit in RAM, or lies on the boot data.
    #[error("program header {index}: {at:#x}..{end:#x} is not all RAM above {BOOT_DATA_END:#x}")]
    OutsideRam {
        /// Number of the program header.
        index: usize,
        /// p_paddr.
        at: u64,
        /// p_paddr + p_memsz.
        end: u64,
    },
    /// Two segments overlap in memory.
    #[error("program headers {first} and {second} overlap in physical memory at {at:#x}")]
    Overlap {
        /// Number of one.
        first: usize,
        /// Number of the other.
        second: usize,
        /// First address both claim.
        at: u64,
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
    /// The command line is too long or holds a NUL.
    #[error("command line of {len} bytes: expected at most {CMDLINE_MAX} bytes without NUL")]
    CommandLine {
        /// Its length.
        len: usize,
    },
}

/// One PT_LOAD header, checked against the file.
#[derive(Clone, Copy, Debug)]
struct Load {
    index: usize,
    offset: u64,
    file_bytes: u64,
    at: u64,
    end: u64,
}

/// Checks `elf` and puts it into RAM with the boot data.
///
/// # Errors
///
/// [`LoadError`]; RAM is unchanged.
pub fn load_pvh(ram: &Ram, elf: &[u8], cmdline: &str) -> Result<Entry, LoadError> {
    let header = parse_header(elf)?;
    let programs = program_headers(header, elf)?;
    let loads = loads(programs, elf, ram)?;
    let eip = pvh_entry(programs, elf, &loads)?;
    if cmdline.len() > CMDLINE_MAX || cmdline.contains('\0') {
        return Err(LoadError::CommandLine { len: cmdline.len() });
    }

    for load in &loads {
        let bytes = slice(elf, load.offset, load.file_bytes, "segment")?;
        let at = PhysAddr::new(load.at);
        let done = ram.write_bytes(at, bytes)
            && zero(
                ram,
                at.add(load.file_bytes),
                load.end - load.at - load.file_bytes,
            );
        assert!(done, "checked against RAM by `loads`");
    }
    write_boot_data(ram, cmdline);
    Ok(Entry {
        eip,
        start_info: START_INFO,
    })
}

fn zero(ram: &Ram, at: PhysAddr, len: u64) -> bool {
    const CHUNK: [u8; 4096] = [0; 4096];
    let mut done = 0;
    while done < len {
        let n = usize::try_from(len - done)
            .unwrap_or(usize::MAX)
            .min(CHUNK.len());
        if !ram.write_bytes(at.add(done), &CHUNK[..n]) {
            return false;
        }
        done += n as u64;
    }
    true
}

fn parse_header(elf: &[u8]) -> Result<&FileHeader64<LE>, LoadError> {
    if elf.get(..4) != Some(&[0x7f, b'E', b'L', b'F']) {
        let found = match elf.get(..4) {
            Some(bytes) => format!("{bytes:02x?}"),
            None => format!("a file of {} bytes", elf.len()),
        };
        return Err(LoadError::NotElf { found });
    }
    if elf.len() < size_of::<FileHeader64<LE>>() {
        return Err(LoadError::Truncated {
            what: "ELF header".into(),
            offset: 0,
            need: size_of::<FileHeader64<LE>>() as u64,
            len: elf.len() as u64,
        });
    }
    let refuse = |offset, found: String, expected| {
        Err(LoadError::Header {
            offset,
            found,
            expected,
        })
    };
    if elf::FileClass(elf[4]) != elf::ELFCLASS64 {
        return refuse(4, format!("class {}", elf[4]), "class 2 (64-bit)");
    }
    if elf::DataEncoding(elf[5]) != elf::ELFDATA2LSB {
        return refuse(
            5,
            format!("data encoding {}", elf[5]),
            "encoding 1 (little-endian)",
        );
    }
    let header = FileHeader64::<LE>::parse(elf).map_err(|e| LoadError::NotElf {
        found: e.to_string(),
    })?;
    let machine = header.e_machine(LE);
    if machine != elf::EM_X86_64 {
        return refuse(18, format!("machine {}", machine.0), "machine 62 (x86-64)");
    }
    let kind = header.e_type(LE);
    if kind != elf::ET_EXEC {
        return refuse(
            16,
            format!("type {}", kind.0),
            "type 2 (an executable at fixed addresses)",
        );
    }
    Ok(header)
}

fn program_headers<'e>(
    header: &FileHeader64<LE>,
    elf: &'e [u8],
) -> Result<&'e [ProgramHeader64<LE>], LoadError> {
    header
        .program_headers(LE, elf)
        .map_err(|_| LoadError::Truncated {
            what: "program header table".into(),
            offset: header.e_phoff(LE),
            need: u64::from(header.e_phnum(LE)) * size_of::<ProgramHeader64<LE>>() as u64,
            len: elf.len() as u64,
        })
}

fn slice<'e>(elf: &'e [u8], offset: u64, need: u64, what: &str) -> Result<&'e [u8], LoadError> {
    let bytes = usize::try_from(offset)
        .ok()
        .zip(
            offset
                .checked_add(need)
                .and_then(|end| usize::try_from(end).ok()),
        )
        .and_then(|(from, to)| elf.get(from..to));
    bytes.ok_or_else(|| LoadError::Truncated {
        what: what.to_owned(),
        offset,
        need,
        len: elf.len() as u64,
    })
}

fn loads(programs: &[ProgramHeader64<LE>], elf: &[u8], ram: &Ram) -> Result<Vec<Load>, LoadError> {
    let mut loads: Vec<Load> = Vec::new();
    for (index, program) in programs.iter().enumerate() {
        if program.p_type(LE) != elf::PT_LOAD || program.p_memsz(LE) == 0 {
            continue;
        }
        let load = check_load(index, program, elf, ram)?;
        if let Some(other) = loads.iter().find(|o| o.at < load.end && load.at < o.end) {
            return Err(LoadError::Overlap {
                first: other.index,
                second: index,
                at: load.at.max(other.at),
            });
        }
        loads.push(load);
    }
    if loads.is_empty() {
        Err(LoadError::Empty)
    } else {
        Ok(loads)
    }
}

fn check_load(
    index: usize,
    program: &ProgramHeader64<LE>,
    elf: &[u8],
    ram: &Ram,
) -> Result<Load, LoadError> {
    let (offset, file, memory) = (
        program.p_offset(LE),
        program.p_filesz(LE),
        program.p_memsz(LE),
    );
    if file > memory {
        return Err(LoadError::FileLargerThanMemory {
            index,
            file,
            memory,
        });
    }
    slice(elf, offset, file, &format!("program header {index}"))?;
    let at = program.p_paddr(LE);
    let end = at.saturating_add(memory);
    let in_ram = PhysAddr::try_new(at).is_some_and(|pa| ram.contains(pa, memory));
    if at < BOOT_DATA_END || !in_ram {
        return Err(LoadError::OutsideRam { index, at, end });
    }
    Ok(Load {
        index,
        offset,
        file_bytes: file,
        at,
        end,
    })
}

/// Finds the entry point in the notes.
fn pvh_entry(
    programs: &[ProgramHeader64<LE>],
    elf: &[u8],
    loads: &[Load],
) -> Result<u32, LoadError> {
    let desc = programs.iter().find_map(|program| {
        let mut notes = program.notes(LE, elf).ok()??;
        while let Ok(Some(note)) = notes.next() {
            if note.name_bytes() == NOTE_NAME && note.n_type(LE) == elf::NoteType(NOTE_PHYS32_ENTRY)
            {
                return Some(note.desc().to_vec());
            }
        }
        None
    });
    let desc = desc.ok_or(LoadError::NoPvhNote)?;
    let entry = match desc.len() {
        4 | 8 => desc
            .iter()
            .rev()
            .fold(0_u64, |value, byte| value << 8 | u64::from(*byte)),
        n => return Err(LoadError::BadPvhNote(format!("{n} bytes long"))),
    };
    let inside = loads.iter().any(|l| (l.at..l.end).contains(&entry));
    u32::try_from(entry)
        .ok()
        .filter(|_| inside)
        .ok_or_else(|| LoadError::BadPvhNote(format!("{entry:#x}")))
}

/// Start information, memory map and command line, where the protocol lets the kernel find them.
fn write_boot_data(ram: &Ram, cmdline: &str) {
    let ranges = ram.ranges();
    let mut map = Vec::new();
    for (base, len) in &ranges {
        map.extend(base.get().to_le_bytes());
        map.extend(len.to_le_bytes());
        map.extend(E820_RAM.to_le_bytes());
        map.extend(0_u32.to_le_bytes());
    }
    let mut info = Vec::new();
    for word in [MAGIC, 1, 0, 0] {
        info.extend(word.to_le_bytes());
    }
    for quad in [0, CMDLINE.get(), 0, MEMMAP.get()] {
        info.extend(quad.to_le_bytes());
    }
    let count = u32::try_from(ranges.len()).expect("RAM has three ranges at most");
    info.extend(count.to_le_bytes());
    info.extend(0_u32.to_le_bytes());
    let mut line = cmdline.as_bytes().to_vec();
    line.push(0);
    for (at, bytes) in [
        (PhysAddr::new(u64::from(START_INFO)), info),
        (MEMMAP, map),
        (CMDLINE, line),
    ] {
        assert!(
            ram.write_bytes(at, &bytes),
            "low memory is RAM on every machine"
        );
    }
}

#[cfg(test)]
mod tests;
