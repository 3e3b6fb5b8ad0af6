//! Operands: the special values of both formats, and random ones near every rule.

pub(crate) const MASKED: u32 = 0x1f80;
const PE: u32 = 0x20;

/// What the routine reads for each case.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Case {
    pub(crate) mxcsr: u32,
    pub(crate) a: u128,
    pub(crate) b: u128,
    pub(crate) general: u64,
}

/// Bytes of a case, and of an outcome, in memory.
pub(crate) const RECORD_BYTES: usize = 64;

impl Case {
    pub(crate) fn bytes(&self) -> [u8; RECORD_BYTES] {
        let mut out = [0; RECORD_BYTES];
        out[..4].copy_from_slice(&self.mxcsr.to_le_bytes());
        out[16..32].copy_from_slice(&self.a.to_le_bytes());
        out[32..48].copy_from_slice(&self.b.to_le_bytes());
        out[48..56].copy_from_slice(&self.general.to_le_bytes());
        out
    }
}

/// xorshift64*: the same cases in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn wide(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// Rounding modes × DAZ × FTZ × whether PE is set before; all exceptions masked.
fn modes() -> Vec<u32> {
    let mut out = Vec::new();
    for rounding in 0..4 {
        for (daz, ftz) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            for before in [0, PE] {
                out.push(MASKED | rounding << 13 | daz << 6 | ftz << 15 | before);
            }
        }
    }
    out
}

/// A format, as far as making cases needs it.
#[derive(Clone, Copy)]
pub(crate) struct Format {
    bits: u32,
    fraction: u32,
}

pub(crate) const SINGLE: Format = Format {
    bits: 32,
    fraction: 23,
};
pub(crate) const DOUBLE: Format = Format {
    bits: 64,
    fraction: 52,
};

impl Format {
    const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits)
    }

    const fn sign(self) -> u64 {
        1 << (self.bits - 1)
    }

    const fn one(self) -> u64 {
        (((self.sign() - 1) / 2) >> self.fraction) << self.fraction
    }

    /// Numbers at which rules change, of both signs.
    fn special(self) -> Vec<u64> {
        let ulp = 1;
        let least_normal = 1 << self.fraction;
        let infinity = (self.sign() - 1) >> self.fraction << self.fraction;
        let quiet = least_normal >> 1;
        let one = self.one();
        let two = one + least_normal;
        let mut out = vec![
            0,
            ulp,
            2,
            3,
            quiet,
            quiet + ulp,
            least_normal - ulp,
            least_normal,
            least_normal + ulp,
            2 * least_normal,
            2 * least_normal + ulp,
            one - ulp,
            one,
            one + ulp,
            one + quiet,
            two,
            two + ulp,
            two + quiet,
            one - least_normal,
            one - least_normal + ulp,
            infinity - least_normal,
            infinity - ulp,
            infinity,
            infinity + ulp,
            infinity + quiet,
            infinity + quiet + 5,
            infinity + quiet - ulp,
        ];
        out.extend(out.clone().into_iter().map(|x| x | self.sign()));
        out
    }

    /// Numbers at which conversions change, besides: the ends of integers and of single precision.
    fn borders(self) -> Vec<u64> {
        let mut out = Vec::new();
        for power in [
            0, 1, 22, 23, 24, 30, 31, 32, 51, 52, 53, 62, 63, 64, 126, 127, 128,
        ] {
            for sign in [0, self.sign()] {
                let two_to = (self.one() + (power << self.fraction)) | sign;
                out.extend([
                    two_to - 1,
                    two_to,
                    two_to + 1,
                    two_to + (1 << (self.fraction - 1)),
                ]);
            }
        }
        if self.bits == 64 {
            let single = [
                0x3690_0000_0000_0000,
                0x36a0_0000_0000_0000,
                0x380f_ffff_e000_0000,
                0x380f_ffff_f000_0000,
                0x3810_0000_0000_0000,
                0x380f_ffff_f800_0000,
                0x47ef_ffff_e000_0000,
                0x47ef_ffff_f000_0000,
                0x41df_ffff_ffe0_0000,
                0x41df_ffff_ffc0_0000,
                0xc1e0_0000_0010_0000,
                0xc1e0_0000_0020_0000,
            ];
            out.extend(single.iter().flat_map(|x| [x - 1, *x, x + 1]));
        }
        out
    }

    /// A pair of random numbers of a kind in which one of the rules matters.
    fn random_pair(self, random: &mut Random) -> (u64, u64) {
        let exponents = (self.sign() - 1) >> self.fraction;
        let bias = exponents / 2;
        let fraction_mask = (1 << self.fraction) - 1;
        let any = |r: &mut Random| r.next() & self.mask();
        let with = |r: &mut Random, exponent: u64| {
            any(r) & (self.sign() | fraction_mask) | exponent.min(exponents) << self.fraction
        };
        let near = |r: &mut Random, exponent: u64| (exponent + r.below(7)).saturating_sub(3);
        let exponent = random.below(exponents);
        match random.below(8) {
            0 => (any(random), any(random)),
            // Sums that round, carry and cancel.
            1 => {
                let other = near(random, exponent);
                (with(random, exponent), with(random, other))
            }
            2 => {
                let other = (exponent + random.below(u64::from(2 * self.fraction)))
                    .saturating_sub(u64::from(self.fraction));
                (with(random, exponent), with(random, other))
            }
            // Products and quotients at both ends of the range.
            3 => {
                let other = near(random, (bias + 1).saturating_sub(exponent));
                (with(random, exponent), with(random, other))
            }
            4 => {
                let other = near(random, (exponent + bias) % exponents);
                (with(random, exponent), with(random, other))
            }
            5 => {
                let other = near(random, (3 * bias).saturating_sub(exponent) % exponents);
                (with(random, exponent), with(random, other))
            }
            // Denormals with denormals and small numbers.
            6 => {
                let small = random.below(3);
                (with(random, 0), with(random, small))
            }
            // Few significant bits: exact results and ties.
            _ => {
                let coarse = !0 << random.below(u64::from(self.fraction));
                let other = near(random, exponent);
                (
                    with(random, exponent) & coarse,
                    with(random, other) & coarse,
                )
            }
        }
    }

    /// `lane` for each element, over two registers.
    fn fill(self, mut pair: impl FnMut() -> (u64, u64)) -> (u128, u128) {
        (0..128 / self.bits).fold((0, 0), |(a, b), i| {
            let (x, y) = pair();
            (
                a | u128::from(x) << (i * self.bits),
                b | u128::from(y) << (i * self.bits),
            )
        })
    }

    /// The cases for operations on this format, under every mode.
    pub(crate) fn cases(self) -> Vec<Case> {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let special = self.pairs_of_special();
        let mut out = Vec::new();
        for mxcsr in modes() {
            let mut case = |(a, b), general| {
                out.push(Case {
                    mxcsr,
                    a,
                    b,
                    general,
                })
            };
            for (pair, general) in &special {
                case(*pair, *general);
            }
            for x in self.borders() {
                case(self.fill(|| (random.next() & self.mask(), x)), x);
            }
            for _ in 0..1500 {
                let general = random.next() >> random.below(64);
                case(self.fill(|| self.random_pair(&mut random)), general);
            }
        }
        out
    }

    /// Every pair of special values in the lowest elements, other pairs in the rest.
    fn pairs_of_special(self) -> Vec<((u128, u128), u64)> {
        let special = self.special();
        let count = special.len();
        let mut out = Vec::new();
        for i in 0..count {
            for j in 0..count {
                let mut pairs =
                    (0..).map(|n| (special[(i + 7 * n) % count], special[(j + 3 * n) % count]));
                let filled = self.fill(|| pairs.next().expect("endless"));
                out.push((filled, special[j]));
            }
        }
        out
    }
}

/// Packed integers of special and random elements; `b` is often a small shift count.
pub(crate) fn integer_cases() -> Vec<Case> {
    let mut random = Random(0xd1b5_4a32_d192_ed03);
    let edges = [
        0,
        1,
        0x7f,
        0x80,
        0xff,
        0x7fff,
        0x8000,
        0xffff,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
    ];
    let mut value = |i: u64| match i % 4 {
        0 => (0..4).fold(0, |v, _| {
            v << 32 | u128::from(edges[random.below(11) as usize] & 0xffff_ffff_u64)
        }),
        1 => (0..8).fold(0, |v, _| {
            v << 16 | u128::from(edges[random.below(11) as usize] & 0xffff)
        }),
        2 => (0..16).fold(0, |v, _| {
            v << 8 | u128::from(edges[random.below(11) as usize] & 0xff)
        }),
        _ => random.wide(),
    };
    let pairs: Vec<_> = (0..4000).map(|i| (value(i), value(i / 4))).collect();
    let counts = (0..140).map(|n| (pairs[n as usize + 3].0, n as u128 | (n as u128 & 1) << 100));
    let all = pairs.iter().copied().chain(counts);
    all.map(|(a, b)| Case {
        mxcsr: MASKED,
        a,
        b,
        general: (b ^ a >> 32) as u64,
    })
    .collect()
}
