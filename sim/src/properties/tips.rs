//! Judges of tips, switches and jobs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gateway_core::mode::Mode;
use serde_json::Value;

use super::index::Answer;
use super::{Judged, Judgement, Record};
use crate::actors::observe::{LinkSeen, MinerSeen, PoolSeen, Seen};
use crate::scenario::{Action, Loss};

/// How long after its deadline the gateway may act: the published bound of 5.06 s for a hold of
/// 5 s.
const PUNCTUALITY: Duration = Duration::from_millis(60);
/// How long the gateway may not notice that its template source went silent
/// (`timing.upstream_stale_max_ms`).
const BLIND: Duration = Duration::from_secs(30);
/// How long a template may be on its way from the node to the gateway.
const TEMPLATE_TRANSIT: Duration = Duration::from_secs(1);

/// Inline: nothing reaches a miner before the gateway has an accepting verdict on it.
pub(super) fn no_unverified_job(record: &Record<'_>) -> Judgement {
    // Work from before a change of mode is held as the work on an old tip is.
    let changes_mode = record.events("mode_changed").next().is_some();
    if record.setting.mode != Mode::Inline && !changes_mode {
        return Ok(Judged::of(0, "jobs in inline mode"));
    }
    let mut verdicts = record.link().peekable();
    let mut proposed: BTreeMap<(u64, u64), (&str, &str)> = BTreeMap::new();
    let (mut tips, mut works) = (BTreeSet::new(), BTreeSet::new());
    let mut count = 0;
    for seen in record.observations {
        while let Some((_, link)) = verdicts.next_if(|(at, _)| *at <= seen.at) {
            match link {
                LinkSeen::Proposed { proposal_id, connection, prev_hash, work_id } => {
                    proposed.insert((*connection, *proposal_id), (prev_hash, work_id));
                }
                LinkSeen::Verdict { proposal_id, connection, accepted: true, .. } => {
                    if let Some((tip, work)) = proposed.get(&(*connection, *proposal_id)) {
                        tips.insert(*tip);
                        works.insert(*work);
                    }
                }
                LinkSeen::Verdict { .. } => {}
            }
        }
        match &seen.what {
            Seen::Miner { miner, what: MinerSeen::PrevHash { prev_hash, .. } } => {
                if changes_mode && record.mode_at(seen.at) != Mode::Inline {
                    continue;
                }
                count += 1;
                if !tips.contains(prev_hash.as_str()) {
                    let what =
                        format!("miner {miner} got work on {prev_hash}, which no verdict accepts");
                    return Err(Judged::fail(seen.at, what));
                }
            }
            Seen::Pool(PoolSeen::Share { share_id, work_id, .. })
                if !changes_mode && !works.contains(work_id.as_str()) =>
            {
                let what = format!("share {share_id} is of a job that no verdict accepts");
                return Err(Judged::fail(seen.at, what));
            }
            _ => {}
        }
    }
    Ok(Judged::of(count, "switches at miners, each after its accepting verdict"))
}

/// Window, hold and disconnect: a tip reaches every miner that is connected when its switch ends,
/// and a hold ends in time, by a switch or by closing exactly the miners of the old tip.
pub(super) fn prevhash_switch(record: &Record<'_>) -> Judgement {
    let crashes = record.gateway_crashes();
    let mut gave_up = BTreeSet::new();
    let mut superseded: Option<Superseded> = None;
    let mut count = 0;
    for (at, line) in record.events("prevhash_switch") {
        let tip = line["prev_hash"].as_str().unwrap_or_default();
        let (Some(seen), Some(ended)) = (
            record.virtual_time(at, &line["tip_seen_at_ms"]),
            record.virtual_time(at, &line["timestamp_ms"]),
        ) else {
            return Err(Judged::fail(at, "a prevhash_switch without its times"));
        };
        let interrupted = crashes.iter().any(|crash| *crash >= ended && *crash <= at);
        count += 1;
        let held_from = superseded
            .take()
            .filter(|older| seen.abs_diff(older.ended) <= ROUNDING)
            .map_or(seen, |older| older.held_from);
        let took = ended.saturating_sub(held_from);
        // After a hold ran out nobody is left to be held.
        if record.mode_at(seen) == Mode::Inline && gave_up.is_empty() {
            held_after_window(record, line).map_err(|what| Judged::fail(ended, what))?;
        }
        match line["outcome"].as_str() {
            Some("switched") => {
                let gave_up = std::mem::take(&mut gave_up);
                let first = !line["previous_prev_hash"].is_string();
                if !first && !gave_up.contains(tip) && overstayed(record, held_from, ended) {
                    let what = format!("{tip} was held for {} ms", took.as_millis());
                    return Err(Judged::fail(ended, what));
                }
                if !interrupted {
                    everyone_switched(record, tip, ended)?;
                }
            }
            Some("disconnected") => {
                gave_up.insert(tip);
                if took > record.stale_hold_by(ended) + PUNCTUALITY {
                    let what = format!("the hold for {tip} took {} ms", took.as_millis());
                    return Err(Judged::fail(ended, what));
                }
                old_tip_closed(record, tip, ended)?;
            }
            Some("superseded") if line["previous_prev_hash"].is_string() => {
                superseded = Some(Superseded { held_from, ended });
            }
            Some("superseded") => {}
            // The change goes on.
            Some("rejected") => superseded = Some(Superseded { held_from, ended: seen }),
            other => {
                let what = format!("{other:?} is no outcome of a switch");
                return Err(Judged::fail(at, what));
            }
        }
    }
    Ok(Judged::of(count, "switches"))
}

/// A tip that was replaced before it was switched to: miners are held for the next one from the same
/// moment on, if that one is what replaced it.
struct Superseded {
    held_from: Duration,
    ended: Duration,
}

/// Times of events are whole milliseconds.
const ROUNDING: Duration = Duration::from_millis(1);

/// Whoever was on a tip when the verdict on the next one did not come within its window is held from
/// then on, and the event says so.
fn held_after_window(record: &Record<'_>, line: &Value) -> Result<(), String> {
    let was_on_one = line["previous_prev_hash"].is_string();
    let is_gated = line["mode"] == Mode::Inline.as_str();
    let is_over = matches!(line["outcome"].as_str(), Some("switched" | "disconnected"));
    let window_ms = record.setting.verdict_window.as_secs_f64() * 1e3;
    let took_ms = line["ended_after_ms"].as_f64().unwrap_or_default();
    if !(was_on_one && is_gated && is_over) || took_ms <= window_ms + 1.0 {
        return Ok(());
    }
    match line["held_after_ms"].as_f64() {
        Some(held) if held <= window_ms + 1.0 => Ok(()),
        Some(held) => Err(format!("the hold began after {held} ms, the window has {window_ms}")),
        None => Err(format!("a switch took {took_ms} ms and nothing was held")),
    }
}

/// Whether the switch came after the hold and some miner was left on the old tip for all of it.
fn overstayed(record: &Record<'_>, seen: Duration, ended: Duration) -> bool {
    let hold = record.stale_hold_by(ended);
    if record.setting.mode != Mode::Inline || ended.saturating_sub(seen) <= hold + PUNCTUALITY {
        return false;
    }
    let (start, end) = (connected_at(record, seen), connected_at(record, seen + hold));
    start.iter().any(|(miner, since)| end.get(miner) == Some(since))
}

/// Which miners had work at that moment, and since when.
fn connected_at(record: &Record<'_>, moment: Duration) -> BTreeMap<u32, Duration> {
    let mut connected = BTreeMap::new();
    for (at, miner, seen) in record.miners().take_while(|(at, ..)| *at <= moment) {
        match seen {
            MinerSeen::PrevHash { .. } => drop(connected.entry(miner).or_insert(at)),
            MinerSeen::Closed { .. } => drop(connected.remove(&miner)),
            _ => {}
        }
    }
    connected
}

/// Every miner that had work when the switch ended hears of it, unless its connection ends or a
/// newer tip comes first.
fn everyone_switched(record: &Record<'_>, tip: &str, ended: Duration) -> Result<(), Judged> {
    let latest = ended + record.setting.transit + PUNCTUALITY;
    if latest > record.settled_at() {
        return Ok(());
    }
    // A switch's event has whole milliseconds, and so may the miner have its frame "earlier".
    let earliest = ended.saturating_sub(Duration::from_millis(1));
    let is_told = |at: Duration, seen: &MinerSeen| match seen {
        MinerSeen::PrevHash { prev_hash, .. } => prev_hash == tip || at > ended,
        MinerSeen::Closed { .. } => at >= earliest,
        _ => false,
    };
    let until_then = record.miners().take_while(|(at, ..)| *at <= latest);
    let told = until_then.filter(|(at, _, seen)| is_told(*at, seen));
    let told: BTreeSet<u32> = told.map(|(_, miner, _)| miner).collect();
    for miner in connected_at(record, earliest).into_keys() {
        if !told.contains(&miner)
            && !is_cut_off(record, ended, latest)
            && !is_severed(record, miner, latest)
        {
            return Err(Judged::fail(latest, format!("miner {miner} was not told of {tip}")));
        }
    }
    Ok(())
}

/// Whether a fault on the miners' links was active, or ended just before, so that nothing can be
/// said of them: the bytes that were kept come after it.
fn is_cut_off(record: &Record<'_>, from: Duration, until: Duration) -> bool {
    const AFTERMATH: Duration = Duration::from_secs(1);
    let is_theirs = |action: &Action| action.link().is_some_and(|link| link.touches("miners"));
    let (mut active, mut lately): (i32, bool) = (0, false);
    for seen in record.observations.iter().take_while(|seen| seen.at <= until) {
        let Seen::Step(action) = &seen.what else { continue };
        if !is_theirs(action) {
            continue;
        }
        match action {
            Action::Heal(_) if seen.at + AFTERMATH < from => active -= 1,
            Action::Heal(_) => {}
            // Those are over at once, and their aftermath is soon.
            Action::Rst(_) | Action::Fin(_) | Action::HalfOpen(_) => {
                lately |= seen.at + AFTERMATH >= from;
            }
            _ => active += 1,
        }
    }
    active > 0 || lately
}

/// Whether the miner may hold on to a connection that the gateway's end no longer knows: nothing
/// can reach it until it notices.
fn is_severed(record: &Record<'_>, miner: u32, until: Duration) -> bool {
    let Some(since) = connected_at(record, until).remove(&miner) else { return false };
    let lived = record.observations.iter().filter(|seen| seen.at >= since && seen.at <= until);
    lived.into_iter().any(|seen| match &seen.what {
        Seen::Step(Action::HalfOpen(link)) => link.touches("miners"),
        Seen::Step(Action::Crash { host, loss: Loss::PowerLoss | Loss::Replaced }) => {
            host == "gateway"
        }
        _ => false,
    })
}

/// Exactly the miners that are still on another tip are closed, and those whose work on this one is
/// from before the mode was inline: no verdict accepts it.
fn old_tip_closed(record: &Record<'_>, tip: &str, ended: Duration) -> Result<(), Judged> {
    let latest = ended + record.setting.transit + PUNCTUALITY;
    let mut on: BTreeMap<u32, (&str, bool)> = BTreeMap::new();
    let mut closed = BTreeSet::new();
    for (at, miner, seen) in record.miners().take_while(|(at, ..)| *at <= latest) {
        match seen {
            MinerSeen::PrevHash { prev_hash, .. } if at < ended => {
                let is_judged = record.mode_at(at) == Mode::Inline;
                on.insert(miner, (prev_hash, is_judged));
            }
            MinerSeen::Closed { .. } if at < ended => drop(on.remove(&miner)),
            MinerSeen::Closed { .. } => drop(closed.insert(miner)),
            _ => {}
        }
    }
    for (miner, (work, is_judged)) in on {
        let is_excused = || is_cut_off(record, ended, latest) || is_severed(record, miner, latest);
        if work != tip && !closed.contains(&miner) && !is_excused() {
            let what = format!("miner {miner} is still on {work} after the hold for {tip}");
            return Err(Judged::fail(latest, what));
        }
        if work == tip && is_judged && closed.contains(&miner) {
            let what = format!("miner {miner} was on {tip} already and was closed");
            return Err(Judged::fail(latest, what));
        }
    }
    Ok(())
}

/// A SetNewPrevHash starts a job that was announced for it, and no share is accepted that a miner
/// sent for an older tip after it.
pub(super) fn one_active_prevhash(record: &Record<'_>) -> Judgement {
    let mut futures: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    let mut count = 0;
    for (at, miner, seen) in record.miners() {
        match seen {
            MinerSeen::Connected => drop(futures.remove(&miner)),
            MinerSeen::Job { job_id, future: true } => {
                futures.entry(miner).or_default().insert(*job_id);
            }
            MinerSeen::PrevHash { job_id, .. } => {
                count += 1;
                // The others are void with the tip that they were for (specification 5.3.14).
                if !futures.remove(&miner).unwrap_or_default().contains(job_id) {
                    let what = format!("miner {miner}: job {job_id} starts, but is no future job");
                    return Err(Judged::fail(at, what));
                }
            }
            _ => {}
        }
    }
    for share in record.shares() {
        if let Answer::Acked(at) = share.answer
            && share.prev_hash != share.active
        {
            let what = format!(
                "miner {}'s share {} on {} was accepted though it was on {} when sent",
                share.miner, share.share_id, share.prev_hash, share.active
            );
            return Err(Judged::fail(at, what));
        }
    }
    Ok(Judged::of(count, "switches at miners"))
}

/// No share is accepted on a tip that the node left longer ago than the hold allows.
pub(super) fn stale_work(record: &Record<'_>) -> Judgement {
    let transit = TEMPLATE_TRANSIT + record.setting.transit;
    let bound = record.stale_hold_by(Duration::MAX) + PUNCTUALITY + transit;
    // News that left shortly before may be lost on its way.
    let blind_from = first_template_fault(record).saturating_sub(transit);
    let mut left: BTreeMap<&str, Duration> = BTreeMap::new();
    let tips = record.tips();
    for (index, (_, tip)) in tips.iter().enumerate() {
        match tips.get(index + 1) {
            Some((next, _)) => drop(left.insert(tip, *next)),
            None => drop(left.remove(tip)),
        }
    }
    // A tip that never came is the one that there was at the beginning.
    let left_first = tips.first().map(|(at, _)| *at);
    let known: BTreeSet<&str> = tips.iter().map(|(_, tip)| *tip).collect();
    let left_at = |tip: &str| match left.get(tip) {
        None if !known.contains(tip) => left_first,
        left => left.copied(),
    };
    let mut count = 0;
    for share in record.shares() {
        let Answer::Acked(at) = share.answer else { continue };
        count += 1;
        if let Some(left) = left_at(share.prev_hash)
            && share.at > left + bound + if left >= blind_from { BLIND } else { Duration::ZERO }
        {
            let what = format!(
                "miner {}'s share {} was accepted {} ms after the node left its tip",
                share.miner,
                share.share_id,
                (share.at - left).as_millis()
            );
            return Err(Judged::fail(at, what));
        }
    }
    Ok(Judged::of(count, "accepted shares"))
}

/// When something first happened on the way of templates to the gateway.
fn first_template_fault(record: &Record<'_>) -> Duration {
    let on_the_way = |name: &str| matches!(name, "templates" | "bitcoind");
    let fault = record.observations.iter().find(|seen| match &seen.what {
        Seen::Step(action) => {
            let link = action.link();
            link.is_some_and(|link| on_the_way(&link.from) || on_the_way(&link.to))
                || action.host().is_some_and(on_the_way)
        }
        _ => false,
    });
    fault.map_or(Duration::MAX, |seen| seen.at)
}

/// In the end every miner is connected and works on the node's tip, unless the verifier refuses
/// every template on it.
pub(super) fn all_miners_on_tip(record: &Record<'_>) -> Judgement {
    let settled = record.settled_at();
    let tips = record.tips();
    let Some((_, tip)) = tips.iter().rfind(|(at, _)| *at <= settled) else {
        return Ok(Judged::of(0, "tips"));
    };
    match record.mode_at(settled) {
        Mode::Inline if is_refused(record, tip) => {
            return Ok(Judged::of(0, "tips that may be mined on"));
        }
        Mode::Shadow => return Ok(Judged::of(0, "miners served")),
        Mode::Inline | Mode::Observe => {}
    }
    let mut on: BTreeMap<u32, &str> = BTreeMap::new();
    for (_, miner, seen) in record.miners().take_while(|(at, ..)| *at <= settled) {
        match seen {
            MinerSeen::PrevHash { prev_hash, .. } => {
                on.insert(miner, prev_hash);
            }
            MinerSeen::Closed { .. } => drop(on.remove(&miner)),
            _ => {}
        }
    }
    for miner in 0..record.setting.miners {
        match on.get(&miner) {
            None => {
                return Err(Judged::fail(settled, format!("miner {miner} has no work")));
            }
            Some(work) if work != tip => {
                let what = format!("miner {miner} works on {work}, the tip is {tip}");
                return Err(Judged::fail(settled, what));
            }
            Some(_) => {}
        }
    }
    Ok(Judged::of(on.len(), "miners on the tip"))
}

/// Whether every proposal on this tip that has its verdict was rejected, and there was one.
fn is_refused(record: &Record<'_>, tip: &str) -> bool {
    let mut on_tip = BTreeSet::new();
    let (mut refused, settled) = (false, record.settled_at());
    for (_, link) in record.link().take_while(|(at, _)| *at <= settled) {
        match link {
            LinkSeen::Proposed { proposal_id, connection, prev_hash, .. } if prev_hash == tip => {
                on_tip.insert((*connection, *proposal_id));
            }
            LinkSeen::Verdict { proposal_id, connection, accepted, .. }
                if on_tip.contains(&(*connection, *proposal_id)) =>
            {
                if *accepted {
                    return false;
                }
                refused = true;
            }
            _ => {}
        }
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::super::testing::{EPOCH_MS, Story};
    use super::*;
    use crate::actors::observe::ShareClass;

    #[test]
    fn work_needs_an_accepting_verdict_first() {
        let story = || Story::new().connected(0).proposed(1, "aa");
        story().verdict(1, true).prev_hash(0, "aa", 1).check(no_unverified_job, "pass");
        story().prev_hash(0, "aa", 1).verdict(1, true).check(no_unverified_job, "no verdict");
        story().verdict(1, false).prev_hash(0, "aa", 1).check(no_unverified_job, "no verdict");
        story().verdict(1, true).prev_hash(0, "bb", 1).check(no_unverified_job, "on bb");
        story().prev_hash(0, "aa", 1).mode(Mode::Observe).check(no_unverified_job, "not exercised");
    }

    #[test]
    fn a_share_at_the_pool_needs_a_verified_job_too() {
        Story::new().credit("s1").check(no_unverified_job, "of a job that no verdict accepts");
    }

    #[test]
    fn a_switch_reaches_everyone() {
        let story = || Story::new().connected(0).prev_hash(0, "aa", 1).later(100);
        story()
            .switch("bb", "switched", 10)
            .prev_hash(0, "bb", 2)
            .later(200)
            .settled()
            .check(prevhash_switch, "pass");
        story()
            .switch("bb", "switched", 10)
            .later(200)
            .settled()
            .check(prevhash_switch, "was not told of bb");
        let power_loss = Action::Crash { host: "gateway".to_owned(), loss: Loss::PowerLoss };
        story()
            .see(Seen::Step(power_loss))
            .later(5_000)
            .switch("bb", "switched", 10)
            .later(200)
            .settled()
            .check(prevhash_switch, "pass");
        story()
            .switch("bb", "switched", 10)
            .closed(0)
            .later(200)
            .settled()
            .check(prevhash_switch, "pass");
    }

    #[test]
    fn a_hold_begins_when_the_window_ends() {
        let story = |took: f64, held: Option<f64>| {
            Story::new().event(serde_json::json!({
                "event": "prevhash_switch", "mode": "inline", "outcome": "switched",
                "prev_hash": "bb", "previous_prev_hash": "aa", "ended_after_ms": took,
                "held_after_ms": held, "tip_seen_at_ms": EPOCH_MS, "timestamp_ms": EPOCH_MS,
            }))
        };
        story(49.0, None).check(prevhash_switch, "pass");
        story(51.5, None).check(prevhash_switch, "nothing was held");
        story(600.0, Some(500.0)).check(prevhash_switch, "began after 500 ms");
        story(51.5, Some(50.0)).check(prevhash_switch, "pass");
        // A rejection ends the wait before its window does.
        story(600.0, Some(7.0)).check(prevhash_switch, "pass");
    }

    #[test]
    fn a_tip_that_replaces_one_does_not_begin_the_hold_anew() {
        let switch = |tip: &str, outcome: &str, seen: u64, ended: u64| {
            serde_json::json!({
                "event": "prevhash_switch", "mode": "inline", "outcome": outcome,
                "prev_hash": tip, "previous_prev_hash": "aa",
                "tip_seen_at_ms": EPOCH_MS + seen, "timestamp_ms": EPOCH_MS + ended,
            })
        };
        let story = |seen: u64, ended: u64| {
            Story::new()
                .connected(0)
                .prev_hash(0, "aa", 1)
                .event(switch("bb", "superseded", 1_000, 4_000))
                .later(ended)
                .closed(0)
                .event(switch("cc", "disconnected", seen, ended))
        };
        story(4_000, 6_000).check(prevhash_switch, "pass");
        story(4_000, 9_000).check(prevhash_switch, "the hold for cc took 8000 ms");
        // Miners were back on their tip meanwhile.
        story(4_500, 9_500).check(prevhash_switch, "pass");
    }

    #[test]
    fn a_hold_ends_in_time() {
        let story = || Story::new().connected(0).prev_hash(0, "aa", 1).later(6_000);
        story()
            .switch("bb", "disconnected", 5_010)
            .closed(0)
            .later(200)
            .settled()
            .check(prevhash_switch, "pass");
        story()
            .switch("bb", "disconnected", 5_100)
            .closed(0)
            .later(200)
            .settled()
            .check(prevhash_switch, "took 5100 ms");
        story()
            .switch("bb", "disconnected", 5_010)
            .later(200)
            .settled()
            .check(prevhash_switch, "is still on aa");
        story()
            .event(serde_json::json!({
                "event": "prevhash_switch", "prev_hash": "bb", "previous_prev_hash": "aa",
                "outcome": "switched", "tip_seen_at_ms": EPOCH_MS + 500,
                "timestamp_ms": EPOCH_MS + 6_000,
            }))
            .later(200)
            .settled()
            .check(prevhash_switch, "was held for 5500 ms");
        story()
            .prev_hash(0, "bb", 2)
            .later(1)
            .switch("bb", "disconnected", 5_010)
            .closed(0)
            .later(200)
            .settled()
            .check(prevhash_switch, "was on bb already");
        story().switch("bb", "sideways", 1).check(prevhash_switch, "is no outcome");
    }

    #[test]
    fn a_hold_that_was_made_longer_may_last_longer() {
        let story = || Story::new().connected(0).prev_hash(0, "aa", 1).later(6_000);
        let longer =
            Action::Reload { config: "[timing]\nprevhash_stale_hold_ms = 6000".to_owned() };
        let ends = |story: Story| story.switch("bb", "disconnected", 5_900).closed(0).later(200);
        ends(story()).settled().check(prevhash_switch, "took 5900 ms");
        ends(story().see(Seen::Step(longer))).settled().check(prevhash_switch, "pass");
    }

    #[test]
    fn work_from_before_the_mode_was_inline_may_end() {
        let story = || Story::new().connected(0).prev_hash(0, "bb", 1).later(1);
        let inline = serde_json::json!({
            "event": "mode_changed", "from": "observe", "to": "inline",
            "timestamp_ms": EPOCH_MS + 4,
        });
        let ends = |story: Story| {
            story.later(6_000).switch("bb", "disconnected", 5_010).closed(0).later(200).settled()
        };
        ends(story()).check(prevhash_switch, "was on bb already");
        ends(story().mode(Mode::Observe).event(inline)).check(prevhash_switch, "pass");
    }

    #[test]
    fn a_started_job_was_announced_and_old_work_ends() {
        let story = || Story::new().connected(0).prev_hash(0, "aa", 1).prev_hash(0, "bb", 2);
        story().check(one_active_prevhash, "pass");
        story()
            .miner(0, MinerSeen::PrevHash { prev_hash: "cc".to_owned(), job_id: 9 })
            .check(one_active_prevhash, "is no future job");
        story()
            .sent_on(0, 1, "s1", ShareClass::Stale, "aa")
            .acked(0, 1)
            .check(one_active_prevhash, "was accepted though");
        story()
            .sent_on(0, 1, "s1", ShareClass::Stale, "aa")
            .rejected(0, 1, "stale-share")
            .check(one_active_prevhash, "pass");
    }

    #[test]
    fn work_on_a_tip_that_is_long_gone_is_not_accepted() {
        let story = |gap| {
            Story::new()
                .tip("aa")
                .tip("bb")
                .connected(0)
                .prev_hash(0, "aa", 1)
                .later(gap)
                .sent(0, 1, "s1", ShareClass::Share)
                .acked(0, 1)
        };
        story(5_000).check(stale_work, "pass");
        story(8_000).check(stale_work, "after the node left its tip");
        // The node had a tip before anybody looked.
        let first = |gap| {
            let story = Story::new().connected(0).prev_hash(0, "00", 1).tip("aa").later(gap);
            story.sent(0, 1, "s1", ShareClass::Share).acked(0, 1)
        };
        first(5_000).check(stale_work, "pass");
        first(8_000).check(stale_work, "after the node left its tip");
        // A gateway whose template source died in silence cannot know of the tip.
        let crash = Action::Crash { host: "templates".to_owned(), loss: Loss::PowerLoss };
        let blind = |gap| {
            Story::new()
                .see(Seen::Step(crash.clone()))
                .tip("aa")
                .tip("bb")
                .connected(0)
                .prev_hash(0, "aa", 1)
                .later(gap)
                .sent(0, 1, "s1", ShareClass::Share)
                .acked(0, 1)
        };
        blind(8_000).check(stale_work, "pass");
        blind(40_000).check(stale_work, "after the node left its tip");
    }

    #[test]
    fn in_the_end_everyone_is_on_the_tip() {
        let story = || Story::new().tip("aa").connected(0).prev_hash(0, "aa", 1);
        story().settled().check(all_miners_on_tip, "pass");
        story().tip("bb").settled().check(all_miners_on_tip, "the tip is bb");
        story().closed(0).settled().check(all_miners_on_tip, "has no work");
        let refused = || story().proposed(1, "bb").verdict(1, false).tip("bb");
        refused().settled().check(all_miners_on_tip, "not exercised");
        let accepted = refused().proposed(2, "bb").verdict(2, true);
        accepted.settled().check(all_miners_on_tip, "the tip is bb");
        // What the drain does afterwards does not count.
        story().settled().closed(0).check(all_miners_on_tip, "pass");
    }
}
