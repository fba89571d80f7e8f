//! The certificate as one HTML file: no script, no font, no image beside it.

use super::certificate::{Certificate, Outcome, number};
use super::measure::{Measures, Metric};
use super::promises::{Origin, Promise};
use crate::report::html::axis::{CLOSE, LEFT, RIGHT, Scale, WIDTH, level, open};
use crate::report::html::section;
use crate::report::markup::{count, duration, escape};

const TOP: f64 = 14.0;
const BOTTOM: f64 = 306.0;
const HEIGHT: f64 = 342.0;

/// The curves that are drawn, at most as many as there are colours.
const DRAWN: [Metric; 6] = [
    Metric::Tip,
    Metric::TipSpread,
    Metric::ShareAck,
    Metric::Verdict,
    Metric::Forward,
    Metric::FirstJob,
];

/// Grid lines across: how many nines.
const NINES: [(f64, &str); 5] =
    [(0.0, "min"), (1.0, "p90"), (2.0, "p99"), (3.0, "p99.9"), (4.0, "p99.99")];

/// The whole page.
pub(super) fn render(certificate: &Certificate, measures: &Measures) -> String {
    let title = format!("Certificate · {}", certificate.outcome.as_str());
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n{}{}{}{}{}\
         <footer>Latency counts from the moment that something was due (open loop). A quantile is \
         shown where at least 100 samples lie beyond it. Schema {}.</footer>\n\
         </main>\n</body>\n</html>\n",
        include_str!("../report/html/style.css"),
        heading(certificate),
        promises(certificate),
        latencies(certificate, measures),
        counted(certificate),
        used(certificate),
        certificate.schema,
    )
}

fn heading(certificate: &Certificate) -> String {
    let Certificate { machine, load, .. } = certificate;
    let class = match certificate.outcome {
        Outcome::Passed | Outcome::PassedPublished => "pass",
        Outcome::Failed | Outcome::Inconclusive => "fail",
    };
    let pressure =
        machine.pressure_before.map(|value| format!(", {value} % pressure")).unwrap_or_default();
    let facts = [
        ("Machine", format!("{} × {}", machine.processors, escape(&machine.processor))),
        ("Kernel", escape(&machine.kernel)),
        ("Before the start", format!("load {}{pressure}", machine.load_before)),
        ("Miners", count(u64::from(load.miners))),
        (
            "Shares a second",
            format!("{:.1} of {:.1} offered", load.achieved_per_s, load.offered_per_s),
        ),
        ("Measured", format!("{:.0} s after {:.0} s", load.measured_s, load.warm_up_s)),
        ("Gateway", escape(&load.gateway)),
        ("Node", escape(load.node.as_deref().unwrap_or("unknown"))),
        ("Log", escape(load.log_sync.as_deref().unwrap_or("unknown"))),
    ];
    let facts: String = facts
        .iter()
        .map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n"))
        .collect();
    let doubts: String = certificate
        .doubts
        .iter()
        .map(|doubt| format!("<p class=\"note\">Doubt: {}</p>\n", escape(doubt)))
        .collect();
    format!(
        "<header>\n<div class=\"top\"><h1>Certificate</h1><span class=\"badge {class}\">{}</span></div>\n\
         <p class=\"lead\">What a gateway does for {} miners, measured on real sockets</p>\n{doubts}\
         <dl class=\"facts\">\n{facts}</dl>\n</header>\n",
        certificate.outcome.as_str(),
        count(u64::from(load.miners)),
    )
}

fn promises(certificate: &Certificate) -> String {
    let rows: String = certificate.promises.iter().map(promise).collect();
    let heads = ["measured", "promised", "room", "physical limit"]
        .map(|head| format!("<th class=\"num\">{head}</th>"))
        .concat();
    let note = "Published promises must hold with three times the room; our own say how near they \
                are.";
    let table = format!(
        "<div class=\"scroll\"><table><tr><th></th><th>promise</th><th>whose</th>{heads}<th></th></tr>\n\
         {rows}</table></div>\n"
    );
    section("Promises", note, &table)
}

fn promise(promise: &Promise) -> String {
    let (class, mark) = match promise.holds {
        Some(true) => ("pass", "✓"),
        Some(false) => ("fail", "✗"),
        None => ("idle", "–"),
    };
    let value = |value: Option<f64>| {
        value.map_or_else(|| "–".to_owned(), |value| format!("{} {}", number(value), promise.unit))
    };
    let room = promise.headroom.map_or_else(|| "–".to_owned(), |room| format!("{room:.1} ×"));
    let origin = match promise.origin {
        Origin::Published => "published",
        Origin::Own => "ours",
    };
    let cells = [value(promise.measured), value(Some(promise.target)), room, value(promise.limit)]
        .map(|cell| format!("<td class=\"num\">{}</td>", cell.trim_end()))
        .concat();
    format!(
        "<tr><td class=\"mark {class}\">{mark}</td><td>{}</td><td>{origin}</td>{cells}<td>{}</td></tr>\n",
        escape(&promise.doc),
        escape(promise.note.as_deref().unwrap_or_default())
    )
}

fn latencies(certificate: &Certificate, measures: &Measures) -> String {
    let heads = ["samples", "p50", "p90", "p95", "p99", "p99.9", "max"]
        .map(|head| format!("<th class=\"num\">{head}</th>"))
        .concat();
    let mut rows = String::new();
    for (name, latency) in &certificate.latencies {
        let at = |name: &str| {
            latency.quantiles.get(name).map_or_else(
                || "–".to_owned(),
                |found| {
                    let bounds =
                        format!("{} to {}", duration(found.low_us), duration(found.high_us));
                    format!("<span title=\"95 %: {bounds}\">{}</span>", duration(found.us))
                },
            )
        };
        let cells = ["p50", "p90", "p95", "p99", "p99_9"]
            .map(|name| format!("<td class=\"num\">{}</td>", at(name)))
            .concat();
        let swatch = DRAWN
            .iter()
            .position(|metric| metric.as_str() == *name)
            .map(|colour| format!("<span class=\"swatch b{colour}\"></span>"))
            .unwrap_or_default();
        rows.push_str(&format!(
            "<tr><td>{swatch}<code title=\"{}\">{name}</code></td><td class=\"num\">{}</td>{cells}\
             <td class=\"num\">{}</td></tr>\n",
            escape(latency.doc),
            count(latency.count),
            duration(latency.max_us)
        ));
    }
    let table = format!(
        "<div class=\"scroll\"><table><tr><th>metric</th>{heads}</tr>\n{rows}</table></div>\n"
    );
    let note = "Both axes are logarithmic: each nine is as wide as the last. Hovering over a name \
                says what it is, over a number its 95 % bounds.";
    section("Latency", note, &format!("{}{table}", chart(measures)))
}

fn chart(measures: &Measures) -> String {
    let drawn: Vec<_> = DRAWN
        .iter()
        .enumerate()
        .filter_map(|(colour, metric)| Some((colour, *metric, measures.of(*metric)?)))
        .collect();
    let power = |us: u64| (us.max(1) as f64).log10();
    let low = drawn.iter().map(|drawn| power(drawn.2.min())).fold(6.0, f64::min).floor();
    let high = drawn.iter().map(|drawn| power(drawn.2.max())).fold(low + 1.0, f64::max).ceil();
    let right = drawn.iter().map(|drawn| power(drawn.2.len())).fold(1.0, f64::max).min(5.0);
    let x = Scale::new((0.0, right), (LEFT, WIDTH - RIGHT));
    let y = Scale::new((low, high), (BOTTOM, TOP));
    let mut svg = open(HEIGHT, "Latency percentiles");
    for power in low as i32..=high as i32 {
        let us = 10u64.pow(power.max(0).unsigned_abs());
        level(&mut svg, y.at(f64::from(power)), &round(us));
    }
    for (nines, label) in NINES.into_iter().filter(|(nines, _)| *nines <= right) {
        let x = x.at(nines);
        svg.push_str(&format!(
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>\n",
            BOTTOM + 18.0
        ));
    }
    for (colour, metric, samples) in drawn {
        let points: Vec<_> = (0..=100)
            .map(|step| f64::from(step) / 100.0 * power(samples.len()).min(right))
            .map(|nines| {
                let value = samples.value_at_quantile(1.0 - 10f64.powf(-nines));
                format!("{:.1},{:.1}", x.at(nines), y.at(power(value)))
            })
            .collect();
        svg.push_str(&format!(
            "<polyline class=\"curve s{colour}\" points=\"{}\"><title>{}</title></polyline>\n",
            points.join(" "),
            metric.as_str()
        ));
    }
    svg.push_str(CLOSE);
    svg
}

/// A power of ten of microseconds.
fn round(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{} s", us / 1_000_000),
    }
}

fn counted(certificate: &Certificate) -> String {
    let counts = &certificate.counts;
    let mut rows = vec![
        ("tips".to_owned(), counts.tips as u64),
        ("shares due".to_owned(), counts.shares_due),
        ("shares sent".to_owned(), counts.shares_sent),
        ("shares accepted".to_owned(), counts.shares_accepted),
        ("shares due without work".to_owned(), counts.shares_idle),
        ("shares overtaken by a tip on their way".to_owned(), counts.overtaken),
        ("shares without an answer".to_owned(), counts.unanswered),
        ("disconnects".to_owned(), counts.disconnects),
        ("failed connections".to_owned(), counts.failed_connects),
    ];
    rows.extend(counts.refused.iter().map(|(code, count)| (format!("refused: {code}"), *count)));
    if let Some(events) = &counts.events {
        rows.push(("events: shares accepted".to_owned(), events.accepted));
        rows.push(("events: shares at the pool".to_owned(), events.forwarded));
        rows.push(("the pool counted".to_owned(), events.at_pool));
        rows.push(("templates refused".to_owned(), events.rejected_verdicts));
    }
    let rows: String = rows
        .iter()
        .map(|(name, value)| {
            format!("<tr><td>{}</td><td class=\"num\">{}</td></tr>\n", escape(name), count(*value))
        })
        .collect();
    section(
        "Counted",
        "Shares while it was measured; connections and events over the whole load.",
        &format!("<table>{rows}</table>\n"),
    )
}

fn used(certificate: &Certificate) -> String {
    let Some(used) = &certificate.used else { return String::new() };
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let rows: String = [
        ("memory before the first miner", mib(used.idle_bytes)),
        ("memory with every miner", mib(used.working_bytes)),
        ("memory at the end", mib(used.final_bytes)),
        ("processor time for each share", format!("{:.0} µs", used.cpu_us_per_share)),
        ("processors kept busy", format!("{:.2}", used.processors)),
    ]
    .iter()
    .map(|(name, value)| format!("<tr><td>{name}</td><td class=\"num\">{value}</td></tr>\n"))
    .collect();
    section("The gateway", "What its process used.", &format!("<table>{rows}</table>\n"))
}
