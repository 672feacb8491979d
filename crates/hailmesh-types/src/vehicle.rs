//! What is offered or wanted: class, seats, features.

use std::fmt;
use std::str::FromStr;

/// Most seats an offer or a party may name.
pub const SEATS_MAX: u8 = 16;

/// A class of vehicle. Unknown numbers mean "other" and are kept (P2, table of types).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class(u16);

/// A class name nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("class {0:?}: expected standard, large, premium, two-wheeler, three-wheeler, wheelchair or a number")]
pub struct ClassError(String);

impl Class {
    /// An ordinary car.
    pub const STANDARD: Self = Self(1);
    /// More than four passengers.
    pub const LARGE: Self = Self(2);
    /// A better car.
    pub const PREMIUM: Self = Self(3);
    /// A motorcycle taxi.
    pub const TWO_WHEELER: Self = Self(4);
    /// A rickshaw.
    pub const THREE_WHEELER: Self = Self(5);
    /// Takes a passenger who stays in a wheelchair.
    pub const WHEELCHAIR: Self = Self(6);

    const NAMES: [(Self, &'static str); 6] = [
        (Self::STANDARD, "standard"),
        (Self::LARGE, "large"),
        (Self::PREMIUM, "premium"),
        (Self::TWO_WHEELER, "two-wheeler"),
        (Self::THREE_WHEELER, "three-wheeler"),
        (Self::WHEELCHAIR, "wheelchair"),
    ];

    /// The class with this number; 0x8000 and above are private to a network.
    #[must_use]
    pub const fn from_code(code: u16) -> Self {
        Self(code)
    }

    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(class, _)| class == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Class {
    type Err = ClassError;

    fn from_str(text: &str) -> Result<Self, ClassError> {
        let named = Self::NAMES.iter().find(|(_, name)| *name == text).map(|(class, _)| *class);
        named.or_else(|| text.parse().ok().map(Self)).ok_or_else(|| ClassError(text.to_owned()))
    }
}

/// Seats offered or needed, 1 to [`SEATS_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seats(u8);

/// Not a number of seats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} seats: expected 1 to {SEATS_MAX}")]
pub struct SeatsError(pub u64);

impl Seats {
    /// One seat.
    pub const ONE: Self = Self(1);

    /// A number of seats.
    ///
    /// # Errors
    /// Outside 1 to [`SEATS_MAX`].
    pub const fn new(seats: u8) -> Result<Self, SeatsError> {
        if seats >= 1 && seats <= SEATS_MAX { Ok(Self(seats)) } else { Err(SeatsError(seats as u64)) }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// A set of features, offered by a driver or required by a rider. Unknown bits are
/// kept and mean "something else" (P2, table of types).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Features(u32);

impl Features {
    /// No feature.
    pub const NONE: Self = Self(0);
    /// A ramp.
    pub const RAMP: Self = Self(1);
    /// A child seat.
    pub const CHILD_SEAT: Self = Self(1 << 1);
    /// Pets are welcome.
    pub const PETS: Self = Self(1 << 2);
    /// Room for luggage.
    pub const LUGGAGE: Self = Self(1 << 3);
    /// A quiet ride.
    pub const QUIET: Self = Self(1 << 4);

    /// From the bits on the wire.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits on the wire.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether every feature of `wanted` is here.
    #[must_use]
    pub const fn contains(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
