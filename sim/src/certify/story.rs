//! A load from its first connection to its last share.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::hashes::Hash as _;
use http::Request;
use http_body_util::Full;
use platform::Env;
use platform::http_client::HttpClient;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::certificate::{Bucket, Certificate, Counts, Events, LoadShown, Used};
use super::course::{counts, end, idly, put, settle, shown};
use super::join::Join;
use super::load::{Load, loopback_sources};
use super::machine::Machine;
use super::measure::Measures;
use super::pool::{self, Taken};
use super::tips::Tips;
use super::{CertifyError, Options, Outside};
use crate::actors::events;
use crate::node::{ChainScript, Node, RealNode};
use crate::walk::WalkError;
use crate::walk::process::{Programs, Running};
use crate::walk::site::{self, Site};

/// The chain before the load.
const BLOCKS: u32 = 101;
/// The chain begins so long ago, so that no block of it is in the future.
const CHAIN_AGE_S: u64 = 7_200;

/// How long the gateway may take to tell its metrics, and how much.
const METRICS_PATIENCE: Duration = Duration::from_secs(5);
/// See [`METRICS_PATIENCE`].
const MOST_METRICS_BYTES: usize = 1 << 20;
/// Loads the programs of this machine.
pub(super) async fn inside(
    env: &Env,
    machine: Machine,
    options: &Options,
    progress: &mut dyn FnMut(&str),
) -> Result<(Certificate, Measures), CertifyError> {
    let mut bench = Bench::begin(env, options, progress).await?;
    bench.start(progress).await?;
    let pid = bench.running.pid("gateway");
    let load = Arc::new(bench.load(env, options)?);
    let uses = put(&load, options, pid, progress, bench.mine(&load, options)).await?;
    settle(&load, progress, || bench.join.open()).await;
    let unanswered = load.waiting() as u64;
    let (mut measures, tips, tally) = load.take();
    let tips_written = bench.tips_written().await;
    env.tasks.abort_all();
    let (join, of_events) = bench.join.finish();
    measures.add(&of_events);
    let counts = Counts {
        events: Some(Events::new(join, bench.taken.load(Ordering::Relaxed))),
        ..counts(tips.measure(&mut measures), tally, unanswered)
    };
    let used = Used { tips_written, ..uses.used(options, counts.shares_accepted) };
    let shown = LoadShown {
        node: Some(bench.node.version().to_owned()),
        tip_interval_s: Some(options.tip_interval.as_secs_f64()),
        transactions: Some(options.transactions),
        log_sync: Some(options.log_sync.clone()),
        ..shown(options, "programs started here", &counts)
    };
    Ok((Certificate::new(machine, shown, counts, Some(used), &measures), measures))
}

/// Loads a gateway that runs elsewhere.
pub(super) async fn outside(
    env: &Env,
    machine: Machine,
    options: &Options,
    outside: &Outside,
    progress: &mut dyn FnMut(&str),
) -> Result<(Certificate, Measures), CertifyError> {
    let load = Arc::new(Load::new(
        vec![env.clone()],
        outside.address.clone(),
        outside.authority,
        outside.identity.clone(),
        options.share_interval,
        options.burst,
        Tips::unannounced(),
    ));
    put(&load, options, None, progress, idly(options)).await?;
    let (counts, measures) = end(&load, progress).await;
    env.tasks.abort_all();
    let shown = shown(options, &outside.address, &counts);
    Ok((Certificate::new(machine, shown, counts, None, &measures), measures))
}

/// What there is while the programs of this machine are loaded. Fields are dropped from the top.
struct Bench {
    running: Running,
    programs: Programs,
    node: RealNode,
    chain: ChainScript,
    site: Site,
    env: Env,
    join: Join,
    taken: Taken,
    log_sync: String,
    miners: u32,
}

impl Bench {
    async fn begin(
        env: &Env,
        options: &Options,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self, CertifyError> {
        let programs = Programs::find(options.programs.as_deref(), false)?;
        let bitcoind = crate::node::find().ok_or(WalkError::NoNode)?.exe;
        let mut secret = [0; 16];
        env.rng.fill(&mut secret);
        let site = Site::new(env, false, SecretString::from(const_hex::encode(secret))).await?;
        progress(&format!("starting {}", bitcoind.display()));
        let (node, chain) = chain(env, &bitcoind, options)?;
        Ok(Self {
            running: Running::default(),
            programs,
            node,
            chain,
            site,
            env: env.clone(),
            join: Join::default(),
            taken: Taken::default(),
            log_sync: options.log_sync.clone(),
            miners: options.miners,
        })
    }

    /// Keys, configuration, the three programs, the pool, and a reader of the event stream.
    async fn start(&mut self, progress: &mut dyn FnMut(&str)) -> Result<(), CertifyError> {
        let pool = site::loopback(self.site.ports.relay);
        let serve = pool::serve(self.env.clone(), pool, Arc::clone(&self.taken));
        drop(self.env.tasks.spawn("pool", async move {
            if let Err(error) = serve.await {
                tracing::error!(%error, "the pool does not listen");
            }
        }));
        let miners_at = site::loopback(self.site.ports.miners);
        let arguments = ["gen-keys", "--out", "keys", "--address", &miners_at];
        self.programs.run("gateway", &arguments, self.site.folder())?;
        self.site.configure(&self.node, &self.gateway_more())?;
        let ports = &self.site.ports;
        let (judge, source, gateway) =
            (ports.verifier_http, ports.templates_http, ports.gateway_http);
        for (program, port) in
            [("verifier", judge), ("template-manager", source), ("gateway", gateway)]
        {
            progress(&format!("starting {program}"));
            let config = format!("{program}.toml");
            let process =
                self.programs.start(program, &["--config", &config], self.site.folder())?;
            self.running.add(process);
            self.running.until_ready(&self.env, program, port).await?;
        }
        let base = format!("http://{}", site::loopback(gateway));
        let join = self.join.clone();
        let follow = events::follow_with(self.env.clone(), base, None, move |line: Value| {
            join.take(&line);
        });
        drop(self.env.tasks.spawn("event_reader", follow));
        Ok(())
    }

    /// Limits that a load from one machine stays below, and how the log is synced.
    fn gateway_more(&self) -> String {
        let (sync, connections) = (&self.log_sync, self.miners.saturating_add(100));
        format!(
            "[log]\nsync = \"{sync}\"\n\n[limits]\nmax_connections = {connections}\n\
             max_connections_per_ip = {connections}\nconnections_per_second_per_ip = 100000\n\
             rate_limit_messages_per_sec = 1000000\nrate_limit_bytes_per_sec = 100000000\n\
             shares_per_second = 1000000\n"
        )
    }

    /// How soon after the gateway's decision each miner was written a new tip.
    async fn tips_written(&self) -> Vec<Bucket> {
        let client = HttpClient::new(&self.env);
        let url = format!("http://{}/metrics", site::loopback(self.site.ports.gateway_http));
        let request = Request::get(&url).body(Full::default()).expect("the request is well formed");
        let answer = client.send(request, METRICS_PATIENCE, MOST_METRICS_BYTES).await;
        answer
            .map_or_else(|_| Vec::new(), |answer| buckets(&String::from_utf8_lossy(answer.body())))
    }

    fn load(&self, env: &Env, options: &Options) -> Result<Load, CertifyError> {
        Ok(Load::new(
            loopback_sources(env),
            site::loopback(self.site.ports.miners),
            Some(self.site.authority()?),
            site::MINER_PREFIX.to_owned(),
            options.share_interval,
            options.burst,
            Tips::default(),
        ))
    }

    /// Mines a block at each interval until the time is up.
    async fn mine(&mut self, load: &Load, options: &Options) -> Result<(), CertifyError> {
        let end = Instant::now() + options.duration;
        // The last tip has the time of half an interval to reach everyone.
        let mut next = Instant::now() + options.tip_interval / 2;
        while next < end {
            tokio::time::sleep_until(next).await;
            // The node answers when it has judged the block: no miner is to wait for that.
            tokio::task::block_in_place(|| self.mine_one(load))?;
            next += options.tip_interval;
        }
        tokio::time::sleep_until(end).await;
        Ok(())
    }

    /// A block without transactions: the mempool stays as full as it is, and so the first template
    /// on each tip. Filling it again meanwhile would be work beside the gateway's.
    fn mine_one(&mut self, load: &Load) -> Result<(), CertifyError> {
        let Self { node, chain, .. } = self;
        let block = chain.next_empty_block(node)?;
        let text = serialize_hex(&block);
        load.begin_tip(block.block_hash().to_byte_array(), Instant::now());
        let answer: Option<String> = <dyn Node>::ask(node, "submitblock", &json!([text]))?;
        if let Some(reason) = answer {
            return Err(CertifyError::Load(format!("the node refused a block: {reason}")));
        }
        Ok(())
    }
}

/// A node with a chain whose coins suffice for every template of the load.
fn chain(
    env: &Env,
    bitcoind: &Path,
    options: &Options,
) -> Result<(RealNode, ChainScript), CertifyError> {
    let begins_s = env.wall.unix_ms() / 1000 - CHAIN_AGE_S;
    let mut node = RealNode::start(bitcoind, begins_s)?;
    let mut chain = ChainScript::new(1, begins_s);
    chain.premine(&mut node, BLOCKS, options.transactions.max(1))?;
    // From here on the node goes by the machine's clock, as the programs do.
    node.call("setmocktime", &json!([0]))?;
    chain.fill_mempool(&mut node, options.transactions)?;
    Ok((node, chain))
}

/// The buckets of the histogram among the metrics, each with what is in it and in those below.
fn buckets(metrics: &str) -> Vec<Bucket> {
    metrics
        .lines()
        .filter_map(|line| line.strip_prefix("gateway_prevhash_sent_seconds_bucket{le=\""))
        .filter_map(|rest| {
            let (bound, rest) = rest.split_once("\"}")?;
            let seconds: f64 = bound.trim_start_matches('+').parse().ok()?;
            Some(Bucket { at_most_ms: seconds * 1e3, count: rest.trim().parse().ok()? })
        })
        .filter(|bucket| bucket.at_most_ms.is_finite())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_found_among_metrics() {
        let text = "gateway_prevhash_sent_seconds_sum 1.0\n\
                    gateway_prevhash_sent_seconds_bucket{le=\"0.0005\"} 3\n\
                    gateway_prevhash_sent_seconds_bucket{le=\"+Inf\"} 5\n";
        assert_eq!(buckets(text), [Bucket { at_most_ms: 0.5, count: 3 }]);
    }
}
