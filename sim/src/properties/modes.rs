//! Judges of what the modes promise.

use gateway_core::mode::Mode;

use super::{Judged, Judgement, Record};
use crate::actors::observe::MinerSeen;

/// Observe: no verdict, and no missing one, keeps work from a miner.
pub(super) fn observe_never_gates(record: &Record<'_>) -> Judgement {
    if record.setting.mode != Mode::Observe {
        return Ok(Judged::of(0, "switches in observe mode"));
    }
    let mut count = 0;
    for (at, line) in record.events("prevhash_switch") {
        if line["mode"] != Mode::Observe.as_str() {
            continue;
        }
        count += 1;
        let outcome = line["outcome"].as_str().unwrap_or_default();
        if !matches!(outcome, "switched" | "superseded") {
            return Err(Judged::fail(at, format!("a switch ended as {outcome}")));
        }
        let (seen, ended) = (
            record.virtual_time(at, &line["tip_seen_at_ms"]).unwrap_or_default(),
            record.virtual_time(at, &line["timestamp_ms"]).unwrap_or_default(),
        );
        let took = ended.saturating_sub(seen);
        // What began under another mode may have waited by its rules.
        if record.mode_at(seen) == Mode::Observe && took > record.setting.verdict_window {
            let what = format!("a switch took {} ms, as if it waited", took.as_millis());
            return Err(Judged::fail(at, what));
        }
    }
    let gated = ["prevhash_switch_timeout", "prevhash_verdict_rejected"];
    for (at, line) in record.events("connection_closed") {
        if let Some(reason) = line["reason_code"].as_str()
            && gated.contains(&reason)
            && record.mode_at(at) == Mode::Observe
        {
            return Err(Judged::fail(at, format!("a connection was closed with {reason}")));
        }
    }
    Ok(Judged::of(count, "switches, none of them gated"))
}

/// Shadow: no miner gets in, while templates are judged.
pub(super) fn shadow_opens_no_miner_port(record: &Record<'_>) -> Judgement {
    if record.setting.mode != Mode::Shadow {
        return Ok(Judged::of(0, "attempts in shadow mode"));
    }
    let mut refused = 0;
    for (at, miner, seen) in record.miners() {
        match seen {
            MinerSeen::Refused { .. } => refused += 1,
            MinerSeen::Connected | MinerSeen::ChannelOpened { .. } => {
                return Err(Judged::fail(at, format!("miner {miner} got in")));
            }
            _ => {}
        }
    }
    if record.events("template_verdict").next().is_none() {
        return Err(Judged::fail(record.settled_at(), "no template was judged"));
    }
    Ok(Judged::of(refused, "attempts, all refused"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::Story;
    use super::*;

    #[test]
    fn observe_switches_at_once_and_closes_nobody() {
        let story = || Story::new().mode(Mode::Observe).later(9_000);
        story().switch("aa", "switched", 3).check(observe_never_gates, "pass");
        story().switch("aa", "switched", 80).check(observe_never_gates, "as if it waited");
        story().switch("aa", "disconnected", 3).check(observe_never_gates, "ended as disconnected");
        let closed = |reason: &str| json!({ "event": "connection_closed", "reason_code": reason });
        story()
            .event(closed("prevhash_switch_timeout"))
            .check(observe_never_gates, "was closed with prevhash_switch_timeout");
        story()
            .switch("aa", "switched", 3)
            .event(closed("shutdown_drain"))
            .check(observe_never_gates, "pass");
        story().mode(Mode::Inline).check(observe_never_gates, "not exercised");
        // What a switch does after a change of mode is not observe's.
        let later = json!({ "event": "prevhash_switch", "mode": "inline", "outcome": "rejected" });
        story().event(later).check(observe_never_gates, "not exercised");
    }

    #[test]
    fn shadow_lets_nobody_in_and_still_judges() {
        let refused = || MinerSeen::Refused { error: "connection refused".to_owned() };
        let story = || Story::new().mode(Mode::Shadow).miner(0, refused());
        let verdict = json!({ "event": "template_verdict" });
        story().event(verdict.clone()).check(shadow_opens_no_miner_port, "pass");
        story().check(shadow_opens_no_miner_port, "no template was judged");
        story().event(verdict).connected(0).check(shadow_opens_no_miner_port, "got in");
        Story::new().check(shadow_opens_no_miner_port, "not exercised");
    }
}
