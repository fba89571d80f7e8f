//! Templates on their way to their verdicts, shared by the links to all verifiers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gateway_core::ids::TemplateId;
use gateway_core::job::Work;
use gateway_core::prevhash::Verdict;
use tokio::sync::watch;

use crate::limits::PROPOSALS_WAITING;

/// Every link proposes what has no verdict yet, once a connection: so what was under judgement when
/// a link broke is proposed again, and of several verifiers the first to judge decides. One that
/// says that it cannot judge decides only where no other linked verifier still owes its verdict: a
/// broken verifier is quicker than one that works.
pub(crate) struct Proposals {
    state: Mutex<State>,
    /// Changes with each new template.
    latest: watch::Sender<u64>,
    /// Whether any verifier is linked and has answered; shown to whoever asks how things stand.
    is_up: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    /// By ascending number, the newest last.
    entries: VecDeque<Entry>,
    /// The links that are up, each with whether its verifier has answered anything.
    links: BTreeMap<LinkId, bool>,
    links_made: u64,
}

/// One connection to a verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkId(u64);

struct Entry {
    number: u64,
    template_id: TemplateId,
    stage: Stage,
}

enum Stage {
    Undecided {
        work: Arc<Work>,
        /// What the verifiers said that cannot judge it; none of them accepts.
        unable: BTreeMap<LinkId, Verdict>,
    },
    /// The verdict that decided, and whether it accepts.
    Decided(bool),
}

/// Who gave a verdict, and of what worth it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Voice {
    pub(super) link: LinkId,
    /// Whether it judged the template, or only said that it cannot.
    pub(super) judged: bool,
}

/// What a verdict is beside those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The one that decides.
    First(Verdict),
    /// It is put aside: the verifier cannot judge, and another did or may.
    Aside,
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
        let stage = Stage::Undecided { work, unable: BTreeMap::new() };
        state.entries.push_back(Entry { number, template_id, stage });
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
            Stage::Undecided { work, .. } if proposed.0.insert(entry.number) => {
                Some(Arc::clone(work))
            }
            _ => None,
        })
    }

    /// The work of a template that has no verdict yet.
    pub(super) fn work(&self, template_id: TemplateId) -> Option<Arc<Work>> {
        self.state().entries.iter().find_map(|entry| match &entry.stage {
            Stage::Undecided { work, .. } if entry.template_id == template_id => {
                Some(Arc::clone(work))
            }
            _ => None,
        })
    }

    /// Takes note of a verdict. One for a template that is no longer here counts as the first.
    pub(super) fn heard(&self, template_id: TemplateId, verdict: Verdict, voice: Voice) -> Heard {
        let mut state = self.state();
        let State { entries, links, .. } = &mut *state;
        let entry = entries.iter_mut().find(|entry| entry.template_id == template_id);
        let Some(entry) = entry else { return Heard::First(verdict) };
        match &mut entry.stage {
            Stage::Decided(before) if *before == verdict.accepted => Heard::Again,
            Stage::Decided(_) if !voice.judged => Heard::Aside,
            Stage::Decided(_) => Heard::Contradiction,
            Stage::Undecided { unable, .. } => {
                if !voice.judged {
                    unable.insert(voice.link, verdict.clone());
                    if !all_are_unable(links, unable) {
                        return Heard::Aside;
                    }
                }
                entry.stage = Stage::Decided(verdict.accepted);
                Heard::First(verdict)
            }
        }
    }

    /// A link came up. What it is connected to need not be a verifier that lives.
    pub(super) fn link_up(&self) -> LinkId {
        let mut state = self.state();
        state.links_made += 1;
        let link = LinkId(state.links_made);
        state.links.insert(link, false);
        link
    }

    /// The verifier answered a heartbeat or a proposal.
    pub(super) fn answered(&self, link: LinkId) {
        self.state().links.insert(link, true);
        self.is_up.store(true, Ordering::Relaxed);
    }

    /// A link went down, and what it said goes with it: it is asked again once it is back.
    pub(super) fn link_down(&self, link: LinkId) {
        let mut state = self.state();
        state.links.remove(&link);
        for entry in &mut state.entries {
            if let Stage::Undecided { unable, .. } = &mut entry.stage {
                unable.remove(&link);
            }
        }
        self.is_up.store(state.links.values().any(|answered| *answered), Ordering::Relaxed);
    }

    /// What the verifiers that are left decide by being unable to judge, the oldest first.
    pub(super) fn given_up(&self) -> Vec<(TemplateId, Verdict)> {
        let mut state = self.state();
        let State { entries, links, .. } = &mut *state;
        let decide = |entry: &mut Entry| {
            let Stage::Undecided { unable, .. } = &mut entry.stage else { return None };
            if !all_are_unable(links, unable) {
                return None;
            }
            let (_, verdict) = unable.pop_first()?;
            entry.stage = Stage::Decided(verdict.accepted);
            Some((entry.template_id, verdict))
        };
        entries.iter_mut().filter_map(decide).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether no linked verifier is left that may judge.
fn all_are_unable(links: &BTreeMap<LinkId, bool>, unable: &BTreeMap<LinkId, Verdict>) -> bool {
    links.keys().all(|link| unable.contains_key(link))
}
