//! The parts of the page that are tables.

use std::collections::BTreeMap;

use super::section;
use crate::report::markup::{count, escape, seconds};
use crate::report::model::{Report, Shares, Verdict};

pub(super) fn properties(report: &Report) -> String {
    let mut rows = String::new();
    for property in &report.properties {
        let (class, mark) = match property.outcome {
            Verdict::Pass => ("pass", "✓"),
            Verdict::Fail => ("fail", "✗"),
            Verdict::NotExercised => ("idle", "–"),
        };
        let row = if property.outcome == Verdict::Fail { " class=\"failed\"" } else { "" };
        let at = property.at_ms.map_or_else(String::new, seconds);
        rows.push_str(&format!(
            "<tr{row}><td class=\"mark {class}\" title=\"{}\">{mark}</td><td class=\"kind\">{}</td>\
             <td><code>{}</code></td><td class=\"detail\">{}</td><td class=\"num\">{at}</td></tr>\n",
            property.outcome.as_str(),
            property.kind.as_str(),
            escape(&property.name),
            escape(&property.detail)
        ));
    }
    let table = format!(
        "<div class=\"scroll\"><table>\n<tr><th></th><th>promise</th><th>property</th>\
         <th>what was seen</th><th class=\"num\">violated at</th></tr>\n{rows}</table></div>\n"
    );
    let note = "Judged from the public event stream and from what miners, pool and node saw. \
                A dash: nothing happened that the property speaks of.";
    section("Properties", note, &table)
}

/// Where the shares went, as two bars that must be of equal parts.
pub(super) fn shares(shares: &Shares) -> String {
    if shares.submitted == 0 {
        return String::new();
    }
    let answered = [
        ("accepted", shares.accepted, "bg"),
        ("rejected", shares.rejected, "bb"),
        ("unanswered", shares.unanswered, "bi"),
    ];
    let delivered = [
        ("credited by the pool", shares.forwarded, "bg"),
        ("refused by the pool", shares.upstream_rejected, "bb"),
        ("closed with a reason", shares.undelivered, "bi"),
    ];
    let body = format!(
        "<div class=\"halves\"><div><h3>{} submitted by miners</h3>\n{}</div>\n\
         <div><h3>{} accepted, {} of them blocks</h3>\n{}</div></div>\n",
        count(shares.submitted),
        split(&answered),
        count(shares.accepted),
        count(shares.blocks),
        split(&delivered)
    );
    let note = "Every submitted share is answered once, and every accepted one has one result.";
    section("Shares", note, &body)
}

fn split(parts: &[(&str, u64, &str)]) -> String {
    let (mut bar, mut legend) = (String::new(), String::new());
    for (name, number, class) in parts {
        if *number > 0 {
            bar.push_str(&format!("<span class=\"{class}\" style=\"flex:{number}\"></span>"));
        }
        legend.push_str(&format!(
            "<span><i class=\"swatch {class}\"></i><b>{}</b> {name}</span>",
            count(*number)
        ));
    }
    format!("<div class=\"split\">{bar}</div>\n<div class=\"legend\">{legend}</div>\n")
}

pub(super) fn codes(report: &Report) -> String {
    if report.reason_codes.is_empty() && report.verdict_codes.is_empty() {
        return String::new();
    }
    let body = format!(
        "<div class=\"halves\"><div><h3>Reason codes of the gateway</h3>\n{}</div>\n\
         <div><h3>Verdict codes</h3>\n{}</div></div>\n",
        counts(&report.reason_codes),
        counts(&report.verdict_codes)
    );
    section("Codes", "How often each occurred in the event stream.", &body)
}

pub(super) fn counts(codes: &BTreeMap<String, u64>) -> String {
    if codes.is_empty() {
        return "<p class=\"note\">None occurred.</p>\n".to_owned();
    }
    let most = codes.values().copied().max().unwrap_or(1).max(1) as f64;
    let rows: String = codes
        .iter()
        .map(|(code, number)| {
            format!(
                "<tr><td><code>{}</code></td><td class=\"num\">{}</td><td class=\"bar\">\
                 <span class=\"fill\" style=\"width:{:.1}%\"></span></td></tr>\n",
                escape(code),
                count(*number),
                *number as f64 / most * 100.0
            )
        })
        .collect();
    format!("<table>\n{rows}</table>\n")
}

pub(super) fn parameters(report: &Report) -> String {
    let rows: String = report
        .header
        .parameters
        .iter()
        .map(|(key, value)| {
            format!(
                "<tr><td><code>{}</code></td><td><code>{}</code></td></tr>\n",
                escape(key),
                escape(value)
            )
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let body = format!(
        "<details><summary>{} parameters</summary><div class=\"scroll\"><table>\n{rows}</table></div>\
         </details>\n",
        report.header.parameters.len()
    );
    section("Parameters", "As drawn from the seed: ranges are replaced by what was taken.", &body)
}
