//! How long the encrypted transport takes on this machine (`cargo ci bench --times`).

mod rig;

use divan::Bencher;

use self::rig::{BURST, open_all, responder, to_open, to_seal};

fn main() {
    divan::main();
}

#[divan::bench]
fn seal(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(to_seal).bench_values(|(mut sealer, frame, mut out)| {
        sealer.seal_frame(&frame, &mut out);
        out
    });
}

#[divan::bench(args = [1, BURST])]
fn open(bencher: Bencher<'_, '_>, shares: usize) {
    bencher
        .with_inputs(|| to_open(shares))
        .bench_values(|(decoder, sealed)| open_all(decoder, &sealed));
}

#[divan::bench]
fn handshake(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(responder).bench_values(|(server, act_1, _)| server.act_1(&act_1).is_ok());
}
