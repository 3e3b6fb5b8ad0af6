//! What a user meets: output, exit codes, errors that name the file and what was expected.

#![expect(
    clippy::unwrap_used,
    reason = "a command that cannot be run is a failed test"
)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

fn halfpage(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_halfpage"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may be gone before all is written.
    let _closed = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A kernel whose only instruction is `code`: no IDT, so any exception is a triple fault.
fn tiny_kernel(code: &[u8]) -> Vec<u8> {
    let entry = 0x10_0000_u64;
    let mut note = Vec::new();
    for word in [4_u32, 8, 18] {
        note.extend(word.to_le_bytes());
    }
    note.extend(b"Xen\0");
    note.extend(entry.to_le_bytes());
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    for quad in [entry, 64, 0] {
        elf.extend(quad.to_le_bytes());
    }
    elf.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 2, 0, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    let mut offset = 64 + 2 * 56;
    for (kind, bytes) in [(1_u32, code), (4, &note)] {
        elf.extend(kind.to_le_bytes());
        elf.extend(7_u32.to_le_bytes());
        let len = bytes.len() as u64;
        for quad in [offset, entry, entry, len, len, 4] {
            elf.extend(quad.to_le_bytes());
        }
        offset += len;
    }
    elf.extend(code);
    elf.extend(note);
    elf
}

#[test]
fn race_ends_with_a_table_in_which_all_agree() {
    let output = halfpage(&[], "");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let out = stdout(&output);
    let table: Vec<&str> = out.lines().rev().take_while(|l| !l.is_empty()).collect();
    assert_eq!(table.len(), 16, "15 runs under a head line: {out}");
    assert!(table[..15].iter().all(|l| l.contains(" yes ")));
}

#[test]
fn race_json_is_one_object_per_line() {
    let output = halfpage(&["race", "forward", "--policy", "baseline", "--json"], "");
    assert_eq!(code(&output), 0);
    let lines: Vec<serde_json::Value> = stdout(&output)
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["lost"], true);
    assert_eq!(lines[0]["agrees"], true);
}

#[test]
fn the_shell_runs_programs_and_its_status_is_the_exit_code() {
    let output = halfpage(&["boot"], "ls\nhello world\nexit 0\n");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let out = stdout(&output);
    assert!(
        out.contains("bin/forward") && out.contains("data/pattern.bin"),
        "{out}"
    );
    assert!(out.contains("argv[1] = world"), "{out}");
    assert_eq!(code(&halfpage(&["boot"], "exit 3\n")), 1);
}

#[test]
fn the_end_of_input_ends_the_shell() {
    assert_eq!(
        code(&halfpage(&["boot", "--max-cycles", "2000000000"], "ps\n")),
        0
    );
}

#[test]
fn boot_json_reports_a_ledger_that_adds_up() {
    let output = halfpage(&["boot", "--json"], "exit\n");
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(report["schema"], "boot/1");
    assert_eq!(report["stopped"], "exit");
    let ledger = report["ledger"].as_object().unwrap();
    let sum: u64 = ledger.values().map(|v| v.as_u64().unwrap()).sum();
    let total = report["cycles_total"].as_u64().unwrap();
    // Categories are rounded down to cycles one by one.
    assert!(
        (sum..=sum + 2 * ledger.len() as u64).contains(&total),
        "{sum} {total}"
    );
}

#[test]
fn two_boots_with_the_same_seed_leave_the_same_trace() {
    let files = Files::new();
    let trace = |name: &str| {
        let path = files.0.path().join(name);
        let args = [
            "boot",
            "--seed",
            "5",
            "--append",
            "init=/bin/hello",
            "--trace",
            text(&path),
        ];
        assert_eq!(code(&halfpage(&args, "")), 1, "hello ends with status 7");
        fs::read(path).unwrap()
    };
    let first = trace("a");
    assert!(first.len() > 10_000);
    assert!(first == trace("b"));
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for args in [
        &["frobnicate"][..],
        &["race", "sideways"],
        &["race", "--policy", "hope"],
        &["race", "--trace", "x"],
        &["boot", "--memory", "lots"],
        &["boot", "--memory", "3M1"],
        &["boot", "--memory", "1025K"],
        &["boot", "--cpus", "9"],
    ] {
        let output = halfpage(args, "");
        assert_eq!(code(&output), 2, "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn a_bad_kernel_is_exit_code_3_and_named_with_what_was_expected() {
    let files = Files::new();
    let no_note = {
        let mut elf = tiny_kernel(b"\xf4");
        let at = elf.windows(4).position(|w| w == b"Xen\0").unwrap();
        elf[at] = b'Y';
        elf
    };
    let whole = tiny_kernel(b"\xf4");
    for (name, bytes, expected) in [
        ("script", b"#!/bin/sh\n".to_vec(), "ELF magic"),
        ("empty", Vec::new(), "ELF magic"),
        ("cut", whole[..100].to_vec(), "the file ends at 0x64"),
        ("no-note", no_note, "XEN_ELFNOTE_PHYS32_ENTRY"),
    ] {
        let path = files.write(name, &bytes);
        let output = halfpage(&["boot", text(&path)], "");
        let message = stderr(&output);
        assert_eq!(code(&output), 3, "{name}");
        assert!(
            message.contains(text(&path)) && message.contains(expected),
            "{message}"
        );
    }
    let missing = files.0.path().join("missing");
    let output = halfpage(&["boot", text(&missing)], "");
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains(text(&missing)));
}

#[test]
fn a_bad_disk_image_is_exit_code_3_and_left_as_it_was() {
    let files = Files::new();
    halfpage(&["image", "--out", text(files.0.path())], "");
    let whole = fs::read(files.0.path().join("boot-disk.img")).unwrap();
    let read_only = files.write("read-only.img", &whole);
    let mut permissions = fs::metadata(&read_only).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&read_only, permissions).unwrap();
    for (path, expected) in [
        (
            files.write("odd.img", &whole[..1000]),
            "expected a multiple of 512",
        ),
        (
            files.write("empty.img", b""),
            "expected at least one sector",
        ),
        (
            files.write("small.img", &whole[..1 << 20]),
            "expected a whole image",
        ),
        (read_only, "expected a file that can be written"),
    ] {
        let before = fs::read(&path).unwrap();
        let output = halfpage(&["boot", "--disk", text(&path)], "");
        let message = stderr(&output);
        assert_eq!(code(&output), 3, "{message}");
        assert!(
            message.contains(text(&path)) && message.contains(expected),
            "{message}"
        );
        assert!(fs::read(&path).unwrap() == before);
    }
}

#[test]
fn what_a_guest_writes_is_in_the_image_file() {
    let files = Files::new();
    halfpage(&["image", "--out", text(files.0.path())], "");
    let disk = files.0.path().join("boot-disk.img");
    let before = fs::read(&disk).unwrap();
    let output = halfpage(
        &[
            "boot",
            "--disk",
            text(&disk),
            "--append",
            "init=/bin/backward",
        ],
        "",
    );
    assert_eq!(code(&output), 0, "{}", stdout(&output));
    let after = fs::read(&disk).unwrap();
    let changed: Vec<usize> = (0..before.len())
        .filter(|&i| before[i] != after[i])
        .collect();
    // `backward` writes the first sector of data/scratch.bin, and nothing else.
    assert!(!changed.is_empty() && changed.last().unwrap() - changed[0] < 512);
    assert_eq!(changed[0] % 512, 0);
}

#[test]
fn a_triple_fault_is_exit_code_4() {
    let files = Files::new();
    let path = files.write("kernel", &tiny_kernel(b"\x0f\x0b"));
    let output = halfpage(&["boot", text(&path)], "");
    assert_eq!(code(&output), 4);
    assert!(
        stderr(&output).contains("triple fault at 0x100000"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_kernel_panic_is_exit_code_4() {
    let output = halfpage(&["boot", "--append", "policy=hope"], "");
    assert_eq!(code(&output), 4);
    assert!(stdout(&output).contains("KERNEL PANIC"));
}

#[test]
fn a_reached_limit_is_exit_code_5() {
    let files = Files::new();
    let path = files.write("kernel", &tiny_kernel(b"\xeb\xfe"));
    assert_eq!(
        code(&halfpage(
            &["boot", text(&path), "--max-cycles", "100000"],
            ""
        )),
        5
    );
}

#[test]
fn a_missing_instruction_is_named_with_its_bytes() {
    let files = Files::new();
    // VMCALL: a real instruction, which this machine does not have.
    let path = files.write("kernel", &tiny_kernel(b"\x0f\x01\xc1"));
    let message = stderr(&halfpage(&["boot", text(&path)], ""));
    assert!(
        message.contains("vmcall")
            && message.contains("[0f, 01, c1]")
            && message.contains("0x100000"),
        "{message}"
    );
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_halfpage"))
        .arg("race")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
}

/// Prints the first letter of its command line and of its module, then ends with 0.
fn multiboot_kernel() -> Vec<u8> {
    let code = b"\xba\xf8\x03\0\0\x8b\x43\x10\x8a\0\xee\
        \x8b\x43\x18\x8b\0\x8a\0\xee\
        \x31\xc0\xba\xf4\0\0\0\xef";
    let (magic, flags, at) = (0x1bad_b002_u32, 0x1_0003_u32, 0x10_0000_u32);
    let checksum = 0_u32.wrapping_sub(magic).wrapping_sub(flags);
    let words = [magic, flags, checksum, at, at, 0, 0, at + 0x20];
    let mut file: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    file.extend(code);
    file
}

#[test]
fn a_multiboot_kernel_gets_its_modules_in_the_order_initrd_first() {
    let files = Files::new();
    let kernel = files.write("kernel", &multiboot_kernel());
    let (one, two) = (files.write("one", b"1"), files.write("two", b"2"));
    for (extra, module) in [
        (vec!["--module", text(&two), "--initrd", text(&one)], "1"),
        (
            vec!["--module", &format!("{},an argument", text(&two))],
            "2",
        ),
    ] {
        let args: Vec<&str> = ["boot", text(&kernel)].into_iter().chain(extra).collect();
        let output = halfpage(&args, "");
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        assert_eq!(
            stdout(&output),
            format!("/{module}"),
            "the kernel's path, the module's byte"
        );
    }
}

#[test]
fn a_flat_binary_needs_its_address_and_nothing_else_takes_one() {
    let files = Files::new();
    // Ends the machine with 0.
    let path = files.write("flat", b"\x31\xc0\xba\xf4\0\0\0\xef");
    let boot = |args: &[&str]| {
        let args: Vec<&str> = ["boot", text(&path)].iter().chain(args).copied().collect();
        code(&halfpage(&args, ""))
    };
    assert_eq!(boot(&["--format", "flat", "--load-at", "0x100000"]), 0);
    assert_eq!(boot(&["--format", "flat"]), 2);
    assert_eq!(boot(&["--load-at", "0x100000"]), 2);
    assert_eq!(boot(&[]), 3, "not a kernel by its headers");
    assert_eq!(boot(&["--format", "multiboot"]), 3);
}

#[test]
fn power_off_is_success_and_a_reset_is_told() {
    let files = Files::new();
    // mov dx, 604h; mov eax, 2000h; out dx, ax
    let off = files.write(
        "off",
        &tiny_kernel(b"\xba\x04\x06\0\0\xb8\0\x20\0\0\x66\xef\xf4"),
    );
    assert_eq!(code(&halfpage(&["boot", text(&off)], "")), 0);
    // mov al, 0feh; out 64h, al
    let reset = files.write("reset", &tiny_kernel(b"\xb0\xfe\xe6\x64\xf4"));
    let output = halfpage(&["boot", text(&reset)], "");
    assert_eq!(code(&output), 0);
    assert!(
        stderr(&output).contains("asked for a reset"),
        "{}",
        stderr(&output)
    );
}
