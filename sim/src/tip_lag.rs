//! How long a new tip of a real node takes to become a template at a gateway: by push, the long
//! polls that gateway and template-manager stand in, beside polling, which is what is left where
//! those fail. Both are timed on the same tips.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bitcoin::BlockHash;
use hdrhistogram::Histogram;
use platform::http_client::HttpClient;
use platform::{Env, Reload, Shutdown};
use serde_json::json;
use templates::client::{Fetched, TemplateClient};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::node::{ChainScript, Node, RealNode};

/// Blocks before the first tip, and their age: the node must not take itself for catching up.
const BLOCKS: u32 = 120;
const CHAIN_AGE_S: u64 = 3_600;
/// What a gateway allows the template source by default.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const LONG_POLL: Duration = Duration::from_secs(10);
/// How long the template-manager may take to have its first template.
const START: Duration = Duration::from_secs(10);
const START_PAUSE: Duration = Duration::from_millis(20);
/// What a template may take beyond the wait between polls.
const OVERDUE: Duration = Duration::from_secs(10);

/// What is timed.
pub struct Options {
    /// The node's program.
    pub bitcoind: PathBuf,
    /// How many new tips.
    pub tips: u32,
    /// How many transactions each tip's template has.
    pub transactions: usize,
    /// The wait between polls, where it is polled (`timing.upstream_poll_interval_ms`).
    pub poll_interval: Duration,
}

/// From the block's submission to the template, each in microseconds.
pub struct Report {
    transactions: usize,
    poll_interval: Duration,
    push: Histogram<u64>,
    poll: Histogram<u64>,
}

impl Report {
    /// Whether push is what it is for.
    pub fn holds(&self) -> bool {
        self.push.value_at_quantile(0.5) < self.poll.value_at_quantile(0.5)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tips, transactions) = (self.push.len(), self.transactions);
        writeln!(f, "{tips} new tips of a real node, {transactions} transactions in the first")?;
        writeln!(f, "  from submitblock to the template at the gateway")?;
        let millis = |us: u64| format!("{}.{:03} ms", us / 1000, us % 1000);
        let every = format!("polling every {} ms", self.poll_interval.as_millis());
        for (name, times) in [("push", &self.push), (every.as_str(), &self.poll)] {
            let (p50, p90) = (times.value_at_quantile(0.5), times.value_at_quantile(0.9));
            let (p50, p90, max) = (millis(p50), millis(p90), millis(times.max()));
            writeln!(f, "  {name:24} p50 {p50}  p90 {p90}  max {max}")?;
        }
        Ok(())
    }
}

/// How a gateway follows its template source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Push,
    Poll(Duration),
}

/// A template that came: on which tip, by which way, and when.
type Seen = (BlockHash, Way, Instant);

/// Starts a node and a template-manager, and times `options.tips` new tips.
///
/// # Errors
/// The node or the template-manager cannot be started, or a template does not come.
pub async fn run(env: &Env, options: &Options) -> Result<Report> {
    let begins_s = env.wall.unix_ms() / 1000 - CHAIN_AGE_S;
    let mut node = RealNode::start(&options.bitcoind, begins_s)?;
    let mut chain = ChainScript::new(1, begins_s);
    chain.premine(&mut node, BLOCKS, options.transactions)?;
    // From here on the node goes by the machine's clock.
    node.call("setmocktime", &json!([0]))?;
    chain.fill_mempool(&mut node, options.transactions)?;

    let shutdown = Shutdown::new();
    let source = start_source(env, &node, &shutdown).await?;
    let (seen, mut templates) = mpsc::channel(64);
    let ways = [Way::Push, Way::Poll(options.poll_interval)];
    for way in ways {
        drop(env.tasks.spawn("gateway", follow(source.clone(), way, seen.clone())));
    }
    let (mut push, mut poll) = (lags(), lags());
    for _ in 0..options.tips {
        // Somewhere between two polls, as blocks come.
        let mut drawn = [0; 4];
        env.rng.fill(&mut drawn);
        let part = f64::from(u32::from_le_bytes(drawn)) / f64::from(u32::MAX);
        tokio::time::sleep(options.poll_interval.mul_f64(0.5 + part)).await;
        let block = chain.next_block(&mut node)?;
        let begun = Instant::now();
        let tip = tokio::task::block_in_place(|| chain.submit_new_tip(&mut node, &block))?;
        let mut waited_for = ways.to_vec();
        while !waited_for.is_empty() {
            let next = timeout(options.poll_interval + OVERDUE, templates.recv()).await;
            let next = next.with_context(|| format!("no template on {tip} by {waited_for:?}"))?;
            let Some((on, way, at)) = next else { bail!("nobody follows the template source") };
            if on != tip {
                continue;
            }
            let times = if way == Way::Push { &mut push } else { &mut poll };
            times.saturating_record(at.duration_since(begun).as_micros() as u64);
            waited_for.retain(|other| *other != way);
        }
    }
    shutdown.cancel();
    let Options { transactions, poll_interval, .. } = *options;
    Ok(Report { transactions, poll_interval, push, poll })
}

fn lags() -> Histogram<u64> {
    Histogram::new_with_max(600_000_000, 3).expect("the bounds are sound")
}

/// A template-manager on this node, once it has a template.
async fn start_source(env: &Env, node: &RealNode, shutdown: &Shutdown) -> Result<TemplateClient> {
    let free = env.net.listen("127.0.0.1:0").await.context("no free port")?.local_addr();
    let (url, cookie) = (node.rpc_url(), node.cookie_file().display());
    let config = format!(
        "http_addr = \"{free}\"\n[[nodes]]\nname = \"bitcoind\"\nurl = \"{url}\"\n\
         cookie_file = \"{cookie}\"\n"
    );
    let config = templates::Config::from_toml(&config, &BTreeMap::new(), env.storage.as_ref());
    let config = config.map_err(|problems| anyhow!("the template-manager: {problems:?}"))?;
    let manager = templates::run(env.clone(), config, shutdown.clone(), Reload::new());
    drop(env.tasks.spawn("templates", manager));
    let (http, cpu) = (HttpClient::new(env), Arc::clone(&env.cpu));
    let client = TemplateClient::new(http, cpu, &format!("http://{free}"), None, REQUEST_TIMEOUT);
    let begun = Instant::now();
    while let Err(error) = client.fetch(None, Duration::ZERO).await {
        if begun.elapsed() > START {
            return Err(error).context("the template-manager has no template");
        }
        tokio::time::sleep(START_PAUSE).await;
    }
    Ok(client)
}

/// Follows the source as a gateway does, and tells of each template on another tip.
async fn follow(source: TemplateClient, way: Way, seen: mpsc::Sender<Seen>) {
    let (mut latest, mut tip) = (None, None);
    loop {
        let after = latest.filter(|_| way == Way::Push);
        let fetched = source.fetch(after, LONG_POLL).await;
        if let Ok(Fetched { template: Some(answer), .. }) = fetched {
            latest = Some(answer.template_id);
            // A template is there once it has been read.
            let on = answer.block_template().ok().map(|template| template.previous_block_hash);
            if let Some(on) = on.filter(|on| tip != Some(*on)) {
                tip = Some(on);
                if seen.send((on, way, Instant::now())).await.is_err() {
                    return;
                }
            }
        }
        if let Way::Poll(interval) = way {
            tokio::time::sleep(interval).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_both_ways_side_by_side() {
        let (mut push, mut poll) = (lags(), lags());
        for us in [1_000, 2_000, 9_000] {
            push.record(us).unwrap();
            poll.record(us * 100).unwrap();
        }
        let poll_interval = Duration::from_secs(3);
        let report = Report { transactions: 5, poll_interval, push, poll };
        assert!(report.holds());
        let lines: Vec<_> = report.to_string().lines().map(str::to_owned).collect();
        assert!(lines[2].starts_with("  push                     p50 2.0"), "{lines:?}");
        assert!(lines[3].starts_with("  polling every 3000 ms    p50 20"), "{lines:?}");
    }
}
