//! Tells operators why shares are not acknowledged while the log takes none, and when that ended.

use std::sync::Arc;

use gateway_core::event::{Event, LogRecovered};
use platform::Shutdown;

use crate::clock::Clock;
use crate::log::{Record, Stall};
use crate::metrics::Metrics;
use crate::recorder::Recorder;

/// Counts each stall by its cause, and records its end as an event: the stream is a view of the
/// log, so it cannot tell of a stall before. Runs until `stop`.
pub(crate) async fn watch(
    recorder: Arc<Recorder>,
    metrics: Arc<Metrics>,
    clock: Clock,
    stop: Shutdown,
) {
    let mut status = recorder.log().follow_status();
    let mut told: Option<Stall> = None;
    loop {
        let now = status.borrow_and_update().stall().cloned();
        match (&told, &now) {
            (None, Some(stall)) => metrics.log_stalled(stall.cause),
            (Some(before), Some(stall)) if before.cause != stall.cause => {
                metrics.log_stalled(stall.cause);
            }
            (Some(stall), None) => recovered(&recorder, stall, clock.now().unix_ms).await,
            _ => {}
        }
        told = now;
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = status.changed() => if changed.is_err() { return },
        }
    }
}

async fn recovered(recorder: &Recorder, stall: &Stall, timestamp_ms: u64) {
    let Stall { cause, error, since_ms } = stall.clone();
    let stalled_ms = timestamp_ms.saturating_sub(since_ms);
    tracing::info!(cause = cause.as_str(), stalled_ms, "the log is written again");
    let event = Event::LogRecovered(LogRecovered { cause, error, since_ms, timestamp_ms });
    // Whoever waits for it is the log itself.
    drop(recorder.record(vec![Record::Event(recorder.counted(event))]).await);
}
