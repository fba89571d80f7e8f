//! The switch from one tip to the next, and from one template to a better one.
//!
//! In inline mode nothing of a new tip reaches a miner before the verifier accepted a template on
//! it. Until then the miners stay on the old tip, at most for `stale_hold` in all:
//!
//! ```text
//! Serving → Pending (≤ verdict window) → Switched
//!                 ↘ Holding (≤ stale hold) → Switched | Disconnected
//! ```
//!
//! Meanwhile nothing of the old tip is sent again either: channels opened in that time wait.
//! Observe publishes at once and records what the verifier says; shadow publishes nothing.

mod change;
mod io;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bitcoin::BlockHash;

use self::change::{Stages, State, TipChange};
pub use self::io::{
    Disconnect, IgnoredCause, IgnoredVerdict, Input, Output, Publication, PublicationKind,
    Settings, UpstreamFailurePolicy, Verdict,
};
use crate::event::{Event, ModeChanged, SwitchOutcome, TemplateVerdict};
use crate::ids::TemplateId;
use crate::job::Work;
use crate::limits::MAX_REMEMBERED_PROPOSALS;
use crate::mode::Mode;
use crate::moment::Moment;
use crate::reason::ReasonCode;
use crate::shared::SharedState;

/// Decides which work miners get, and when. One for each gateway.
#[derive(Debug)]
pub struct Switch {
    settings: Settings,
    shared: Arc<SharedState>,
    /// What miners are on; absent before the first work and after a disconnect.
    published: Option<Arc<Publication>>,
    change: Option<TipChange>,
    /// Templates of one tip that wait for a verdict, oldest first.
    pending: Vec<Arc<Work>>,
    /// Work that passed and waits for the broadcast interval.
    refresh: Option<Arc<Work>>,
    proposals: BTreeMap<TemplateId, Proposal>,
    source: Source,
    outputs: VecDeque<Output>,
}

/// A template under judgement, whether or not it still matters.
#[derive(Clone, Copy, Debug)]
struct Proposal {
    height: u32,
    prev_hash: BlockHash,
    at: Duration,
}

/// The template source as last heard.
#[derive(Debug)]
struct Source {
    heard: Duration,
    available: bool,
    latest: Option<Latest>,
    /// The latest template passed its judgement when it was too old already.
    was_too_old: bool,
}

/// The newest template and its age when it came.
#[derive(Debug)]
struct Latest {
    work: Arc<Work>,
    age_on_arrival: Duration,
}

impl Switch {
    /// A switch that has seen no template yet.
    pub fn new(settings: Settings, shared: Arc<SharedState>, now: Moment) -> Self {
        Self {
            settings,
            shared,
            published: None,
            change: None,
            pending: Vec::new(),
            refresh: None,
            proposals: BTreeMap::new(),
            source: Source { heard: now.mono, available: true, latest: None, was_too_old: false },
            outputs: VecDeque::new(),
        }
    }

    /// Takes one input. Drain [`poll`](Self::poll) after it.
    pub fn handle(&mut self, input: Input, now: Moment) {
        match input {
            Input::Template(work) => {
                self.expire(now, false);
                self.source_heard(now.mono, now);
                self.template(&work, now);
            }
            Input::SourceAlive { confirmed_ago } => {
                self.source_heard(now.mono.saturating_sub(confirmed_ago), now);
                if let Some(latest) = &mut self.source.latest {
                    latest.age_on_arrival = Duration::ZERO;
                }
                if std::mem::take(&mut self.source.was_too_old) {
                    self.offer_latest(now);
                }
            }
            Input::Verdict { template_id, verdict } => {
                // A verdict that comes at the very end of its window is in time.
                self.expire(now, false);
                self.verdict(template_id, verdict, now);
            }
            Input::Settings(settings) => {
                self.settings = Settings { mode: self.settings.mode, ..settings };
            }
            Input::Mode(mode) => self.change_mode(mode, now),
            Input::Tick => self.expire(now, true),
        }
        let is_held = self.change.is_some() && self.published.is_some();
        self.shared.withhold_work(is_held && self.settings.mode.gates_jobs());
    }

    /// The next thing to do, until there is nothing left.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to send a [`Input::Tick`], on the clock of [`Moment::mono`].
    pub fn next_deadline(&self) -> Option<Duration> {
        let settings = &self.settings;
        let change = self.change.as_ref().filter(|_| self.published.is_some());
        let window = change
            .filter(|change| change.state == State::Pending)
            .map(|change| change.window_ends(settings.verdict_window));
        let hold = change.map(|change| change.hold_from + settings.stale_hold);
        let refresh = self.refresh.as_ref().and_then(|_| self.refresh_due());
        let upstream =
            self.source.available.then(|| self.source.heard + settings.upstream_stale_max);
        [window, hold, refresh, upstream].into_iter().flatten().min()
    }

    /// What miners are on now.
    pub fn published(&self) -> Option<&Arc<Publication>> {
        self.published.as_ref()
    }

    /// The mode in force.
    pub fn mode(&self) -> Mode {
        self.settings.mode
    }

    /// Whether the template source counts as reachable.
    pub fn upstream_available(&self) -> bool {
        self.source.available
    }

    fn template(&mut self, work: &Arc<Work>, now: Moment) {
        let latest = self.source.latest.as_ref();
        if latest.is_some_and(|latest| work.template_id() <= latest.work.template_id()) {
            return;
        }
        let age = now.unix_ms.saturating_sub(work.template().observed_at_ms);
        self.source.was_too_old = false;
        self.source.latest =
            Some(Latest { work: Arc::clone(work), age_on_arrival: Duration::from_millis(age) });
        match self.settings.mode {
            Mode::Shadow => {}
            Mode::Observe => {
                self.note_tip(work, now);
                self.publish(Arc::clone(work), Stages::default(), now);
            }
            Mode::Inline => {
                self.note_tip(work, now);
                if self.pending.len() >= self.settings.max_pending.max(1) {
                    // The oldest is nearest to its verdict; replacing it each time could starve
                    // all.
                    self.pending.pop();
                }
                self.pending.push(Arc::clone(work));
            }
        }
        self.propose(work, now);
    }

    /// Begins, ends or renews a change of tip for the template that just came.
    fn note_tip(&mut self, work: &Work, now: Moment) {
        let tip = work.prev_hash();
        let current = self.published.as_ref().map(|published| published.work.prev_hash());
        if self.change.as_ref().is_some_and(|change| change.tip == tip) {
            return;
        }
        if self.change.is_none() && current == Some(tip) {
            return;
        }
        self.pending.clear();
        self.refresh = None;
        let hold_from = match self.change.take() {
            Some(older) => {
                self.report(&older, SwitchOutcome::Superseded, Stages::default(), now);
                let hold_from = mutant::pick!(HoldRestarts, now.mono, older.hold_from);
                if current.is_some() { hold_from } else { now.mono }
            }
            None => now.mono,
        };
        if current == Some(tip) {
            // A reorganisation led back to the tip that miners never left.
            self.repeat_publication();
        } else {
            self.change = Some(TipChange::begin(work, current, hold_from, now));
        }
    }

    fn propose(&mut self, work: &Arc<Work>, now: Moment) {
        let proposal =
            Proposal { height: work.template().height, prev_hash: work.prev_hash(), at: now.mono };
        self.proposals.insert(work.template_id(), proposal);
        while self.proposals.len() > MAX_REMEMBERED_PROPOSALS {
            self.proposals.pop_first();
        }
        self.shared.note_proposal(work);
        self.outputs.push_back(Output::Propose(Arc::clone(work)));
    }

    fn verdict(&mut self, template_id: TemplateId, verdict: Verdict, now: Moment) {
        let Some(proposal) = self.proposals.remove(&template_id) else {
            return self.ignore(template_id, IgnoredCause::UnknownProposal);
        };
        let its = self.pending.iter().position(|work| work.template_id() == template_id);
        let at = mutant::pick!(StaleVerdictForNewTip, self.pending.len().checked_sub(1), its);
        let (age, most) = (self.age(template_id, proposal.at, now), self.settings.max_template_age);
        let too_old = at.is_some() && verdict.accepted && age > most;
        let is_latest = |latest: &Latest| latest.work.template_id() == template_id;
        self.source.was_too_old |= too_old && self.source.latest.as_ref().is_some_and(is_latest);
        let verdict = Arc::new(if too_old { Verdict::template_stale(age, most) } else { verdict });
        self.shared.note_verdict(template_id, &verdict);
        self.record(Event::TemplateVerdict(TemplateVerdict {
            template_id,
            height: proposal.height,
            prev_hash: proposal.prev_hash,
            mode: self.settings.mode,
            verdict: Verdict::clone(&verdict),
            latency: now.mono.saturating_sub(proposal.at),
            timestamp_ms: now.unix_ms,
        }));
        mutant::bug!(ObserveGates, self.disconnect_published(ReasonCode::PrevhashVerdictRejected));
        if !self.settings.mode.gates_jobs() {
            return;
        }
        let passes = mutant::pick!(VerdictIgnored, true, verdict.accepted);
        match at {
            None => self.ignore_superseded(template_id, proposal),
            Some(at) if passes => self.accept(at, &verdict, now),
            Some(at) => self.reject(at, now),
        }
    }

    fn accept(&mut self, at: usize, verdict: &Arc<Verdict>, now: Moment) {
        let work = self.pending.drain(..=at).next_back().expect("`at` is within the list");
        self.shared.hold_template(Arc::clone(&work), Some(Arc::clone(verdict)));
        let stages = Stages { template_id: Some(work.template_id()), verdict_at: Some(now.mono) };
        self.publish(work, stages, now);
    }

    fn reject(&mut self, at: usize, now: Moment) {
        let work = self.pending.remove(at);
        let nothing_left = self.pending.is_empty();
        let Some(change) = &mut self.change else { return };
        if nothing_left {
            change.hold(now.mono);
        }
        let stages = Stages { template_id: Some(work.template_id()), verdict_at: Some(now.mono) };
        let report = change.report(SwitchOutcome::Rejected, self.settings.mode, stages, now);
        self.record(Event::PrevhashSwitch(report));
    }

    fn ignore_superseded(&mut self, template_id: TemplateId, proposal: Proposal) {
        let newest = self.source.latest.as_ref().map(|latest| latest.work.prev_hash());
        let cause = if newest == Some(proposal.prev_hash) {
            IgnoredCause::OlderTemplate
        } else {
            IgnoredCause::OlderTip
        };
        self.ignore(template_id, cause);
    }

    fn ignore(&mut self, template_id: TemplateId, cause: IgnoredCause) {
        self.outputs.push_back(Output::Ignored(IgnoredVerdict { template_id, cause }));
    }

    /// Hands out work that may be mined: at once for a new tip, at the broadcast interval
    /// otherwise.
    fn publish(&mut self, work: Arc<Work>, stages: Stages, now: Moment) {
        if self.shared.template(work.template_id()).is_none() {
            self.shared.hold_template(Arc::clone(&work), None);
        }
        let change = mutant::pick!(HoldNotCancelled, self.change.clone(), self.change.take());
        let same_tip = self
            .published
            .as_ref()
            .filter(|published| published.work.prev_hash() == work.prev_hash())
            .cloned();
        match (change, same_tip) {
            (change, Some(current)) => {
                if current.work.template_id() < work.template_id() {
                    self.refresh = Some(work);
                    self.publish_due_refresh(now);
                } else if change.is_some() {
                    self.repeat_publication();
                }
            }
            (change, None) => {
                let seen = change.as_ref().map_or(now, TipChange::seen);
                let stages = Stages { template_id: Some(work.template_id()), ..stages };
                self.refresh = None;
                self.hand_out(work, PublicationKind::NewTip, seen, now);
                if let Some(change) = change {
                    self.report(&change, SwitchOutcome::Switched, stages, now);
                }
            }
        }
    }

    /// Hands out again what is published, for channels that were opened while it was withheld.
    fn repeat_publication(&mut self) {
        if let Some(published) = &self.published {
            self.outputs.push_back(Output::Publish(Arc::clone(published)));
        }
    }

    fn publish_due_refresh(&mut self, now: Moment) {
        if self.refresh_due().is_some_and(|due| due > now.mono) {
            return;
        }
        if let Some(work) = self.refresh.take() {
            let seen = self.published.as_ref().map_or(now, |published| published.tip_seen);
            self.hand_out(work, PublicationKind::Refresh, seen, now);
        }
    }

    fn refresh_due(&self) -> Option<Duration> {
        let published = self.published.as_ref()?;
        Some(published.published.mono + self.settings.broadcast_interval)
    }

    fn hand_out(&mut self, work: Arc<Work>, kind: PublicationKind, tip_seen: Moment, now: Moment) {
        let publication = Arc::new(Publication { work, kind, tip_seen, published: now });
        self.published = Some(Arc::clone(&publication));
        self.outputs.push_back(Output::Publish(publication));
    }

    /// Acts on every deadline before `now`, and on those at `now` if `inclusive`.
    fn expire(&mut self, now: Moment, inclusive: bool) {
        let is_over = |deadline: Duration| deadline < now.mono || inclusive && deadline == now.mono;
        if let Some(change) = self.change.as_mut().filter(|_| self.published.is_some()) {
            let window_ends = change.window_ends(self.settings.verdict_window);
            if is_over(window_ends) {
                change.hold(window_ends);
            }
            if is_over(change.hold_from + self.settings.stale_hold) {
                self.give_up_hold(now);
            }
        }
        if self.refresh_due().is_some_and(is_over) {
            self.publish_due_refresh(now);
        }
        let silent_since = self.source.heard + self.settings.upstream_stale_max;
        if self.source.available && is_over(silent_since) {
            self.source.available = false;
            self.outputs.push_back(Output::Upstream(false));
            if self.settings.upstream_failure == UpstreamFailurePolicy::FailClosed {
                // What still passes is offered anew when the source is back and vouches for it.
                self.pending.clear();
                self.disconnect_published(ReasonCode::UpstreamUnavailable);
            }
        }
    }

    fn give_up_hold(&mut self, now: Moment) {
        let Some(mut change) = self.change.take() else { return };
        change.state = State::Disconnected;
        self.disconnect_published(ReasonCode::PrevhashSwitchTimeout);
        let last = self.pending.last().map(|work| work.template_id());
        let stages = Stages { template_id: last, verdict_at: None };
        self.report(&change, SwitchOutcome::Disconnected, stages, now);
        self.change = Some(change);
    }

    fn disconnect_published(&mut self, reason: ReasonCode) {
        self.refresh = None;
        if let Some(published) = self.published.take() {
            let tip = Some(published.work.prev_hash());
            self.outputs.push_back(Output::Disconnect(Disconnect { tip, reason }));
        }
    }

    /// The source spoke of what was so at `heard`.
    fn source_heard(&mut self, heard: Duration, now: Moment) {
        self.source.heard = self.source.heard.max(heard);
        let is_current = self.source.heard + self.settings.upstream_stale_max > now.mono;
        if !self.source.available && is_current {
            self.source.available = true;
            self.outputs.push_back(Output::Upstream(true));
            self.resume(now);
        }
    }

    /// Offers the latest template again after miners were cut off from it.
    fn resume(&mut self, now: Moment) {
        if self.published.is_none() {
            self.offer_latest(now);
        }
    }

    /// Offers the latest template again unless it waits for its verdict.
    fn offer_latest(&mut self, now: Moment) {
        let Some(latest) = &self.source.latest else { return };
        let work = Arc::clone(&latest.work);
        let waits = self.pending.iter().any(|pending| pending.template_id() == work.template_id());
        if waits || !self.settings.mode.serves_miners() {
            return;
        }
        self.note_tip(&work, now);
        if self.settings.mode.gates_jobs() {
            self.pending.push(Arc::clone(&work));
            self.propose(&work, now);
        } else {
            self.publish(work, Stages::default(), now);
        }
    }

    fn change_mode(&mut self, to: Mode, now: Moment) {
        let from = self.settings.mode;
        if from == to {
            return;
        }
        self.settings.mode = to;
        let event = ModeChanged { from, to, timestamp_ms: now.unix_ms };
        self.record(Event::ModeChanged(event));
        match to {
            Mode::Shadow => self.stop_serving(),
            Mode::Observe => {
                self.pending.clear();
                if let Some(latest) = &self.source.latest {
                    let work = Arc::clone(&latest.work);
                    self.note_tip(&work, now);
                    self.publish(work, Stages::default(), now);
                }
            }
            Mode::Inline => self.start_gating(now),
        }
    }

    fn stop_serving(&mut self) {
        self.published = None;
        self.change = None;
        self.refresh = None;
        self.pending.clear();
        let everyone = Disconnect { tip: None, reason: ReasonCode::ShutdownDrain };
        self.outputs.push_back(Output::Disconnect(everyone));
    }

    /// Work that observe gave out unjudged must pass now, within the same time as a new tip.
    fn start_gating(&mut self, now: Moment) {
        let Some(published) = self.published.clone() else { return self.resume(now) };
        let held = self.shared.template(published.work.template_id());
        let passed = held.and_then(|held| held.verdict).is_some_and(|verdict| verdict.accepted);
        if !passed {
            let tip = published.work.prev_hash();
            self.change = Some(TipChange::begin(&published.work, Some(tip), now.mono, now));
            self.refresh = None;
            self.pending.push(Arc::clone(&published.work));
            self.propose(&published.work, now);
        }
    }

    fn report(&mut self, change: &TipChange, outcome: SwitchOutcome, stages: Stages, now: Moment) {
        let report = change.report(outcome, self.settings.mode, stages, now);
        self.record(Event::PrevhashSwitch(report));
    }

    fn record(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(Box::new(event)));
    }

    /// How long ago the source last vouched for a template.
    fn age(&self, template_id: TemplateId, proposed: Duration, now: Moment) -> Duration {
        match &self.source.latest {
            Some(latest) if latest.work.template_id() == template_id => {
                now.mono.saturating_sub(self.source.heard) + latest.age_on_arrival
            }
            _ => now.mono.saturating_sub(proposed),
        }
    }
}
