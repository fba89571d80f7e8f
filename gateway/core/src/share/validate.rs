//! One submission against the job it names.

use crate::channel::jobs::{Job, Lookup};
use crate::ids::ShareId;
use crate::job::Header;
use crate::limits::{EXTRANONCE_BYTES, MINER_CLOCK_AHEAD};
use crate::mode::ValidationLevel;
use crate::moment::Moment;
use crate::reason::WireError;
use crate::session::{NtimeWindow, Settings};
use crate::shared::{HeldTemplate, SharedState};

/// What the miner put into the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Submission {
    pub(crate) version: u32,
    pub(crate) ntime: u32,
    pub(crate) nonce: u32,
}

/// A submission whose header could be rebuilt.
#[derive(Debug)]
pub(crate) struct Examined<'a> {
    pub(crate) job: &'a Job,
    pub(crate) extranonce: [u8; EXTRANONCE_BYTES],
    pub(crate) header: [u8; 80],
    pub(crate) hash: [u8; 32],
    pub(crate) share_id: ShareId,
    /// It meets the network target as a solution of the job that was sent, and was not seen before:
    /// to be submitted even where the share earns nothing, such as late on the tip before.
    pub(crate) is_new_block: bool,
    pub(crate) held: Option<HeldTemplate>,
}

/// The answer to a submission, and all that is known about it.
#[derive(Debug)]
pub(crate) struct Judged<'a> {
    pub(crate) examined: Option<Examined<'a>>,
    pub(crate) answer: Result<(), WireError>,
}

/// Judges a submission that rolled as many bytes of the extranonce as its channel grants. The
/// checks come in the order of what they cost and of how much they say: a stale share is stale
/// first of all, a replay is found last.
pub(crate) fn judge<'a>(
    lookup: Lookup<'a>,
    rolled: &[u8],
    submission: Submission,
    settings: &Settings,
    shared: &SharedState,
    now: Moment,
) -> Judged<'a> {
    let (job, is_stale) = match lookup {
        Lookup::Unknown => return refused(WireError::ShareJobId),
        Lookup::Forgotten => return refused(WireError::ShareTemplate),
        Lookup::Stale(None) => return refused(WireError::ShareStale),
        Lookup::Stale(Some(job)) => (job, true),
        Lookup::Current(job) => {
            let is_early = mutant::pick!(StaleBeforeSwitch, shared.work_is_withheld(), false);
            (job, mutant::pick!(ValidShareRefusedAsStale, true, is_early))
        }
    };
    let mut examined = examine(job, rolled, submission, shared);
    // A header of another version or time than the job allows is no solution of it: nobody has
    // judged such a block, and the network might not take it.
    let solves_job = check_version(job, submission, settings)
        .and_then(|()| check_ntime(job, submission, settings, now));
    let checks = || {
        if mutant::pick!(StaleAccepted, false, is_stale) {
            return Err(WireError::ShareStale);
        }
        check_template(&examined, settings.validation)?;
        solves_job?;
        if mutant::pick!(LowDifficultyAccepted, false, !job.worth.target.is_met_by(examined.hash)) {
            return Err(WireError::ShareDifficulty);
        }
        Ok(())
    };
    let answer = checks();
    let is_block = solves_job.is_ok() && job.work.network_target().is_met_by(examined.hash);
    let is_new = (answer.is_ok() || is_block) && shared.remember_share(examined.share_id);
    examined.is_new_block = mutant::pick!(BlockNotNoticed, false, is_block && is_new);
    let detects_replays =
        mutant::pick!(ReplayAccepted, false, settings.validation >= ValidationLevel::Full);
    let answer = match answer {
        Ok(()) if !is_new && detects_replays => Err(WireError::ShareDuplicate),
        answer => answer,
    };
    Judged { examined: Some(examined), answer }
}

fn refused<'a>(error: WireError) -> Judged<'a> {
    Judged { examined: None, answer: Err(error) }
}

fn examine<'a>(
    job: &'a Job,
    rolled: &[u8],
    submission: Submission,
    shared: &SharedState,
) -> Examined<'a> {
    let template = job.work.template();
    let extranonce = job.extranonce.with_rolled(rolled);
    let header = Header {
        version: submission.version,
        prev_hash: template.prev_hash,
        merkle_root: job.merkle_root.unwrap_or_else(|| job.work.merkle_root(&extranonce)),
        ntime: submission.ntime,
        nbits: template.bits.to_consensus(),
        nonce: submission.nonce,
    }
    .serialize();
    let share_id = ShareId::of_header(&header);
    Examined {
        job,
        extranonce,
        hash: share_id.header_hash(),
        share_id,
        header,
        is_new_block: false,
        held: shared.template(template.template_id),
    }
}

/// The template must still be held; for `enhanced` with its accepting verdict, and the coinbase the
/// miner was given must be the one that the template yields.
fn check_template(examined: &Examined<'_>, level: ValidationLevel) -> Result<(), WireError> {
    let held = examined.held.as_ref().ok_or(WireError::ShareTemplate)?;
    if level < ValidationLevel::Enhanced {
        return Ok(());
    }
    let passed = held.verdict.as_ref().is_some_and(|verdict| verdict.accepted);
    let is_same = held.work.merkle_root(&examined.extranonce) == examined.header[36..68];
    if passed && is_same { Ok(()) } else { Err(WireError::ShareTemplate) }
}

/// BIP323: only the bits of the mask may differ from the job's version.
fn check_version(job: &Job, submission: Submission, settings: &Settings) -> Result<(), WireError> {
    let mask = mutant::pick!(VersionMaskIgnored, u32::MAX, settings.version_rolling_mask);
    let rolled = submission.version ^ job.work.template().version;
    match (rolled & !mask, mask) {
        (0, _) => Ok(()),
        (_, 0) => Err(WireError::ShareVersionFixed),
        _ => Err(WireError::ShareVersionBit),
    }
}

/// SV2 §5.3.11: not before the job's minimum, not further ahead than the window allows.
fn check_ntime(
    job: &Job,
    submission: Submission,
    settings: &Settings,
    now: Moment,
) -> Result<(), WireError> {
    let passed = now.mono.saturating_sub(job.sent).as_secs();
    let on_job = u64::from(job.min_ntime).saturating_add(passed);
    let latest = match settings.ntime_window {
        NtimeWindow::Strict => on_job,
        NtimeWindow::DeFacto(ahead) => {
            let clock = (now.unix_ms / 1000).saturating_add(MINER_CLOCK_AHEAD.as_secs());
            on_job.max(clock).saturating_add(ahead.as_secs())
        }
    };
    let earliest = mutant::pick!(NtimeUnchecked, 0, u64::from(job.min_ntime));
    if (earliest..=latest).contains(&u64::from(submission.ntime)) {
        Ok(())
    } else {
        Err(WireError::ShareNtime)
    }
}
