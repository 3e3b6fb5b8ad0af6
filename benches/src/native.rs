//! A loop of eight instructions, once for the guest and once for the host.
//!
//! Both texts are the same instructions in the same order on the same registers; a
//! test holds their results against each other.
//!
//! Modelled: register work only, one chain of dependences, one taken branch per round.

// UNSAFETY: the host's loop has to be these very instructions, which only `asm!` can say.
#![expect(unsafe_code)]

use crate::guest::Asm;
use iced_x86::code_asm::{
    CodeAssembler, eax, ebx, ecx, edi, edx, r8, rax, rbx, rcx, rdi, rdx, rsi,
};
use std::arch::asm;

/// Instructions of one round.
pub const ROUND_INSTRUCTIONS: u64 = 8;
/// Multiplier and increment of the generator the loop steps (Knuth's MMIX).
const MULTIPLIER: u64 = 6_364_136_223_846_793_005;
const INCREMENT: u64 = 1_442_695_040_888_963_407;

/// Assembles `rounds` rounds, and what they need before them; the results are in RDI and RBX.
///
/// # Errors
///
/// Those of the assembler.
pub fn guest_loop(a: &mut CodeAssembler, rounds: u64) -> Asm {
    a.xor(eax, eax)?;
    a.xor(ebx, ebx)?;
    a.xor(edi, edi)?;
    a.xor(ecx, ecx)?;
    a.xor(edx, edx)?;
    a.mov(rcx, MULTIPLIER)?;
    a.mov(rdx, INCREMENT)?;
    a.mov(r8, rounds)?;
    let mut again = a.create_label();
    a.set_label(&mut again)?;
    a.imul_2(rax, rcx)?;
    a.add(rax, rdx)?;
    a.mov(rsi, rax)?;
    a.shr(rsi, 33_i32)?;
    a.xor(rdi, rsi)?;
    a.lea(rbx, rbx + rsi)?;
    a.sub(r8, 1)?;
    a.jnz(again)
}

/// Runs `rounds` rounds on the host; gives what [`guest_loop`] leaves in RDI and RBX.
#[must_use]
pub fn host_loop(rounds: u64) -> (u64, u64) {
    let (mixed, sum): (u64, u64);
    // SAFETY:
    // 1. No memory is touched (`nomem`, `nostack`): every operand is a register.
    // 2. Every register written is an output; flags are taken to be clobbered unless said otherwise.
    // 3. It ends: R8 counts down to 0, from 2^64 if `rounds` is 0.
    unsafe {
        asm!(
            "2:",
            "imul rax, rcx",
            "add rax, rdx",
            "mov rsi, rax",
            "shr rsi, 33",
            "xor rdi, rsi",
            "lea {sum}, [{sum} + rsi]",
            "sub r8, 1",
            "jnz 2b",
            inout("rax") 0_u64 => _,
            in("rcx") MULTIPLIER,
            in("rdx") INCREMENT,
            out("rsi") _,
            inout("rdi") 0_u64 => mixed,
            sum = inout(reg) 0_u64 => sum,
            inout("r8") rounds => _,
            options(nomem, nostack),
        );
    }
    (mixed, sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::{COUNTER, Guest};
    use iced_x86::code_asm::{qword_ptr, rsp};

    #[test]
    fn guest_and_host_come_to_the_same_result() {
        const ROUNDS: u64 = 1000;
        let mut guest = Guest::new(|a| {
            guest_loop(a, ROUNDS)?;
            a.mov(rsp, COUNTER)?;
            a.mov(qword_ptr(rsp), rdi)?;
            a.mov(qword_ptr(rsp + 8), rbx)?;
            a.hlt()
        });
        guest.run_to_end();
        assert_eq!(
            (guest.quad(COUNTER), guest.quad(COUNTER + 8)),
            host_loop(ROUNDS)
        );
    }
}
