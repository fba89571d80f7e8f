//! Full templates one after another, unseen and seen.

use std::fmt;

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use tokio::time::Instant;

use super::link::{Lines, Verdicts, connect};
use super::proposals::{Proposer, full};
use super::{Load, latencies, millis, percentiles};

/// What is aimed at, in microseconds: the verdict on a full template from its bytes, as whoever
/// proposes it waits for it.
const COLD_US: u64 = 20_000;
/// The same where its transactions were seen before.
const WARM_US: u64 = 5_000;

/// How long verdicts on a full template took.
pub struct Report {
    transactions: usize,
    weight: u64,
    cold: Times,
    warm: Times,
}

struct Times {
    /// From the first byte sent to the verdict.
    wire: Histogram<u64>,
    /// What the verifier says: from the last byte to the verdict.
    judged: Histogram<u64>,
}

impl Report {
    /// The 99th percentiles on the wire, in microseconds: unseen, and seen.
    pub fn p99_us(&self) -> [u64; 2] {
        [&self.cold, &self.warm].map(|times| times.wire.value_at_quantile(0.99))
    }

    /// Whether the targets are met.
    pub fn holds(&self) -> bool {
        let [cold, warm] = self.p99_us();
        cold < COLD_US && warm < WARM_US
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transactions, weight, .. } = self;
        writeln!(f, "a template of {transactions} transactions and {weight} weight units")?;
        for (name, times, target) in
            [("unseen", &self.cold, COLD_US), ("seen", &self.warm, WARM_US)]
        {
            writeln!(f, "  {name:6}  judged       {}", percentiles(&times.judged))?;
            writeln!(f, "  {name:6}  on the wire  {}", percentiles(&times.wire))?;
            let p99 = times.wire.value_at_quantile(0.99);
            let outcome = if p99 < target { "held" } else { "BROKEN" };
            writeln!(f, "  {name:6}  p99 {} < {}: {outcome}", millis(p99), millis(target))?;
        }
        Ok(())
    }
}

/// Proposes `count` times with every byte, and `count` times by name.
///
/// # Errors
/// The verifier cannot be reached, or does not accept.
pub async fn run(load: &Load, count: u32) -> Result<Report> {
    let work = full()?;
    let (mut verdicts, mut lines) = connect(&load.env, &load.verifier).await?;
    let mut timed = async |proposer: &Proposer, ids: std::ops::Range<u32>| {
        timed(load, proposer, ids, &mut lines, &mut verdicts).await
    };
    let (whole, named) = (Proposer::whole(&work), Proposer::named(&work));
    // The first few warm up what is not measured: memory, branches, the clock of the processor.
    timed(&whole, 0..count.min(5)).await?;
    let cold = timed(&whole, 0..count).await?;
    let warm = timed(&named, 0..count).await?;
    Ok(Report {
        transactions: work.template().transactions.len(),
        weight: work.declared().weight,
        cold,
        warm,
    })
}

async fn timed(
    load: &Load,
    proposer: &Proposer,
    ids: std::ops::Range<u32>,
    lines: &mut Lines,
    verdicts: &mut Verdicts,
) -> Result<Times> {
    let mut times = Times { wire: latencies(), judged: latencies() };
    for id in ids {
        let proposal = proposer.lines(id.into(), load.env.wall.unix_ms());
        let sent_at = Instant::now();
        // Both at once: the verifier may answer before it has read all that it will not judge.
        let (sent, verdict) = tokio::join!(lines.send(&proposal), verdicts.next());
        sent?;
        let verdict = verdict?;
        times.wire.saturating_record(sent_at.elapsed().as_micros() as u64);
        times.judged.saturating_record(verdict.judged_in_us);
        let (code, detail) = (verdict.verdict.reason_code, verdict.verdict.reason_detail);
        ensure!(verdict.verdict.accepted, "the full template is refused: {code}: {detail:?}");
    }
    Ok(times)
}
