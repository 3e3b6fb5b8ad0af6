//! A 128-bit value as a row of equal integers, the first in the lowest bits.

/// An element of a packed value.
pub(super) trait Lane: Copy {
    /// All elements of one register.
    type Row;

    fn split(value: u128) -> Self::Row;
    fn join(row: Self::Row) -> u128;

    /// Applies `f` to the elements of `a` and `b` pair by pair.
    fn zip(a: u128, b: u128, f: impl Fn(Self, Self) -> Self) -> u128;
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
            fn zip(a: u128, b: u128, f: impl Fn(Self, Self) -> Self) -> u128 {
                let (a, b) = (Self::split(a), Self::split(b));
                Self::join(std::array::from_fn(|i| f(a[i], b[i])))
            }
        }
    )* };
}
lanes!(u8, i8, u16, i16, u32, i32, u64);
