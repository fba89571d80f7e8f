//! The mining protocol (specification 5.3).

use crate::bytes::{B032, B064K, B0255, Str0255};
use crate::field::U256;
use crate::message::messages;
use crate::seq::{Seq064K, Seq0255};

/// `SetupConnection.flags`: the client works on standard jobs only, sent to each channel.
pub const REQUIRES_STANDARD_JOBS: u32 = 1 << 0;
/// `SetupConnection.flags`: the client will send `SetCustomMiningJob`.
pub const REQUIRES_WORK_SELECTION: u32 = 1 << 1;
/// `SetupConnection.flags`: the client must be allowed to roll version bits.
pub const REQUIRES_VERSION_ROLLING: u32 = 1 << 2;
/// `SetupConnectionSuccess.flags`: the server accepts no rolled version bits.
pub const REQUIRES_FIXED_VERSION: u32 = 1 << 0;
/// `SetupConnectionSuccess.flags`: the server opens no standard channels.
pub const REQUIRES_EXTENDED_CHANNELS: u32 = 1 << 1;

messages! {
    extension 0;

    /// The client asks for a channel on which only the header is varied.
    OpenStandardMiningChannel<'a> = 0x10 connection {
        /// Chosen by the client, echoed in the answer.
        request_id: u32,
        /// Who is mining; any bytes.
        user_identity: Str0255<'a>,
        /// Expected hash rate in hashes a second. May be any float, NaN included.
        nominal_hash_rate: f32,
        /// The easiest target the client accepts.
        max_target: U256,
    }

    /// The server opens a standard channel.
    OpenStandardMiningChannelSuccess<'a> = 0x11 connection {
        /// That of the request.
        request_id: u32,
        /// The new channel, unique on the connection.
        channel_id: u32,
        /// The channel's first target.
        target: U256,
        /// The channel's whole extranonce.
        extranonce_prefix: B032<'a>,
        /// The group the channel belongs to.
        group_channel_id: u32,
    }

    /// The server refuses a channel of either kind.
    OpenMiningChannelError<'a> = 0x12 connection {
        /// That of the request.
        request_id: u32,
        /// The cause.
        error_code: Str0255<'a>,
    }

    /// The client asks for a channel on which it varies the extranonce too.
    OpenExtendedMiningChannel<'a> = 0x13 connection {
        /// Chosen by the client, echoed in the answer.
        request_id: u32,
        /// Who is mining; any bytes.
        user_identity: Str0255<'a>,
        /// Expected hash rate in hashes a second. May be any float, NaN included.
        nominal_hash_rate: f32,
        /// The easiest target the client accepts.
        max_target: U256,
        /// Fewest extranonce bytes the client wants to roll.
        min_extranonce_size: u16,
    }

    /// The server opens an extended channel.
    OpenExtendedMiningChannelSuccess<'a> = 0x14 connection {
        /// That of the request.
        request_id: u32,
        /// The new channel, unique on the connection.
        channel_id: u32,
        /// The channel's first target.
        target: U256,
        /// Extranonce bytes the client rolls.
        extranonce_size: u16,
        /// Extranonce bytes in front of those.
        extranonce_prefix: B032<'a>,
        /// The group the channel belongs to.
        group_channel_id: u32,
    }

    /// A job for a standard channel.
    NewMiningJob = 0x15 channel {
        /// The channel.
        channel_id: u32,
        /// The job, not reused on the channel while valid.
        job_id: u32,
        /// First `ntime` of a job to start at once; absent for a future job.
        min_ntime: Option<u32>,
        /// Block header version.
        version: u32,
        /// Merkle root in internal byte order.
        merkle_root: U256,
    }

    /// The client's hash rate or accepted target changed.
    UpdateChannel = 0x16 channel {
        /// The channel.
        channel_id: u32,
        /// Expected hash rate in hashes a second. May be any float, NaN included.
        nominal_hash_rate: f32,
        /// The easiest target the client accepts from now on.
        maximum_target: U256,
    }

    /// The server refuses an [`UpdateChannel`]. Success has no answer.
    UpdateChannelError<'a> = 0x17 channel {
        /// The channel.
        channel_id: u32,
        /// The cause.
        error_code: Str0255<'a>,
    }

    /// Either side ends a channel, or all channels of a group.
    CloseChannel<'a> = 0x18 channel {
        /// The channel or group.
        channel_id: u32,
        /// The cause.
        reason_code: Str0255<'a>,
    }

    /// The server replaces a channel's extranonce prefix for jobs sent from here on.
    SetExtranoncePrefix<'a> = 0x19 channel {
        /// The channel, never a group.
        channel_id: u32,
        /// The new prefix.
        extranonce_prefix: B032<'a>,
    }

    /// A share of a standard channel.
    SubmitSharesStandard = 0x1a channel {
        /// The channel.
        channel_id: u32,
        /// The client's number of the share, echoed in answers.
        sequence_number: u32,
        /// The job worked on.
        job_id: u32,
        /// Nonce of the header.
        nonce: u32,
        /// Time of the header, unix seconds.
        ntime: u32,
        /// Version of the header.
        version: u32,
    }

    /// A share of an extended channel.
    SubmitSharesExtended<'a> = 0x1b channel {
        /// The channel.
        channel_id: u32,
        /// The client's number of the share, echoed in answers.
        sequence_number: u32,
        /// The job worked on.
        job_id: u32,
        /// Nonce of the header.
        nonce: u32,
        /// Time of the header, unix seconds.
        ntime: u32,
        /// Version of the header.
        version: u32,
        /// The rolled part of the extranonce, exactly as long as the channel grants.
        extranonce: B032<'a>,
    }

    /// The server credits shares.
    SubmitSharesSuccess = 0x1c channel {
        /// The channel.
        channel_id: u32,
        /// The highest sequence number this answers.
        last_sequence_number: u32,
        /// Shares accepted since the last such message.
        new_submits_accepted_count: u32,
        /// Sum of their difficulties.
        new_shares_sum: u64,
    }

    /// The server refuses one share.
    SubmitSharesError<'a> = 0x1d channel {
        /// The channel.
        channel_id: u32,
        /// The share.
        sequence_number: u32,
        /// The cause.
        error_code: Str0255<'a>,
    }

    /// A job for an extended channel or a group.
    NewExtendedMiningJob<'a> = 0x1f channel {
        /// The channel or group.
        channel_id: u32,
        /// The job, not reused on the channel while valid.
        job_id: u32,
        /// First `ntime` of a job to start at once; absent for a future job.
        min_ntime: Option<u32>,
        /// Block header version.
        version: u32,
        /// Whether version bits may be rolled.
        version_rolling_allowed: bool,
        /// Siblings on the way from the coinbase to the root, deepest first.
        merkle_path: Seq0255<'a, U256>,
        /// Coinbase up to the extranonce, without segwit marker and flag.
        coinbase_tx_prefix: B064K<'a>,
        /// Coinbase after the extranonce, without witness.
        coinbase_tx_suffix: B064K<'a>,
    }

    /// A new tip: the named future job is now the only valid one.
    SetNewPrevHash = 0x20 channel {
        /// The channel or group.
        channel_id: u32,
        /// The future job to start.
        job_id: u32,
        /// Hash of the tip in internal byte order.
        prev_hash: U256,
        /// Lowest `ntime`, unix seconds.
        min_ntime: u32,
        /// Compact target of the network.
        nbits: u32,
    }

    /// The server sets the target for jobs that start from here on.
    SetTarget = 0x21 channel {
        /// The channel or group.
        channel_id: u32,
        /// The new target.
        maximum_target: U256,
    }

    /// The client declares work of its own making.
    SetCustomMiningJob<'a> = 0x22 channel {
        /// The channel, extended or group.
        channel_id: u32,
        /// Chosen by the client, echoed in the answer.
        request_id: u32,
        /// From the job declaration server.
        mining_job_token: B0255<'a>,
        /// Block header version.
        version: u32,
        /// Hash of the tip in internal byte order.
        prev_hash: U256,
        /// Lowest `ntime`, unix seconds.
        min_ntime: u32,
        /// Compact target of the network.
        nbits: u32,
        /// Version of the coinbase transaction.
        coinbase_tx_version: u32,
        /// Start of the coinbase's input script; the specification allows 8 bytes.
        coinbase_prefix: B0255<'a>,
        /// Sequence of the coinbase's input.
        coinbase_tx_input_n_sequence: u32,
        /// Outputs with their count in front.
        coinbase_tx_outputs: B064K<'a>,
        /// Lock time of the coinbase transaction.
        coinbase_tx_locktime: u32,
        /// Siblings on the way from the coinbase to the root, deepest first.
        merkle_path: Seq0255<'a, U256>,
    }

    /// The server commits itself to pay for the declared work.
    SetCustomMiningJobSuccess = 0x23 channel {
        /// The channel.
        channel_id: u32,
        /// That of the request.
        request_id: u32,
        /// The job to name in shares.
        job_id: u32,
    }

    /// The server refuses the declared work.
    SetCustomMiningJobError<'a> = 0x24 channel {
        /// The channel.
        channel_id: u32,
        /// That of the request.
        request_id: u32,
        /// The cause.
        error_code: Str0255<'a>,
    }

    /// The server redefines which channels a group has.
    SetGroupChannel<'a> = 0x25 connection {
        /// The group.
        group_channel_id: u32,
        /// Its channels from here on.
        channel_ids: Seq064K<'a, u32>,
    }
}
