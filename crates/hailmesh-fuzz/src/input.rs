//! Bytes as a row of decisions.

/// Reads decisions off the front of some bytes. Where they have run out every decision is
/// the first one, 0, so that an input never fails for being short.
#[derive(Debug, Clone)]
pub struct Input<'b> {
    bytes: &'b [u8],
}

impl<'b> Input<'b> {
    /// All of these bytes.
    #[must_use]
    pub const fn new(bytes: &'b [u8]) -> Self {
        Self { bytes }
    }

    /// Whether nothing is left to decide.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// A number of eight bits.
    pub fn byte(&mut self) -> u8 {
        match self.bytes.split_first() {
            Some((first, rest)) => {
                self.bytes = rest;
                *first
            }
            None => 0,
        }
    }

    /// A number of sixteen bits.
    pub fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// A number of thirty-two bits.
    pub fn long(&mut self) -> u32 {
        u32::from(self.short()) | u32::from(self.short()) << 16
    }

    /// A number less than `bound`; 0 where `bound` is 0 or 1. One byte decides up to 256
    /// ways, two decide more.
    pub fn below(&mut self, bound: usize) -> usize {
        match bound {
            0 | 1 => 0,
            2..=256 => usize::from(self.byte()) % bound,
            _ => usize::from(self.short()) % bound,
        }
    }

    /// Whether something happens that does so `of` times in 256.
    pub fn chance(&mut self, of: u8) -> bool {
        // The last values and not the first: what has run out does not happen.
        let drawn = self.byte();
        drawn > 255 - of
    }

    /// One of several; nothing when there are none.
    pub fn pick<'l, T>(&mut self, list: &'l [T]) -> Option<&'l T> {
        let at = self.below(list.len());
        list.get(at)
    }

    /// The next so many bytes, or as many as there are.
    pub fn take(&mut self, count: usize) -> &'b [u8] {
        let (taken, rest) = self.bytes.split_at(count.min(self.bytes.len()));
        self.bytes = rest;
        taken
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'b [u8] {
        std::mem::take(&mut self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_run_out_is_zero() {
        let mut input = Input::new(&[7, 1]);
        assert_eq!((input.byte(), input.long(), input.below(9), input.chance(200)), (7, 1, 0, false));
        assert!(input.is_empty() && input.take(4).is_empty() && input.pick::<u8>(&[]).is_none());
        assert!(Input::new(&[255]).chance(1) && !Input::new(&[254]).chance(1));
    }
}
