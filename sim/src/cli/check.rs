//! `sim check`.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{CheckArgs, FAILED, say};
use crate::properties::{Stream, judge_stream};
use crate::report::model::Verdict;

/// Judges the lines of a file, and says what holds.
pub(super) fn run(args: &CheckArgs) -> Result<u8> {
    let text =
        std::fs::read_to_string(&args.events).with_context(|| args.events.display().to_string())?;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        let line = serde_json::from_str(line)
            .with_context(|| format!("{}:{} is no JSON", args.events.display(), index + 1))?;
        lines.push(line);
    }
    let secrets = match &args.secrets {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
        }
        None => Vec::new(),
    };
    let mut stream = Stream {
        lines,
        drop_old: args.drop_old,
        verdict_window: Duration::from_millis(args.verdict_window_ms),
        stale_hold: Duration::from_millis(args.stale_hold_ms),
        secrets,
    };
    if args.part {
        stream = stream.without_loose_ends();
    }
    let mut code = 0;
    for property in judge_stream(stream) {
        let at = property.at_ms.map_or_else(String::new, |at| format!("  at {at} ms"));
        let outcome = property.outcome.as_str();
        say(format!("{outcome:<14} {:<26} {}{at}", property.name, property.detail));
        if property.outcome == Verdict::Fail {
            code = FAILED;
        }
    }
    Ok(code)
}
