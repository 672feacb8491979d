//! The marketplace as pure state machines: book, admission, matching, handshake, ride, evidence
