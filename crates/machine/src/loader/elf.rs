//! ELF files, 32 and 64 bits: the segments to load, the entry point, the PVH note.
//!
//! **Spec:** System V ABI "ELF Header", "Program Header", "Note Section".

use super::error::{LoadError, slice};
use super::plan::Plan;
use object::LittleEndian as LE;
use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use x86::pvh::{NOTE_NAME, NOTE_PHYS32_ENTRY};

/// The first four bytes of every ELF file.
pub(super) const MAGIC: [u8; 4] = *b"\x7fELF";

/// One PT_LOAD header.
#[derive(Clone, Copy, Debug)]
struct Load<'f> {
    index: usize,
    bytes: &'f [u8],
    memory: u64,
    vaddr: u64,
    paddr: u64,
}

/// What is needed of an ELF file.
#[derive(Debug)]
pub(super) struct Elf<'f> {
    entry: u64,
    loads: Vec<Load<'f>>,
    pvh_note: Option<&'f [u8]>,
}

impl<'f> Elf<'f> {
    /// Checks the headers against the file.
    pub(super) fn parse(file: &'f [u8]) -> Result<Self, LoadError> {
        if file.get(..4) != Some(&MAGIC) {
            return Err(LoadError::NotElf {
                found: first_bytes(file),
            });
        }
        match slice(file, 0, 16, "ELF header")?[4] {
            1 => Self::parse_class::<FileHeader32<LE>>(file),
            2 => Self::parse_class::<FileHeader64<LE>>(file),
            class => Err(refuse(
                4,
                format!("class {class}"),
                "class 1 (32-bit) or 2 (64-bit)",
            )),
        }
    }

    fn parse_class<H: FileHeader<Endian = LE>>(file: &'f [u8]) -> Result<Self, LoadError> {
        slice(file, 0, size_of::<H>() as u64, "ELF header")?;
        if file[5] != 1 {
            return Err(refuse(
                5,
                format!("data encoding {}", file[5]),
                "encoding 1 (little-endian)",
            ));
        }
        let header = H::parse(file).map_err(|e| LoadError::NotElf {
            found: e.to_string(),
        })?;
        check_header(header)?;
        let programs = header
            .program_headers(LE, file)
            .map_err(|_| LoadError::Truncated {
                what: "program header table".into(),
                offset: header.e_phoff(LE).into(),
                need: u64::from(header.e_phnum(LE)) * u64::from(header.e_phentsize(LE)),
                len: file.len() as u64,
            })?;
        let mut loads = Vec::new();
        for (index, program) in programs.iter().enumerate() {
            if program.p_type(LE) == elf::PT_LOAD && program.p_memsz(LE).into() != 0 {
                loads.push(Load::parse(file, index, program)?);
            }
        }
        let pvh_note = programs.iter().find_map(|program| pvh_note(file, program));
        Ok(Self {
            entry: header.e_entry(LE).into(),
            loads,
            pvh_note,
        })
    }

    /// Claims memory for all segments, at their physical addresses.
    pub(super) fn claim(&self, plan: &mut Plan<'f>) -> Result<(), LoadError> {
        if self.loads.is_empty() {
            return Err(LoadError::Empty);
        }
        self.loads.iter().try_for_each(|load| {
            plan.claim(
                &format!("program header {}", load.index),
                load.paddr,
                load.bytes,
                load.memory,
            )
        })
    }

    /// The entry point's physical address: e_entry is a linear address in most files, physical in some.
    pub(super) fn physical_entry(&self) -> Result<u32, LoadError> {
        let of = |start: fn(&Load<'_>) -> u64| {
            let inside = |l: &&Load<'_>| {
                self.entry
                    .checked_sub(start(l))
                    .is_some_and(|offset| offset < l.memory)
            };
            self.loads
                .iter()
                .find(inside)
                .map(|l| self.entry - start(l) + l.paddr)
        };
        let entry = of(|l| l.vaddr).or_else(|| of(|l| l.paddr));
        entry
            .and_then(|entry| u32::try_from(entry).ok())
            .ok_or(LoadError::BadEntry(self.entry))
    }

    /// The entry point the PVH note names.
    pub(super) fn pvh_entry(&self) -> Result<u32, LoadError> {
        let note = self.pvh_note.ok_or(LoadError::NoPvhNote)?;
        let entry = match note.len() {
            4 | 8 => note
                .iter()
                .rev()
                .fold(0_u64, |value, byte| value << 8 | u64::from(*byte)),
            n => return Err(LoadError::BadPvhNote(format!("{n} bytes long"))),
        };
        let inside = self.loads.iter().any(|l| {
            entry
                .checked_sub(l.paddr)
                .is_some_and(|offset| offset < l.memory)
        });
        let entry_32 = u32::try_from(entry).ok().filter(|_| inside);
        entry_32.ok_or_else(|| LoadError::BadPvhNote(format!("{entry:#x}")))
    }
}

impl<'f> Load<'f> {
    fn parse<P: ProgramHeader<Endian = LE>>(
        file: &'f [u8],
        index: usize,
        program: &P,
    ) -> Result<Self, LoadError> {
        let what = format!("program header {index}");
        let bytes = slice(
            file,
            program.p_offset(LE).into(),
            program.p_filesz(LE).into(),
            &what,
        )?;
        Ok(Self {
            index,
            bytes,
            memory: program.p_memsz(LE).into(),
            vaddr: program.p_vaddr(LE).into(),
            paddr: program.p_paddr(LE).into(),
        })
    }
}

fn check_header<H: FileHeader<Endian = LE>>(header: &H) -> Result<(), LoadError> {
    let kind = header.e_type(LE);
    if kind != elf::ET_EXEC {
        return Err(refuse(
            16,
            format!("type {}", kind.0),
            "type 2 (an executable at fixed addresses)",
        ));
    }
    let machine = header.e_machine(LE);
    if machine != elf::EM_X86_64 && machine != elf::EM_386 {
        return Err(refuse(
            18,
            format!("machine {}", machine.0),
            "machine 62 (x86-64) or 3 (i386)",
        ));
    }
    let size = size_of::<H::ProgramHeader>();
    if header.e_phnum(LE) != 0 && usize::from(header.e_phentsize(LE)) != size {
        let offset = if header.is_class_64() { 54 } else { 42 };
        let found = format!("program headers of {} bytes", header.e_phentsize(LE));
        return Err(refuse(
            offset,
            found,
            "the size its class gives: 56 (64-bit) or 32",
        ));
    }
    Ok(())
}

/// The descriptor of the PVH note, if `program` holds it.
fn pvh_note<'f, P: ProgramHeader<Endian = LE>>(file: &'f [u8], program: &P) -> Option<&'f [u8]> {
    let mut notes = program.notes(LE, file).ok()??;
    while let Ok(Some(note)) = notes.next() {
        if note.name_bytes() == NOTE_NAME && note.n_type(LE) == elf::NoteType(NOTE_PHYS32_ENTRY) {
            return Some(note.desc());
        }
    }
    None
}

fn refuse(offset: u64, found: String, expected: &'static str) -> LoadError {
    LoadError::Header {
        offset,
        found,
        expected,
    }
}

fn first_bytes(file: &[u8]) -> String {
    match file.get(..4) {
        Some(bytes) => format!("{bytes:02x?}"),
        None => format!("a file of {} bytes", file.len()),
    }
}
