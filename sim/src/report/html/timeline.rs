//! What happened when: one lane for each kind of moment.

use std::fmt::Write;

use super::axis::{CLOSE, LEFT, RIGHT, Scale, WIDTH, open, time_axis};
use crate::report::markup::{escape, seconds};
use crate::report::model::{Report, TimelineEntry, TimelineKind};

const TOP: f64 = 8.0;
const LANE: f64 = 30.0;
/// Marks nearer than this are drawn as one, with their number.
const TOUCHING: f64 = 7.0;
/// About the width of one letter of a label.
const LETTER: f64 = 6.1;
const MAX_LABEL: usize = 34;

/// The lanes from top to bottom: the name, and the kinds of moments in it.
const LANES: [(&str, &[TimelineKind], usize); 8] = [
    ("tips", &[TimelineKind::Tip], 0),
    ("switches", &[TimelineKind::Switch], 2),
    ("verdicts", &[TimelineKind::Verdict], 1),
    ("blocks", &[TimelineKind::Block], 4),
    ("faults", &[TimelineKind::Fault, TimelineKind::Heal], 1),
    ("hosts", &[TimelineKind::Crash, TimelineKind::Start], 5),
    ("closings", &[TimelineKind::Close], 3),
    ("steps", &[TimelineKind::Step], 5),
];

/// A time during which a fault was in force or a host was down.
pub(in crate::report) struct Band {
    pub(in crate::report) from_ms: u64,
    pub(in crate::report) to_ms: u64,
    pub(in crate::report) text: String,
    pub(in crate::report) is_crash: bool,
}

/// Pairs each fault with its end, and each crash with the next start. Those without lasted until
/// the end of the run, but for resets, which are over at once.
pub(in crate::report) fn bands(report: &Report) -> Vec<Band> {
    let mut bands: Vec<Band> = Vec::new();
    for (index, entry) in report.timeline.iter().enumerate() {
        let ends_with = match entry.kind {
            TimelineKind::Fault => TimelineKind::Heal,
            TimelineKind::Crash => TimelineKind::Start,
            _ => continue,
        };
        let is_crash = entry.kind == TimelineKind::Crash;
        // The step that kills a host and the host's end are one crash.
        let is_told = bands.iter().any(|band| {
            band.is_crash
                && is_crash
                && (band.from_ms..band.to_ms).contains(&entry.t_ms)
                && are_of_one(&band.text, &entry.text)
        });
        if is_told {
            continue;
        }
        let end = report.timeline[index + 1..]
            .iter()
            .find(|later| later.kind == ends_with && are_of_one(&later.text, &entry.text));
        let to_ms = match end {
            _ if entry.text.starts_with("reset ") => entry.t_ms,
            Some(end) => end.t_ms,
            None => report.header.duration_ms,
        };
        bands.push(Band { from_ms: entry.t_ms, to_ms, text: entry.text.clone(), is_crash });
    }
    bands
}

/// Whether two texts speak of the same thing: `cut gateway->verifier` and `heal
/// gateway->verifier` do, as they share a word.
fn are_of_one(left: &str, right: &str) -> bool {
    left.split_whitespace()
        .filter(|word| !matches!(*word, "of" | "late"))
        .any(|word| right.split_whitespace().any(|other| other == word))
}

pub(super) fn section(report: &Report, bands: &[Band]) -> String {
    if report.timeline.is_empty() {
        return String::new();
    }
    let note = "Bars are faults in force and hosts that are down. A number stands for so many \
                moments at one place; hovering over a mark tells them.";
    let body = format!("{}{}", chart(report, bands), list(&report.timeline));
    super::section("Timeline", note, &body)
}

fn chart(report: &Report, bands: &[Band]) -> String {
    let lanes: Vec<_> = LANES
        .iter()
        .filter(|(_, kinds, _)| report.timeline.iter().any(|entry| kinds.contains(&entry.kind)))
        .collect();
    let bottom = TOP + LANE * lanes.len() as f64;
    let x = Scale::time(report.header.duration_ms);
    let mut svg = open(bottom + 28.0, "Timeline");
    time_axis(&mut svg, report.header.duration_ms, TOP, bottom);
    for (index, (name, kinds, colour)) in lanes.iter().enumerate() {
        let y = TOP + LANE * (index as f64 + 0.5);
        let end = WIDTH - RIGHT;
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>\
             <line class=\"axis\" x1=\"{LEFT}\" x2=\"{end:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
            LEFT - 9.0,
            y + 4.0
        )
        .expect("writing to a String does not fail");
        let is_bars = kinds.len() > 1;
        if is_bars {
            let crashes = kinds.contains(&TimelineKind::Crash);
            let of_lane = bands.iter().filter(|band| band.is_crash == crashes);
            svg.push_str(&bars(of_lane, x, y));
        } else {
            let entries = report.timeline.iter().filter(|entry| kinds.contains(&entry.kind));
            svg.push_str(&marks(entries, *colour, x, y));
        }
    }
    svg.push_str(CLOSE);
    svg
}

fn bars<'a>(bands: impl Iterator<Item = &'a Band>, x: Scale, y: f64) -> String {
    let mut svg = String::new();
    let mut labels = Labels::default();
    for band in bands {
        let (from, to) = (x.at(band.from_ms as f64), x.at(band.to_ms as f64));
        let class = if band.is_crash { "down" } else { "fault" };
        let (text, width) = (escape(&band.text), (to - from).max(3.0));
        writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"8\" \
             rx=\"2\"><title>{text}: {} to {}</title></rect>",
            y - 4.0,
            seconds(band.from_ms),
            seconds(band.to_ms)
        )
        .expect("writing to a String does not fail");
        svg.push_str(&labels.place(&band.text, from, from, y - 7.0));
    }
    svg
}

fn marks<'a>(
    entries: impl Iterator<Item = &'a TimelineEntry>,
    colour: usize,
    x: Scale,
    y: f64,
) -> String {
    let mut groups: Vec<(f64, Vec<&TimelineEntry>)> = Vec::new();
    for entry in entries {
        let at = x.at(entry.t_ms as f64);
        match groups.last_mut() {
            Some((first, group)) if at - *first < TOUCHING => group.push(entry),
            _ => groups.push((at, vec![entry])),
        }
    }
    let mut svg = String::new();
    let mut labels = Labels::default();
    for (at, group) in groups {
        let told: Vec<String> = group
            .iter()
            .map(|entry| format!("{} {}", seconds(entry.t_ms), escape(&entry.text)))
            .collect();
        writeln!(
            svg,
            "<circle class=\"f{colour}\" cx=\"{at:.1}\" cy=\"{y:.1}\" r=\"4.5\">\
             <title>{}</title></circle>",
            told.join("\n")
        )
        .expect("writing to a String does not fail");
        let label = match group.as_slice() {
            [entry] => entry.text.clone(),
            more => format!("{} × {}", more.len(), shared(more)),
        };
        svg.push_str(&labels.place(&label, at, at + 8.0, y - 6.0));
    }
    svg
}

/// What the texts of several moments have in common: all but their first word, where that names
/// who it happened to, or else the first of them.
fn shared<'a>(group: &[&'a TimelineEntry]) -> &'a str {
    let tail = |entry: &'a TimelineEntry| entry.text.split_once(' ').map(|(_, tail)| tail);
    let first = group[0];
    match tail(first) {
        Some(shared) if group.iter().all(|entry| tail(entry) == Some(shared)) => shared,
        _ => &first.text,
    }
}

/// Places labels from left to right where they do not run into each other.
#[derive(Default)]
struct Labels {
    /// Where the last label ends.
    end: f64,
}

impl Labels {
    /// A label for a mark at `mark`, from `x` on, or nothing where there is no room.
    fn place(&mut self, text: &str, mark: f64, x: f64, y: f64) -> String {
        let mut label: String = text.chars().take(MAX_LABEL).collect();
        if label.len() < text.len() {
            label.push('…');
        }
        let width = label.chars().count() as f64 * LETTER;
        if mark < self.end + 4.0 {
            return String::new();
        }
        // Near the right edge the label stands to the left of its mark.
        let (x, anchor) = if x + width <= WIDTH - RIGHT {
            (x, "start")
        } else if mark - width > self.end {
            (mark - 2.0, "end")
        } else {
            return String::new();
        };
        self.end = if anchor == "start" { x + width } else { mark };
        format!(
            "<text class=\"label\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>\n",
            escape(&label)
        )
    }
}

fn list(entries: &[TimelineEntry]) -> String {
    let rows: String = entries
        .iter()
        .map(|entry| {
            format!(
                "<tr><td class=\"num\">{}</td><td class=\"kind\">{}</td><td>{}</td></tr>\n",
                seconds(entry.t_ms),
                entry.kind.as_str(),
                escape(&entry.text)
            )
        })
        .collect();
    format!(
        "<details><summary>All {} moments</summary><div class=\"scroll\"><table>\n{rows}</table>\
         </div></details>\n",
        entries.len()
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::super::sample;
    use super::*;

    #[test]
    fn a_fault_lasts_until_it_heals_or_the_run_ends() {
        let report = sample::failing();
        let bands: Vec<_> =
            bands(&report).into_iter().map(|band| (band.text, band.from_ms, band.to_ms)).collect();
        assert_eq!(bands[0], ("cut gateway<->verifier".to_owned(), 10_000, 17_000));
        assert_eq!(bands[1], ("kill pool".to_owned(), 30_000, 33_000));
        assert_eq!(bands[2], ("cut gateway->pool".to_owned(), 40_000, 60_000));
        assert_eq!(bands.len(), 3, "the pool's crash is one");
    }

    #[rstest]
    #[case("verdicts 5.1s late", "verdicts 0s late", true)]
    #[case("power loss of gateway", "start gateway", true)]
    #[case("cut gateway->pool", "heal gateway->verifier", false)]
    fn an_end_is_known_by_a_word(#[case] begins: &str, #[case] ends: &str, #[case] one: bool) {
        assert_eq!(are_of_one(begins, ends), one);
    }

    #[test]
    fn labels_never_run_into_each_other() {
        let mut labels = Labels::default();
        assert!(!labels.place("first", 100.0, 108.0, 0.0).is_empty());
        assert!(labels.place("second", 110.0, 118.0, 0.0).is_empty());
        assert!(!labels.place("third", 160.0, 168.0, 0.0).is_empty());
        assert!(labels.place("at the right edge", 990.0, 998.0, 0.0).contains("\"end\""));
    }
}
