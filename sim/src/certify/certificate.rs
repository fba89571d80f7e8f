//! The certificate: what was measured, under what, and what it comes to.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::join::JoinCounts;
use super::machine::Machine;
use super::measure::{Measures, Metric, Summary, quantile};
use super::promises::{self, Facts, Origin, Promise};

/// Raised when a field changes its meaning.
const SCHEMA: u32 = 1;

/// The load may reach so much less than was offered.
const LEAST_ACHIEVED: f64 = 0.99;
/// The load generator itself may be so late, in microseconds.
const MOST_LATE_US: u64 = 20_000;
/// Tasks may have waited so long for a processor before the start, in percent.
const MOST_PRESSURE: f64 = 25.0;

/// What a load was.
#[derive(Clone, Debug, Serialize)]
pub struct LoadShown {
    /// Whether the programs were started here.
    pub gateway: String,
    /// What was under load: the gateway's version, or its address.
    pub node: Option<String>,
    /// How many miners.
    pub miners: u32,
    /// Connections that were due in a second.
    pub connects_per_second: f64,
    /// Each miner's mean time between shares.
    pub share_interval_s: f64,
    /// How long was measured, after how long a warm-up.
    pub measured_s: f64,
    /// See `measured_s`.
    pub warm_up_s: f64,
    /// Time between tips.
    pub tip_interval_s: Option<f64>,
    /// Transactions in each template.
    pub transactions: Option<usize>,
    /// The gateway's `log.sync`.
    pub log_sync: Option<String>,
    /// Shares that were due in a second.
    pub offered_per_s: f64,
    /// Shares that were answered in a second.
    pub achieved_per_s: f64,
}

/// What was counted.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    /// Tips that were measured.
    pub tips: usize,
    /// Working miners that did not hear of one of them.
    pub missed_tips: u64,
    /// Shares that were due, sent and accepted.
    pub shares_due: u64,
    /// See `shares_due`.
    pub shares_sent: u64,
    /// See `shares_due`.
    pub shares_accepted: u64,
    /// Due while the miner had no connection or no work.
    pub shares_idle: u64,
    /// Refused as stale because a tip came while they were on their way: nobody's fault.
    pub overtaken: u64,
    /// Refused otherwise, by code.
    pub refused: BTreeMap<String, u64>,
    /// Without an answer at the end.
    pub unanswered: u64,
    /// Connections that ended while they worked.
    pub disconnects: u64,
    /// Connections that never had work.
    pub failed_connects: u64,
    /// What the gateway's event stream told; of programs that were started here.
    pub events: Option<Events>,
}

/// What the event stream told.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Events {
    /// `share_accepted`, over the whole load.
    pub accepted: u64,
    /// Results that say that the pool has the share.
    pub forwarded: u64,
    /// Results that say otherwise, by reason.
    pub lost: BTreeMap<String, u64>,
    /// Shares without a result.
    pub open: u64,
    /// Results without their share, or second ones.
    pub stray: u64,
    /// Shares that the pool counted.
    pub at_pool: u64,
    /// Templates that were refused.
    pub rejected_verdicts: u64,
}

impl Events {
    pub(super) fn new(counts: JoinCounts, at_pool: u64) -> Self {
        let JoinCounts { accepted, forwarded, lost, stray, open, rejected_verdicts, .. } = counts;
        Self { accepted, forwarded, lost, open, stray, at_pool, rejected_verdicts }
    }
}

/// What the gateway used.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Used {
    /// Memory before the first miner, in bytes.
    pub idle_bytes: u64,
    /// Memory with every miner at work.
    pub working_bytes: u64,
    /// Memory at the end.
    pub final_bytes: u64,
    /// Time on a processor for each connection up to its first job, in microseconds.
    pub cpu_us_per_connection: f64,
    /// Time on a processor for each share while it was measured, in microseconds; tips and
    /// verdicts are in it.
    pub cpu_us_per_share: f64,
    /// Processors that it kept busy while it was measured.
    pub processors: f64,
    /// Miners that a new tip was written to so soon after the gateway's decision.
    pub tips_written: Vec<Bucket>,
}

/// How often something took at most so long.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bucket {
    /// In milliseconds.
    pub at_most_ms: f64,
    /// How often.
    pub count: u64,
}

/// What all of it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every published promise holds with three times the room, and our own hold.
    Passed,
    /// Every published promise holds; one of our own does not.
    PassedPublished,
    /// A published promise does not hold.
    Failed,
    /// The machine was too busy, or the load was not what was offered.
    Inconclusive,
}

impl Outcome {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::PassedPublished => "passed, short of our own targets",
            Self::Failed => "failed",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// What a load came to.
#[derive(Clone, Debug, Serialize)]
pub struct Certificate {
    /// Of this form.
    pub schema: u32,
    /// Of this simulator.
    pub version: &'static str,
    /// What it comes to.
    pub outcome: Outcome,
    /// Why nothing can be said, if so.
    pub doubts: Vec<String>,
    /// Where it was measured.
    pub machine: Machine,
    /// Under what.
    pub load: LoadShown,
    /// Every promise.
    pub promises: Vec<Promise>,
    /// Latencies by name.
    pub latencies: BTreeMap<&'static str, Summary>,
    /// What was counted.
    pub counts: Counts,
    /// What the gateway used, where it was started here.
    pub used: Option<Used>,
}

impl Certificate {
    pub(super) fn new(
        machine: Machine,
        load: LoadShown,
        counts: Counts,
        used: Option<Used>,
        measures: &Measures,
    ) -> Self {
        let bytes_per_miner = used.as_ref().map(|used| {
            used.working_bytes.saturating_sub(used.idle_bytes) as f64 / f64::from(load.miners)
        });
        let promises = promises::judge(&Facts {
            measures,
            counts: &counts,
            miners: load.miners,
            bytes_per_miner,
            fan_out_ms: machine.fan_out_ms,
            log_sync: load.log_sync.as_deref(),
        });
        let doubts = doubts(&machine, &load, measures);
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            outcome: outcome(&promises, &doubts),
            doubts,
            machine,
            load,
            promises,
            latencies: measures.summaries(),
            counts,
            used,
        }
    }

    /// The whole certificate as JSON.
    pub fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self)
            .expect("a certificate has text keys and finite numbers");
        text.push('\n');
        text
    }
}

fn outcome(promises: &[Promise], doubts: &[String]) -> Outcome {
    let broken = |origin| {
        promises.iter().any(|promise| promise.origin == origin && promise.holds == Some(false))
    };
    // A loss is a loss on any machine; only times depend on how busy it was.
    let lost =
        promises.iter().any(|promise| promise.unit.is_empty() && promise.holds == Some(false));
    match (doubts.is_empty(), broken(Origin::Published), broken(Origin::Own)) {
        _ if lost => Outcome::Failed,
        (false, ..) => Outcome::Inconclusive,
        (true, true, _) => Outcome::Failed,
        (true, false, true) => Outcome::PassedPublished,
        (true, false, false) => Outcome::Passed,
    }
}

fn doubts(machine: &Machine, load: &LoadShown, measures: &Measures) -> Vec<String> {
    let mut doubts = Vec::new();
    if load.achieved_per_s < load.offered_per_s * LEAST_ACHIEVED {
        let (achieved, offered) = (load.achieved_per_s, load.offered_per_s);
        doubts.push(format!("{achieved:.1} shares/s were answered of {offered:.1} offered"));
    }
    if let Some(pressure) = machine.pressure_before.filter(|pressure| *pressure > MOST_PRESSURE) {
        doubts.push(format!("tasks waited {pressure} % of the time before the load began"));
    }
    if machine.load_before > machine.processors as f64 {
        let (before, processors) = (machine.load_before, machine.processors);
        doubts.push(format!("the load was {before} on {processors} processors before it began"));
    }
    let late = measures.of(Metric::Lateness).and_then(|samples| quantile(samples, 0.99));
    if let Some(late) = late.filter(|late| late.us > MOST_LATE_US) {
        doubts.push(format!("the load generator was late itself: p99 {} ms", late.us / 1000));
    }
    doubts
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, load, counts, .. } = self;
        writeln!(
            f,
            "machine  {} x {}, kernel {}, load {}",
            machine.processors, machine.processor, machine.kernel, machine.load_before
        )?;
        writeln!(
            f,
            "load     {} miners at {}, {:.1} shares/s offered, {:.1} answered, {:.0} s",
            load.miners, load.gateway, load.offered_per_s, load.achieved_per_s, load.measured_s
        )?;
        writeln!(
            f,
            "counted  {} tips, {} shares accepted, {} overtaken by a tip",
            counts.tips, counts.shares_accepted, counts.overtaken
        )?;
        if let Some(used) = &self.used {
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            writeln!(
                f,
                "gateway  {:.1} MiB idle, {:.1} MiB with all miners, {:.0} us CPU a share, {:.2} processors",
                mib(used.idle_bytes),
                mib(used.working_bytes),
                used.cpu_us_per_share,
                used.processors
            )?;
        }
        writeln!(
            f,
            "\n  {:<24} {:>9} {:>10} {:>10} {:>10} {:>10}",
            "latency", "samples", "p50", "p95", "p99", "max"
        )?;
        for (name, latency) in &self.latencies {
            let at =
                |name| latency.quantiles.get(name).map_or_else(|| "-".to_owned(), |q| shown(q.us));
            writeln!(
                f,
                "  {name:<24} {:>9} {:>10} {:>10} {:>10} {:>10}",
                latency.count,
                at("p50"),
                at("p95"),
                at("p99"),
                shown(latency.max_us)
            )?;
        }
        writeln!(f)?;
        for promise in &self.promises {
            writeln!(f, "  {}", line(promise))?;
        }
        writeln!(f)?;
        for doubt in &self.doubts {
            writeln!(f, "doubt    {doubt}")?;
        }
        writeln!(f, "certificate: {}", self.outcome.as_str())
    }
}

fn line(promise: &Promise) -> String {
    let mark = match promise.holds {
        Some(true) => "✓",
        Some(false) => "✗",
        None => "–",
    };
    let measured = promise.measured.map_or_else(
        || "not measured".to_owned(),
        |value| format!("{} of {} {}", number(value), number(promise.target), promise.unit),
    );
    let room = promise.headroom.map(|room| format!(", {room:.1} x room")).unwrap_or_default();
    let limit = promise
        .limit
        .zip(promise.measured)
        .map(|(limit, measured)| format!(", {:.1} x the physical limit", measured / limit))
        .unwrap_or_default();
    let note = promise.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
    format!("{mark} {:<66} {}{room}{limit}{note}", promise.doc, measured.trim_end())
}

/// A number with as many digits as it deserves.
pub(super) fn number(value: f64) -> String {
    let text = if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") };
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

fn shown(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{:.2} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn machine() -> Machine {
        Machine {
            processor: "a processor".to_owned(),
            processors: 2,
            memory_bytes: 1 << 33,
            kernel: "6.1".to_owned(),
            load_before: 0.1,
            pressure_before: None,
            fan_out_ms: None,
        }
    }

    fn load() -> LoadShown {
        LoadShown {
            gateway: "127.0.0.1:3333".to_owned(),
            node: None,
            miners: 10,
            connects_per_second: 10.0,
            share_interval_s: 1.0,
            measured_s: 60.0,
            warm_up_s: 5.0,
            tip_interval_s: None,
            transactions: None,
            log_sync: None,
            offered_per_s: 10.0,
            achieved_per_s: 10.0,
        }
    }

    fn certificate(machine: Machine, load: LoadShown, counts: Counts, tip_ms: u64) -> Certificate {
        let mut measures = Measures::default();
        for _ in 0..20_000 {
            measures.record(Metric::Tip, Duration::from_millis(tip_ms));
        }
        Certificate::new(machine, load, counts, None, &measures)
    }

    #[test]
    fn a_quiet_machine_and_kept_promises_pass() {
        let certificate = certificate(machine(), load(), Counts::default(), 5);
        assert_eq!(certificate.outcome, Outcome::Passed);
        let text = certificate.to_string();
        assert!(text.ends_with("certificate: passed\n"), "{text}");
        assert!(text.contains("✓ new tip to SetNewPrevHash at a miner, p50"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&certificate.json()).unwrap();
        // The histogram keeps three digits.
        let measured = json["promises"][0]["measured"].as_f64().unwrap();
        assert!((4.99..5.01).contains(&measured), "{measured}");
    }

    #[test]
    fn a_busy_machine_says_nothing_of_times() {
        let busy = Machine { load_before: 9.0, ..machine() };
        let slow = certificate(busy.clone(), load(), Counts::default(), 400);
        assert_eq!(slow.outcome, Outcome::Inconclusive);
        let lossy = Counts { disconnects: 1, ..Counts::default() };
        assert_eq!(certificate(busy, load(), lossy, 5).outcome, Outcome::Failed);
    }

    #[test]
    fn a_load_that_was_not_reached_says_nothing() {
        let short = LoadShown { achieved_per_s: 9.0, ..load() };
        let certificate = certificate(machine(), short, Counts::default(), 5);
        assert_eq!(certificate.outcome, Outcome::Inconclusive);
        assert_eq!(certificate.doubts, ["9.0 shares/s were answered of 10.0 offered"]);
    }

    #[test]
    fn a_slow_gateway_fails_on_a_quiet_machine() {
        assert_eq!(certificate(machine(), load(), Counts::default(), 400).outcome, Outcome::Failed);
    }
}
