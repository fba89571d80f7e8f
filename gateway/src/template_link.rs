//! Templates from their source: long polls, and plain polls where those fail.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use gateway_core::ids::TemplateId;
use gateway_core::job::{CoinbaseSpec, Template, TemplateTransaction, Work};
use gateway_core::prevhash::Input;
use platform::{Entropy, Offload, Shutdown, offload};
use templates::client::{Fetched, TemplateAnswer, TemplateClient, TemplateId as WireTemplateId};
use tokio::sync::mpsc;

use crate::backoff::Backoff;
use crate::config::Payout;
use crate::limits::SOURCE_RETRY;

/// Follows one template source.
pub(crate) struct TemplateLink {
    pub(crate) client: TemplateClient,
    pub(crate) cpu: Arc<dyn Offload>,
    pub(crate) rng: Arc<dyn Entropy>,
    pub(crate) switch: mpsc::Sender<Input>,
    pub(crate) payouts: Arc<Payouts>,
    /// The longest wait before it is asked again after failures.
    pub(crate) poll_interval: Duration,
    /// How long one long poll may wait.
    pub(crate) long_poll: Duration,
    /// Whether its last answer was one; shown to whoever asks how things stand.
    pub(crate) is_up: Arc<AtomicBool>,
    /// The highest template id given out, whatever source it came from.
    pub(crate) newest_id: Arc<AtomicU64>,
}

/// Whom coinbases pay.
pub(crate) struct Payouts {
    tag: Vec<u8>,
    configured: Vec<Payout>,
}

/// Why an answer of the source is no work.
#[derive(Debug, thiserror::Error)]
enum TemplateError {
    #[error("{0}")]
    Malformed(#[from] templates::gbt::GbtError),
    #[error("{0}")]
    Build(#[from] gateway_core::job::BuildError),
    #[error("no payout output is configured for network {0}; set gateway.payout_outputs")]
    NobodyToPay(String),
    #[error("gateway.payout_outputs pays {address}, which is no address of network {network}")]
    WrongNetwork { address: String, network: String },
    #[error("network {0} is not known")]
    UnknownNetwork(String),
}

impl TemplateLink {
    /// Follows the source until `stop`.
    pub(crate) async fn run(self, stop: Shutdown) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.follow() => {}
        }
    }

    async fn follow(self) {
        let mut latest = None;
        let mut failing = false;
        // A long poll is tried again after each plain poll that worked.
        let mut wait_for_next = false;
        let waits = (SOURCE_RETRY.min(self.poll_interval), self.poll_interval);
        let mut backoff = Backoff::new(waits, Arc::clone(&self.rng));
        loop {
            let after = latest.filter(|_| wait_for_next);
            match self.client.fetch(after, self.long_poll).await {
                Ok(Fetched { template, confirmed_ago }) => {
                    self.is_up.store(true, Ordering::Relaxed);
                    if std::mem::take(&mut failing) {
                        tracing::info!("the template source answers again");
                    }
                    if after.is_some() {
                        // A source that answers plain polls only is not asked in a busy loop.
                        backoff.reset();
                    }
                    wait_for_next = true;
                    let fresh = template.filter(|answer| latest != Some(answer.template_id));
                    latest = fresh.as_ref().map(|answer| answer.template_id).or(latest);
                    let inputs = match fresh {
                        Some(answer) => self.news(answer, confirmed_ago).await,
                        None => vec![Input::SourceAlive {
                            confirmed_ago: confirmed_ago.unwrap_or_default(),
                        }],
                    };
                    for input in inputs {
                        if self.switch.send(input).await.is_err() {
                            return;
                        }
                    }
                }
                Err(error) => {
                    self.is_up.store(false, Ordering::Relaxed);
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "the template source does not answer");
                    }
                    wait_for_next = false;
                    tokio::time::sleep(backoff.next_wait()).await;
                }
            }
        }
    }

    /// What a template means for the switch; nothing where it is refused. What is new here may
    /// have been at its source for long and still be right, which the source then says.
    async fn news(
        &self,
        mut answer: TemplateAnswer,
        confirmed_ago: Option<Duration>,
    ) -> Vec<Input> {
        answer.template_id = self.renumber(answer.template_id);
        let Some(template) = self.work(answer).await else { return Vec::new() };
        let alive = confirmed_ago.map(|confirmed_ago| Input::SourceAlive { confirmed_ago });
        std::iter::once(template).chain(alive).collect()
    }

    /// The id of a template that comes after all before it: what the source tells last is newest,
    /// also where it started again with its clock set back.
    fn renumber(&self, template_id: WireTemplateId) -> WireTemplateId {
        let newest = self.newest_id.load(Ordering::Relaxed);
        let next = template_id.0.max(newest + 1);
        self.newest_id.store(next, Ordering::Relaxed);
        WireTemplateId(next)
    }

    /// Makes work of a template, away from the event loop: it may have megabytes.
    async fn work(&self, answer: TemplateAnswer) -> Option<Input> {
        let payouts = Arc::clone(&self.payouts);
        let template_id = answer.template_id;
        let built = offload(&self.cpu, move || build(&answer, &payouts)).await;
        match built {
            Ok(work) => Some(Input::Template(Arc::new(work))),
            Err(error) => {
                tracing::error!(template_id = template_id.0, %error, "template refused");
                None
            }
        }
    }
}

fn build(answer: &TemplateAnswer, payouts: &Payouts) -> Result<Work, TemplateError> {
    let spec = payouts.spec(&answer.network)?;
    let block = answer.block_template()?;
    let transactions = block.transactions.into_iter().map(|tx| TemplateTransaction {
        data: tx.data,
        txid: tx.txid,
        wtxid: tx.wtxid,
        fee: tx.fee.to_sat(),
        sigops: tx.sigops,
        weight: tx.weight,
    });
    let template = Template {
        template_id: TemplateId(answer.template_id.0),
        source: answer.source.clone(),
        observed_at_ms: answer.observed_at_ms,
        height: block.height,
        prev_hash: block.previous_block_hash,
        version: block.version.cast_unsigned(),
        bits: block.bits,
        curtime: block.curtime,
        mintime: block.mintime,
        coinbase_value: block.coinbase_value.to_sat(),
        transactions: transactions.collect(),
        witness_commitment: block.default_witness_commitment.map(|script| script.to_bytes()),
        mempool_tx: answer.mempool_tx,
    };
    Ok(Work::build(Arc::new(template), &spec)?)
}

impl Payouts {
    pub(crate) fn new(tag: Vec<u8>, configured: Vec<Payout>) -> Self {
        Self { tag, configured }
    }

    /// What coinbases on `network` look like.
    fn spec(&self, network: &str) -> Result<CoinbaseSpec, TemplateError> {
        let network = known_network(network)?;
        let mut payouts = Vec::new();
        for payout in &self.configured {
            if let Some(address) =
                payout.address.as_ref().filter(|address| !address.is_valid_for_network(network))
            {
                let address = address.clone().assume_checked().to_string();
                return Err(TemplateError::WrongNetwork { address, network: network.to_string() });
            }
            payouts.push(payout.output.clone());
        }
        if payouts.is_empty() {
            if network != bitcoin::Network::Regtest {
                return Err(TemplateError::NobodyToPay(network.to_string()));
            }
            payouts.push(anyone_can_spend());
        }
        Ok(CoinbaseSpec { tag: self.tag.clone(), payouts })
    }
}

/// Regtest coins are worth nothing: by default anyone may spend them, with the witness `OP_TRUE`.
fn anyone_can_spend() -> gateway_core::job::PayoutOutput {
    let witness_script =
        bitcoin::script::Builder::new().push_opcode(bitcoin::opcodes::OP_TRUE).into_script();
    gateway_core::job::PayoutOutput { script_pubkey: witness_script.to_p2wsh(), parts: 1 }
}

/// The network by the name that getblockchaininfo (`main`, `test`) or this program uses for it.
fn known_network(name: &str) -> Result<bitcoin::Network, TemplateError> {
    bitcoin::Network::from_core_arg(name)
        .or_else(|_| name.parse())
        .map_err(|_| TemplateError::UnknownNetwork(name.to_owned()))
}
