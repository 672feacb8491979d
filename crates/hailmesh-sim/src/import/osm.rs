//! Roads from an extract of OpenStreetMap (PBF).

use std::fmt::Write as _;
use std::io::Read;

use hailmesh_types::GeoPoint;
use osmpbf::{Element, ElementReader};
use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use super::Area;
use crate::roads::{MAX_LINK_KM, MAX_SPEED_KMH, MIN_SPEED_KMH};
use crate::scenario::ScenarioError;

/// The files of the roads, as text, and what they are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoadFiles {
    /// `nodes.csv`: junctions and dead ends, numbered from 0 in the order of their ids.
    pub nodes: String,
    /// `edges.csv`: the roads between them, each direction that may be driven.
    pub edges: String,
    /// Junctions written.
    pub junctions: u64,
    /// Links written.
    pub links: u64,
    /// Junctions left out, because there is no way from them to the others and back.
    pub cut_off: u64,
}

/// Kinds of road that cars use, and the speed where none is signed, km/h. Ramps
/// (`…_link`) count as their road.
const CLASSES: [(&str, f64); 9] = [
    ("motorway", 90.0),
    ("trunk", 70.0),
    ("primary", 50.0),
    ("secondary", 45.0),
    ("tertiary", 40.0),
    ("unclassified", 35.0),
    ("residential", 30.0),
    ("road", 30.0),
    ("living_street", 10.0),
];
const MILE_KM: f64 = 1.609_344;
const KNOT_KM: f64 = 1.852;
/// Shorter links get this length, km: a network has none of length 0.
const LEAST_KM: f64 = 0.001;

/// A place of the extract.
#[derive(Clone, Copy)]
struct Place {
    id: i64,
    point: GeoPoint,
}

/// A road that cars may use.
struct Way {
    refs: Vec<i64>,
    speed_kmh: f64,
    forward: bool,
    backward: bool,
}

struct Edge {
    from: i64,
    to: i64,
    length_km: f64,
    speed_kmh: f64,
}

/// Makes a road network from an extract: the classes motorway to living street, without
/// those that are private or closed to cars; one-way roads by `oneway`, roundabouts and
/// motorways; speeds by `maxspeed`, else by class, without traffic. Roads are cut where
/// they meet. Only the largest part in which every junction can be reached from every
/// other is kept. Turn restrictions are not looked at.
///
/// With an area, roads outside of it are cut off. All places of the area are held in
/// memory (16 bytes each): take an extract of a city, not of a continent.
///
/// # Errors
/// When the file is not PBF, or has no roads that cars use.
pub fn roads(file: &str, reader: impl Read + Send, area: Option<Area>) -> Result<RoadFiles, ScenarioError> {
    let (places, ways) = read(file, reader, area)?;
    let edges = cut(&places, &ways);
    let mut ids: Vec<i64> = edges.iter().flat_map(|edge| [edge.from, edge.to]).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        let reason = format!(
            "{} places and {} roads for cars, none of which joins two places; expected ways with a highway tag \
             of motorway to living_street",
            places.len(),
            ways.len()
        );
        return Err(ScenarioError::Nothing { file: file.to_owned(), reason });
    }
    let kept = largest_part(&ids, &edges);
    Ok(write(&places, &ids, &kept, &edges))
}

fn read(
    file: &str,
    reader: impl Read + Send,
    area: Option<Area>,
) -> Result<(Vec<Place>, Vec<Way>), ScenarioError> {
    let mut places = Vec::new();
    let mut ways = Vec::new();
    let mut place = |id: i64, lat_e7: i32, lon_e7: i32| {
        // Places off the globe are mistakes in the extract, and no road can use them.
        if let Ok(point) = GeoPoint::from_e7(lat_e7, lon_e7)
            && area.is_none_or(|area| area.contains(point))
        {
            places.push(Place { id, point });
        }
    };
    let read = ElementReader::new(reader).for_each(|element| match element {
        Element::Node(node) => place(node.id(), node.decimicro_lat(), node.decimicro_lon()),
        Element::DenseNode(node) => place(node.id(), node.decimicro_lat(), node.decimicro_lon()),
        Element::Way(way) => {
            let tags: Vec<(&str, &str)> = way.tags().collect();
            ways.extend(drivable(&tags, || way.refs().collect()));
        }
        Element::Relation(_) => {}
    });
    read.map_err(|error| ScenarioError::Unreadable { file: file.to_owned(), reason: error.to_string() })?;
    places.sort_unstable_by_key(|place| place.id);
    places.dedup_by_key(|place| place.id);
    Ok((places, ways))
}

/// What cars may do on a way; none: they may not be there.
fn drivable(tags: &[(&str, &str)], refs: impl FnOnce() -> Vec<i64>) -> Option<Way> {
    let tag = |key: &str| tags.iter().find(|(name, _)| *name == key).map(|&(_, value)| value);
    let highway = tag("highway")?;
    let class = highway.strip_suffix("_link").unwrap_or(highway);
    let &(_, class_kmh) = CLASSES.iter().find(|(name, _)| *name == class)?;
    let closed = |key| matches!(tag(key), Some("no" | "private"));
    // The narrower rule wins: a road closed to all may be open to cars.
    let open = matches!(tag("motor_vehicle").or(tag("vehicle")), Some("yes" | "designated" | "permissive"));
    if closed("motor_vehicle") || closed("motorcar") || tag("area") == Some("yes") {
        return None;
    }
    if !open && (closed("access") || closed("vehicle")) {
        return None;
    }
    let round = matches!(tag("junction"), Some("roundabout" | "circular"));
    let (forward, backward) = match tag("oneway") {
        Some("yes" | "true" | "1") => (true, false),
        Some("-1" | "reverse") => (false, true),
        Some("no" | "false" | "0") => (true, true),
        _ => (true, !round && class != "motorway"),
    };
    let signed = tag("maxspeed").and_then(speed_kmh);
    let speed_kmh = signed.unwrap_or(class_kmh).clamp(MIN_SPEED_KMH, MAX_SPEED_KMH);
    Some(Way { refs: refs(), speed_kmh, forward, backward })
}

/// A signed speed: `50`, `30 mph`, `10 knots`, `walk`; others (`none`, `signals`,
/// `DE:urban`) say nothing that the class does not.
fn speed_kmh(text: &str) -> Option<f64> {
    let text = text.trim();
    if text == "walk" {
        return Some(6.0);
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    let factor = match text[end..].trim() {
        "" | "km/h" | "kmh" | "kph" => 1.0,
        "mph" => MILE_KM,
        "knots" => KNOT_KM,
        _ => return None,
    };
    (number > 0.0).then_some(number * factor)
}

/// Cuts ways where they meet, and measures the pieces.
fn cut(places: &[Place], ways: &[Way]) -> Vec<Edge> {
    // A place is a junction when a way ends there or when it is there a second time.
    let mut seen: Vec<i64> = ways.iter().flat_map(|way| way.refs.iter().copied()).collect();
    seen.extend(ways.iter().flat_map(|way| way.refs.first().into_iter().chain(way.refs.last())));
    seen.sort_unstable();
    let mut junctions: Vec<i64> =
        seen.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    junctions.dedup();
    let find = |id: i64| places.binary_search_by_key(&id, |place| place.id).ok().map(|at| places[at]);
    let mut edges = Vec::new();
    for way in ways {
        let mut start: Option<Place> = None;
        let mut before: Option<Place> = None;
        let mut length_km = 0.0;
        for &id in &way.refs {
            let Some(here) = find(id) else {
                // Outside of the extract: the road ends at the last place that is inside.
                piece(&mut edges, way, start, before, length_km);
                (start, before, length_km) = (None, None, 0.0);
                continue;
            };
            length_km += before.map_or(0.0, |before| before.point.distance_m(here.point) / 1_000.0);
            before = Some(here);
            if start.is_none() {
                start = Some(here);
            } else if junctions.binary_search(&id).is_ok() {
                piece(&mut edges, way, start, before, length_km);
                (start, length_km) = (Some(here), 0.0);
            }
        }
        piece(&mut edges, way, start, before, length_km);
    }
    edges
}

fn piece(edges: &mut Vec<Edge>, way: &Way, start: Option<Place>, end: Option<Place>, length_km: f64) {
    let (Some(start), Some(end)) = (start, end) else { return };
    // A loop from a junction back to itself takes nobody anywhere.
    if start.id == end.id || length_km > MAX_LINK_KM {
        return;
    }
    let edge = |from: Place, to: Place| Edge {
        from: from.id,
        to: to.id,
        length_km: length_km.max(LEAST_KM),
        speed_kmh: way.speed_kmh,
    };
    if way.forward {
        edges.push(edge(start, end));
    }
    if way.backward {
        edges.push(edge(end, start));
    }
}

/// For each id whether it is in the largest part in which all reach all; of several the
/// one with the lowest id.
fn largest_part(ids: &[i64], edges: &[Edge]) -> Vec<bool> {
    let mut graph = DiGraph::<(), ()>::with_capacity(ids.len(), edges.len());
    for _ in ids {
        graph.add_node(());
    }
    for edge in edges {
        graph.add_edge(NodeIndex::new(index(ids, edge.from)), NodeIndex::new(index(ids, edge.to)), ());
    }
    let parts = kosaraju_scc(&graph);
    let lowest = |part: &Vec<NodeIndex>| part.iter().min().copied();
    let largest = parts.iter().max_by_key(|part| (part.len(), std::cmp::Reverse(lowest(part))));
    let mut kept = vec![false; ids.len()];
    for node in largest.into_iter().flatten() {
        kept[node.index()] = true;
    }
    kept
}

fn index(ids: &[i64], id: i64) -> usize {
    ids.binary_search(&id).expect("an end of an edge")
}

fn write(places: &[Place], ids: &[i64], kept: &[bool], edges: &[Edge]) -> RoadFiles {
    let mut numbers = vec![None; ids.len()];
    let mut nodes = "node,lat,lon\n".to_owned();
    let mut junctions = 0_u64;
    for (at, &id) in ids.iter().enumerate().filter(|&(at, _)| kept[at]) {
        let place = places.binary_search_by_key(&id, |place| place.id).expect("an end of an edge");
        let point = places[place].point;
        let _ = writeln!(nodes, "{junctions},{},{}", point.lat(), point.lon());
        numbers[at] = Some(junctions);
        junctions += 1;
    }
    let mut text = "from,to,length_km,speed_kmh\n".to_owned();
    let mut links = 0;
    for edge in edges {
        let ends = (numbers[index(ids, edge.from)], numbers[index(ids, edge.to)]);
        if let (Some(from), Some(to)) = ends {
            let _ = writeln!(text, "{from},{to},{:.6},{:.3}", edge.length_km, edge.speed_kmh);
            links += 1;
        }
    }
    RoadFiles { nodes, edges: text, junctions, links, cut_off: ids.len() as u64 - junctions }
}
