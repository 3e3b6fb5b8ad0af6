//! Rounds and message schedules of SHA-1 and SHA-256.
//!
//! **Spec:** SDM 1 "Intel SHA Extensions"; SDM 2 "SHA1RNDS4", "SHA1NEXTE", "SHA256RNDS2"; FIPS 180-4.

use super::Done;
use super::lanes::Lane;
use super::operand::{ByForm, Form, by_form};
use super::packed::{by_registers, packed_ops};
use crate::core::Core;
use crate::op::{Exec, Op};
use iced_x86::{Instruction, Mnemonic as M};

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    match instr.mnemonic() {
        M::Sha1rnds4 => by_form::<Rounds1>(instr),
        M::Sha256rnds2 => by_form::<Rounds256>(instr),
        _ => schedule(instr),
    }
}

packed_ops! {
    /// Words count from the lowest; SHA-1 keeps its first word in the highest.
    schedule(by_registers, Elements):
    Sha1nexte = |a, b| {
        let mut row = u32::split(b);
        row[3] = row[3].wrapping_add(u32::split(a)[3].rotate_left(30));
        u32::join(row)
    };
    Sha1msg1 = |a, b| a ^ (a << 64 | b >> 64);
    Sha1msg2 = |a, b| {
        let (a, b) = (u32::split(a), u32::split(b));
        let w16 = (a[3] ^ b[2]).rotate_left(1);
        let w17 = (a[2] ^ b[1]).rotate_left(1);
        let w18 = (a[1] ^ b[0]).rotate_left(1);
        u32::join([(a[0] ^ w16).rotate_left(1), w18, w17, w16])
    };
    Sha256msg1 = |a, b| {
        let next = a >> 32 | b << 96;
        u32::zip(a, next, |x, y| {
            x.wrapping_add(y.rotate_right(7) ^ y.rotate_right(18) ^ y >> 3)
        })
    };
    Sha256msg2 = |a, b| {
        let (a, b) = (u32::split(a), u32::split(b));
        let step = |w: u32, x: u32| {
            w.wrapping_add(x.rotate_right(17) ^ x.rotate_right(19) ^ x >> 10)
        };
        let (w16, w17) = (step(a[0], b[2]), step(a[1], b[3]));
        u32::join([w16, w17, step(a[2], w16), step(a[3], w17)])
    };
}

/// Four rounds of SHA-1; the immediate says which of its four functions.
struct Rounds1;

impl ByForm for Rounds1 {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done {
        S::require(c)?;
        let messages = u32::split(S::wide(c, op)?[0]);
        let [mut d, mut cc, mut b, mut a] = u32::split(S::first(c, op)[0]);
        let mut e = 0;
        for w in messages.into_iter().rev() {
            let (f, k) = mixed(op.imm & 3, b, cc, d);
            // The first message word comes with E added.
            let next = f
                .wrapping_add(a.rotate_left(5))
                .wrapping_add(w)
                .wrapping_add(e)
                .wrapping_add(k);
            (e, d, cc, b, a) = (d, cc, b.rotate_left(30), a, next);
        }
        S::put_128(c, op, u32::join([d, cc, b, a]));
        Ok(())
    }
}

/// The function and constant of each quarter of the rounds.
const fn mixed(quarter: u64, b: u32, c: u32, d: u32) -> (u32, u32) {
    match quarter {
        0 => (b & c ^ !b & d, 0x5a82_7999),
        1 => (b ^ c ^ d, 0x6ed9_eba1),
        2 => (b & c ^ b & d ^ c & d, 0x8f1b_bcdc),
        _ => (b ^ c ^ d, 0xca62_c1d6),
    }
}

/// Two rounds of SHA-256: C, D, G, H in the destination, A, B, E, F in the source, the message
/// words with their constants in register 0.
struct Rounds256;

impl ByForm for Rounds256 {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done {
        S::require(c)?;
        let words = u32::split(c.cpu.sse.xmm[0]);
        let [mut f, mut e, mut b, mut a] = u32::split(S::wide(c, op)?[0]);
        let [mut h, mut g, mut d, mut cc] = u32::split(S::first(c, op)[0]);
        for w in &words[..2] {
            let big1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let big0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let t1 = h
                .wrapping_add(big1)
                .wrapping_add(e & f ^ !e & g)
                .wrapping_add(*w);
            let t2 = big0.wrapping_add(a & b ^ a & cc ^ b & cc);
            (h, g, f, e) = (g, f, e, d.wrapping_add(t1));
            (d, cc, b, a) = (cc, b, a, t1.wrapping_add(t2));
        }
        S::put_128(c, op, u32::join([f, e, b, a]));
        Ok(())
    }
}
