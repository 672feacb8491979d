//! What the wire accepts, and everything it does not.

mod bounds;
mod canonical;
mod common;
mod frames;
mod prev;
mod signatures;
mod sizes;
