//! A 128-bit value as a row of equal integers, the first in the lowest bits.

/// An element of a packed value.
pub(super) trait Lane: Copy {
    /// All elements of one register.
    type Row;

    fn split(value: u128) -> Self::Row;
    fn join(row: Self::Row) -> u128;

    /// Applies `f` to each element.
    fn each(a: u128, f: impl Fn(Self) -> Self) -> u128;

    /// Applies `f` to the elements of `a` and `b` pair by pair.
    fn zip(a: u128, b: u128, f: impl Fn(Self, Self) -> Self) -> u128;

    /// Applies `f` to neighbours: those of `a` give the low half, those of `b` the high one.
    fn pairs(a: u128, b: u128, f: impl Fn(Self, Self) -> Self) -> u128;

    /// All ones in the elements for which `f` holds, zero in the others.
    fn test(a: u128, b: u128, f: impl Fn(Self, Self) -> bool) -> u128;
}

macro_rules! lanes {
    ($($t:ty),*) => { $(
        impl Lane for $t {
            type Row = [$t; 16 / size_of::<$t>()];

            #[inline]
            fn split(value: u128) -> Self::Row {
                let bytes = value.to_le_bytes();
                let (chunks, _) = bytes.as_chunks();
                std::array::from_fn(|i| Self::from_le_bytes(chunks[i]))
            }

            #[inline]
            fn join(row: Self::Row) -> u128 {
                let mut bytes = [0; 16];
                let (chunks, _) = bytes.as_chunks_mut();
                for (chunk, lane) in chunks.iter_mut().zip(row) {
                    *chunk = lane.to_le_bytes();
                }
                u128::from_le_bytes(bytes)
            }

            #[inline]
            fn each(a: u128, f: impl Fn(Self) -> Self) -> u128 {
                Self::join(Self::split(a).map(f))
            }

            #[inline]
            fn zip(a: u128, b: u128, f: impl Fn(Self, Self) -> Self) -> u128 {
                let (a, b) = (Self::split(a), Self::split(b));
                Self::join(std::array::from_fn(|i| f(a[i], b[i])))
            }

            #[inline]
            fn pairs(a: u128, b: u128, f: impl Fn(Self, Self) -> Self) -> u128 {
                let (a, b) = (Self::split(a), Self::split(b));
                let half = a.len() / 2;
                Self::join(std::array::from_fn(|i| {
                    let (row, at) = if i < half { (&a, 2 * i) } else { (&b, 2 * (i - half)) };
                    f(row[at], row[at + 1])
                }))
            }

            #[inline]
            fn test(a: u128, b: u128, f: impl Fn(Self, Self) -> bool) -> u128 {
                Self::zip(a, b, |x, y| if f(x, y) { !0 } else { 0 })
            }
        }
    )* };
}
lanes!(u8, i8, u16, i16, u32, i32, u64, i64);
