//! Judges of what is bounded, and of what gives way at the bound.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Judged, Judgement, Record};
use crate::actors::observe::{HostSeen, NodeSeen, PoolSeen, Seen};

/// Tasks that a program has beside those of its connections.
const STANDING_TASKS: usize = 64;
/// Tasks that a connection may have.
const TASKS_A_SOCKET: usize = 4;
/// Runs of this length must not grow: what leaks a little in a minute shows in a day.
const LONG_RUN: Duration = Duration::from_secs(3600);
/// Tasks and sockets that a busy moment may have more than another.
const FLUCTUATION: usize = 8;
/// What fills with time, up to a capacity that [`queue_bounds`] holds it to.
const CACHES: [&str; 2] = ["replay_window", "templates"];
/// The name of the lines of a page of metrics among its gauges.
const PAGE_LINES: &str = "page of metrics";
/// Lines that the page may get for what happens late for the first time.
const NEW_LINES: i64 = 100;
/// A share that finds no room is told so at once.
const AT_ONCE: Duration = Duration::from_secs(1);
/// Shares that become safe within so long come into the queue in no order: each connection hands
/// over its own.
const TOGETHER: Duration = Duration::from_millis(250);

/// No queue that the gateway exports is longer than its bound.
pub(super) fn queue_bounds(record: &Record<'_>) -> Judgement {
    let mut count = 0;
    for (at, page) in pages(record) {
        let lengths = labelled(page, "gateway_queue_length{queue=\"");
        let capacities = labelled(page, "gateway_queue_capacity{queue=\"");
        for (queue, length) in lengths {
            count += 1;
            let Some(capacity) = capacities.get(queue) else {
                return Err(Judged::fail(at, format!("the queue {queue} has no bound")));
            };
            if length > *capacity {
                let what = format!("the queue {queue} has {length} of at most {capacity}");
                return Err(Judged::fail(at, what));
            }
        }
    }
    Ok(Judged::of(count, "queues looked at"))
}

/// No program has more tasks than its connections explain, and in a long run nothing grows: the
/// last quarter has no more tasks and sockets than the second had, when everything had warmed up,
/// and no gauge of what the gateway holds has left what it was then behind.
pub(super) fn memory_bounded(record: &Record<'_>) -> Judgement {
    let end = record.settled_at();
    let mut second: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut count = 0;
    for seen in record.observations {
        let Seen::Host(HostSeen::Load { host, tasks, sockets }) = &seen.what else { continue };
        count += 1;
        let most = STANDING_TASKS + TASKS_A_SOCKET * sockets;
        if *tasks > most {
            let what = format!("{host} has {tasks} tasks with {sockets} sockets, at most {most}");
            return Err(Judged::fail(seen.at, what));
        }
        if end < LONG_RUN || seen.at < end / 4 {
            continue;
        }
        let before = second.entry(host).or_default();
        if seen.at < end / 2 {
            *before = (before.0.max(*tasks), before.1.max(*sockets));
        } else if seen.at >= end / 4 * 3
            && (*tasks > before.0 + FLUCTUATION || *sockets > before.1 + FLUCTUATION)
        {
            let what = format!(
                "{host} has grown to {tasks} tasks and {sockets} sockets from {} and {} at most",
                before.0, before.1
            );
            return Err(Judged::fail(seen.at, what));
        }
    }
    gauges_stay(record)?;
    Ok(Judged::of(count, "looks at programs"))
}

/// In a long run no gauge is, all through the last quarter, above all that it was in the second.
/// One that only had a busy moment comes down again; a leak does not.
fn gauges_stay(record: &Record<'_>) -> Result<(), Judged> {
    let end = record.settled_at();
    let (mut second, mut last) = (BTreeMap::new(), BTreeMap::new());
    for (at, page) in pages(record).filter(|(at, _)| end >= LONG_RUN && *at <= end) {
        let mut gauges = labelled(page, "gateway_queue_length{queue=\"");
        gauges.retain(|queue, _| !CACHES.contains(queue));
        gauges.insert(PAGE_LINES, page.lines().count() as i64);
        for (name, value) in gauges {
            if at >= end / 4 && at < end / 2 {
                let most = second.entry(name).or_insert(value);
                *most = value.max(*most);
            } else if at >= end / 4 * 3 {
                let least = last.entry(name).or_insert(value);
                *least = value.min(*least);
            }
        }
    }
    for (name, least) in last {
        let Some(most) = second.get(name) else { continue };
        let more = if name == PAGE_LINES { NEW_LINES } else { FLUCTUATION as i64 };
        if least > most + more {
            let what = format!("{name} has grown to {least} and more, from {most} at most");
            return Err(Judged::fail(end, what));
        }
    }
    Ok(())
}

/// A full queue gives up the share that its policy names: the newest, at once, or the oldest, in
/// the order of acceptance.
pub(super) fn drop_policy(record: &Record<'_>) -> Judgement {
    let mut accepted: BTreeMap<&str, Duration> = BTreeMap::new();
    let (mut count, mut last_evicted) = (0, Duration::ZERO);
    let (wrong, right) = if record.setting.drop_old {
        ("share_dropped_queue_full", "share_evicted_from_queue")
    } else {
        ("share_evicted_from_queue", "share_dropped_queue_full")
    };
    for (at, line) in record.all_events() {
        let event_id = line["event_id"].as_str().unwrap_or_default();
        if line["event"] == "share_accepted" {
            accepted.insert(event_id, at);
            continue;
        }
        if line["event"] != "share_forward_result" {
            continue;
        }
        let reason = &line["reason_code"];
        if *reason == wrong {
            return Err(Judged::fail(at, format!("{wrong} is not of the policy")));
        }
        let (true, Some(accepted_at)) = (*reason == right, accepted.get(event_id)) else {
            continue;
        };
        count += 1;
        if record.setting.drop_old {
            if *accepted_at + TOGETHER < last_evicted {
                return Err(Judged::fail(at, "a share was evicted before an older one"));
            }
            last_evicted = last_evicted.max(*accepted_at);
        } else if at - *accepted_at > AT_ONCE {
            let waited = (at - *accepted_at).as_millis();
            let what = format!("a share was dropped after it had waited for {waited} ms");
            return Err(Judged::fail(at, what));
        }
    }
    Ok(Judged::of(count, "shares that gave way"))
}

/// Every coinbase that miners worked on and every block pays the operator's scripts, and them
/// alone, in their proportions.
pub(super) fn payout_respected(record: &Record<'_>) -> Judgement {
    let payouts = &record.setting.payouts;
    if payouts.is_empty() {
        return Ok(Judged::of(0, "coinbases"));
    }
    let mut count = 0;
    for seen in record.observations {
        let pays = match &seen.what {
            Seen::Pool(PoolSeen::Share { pays, check: Ok(()), .. }) => pays,
            Seen::Node(NodeSeen::Submitted { pays, .. }) if has_submitted(record, &seen.what) => {
                pays
            }
            _ => continue,
        };
        count += 1;
        if let Err(what) = is_paid(payouts, pays) {
            return Err(Judged::fail(seen.at, what));
        }
    }
    Ok(Judged::of(count, "coinbases"))
}

/// Whether the gateway submitted the block: the chain's driver submits its own.
fn has_submitted(record: &Record<'_>, what: &Seen) -> bool {
    let Seen::Node(NodeSeen::Submitted { hash, .. }) = what else { return false };
    record.events("block_found").any(|(_, line)| line["hash"] == hash.as_str())
}

fn is_paid(payouts: &[(String, u64)], pays: &[(String, u64)]) -> Result<(), String> {
    let total: u64 = pays.iter().map(|(_, value)| value).sum();
    if total == 0 {
        // A template without value, which the observe mode gives out all the same.
        return Ok(());
    }
    let parts: u64 = payouts.iter().map(|(_, parts)| parts).sum();
    for (script, value) in pays {
        let Some((_, part)) = payouts.iter().find(|(payout, _)| payout == script) else {
            return Err(format!("{value} satoshis are paid to {script}, whom nobody named"));
        };
        // Whole satoshis: what is left over goes to one of them.
        let due = total * part / parts.max(1);
        if value.abs_diff(due) > payouts.len() as u64 {
            return Err(format!("{script} is paid {value} of {total} satoshis, {due} are due"));
        }
    }
    match payouts.iter().find(|(payout, _)| !pays.iter().any(|(script, _)| script == payout)) {
        Some((payout, _)) => Err(format!("nothing is paid to {payout}")),
        None => Ok(()),
    }
}

fn pages<'a>(record: &Record<'a>) -> impl Iterator<Item = (Duration, &'a str)> {
    record.observations.iter().filter_map(|seen| match &seen.what {
        Seen::Output { source, text } if source == "gateway /metrics" => {
            Some((seen.at, text.as_str()))
        }
        _ => None,
    })
}

/// The values of a family of metrics, by their only label.
fn labelled<'a>(page: &'a str, family: &str) -> BTreeMap<&'a str, i64> {
    let lines = page.lines().filter_map(|line| line.strip_prefix(family));
    lines
        .filter_map(|rest| {
            let (label, value) = rest.split_once("\"} ")?;
            Some((label, value.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::Story;
    use super::*;

    fn page(length: u32) -> Seen {
        let text = format!(
            "gateway_queue_length{{queue=\"forward_queue\"}} {length}\n\
             gateway_queue_capacity{{queue=\"forward_queue\"}} 5\n"
        );
        Seen::Output { source: "gateway /metrics".to_owned(), text }
    }

    #[test]
    fn a_queue_over_its_bound_is_seen() {
        Story::new().see(page(5)).check(queue_bounds, "pass");
        Story::new().see(page(6)).check(queue_bounds, "forward_queue has 6 of at most 5");
        Story::new().check(queue_bounds, "not exercised");
    }

    #[test]
    fn tasks_that_no_connection_explains_are_seen() {
        let load = |tasks| HostSeen::Load { host: "gateway".to_owned(), tasks, sockets: 10 };
        Story::new().host(load(104)).check(memory_bounded, "pass");
        Story::new().host(load(105)).check(memory_bounded, "105 tasks with 10 sockets");
    }

    #[test]
    fn what_grows_over_hours_is_seen() {
        let load = |tasks| HostSeen::Load { host: "gateway".to_owned(), tasks, sockets: 100 };
        let story = |last| {
            let quarter = 900_000;
            let story = Story::new().host(load(10)).later(quarter).host(load(110)).later(quarter);
            story.host(load(112)).later(quarter).host(load(last)).later(quarter).settled()
        };
        story(118).check(memory_bounded, "pass");
        story(119).check(memory_bounded, "has grown to 119 tasks");
    }

    #[test]
    fn a_gauge_that_never_comes_down_again_is_seen() {
        let load = || HostSeen::Load { host: "gateway".to_owned(), tasks: 1, sockets: 1 };
        let story = |queue: &'static str, late: [u32; 2]| {
            let page = |length| {
                let text = format!("gateway_queue_length{{queue=\"{queue}\"}} {length}\n");
                Seen::Output { source: "gateway /metrics".to_owned(), text }
            };
            let (quarter, story) = (1_000_000, Story::new().host(load()).see(page(1)));
            let story = story.later(quarter).see(page(3)).see(page(10)).later(2 * quarter);
            let story = late.into_iter().fold(story, |story, length| story.see(page(length)));
            story.later(quarter - 10).settled()
        };
        story("blocks", [19, 20]).check(memory_bounded, "blocks has grown to 19 and more, from 10");
        story("blocks", [20, 18]).check(memory_bounded, "pass");
        // A cache fills up to its capacity.
        story("replay_window", [5_000, 6_000]).check(memory_bounded, "pass");
    }

    fn accepted(event_id: &str) -> Value {
        json!({ "event": "share_accepted", "event_id": event_id, "sv2_response": "success" })
    }

    fn gave_way(event_id: &str, reason: &str) -> Value {
        json!({ "event": "share_forward_result", "event_id": event_id, "reason_code": reason })
    }

    #[test]
    fn the_newest_gives_way_at_once() {
        let story = || Story::new().event(accepted("e1")).event(accepted("e2"));
        let dropped = || gave_way("e2", "share_dropped_queue_full");
        story().event(dropped()).check(drop_policy, "pass");
        story().later(3_000).event(dropped()).check(drop_policy, "had waited");
        story()
            .event(gave_way("e1", "share_evicted_from_queue"))
            .check(drop_policy, "is not of the policy");
    }

    #[test]
    fn the_oldest_give_way_in_their_order() {
        let story = |gap| {
            let mut story = Story::new().event(accepted("e1")).later(gap).event(accepted("e2"));
            story.setting.drop_old = true;
            story
        };
        let evicted = |id| gave_way(id, "share_evicted_from_queue");
        story(500).event(evicted("e1")).event(evicted("e2")).check(drop_policy, "pass");
        story(500).event(evicted("e2")).event(evicted("e1")).check(drop_policy, "an older one");
        // Those came into the queue together.
        story(5).event(evicted("e2")).event(evicted("e1")).check(drop_policy, "pass");
    }

    #[test]
    fn coinbases_pay_whom_the_operator_names() {
        let story = |pays: &[(&str, u64)]| {
            let mut story = Story::new().see(Seen::Pool(PoolSeen::Share {
                share_id: "s1".to_owned(),
                event_id: String::new(),
                check: Ok(()),
                credited: true,
                work_id: String::new(),
                pays: pays.iter().map(|(script, sat)| ((*script).to_owned(), *sat)).collect(),
            }));
            story.setting.payouts = vec![("51".to_owned(), 3), ("52".to_owned(), 1)];
            story
        };
        story(&[("51", 76), ("52", 25)]).check(payout_respected, "pass");
        story(&[("51", 101)]).check(payout_respected, "75 are due");
        story(&[("51", 76), ("53", 25)]).check(payout_respected, "whom nobody named");
        story(&[("51", 75), ("52", 25)]).check(payout_respected, "pass");
    }
}
