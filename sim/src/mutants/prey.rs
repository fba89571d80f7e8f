//! What each bug must be caught by.

use super::Mutant;

/// How a bug is caught.
#[derive(Clone, Copy, Debug)]
pub struct Prey {
    /// The property that must be violated: one that is always judged, or an expectation of the
    /// scenarios, by its name.
    pub property: &'static str,
    /// The scenarios or families whose seeds are played, taking turns: those in which what is
    /// wrong happens at all.
    pub scenarios: &'static [&'static str],
}

/// What must catch a bug, and where.
pub const fn prey(mutant: Mutant) -> Prey {
    let (property, scenarios): (_, &'static [&'static str]) = match mutant {
        Mutant::Canary => ("conservation", &["all"]),
        Mutant::AckBeforeLog => ("share_join", &["crash", "forward", "smoke"]),
        Mutant::AckOfNextShare => ("conservation", &["all"]),
        Mutant::BlockNotNoticed => ("block_not_lost", &["smoke"]),
        Mutant::BlockNotLogged => ("block_not_lost", &["crash-before-the-node-has-the-block"]),
        Mutant::BlockNotRetried => ("block_not_lost", &["crash-before-the-node-has-the-block"]),
        Mutant::CoinbaseInEqualParts => ("payout_respected", &["smoke", "shares"]),
        Mutant::DoubleForward => ("share_join", &["forward", "smoke"]),
        Mutant::DropOldInInline => ("drop_policy", &["forward-queue-full-drop-new"]),
        Mutant::EvictedWithoutResult => {
            ("share_join", &["forward-queue-full-drop-new", "forward-queue-full-drop-old"])
        }
        Mutant::ForwardedWithJobTime => ("no_double_credit", &["smoke", "shares"]),
        Mutant::FrameLengthOfTwoBytes => ("closed:frame_too_large", &["limits-frame-bomb"]),
        Mutant::HoldNotCancelled => ("prevhash_switch", &["prevhash", "reorg"]),
        Mutant::HoldOfAnHour => {
            ("stale_work", &["prevhash-verifier-silent", "prevhash-verifier-dark"])
        }
        Mutant::HoldRestarts => ("prevhash_switch", &["prevhash", "reorg"]),
        Mutant::HoldTwiceAsLong => ("prevhash_switch", &["prevhash"]),
        Mutant::JobBeforeStarted => ("one_active_prevhash", &["smoke", "prevhash", "reorg"]),
        Mutant::JobIdReused => ("every_reject_has_reason", &["all"]),
        Mutant::LeakedTask => ("tasks_and_sockets_return", &["smoke"]),
        Mutant::LowDifficultyAccepted => ("every_reject_has_reason", &["shares-every-reject"]),
        Mutant::NonceReused => ("all_miners_on_tip", &["reorg", "prevhash", "smoke"]),
        Mutant::NtimeUnchecked => ("every_reject_has_reason", &["shares-every-reject"]),
        Mutant::ObserveGates => ("observe_never_gates", &["modes"]),
        Mutant::PrevHashReversed => ("all_miners_on_tip", &["reorg", "prevhash", "smoke"]),
        Mutant::QueueUnbounded => ("queue_bounds", &["forward-queue-full-drop-new"]),
        Mutant::RejectionUnexplained => ("conservation", &["forward"]),
        Mutant::ReplayAccepted => ("no_double_credit", &["shares-every-reject"]),
        Mutant::ReplayWindowOfOne => ("every_reject_has_reason", &["shares-every-reject"]),
        Mutant::RestartForgets => ("share_join", &["crash", "forward"]),
        Mutant::RestartResends => ("share_join", &["crash", "forward"]),
        Mutant::ResultLost => ("share_join", &["forward", "smoke"]),
        Mutant::SecretLogged => ("no_secret_in_output", &["smoke"]),
        Mutant::ShadowOpensPort => ("shadow_opens_no_miner_port", &["modes"]),
        Mutant::ShareRateOfOne => ("every_reject_has_reason", &["all"]),
        Mutant::SignatureOfOtherTime => ("hmac_valid", &["all"]),
        Mutant::StaleAccepted => ("every_reject_has_reason", &["shares-every-reject"]),
        Mutant::StaleBeforeSwitch => ("every_reject_has_reason", &["prevhash"]),
        Mutant::StaleVerdictForNewTip => ("no_unverified_job", &["prevhash", "reorg"]),
        Mutant::SyncSkipped => ("share_join", &["crash"]),
        Mutant::TaskPerShare => ("memory_bounded", &["all"]),
        Mutant::TemplateCacheOfOne => ("every_reject_has_reason", &["shares-of-an-old-job"]),
        Mutant::TornEndKept => ("programs_stay_up", &["crash-again-and-again"]),
        Mutant::ValidShareRefusedAsStale => ("every_reject_has_reason", &["all"]),
        Mutant::VerdictByOrder => ("no_unverified_job", &["prevhash", "reorg", "modes"]),
        Mutant::VerdictIgnored => ("no_unverified_job", &["modes"]),
        Mutant::VerdictWindowTenfold => ("prevhash_switch", &["prevhash"]),
        Mutant::VersionMaskIgnored => ("every_reject_has_reason", &["shares-every-reject"]),
        Mutant::WrongErrorCode => ("every_reject_has_reason", &["shares-every-reject"]),
    };
    Prey { property, scenarios }
}
