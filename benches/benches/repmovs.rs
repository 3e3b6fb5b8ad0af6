//! Is REP MOVS as fast as a copy by the host?
//!
//! One page, from cache to cache, by quadwords and by bytes. Beside it: `memcpy` of as many bytes.

use benches::guest::{Asm, COUNTER, FREE};
use benches::{Beside, Guest};
use criterion::{Criterion, criterion_group, criterion_main};
use iced_x86::code_asm::{CodeAssembler, qword_ptr, rcx, rdi, rsi};
use std::hint::black_box;
use std::time::Instant;
use x86::addr::{PAGE_BYTES, PAGE_LEN};

fn repmovs(criterion: &mut Criterion) {
    let mut suite = Beside::new(criterion, "repmovs");
    let (from, mut to) = (vec![1_u8; PAGE_LEN], vec![0_u8; PAGE_LEN]);
    suite.measure("memcpy of a page", 1, |times| {
        let start = Instant::now();
        for _ in 0..times {
            black_box(&mut to).copy_from_slice(black_box(&from));
        }
        start.elapsed()
    });
    let mut quads = copying(PAGE_BYTES / 8, |a| a.rep().movsq());
    suite.measure("REP MOVSQ of a page", 1, |times| {
        quads.time(times, |g| g.quad(COUNTER))
    });
    let mut bytes = copying(PAGE_BYTES, |a| a.rep().movsb());
    suite.measure("REP MOVSB of a page", 1, |times| {
        bytes.time(times, |g| g.quad(COUNTER))
    });
    suite.ratio("REP MOVSQ of a page", "memcpy of a page");
    suite.ratio("REP MOVSB of a page", "memcpy of a page");
}

/// A guest that copies the same page for ever, and counts.
fn copying(count: u64, copy: impl FnOnce(&mut CodeAssembler) -> Asm) -> Guest {
    Guest::new(|a| {
        let mut again = a.create_label();
        a.set_label(&mut again)?;
        a.mov(rsi, FREE)?;
        a.mov(rdi, FREE + PAGE_BYTES)?;
        a.mov(rcx, count)?;
        copy(a)?;
        a.mov(rsi, COUNTER)?;
        a.inc(qword_ptr(rsi))?;
        a.jmp(again)
    })
}

criterion_group!(suite, repmovs);
criterion_main!(suite);
