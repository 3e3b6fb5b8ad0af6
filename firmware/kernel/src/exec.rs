//! Programs: static ELF files of the archive, loaded whole.
//!
//! ```text
//! 40_0000h …           the file's PT_LOAD segments
//! 7fff_ff7f_0000h …    stack, 8 MiB, demand-zero; its top:
//!                      argc │ argv[0] … │ 0 │ 0 (no environment) │ AT_NULL │ strings
//! ```
//!
//! Not modelled: dynamic linking, position-independent files, demand loading,
//! interpreters, an environment.
//!
//! **Spec:** System V ABI "Program Header"; System V ABI AMD64 "Initial Stack and
//! Register State".

use crate::archive::{self, Entry};
use crate::errno::Errno;
use crate::memory;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use metal::{TrapFrame, frames, paging};
use vm::{AddressSpace, Placement, Prot, Sharing, USER_END};
use x86::VirtAddr;
use x86::addr::PAGE_BYTES;

/// Top of the stack.
const STACK_TOP: u64 = 0x7fff_ffff_0000;
const STACK_BYTES: u64 = 8 << 20;
/// Most bytes of arguments, so that they fit far below the stack's size.
pub(crate) const MAX_ARGUMENT_BYTES: usize = 64 << 10;
/// Most arguments.
pub(crate) const MAX_ARGUMENTS: usize = 256;
/// Bytes of a file its headers must lie in.
const HEADERS_BYTES: usize = 4096;
/// Bytes of a file in the kernel's hands at a time.
const CHUNK_BYTES: u64 = 64 << 10;

/// A program ready to run.
pub(crate) struct Program {
    /// Its memory.
    pub(crate) space: AddressSpace,
    /// The registers it starts with.
    pub(crate) frame: TrapFrame,
}

/// Loads the file at `path` with these arguments.
///
/// # Errors
///
/// ENOENT, ENOEXEC, EIO, ENOMEM, E2BIG; nothing is kept.
pub(crate) fn load(path: &str, args: &[String]) -> Result<Program, Errno> {
    let entry = archive::find(path).ok_or(Errno::ENOENT)?;
    let image = Image::read(&entry)?;
    let mut space = memory::with(|mem| AddressSpace::new(mem, &paging::kernel_half()))?;
    let built =
        load_segments(&mut space, &entry, &image).and_then(|()| build_stack(&mut space, args));
    match built {
        Ok(stack) => Ok(Program {
            space,
            frame: TrapFrame::starting_at(image.entry, stack),
        }),
        Err(error) => {
            memory::with(|mem| space.release(mem));
            Err(error)
        }
    }
}

/// A PT_LOAD header.
struct Segment {
    /// Where its first page begins.
    page: VirtAddr,
    start: u64,
    file_offset: u64,
    file_bytes: u64,
    memory_bytes: u64,
    prot: Prot,
}

/// What the headers say.
struct Image {
    entry: VirtAddr,
    segments: Vec<Segment>,
}

impl Image {
    fn read(entry: &Entry) -> Result<Self, Errno> {
        let mut bytes = vec![0; HEADERS_BYTES];
        let len = archive::read(entry, 0, &mut bytes).map_err(|_| Errno::EIO)?;
        bytes.truncate(len);
        Self::parse(&bytes, entry.size_bytes).ok_or(Errno::ENOEXEC)
    }

    /// Reads the headers, which must lie in the first [`HEADERS_BYTES`].
    fn parse(bytes: &[u8], file_bytes: u64) -> Option<Self> {
        const ELF64_LITTLE_ENDIAN: [u8; 6] = *b"\x7fELF\x02\x01";
        const ET_EXEC: u64 = 2;
        const EM_X86_64: u64 = 62;
        const HEADER_BYTES: u64 = 56;
        let whole = bytes.starts_with(&ELF64_LITTLE_ENDIAN)
            && number(bytes, 16, 2)? == ET_EXEC
            && number(bytes, 18, 2)? == EM_X86_64
            && number(bytes, 54, 2)? == HEADER_BYTES;
        if !whole {
            return None;
        }
        let table = number(bytes, 32, 8)?;
        let mut segments = Vec::new();
        for i in 0..number(bytes, 56, 2)? {
            let at = usize::try_from(table.checked_add(i * HEADER_BYTES)?).ok()?;
            segments.extend(Segment::parse(bytes.get(at..)?, file_bytes)?);
        }
        let entry = number(bytes, 24, 8).filter(|entry| *entry < USER_END)?;
        Some(Self {
            entry: VirtAddr::new(entry).ok()?,
            segments,
        })
    }
}

impl Segment {
    /// `Some(None)` if the header is not a PT_LOAD with bytes in memory.
    fn parse(header: &[u8], file_len: u64) -> Option<Option<Self>> {
        const PT_LOAD: u64 = 1;
        let [offset, start, file_bytes, memory_bytes] =
            [8, 16, 32, 40].map(|at| number(header, at, 8));
        let (file_offset, start) = (offset?, start?);
        let (file_bytes, memory_bytes) = (file_bytes?, memory_bytes?);
        if number(header, 0, 4)? != PT_LOAD || memory_bytes == 0 {
            return Some(None);
        }
        let in_file = file_offset.checked_add(file_bytes)? <= file_len;
        let in_user_half = start.checked_add(memory_bytes)? <= USER_END;
        if !in_file || !in_user_half || file_bytes > memory_bytes {
            return None;
        }
        let flags = number(header, 4, 4)?;
        Some(Some(Self {
            page: VirtAddr::new(start).ok()?.page_base(),
            start,
            file_offset,
            file_bytes,
            memory_bytes,
            prot: Prot {
                read: flags & 4 != 0,
                write: flags & 2 != 0,
                exec: flags & 1 != 0,
            },
        }))
    }
}

/// The little-endian number of `len` bytes at `at`.
fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(len)?)?;
    let digits = field.iter().rev();
    Some(digits.fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

fn load_segments(space: &mut AddressSpace, entry: &Entry, image: &Image) -> Result<(), Errno> {
    for segment in &image.segments {
        let len = segment.start - segment.page.get() + segment.memory_bytes;
        let taken = space.areas().any(|area| {
            area.range.start().get() < segment.page.get() + len
                && segment.page.get() < area.range.end()
        });
        if taken {
            return Err(Errno::ENOEXEC);
        }
        memory::with(|mem| {
            let at = Placement::Fixed(segment.page);
            space.mmap(mem, at, len, segment.prot, Sharing::Private)
        })?;
        load_bytes(space, entry, segment)?;
    }
    Ok(())
}

fn load_bytes(space: &mut AddressSpace, entry: &Entry, segment: &Segment) -> Result<(), Errno> {
    let mut done = 0;
    while done < segment.file_bytes {
        let len = (segment.file_bytes - done).min(CHUNK_BYTES);
        let mut chunk = vec![0; usize::try_from(len).map_err(|_| Errno::ENOMEM)?];
        let read = archive::read(entry, segment.file_offset + done, &mut chunk);
        if read.map_err(|_| Errno::EIO)? != chunk.len() {
            return Err(Errno::ENOEXEC);
        }
        fill(space, segment.start + done, &chunk)?;
        done += len;
    }
    Ok(())
}

/// Writes to pages of a space no CPU is in, whatever their rights.
fn fill(space: &mut AddressSpace, at: u64, bytes: &[u8]) -> Result<(), Errno> {
    let mut done = 0;
    while done < bytes.len() {
        let va = VirtAddr::new(at + done as u64).map_err(|_| Errno::EFAULT)?;
        let offset = va.offset_in(PAGE_BYTES);
        let room = usize::try_from(PAGE_BYTES - offset).map_err(|_| Errno::EFAULT)?;
        let len = room.min(bytes.len() - done);
        memory::with(|mem| {
            let frame = space.populate(mem, va)?;
            frames::write(frame.base().add(offset), &bytes[done..done + len]);
            Ok::<(), Errno>(())
        })?;
        done += len;
    }
    Ok(())
}

/// Maps the stack and puts the arguments on it; returns the stack pointer.
fn build_stack(space: &mut AddressSpace, args: &[String]) -> Result<VirtAddr, Errno> {
    let bottom = VirtAddr::new(STACK_TOP - STACK_BYTES).map_err(|_| Errno::EFAULT)?;
    memory::with(|mem| {
        let at = Placement::Fixed(bottom);
        space.mmap(mem, at, STACK_BYTES, Prot::READ_WRITE, Sharing::Private)
    })?;
    let mut strings = Vec::new();
    let mut offsets = Vec::new();
    for arg in args {
        offsets.push(strings.len() as u64);
        strings.extend_from_slice(arg.as_bytes());
        strings.push(0);
    }
    if strings.len() > MAX_ARGUMENT_BYTES || args.len() > MAX_ARGUMENTS {
        return Err(Errno::E2BIG);
    }
    let strings_at = STACK_TOP - strings.len() as u64;
    // argc, argv, its null, no environment, AT_NULL (two words).
    let mut words = vec![args.len() as u64];
    words.extend(offsets.iter().map(|offset| strings_at + offset));
    words.extend([0; 4]);
    let stack = (strings_at - 8 * words.len() as u64) & !0xf;
    let words: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
    fill(space, strings_at, &strings)?;
    fill(space, stack, &words)?;
    VirtAddr::new(stack).map_err(|_| Errno::EFAULT)
}
