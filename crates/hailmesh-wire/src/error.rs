//! What is wrong with bytes that somebody else wrote.

/// Bytes that are not what they should be. Made only on the way to refusing them, so
/// that good bytes cost no allocation here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{clause}: {what}")]
pub struct DecodeError {
    /// The clause of the protocol that is broken, such as `P2.4`.
    pub clause: &'static str,
    /// What failed and with which value: a lower-case fragment.
    pub what: String,
}

impl DecodeError {
    /// A violation of `clause`.
    #[must_use]
    pub fn new(clause: &'static str, what: impl Into<String>) -> Self {
        Self { clause, what: what.into() }
    }

    /// A value outside its bounds; the record that holds it fills in its clause.
    pub(crate) fn value(what: impl Into<String>) -> Self {
        Self::new("", what)
    }

    /// Says in which field it happened, and cites `clause` if none is cited yet.
    pub(crate) fn in_field(mut self, clause: &'static str, field: &str) -> Self {
        self.what = format!("{field} {}", self.what);
        if self.clause.is_empty() {
            self.clause = clause;
        }
        self
    }
}
