//! How fast is code that runs again and again, and how much slower code that runs once?
//!
//! Per instruction. Beside a loop from the cache of decoded blocks: the same instructions on the
//! host. Beside code met for the first time: iced-x86 decoding the same bytes and doing nothing with them.

use benches::guest::{Asm, CHUNK_CYCLES, assemble};
use benches::native::{ROUND_INSTRUCTIONS, guest_loop, host_loop};
use benches::{Beside, Guest};
use criterion::{Criterion, criterion_group, criterion_main};
use iced_x86::code_asm::{CodeAssembler, rax, rbx, rcx, rdx, rsi};
use iced_x86::{Decoder, DecoderOptions, Instruction};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Instructions of one measurement.
const INSTRUCTIONS: u64 = 200_000;

fn suite(criterion: &mut Criterion) {
    let mut suite = Beside::new(criterion, "decode");
    suite.measure_long("loop on the host", INSTRUCTIONS, || {
        time(|| host_loop(black_box(INSTRUCTIONS / ROUND_INSTRUCTIONS)))
    });
    let mut guest = Guest::new(|a| guest_loop(a, u64::MAX));
    let again = || guest.time(INSTRUCTIONS, Guest::instructions);
    suite.measure_long("loop on the machine", INSTRUCTIONS, again);
    let bytes = assemble(64, 0, straight);
    suite.measure_long("decoding alone", INSTRUCTIONS, || time(|| decode(&bytes)));
    suite.measure_long("first run on the machine", INSTRUCTIONS, first_run);
    suite.ratio("loop on the machine", "loop on the host");
    suite.ratio("first run on the machine", "decoding alone");
    suite.ratio("first run on the machine", "loop on the machine");
}

/// Instructions in a row, every eighth of them a jump to the next: the length of block programs have.
fn straight(a: &mut CodeAssembler) -> Asm {
    for n in 0..(INSTRUCTIONS + CHUNK_CYCLES) / 8 {
        let mut next = a.create_label();
        a.add(rax, rbx)?;
        a.mov(rcx, rax)?;
        a.shr(rcx, 3)?;
        a.xor(rdx, rcx)?;
        a.lea(
            rsi,
            rdx + 8 * rcx + i32::try_from(n % 1000).expect("below 1000"),
        )?;
        a.imul_2(rbx, rsi)?;
        a.inc(rbx)?;
        a.jmp(next)?;
        a.set_label(&mut next)?;
    }
    a.hlt()
}

/// The time [`INSTRUCTIONS`] instructions of [`straight`] take on a machine that has not seen them.
fn first_run() -> Duration {
    Guest::new(straight).time(INSTRUCTIONS, Guest::instructions)
}

fn time<T>(once: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(once());
    start.elapsed()
}

/// Decodes as many instructions as run.
fn decode(bytes: &[u8]) {
    let mut decoder = Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    for _ in 0..INSTRUCTIONS {
        decoder.decode_out(&mut instruction);
        black_box(&instruction);
    }
}

criterion_group!(decoding, suite);
criterion_main!(decoding);
