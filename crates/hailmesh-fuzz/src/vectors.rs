//! The golden vectors of `hailmesh-wire`, as bytes to begin with.

use std::sync::LazyLock;

use hailmesh_wire::NetworkId;
use serde_json::Value;

/// What the vectors hold.
#[derive(Debug)]
pub struct Vectors {
    /// Envelopes of valid statements, of every kind.
    pub statements: Vec<Vec<u8>>,
    /// Envelopes that are refused.
    pub refused: Vec<Vec<u8>>,
    /// Envelopes of EVIDENCE that holds.
    pub evidence: Vec<Vec<u8>>,
    /// Envelopes of EVIDENCE that shows nothing.
    pub no_evidence: Vec<Vec<u8>>,
    /// Receipts that verify.
    pub receipts: Vec<Vec<u8>>,
    /// Receipts that do not.
    pub bad_receipts: Vec<Vec<u8>>,
}

impl Vectors {
    /// Every envelope, valid or not.
    pub fn envelopes(&self) -> impl Iterator<Item = &Vec<u8>> {
        [&self.statements, &self.refused, &self.evidence, &self.no_evidence].into_iter().flatten()
    }
}

/// The network of the vectors.
#[must_use]
pub fn network() -> NetworkId {
    NetworkId::of(&"test".parse().expect("a name"))
}

/// A sound key: the base point of the curve (RFC 8032, section 5.1), y = 4/5.
pub(crate) const A_KEY: [u8; 32] = {
    let mut bytes = [0x66; 32];
    bytes[0] = 0x58;
    bytes
};

/// The vectors, read once.
pub static VECTORS: LazyLock<Vectors> = LazyLock::new(|| {
    let statements = include_str!("../../hailmesh-wire/tests/vectors/statements.json");
    let refused = include_str!("../../hailmesh-wire/tests/vectors/refused.json");
    let evidence = include_str!("../../hailmesh-wire/tests/vectors/evidence.json");
    let receipts = include_str!("../../hailmesh-wire/tests/vectors/receipts.json");
    Vectors {
        statements: list(statements, "statements", "envelope"),
        refused: list(refused, "refused", "envelope"),
        evidence: list(evidence, "valid", "envelope"),
        no_evidence: list(evidence, "invalid", "envelope"),
        receipts: list(receipts, "valid", "receipt"),
        bad_receipts: list(receipts, "invalid", "receipt"),
    }
});

fn list(text: &str, name: &str, field: &str) -> Vec<Vec<u8>> {
    let file: Value = serde_json::from_str(text).expect("vectors are JSON");
    let items = file[name].as_array().expect("a list of vectors");
    let bytes = items.iter().map(|item| unhex(item[field].as_str().expect("hexadecimal digits")));
    let list: Vec<Vec<u8>> = bytes.collect();
    assert!(!list.is_empty(), "no vectors {name}");
    list
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits");
    (0..text.len()).step_by(2).map(digit).collect()
}
