//! The bugs by name.

/// Names each bug once and makes the enum, its names and the list of all.
macro_rules! mutants {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// A seeded bug. The doc comment of each is what the board shows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutant {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Mutant {
            /// Every bug, in the order in which the board shows them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name on the board and on the command line.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What is wrong, in a sentence.
            pub const fn doc(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc,)+).trim_ascii(),)+
                }
            }
        }
    };
}

mutants! {
    /// No valid share is answered: a bench that misses this is asleep.
    Canary = "canary",
    /// A share is acknowledged before the log has it.
    AckBeforeLog = "ack-before-log",
    /// An acknowledgement names the share after the last one that is safe.
    AckOfNextShare = "ack-of-next-share",
    /// A found block is not in the log, and a crash loses it while no node answers.
    BlockNotLogged = "block-not-logged",
    /// A found block is counted as a share and never submitted.
    BlockNotNoticed = "block-not-noticed",
    /// A found block is given up when no node answers at once.
    BlockNotRetried = "block-not-retried",
    /// A coinbase pays every payee the same, whatever its parts.
    CoinbaseInEqualParts = "coinbase-in-equal-parts",
    /// A batch is posted again at once and once more when its retry is due.
    DoubleForward = "double-forward",
    /// The full queue gives up its oldest share in inline mode too.
    DropOldInInline = "drop-old-in-inline",
    /// A share that the full queue drops gets no result.
    EvictedWithoutResult = "evicted-without-result",
    /// A share is forwarded with the least time of its job.
    ForwardedWithJobTime = "forwarded-with-job-time",
    /// The length of a frame is read from two of its three bytes.
    FrameLengthOfTwoBytes = "frame-length-of-two-bytes",
    /// The clock of the stale hold goes on although the miners were switched.
    HoldNotCancelled = "hold-not-cancelled",
    /// Stale work is held for an hour.
    HoldOfAnHour = "hold-of-an-hour",
    /// Each newer tip gives stale work another full hold.
    HoldRestarts = "hold-restarts",
    /// Stale work is held twice as long as configured.
    HoldTwiceAsLong = "hold-twice-as-long",
    /// A job on the same tip gets the number of the one before.
    JobIdReused = "job-id-reused",
    /// SetNewPrevHash starts the job before the one that was announced.
    JobBeforeStarted = "job-before-started",
    /// Each connection leaves a task behind.
    LeakedTask = "leaked-task",
    /// A share above its target is accepted.
    LowDifficultyAccepted = "low-difficulty-accepted",
    /// The Noise counter stops after 64 blocks.
    NonceReused = "nonce-reused",
    /// A time before the job's minimum is accepted.
    NtimeUnchecked = "ntime-unchecked",
    /// A verdict cuts the miners off, in observe mode too.
    ObserveGates = "observe-gates",
    /// The new tip goes out with its bytes the wrong way round.
    PrevHashReversed = "prev-hash-reversed",
    /// The forward queue takes whatever comes.
    QueueUnbounded = "queue-unbounded",
    /// A pool's refusal is logged without its reason code.
    RejectionUnexplained = "rejection-unexplained",
    /// A share that was accepted is accepted again.
    ReplayAccepted = "replay-accepted",
    /// The replay window remembers one share.
    ReplayWindowOfOne = "replay-window-of-one",
    /// After a restart shares without a result are not sent again.
    RestartForgets = "restart-forgets",
    /// After a restart shares that had their result are sent again.
    RestartResends = "restart-resends",
    /// A post that ends in a transport error takes its shares' results with it.
    ResultLost = "result-lost",
    /// The pool's secret is in the log.
    SecretLogged = "secret-logged",
    /// In shadow mode the miner port is open.
    ShadowOpensPort = "shadow-opens-port",
    /// A connection may send one share a second.
    ShareRateOfOne = "share-rate-of-one",
    /// A post is signed for another millisecond than its header says.
    SignatureOfOtherTime = "signature-of-other-time",
    /// A share for the tip before is accepted.
    StaleAccepted = "stale-accepted",
    /// A share is stale as soon as a newer tip awaits its verdict.
    StaleBeforeSwitch = "stale-before-switch",
    /// A late verdict counts for whatever is newest.
    StaleVerdictForNewTip = "stale-verdict-for-new-tip",
    /// The log is written and not synced.
    SyncSkipped = "sync-skipped",
    /// Each accepted share leaves a task behind.
    TaskPerShare = "task-per-share",
    /// A template is forgotten for the next one.
    TemplateCacheOfOne = "template-cache-of-one",
    /// A torn record stays in the log and the next ones are written behind it.
    TornEndKept = "torn-end-kept",
    /// Every valid share is refused as stale.
    ValidShareRefusedAsStale = "valid-share-refused-as-stale",
    /// Verdicts are matched to proposals by order instead of by id.
    VerdictByOrder = "verdict-by-order",
    /// What the verifier rejects is published all the same.
    VerdictIgnored = "verdict-ignored",
    /// The verdict window is read in the wrong unit: 50 ms become 500.
    VerdictWindowTenfold = "verdict-window-tenfold",
    /// Version bits outside the mask are accepted.
    VersionMaskIgnored = "version-mask-ignored",
    /// Every refusal says that the job is unknown.
    WrongErrorCode = "wrong-error-code",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_enough_and_each_is_named_and_described_once() {
        let names: std::collections::BTreeSet<_> =
            Mutant::ALL.iter().map(|mutant| mutant.as_str()).collect();
        assert_eq!(names.len(), Mutant::ALL.len());
        assert!(Mutant::ALL.len() > 25, "the canary and at least 25 more");
        assert!(Mutant::ALL.iter().all(|mutant| mutant.doc().ends_with('.')));
    }
}
