//! Instructions that re-deriving a full block takes (`cargo ci bench`).
#![allow(missing_docs)] // The macros make public modules.

mod rig;

use consensus::{Declared, Derived, Parts};
use gungraun::prelude::*;

use self::rig::{Seen, bytes, decoded, seen};

// The bytes of a block of which nothing was seen before.
#[library_benchmark]
#[bench::full(bytes())]
fn decode(bytes: Vec<u8>) -> Parts {
    Parts::decode(&bytes).expect("a block")
}

// What is judged of a block, seen or not.
#[library_benchmark]
#[bench::full(decoded())]
fn judge((parts, declared): (Parts, Declared)) -> (Derived, Parts) {
    (rig::judge(&parts, &declared), parts)
}

// A block all of whose transactions were seen before.
#[library_benchmark]
#[bench::full(seen())]
fn judge_seen(seen: Seen) -> (Derived, Parts) {
    rig::judge_seen(seen)
}

library_benchmark_group!(name = full_block, benchmarks = [decode, judge, judge_seen]);
main!(library_benchmark_groups = full_block);
