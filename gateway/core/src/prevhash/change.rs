//! A change of tip on its way.

use std::time::Duration;

use bitcoin::BlockHash;

use crate::event::{PrevhashSwitch, SwitchOutcome};
use crate::ids::TemplateId;
use crate::job::Work;
use crate::mode::Mode;
use crate::moment::Moment;
use crate::reason::ReasonCode;

/// A tip that miners are not yet on.
#[derive(Clone, Debug)]
pub(super) struct TipChange {
    pub(super) tip: BlockHash,
    pub(super) state: State,
    /// When the first tip was seen that miners are still waiting for: the hold counts from here,
    /// however many tips follow.
    pub(super) hold_from: Duration,
    seen: Moment,
    previous: Option<BlockHash>,
    height: u32,
    observed_at_ms: u64,
    held_after: Option<Duration>,
}

/// How far the change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Within the verdict window.
    Pending,
    /// Past it, miners still on the old tip.
    Holding,
    /// Nobody is on the old tip any more.
    Disconnected,
}

impl TipChange {
    pub(super) fn begin(
        work: &Work,
        previous: Option<BlockHash>,
        hold_from: Duration,
        now: Moment,
    ) -> Self {
        Self {
            tip: work.prev_hash(),
            state: State::Pending,
            hold_from,
            seen: now,
            previous,
            height: work.template().height,
            observed_at_ms: work.template().observed_at_ms,
            held_after: None,
        }
    }

    pub(super) fn seen(&self) -> Moment {
        self.seen
    }

    pub(super) fn window_ends(&self, window: Duration) -> Duration {
        self.seen.mono + window
    }

    pub(super) fn hold(&mut self, at: Duration) {
        if self.state == State::Pending {
            self.state = State::Holding;
            self.held_after = Some(at.saturating_sub(self.seen.mono));
        }
    }

    pub(super) fn report(
        &self,
        outcome: SwitchOutcome,
        mode: Mode,
        stages: Stages,
        now: Moment,
    ) -> PrevhashSwitch {
        PrevhashSwitch {
            prev_hash: self.tip,
            previous_prev_hash: self.previous,
            height: self.height,
            template_id: stages.template_id,
            mode,
            outcome,
            reason_code: match outcome {
                SwitchOutcome::Switched | SwitchOutcome::Superseded => None,
                SwitchOutcome::Rejected => Some(ReasonCode::PrevhashVerdictRejected),
                SwitchOutcome::Disconnected => Some(ReasonCode::PrevhashSwitchTimeout),
            },
            observed_at_ms: self.observed_at_ms,
            tip_seen_at_ms: self.seen.unix_ms,
            verdict_after: stages.verdict_at.map(|at| at.saturating_sub(self.seen.mono)),
            held_after: self.held_after,
            ended_after: now.since(self.seen),
            timestamp_ms: now.unix_ms,
        }
    }
}

/// What is known at the end of a change only.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stages {
    pub(super) template_id: Option<TemplateId>,
    pub(super) verdict_at: Option<Duration>,
}
