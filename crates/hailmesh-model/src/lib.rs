//! Nobody is ever booked twice: every order of messages, timers and crashes in small
//! cities, over the handshake that ships (P23).
//!
//! What is explored is the code of a node: [`DriverLane`], [`RiderChain`], their
//! `transition` and their `from_journal`, which a restart uses. Around them the model
//! does, in few lines, what the marketplace does around them: it signs, writes, sends,
//! repeats and answers STATUS. It has no time, no places and no money.
//!
//! * The network is the set of all messages ever sent. Delivery takes none away, so that
//!   loss (never delivered), duplication, reordering and any delay are included.
//! * Any timer may fire, and any user may act, at any time.
//! * A crash may fall between any commit and its send: what was written stands, what was
//!   to be sent is lost, and so is everything that is only in memory.
//! * A Byzantine party may say whatever its keys can sign.
//! * In *every* city a fair completion is run to its end, and both sides must agree there
//!   (L1). Checkers' *eventually* misses failures on ways that end in a circle.
//!
//! What is seeded to be found is in [`mutant`].
//!
//! [`DriverLane`]: hailmesh_market::handshake::DriverLane
//! [`RiderChain`]: hailmesh_market::handshake::RiderChain
#![forbid(unsafe_code)]

mod byzantine;
mod check;
pub mod city;
pub mod configurations;
mod driver;
pub mod evidence;
mod model;
pub mod mutant;
mod properties;
mod rider;
pub mod statement;
mod step;
pub mod world;

pub use check::{Report, check};
pub use driver::DriverOwn;
pub use model::CityModel;
pub use mutant::Mutant;
pub use properties::{Broken, PROPERTIES};
pub use rider::RiderOwn;
pub use step::{Action, Step};
pub use world::Configuration;
