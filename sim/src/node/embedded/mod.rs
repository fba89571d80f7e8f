//! A small regtest node of our own, held to the real one by the same script on both.
//!
//! It judges blocks and transactions by Bitcoin Core's rules and in its words, follows the most
//! work, and gives templates as bitcoind does, its five-second cache included. What it leaves
//! out: replacement in the mempool, relative lock times, peers, and every script but P2WSH of
//! `OP_TRUE`, in which the bench keeps its coins. Its difficulty can be chosen.

mod chain;
mod check;
mod mempool;
mod template;

use bitcoin::consensus::Decodable;
use bitcoin::{Block, BlockHash, CompactTarget, Transaction};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Answer, Node, RpcError};
use chain::{Chain, Entry, Outcome};
use mempool::{MIN_RELAY_FEE, Mempool};
use template::Templates;

pub(super) use check::{
    anyone_can_spend, commitment, height_push, merkle_root, subsidy, witness_leaves,
};

/// bitcoind's numbers for bad questions.
const MISC_ERROR: i64 = -1;
const TYPE_ERROR: i64 = -3;
const INVALID_ADDRESS_OR_KEY: i64 = -5;
const INVALID_PARAMETER: i64 = -8;
const DESERIALIZATION_ERROR: i64 = -22;

/// Regtest's own target, about 2^255.
const REGTEST_BITS: u32 = 0x207f_ffff;

/// `sendrawtransaction` refuses higher fees unless told otherwise: 0.10 BTC for 1000 bytes.
const DEFAULT_MAX_FEE_RATE: u64 = 10_000_000;

/// A tip older than this, in seconds, is one of a node that still downloads the chain.
const MAX_TIP_AGE_S: u64 = 24 * 60 * 60;

/// The embedded chain.
pub struct EmbeddedNode {
    chain: Chain,
    mempool: Mempool,
    templates: Templates,
    now: u64,
    initial_download: bool,
}

impl EmbeddedNode {
    /// A node on an empty chain with its clock at `unix_s`, seconds since the Unix epoch, and
    /// regtest's difficulty.
    pub fn new(unix_s: u64) -> Self {
        Self::with_bits(unix_s, CompactTarget::from_consensus(REGTEST_BITS))
    }

    /// The same with a difficulty of choice for every block after the genesis block, for
    /// scenarios in which a share must not be a block.
    pub fn with_bits(unix_s: u64, bits: CompactTarget) -> Self {
        Self {
            chain: Chain::new(bits),
            mempool: Mempool::default(),
            templates: Templates::default(),
            now: unix_s,
            initial_download: true,
        }
    }

    fn dispatch(&mut self, method: &str, params: &Value) -> Result<Value, RpcError> {
        match method {
            "getbestblockhash" => Ok(json!(self.chain.tip())),
            "getblock" => self.block(params),
            "getblockchaininfo" => Ok(self.chain_info()),
            "getblockcount" => Ok(json!(self.chain.height())),
            "getblockhash" => self.block_hash(params),
            "getblockheader" => self.block_header(params),
            "getblocktemplate" => self.template(params),
            "getmempoolinfo" => Ok(self.mempool_info()),
            "getnetworkinfo" => Ok(self.network_info()),
            "getrawmempool" => Ok(self.raw_mempool(params)),
            "gettxout" => self.tx_out(params),
            "sendrawtransaction" => self.send_transaction(params),
            "setmocktime" => {
                self.now = number(params, 0)?;
                Ok(Value::Null)
            }
            "submitblock" => self.submit(params),
            _ => Err(RpcError::new(RpcError::METHOD_NOT_FOUND, "Method not found")),
        }
    }

    fn template(&mut self, params: &Value) -> Result<Value, RpcError> {
        let request = &params[0];
        if request["mode"] == "proposal" {
            let block = decode_block(request["data"].as_str().unwrap_or_default())?;
            let verdict = self.chain.propose(&block, self.now);
            return Ok(verdict.map_or_else(|reject| json!(reject.reason), |()| Value::Null));
        }
        if !request["mode"].is_null() && request["mode"] != "template" {
            return Err(RpcError::new(INVALID_PARAMETER, "Invalid mode"));
        }
        let rules = request["rules"].as_array();
        if !rules.is_some_and(|rules| rules.iter().any(|rule| rule == "segwit")) {
            return Err(RpcError::new(
                INVALID_PARAMETER,
                "getblocktemplate must be called with the segwit rule set (call with \
                 {\"rules\": [\"segwit\"]})",
            ));
        }
        Ok(self.templates.answer(&self.chain, &self.mempool, self.now))
    }

    fn submit(&mut self, params: &Value) -> Result<Value, RpcError> {
        let mut block = decode_block(text(params, 0)?)?;
        if self.chain.entry(&block.header.prev_blockhash).is_some() {
            check::add_reserved_value(&mut block);
        }
        Ok(match self.chain.submit(block, self.now) {
            Outcome::Connected(left) => {
                self.mempool.follow(&self.chain, left);
                self.leave_initial_download();
                Value::Null
            }
            Outcome::Inconclusive => json!("inconclusive"),
            Outcome::Duplicate => json!("duplicate"),
            Outcome::Rejected(reject) => json!(reject.reason),
        })
    }

    /// A node never enters the initial download again.
    fn leave_initial_download(&mut self) {
        let tip_time = u64::from(self.chain.tip_entry().block.header.time);
        self.initial_download &= tip_time + MAX_TIP_AGE_S < self.now;
    }

    fn send_transaction(&mut self, params: &Value) -> Result<Value, RpcError> {
        let undecodable = || {
            let reason = "TX decode failed. Make sure the tx has at least one input.";
            RpcError::new(DESERIALIZATION_ERROR, reason)
        };
        let bytes = const_hex::decode(text(params, 0)?).map_err(|_| undecodable())?;
        let tx: Transaction = bitcoin::consensus::deserialize(&bytes).map_err(|_| undecodable())?;
        let max_fee_rate = match params[1].as_f64() {
            None => Some(DEFAULT_MAX_FEE_RATE),
            Some(rate) if rate <= 0.0 => None,
            Some(rate) => Some((rate * 1e8) as u64),
        };
        self.mempool.accept(tx, &self.chain, max_fee_rate).map(|txid| json!(txid))
    }

    fn raw_mempool(&self, params: &Value) -> Value {
        let listing = self.mempool.listing();
        if params[0] == true {
            let entries = listing.iter().filter_map(|txid| self.mempool.entry(txid));
            return entries
                .map(|entry| {
                    let details = json!({
                        "vsize": entry.vsize(),
                        "weight": entry.weight,
                        "wtxid": entry.wtxid,
                        "ancestorcount": entry.ancestors.len() + 1,
                        "fees": { "base": bitcoins(entry.fee.to_sat()) },
                    });
                    (entry.txid.to_string(), details)
                })
                .collect::<serde_json::Map<_, _>>()
                .into();
        }
        if params[1] == true {
            return json!({ "txids": listing, "mempool_sequence": self.mempool.updates + 1 });
        }
        json!(listing)
    }

    fn mempool_info(&self) -> Value {
        let bytes: usize = self.mempool.iter().map(mempool::Waiting::vsize).sum();
        let fees: u64 = self.mempool.iter().map(|waiting| waiting.fee.to_sat()).sum();
        let fee_floor = bitcoins(MIN_RELAY_FEE);
        json!({
            "loaded": true,
            "size": self.mempool.len(),
            "bytes": bytes,
            "usage": bytes,
            "total_fee": bitcoins(fees),
            "maxmempool": 300_000_000,
            "mempoolminfee": fee_floor,
            "minrelaytxfee": fee_floor,
            "incrementalrelayfee": fee_floor,
            "unbroadcastcount": self.mempool.len(),
            "fullrbf": false,
        })
    }

    fn network_info(&self) -> Value {
        json!({
            "version": 290_000,
            "subversion": format!("/{}/", self.version()),
            "protocolversion": 70_016,
            "localrelay": true,
            "timeoffset": 0,
            "networkactive": false,
            "connections": 0,
            "connections_in": 0,
            "connections_out": 0,
            "networks": [],
            "relayfee": bitcoins(MIN_RELAY_FEE),
            "incrementalfee": bitcoins(MIN_RELAY_FEE),
            "localaddresses": [],
            "warnings": [],
        })
    }

    fn chain_info(&self) -> Value {
        let tip = self.chain.tip_entry();
        json!({
            "chain": "regtest",
            "blocks": tip.height,
            "headers": self.chain.headers(),
            "bestblockhash": self.chain.tip(),
            "bits": format!("{:08x}", self.chain.bits.to_consensus()),
            "target": template::target_hex(&self.chain),
            "difficulty": self.chain.target().difficulty_float(),
            "time": tip.block.header.time,
            "mediantime": tip.median_time,
            "verificationprogress": 1,
            "initialblockdownload": self.initial_download,
            "chainwork": const_hex::encode(tip.work.to_be_bytes()),
            "pruned": false,
            "warnings": [],
        })
    }

    fn block_hash(&self, params: &Value) -> Result<Value, RpcError> {
        let height = number(params, 0)?;
        let hash = u32::try_from(height).ok().and_then(|height| self.chain.hash_at(height));
        hash.map(|hash| json!(hash))
            .ok_or_else(|| RpcError::new(INVALID_PARAMETER, "Block height out of range"))
    }

    fn block(&self, params: &Value) -> Result<Value, RpcError> {
        let (hash, entry) = self.known(params)?;
        if params[1] == 0 || params[1] == false {
            return Ok(json!(bitcoin::consensus::encode::serialize_hex(entry.block.as_ref())));
        }
        let mut answer = self.header_details(&hash, entry);
        let txids: Vec<_> = entry.block.txdata.iter().map(Transaction::compute_txid).collect();
        answer["tx"] = json!(txids);
        answer["size"] = entry.block.total_size().into();
        answer["weight"] = entry.block.weight().to_wu().into();
        Ok(answer)
    }

    fn block_header(&self, params: &Value) -> Result<Value, RpcError> {
        let (hash, entry) = self.known(params)?;
        if params[1] == false {
            return Ok(json!(bitcoin::consensus::encode::serialize_hex(&entry.block.header)));
        }
        Ok(self.header_details(&hash, entry))
    }

    fn known(&self, params: &Value) -> Result<(BlockHash, &Entry), RpcError> {
        let hash: BlockHash = text(params, 0)?.parse().map_err(|_| {
            RpcError::new(INVALID_PARAMETER, "blockhash must be of 64 hexadecimal digits")
        })?;
        let entry = self.chain.entry(&hash);
        let entry =
            entry.ok_or_else(|| RpcError::new(INVALID_ADDRESS_OR_KEY, "Block not found"))?;
        Ok((hash, entry))
    }

    fn header_details(&self, hash: &BlockHash, entry: &Entry) -> Value {
        let header = &entry.block.header;
        let target = header.target();
        let active = self.chain.is_active(hash);
        let above = i64::from(self.chain.height()) - i64::from(entry.height);
        let mut answer = json!({
            "hash": hash,
            "confirmations": if active { above + 1 } else { -1 },
            "height": entry.height,
            "version": header.version.to_consensus(),
            "versionHex": format!("{:08x}", header.version.to_consensus()),
            "merkleroot": header.merkle_root,
            "time": header.time,
            "mediantime": entry.median_time,
            "nonce": header.nonce,
            "bits": format!("{:08x}", header.bits.to_consensus()),
            "target": const_hex::encode(target.to_be_bytes()),
            "difficulty": target.difficulty_float(),
            "chainwork": const_hex::encode(entry.work.to_be_bytes()),
            "nTx": entry.block.txdata.len(),
        });
        if entry.height > 0 {
            answer["previousblockhash"] = json!(header.prev_blockhash);
        }
        if active && let Some(next) = self.chain.hash_at(entry.height + 1) {
            answer["nextblockhash"] = json!(next);
        }
        answer
    }

    fn tx_out(&self, params: &Value) -> Result<Value, RpcError> {
        let txid = text(params, 0)?
            .parse()
            .map_err(|_| RpcError::new(INVALID_PARAMETER, "txid must be of 64 digits"))?;
        let vout = u32::try_from(number(params, 1)?).unwrap_or(u32::MAX);
        Ok(match self.chain.coins.get(&bitcoin::OutPoint { txid, vout }) {
            None => Value::Null,
            Some(coin) => json!({
                "bestblock": self.chain.tip(),
                "confirmations": self.chain.height() - coin.height + 1,
                "value": bitcoins(coin.output.value.to_sat()),
                "scriptPubKey": { "hex": coin.output.script_pubkey.to_hex_string() },
                "coinbase": coin.coinbase,
            }),
        })
    }
}

impl Node for EmbeddedNode {
    fn call(&mut self, method: &str, params: &Value) -> Result<Answer, RpcError> {
        let answer = self.dispatch(method, params)?;
        Ok(RawValue::from_string(answer.to_string()).expect("a value prints as JSON"))
    }

    fn version(&self) -> &'static str {
        "embedded regtest chain"
    }
}

/// Reads a block; bytes after its end are ignored, as bitcoind ignores them.
fn decode_block(hex: &str) -> Result<Block, RpcError> {
    let undecodable = || RpcError::new(DESERIALIZATION_ERROR, "Block decode failed");
    let bytes = const_hex::decode(hex).map_err(|_| undecodable())?;
    Block::consensus_decode(&mut bytes.as_slice()).map_err(|_| undecodable())
}

fn text(params: &Value, index: usize) -> Result<&str, RpcError> {
    match &params[index] {
        Value::String(text) => Ok(text),
        Value::Null => Err(RpcError::new(MISC_ERROR, format!("parameter {index} is missing"))),
        other => Err(wrong_type(index, other, "string")),
    }
}

fn number(params: &Value, index: usize) -> Result<u64, RpcError> {
    match &params[index] {
        Value::Null => Err(RpcError::new(MISC_ERROR, format!("parameter {index} is missing"))),
        other => other.as_u64().ok_or_else(|| wrong_type(index, other, "number")),
    }
}

fn wrong_type(index: usize, found: &Value, wanted: &str) -> RpcError {
    RpcError::new(TYPE_ERROR, format!("parameter {index} is {found}, which is no {wanted}"))
}

/// An amount as bitcoind writes it: in bitcoins with eight decimals.
fn bitcoins(satoshis: u64) -> Value {
    let text = format!("{}.{:08}", satoshis / 100_000_000, satoshis % 100_000_000);
    serde_json::from_str(&text).expect("digits and a point are a number")
}
