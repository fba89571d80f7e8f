//! Small proposals at a fixed rate, and policies swapped meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Request, StatusCode};
use http_body_util::Full;
use platform::http_client::HttpClient;
use tokio::time::Instant;
use verifier_protocol::{TemplateVerdict, VerdictCode};

use super::link::{Lines, Verdicts, connect};
use super::proposals::{Proposer, small};
use super::{Load, PROMISED_US, latencies, millis, percentiles};

/// How long the last verdicts may take.
const LAST_VERDICTS: Duration = Duration::from_secs(10);
const HTTP_TIMEOUT: Duration = Duration::from_secs(10);
/// More fees than any proposal has.
const TOO_MUCH: u64 = 1_000_000_000;

/// What is offered.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// Proposals a second.
    pub rate: u32,
    /// For how long.
    pub time: Duration,
    /// From how many gateways.
    pub links: u32,
    /// How often the policy is replaced meanwhile.
    pub swaps: u32,
}

/// What became of it.
pub struct Report {
    offer: Offer,
    offered: u64,
    tally: Tally,
    /// From the first proposal to the last verdict.
    took: Duration,
    policies: Policies,
}

struct Tally {
    latency: Histogram<u64>,
    judged: Histogram<u64>,
    answered: u64,
    /// Verdicts that are none: the verifier could not judge.
    unjudged: u64,
    /// What each policy, by its hash, was seen to say.
    says: BTreeMap<String, BTreeSet<(bool, Option<String>)>>,
}

/// The policies that were put in force, by their hash, and the least fees that each asks for.
type Policies = BTreeMap<String, u64>;

impl Report {
    /// Whether every proposal got its verdict, in the promised time, from the policy it names.
    pub fn holds(&self) -> bool {
        self.in_time() && self.dropped() == 0 && self.strays().is_empty()
    }

    fn in_time(&self) -> bool {
        self.tally.latency.max() < PROMISED_US
    }

    fn dropped(&self) -> u64 {
        self.offered - self.tally.answered + self.tally.unjudged
    }

    /// What verdicts said that the policy of their hash does not say.
    fn strays(&self) -> Vec<String> {
        let mut strays = Vec::new();
        for (hash, sayings) in &self.tally.says {
            for (accepted, detail) in sayings {
                let expected = match self.policies.get(hash) {
                    Some(0) => *accepted,
                    Some(least) => detail
                        .as_ref()
                        .is_some_and(|detail| detail.ends_with(&format!("min_total_fees={least}"))),
                    None => self.offer.swaps == 0,
                };
                if !expected {
                    strays.push(format!("policy {hash}: accepted {accepted}, {detail:?}"));
                }
            }
        }
        strays
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offer: Offer { rate, time, links, swaps }, offered, tally, took, .. } = self;
        let achieved = tally.answered as f64 / took.as_secs_f64();
        let secs = time.as_secs();
        writeln!(f, "{offered} proposals on {links} links, {rate}/s for {secs} s")?;
        writeln!(f, "  achieved      {achieved:.0}/s")?;
        writeln!(f, "  from the intended send to the verdict  {}", percentiles(&tally.latency))?;
        writeln!(f, "  from the last byte to the verdict      {}", percentiles(&tally.judged))?;
        let outcome = |held| if held { "held" } else { "BROKEN" };
        let (promised, held) = (millis(PROMISED_US), outcome(self.in_time()));
        writeln!(f, "  CL-01 every verdict within {promised}: {held}")?;
        let (dropped, held) = (self.dropped(), outcome(self.dropped() == 0));
        writeln!(f, "  CL-02 none dropped: {held} ({dropped})")?;
        if *swaps > 0 {
            let (seen, strays) = (tally.says.len(), self.strays());
            let held = outcome(strays.is_empty());
            writeln!(f, "  {swaps} policies, {seen} seen in verdicts, each says its own: {held}")?;
            for stray in strays.iter().take(5) {
                writeln!(f, "    {stray}")?;
            }
        }
        Ok(())
    }
}

/// Offers the load and waits for the last verdict.
///
/// # Errors
/// The verifier cannot be reached, or its policy cannot be replaced.
pub async fn run(load: &Load, offer: Offer) -> Result<Report> {
    ensure!(offer.rate > 0 && offer.links > 0, "a load takes a rate and a link");
    let proposer = Arc::new(Proposer::whole(&small()?));
    let offered = u64::from(offer.rate) * offer.time.as_millis() as u64 / 1000;
    let mut connections = Vec::new();
    for _ in 0..offer.links {
        connections.push(connect(&load.env, &load.verifier).await?);
    }
    let tally = Tally {
        latency: latencies(),
        judged: latencies(),
        answered: 0,
        unjudged: 0,
        says: BTreeMap::new(),
    };
    let tally = Arc::new(Mutex::new(tally));
    let schedule = Schedule { begin: Instant::now(), rate: offer.rate };
    let mut tasks = Vec::new();
    for (first, (verdicts, lines)) in (0..).zip(connections) {
        let numbers = (first..offered).step_by(offer.links as usize);
        let sending =
            send(load.env.clone(), lines, Arc::clone(&proposer), schedule, numbers.clone());
        let reading = read(verdicts, Arc::clone(&tally), schedule, numbers.count());
        let both = async move { tokio::join!(sending, reading) };
        tasks.push(load.env.tasks.spawn("load", both));
    }
    let policies = swap(load, offer).await?;
    let mut took = Duration::ZERO;
    for task in tasks {
        let (sent, read) = task.await.ok_or_else(|| anyhow!("a link's task panicked"))?;
        sent.context("the verifier takes no more proposals")?;
        took = took.max(read?);
    }
    let tally = Arc::into_inner(tally).expect("the tasks have ended");
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Report { offer, offered, tally, took, policies })
}

/// When each proposal is to be sent.
#[derive(Clone, Copy)]
struct Schedule {
    begin: Instant,
    rate: u32,
}

impl Schedule {
    fn due(&self, number: u64) -> Instant {
        self.begin + Duration::from_micros(number * 1_000_000 / u64::from(self.rate))
    }
}

async fn send(
    env: platform::Env,
    mut lines: Lines,
    proposer: Arc<Proposer>,
    schedule: Schedule,
    numbers: impl Iterator<Item = u64>,
) -> std::io::Result<Lines> {
    for number in numbers {
        tokio::time::sleep_until(schedule.due(number)).await;
        lines.send(&proposer.lines(number, env.wall.unix_ms())).await?;
    }
    // Kept open: the verifier would take the end for the gateway's.
    Ok(lines)
}

/// Reads the verdicts of one link; the time from the beginning to the last.
async fn read(
    mut verdicts: Verdicts,
    tally: Arc<Mutex<Tally>>,
    schedule: Schedule,
    expected: usize,
) -> Result<Duration> {
    let mut seen = BTreeSet::new();
    let mut last = schedule.begin.elapsed();
    while seen.len() < expected {
        let Ok(verdict) = tokio::time::timeout(LAST_VERDICTS, verdicts.next()).await else {
            return Ok(last);
        };
        let verdict = verdict?;
        let number = verdict.proposal_id.0;
        ensure!(seen.insert(number), "two verdicts on proposal {number}");
        last = schedule.begin.elapsed();
        let late = Instant::now().saturating_duration_since(schedule.due(number));
        tally.lock().unwrap_or_else(PoisonError::into_inner).count(verdict, late);
    }
    Ok(last)
}

impl Tally {
    fn count(&mut self, verdict: TemplateVerdict, late: Duration) {
        self.answered += 1;
        self.latency.saturating_record(late.as_micros() as u64);
        self.judged.saturating_record(verdict.judged_in_us);
        if verdict.verdict.reason_code == VerdictCode::InternalError {
            self.unjudged += 1;
            return;
        }
        let said = (verdict.verdict.accepted, verdict.verdict.reason_detail);
        self.says.entry(verdict.policy_hash).or_default().insert(said);
    }
}

/// Replaces the policy at even distances, and once tries to with a broken one.
async fn swap(load: &Load, offer: Offer) -> Result<Policies> {
    let mut policies = Policies::new();
    if offer.swaps == 0 {
        return Ok(policies);
    }
    let begin = Instant::now();
    // The one in force before accepts.
    policies.insert(hash(ask(load, "GET", String::new()).await?)?, 0);
    for number in 0..offer.swaps {
        tokio::time::sleep_until(begin + offer.time * number / offer.swaps).await;
        // Every other one refuses, and says by how much.
        let least = u64::from(number % 2) * (TOO_MUCH + u64::from(number));
        let text =
            format!("[policy]\nmin_total_fees = {least}\nmax_tx_count = {}\n", 9_000 + number);
        policies.insert(hash(ask(load, "PUT", text).await?)?, least);
        if number == offer.swaps / 2 {
            let (status, _) = ask(load, "PUT", "[polcy]\n".to_owned()).await?;
            ensure!(status == StatusCode::UNPROCESSABLE_ENTITY, "a broken policy: HTTP {status}");
        }
    }
    Ok(policies)
}

async fn ask(load: &Load, method: &str, text: String) -> Result<(StatusCode, Bytes)> {
    let Some(http) = &load.http else { bail!("policies are swapped over HTTP: give --http") };
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{http}/api/v1/policy"))
        .body(Full::new(Bytes::from(text)))?;
    let answer = HttpClient::new(&load.env).send(request, HTTP_TIMEOUT, 1 << 20).await?;
    Ok((answer.status(), answer.into_body()))
}

fn hash((status, body): (StatusCode, Bytes)) -> Result<String> {
    let body: serde_json::Value = serde_json::from_slice(&body)?;
    let hash = body["policy_hash"].as_str();
    hash.map(str::to_owned).ok_or_else(|| anyhow!("no policy in force: HTTP {status} {body}"))
}
