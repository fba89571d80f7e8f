//! The ways in which the tests' miner can be broken.

/// One thing that a miner does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breakage {
    // Security.
    BytesAfterAct1,
    TrustsAnyone,
    ClockBehind,
    ClockAhead,
    KeepsUnauthentic,
    // Setup.
    OpensFirst,
    DoesNotWait,
    WrongProtocol,
    OldVersion,
    NoVendor,
    OddFlags,
    ChannelBit,
    TrailingByte,
    AsksOnRefusal,
    JudgesCodes,
    GivesUp,
    UnknownExtensionFatal,
    ReconnectUnheard,
    PlainSecondTime,
    LateExtensions,
    /// Not wrong: it sends nothing that it need not.
    SaysLittle,
    // Channels and jobs.
    NeverOpens,
    RequestIdReused,
    NegativeRate,
    MinesRefused,
    UpdatesUnknown,
    UpdatesOften,
    CloseUnheard,
    WorksOnFuture,
    JobNowUnheard,
    TipUnheard,
    GroupUnheard,
    PrefixUnheard,
    TargetUnheard,
    // Shares.
    NeverWorks,
    UnknownJob,
    AnyDifficulty,
    FutureTime,
    WildVersion,
    RollsFixed,
    ShortExtranonce,
    Replays,
    StopsOnRefusal,
    StopsUnanswered,
}
