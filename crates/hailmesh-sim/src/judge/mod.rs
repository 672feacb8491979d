//! What must hold whatever happens, whoever sees to it: the judges of a simulated city and
//! of one of real nodes.
//!
//! A judge is told what honest nodes tell their users and what attackers own up to
//! ([`crate::adversary`]), and says in words what must not be. It decides nothing and asks
//! nobody.

mod attacks;
mod bindings;

pub use attacks::{AttackTally, Attacks, EXPOSED_WITHIN_MS};
pub use bindings::Bindings;
