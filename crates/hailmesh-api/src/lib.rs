//! The local HTTP API and the event stream over a node handle
