//! Plots as SVG, drawn by plotters.
//!
//! Ink is written as a colour that no series has and then replaced by `currentColor`, so
//! that a plot follows the light or dark colours of the page it is in.

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::RGBColor;

use super::curves::{Bin, Curves, Look};
use super::document::Report;
use super::group::{Group, groups};

/// Width and height of a plot; pages scale it.
const SIZE: (u32, u32) = (720, 320);
/// Stands for the colour of text until the plot is in a page.
const INK: RGBColor = RGBColor(1, 2, 3);
/// How [`INK`] looks in SVG.
const INK_SVG: &str = "#010203";
/// Lines of policies, readable on white and on black.
const SERIES: [RGBColor; 6] = [
    RGBColor(59, 130, 246),
    RGBColor(245, 158, 11),
    RGBColor(16, 163, 127),
    RGBColor(239, 68, 68),
    RGBColor(168, 85, 247),
    RGBColor(20, 165, 185),
];

/// A line with a name.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// The colour of a policy, the same in every plot of a report.
pub(super) fn colour(report: &Report, policy: &str) -> RGBColor {
    let mut known: Vec<&str> = Vec::new();
    for run in &report.summary.runs {
        if !known.contains(&run.policy.as_str()) {
            known.push(&run.policy);
        }
    }
    let place = known.iter().position(|name| *name == policy).unwrap_or(0);
    SERIES[place % SERIES.len()]
}

/// Share of the requests of a fleet that were picked up within so many seconds.
pub(super) fn waits(report: &Report, fleet: u32) -> Option<String> {
    let lines = lines(report, fleet, |curves| {
        let requested: u64 = curves.iter().map(|curve| curve.requested()).sum();
        let mut served = 0_u64;
        let mut points = vec![(0.0, 0.0)];
        for bin in 0..curves.first().map_or(0, |curve| curve.waits.len()) {
            served +=
                curves.iter().map(|curve| u64::from(curve.waits.get(bin).copied().unwrap_or(0))).sum::<u64>();
            points.push((
                (bin + 1) as f64 * curves[0].wait_bin_s,
                served as f64 / requested.max(1) as f64 * 100.0,
            ));
        }
        points
    });
    // Few are picked up at once: there is room above the beginning of the lines.
    let legend = SeriesLabelPosition::UpperLeft;
    plot(report, ("picked up within (s)", "share of all requests (%)"), (0.0, 100.0), &lines, legend)
}

/// Share of requests served, by the time of the request.
pub(super) fn served(report: &Report, fleet: u32) -> Option<String> {
    let share = |bin: Bin| 100.0 * f64::from(bin.served) / f64::from(bin.requested.max(1));
    over_time(report, fleet, "share served (%)", share, |least, _| ((least - 5.0).max(0.0), 100.0))
}

/// Mean wait with lost requests, by the time of the request.
pub(super) fn waited(report: &Report, fleet: u32) -> Option<String> {
    let mean = |bin: Bin| bin.waited_s / f64::from(bin.requested.max(1));
    over_time(report, fleet, "mean wait, lost ones included (s)", mean, |_, most| (0.0, most * 1.05))
}

/// Messages a node and second.
pub(super) fn said(report: &Report, fleet: u32) -> Option<String> {
    looked(report, fleet, "messages a node and second", |look| Some(look.messages), |most| most * 1.05)
}

/// Share of the live offers on its topics that a node knew.
pub(super) fn viewed(report: &Report, fleet: u32) -> Option<String> {
    looked(report, fleet, "live offers known (%)", |look| Some(look.view? * 100.0), |_| 100.0)
}

/// A line for each policy of nodes: the mean over its seeds of something at each look.
fn looked(
    report: &Report,
    fleet: u32,
    unit: &str,
    value: impl Fn(&Look) -> Option<f64>,
    top: impl Fn(f64) -> f64,
) -> Option<String> {
    let lines = lines(report, fleet, |curves| {
        let count = curves.iter().map(|curve| curve.looks.len()).max().unwrap_or(0);
        let points = (0..count).filter_map(|place| {
            let looks: Vec<&Look> = curves.iter().filter_map(|curve| curve.looks.get(place)).collect();
            let values: Vec<f64> = looks.iter().filter_map(|look| value(look)).collect();
            let minutes = looks.first()?.at_s / 60.0;
            (!values.is_empty()).then(|| (minutes, values.iter().sum::<f64>() / values.len() as f64))
        });
        points.collect()
    });
    let most = lines.iter().flat_map(|line| line.points.iter().map(|point| point.1)).fold(0.0, f64::max);
    plot(report, ("time (min)", unit), (0.0, top(most)), &lines, SeriesLabelPosition::LowerRight)
}

/// A bar for each group that has a figure.
pub(super) fn bars(report: &Report, metric: &str, unit: &str, factor: f64) -> Option<String> {
    let groups = groups(&report.summary.runs);
    // Dispatchers have no nodes that could say or know anything.
    let nodes = groups.iter().filter(|group| group.policy.starts_with("p2p"));
    let bars: Vec<(&Group<'_>, f64)> =
        nodes.filter_map(|group| Some((group, group.mean(metric)? * factor))).collect();
    let most = bars.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    if bars.is_empty() {
        return None;
    }
    let most = if most > 0.0 { most * 1.15 } else { 1.0 };
    draw(|area| {
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .set_label_area_size(LabelAreaPosition::Left, 70)
            .set_label_area_size(LabelAreaPosition::Bottom, 36)
            .build_cartesian_2d(0.0..bars.len() as f64, 0.0..most)?;
        let name = |at: &f64| {
            let bar = (at - 0.5).round();
            let is_middle = (at - 0.5 - bar).abs() < 0.01 && bar >= 0.0;
            match bars.get(bar as usize) {
                Some((group, _)) if is_middle => format!("{} · {}", group.policy, group.fleet),
                _ => String::new(),
            }
        };
        axes(&mut chart, "", unit, Some((bars.len(), &name)))?;
        for (place, (group, value)) in bars.iter().enumerate() {
            let left = place as f64;
            let fill = colour(report, group.policy).mix(0.85).filled();
            chart.draw_series([Rectangle::new([(left + 0.25, 0.0), (left + 0.75, *value)], fill)])?;
            let style = ("sans-serif", 14).into_font().color(&INK);
            let text = if *value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") };
            chart.draw_series([Text::new(text, (left + 0.44, value + most * 0.06), style)])?;
        }
        Ok(())
    })
}

/// A line for each policy of a fleet; the curves of its seeds become one.
fn lines(report: &Report, fleet: u32, points: impl Fn(&[&Curves]) -> Vec<(f64, f64)>) -> Vec<Line> {
    let groups = groups(&report.summary.runs);
    let of_fleet = groups.iter().filter(|group| group.fleet == fleet);
    let named = of_fleet.map(|group| {
        let curves: Vec<&Curves> = report
            .curves
            .iter()
            .filter(|curve| curve.fleet == fleet && curve.policy == group.policy)
            .collect();
        Line { name: group.policy.to_owned(), points: points(&curves) }
    });
    named.filter(|line| line.points.len() > 1).collect()
}

fn over_time(
    report: &Report,
    fleet: u32,
    unit: &str,
    value: impl Fn(Bin) -> f64,
    range: impl Fn(f64, f64) -> (f64, f64),
) -> Option<String> {
    let lines = lines(report, fleet, |curves| {
        let count = curves.iter().map(|curve| curve.bins.len()).max().unwrap_or(0);
        let sums = (0..count).map(|place| {
            let bins = curves.iter().filter_map(|curve| curve.bins.get(place));
            bins.fold(Bin::default(), |sum, bin| Bin {
                requested: sum.requested + bin.requested,
                served: sum.served + bin.served,
                waited_s: sum.waited_s + bin.waited_s,
            })
        });
        // A minute in which nobody asked has no share.
        let told = sums.enumerate().filter(|(_, bin)| bin.requested > 0);
        told.map(|(place, bin)| ((place as f64 + 0.5) * curves[0].bin_s / 60.0, value(bin))).collect()
    });
    let values = || lines.iter().flat_map(|line| line.points.iter().map(|point| point.1));
    let range = range(values().fold(f64::MAX, f64::min), values().fold(0.0, f64::max));
    plot(report, ("time of the request (min)", unit), range, &lines, SeriesLabelPosition::LowerLeft)
}

fn plot(
    report: &Report,
    (x, y): (&str, &str),
    range: (f64, f64),
    lines: &[Line],
    legend: SeriesLabelPosition,
) -> Option<String> {
    let right = lines.iter().filter_map(|line| line.points.last()).map(|point| point.0).fold(0.0, f64::max);
    if lines.is_empty() || right <= 0.0 || range.0 >= range.1 {
        return None;
    }
    draw(|area| {
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .set_label_area_size(LabelAreaPosition::Left, 56)
            .set_label_area_size(LabelAreaPosition::Bottom, 44)
            .build_cartesian_2d(0.0..right, range.0..range.1)?;
        axes(&mut chart, x, y, None)?;
        for line in lines {
            let colour = colour(report, &line.name);
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))?
                .label(line.name.clone())
                .legend(move |(x, y)| Rectangle::new([(x, y - 2), (x + 16, y + 2)], colour.filled()));
        }
        chart
            .configure_series_labels()
            .position(legend)
            .label_font(("sans-serif", 14).into_font().color(&INK))
            .border_style(TRANSPARENT)
            .margin(8)
            .draw()?;
        Ok(())
    })
}

/// Axes and a faint grid. `bars` names the bars of a chart that has no numbers below.
fn axes(
    chart: &mut Chart<'_, '_>,
    x: &str,
    y: &str,
    bars: Option<(usize, Name<'_>)>,
) -> Result<(), DrawError> {
    let mut mesh = chart.configure_mesh();
    mesh.light_line_style(TRANSPARENT)
        .bold_line_style(INK.mix(0.12))
        .axis_style(INK.mix(0.5))
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .axis_desc_style(("sans-serif", 13).into_font().color(&INK))
        .y_desc(y)
        .y_label_formatter(&|value| {
            if *value < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") }
        });
    match bars {
        // A label at every half: the middles of the bars are among them.
        Some((count, name)) => {
            mesh.disable_x_mesh().x_labels(2 * count + 1).x_label_formatter(name).draw()?
        }
        None => mesh.x_desc(x).x_label_formatter(&|value| format!("{value:.0}")).draw()?,
    }
    Ok(())
}

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
/// What stands below a place of the x axis.
type Name<'a> = &'a dyn Fn(&f64) -> String;
type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type DrawError = Box<dyn std::error::Error>;

/// What a drawing leaves behind; a plot that cannot be drawn is left out of its page.
fn draw(paint: impl FnOnce(&Area<'_>) -> Result<(), DrawError>) -> Option<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        paint(&area).ok()?;
        area.present().ok()?;
    }
    Some(svg.replace(INK_SVG, "currentColor"))
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::report;
    use super::*;

    #[test]
    fn plots_are_svg_in_the_colours_of_their_page() {
        let report = report();
        let plots = [
            waits(&report, 10),
            served(&report, 20),
            waited(&report, 10),
            said(&report, 10),
            viewed(&report, 10),
            bars(&report, "messages_per_ride", "messages", 1.0),
        ];
        for plot in plots {
            let plot = plot.expect("drawn");
            assert!(plot.starts_with("<svg") && plot.trim_end().ends_with("</svg>"), "{plot}");
            assert!(plot.contains("currentColor") && !plot.contains(INK_SVG));
        }
        let waits = waits(&report, 10).expect("drawn");
        assert!(waits.contains("batched:5") && waits.contains("p2p"), "{waits}");
    }

    #[test]
    fn without_anything_to_draw_there_is_no_plot() {
        let mut report = report();
        assert_eq!(waits(&report, 99), None);
        report.summary.runs.retain(|run| run.policy != "p2p");
        assert_eq!(bars(&report, "messages_per_ride", "messages", 1.0), None);
        report.curves.clear();
        assert_eq!(served(&report, 10), None);
    }
}
