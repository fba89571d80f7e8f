//! The rules of a block, with the words in which Bitcoin Core refuses one (BIP 22).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use bitcoin::block::Header;
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::script::{PushBytes, PushBytesBuf};
use bitcoin::{
    Amount, Block, CompactTarget, OutPoint, Script, ScriptBuf, Sequence, Target, Transaction,
    TxMerkleNode, TxOut, Weight, Witness,
};

/// Consensus bounds and regtest's own numbers, named as in Bitcoin Core.
pub(super) const MAX_BLOCK_WEIGHT: usize = Weight::MAX_BLOCK.to_wu() as usize;
pub(super) const MAX_BLOCK_SIGOPS_COST: usize = 80_000;
pub(super) const COINBASE_MATURITY: u32 = 100;
const WITNESS_SCALE_FACTOR: usize = 4;
const MAX_FUTURE_BLOCK_TIME: u64 = 2 * 60 * 60;
const SUBSIDY_HALVING_INTERVAL: u32 = 150;

/// Why a block is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reject {
    /// Core's word for it.
    pub(super) reason: Cow<'static, str>,
    /// Whether another body could fit the same header, so that the header is not condemned.
    pub(super) mutated: bool,
}

impl Reject {
    const fn mutated(reason: &'static str) -> Self {
        Self { reason: Cow::Borrowed(reason), mutated: true }
    }
}

impl From<&'static str> for Reject {
    fn from(reason: &'static str) -> Self {
        Self { reason: reason.into(), mutated: false }
    }
}

/// An unspent output.
#[derive(Clone, Debug)]
pub(super) struct Coin {
    pub(super) output: TxOut,
    pub(super) height: u32,
    pub(super) coinbase: bool,
}

/// The unspent outputs of the active chain.
pub(super) type Coins = BTreeMap<OutPoint, Coin>;

/// What a block spent, to take it back.
pub(super) type Undo = Vec<(OutPoint, Coin)>;

/// What a new block's parent says about it.
pub(super) struct Context {
    /// The new block's height.
    pub(super) height: u32,
    /// The median time of the eleven blocks before it.
    pub(super) median_time: u32,
    /// The target it must name.
    pub(super) bits: CompactTarget,
    /// The node's time, in seconds.
    pub(super) now: u64,
}

/// The rules that need nothing but the block (`CheckBlock`).
pub(super) fn check_block(block: &Block, proof_of_work: bool) -> Result<(), Reject> {
    if proof_of_work && !Target::from_compact(block.header.bits).is_met_by(block.block_hash()) {
        return Err("high-hash".into());
    }
    let txids = block.txdata.iter().map(|tx| tx.compute_txid().to_raw_hash()).collect();
    let (root, repeated) = merkle_root(txids);
    if block.header.merkle_root != TxMerkleNode::from_raw_hash(root) {
        return Err(Reject::mutated("bad-txnmrklroot"));
    }
    if repeated {
        return Err(Reject::mutated("bad-txns-duplicate"));
    }
    let stripped = 80 + block.txdata.iter().map(Transaction::base_size).sum::<usize>();
    if block.txdata.is_empty() || stripped * WITNESS_SCALE_FACTOR > MAX_BLOCK_WEIGHT {
        return Err("bad-blk-length".into());
    }
    if !block.txdata[0].is_coinbase() {
        return Err("bad-cb-missing".into());
    }
    if block.txdata[1..].iter().any(Transaction::is_coinbase) {
        return Err("bad-cb-multiple".into());
    }
    for tx in &block.txdata {
        check_transaction(tx)?;
    }
    let sigops: usize = block.txdata.iter().map(legacy_sigops).sum();
    if sigops * WITNESS_SCALE_FACTOR > MAX_BLOCK_SIGOPS_COST {
        return Err("bad-blk-sigops".into());
    }
    Ok(())
}

/// The rules of a header on its parent (`ContextualCheckBlockHeader`).
pub(super) fn check_header(header: &Header, context: &Context) -> Result<(), Reject> {
    if header.bits != context.bits {
        Err("bad-diffbits".into())
    } else if header.time <= context.median_time {
        Err("time-too-old".into())
    } else if u64::from(header.time) > context.now + MAX_FUTURE_BLOCK_TIME {
        Err("time-too-new".into())
    } else if header.version.to_consensus() < 4 {
        // Regtest demands BIP 34, 65 and 66 from the first block.
        let reason = format!("bad-version(0x{:08x})", header.version.to_consensus());
        Err(Reject { reason: reason.into(), mutated: false })
    } else {
        Ok(())
    }
}

/// The rules of a body on its parent (`ContextualCheckBlock`).
pub(super) fn check_in_context(block: &Block, context: &Context) -> Result<(), Reject> {
    if block.txdata.iter().any(|tx| !is_final(tx, context.height, context.median_time)) {
        return Err("bad-txns-nonfinal".into());
    }
    let coinbase = &block.txdata[0];
    if !coinbase.input[0].script_sig.as_bytes().starts_with(&height_push(context.height)) {
        return Err("bad-cb-height".into());
    }
    check_witness(block)?;
    if block.weight().to_wu() > Weight::MAX_BLOCK.to_wu() {
        return Err("bad-blk-weight".into());
    }
    Ok(())
}

/// The witness commitment of BIP 141; the last of several counts.
fn check_witness(block: &Block) -> Result<(), Reject> {
    let coinbase = &block.txdata[0];
    let Some(index) = commitment_index(coinbase) else {
        let any = block.txdata.iter().flat_map(|tx| &tx.input).any(|i| !i.witness.is_empty());
        return if any { Err(Reject::mutated("unexpected-witness")) } else { Ok(()) };
    };
    let witness = &coinbase.input[0].witness;
    if witness.len() != 1 || witness[0].len() != 32 {
        return Err(Reject::mutated("bad-witness-nonce-size"));
    }
    let (root, _) = merkle_root(witness_leaves(&block.txdata));
    if coinbase.output[index].script_pubkey.as_bytes()[6..38] != commitment(root, &witness[0]) {
        return Err(Reject::mutated("bad-witness-merkle-match"));
    }
    Ok(())
}

/// Spends the block's inputs out of `coins` and adds its outputs (`ConnectBlock`); `coins` is
/// unchanged when the block is refused.
pub(super) fn connect(block: &Block, context: &Context, coins: &mut Coins) -> Result<Undo, Reject> {
    let mut undo = Undo::new();
    let outcome = connect_transactions(block, context, coins, &mut undo);
    match outcome {
        Ok(()) => Ok(undo),
        Err(reject) => {
            disconnect(block, undo, coins);
            Err(reject)
        }
    }
}

/// Takes a connected block back, or the part of it that was connected.
pub(super) fn disconnect(block: &Block, undo: Undo, coins: &mut Coins) {
    for tx in &block.txdata {
        let txid = tx.compute_txid();
        for vout in 0..tx.output.len() {
            coins.remove(&OutPoint { txid, vout: vout as u32 });
        }
    }
    // Outputs both made and spent in this block come back here and go with the block.
    let own: BTreeSet<_> = block.txdata.iter().map(Transaction::compute_txid).collect();
    coins.extend(undo.into_iter().filter(|(outpoint, _)| !own.contains(&outpoint.txid)));
}

fn connect_transactions(
    block: &Block,
    context: &Context,
    coins: &mut Coins,
    undo: &mut Undo,
) -> Result<(), Reject> {
    let (mut fees, mut sigops) = (Amount::ZERO, 0);
    for tx in &block.txdata {
        if !tx.is_coinbase() {
            fees += check_inputs(tx, context.height, coins)?;
        }
        sigops += tx.total_sigop_cost(|outpoint| coins.get(outpoint).map(|c| c.output.clone()));
        if sigops > MAX_BLOCK_SIGOPS_COST {
            return Err("bad-blk-sigops".into());
        }
        if !tx.is_coinbase() {
            check_scripts(tx, coins)?;
            for input in &tx.input {
                let coin = coins.remove(&input.previous_output);
                undo.extend(coin.map(|coin| (input.previous_output, coin)));
            }
        }
        add_outputs(tx, context.height, coins);
    }
    let claimed: Amount = block.txdata[0].output.iter().map(|output| output.value).sum();
    if claimed > subsidy(context.height) + fees {
        return Err("bad-cb-amount".into());
    }
    Ok(())
}

fn add_outputs(tx: &Transaction, height: u32, coins: &mut Coins) {
    let txid = tx.compute_txid();
    for (vout, output) in tx.output.iter().enumerate() {
        if !output.script_pubkey.is_op_return() {
            let coin = Coin { output: output.clone(), height, coinbase: tx.is_coinbase() };
            coins.insert(OutPoint { txid, vout: vout as u32 }, coin);
        }
    }
}

/// The values a transaction moves at `height` (`CheckTxInputs`); its fee.
pub(super) fn check_inputs(
    tx: &Transaction,
    height: u32,
    coins: &Coins,
) -> Result<Amount, &'static str> {
    let mut value = Amount::ZERO;
    let spent = tx.input.iter().map(|input| coins.get(&input.previous_output));
    let spent: Option<Vec<&Coin>> = spent.collect();
    for coin in spent.ok_or("bad-txns-inputs-missingorspent")? {
        if coin.coinbase && height < coin.height + COINBASE_MATURITY {
            return Err("bad-txns-premature-spend-of-coinbase");
        }
        value += coin.output.value;
    }
    let out: Amount = tx.output.iter().map(|output| output.value).sum();
    value.checked_sub(out).ok_or("bad-txns-in-belowout")
}

/// Judges each input's script. The only script that this chain spends is P2WSH of `OP_TRUE`,
/// in which all coins of [`ChainScript`](super::super::ChainScript) are.
pub(super) fn check_scripts(tx: &Transaction, coins: &Coins) -> Result<(), &'static str> {
    for input in &tx.input {
        let coin = coins.get(&input.previous_output).ok_or("bad-txns-inputs-missingorspent")?;
        let anyone = coin.output.script_pubkey == anyone_can_spend();
        if !anyone {
            return Err("mandatory-script-verify-flag-failed \
                        (the embedded chain spends P2WSH of OP_TRUE only)");
        }
        if !input.script_sig.is_empty() {
            return Err("mandatory-script-verify-flag-failed (Witness requires empty scriptSig)");
        }
        match input.witness.last() {
            None => {
                return Err("mandatory-script-verify-flag-failed \
                            (Witness program was passed an empty witness)");
            }
            Some(script) if script != [0x51] => {
                return Err("mandatory-script-verify-flag-failed (Witness program hash mismatch)");
            }
            Some(_) if input.witness.len() > 1 => {
                return Err("mandatory-script-verify-flag-failed \
                            (Stack size must be exactly one after execution)");
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The script in which the bench keeps its coins: P2WSH of `OP_TRUE`, spent by the witness `51`.
pub(crate) fn anyone_can_spend() -> ScriptBuf {
    ScriptBuf::new_p2wsh(&Script::from_bytes(&[0x51]).wscript_hash())
}

/// The rules of a transaction by itself (`CheckTransaction`).
pub(super) fn check_transaction(tx: &Transaction) -> Result<(), &'static str> {
    if tx.input.is_empty() {
        return Err("bad-txns-vin-empty");
    }
    if tx.output.is_empty() {
        return Err("bad-txns-vout-empty");
    }
    if tx.base_size() * WITNESS_SCALE_FACTOR > MAX_BLOCK_WEIGHT {
        return Err("bad-txns-oversize");
    }
    let mut total = Amount::ZERO;
    for output in &tx.output {
        // The type holds no negative amount; on the wire it is the upper half of the range.
        if output.value.to_sat() > i64::MAX as u64 {
            return Err("bad-txns-vout-negative");
        }
        if output.value > Amount::MAX_MONEY {
            return Err("bad-txns-vout-toolarge");
        }
        total += output.value;
        if total > Amount::MAX_MONEY {
            return Err("bad-txns-txouttotal-toolarge");
        }
    }
    let spent: BTreeSet<_> = tx.input.iter().map(|input| input.previous_output).collect();
    if spent.len() != tx.input.len() {
        return Err("bad-txns-inputs-duplicate");
    }
    if tx.is_coinbase() {
        let length = tx.input[0].script_sig.len();
        return if (2..=100).contains(&length) { Ok(()) } else { Err("bad-cb-length") };
    }
    if spent.contains(&OutPoint::null()) {
        return Err("bad-txns-prevout-null");
    }
    Ok(())
}

/// Whether a transaction may be in a block of this height and median time (BIP 113).
pub(super) fn is_final(tx: &Transaction, height: u32, median_time: u32) -> bool {
    let lock = tx.lock_time.to_consensus_u32();
    let reached = if tx.lock_time.is_block_height() { height } else { median_time };
    lock == 0 || lock < reached || tx.input.iter().all(|input| input.sequence == Sequence::MAX)
}

/// What a coinbase may create at `height`, without fees.
pub(crate) fn subsidy(height: u32) -> Amount {
    let halvings = height / SUBSIDY_HALVING_INTERVAL;
    Amount::from_sat((50 * Amount::ONE_BTC.to_sat()).checked_shr(halvings).unwrap_or(0))
}

/// The bytes with which a coinbase's script begins at `height` (BIP 34), as
/// `CScript() << height` writes them.
pub(crate) fn height_push(height: u32) -> Vec<u8> {
    match height {
        0 => vec![0],
        1..=16 => vec![0x50 + height as u8],
        _ => {
            let mut bytes = height.to_le_bytes().to_vec();
            while bytes.last() == Some(&0) {
                bytes.pop();
            }
            // The top bit is the sign.
            if bytes.last().is_some_and(|byte| byte & 0x80 != 0) {
                bytes.push(0);
            }
            let mut script = ScriptBuf::new();
            let push: &PushBytes = &PushBytesBuf::try_from(bytes).expect("five bytes at most");
            script.push_slice(push);
            script.into_bytes()
        }
    }
}

/// The last output that looks like a witness commitment.
pub(super) fn commitment_index(coinbase: &Transaction) -> Option<usize> {
    coinbase.output.iter().rposition(|output| {
        let script = output.script_pubkey.as_bytes();
        script.len() >= 38 && script.starts_with(&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed])
    })
}

/// The commitment to `root` with the coinbase's reserved value.
pub(crate) fn commitment(root: sha256d::Hash, reserved: &[u8]) -> [u8; 32] {
    let mut preimage = root.to_byte_array().to_vec();
    preimage.extend_from_slice(reserved);
    sha256d::Hash::hash(&preimage).to_byte_array()
}

/// The witness transaction ids of a block, the coinbase's as zeros.
pub(crate) fn witness_leaves(transactions: &[Transaction]) -> Vec<sha256d::Hash> {
    let others = transactions.iter().skip(1).map(|tx| tx.compute_wtxid().to_raw_hash());
    std::iter::once(sha256d::Hash::all_zeros()).chain(others).collect()
}

/// The merkle root, and whether two equal neighbours make it ambiguous (CVE-2012-2459).
pub(crate) fn merkle_root(mut level: Vec<sha256d::Hash>) -> (sha256d::Hash, bool) {
    let mut repeated = false;
    while level.len() > 1 {
        repeated |= level.chunks_exact(2).any(|pair| pair[0] == pair[1]);
        level = level
            .chunks(2)
            .map(|pair| {
                let mut both = pair[0].to_byte_array().to_vec();
                both.extend_from_slice(&pair[pair.len() - 1].to_byte_array());
                sha256d::Hash::hash(&both)
            })
            .collect();
    }
    (level.pop().unwrap_or_else(sha256d::Hash::all_zeros), repeated)
}

/// Gives the coinbase the reserved value that a commitment needs, where it has none, as
/// `submitblock` does (`UpdateUncommittedBlockStructures`).
pub(super) fn add_reserved_value(block: &mut Block) {
    let Some(coinbase) = block.txdata.first_mut().filter(|tx| tx.is_coinbase()) else { return };
    if commitment_index(coinbase).is_some() && coinbase.input[0].witness.is_empty() {
        coinbase.input[0].witness = Witness::from_slice(&[[0; 32]]);
    }
}

fn legacy_sigops(tx: &Transaction) -> usize {
    let inputs = tx.input.iter().map(|input| input.script_sig.count_sigops_legacy());
    let outputs = tx.output.iter().map(|output| output.script_pubkey.count_sigops_legacy());
    inputs.chain(outputs).sum()
}
