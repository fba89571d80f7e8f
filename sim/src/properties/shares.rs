//! Judges of the life of shares.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gateway_core::reason::{ErrorMessage, ReasonCode, WireError};
use serde_json::Value;

use super::index::Answer;
use super::refusals::Refusals;
use super::{Judged, Judgement, Record};
use crate::actors::observe::{MinerSeen, PoolSeen};

/// A share without an answer for so long, with nothing done to the world meanwhile or shortly
/// before, will never have one.
const PATIENCE: Duration = Duration::from_secs(5);

fn text<'a>(line: &'a Value, field: &str) -> &'a str {
    line[field].as_str().unwrap_or_default()
}

fn is_success(line: &Value) -> bool {
    line["sv2_response"] == "success"
}

/// Exactly one result for each accepted success, with equal ids, whatever happened in between;
/// and no acknowledged share without its event.
pub(super) fn share_join(record: &Record<'_>) -> Judgement {
    let mut accepted: BTreeMap<&str, (Duration, &str)> = BTreeMap::new();
    let mut resolved: BTreeSet<&str> = BTreeSet::new();
    for (at, line) in record.all_events() {
        let (event_id, share_id) = (text(line, "event_id"), text(line, "share_id"));
        let violation = match text(line, "event") {
            "share_accepted" if is_success(line) => accepted
                .insert(event_id, (at, share_id))
                .map(|_| format!("event {event_id} was accepted twice")),
            "share_forward_result" => match accepted.get(event_id) {
                None => Some(format!("result for event {event_id}, which was not accepted")),
                Some((_, known)) if *known != share_id => {
                    Some(format!("event {event_id} joins share {known} to a result of {share_id}"))
                }
                Some(_) if !resolved.insert(event_id) => {
                    Some(format!("event {event_id} has two results"))
                }
                Some(_) => None,
            },
            _ => None,
        };
        if let Some(violation) = violation {
            return Err(Judged::fail(at, violation));
        }
    }
    if let Some((event_id, (at, share_id))) =
        accepted.iter().find(|(event_id, _)| !resolved.contains(*event_id))
    {
        let what = format!("share {share_id} (event {event_id}) has no result");
        return Err(Judged::fail(*at, what));
    }
    let known: BTreeSet<&str> = accepted.values().map(|(_, share_id)| *share_id).collect();
    for share in record.shares() {
        if let Answer::Acked(at) = share.answer
            && !known.contains(share.share_id)
        {
            let what = format!("miner {}'s share {} has no event", share.miner, share.share_id);
            return Err(Judged::fail(at, what));
        }
    }
    Ok(Judged::of(accepted.len(), "accepted shares, one result each"))
}

/// Submitted = accepted + rejected (+ lost with their connection), and accepted = forwarded +
/// explained.
pub(super) fn conservation(record: &Record<'_>) -> Judgement {
    for (at, miner, seen) in record.miners() {
        if let MinerSeen::Breach { what } = seen {
            return Err(Judged::fail(at, format!("miner {miner}: {what}")));
        }
    }
    let shares = record.shares();
    let end = record.settled_at();
    // An answer may still be under way when the scenario ends.
    let answered_by = end.saturating_sub(Duration::from_secs(1));
    let steps = record.steps();
    for share in &shares {
        // What never gets an answer must not hide behind the end of its connection.
        if let Answer::ConnectionLost(closed) = share.answer
            && closed > share.at + PATIENCE
            && !steps.iter().any(|at| *at + PATIENCE > share.at && *at < closed)
        {
            let waited = (closed - share.at).as_millis();
            let what = format!(
                "miner {}'s share {} waited {waited} ms for an answer that never came",
                share.miner, share.share_id
            );
            return Err(Judged::fail(share.at, what));
        }
        if share.answer == Answer::None && share.at < answered_by {
            let what = format!("miner {}'s share {} got no answer", share.miner, share.share_id);
            return Err(Judged::fail(share.at, what));
        }
    }
    results_explained(record)?;
    let credited = credited(record);
    for (at, line) in record.events("share_forward_result") {
        let id = text(line, "share_id");
        if line["upstream_accepted"] == true && !credited.contains(id) {
            return Err(Judged::fail(at, format!("share {id} was never credited by the pool")));
        }
    }
    let accepted = shares.iter().filter(|share| matches!(share.answer, Answer::Acked(_))).count();
    let mut judged = Judged::of(shares.len(), "");
    judged.detail =
        format!("{} submitted, {accepted} accepted, {} credited", shares.len(), credited.len());
    Ok(judged)
}

/// Each result is a delivery, or says why it is none.
pub(super) fn results_explained(record: &Record<'_>) -> Judgement {
    let mut count = 0;
    for (at, line) in record.events("share_forward_result") {
        count += 1;
        let explained = line["reason_code"].is_string();
        let credited = line["forwarded"] == true && line["upstream_accepted"] == true;
        if credited == explained {
            let what = format!(
                "the result of share {} is {}",
                text(line, "share_id"),
                if credited {
                    "a delivery with a reason against it"
                } else {
                    "neither delivered nor explained"
                }
            );
            return Err(Judged::fail(at, what));
        }
    }
    Ok(Judged::of(count, "results, each delivered or explained"))
}

fn credited<'a>(record: &Record<'a>) -> BTreeSet<&'a str> {
    record
        .pool()
        .filter_map(|(_, seen)| match seen {
            PoolSeen::Share { share_id, check: Ok(()), .. } => Some(share_id.as_str()),
            _ => None,
        })
        .collect()
}

/// Each share that the pool got holds when re-hashed, and is credited at most once.
pub(super) fn no_double_credit(record: &Record<'_>) -> Judgement {
    let mut credits = BTreeSet::new();
    for (at, seen) in record.pool() {
        let PoolSeen::Share { share_id, check, credited, .. } = seen else { continue };
        if let Err(why) = check {
            return Err(Judged::fail(at, format!("share {share_id} does not hold: {why}")));
        }
        if *credited && !credits.insert(share_id.as_str()) {
            return Err(Judged::fail(at, format!("share {share_id} was credited twice")));
        }
    }
    accepted_once(record)?;
    Ok(Judged::of(credits.len(), "credits, each once"))
}

/// No share is accepted twice, unless a crash lost the memory of the first time.
pub(super) fn accepted_once(record: &Record<'_>) -> Judgement {
    let mut accepted = BTreeSet::new();
    for (at, line) in record.events("share_accepted").filter(|(_, line)| is_success(line)) {
        let share_id = text(line, "share_id");
        if !accepted.insert(share_id) && record.gateway_crashes().is_empty() {
            return Err(Judged::fail(at, format!("share {share_id} was accepted twice")));
        }
    }
    Ok(Judged::of(accepted.len(), "shares, each accepted once"))
}

/// Each refusal has a reason code, the wire error is the one that the contract maps it to, and a
/// bad share gets the answer that its fault deserves.
pub(super) fn every_reject_has_reason(record: &Record<'_>) -> Judgement {
    let mut events: BTreeMap<&str, u64> = BTreeMap::new();
    for (at, line) in record.all_events() {
        let code = line["reason_code"].as_str();
        let needs = match text(line, "event") {
            "share_accepted" => !is_success(line),
            _ => false,
        };
        match code {
            None if needs => return Err(Judged::fail(at, "a rejected share has no reason_code")),
            None => {}
            Some(_) if text(line, "event") == "template_verdict" => {}
            Some(code) if !ReasonCode::ALL.iter().any(|known| known.as_str() == code) => {
                return Err(Judged::fail(at, format!("\"{code}\" is no reason code")));
            }
            Some(code) if needs => *events.entry(code).or_default() += 1,
            Some(_) => {}
        }
    }
    let mut wire: BTreeMap<&str, u64> = BTreeMap::new();
    let shares = record.shares();
    let refusals = Refusals::of(record, &shares);
    for share in &shares {
        let Answer::Rejected(at, code) = share.answer else { continue };
        let Some(error) = WireError::ALL
            .iter()
            .find(|error| error.message() == ErrorMessage::SubmitShares && error.code() == code)
        else {
            let what = format!("\"{code}\" is no error code of SubmitShares.Error");
            return Err(Judged::fail(at, what));
        };
        if let Err(why) = refusals.judge(share, at, code) {
            let (miner, class) = (share.miner, share.class.as_str());
            let what = format!("miner {miner}'s share of class {class} was refused as {code}{why}");
            return Err(Judged::fail(at, what));
        }
        if is_unlogged(record, at) {
            continue;
        }
        let reason = error.reason().as_str();
        let count = wire.entry(reason).or_default();
        *count += 1;
        if events.get(reason).copied().unwrap_or(0) < *count {
            let what = format!("more miners were told {code} than events say {reason}");
            return Err(Judged::fail(at, what));
        }
    }
    for share in &shares {
        if let Answer::Acked(at) = share.answer
            && let Some(code) = share.class.expected_code()
        {
            let what = format!(
                "a share of class {} was accepted instead of refused as {code}",
                share.class.as_str()
            );
            return Err(Judged::fail(at, what));
        }
    }
    Ok(Judged::of(wire.values().sum::<u64>() as usize, "refusals, each with its reason"))
}

/// Whether the event of a refusal at that moment may have been lost: nobody waits for it to be
/// safe, its disk was broken, and the gateway crashed afterwards.
fn is_unlogged(record: &Record<'_>, at: Duration) -> bool {
    record.disk_is_broken(at) && record.gateway_crashes().iter().any(|crash| *crash >= at)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, accepted, refused, result};
    use super::*;
    use crate::actors::observe::ShareClass;

    #[test]
    fn one_result_each_passes_and_every_other_number_fails() {
        Story::new()
            .event(accepted("e1", "s1"))
            .event(result("e1", "s1"))
            .check(share_join, "pass");
        Story::new().event(accepted("e1", "s1")).check(share_join, "has no result");
        Story::new()
            .event(accepted("e1", "s1"))
            .event(result("e1", "s1"))
            .event(result("e1", "s1"))
            .check(share_join, "two results");
        Story::new().event(result("e1", "s1")).check(share_join, "was not accepted");
        Story::new()
            .event(accepted("e1", "s1"))
            .event(result("e1", "s2"))
            .check(share_join, "joins share s1 to a result of s2");
        Story::new().check(share_join, "not exercised");
    }

    #[test]
    fn an_acknowledged_share_without_an_event_fails() {
        let story = || Story::new().connected(0).sent(0, 1, "s1", ShareClass::Share).acked(0, 1);
        story().check(share_join, "has no event");
        story().event(accepted("e1", "s1")).event(result("e1", "s1")).check(share_join, "pass");
    }

    #[test]
    fn an_unanswered_share_is_not_conserved() {
        let story = || Story::new().connected(0).sent(0, 1, "s1", ShareClass::Share);
        story().later(5_000).settled().check(conservation, "got no answer");
        story().later(5_000).acked(0, 1).settled().check(conservation, "pass");
        story().closed(0).later(5_000).settled().check(conservation, "pass");
        // The end of a connection excuses what was under way, and nothing else.
        story().later(5_001).closed(0).settled().check(conservation, "never came");
        // An answer may be under way when the run ends.
        story().later(500).settled().check(conservation, "pass");
    }

    #[test]
    fn acknowledgements_must_add_up() {
        let what = "2 shares are acknowledged, 1 were waiting".to_owned();
        Story::new().miner(0, MinerSeen::Breach { what }).check(conservation, "2 shares");
    }

    #[test]
    fn a_result_is_delivered_or_explained() {
        Story::new().credit("s1").event(result("e1", "s1")).check(conservation, "not exercised");
        Story::new().event(result("e1", "s1")).check(conservation, "never credited");
        let mut line = result("e1", "s1");
        line["upstream_accepted"] = Value::Null;
        Story::new().event(line.clone()).check(conservation, "neither delivered nor explained");
        line["reason_code"] = "share_forward_failed".into();
        Story::new().event(line).check(conservation, "not exercised");
    }

    #[test]
    fn a_share_is_credited_once_and_holds() {
        Story::new().credit("s1").credit("s2").check(no_double_credit, "pass");
        Story::new().credit("s1").credit("s1").check(no_double_credit, "credited twice");
        Story::new()
            .event(accepted("e1", "s1"))
            .event(accepted("e2", "s1"))
            .check(no_double_credit, "accepted twice");
    }

    #[test]
    fn a_refusal_needs_its_reason_on_both_sides() {
        let story = || {
            Story::new().connected(0).sent(0, 1, "s1", ShareClass::LowDifficulty).rejected(
                0,
                1,
                "difficulty-too-low",
            )
        };
        story()
            .event(refused("share_difficulty_below_target"))
            .check(every_reject_has_reason, "pass");
        story().check(every_reject_has_reason, "than events say");
        story()
            .event(refused("share_replay_detected"))
            .check(every_reject_has_reason, "than events say");
        story().event(refused("no_such_code")).check(every_reject_has_reason, "no reason code");
    }

    #[test]
    fn a_bad_share_gets_the_answer_its_fault_deserves() {
        let sent = |class| Story::new().connected(0).sent(0, 1, "s1", class);
        sent(ShareClass::Replay).acked(0, 1).check(every_reject_has_reason, "was accepted instead");
        sent(ShareClass::Replay)
            .rejected(0, 1, "invalid-job-id")
            .check(every_reject_has_reason, "was refused as invalid-job-id");
        sent(ShareClass::Share)
            .rejected(0, 1, "computer-says-no")
            .check(every_reject_has_reason, "is no error code");
    }
}
