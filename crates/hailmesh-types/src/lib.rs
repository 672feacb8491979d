//! What the words of Hailmesh mean.
//!
//! Every type here is *parsed and valid by construction*: a [`GeoPoint`] is on the
//! globe, a [`Cell`] is a real H3 cell, a [`PublicKey`] is a usable Ed25519 key, a
//! [`Timestamp`] lies inside the range the protocol allows. Code that holds one of
//! them has nothing left to check.
//!
//! There is no encoding here (see `hailmesh-wire`), no clock, no randomness and no
//! I/O. Numbers are integers wherever two machines must agree on a result: positions
//! in 1e-7 degree, money in minor units, times in milliseconds.
//!
//! Clause numbers such as `P9.1` refer to `docs/protocol.md`.
#![forbid(unsafe_code)]

mod cell;
mod geo;
mod ids;
mod money;
mod points;
mod private;
mod tariff;
mod text;
mod time;
mod vehicle;

pub use cell::{Bounds, Cell, CellError, CellRect, Resolution};
pub use geo::{GeoError, GeoPoint};
pub use ids::{AgreementId, Hash, KeyError, NetworkName, NetworkNameError, PeerKey, PublicKey, StatementId};
pub use money::{AMOUNT_MAX, Amount, Currency, MoneyError};
pub use private::Private;
pub use tariff::{FareBreakdown, FareError, SURGE_MAX, SURGE_ONE, Tariff, TariffError};
pub use text::{Text, TextError};
pub use time::{Duration, TIME_MAX_MS, TIME_MIN_MS, TimeError, Timestamp};
pub use vehicle::{Class, ClassError, Features, SEATS_MAX, Seats, SeatsError};
