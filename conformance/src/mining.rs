//! What a miner does: set a connection up, open channels, find shares.

use bitcoin::hashes::{Hash, sha256d};
use sv2_wire::common::{SetupConnection, SetupConnectionError, SetupConnectionSuccess};
use sv2_wire::mining::{
    OpenExtendedMiningChannel, OpenStandardMiningChannel, SetNewPrevHash, SubmitSharesExtended,
    SubmitSharesStandard,
};
use sv2_wire::{B032, MiningServerMessage, Str0255, U256};

use crate::bench::Bench;
use crate::case::{Judged, Stop};
use crate::peer::Peer;
use crate::view::{Channel, Job, Root};

/// Low, so that servers that fit the target to the hash rate give an easy one.
pub(crate) const HASH_RATE: f32 = 1_000.0;

/// A `SetupConnection` for mining.
pub(crate) fn setup(flags: u32) -> SetupConnection<'static> {
    SetupConnection {
        protocol: 0,
        min_version: 2,
        max_version: 2,
        flags,
        endpoint_host: text("localhost"),
        endpoint_port: 3333,
        vendor: text("conformance"),
        hardware_version: text("1"),
        firmware: text("1"),
        device_id: text("suite"),
    }
}

/// A short text as a field.
pub(crate) fn text(text: &str) -> Str0255<'_> {
    Str0255::new(text.as_bytes()).expect("the suite's texts and identities are short")
}

/// The answer to a `SetupConnection`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Success(SetupSuccess),
    Error { flags: u32, code: Vec<u8> },
}

/// The fields of `SetupConnection.Success`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SetupSuccess {
    pub(crate) used_version: u16,
    pub(crate) flags: u32,
}

impl Peer {
    /// Sends a `SetupConnection` and waits for its answer.
    pub(crate) async fn try_set_up(&mut self, setup: &SetupConnection<'_>) -> Judged<Answer> {
        self.send(setup).await;
        self.setup_answer().await
    }

    /// Waits for the answer to a `SetupConnection` already sent.
    pub(crate) async fn setup_answer(&mut self) -> Judged<Answer> {
        self.await_message("answer to SetupConnection", |message| match message {
            MiningServerMessage::SetupConnectionSuccess(SetupConnectionSuccess {
                used_version,
                flags,
            }) => {
                let (used_version, flags) = (*used_version, *flags);
                Some(Answer::Success(SetupSuccess { used_version, flags }))
            }
            MiningServerMessage::SetupConnectionError(SetupConnectionError {
                flags,
                error_code,
            }) => Some(Answer::Error { flags: *flags, code: error_code.as_bytes().to_vec() }),
            _ => None,
        })
        .await
    }

    /// Sets the connection up.
    pub(crate) async fn set_up(&mut self, flags: u32) -> Judged<SetupSuccess> {
        match self.try_set_up(&setup(flags)).await? {
            Answer::Success(success) => Ok(success),
            Answer::Error { flags: refused, code } if flags & refused != 0 => {
                Err(Stop::Inapplicable(format!(
                    "the server does not serve flags {flags:#b}: {}",
                    code.escape_ascii()
                )))
            }
            Answer::Error { code, .. } => Err(Stop::Breach(format!(
                "an ordinary SetupConnection is refused: {}",
                code.escape_ascii()
            ))),
        }
    }

    /// Asks for a channel and waits for the answer: the channel, or the error code.
    pub(crate) async fn try_open(&mut self, open: &Open<'_>) -> Judged<Result<Channel, Vec<u8>>> {
        match open.min_extranonce_size {
            None => self.send(&open.standard()).await,
            Some(size) => self.send(&open.extended(size)).await,
        }
        self.open_answer(open.request_id).await
    }

    /// Waits for the answer to a request already sent.
    pub(crate) async fn open_answer(
        &mut self,
        request_id: u32,
    ) -> Judged<Result<Channel, Vec<u8>>> {
        let what = format!("answer to the opening with request_id {request_id}");
        let answer = self
            .await_message(&what, |message| match message {
                MiningServerMessage::OpenStandardMiningChannelSuccess(open)
                    if open.request_id == request_id =>
                {
                    Some(Ok(open.channel_id))
                }
                MiningServerMessage::OpenExtendedMiningChannelSuccess(open)
                    if open.request_id == request_id =>
                {
                    Some(Ok(open.channel_id))
                }
                MiningServerMessage::OpenMiningChannelError(error)
                    if error.request_id == request_id =>
                {
                    Some(Err(error.error_code.as_bytes().to_vec()))
                }
                _ => None,
            })
            .await?;
        Ok(answer.map(|channel_id| self.view.channels[&channel_id].clone()))
    }

    /// Opens a channel that a server has no reason to refuse.
    pub(crate) async fn open(&mut self, open: &Open<'_>) -> Judged<Channel> {
        self.try_open(open).await?.map_err(|code| {
            let code = code.escape_ascii();
            match open.min_extranonce_size {
                None => Stop::Breach(format!("an ordinary standard channel is refused: {code}")),
                Some(_) => Stop::Inapplicable(format!("no extended channels here: {code}")),
            }
        })
    }

    /// The job that a channel works on, once there is one.
    pub(crate) async fn active(&mut self, channel_id: u32) -> Judged<Work> {
        loop {
            if let Some(work) = Work::of(&self.view.channels[&channel_id]) {
                return Ok(work);
            }
            self.await_message("job and SetNewPrevHash for the new channel", |_| Some(())).await?;
        }
    }
}

/// A connection that is set up and has one channel with work.
pub(crate) async fn standard_miner(bench: &Bench, flags: u32) -> Judged<(Peer, Work)> {
    miner(bench, flags, &Open::standard_by(&bench.target.user_identity)).await
}

/// As [`standard_miner`], with an extended channel.
pub(crate) async fn extended_miner(bench: &Bench, flags: u32) -> Judged<(Peer, Work)> {
    miner(bench, flags, &Open::extended_by(&bench.target.user_identity)).await
}

async fn miner(bench: &Bench, flags: u32, open: &Open<'_>) -> Judged<(Peer, Work)> {
    let mut peer = bench.connect().await?;
    peer.set_up(flags).await?;
    let channel = peer.open(open).await?;
    let work = peer.active(channel.channel_id).await?;
    Ok((peer, work))
}

/// A request for a channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open<'a> {
    pub(crate) request_id: u32,
    pub(crate) user_identity: &'a [u8],
    pub(crate) nominal_hash_rate: f32,
    pub(crate) max_target: U256,
    /// Absent for a standard channel.
    pub(crate) min_extranonce_size: Option<u16>,
}

impl<'a> Open<'a> {
    /// A standard channel that a server has no reason to refuse.
    pub(crate) fn standard_by(identity: &'a str) -> Self {
        Self {
            request_id: 7,
            user_identity: identity.as_bytes(),
            nominal_hash_rate: HASH_RATE,
            max_target: U256::MAX,
            min_extranonce_size: None,
        }
    }

    /// An extended channel that a server has no reason to refuse.
    pub(crate) fn extended_by(identity: &'a str) -> Self {
        Self { min_extranonce_size: Some(4), ..Self::standard_by(identity) }
    }

    pub(crate) fn standard(&self) -> OpenStandardMiningChannel<'a> {
        OpenStandardMiningChannel {
            request_id: self.request_id,
            user_identity: Str0255::new(self.user_identity).expect("identities are short"),
            nominal_hash_rate: self.nominal_hash_rate,
            max_target: self.max_target,
        }
    }

    pub(crate) fn extended(&self, min_extranonce_size: u16) -> OpenExtendedMiningChannel<'a> {
        OpenExtendedMiningChannel {
            request_id: self.request_id,
            user_identity: Str0255::new(self.user_identity).expect("identities are short"),
            nominal_hash_rate: self.nominal_hash_rate,
            max_target: self.max_target,
            min_extranonce_size,
        }
    }
}

/// A channel with a job and a tip to find shares for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Work {
    pub(crate) channel: Channel,
    pub(crate) job: Job,
    pub(crate) tip: SetNewPrevHash,
}

/// A share before it is put into either message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) channel_id: u32,
    pub(crate) sequence_number: u32,
    pub(crate) job_id: u32,
    pub(crate) nonce: u32,
    pub(crate) ntime: u32,
    pub(crate) version: u32,
    /// Empty on a standard channel.
    pub(crate) extranonce: Vec<u8>,
}

/// What a hash has to be like.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Want {
    /// At most the hardest target that the channel has had.
    Valid,
    /// Above the easiest one.
    TooEasy,
    /// Above one target and at most another.
    Between { above: U256, at_most: U256 },
}

impl Work {
    pub(crate) fn of(channel: &Channel) -> Option<Self> {
        let (job, tip) = channel.active()?;
        Some(Self { job: job.clone(), tip: *tip, channel: channel.clone() })
    }

    /// A share without a nonce that fits.
    pub(crate) fn blank(&self, sequence_number: u32) -> Share {
        Share {
            channel_id: self.channel.channel_id,
            sequence_number,
            job_id: self.job.job_id,
            nonce: 0,
            ntime: self.job.min_ntime.unwrap_or(self.tip.min_ntime).max(self.tip.min_ntime),
            version: self.job.version,
            extranonce: vec![0x5a; usize::from(self.channel.extranonce_size.unwrap_or(0))],
        }
    }

    /// As [`blank`](Self::blank), to be searched from a nonce of its own, so that no two shares of a
    /// channel are the same.
    pub(crate) fn numbered(&self, sequence_number: u32) -> Share {
        let nonce = sequence_number.wrapping_mul(0x0100_0000);
        Share { nonce, ..self.blank(sequence_number) }
    }

    /// Searches a nonce from `share.nonce` on.
    ///
    /// # Errors
    /// [`Stop::Inapplicable`] when the budget does not suffice.
    pub(crate) async fn grind(&self, bench: &Bench, share: Share, want: Want) -> Judged<Share> {
        let targets = self.channel.targets.iter().copied();
        let has_target = "a channel opens with a target";
        let [above, at_most] = match want {
            Want::Valid => [None, Some(targets.min().expect(has_target))],
            Want::TooEasy => [Some(targets.max().expect(has_target)), None],
            Want::Between { above, at_most } => [Some(above), Some(at_most)],
        };
        let mut header = self.header(&share);
        let (first, budget) = (share.nonce, bench.target.grind_budget);
        let search = move || {
            (0..budget).map(|step| first.wrapping_add(step)).find(|nonce| {
                header[76..].copy_from_slice(&nonce.to_le_bytes());
                let hash = U256(sha256d::Hash::hash(&header).to_byte_array());
                above.is_none_or(|above| hash > above) && at_most.is_none_or(|most| hash <= most)
            })
        };
        match platform::offload(&bench.env.cpu, search).await {
            Some(nonce) => Ok(Share { nonce, ..share }),
            None => Err(Stop::Inapplicable(format!(
                "no share above {above:?} and at most {at_most:?} within {budget} hashes; give the \
                 server an easy initial difficulty"
            ))),
        }
    }

    /// A share that the server must accept.
    pub(crate) async fn valid(&self, bench: &Bench, sequence_number: u32) -> Judged<Share> {
        self.grind(bench, self.numbered(sequence_number), Want::Valid).await
    }

    fn header(&self, share: &Share) -> [u8; 80] {
        let mut header = [0; 80];
        header[..4].copy_from_slice(&share.version.to_le_bytes());
        header[4..36].copy_from_slice(self.tip.prev_hash.as_bytes());
        header[36..68].copy_from_slice(&self.merkle_root(&share.extranonce));
        header[68..72].copy_from_slice(&share.ntime.to_le_bytes());
        header[72..76].copy_from_slice(&self.tip.nbits.to_le_bytes());
        header[76..].copy_from_slice(&share.nonce.to_le_bytes());
        header
    }

    fn merkle_root(&self, extranonce: &[u8]) -> [u8; 32] {
        match &self.job.root {
            Root::Given(root) => root.0,
            Root::Coinbase { prefix, suffix, path, .. } => {
                let whole = &self.channel.extranonce_prefix;
                let coinbase = [prefix, whole.as_slice(), extranonce, suffix].concat();
                let txid = sha256d::Hash::hash(&coinbase).to_byte_array();
                path.iter().fold(txid, |node, sibling| {
                    sha256d::Hash::hash(&[node, sibling.0].concat()).to_byte_array()
                })
            }
        }
    }
}

impl Share {
    /// As a share of a standard channel.
    pub(crate) fn standard(&self) -> SubmitSharesStandard {
        SubmitSharesStandard {
            channel_id: self.channel_id,
            sequence_number: self.sequence_number,
            job_id: self.job_id,
            nonce: self.nonce,
            ntime: self.ntime,
            version: self.version,
        }
    }

    /// As a share of an extended channel.
    pub(crate) fn extended(&self) -> SubmitSharesExtended<'_> {
        SubmitSharesExtended {
            channel_id: self.channel_id,
            sequence_number: self.sequence_number,
            job_id: self.job_id,
            nonce: self.nonce,
            ntime: self.ntime,
            version: self.version,
            extranonce: B032::new(&self.extranonce).expect("the suite rolls at most 32 bytes"),
        }
    }
}
