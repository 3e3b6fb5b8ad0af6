//! The images on a machine that is not ours: QEMU, if it is installed.
//!
//! QEMU's disk is throttled to two requests a second where a transfer has to be in flight
//! while something else happens, so the programs' own order of events holds. Nobody
//! listens at the measuring port there. Where QEMU is missing, each test says so on
//! standard error and holds nothing.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use images::{BOOT_DISK, KERNEL_ELF};

/// How fast the disk is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Disk {
    /// As fast as the host.
    Fast,
    /// A request is held for half a second once credit is spent.
    Throttled,
}

/// No boot takes a fifth of this, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Boots with this command line: what came on the console, and the status of `init`.
fn boot(command_line: &str, disk: Disk) -> Option<(String, i32)> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).expect("room for the images");
        path
    };
    let (kernel, image) = (file("kernel.elf", KERNEL_ELF), file("disk.img", BOOT_DISK));
    let console = file("console.txt", b"");
    let mut qemu = qemu(&kernel, &image, disk);
    qemu.args(["-append", command_line]);
    qemu.stdin(Stdio::null())
        .stdout(File::create(&console).expect("a file just written"));
    match qemu.spawn() {
        Ok(running) => {
            let status = wait(running);
            let bytes = fs::read(&console).expect("QEMU's output");
            let console = String::from_utf8_lossy(&bytes).into_owned();
            Some((console.clone(), init_status(status, &console)))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("qemu-system-x86_64 is not installed: nothing was tested");
            None
        }
        Err(error) => panic!("cannot run QEMU: {error}"),
    }
}

fn qemu(kernel: &Path, image: &Path, disk: Disk) -> Command {
    let throttling = match disk {
        Disk::Fast => "",
        Disk::Throttled => ",throttling.iops-total=2",
    };
    let drive = format!(
        "id=d,if=none,format=raw,file={}{throttling}",
        image.display()
    );
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-machine", "q35", "-accel", "tcg", "-smp", "2", "-m", "256"]);
    qemu.args(["-nographic", "-no-reboot", "-net", "none"]);
    qemu.args(["-drive", &drive, "-device", "ide-hd,bus=ide.0,drive=d"]);
    qemu.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
    qemu.arg("-kernel").arg(kernel);
    qemu
}

/// Waits for QEMU's end; one that hangs is killed.
fn wait(mut running: Child) -> ExitStatus {
    let begin = Instant::now();
    loop {
        if let Some(status) = running.try_wait().expect("a child of this process") {
            return status;
        }
        if begin.elapsed() > PATIENCE {
            running.kill().expect("a child of this process");
        }
        sleep(Duration::from_millis(20));
    }
}

/// QEMU's exit port ends it with twice the written status, and one.
fn init_status(status: ExitStatus, console: &str) -> i32 {
    let code = status.code().filter(|code| code & 1 == 1);
    code.unwrap_or_else(|| panic!("QEMU ended with {status}, not by the exit port:\n{console}"))
        >> 1
}

/// Boots a test program, which has to print its `ok`.
fn check_test_program(name: &str) {
    if let Some((console, status)) = boot(&format!("init=/bin/{name}"), Disk::Fast) {
        assert!(console.contains(&format!("{name}: ok")), "{console}");
        assert_eq!(status, 0, "{console}");
    }
}

#[test]
fn forktest_finds_every_sentence_true() {
    check_test_program("forktest");
}

#[test]
fn diotest_finds_every_sentence_true() {
    check_test_program("diotest");
}

#[test]
fn the_shell_runs_commands_from_the_kernel_command_line_and_passes_the_status_on() {
    let line = "init=/bin/sh initargs=-c,hello,x;nope;exit,3";
    if let Some((console, status)) = boot(line, Disk::Fast) {
        assert!(console.contains("argv[1] = x"), "{console}");
        assert!(console.contains("hello: exit status 7"), "{console}");
        assert!(console.contains("sh: nope: no such file"), "{console}");
        assert_eq!(status, 3, "{console}");
    }
}

#[test]
fn sleepers_wake_while_more_threads_than_cpus_count() {
    if let Some((console, status)) = boot("init=/bin/loop initargs=200,5", Disk::Fast) {
        assert_eq!(console.matches("counted to").count(), 5, "{console}");
        assert_eq!(status, 0, "{console}");
    }
}

/// What a race program says.
#[derive(Clone, Copy)]
enum Says {
    Safe,
    LostAndSeen,
    Seen,
    OnDisk,
}

impl Says {
    fn line(self) -> &'static str {
        match self {
            Self::Safe => "lost=0 child_saw_dma=0 disk_has_child_bytes=0",
            Self::LostAndSeen => "lost=1 child_saw_dma=1 disk_has_child_bytes=0",
            Self::Seen => "lost=0 child_saw_dma=1 disk_has_child_bytes=0",
            Self::OnDisk => "lost=1 child_saw_dma=0 disk_has_child_bytes=1",
        }
    }
}

/// Boots the three programs one after the other under a policy.
fn check_races(policy: &str, option: &str, disk: Disk, expected: [Says; 3]) {
    let names = ["forward", "child-sees-dma", "backward"];
    let commands = names.map(|name| format!("{name},--settle-ms,50{option}"));
    let line = format!("policy={policy} initargs=-c,{}", commands.join(";"));
    let Some((console, status)) = boot(&line, disk) else {
        return;
    };
    for (name, says) in names.into_iter().zip(expected) {
        let line = format!("{name}: {}", says.line());
        assert!(
            console.contains(&line),
            "no {line:?} under {policy}:\n{console}"
        );
    }
    assert_eq!(status, 0, "{console}");
}

#[test]
fn baseline_loses_reads_shows_them_to_the_child_and_writes_the_childs_bytes() {
    use Says::{LostAndSeen, OnDisk, Seen};
    check_races("baseline", "", Disk::Throttled, [LostAndSeen, Seen, OnDisk]);
}

#[test]
fn queued_transfers_fare_as_blocking_ones() {
    use Says::{LostAndSeen, OnDisk, Seen};
    check_races(
        "baseline",
        ",--queued",
        Disk::Throttled,
        [LostAndSeen, Seen, OnDisk],
    );
}

#[test]
fn copying_at_fork_saves_reads_and_not_writes_that_begin_after_it() {
    use Says::{OnDisk, Safe};
    check_races("copy-at-fork", "", Disk::Throttled, [Safe, Safe, OnDisk]);
}

#[test]
fn breaking_cow_in_gup_saves_writes_and_not_reads_that_began_before() {
    use Says::{LostAndSeen, Safe, Seen};
    check_races("decow-gup", "", Disk::Throttled, [LostAndSeen, Seen, Safe]);
}

#[test]
fn both_together_save_all() {
    check_races(
        "copy-at-fork+decow-gup",
        "",
        Disk::Throttled,
        [Says::Safe; 3],
    );
}

#[test]
fn buffers_that_children_do_not_get_are_safe_under_baseline() {
    check_races("baseline", ",--dontfork", Disk::Throttled, [Says::Safe; 3]);
}

#[test]
fn a_disk_that_is_done_before_the_fork_loses_nothing() {
    check_races("baseline", "", Disk::Fast, [Says::Safe; 3]);
}
