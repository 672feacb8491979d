//! Time as a value: the pure crates are told what time it is.

use std::fmt;
use std::ops::{Add, Sub};

/// Smallest time on the wire: 2020-09-13T12:26:40Z (P2, table of types).
pub const TIME_MIN_MS: u64 = 1_600_000_000_000;
/// Greatest time on the wire: 2099-12-03T08:53:20Z (P2, table of types).
pub const TIME_MAX_MS: u64 = 4_100_000_000_000;

/// A moment, in milliseconds since the Unix epoch, between [`TIME_MIN_MS`] and
/// [`TIME_MAX_MS`]. Arithmetic saturates at these bounds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

/// A moment outside the range of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("time {0} ms: expected {TIME_MIN_MS} to {TIME_MAX_MS} ms since 1970")]
pub struct TimeError(pub u64);

impl Timestamp {
    /// The earliest moment.
    pub const MIN: Self = Self(TIME_MIN_MS);
    /// The latest moment.
    pub const MAX: Self = Self(TIME_MAX_MS);

    /// A moment from milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// When the value lies outside [`TIME_MIN_MS`] to [`TIME_MAX_MS`].
    pub const fn from_millis(ms: u64) -> Result<Self, TimeError> {
        if ms >= TIME_MIN_MS && ms <= TIME_MAX_MS { Ok(Self(ms)) } else { Err(TimeError(ms)) }
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Milliseconds from `earlier` to `self`; zero when `earlier` is later.
    #[must_use]
    pub const fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self((self.0 + u64::from(span.0)).min(TIME_MAX_MS))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self((self.0 - u64::from(span.0)).max(TIME_MIN_MS))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

/// A span of time in milliseconds, 0 to 2^32 - 1 (about 49 days).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u32);

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span from milliseconds.
    #[must_use]
    pub const fn from_millis(ms: u32) -> Self {
        Self(ms)
    }

    /// A span from seconds, at most 4,294,967; saturating.
    #[must_use]
    pub const fn from_secs(secs: u32) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u32 {
        self.0
    }

    /// The span from `earlier` to `later`, saturating at zero and 49 days.
    #[must_use]
    pub fn between(earlier: Timestamp, later: Timestamp) -> Self {
        Self(u32::try_from(later.millis_since(earlier)).unwrap_or(u32::MAX))
    }

    /// The sum, saturating.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, saturating at zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The multiple, saturating.
    #[must_use]
    pub const fn saturating_mul(self, factor: u32) -> Self {
        Self(self.0.saturating_mul(factor))
    }
}

impl From<Duration> for std::time::Duration {
    fn from(span: Duration) -> Self {
        Self::from_millis(u64::from(span.0))
    }
}

impl fmt::Debug for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_and_saturation() {
        assert!(Timestamp::from_millis(TIME_MIN_MS - 1).is_err());
        assert!(Timestamp::from_millis(TIME_MAX_MS + 1).is_err());
        assert_eq!(Timestamp::MAX + Duration::from_secs(1), Timestamp::MAX);
        assert_eq!(Timestamp::MIN - Duration::from_secs(1), Timestamp::MIN);
        assert_eq!(Timestamp::MIN.millis_since(Timestamp::MAX), 0);
    }
}
