//! The walk under attack: honest miners work on while others do what they can.
//!
//! The attackers come from the same address as the miners, and the limits are the defaults of the
//! configuration but for the number of connections, so that the bound on memory is one that this
//! machine could reach.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use platform::Tasks;
use tokio::time::Instant;

use super::WalkError;
use super::crowd::{Crowd, Phase};
use super::findings::Findings;
use super::load::account;
use super::party::{Miners, Party};
use super::site;
use super::stage::Stage;
use crate::actors::miner::Pace;
use crate::actors::miner::hostile::{self, HostileConfig};
use crate::actors::observe::Recorder;
use crate::certify::usage::Usage;
use crate::scenario::{Behaviour, Hostility};

/// Honest miners, and the time between two shares of each: together enough samples for a
/// percentile in half a minute.
const HONEST: u32 = 20;
const SHARE_INTERVAL: Duration = Duration::from_millis(40);
/// How long they work before the flood.
const CALM: Duration = Duration::from_secs(30);
/// Connections that the gateway takes at once.
const CONNECTIONS: u32 = 200;
/// Reconnects that the flood must come to.
const RECONNECTS: u64 = 1_000;
/// How much an honest miner's acknowledgement may be slowed: by this factor and this much more,
/// because all of them share the processors of this machine.
const SLOWER: (f64, u64) = (3.0, 5_000);
/// How often memory is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What attacks, and how many do.
const ATTACKERS: [(Hostility, u32); 10] = [
    (Hostility::Garbage, 3),
    (Hostility::BadCipher, 3),
    (Hostility::Oversize, 3),
    (Hostility::Undecodable, 2),
    (Hostility::Drip, 2),
    (Hostility::Mute, 2),
    (Hostility::Flood, 2),
    (Hostility::ShareFlood, 2),
    (Hostility::ForeignUpdate, 2),
    (Hostility::Reconnect, 2),
];

/// Miners that send bad shares among good ones.
const CHEATS: [(Behaviour, u32); 2] = [(Behaviour::Replay, 3), (Behaviour::UnknownChannel, 3)];

/// Reasons that the flood must have been turned away for.
const PROVOKED: [&str; 5] = [
    "noise_handshake_failed",
    "noise_handshake_timeout",
    "frame_too_large",
    "frame_decode_error",
    "peer_quota_exceeded",
];

/// Does it: the flood lasts for `lasting`.
pub(super) async fn flood(mut stage: Stage<'_>, lasting: Duration) -> Result<Findings, WalkError> {
    let party = Party::open(&stage, HONEST);
    stage.prepare(&config()).await?;
    stage.start_gateway().await?;
    let pid = stage.running.pid("gateway").unwrap_or_default();
    let idle = resident(pid);
    party.follow_events(&stage);
    let pace = |_| (1.0, Pace::Every(SHARE_INTERVAL));
    party.connect(&mut stage, &Miners { count: HONEST, a_second: 20.0, pace }).await?;
    stage.say(&format!("{HONEST} miners work for {} s", CALM.as_secs()));
    tokio::time::sleep(CALM).await;
    let calm = resident(pid);
    let before = Turned::read(&stage).await?;

    stage.say(&format!("the flood begins, for {} s", lasting.as_secs()));
    party.crowd.enter(Phase::Judged);
    let (attackers, cheats) = attack(&stage, &party)?;
    let memory = watch_memory(pid, lasting).await;
    attackers.abort_all();
    let after = Turned::read(&stage).await?;
    let bound = stage.http().get("/metrics").await.map(|text| memory_bound(&text));
    party.settle(&mut stage).await?;
    let lost = party.crowd.counts().disconnects;
    party.drain(&mut stage).await?;

    let mut findings = Findings::default();
    judge_latency(&party.crowd, &mut findings);
    judge_memory(idle, calm, &memory, bound.unwrap_or_default(), &mut findings);
    after.since(&before).judge(&mut findings);
    judge_cheats(&cheats, &mut findings);
    findings.add("no honest miner lost", lost == 0, format!("{lost} of {HONEST}"));
    account(&party, &mut findings);
    Ok(findings)
}

fn config() -> String {
    format!(
        "[limits]\nmax_connections = {CONNECTIONS}\nmax_connections_per_ip = {CONNECTIONS}\n\
         [log]\nretention = 2\n"
    )
}

/// The attackers, who end with the tasks returned, and what the cheats among them saw.
fn attack(stage: &Stage<'_>, party: &Party) -> Result<(Tasks, Crowd), WalkError> {
    let tasks = stage.env.tasks.group();
    let authority = stage.site.authority()?;
    for (kind, count) in ATTACKERS {
        for number in 0..count {
            let config = HostileConfig {
                name: format!("{}-{number}", kind.as_str()),
                address: site::loopback(stage.site.ports.miners),
                authority,
                kind,
                identity: format!("{}attacker", site::MINER_PREFIX),
            };
            let nobody = Recorder::into_sink(|_| {});
            drop(tasks.spawn("attacker", hostile::attack(stage.env.clone(), config, nobody)));
        }
    }
    let cheats = Crowd::new(CHEATS.iter().map(|(_, count)| count).sum());
    let recorder = cheats.recorder();
    let behaviours = CHEATS.into_iter().flat_map(|(how, count)| (0..count).map(move |_| how));
    for (behaviour, index) in behaviours.zip(0..) {
        let config = party.miner(stage, index, behaviour)?;
        let mine = crate::actors::miner::mine(stage.env.clone(), config, recorder.clone());
        drop(tasks.spawn("attacker", mine));
    }
    Ok((tasks, cheats))
}

/// Memory in RAM each second, in bytes.
async fn watch_memory(pid: u32, lasting: Duration) -> Vec<u64> {
    let end = Instant::now() + lasting;
    let mut memory = Vec::new();
    while Instant::now() < end {
        tokio::time::sleep(LOOK).await;
        memory.push(resident(pid));
    }
    memory
}

fn resident(pid: u32) -> u64 {
    Usage::of(pid).map(|usage| usage.resident_bytes).unwrap_or_default()
}

fn judge_latency(crowd: &Crowd, findings: &mut Findings) {
    let (before, during) = (crowd.latencies(Phase::Before), crowd.latencies(Phase::Judged));
    let p99 = |latencies: &Histogram<u64>| latencies.value_at_quantile(0.99);
    let allowed = (p99(&before) as f64 * SLOWER.0) as u64 + SLOWER.1;
    let figures = format!(
        "before p50 {}, p99 {} ({}); during p50 {}, p99 {} ({}); allowed p99 {}",
        ms(before.value_at_quantile(0.5)),
        ms(p99(&before)),
        before.len(),
        ms(during.value_at_quantile(0.5)),
        ms(p99(&during)),
        during.len(),
        ms(allowed)
    );
    let enough = before.len().min(during.len()) >= 10_000;
    let holds = enough && p99(&during) <= allowed;
    findings.add("honest miners' share to acknowledgement", holds, figures);
}

fn judge_memory(idle: u64, calm: u64, memory: &[u64], bound: u64, findings: &mut Findings) {
    let most = memory.iter().copied().max().unwrap_or_default();
    let figures = format!(
        "idle {}, before {}, at most {} during; idle and what the limits add up to is {}",
        mib(idle),
        mib(calm),
        mib(most),
        mib(idle + bound)
    );
    findings.add("memory within the limits", bound > 0 && most <= idle + bound, figures);
    // What leaks grows for as long as the flood lasts.
    let (early, late) = memory.split_at(memory.len() / 2);
    let peak = |part: &[u64]| part.iter().copied().max().unwrap_or_default();
    let grown = peak(late) as f64 / peak(early).max(1) as f64;
    let figures = format!("first half {}, second half {}", mib(peak(early)), mib(peak(late)));
    findings.add("memory does not grow with the flood", grown <= 1.1, figures);
}

fn judge_cheats(cheats: &Crowd, findings: &mut Findings) {
    let counts = cheats.counts();
    let figures =
        format!("{} rightly refused, {:?} not", counts.rightly_refused, counts.wrongly_answered);
    let holds = counts.rightly_refused > 0 && counts.wrongly_answered.is_empty();
    findings.add("replays and foreign channels refused", holds, figures);
}

/// What was turned away so far, by reason.
struct Turned {
    closed: BTreeMap<String, u64>,
    refused: u64,
}

impl Turned {
    async fn read(stage: &Stage<'_>) -> Result<Self, WalkError> {
        let text = stage.http().get("/metrics").await.map_err(WalkError::Violated)?;
        Ok(Self::of(&text))
    }

    fn of(metrics: &str) -> Self {
        let closed = metrics
            .lines()
            .filter_map(|line| line.strip_prefix("gateway_connections_closed_total{reason=\""))
            .filter_map(|rest| rest.split_once("\"} "))
            .filter_map(|(reason, count)| Some((reason.to_owned(), count.parse().ok()?)))
            .collect();
        Self { closed, refused: value(metrics, "gateway_connections_refused_total") }
    }

    fn since(&self, before: &Self) -> Self {
        let less = |(reason, count): (&String, &u64)| {
            let earlier = before.closed.get(reason).copied().unwrap_or_default();
            (reason.clone(), count - earlier)
        };
        Self {
            closed: self.closed.iter().map(less).collect(),
            refused: self.refused - before.refused,
        }
    }

    fn judge(&self, findings: &mut Findings) {
        let all = self.closed.values().sum::<u64>() + self.refused;
        let figures =
            format!("{} closed {:?}, {} refused", all - self.refused, self.closed, self.refused);
        let provoked =
            PROVOKED.iter().all(|reason| self.closed.get(*reason).is_some_and(|count| *count > 0));
        findings.add("every kind of attack turned away", provoked, figures);
        findings.add("reconnects", all >= RECONNECTS, format!("{all} connections in the flood"));
    }
}

/// The sum of the bound's parts.
fn memory_bound(metrics: &str) -> u64 {
    metrics
        .lines()
        .filter(|line| line.starts_with("gateway_memory_bound_bytes{"))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
        .sum()
}

fn value(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_default()
}

fn ms(us: u64) -> String {
    format!("{:.2} ms", us as f64 / 1e3)
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "# TYPE gateway_connections_refused counter
gateway_connections_refused_total 7
gateway_connections_closed_total{reason=\"frame_too_large\"} 3
gateway_connections_closed_total{reason=\"peer_left\"} 5
gateway_memory_bound_bytes{part=\"connections\"} 100
gateway_memory_bound_bytes{part=\"channels\"} 20
";

    #[test]
    fn the_metrics_are_read() {
        let turned = Turned::of(METRICS);
        assert_eq!((turned.refused, turned.closed["frame_too_large"]), (7, 3));
        assert_eq!(memory_bound(METRICS), 120);
        let since = turned.since(&Turned::of("gateway_connections_refused_total 2\n"));
        assert_eq!((since.refused, since.closed["peer_left"]), (5, 5));
    }

    #[test]
    fn memory_beyond_the_bound_or_ever_more_of_it_fails() {
        let judged = |memory: &[u64], bound| {
            let mut findings = Findings::default();
            judge_memory(10, 20, memory, bound, &mut findings);
            findings.all_hold()
        };
        assert!(judged(&[30, 31, 30, 31], 30));
        assert!(!judged(&[30, 31, 50, 31], 30));
        assert!(!judged(&[20, 21, 30, 31], 30));
        assert!(!judged(&[10, 10], 0));
    }
}
