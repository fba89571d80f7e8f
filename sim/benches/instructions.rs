//! Instructions that a whole run takes (`cargo ci bench`): the gateway, the verifier, the
//! template-manager, miners, a pool and a node in one world, and its judgement.
#![allow(missing_docs, unused_qualifications)] // What the macros make.

use std::path::Path;

use gungraun::prelude::*;
use gungraun::{Callgrind, EntryPoint};
use sim::report::progress::Clock;
use sim::scenario::Catalogue;
use sim::sweep::{Case, play};

fn seed_0(name: &str) -> Case {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let catalogue = Catalogue::load(&directory).expect("the catalogue is sound");
    let scenarios = catalogue.select(name).expect("it is in the catalogue");
    Case::of(scenarios[0], 0)
}

#[library_benchmark]
#[bench::smoke(seed_0("smoke"))]
fn run(case: Case) {
    let trial = play(&case, &Clock::default());
    assert_eq!(trial.failure, None);
}

library_benchmark_group!(name = scenarios, benchmarks = [run]);

main!(
    // A world has a thread of its own: the whole program counts. Simulated caches would double the
    // time and tell of another machine.
    config = LibraryBenchmarkConfig::default()
        .tool(Callgrind::with_args(["--cache-sim=no"]).entry_point(EntryPoint::None)),
    library_benchmark_groups = scenarios
);
