//! AES rounds and key expansion.
//!
//! A state is 16 bytes in columns of four: byte `i` is row `i % 4` of column `i / 4`.
//!
//! **Spec:** SDM 1 "Intel Advanced Encryption Standard Instructions (Intel AES-NI)"; FIPS 197.

use super::lanes::Lane;
use super::packed::{by_registers, packed_ops};

packed_ops! { pub(super) select(by_registers, Elements):
    Aesenc | Vaesenc = |state, key| join(mix(substitute(shift_rows(state, 1), &SBOX), [2, 3, 1, 1])) ^ key;
    Aesenclast | Vaesenclast = |state, key| join(substitute(shift_rows(state, 1), &SBOX)) ^ key;
    Aesdec | Vaesdec = |state, key| join(mix(substitute(shift_rows(state, 3), &INVERSE), UNMIX)) ^ key;
    Aesdeclast | Vaesdeclast = |state, key| join(substitute(shift_rows(state, 3), &INVERSE)) ^ key;
    Aesimc | Vaesimc = |_a, key| join(mix(u8::split(key), UNMIX));
}

type State = [u8; 16];

/// The first row of InvMixColumns.
const UNMIX: [u8; 4] = [14, 11, 13, 9];

fn join(state: State) -> u128 {
    u8::join(state)
}

/// Row `r` moves by `r * by` columns to the left: 1 for ShiftRows, 3 for its inverse.
fn shift_rows(state: u128, by: usize) -> State {
    let state = u8::split(state);
    std::array::from_fn(|i| state[(i + 4 * by * (i % 4)) % 16])
}

fn substitute(state: State, table: &[u8; 256]) -> State {
    state.map(|byte| table[usize::from(byte)])
}

/// Multiplies each column by the matrix whose rows are rotations of `row`.
fn mix(state: State, row: [u8; 4]) -> State {
    std::array::from_fn(|i| {
        let column = &state[i / 4 * 4..][..4];
        (0..4).fold(0, |sum, k| {
            sum ^ multiply(row[(k + 4 - i % 4) % 4], column[k])
        })
    })
}

/// AESKEYGENASSIST: words 1 and 3 substituted, each also rotated and with the round constant.
pub(super) fn key_step(key: u128, constant: usize) -> u128 {
    let words = u32::split(key).map(|w| w.to_le_bytes().map(|b| SBOX[usize::from(b)]));
    let plain = |i: usize| u32::from_le_bytes(words[i]);
    let turned = |i: usize| plain(i).rotate_right(8) ^ constant as u32;
    u32::join([plain(1), turned(1), plain(3), turned(3)])
}

/// The product in the field of 256 elements.
const fn multiply(a: u8, b: u8) -> u8 {
    let (mut a, mut b, mut product) = (a, b, 0);
    while b != 0 {
        if b & 1 != 0 {
            product ^= a;
        }
        a = a << 1 ^ if a & 0x80 != 0 { 0x1b } else { 0 };
        b >>= 1;
    }
    product
}

/// The inverse in the field, and an affine map.
const SBOX: [u8; 256] = {
    let mut table = [0; 256];
    let mut x = 0;
    while x < 256 {
        // The 254th power is the inverse, and 0 for 0.
        let (mut inverse, mut power) = (1, 0);
        while power < 254 {
            inverse = multiply(inverse, x as u8);
            power += 1;
        }
        let b: u8 = inverse;
        table[x] =
            b ^ b.rotate_left(1) ^ b.rotate_left(2) ^ b.rotate_left(3) ^ b.rotate_left(4) ^ 0x63;
        x += 1;
    }
    table
};

const INVERSE: [u8; 256] = {
    let mut table = [0; 256];
    let mut x = 0;
    while x < 256 {
        table[SBOX[x] as usize] = x as u8;
        x += 1;
    }
    table
};
