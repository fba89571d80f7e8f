//! What goes into the switch and what comes out.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::BlockHash;

use crate::event::Event;
use crate::ids::TemplateId;
use crate::job::Work;
use crate::mode::Mode;
use crate::moment::Moment;
use crate::reason::ReasonCode;

/// How the switch behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether verdicts gate jobs.
    pub mode: Mode,
    /// How long a new tip may wait for its verdict before the old one counts as held
    /// (`timing.prevhash_verdict_timeout_ms`).
    pub verdict_window: Duration,
    /// How long in all miners stay on a tip that is no longer the newest
    /// (`timing.prevhash_stale_hold_ms`).
    pub stale_hold: Duration,
    /// Templates that may wait for a verdict at once (`timing.max_future_templates`), at least one.
    pub max_pending: usize,
    /// Age beyond which a template that the source did not renew is no longer given out
    /// (`timing.max_template_age_ms`).
    pub max_template_age: Duration,
    /// Least time between two publications on the same tip (`timing.job_broadcast_interval_ms`).
    pub broadcast_interval: Duration,
    /// Silence after which the template source counts as unreachable
    /// (`timing.upstream_stale_max_ms`).
    pub upstream_stale_max: Duration,
    /// What happens to miners then (`gateway.upstream_failure_policy`).
    pub upstream_failure: UpstreamFailurePolicy,
}

/// What an unreachable template source means for miners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamFailurePolicy {
    /// They are closed with `upstream_unavailable` and new ones wait for work.
    FailClosed,
    /// They go on with the work they have.
    FailOpen,
}

/// What the switch is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input {
    /// The source has a new template.
    Template(Arc<Work>),
    /// The source was reached and has nothing newer than what it gave last.
    SourceAlive {
        /// How long ago the node behind it said so; a source that lives before a dead node vouches
        /// for nothing.
        confirmed_ago: Duration,
    },
    /// The verifier judged a proposal.
    Verdict {
        /// The template that was proposed.
        template_id: TemplateId,
        /// The judgement.
        verdict: Verdict,
    },
    /// The settings changed; their mode is not looked at, see [`Input::Mode`].
    Settings(Settings),
    /// The operator chose this mode.
    Mode(Mode),
    /// A deadline has come.
    Tick,
}

/// What the switch wants done.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Output {
    /// Send the template to the verifier.
    Propose(Arc<Work>),
    /// Hand the work to every session, and to new ones until the next.
    Publish(Arc<Publication>),
    /// Close sessions, and give new ones no work until the next publication.
    Disconnect(Disconnect),
    /// The template source became reachable (true) or unreachable (false).
    Upstream(bool),
    /// A verdict changed nothing; count it.
    Ignored(IgnoredVerdict),
    /// Record this.
    Event(Box<Event>),
}

/// Work for miners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// What to mine.
    pub work: Arc<Work>,
    /// Whether the tip is new or the same as before.
    pub kind: PublicationKind,
    /// When the tip's first template reached the gateway.
    pub tip_seen: Moment,
    /// When it was published.
    pub published: Moment,
}

/// Whether miners must drop what they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicationKind {
    /// A new tip: earlier jobs are stale.
    NewTip,
    /// Better work on the same tip: earlier jobs stay good.
    Refresh,
}

/// Which sessions to close, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Only sessions on this tip; all of them if absent.
    pub tip: Option<BlockHash>,
    /// What to record.
    pub reason: ReasonCode,
}

/// A verdict as the verifier gave it. Codes are the verifier's own names; `ok` accepts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the template may be mined.
    pub accepted: bool,
    /// `ok`, or why not.
    pub reason_code: String,
    /// The figures behind it.
    pub reason_detail: Option<String>,
    /// Tier that the policy was in.
    pub fee_tier: Option<&'static str>,
    /// Lowest average fee that the tier asks for.
    pub min_avg_fee_used: Option<u64>,
    /// Advisories.
    pub warnings: Vec<String>,
    /// Name and outcome of each check, in the verifier's order.
    pub checks: Vec<(String, String)>,
    /// The policy that judged.
    pub policy_hash: Option<String>,
    /// How long the verifier took, microseconds.
    pub judged_in_us: Option<u64>,
}

impl Verdict {
    /// The gateway's own judgement on a template that was not renewed in time.
    pub(super) fn template_stale(age: Duration, most: Duration) -> Self {
        Self {
            reason_code: "template_stale".to_owned(),
            reason_detail: Some(format!(
                "age_ms={} > max_template_age_ms={}",
                age.as_millis(),
                most.as_millis()
            )),
            ..Self::default()
        }
    }
}

/// A verdict that changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IgnoredVerdict {
    /// The template it names.
    pub template_id: TemplateId,
    /// Why.
    pub cause: IgnoredCause,
}

/// Why a verdict changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IgnoredCause {
    /// No such proposal is open.
    UnknownProposal,
    /// A newer tip took the template's place.
    OlderTip,
    /// Newer work on the same tip took the template's place.
    OlderTemplate,
}

impl IgnoredCause {
    /// The name used in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownProposal => "unknown_proposal",
            Self::OlderTip => "older_tip",
            Self::OlderTemplate => "older_template",
        }
    }
}
