//! Instructions that the encrypted transport takes (`cargo ci bench`).
#![allow(missing_docs, unused_qualifications)] // What the macros make.

mod rig;

use gungraun::prelude::*;
use sv2_noise::{ACT_1_LEN, FrameDecoder, Initiator, Responder, Sealer};

use self::rig::{BURST, open_all, responder, to_open, to_seal};

#[library_benchmark]
#[bench::share(to_seal())]
fn seal((mut sealer, frame, mut out): (Sealer, Vec<u8>, Vec<u8>)) -> Vec<u8> {
    sealer.seal_frame(&frame, &mut out);
    out
}

#[library_benchmark]
#[bench::share(to_open(1))]
#[bench::burst(to_open(BURST))]
fn open((decoder, sealed): (FrameDecoder, Vec<u8>)) -> usize {
    open_all(decoder, &sealed)
}

#[library_benchmark]
#[bench::responder(responder())]
fn handshake((server, act_1, _): (Responder, [u8; ACT_1_LEN], Initiator)) -> bool {
    server.act_1(&act_1).is_ok()
}

library_benchmark_group!(name = transport, benchmarks = [seal, open, handshake]);
main!(library_benchmark_groups = transport);
