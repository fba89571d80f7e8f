//! How long re-deriving a full block takes on this machine (`cargo ci bench --times`).

mod rig;

use consensus::Parts;
use divan::Bencher;

fn main() {
    divan::main();
}

#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(rig::bytes).bench_values(|bytes| Parts::decode(&bytes).expect("a block"));
}

#[divan::bench]
fn judge(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(rig::decoded).bench_values(|(parts, declared)| {
        let derived = rig::judge(&parts, &declared);
        (derived, parts)
    });
}

#[divan::bench]
fn judge_seen(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(rig::seen).bench_values(rig::judge_seen);
}
