//! The ways in which the tests' server can be broken.

/// One thing that a server does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breakage {
    // Security.
    WrongAuthority,
    ExpiredCertificate,
    FreshCertificate,
    CertificateVersion,
    SpeaksFirst,
    BytesAfterAct2,
    ServesPlaintext,
    NoHandshakeDeadline,
    KeepsUnauthentic,
    // Setup and frames.
    SuccessUnasked,
    ServesBeforeSetup,
    AnyVersion,
    UsedVersion,
    AnyProtocol,
    FlagsOneByOne,
    FlagsAlways,
    ControlCharacters,
    TrailingBytes,
    UnknownExtensionFatal,
    ChannelBit,
    WholeReadsOnly,
    // Channels.
    RequestIdLost,
    ChannelIdReused,
    GroupIsChannel,
    PrefixReused,
    TargetAboveMax,
    ExtranonceTooSmall,
    NoExtended,
    ZeroHashRateFatal,
    UpdateUnheard,
    UpdateUnknownUnheard,
    CloseUnheard,
    GroupCloseUnheard,
    CustomJobGranted,
    // Jobs.
    FirstJobNotFuture,
    TipBeforeJob,
    TipNamesNoJob,
    JobIdReused,
    ExtendedJobForStandard,
    WitnessInCoinbase,
    LongScript,
    // Shares.
    SequenceNumberLost,
    Duplicates,
    AnyDifficulty,
    AnyNtime,
    AnyVersionBits,
    AnyExtranonceLength,
    CountersGoOn,
    FullBatchesOnly,
    // Extensions.
    GrantsAnyExtension,
    ExtensionRequestIdLost,
}
