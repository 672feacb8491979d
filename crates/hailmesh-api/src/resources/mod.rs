//! What the paths answer, by subject.

pub(crate) mod diagnostics;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod offer;
pub(crate) mod offers;
pub(crate) mod rides;
pub(crate) mod trips;
