//! Junctions, one-way links between them, and the fastest way from one to another.
//!
//! # Costs are whole numbers
//!
//! A link takes `length / speed`, rounded to whole milliseconds and at least one; its
//! length is rounded to whole metres. The fastest path is the one of least milliseconds
//! and, among those, of least metres, so that every answer is the same on every machine
//! and whichever of the three ways below computes it. Both numbers travel as one packed
//! integer (`cost`), because adding and comparing packed costs is adding and comparing
//! pairs.
//!
//! # Three ways to answer
//!
//! * Up to [`TABLE_JUNCTIONS`] junctions: a table of all pairs, made once by one Dijkstra
//!   search for each destination. A question is one memory access. The row of a table
//!   belongs to a *destination*, because dispatchers ask "which of these cars is first at
//!   that pickup".
//! * Larger networks: a contraction hierarchy, asked on demand (microseconds each).
//! * A [`Lattice`]: two-way streets and avenues of one speed each, in closed form and
//!   without any memory, for cities of a million people.

mod cost;
mod hierarchy;
mod lattice;
mod network;
mod snap;
mod table;

use hailmesh_types::GeoPoint;

use cost::Cost;
pub use lattice::Lattice;
use network::Network;
pub use network::{Link, MAX_LINK_KM, MAX_SPEED_KMH, MIN_SPEED_KMH};

/// The largest network whose table of all pairs is computed: 8 bytes a pair, so 512 MiB.
pub const TABLE_JUNCTIONS: usize = 8_192;

/// A junction by its number, from 0 on, in the order of the network's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Junction(pub u32);

impl Junction {
    /// The number as an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl std::fmt::Display for Junction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What the fastest path from one junction to another takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Drive {
    /// Travel time, milliseconds.
    pub ms: u32,
    /// Length, metres.
    pub m: u32,
}

/// Why something is not a road network.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RoadsError {
    /// No junctions.
    #[error("a road network of no junctions: expected at least 1")]
    Empty,
    /// A junction's number would not fit.
    #[error("{0} junctions: expected at most 16777216")]
    TooManyJunctions(usize),
    /// A link that ends nowhere.
    #[error("link {link}: junction {junction}: expected one of the {junctions} junctions")]
    Endpoint {
        /// Place of the link in the list, from 0.
        link: usize,
        /// The number that is no junction.
        junction: u32,
        /// How many there are.
        junctions: usize,
    },
    /// A length out of range or not a number.
    #[error("link {link}: length {value} km: expected more than 0 and at most 100")]
    Length {
        /// Place of the link in the list, from 0.
        link: usize,
        /// The length.
        value: f64,
    },
    /// A speed out of range or not a number.
    #[error("link {link}: speed {value} km/h: expected 1 to 300")]
    LinkSpeed {
        /// Place of the link in the list, from 0.
        link: usize,
        /// The speed.
        value: f64,
    },
    /// A uniform speed out of range or not a number.
    #[error("speed {0} km/h: expected 1 to 300")]
    Speed(f64),
    /// Nobody can drive from one junction to another.
    #[error(
        "the road network is disconnected: junction {to} cannot be reached from junction {from}; expected a \
         way from every junction to every other"
    )]
    Disconnected {
        /// Where from.
        from: Junction,
        /// The junction that cannot be reached.
        to: Junction,
    },
    /// More road than costs can count.
    #[error("{km:.0} km of road: expected at most 268,435 km and 795 days of driving in all")]
    TooLong {
        /// Length of all links.
        km: f64,
    },
    /// A lattice of no size, off the globe, or too large.
    #[error("lattice: {0}")]
    Lattice(String),
}

/// A road network: cheap to share between threads (`Arc<Roads>`), never changed.
#[derive(Debug)]
pub struct Roads {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Network { network: Network, snap: snap::Snap, routes: Routes },
    Lattice(Lattice),
}

#[derive(Debug)]
enum Routes {
    Table(table::Table),
    Hierarchy(Box<hierarchy::Hierarchy>),
}

impl Roads {
    /// A network of junctions at the given points and one-way links. Loops are dropped;
    /// of several links between the same two junctions the fastest counts.
    ///
    /// # Errors
    /// When there is no junction, when a link names none or has a length outside
    /// 0 … 100 km or a speed outside 1 … 300 km/h, and when some junction cannot be
    /// reached from another.
    pub fn new(points: Vec<GeoPoint>, links: Vec<Link>) -> Result<Self, RoadsError> {
        Self::of(Network::new(points, links)?, TABLE_JUNCTIONS)
    }

    /// The same with another bound for the table; tests compare the two ways.
    #[cfg(test)]
    fn with_table_up_to(
        points: Vec<GeoPoint>,
        links: Vec<Link>,
        junctions: usize,
    ) -> Result<Self, RoadsError> {
        Self::of(Network::new(points, links)?, junctions)
    }

    /// Two-way streets and avenues in closed form.
    #[must_use]
    pub const fn lattice(lattice: Lattice) -> Self {
        Self { kind: Kind::Lattice(lattice) }
    }

    fn of(network: Network, table_junctions: usize) -> Result<Self, RoadsError> {
        network.check_connected()?;
        let snap = snap::Snap::new(network.points());
        let routes = if network.points().len() <= table_junctions {
            Routes::Table(table::Table::new(&network))
        } else {
            Routes::Hierarchy(Box::new(hierarchy::Hierarchy::new(&network)))
        };
        Ok(Self { kind: Kind::Network { network, snap, routes } })
    }

    /// The same network with one speed everywhere.
    ///
    /// # Errors
    /// When the speed is not a number from 1 to 300 km/h.
    pub fn with_uniform_speed(&self, kmh: f64) -> Result<Self, RoadsError> {
        if !(MIN_SPEED_KMH..=MAX_SPEED_KMH).contains(&kmh) {
            return Err(RoadsError::Speed(kmh));
        }
        match &self.kind {
            Kind::Lattice(lattice) => Ok(Self::lattice(lattice.with_uniform_speed(kmh)?)),
            Kind::Network { network, .. } => {
                let links = network.links().map(|link| Link { speed_kmh: kmh, ..link }).collect();
                Self::new(network.points().to_vec(), links)
            }
        }
    }

    /// Number of junctions, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "there is always a junction")]
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.kind {
            Kind::Network { network, .. } => network.points().len(),
            Kind::Lattice(lattice) => lattice.len(),
        }
    }

    /// Where a junction is.
    ///
    /// # Panics
    /// When it is not a junction of this network, like all below.
    #[must_use]
    pub fn point(&self, junction: Junction) -> GeoPoint {
        match &self.kind {
            Kind::Network { network, .. } => network.points()[junction.index()],
            Kind::Lattice(lattice) => lattice.point(junction),
        }
    }

    /// The junction nearest to a position, of several the one with the lowest number.
    /// Distances are taken on a plane that touches the globe in the middle of the network.
    #[must_use]
    pub fn snap(&self, point: GeoPoint) -> Junction {
        match &self.kind {
            Kind::Network { snap, .. } => snap.nearest(point),
            Kind::Lattice(lattice) => lattice.snap(point),
        }
    }

    /// Time and length of the fastest path.
    #[must_use]
    pub fn drive(&self, from: Junction, to: Junction) -> Drive {
        match &self.kind {
            Kind::Network { routes: Routes::Table(table), .. } => table.cost(from, to).drive(),
            Kind::Network { routes: Routes::Hierarchy(hierarchy), .. } => hierarchy.cost(from, to).drive(),
            Kind::Lattice(lattice) => lattice.drive(from, to),
        }
    }

    /// The junctions of the fastest path in order, both ends included, each with the
    /// milliseconds that it takes to get there. One entry when the ends are the same.
    #[must_use]
    pub fn timed_path(&self, from: Junction, to: Junction) -> Vec<(Junction, u32)> {
        match &self.kind {
            Kind::Network { network, routes: Routes::Table(table), .. } => {
                let mut steps = table.steps(network, from, to).collect::<Vec<_>>();
                steps.insert(0, (from, 0));
                steps
            }
            Kind::Network { network, routes: Routes::Hierarchy(hierarchy), .. } => {
                let mut ms = Cost::default();
                let mut steps = vec![(from, 0)];
                for leg in hierarchy.path(from, to).windows(2) {
                    ms = ms + network.cost_between(leg[0], leg[1]);
                    steps.push((leg[1], ms.drive().ms));
                }
                steps
            }
            Kind::Lattice(lattice) => lattice.timed_path(from, to),
        }
    }

    /// The junctions of the fastest path in order, both ends included.
    #[must_use]
    pub fn path(&self, from: Junction, to: Junction) -> Vec<Junction> {
        self.timed_path(from, to).into_iter().map(|(junction, _)| junction).collect()
    }

    /// Where a car is that drove for so many milliseconds on the fastest path: the last
    /// junction that it reached. After the whole drive, and later, that is `to`.
    #[must_use]
    pub fn junction_after(&self, from: Junction, to: Junction, ms: u32) -> Junction {
        match &self.kind {
            Kind::Network { network, routes: Routes::Table(table), .. } => {
                let reached = table.steps(network, from, to).take_while(|&(_, at)| at <= ms).last();
                reached.map_or(from, |(junction, _)| junction)
            }
            Kind::Network { .. } => {
                let path = self.timed_path(from, to);
                path.iter().take_while(|&&(_, at)| at <= ms).last().map_or(from, |&(junction, _)| junction)
            }
            Kind::Lattice(lattice) => lattice.junction_after(from, to, ms),
        }
    }

    /// Where a car is that drove for so many milliseconds on the fastest path, on the
    /// straight line between the two junctions that it is between.
    #[must_use]
    pub fn point_after(&self, from: Junction, to: Junction, ms: u32) -> GeoPoint {
        let mut before = (from, 0);
        let next = match &self.kind {
            Kind::Network { network, routes: Routes::Table(table), .. } => {
                between(table.steps(network, from, to), &mut before, ms)
            }
            Kind::Network { .. } => between(self.timed_path(from, to).into_iter(), &mut before, ms),
            Kind::Lattice(lattice) => return lattice.point_after(from, to, ms),
        };
        let here = self.point(before.0);
        next.map_or(here, |(junction, at)| {
            let share = f64::from(ms - before.1) / f64::from((at - before.1).max(1));
            along(here, self.point(junction), share)
        })
    }

    /// All links in the order of their description, without loops. A lattice lists none:
    /// its streets follow from its size.
    pub fn links(&self) -> impl Iterator<Item = Link> + '_ {
        match &self.kind {
            Kind::Network { network, .. } => Some(network.links()).into_iter().flatten(),
            Kind::Lattice(_) => None.into_iter().flatten(),
        }
    }

    /// The lattice, if that is what this is.
    #[must_use]
    pub const fn as_lattice(&self) -> Option<&Lattice> {
        match &self.kind {
            Kind::Lattice(lattice) => Some(lattice),
            Kind::Network { .. } => None,
        }
    }
}

/// The first step that is later than `ms`; leaves the one before it in `before`.
fn between(
    steps: impl Iterator<Item = (Junction, u32)>,
    before: &mut (Junction, u32),
    ms: u32,
) -> Option<(Junction, u32)> {
    for step in steps {
        if step.1 > ms {
            return Some(step);
        }
        *before = step;
    }
    None
}

/// The point at the given share (0 to 1) of the line from one point to another.
fn along(from: GeoPoint, to: GeoPoint, share: f64) -> GeoPoint {
    let mix = |a: f64, b: f64| a + (b - a) * share.clamp(0.0, 1.0);
    GeoPoint::from_degrees(mix(from.lat(), to.lat()), mix(from.lon(), to.lon())).unwrap_or(from)
}

#[cfg(test)]
mod tests;
