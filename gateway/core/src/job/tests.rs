use std::sync::Arc;

use bitcoin::consensus::deserialize;
use bitcoin::{Block, ScriptBuf};
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::limits::EXTRANONCE_BYTES;
use crate::sample::{REGTEST_BITS, cases, payee, spec, template, template_with, transaction};

fn build(template: Template, spec: &CoinbaseSpec) -> Work {
    Work::build(Arc::new(template), spec).unwrap()
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn a_proposal_is_a_block_that_the_bitcoin_crate_finds_whole(
        seeds in prop::collection::vec((any::<[u8; 32]>(), any::<bool>()), 0..24),
        height in 17u32..2_000_000,
    ) {
        let transactions: Vec<_> =
            seeds.into_iter().map(|(seed, has_witness)| transaction(seed, has_witness)).collect();
        let work = build(template_with(&transactions, height), &spec());
        let block: Block = deserialize(&work.proposal_block()).unwrap();

        prop_assert!(block.check_merkle_root());
        prop_assert!(block.check_witness_commitment());
        prop_assert_eq!(block.bip34_block_height(), Ok(u64::from(height)));
        prop_assert_eq!(&block.txdata[1..], &transactions[..]);

        let declared = work.declared();
        prop_assert_eq!(declared.weight, block.weight().to_wu());
        prop_assert_eq!(declared.tx_count, transactions.len() as u64);
        prop_assert_eq!(declared.total_fees, 150 * transactions.len() as u64);
        let sigops: usize = block.txdata.iter().map(|tx| tx.total_sigop_cost(|_| None)).sum();
        prop_assert_eq!(declared.sigops_cost, sigops as u64);
        prop_assert_eq!(declared.coinbase_sigops, 0);
        let paid: u64 = block.txdata[0].output.iter().map(|output| output.value.to_sat()).sum();
        prop_assert_eq!(paid, declared.coinbase_value);
    }

    #[test]
    fn a_found_block_carries_the_extranonce_and_header_of_its_share(
        extranonce in any::<[u8; EXTRANONCE_BYTES]>(),
        nonce in any::<u32>(),
    ) {
        let work = build(template_with(&[transaction([9; 32], true)], 500), &spec());
        let header = Header {
            version: 0x2000_0000,
            prev_hash: work.prev_hash(),
            merkle_root: work.merkle_root(&extranonce),
            ntime: 1_800_000_100,
            nbits: REGTEST_BITS,
            nonce,
        }
        .serialize();
        let block: Block = deserialize(&work.block(&header, &extranonce)).unwrap();
        prop_assert!(block.check_merkle_root());
        prop_assert!(block.check_witness_commitment());
        prop_assert_eq!(block.header.nonce, nonce);
        let script_sig = block.txdata[0].input[0].script_sig.as_bytes();
        prop_assert!(script_sig.ends_with(&extranonce));
    }
}

#[rstest]
#[case(0, &[0x00])]
#[case(1, &[0x51])]
#[case(16, &[0x60])]
#[case(17, &[0x01, 0x11])]
#[case(128, &[0x02, 0x80, 0x00])]
#[case(840_000, &[0x03, 0x40, 0xd1, 0x0c])]
fn the_script_sig_starts_with_the_height_as_core_pushes_it(
    #[case] height: u32,
    #[case] push: &[u8],
) {
    let coinbase = Coinbase::build(&template_with(&[], height), &spec()).unwrap();
    // Version, input count, outpoint, script length.
    assert!(coinbase.prefix()[4 + 1 + 36 + 1..].starts_with(push));
}

#[test]
fn the_wire_form_has_no_witness_and_the_block_form_has() {
    let coinbase = Coinbase::build(&template_with(&[], 500), &spec()).unwrap();
    let extranonce = [7; EXTRANONCE_BYTES];
    let stripped = [coinbase.prefix(), &extranonce, coinbase.suffix()].concat();
    let on_wire: bitcoin::Transaction = deserialize(&stripped).unwrap();
    let in_block: bitcoin::Transaction = deserialize(&coinbase.transaction(&extranonce)).unwrap();
    assert!(on_wire.input[0].witness.is_empty());
    assert_eq!(in_block.input[0].witness.to_vec(), [vec![0; 32]]);
    assert_eq!(on_wire.compute_txid(), in_block.compute_txid());
}

#[test]
fn without_a_commitment_there_is_no_witness() {
    let template = Template { witness_commitment: None, ..template_with(&[], 500) };
    let coinbase = Coinbase::build(&template, &spec()).unwrap();
    let bytes = coinbase.transaction(&[0; EXTRANONCE_BYTES]);
    let transaction: bitcoin::Transaction = deserialize(&bytes).unwrap();
    assert_eq!(transaction.output.len(), 1);
    assert!(transaction.input[0].witness.is_empty());
}

#[test]
fn payees_share_by_parts_and_the_first_takes_the_rest() {
    let payouts = vec![payee(0x51, 1), payee(0x52, 1), payee(0x53, 1)];
    let spec = CoinbaseSpec { tag: Vec::new(), payouts };
    let template = Template { coinbase_value: 100, ..template_with(&[], 500) };
    let block: Block = deserialize(&build(template, &spec).proposal_block()).unwrap();
    let outputs: Vec<_> = block.txdata[0]
        .output
        .iter()
        .take(3)
        .map(|output| (output.value.to_sat(), output.script_pubkey.clone()))
        .collect();
    let script = |byte| ScriptBuf::from_bytes(vec![byte]);
    assert_eq!(outputs, [(34, script(0x51)), (33, script(0x52)), (33, script(0x53))]);
}

#[test]
fn a_spec_that_cannot_be_built_says_why() {
    let nobody = CoinbaseSpec { tag: Vec::new(), payouts: Vec::new() };
    let long = CoinbaseSpec { tag: vec![b'x'; 90], payouts: vec![payee(0x51, 1)] };
    let template = template_with(&[], 840_000);
    assert_eq!(Coinbase::build(&template, &nobody), Err(BuildError::NoPayee));
    // 4 of height, 2 + 90 of tag (a push above 75 bytes), 1 + 24 of extranonce: 121.
    let error = Coinbase::build(&template, &long).unwrap_err();
    assert_eq!(error, BuildError::TagTooLong { excess: 21 });
}

#[test]
fn the_coinbases_sigops_are_counted_once_and_cost_four() {
    // OP_CHECKSIG as the payout script.
    let spec = CoinbaseSpec { tag: Vec::new(), payouts: vec![payee(0xac, 1)] };
    let declared = build(template_with(&[], 500), &spec).declared();
    assert_eq!((declared.coinbase_sigops, declared.sigops_cost), (4, 4));
}

#[test]
fn equal_job_data_have_equal_names_and_others_do_not() {
    let name = |template| build(template, &spec()).job_data().job_ref;
    let reference = name(template(1, 1, REGTEST_BITS));
    assert_eq!(reference, name(template(2, 1, REGTEST_BITS)));
    let dearer = Template { coinbase_value: 1, ..template(1, 1, REGTEST_BITS) };
    assert_ne!(reference, name(dearer));
}
