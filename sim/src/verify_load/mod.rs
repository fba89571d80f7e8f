//! Load on a verifier through its real wire: small proposals at a fixed rate ([`offered`]), and
//! full templates one after another ([`full`]).
//!
//! The rate is kept whatever becomes of the proposals before, and latency counts from the moment
//! at which a proposal was to be sent: a verifier that falls behind cannot hide it.

pub mod full;
mod link;
pub mod offered;
mod proposals;
#[cfg(test)]
mod tests;

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use platform::{Env, Shutdown, TaskHandle};

/// The published promise for every verdict, in microseconds.
const PROMISED_US: u64 = 100_000;

/// What is loaded, and through which network.
pub struct Load {
    /// The machine that loads.
    pub env: Env,
    /// Where the verifier takes proposals.
    pub verifier: String,
    /// Where its HTTP interface is; needed to replace policies.
    pub http: Option<String>,
}

/// A verifier of our own, with the default policy.
pub struct OwnVerifier {
    shutdown: Shutdown,
    running: TaskHandle<Result<(), verifier::Error>>,
}

impl Load {
    /// A load on a verifier that is started for it on `env`.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn with_own_verifier(env: &Env) -> Result<(Self, OwnVerifier)> {
        let free = async || {
            let listener = env.net.listen("127.0.0.1:0").await.context("no free port")?;
            anyhow::Ok(listener.local_addr().to_string())
        };
        let (listen_addr, http_addr) = (free().await?, free().await?);
        let config = verifier::Config {
            listen_addr: listen_addr.clone(),
            http_addr: http_addr.clone(),
            ..verifier::Config::default()
        };
        let shutdown = Shutdown::new();
        let run = verifier::run(env.clone(), config, shutdown.clone());
        let running = env.tasks.spawn("verifier", run);
        let load = Self { env: env.clone(), verifier: listen_addr, http: Some(http_addr) };
        Ok((load, OwnVerifier { shutdown, running }))
    }
}

impl OwnVerifier {
    /// Drains it.
    ///
    /// # Errors
    /// It did not end as it should.
    pub async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        match self.running.await {
            Some(ended) => Ok(ended?),
            None => bail!("the verifier panicked"),
        }
    }
}

/// Latencies in microseconds, up to a minute.
fn latencies() -> Histogram<u64> {
    Histogram::new_with_max(60_000_000, 3).expect("the bounds are sound")
}

/// One line of percentiles. A quantile with fewer than 100 samples beyond it is not shown.
fn percentiles(samples: &Histogram<u64>) -> String {
    let mut text = format!("n {}", samples.len());
    for (name, quantile, beyond) in
        [("p50", 0.5, 2), ("p90", 0.9, 10), ("p99", 0.99, 100), ("p99.9", 0.999, 1000)]
    {
        if samples.len() >= 100 * beyond {
            let value = samples.value_at_quantile(quantile);
            text.push_str(&format!("  {name} {}", millis(value)));
        }
    }
    text.push_str(&format!("  max {}", millis(samples.max())));
    text
}

fn millis(us: u64) -> String {
    format!("{}.{:03} ms", us / 1000, us % 1000)
}
