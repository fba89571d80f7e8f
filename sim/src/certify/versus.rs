//! The gateway beside the reference pool: the same miners, the same work, in the order ours,
//! theirs, theirs, ours.
//!
//! A machine that gets slower or faster meanwhile does so for both. The two runs of the same program
//! are the control: what differs between them is noise, and a ratio within it says nothing.

use std::fmt::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use platform::Env;

use super::certificate::{Certificate, number};
use super::machine::{self, Machine};
use super::miner::FLOOD_WINDOW;
use super::{CertifyError, Options, peer, run, threads};
use crate::interop::{InteropError, POOL, ensure_optimised};
use crate::walk::WalkError;
use crate::walk::process::Programs;

/// Connections that a new tip is fanned out to.
const MINERS: u32 = 1000;
/// Connections of a flood.
const FLOODERS: u32 = 16;
/// Shares in one write of a flood.
const BURST: u32 = 40;
/// Two runs of the same program that differ by more make the comparison void.
const MOST_NOISE: f64 = 1.5;

/// One thing that both were measured at.
#[derive(Clone, Debug)]
struct Row {
    doc: &'static str,
    unit: &'static str,
    /// Whether more is better.
    more_is_better: bool,
    /// The first run and the last.
    ours: [f64; 2],
    /// The two between them.
    theirs: [f64; 2],
}

impl Row {
    /// How many times better ours is.
    fn ratio(&self) -> f64 {
        let [ours, theirs] = [self.ours, self.theirs].map(|[a, b]| (a + b) / 2.0);
        if self.more_is_better { ours / theirs } else { theirs / ours }
    }

    /// How far two runs of the same program are apart, as a ratio.
    fn noise(&self) -> f64 {
        let apart = |[a, b]: [f64; 2]| if a > b { a / b } else { b / a };
        apart(self.ours).max(apart(self.theirs))
    }

    /// What the ratio says.
    fn says(&self) -> &'static str {
        let (ratio, noise) = (self.ratio(), self.noise());
        if noise > MOST_NOISE {
            "too noisy"
        } else if ratio > noise {
            "ours is better"
        } else if ratio < 1.0 / noise {
            "theirs is better"
        } else {
            "no difference"
        }
    }
}

/// What the comparison came to.
#[derive(Clone, Debug)]
pub struct Versus {
    machine: Machine,
    rows: Vec<Row>,
}

impl Versus {
    /// Whether the machine was quiet enough for every row to say something.
    pub fn is_conclusive(&self) -> bool {
        self.rows.iter().all(|row| row.noise() <= MOST_NOISE)
    }

    /// A page with the table, and how it was made.
    pub fn page(&self) -> String {
        let mut page = format!(
            "# The gateway beside {} {}\n\n`cargo ci bench --against pool_sv2` makes this page, on \
             {} x {}.\n\n\
             {MINERS} connections wait for tips; {FLOODERS} send shares as fast as they are \
             answered, {BURST} in each write and {FLOOD_WINDOW} without an answer at most, so that a \
             server which answers late gets fewer; what a share costs is its processor time. The \
             same miners load both, in the order ours, theirs, \
             theirs, ours; *noise* is how far two runs of one program are apart. Ours stands behind \
             a regtest node, its template-manager and its verifier, keeps each share in its durable \
             log before it answers, and hands it to a pool; its tip begins with the block at the \
             node. The pool stands on a template provider of this bench, acknowledges ten shares at \
             once as it does by default, and logs errors only; its tip begins with the provider's \
             message.\n\n",
            POOL.package, POOL.version, self.machine.processors, self.machine.processor
        );
        page.push_str("| | ours | theirs | times better | noise | |\n|---|---|---|---|---|---|\n");
        for row in &self.rows {
            let [ours, theirs] =
                [row.ours, row.theirs].map(|[a, b]| format!("{} / {}", number(a), number(b)));
            let _ = writeln!(
                page,
                "| {}, {} | {ours} | {theirs} | {:.1} | {:.2} | {} |",
                row.doc,
                row.unit,
                row.ratio(),
                row.noise(),
                row.says()
            );
        }
        page
    }
}

impl fmt::Display for Versus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["ours", "theirs", "better", "noise"];
        let [ours, theirs, better, noise] = header;
        writeln!(f, "  {:<62} {ours:>21} {theirs:>21} {better:>8} {noise:>6}", "")?;
        for row in &self.rows {
            let doc = format!("{}, {}", row.doc, row.unit);
            let [ours, theirs] =
                [row.ours, row.theirs].map(|[a, b]| format!("{} / {}", number(a), number(b)));
            let (ratio, noise, says) = (row.ratio(), row.noise(), row.says());
            writeln!(f, "  {doc:<62} {ours:>21} {theirs:>21} {ratio:>7.1}x {noise:>6.2}  {says}")?;
        }
        Ok(())
    }
}

/// Measures both, some minutes in all. Progress is told step by step.
///
/// # Errors
/// The pool cannot be had, or a load cannot be made.
pub fn measure(
    programs: Option<&Path>,
    progress: &mut dyn FnMut(&str),
) -> Result<Versus, InteropError> {
    let theirs = Programs::at(ensure_optimised(&[POOL], progress)?);
    let mut both = |name: &str, options: &Options| -> Result<[Certificate; 4], InteropError> {
        let mut one = |whose: &str| {
            let mut step = |step: &str| progress(&format!("{name}, {whose}: {step}"));
            let certificate = match whose {
                "ours" => run(options, &mut step).map(|report| report.certificate),
                _ => of_peer(options, &theirs, &mut step),
            };
            certificate.map_err(|error| InteropError::Measure(Box::new(error)))
        };
        Ok([one("ours")?, one("theirs")?, one("theirs")?, one("ours")?])
    };
    let fan_out = both("tips", &options(programs, MINERS, None))?;
    let flood = both("shares", &options(programs, FLOODERS, Some(BURST)))?;
    let mut rows = Vec::new();
    rows.extend(of_tips(&fan_out));
    rows.extend(of_shares(&flood));
    Ok(Versus { machine: Machine::look(), rows })
}

fn of_peer(
    options: &Options,
    theirs: &Programs,
    progress: &mut dyn FnMut(&str),
) -> Result<Certificate, CertifyError> {
    machine::room_for(options.miners)?;
    let runtime = threads::for_load(options)
        .map_err(|source| WalkError::machine("threads cannot be started", source))?;
    runtime.block_on(async {
        let env: Env = platform::real::env();
        let loaded = peer::load(&env, options, theirs, progress).await;
        env.tasks.abort_all();
        loaded
    })
}

fn options(programs: Option<&Path>, miners: u32, burst: Option<u32>) -> Options {
    Options {
        gateway: None,
        programs: programs.map(Path::to_owned),
        miners,
        connects_per_second: 200.0,
        share_interval: Duration::from_secs(10),
        duration: Duration::from_secs(if burst.is_some() { 10 } else { 20 }),
        warm_up: Duration::from_secs(2),
        tip_interval: Duration::from_secs(if burst.is_some() { 3600 } else { 2 }),
        transactions: 100,
        log_sync: "write".to_owned(),
        burst,
    }
}

fn of_tips(runs: &[Certificate; 4]) -> Vec<Row> {
    let mean = |name: &'static str| {
        move |run: &Certificate| run.latencies.get(name).map(|latency| latency.mean_us / 1e3)
    };
    let memory = |run: &Certificate| {
        let used = run.used.as_ref()?;
        let grown = used.working_bytes.saturating_sub(used.idle_bytes);
        Some(grown as f64 / f64::from(MINERS) / 1024.0)
    };
    let connection =
        |run: &Certificate| run.used.as_ref().map(|used| used.cpu_us_per_connection / 1e3);
    [
        row(runs, "a tip to the first of 1000 miners, mean", "ms", mean("tip_to_first_miner")),
        row(runs, "a tip to the last of 1000 miners, mean", "ms", mean("tip_to_last_miner")),
        row(runs, "the first miner on a tip to each other, mean", "ms", mean("tip_spread")),
        row(runs, "processor time of a connection up to its job", "ms", connection),
        row(runs, "memory a miner", "KiB", memory),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn of_shares(runs: &[Certificate; 4]) -> Vec<Row> {
    let rate = row(runs, "shares answered, miners on the same two cores", "1/s", |run| {
        Some(run.counts.shares_accepted as f64 / run.load.measured_s)
    });
    let cpu = row(runs, "processor time of a share", "µs", |run| {
        run.used.as_ref().map(|used| used.cpu_us_per_share)
    });
    let rate = rate.map(|row| Row { more_is_better: true, ..row });
    rate.into_iter().chain(cpu).collect()
}

/// None where a run did not measure it.
fn row(
    [first, second, third, fourth]: &[Certificate; 4],
    doc: &'static str,
    unit: &'static str,
    value: impl Fn(&Certificate) -> Option<f64>,
) -> Option<Row> {
    let ours = [value(first)?, value(fourth)?];
    let theirs = [value(second)?, value(third)?];
    Some(Row { doc, unit, more_is_better: false, ours, theirs })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case([1.0, 1.0], [4.0, 4.0], false, 4.0, "ours is better")]
    #[case([8.0, 8.0], [2.0, 2.0], true, 4.0, "ours is better")]
    #[case([4.0, 4.0], [1.0, 1.0], false, 0.25, "theirs is better")]
    #[case([1.0, 1.2], [1.1, 1.3], false, 1.09, "no difference")]
    #[case([1.0, 2.0], [9.0, 9.0], false, 6.0, "too noisy")]
    fn a_ratio_says_no_more_than_the_control_allows(
        #[case] ours: [f64; 2],
        #[case] theirs: [f64; 2],
        #[case] more_is_better: bool,
        #[case] ratio: f64,
        #[case] says: &str,
    ) {
        let row = Row { doc: "", unit: "", more_is_better, ours, theirs };
        assert!((row.ratio() - ratio).abs() < 0.01, "{}", row.ratio());
        assert_eq!(row.says(), says);
    }
}
