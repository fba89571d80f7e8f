//! Stands between gateway and verifier: passes every byte on, writes down what is proposed and
//! judged, and delivers verdicts late when it is told to.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bitcoin::consensus::deserialize;
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::{Block, Transaction};
use platform::{Env, Stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use verifier_protocol::{BodyAssembler, LineDecoder, Message, decode};

use super::observe::{LinkSeen, Recorder, Seen};

/// Lines that may wait for their time.
const MAX_DELAYED_LINES: usize = 4_096;

/// Listens on `listen` and connects each connection to `verifier`, until the future is dropped.
/// `delay` says by how much verdicts are late.
///
/// # Errors
/// When it cannot listen.
pub async fn serve(
    env: Env,
    listen: &str,
    verifier: String,
    delay: watch::Receiver<Duration>,
    recorder: Recorder,
) -> io::Result<()> {
    let mut listener = env.net.listen(listen).await?;
    let numbers = Arc::new(AtomicU64::new(0));
    loop {
        let Ok(gateway) = listener.accept().await else { continue };
        let link = Link {
            env: env.clone(),
            verifier: verifier.clone(),
            delay: delay.clone(),
            recorder: recorder.clone(),
            connection: numbers.fetch_add(1, Ordering::Relaxed),
        };
        env.tasks.spawn("verdict_link", link.carry(gateway));
    }
}

struct Link {
    env: Env,
    verifier: String,
    delay: watch::Receiver<Duration>,
    recorder: Recorder,
    connection: u64,
}

impl Link {
    /// Carries both directions until either ends.
    async fn carry(self, gateway: Stream) {
        let Ok(verifier) = self.env.net.connect(&self.verifier).await else { return };
        let proposals = self.proposals(gateway.read, verifier.write);
        let verdicts = self.verdicts(verifier.read, gateway.write);
        tokio::select! {
            biased;
            () = proposals => {}
            () = verdicts => {}
        }
    }

    async fn proposals(&self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
        let mut lines = LineDecoder::new();
        let mut bodies = Bodies::default();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = match from.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(count) => count,
            };
            lines.feed(&buffer[..count]);
            while let Ok(Some(line)) = lines.next_line() {
                if let Some((proposal_id, block)) = bodies.line(line) {
                    self.recorder.record(Seen::Link(self.proposed(proposal_id, &block)));
                }
            }
            if to.write_all(&buffer[..count]).await.is_err() || to.flush().await.is_err() {
                return;
            }
        }
    }

    async fn verdicts(&self, mut from: impl AsyncRead + Unpin, to: impl AsyncWrite + Unpin) {
        let (sender, receiver) = mpsc::channel(MAX_DELAYED_LINES);
        let reading = async {
            let mut lines = LineDecoder::new();
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let count = match from.read(&mut buffer).await {
                    Ok(0) | Err(_) => return,
                    Ok(count) => count,
                };
                lines.feed(&buffer[..count]);
                while let Ok(Some(line)) = lines.next_line() {
                    let due = Instant::now() + *self.delay.borrow();
                    if sender.send((due, line.to_vec())).await.is_err() {
                        return;
                    }
                }
            }
        };
        tokio::select! {
            biased;
            () = self.deliver(receiver, to) => {}
            () = reading => {}
        }
    }

    /// Hands lines on in their order, each not before it is due.
    async fn deliver(
        &self,
        mut lines: mpsc::Receiver<(Instant, Vec<u8>)>,
        mut to: impl AsyncWrite + Unpin,
    ) {
        while let Some((due, mut line)) = lines.recv().await {
            let verdict = match decode(&line) {
                Ok(Message::TemplateVerdict(verdict)) => Some(verdict),
                _ => None,
            };
            if let Some(verdict) = verdict {
                tokio::time::sleep_until(due).await;
                self.recorder.record(Seen::Link(LinkSeen::Verdict {
                    proposal_id: verdict.proposal_id.0,
                    connection: self.connection,
                    accepted: verdict.verdict.accepted,
                    code: verdict.verdict.reason_code.as_str().to_owned(),
                }));
            }
            line.push(b'\n');
            if to.write_all(&line).await.is_err() || to.flush().await.is_err() {
                return;
            }
        }
    }

    fn proposed(&self, proposal_id: u64, block: &[u8]) -> LinkSeen {
        let (prev_hash, work_id) = match deserialize::<Block>(block) {
            Ok(block) => {
                let prev_hash = block.header.prev_blockhash.to_string();
                let work_id = super::work_id(&prev_hash, &merkle_path(&block.txdata));
                (prev_hash, work_id)
            }
            Err(_) => (String::new(), String::new()),
        };
        LinkSeen::Proposed { proposal_id, connection: self.connection, prev_hash, work_id }
    }
}

/// Bodies that are not whole yet.
#[derive(Default)]
struct Bodies(BTreeMap<u64, BodyAssembler>);

impl Bodies {
    /// The proposal and its block, when this line completes it.
    fn line(&mut self, line: &[u8]) -> Option<(u64, Vec<u8>)> {
        match decode(line).ok()? {
            Message::TemplatePropose(propose) => {
                let assembler = BodyAssembler::new(&propose.body).ok()?;
                self.0.insert(propose.proposal_id.0, assembler);
                None
            }
            Message::TemplateBody(piece) => {
                let id = piece.proposal_id.0;
                match self.0.get_mut(&id)?.push(&piece) {
                    Ok(None) => None,
                    Ok(Some(block)) => {
                        self.0.remove(&id);
                        Some((id, block))
                    }
                    Err(_) => {
                        self.0.remove(&id);
                        None
                    }
                }
            }
            _ => None,
        }
    }
}

/// The hashes beside the coinbase on the way to the merkle root, internal byte order.
fn merkle_path(transactions: &[Transaction]) -> Vec<[u8; 32]> {
    let mut row: Vec<[u8; 32]> =
        transactions.iter().map(|tx| tx.compute_txid().to_byte_array()).collect();
    let mut path = Vec::new();
    while row.len() > 1 {
        path.push(row[1]);
        row = row
            .chunks(2)
            .map(|pair| {
                let last = pair.last().expect("chunks are never empty");
                sha256d::Hash::hash(&[pair[0], *last].concat()).to_byte_array()
            })
            .collect();
    }
    path
}

#[cfg(test)]
mod tests {
    use bitcoin::absolute::LockTime;
    use bitcoin::transaction::Version;

    use super::*;

    fn transactions(count: u32) -> Vec<Transaction> {
        (0..count)
            .map(|number| Transaction {
                version: Version::TWO,
                lock_time: LockTime::from_consensus(number),
                input: Vec::new(),
                output: Vec::new(),
            })
            .collect()
    }

    #[test]
    fn the_path_leads_from_the_coinbase_to_the_root() {
        for count in 1..=9 {
            let transactions = transactions(count);
            let mut node = transactions[0].compute_txid().to_byte_array();
            for sibling in merkle_path(&transactions) {
                node = sha256d::Hash::hash(&[node, sibling].concat()).to_byte_array();
            }
            let ids = transactions.iter().map(|tx| tx.compute_txid().to_raw_hash());
            let root = bitcoin::merkle_tree::calculate_root(ids).unwrap();
            assert_eq!(node, root.to_byte_array(), "{count} transactions");
        }
    }
}
