//! Reports as text for a terminal.

use std::fmt::Write as _;

use serde_json::Value;

/// The report of `/api/v1/status`.
pub(super) fn status(report: &Value) -> String {
    let mut text = String::new();
    let mut line = |name: &str, said: String| {
        writeln!(text, "{name:<12} {said}").expect("a String takes any text");
    };
    let word = |name: &str| report[name].as_str().unwrap_or("?").to_owned();
    let state = match (report["draining"] == true, report["ready"] == true) {
        (true, _) => "DRAINING",
        (false, true) => "ready",
        (false, false) => "NOT READY",
    };
    let up = duration(report["uptime_ms"].as_u64().unwrap_or_default());
    line(&word("instance"), format!("{} · {state} · up {up} · {}", word("mode"), word("version")));
    let hatches = list(&report["escape_hatches"]);
    if !hatches.is_empty() {
        line("HATCHES", format!("OPEN: {hatches}"));
    }
    let missing = list(&report["missing"]);
    if !missing.is_empty() {
        line("missing", missing);
    }
    line(
        "miners",
        format!("{} connections, {} channels", report["connections"], report["channels"]),
    );
    let rates = &report["hash_rate"];
    let rate = |span: &str| hash_rate(rates[span].as_f64().unwrap_or_default());
    let (minute, five, hour) = (rate("one_minute"), rate("five_minutes"), rate("one_hour"));
    line("hash rate", format!("{minute} (1 min)  {five} (5 min)  {hour} (1 h)"));
    line("shares", submissions(&report["submissions"]));
    line("template", template(&report["template"]));
    line("last switch", switch(&report["last_switch"]));
    let [shares, posts, blocks] =
        ["shares_queued", "posts_in_flight", "blocks_in_submission"].map(|name| &report[name]);
    line("on its way", format!("{shares} shares, {posts} posts, {blocks} blocks"));
    line("log", word("log"));
    text
}

fn list(values: &Value) -> String {
    let words = values.as_array().into_iter().flatten().filter_map(Value::as_str);
    words.collect::<Vec<_>>().join(", ")
}

fn submissions(by_answer: &Value) -> String {
    let mut refused: Vec<(&String, u64)> = by_answer
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(answer, _)| *answer != "success")
        .map(|(answer, count)| (answer, count.as_u64().unwrap_or_default()))
        .collect();
    refused.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let total: u64 = refused.iter().map(|(_, count)| count).sum();
    let reasons: Vec<String> =
        refused.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    let accepted = by_answer["success"].as_u64().unwrap_or_default();
    let reasons =
        if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join(", ")) };
    format!("{accepted} accepted, {total} refused{reasons}")
}

fn template(template: &Value) -> String {
    if template.is_null() {
        return "none".to_owned();
    }
    let age = duration(template["age_ms"].as_u64().unwrap_or_default());
    let source = template["source"].as_str().unwrap_or("?");
    let tip = short(&template["prev_hash"]);
    format!("height {} on {tip} from {source}, {age} old", template["height"])
}

fn switch(switch: &Value) -> String {
    if switch.is_null() {
        return "none".to_owned();
    }
    let outcome = switch["outcome"].as_str().unwrap_or("?");
    let reason = switch["reason_code"].as_str().map(|code| format!(" ({code})"));
    let (tip, after) = (short(&switch["prev_hash"]), &switch["ended_after_ms"]);
    format!("{outcome}{} to {tip} after {after} ms", reason.unwrap_or_default())
}

/// The end of a block hash: its beginning is zeros.
fn short(hash: &Value) -> &str {
    let hash = hash.as_str().unwrap_or("?");
    hash.get(hash.len().saturating_sub(12)..).unwrap_or(hash)
}

fn duration(ms: u64) -> String {
    let secs = ms / 1000;
    match secs {
        0..60 => format!("{secs} s"),
        60..3600 => format!("{} min {} s", secs / 60, secs % 60),
        3600..86_400 => format!("{} h {} min", secs / 3600, secs / 60 % 60),
        _ => format!("{} d {} h", secs / 86_400, secs / 3600 % 24),
    }
}

/// A hash rate with its unit.
pub(super) fn hash_rate(hashes_per_second: f64) -> String {
    let units = ["H/s", "kH/s", "MH/s", "GH/s", "TH/s", "PH/s", "EH/s"];
    let mut rate = hashes_per_second;
    let mut unit = units[0];
    for next in &units[1..] {
        if rate < 1000.0 {
            break;
        }
        (rate, unit) = (rate / 1000.0, next);
    }
    format!("{rate:.2} {unit}")
}

#[cfg(test)]
pub(super) fn sample() -> Value {
    serde_json::json!({
        "instance": "gateway", "version": "1.0.0", "mode": "inline", "uptime_ms": 3_725_000,
        "draining": false, "ready": false, "missing": ["verifier"], "log": "writing",
        "connections": 2, "channels": 3,
        "hash_rate": { "one_minute": 1.5e12, "five_minutes": 999.0, "one_hour": 0.0 },
        "submissions": { "success": 7, "share_replay_detected": 2, "stale_job_submission": 1 },
        "template": null,
        "last_switch": { "outcome": "switched", "prev_hash": "00000000000000000000abcdef012345",
            "ended_after_ms": 12.5 },
        "shares_queued": 0, "posts_in_flight": 1, "blocks_in_submission": 0,
        "escape_hatches": ["VELDRA_ALLOW_PLAINTEXT"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_well() {
        let expected = "\
gateway      inline · NOT READY · up 1 h 2 min · 1.0.0
HATCHES      OPEN: VELDRA_ALLOW_PLAINTEXT
missing      verifier
miners       2 connections, 3 channels
hash rate    1.50 TH/s (1 min)  999.00 H/s (5 min)  0.00 H/s (1 h)
shares       7 accepted, 3 refused: share_replay_detected 2, stale_job_submission 1
template     none
last switch  switched to abcdef012345 after 12.5 ms
on its way   0 shares, 1 posts, 0 blocks
log          writing
";
        assert_eq!(status(&sample()), expected);
    }
}
