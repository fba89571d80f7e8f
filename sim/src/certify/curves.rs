//! How costs grow: the same load at several sizes, and the line through what was measured.

use std::fmt::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use super::certificate::{Certificate, number};
use super::{CertifyError, Options, run};

/// Miners of the loads that grow by miners.
const MINERS: [u32; 5] = [250, 500, 1000, 2000, 4000];
/// Miners of the other loads.
const FEW: u32 = 500;
/// Transactions in the templates of the loads that grow by them.
const TRANSACTIONS: [usize; 4] = [100, 500, 1000, 2000];
/// Each miner's seconds between two shares in the loads that grow by shares.
const SHARE_INTERVALS_S: [f64; 4] = [2.0, 0.5, 0.25, 0.125];

/// What was measured at each size.
#[derive(Clone, Debug)]
struct Curve {
    /// What grows.
    of: &'static str,
    what: &'static str,
    unit: &'static str,
    points: Vec<(f64, f64)>,
}

impl Curve {
    /// The line through the points by least squares: its value at nothing, what one more adds, and
    /// how far the farthest point is from it.
    fn line(&self) -> (f64, f64, f64) {
        let count = self.points.len() as f64;
        let sums = self.points.iter().fold([0.0; 4], |[x, y, xx, xy], (at, value)| {
            [x + at, y + value, xx + at * at, xy + at * value]
        });
        let [x, y, xx, xy] = sums;
        let slope = (count * xy - x * y) / (count * xx - x * x);
        let base = (y - slope * x) / count;
        let apart = |(at, value): &(f64, f64)| (value - base - slope * at).abs();
        (base, slope, self.points.iter().map(apart).fold(0.0, f64::max))
    }
}

/// Every curve.
#[derive(Clone, Debug, Default)]
pub struct Curves(Vec<Curve>);

impl Curves {
    /// A table for a page.
    pub fn page(&self) -> String {
        let mut page = "| by | what | measured | at nothing | one more adds | farthest |\n\
                        |---|---|---|---|---|---|\n"
            .to_owned();
        for curve in &self.0 {
            let (base, slope, apart) = curve.line();
            let measured: Vec<_> = curve
                .points
                .iter()
                .map(|(at, value)| format!("{at}: {}", number(*value)))
                .collect();
            let Curve { of, what, unit, .. } = curve;
            let _ = writeln!(
                page,
                "| {of} | {what}, {unit} | {} | {} | {slope:.2e} | {} |",
                measured.join(", "),
                number(base),
                number(apart)
            );
        }
        page
    }
}

impl fmt::Display for Curves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.page())
    }
}

/// Loads the gateway at each size, some minutes in all. Progress is told step by step.
///
/// # Errors
/// Where a load cannot be made.
pub fn measure(
    programs: Option<&Path>,
    progress: &mut dyn FnMut(&str),
) -> Result<Curves, CertifyError> {
    let mut runs = |of: &'static str, loads: &[(f64, Options)]| {
        let mut certificates = Vec::new();
        for (at, options) in loads {
            let mut step = |step: &str| progress(&format!("{at} {of}: {step}"));
            certificates.push((*at, run(options, &mut step)?.certificate));
        }
        Ok::<_, CertifyError>(certificates)
    };
    let base = |miners| options(programs, miners);
    let by_miners = runs("miners", &MINERS.map(|miners| (f64::from(miners), base(miners))))?;
    let by_transactions = runs(
        "transactions",
        &TRANSACTIONS
            .map(|transactions| (transactions as f64, Options { transactions, ..base(FEW) })),
    )?;
    let by_shares = runs(
        "shares a second",
        &SHARE_INTERVALS_S.map(|seconds| {
            let share_interval = Duration::from_secs_f64(seconds);
            let tip_interval = Duration::from_secs(3600);
            let options = Options { share_interval, tip_interval, ..base(FEW) };
            ((f64::from(FEW) / seconds).round(), options)
        }),
    )?;
    let curves = [
        curve("miners", "a tip to the last miner, mean", "ms", &by_miners, last_miner),
        curve("miners", "memory", "MiB", &by_miners, memory),
        curve(
            "transactions",
            "a tip to the last of 500 miners, mean",
            "ms",
            &by_transactions,
            last_miner,
        ),
        curve("shares a second", "processors kept busy", "", &by_shares, processors),
        curve("shares a second", "a share to its answer, mean", "ms", &by_shares, answer),
    ];
    Ok(Curves(curves.into()))
}

fn options(programs: Option<&Path>, miners: u32) -> Options {
    Options {
        gateway: None,
        programs: programs.map(Path::to_owned),
        miners,
        connects_per_second: 400.0,
        share_interval: Duration::from_secs(20),
        duration: Duration::from_secs(12),
        warm_up: Duration::from_secs(2),
        tip_interval: Duration::from_secs(1),
        transactions: 100,
        log_sync: "write".to_owned(),
        burst: None,
    }
}

fn curve(
    of: &'static str,
    what: &'static str,
    unit: &'static str,
    runs: &[(f64, Certificate)],
    value: fn(&Certificate) -> Option<f64>,
) -> Curve {
    let points = runs.iter().filter_map(|(at, run)| Some((*at, value(run)?))).collect();
    Curve { of, what, unit, points }
}

fn mean_ms(run: &Certificate, name: &str) -> Option<f64> {
    run.latencies.get(name).map(|latency| latency.mean_us / 1e3)
}

fn last_miner(run: &Certificate) -> Option<f64> {
    mean_ms(run, "tip_to_last_miner")
}

fn answer(run: &Certificate) -> Option<f64> {
    mean_ms(run, "share_ack_from_sending")
}

fn memory(run: &Certificate) -> Option<f64> {
    run.used.as_ref().map(|used| used.working_bytes as f64 / f64::from(1 << 20))
}

fn processors(run: &Certificate) -> Option<f64> {
    run.used.as_ref().map(|used| used.processors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_through_what_lies_on_one() {
        let points = vec![(1.0, 5.0), (2.0, 7.0), (4.0, 11.0)];
        let curve = Curve { of: "x", what: "y", unit: "", points };
        let (base, slope, apart) = curve.line();
        assert!((base - 3.0).abs() < 1e-9 && (slope - 2.0).abs() < 1e-9 && apart < 1e-9);
    }

    #[test]
    fn the_farthest_point_is_told() {
        let points = vec![(0.0, 0.0), (1.0, 2.0), (2.0, 0.0)];
        let curve = Curve { of: "x", what: "y", unit: "", points };
        assert!((curve.line().2 - 4.0 / 3.0).abs() < 1e-9);
    }
}
