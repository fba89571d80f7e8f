//! Templates of a real node over random mempools: all of them are accepted, and of their changed
//! bytes none is accepted here that the node's own proposal mode refuses. With the feature
//! `oracle-kernel` Bitcoin Core's consensus code in this process has a say in both.
#![allow(clippy::unwrap_used)] // clippy.toml exempts `#[test]` functions, not what they share.

#[cfg(feature = "oracle-kernel")]
mod kernel;

use std::sync::Arc;

use bitcoin::absolute::LockTime;
use bitcoin::consensus::encode::serialize_hex;
use bitcoin::hashes::{Hash, sha256};
use bitcoin::opcodes::all::{OP_CHECKSIG, OP_ENDIF, OP_IF};
use bitcoin::opcodes::{OP_0, OP_TRUE};
use bitcoin::script::{Builder, PushBytesBuf};
use bitcoin::secp256k1::{Secp256k1, XOnlyPublicKey};
use bitcoin::taproot::{LeafVersion, TaprootBuilder};
use bitcoin::{
    Amount, OutPoint, PublicKey, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
    transaction,
};
use consensus::{Declared, Options, check};
use gateway_core::ids::TemplateId;
use gateway_core::job::{CoinbaseSpec, PayoutOutput, Template, TemplateTransaction, Work};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use sim::node::{ChainScript, Node, RealNode, find, status};
use templates::gbt::BlockTemplate;

const START: u64 = 1_700_000_000;
/// Random mempools, each judged as one template.
const MEMPOOLS: u32 = 12;
/// In a block: behind the version and the hash of the block before.
#[cfg(feature = "oracle-kernel")]
const MERKLE_ROOT_AT: usize = 36;

/// A way to lock a coin that anyone may unlock.
#[derive(Clone, Copy, Debug)]
enum Lock {
    /// P2SH of a script, legacy through and through.
    ScriptHash,
    /// P2WSH within P2SH.
    Nested,
    /// P2WSH.
    Witness,
    /// P2TR, by its script.
    Taproot,
}

impl Lock {
    const ALL: [Self; 4] = [Self::ScriptHash, Self::Nested, Self::Witness, Self::Taproot];

    /// What is true under this lock, with this many signature operations that are passed over.
    fn script(self, sigops: u8) -> ScriptBuf {
        match self {
            // In taproot they would count for nothing.
            Self::Taproot => script(0),
            _ => script(sigops),
        }
    }

    fn script_pubkey(self, script: &ScriptBuf) -> ScriptBuf {
        match self {
            Self::ScriptHash => script.to_p2sh(),
            Self::Nested => script.to_p2wsh().to_p2sh(),
            Self::Witness => script.to_p2wsh(),
            Self::Taproot => tree(script).1,
        }
    }

    /// The input that unlocks it.
    fn input(self, script: &ScriptBuf, previous_output: OutPoint) -> TxIn {
        let push = |bytes: &ScriptBuf| {
            let bytes = PushBytesBuf::try_from(bytes.to_bytes()).unwrap();
            Builder::new().push_slice(bytes).into_script()
        };
        let (script_sig, witness) = match self {
            Self::ScriptHash => (push(script), Witness::new()),
            Self::Nested => (push(&script.to_p2wsh()), Witness::from_slice(&[script.as_bytes()])),
            Self::Witness => (ScriptBuf::new(), Witness::from_slice(&[script.as_bytes()])),
            Self::Taproot => {
                let control = tree(script).0;
                (ScriptBuf::new(), Witness::from_slice(&[script.to_bytes(), control]))
            }
        };
        TxIn { previous_output, script_sig, sequence: Sequence::MAX, witness }
    }
}

/// The control block of the tree's only leaf, and the output.
fn tree(script: &ScriptBuf) -> (Vec<u8>, ScriptBuf) {
    let secp = Secp256k1::verification_only();
    let spend = TaprootBuilder::new().add_leaf(0, script.clone()).unwrap();
    let spend = spend.finalize(&secp, XOnlyPublicKey::from(key().inner)).unwrap();
    let control = spend.control_block(&(script.clone(), LeafVersion::TapScript)).unwrap();
    (control.serialize(), ScriptBuf::new_p2tr_tweaked(spend.output_key()))
}

/// The generator point.
fn key() -> PublicKey {
    "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798".parse().unwrap()
}

/// True, with this many signature operations that are passed over.
fn script(sigops: u8) -> ScriptBuf {
    let mut script = Builder::new();
    if sigops > 0 {
        script = script.push_opcode(OP_0).push_opcode(OP_IF);
        for _ in 0..sigops {
            script = script.push_opcode(OP_CHECKSIG);
        }
        script = script.push_opcode(OP_ENDIF);
    }
    script.push_opcode(OP_TRUE).into_script()
}

/// An output that counts as a legacy operation by standing there, one that pays nobody, or none.
fn other_output(kind: u8) -> Option<ScriptBuf> {
    match kind % 3 {
        0 => Some(ScriptBuf::new_p2pkh(&key().pubkey_hash())),
        1 => Some(ScriptBuf::new_op_return([kind; 20])),
        _ => None,
    }
}

/// What becomes of one coin: locked in these ways, and unlocked again where that is said.
#[derive(Clone, Debug)]
struct Family {
    children: Vec<(Lock, u8, bool)>,
    other_output: u8,
}

fn family() -> impl Strategy<Value = Family> {
    let lock = prop::sample::select(Lock::ALL.to_vec());
    let children = prop::collection::vec((lock, 0_u8..4, any::<bool>()), 1..6);
    (children, any::<u8>()).prop_map(|(children, other_output)| Family { children, other_output })
}

fn transaction(input: Vec<TxIn>, output: Vec<TxOut>) -> Transaction {
    Transaction { version: transaction::Version::TWO, lock_time: LockTime::ZERO, input, output }
}

struct Rig {
    node: RealNode,
    script: ChainScript,
}

impl Rig {
    fn start() -> Option<Self> {
        let Some(found) = find() else {
            eprintln!("SKIPPED: no bitcoind here; recorded templates only.\n{}", status());
            return None;
        };
        let mut node = RealNode::start(&found.exe, START).unwrap();
        let mut script = ChainScript::new(7, START);
        script.premine(&mut node, 101, 400).unwrap();
        Some(Self { node, script })
    }

    fn ask<T: serde::de::DeserializeOwned>(&mut self, method: &str, params: &Value) -> T {
        let node: &mut dyn Node = &mut self.node;
        node.ask(method, params).unwrap()
    }

    fn send(&mut self, tx: &Transaction) -> Txid {
        self.ask("sendrawtransaction", &json!([serialize_hex(tx), 0]))
    }

    /// Puts a family on a fresh coin into the mempool.
    fn bear(&mut self, family: &Family) {
        let coin = self.script.fill_mempool(&mut self.node, 1).unwrap()[0];
        let output: Value = self.ask("gettxout", &json!([coin, 0, true]));
        let value = (output["value"].as_f64().unwrap() * 1e8) as u64;
        let each = Amount::from_sat(value / 10);
        let mut outputs: Vec<TxOut> = family
            .children
            .iter()
            .map(|(lock, sigops, _)| TxOut {
                value: each,
                script_pubkey: lock.script_pubkey(&lock.script(*sigops)),
            })
            .collect();
        outputs.extend(other_output(family.other_output).map(|script_pubkey| {
            let value = if script_pubkey.is_op_return() { Amount::ZERO } else { each };
            TxOut { value, script_pubkey }
        }));
        let unlock = Lock::Witness.input(&script(0), OutPoint { txid: coin, vout: 0 });
        let txid = self.send(&transaction(vec![unlock], outputs));
        let spends = family.children.iter().zip(0..).filter(|((_, _, spent), _)| *spent);
        let inputs: Vec<TxIn> = spends
            .map(|((lock, sigops, _), vout)| {
                lock.input(&lock.script(*sigops), OutPoint { txid, vout })
            })
            .collect();
        if !inputs.is_empty() {
            let value = each * inputs.len() as u64 - Amount::from_sat(5_000);
            let script_pubkey = script(0).to_p2wsh();
            self.send(&transaction(inputs, vec![TxOut { value, script_pubkey }]));
        }
    }

    /// The block on the node's next template, and what is declared of it.
    fn proposal(&mut self) -> (Vec<u8>, Declared) {
        self.script.advance(&mut self.node, 6).unwrap();
        let params = json!([{ "rules": ["segwit"] }]);
        let answer = self.node.call("getblocktemplate", &params).unwrap();
        let work = work(BlockTemplate::parse(answer.get().as_bytes()).unwrap());
        let (template, declared) = (work.template(), work.declared());
        let declared = Declared {
            prev_hash: template.prev_hash.to_string(),
            version: template.version,
            bits: template.bits.to_consensus(),
            time: template.curtime,
            height: template.height,
            coinbase_value: declared.coinbase_value,
            total_fees: declared.total_fees,
            tx_count: u32::try_from(declared.tx_count).unwrap(),
            weight: declared.weight,
            sigops_cost: declared.sigops_cost,
            coinbase_sigops: 0,
        };
        (work.proposal_block(), declared)
    }

    /// Hands the kernel the blocks of the node from this height on; the height after the last.
    #[cfg(feature = "oracle-kernel")]
    fn tell(&mut self, kernel: &kernel::Kernel, from: u32) -> u32 {
        let height: u32 = self.ask("getblockcount", &json!([]));
        for height in from..=height {
            let hash: String = self.ask("getblockhash", &json!([height]));
            let block: String = self.ask("getblock", &json!([hash, 0]));
            // One beside a proposal that it took is no tip until the next proposal stands on it.
            kernel.connects(&const_hex::decode(block).unwrap());
        }
        height + 1
    }

    /// The node's own word, `None` for a valid block.
    fn objection(&mut self, block: &[u8]) -> Option<String> {
        let data = const_hex::encode(block);
        let params = json!([{ "mode": "proposal", "data": data, "rules": ["segwit"] }]);
        self.ask("getblocktemplate", &params)
    }
}

fn work(block: BlockTemplate) -> Work {
    let transactions = block.transactions.into_iter().map(|tx| TemplateTransaction {
        data: tx.data,
        txid: tx.txid,
        wtxid: tx.wtxid,
        fee: tx.fee.to_sat(),
        sigops: tx.sigops,
        weight: tx.weight,
    });
    let template = Template {
        template_id: TemplateId(1),
        source: "real".to_owned(),
        observed_at_ms: 0,
        height: block.height,
        prev_hash: block.previous_block_hash,
        version: block.version.cast_unsigned(),
        bits: block.bits,
        curtime: block.curtime,
        mintime: block.mintime,
        coinbase_value: block.coinbase_value.to_sat(),
        transactions: transactions.collect(),
        witness_commitment: block.default_witness_commitment.map(|script| script.to_bytes()),
        mempool_tx: None,
    };
    let payout = PayoutOutput { script_pubkey: script(0).to_p2wsh(), parts: 1 };
    let spec = CoinbaseSpec { tag: Vec::new(), payouts: vec![payout] };
    Work::build(Arc::new(template), &spec).unwrap()
}

fn mutations() -> u32 {
    std::env::var("ASSAY_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(500)
}

#[test]
fn mutations_of_random_templates_are_refused_here_or_valid_to_the_node() {
    let Some(mut rig) = Rig::start() else { return };
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    #[cfg(feature = "oracle-kernel")]
    let (kernel, mut untold) = (kernel::Kernel::new(), 1);
    let families = prop::collection::vec(family(), 1..12);
    for _ in 0..MEMPOOLS {
        let families = families.new_tree(&mut runner).unwrap().current();
        for family in &families {
            rig.bear(family);
        }
        let (mut block, declared) = rig.proposal();
        let judged = check(&block, &declared, &Options::default());
        assert!(judged.is_ok(), "{judged:?} on {families:?}");
        assert_eq!(rig.objection(&block), None, "{families:?}");
        #[cfg(feature = "oracle-kernel")]
        {
            untold = rig.tell(&kernel, untold);
            assert_eq!(kernel.objection(&block), None, "{families:?}");
            assert!(kernel.connects(&kernel::solved(&block)), "{families:?}");
            // An oracle that says yes to everything is none.
            block[MERKLE_ROOT_AT] ^= 1;
            assert!(kernel.objection(&block).is_some());
            assert!(!kernel.connects(&kernel::solved(&block)));
            block[MERKLE_ROOT_AT] ^= 1;
        }

        let name = sha256::Hash::hash(&block);
        let mut accepted = 0;
        for _ in 0..mutations().div_ceil(MEMPOOLS) {
            let change = (0..block.len(), 1_u8..);
            let (place, flip) = change.new_tree(&mut runner).unwrap().current();
            block[place] ^= flip;
            if check(&block, &declared, &Options::default()).is_ok() {
                accepted += 1;
                let objection = rig.objection(&block);
                assert_eq!(objection, None, "byte {place} ^ {flip:#04x} of block {name}");
                #[cfg(feature = "oracle-kernel")]
                assert_eq!(kernel.objection(&block), None, "byte {place} ^ {flip:#04x} of {name}");
            }
            block[place] ^= flip;
        }
        assert!(accepted < 100, "only the nonce may change, and {accepted} mutations passed");
        rig.script.mine(&mut rig.node, 1).unwrap();
    }
}
