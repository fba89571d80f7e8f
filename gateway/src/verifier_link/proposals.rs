//! Templates on their way to their verdicts, shared by the links to all verifiers.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gateway_core::ids::TemplateId;
use gateway_core::job::Work;
use tokio::sync::watch;

use crate::limits::PROPOSALS_WAITING;

/// Every link proposes what has no verdict yet, once a connection: so what was under judgement when
/// a link broke is proposed again, and of several verifiers the first to answer decides.
pub(crate) struct Proposals {
    state: Mutex<State>,
    /// Changes with each new template.
    latest: watch::Sender<u64>,
    /// Whether any verifier is linked; shown to whoever asks how things stand.
    is_up: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    /// By ascending number, the newest last.
    entries: VecDeque<Entry>,
    links_up: usize,
}

struct Entry {
    number: u64,
    template_id: TemplateId,
    stage: Stage,
}

enum Stage {
    Undecided(Arc<Work>),
    /// The first verdict, and whether it accepts.
    Decided(bool),
}

/// What a verdict is beside those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The one that decides.
    First,
    /// Another verifier said the same before.
    Again,
    /// Another verifier said the opposite before.
    Contradiction,
}

/// What one connection has proposed, by number.
#[derive(Debug, Default)]
pub(super) struct Proposed(BTreeSet<u64>);

impl Proposals {
    pub(crate) fn new(is_up: Arc<AtomicBool>) -> Self {
        Self { state: Mutex::default(), latest: watch::Sender::new(0), is_up }
    }

    /// Adds a template; the oldest give way. One that is there already is judged anew.
    pub(crate) fn push(&self, work: Arc<Work>) {
        let mut state = self.state();
        let template_id = work.template_id();
        state.entries.retain(|entry| entry.template_id != template_id);
        if state.entries.len() == PROPOSALS_WAITING {
            state.entries.pop_front();
        }
        let number = *self.latest.borrow() + 1;
        state.entries.push_back(Entry { number, template_id, stage: Stage::Undecided(work) });
        drop(state);
        self.latest.send_replace(number);
    }

    /// The newest template without a verdict that is not among `proposed`, which gets it: a newer
    /// tip does not wait for an older one.
    pub(super) async fn next(&self, proposed: &mut Proposed) -> Arc<Work> {
        let mut latest = self.latest.subscribe();
        loop {
            latest.mark_unchanged();
            if let Some(work) = self.undecided(proposed) {
                return work;
            }
            // It cannot fail: the sender is our own.
            drop(latest.changed().await);
        }
    }

    fn undecided(&self, proposed: &mut Proposed) -> Option<Arc<Work>> {
        let state = self.state();
        let oldest = state.entries.front()?.number;
        proposed.0 = proposed.0.split_off(&oldest);
        state.entries.iter().rev().find_map(|entry| match &entry.stage {
            Stage::Undecided(work) if proposed.0.insert(entry.number) => Some(Arc::clone(work)),
            _ => None,
        })
    }

    /// The work of a template that has no verdict yet.
    pub(super) fn work(&self, template_id: TemplateId) -> Option<Arc<Work>> {
        self.state().entries.iter().find_map(|entry| match &entry.stage {
            Stage::Undecided(work) if entry.template_id == template_id => Some(Arc::clone(work)),
            _ => None,
        })
    }

    /// Takes note of a verdict. One for a template that is no longer here counts as the first.
    pub(super) fn heard(&self, template_id: TemplateId, accepted: bool) -> Heard {
        let mut state = self.state();
        let entry = state.entries.iter_mut().find(|entry| entry.template_id == template_id);
        let Some(entry) = entry else { return Heard::First };
        match entry.stage {
            Stage::Decided(before) if before == accepted => Heard::Again,
            Stage::Decided(_) => Heard::Contradiction,
            Stage::Undecided(_) => {
                entry.stage = Stage::Decided(accepted);
                Heard::First
            }
        }
    }

    /// A link came up.
    pub(super) fn link_up(&self) {
        let mut state = self.state();
        state.links_up += 1;
        self.is_up.store(true, Ordering::Relaxed);
    }

    /// A link went down.
    pub(super) fn link_down(&self) {
        let mut state = self.state();
        state.links_up -= 1;
        self.is_up.store(state.links_up > 0, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
