//! Stands between gateway and verifier: passes every byte on, writes down what is proposed and
//! judged, and delivers verdicts late when it is told to.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::block::Header;
use bitcoin::consensus::Decodable;
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::{Block, Transaction, VarInt};
use platform::{Env, Stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use verifier_protocol::{
    Body, BodyAssembler, LineDecoder, MAX_INTERNAL_LINE_BYTES, Message, ProposalId,
    TemplatePropose, TemplateVerdict, decode, encode,
};

use super::observe::{LinkSeen, Recorder, Seen};
use super::tamper;
use crate::scenario::{Tamper, VerifierMode};

/// Messages of unknown type that a flooding verifier sends at once.
const UNKNOWN_FLOOD: usize = 100;
/// How far beside the real ones an invented proposal lies.
const INVENTED: u64 = 1_000_000;
/// Lines that may wait for their time.
const MAX_DELAYED_LINES: usize = 4_096;

/// What the verifier's end of the link does; the default is what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behaviour {
    /// By how much verdicts are late.
    pub delay: Duration,
    /// What else it does.
    pub mode: VerifierMode,
    /// What becomes of proposals on their way to it.
    pub tamper: Tamper,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { delay: Duration::ZERO, mode: VerifierMode::Honest, tamper: Tamper::None }
    }
}

/// Between whom it stands.
pub struct Ends {
    /// Where gateways connect.
    pub listen: &'static str,
    /// Where each of their connections leads.
    pub verifier: &'static str,
    /// What it does to verdicts.
    pub behaviour: watch::Receiver<Behaviour>,
    /// The number of its first connection, so that those of several links differ.
    pub first_connection: u64,
}

/// Carries connections until the future is dropped.
///
/// # Errors
/// When it cannot listen.
pub async fn serve(env: Env, ends: Ends, recorder: Recorder) -> io::Result<()> {
    let Ends { listen, verifier, behaviour, first_connection } = ends;
    let mut listener = env.net.listen(listen).await?;
    let mut connections = first_connection..;
    let passed = Arc::new(Mutex::new(Passed::new()));
    loop {
        let Ok(gateway) = listener.accept().await else { continue };
        let link = Link {
            env: env.clone(),
            verifier,
            behaviour: behaviour.clone(),
            recorder: recorder.clone(),
            passed: Arc::clone(&passed),
            connection: connections.next().expect("a u64 counts every connection"),
        };
        env.tasks.spawn("verdict_link", link.carry(gateway));
    }
}

struct Link {
    env: Env,
    verifier: &'static str,
    behaviour: watch::Receiver<Behaviour>,
    recorder: Recorder,
    passed: Arc<Mutex<Passed>>,
    connection: u64,
}

/// Each transaction that passed, by its hash with the witness: a proposal names it instead of
/// sending it again.
type Passed = BTreeMap<[u8; 32], Transaction>;

/// Transactions beyond this many are forgotten, all at once.
const MAX_PASSED: usize = 1 << 18;

impl Link {
    /// Carries both directions until either ends.
    async fn carry(self, gateway: Stream) {
        let Ok(verifier) = self.env.net.connect(self.verifier).await else { return };
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
            let mut passed = Vec::new();
            while let Ok(Some(line)) = lines.next_line() {
                let tamper = self.behaviour.borrow().tamper;
                match bodies.line(line) {
                    Whose::Nobodys => passed.extend([line, b"\n"].concat()),
                    Whose::Proposal => {}
                    Whose::Last(propose, body, whole) => {
                        let block = body.and_then(|body| self.rebuilt(&body));
                        let seen = self.proposed(propose.proposal_id.0, block.as_ref());
                        self.recorder.record(Seen::Link(seen));
                        passed.extend(match (tamper, block) {
                            (Tamper::None, _) | (_, None) => whole,
                            (tamper, Some(block)) => tamper::tampered(tamper, *propose, block),
                        });
                    }
                }
            }
            if to.write_all(&passed).await.is_err() || to.flush().await.is_err() {
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
                    let due = Instant::now() + self.behaviour.borrow().delay;
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
            if verdict.is_some() {
                tokio::time::sleep_until(due).await;
            }
            line.push(b'\n');
            let mode = self.behaviour.borrow().mode;
            let mut bytes = beside(mode);
            match (mode, verdict) {
                (VerifierMode::Silent, _) => continue,
                (VerifierMode::WrongId, Some(verdict)) => bytes.extend(misnamed(verdict)),
                (_, verdict) => {
                    if let Some(verdict) = verdict {
                        self.see(&verdict);
                    }
                    bytes.extend(line);
                }
            }
            if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
                return;
            }
        }
    }

    fn see(&self, verdict: &TemplateVerdict) {
        self.recorder.record(Seen::Link(LinkSeen::Verdict {
            proposal_id: verdict.proposal_id.0,
            connection: self.connection,
            accepted: verdict.verdict.accepted,
            code: verdict.verdict.reason_code.as_str().to_owned(),
        }));
    }

    /// The whole block of a proposal: with what it names instead of sending it again.
    fn rebuilt(&self, body: &Body) -> Option<Block> {
        let mut passed = self.passed.lock().expect("nobody panics while holding it");
        if passed.len() > MAX_PASSED {
            passed.clear();
        }
        let mut rest = &body.bytes[..];
        let header = Header::consensus_decode(&mut rest).ok()?;
        let count = VarInt::consensus_decode(&mut rest).ok()?.0;
        let mut known = body.known.iter().peekable();
        let mut txdata = Vec::new();
        while (txdata.len() as u64) < count {
            if let Some(named) = known.next_if(|named| named.place as usize == txdata.len()) {
                txdata.push(passed.get(&named.wtxid)?.clone());
                continue;
            }
            let tx = Transaction::consensus_decode(&mut rest).ok()?;
            passed.insert(tx.compute_wtxid().to_byte_array(), tx.clone());
            txdata.push(tx);
        }
        (rest.is_empty() && known.next().is_none()).then_some(Block { header, txdata })
    }

    fn proposed(&self, proposal_id: u64, block: Option<&Block>) -> LinkSeen {
        let (prev_hash, work_id) = match block {
            Some(block) => {
                let prev_hash = block.header.prev_blockhash.to_string();
                let ids = block.txdata.iter().map(|tx| tx.compute_txid().to_byte_array());
                let work_id = super::work_id(&prev_hash, &merkle_path(ids.collect()));
                (prev_hash, work_id)
            }
            None => (String::new(), String::new()),
        };
        LinkSeen::Proposed { proposal_id, connection: self.connection, prev_hash, work_id }
    }
}

/// What a verifier of this kind says before each line of its own.
fn beside(mode: VerifierMode) -> Vec<u8> {
    let unknown = "{\"msg_type\":\"weather_report\",\"version\":2}\n";
    match mode {
        VerifierMode::Garbage => b"this is no JSON\n".to_vec(),
        VerifierMode::GarbageFlood => b"nor\nis\nany\nof\nthis\n".repeat(4),
        VerifierMode::LongLine => [vec![b'x'; MAX_INTERNAL_LINE_BYTES + 1], vec![b'\n']].concat(),
        VerifierMode::UnknownFlood => unknown.repeat(UNKNOWN_FLOOD).into_bytes(),
        VerifierMode::WrongVersion => {
            b"{\"msg_type\":\"heartbeat\",\"version\":3,\"seq\":1}\n".to_vec()
        }
        VerifierMode::Honest | VerifierMode::Silent | VerifierMode::WrongId => Vec::new(),
    }
}

/// A verdict that names a proposal which was never made.
fn misnamed(mut verdict: TemplateVerdict) -> Vec<u8> {
    verdict.proposal_id = ProposalId(verdict.proposal_id.0.wrapping_add(INVENTED));
    encode(&Message::TemplateVerdict(verdict))
}

/// Bodies that are not whole yet, and the lines that they came in.
#[derive(Default)]
struct Bodies(BTreeMap<u64, (TemplatePropose, BodyAssembler, Vec<u8>)>);

/// What a line is part of.
enum Whose {
    /// Of no proposal.
    Nobodys,
    /// Of one that is not whole yet.
    Proposal,
    /// Of one that it completes: what was declared, its body, and all its lines.
    Last(Box<TemplatePropose>, Option<Body>, Vec<u8>),
}

impl Bodies {
    fn line(&mut self, line: &[u8]) -> Whose {
        let with_end = [line, b"\n"].concat();
        match decode(line) {
            Ok(Message::TemplatePropose(propose)) => {
                let Ok(assembler) = BodyAssembler::new(&propose.body) else {
                    return Whose::Nobodys;
                };
                self.0.insert(propose.proposal_id.0, (propose, assembler, with_end));
                Whose::Proposal
            }
            Ok(Message::TxKnown(known)) => {
                let id = known.proposal_id.0;
                let Some((_, assembler, lines)) = self.0.get_mut(&id) else {
                    return Whose::Nobodys;
                };
                lines.extend(with_end);
                match assembler.push_known(&known) {
                    Ok(_) => Whose::Proposal,
                    Err(_) => {
                        let (propose, _, lines) = self.0.remove(&id).expect("it is there");
                        Whose::Last(Box::new(propose), None, lines)
                    }
                }
            }
            Ok(Message::TemplateBody(piece)) => {
                let id = piece.proposal_id.0;
                let Some((_, assembler, lines)) = self.0.get_mut(&id) else {
                    return Whose::Nobodys;
                };
                lines.extend(with_end);
                let pushed = assembler.push(&piece);
                if let Ok(None) = pushed {
                    return Whose::Proposal;
                }
                let (propose, _, lines) = self.0.remove(&id).expect("it is there");
                Whose::Last(Box::new(propose), pushed.ok().flatten(), lines)
            }
            _ => Whose::Nobodys,
        }
    }
}

/// The hashes beside the coinbase on the way to the merkle root, internal byte order.
fn merkle_path(mut row: Vec<[u8; 32]>) -> Vec<[u8; 32]> {
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
            let ids = transactions.iter().map(|tx| tx.compute_txid().to_byte_array()).collect();
            for sibling in merkle_path(ids) {
                node = sha256d::Hash::hash(&[node, sibling].concat()).to_byte_array();
            }
            let ids = transactions.iter().map(|tx| tx.compute_txid().to_raw_hash());
            let root = bitcoin::merkle_tree::calculate_root(ids).unwrap();
            assert_eq!(node, root.to_byte_array(), "{count} transactions");
        }
    }
}
