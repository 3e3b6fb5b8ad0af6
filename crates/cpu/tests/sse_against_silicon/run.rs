//! The same code here and there: natively, and in the interpreter.

// UNSAFETY: runs assembled code natively, which only a call through a raw address can do, and
// changes the RIP that a signal handler returns to.
#![expect(unsafe_code)]

use crate::cases::{Case, RECORD_BYTES};
use crate::common::{Asm, Bench, assemble, at};
use cpu::{Activity, reg};
use iced_x86::code_asm::*;
use memmap2::MmapMut;
use std::sync::atomic::{AtomicI64, Ordering};
use x86::fault::Vector;

/// What it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) xmm: u128,
    pub(crate) general: u64,
    pub(crate) mxcsr: u32,
    pub(crate) flags: u64,
    pub(crate) mmx: u64,
    pub(crate) memory: u128,
}

/// Cases that fit in the bench's memory at a time.
const BATCH: usize = 4096;
const INPUTS: u64 = 0x15_0000;
const OUTPUTS: u64 = INPUTS + (BATCH * RECORD_BYTES) as u64;

impl Outcome {
    fn from_bytes(raw: &[u8]) -> Self {
        let quad = |at: usize| u64::from_le_bytes(raw[at..at + 8].try_into().unwrap());
        let wide = |at: usize| u128::from(quad(at)) | u128::from(quad(at + 8)) << 64;
        let mxcsr = u32::try_from(quad(24) & 0xffff_ffff).unwrap();
        Self {
            xmm: wide(0),
            general: quad(16),
            mxcsr,
            flags: quad(32),
            mmx: quad(40),
            memory: wide(48),
        }
    }
}

/// An instruction as written: operands are XMM0, XMM1, MM0, MM1 (their low halves), EAX or RAX, `[rdi + 32]` (the
/// second XMM operand in memory, aligned) and `[rsi + 48]` (the memory result).
pub(crate) type Form = (&'static str, fn(&mut CodeAssembler) -> Asm);

/// The routine: `rdi` cases, `rsi` outcomes, `rdx` their number.
fn routine(origin: u64, form: Form) -> Vec<u8> {
    assemble(64, origin, |a| {
        let mut next = a.create_label();
        a.sub(rsp, 24)?;
        a.stmxcsr(dword_ptr(rsp + 8))?;
        a.set_label(&mut next)?;
        a.ldmxcsr(dword_ptr(rdi))?;
        a.movups(xmm0, xmmword_ptr(rdi + 16))?;
        a.movups(xmm1, xmmword_ptr(rdi + 32))?;
        a.mov(rax, qword_ptr(rdi + 48))?;
        a.movq(mm0, qword_ptr(rdi + 16))?;
        a.movq(mm1, qword_ptr(rdi + 32))?;
        a.xor(ecx, ecx)?;
        a.mov(qword_ptr(rsi + 48), rcx)?;
        a.mov(qword_ptr(rsi + 56), rcx)?;
        form.1(a)?;
        a.pushfq()?;
        a.pop(rcx)?;
        a.and(ecx, 0x8d5)?;
        a.movups(xmmword_ptr(rsi), xmm0)?;
        a.mov(qword_ptr(rsi + 16), rax)?;
        a.stmxcsr(dword_ptr(rsi + 24))?;
        a.mov(qword_ptr(rsi + 32), rcx)?;
        a.movq(qword_ptr(rsi + 40), mm0)?;
        a.add(rdi, RECORD_BYTES as i32)?;
        a.add(rsi, RECORD_BYTES as i32)?;
        a.dec(rdx)?;
        a.jnz(next)?;
        a.emms()?;
        a.ldmxcsr(dword_ptr(rsp + 8))?;
        a.add(rsp, 24)?;
        a.ret()
    })
}

fn outcomes(raw: &[u8]) -> Vec<Outcome> {
    raw.chunks_exact(RECORD_BYTES)
        .map(Outcome::from_bytes)
        .collect()
}

/// A row of records at an address that is a multiple of 64.
#[repr(align(64))]
#[derive(Clone, Copy)]
struct Record([u8; RECORD_BYTES]);

fn native(form: Form, cases: &[Case]) -> Vec<Outcome> {
    let code = routine(0, form);
    let mut map = MmapMut::map_anon(code.len()).unwrap();
    map[..code.len()].copy_from_slice(&code);
    let map = map.make_exec().unwrap();
    let inputs: Vec<Record> = cases.iter().map(|c| Record(c.bytes())).collect();
    let mut outputs = vec![Record([0; RECORD_BYTES]); cases.len()];
    // SAFETY: 1. the address is the start of position-independent code that follows the System V
    // convention (it changes only registers a callee may change, restores MXCSR, and leaves the
    // x87 stack empty); 2. the
    // mapping is readable and executable and outlives the call below.
    let run: extern "sysv64" fn(*const Record, *mut Record, usize) =
        unsafe { std::mem::transmute(map.as_ptr()) };
    run(inputs.as_ptr(), outputs.as_mut_ptr(), cases.len());
    outputs.iter().flat_map(|r| outcomes(&r.0)).collect()
}

fn emulated(bench: &mut Bench, form: Form, cases: &[Case]) -> Vec<Outcome> {
    let code = routine(at::CODE, form);
    bench.load(at::CODE, &code);
    let inputs: Vec<u8> = cases.iter().flat_map(Case::bytes).collect();
    bench.load(INPUTS, &inputs);
    // The routine returns to a HLT.
    bench.load(at::BOOT, &[0xf4]);
    bench.poke(at::STACK - 8, at::BOOT);
    bench.cpu.regs[reg::RSP] = at::STACK - 8;
    bench.cpu.regs[reg::RDI] = INPUTS;
    bench.cpu.regs[reg::RSI] = OUTPUTS;
    bench.cpu.regs[reg::RDX] = cases.len() as u64;
    bench.cpu.set_rip(at::CODE);
    bench.cpu.activity = Activity::Running;
    bench.run();
    assert_eq!(
        bench.cpu.rip(),
        at::BOOT + 1,
        "{}: the routine returned",
        form.0
    );
    let mut raw = vec![0; cases.len() * RECORD_BYTES];
    assert!(bench.ram.read_bytes(x86::PhysAddr::new(OUTPUTS), &mut raw));
    outcomes(&raw)
}

pub(crate) type Agree = fn(&Outcome, &Outcome) -> bool;

/// Runs `form` on `cases` on both processors; `agree` says whether outcomes match.
pub(crate) fn compare_one(bench: &mut Bench, form: Form, cases: &[Case], agree: Agree) {
    for batch in cases.chunks(BATCH) {
        let (silicon, ours) = (native(form, batch), emulated(bench, form, batch));
        for ((case, want), have) in batch.iter().zip(&silicon).zip(&ours) {
            assert!(
                agree(want, have),
                "{}\n{case:#x?}\nsilicon {want:#x?}\nhere {have:#x?}",
                form.0
            );
        }
    }
}

pub(crate) fn compare(forms: &[Form], cases: &[Case], agree: Agree) {
    let mut bench = Bench::long();
    for form in forms {
        compare_one(&mut bench, *form, cases, agree);
    }
}

/// Length of the instruction under test, for the handler of SIGFPE.
static SKIP_BYTES: AtomicI64 = AtomicI64::new(0);

/// Goes on after the instruction that trapped: its exceptions are in MXCSR.
extern "C" fn skip(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: 1. the kernel calls this with a pointer to the interrupted thread's `ucontext_t`,
    // which nothing else refers to while the handler runs.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    context.uc_mcontext.gregs[libc::REG_RIP as usize] += SKIP_BYTES.load(Ordering::Relaxed);
}

/// Lets SIMD exceptions of `form` be skipped, natively and in the bench.
pub(crate) fn skip_exceptions(bench: &Bench, form: Form) {
    let bytes = assemble(64, 0, form.1).len();
    SKIP_BYTES.store(bytes as i64, Ordering::Relaxed);
    // SAFETY: 1. all-zero bytes are a valid `sigaction`: no flags, an empty mask, no restorer.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = skip as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: 1. `action` is initialised and outlives the call; 2. its handler touches only the
    // context it is given and an atomic, as a signal handler may.
    let done = unsafe { libc::sigaction(libc::SIGFPE, &raw const action, std::ptr::null_mut()) };
    assert_eq!(done, 0, "SIGFPE can be handled");
    let handler = assemble(64, 0, |a| {
        a.add(qword_ptr(rsp), bytes as i32)?;
        a.iretq()
    });
    bench.load(at::HANDLERS + 16 * Vector::Xm as u64, &handler);
}
