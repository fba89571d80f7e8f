//! The course of a load: miners connect, it is measured, and the last answers are waited for.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::certificate::{Counts, LoadShown, Used};
use super::load::{Load, Tally};
use super::measure::Measures;
use super::tips::TipCounts;
use super::usage::Usage;
use super::{CertifyError, Options, miner};

/// How long the miners of a ramp may take beyond it.
const RAMP_PATIENCE: Duration = Duration::from_secs(60);
/// How long the last shares may take.
const SETTLE_PATIENCE: Duration = Duration::from_secs(30);
/// How often a wait looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a process used before, in and after a load.
pub(super) struct Uses {
    idle: Usage,
    working: Usage,
    before: Usage,
    after: Usage,
}

impl Uses {
    pub(super) fn used(&self, options: &Options, accepted: u64) -> Used {
        let Self { idle, working, before, after } = self;
        let cpu = after.cpu.saturating_sub(before.cpu);
        Used {
            idle_bytes: idle.resident_bytes,
            working_bytes: working.resident_bytes,
            final_bytes: after.resident_bytes,
            cpu_us_per_connection: (working.cpu.saturating_sub(idle.cpu)).as_secs_f64() * 1e6
                / f64::from(options.miners),
            cpu_us_per_share: cpu.as_secs_f64() * 1e6 / accepted.max(1) as f64,
            processors: cpu.as_secs_f64() / options.duration.as_secs_f64(),
            tips_written: Vec::new(),
        }
    }
}

/// Connects every miner, and measures while `busy` lasts.
pub(super) async fn put(
    load: &Arc<Load>,
    options: &Options,
    pid: Option<u32>,
    progress: &mut dyn FnMut(&str),
    busy: impl Future<Output = Result<(), CertifyError>>,
) -> Result<Uses, CertifyError> {
    let usage = || pid.and_then(Usage::of).unwrap_or_default();
    let idle = usage();
    ramp(load, options, progress).await?;
    let working = usage();
    load.send(true);
    tokio::time::sleep(options.warm_up).await;
    progress(&format!("measuring {} s", options.duration.as_secs()));
    let before = usage();
    load.measure(true);
    busy.await?;
    load.measure(false);
    Ok(Uses { idle, working, before, after: usage() })
}

/// Nothing else happens while it is measured.
pub(super) async fn idly(options: &Options) -> Result<(), CertifyError> {
    tokio::time::sleep(options.duration).await;
    Ok(())
}

/// Waits for the last answers of a load whose shares nobody else follows.
pub(super) async fn end(load: &Load, progress: &mut dyn FnMut(&str)) -> (Counts, Measures) {
    settle(load, progress, || 0).await;
    let unanswered = load.waiting() as u64;
    let (mut measures, tips, tally) = load.take();
    (counts(tips.measure(&mut measures), tally, unanswered), measures)
}

/// Connects every miner at its moment, and waits until all have work.
async fn ramp(
    load: &Arc<Load>,
    options: &Options,
    progress: &mut dyn FnMut(&str),
) -> Result<(), CertifyError> {
    let rate = options.connects_per_second;
    progress(&format!("connecting {} miners, {rate} a second", options.miners));
    let start = Instant::now();
    for index in 0..options.miners {
        let due = start + Duration::from_secs_f64(f64::from(index) / rate);
        let miner = miner::mine(Arc::clone(load), index, due);
        drop(load.env(index).tasks.spawn("miner", miner));
    }
    let limit = Duration::from_secs_f64(f64::from(options.miners) / rate) + RAMP_PATIENCE;
    while load.working() < options.miners as usize {
        if start.elapsed() > limit {
            return Err(CertifyError::Idle {
                working: load.working(),
                miners: options.miners,
                after: limit,
                last: load.last_failure().map_or_else(
                    || "none failed: they wait for work, so ask the server for its template".into(),
                    |why| format!("the last that failed: {why}"),
                ),
            });
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// Sends nothing more, and waits for what is under way.
pub(super) async fn settle(
    load: &Load,
    progress: &mut dyn FnMut(&str),
    unresolved: impl Fn() -> usize,
) {
    progress("waiting for the last shares");
    load.send(false);
    let start = Instant::now();
    while load.waiting() + unresolved() > 0 && start.elapsed() < SETTLE_PATIENCE {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

pub(super) fn counts(tips: TipCounts, tally: Tally, unanswered: u64) -> Counts {
    Counts {
        tips: tips.tips,
        missed_tips: tips.missed as u64,
        shares_due: tally.due,
        shares_sent: tally.sent,
        shares_accepted: tally.accepted,
        shares_idle: tally.idle,
        overtaken: tally.overtaken,
        refused: tally.refused,
        unanswered,
        disconnects: tally.disconnects,
        failed_connects: tally.failed_connects,
        events: None,
    }
}

pub(super) fn shown(options: &Options, gateway: &str, counts: &Counts) -> LoadShown {
    let seconds = options.duration.as_secs_f64();
    let refused: u64 = counts.refused.values().sum();
    LoadShown {
        gateway: gateway.to_owned(),
        node: None,
        miners: options.miners,
        connects_per_second: options.connects_per_second,
        share_interval_s: options.share_interval.as_secs_f64(),
        measured_s: seconds,
        warm_up_s: options.warm_up.as_secs_f64(),
        tip_interval_s: None,
        transactions: None,
        log_sync: None,
        offered_per_s: counts.shares_due as f64 / seconds,
        achieved_per_s: (counts.shares_accepted + counts.overtaken + refused) as f64 / seconds,
    }
}
