//! Instructions that the gateway's decisions take (`cargo ci bench`).
#![allow(missing_docs, unused_qualifications)] // What the macros make.

mod rig;

use std::sync::Arc;

use gateway_core::Moment;
use gateway_core::ids::ShareId;
use gateway_core::job::{Template, Work};
use gateway_core::prevhash::Publication;
use gateway_core::session::{Input, Session};
use gateway_core::share::ReplayWindow;
use gungraun::prelude::*;
use sv2_wire::FrameHeader;

use self::rig::{Kind, Rig, at};

/// Transactions of a full block.
const FULL: usize = 4000;

/// `share.share_dedup_window_size` by default.
const WINDOW: usize = 10_000;

/// A session that has judged shares before, and the frame of the next one.
fn before_a_share(kind: Kind) -> (Session, Vec<u8>) {
    let mut rig = Rig::new(FULL);
    let mut session = rig.miner(kind);
    for nonce in 0..16 {
        submit((&mut session, &rig.share(kind, nonce)));
    }
    (session, rig.share(kind, 1000))
}

fn submit((session, frame): (&mut Session, &[u8])) -> bool {
    let (header, payload) = frame.split_first_chunk().expect("a frame has a header");
    session.handle(Input::Frame { header: FrameHeader::decode(*header), payload }, at(1000));
    let mut accepted = false;
    while let Some(output) = session.poll() {
        accepted |= matches!(output, gateway_core::session::Output::Accepted(_));
    }
    accepted
}

#[library_benchmark]
#[bench::standard(before_a_share(Kind::Standard))]
#[bench::extended(before_a_share(Kind::Extended))]
fn share((mut session, frame): (Session, Vec<u8>)) -> Session {
    assert!(submit((&mut session, &frame)), "the share is good");
    session
}

/// A session on a tip, the work of the next, and the time.
fn before_a_tip(kind: Kind) -> (Session, Arc<Publication>, Moment) {
    let mut rig = Rig::new(FULL);
    let session = rig.miner(kind);
    (session, rig.publish(2, 2), at(2000))
}

#[library_benchmark]
#[bench::standard(before_a_tip(Kind::Standard))]
#[bench::extended(before_a_tip(Kind::Extended))]
fn new_tip((mut session, publication, now): (Session, Arc<Publication>, Moment)) -> Session {
    session.handle(Input::Work(publication), now);
    while session.poll().is_some() {}
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
