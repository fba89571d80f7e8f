//! Instructions that records of shares take (`cargo ci bench`).
#![allow(missing_docs, unused_qualifications)] // What the macros make.

use gateway::encoding::write_event;
use gateway_core::event::{Event, ShareAccepted, ShareForwardResult, Sv2Response};
use gateway_core::ids::{ChannelId, ConnectionId, EventId, InstanceId, JobId, ShareId, WorkerId};
use gateway_core::mode::ValidationLevel;
use gateway_core::target::Difficulty;
use gungraun::prelude::*;

fn accepted() -> Event {
    Event::ShareAccepted(ShareAccepted {
        share_id: Some(ShareId([1; 32])),
        event_id: EventId([2; 32]),
        channel_id: ChannelId(2),
        job_id: JobId(5),
        worker_id: Some(WorkerId::new("account.rig-17")),
        miner_id: ConnectionId(4711),
        validation_level: ValidationLevel::Full,
        sv2_response: Sv2Response::Success,
        fee_tier: Some("mid"),
        difficulty_target: Difficulty::new(65_536.5),
        timestamp_ms: 1_800_000_000_000,
        gateway_instance_id: InstanceId::new("gw-1"),
    })
}

fn result() -> Event {
    Event::ShareForwardResult(ShareForwardResult {
        share_id: ShareId([1; 32]),
        event_id: EventId([2; 32]),
        forwarded: true,
        upstream_accepted: Some(true),
        upstream_http_status: Some(200),
        upstream_error: None,
        error_detail: None,
        reason_code: None,
        timestamp_ms: 1_800_000_000_000,
        attempts: 1,
    })
}

/// The log's buffer has room.
fn space() -> Vec<u8> {
    Vec::with_capacity(1024)
}

#[library_benchmark]
#[bench::share_accepted(accepted(), space())]
#[bench::share_forward_result(result(), space())]
fn event(event: Event, mut line: Vec<u8>) -> Vec<u8> {
    write_event(&event, 1_000_000, &mut line);
    line
}

library_benchmark_group!(name = records, benchmarks = [event]);
main!(library_benchmark_groups = records);
