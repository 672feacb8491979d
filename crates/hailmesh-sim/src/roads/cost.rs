//! Milliseconds and metres in one integer.

use std::ops::Add;

use super::Drive;

/// Bits for metres; the rest are milliseconds.
const METRE_BITS: u32 = 28;

/// A time and a length, ordered by time and then by length. The sum of all links of a
/// network fits (checked when it is made), so sums along paths cannot overflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Cost(u64);

impl Cost {
    /// Longest time and length that fit, milliseconds and metres.
    pub(super) const LIMIT: (u64, u64) = ((1 << (64 - METRE_BITS)) - 1, (1 << METRE_BITS) - 1);

    pub(super) const fn new(ms: u32, m: u32) -> Self {
        Self(((ms as u64) << METRE_BITS) + m as u64)
    }

    pub(super) const fn packed(self) -> u64 {
        self.0
    }

    pub(super) const fn from_packed(packed: u64) -> Self {
        Self(packed)
    }

    /// The pair; a time above 49 days is given as the largest number.
    pub(super) fn drive(self) -> Drive {
        let ms = u32::try_from(self.0 >> METRE_BITS).unwrap_or(u32::MAX);
        let m = u32::try_from(self.0 & Self::LIMIT.1).unwrap_or(u32::MAX);
        Drive { ms, m }
    }
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}
