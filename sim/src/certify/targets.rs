//! Our own targets, each beside what was measured and what this kind of machine allows at best.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gateway::log;
use gateway::log::segment::{self, Kind};
use serde::Serialize;

use super::certificate::{Certificate, number};
use super::{CertifyError, Options, run};

/// Miners of the load that tips are measured under.
const MINERS: u32 = 1000;
/// Miners of the load that memory and answers are measured under.
const MANY_MINERS: u32 = 5000;
/// Connections of a flood.
const FLOODERS: u32 = 16;
/// Shares in one write of a flood whose frames do not come alone.
const BURST: u32 = 40;
/// Events in the log that is read.
const EVENTS: u64 = 1_000_000;

/// What was aimed at, measured and possible.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Target {
    id: &'static str,
    doc: &'static str,
    unit: &'static str,
    /// Whether more is better.
    at_least: bool,
    target: f64,
    measured: Option<f64>,
    /// One core without SHA-NI, by hand-written loops.
    limit: Option<f64>,
}

/// Every target.
#[derive(Clone, Debug, Serialize)]
pub struct Targets {
    machine: super::machine::Machine,
    targets: Vec<Target>,
    /// Why a phase could not be measured as it should.
    doubts: Vec<String>,
}

impl Target {
    const fn at_most(id: &'static str, doc: &'static str, unit: &'static str, target: f64) -> Self {
        Self { id, doc, unit, at_least: false, target, measured: None, limit: None }
    }

    const fn at_least(
        id: &'static str,
        doc: &'static str,
        unit: &'static str,
        target: f64,
    ) -> Self {
        Self { at_least: true, ..Self::at_most(id, doc, unit, target) }
    }

    const fn limit(self, limit: f64) -> Self {
        Self { limit: Some(limit), ..self }
    }

    fn measured(self, measured: Option<f64>) -> Self {
        Self { measured, ..self }
    }

    fn holds(&self) -> bool {
        self.measured.is_some_and(|measured| {
            if self.at_least { measured >= self.target } else { measured <= self.target }
        })
    }

    /// How many times worse than the best possible.
    fn ratio_to_limit(&self) -> Option<f64> {
        let (measured, limit) = (self.measured?, self.limit?);
        Some(if self.at_least { limit / measured } else { measured / limit })
    }
}

impl Targets {
    /// The table as JSON.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("the table has text keys and finite numbers")
    }

    /// Whether every target is reached.
    pub fn hold(&self) -> bool {
        self.targets.iter().all(Target::holds)
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  {:<5} {:<60} {:>10} {:>10} {:>10} {:>8}",
            "", "", "measured", "target", "limit", "x limit"
        )?;
        let text = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
        for target in &self.targets {
            let mark = if target.holds() { '✓' } else { '✗' };
            let doc = format!("{}, {}", target.doc, target.unit);
            writeln!(
                f,
                "{mark} {:<5} {doc:<60} {:>10} {:>10} {:>10} {:>8}",
                target.id,
                text(target.measured),
                number(target.target),
                text(target.limit),
                text(target.ratio_to_limit())
            )?;
        }
        for doubt in &self.doubts {
            writeln!(f, "doubt  {doubt}")?;
        }
        Ok(())
    }
}

/// Measures every target in turn, some minutes in all. Progress is told step by step.
///
/// # Errors
/// Where a load cannot be made.
pub fn measure(
    programs: Option<&Path>,
    progress: &mut dyn FnMut(&str),
) -> Result<Targets, CertifyError> {
    let mut table = Targets {
        machine: super::machine::Machine::look(),
        targets: Vec::new(),
        doubts: Vec::new(),
    };
    let mut load = |name: &str, options: &Options, table: &mut Targets| {
        progress(name);
        let certificate =
            run(options, &mut |step| progress(&format!("{name}: {step}")))?.certificate;
        let doubts = certificate.doubts.iter().map(|doubt| format!("{name}: {doubt}"));
        table.doubts.extend(doubts);
        Ok::<_, CertifyError>(certificate)
    };
    let base = |miners| options(programs, miners);
    let certificate = load("tips", &base(MINERS), &mut table)?;
    table.targets.extend(tips(&certificate));
    let many = Options {
        tip_interval: Duration::from_secs(3600),
        connects_per_second: 500.0,
        ..base(MANY_MINERS)
    };
    let certificate = load("answers", &many, &mut table)?;
    table.targets.extend(answers(&certificate));
    for (id, doc, burst, target, limit) in [
        ("P5a", "shares a core, each in a write of its own", 1, 60_000.0, 135_000.0),
        ("P5b", "shares a core, forty in a write", BURST, 200_000.0, 500_000.0),
    ] {
        let flood = Options {
            burst: Some(burst),
            tip_interval: Duration::from_secs(3600),
            duration: Duration::from_secs(10),
            ..base(FLOODERS)
        };
        let certificate = load(doc, &flood, &mut table)?;
        let used = certificate.used.as_ref().map(|used| 1e6 / used.cpu_us_per_share);
        let target = Target::at_least(id, doc, "1/s", target).limit(limit);
        table.targets.push(target.measured(used));
    }
    progress("reading a log");
    let doc = "a log of 1 M events read";
    let target = Target::at_most("P9", doc, "s", 2.0);
    table.targets.push(target.measured(Some(recovery()?.as_secs_f64())));
    Ok(table)
}

fn options(programs: Option<&Path>, miners: u32) -> Options {
    Options {
        gateway: None,
        programs: programs.map(PathBuf::from),
        miners,
        connects_per_second: 100.0,
        share_interval: Duration::from_secs(10),
        duration: Duration::from_secs(30),
        warm_up: Duration::from_secs(2),
        tip_interval: Duration::from_secs(1),
        transactions: 100,
        log_sync: "write".to_owned(),
        burst: None,
    }
}

/// What the load with tips shows.
fn tips(certificate: &Certificate) -> Vec<Target> {
    let tips = certificate.counts.tips as u64;
    let written = certificate.used.as_ref().map(|used| used.tips_written.as_slice());
    let written = written.unwrap_or_default();
    let all = written.iter().map(|bucket| bucket.count).max().unwrap_or_default();
    let within = |count: u64| {
        let bucket = written.iter().find(|bucket| bucket.count >= count.max(1))?;
        Some(bucket.at_most_ms)
    };
    let mean = |name: &str| {
        let latency = certificate.latencies.get(name)?;
        Some(latency.mean_us / 1e3)
    };
    let handshakes = certificate.used.as_ref().map(|used| 1e6 / used.cpu_us_per_connection);
    let late = certificate.counts.failed_connects as f64;
    vec![
        Target::at_most("P1", "decision for a tip to the first miner's write", "ms", 0.5)
            .measured(within(tips)),
        Target::at_most("P2", "decision for a tip to the last of 1000 writes, p99", "ms", 9.2)
            .limit(4.6)
            .measured(within(all - all / 100)),
        Target::at_most(
            "P3",
            "block at the node to the last of 1000, verdict too, mean",
            "ms",
            15.0,
        )
        .limit(4.6)
        .measured(mean("tip_to_last_miner")),
        Target::at_most("P7a", "connections of 1000 in 10 s that failed", "", 0.0)
            .measured(Some(late)),
        Target::at_least("P7b", "connections with channel and job a core", "1/s", 4000.0)
            .limit(5200.0)
            .measured(handshakes),
    ]
}

/// What the load of many miners shows.
fn answers(certificate: &Certificate) -> Vec<Target> {
    let quantile = |name: &str| {
        let answers = certificate.latencies.get("share_ack_from_sending")?;
        Some(answers.quantiles.get(name)?.us as f64 / 1e3)
    };
    let memory = certificate.used.as_ref().map(|used| {
        used.working_bytes.saturating_sub(used.idle_bytes) as f64 / f64::from(MANY_MINERS) / 1024.0
    });
    vec![
        Target::at_most("P6a", "share to its answer at 5000 miners, p50", "ms", 0.1)
            .measured(quantile("p50")),
        Target::at_most("P6b", "share to its answer at 5000 miners, p99", "ms", 1.0)
            .measured(quantile("p99")),
        Target::at_most("P8", "memory a miner at 5000", "KiB", 16.0).measured(memory),
    ]
}

/// How long a log takes to be read in which each share has its result.
fn recovery() -> Result<Duration, CertifyError> {
    let failed = |error: &dyn fmt::Display| CertifyError::Load(format!("the log: {error}"));
    let folder = tempfile::tempdir().map_err(|error| failed(&error))?;
    let mut bytes = Vec::new();
    for number in 0..EVENTS / 2 {
        if number % 1000 == 0 {
            let job = format!(r#"{{"job_ref":"{:032x}"}}"#, number / 1000);
            segment::encode(Kind::Job, &job, &mut bytes);
        }
        let (share, id) = (format!("{number:064x}"), format!("{:064x}", number + EVENTS));
        let text = format!(
            r#"{{"share_id":"{share}","event_id":"{id}","job_ref":"{:032x}","channel_id":2,"worker_id":"account.rig","version":536870912,"ntime":1800000000,"nonce":{number},"extranonce":"{:048x}","difficulty":65536.0,"timestamp_ms":1800000000000}}"#,
            number / 1000,
            number
        );
        segment::encode(Kind::Share, &text, &mut bytes);
        let fields = [
            (
                "share_accepted",
                format!(
                    r#"{{"share_id":"{share}","event_id":"{id}","channel_id":2,"job_id":5,"worker_id":"account.rig","miner_id":7,"validation_level":"full","sv2_response":"success","fee_tier":"mid","difficulty_target":65536.0,"timestamp_ms":1800000000000,"gateway_instance_id":"gw-1"}}"#
                ),
            ),
            (
                "share_forward_result",
                format!(
                    r#"{{"share_id":"{share}","event_id":"{id}","forwarded":true,"upstream_accepted":true,"upstream_http_status":200,"upstream_error":null,"error_detail":null,"reason_code":null,"timestamp_ms":1800000000001,"attempts":1}}"#
                ),
            ),
        ];
        for ((name, fields), seq) in fields.into_iter().zip(2 * number..) {
            let event = segment::event_json(&log::Event { name, fields }, seq);
            segment::encode(Kind::Event, &event, &mut bytes);
        }
    }
    std::fs::write(folder.path().join(segment::name(0)), bytes).map_err(|error| failed(&error))?;
    let begun = Instant::now();
    let recovered = log::recover(&platform::real::Disk, folder.path(), 10_000)
        .map_err(|error| failed(&error))?;
    let took = begun.elapsed();
    if recovered.next_seq != EVENTS {
        return Err(failed(&format!("{} of {EVENTS} events were read", recovered.next_seq)));
    }
    Ok(took)
}
