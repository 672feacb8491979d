//! The handshake as two transition tables (P6, P7).
//!
//! [`DriverLane::transition`] and [`RiderChain::transition`] are pure: no time, no
//! keys, no randomness. Whether a statement is sound (signature, bounds, fare,
//! certificates) is decided before and comes in as part of the event; which timers run
//! is decided outside from the state. Every arm names its clause. What a transition
//! asks for comes in the order *writes, then sends*, and nothing is sent before the
//! writes are durable (P11.1).
//!
//! The same functions run in a node, in the simulator and under a model checker.

mod driver;
mod rider;

pub use driver::{
    DriverEvent, DriverLane, DriverSend, DriverSlot, DriverWrite, Guard, Held, LaneState, PastSlot,
};
pub use rider::{Binding, PastBinding, RiderChain, RiderEvent, RiderSend, RiderSlot, RiderState, RiderWrite};

/// What a transition leads to: durable writes first, then sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition<W, S> {
    /// To be made durable in one transaction, with whatever is signed because of it.
    pub writes: Vec<W>,
    /// To be sent afterwards.
    pub sends: Vec<S>,
}

impl<W, S> Transition<W, S> {
    /// Nothing changes and nothing is sent (P6.23).
    #[must_use]
    pub const fn nothing() -> Self {
        Self { writes: Vec::new(), sends: Vec::new() }
    }

    fn send(send: S) -> Self {
        Self { writes: Vec::new(), sends: vec![send] }
    }

    fn write(write: W, sends: Vec<S>) -> Self {
        Self { writes: vec![write], sends }
    }
}
