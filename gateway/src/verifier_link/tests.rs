//! Links against a verifier whose words the test chooses.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use bitcoin::absolute::LockTime;
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, CompactTarget, Transaction, TxIn, TxOut, transaction};
use gateway_core::job::{CoinbaseSpec, PayoutOutput, Template, TemplateTransaction};
use platform::tls::TlsListener;
use platform::{Listener, Net, TaskHandle, Tasks};
use rstest::rstest;
use tokio::sync::watch;
use verifier_protocol::{
    BodyAssembler, Checks, FeeTier, PolicyContext, TemplatePropose, Verdict as WireVerdict,
    VerdictCode,
};

use super::*;
use crate::config::Config;

/// A network on which only the test listens.
#[derive(Default)]
struct TestNet(Mutex<BTreeMap<String, mpsc::UnboundedSender<Stream>>>);

#[async_trait]
impl Net for TestNet {
    async fn connect(&self, address: &str) -> io::Result<Stream> {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let listeners = lock(&self.0);
        listeners.get(address).ok_or_else(refused)?.send(stream(theirs)).map_err(|_| refused())?;
        Ok(stream(ours))
    }

    async fn listen(&self, _: &str) -> io::Result<Box<dyn Listener>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

struct Accepted(mpsc::UnboundedReceiver<Stream>);

#[async_trait]
impl Listener for Accepted {
    async fn accept(&mut self) -> io::Result<Stream> {
        Ok(self.0.recv().await.unwrap())
    }

    fn local_addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 5001))
    }
}

fn stream(half: tokio::io::DuplexStream) -> Stream {
    let (read, write) = tokio::io::split(half);
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 5001));
    Stream { read: Box::new(read), write: Box::new(write), peer: anywhere, local: anywhere }
}

/// Whatever passes; only its mode is looked at.
fn config(env: &Env) -> Config {
    Config::from_toml(crate::config::tests::MINIMAL, &BTreeMap::new(), env.storage.as_ref())
        .unwrap()
}

/// Links to verifiers `a` and `b`.
struct Rig {
    net: Arc<TestNet>,
    proposals: Arc<Proposals>,
    is_up: Arc<std::sync::atomic::AtomicBool>,
    metrics: Arc<Metrics>,
    inputs: mpsc::Receiver<Input>,
    stop: Shutdown,
    links: Vec<TaskHandle<()>>,
}

impl Rig {
    fn new() -> Self {
        Self::with(None)
    }

    fn with(tls: Option<&MutualFiles>) -> Self {
        let net = Arc::new(TestNet::default());
        let tasks = Tasks::new();
        let env = Env { net: Arc::clone(&net) as Arc<dyn Net>, tasks, ..platform::real::env() };
        let is_up = Arc::default();
        let proposals = Arc::new(Proposals::new(Arc::clone(&is_up)));
        let (switch, inputs) = mpsc::channel(64);
        let (metrics, stop) = (Arc::new(Metrics::new()), Shutdown::new());
        let live = Live::new(Arc::new(config(&env)));
        let link = |address: &str| VerifierLink {
            env: env.clone(),
            clock: Clock::start(Arc::clone(&env.wall)),
            address: address.to_owned(),
            tls: tls.cloned(),
            live: live.clone(),
            instance: InstanceId::new("gw"),
            heartbeat_interval: Duration::from_secs(15),
            proposals: Arc::clone(&proposals),
            switch: switch.clone(),
            metrics: Arc::clone(&metrics),
        };
        let links = ["a", "b"].map(|name| env.tasks.spawn("link", link(name).run(stop.clone())));
        Self { net, proposals, is_up, metrics, inputs, stop, links: links.into() }
    }

    /// A verifier at this address, with the link's next connection.
    async fn verifier(&self, address: &str) -> Verifier {
        Verifier::on(self.listen(address)).await
    }

    fn listen(&self, address: &str) -> Box<dyn Listener> {
        let (listener, accepted) = mpsc::unbounded_channel();
        lock(&self.net.0).insert(address.to_owned(), listener);
        Box::new(Accepted(accepted))
    }

    /// The verdict that reached the switch: the template and whether it is accepted.
    async fn decided(&mut self) -> (u64, bool) {
        match self.inputs.recv().await.unwrap() {
            Input::Verdict { template_id, verdict } => (template_id.0, verdict.accepted),
            other => panic!("{other:?}"),
        }
    }

    fn ignored(&self, cause: &'static str) -> u64 {
        self.metrics.ignored_verdicts.get_or_create(&label("cause", cause)).get()
    }

    async fn end(self) {
        self.stop.cancel();
        for link in self.links {
            link.await.expect("no panic");
        }
        assert!(!self.is_up.load(Ordering::Relaxed));
    }
}

/// What a verifier got of a proposal: its id, the places named, and the block's bytes otherwise.
type Got = (ProposalId, Vec<u32>, Vec<u8>);

struct Verifier {
    stream: Stream,
    decoder: LineDecoder,
    /// Whether it says that it keeps transactions.
    keeps: bool,
    _listener: Box<dyn Listener>,
}

impl Verifier {
    /// With the next connection.
    async fn on(mut listener: Box<dyn Listener>) -> Self {
        let stream = listener.accept().await.unwrap();
        Self { stream, decoder: LineDecoder::new(), keeps: true, _listener: listener }
    }

    async fn receive(&mut self) -> Message {
        loop {
            if let Some(line) = self.decoder.next_line().unwrap() {
                return decode(line).unwrap();
            }
            let mut buffer = [0; 4096];
            let count = self.stream.read.read(&mut buffer).await.unwrap();
            assert!(count > 0, "the gateway closed");
            self.decoder.feed(&buffer[..count]);
        }
    }

    async fn send(&mut self, message: &Message) {
        self.stream.write.write_all(&encode(message)).await.unwrap();
        self.stream.write.flush().await.unwrap();
    }

    /// Answers heartbeats until a proposal is whole.
    async fn proposal(&mut self) -> Got {
        let mut assembling: Option<(TemplatePropose, BodyAssembler)> = None;
        loop {
            match self.receive().await {
                Message::Heartbeat(Heartbeat { seq }) => {
                    let ack = HeartbeatAck { seq, tx_known: self.keeps };
                    self.send(&Message::HeartbeatAck(ack)).await;
                }
                Message::TemplatePropose(propose) => {
                    let assembler = BodyAssembler::new(&propose.body).unwrap();
                    assembling = Some((propose, assembler));
                }
                Message::TxKnown(line) => {
                    assembling.as_mut().unwrap().1.push_known(&line).unwrap();
                }
                Message::TemplateBody(piece) => {
                    let (propose, assembler) = assembling.as_mut().unwrap();
                    if let Some(body) = assembler.push(&piece).unwrap() {
                        let places = body.known.iter().map(|known| known.place).collect();
                        return (propose.proposal_id, places, body.bytes);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Waits until everything that it said before was taken: heartbeats are answered in their turn.
    async fn answered(&mut self) {
        self.send(&Message::Heartbeat(Heartbeat { seq: 7 })).await;
        while !matches!(self.receive().await, Message::HeartbeatAck(_)) {}
    }

    async fn verdict(&mut self, proposal_id: ProposalId, accepted: bool) {
        let code = if accepted { VerdictCode::Ok } else { VerdictCode::TxCountExceeded };
        self.says(proposal_id, code).await;
    }

    async fn says(&mut self, proposal_id: ProposalId, code: VerdictCode) {
        let context = PolicyContext { fee_tier: FeeTier::High, min_avg_fee_used: 1 };
        let verdict = match code {
            VerdictCode::Ok => WireVerdict::accepted(context, Vec::new(), Checks::default()),
            code => WireVerdict::rejected(code, "", Checks::default()),
        };
        let policy_hash = String::new();
        let verdict = TemplateVerdict { proposal_id, verdict, policy_hash, judged_in_us: 1 };
        self.send(&Message::TemplateVerdict(verdict)).await;
    }
}

fn work(id: u64, transactions: std::ops::Range<u32>) -> Arc<Work> {
    let transactions = transactions.map(|number| {
        let tx = Transaction {
            version: transaction::Version::TWO,
            lock_time: LockTime::from_consensus(number),
            input: vec![TxIn::default()],
            output: vec![TxOut::NULL],
        };
        let (txid, wtxid, weight) = (tx.compute_txid(), tx.compute_wtxid(), tx.weight().to_wu());
        TemplateTransaction { data: serialize(&tx), txid, wtxid, fee: 1, sigops: 0, weight }
    });
    let template = Template {
        template_id: TemplateId(id),
        source: "node".to_owned(),
        observed_at_ms: 0,
        height: 101,
        prev_hash: BlockHash::from_byte_array([1; 32]),
        version: 0x2000_0000,
        bits: CompactTarget::from_consensus(0x207f_ffff),
        curtime: 1_700_000_000,
        mintime: 0,
        coinbase_value: 5_000_000_000,
        transactions: transactions.collect(),
        witness_commitment: None,
        mempool_tx: None,
    };
    let payout = PayoutOutput { script_pubkey: bitcoin::ScriptBuf::new(), parts: 1 };
    let spec = CoinbaseSpec { tag: Vec::new(), payouts: vec![payout] };
    Arc::new(Work::build(Arc::new(template), &spec).unwrap())
}

#[tokio::test]
async fn only_new_transactions_are_sent_once_the_verifier_keeps_them() {
    let mut rig = Rig::new();
    let mut verifier = rig.verifier("a").await;
    verifier.keeps = false;
    rig.proposals.push(work(1, 0..3));
    let (id, named, whole) = verifier.proposal().await;
    assert_eq!(named, [0; 0]);
    assert_eq!(whole, work(1, 0..3).proposal_block());
    // What it says before its verdict is read before that.
    verifier.keeps = true;
    verifier.send(&Message::HeartbeatAck(HeartbeatAck { seq: 1, tx_known: true })).await;
    verifier.verdict(id, true).await;
    assert_eq!(rig.decided().await, (1, true));

    rig.proposals.push(work(2, 0..3));
    let (id, named, _) = verifier.proposal().await;
    assert_eq!(named, [0; 0], "what was sent before it said so may have been thrown away");
    verifier.verdict(id, true).await;
    assert_eq!(rig.decided().await, (2, true));

    rig.proposals.push(work(3, 1..5));
    let (id, named, rest) = verifier.proposal().await;
    assert_eq!(named, [1, 2]);
    assert_eq!(rest, work(3, 1..5).proposal_block_without(|place| place < 2));

    // It has lost one of them, and then says that it has lost it again.
    let need = TxNeed { proposal_id: id, places: vec![2] };
    verifier.send(&Message::TxNeed(need.clone())).await;
    let (again, named, _) = verifier.proposal().await;
    assert_eq!((again, named), (id, vec![1, 3, 4]));
    verifier.send(&Message::TxNeed(need.clone())).await;
    let (again, named, whole) = verifier.proposal().await;
    assert_eq!((again, named), (id, vec![]));
    assert_eq!(whole, work(3, 1..5).proposal_block());
    verifier.verdict(id, true).await;
    assert_eq!(rig.decided().await, (3, true));

    // A need of what is past, or of nothing, is passed over.
    verifier.send(&Message::TxNeed(need)).await;
    rig.proposals.push(work(4, 1..6));
    let (id, named, _) = verifier.proposal().await;
    assert_eq!(named, [1, 2, 3, 4]);
    verifier.send(&Message::TxNeed(TxNeed { proposal_id: id, places: vec![0, 99] })).await;
    assert_eq!(verifier.proposal().await.1, [1, 2, 3, 4, 5]);
    rig.end().await;
}

#[tokio::test]
async fn the_first_of_two_verifiers_decides() {
    let mut rig = Rig::new();
    let (mut a, mut b) = (rig.verifier("a").await, rig.verifier("b").await);
    for (template, says) in [(1, [true, true]), (2, [false, true])] {
        rig.proposals.push(work(template, 0..1));
        let (of_a, of_b) = (a.proposal().await.0, b.proposal().await.0);
        a.verdict(of_a, says[0]).await;
        assert_eq!(rig.decided().await, (template, says[0]));
        b.verdict(of_b, says[1]).await;
    }
    // The next verdict tells that those before it were taken.
    rig.proposals.push(work(3, 0..1));
    a.proposal().await;
    let (of_b, ..) = b.proposal().await;
    b.verdict(of_b, true).await;
    assert_eq!(rig.decided().await, (3, true));
    assert_eq!(rig.ignored("contradiction"), 1);
    assert_eq!(rig.ignored("unknown_proposal"), 0);

    // One dies, and nothing is felt.
    drop(a);
    rig.proposals.push(work(4, 0..1));
    let (of_b, ..) = b.proposal().await;
    b.verdict(of_b, true).await;
    assert_eq!(rig.decided().await, (4, true));
    assert!(rig.is_up.load(Ordering::Relaxed));
    rig.end().await;
}

#[rstest]
#[case(VerdictCode::PolicyLoadError)]
#[case(VerdictCode::MempoolBackendUnavailable)]
#[case(VerdictCode::MempoolViewStale)]
#[case(VerdictCode::InternalError)]
#[tokio::test]
async fn a_verifier_that_cannot_judge_waits_for_one_that_can(#[case] code: VerdictCode) {
    let mut rig = Rig::new();
    let (mut a, mut b) = (rig.verifier("a").await, rig.verifier("b").await);
    // Whatever the other says decides, and what the broken one says is never heard.
    for (template, accepts) in [(1, true), (2, false)] {
        rig.proposals.push(work(template, 0..1));
        let (of_a, of_b) = (a.proposal().await.0, b.proposal().await.0);
        a.says(of_a, code).await;
        a.answered().await;
        b.verdict(of_b, accepts).await;
        assert_eq!(rig.decided().await, (template, accepts));
    }
    // Also where the other was first, and none of it is a contradiction.
    rig.proposals.push(work(3, 0..1));
    let (of_a, of_b) = (a.proposal().await.0, b.proposal().await.0);
    b.verdict(of_b, true).await;
    assert_eq!(rig.decided().await, (3, true));
    a.says(of_a, code).await;
    a.answered().await;
    assert_eq!((rig.ignored("unable"), rig.ignored("contradiction")), (3, 0));
    // Where neither can judge, that decides.
    rig.proposals.push(work(4, 0..1));
    let (of_a, of_b) = (a.proposal().await.0, b.proposal().await.0);
    a.says(of_a, code).await;
    b.says(of_b, code).await;
    assert_eq!(rig.decided().await, (4, false));
    // And where the other goes without a word.
    rig.proposals.push(work(5, 0..1));
    let (of_a, _) = (a.proposal().await.0, b.proposal().await.0);
    a.says(of_a, code).await;
    a.answered().await;
    drop(b);
    assert_eq!(rig.decided().await, (5, false));
    // Alone, it decides at once.
    rig.proposals.push(work(6, 0..1));
    let (of_a, ..) = a.proposal().await;
    a.says(of_a, code).await;
    assert_eq!(rig.decided().await, (6, false));
    rig.end().await;
}

#[tokio::test]
async fn a_verifier_counts_as_up_once_it_answered() {
    let rig = Rig::new();
    let mut a = rig.verifier("a").await;
    let is_up = || rig.is_up.load(Ordering::Relaxed);
    let Message::Heartbeat(Heartbeat { seq }) = a.receive().await else { panic!("no heartbeat") };
    // Its own heartbeat is answered, which proves nothing of it.
    a.answered().await;
    assert!(!is_up());
    a.send(&Message::HeartbeatAck(HeartbeatAck { seq, tx_known: false })).await;
    a.answered().await;
    assert!(is_up());
    rig.end().await;
}

#[tokio::test]
async fn a_verifier_that_comes_back_able_is_asked_again() {
    let mut rig = Rig::new();
    let (mut a, mut b) = (rig.verifier("a").await, rig.verifier("b").await);
    rig.proposals.push(work(1, 0..1));
    let (of_a, _) = (a.proposal().await.0, b.proposal().await.0);
    a.says(of_a, VerdictCode::PolicyLoadError).await;
    a.answered().await;
    // What it said goes with its link: the other going away as well decides nothing.
    drop(a);
    let mut a = rig.verifier("a").await;
    let (of_a, ..) = a.proposal().await;
    drop(b);
    a.verdict(of_a, true).await;
    assert_eq!(rig.decided().await, (1, true));
    rig.end().await;
}

#[tokio::test]
async fn what_a_broken_link_left_unjudged_is_proposed_again_the_newest_first() {
    let mut rig = Rig::new();
    let mut verifier = rig.verifier("a").await;
    for template in 1..=3 {
        rig.proposals.push(work(template, 0..1));
        verifier.proposal().await;
    }
    rig.proposals.push(work(4, 0..1));
    let (id, ..) = verifier.proposal().await;
    verifier.verdict(id, true).await;
    assert_eq!(rig.decided().await, (4, true));

    drop(verifier);
    let mut verifier = rig.verifier("a").await;
    for template in [3, 2, 1] {
        let (id, ..) = verifier.proposal().await;
        verifier.verdict(id, true).await;
        assert_eq!(rig.decided().await, (template, true));
    }
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_proposal_that_stays_unanswered_is_made_again_with_growing_pauses() {
    let mut rig = Rig::new();
    let mut verifier = rig.verifier("a").await;
    rig.proposals.push(work(1, 0..1));
    let mut ids = vec![verifier.proposal().await.0];
    let mut asked = tokio::time::Instant::now();
    for pause in [1, 2, 4] {
        ids.push(verifier.proposal().await.0);
        assert_eq!(asked.elapsed().as_secs(), pause);
        asked = tokio::time::Instant::now();
    }
    // Any of them may be answered; what comes of the others says nothing new.
    for id in ids.into_iter().rev() {
        verifier.verdict(id, true).await;
    }
    assert_eq!(rig.decided().await, (1, true));
    rig.proposals.push(work(2, 0..1));
    let (id, ..) = verifier.proposal().await;
    verifier.verdict(id, false).await;
    assert_eq!(rig.decided().await, (2, false), "template 1 was decided once");
    assert_eq!(rig.ignored("unknown_proposal"), 0);
    rig.end().await;
}

#[tokio::test]
async fn a_link_with_certificates_is_made_with_whoever_shows_the_right_one() {
    let directory = tempfile::tempdir().unwrap();
    let storage = platform::real::env().storage;
    for name in ["gateway", "a", "b"] {
        let pair = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let put = |kind: &str, text: &str| {
            let path = directory.path().join(format!("{name}.{kind}"));
            storage.write_atomic(&path, text.as_bytes()).unwrap();
        };
        put("cert", &pair.cert.pem());
        put("key", &pair.signing_key.serialize_pem());
    }
    let files = |own: &str, other: &str| MutualFiles {
        cert_file: directory.path().join(format!("{own}.cert")),
        key_file: directory.path().join(format!("{own}.key")),
        ca_file: directory.path().join(format!("{other}.cert")),
    };
    // The gateway is told of `a` only.
    let mut rig = Rig::with(Some(&files("gateway", "a")));
    let tasks = Tasks::new();
    let serve = |name: &str| {
        let identity = files(name, "gateway").server(storage.as_ref()).unwrap();
        let shown = watch::Sender::new(Some(identity)).subscribe();
        Box::new(TlsListener::new(rig.listen(name), shown, tasks.clone()))
    };
    let strange = tasks.spawn("b", Verifier::on(serve("b")));
    let mut verifier = Verifier::on(serve("a")).await;
    rig.proposals.push(work(1, 0..3));
    let (id, ..) = verifier.proposal().await;
    verifier.verdict(id, true).await;
    assert_eq!(rig.decided().await, (1, true));
    drop(strange);
    tasks.end().await;
    rig.end().await;
}
