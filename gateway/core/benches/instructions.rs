//! Instructions that the gateway's decisions take (`cargo ci bench`).
#![allow(missing_docs, unused_qualifications)] // What the macros make.

mod rig;

use std::sync::Arc;

use gateway_core::Moment;
use gateway_core::ids::ShareId;
use gateway_core::job::{Template, Work};
use gateway_core::prevhash::Publication;
use gateway_core::session::Session;
use gateway_core::share::ReplayWindow;
use gungraun::prelude::*;

use self::rig::{FULL, Kind, before_a_share, before_a_tip, submit, take_tip};

/// `share.share_dedup_window_size` by default.
const WINDOW: usize = 10_000;

#[library_benchmark]
#[bench::standard(before_a_share(Kind::Standard))]
#[bench::extended(before_a_share(Kind::Extended))]
fn share((mut session, frame): (Session, Vec<u8>)) -> Session {
    assert!(submit(&mut session, &frame), "the share is good");
    session
}

#[library_benchmark]
#[bench::standard(before_a_tip(Kind::Standard))]
#[bench::extended(before_a_tip(Kind::Extended))]
fn new_tip((mut session, publication, now): (Session, Arc<Publication>, Moment)) -> Session {
    take_tip(&mut session, publication, now);
    session
}

fn share_id(number: usize) -> ShareId {
    let mut bytes = [0; 32];
    // Scattered, as hashes are.
    bytes[..8].copy_from_slice(&(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    ShareId(bytes)
}

fn full_window() -> ReplayWindow {
    let mut window = ReplayWindow::new(WINDOW);
    for number in 0..2 * WINDOW {
        window.insert(share_id(number));
    }
    window
}

#[library_benchmark]
#[bench::new(full_window(), 5 * WINDOW)]
#[bench::replay(full_window(), 2 * WINDOW - 7)]
fn dedup(mut window: ReplayWindow, number: usize) -> (bool, ReplayWindow) {
    (window.insert(share_id(number)), window)
}

#[library_benchmark]
#[bench::empty(rig::template(1, 1, 0))]
#[bench::full(rig::template(1, 1, FULL))]
fn job_build(template: Arc<Template>) -> Work {
    Work::build(template, &rig::spec()).expect("the template is sound")
}

library_benchmark_group!(name = decisions, benchmarks = [share, new_tip, dedup, job_build]);
main!(library_benchmark_groups = decisions);
