//! What all connections of a gateway have in common.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bitcoin::BlockHash;

use crate::channel::{ExtranonceAllocator, ExtranonceIndex, ExtranonceSpace};
use crate::ids::{InstanceId, ShareId, TemplateId, WorkerId};
use crate::job::{Declared, Work};
use crate::limits::{EXTRANONCE_BYTES, MAX_PROPOSALS_SHOWN};
use crate::moment::Moment;
use crate::prevhash::Verdict;
use crate::roster::{ChannelKey, ChannelReport, Roster, WorkerReport};
use crate::share::ReplayWindow;

/// State that every session and the switch of one gateway share: held in an [`Arc`], each part
/// locked only for one look-up.
#[derive(Debug)]
pub struct SharedState {
    instance: InstanceId,
    replay: Mutex<ReplayWindow>,
    extranonces: Mutex<ExtranonceAllocator>,
    templates: Mutex<TemplateCache>,
    roster: Mutex<Roster>,
    submissions: AtomicU64,
    work_is_withheld: AtomicBool,
}

/// Sizes of the shared parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedBounds {
    /// Shares in the replay window (`share.share_dedup_window_size`).
    pub replay_window: usize,
    /// Templates whose jobs can still earn shares (`timing.template_cache_size`).
    pub templates: usize,
    /// Channels of all connections together.
    pub channels: usize,
    /// Workers of all channels together.
    pub workers: usize,
}

impl SharedState {
    /// The state of a gateway that starts at `started`; `seed` is a random number that keeps its
    /// extranonces apart from those of its previous life.
    pub fn new(instance: InstanceId, bounds: SharedBounds, started: Moment, seed: u32) -> Self {
        Self {
            replay: Mutex::new(ReplayWindow::new(bounds.replay_window)),
            extranonces: Mutex::new(ExtranonceAllocator::new(seed, bounds.channels)),
            templates: Mutex::new(TemplateCache { size: bounds.templates, ..Default::default() }),
            roster: Mutex::new(Roster::new(bounds.workers)),
            submissions: AtomicU64::new(started.unix_ms << 20),
            work_is_withheld: AtomicBool::new(false),
            instance,
        }
    }

    /// This gateway.
    pub fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// Shares in the replay window now.
    pub fn replay_window_len(&self) -> usize {
        lock(&self.replay).len()
    }

    /// Channels open now.
    pub fn channels(&self) -> usize {
        lock(&self.roster).len()
    }

    /// Workers that have an open channel now.
    pub fn workers(&self) -> usize {
        lock(&self.roster).workers_len()
    }

    /// Templates held now.
    pub fn templates(&self) -> usize {
        lock(&self.templates).held.len()
    }

    /// The templates held now, and those proposed lately of which no job is made, oldest first.
    pub fn template_reports(&self) -> Vec<TemplateReport> {
        let templates = lock(&self.templates);
        let mut reports = templates.proposed.clone();
        for (id, held) in &templates.held {
            let served = TemplateReport::of(&held.work, TemplateState::Served);
            reports.insert(*id, TemplateReport { verdict: held.verdict.clone(), ..served });
        }
        reports.into_values().collect()
    }

    /// Up to `limit` open channels of all connections with their hash rates as of `now` (on the
    /// clock of [`Moment::mono`]), in order, from the one behind `after`.
    pub fn channel_reports(
        &self,
        after: Option<ChannelKey>,
        limit: usize,
        now: Duration,
    ) -> Vec<ChannelReport> {
        lock(&self.roster).channels(after, limit, now)
    }

    /// Up to `limit` workers with open channels and their hash rates as of `now`, in the order of
    /// their names, from the one behind `after`.
    pub fn worker_reports(
        &self,
        after: Option<&WorkerId>,
        limit: usize,
        now: Duration,
    ) -> Vec<WorkerReport> {
        lock(&self.roster).workers(after, limit, now)
    }

    pub(crate) fn roster(&self) -> &Mutex<Roster> {
        &self.roster
    }

    /// Remembers an accepted share; false if it was accepted before.
    pub(crate) fn remember_share(&self, share_id: ShareId) -> bool {
        lock(&self.replay).insert(share_id)
    }

    /// Fills the replay window with shares of an earlier life, oldest first.
    pub fn restore_replay_window(&self, shares: impl IntoIterator<Item = ShareId>) {
        let mut replay = lock(&self.replay);
        for share_id in shares {
            replay.insert(share_id);
        }
    }

    /// The number of this submission, unique in the process and above those of earlier ones.
    pub(crate) fn next_submission(&self) -> u64 {
        self.submissions.fetch_add(1, Ordering::Relaxed)
    }

    /// The template with this id, while it is held.
    pub(crate) fn template(&self, id: TemplateId) -> Option<HeldTemplate> {
        lock(&self.templates).held.get(&id).cloned()
    }

    /// Holds a template that miners are about to work on.
    pub(crate) fn hold_template(&self, work: Arc<Work>, verdict: Option<Arc<Verdict>>) {
        lock(&self.templates).hold(work, verdict);
    }

    /// Shows a template that the verifier is to judge.
    pub(crate) fn note_proposal(&self, work: &Work) {
        let mut templates = lock(&self.templates);
        let report = TemplateReport::of(work, TemplateState::Pending);
        templates.proposed.insert(work.template_id(), report);
        while templates.proposed.len() > MAX_PROPOSALS_SHOWN {
            templates.proposed.pop_first();
        }
    }

    /// Notes the verdict on a template, if it is held or shown.
    pub(crate) fn note_verdict(&self, id: TemplateId, verdict: &Arc<Verdict>) {
        let mut templates = lock(&self.templates);
        if let Some(held) = templates.held.get_mut(&id) {
            held.verdict = Some(Arc::clone(verdict));
        }
        if let Some(shown) = templates.proposed.get_mut(&id) {
            shown.verdict = Some(Arc::clone(verdict));
            shown.state = match verdict.accepted {
                true => TemplateState::Accepted,
                false => TemplateState::Rejected,
            };
        }
    }

    /// Whether the work that miners have is on a tip that is no longer the newest, and so must not
    /// be sent again.
    pub(crate) fn work_is_withheld(&self) -> bool {
        self.work_is_withheld.load(Ordering::Relaxed)
    }

    pub(crate) fn withhold_work(&self, is_withheld: bool) {
        self.work_is_withheld.store(is_withheld, Ordering::Relaxed);
    }

    pub(crate) fn lease_extranonce(
        self: &Arc<Self>,
        space: ExtranonceSpace,
    ) -> Option<Arc<ExtranonceLease>> {
        let index = lock(&self.extranonces).allocate()?;
        let bytes = index.full_extranonce(space);
        Some(Arc::new(ExtranonceLease { index, space, bytes, owner: Arc::clone(self) }))
    }
}

/// A template that miners may be working on, and what the verifier said of it.
#[derive(Clone, Debug)]
pub(crate) struct HeldTemplate {
    pub(crate) work: Arc<Work>,
    pub(crate) verdict: Option<Arc<Verdict>>,
}

/// A template as it is shown to people.
#[derive(Clone, Debug)]
pub struct TemplateReport {
    /// Its id.
    pub template_id: TemplateId,
    /// The node that it comes from.
    pub source: String,
    /// Height of the block that it makes.
    pub height: u32,
    /// The block that it builds on.
    pub prev_hash: BlockHash,
    /// When the source received it, Unix milliseconds.
    pub observed_at_ms: u64,
    /// What a proposal states of it.
    pub declared: Declared,
    /// What becomes of it.
    pub state: TemplateState,
    /// The verdict that decided, once there is one.
    pub verdict: Option<Arc<Verdict>>,
}

impl TemplateReport {
    fn of(work: &Work, state: TemplateState) -> Self {
        let template = work.template();
        Self {
            template_id: template.template_id,
            source: template.source.clone(),
            height: template.height,
            prev_hash: template.prev_hash,
            observed_at_ms: template.observed_at_ms,
            declared: work.declared(),
            state,
            verdict: None,
        }
    }
}

/// What becomes of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateState {
    /// Miners got jobs of it, which can still earn shares.
    Served,
    /// It has no verdict yet, and miners have no job of it.
    Pending,
    /// It passed, and no job was made of it: the mode serves no miners, or newer work took its place.
    Accepted,
    /// It did not pass.
    Rejected,
}

impl TemplateState {
    /// The name in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
        }
    }
}

#[derive(Debug, Default)]
struct TemplateCache {
    held: BTreeMap<TemplateId, HeldTemplate>,
    /// The latest that were proposed, held or not.
    proposed: BTreeMap<TemplateId, TemplateReport>,
    size: usize,
}

impl TemplateCache {
    fn hold(&mut self, work: Arc<Work>, verdict: Option<Arc<Verdict>>) {
        self.held.insert(work.template_id(), HeldTemplate { work, verdict });
        while self.held.len() > mutant::pick!(TemplateCacheOfOne, 1, self.size.max(1)) {
            self.held.pop_first();
        }
    }
}

/// A channel's extranonce; given back when neither the channel nor any of its jobs needs it.
#[derive(Debug)]
pub(crate) struct ExtranonceLease {
    index: ExtranonceIndex,
    space: ExtranonceSpace,
    bytes: [u8; EXTRANONCE_BYTES],
    owner: Arc<SharedState>,
}

impl ExtranonceLease {
    pub(crate) fn bytes(&self) -> &[u8; EXTRANONCE_BYTES] {
        &self.bytes
    }

    pub(crate) fn space(&self) -> ExtranonceSpace {
        self.space
    }

    /// The extranonce of a share that rolled these last bytes.
    pub(crate) fn with_rolled(&self, rolled: &[u8]) -> [u8; EXTRANONCE_BYTES] {
        let mut full = self.bytes;
        full[EXTRANONCE_BYTES - rolled.len()..].copy_from_slice(rolled);
        full
    }
}

impl Drop for ExtranonceLease {
    fn drop(&mut self) {
        lock(&self.owner.extranonces).free(self.index);
    }
}

/// Every critical section leaves its data whole, so a panic elsewhere does not spoil them.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
