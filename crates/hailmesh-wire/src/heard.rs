//! A gossip message, read once however many hosts hear it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::{AnyStatement, DecodeError, Header};

/// A gossip message as it was heard. Its parts are read when they are first asked for,
/// and never twice: cloning is cheap, and where many hosts live in one process they share
/// the reading and the check of the signature. On a network a message is heard by one
/// node and nothing is shared.
///
/// It says nothing about whether the message belongs anywhere: that depends on the topic,
/// the time and the node, and is for admission (P13.7). Two are equal when their bytes
/// are.
#[derive(Clone)]
pub struct Heard(Arc<Message>);

struct Message {
    bytes: Arc<[u8]>,
    header: OnceLock<Result<Header, DecodeError>>,
    statement: OnceLock<Result<AnyStatement, DecodeError>>,
}

impl Heard {
    /// A message of these bytes, whatever they are. Nothing is read yet.
    #[must_use]
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        let (header, statement) = (OnceLock::new(), OnceLock::new());
        Self(Arc::new(Message { bytes: bytes.into(), header, statement }))
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.0.bytes
    }

    /// The envelope: [`Header::peek`].
    ///
    /// # Errors
    /// P2.1 to P2.4 for its form, P4.1 for its size.
    pub fn header(&self) -> Result<&Header, &DecodeError> {
        self.0.header.get_or_init(|| Header::peek(&self.0.bytes)).as_ref()
    }

    /// The whole statement: [`AnyStatement::decode`].
    ///
    /// # Errors
    /// The first clause that the bytes break.
    pub fn statement(&self) -> Result<&AnyStatement, &DecodeError> {
        let read = || {
            let header = self.header().map_err(Clone::clone)?;
            AnyStatement::decode_peeked(Arc::clone(self.bytes()), header.clone())
        };
        self.0.statement.get_or_init(read).as_ref()
    }
}

impl PartialEq for Heard {
    fn eq(&self, other: &Self) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl Eq for Heard {}

impl From<Vec<u8>> for Heard {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl From<Arc<[u8]>> for Heard {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self::new(bytes)
    }
}

impl fmt::Debug for Heard {
    /// Not the bytes: an offer in them shows where somebody is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heard").field("bytes", &self.0.bytes.len()).finish_non_exhaustive()
    }
}
