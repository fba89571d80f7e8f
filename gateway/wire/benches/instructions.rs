//! Instructions that frames and messages take (`cargo ci bench`).
#![allow(missing_docs, unused_qualifications)] // What the macros make.

use std::hint::black_box;

use gungraun::prelude::*;
use sv2_wire::mining::{
    NewExtendedMiningJob, NewMiningJob, SetNewPrevHash, SubmitSharesExtended, SubmitSharesStandard,
};
use sv2_wire::{B032, B064K, FrameHeader, Message, MiningClientMessage, Seq0255, U256};

fn framed<'a>(message: &impl Message<'a>) -> Vec<u8> {
    let mut frame = Vec::new();
    message.encode_frame(&mut frame);
    frame
}

fn standard_share() -> Vec<u8> {
    framed(&SubmitSharesStandard {
        channel_id: 2,
        sequence_number: 77,
        job_id: 5,
        nonce: 0x1234_5678,
        ntime: 1_800_000_000,
        version: 0x2000_0000,
    })
}

fn extended_share() -> Vec<u8> {
    framed(&SubmitSharesExtended {
        channel_id: 2,
        sequence_number: 77,
        job_id: 5,
        nonce: 0x1234_5678,
        ntime: 1_800_000_000,
        version: 0x2000_0000,
        extranonce: B032::new(&[7; 16]).expect("16 bytes fit 32"),
    })
}

#[library_benchmark]
#[bench::standard(standard_share())]
#[bench::extended(extended_share())]
fn decode_share(frame: Vec<u8>) -> bool {
    let (header, payload) = frame.split_first_chunk().expect("a frame has a header");
    let header = FrameHeader::decode(*black_box(header));
    black_box(MiningClientMessage::decode(header, payload)).is_ok()
}

#[library_benchmark]
#[bench::into_a_warm_buffer(Vec::with_capacity(256))]
fn encode_tip(mut out: Vec<u8>) -> Vec<u8> {
    NewMiningJob {
        channel_id: black_box(2),
        job_id: 5,
        min_ntime: None,
        version: 0x2000_0000,
        merkle_root: U256([9; 32]),
    }
    .encode_frame(&mut out);
    SetNewPrevHash {
        channel_id: black_box(2),
        job_id: 5,
        prev_hash: U256([8; 32]),
        min_ntime: 1_800_000_000,
        nbits: 0x1d00_ffff,
    }
    .encode_frame(&mut out);
    out
}

#[library_benchmark]
#[bench::into_a_warm_buffer(Vec::with_capacity(1024))]
fn encode_extended_job(mut out: Vec<u8>) -> Vec<u8> {
    let path = [U256([9; 32]); 12];
    NewExtendedMiningJob {
        channel_id: black_box(2),
        job_id: 5,
        min_ntime: None,
        version: 0x2000_0000,
        version_rolling_allowed: true,
        merkle_path: Seq0255::new(&path).expect("twelve fit 255"),
        coinbase_tx_prefix: B064K::new(&[1; 60]).expect("it is short"),
        coinbase_tx_suffix: B064K::new(&[2; 120]).expect("it is short"),
    }
    .encode_frame(&mut out);
    out
}

library_benchmark_group!(
    name = frames,
    benchmarks = [decode_share, encode_tip, encode_extended_job]
);
main!(library_benchmark_groups = frames);
