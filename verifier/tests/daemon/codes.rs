//! Every verdict code, each provoked by real bytes: what is wrong is one thing, and all that must
//! stay consistent with it is made right again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::script::Builder;
use bitcoin::{OutPoint, ScriptBuf, TxMerkleNode, Witness};
use platform::{Env, Offload};
use serde_json::json;
use templates::config::NodeAuth;
use verifier::NodeConfig;
use verifier_protocol::{Message, Verdict, VerdictCode, VerdictKind};

use crate::world::{Draft, FakeNode, NODE, Template, World};

/// A policy, and a change of a block that every rule accepts or of what is declared of it.
type Recipe = (VerdictCode, &'static str, fn(&mut Draft));

fn nothing(_: &mut Draft) {}

const POLICY: [Recipe; 14] = [
    (VerdictCode::Ok, "", nothing),
    (VerdictCode::PolicyLoadError, "[polcy]", nothing),
    (VerdictCode::PrevHashLenMismatch, "", |draft| {
        draft.propose.prev_hash.pop();
    }),
    (VerdictCode::InvalidPrevHash, "", |draft| {
        // Well-formed, and another parent than the header's.
        draft.propose.prev_hash = "09".repeat(32);
    }),
    (VerdictCode::CoinbaseValueZeroRejected, "", |draft| draft.propose.coinbase_value = 0),
    (VerdictCode::EmptyTemplateRejected, "", |draft| {
        draft.block.txdata.truncate(1);
        draft.settle();
    }),
    (VerdictCode::TxCountExceeded, "[policy]\nmax_tx_count = 1", |draft| {
        let other = draft.payment(2, ScriptBuf::new());
        draft.block.txdata.push(other);
        draft.settle();
    }),
    (VerdictCode::TotalFeesBelowMinimum, "[policy]\nmin_total_fees = 1001", nothing),
    (VerdictCode::AvgFeeBelowMinimum, "[policy]\nmin_avg_fee_hi = 1001", nothing),
    (VerdictCode::WeightRatioExceeded, "[policy]\nmax_weight_ratio = 0.0001", nothing),
    (VerdictCode::TemplateTooOld, "", |draft| draft.propose.observed_at_ms -= 30_001),
    (VerdictCode::SigopsBudgetExceeded, "[policy]\nmax_sigops_cost = 3", one_operation),
    (VerdictCode::CoinbaseSigopsExceeded, "[policy]\nmax_coinbase_sigops = 0", busy_coinbase),
    (VerdictCode::PayoutScriptMissing, "[policy.consensus]\npayout_scripts = [\"52\"]", nothing),
];

const CONSENSUS: [Recipe; 18] = [
    (VerdictCode::ConsensusDecodeFailed, "", |draft| draft.trailing.push(0)),
    (VerdictCode::ConsensusCoinbaseValueMismatch, "", |draft| {
        draft.block.txdata[0].output[0].value -= bitcoin::Amount::ONE_SAT;
        draft.settle();
    }),
    (VerdictCode::ConsensusHeightMismatch, "", |draft| draft.propose.height += 1),
    (VerdictCode::ConsensusHeightMissing, "", |draft| {
        draft.block.txdata[0].input[0].script_sig = ScriptBuf::from_bytes(vec![8; 9]);
        draft.settle();
    }),
    (VerdictCode::ConsensusMerkleRootMismatch, "", |draft| {
        let txid = draft.block.txdata[1].compute_txid();
        draft.block.header.merkle_root = TxMerkleNode::from_raw_hash(txid.to_raw_hash());
    }),
    (VerdictCode::ConsensusWitnessCommitmentMissing, "", |draft| {
        draft.block.txdata[0].output.pop();
        draft.declare();
    }),
    (VerdictCode::ConsensusWitnessCommitmentMismatch, "", |draft| {
        draft.block.txdata[1].input[0].witness = Witness::from_slice(&[[0x52]]);
    }),
    (VerdictCode::ConsensusWeightMismatch, "", |draft| draft.propose.weight += 4),
    (VerdictCode::ConsensusSigopsMismatch, "", |draft| draft.propose.coinbase_sigops = 1),
    (VerdictCode::ConsensusTxCountMismatch, "", |draft| draft.propose.tx_count += 1),
    (VerdictCode::ConsensusWeightExceeded, "", |draft| {
        let bulky = draft.payment(2, ScriptBuf::from_bytes(vec![0x51; 1_000_000]));
        draft.block.txdata.push(bulky);
        draft.settle();
        // The rule for declared weights would object before.
        draft.propose.weight = 1_000;
    }),
    (VerdictCode::ConsensusSigopsExceeded, "", |draft| {
        // Declared as none; 20 020 stand in the outputs.
        for seed in 2..4 {
            let busy = draft.payment(seed, ScriptBuf::from_bytes(vec![0xac; 10_010]));
            draft.block.txdata.push(busy);
        }
        draft.settle();
    }),
    (VerdictCode::ConsensusDuplicateTx, "", |draft| {
        let again = draft.block.txdata[1].clone();
        draft.block.txdata.push(again);
        draft.settle();
    }),
    (VerdictCode::ConsensusNullPrevout, "", |draft| {
        let mut null = draft.payment(2, ScriptBuf::new());
        null.input.push(null.input[0].clone());
        null.input[1].previous_output = OutPoint::null();
        draft.block.txdata.push(null);
        draft.settle();
    }),
    (VerdictCode::ConsensusCoinbaseScriptLength, "", |draft| {
        let script = Builder::new().push_int(i64::from(draft.propose.height)).push_slice([0; 75]);
        let script = script.push_slice([0; 30]).into_script();
        draft.block.txdata[0].input[0].script_sig = script;
        draft.settle();
    }),
    (VerdictCode::ConsensusTimeInvalid, "", |draft| draft.block.header.time += 1),
    (VerdictCode::ConsensusBitsMismatch, "", |draft| draft.propose.bits -= 1),
    (VerdictCode::ConsensusTxOrder, "", |draft| {
        let mut child = draft.payment(2, ScriptBuf::new());
        let txid = draft.block.txdata[1].compute_txid();
        child.input[0].previous_output = OutPoint { txid, vout: 0 };
        draft.block.txdata.insert(1, child);
        draft.settle();
    }),
];

const ADVISORIES: [Recipe; 2] = [
    (VerdictCode::SigopsBudgetWarning, "[policy]\nmax_sigops_cost = 4", one_operation),
    (VerdictCode::CoinbaseSigopsAbnormal, "[policy]\nwarn_coinbase_sigops = 0", busy_coinbase),
];

/// Codes that take more than a block: a node, another wire version, a load.
const SURROUNDINGS: [VerdictCode; 6] = [
    VerdictCode::ProtocolVersionMismatch,
    VerdictCode::MempoolBackendUnavailable,
    VerdictCode::MempoolUnknownRatioExceeded,
    VerdictCode::MempoolViewStale,
    VerdictCode::NodeProposalRejected,
    VerdictCode::InternalError,
];

/// The one code that gateways give themselves, on a verdict that came for an old template.
const OF_GATEWAYS: VerdictCode = VerdictCode::TemplateStale;

/// One legacy signature operation in a payment's output.
fn one_operation(draft: &mut Draft) {
    draft.block.txdata[1].output[0].script_pubkey = ScriptBuf::from_bytes(vec![0xac]);
    draft.settle();
    draft.propose.sigops_cost = 4;
}

/// One in the coinbase's.
fn busy_coinbase(draft: &mut Draft) {
    draft.block.txdata[0].output[0].script_pubkey = ScriptBuf::from_bytes(vec![0xac]);
    draft.settle();
    draft.propose.sigops_cost = 4;
    draft.propose.coinbase_sigops = 1;
}

/// The recipe's policy over one under which fees never matter.
fn policy(recipe: &str) -> String {
    match recipe.strip_prefix("[policy]\n") {
        Some(rules) if rules.contains("min_avg_fee_hi") => recipe.to_owned(),
        Some(rules) => format!("[policy]\nmin_avg_fee_hi = 1\n{rules}"),
        None => format!("[policy]\nmin_avg_fee_hi = 1\n{recipe}"),
    }
}

async fn judged((_, rules, tamper): Recipe) -> Verdict {
    let world = World::with_policy(&policy(rules)).await;
    let verdict = world.gateway().await.judge(&Template::drafted(1, tamper)).await;
    world.stop().await;
    verdict
}

#[test]
fn every_code_has_its_test() {
    let tables = POLICY.iter().chain(&CONSENSUS).chain(&ADVISORIES).map(|(code, ..)| *code);
    let tested: Vec<VerdictCode> = tables.chain(SURROUNDINGS).chain([OF_GATEWAYS]).collect();
    let distinct: BTreeSet<VerdictCode> = tested.iter().copied().collect();
    assert_eq!(distinct, VerdictCode::ALL.iter().copied().collect());
    assert_eq!(distinct.len(), tested.len(), "none is tested twice");
    for (code, ..) in CONSENSUS {
        assert_eq!(code.kind(), VerdictKind::Consensus);
    }
}

#[tokio::test(start_paused = true)]
async fn one_wrong_thing_has_its_code() {
    for recipe in POLICY.into_iter().chain(CONSENSUS) {
        let verdict = judged(recipe).await;
        assert_eq!(verdict.reason_code, recipe.0, "{verdict:?}");
        assert_eq!(verdict.accepted, recipe.0 == VerdictCode::Ok);
        assert_eq!(verdict.reason_detail.is_none(), verdict.accepted, "{verdict:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_remark_does_not_refuse() {
    for recipe in ADVISORIES {
        let verdict = judged(recipe).await;
        assert!(verdict.accepted, "{verdict:?}");
        assert_eq!(verdict.warnings, [recipe.0]);
    }
}

#[tokio::test(start_paused = true)]
async fn another_wire_version_has_its_code() {
    let world = World::start().await;
    let mut gateway = world.gateway().await;
    gateway.send(b"{\"msg_type\":\"template_propose\",\"version\":1,\"proposal_id\":8}\n").await;
    let code = gateway.verdict().await.verdict.reason_code;
    assert_eq!(code, VerdictCode::ProtocolVersionMismatch);
    world.stop().await;
}

/// The code under these rules beside a node, `wait` after it did what `change` says.
async fn beside_node(rules: &str, change: impl FnOnce(&FakeNode), wait: Duration) -> VerdictCode {
    let auth = NodeAuth::Password { user: "assay".to_owned(), password: "hunter2".into() };
    let config = NodeConfig::new(format!("http://{NODE}"), auth);
    let rules = policy(&format!("[policy]\nmin_avg_fee_mid = 1\n{rules}"));
    let mut node = FakeNode::new(&["ab".repeat(32)]);
    let world = World::prepared(&rules, |verifier| verifier.node = Some(config));
    node.start(&world.env).await;
    let world = world.started().await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    change(&node);
    tokio::time::sleep(wait).await;
    let verdict = world.gateway().await.judge(&Template::new(1, 1)).await;
    world.stop().await;
    assert!(!verdict.accepted, "{verdict:?}");
    verdict.reason_code
}

#[tokio::test(start_paused = true)]
async fn what_the_node_says_has_its_codes() {
    let mempool = "[policy.mempool]\nenforce = true\n";
    let at_once = Duration::ZERO;
    let unknown = beside_node(mempool, |_| (), at_once).await;
    assert_eq!(unknown, VerdictCode::MempoolUnknownRatioExceeded);
    let stale = beside_node(mempool, FakeNode::stop, Duration::from_secs(70)).await;
    assert_eq!(stale, VerdictCode::MempoolViewStale);
    let asked = "[policy.node]\nproposal_check = true\n";
    let refuse = |node: &FakeNode| node.set(|node| node.proposal = json!("bad-cb-amount"));
    let refused = beside_node(asked, refuse, at_once).await;
    assert_eq!(refused, VerdictCode::NodeProposalRejected);

    // Enforced, and no node was ever there.
    let world = World::with_policy(&policy(mempool)).await;
    let verdict = world.gateway().await.judge(&Template::new(1, 1)).await;
    assert_eq!(verdict.reason_code, VerdictCode::MempoolBackendUnavailable);
    world.stop().await;
}

/// Judges nothing.
#[derive(Default)]
struct Stuck(Mutex<Vec<Box<dyn FnOnce() + Send>>>);

impl Offload for Stuck {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        self.0.lock().unwrap().push(work);
    }
}

#[tokio::test(start_paused = true)]
async fn a_proposal_that_cannot_be_judged_is_answered_all_the_same() {
    let mut world = World::prepared("", |_| ());
    let stuck = Arc::new(Stuck::default());
    world.env = Env { cpu: Arc::clone(&stuck) as Arc<dyn Offload>, ..world.env };
    let world = world.started().await;
    let mut gateway = world.gateway().await;
    // One is under judgement, 256 wait, and one more comes.
    for id in 1..=258 {
        gateway.propose(&Template::new(id, 1)).await;
    }
    let Some(Message::TemplateVerdict(verdict)) = gateway.receive().await else { panic!() };
    assert_eq!(verdict.proposal_id.0, 2, "the oldest that waited");
    assert_eq!(verdict.verdict.reason_code, VerdictCode::InternalError);
    drop(gateway);
    stuck.0.lock().unwrap().drain(..).for_each(|work| work());
    world.stop().await;
}
