//! The task around the core's switch.

use std::sync::Arc;

use gateway_core::prevhash::{Input, Output, Switch};
use platform::Shutdown;
use tokio::sync::mpsc;

use crate::board::{Board, Signal};
use crate::clock::Clock;
use crate::metrics::{Metrics, label};
use crate::recorder::Recorder;
use crate::verifier_link::Proposals;

/// Drives the switch and passes on what it decides.
pub(crate) struct SwitchTask {
    pub(crate) switch: Switch,
    pub(crate) clock: Clock,
    pub(crate) board: Arc<Board>,
    pub(crate) proposals: Arc<Proposals>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) metrics: Arc<Metrics>,
}

impl SwitchTask {
    /// Runs until `stop`.
    pub(crate) async fn run(mut self, mut inbox: mpsc::Receiver<Input>, stop: Shutdown) {
        loop {
            let input = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(input) = inbox.recv() => input,
                () = self.clock.until(self.switch.next_deadline()) => Input::Tick,
            };
            self.switch.handle(input, self.clock.now());
            while let Some(output) = self.switch.poll() {
                self.act(output);
            }
        }
    }

    fn act(&self, output: Output) {
        match output {
            Output::Propose(work) => self.proposals.push(work),
            Output::Publish(publication) => self.board.post(Signal::Work(publication)),
            Output::Disconnect(disconnect) => {
                tracing::warn!(reason = %disconnect.reason, "miners are disconnected");
                self.board.post(Signal::Disconnect(disconnect));
            }
            Output::Upstream(available) => {
                if available {
                    tracing::info!("the template source is reachable");
                } else {
                    tracing::warn!(reason = "upstream_unavailable", "no template source");
                }
                self.board.post(Signal::Upstream(available));
            }
            Output::Ignored(ignored) => {
                let cause = label("cause", ignored.cause.as_str());
                self.metrics.ignored_verdicts.get_or_create(&cause).inc();
            }
            Output::Event(event) => self.recorder.note(*event),
            other => tracing::warn!(?other, "the switch asked for something unknown"),
        }
    }
}
