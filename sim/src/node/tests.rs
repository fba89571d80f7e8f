//! The embedded chain beside a real node: the same story on both must read the same.

use std::path::Path;

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::{Amount, Block, BlockHash, OutPoint, Sequence, Transaction, TxOut, Witness};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use super::script::{grind, set_merkle_root, spend};
use super::*;

const SEED: u64 = 1;
const START: u64 = 1_700_000_000;

/// The recorded answers of a real node to [`Story`], for machines that have none. Where a node is
/// found, `ASSAY_RECORD=1` writes the file anew.
const CASSETTE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/cassettes/node-differential.1.ndjson");

#[test]
fn the_embedded_chain_answers_as_the_recorded_node_did() {
    let text = std::fs::read_to_string(CASSETTE).expect("the cassette is in the repository");
    let mut replay = Replay::parse(&text).unwrap();
    let recorded = Story::tell(&mut replay);
    assert_eq!(replay.fault(), None);
    assert_eq!(replay.remaining(), 0, "the story no longer asks all that was recorded");
    assert_same(&recorded, &Story::tell(&mut EmbeddedNode::new(START)));
}

#[test]
fn the_embedded_chain_answers_as_a_real_node_does() {
    let Some(found) = find() else {
        eprintln!(
            "SKIPPED: no bitcoind here; compared with its recorded answers only.\n{}",
            status()
        );
        return;
    };
    let node = RealNode::start(&found.exe, START).unwrap();
    let (mut recorder, recording) = Recorder::new(Box::new(node));
    let real = Story::tell(&mut recorder);
    drop(recorder);
    if std::env::var_os("ASSAY_RECORD").is_some() {
        std::fs::create_dir_all(Path::new(CASSETTE).parent().unwrap()).unwrap();
        std::fs::write(CASSETTE, recording.text()).unwrap();
    }
    let replayed = Story::tell(&mut Replay::parse(&recording.text()).unwrap());
    assert_same(&real, &replayed);
    assert_same(&real, &Story::tell(&mut EmbeddedNode::new(START)));
}

/// So many stories are drawn, from the seeds 1 on; `ASSAY_STORIES` draws more.
const DRAWN_STORIES: u64 = 4;

#[test]
fn drawn_stories_read_the_same_on_a_real_node() {
    let Some(found) = find() else {
        eprintln!("SKIPPED: no bitcoind here.\n{}", status());
        return;
    };
    let stories = std::env::var("ASSAY_STORIES").map_or(DRAWN_STORIES, |count| {
        count.parse().expect("ASSAY_STORIES is a number of stories")
    });
    for seed in 1..=stories {
        println!("the story of seed {seed}");
        let real = Story::tell_drawn(&mut RealNode::start(&found.exe, START).unwrap(), seed);
        assert_same(&real, &Story::tell_drawn(&mut EmbeddedNode::new(START), seed));
    }
}

#[test]
fn equal_seeds_tell_equal_stories() {
    let [first, second] = [(); 2].map(|()| Story::tell(&mut EmbeddedNode::new(START)));
    assert_same(&first, &second);
}

#[test]
fn a_chosen_difficulty_makes_shares_that_are_no_blocks() {
    let bits = bitcoin::CompactTarget::from_consensus(0x2000_ffff);
    let mut node = EmbeddedNode::with_bits(START, bits);
    let node: &mut dyn Node = &mut node;
    let mut script = ChainScript::new(SEED, START);
    script.mine_empty(node, 12).unwrap();
    assert_eq!(template(node).unwrap()["bits"], "2000ffff");
    let mut block = script.next_block(node).unwrap();
    while block.header.target().is_met_by(block.block_hash()) {
        block.header.nonce += 1;
    }
    assert_eq!(submit(node, &block).unwrap(), "high-hash");
    grind(&mut block);
    assert_eq!(submit(node, &block).unwrap(), Value::Null);
}

#[test]
fn a_template_has_parents_before_the_children_that_pay_for_them() {
    let mut node = EmbeddedNode::new(START);
    let node: &mut dyn Node = &mut node;
    let mut script = ChainScript::new(SEED, START);
    script.premine(node, 101, 5).unwrap();
    let txids = script.fill_mempool(node, 3).unwrap();
    let fill = template(node).unwrap();
    let of_fee = |tx: &Value| tx["fee"].as_u64().unwrap();
    let waiting = fill["transactions"].as_array().unwrap().clone();
    assert!(waiting.is_sorted_by_key(|tx| std::cmp::Reverse(of_fee(tx))), "{waiting:?}");
    // A child of the cheapest transaction pays for both.
    let parent: Transaction = bitcoin::consensus::encode::deserialize_hex(
        waiting.last().unwrap()["data"].as_str().unwrap(),
    )
    .unwrap();
    let outpoint = OutPoint { txid: parent.compute_txid(), vout: 0 };
    let child = spend(outpoint, parent.output[0].value.to_sat() - 100_000, 1);
    node.call("sendrawtransaction", &json!([serialize_hex(&child), 0])).unwrap();
    script.advance(node, 6).unwrap();
    let full = template(node).unwrap();
    let order: Vec<_> = full["transactions"].as_array().unwrap().iter().collect();
    assert_eq!(order.len(), txids.len() + 1);
    assert_eq!(order[0]["txid"], json!(parent.compute_txid()));
    assert_eq!(order[1]["txid"], json!(child.compute_txid()));
    assert_eq!(order[1]["depends"], json!([1]));
    assert_eq!(order[0]["depends"], json!([]));
    let block = script.next_block(node).unwrap();
    assert_eq!(submit(node, &block).unwrap(), Value::Null);
    assert_eq!(node.ask::<Value>("getrawmempool", &json!([])).unwrap(), json!([]));
}

#[test]
fn a_waiting_transaction_has_room_for_so_many_children() {
    let mut node = EmbeddedNode::new(START);
    let node: &mut dyn Node = &mut node;
    let mut script = ChainScript::new(SEED, START);
    // The block that makes the coins is the tip, and goes: what made them waits again.
    script.premine(node, 101, 60).unwrap();
    script.reorg(node, 1).unwrap();
    assert_eq!(node.ask::<Vec<Value>>("getrawmempool", &json!([])).unwrap().len(), 1);
    // It tries them all, and the coinbases that are old enough by now.
    script.fill_mempool(node, 60).unwrap_err();
    let waiting: Value = node.ask("getrawmempool", &json!([true])).unwrap();
    let entries = waiting.as_object().unwrap().values();
    let children = entries.filter(|entry| entry["ancestorcount"] == 2).count();
    assert_eq!(children, 25, "as many as there is room for, and one more that is small");
}

#[test]
fn a_failed_reorg_restores_the_chain() {
    let mut node = EmbeddedNode::new(START);
    let node: &mut dyn Node = &mut node;
    let mut script = ChainScript::new(SEED, START);
    script.mine_empty(node, 2).unwrap();
    let mut fork = EmbeddedNode::new(START);
    let mut other = ChainScript::new(SEED + 1, START);
    other.mine_empty(&mut fork, 1).unwrap();
    let tip = chain_info(node).unwrap();
    // Three blocks, the second of which pays itself too much.
    let mut parent = None;
    let answers: Vec<Value> = (0..3)
        .map(|index| {
            let mut block = other.next_block(&mut fork).unwrap();
            let height = 1 + index;
            let start = embedded::height_push(height);
            let mut script = start.clone();
            script.extend_from_slice(b"fork");
            block.txdata[0].input[0].script_sig = script.into();
            block.header.prev_blockhash = parent.unwrap_or_else(|| {
                bitcoin::constants::genesis_block(bitcoin::Network::Regtest).block_hash()
            });
            block.header.time += index;
            if index == 1 {
                block.txdata[0].output[0].value += Amount::from_sat(1);
            }
            recommit(&mut block);
            grind(&mut block);
            parent = Some(block.block_hash());
            submit(node, &block).unwrap()
        })
        .collect();
    assert_eq!(answers, ["inconclusive", "inconclusive", "inconclusive"]);
    assert_eq!(chain_info(node).unwrap(), tip);
    script.mine_empty(node, 1).unwrap();
}

fn assert_same(real: &[(String, Value)], other: &[(String, Value)]) {
    let differences: Vec<String> = real
        .iter()
        .zip(other)
        .filter(|(left, right)| left != right)
        .map(|(left, right)| format!("{}: {}\n  instead of {}", right.0, right.1, left.1))
        .collect();
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
    assert_eq!(real.len(), other.len());
}

/// What a node answered along one fixed course of events.
struct Story<'a> {
    node: &'a mut dyn Node,
    script: ChainScript,
    seen: Vec<(String, Value)>,
}

impl<'a> Story<'a> {
    fn tell(node: &'a mut dyn Node) -> Vec<(String, Value)> {
        let script = ChainScript::new(SEED, START);
        let mut story = Self { node, script, seen: Vec::new() };
        story.look("genesis");
        story.script.premine(story.node, 104, 30).unwrap();
        story.script.mine_empty(story.node, 1).unwrap();
        story.look("premined");
        story.wait_and_fill(9);
        story.look("filled");
        story.bad_transactions();
        story.bad_proposals();
        story.bad_blocks();
        story.script.mine(story.node, 1).unwrap();
        story.look("mined");
        story.note("mined: block", |node| {
            let hash: BlockHash = node.ask("getbestblockhash", &json!([]))?;
            node.ask("getblock", &json!([hash, 0]))
        });
        story.frozen_clock();
        for depth in [1, 3] {
            story.wait_and_fill(2);
            story.script.mine(story.node, depth).unwrap();
            story.script.reorg(story.node, depth).unwrap();
            story.look(&format!("reorg of depth {depth}"));
        }
        story.script.compete(story.node).unwrap();
        story.look("competing tip");
        story.script.mine_empty(story.node, 1).unwrap();
        story.script.advance(story.node, 6).unwrap();
        story.look("empty tip");
        story.script.mine_empty(story.node, 45).unwrap();
        story.look("halved subsidy and a started deployment");
        story.seen
    }

    /// Mines, spends, reorganises and offers good and bad blocks as the seed says; reorganises also
    /// below the block that made the coins which the mempool spends.
    fn tell_drawn(node: &'a mut dyn Node, seed: u64) -> Vec<(String, Value)> {
        const STEPS: usize = 24;
        let mut draws = ChaCha8Rng::seed_from_u64(seed);
        let mut story = Self { node, script: ChainScript::new(seed, START), seen: Vec::new() };
        story.script.premine(story.node, 104, 60).unwrap();
        for step in 0..STEPS {
            let count = 1 + draws.next_u32() % 6;
            let does = match draws.next_u32() % 9 {
                0 => story.script.mine(story.node, count).map(|_| "mine"),
                1 => story.script.mine_empty(story.node, count).map(|_| "mine empty blocks"),
                2 => story.script.reorg(story.node, count).map(|_| "reorganise"),
                3 => story.script.compete(story.node).map(|_| "compete"),
                4..=6 => {
                    story.offer(&TAMPERINGS[draws.next_u32() as usize % TAMPERINGS.len()]);
                    Ok("offer a block")
                }
                _ => {
                    // Without coins left there is nothing to spend.
                    drop(story.script.fill_mempool(story.node, count as usize));
                    Ok("spend")
                }
            };
            let does = does.unwrap();
            story.script.advance(story.node, 6).unwrap();
            story.look(&format!("step {step}, {does} {count}"));
        }
        story.seen
    }

    /// Proposes a block that was tampered with, and submits it twice.
    fn offer(&mut self, (what, tamper): &(&str, Tamper)) {
        let immature = OutPoint { txid: self.tip_coinbase(), vout: 0 };
        let mut block = self.script.next_block(self.node).unwrap();
        if block.txdata.len() < 2 {
            return; // Most ways to spoil a block spoil a transaction.
        }
        tamper(&mut block, immature);
        self.note(&format!("proposal: {what}"), |node| propose(node, &serialize_hex(&block)));
        grind(&mut block);
        for time in ["first", "again"] {
            self.note(&format!("submit {time}: {what}"), |node| submit(node, &block));
        }
    }

    fn wait_and_fill(&mut self, count: usize) {
        self.script.fill_mempool(self.node, count).unwrap();
        self.script.advance(self.node, 6).unwrap();
    }

    /// A changed mempool does not show in templates for five seconds of the node's time.
    fn frozen_clock(&mut self) {
        for seconds in [0, 0, 5, 1] {
            self.script.advance(self.node, seconds).unwrap();
            self.script.fill_mempool(self.node, 1).unwrap();
            self.note("template under a frozen clock", template);
        }
    }

    /// Everything that the nodes must agree on, by name.
    fn look(&mut self, when: &str) {
        self.note(&format!("{when}: template"), template);
        self.note(&format!("{when}: chain"), chain_info);
        self.note(&format!("{when}: mempool"), mempool_info);
        for method in ["getblockcount", "getbestblockhash", "getrawmempool"] {
            let what = format!("{when}: {method}");
            self.note(&what, |node| node.ask(method, &json!([])));
        }
        self.note(&format!("{when}: no such height"), |node| {
            node.ask("getblockhash", &json!([100_000]))
        });
    }

    fn note(&mut self, what: &str, ask: impl FnOnce(&mut dyn Node) -> Result<Value, RpcError>) {
        let answer = match ask(self.node) {
            Ok(answer) => answer,
            Err(error) => json!({ "code": error.code, "message": scripts(&error.message) }),
        };
        self.seen.push((what.to_owned(), answer));
    }

    fn bad_transactions(&mut self) {
        let base = self.script.next_block(self.node).unwrap();
        let known = &base.txdata[1];
        let unknown = OutPoint { txid: base.txdata[0].compute_txid(), vout: 7 };
        let immature = OutPoint { txid: self.tip_coinbase(), vout: 0 };
        let mut nonfinal = spend(unknown, 1_000, 1);
        nonfinal.lock_time = bitcoin::absolute::LockTime::from_height(5_000).unwrap();
        nonfinal.input[0].sequence = Sequence::ENABLE_LOCKTIME_NO_RBF;
        let transactions = [
            ("waiting", known.clone()),
            ("missing input", spend(unknown, 1_000, 1)),
            ("immature", spend(immature, 1_000, 1)),
            ("not final", nonfinal),
            ("coinbase", base.txdata[0].clone()),
        ];
        for (what, tx) in transactions {
            self.note(&format!("transaction: {what}"), |node| {
                node.ask("sendrawtransaction", &json!([serialize_hex(&tx), 0]))
            });
        }
        self.note("transaction: garbage", |node| node.ask("sendrawtransaction", &json!(["00"])));
    }

    fn tip_coinbase(&mut self) -> bitcoin::Txid {
        let hash: BlockHash = self.node.ask("getbestblockhash", &json!([])).unwrap();
        let hex: String = self.node.ask("getblock", &json!([hash, 0])).unwrap();
        let block: Block = bitcoin::consensus::encode::deserialize_hex(&hex).unwrap();
        block.txdata[0].compute_txid()
    }

    fn bad_proposals(&mut self) {
        let immature = OutPoint { txid: self.tip_coinbase(), vout: 0 };
        for (what, tamper) in TAMPERINGS {
            let mut block = self.script.next_block(self.node).unwrap();
            tamper(&mut block, immature);
            self.note(&format!("proposal: {what}"), |node| propose(node, &serialize_hex(&block)));
        }
        let block = self.script.next_block(self.node).unwrap();
        let hex = serialize_hex(&block);
        self.note("proposal: trailing bytes", |node| propose(node, &format!("{hex}00")));
        self.note("proposal: garbage", |node| propose(node, "00"));
        self.note("template without segwit", |node| {
            node.ask("getblocktemplate", &json!([{ "rules": [] }]))
        });
    }

    /// Submits every tampered block twice: the node may remember the first time.
    fn bad_blocks(&mut self) {
        let immature = OutPoint { txid: self.tip_coinbase(), vout: 0 };
        for (what, tamper) in TAMPERINGS {
            if *what == "untouched" || *what == "no reserved value" {
                continue; // These are taken.
            }
            let mut block = self.script.next_block(self.node).unwrap();
            tamper(&mut block, immature);
            grind(&mut block);
            for time in ["first", "again"] {
                self.note(&format!("submit {time}: {what}"), |node| submit(node, &block));
            }
        }
        let mut block = self.script.next_block(self.node).unwrap();
        while block.header.target().is_met_by(block.block_hash()) {
            block.header.nonce += 1;
        }
        self.note("submit: too little work", |node| submit(node, &block));
        block.header.prev_blockhash = block.block_hash();
        grind(&mut block);
        self.note("submit: unknown parent", |node| submit(node, &block));
        self.note("submit: garbage", |node| node.ask("submitblock", &json!(["00"])));
        let mut block = self.script.next_block(self.node).unwrap();
        block.txdata[0].input[0].witness = Witness::new();
        for time in ["first", "again"] {
            self.note(&format!("submit {time}: without the reserved value"), |node| {
                submit(node, &block)
            });
        }
    }
}

/// Ways to spoil a block, all of which leave it decodable. Its merkle root is made right again
/// unless it is what is wrong.
type Tamper = fn(&mut Block, OutPoint);

const TAMPERINGS: &[(&str, Tamper)] = &[
    ("untouched", |_, _| {}),
    ("no reserved value", |block, _| block.txdata[0].input[0].witness = Witness::new()),
    ("merkle root", |block, _| {
        block.header.merkle_root =
            bitcoin::TxMerkleNode::from_raw_hash(block.txdata[1].compute_txid().to_raw_hash());
    }),
    ("coinbase pays too much", |block, _| {
        block.txdata[0].output[0].value += Amount::from_sat(1);
        set_merkle_root(block);
    }),
    ("height", |block, _| {
        let script = block.txdata[0].input[0].script_sig.as_bytes();
        block.txdata[0].input[0].script_sig = script[1..].to_vec().into();
        set_merkle_root(block);
    }),
    ("short coinbase script", |block, _| {
        block.txdata[0].input[0].script_sig = vec![0x51].into();
        set_merkle_root(block);
    }),
    ("two coinbases", |block, _| {
        block.txdata.push(block.txdata[0].clone());
        set_merkle_root(block);
    }),
    ("no coinbase", |block, _| {
        block.txdata.remove(0);
        set_merkle_root(block);
    }),
    ("repeated transactions", |block, _| {
        let last = block.txdata.last().unwrap().clone();
        block.txdata.push(last);
        set_merkle_root(block);
    }),
    ("double spend", |block, _| {
        let mut again = block.txdata[1].clone();
        again.output[0].value -= Amount::from_sat(1);
        with(block, again);
    }),
    ("missing input", |block, _| {
        let nowhere = OutPoint { txid: block.txdata[0].compute_txid(), vout: 9 };
        with(block, spend(nowhere, 1_000, 1));
    }),
    ("immature coinbase", |block, immature| with(block, spend(immature, 1_000, 1))),
    ("creates money", |block, _| {
        change_first(block, |tx| tx.output[0].value = Amount::ONE_BTC * 1_000);
    }),
    ("negative value", |block, _| {
        change_first(block, |tx| tx.output[0].value = Amount::from_sat(u64::MAX));
    }),
    ("value too large", |block, _| {
        change_first(block, |tx| tx.output[0].value = Amount::MAX_MONEY + Amount::from_sat(1));
    }),
    ("same input twice", |block, _| {
        change_first(block, |tx| tx.input.push(tx.input[0].clone()));
    }),
    ("not final", |block, _| {
        change_first(block, |tx| {
            tx.lock_time = bitcoin::absolute::LockTime::from_height(5_000).unwrap();
            tx.input[0].sequence = Sequence::ENABLE_LOCKTIME_NO_RBF;
        });
    }),
    ("wrong witness script", |block, _| {
        change_first(block, |tx| tx.input[0].witness = Witness::from_slice(&[[0x52]]));
    }),
    ("empty witness", |block, _| {
        change_first(block, |tx| tx.input[0].witness = Witness::new());
    }),
    ("witness without commitment", |block, _| {
        block.txdata[0].output.pop();
        set_merkle_root(block);
    }),
    ("commitment", |block, _| {
        block.txdata[1].input[0].witness = Witness::from_slice(&[vec![], vec![0x51]]);
    }),
    ("too many sigops", |block, _| {
        let script_pubkey = vec![0xac; 20_001].into();
        block.txdata[0].output.push(TxOut { value: Amount::ZERO, script_pubkey });
        set_merkle_root(block);
    }),
    ("too long", |block, _| {
        let script_pubkey = vec![0x6a; 1_000_000].into();
        block.txdata[0].output.push(TxOut { value: Amount::ZERO, script_pubkey });
        set_merkle_root(block);
    }),
    ("too old", |block, _| block.header.time = 1),
    ("too new", |block, _| block.header.time += 7_300),
    ("difficulty", |block, _| {
        block.header.bits = bitcoin::CompactTarget::from_consensus(0x207f_fffe);
    }),
    ("old version", |block, _| {
        block.header.version = bitcoin::block::Version::from_consensus(3);
    }),
];

/// Adds a transaction, with the commitment to it.
fn with(block: &mut Block, tx: Transaction) {
    block.txdata.push(tx);
    recommit(block);
}

fn change_first(block: &mut Block, change: impl FnOnce(&mut Transaction)) {
    change(&mut block.txdata[1]);
    recommit(block);
}

fn recommit(block: &mut Block) {
    let (root, _) = embedded::merkle_root(embedded::witness_leaves(&block.txdata));
    let mut script = vec![0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
    script.extend_from_slice(&embedded::commitment(root, &[0; 32]));
    block.txdata[0].output.last_mut().unwrap().script_pubkey = script.into();
    set_merkle_root(block);
}

fn submit(node: &mut dyn Node, block: &Block) -> Result<Value, RpcError> {
    let answer: Value = node.ask("submitblock", &json!([serialize_hex(block)]))?;
    Ok(answer.as_str().map_or(Value::Null, |word| json!(scripts(word))))
}

fn propose(node: &mut dyn Node, hex: &str) -> Result<Value, RpcError> {
    let request = json!([{ "mode": "proposal", "data": hex, "rules": ["segwit"] }]);
    let answer: Value = node.ask("getblocktemplate", &request)?;
    Ok(answer.as_str().map_or(Value::Null, |word| json!(scripts(word))))
}

/// A template without `longpollid`: its end counts changes of the mempool, which each node
/// counts in its own way.
fn template(node: &mut dyn Node) -> Result<Value, RpcError> {
    let mut answer: Value = node.ask("getblocktemplate", &json!([{ "rules": ["segwit"] }]))?;
    let id = answer.as_object_mut().unwrap().remove("longpollid").unwrap();
    let tip = answer["previousblockhash"].as_str().unwrap();
    assert!(id.as_str().unwrap().starts_with(tip), "{id}");
    Ok(answer)
}

/// The part of `getblockchaininfo` that follows from the chain: how many headers of refused
/// blocks a node remembers, its disk and its warnings do not.
fn chain_info(node: &mut dyn Node) -> Result<Value, RpcError> {
    let answer: Value = node.ask("getblockchaininfo", &json!([]))?;
    let keys = "chain blocks bestblockhash bits target difficulty time mediantime chainwork \
                initialblockdownload";
    Ok(keys.split_whitespace().map(|key| answer[key].clone()).collect())
}

/// The part of `getmempoolinfo` that follows from the transactions: memory and limits do not.
fn mempool_info(node: &mut dyn Node) -> Result<Value, RpcError> {
    let answer: Value = node.ask("getmempoolinfo", &json!([]))?;
    Ok(["loaded", "size", "bytes", "total_fee"].iter().map(|key| answer[*key].clone()).collect())
}

/// The words for a failed script differ between versions, but for this part of them.
fn scripts(message: &str) -> &str {
    let part = "script-verify-flag-failed";
    if message.contains(part) { part } else { message }
}
