//! A run as a trace for <https://ui.perfetto.dev>, in the Trace Event format.

use serde_json::{Value, json};

use super::html::bands;
use super::model::{Report, TimelineKind};

/// The tracks from top to bottom: the name, and what is on it. Faults and hosts come first.
const TRACKS: [(&str, &[TimelineKind]); 6] = [
    ("tips", &[TimelineKind::Tip]),
    ("switches", &[TimelineKind::Switch]),
    ("verdicts", &[TimelineKind::Verdict]),
    ("blocks", &[TimelineKind::Block]),
    ("closings", &[TimelineKind::Close]),
    ("steps", &[TimelineKind::Step]),
];

/// The tracks of what lasts.
const FAULTS: usize = 1;
const HOSTS: usize = 2;
/// The first track of [`TRACKS`].
const FIRST: usize = 3;
/// The one process: the world.
const WORLD: u32 = 1;

/// The trace: faults as slices, moments as instants, curves as counters, violations on a track of
/// their own.
pub fn trace(report: &Report) -> String {
    let header = &report.header;
    let name = format!("{} seed {}", header.scenario, header.seed);
    let mut events = vec![named("process_name", 0, &name)];
    events.push(named("thread_name", 0, "violations"));
    events.push(named("thread_name", FAULTS, "faults"));
    events.push(named("thread_name", HOSTS, "hosts down"));
    for (index, (name, _)) in TRACKS.iter().enumerate() {
        events.push(named("thread_name", FIRST + index, name));
    }
    for property in &report.properties {
        if let Some(ms) = property.at_ms {
            let text = format!("{}: {}", property.name, property.detail);
            events.push(instant(0, ms, &text, "g"));
        }
    }
    for band in bands(report) {
        let track = if band.is_crash { HOSTS } else { FAULTS };
        let lasts = (band.to_ms - band.from_ms).max(1) * 1000;
        events.push(json!({
            "name": band.text, "ph": "X", "pid": WORLD, "tid": track,
            "ts": band.from_ms * 1000, "dur": lasts,
        }));
    }
    for entry in &report.timeline {
        let track = TRACKS.iter().position(|(_, kinds)| kinds.contains(&entry.kind));
        if let Some(track) = track {
            events.push(instant(FIRST + track, entry.t_ms, &entry.text, "t"));
        }
    }
    for (name, points) in &report.series {
        events.extend(points.iter().map(|point| {
            json!({
                "name": name, "ph": "C", "pid": WORLD, "ts": point.t_ms * 1000,
                "args": { "value": point.value },
            })
        }));
    }
    json!({ "displayTimeUnit": "ms", "traceEvents": events }).to_string()
}

/// Names the process or a track, which are shown in the order of their numbers.
fn named(what: &str, track: usize, name: &str) -> Value {
    json!({ "name": what, "ph": "M", "pid": WORLD, "tid": track, "args": { "name": name } })
}

fn instant(track: usize, ms: u64, text: &str, scope: &str) -> Value {
    json!({
        "name": text, "ph": "i", "s": scope, "pid": WORLD, "tid": track, "ts": ms * 1000,
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_trace_holds_every_moment_and_each_fault_with_its_length() {
        let report = sample::failing();
        let trace: Value = serde_json::from_str(&trace(&report)).unwrap();
        let events = trace["traceEvents"].as_array().unwrap();
        let of = |phase: &str| events.iter().filter(|one| one["ph"] == phase).count();
        assert_eq!(of("X"), 3, "faults and hosts that are down");
        let cut = events.iter().find(|one| one["name"] == "cut gateway<->verifier").unwrap();
        assert_eq!((&cut["ts"], &cut["dur"]), (&json!(10_000_000), &json!(7_000_000)));
        let lasting =
            [TimelineKind::Fault, TimelineKind::Heal, TimelineKind::Crash, TimelineKind::Start];
        let moments = report.timeline.iter().filter(|one| !lasting.contains(&one.kind)).count();
        assert_eq!(of("i"), moments + 1, "every moment, and the violation");
        assert_eq!(of("C"), report.series.values().map(Vec::len).sum::<usize>());
    }
}
