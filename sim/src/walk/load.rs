//! The walk under load: many miners with vardiff, and the operator at work meanwhile.
//!
//! On regtest every hash below half of all is a block, so a target that leaves shares which are
//! no blocks lies between one and two hashes a share. That is room enough to show that difficulty
//! follows the miner: half of the miners state their hash rate, the other half state none and
//! begin at the hardest difficulty, and each finds shares as often as its hash rate and the target
//! of its job make it, by chance as a real one does.

use std::time::Duration;

use tokio::time::Instant;

use super::WalkError;
use super::crowd::Phase;
use super::findings::Findings;
use super::party::{Miners, Party};
use super::site;
use super::stage::Stage;
use crate::actors::miner::Pace;
use crate::actors::miner::connection::open_with_certificate;

/// Hashes behind a share of difficulty 1.
const DIFFICULTY_ONE: f64 = 4_295_032_833.0;
/// Shares a second that each miner should find. So many, because a miner's luck must stay far
/// below the fifth that it may be off: over the second half of two minutes it is three in a
/// hundred.
const SHARES_A_SECOND: f64 = 20.0;
/// The easiest and the hardest share, in hashes: both between all hashes and blocks.
const HASHES_A_SHARE: (f64, f64) = (1.02, 1.95);
/// What the miners' difficulties should come to, in hashes a share, from the first to the last.
const SHOULD_BE: (f64, f64) = (1.15, 1.75);
/// How far a miner may be from its rate.
const TOLERANCE: f64 = 0.2;
/// New connections a second.
const RAMP: f64 = 100.0;
/// What a reload changes while miners work.
const BATCH_MS: u64 = 50;

/// Does it: `miners` for `lasting`.
pub(super) async fn load(
    mut stage: Stage<'_>,
    miners: u32,
    lasting: Duration,
) -> Result<Findings, WalkError> {
    let party = Party::open(&stage, miners);
    stage.prepare(&config(miners)).await?;
    stage.start_gateway().await?;
    party.follow_events(&stage);
    party.connect(&mut stage, &Miners { count: miners, a_second: RAMP, pace }).await?;
    let begun = Instant::now();
    let mut findings = Findings::default();
    let mut day = Day { stage, party, begun, lasting };

    day.until(0.15).await;
    day.switch_mode("observe", &mut findings).await?;
    day.until(0.25).await;
    day.new_tip(&mut findings).await?;
    day.until(0.35).await;
    day.reload(&mut findings).await?;
    day.until(0.5).await;
    let judged_from = Instant::now();
    day.party.crowd.enter(Phase::Judged);
    day.until(0.6).await;
    day.switch_mode("inline", &mut findings).await?;
    day.until(0.7).await;
    day.rotate_certificate(&mut findings).await?;
    day.until(0.8).await;
    day.new_tip(&mut findings).await?;
    day.until(1.0).await;
    day.judge_rates(judged_from.elapsed(), &mut findings);
    day.drain(&mut findings).await?;
    Ok(findings)
}

/// What differs from a walk without load: vardiff at work, and room for everyone.
fn config(miners: u32) -> String {
    let (easiest, hardest) = (HASHES_A_SHARE.0 / DIFFICULTY_ONE, HASHES_A_SHARE.1 / DIFFICULTY_ONE);
    let a_minute = SHARES_A_SECOND * 60.0;
    let connections = miners + 100;
    format!(
        "[share]\ninitial_difficulty = {hardest:e}\n\
         [vardiff]\nmin_difficulty = {easiest:e}\nmax_difficulty = {hardest:e}\n\
         target_shares_per_minute = {a_minute:.1}\nretarget_interval_secs = 10\n\
         [limits]\nmax_connections = {connections}\nmax_connections_per_ip = {connections}\n\
         connections_per_second_per_ip = 1000\n\
         [log]\nretention = 2\n"
    )
}

/// A miner's hash rate, and what it says of it. Standard and extended ones have every speed, and of
/// both every other one says nothing.
fn pace(index: u32) -> (f32, Pace) {
    let (slow, fast) = SHOULD_BE;
    // The golden ratio spreads any number of miners evenly.
    let part = (f64::from(index) * 0.618_034).fract();
    let hashes_a_second = (slow + (fast - slow) * part) * SHARES_A_SECOND;
    let is_stated = (index / 2).is_multiple_of(2);
    (if is_stated { hashes_a_second as f32 } else { 0.0 }, Pace::Hashes(hashes_a_second))
}

/// The load while it lasts.
struct Day<'a> {
    stage: Stage<'a>,
    party: Party,
    begun: Instant,
    lasting: Duration,
}

impl Day<'_> {
    /// Waits until this part of the day is over.
    async fn until(&self, part: f64) {
        tokio::time::sleep_until(self.begun + self.lasting.mul_f64(part)).await;
    }

    /// Another configuration by SIGHUP. The event that tells of it.
    async fn hang_up(&mut self, change: &str) -> Result<serde_json::Value, WalkError> {
        let before = self.party.crowd.events("config_reloaded").len();
        self.stage.site.change_gateway(change)?;
        self.stage.running.hang_up("gateway")?;
        self.party.next_event(&mut self.stage, "config_reloaded", before).await
    }

    async fn switch_mode(
        &mut self,
        mode: &'static str,
        findings: &mut Findings,
    ) -> Result<(), WalkError> {
        self.stage.say(&format!("the mode becomes {mode}"));
        let (crowd, begun) = (self.party.crowd.clone(), Instant::now());
        let (changes, before) = (crowd.events("mode_changed").len(), crowd.counts());
        let told = self.hang_up(&format!("[gateway]\nmode = \"{mode}\"\n")).await?;
        let change = self.party.next_event(&mut self.stage, "mode_changed", changes).await?;
        let took = begun.elapsed().as_millis();
        let lost = crowd.counts().disconnects - before.disconnects;
        let fits = change["to"] == mode && told["applied"] == true;
        let (from, to) = (&change["from"], &change["to"]);
        let figures = format!("{from} to {to} within {took} ms, {lost} miners lost");
        findings.add("live switch of the mode", fits && lost == 0, figures);
        Ok(())
    }

    async fn reload(&mut self, findings: &mut Findings) -> Result<(), WalkError> {
        let key = "share.share_batch_interval_ms";
        self.stage.say(&format!("{key} becomes {BATCH_MS}"));
        let before = self.party.crowd.counts().disconnects;
        let change = format!("[share]\nshare_batch_interval_ms = {BATCH_MS}\n");
        let told = self.hang_up(&change).await?;
        let changed = told["changed"].to_string();
        let config = self.stage.http().get_json("/api/v1/config").await;
        let config = config.map_err(WalkError::Violated)?;
        let in_force = is_said(&config, key, &BATCH_MS.to_string());
        let lost = self.party.crowd.counts().disconnects - before;
        let holds = changed.contains(key) && told["applied"] == true && in_force && lost == 0;
        findings.add("reload", holds, format!("changed {changed}, {lost} miners lost"));
        Ok(())
    }

    /// A new key and certificate of the same authority. Connections stay, and new ones see it.
    async fn rotate_certificate(&mut self, findings: &mut Findings) -> Result<(), WalkError> {
        self.stage.say("another certificate");
        let lost_before = self.party.crowd.counts().disconnects;
        let old = self.shown_certificate().await?;
        self.stage.make_keys("keys-2", &["--authority-key", "keys/authority.key"])?;
        let change = "[noise]\nnoise_key_file = \"keys-2/noise.key\"\n\
                      noise_cert_file = \"keys-2/noise.cert\"\n";
        let told = self.hang_up(change).await?;
        let new = self.shown_certificate().await?;
        let lost = self.party.crowd.counts().disconnects - lost_before;
        let holds = told["applied"] == true && new != old && lost == 0;
        let shown = if new == old { "still the old one" } else { "the new one" };
        let figures = format!("new connections see {shown}, {lost} miners lost");
        findings.add("rotation of the certificate", holds, figures);
        Ok(())
    }

    async fn shown_certificate(&self) -> Result<String, WalkError> {
        let site = &self.stage.site;
        let (address, authority) = (site::loopback(site.ports.miners), site.authority()?);
        let opened = open_with_certificate(&self.stage.env, &address, Some(authority)).await;
        let (_, certificate) = opened.map_err(WalkError::Violated)?;
        Ok(certificate.to_string())
    }

    /// A block of another miner: everyone goes on on it.
    async fn new_tip(&mut self, findings: &mut Findings) -> Result<(), WalkError> {
        self.stage.say("a new block");
        let before = self.party.crowd.counts().disconnects;
        let begun = Instant::now();
        let tip = {
            let Stage { chain, node, .. } = &mut self.stage;
            chain.mine(node, 1)?[0].to_string()
        };
        let (crowd, wanted) = (self.party.crowd.clone(), self.party.crowd.at_work());
        let on_it = async || match crowd.on_tip(&tip) {
            count if count == wanted => Ok(()),
            count => Err(format!("{count} of {wanted} are")),
        };
        self.stage.running.until("all miners to be on the new block", "gateway", on_it).await?;
        let took = begun.elapsed().as_millis();
        let lost = self.party.crowd.counts().disconnects - before;
        let figures = format!("{wanted} miners on it within {took} ms, {lost} lost");
        findings.add("new block", lost == 0, figures);
        Ok(())
    }

    fn judge_rates(&self, over: Duration, findings: &mut Findings) {
        let crowd = &self.party.crowd;
        let of_target = |rate: f64| rate / SHARES_A_SECOND;
        let rates = crowd.accepted(Phase::Judged);
        let rates = rates.iter().map(|count| of_target(*count as f64 / over.as_secs_f64()));
        let rates = Rates::of(&rates.collect::<Vec<_>>());
        let first: Vec<_> = crowd.rates_when_new().into_iter().map(of_target).collect();
        let first = Rates::of(&first);
        let figures =
            format!("{rates} over {:.0} s; in their first 3 s: {first}", over.as_secs_f64());
        let what = "every miner within 20 % of the target share rate";
        findings.add(what, rates.within == rates.count, figures);
    }

    /// SIGTERM while everyone works, and the account of every share.
    async fn drain(&mut self, findings: &mut Findings) -> Result<(), WalkError> {
        let crowd = self.party.crowd.clone();
        let (before, miners) = (crowd.counts(), crowd.at_work());
        let (took, recovered) = self.party.drain(&mut self.stage).await?;
        let took = took.as_millis();
        let told = crowd.events("connection_closed");
        let told = told.iter().filter(|line| line["reason_code"] == "shutdown_drain").count();
        let left = recovered.unresolved.len();
        let figures =
            format!("exit 0 after {took} ms, {told} of {miners} miners told, {left} shares left");
        findings.add("drain", told == miners && left == 0, figures);
        let stayed = before.disconnects == 0;
        findings.add("no miner lost before the drain", stayed, format!("{}", before.disconnects));
        account(&self.party, findings);
        Ok(())
    }
}

/// What holds of all shares in the end.
pub(super) fn account(party: &Party, findings: &mut Findings) {
    let counts = party.crowd.counts();
    let figures = format!(
        "{} sent, {} acknowledged, {} overtaken by a block, {} without an answer at the end, {} \
         refused {:?}",
        counts.sent,
        counts.acknowledged,
        counts.overtaken,
        counts.unanswered,
        counts.refused.values().sum::<u64>(),
        counts.refused
    );
    let none = counts.refused.is_empty() && counts.breaches.is_empty() && counts.acknowledged > 0;
    findings.add("no good share refused", none, figures);
    let joined = party.crowd.join();
    let figures = format!(
        "{} acknowledged, of these {} not in the log",
        joined.acknowledged, joined.not_durable
    );
    findings.add("no share acknowledged that is not durable", joined.not_durable == 0, figures);
    let figures = format!(
        "{} accepted, {} taken by the pool, {} credited once{}{}",
        joined.accepted,
        joined.forwarded,
        joined.credited,
        if joined.breaks.is_empty() { "" } else { "; " },
        joined.breaks.join("; ")
    );
    findings.add("one result for each accepted share", joined.breaks.is_empty(), figures);
}

/// Rates as parts of the one that they should be.
struct Rates {
    count: usize,
    within: usize,
    least: f64,
    most: f64,
    mean: f64,
}

impl Rates {
    fn of(rates: &[f64]) -> Self {
        Self {
            count: rates.len(),
            within: rates.iter().filter(|rate| (*rate - 1.0).abs() <= TOLERANCE).count(),
            least: rates.iter().copied().fold(f64::INFINITY, f64::min),
            most: rates.iter().copied().fold(0.0, f64::max),
            mean: rates.iter().sum::<f64>() / rates.len().max(1) as f64,
        }
    }
}

impl std::fmt::Display for Rates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { count, within, least, most, mean } = self;
        write!(f, "{within} of {count} (least {least:.2}, mean {mean:.2}, most {most:.2})")
    }
}

/// Whether the report of `/api/v1/config` says that a key has this value.
fn is_said(config: &serde_json::Value, key: &str, value: &str) -> bool {
    let keys = config["settings"].as_array().into_iter().flatten();
    keys.filter(|entry| entry["key"] == key).any(|entry| entry["value"] == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_miner_has_a_difficulty_between_all_hashes_and_blocks() {
        for index in 0..1_000 {
            let (stated, Pace::Hashes(rate)) = pace(index) else { panic!("by hash rate") };
            let hashes = rate / SHARES_A_SECOND;
            assert!((HASHES_A_SHARE.0..HASHES_A_SHARE.1).contains(&hashes), "{index}: {hashes}");
            assert!(stated == 0.0 || (f64::from(stated) - rate).abs() < 0.001);
        }
    }

    #[test]
    fn a_rate_that_is_off_by_a_quarter_is_not_within() {
        let rates = Rates::of(&[1.0, 0.81, 1.19, 1.25]);
        assert_eq!((rates.count, rates.within), (4, 3));
        assert_eq!(rates.to_string(), "3 of 4 (least 0.81, mean 1.06, most 1.25)");
    }
}
