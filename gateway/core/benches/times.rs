//! How long the gateway's decisions take on this machine (`cargo ci bench --times`).

mod rig;

use divan::Bencher;
use gateway_core::job::Work;

use self::rig::{FULL, Kind, before_a_share, before_a_tip, spec, submit, take_tip, template};

fn main() {
    divan::main();
}

#[divan::bench(args = [Kind::Standard, Kind::Extended])]
fn share(bencher: Bencher<'_, '_>, kind: Kind) {
    bencher.with_inputs(|| before_a_share(kind)).bench_values(|(mut session, frame)| {
        assert!(submit(&mut session, &frame), "the share is good");
        session
    });
}

#[divan::bench(args = [Kind::Standard, Kind::Extended])]
fn new_tip(bencher: Bencher<'_, '_>, kind: Kind) {
    bencher.with_inputs(|| before_a_tip(kind)).bench_values(|(mut session, publication, now)| {
        take_tip(&mut session, publication, now);
        session
    });
}

#[divan::bench(args = [0, FULL])]
fn job_build(bencher: Bencher<'_, '_>, transactions: usize) {
    bencher
        .with_inputs(|| template(1, 1, transactions))
        .bench_values(|template| Work::build(template, &spec()).expect("the template is sound"));
}
