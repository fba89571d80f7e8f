//! Judges: pure functions of what was seen from outside the programs.
//!
//! No judge looks inside the gateway. Each reads the event stream and what miners, pool backend,
//! node and the link to the verifier saw, and says whether its property held, where it first did
//! not, or that nothing happened that it speaks of.

mod bounds;
mod ends;
mod index;
mod latency;
mod modes;
mod occurrence;
mod refusals;
mod shares;
mod stream;
mod summary;
mod tips;

#[cfg(test)]
mod testing;

use std::time::Duration;

use gateway_core::mode::Mode;

use crate::actors::observe::Observation;
use crate::report::model::{Property, PropertyKind, Verdict};
use crate::scenario::Expect;

pub use latency::LATENCY_METRICS;
pub use occurrence::Occurrence;
pub use stream::{STREAM, Stream, judge_stream};
pub use summary::{Summary, summarise, trace};

/// What every scenario expects, whether it says so or not.
const PROGRAMS_STAY_UP: &str = "programs_stay_up";

/// Properties that hold at every moment.
pub const ALWAYS: [&str; 18] = [
    "block_not_lost",
    "conservation",
    "drop_policy",
    "every_reject_has_reason",
    "hmac_valid",
    "memory_bounded",
    "no_double_credit",
    "no_secret_in_output",
    "no_unverified_job",
    "observe_never_gates",
    "one_active_prevhash",
    "payout_respected",
    "prevhash_switch",
    PROGRAMS_STAY_UP,
    "queue_bounds",
    "shadow_opens_no_miner_port",
    "share_join",
    "stale_work",
];

/// Properties that hold in the end.
pub const EVENTUALLY: [&str; 2] = ["all_miners_on_tip", "tasks_and_sockets_return"];

/// `limits.shares_per_second` where nothing is said.
pub const DEFAULT_SHARES_PER_SECOND: u32 = 500;
/// `timing.template_cache_size` where nothing is said.
pub const DEFAULT_TEMPLATE_CACHE: usize = 64;

/// Everything a judge may look at.
pub struct Record<'a> {
    /// What was seen, in order of time.
    pub observations: &'a [Observation],
    /// What the run was set up with.
    pub setting: &'a Setting,
}

/// What a run was set up with, as far as judges need to know.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The gateway's mode.
    pub mode: Mode,
    /// How many miners there are.
    pub miners: u32,
    /// `timing.prevhash_verdict_timeout_ms`.
    pub verdict_window: Duration,
    /// `timing.prevhash_stale_hold_ms`.
    pub stale_hold: Duration,
    /// The longest a message is under way on a whole link.
    pub transit: Duration,
    /// Unix milliseconds at the start of the run.
    pub epoch_ms: u64,
    /// The scripts that must be paid, in hex, each with its parts; none where nobody knows them.
    pub payouts: Vec<(String, u64)>,
    /// Whether a full queue gives up its oldest share.
    pub drop_old: bool,
    /// `limits.shares_per_second`; the least of them where it changes.
    pub shares_per_second: u32,
    /// `timing.template_cache_size`.
    pub template_cache: usize,
    /// Texts that must never be shown.
    pub secrets: Vec<String>,
}

/// What a judge says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    outcome: Verdict,
    detail: String,
    at: Option<Duration>,
}

impl Judged {
    /// Held against `count` things of this kind; not exercised when there were none.
    fn of(count: usize, what: &str) -> Self {
        let outcome = if count == 0 { Verdict::NotExercised } else { Verdict::Pass };
        Self { outcome, detail: format!("{count} {what}"), at: None }
    }

    fn fail(at: Duration, detail: impl Into<String>) -> Self {
        Self { outcome: Verdict::Fail, detail: detail.into(), at: Some(at) }
    }
}

/// A judge ends at the first violation.
type Judgement = Result<Judged, Judged>;

/// Judges what a scenario expects, and what every scenario does.
pub fn judge_all(expected: &[Expect], record: &Record<'_>) -> Vec<Property> {
    let implied = Expect::Always(PROGRAMS_STAY_UP);
    let implied = (!expected.contains(&implied)).then_some(&implied);
    expected.iter().chain(implied).map(|expect| judge(expect, record)).collect()
}

/// Judges one expectation.
pub fn judge(expect: &Expect, record: &Record<'_>) -> Property {
    let (kind, judged) = match expect {
        Expect::Always(name) => (PropertyKind::Always, named(name, record)),
        Expect::Eventually(name) => (PropertyKind::Eventually, named(name, record)),
        Expect::Sometimes(occurrence) => {
            (PropertyKind::Sometimes, occurrence::sometimes(occurrence, record))
        }
        Expect::Never(occurrence) => (PropertyKind::Never, occurrence::never(occurrence, record)),
        Expect::Within { after, event, min, max } => {
            (PropertyKind::Within, occurrence::within(after, event, *min, *max, record))
        }
        Expect::Latency { metric, bounds } => {
            (PropertyKind::Latency, latency::judge(metric, bounds, record))
        }
    };
    property(kind, &expect.name(), judged)
}

/// A judgement under the name of its property.
fn property(kind: PropertyKind, name: &str, judged: Judgement) -> Property {
    let judged = judged.unwrap_or_else(|violation| violation);
    Property {
        name: name.to_owned(),
        kind,
        outcome: judged.outcome,
        detail: judged.detail,
        at_ms: judged.at.map(|at| at.as_millis() as u64),
    }
}

fn named(name: &str, record: &Record<'_>) -> Judgement {
    match name {
        "all_miners_on_tip" => tips::all_miners_on_tip(record),
        "block_not_lost" => ends::block_not_lost(record),
        "drop_policy" => bounds::drop_policy(record),
        "memory_bounded" => bounds::memory_bounded(record),
        "payout_respected" => bounds::payout_respected(record),
        "queue_bounds" => bounds::queue_bounds(record),
        "conservation" => shares::conservation(record),
        "every_reject_has_reason" => shares::every_reject_has_reason(record),
        "hmac_valid" => ends::hmac_valid(record),
        "no_double_credit" => shares::no_double_credit(record),
        "no_secret_in_output" => ends::no_secret_in_output(record),
        "no_unverified_job" => tips::no_unverified_job(record),
        "observe_never_gates" => modes::observe_never_gates(record),
        "one_active_prevhash" => tips::one_active_prevhash(record),
        "prevhash_switch" => tips::prevhash_switch(record),
        PROGRAMS_STAY_UP => ends::programs_stay_up(record),
        "shadow_opens_no_miner_port" => modes::shadow_opens_no_miner_port(record),
        "share_join" => shares::share_join(record),
        "stale_work" => tips::stale_work(record),
        "tasks_and_sockets_return" => ends::tasks_and_sockets_return(record),
        other => unreachable!("\"{other}\" is in neither table of properties"),
    }
}
