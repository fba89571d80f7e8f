//! Events on their way into the log.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use gateway_core::event::{Event, ShareForwardResult};
use gateway_core::reason::ReasonCode;

use crate::encoding::encode_fields;
use crate::limits::PREVHASH_HISTORY;
use crate::log::{Commit, Log, Record, Unresolved};
use crate::metrics::Metrics;

/// Counts events and logs them.
pub(crate) struct Recorder {
    log: Log,
    metrics: Arc<Metrics>,
    switches: Mutex<VecDeque<Event>>,
}

impl Recorder {
    pub(crate) fn new(log: Log, metrics: Arc<Metrics>) -> Self {
        Self { log, metrics, switches: Mutex::default() }
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Records an event that no share depends on. It never waits: where the log has no room left,
    /// because the disk fails, the event is dropped and counted.
    pub(crate) fn note(&self, event: Event) {
        let name = event.name();
        let event = self.counted(event);
        if let Event::PrevhashSwitch(_) = event {
            let mut switches = self.switches.lock().unwrap_or_else(PoisonError::into_inner);
            switches.push_front(event.clone());
            switches.truncate(PREVHASH_HISTORY);
        }
        if !self.log.try_append(vec![Record::Event(event)]) {
            self.metrics.events_dropped.inc();
            tracing::warn!(event = name, "the log has no room: an event is dropped");
        }
    }

    /// Records what concerns shares and blocks; waits for a place in the log.
    pub(crate) async fn record(&self, records: Vec<Record>) -> Option<Commit> {
        self.log.append(records).await
    }

    /// Counts an event on its way to [`record`](Self::record).
    pub(crate) fn counted(&self, event: Event) -> Event {
        self.metrics.count(&event);
        event
    }

    /// The result of a share, for [`record`](Self::record).
    pub(crate) fn result(&self, result: ShareForwardResult) -> Record {
        let event_id = result.event_id;
        Record::Resolved { event_id, event: self.counted(Event::ShareForwardResult(result)) }
    }

    /// The result of a share from an earlier life that cannot be sent again.
    pub(crate) fn lost(&self, share: &Unresolved, timestamp_ms: u64) -> Record {
        self.result(ShareForwardResult {
            share_id: share.share_id,
            event_id: share.event_id,
            forwarded: false,
            upstream_accepted: None,
            upstream_http_status: None,
            upstream_error: None,
            error_detail: Some("the log does not hold what sends the share again".to_owned()),
            reason_code: Some(ReasonCode::ProcessCrashRecovery),
            timestamp_ms,
            attempts: 0,
        })
    }

    /// The last changes of tip, newest first, each as JSON.
    pub(crate) fn switches(&self) -> Vec<String> {
        let switches = self.switches.lock().unwrap_or_else(PoisonError::into_inner);
        switches.iter().map(encode_fields).collect()
    }
}
