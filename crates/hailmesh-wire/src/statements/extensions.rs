//! Room for later fields (P2.11).

use std::fmt;

use crate::DecodeError;
use crate::codec::{Codec, Reader, Writer};
use crate::limits::{EXTENSION_BYTES_MAX, EXTENSIONS_BYTES_MAX, EXTENSIONS_MAX};

/// The bit of an id that says: whoever does not know this must refuse the statement.
const CRITICAL: u16 = 0x8000;
const CLAUSE: &str = "P2.11";

/// Up to 8 extensions of at most 128 bytes, 256 together, in the order of their ids.
/// Unknown ones are kept and signed like the rest.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Extensions(Vec<(u16, Vec<u8>)>);

impl Extensions {
    /// No extension.
    pub const NONE: Self = Self(Vec::new());

    /// Checks extensions.
    ///
    /// # Errors
    /// P2.11 when there are too many, they are too long, or ids do not ascend.
    pub fn new(pairs: Vec<(u16, Vec<u8>)>) -> Result<Self, DecodeError> {
        let refuse = |what: String| Err(DecodeError::new(CLAUSE, what));
        if pairs.len() > EXTENSIONS_MAX {
            return refuse(format!("{} extensions: at most {EXTENSIONS_MAX} are allowed", pairs.len()));
        }
        if let Some((id, value)) = pairs.iter().find(|(_, value)| value.len() > EXTENSION_BYTES_MAX) {
            let found = value.len();
            return refuse(format!(
                "extension {id:#06x} of {found} bytes: at most {EXTENSION_BYTES_MAX} are allowed"
            ));
        }
        let total: usize = pairs.iter().map(|(_, value)| value.len()).sum();
        if total > EXTENSIONS_BYTES_MAX {
            return refuse(format!(
                "extensions of {total} bytes: at most {EXTENSIONS_BYTES_MAX} are allowed"
            ));
        }
        if let Some(pair) = pairs.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
            return refuse(format!("extension {:#06x} after {:#06x}: ids must ascend", pair[1].0, pair[0].0));
        }
        Ok(Self(pairs))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value with this id.
    #[must_use]
    pub fn get(&self, id: u16) -> Option<&[u8]> {
        self.iter().find(|(found, _)| *found == id).map(|(_, value)| value)
    }

    /// Ids and values, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &[u8])> {
        self.0.iter().map(|(id, value)| (*id, value.as_slice()))
    }

    /// The first critical extension that this version does not know: the reader must
    /// refuse the statement, on gossip ignore it. Version 1 knows none.
    #[must_use]
    pub fn unknown_critical(&self) -> Option<u16> {
        self.0.iter().map(|(id, _)| *id).find(|id| id & CRITICAL != 0)
    }
}

impl Codec for Extensions {
    type Value = Self;

    fn absent() -> Option<Self> {
        Some(Self::NONE)
    }

    fn is_absent(value: &Self) -> bool {
        value.is_empty()
    }

    fn write(value: &Self, out: &mut Writer) {
        out.array(value.0.len());
        for (id, content) in &value.0 {
            out.array(2);
            out.uint(u64::from(*id));
            out.bytes(content);
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = input.array()?;
        let len = usize::try_from(len).ok().filter(|len| (1..=EXTENSIONS_MAX).contains(len));
        let len = len.ok_or_else(|| DecodeError::new(CLAUSE, "has not 1 to 8 elements"))?;
        let mut pairs = Vec::with_capacity(len);
        for _ in 0..len {
            if input.array()? != 2 {
                return Err(DecodeError::new(CLAUSE, "is not a list of pairs"));
            }
            let id = u16::read(input)?;
            let value = input.bytes()?;
            if value.len() > EXTENSION_BYTES_MAX {
                let found = value.len();
                return Err(DecodeError::new(
                    CLAUSE,
                    format!("{id:#06x} of {found} bytes: at most 128 are allowed"),
                ));
            }
            pairs.push((id, value.to_vec()));
        }
        Self::new(pairs)
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(id, value)| format!("{id:#06x}: {} bytes", value.len())))
            .finish()
    }
}
