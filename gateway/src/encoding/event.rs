//! Events as the stream and the log carry them.
//!
//! Hashes of blocks are in the order that Bitcoin's RPC prints; share and event ids are plain hex.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use gateway_core::event::{
    BlockFound, ConfigReloaded, ConnectionClosed, Event, LogRecovered, ModeChanged, PrevhashSwitch,
    ShareAccepted, ShareForwardResult, TemplateVerdict,
};
use gateway_core::ids::WorkerId;
use gateway_core::reason::ReasonCode;
use gateway_core::target::Difficulty;
use serde::Serialize;

use super::text::{Hex, write};

/// Version of the event schema, on every event.
pub const EVENT_SCHEMA: u32 = 1;

/// Appends the event that has the number `seq`, as a JSON object.
pub fn write_event(event: &Event, seq: u64, buffer: &mut Vec<u8>) {
    let name = event.name();
    write!(buffer, r#"{{"event":"{name}","schema":{EVENT_SCHEMA},"seq":{seq}"#)
        .expect("writing to memory cannot fail");
    let seam = buffer.len();
    write_fields(event, buffer);
    // One object: the event's own fields go on where the head ends.
    buffer[seam] = b',';
}

/// What the event says of itself, as a JSON object.
pub(crate) fn encode_fields(event: &Event) -> String {
    let mut buffer = Vec::new();
    write_fields(event, &mut buffer);
    String::from_utf8(buffer).expect("JSON is UTF-8")
}

fn write_fields(event: &Event, buffer: &mut Vec<u8>) {
    match event {
        Event::ShareAccepted(event) => share_accepted(event, buffer),
        Event::ShareForwardResult(event) => share_forward_result(event, buffer),
        Event::TemplateVerdict(event) => template_verdict(event, buffer),
        Event::PrevhashSwitch(event) => prevhash_switch(event, buffer),
        Event::ConnectionClosed(event) => connection_closed(event, buffer),
        Event::BlockFound(event) => block_found(event, buffer),
        Event::ConfigReloaded(event) => config_reloaded(event, buffer),
        Event::ModeChanged(event) => mode_changed(*event, buffer),
        Event::LogRecovered(event) => log_recovered(event, buffer),
        other => unreachable!("an event without a form: {}", other.name()),
    }
}

/// Milliseconds to the microsecond.
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

fn share_accepted(event: &ShareAccepted, buffer: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Fields<'a> {
        share_id: Option<Hex<'a>>,
        event_id: Hex<'a>,
        channel_id: u32,
        job_id: u32,
        worker_id: Option<&'a str>,
        miner_id: u64,
        validation_level: &'static str,
        sv2_response: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason_code: Option<&'static str>,
        fee_tier: Option<&'a str>,
        difficulty_target: Option<f64>,
        timestamp_ms: u64,
        gateway_instance_id: &'a str,
    }
    let fields = Fields {
        share_id: event.share_id.as_ref().map(|id| Hex(&id.0)),
        event_id: Hex(&event.event_id.0),
        channel_id: event.channel_id.0,
        job_id: event.job_id.0,
        worker_id: event.worker_id.as_ref().map(WorkerId::as_str),
        miner_id: event.miner_id.0,
        validation_level: event.validation_level.as_str(),
        sv2_response: event.sv2_response.as_str(),
        reason_code: event.sv2_response.reason_code().map(ReasonCode::as_str),
        fee_tier: event.fee_tier,
        difficulty_target: event.difficulty_target.map(Difficulty::as_f64),
        timestamp_ms: event.timestamp_ms,
        gateway_instance_id: event.gateway_instance_id.as_str(),
    };
    write(&fields, buffer);
}

fn share_forward_result(event: &ShareForwardResult, buffer: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Fields<'a> {
        share_id: Hex<'a>,
        event_id: Hex<'a>,
        forwarded: bool,
        upstream_accepted: Option<bool>,
        upstream_http_status: Option<u16>,
        upstream_error: Option<&'a str>,
        error_detail: Option<&'a str>,
        reason_code: Option<&'static str>,
        timestamp_ms: u64,
        attempts: u32,
    }
    let fields = Fields {
        share_id: Hex(&event.share_id.0),
        event_id: Hex(&event.event_id.0),
        forwarded: event.forwarded,
        upstream_accepted: event.upstream_accepted,
        upstream_http_status: event.upstream_http_status,
        upstream_error: event.upstream_error.as_deref(),
        error_detail: event.error_detail.as_deref(),
        reason_code: event.reason_code.map(ReasonCode::as_str),
        timestamp_ms: event.timestamp_ms,
        attempts: event.attempts,
    };
    write(&fields, buffer);
}

fn template_verdict(event: &TemplateVerdict, buffer: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct PolicyContext<'a> {
        fee_tier: Option<&'a str>,
        min_avg_fee_used: Option<u64>,
    }
    #[derive(Serialize)]
    struct Fields<'a> {
        template_id: u64,
        height: u32,
        prev_hash: String,
        mode: &'static str,
        accepted: bool,
        reason_code: &'a str,
        reason_detail: Option<&'a str>,
        policy_context: Option<PolicyContext<'a>>,
        warnings: &'a [String],
        checks: BTreeMap<&'a str, &'a str>,
        policy_hash: Option<&'a str>,
        judged_in_us: Option<u64>,
        latency_ms: f64,
        timestamp_ms: u64,
    }
    let verdict = &event.verdict;
    let (fee_tier, min_avg_fee_used) = (verdict.fee_tier, verdict.min_avg_fee_used);
    let has_context = fee_tier.is_some() || min_avg_fee_used.is_some();
    let fields = Fields {
        template_id: event.template_id.0,
        height: event.height,
        prev_hash: event.prev_hash.to_string(),
        mode: event.mode.as_str(),
        accepted: verdict.accepted,
        reason_code: &verdict.reason_code,
        reason_detail: verdict.reason_detail.as_deref(),
        policy_context: has_context.then_some(PolicyContext { fee_tier, min_avg_fee_used }),
        warnings: &verdict.warnings,
        checks: verdict.checks.iter().map(|(name, said)| (name.as_str(), said.as_str())).collect(),
        policy_hash: verdict.policy_hash.as_deref(),
        judged_in_us: verdict.judged_in_us,
        latency_ms: millis(event.latency),
        timestamp_ms: event.timestamp_ms,
    };
    write(&fields, buffer);
}

fn prevhash_switch(event: &PrevhashSwitch, buffer: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Fields {
        prev_hash: String,
        previous_prev_hash: Option<String>,
        height: u32,
        template_id: Option<u64>,
        mode: &'static str,
        outcome: &'static str,
        reason_code: Option<&'static str>,
        observed_at_ms: u64,
        tip_seen_at_ms: u64,
        verdict_after_ms: Option<f64>,
        held_after_ms: Option<f64>,
        ended_after_ms: f64,
        timestamp_ms: u64,
    }
    let fields = Fields {
        prev_hash: event.prev_hash.to_string(),
        previous_prev_hash: event.previous_prev_hash.map(|hash| hash.to_string()),
        height: event.height,
        template_id: event.template_id.map(|id| id.0),
        mode: event.mode.as_str(),
        outcome: event.outcome.as_str(),
        reason_code: event.reason_code.map(ReasonCode::as_str),
        observed_at_ms: event.observed_at_ms,
        tip_seen_at_ms: event.tip_seen_at_ms,
        verdict_after_ms: event.verdict_after.map(millis),
        held_after_ms: event.held_after.map(millis),
        ended_after_ms: millis(event.ended_after),
        timestamp_ms: event.timestamp_ms,
    };
    write(&fields, buffer);
}

fn connection_closed(event: &ConnectionClosed, buffer: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Fields<'a> {
        miner_id: u64,
        reason_code: Option<&'static str>,
        detail: &'a str,
        prev_hash: Option<String>,
        duration_ms: f64,
        timestamp_ms: u64,
    }
    let fields = Fields {
        miner_id: event.miner_id.0,
        reason_code: event.reason_code.map(ReasonCode::as_str),
        detail: &event.detail,
        prev_hash: event.prev_hash.map(|hash| hash.to_string()),
        duration_ms: millis(event.duration),
        timestamp_ms: event.timestamp_ms,
    };
    write(&fields, buffer);
}

fn block_found(event: &BlockFound, buffer: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Fields<'a> {
        hash: String,
        height: u32,
        share_id: Hex<'a>,
        worker_id: &'a str,
        accepted: Option<bool>,
        results: &'a [String],
        timestamp_ms: u64,
    }
    let fields = Fields {
        hash: event.hash.to_string(),
        height: event.height,
        share_id: Hex(&event.share_id.0),
        worker_id: event.worker_id.as_str(),
        accepted: event.accepted,
        results: &event.results,
        timestamp_ms: event.timestamp_ms,
    };
    write(&fields, buffer);
}

fn config_reloaded(event: &ConfigReloaded, buffer: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Fields<'a> {
        applied: bool,
        changed: &'a [String],
        restart_required: &'a [String],
        problems: &'a [String],
        timestamp_ms: u64,
    }
    let ConfigReloaded { applied, changed, restart_required, problems, timestamp_ms } = event;
    let (applied, timestamp_ms) = (*applied, *timestamp_ms);
    write(&Fields { applied, changed, restart_required, problems, timestamp_ms }, buffer);
}

fn mode_changed(event: ModeChanged, buffer: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Fields {
        from: &'static str,
        to: &'static str,
        timestamp_ms: u64,
    }
    let (from, to) = (event.from.as_str(), event.to.as_str());
    write(&Fields { from, to, timestamp_ms: event.timestamp_ms }, buffer);
}

fn log_recovered(event: &LogRecovered, buffer: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Fields<'a> {
        cause: &'static str,
        error: &'a str,
        since_ms: u64,
        stalled_ms: u64,
        timestamp_ms: u64,
    }
    let LogRecovered { cause, error, since_ms, timestamp_ms } = event;
    let (since_ms, timestamp_ms) = (*since_ms, *timestamp_ms);
    let stalled_ms = timestamp_ms.saturating_sub(since_ms);
    write(&Fields { cause: cause.as_str(), error, since_ms, stalled_ms, timestamp_ms }, buffer);
}
