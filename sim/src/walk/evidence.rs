//! Accounts for every share: the gateway's events, the miners' answers and the pool's credits
//! against one another.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gateway_core::mode::Mode;
use serde_json::Value;

use super::WalkError;
use super::summary::Shares;
use crate::actors::observe::{MinerSeen, Observation, PoolSeen, Seen};
use crate::properties::{self, DEFAULT_SHARES_PER_SECOND, DEFAULT_TEMPLATE_CACHE, Record, Setting};
use crate::report::model::Verdict;
use crate::scenario::Expect;

/// What a judge of scenarios must have found to hold, and to have been put to the test.
const PROVED: [&str; 5] =
    ["conservation", "hmac_valid", "no_double_credit", "no_secret_in_output", "share_join"];

/// What must not have been broken; a short walk may not put it to the test.
const UNBROKEN: [&str; 2] = ["every_reject_has_reason", "one_active_prevhash"];

/// Accepted shares whose results are still to come.
pub(crate) fn unresolved(events: &[Observation]) -> usize {
    let tally = Tally::of(events);
    tally.accepted.keys().filter(|event_id| !tally.results.contains_key(*event_id)).count()
}

/// Judges the whole walk. `seen` holds what miners and pool saw and what programs wrote,
/// `events` the gateway's event stream from its very beginning.
pub(super) fn account(
    seen: Vec<Observation>,
    events: &[Observation],
    setting: &Setting,
) -> Result<Shares, WalkError> {
    let shares = tally(&seen, events)?;
    let observations: Vec<_> = seen.into_iter().chain(events.iter().cloned()).collect();
    let record = Record { observations: &observations, setting };
    for name in PROVED.into_iter().chain(UNBROKEN) {
        let property = properties::judge(&Expect::Always(name), &record);
        let unproved = property.outcome == Verdict::NotExercised && PROVED.contains(&name);
        if property.outcome == Verdict::Fail || unproved {
            return Err(WalkError::Violated(format!("{name}: {}", property.detail)));
        }
    }
    Ok(shares)
}

/// The setting of a walk, as far as these judges need it.
pub(super) fn setting(miners: u32, secrets: Vec<String>) -> Setting {
    Setting {
        mode: Mode::Inline,
        miners,
        verdict_window: Duration::from_millis(50),
        stale_hold: Duration::from_secs(5),
        transit: Duration::ZERO,
        epoch_ms: 0,
        payouts: Vec::new(),
        drop_old: false,
        shares_per_second: DEFAULT_SHARES_PER_SECOND,
        template_cache: DEFAULT_TEMPLATE_CACHE,
        secrets,
    }
}

/// The events of shares, by what joins them.
#[derive(Default)]
struct Tally<'a> {
    /// The share of each accepting event.
    accepted: BTreeMap<&'a str, &'a str>,
    /// How many results each event has, and whether the last one says that the pool took it.
    results: BTreeMap<&'a str, (usize, bool)>,
}

impl<'a> Tally<'a> {
    fn of(events: &'a [Observation]) -> Self {
        let mut tally = Self::default();
        for line in lines(events) {
            let text = |field: &str| line[field].as_str().unwrap_or_default();
            match text("event") {
                "share_accepted" if line["sv2_response"] == "success" => {
                    tally.accepted.insert(text("event_id"), text("share_id"));
                }
                "share_forward_result" => {
                    let taken = line["forwarded"] == true && line["upstream_accepted"] == true;
                    let result = tally.results.entry(text("event_id")).or_default();
                    *result = (result.0 + 1, taken);
                }
                _ => {}
            }
        }
        tally
    }
}

fn lines(events: &[Observation]) -> impl Iterator<Item = &Value> {
    events.iter().filter_map(|observation| match &observation.what {
        Seen::Event(line) => Some(line),
        _ => None,
    })
}

/// Exactly one result for each accepted share, each of them taken and credited exactly once, and
/// every number from 1 on in the stream.
pub(crate) fn tally(seen: &[Observation], events: &[Observation]) -> Result<Shares, WalkError> {
    for (line, expected) in lines(events).zip(1..) {
        if line["seq"].as_u64() != Some(expected) {
            let what = format!("the event stream has {line} where event {expected} belongs");
            return Err(WalkError::Violated(what));
        }
    }
    let Tally { accepted, results } = Tally::of(events);
    let mut shares = Shares { accepted: accepted.len(), ..Shares::default() };
    let mut credits: BTreeMap<&str, usize> = BTreeMap::new();
    for observation in seen {
        match &observation.what {
            Seen::Miner { what: MinerSeen::Sent { .. }, .. } => shares.sent += 1,
            Seen::Miner { what: MinerSeen::Acked { .. }, .. } => shares.acknowledged += 1,
            Seen::Pool(PoolSeen::Share { share_id, credited, .. }) => {
                *credits.entry(share_id).or_default() += usize::from(*credited);
                shares.duplicates += usize::from(!*credited);
            }
            _ => {}
        }
    }
    for (event_id, share_id) in &accepted {
        match results.get(event_id) {
            Some((1, true)) => shares.forwarded += 1,
            Some((1, false)) => {
                let what = format!("the pool was up, and did not take share {share_id}");
                return Err(WalkError::Violated(what));
            }
            other => {
                let count = other.map_or(0, |(count, _)| *count);
                let what = format!("share {share_id} (event {event_id}) has {count} results");
                return Err(WalkError::Violated(what));
            }
        }
        if credits.get(share_id) != Some(&1) {
            let count = credits.get(share_id).copied().unwrap_or_default();
            let what = format!("the pool credited share {share_id} {count} times");
            return Err(WalkError::Violated(what));
        }
    }
    let known: BTreeSet<&str> = accepted.values().copied().collect();
    if let Some(stray) = credits.keys().find(|share_id| !known.contains(*share_id)) {
        let what = format!("the pool got share {stray}, which no event accepts");
        return Err(WalkError::Violated(what));
    }
    shares.credited = credits.values().sum();
    Ok(shares)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn events(lines: &[Value]) -> Vec<Observation> {
        let lines = lines.iter().zip(1..).map(|(line, seq)| {
            let mut line = line.clone();
            line["seq"] = json!(seq);
            Observation { at: Duration::ZERO, what: Seen::Event(line) }
        });
        lines.collect()
    }

    fn accepted(id: &str) -> Value {
        json!({"event": "share_accepted", "sv2_response": "success",
               "event_id": format!("e{id}"), "share_id": id})
    }

    fn result(id: &str, taken: bool) -> Value {
        json!({"event": "share_forward_result", "forwarded": taken, "upstream_accepted": taken,
               "event_id": format!("e{id}"), "share_id": id})
    }

    fn pool(deliveries: &[(&str, bool)]) -> Vec<Observation> {
        let deliveries = deliveries.iter().map(|(id, credited)| {
            let what = PoolSeen::Share {
                pays: Vec::new(),
                share_id: (*id).to_owned(),
                event_id: String::new(),
                check: Ok(()),
                credited: *credited,
                work_id: String::new(),
            };
            Observation { at: Duration::ZERO, what: Seen::Pool(what) }
        });
        deliveries.collect()
    }

    #[test]
    fn shares_that_are_sent_again_are_credited_once() {
        let stream = events(&[accepted("a"), accepted("b"), result("b", true), result("a", true)]);
        let seen = pool(&[("a", true), ("b", true), ("a", false)]);
        let shares = tally(&seen, &stream).unwrap();
        assert_eq!((shares.accepted, shares.forwarded, shares.credited), (2, 2, 2));
        assert_eq!(shares.duplicates, 1);
        assert_eq!(unresolved(&stream), 0);
        assert_eq!(unresolved(&stream[..3]), 1);
    }

    #[test]
    fn each_way_to_lose_or_double_a_share_is_seen() {
        let whole = [accepted("a"), result("a", true)];
        let refused = |seen: &[Observation], stream: &[Observation]| {
            tally(seen, stream).unwrap_err().to_string()
        };
        let good = pool(&[("a", true)]);
        assert!(refused(&good, &events(&whole[..1])).contains("has 0 results"));
        let twice = [accepted("a"), result("a", true), result("a", true)];
        assert!(refused(&good, &events(&twice)).contains("has 2 results"));
        let dropped = [accepted("a"), result("a", false)];
        assert!(refused(&good, &events(&dropped)).contains("did not take share a"));
        assert!(refused(&[], &events(&whole)).contains("credited share a 0 times"));
        let double = pool(&[("a", true), ("a", true)]);
        assert!(refused(&double, &events(&whole)).contains("credited share a 2 times"));
        let stray = pool(&[("a", true), ("z", true)]);
        assert!(refused(&stray, &events(&whole)).contains("got share z"));
        assert!(refused(&good, &events(&whole)[1..]).contains("where event 1 belongs"));
    }
}
