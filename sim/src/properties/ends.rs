//! Judges of blocks, signatures, secrets and what programs leave behind.

use std::collections::BTreeMap;
use std::time::Duration;

use super::index::Answer;
use super::{Judged, Judgement, Record};
use crate::actors::observe::{HostSeen, NodeSeen, PoolSeen, Seen, ShareClass};
use crate::scenario::{Action, DiskMode, PoolMode};

/// Each accepted share that meets the network target reached the node, and the node took it. It is
/// accepted by its acknowledgement, or by its event where the miner did not live to read that.
pub(super) fn block_not_lost(record: &Record<'_>) -> Judgement {
    let logged: BTreeMap<&str, Duration> = record
        .events("share_accepted")
        .filter(|(_, line)| line["sv2_response"] == "success")
        .filter_map(|(at, line)| Some((line["share_id"].as_str()?, at)))
        .collect();
    let mut count = 0;
    for share in record.shares().into_iter().filter(|share| share.class == ShareClass::Block) {
        let at = match (share.answer, logged.get(share.share_id)) {
            (Answer::Acked(at), _) => at,
            (_, Some(at)) => *at,
            _ => continue,
        };
        count += 1;
        let results: Vec<&str> = record
            .node()
            .filter_map(|(_, seen)| match seen {
                NodeSeen::Submitted { hash, result, .. } if hash == share.hash => {
                    Some(result.as_str())
                }
                _ => None,
            })
            .collect();
        if results.is_empty() {
            let what = format!("block {} was accepted but never reached the node", share.hash);
            return Err(Judged::fail(at, what));
        }
        let taken = |result: &&str| matches!(*result, "null" | "duplicate" | "inconclusive");
        if !results.iter().any(taken) {
            let what = format!("the node refused block {}: {}", share.hash, results.join(", "));
            return Err(Judged::fail(at, what));
        }
        let told =
            record.events("block_found").any(|(_, line)| line["hash"].as_str() == Some(share.hash));
        if !told {
            return Err(Judged::fail(at, format!("block {} has no event", share.hash)));
        }
    }
    Ok(Judged::of(count, "blocks"))
}

/// Each POST to the pool backend is signed as the contract says (section 8).
pub(super) fn hmac_valid(record: &Record<'_>) -> Judgement {
    let mut count = 0;
    for (at, seen) in record.pool() {
        let PoolSeen::Request { signature, .. } = seen else { continue };
        count += 1;
        if let Err(why) = signature {
            return Err(Judged::fail(at, why.clone()));
        }
    }
    Ok(Judged::of(count, "signed requests"))
}

/// No secret is in an event, a page or a log.
pub(super) fn no_secret_in_output(record: &Record<'_>) -> Judgement {
    let mut count = 0;
    for seen in record.observations {
        let (source, text) = match &seen.what {
            Seen::Event(line) => ("the event stream", line.to_string()),
            Seen::Output { source, text } => (source.as_str(), text.clone()),
            _ => continue,
        };
        count += 1;
        if let Some(index) =
            record.setting.secrets.iter().position(|secret| text.contains(secret.as_str()))
        {
            // Not the secret itself: this text is shown.
            return Err(Judged::fail(seen.at, format!("{source} shows secret number {index}")));
        }
    }
    Ok(Judged::of(count, "lines and pages"))
}

/// No program ends unless it is told to, and nothing in it panics.
pub(super) fn programs_stay_up(record: &Record<'_>) -> Judgement {
    let mut count = 0;
    for seen in record.observations {
        match &seen.what {
            Seen::Host(HostSeen::Started { .. }) => count += 1,
            Seen::Host(HostSeen::Died { host, .. })
                if host == "gateway" && had_no_disk(record, seen.at) => {}
            Seen::Host(HostSeen::Died { host, error }) => {
                return Err(Judged::fail(seen.at, format!("{host} ended by itself: {error}")));
            }
            Seen::Host(HostSeen::Ended { host, panics, .. }) if *panics > 0 => {
                return Err(Judged::fail(seen.at, format!("{host}: {panics} tasks panicked")));
            }
            _ => {}
        }
    }
    Ok(Judged::of(count, "programs started"))
}

/// Whether there was nothing to start from: the disk was broken when the gateway ended, or so
/// shortly before that it ended of it. The supervisor looks four times a second.
fn had_no_disk(record: &Record<'_>, noted: Duration) -> bool {
    let given_up = noted.saturating_sub(Duration::from_millis(500));
    record.disk_is_broken(noted) || record.disk_is_broken(given_up)
}

/// Programs that drained left no task, connection or listener behind.
pub(super) fn tasks_and_sockets_return(record: &Record<'_>) -> Judgement {
    let mut count = 0;
    for seen in record.observations {
        let Seen::Host(HostSeen::Ended { host, error, tasks, sockets, .. }) = &seen.what else {
            continue;
        };
        count += 1;
        if let Some(error) = error
            && !is_kept_from_draining(record, host, seen.at)
        {
            return Err(Judged::fail(seen.at, format!("{host} did not drain: {error}")));
        }
        if (*tasks, *sockets) != (0, 0) {
            let what = format!("{host} left {tasks} tasks and {sockets} sockets behind");
            return Err(Judged::fail(seen.at, what));
        }
    }
    Ok(Judged::of(count, "drained programs"))
}

/// How long after it was mended what was broken may still cost a drain: the longest wait before a
/// post is tried again.
const AFTERMATH: Duration = Duration::from_secs(10);

/// Whether the way to the pool or the gateway's disk was broken while it drained, or just before:
/// for what cannot be sent or kept it has its grace, and then says so.
fn is_kept_from_draining(record: &Record<'_>, host: &str, ended: Duration) -> bool {
    let steps = record.observations.iter().take_while(|seen| seen.at <= ended);
    let last = steps.filter_map(|seen| match &seen.what {
        Seen::Step(action @ (Action::PoolMode(_) | Action::DiskMode { .. })) => {
            Some((seen.at, action))
        }
        Seen::Step(action) if touches_pool(action) => Some((seen.at, action)),
        _ => None,
    });
    let last = last.last();
    let is_mend = |action: &Action| {
        matches!(
            action,
            Action::Heal(_)
                | Action::Restart { .. }
                | Action::PoolMode(PoolMode::Ok)
                | Action::DiskMode { mode: DiskMode::Ok, .. }
        )
    };
    host == "gateway"
        && last.is_some_and(|(at, action)| !is_mend(action) || at + AFTERMATH >= ended)
}

fn touches_pool(action: &Action) -> bool {
    action.link().is_some_and(|link| link.touches("pool")) || action.host() == Some("pool")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{Story, accepted, refused};
    use super::*;

    #[test]
    fn an_accepted_block_reaches_the_node_and_is_taken() {
        let story = || {
            Story::new()
                .connected(0)
                .sent(0, 1, "s1", ShareClass::Block)
                .acked(0, 1)
                .event(json!({ "event": "block_found", "hash": "hash-s1" }))
        };
        story().submitted("hash-s1", "null").check(block_not_lost, "pass");
        story().submitted("hash-s1", "inconclusive").check(block_not_lost, "pass");
        story().check(block_not_lost, "never reached the node");
        story().submitted("hash-s1", "high-hash").check(block_not_lost, "refused");
        Story::new()
            .connected(0)
            .sent(0, 1, "s1", ShareClass::Block)
            .acked(0, 1)
            .submitted("hash-s1", "null")
            .check(block_not_lost, "has no event");
        Story::new()
            .connected(0)
            .sent(0, 1, "s1", ShareClass::Share)
            .acked(0, 1)
            .check(block_not_lost, "not exercised");
    }

    #[test]
    fn a_block_whose_miner_left_before_the_acknowledgement_is_judged_by_its_event() {
        let story = || Story::new().connected(0).sent(0, 1, "s1", ShareClass::Block).closed(0);
        let found = || json!({ "event": "block_found", "hash": "hash-s1" });
        story().check(block_not_lost, "not exercised");
        story().event(accepted("e1", "s1")).check(block_not_lost, "never reached the node");
        story()
            .event(accepted("e1", "s1"))
            .event(found())
            .submitted("hash-s1", "null")
            .check(block_not_lost, "pass");
        story().event(refused("stale_job_submission")).check(block_not_lost, "not exercised");
    }

    #[test]
    fn every_request_is_signed() {
        let request =
            |signature| Seen::Pool(PoolSeen::Request { signature, status: 200, shares: 1 });
        Story::new().see(request(Ok(()))).check(hmac_valid, "pass");
        Story::new()
            .see(request(Ok(())))
            .see(request(Err("no X-Signature".to_owned())))
            .check(hmac_valid, "no X-Signature");
        Story::new().check(hmac_valid, "not exercised");
    }

    #[test]
    fn a_secret_is_found_wherever_it_is_shown() {
        Story::new().event(json!({ "event": "x" })).check(no_secret_in_output, "pass");
        Story::new()
            .event(json!({ "event": "x", "detail": "pw=hunter2-secret" }))
            .check(no_secret_in_output, "the event stream shows secret number 0");
        let page = Seen::Output {
            source: "gateway /metrics".to_owned(),
            text: "hunter2-secret".to_owned(),
        };
        Story::new().see(page).check(no_secret_in_output, "gateway /metrics shows");
    }

    #[test]
    fn nothing_is_left_behind() {
        let ended = |error: Option<&str>, tasks, sockets| HostSeen::Ended {
            host: "gateway".to_owned(),
            error: error.map(ToOwned::to_owned),
            tasks,
            sockets,
            panics: 0,
        };
        Story::new().host(ended(None, 0, 0)).check(tasks_and_sockets_return, "pass");
        Story::new().host(ended(None, 1, 0)).check(tasks_and_sockets_return, "1 tasks");
        Story::new().host(ended(None, 0, 2)).check(tasks_and_sockets_return, "2 sockets");
        Story::new().host(ended(Some("late"), 0, 0)).check(tasks_and_sockets_return, "late");
        let pool = |mode| Story::new().see(Seen::Step(Action::PoolMode(mode)));
        let late = || ended(Some("late"), 0, 0);
        pool(PoolMode::Down).host(late()).check(tasks_and_sockets_return, "pass");
        pool(PoolMode::Ok).later(11_000).host(late()).check(tasks_and_sockets_return, "late");
    }

    #[test]
    fn programs_that_die_or_panic_are_seen() {
        let host = || "gateway".to_owned();
        let story = || Story::new().host(HostSeen::Started { host: host() });
        story().check(programs_stay_up, "pass");
        story()
            .host(HostSeen::Died { host: host(), error: "it panicked".to_owned() })
            .check(programs_stay_up, "gateway ended by itself: it panicked");
        let ended = HostSeen::Ended { host: host(), error: None, tasks: 0, sockets: 0, panics: 2 };
        story().host(ended).check(programs_stay_up, "2 tasks panicked");
        Story::new().check(programs_stay_up, "not exercised");
    }
}
