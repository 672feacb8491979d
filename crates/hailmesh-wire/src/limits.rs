//! Named limits of everything a stranger can send (P4.1, P5, P13, P15, P20).

/// Most bytes of a statement other than EVIDENCE and REVOCATION (P4.1).
pub const STATEMENT_BYTES_MAX: usize = 1_024;
/// Most bytes of EVIDENCE and REVOCATION (P4.1).
pub const EVIDENCE_BYTES_MAX: usize = 4_096;
/// Most bytes of an exchange frame with its length and filler (P5.1).
pub const FRAME_BYTES_MAX: usize = 8_192;
/// The only sizes a frame may have on the wire (P5.1).
pub const FRAME_SIZES: [usize; 5] = [512, 1_024, 2_048, 4_096, 8_192];
/// Most attachments of a frame (P5.2).
pub const ATTACHMENTS_MAX: usize = 8;
/// Most further statements among the attachments (P5.3).
pub const ATTACHED_STATEMENTS_MAX: usize = 6;
/// Most content bytes of an opening (P5.3).
pub const OPENING_CONTENT_BYTES_MAX: usize = 768;
/// Most bytes of a receipt file (P10.1).
pub const RECEIPT_BYTES_MAX: usize = 16_384;
/// Most bytes of a sync question (P15.3).
pub const SYNC_QUESTION_BYTES_MAX: usize = 1_024;
/// Most bytes of a sync answer (P15.3).
pub const SYNC_ANSWER_BYTES_MAX: usize = 32_768;
/// Most topics a node subscribes to, and a peer may (P13.2, P20).
pub const TOPICS_MAX: usize = 64;
/// Most addresses in a statement (P2, table of types).
pub const ADDRS_MAX: usize = 3;
/// Most bytes of an address (P2, table of types).
pub const ADDR_BYTES_MAX: usize = 64;
/// Most certificates in a statement (P2, table of types).
pub const CERTS_MAX: usize = 2;
/// Most bytes of a certificate in a statement (P2, table of types).
pub const CERT_BYTES_MAX: usize = 288;
/// Most extensions, bytes of one, and bytes of all (P2.11).
pub const EXTENSIONS_MAX: usize = 8;
/// Most bytes of one extension value (P2.11).
pub const EXTENSION_BYTES_MAX: usize = 128;
/// Most bytes of all extension values together (P2.11).
pub const EXTENSIONS_BYTES_MAX: usize = 256;
/// Deepest nesting of CBOR arrays (P2.2).
pub const NESTING_MAX: usize = 5;
/// Most bytes of the proof in a `prev` (P3.5), hence of a RELEASE and a COSIGN.
pub const PROOF_BYTES_MAX: usize = 320;
