use bitcoin::hashes::Hash;
use bitcoin::{
    BlockHash, CompactTarget, OutPoint, ScriptBuf, TxMerkleNode, Witness, block, consensus,
};
use proptest::prelude::*;
use rstest::rstest;

use super::block::{
    HEIGHT, Proposal, coinbase, commitment_script, outpoint, p2wpkh, pay, spend, transaction,
};
use super::*;

#[test]
fn a_right_block_passes_and_tells_what_it_is() {
    let proposal = Proposal::new();
    let derived = proposal.check().unwrap();
    assert_eq!(derived.height, HEIGHT);
    assert_eq!(derived.coinbase_value, proposal.declared.coinbase_value);
    assert_eq!(derived.weight, proposal.declared.weight);
    assert_eq!(derived.txids.len(), 3);
    assert!(derived.witness_commitment.is_some());
    // The child's input is known exactly; the two others may cost one or nothing.
    assert_eq!(derived.sigops_cost, SigopsRange { at_least: 5, at_most: 7 });
}

#[test]
fn a_block_without_witnesses_needs_no_commitment() {
    let mut proposal = Proposal::new();
    proposal.block.txdata.truncate(1);
    proposal.coinbase().output.pop();
    proposal.coinbase().input[0].witness = Witness::new();
    proposal.declared.sigops_cost = 0;
    proposal.declare();
    assert_eq!(proposal.check().unwrap().witness_commitment, None);
}

#[rstest]
#[case("consensus_decode_failed", |p: &mut Proposal| p.trailing.push(0))]
#[case("invalid_prev_hash", |p: &mut Proposal| {
    p.block.header.prev_blockhash = BlockHash::all_zeros();
})]
#[case("consensus_bits_mismatch", |p: &mut Proposal| {
    p.block.header.bits = CompactTarget::from_consensus(0x1d00_fffe);
})]
#[case("consensus_bits_mismatch", |p: &mut Proposal| {
    p.block.header.version = block::Version::from_consensus(4);
})]
#[case("consensus_time_invalid", |p: &mut Proposal| p.block.header.time += 1)]
#[case("consensus_time_invalid", |p: &mut Proposal| p.options.latest_time = Some(1_699_999_999))]
#[case("consensus_merkle_root_mismatch", |p: &mut Proposal| {
    p.block.header.merkle_root = TxMerkleNode::all_zeros();
})]
#[case("consensus_merkle_root_mismatch", |p: &mut Proposal| {
    p.block.txdata[3].lock_time = bitcoin::absolute::LockTime::from_consensus(1);
})]
fn the_header_is_held_to_the_declaration(#[case] code: &str, #[case] tamper: fn(&mut Proposal)) {
    rejects(code, tamper);
}

#[rstest]
#[case("consensus_null_prevout", |p: &mut Proposal| {
    p.block.txdata.clear();
    p.declared.tx_count = 0;
})]
#[case("consensus_null_prevout", |p: &mut Proposal| {
    p.block.txdata.remove(0);
    p.declare();
})]
#[case("consensus_null_prevout", |p: &mut Proposal| {
    let mut second = coinbase();
    second.output[0].script_pubkey = ScriptBuf::new();
    p.block.txdata.push(second);
    p.settle();
})]
#[case("consensus_null_prevout", |p: &mut Proposal| {
    let null = spend(OutPoint::null(), p2wpkh()).input.remove(0);
    p.block.txdata[3].input.push(null);
    p.settle();
})]
#[case("consensus_tx_count_mismatch", |p: &mut Proposal| p.declared.tx_count += 1)]
#[case("consensus_duplicate_tx", |p: &mut Proposal| {
    // The copy at the end leaves the merkle root as it was.
    p.block.txdata.truncate(3);
    p.settle();
    let root = p.block.header.merkle_root;
    p.block.txdata.push(p.block.txdata[2].clone());
    p.declare();
    assert_eq!(p.block.compute_merkle_root(), Some(root));
})]
#[case("consensus_duplicate_tx", |p: &mut Proposal| {
    p.block.txdata.push(spend(outpoint(1), ScriptBuf::new()));
    p.settle();
})]
#[case("consensus_tx_order", |p: &mut Proposal| {
    p.block.txdata.swap(1, 2);
    p.settle();
})]
#[case("consensus_tx_order", |p: &mut Proposal| {
    p.block.txdata[2].input[0].previous_output.vout = 1;
    p.settle();
})]
#[case("consensus_tx_order", |p: &mut Proposal| {
    p.block.txdata[2].input[0].previous_output.vout = u32::MAX;
    p.settle();
})]
#[case("consensus_tx_order", spends_the_coinbase)]
fn the_transactions_fit_together(#[case] code: &str, #[case] tamper: fn(&mut Proposal)) {
    rejects(code, tamper);
}

#[rstest]
#[case("consensus_coinbase_script_length", |p: &mut Proposal| {
    p.coinbase().input[0].script_sig = ScriptBuf::from_bytes(vec![0x51]);
    p.declared.height = 1;
    p.settle();
})]
#[case("consensus_coinbase_script_length", |p: &mut Proposal| {
    let mut script = p.coinbase().input[0].script_sig.to_bytes();
    script.resize(101, 0);
    p.coinbase().input[0].script_sig = ScriptBuf::from_bytes(script);
    p.settle();
})]
#[case("consensus_height_mismatch", |p: &mut Proposal| p.declared.height += 1)]
#[case("consensus_height_missing", |p: &mut Proposal| {
    p.coinbase().input[0].script_sig = ScriptBuf::from_bytes(vec![0x08; 9]);
    p.settle();
})]
#[case("consensus_coinbase_value_mismatch", |p: &mut Proposal| {
    p.coinbase().output[0].value = p.block.txdata[0].output[0].value - bitcoin::Amount::ONE_SAT;
    p.settle();
})]
#[case("consensus_coinbase_value_mismatch", |p: &mut Proposal| {
    p.coinbase().output.insert(0, pay(p2wpkh(), 1));
    p.settle();
})]
#[case("consensus_coinbase_value_mismatch", |p: &mut Proposal| {
    p.coinbase().output.insert(0, pay(p2wpkh(), u64::MAX));
    p.settle();
})]
#[case("consensus_coinbase_value_mismatch", |p: &mut Proposal| p.declared.total_fees += 1)]
#[case("consensus_coinbase_value_mismatch", |p: &mut Proposal| p.declared.total_fees -= 1)]
#[case("consensus_coinbase_value_mismatch", |p: &mut Proposal| p.declared.total_fees = u64::MAX)]
#[case("consensus_coinbase_value_mismatch", |p: &mut Proposal| {
    // A satoshi for us, and the rest for nobody.
    p.options.payout_scripts = vec![p2wpkh().into_bytes()];
    p.coinbase().output[0].value = bitcoin::Amount::ONE_SAT;
    p.declared.coinbase_value = 1;
    p.settle();
})]
#[case("payout_script_missing", |p: &mut Proposal| p.options.payout_scripts = vec![vec![0x51]])]
#[case("payout_script_missing", |p: &mut Proposal| {
    // Paid, but a satoshi short of everything.
    p.options.payout_scripts = vec![p2wpkh().into_bytes()];
    p.coinbase().output[0].value = p.block.txdata[0].output[0].value - bitcoin::Amount::ONE_SAT;
    p.coinbase().output.insert(0, pay(ScriptBuf::new(), 1));
    p.settle();
})]
fn the_coinbase_is_held_to_the_declaration(#[case] code: &str, #[case] tamper: fn(&mut Proposal)) {
    rejects(code, tamper);
}

#[rstest]
#[case("consensus_witness_commitment_missing", |p: &mut Proposal| {
    p.coinbase().output.pop();
    p.declare();
})]
#[case("consensus_witness_commitment_missing", |p: &mut Proposal| {
    p.coinbase().input[0].witness = Witness::new();
    p.declare();
})]
#[case("consensus_witness_commitment_missing", |p: &mut Proposal| {
    p.coinbase().input[0].witness = Witness::from_slice(&[[0_u8; 31]]);
    p.declare();
})]
#[case("consensus_witness_commitment_mismatch", |p: &mut Proposal| {
    // Two reserved bytes swapped for others: the id stays, the commitment does not.
    p.coinbase().input[0].witness = Witness::from_slice(&[[1_u8; 32]]);
    p.declare();
})]
#[case("consensus_witness_commitment_mismatch", |p: &mut Proposal| {
    p.block.txdata[1].input[0].witness = Witness::from_slice(&[[3_u8; 71], [2; 71]]);
    p.declare();
})]
#[case("consensus_witness_commitment_mismatch", |p: &mut Proposal| {
    // The right one comes first, and the last one counts.
    let zero = bitcoin::TxOut {
        value: bitcoin::Amount::ZERO,
        script_pubkey: commitment_script(&[0; 32]),
    };
    p.coinbase().output.push(zero);
    p.declare();
})]
fn the_witnesses_are_committed_to(#[case] code: &str, #[case] tamper: fn(&mut Proposal)) {
    rejects(code, tamper);
}

#[rstest]
#[case("consensus_weight_mismatch", |p: &mut Proposal| p.declared.weight += 4)]
#[case("consensus_weight_exceeded", |p: &mut Proposal| {
    let bulky = ScriptBuf::from_bytes(vec![0x51; 1_000_000]);
    p.block.txdata.push(spend(outpoint(3), bulky));
    p.settle();
})]
#[case("consensus_sigops_mismatch", |p: &mut Proposal| p.declared.sigops_cost = 4)]
#[case("consensus_sigops_mismatch", |p: &mut Proposal| p.declared.sigops_cost = 8)]
#[case("consensus_sigops_mismatch", |p: &mut Proposal| p.declared.coinbase_sigops = 1)]
#[case("consensus_sigops_exceeded", |p: &mut Proposal| p.declared.sigops_cost = 80_001)]
#[case("consensus_sigops_exceeded", |p: &mut Proposal| {
    // Declared as nothing; 20 001 operations stand in the outputs.
    let busy = vec![pay(ScriptBuf::from_bytes(vec![0xac; 9_999]), 1); 2];
    let input = spend(outpoint(3), ScriptBuf::new()).input;
    p.block.txdata.push(transaction(input, busy));
    p.block.txdata.push(spend(outpoint(4), ScriptBuf::from_bytes(vec![0xac; 2])));
    p.settle();
})]
fn the_limits_are_held(#[case] code: &str, #[case] tamper: fn(&mut Proposal)) {
    rejects(code, tamper);
}

/// Nothing but a witness follows: the coinbase's id is settled before it is spent.
fn spends_the_coinbase(proposal: &mut Proposal) {
    proposal.block.txdata.truncate(1);
    proposal.coinbase().output.pop();
    let txid = proposal.block.txdata[0].compute_txid();
    let mut spend = spend(OutPoint::new(txid, 0), p2wpkh());
    spend.input[0].witness = Witness::new();
    proposal.block.txdata.push(spend);
    proposal.declared.sigops_cost = 0;
    proposal.declare();
}

#[rstest]
#[case(
    spends_the_coinbase,
    "input 0 of transaction at 1 spends ",
    ", of this block's own coinbase"
)]
#[case(
    |p: &mut Proposal| {
        let child = spend(OutPoint::new(p.block.txdata[1].compute_txid(), 7), p2wpkh());
        p.block.txdata[3].input.extend(child.input);
        p.settle();
    },
    "input 1 of transaction at 3 spends ",
    ":7, which that transaction does not have"
)]
fn a_spend_within_the_block_that_cannot_be_is_named(
    #[case] tamper: fn(&mut Proposal),
    #[case] begin: &str,
    #[case] end: &str,
) {
    let mut proposal = Proposal::new();
    tamper(&mut proposal);
    let detail = proposal.check().expect_err("rejected").detail;
    assert!(detail.starts_with(begin) && detail.ends_with(end), "{detail}");
}

fn rejects(code: &str, tamper: fn(&mut Proposal)) {
    let mut proposal = Proposal::new();
    tamper(&mut proposal);
    let failure = proposal.check().expect_err("rejected");
    assert_eq!(failure.code.as_str(), code, "{failure}");
}

#[test]
fn the_last_commitment_counts_whatever_comes_before() {
    let mut proposal = Proposal::new();
    let wrong = bitcoin::TxOut {
        value: bitcoin::Amount::ZERO,
        script_pubkey: commitment_script(&[0xee; 32]),
    };
    proposal.coinbase().output.insert(0, wrong);
    proposal.settle();
    assert!(proposal.check().is_ok());
}

#[test]
fn a_share_of_the_value_is_enough_where_the_operator_says_so() {
    let mut proposal = Proposal::new();
    proposal.options.payout_scripts = vec![vec![0x52], p2wpkh().into_bytes()];
    proposal.options.min_payout_share = 0.5;
    let half = bitcoin::Amount::from_sat(proposal.declared.coinbase_value / 2);
    proposal.coinbase().output[0].value = half;
    proposal.coinbase().output.insert(0, pay(ScriptBuf::new(), half.to_sat()));
    proposal.settle();
    assert_eq!(proposal.check().unwrap().payout_value, half.to_sat());
}

#[test]
fn a_block_that_is_cut_short_is_refused() {
    let proposal = Proposal::new();
    let bytes = consensus::serialize(&proposal.block);
    for length in [0, 79, 80, 81, bytes.len() - 1] {
        let failure = check(&bytes[..length], &proposal.declared, &proposal.options);
        assert_eq!(failure.unwrap_err().code, VerdictCode::ConsensusDecodeFailed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_flipped_bit_goes_unnoticed(at in 0_usize..10_000, bit in 0_u8..8) {
        let proposal = Proposal::new();
        let mut bytes = consensus::serialize(&proposal.block);
        let at = at % bytes.len();
        // The nonce is for miners to choose.
        prop_assume!(!(76..80).contains(&at));
        bytes[at] ^= 1 << bit;
        prop_assert!(check(&bytes, &proposal.declared, &proposal.options).is_err());
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let proposal = Proposal::new();
        let mut block = consensus::serialize(&proposal.block.header);
        block.extend_from_slice(&bytes);
        let _ = check(&block, &proposal.declared, &proposal.options);
    }
}
