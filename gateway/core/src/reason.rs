//! Why something was refused, closed or lost, and how the miner is told.

use std::fmt;

/// Where in the life of a connection or a share a reason belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// Below the SV2 frames: connection, Noise, version.
    Transport,
    /// Frames and internal lines that cannot be read, or too many of them.
    Framing,
    /// Who the miner is.
    Auth,
    /// Opening and updating channels.
    Channel,
    /// Templates, jobs and tips.
    Job,
    /// Single shares.
    Share,
    /// The gateway's own coming and going.
    Lifecycle,
}

impl Category {
    /// The name used in the reference and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transport => "transport",
            Self::Framing => "framing",
            Self::Auth => "auth",
            Self::Channel => "channel",
            Self::Job => "job",
            Self::Share => "share",
            Self::Lifecycle => "lifecycle",
        }
    }
}

macro_rules! reason_codes {
    ($($(#[doc = $doc:literal])+ $variant:ident, $category:ident, $name:literal;)+) => {
        /// Every reason the gateway gives, each with its reference text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ReasonCode {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl ReasonCode {
            /// Every code, in the order of the reference.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The stable name, as events, metrics and exports carry it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// Where the code belongs.
            pub const fn category(self) -> Category {
                match self {
                    $(Self::$variant => Category::$category,)+
                }
            }

            /// When the code is given, in one sentence.
            pub fn reference(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc,)+).trim_start(),)+
                }
            }
        }
    };
}

reason_codes! {
    /// A handshake act is malformed or fails authentication, or a later frame fails decryption.
    NoiseHandshakeFailed, Transport, "noise_handshake_failed";
    /// The handshake did not finish within `noise.handshake_timeout_ms`.
    NoiseHandshakeTimeout, Transport, "noise_handshake_timeout";
    /// No common version, another protocol than mining, or flags that are not served.
    UnsupportedProtocolVersion, Transport, "unsupported_protocol_version";
    /// Over the connection rate of one address or over a cap on connections.
    ConnectionRateLimited, Transport, "connection_rate_limited";
    /// A header or payload cannot be decoded, a message does not belong to the phase, or bytes
    /// trail a message that are no TLV.
    FrameDecodeError, Framing, "frame_decode_error";
    /// `msg_length` exceeds `limits.max_frame_bytes`; judged before anything is buffered.
    FrameTooLarge, Framing, "frame_too_large";
    /// More messages or bytes a second than `limits` allows, or a phase kept waiting too long.
    PeerQuotaExceeded, Framing, "peer_quota_exceeded";
    /// A line on an internal link does not parse.
    InternalFramingError, Framing, "internal_framing_error";
    /// A line on an internal link exceeds 1 MiB.
    InternalLineTooLarge, Framing, "internal_line_too_large";
    /// A message on an internal link has a `version` that is not spoken here.
    InternalVersionMismatch, Framing, "internal_version_mismatch";
    /// More than 60 messages of unknown `msg_type` a minute on an internal link.
    InternalUnknownMsgFlood, Framing, "internal_unknown_msg_flood";
    /// The identity is not on the allow list, or its secret is wrong.
    MinerUnauthorized, Auth, "miner_unauthorized";
    /// No entry of `auth.prefix_map` matches the identity.
    IdentityPrefixUnmatched, Auth, "identity_prefix_unmatched";
    /// `user_identity` exceeds `auth.max_worker_id_bytes`.
    IdentityTooLong, Auth, "identity_too_long";
    /// An impossible `max_target` or hash rate, too large an extranonce, or no work to give.
    ChannelOpenRejected, Channel, "channel_open_rejected";
    /// Over `limits.max_channels_per_connection` or the cap on workers.
    ChannelLimitExceeded, Channel, "channel_limit_exceeded";
    /// A share or an update names a channel that this connection does not own.
    InvalidChannelId, Channel, "invalid_channel_id";
    /// An extended channel was asked for and is not served.
    ExtendedChannelUnsupported, Channel, "extended_channel_unsupported";
    /// No accepting verdict came within the window, and the stale hold ran out.
    PrevhashSwitchTimeout, Job, "prevhash_switch_timeout";
    /// The verifier rejected the template of a new tip in inline mode.
    PrevhashVerdictRejected, Job, "prevhash_verdict_rejected";
    /// The job of the share is known, but its template (or its accepting verdict) is no longer
    /// held.
    TemplateCacheMiss, Job, "template_cache_miss";
    /// The job of the share was superseded by a new prev-hash.
    StaleJobSubmission, Job, "stale_job_submission";
    /// The template source cannot be reached, or its template is older than
    /// `upstream_stale_max_ms`.
    UpstreamUnavailable, Job, "upstream_unavailable";
    /// The same header was accepted before and is still in the replay window.
    ShareReplayDetected, Share, "share_replay_detected";
    /// The hash is above the target that the job was issued with.
    ShareDifficultyBelowTarget, Share, "share_difficulty_below_target";
    /// No job of that id was ever issued on the channel.
    ShareInvalidJobId, Share, "share_invalid_job_id";
    /// The extranonce has not the length of the channel, or the nonce is malformed.
    ShareInvalidNonce, Share, "share_invalid_nonce";
    /// Version bits outside the allowed mask differ from the version of the job.
    VersionBitViolation, Share, "version_bit_violation";
    /// `ntime` lies before the minimum of the job or past the allowed roll-forward.
    NtimeOutOfRange, Share, "ntime_out_of_range";
    /// The share could not be handed to the pool after all retries.
    ShareForwardFailed, Share, "share_forward_failed";
    /// The pool answered that it does not accept the share.
    ShareUpstreamRejected, Share, "share_upstream_rejected";
    /// The forward queue was full and its policy is `drop_new`.
    ShareDroppedQueueFull, Share, "share_dropped_queue_full";
    /// The forward queue was full and its policy is `drop_old`: a newer share took the place.
    ShareEvictedFromQueue, Share, "share_evicted_from_queue";
    /// Over the share rate of one connection.
    ShareRateLimited, Share, "share_rate_limited";
    /// Written while the log is replayed after a crash, for a share that cannot be sent again.
    ProcessCrashRecovery, Lifecycle, "process_crash_recovery";
    /// The gateway drains and closes its connections.
    ShutdownDrain, Lifecycle, "shutdown_drain";
}

impl ReasonCode {
    /// The name with hyphens, as `CloseChannel.reason_code` carries it.
    pub fn hyphenated(self) -> String {
        self.as_str().replace('_', "-")
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The SV2 messages that carry an `error_code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorMessage {
    /// SetupConnection.Error.
    SetupConnection,
    /// OpenMiningChannel.Error.
    OpenMiningChannel,
    /// UpdateChannel.Error.
    UpdateChannel,
    /// SubmitShares.Error.
    SubmitShares,
    /// SetCustomMiningJob.Error.
    SetCustomMiningJob,
}

impl ErrorMessage {
    /// The message's name in the specification.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SetupConnection => "SetupConnection.Error",
            Self::OpenMiningChannel => "OpenMiningChannel.Error",
            Self::UpdateChannel => "UpdateChannel.Error",
            Self::SubmitShares => "SubmitShares.Error",
            Self::SetCustomMiningJob => "SetCustomMiningJob.Error",
        }
    }
}

macro_rules! wire_errors {
    ($($(#[doc = $doc:literal])+ $variant:ident: $message:ident, $code:literal, $reason:ident;)+) => {
        /// What a miner is told: one code of one message, and the reason that events record.
        ///
        /// SV2 names no error codes since 2026-06 (§3.5), so this table is the contract. Codes that
        /// peers already know are reused where the meaning fits.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum WireError {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl WireError {
            /// Every row of the table.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The message that carries the code.
            pub const fn message(self) -> ErrorMessage {
                match self {
                    $(Self::$variant => ErrorMessage::$message,)+
                }
            }

            /// The `error_code` on the wire.
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)+
                }
            }

            /// The reason that events and metrics record.
            pub const fn reason(self) -> ReasonCode {
                match self {
                    $(Self::$variant => ReasonCode::$reason,)+
                }
            }
        }
    };
}

wire_errors! {
    /// The client asks for a feature that is not served; the flags say which.
    SetupFlags: SetupConnection, "unsupported-feature-flags", UnsupportedProtocolVersion;
    /// The client asks for another protocol than mining.
    SetupProtocol: SetupConnection, "unsupported-protocol", UnsupportedProtocolVersion;
    /// The client's version range does not hold version 2.
    SetupVersion: SetupConnection, "protocol-version-mismatch", UnsupportedProtocolVersion;
    /// The identity is unknown or its secret wrong; both get the same answer.
    OpenUnknownUser: OpenMiningChannel, "unknown-user", MinerUnauthorized;
    /// The identity matches no prefix that is served here.
    OpenUnknownPrefix: OpenMiningChannel, "unknown-user", IdentityPrefixUnmatched;
    /// The identity is too long to be recorded.
    OpenIdentityTooLong: OpenMiningChannel, "invalid-user-identity", IdentityTooLong;
    /// The identity is empty or no printable text.
    OpenIdentityMalformed: OpenMiningChannel, "invalid-user-identity", MinerUnauthorized;
    /// No hash can meet the `max_target`, or it is harder than the hardest target served.
    OpenMaxTarget: OpenMiningChannel, "max-target-out-of-range", ChannelOpenRejected;
    /// The nominal hash rate is negative or no number.
    OpenHashRate: OpenMiningChannel, "invalid-nominal-hashrate", ChannelOpenRejected;
    /// More extranonce is asked for than the coinbase has room for.
    OpenExtranonce: OpenMiningChannel, "min-extranonce-size-too-large", ChannelOpenRejected;
    /// The connection has as many channels, or the gateway as many workers, as it may have.
    OpenCapacity: OpenMiningChannel, "channel-capacity-exhausted", ChannelLimitExceeded;
    /// Extended channels are not served.
    OpenExtended: OpenMiningChannel, "extended-channel-unsupported", ExtendedChannelUnsupported;
    /// There is no work, and the template source cannot be reached.
    OpenNoWork: OpenMiningChannel, "upstream-unavailable", ChannelOpenRejected;
    /// No hash can meet the new maximum target.
    UpdateMaxTarget: UpdateChannel, "max-target-out-of-range", ChannelOpenRejected;
    /// The connection owns no such channel.
    UpdateChannelId: UpdateChannel, "invalid-channel-id", InvalidChannelId;
    /// The new hash rate is negative or no number.
    UpdateHashRate: UpdateChannel, "invalid-nominal-hashrate", ChannelOpenRejected;
    /// The connection owns no such channel.
    ShareChannelId: SubmitShares, "invalid-channel-id", InvalidChannelId;
    /// A new tip superseded the job.
    ShareStale: SubmitShares, "stale-share", StaleJobSubmission;
    /// The hash is above the job's target.
    ShareDifficulty: SubmitShares, "difficulty-too-low", ShareDifficultyBelowTarget;
    /// The channel never had such a job.
    ShareJobId: SubmitShares, "invalid-job-id", ShareInvalidJobId;
    /// The share was accepted before.
    ShareDuplicate: SubmitShares, "duplicate-share", ShareReplayDetected;
    /// The extranonce is not as long as the channel's.
    ShareExtranonce: SubmitShares, "bad-extranonce-size", ShareInvalidNonce;
    /// No version bit may be rolled here, and one was.
    ShareVersionFixed: SubmitShares, "version-rolling-not-allowed", VersionBitViolation;
    /// A version bit outside the mask was rolled.
    ShareVersionBit: SubmitShares, "invalid-non-rollable-version-bit", VersionBitViolation;
    /// The time is too early or too late.
    ShareNtime: SubmitShares, "ntime-out-of-range", NtimeOutOfRange;
    /// The connection submits faster than it may.
    ShareRate: SubmitShares, "share-rate-limited", ShareRateLimited;
    /// The template of the job is no longer held.
    ShareTemplate: SubmitShares, "template-cache-miss", TemplateCacheMiss;
    /// Custom jobs need REQUIRES_WORK_SELECTION, which is not served.
    CustomJob: SetCustomMiningJob, "unsupported-feature-flags", FrameDecodeError;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn reference_table_is_as_published() {
        let mut table = String::new();
        for code in ReasonCode::ALL {
            writeln!(table, "{code} | {} | {}", code.category().as_str(), code.reference())
                .unwrap();
        }
        table.push('\n');
        for error in WireError::ALL {
            let message = error.message().as_str();
            writeln!(table, "{message} | {} | {}", error.code(), error.reason()).unwrap();
        }
        insta::with_settings!({
            snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/core"),
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!("reason-codes", table);
        });
    }

    #[test]
    fn names_are_unique_and_there_are_36() {
        let names: BTreeSet<_> = ReasonCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), ReasonCode::ALL.len());
        assert_eq!(names.len(), 36);
    }

    #[test]
    fn wire_codes_are_printable_lower_case_with_hyphens() {
        for error in WireError::ALL {
            assert!(
                error.code().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
                "{}",
                error.code()
            );
        }
        assert_eq!(ReasonCode::ShutdownDrain.hyphenated(), "shutdown-drain");
    }
}
