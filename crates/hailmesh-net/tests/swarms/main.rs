//! Real swarms on loopback. Nothing sleeps: every step waits for an event, with a
//! deadline.

mod exchange;
mod gossip;
mod peers;
mod raw;
mod support;
