//! A map of the roads with rides on them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::html::escape;
use crate::outcome::RunOutcome;
use crate::roads::{Junction, Link, Roads};

/// Rides drawn at most: more would hide each other.
const RIDES_MAX: usize = 400;
/// Links drawn at most: a larger city shows its rides alone.
const LINKS_MAX: usize = 60_000;
/// Units of the longer side of the drawing.
const EXTENT: f64 = 1_000.0;

/// Roads and rides as lines of a drawing, north up.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Map {
    /// Of which run, in words.
    pub title: String,
    /// Width of the drawing.
    pub width: u32,
    /// Height of the drawing.
    pub height: u32,
    /// All roads as one SVG path.
    pub roads: String,
    /// Some of the rides, evenly spread over the run.
    pub rides: Vec<MapRide>,
}

/// One ride on the map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MapRide {
    /// From the pickup to the destination as an SVG path.
    pub path: String,
    /// From the request to the pickup, seconds; none: lost.
    pub wait_s: Option<f64>,
}

/// From degrees to units of the drawing.
struct Projection {
    west: f64,
    north: f64,
    /// Units a degree, by longitude and latitude.
    scale: (f64, f64),
}

impl Map {
    /// The roads, and some of the rides of a run.
    #[must_use]
    pub fn of(roads: &Roads, run: &RunOutcome) -> Self {
        let step = run.rides.len().div_ceil(RIDES_MAX).max(1);
        let shown: Vec<_> = run.rides.iter().step_by(step).collect();
        let streets = streets(roads);
        let mut corners: Option<(f64, f64, f64, f64)> = None;
        for junction in
            shown.iter().flat_map(|ride| [ride.from, ride.to]).chain(streets.iter().flatten().copied())
        {
            let point = roads.point(junction);
            let (lat, lon) = (point.lat(), point.lon());
            let (south, west, north, east) = corners.unwrap_or((lat, lon, lat, lon));
            corners = Some((south.min(lat), west.min(lon), north.max(lat), east.max(lon)));
        }
        let Some(corners) = corners else { return Self::default() };
        let (projection, width, height) = Projection::new(corners);
        let mut map = Self {
            title: format!("{} with {} cars, seed {}", run.policy, run.fleet, run.seed),
            width,
            height,
            ..Self::default()
        };
        for street in streets {
            projection.draw(&mut map.roads, roads, &street);
        }
        for ride in shown {
            let mut path = String::new();
            projection.draw(&mut path, roads, &roads.path(ride.from, ride.to));
            let wait_s = ride.wait_ms().map(|wait| wait as f64 / 1_000.0);
            map.rides.push(MapRide { path, wait_s });
        }
        map
    }

    /// A path that holds anything but lines.
    pub(super) fn strange_path(&self) -> Option<&str> {
        let is_line = |path: &str| path.chars().all(|c| matches!(c, 'M' | 'L' | ' ' | '.' | '-' | '0'..='9'));
        let paths = std::iter::once(&self.roads).chain(self.rides.iter().map(|ride| &ride.path));
        paths.map(String::as_str).find(|path| !is_line(path))
    }

    /// As SVG: short waits are blue, long ones red, lost requests dashed.
    #[must_use]
    pub fn svg(&self) -> String {
        let mut svg = String::new();
        let longest = self.rides.iter().filter_map(|ride| ride.wait_s).fold(1.0, f64::max);
        let _ = write!(
            svg,
            "<svg class=\"map\" viewBox=\"-8 -8 {} {}\" role=\"img\" aria-label=\"map of rides\">\
             <path class=\"roads\" d=\"{}\"/><g class=\"rides\">",
            self.width + 16,
            self.height + 16,
            escape(&self.roads)
        );
        for ride in &self.rides {
            let d = escape(&ride.path);
            let _ = match ride.wait_s {
                Some(wait) => {
                    // From blue over violet to red.
                    let hue = 215.0 + 145.0 * (wait / longest).clamp(0.0, 1.0);
                    write!(
                        svg,
                        "<path d=\"{d}\" stroke=\"hsl({hue:.0} 80% 55%)\"><title>waited {wait:.0} s</title></path>"
                    )
                }
                None => write!(svg, "<path class=\"lost\" d=\"{d}\"><title>lost</title></path>"),
            };
        }
        svg.push_str("</g></svg>");
        svg
    }
}

/// The streets as pairs of ends; both directions of one are one. None in a city with more
/// than a drawing can hold.
fn streets(roads: &Roads) -> Vec<[Junction; 2]> {
    if let Some(lattice) = roads.as_lattice() {
        let (columns, rows) = lattice.size();
        let across = (0..rows).map(|row| [Junction(row * columns), Junction((row + 1) * columns - 1)]);
        let along = (0..columns).map(|column| [Junction(column), Junction((rows - 1) * columns + column)]);
        return across.chain(along).collect();
    }
    let pair = |link: Link| [link.from.min(link.to), link.from.max(link.to)];
    let streets: BTreeSet<[Junction; 2]> = roads.links().map(pair).take(LINKS_MAX + 1).collect();
    if streets.len() > LINKS_MAX { Vec::new() } else { streets.into_iter().collect() }
}

impl Projection {
    /// For what lies between south, west, north and east; with the size of the drawing.
    fn new((south, west, north, east): (f64, f64, f64, f64)) -> (Self, u32, u32) {
        // A degree of longitude shrinks towards the poles; a city is small enough for one
        // factor.
        let shrink = ((south + north) / 2.0).to_radians().cos().max(0.01);
        let (wide, high) = ((east - west) * shrink, north - south);
        let unit = EXTENT / wide.max(high).max(1e-6);
        let size = |degrees: f64| (degrees * unit).ceil().clamp(1.0, EXTENT) as u32;
        (Self { west, north, scale: (unit * shrink, unit) }, size(wide), size(high))
    }

    fn draw(&self, path: &mut String, roads: &Roads, junctions: &[Junction]) {
        for (place, junction) in junctions.iter().enumerate() {
            let point = roads.point(*junction);
            let (x, y) =
                ((point.lon() - self.west) * self.scale.0, (self.north - point.lat()) * self.scale.1);
            let _ = write!(path, "{}{x:.1} {y:.1}", if place == 0 { 'M' } else { 'L' });
        }
    }
}
