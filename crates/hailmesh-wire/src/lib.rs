//! Bytes on the network: canonical CBOR, envelopes, signatures, topics, limits
