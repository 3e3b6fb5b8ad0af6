//! One kernel per boot protocol: it prints what the loader handed it and ends through port F4h.

#![expect(
    clippy::unwrap_used,
    reason = "a kernel that cannot be assembled is a failed test"
)]

mod common;

use common::{AT, assemble, exit_with_eax, run};
use iced_x86::code_asm::{
    CodeAssembler, al, byte_ptr, cr0, cs, dword_ptr, dx, eax, ebx, ecx, esi, ptr, rsi,
};
use machine::{Format, Image, Module, Stopped};

/// Prints the string at ESI (below 4 GiB, in every mode) up to its NUL.
fn print_at_esi(a: &mut CodeAssembler) {
    let (mut next, mut done) = (a.create_label(), a.create_label());
    a.mov(dx, 0x3f8).unwrap();
    a.set_label(&mut next).unwrap();
    a.mov(al, byte_ptr(esi)).unwrap();
    a.test(al, al).unwrap();
    a.jz(done).unwrap();
    a.out(dx, al).unwrap();
    a.inc(esi).unwrap();
    a.jmp(next).unwrap();
    a.set_label(&mut done).unwrap();
    a.nop().unwrap();
}

/// EAX := 42 if flags, CR0 and CS are as 32-bit protocols promise, else 13.
fn check_32_bit_state(a: &mut CodeAssembler) {
    let (mut bad, mut end) = (a.create_label(), a.create_label());
    a.mov(eax, cr0).unwrap();
    a.and(eax, 0x8000_0001_u32 as i32).unwrap();
    a.cmp(eax, 1).unwrap();
    a.jne(bad).unwrap();
    a.mov(eax, cs).unwrap();
    a.test(eax, eax).unwrap();
    a.jz(bad).unwrap();
    a.mov(eax, 42).unwrap();
    a.jmp(end).unwrap();
    a.set_label(&mut bad).unwrap();
    a.mov(eax, 13).unwrap();
    a.set_label(&mut end).unwrap();
    a.nop().unwrap();
}

/// A Multiboot file by address fields: header, then code at AT + 20h.
fn multiboot(code: &[u8]) -> Vec<u8> {
    let (magic, flags) = (0x1bad_b002_u32, 1_u32 << 16 | 3);
    let checksum = 0_u32.wrapping_sub(magic).wrapping_sub(flags);
    let at = u32::try_from(AT).unwrap();
    let words = [magic, flags, checksum, at, at, 0, 0, at + 0x20];
    let mut file: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    file.extend(code);
    file
}

#[test]
fn a_multiboot_kernel_prints_its_command_line_and_its_module() {
    let code = assemble(32, AT + 0x20, |a| {
        let mut stop = a.create_label();
        a.cmp(eax, 0x2bad_b002).unwrap();
        a.jne(stop).unwrap();
        a.mov(esi, dword_ptr(ebx + 16)).unwrap();
        print_at_esi(a);
        a.mov(ecx, dword_ptr(ebx + 24)).unwrap();
        a.mov(esi, dword_ptr(ecx)).unwrap();
        print_at_esi(a);
        check_32_bit_state(a);
        a.set_label(&mut stop).unwrap();
        exit_with_eax(a);
    });
    let file = multiboot(&code);
    let mut image = Image::new("kernel", &file, "one two");
    image.modules = vec![Module {
        file: b"; a module\0",
        cmdline: "m".into(),
    }];
    assert_eq!(
        run(&image),
        ("kernel one two; a module".to_owned(), Stopped::Exit(42))
    );
}

#[test]
fn a_bzimage_starts_in_64_bit_mode_with_its_zero_page_in_rsi() {
    let code = assemble(64, AT + 0x200, |a| {
        a.mov(ebx, esi).unwrap();
        a.mov(esi, dword_ptr(rsi + 0x228)).unwrap();
        print_at_esi(a);
        a.mov(esi, dword_ptr(ebx + 0x218)).unwrap();
        print_at_esi(a);
        // CS is 10h, and a 64-bit shift shows 64-bit mode.
        a.mov(eax, cs).unwrap();
        a.mov(iced_x86::code_asm::rcx, 1_u64 << 32).unwrap();
        a.shr(iced_x86::code_asm::rcx, 32).unwrap();
        a.add(eax, ecx).unwrap();
        exit_with_eax(a);
    });
    let mut file = vec![0; 1024 + 0x200];
    file[0x1f1] = 1;
    file[0x201] = 0x6c;
    file[0x202..0x206].copy_from_slice(b"HdrS");
    file[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
    file[0x22c..0x230].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    file[0x232] = 0x20;
    file[0x236] = 1;
    file[0x238] = 0xff;
    file[0x258..0x260].copy_from_slice(&AT.to_le_bytes());
    file.extend(code);
    let mut image = Image::new("vmlinuz", &file, "console=ttyS0");
    image.modules = vec![Module {
        file: b" and an initrd\0",
        cmdline: String::new(),
    }];
    assert_eq!(
        run(&image),
        (
            "console=ttyS0 and an initrd".to_owned(),
            Stopped::Exit(0x11)
        )
    );
}

#[test]
fn a_flat_binary_starts_at_its_first_byte() {
    let code = assemble(32, 0x2_0000, |a| {
        check_32_bit_state(a);
        a.lea(ecx, ptr(eax)).unwrap();
        exit_with_eax(a);
    });
    let format = Format::Flat { load_at: 0x2_0000 };
    let image = Image {
        format,
        ..Image::new("flat", &code, "")
    };
    assert_eq!(run(&image), (String::new(), Stopped::Exit(42)));
}

#[test]
fn a_pvh_kernel_prints_its_command_line_and_its_module() {
    let code = assemble(32, AT, |a| {
        a.mov(esi, dword_ptr(ebx + 24)).unwrap();
        print_at_esi(a);
        a.mov(ecx, dword_ptr(ebx + 16)).unwrap();
        a.mov(esi, dword_ptr(ecx)).unwrap();
        print_at_esi(a);
        check_32_bit_state(a);
        exit_with_eax(a);
    });
    let file = pvh(&code);
    let mut image = Image::new("kernel", &file, "hello");
    image.modules = vec![Module {
        file: b" module\0",
        cmdline: "m".into(),
    }];
    assert_eq!(run(&image), ("hello module".to_owned(), Stopped::Exit(42)));
}

/// A PVH ELF file of one segment at AT, entered at its first byte.
fn pvh(code: &[u8]) -> Vec<u8> {
    let mut note: Vec<u8> = [4_u32, 8, 18]
        .iter()
        .flat_map(|w| w.to_le_bytes())
        .collect();
    note.extend(b"Xen\0");
    note.extend(AT.to_le_bytes());
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    for quad in [AT, 64, 0] {
        elf.extend(quad.to_le_bytes());
    }
    elf.extend([0; 4]);
    for half in [64_u16, 56, 2, 0, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    let mut offset = 64 + 2 * 56;
    for (kind, bytes) in [(1_u32, code), (4, &note[..])] {
        elf.extend(kind.to_le_bytes());
        elf.extend(7_u32.to_le_bytes());
        let len = bytes.len() as u64;
        for quad in [offset, AT, AT, len, len, 4] {
            elf.extend(quad.to_le_bytes());
        }
        offset += len;
    }
    [elf, code.to_vec(), note].concat()
}
