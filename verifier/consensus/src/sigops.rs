//! Signature operations, as far as the bytes tell.
//!
//! The exact cost depends on the scripts of the outputs that are spent, which a block does not
//! carry (but for those it creates itself). What it carries bounds the cost on both sides.

use bitcoin::opcodes::all::{
    OP_CHECKMULTISIG, OP_CHECKMULTISIGVERIFY, OP_CHECKSIG, OP_CHECKSIGVERIFY, OP_PUSHNUM_1,
    OP_PUSHNUM_16,
};
use bitcoin::script::Instruction;
use bitcoin::{Script, Transaction, TxIn, TxOut};
use verifier_protocol::VerdictCode;

use crate::transactions::InnerSpend;
use crate::{ConsensusFailure, Declared, Parts};

/// The greatest cost of a block (BIP 141).
const MAX_BLOCK_SIGOPS_COST: u64 = 80_000;

/// What an operation outside witnesses costs (BIP 141).
const WITNESS_SCALE_FACTOR: u64 = 4;

/// What a multisig counts whose number of keys is not read.
const MAX_PUBKEYS_PER_MULTISIG: u64 = 20;

/// Bounds of a signature operation cost, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SigopsRange {
    /// The cost is at least this.
    pub at_least: u64,
    /// The cost is at most this.
    pub at_most: u64,
}

impl SigopsRange {
    fn exactly(cost: u64) -> Self {
        Self { at_least: cost, at_most: cost }
    }

    fn plus(self, other: Self) -> Self {
        Self { at_least: self.at_least + other.at_least, at_most: self.at_most + other.at_most }
    }

    /// The rest, of a sum that `part` is in.
    fn without(self, part: Self) -> Self {
        Self { at_least: self.at_least - part.at_least, at_most: self.at_most - part.at_most }
    }
}

/// The coinbase's legacy operations, when they are the declared ones.
pub(crate) fn check_coinbase(
    coinbase: &Transaction,
    declared: &Declared,
) -> Result<u64, ConsensusFailure> {
    let count = legacy(coinbase);
    if count != u64::from(declared.coinbase_sigops) {
        let detail = format!("coinbase_sigops={count} != declared={}", declared.coinbase_sigops);
        return Err(ConsensusFailure::new(VerdictCode::ConsensusSigopsMismatch, detail));
    }
    Ok(count)
}

/// The bounds of the block's cost, when the declared one is allowed and lies within them.
pub(crate) fn check_block(
    block: &Parts,
    inner_spends: &[InnerSpend<'_>],
    declared: &Declared,
) -> Result<SigopsRange, ConsensusFailure> {
    let mut range = SigopsRange::exactly(0);
    for tx in &block.transactions {
        range = range.plus(SigopsRange::exactly(tx.legacy_sigops() * WITNESS_SCALE_FACTOR));
    }
    for tx in block.transactions.iter().skip(1) {
        range = range.plus(tx.unseen_spends());
    }
    for InnerSpend { input, spent } in inner_spends {
        range = range.without(of_input(input, None)).plus(of_input(input, Some(*spent)));
    }
    let found = declared.sigops_cost.max(range.at_least);
    if found > MAX_BLOCK_SIGOPS_COST {
        let detail = format!("sigops_cost={found} > {MAX_BLOCK_SIGOPS_COST}");
        return Err(ConsensusFailure::new(VerdictCode::ConsensusSigopsExceeded, detail));
    }
    let SigopsRange { at_least, at_most } = range;
    if !(at_least..=at_most).contains(&declared.sigops_cost) {
        let detail = format!("declared={} is not in {at_least}..={at_most}", declared.sigops_cost);
        return Err(ConsensusFailure::new(VerdictCode::ConsensusSigopsMismatch, detail));
    }
    Ok(range)
}

/// Operations in a transaction's own scripts, each multisig counted as 20.
pub(crate) fn legacy(transaction: &Transaction) -> u64 {
    let inputs = transaction.input.iter().map(|input| &input.script_sig);
    let outputs = transaction.output.iter().map(|output| &output.script_pubkey);
    inputs.chain(outputs).map(|script| count(script, false)).sum()
}

/// The cost of what all inputs reveal, of which nothing else is known.
pub(crate) fn of_unseen_spends(transaction: &Transaction) -> SigopsRange {
    let inputs = transaction.input.iter().map(|input| of_input(input, None));
    inputs.fold(SigopsRange::exactly(0), SigopsRange::plus)
}

/// The cost of what an input reveals: exact when the spent output is known.
fn of_input(input: &TxIn, spent: Option<&TxOut>) -> SigopsRange {
    let redeem_script = redeem_script(&input.script_sig);
    let Some(spent) = spent else {
        let p2sh = redeem_script.map_or(0, |script| count(script, true)) * WITNESS_SCALE_FACTOR;
        // Either a key hash, which counts one, or a script hash.
        let witness = if input.witness.is_empty() { 0 } else { witness_script(input).max(1) };
        return SigopsRange { at_least: 0, at_most: p2sh + witness };
    };
    let script_pubkey = &spent.script_pubkey;
    if !script_pubkey.is_p2sh() {
        return SigopsRange::exactly(of_witness_program(script_pubkey, input));
    }
    let Some(redeem_script) = redeem_script else { return SigopsRange::exactly(0) };
    let p2sh = count(redeem_script, true) * WITNESS_SCALE_FACTOR;
    SigopsRange::exactly(p2sh + of_witness_program(redeem_script, input))
}

fn of_witness_program(program: &Script, input: &TxIn) -> u64 {
    if program.is_p2wpkh() {
        1
    } else if program.is_p2wsh() {
        witness_script(input)
    } else {
        0
    }
}

/// Operations in the last item of the witness, read as a script.
fn witness_script(input: &TxIn) -> u64 {
    input.witness.last().map_or(0, |script| count(Script::from_bytes(script), true))
}

/// The last push of a script that does nothing but push: what a P2SH output takes as its script.
fn redeem_script(script_sig: &Script) -> Option<&Script> {
    let mut last = None;
    for instruction in script_sig.instructions() {
        last = match instruction.ok()? {
            Instruction::PushBytes(bytes) => Some(Script::from_bytes(bytes.as_bytes())),
            Instruction::Op(opcode) if opcode.to_u8() <= OP_PUSHNUM_16.to_u8() => None,
            Instruction::Op(_) => return None,
        };
    }
    last
}

/// Operations in one script, up to where it stops being one. `accurate`: a multisig directly after
/// the number of its keys counts that many.
fn count(script: &Script, accurate: bool) -> u64 {
    let mut found = 0;
    let mut keys = None;
    for instruction in script.instructions() {
        let Ok(instruction) = instruction else { break };
        let Instruction::Op(opcode) = instruction else {
            keys = None;
            continue;
        };
        found += match opcode {
            OP_CHECKSIG | OP_CHECKSIGVERIFY => 1,
            OP_CHECKMULTISIG | OP_CHECKMULTISIGVERIFY => {
                keys.filter(|_| accurate).unwrap_or(MAX_PUBKEYS_PER_MULTISIG)
            }
            _ => 0,
        };
        let number = OP_PUSHNUM_1.to_u8()..=OP_PUSHNUM_16.to_u8();
        keys = number
            .contains(&opcode.to_u8())
            .then(|| u64::from(opcode.to_u8() - OP_PUSHNUM_1.to_u8()) + 1);
    }
    found
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;
    use bitcoin::{Amount, ScriptBuf, ScriptHash, WPubkeyHash, WScriptHash, Witness};
    use rstest::rstest;

    use super::*;

    const CHECKSIG: &[u8] = &[0xac];
    const TWO_KEYS: &[u8] = &[0x52, 0xae];

    #[rstest]
    #[case(&[], 0, 0)]
    #[case(CHECKSIG, 1, 1)]
    #[case(TWO_KEYS, 20, 2)]
    #[case(&[0xae], 20, 20)]
    #[case(&[0x00, 0xae], 20, 20)] // no keys at all is no number of keys
    #[case(&[0x52, 0xac, 0xae], 21, 21)] // the number is not directly before
    #[case(&[0xac, 0x4b, 0xac], 1, 1)] // what follows a broken push is not read
    #[case(&[0x01, 0xac], 0, 0)] // pushed data is no operation
    fn operations_are_counted(#[case] script: &[u8], #[case] legacy: u64, #[case] accurate: u64) {
        let script = Script::from_bytes(script);
        assert_eq!((count(script, false), count(script, true)), (legacy, accurate));
    }

    fn input(script_sig: &[u8], witness: &[&[u8]]) -> TxIn {
        TxIn {
            script_sig: ScriptBuf::from_bytes(script_sig.to_vec()),
            witness: Witness::from_slice(witness),
            ..TxIn::default()
        }
    }

    fn output(script_pubkey: ScriptBuf) -> TxOut {
        TxOut { value: Amount::ONE_SAT, script_pubkey }
    }

    fn p2wpkh() -> ScriptBuf {
        ScriptBuf::new_p2wpkh(&WPubkeyHash::all_zeros())
    }

    fn p2sh() -> ScriptBuf {
        ScriptBuf::new_p2sh(&ScriptHash::all_zeros())
    }

    #[rstest]
    #[case(p2wpkh(), &[], &[&b"sig"[..], b"key"], 1)]
    #[case(ScriptBuf::new_p2wsh(&WScriptHash::all_zeros()), &[], &[&b""[..], TWO_KEYS], 2)]
    #[case(p2sh(), &[0x02, 0x52, 0xae], &[], 8)]
    #[case(p2sh(), &[0x61, 0x02, 0x52, 0xae], &[], 0)] // OP_NOP: not push-only
    #[case(p2sh(), &[0x02, 0x52, 0xae, 0x51], &[], 0)] // the last push is a number
    #[case(ScriptBuf::from_bytes(vec![0x51]), &[0x01, 0xac], &[], 0)]
    fn the_cost_of_an_input_lies_within_its_bounds(
        #[case] spent: ScriptBuf,
        #[case] script_sig: &[u8],
        #[case] witness: &[&[u8]],
        #[case] cost: u64,
    ) {
        let input = input(script_sig, witness);
        assert_eq!(of_input(&input, Some(&output(spent))), SigopsRange::exactly(cost));
        let range = of_input(&input, None);
        assert!((range.at_least..=range.at_most).contains(&cost), "{cost} not in {range:?}");
    }

    #[test]
    fn a_key_hash_within_a_script_hash_costs_one() {
        let mut script_sig = vec![22];
        script_sig.extend_from_slice(p2wpkh().as_bytes());
        let input = input(&script_sig, &[&b"sig"[..], b"key"]);
        assert_eq!(of_input(&input, Some(&output(p2sh()))), SigopsRange::exactly(1));
    }
}
