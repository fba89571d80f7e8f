//! Curves over virtual time.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::axis::{CLOSE, Scale, level, number, open, ticks, time_axis};
use super::{COLOURS, timeline};
use crate::report::markup::{escape, seconds};
use crate::report::model::{Point, Report};

const TOP: f64 = 12.0;
const BOTTOM: f64 = 196.0;
const HEIGHT: f64 = 224.0;

/// A curve of so few points has each of them marked; one of a single point would not be seen.
const MARKED: usize = 12;

/// Curves by name, in order.
type Curves<'a> = Vec<(&'a String, &'a Vec<Point>)>;

pub(super) fn section(report: &Report, bands: &[timeline::Band]) -> String {
    let mut charts: BTreeMap<&str, Curves<'_>> = BTreeMap::new();
    for (name, points) in report.series.iter().filter(|(_, points)| !points.is_empty()) {
        // `shares_accepted` and `shares_rejected` count the same thing: one chart.
        let subject = name.split('_').next().unwrap_or(name);
        charts.entry(subject).or_default().push((name, points));
    }
    if charts.is_empty() {
        return String::new();
    }
    let duration_ms = report.header.duration_ms;
    let body: String = charts.values().map(|curves| chart(curves, bands, duration_ms)).collect();
    super::section("Over time", "Shaded: a fault is in force or a host is down.", &body)
}

fn chart(curves: &Curves<'_>, bands: &[timeline::Band], duration_ms: u64) -> String {
    let values = curves.iter().flat_map(|(_, points)| points.iter().map(|point| point.value));
    let levels = ticks(values.fold(0.0, f64::max), 4.0);
    let x = Scale::time(duration_ms);
    let y = Scale::new((0.0, levels.last().copied().unwrap_or(1.0)), (BOTTOM, TOP));

    let names: Vec<&str> = curves.iter().map(|(name, _)| name.as_str()).collect();
    let mut svg = legend(&names);
    svg.push_str(&open(HEIGHT, &escape(&names.join(", "))));
    for band in bands {
        let (from, to) = (x.at(band.from_ms as f64), x.at(band.to_ms as f64));
        writeln!(
            svg,
            "<rect class=\"band\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\">\
             <title>{}</title></rect>",
            (to - from).max(1.0),
            BOTTOM - TOP,
            escape(&band.text)
        )
        .expect("writing to a String does not fail");
    }
    for value in &levels {
        level(&mut svg, y.at(*value), &number(*value));
    }
    time_axis(&mut svg, duration_ms, BOTTOM, BOTTOM + 4.0);
    for (index, (name, points)) in curves.iter().enumerate() {
        let path: Vec<String> = points
            .iter()
            .map(|point| format!("{:.1},{:.1}", x.at(point.t_ms as f64), y.at(point.value)))
            .collect();
        let last = points.last().map_or_else(String::new, |point| {
            format!("{}: {} at {}", escape(name), number(point.value), seconds(point.t_ms))
        });
        writeln!(
            svg,
            "<polyline class=\"curve s{}\" points=\"{}\"><title>{last}</title></polyline>",
            index % COLOURS,
            path.join(" ")
        )
        .expect("writing to a String does not fail");
        if points.len() <= MARKED {
            mark(&mut svg, points, index % COLOURS, (&x, &y));
        }
    }
    svg.push_str(CLOSE);
    svg
}

fn mark(svg: &mut String, points: &[Point], colour: usize, (x, y): (&Scale, &Scale)) {
    for point in points {
        let (at, value) = (x.at(point.t_ms as f64), y.at(point.value));
        let title = format!("{} at {}", number(point.value), seconds(point.t_ms));
        writeln!(
            svg,
            "<circle class=\"f{colour}\" cx=\"{at:.1}\" cy=\"{value:.1}\" r=\"3\">\
             <title>{title}</title></circle>"
        )
        .expect("writing to a String does not fail");
    }
}

fn legend(names: &[&str]) -> String {
    let entries: String = names
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let colour = index % COLOURS;
            format!("<span><i class=\"swatch b{colour}\"></i><code>{}</code></span>", escape(name))
        })
        .collect();
    format!("<div class=\"legend\">{entries}</div>\n")
}
