//! Short texts written by strangers.

use std::fmt;

/// UTF-8 of at most `N` bytes without control or bidirectional-override characters
/// (P2, table of types). Compared as bytes, never normalised.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const N: usize>(String);

/// Why a text is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Too long.
    #[error("text of {got} bytes: at most {max} are allowed")]
    TooLong {
        /// Bytes found.
        got: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A character that could hide or reorder others.
    #[error("text holds U+{:04X}, a control or direction character", u32::from(*.0))]
    Forbidden(char),
}

impl<const N: usize> Text<N> {
    /// Checks a text.
    ///
    /// # Errors
    /// [`TextError::TooLong`] beyond `N` bytes, [`TextError::Forbidden`] at the first
    /// control or bidirectional-override character.
    pub fn new(text: impl Into<String>) -> Result<Self, TextError> {
        let text = text.into();
        if text.len() > N {
            return Err(TextError::TooLong { got: text.len(), max: N });
        }
        match text.chars().find(|c| is_forbidden(*c)) {
            Some(c) => Err(TextError::Forbidden(c)),
            None => Ok(Self(text)),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Control characters, the explicit bidirectional controls of Unicode (UAX #9) and
/// the two separators that terminals and lists break on.
fn is_forbidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        assert!(Text::<4>::new("abcd").is_ok());
        assert_eq!(Text::<4>::new("abcde"), Err(TextError::TooLong { got: 5, max: 4 }));
        assert_eq!(Text::<9>::new("a\u{202e}b"), Err(TextError::Forbidden('\u{202e}')));
        assert_eq!(Text::<9>::new("a\nb"), Err(TextError::Forbidden('\n')));
    }
}
