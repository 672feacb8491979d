//! Money in minor units.

use std::fmt;
use std::str::FromStr;

/// Greatest amount a statement may name: 1,000,000,000 minor units (P2, table of types).
pub const AMOUNT_MAX: u64 = 1_000_000_000;

/// An amount in minor units of some [`Currency`], 0 to [`AMOUNT_MAX`].
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u64);

/// Why a value is not money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Too much.
    #[error("amount {0}: expected 0 to {AMOUNT_MAX} minor units")]
    Amount(u128),
    /// Not a currency code.
    #[error("currency {0:?}: expected three upper-case letters (ISO 4217)")]
    Currency(String),
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// [`AMOUNT_MAX`] minor units.
    pub const MAX: Self = Self(AMOUNT_MAX);

    /// An amount of minor units.
    ///
    /// # Errors
    /// [`MoneyError::Amount`] above [`AMOUNT_MAX`].
    pub const fn from_minor(minor: u64) -> Result<Self, MoneyError> {
        if minor <= AMOUNT_MAX { Ok(Self(minor)) } else { Err(MoneyError::Amount(minor as u128)) }
    }

    /// Minor units.
    #[must_use]
    pub const fn minor(self) -> u64 {
        self.0
    }

    /// The sum, or nothing above [`AMOUNT_MAX`].
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Self::from_minor(self.0 + other.0).ok()
    }

    /// The difference, zero when `other` is greater.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// An ISO 4217 code: three upper-case ASCII letters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The US dollar, the default of the example tariffs.
    pub const USD: Self = Self(*b"USD");

    /// Reads three letters.
    ///
    /// # Errors
    /// [`MoneyError::Currency`] when they are not upper-case ASCII letters.
    pub fn from_bytes(code: [u8; 3]) -> Result<Self, MoneyError> {
        if code.iter().all(u8::is_ascii_uppercase) {
            Ok(Self(code))
        } else {
            Err(MoneyError::Currency(String::from_utf8_lossy(&code).into_owned()))
        }
    }

    /// The three letters.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 3] {
        &self.0
    }

    /// The three letters as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let code = text.as_bytes().try_into().map_err(|_| MoneyError::Currency(text.to_owned()))?;
        Self::from_bytes(code)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
