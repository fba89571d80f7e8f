//! How things stand, for probes and people.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gateway_core::event::LogFault;
use gateway_core::hashrate::HashRates;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::admission::Admission;
use crate::blocks::BlockSubmitter;
use crate::board::Board;
use crate::clock::Clock;
use crate::config::EscapeHatch;
use crate::forwarder::ForwardLevel;
use crate::limits::{BLOCKS_IN_SUBMISSION, CHANNELS, LOG_WAITING_BATCHES, WORKERS};
use crate::live::Live;
use crate::log::{LogStatus, Stall};
use crate::memory;
use crate::metrics::{Metrics, label};
use crate::recorder::Recorder;

/// Everything that tells how things stand.
pub(crate) struct Status {
    pub(crate) live: Live,
    pub(crate) clock: Clock,
    pub(crate) board: Arc<Board>,
    pub(crate) shared: Arc<gateway_core::SharedState>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) blocks: Arc<BlockSubmitter>,
    pub(crate) forward: watch::Receiver<ForwardLevel>,
    pub(crate) source_up: Arc<AtomicBool>,
    pub(crate) verifier_up: Arc<AtomicBool>,
    pub(crate) pool_up: watch::Receiver<bool>,
    pub(crate) draining: Arc<AtomicBool>,
}

#[derive(Serialize)]
struct Report<'a> {
    instance: &'a str,
    version: &'static str,
    mode: &'static str,
    uptime_ms: u128,
    draining: bool,
    ready: bool,
    missing: Vec<&'static str>,
    log: String,
    /// Why no share is acknowledged.
    log_stall: Option<StallReport>,
    connections: usize,
    channels: usize,
    hash_rate: HashRate,
    /// Submissions by answer, since the start.
    submissions: BTreeMap<&'static str, u64>,
    template: Option<TemplateReport>,
    last_switch: Option<Box<RawValue>>,
    shares_queued: usize,
    posts_in_flight: usize,
    blocks_in_submission: usize,
    verifier_http_url: &'a str,
    escape_hatches: Vec<&'static str>,
}

/// Hashes a second behind the accepted work.
#[derive(Clone, Copy, Default, Serialize)]
pub(crate) struct HashRate {
    one_minute: f64,
    five_minutes: f64,
    one_hour: f64,
}

impl From<HashRates> for HashRate {
    fn from(rates: HashRates) -> Self {
        let HashRates { one_minute, five_minutes, one_hour } = rates;
        Self { one_minute, five_minutes, one_hour }
    }
}

#[derive(Serialize)]
struct StallReport {
    cause: &'static str,
    error: String,
    since_ms: u64,
}

impl From<Stall> for StallReport {
    fn from(Stall { cause, error, since_ms }: Stall) -> Self {
        Self { cause: cause.as_str(), error, since_ms }
    }
}

#[derive(Serialize)]
struct TemplateReport {
    template_id: u64,
    source: String,
    height: u32,
    prev_hash: String,
    age_ms: u64,
}

impl Status {
    /// What keeps the gateway from serving miners as it should; empty when it is ready.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let mode = self.live.now().gateway.mode;
        let has_template = self.board.publication().is_some() || !mode.serves_miners();
        let stalled = self.stall().map(|stall| stall.cause);
        let checks = [
            ("not_draining", !self.is(&self.draining)),
            ("log_disk_full", stalled != Some(LogFault::DiskFull)),
            ("log_io_error", stalled != Some(LogFault::IoError)),
            ("template_source", self.source_up()),
            ("template", has_template),
            ("verifier", self.is(&self.verifier_up) || !mode.gates_jobs()),
            ("share_upstream", *self.pool_up.borrow() || !mode.serves_miners()),
        ];
        checks.into_iter().filter(|(_, fine)| !fine).map(|(name, _)| name).collect()
    }

    /// The report of `/api/v1/status`, as JSON.
    pub(crate) fn report(&self) -> String {
        let (now, config) = (self.clock.now(), self.live.now());
        let (missing, level) = (self.missing(), *self.forward.borrow());
        let template = self.board.publication().map(|publication| {
            let template = publication.work.template();
            TemplateReport {
                template_id: template.template_id.0,
                source: template.source.clone(),
                height: template.height,
                prev_hash: template.prev_hash.to_string(),
                age_ms: now.unix_ms.saturating_sub(template.observed_at_ms),
            }
        });
        let report = Report {
            instance: &config.gateway.gateway_instance_id,
            version: env!("CARGO_PKG_VERSION"),
            mode: config.gateway.mode.as_str(),
            uptime_ms: now.mono.as_millis(),
            draining: self.is(&self.draining),
            ready: missing.is_empty(),
            missing,
            log: match self.recorder.log().status() {
                LogStatus::Writing => "writing".to_owned(),
                LogStatus::Failing(stall) => format!("failing: {}", stall.error),
            },
            log_stall: self.stall().map(StallReport::from),
            connections: self.admission.open(),
            channels: self.shared.channels(),
            hash_rate: self.hash_rate(now.mono),
            submissions: self.metrics.submissions(),
            template,
            last_switch: self.last_switch(),
            shares_queued: level.queued,
            posts_in_flight: level.in_flight,
            blocks_in_submission: self.blocks.under_way(),
            verifier_http_url: &config.gateway.verifier_http_url,
            escape_hatches: config.hatches.iter().copied().map(EscapeHatch::variable).collect(),
        };
        serde_json::to_string(&report).expect("texts and numbers always encode")
    }

    /// Of all workers together.
    fn hash_rate(&self, now: Duration) -> HashRate {
        let reports = self.shared.worker_reports(None, usize::MAX, now);
        reports.iter().fold(HashRate::default(), |sum, report| HashRate {
            one_minute: sum.one_minute + report.rates.one_minute,
            five_minutes: sum.five_minutes + report.rates.five_minutes,
            one_hour: sum.one_hour + report.rates.one_hour,
        })
    }

    fn last_switch(&self) -> Option<Box<RawValue>> {
        let switch = self.recorder.switches().into_iter().next()?;
        Some(RawValue::from_string(switch).expect("events are JSON"))
    }

    /// Brings the gauges up to date.
    pub(crate) fn refresh_gauges(&self) {
        let (metrics, config) = (&self.metrics, self.live.now());
        let share = &config.share;
        let level = *self.forward.borrow();
        let queues = [
            ("connections", self.admission.open(), config.limits.max_connections),
            ("channels", self.shared.channels(), CHANNELS),
            ("workers", self.shared.workers(), WORKERS),
            ("replay_window", self.shared.replay_window_len(), share.dedup_window_size),
            ("templates", self.shared.templates(), config.timing.template_cache_size),
            ("forward_queue", level.queued, share.queue_size),
            ("forward_in_flight", level.in_flight, share.max_in_flight),
            ("blocks", self.blocks.under_way(), BLOCKS_IN_SUBMISSION),
            ("log_batches", self.recorder.log().waiting(), LOG_WAITING_BATCHES),
        ];
        for (name, length, capacity) in queues {
            let name = label("queue", name);
            metrics.queue_length.get_or_create(&name).set(gauge(length));
            metrics.queue_capacity.get_or_create(&name).set(gauge(capacity));
        }
        for (part, bytes) in memory::bound(&config) {
            metrics.memory_bound.get_or_create(&label("part", part)).set(gauge(bytes));
        }
        let stall = self.stall();
        let up = [
            ("log", stall.is_none()),
            ("template_source", self.source_up()),
            ("verifier", self.is(&self.verifier_up)),
            ("share_upstream", *self.pool_up.borrow()),
        ];
        for (name, is_up) in up {
            metrics.up.get_or_create(&label("of", name)).set(i64::from(is_up));
        }
        metrics.connections.set(gauge(self.admission.open()));
        let now = self.clock.now();
        let age = self.board.publication().map_or(f64::NAN, |publication| {
            let observed_at_ms = publication.work.template().observed_at_ms;
            now.unix_ms.saturating_sub(observed_at_ms) as f64 / 1000.0
        });
        metrics.template_age_seconds.set(age);
        let stalled = stall.map_or(0, |stall| now.unix_ms.saturating_sub(stall.since_ms));
        metrics.log_stalled_seconds.set(stalled as f64 / 1000.0);
    }

    /// The stall of the log that goes on.
    fn stall(&self) -> Option<Stall> {
        self.recorder.log().status().stall().cloned()
    }

    /// Whether the source answers, and has not been silent for too long.
    fn source_up(&self) -> bool {
        self.is(&self.source_up) && self.board.upstream()
    }

    fn is(&self, flag: &AtomicBool) -> bool {
        flag.load(Ordering::Relaxed)
    }
}

fn gauge(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
