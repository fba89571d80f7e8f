//! The scripted server's part: what it answers, and the work it gives.

use std::time::Duration;

use sv2_wire::common::{SetupConnectionError, SetupConnectionSuccess};
use sv2_wire::extensions::RequestExtensionsError;
use sv2_wire::mining::{
    NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannelSuccess,
    OpenStandardMiningChannelSuccess, SetNewPrevHash, SetTarget, SubmitSharesError,
    SubmitSharesSuccess,
};
use sv2_wire::{B032, B064K, Seq064K, Seq0255, U256};
use tokio::time::Instant;

use super::channel::{Channel, Tip};
use super::visitor::Visitor;
use super::watch::{Opening, Seen, Setup, ShareSeen, Stage};
use super::work::{Coinbase, EXTRANONCE_LEN, NBITS, VERSION, target};
use crate::case::{Judged, Stop};
use crate::mining::text;
use crate::peer::Event;

/// The group of every channel.
pub(super) const GROUP: u32 = 1;
/// A client without a hash rate is taken for one of so many hashes a second.
const LEAST_RATE: u64 = 256;
/// Bytes of an extranonce that the server keeps of an extended channel at least.
const KEPT_BYTES: usize = 4;

/// How a job is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Later,
    Now,
}

impl Visitor {
    /// The next thing that the client does; what asks for an answer gets the usual one, but for
    /// the set-up and a first channel.
    ///
    /// # Errors
    /// [`Stop::Breach`] when the connection ends or breaks.
    pub(super) async fn next(&mut self, within: Duration) -> Judged<Seen> {
        let frame = match self.receive(within).await {
            Event::Frame(frame) => frame,
            Event::Quiet => return Ok(Seen::Quiet),
            Event::Closed => return Err(Stop::breach("the client ended the connection")),
            Event::Broken(error) => return Err(Stop::Breach(format!("frame: {error}"))),
        };
        let seen = self.watch.note(&frame);
        match &seen {
            Seen::Extensions { request_id, wanted } => {
                self.send(&RequestExtensionsError {
                    request_id: *request_id,
                    unsupported_extensions: Seq064K::new(wanted).expect("it came in one message"),
                    required_extensions: Seq064K::default(),
                })
                .await;
            }
            Seen::Update { channel_id, maximum_target } => {
                self.follow_update(*channel_id, *maximum_target).await;
            }
            Seen::Opening(opening) if !self.watch.channels.is_empty() => {
                let channel_id = self.grant(opening).await;
                let job_id = self.future_job(channel_id).await;
                self.tip(channel_id, job_id).await;
            }
            Seen::Share(share) if !self.holds_answers => self.answer(share).await,
            _ => {}
        }
        Ok(seen)
    }

    async fn answer(&mut self, share: &ShareSeen) {
        let (channel_id, sequence_number) = (share.channel_id, share.sequence_number);
        match &share.fault {
            None => {
                self.send(&SubmitSharesSuccess {
                    channel_id,
                    last_sequence_number: sequence_number,
                    new_submits_accepted_count: 1,
                    new_shares_sum: 1,
                })
                .await;
            }
            Some((rule, _)) => self.refuse(share, &rule.to_lowercase()).await,
        }
    }

    /// Refuses a share.
    pub(super) async fn refuse(&mut self, share: &ShareSeen, code: &str) {
        let (channel_id, sequence_number) = (share.channel_id, share.sequence_number);
        let error_code = text(code);
        self.send(&SubmitSharesError { channel_id, sequence_number, error_code }).await;
    }

    async fn follow_update(&mut self, channel_id: u32, maximum_target: U256) {
        let current = self.watch.channels.get(&channel_id).map(|channel| channel.target);
        if current.is_some_and(|current| maximum_target < current) {
            self.set_target(channel_id, maximum_target).await;
        }
    }

    /// Waits for SetupConnection, and leaves it unanswered.
    pub(super) async fn await_setup(&mut self) -> Judged<Setup> {
        match self.next(self.waits().answer).await? {
            Seen::Setup(setup) => Ok(setup),
            Seen::Quiet => Err(Stop::breach("no SetupConnection came")),
            _ => Err(Stop::breach("the first message is not SetupConnection")),
        }
    }

    /// Grants SetupConnection.
    pub(super) async fn grant_setup(&mut self, flags: u32) {
        self.watch.stage = Stage::Granted;
        self.send(&SetupConnectionSuccess { used_version: 2, flags }).await;
    }

    /// Refuses SetupConnection for a reason that nobody knows.
    pub(super) async fn refuse_setup(&mut self) {
        self.refuse_setup_as("not-before-the-next-full-moon").await;
    }

    /// Refuses SetupConnection with that code.
    pub(super) async fn refuse_setup_as(&mut self, code: &str) {
        self.watch.stage = Stage::Refused;
        let error_code = text(code);
        self.send(&SetupConnectionError { flags: 0, error_code }).await;
    }

    /// Waits for a request for a channel.
    pub(super) async fn await_opening(&mut self) -> Judged<Opening> {
        let wait = self.waits().answer;
        let deadline = Instant::now() + wait;
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now())).await? {
                Seen::Opening(opening) => return Ok(opening),
                Seen::Quiet => {
                    let waited = wait.as_secs();
                    return Err(Stop::Inapplicable(format!("no channel opened in {waited} s")));
                }
                _ => {}
            }
        }
    }

    /// Waits for a request for a channel and grants it.
    pub(super) async fn await_channel(&mut self) -> Judged<u32> {
        let opening = self.await_opening().await?;
        Ok(self.grant(&opening).await)
    }

    /// Grants a channel.
    pub(super) async fn grant(&mut self, opening: &Opening) -> u32 {
        let channel_id = GROUP + 1 + u32::try_from(self.watch.channels.len()).unwrap_or(0);
        let target = self.first_target(opening);
        let request_id = opening.request_id;
        let own = self.front.env.rng.next_u64().to_le_bytes();
        let Some(asked) = opening.min_extranonce_size else {
            let prefix = [own.as_slice(), &[0; EXTRANONCE_LEN - 8]].concat();
            self.send(&OpenStandardMiningChannelSuccess {
                request_id,
                channel_id,
                target,
                extranonce_prefix: B032::new(&prefix).expect("it has 20 bytes"),
                group_channel_id: GROUP,
            })
            .await;
            self.watch.channels.insert(channel_id, Channel::new(None, prefix, target));
            return channel_id;
        };
        let rolled = asked.max(4).min(32 - KEPT_BYTES as u16);
        let kept = EXTRANONCE_LEN.saturating_sub(usize::from(rolled)).max(KEPT_BYTES);
        let prefix = [own.as_slice(), &[0; EXTRANONCE_LEN]].concat()[..kept].to_vec();
        self.send(&OpenExtendedMiningChannelSuccess {
            request_id,
            channel_id,
            target,
            extranonce_size: rolled,
            extranonce_prefix: B032::new(&prefix).expect("it is a part of 32 bytes"),
            group_channel_id: GROUP,
        })
        .await;
        self.watch.channels.insert(channel_id, Channel::new(Some(rolled), prefix, target));
        channel_id
    }

    /// A target that the client's hash rate meets about once a second.
    fn first_target(&self, opening: &Opening) -> U256 {
        let by_rate = (opening.nominal_hash_rate as u64).max(LEAST_RATE); // Saturates; NaN is 0.
        target(self.front.hosting.hashes_per_share.unwrap_or(by_rate)).min(opening.max_target)
    }

    /// Sends a job for later.
    pub(super) async fn future_job(&mut self, channel_id: u32) -> u32 {
        self.job(channel_id, channel_id, Start::Later, true).await
    }

    /// Sends a job for a channel to `address`, which is the channel or its group.
    pub(super) async fn job(
        &mut self,
        channel_id: u32,
        address: u32,
        start: Start,
        rolling: bool,
    ) -> u32 {
        self.watch.jobs += 1;
        let job_id = self.watch.jobs;
        let now = self.unix_secs();
        let min_ntime = (start == Start::Now).then_some(now);
        let channel = self.watch.channels.get_mut(&channel_id).expect("the channel is granted");
        let rolled = usize::from(channel.rolled.unwrap_or(0));
        let coinbase = Coinbase::new(job_id, channel.prefix.len() + rolled);
        let whole = coinbase.clone();
        match start {
            Start::Later => channel.give(job_id, whole, VERSION, rolling),
            Start::Now => channel.give_now(job_id, whole, VERSION, rolling),
        }
        if channel.rolled.is_none() {
            let merkle_root = coinbase.root(&channel.prefix);
            let job = NewMiningJob { channel_id, job_id, min_ntime, version: VERSION, merkle_root };
            self.send(&job).await;
        } else {
            self.send(&NewExtendedMiningJob {
                channel_id: address,
                job_id,
                min_ntime,
                version: VERSION,
                version_rolling_allowed: rolling,
                merkle_path: Seq0255::new(&coinbase.path).expect("it has one sibling"),
                coinbase_tx_prefix: B064K::new(&coinbase.prefix).expect("it is short"),
                coinbase_tx_suffix: B064K::new(&coinbase.suffix).expect("it is short"),
            })
            .await;
        }
        job_id
    }

    /// Activates a job on a new tip.
    pub(super) async fn tip(&mut self, channel_id: u32, job_id: u32) {
        self.tip_at(channel_id, channel_id, job_id).await;
    }

    /// As [`tip`](Self::tip), sent to `address`.
    pub(super) async fn tip_at(&mut self, channel_id: u32, address: u32, job_id: u32) {
        let message = self.next_tip(channel_id, address, job_id);
        self.send(&message).await;
    }

    /// A new tip for a channel, yet to be sent.
    pub(super) fn next_tip(
        &mut self,
        channel_id: u32,
        address: u32,
        job_id: u32,
    ) -> SetNewPrevHash {
        let mut prev_hash = [0; 32];
        self.front.env.rng.fill(&mut prev_hash[..28]);
        let prev_hash = U256(prev_hash);
        let min_ntime = self.unix_secs();
        let tip = Tip { prev_hash, min_ntime, at: Instant::now() };
        let channel = self.watch.channels.get_mut(&channel_id).expect("the channel is granted");
        channel.activate(job_id, &tip);
        SetNewPrevHash { channel_id: address, job_id, prev_hash, min_ntime, nbits: NBITS }
    }

    /// Sets a channel's target.
    pub(super) async fn set_target(&mut self, channel_id: u32, maximum_target: U256) {
        if let Some(channel) = self.watch.channels.get_mut(&channel_id) {
            channel.target = maximum_target;
        }
        self.send(&SetTarget { channel_id, maximum_target }).await;
    }

    /// Waits for a share.
    pub(super) async fn await_share(&mut self) -> Judged<ShareSeen> {
        self.await_share_of(|_| true).await
    }

    /// Waits for a share that `wanted` picks.
    pub(super) async fn await_share_of(
        &mut self,
        wanted: impl Fn(&ShareSeen) -> bool,
    ) -> Judged<ShareSeen> {
        let wait = self.waits().share;
        let deadline = Instant::now() + wait;
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now())).await? {
                Seen::Share(share) if wanted(&share) => return Ok(share),
                Seen::Quiet => {
                    let waited = wait.as_secs();
                    let why = format!("no such share came within {waited} s");
                    return Err(Stop::Inapplicable(why));
                }
                _ => {}
            }
        }
    }

    /// Lets the client work for a while, whatever it does.
    pub(super) async fn let_work(&mut self, time: Duration) -> Judged {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            self.next(deadline.saturating_duration_since(Instant::now())).await?;
        }
        Ok(())
    }

    fn unix_secs(&self) -> u32 {
        u32::try_from(self.front.env.wall.unix_ms() / 1_000).unwrap_or(u32::MAX)
    }
}
