//! Latency percentiles, on the scale that gives the tail its room.

use std::fmt::Write;

use super::COLOURS;
use super::axis::{CLOSE, LEFT, RIGHT, Scale, WIDTH, level, open};
use crate::report::markup::{count, duration, escape};
use crate::report::model::{Latency, Report};

const TOP: f64 = 14.0;
const BOTTOM: f64 = 286.0;
const HEIGHT: f64 = 322.0;

/// Grid lines across: the share of samples and its label.
const SHARES: [(f64, &str); 7] = [
    (0.0, "min"),
    (0.5, "p50"),
    (0.9, "p90"),
    (0.95, "p95"),
    (0.99, "p99"),
    (0.999, "p99.9"),
    (0.9999, "p99.99"),
];

pub(super) fn section(report: &Report) -> String {
    if report.latencies.is_empty() {
        return String::new();
    }
    let note = "Virtual time from the start of what is measured to its effect. Both axes are \
                logarithmic, so that the slowest tenth, hundredth and thousandth of the samples \
                have as much room as the rest.";
    super::section("Latency", note, &format!("{}{}", chart(report), table(report)))
}

/// How far right a share of the samples is: each nine is as wide as the last.
fn position(share: f64) -> f64 {
    -(1.0 - share).log10()
}

/// Where the largest sample stands: as far right as the samples reach.
fn position_of_max(latency: &Latency) -> f64 {
    (latency.count.max(1) as f64).log10().clamp(position(0.99) + 0.15, 4.0)
}

fn points(latency: &Latency) -> Vec<(f64, u64)> {
    vec![
        (position(0.0), latency.min),
        (position(0.5), latency.p50),
        (position(0.9), latency.p90),
        (position(0.95), latency.p95),
        (position(0.99), latency.p99),
        (position_of_max(latency), latency.max),
    ]
}

fn chart(report: &Report) -> String {
    let measured = || report.latencies.iter().filter(|(_, latency)| latency.count > 0);
    let values = || measured().flat_map(|(_, latency)| [latency.min.max(1), latency.max.max(1)]);
    let low = (values().min().unwrap_or(1) as f64).log10().floor();
    let high = (values().max().unwrap_or(10) as f64).log10().ceil().max(low + 1.0);
    let right = measured().map(|(_, latency)| position_of_max(latency)).fold(2.15, f64::max);
    let x = Scale::new((0.0, right), (LEFT, WIDTH - RIGHT));
    let y = Scale::new((low, high), (BOTTOM, TOP));

    let mut svg = open(HEIGHT, "Latency percentiles");
    for power in low as i32..=high as i32 {
        level(&mut svg, y.at(f64::from(power)), &decade(power));
    }
    for (share, label) in SHARES.into_iter().filter(|(share, _)| position(*share) <= right) {
        let x = x.at(position(share));
        writeln!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            BOTTOM + 18.0
        )
        .expect("writing to a String does not fail");
    }
    for (index, (name, latency)) in measured().enumerate() {
        svg.push_str(&curve(name, latency, index % COLOURS, x, y));
    }
    svg.push_str(CLOSE);
    svg
}

fn curve(name: &str, latency: &Latency, colour: usize, x: Scale, y: Scale) -> String {
    let at = |(position, us): (f64, u64)| (x.at(position), y.at((us.max(1) as f64).log10()));
    let points = points(latency);
    let path: Vec<String> = points
        .iter()
        .map(|&point| {
            let (x, y) = at(point);
            format!("{x:.1},{y:.1}")
        })
        .collect();
    let mut svg = format!("<polyline class=\"curve s{colour}\" points=\"{}\"/>\n", path.join(" "));
    let labels = ["min", "p50", "p90", "p95", "p99", "max"];
    for (&point, label) in points.iter().zip(labels) {
        let (x, y) = at(point);
        writeln!(
            svg,
            "<circle class=\"f{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\">\
             <title>{} {label}: {}</title></circle>",
            escape(name),
            duration(point.1)
        )
        .expect("writing to a String does not fail");
    }
    svg
}

/// The label of a power of ten of microseconds.
fn decade(power: i32) -> String {
    match power {
        ..3 => format!("{} µs", 10u64.pow(power.max(0).unsigned_abs())),
        3..6 => format!("{} ms", 10u64.pow((power - 3).unsigned_abs())),
        _ => format!("{} s", 10u64.pow((power - 6).unsigned_abs())),
    }
}

fn table(report: &Report) -> String {
    let mut rows = String::new();
    let mut measured = 0;
    for (name, latency) in &report.latencies {
        let values = [latency.min, latency.p50, latency.p90, latency.p95, latency.p99, latency.max];
        let cells: String = if latency.count == 0 {
            "<td class=\"num\">–</td>".repeat(values.len())
        } else {
            values.map(|us| format!("<td class=\"num\">{}</td>", duration(us))).concat()
        };
        let swatch = if latency.count == 0 {
            String::new()
        } else {
            measured += 1;
            format!("<span class=\"swatch b{}\"></span>", (measured - 1) % COLOURS)
        };
        rows.push_str(&format!(
            "<tr><td>{swatch}<code>{}</code></td><td class=\"num\">{}</td>{cells}</tr>\n",
            escape(name),
            count(latency.count)
        ));
    }
    let heads = ["samples", "min", "p50", "p90", "p95", "p99", "max"]
        .map(|head| format!("<th class=\"num\">{head}</th>"))
        .concat();
    format!("<div class=\"scroll\"><table><tr><th>metric</th>{heads}</tr>\n{rows}</table></div>\n")
}
