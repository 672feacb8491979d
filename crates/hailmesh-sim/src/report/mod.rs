//! What came of runs, for people and for programs.
//!
//! Everything here is a function from facts to text: it opens no files and looks at no
//! clock. The same facts always give the same bytes.
//!
//! * [`Figures`]: the figures of one run, named as `hailmesh sim run --json` prints them,
//!   and [`Figures::metric`] to find one by its name;
//! * [`Group`]: the runs of one policy and one fleet, averaged over their seeds;
//! * [`Summary`], [`Report`]: all runs of a command; a report also holds what its plots and
//!   its map are drawn from, so that it can be drawn again without running anything;
//! * [`html()`], [`markdown()`], [`rides_csv`], [`trips_geojson`]: the files of `--out`;
//! * [`Assertion`], what a run has to reach: `p2p.served_share>=0.98`.

mod assertion;
mod charts;
mod curves;
mod document;
mod figures;
mod group;
mod html;
mod map;
mod markdown;
mod rides;
mod trips;

pub use assertion::{Assertion, AssertionError, Failed};
pub use curves::{Bin, Curves};
pub use document::{Report, ReportError, Summary};
pub use figures::{Figures, METRICS, Pickup, Wait, metric_names};
pub use group::{Group, groups};
pub use html::html;
pub use map::{Map, MapRide};
pub use markdown::markdown;
pub use rides::rides_csv;
pub use trips::{EPOCH_S, trips_geojson};
