//! In which ways things go wrong: the words that actions choose from.

use super::choice::choices;

choices! {
    /// What a crash does to the disk of its host.
    Loss {
        /// The process dies; what it wrote stays.
        Kill = "kill",
        /// The machine loses power; only what was synced stays.
        PowerLoss = "power_loss",
        /// The machine is replaced by another, whose disk has nothing but the configuration.
        Replaced = "replaced",
    }
}

choices! {
    /// How the pool backend answers.
    PoolMode {
        /// At once.
        Ok = "ok",
        /// After a second and a half.
        Slow = "slow",
        /// Its answer trickles in over a second.
        SlowBody = "slow_body",
        /// With 503.
        ServerError = "5xx",
        /// With 429, and a time to wait.
        TooMany = "429",
        /// By turns with 503 and well.
        Flapping = "flapping",
        /// With `accepted = false`.
        Reject = "reject",
        /// It takes the shares, and its answer breaks off in the middle.
        Truncated = "truncated",
        /// With 401: it expects another secret.
        WrongSecret = "wrong_secret",
        /// Not at all: it refuses connections.
        Down = "down",
    }
}

choices! {
    /// How the verifier's end of the link behaves.
    VerifierMode {
        /// As it should.
        Honest = "honest",
        /// It reads, and says nothing, heartbeats included.
        Silent = "silent",
        /// Each verdict names a proposal that was never made.
        WrongId = "wrong_id",
        /// Lines that are no JSON come beside its own, one at a time.
        Garbage = "garbage",
        /// Lines that are no JSON come by the dozen.
        GarbageFlood = "garbage_flood",
        /// A line of more than 1 MiB comes beside its own.
        LongLine = "long_line",
        /// Messages of unknown types come by the hundred.
        UnknownFlood = "unknown_flood",
        /// Messages of a version that nobody speaks come beside its own.
        WrongVersion = "wrong_version",
    }
}

choices! {
    /// How the node answers.
    NodeMode {
        /// As it should.
        Ok = "ok",
        /// It says that it is still starting.
        WarmingUp = "warming_up",
        /// It takes requests and answers none.
        Timeout = "timeout",
        /// It refuses connections.
        Down = "down",
        /// Its templates stay those of the tip it had.
        StaleTip = "stale_tip",
        /// Its templates have no transactions.
        EmptyTemplate = "empty_template",
        /// Its templates pay nothing.
        ZeroCoinbase = "zero_coinbase",
        /// It shows no transaction of its mempool.
        BlindMempool = "blind_mempool",
        /// It does not list its mempool.
        MempoolError = "mempool_error",
    }
}

choices! {
    /// What a hostile peer does.
    Hostility {
        /// Sends what is no handshake.
        Garbage = "garbage",
        /// Connects and sends nothing.
        Silent = "silent",
        /// Sends its handshake a byte a second.
        Drip = "drip",
        /// Connects and leaves, again and again.
        Reconnect = "reconnect",
        /// Shakes hands and says nothing.
        Mute = "mute",
        /// Sends what does not decrypt.
        BadCipher = "bad_cipher",
        /// Asks for another protocol than mining.
        WrongProtocol = "wrong_protocol",
        /// Speaks versions that nobody else does.
        WrongVersion = "wrong_version",
        /// Asks for flags that are not served.
        WrongFlags = "wrong_flags",
        /// Opens a channel before the connection is set up.
        WrongPhase = "wrong_phase",
        /// Sends a message that ends too early.
        Undecodable = "undecodable",
        /// Announces a message of 192 KiB.
        Oversize = "oversize",
        /// Sends messages that nobody knows, as fast as it can.
        Flood = "flood",
        /// Sends shares as fast as it can.
        ShareFlood = "share_flood",
        /// Updates a channel that it does not own.
        ForeignUpdate = "foreign_update",
        /// Is nobody.
        BadIdentity = "bad_identity",
        /// Has a name of more than 200 bytes.
        LongIdentity = "long_identity",
        /// Has a wrong secret.
        WrongSecret = "wrong_secret",
        /// Announces a hash rate that is no number.
        BadHashrate = "bad_hashrate",
        /// Accepts no target that there is.
        BadTarget = "bad_target",
        /// Opens an extended channel.
        Extended = "extended",
        /// Opens 64 channels at once.
        ManyChannels = "many_channels",
    }
}

choices! {
    /// What is done to a proposal between gateway and verifier. What is not named stays true: the
    /// digests and, where bytes change, the commitments that depend on them.
    Tamper {
        /// Nothing.
        None = "none",
        /// The message has another version.
        Version = "version",
        /// The declared parent has 62 digits.
        PrevHashLength = "prev_hash_length",
        /// The declared parent is all zero.
        PrevHashZero = "prev_hash_zero",
        /// The declared coinbase value is zero.
        ValueZero = "value_zero",
        /// The block is cut off.
        Body = "body",
        /// The declared coinbase value is one more.
        Value = "value",
        /// Coinbase and declaration agree on one satoshi more than there is.
        Overpaid = "overpaid",
        /// The declared fees are twice as much.
        Fees = "fees",
        /// The declared height is one more.
        Height = "height",
        /// The coinbase does not state a height.
        HeightMissing = "height_missing",
        /// The header has another merkle root.
        MerkleRoot = "merkle_root",
        /// The coinbase has no witness.
        WitnessMissing = "witness_missing",
        /// The coinbase commits to other witnesses.
        WitnessCommitment = "witness_commitment",
        /// The declared weight is four more.
        Weight = "weight",
        /// The declared signature operations are fewer than none could be.
        Sigops = "sigops",
        /// The declared number of transactions is one more.
        TxCount = "tx_count",
        /// A transaction of 1 MB is added.
        Overweight = "overweight",
        /// A transaction of 20 001 signature operations is added.
        ManySigops = "many_sigops",
        /// A transaction is in the block twice.
        DuplicateTx = "duplicate_tx",
        /// A transaction after the first spends the null output.
        NullPrevout = "null_prevout",
        /// The coinbase script has 101 bytes.
        ScriptLength = "script_length",
        /// The header has another time.
        Time = "time",
        /// The header has another target.
        Bits = "bits",
        /// A transaction spends an output of a later one.
        TxOrder = "tx_order",
        /// A transaction spends an output that an earlier one does not have.
        MissingOutput = "missing_output",
    }
}

choices! {
    /// What is wrong with a disk.
    DiskMode {
        /// Nothing.
        Ok = "ok",
        /// It is full (ENOSPC), after as much of a write as still fits.
        Full = "full",
        /// Writes fail (EIO) after a part of them was done.
        WriteError = "write_error",
        /// Syncs fail (EIO).
        SyncError = "sync_error",
        /// Syncs take 20 to 200 ms.
        SlowSync = "slow_sync",
        /// Syncs say that they succeeded, and did nothing.
        LostSync = "lost_sync",
        /// A read of the gateway's durable log has one bit flipped.
        FlipOnRead = "flip_on_read",
        /// Reads of the gateway's durable log fail (EIO).
        ReadError = "read_error",
    }
}
