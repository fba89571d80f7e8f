//! Follows shares through the gateway's events and the pool's credits.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::actors::observe::{Observation, Seen};
use crate::walk::WalkError;
use crate::walk::evidence;
use crate::walk::scene::Scene;
use crate::walk::summary::Shares;

/// The shares that the gateway accepted so far.
pub(super) fn accepted(events: &[Observation]) -> BTreeSet<String> {
    let shares = successes(events).map(|line| text(line, "share_id"));
    shares.collect()
}

/// Channels on which it accepted any.
pub(super) fn channels(events: &[Observation]) -> BTreeSet<u64> {
    successes(events).filter_map(|line| line["channel_id"].as_u64()).collect()
}

/// Whom it credited them to.
pub(super) fn workers(events: &[Observation]) -> BTreeSet<String> {
    successes(events).map(|line| text(line, "worker_id")).collect()
}

/// How many shares it refused, by reason.
pub(super) fn refusals(events: &[Observation]) -> BTreeMap<String, usize> {
    let mut reasons = BTreeMap::new();
    for line in lines(events, "share_accepted").filter(|line| line["sv2_response"] == "error") {
        *reasons.entry(text(line, "reason_code")).or_default() += 1;
    }
    reasons
}

/// The blocks that the node took.
pub(super) fn blocks(events: &[Observation]) -> BTreeSet<String> {
    let taken = lines(events, "block_found").filter(|line| line["accepted"] == true);
    taken.map(|line| text(line, "hash")).collect()
}

/// Waits until every accepted share has its result, and holds events and credits against one
/// another: each share one result, each taken, each credited once.
pub(super) async fn settled(scene: &mut Scene<'_>) -> Result<Shares, WalkError> {
    let stream = scene.stream.clone();
    let resolved = async || match evidence::unresolved(&stream.observations()) {
        0 => Ok(()),
        open => Err(format!("{open} have none")),
    };
    scene.stage.running.until("every share's result", "gateway", resolved).await?;
    evidence::tally(&scene.recorder.observations(), &scene.stream.observations())
}

fn successes(events: &[Observation]) -> impl Iterator<Item = &Value> {
    lines(events, "share_accepted").filter(|line| line["sv2_response"] == "success")
}

fn lines<'a>(events: &'a [Observation], event: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter_map(move |observation| match &observation.what {
        Seen::Event(line) if line["event"] == event => Some(line),
        _ => None,
    })
}

fn text(line: &Value, field: &str) -> String {
    line[field].as_str().unwrap_or_default().to_owned()
}
