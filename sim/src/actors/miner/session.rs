//! One connection's life: setup, a standard channel, jobs and shares.

use std::collections::BTreeMap;
use std::time::Duration;

use platform::Env;
use sv2_wire::common::{MINING_PROTOCOL, PROTOCOL_VERSION, SetupConnection};
use sv2_wire::extensions::RequestExtensions;
use sv2_wire::mining::{
    OpenExtendedMiningChannel, OpenStandardMiningChannel, SubmitSharesExtended,
    SubmitSharesStandard, SubmitSharesSuccess, UpdateChannel,
};
use sv2_wire::{B032, Message, MiningServerMessage, Seq064K, Str0255, WorkerIdentity};
use tokio::time::Instant;

use super::connection::Connection;
use super::persona::{Asks, Greeting, Impulse, Persona, Reaction};
use super::work::{Board, Ground, shown};
use super::{FIRST_WORK_LIMIT, MinerConfig, Pace};
use crate::actors::observe::{MinerSeen, Recorder, Seen, ShareClass};
use crate::scenario::{Behaviour, MinerKind};

/// How soon a miner without work looks for some again.
const IDLE: Duration = Duration::from_millis(100);

/// How a connection ended.
pub(super) struct Ended {
    pub(super) error: String,
    /// Whether it ever had work.
    pub(super) had_work: bool,
}

/// Works on a connection until it ends. `shares` counts over all connections of the miner.
pub(super) async fn work(
    connection: Connection,
    env: &Env,
    config: &mut MinerConfig,
    persona: &mut Persona,
    recorder: &Recorder,
    shares: &mut u64,
) -> Ended {
    persona.begin();
    let mut session = Session {
        connection,
        env,
        config,
        persona,
        recorder,
        shares,
        board: None,
        unanswered: BTreeMap::new(),
        next_sequence_number: 1,
        turn: 0,
        last: None,
        had_work: false,
    };
    let error = match session.run().await {
        Ok(never) => match never {},
        Err(error) => error,
    };
    Ended { error, had_work: session.had_work }
}

struct Session<'a> {
    connection: Connection,
    env: &'a Env,
    config: &'a mut MinerConfig,
    persona: &'a mut Persona,
    recorder: &'a Recorder,
    shares: &'a mut u64,
    board: Option<Board>,
    /// Numbers of shares among all of the miner's, by their sequence number.
    unanswered: BTreeMap<u32, u64>,
    next_sequence_number: u32,
    /// Whose turn it is among the classes of a behaviour.
    turn: usize,
    /// The last share that was good when it was sent.
    last: Option<Ground>,
    had_work: bool,
}

impl Session<'_> {
    async fn run(&mut self) -> Result<std::convert::Infallible, String> {
        self.set_up().await?;
        let first_work_due = Instant::now() + FIRST_WORK_LIMIT;
        let mut next_share = Instant::now() + self.pause();
        loop {
            self.read_frames().await?;
            tokio::select! {
                biased;
                received = self.connection.receive() => received?,
                () = tokio::time::sleep_until(first_work_due), if !self.had_work => {
                    return Err("no work in time".to_owned());
                }
                Ok(()) = self.config.blocks_wanted.changed(), if self.has_work() => {
                    self.submit(ShareClass::Block).await?;
                }
                () = tokio::time::sleep_until(next_share) => {
                    next_share = Instant::now() + self.pause();
                    if *self.config.working.borrow() && !self.persona.is_idle() {
                        let class = self.next_class();
                        self.submit(class).await?;
                    }
                }
                impulse = self.persona.impulse(self.config.hashrate) => self.follow(impulse).await?,
            }
        }
    }

    /// SetupConnection and a channel, without waiting for the answer to the first.
    async fn set_up(&mut self) -> Result<(), String> {
        let (host, port) = self.config.address.rsplit_once(':').unwrap_or(("", "0"));
        let text = |text: &'static str| Str0255::new(text.as_bytes()).expect("the text is short");
        let Greeting { flags, vendor, hardware_version, firmware, device_id } =
            self.persona.greeting();
        let mut frames = Vec::new();
        SetupConnection {
            protocol: MINING_PROTOCOL,
            min_version: PROTOCOL_VERSION,
            max_version: PROTOCOL_VERSION,
            flags,
            endpoint_host: Str0255::new(host.as_bytes()).map_err(|error| error.to_string())?,
            endpoint_port: port.parse().unwrap_or_default(),
            vendor: text(vendor),
            hardware_version: text(hardware_version),
            firmware: text(firmware),
            device_id: text(device_id),
        }
        .encode_frame(&mut frames);
        self.connection.send(&frames).await
    }

    async fn read_frames(&mut self) -> Result<(), String> {
        loop {
            let frame =
                self.connection.decoder().next_frame().map_err(|error| error.to_string())?;
            let Some(frame) = frame else { return Ok(()) };
            let decoded = MiningServerMessage::decode(frame.header, frame.payload)
                .map_err(|error| error.to_string())?;
            let wants_channel =
                matches!(decoded.message, MiningServerMessage::SetupConnectionSuccess(_));
            // Written out, because the message borrows the connection's buffer.
            let mut seen = Vec::new();
            let reaction = self.persona.looks_at(&decoded.message, frame.payload.len());
            let outcome = match reaction {
                Ok(Reaction::Ignore) => Ok(()),
                Ok(Reaction::Act) => {
                    take(decoded.message, &mut self.board, &mut self.unanswered, &mut seen)
                }
                Err(what) => {
                    seen.push(MinerSeen::Breach { what: what.clone() });
                    Err(what)
                }
            };
            for what in seen {
                self.see(what);
            }
            outcome?;
            if let Some(board) = &mut self.board {
                board.version_mask = self.persona.version_mask();
            }
            self.had_work |= self.has_work();
            if wants_channel {
                self.open_channel().await?;
            }
        }
    }

    /// Does what the device does of its own accord.
    async fn follow(&mut self, impulse: Impulse) -> Result<(), String> {
        let nominal_hash_rate = match impulse {
            Impulse::Leave => return Err("it has heard nothing for too long".to_owned()),
            Impulse::Update(rate) => rate,
        };
        let Some(board) = &self.board else { return Ok(()) };
        let mut frames = Vec::new();
        UpdateChannel {
            channel_id: board.channel_id,
            nominal_hash_rate,
            maximum_target: self.persona.max_target(),
        }
        .encode_frame(&mut frames);
        self.connection.send(&frames).await
    }

    async fn open_channel(&mut self) -> Result<(), String> {
        tokio::time::sleep(self.persona.rest()).await;
        let mut frames = Vec::new();
        if self.persona.wants_extension() {
            let requested = [WorkerIdentity::EXTENSION_TYPE];
            let requested_extensions = Seq064K::new(&requested).expect("one fits");
            RequestExtensions { request_id: 1, requested_extensions }.encode_frame(&mut frames);
        }
        let user_identity = Str0255::new(self.config.identity.as_bytes())
            .map_err(|error| format!("identity: {error}"))?;
        let Asks { request_id, nominal_hash_rate, max_target, min_extranonce_size } =
            self.persona.asks(self.config.hashrate);
        match self.config.kind {
            MinerKind::Standard => {
                OpenStandardMiningChannel {
                    request_id,
                    user_identity,
                    nominal_hash_rate,
                    max_target,
                }
                .encode_frame(&mut frames);
            }
            MinerKind::Extended => {
                OpenExtendedMiningChannel {
                    request_id,
                    user_identity,
                    nominal_hash_rate,
                    max_target,
                    min_extranonce_size,
                }
                .encode_frame(&mut frames);
            }
        }
        self.connection.send(&frames).await
    }

    async fn submit(&mut self, class: ShareClass) -> Result<(), String> {
        let Some(ground) = self.ground(class) else { return Ok(()) };
        let sequence_number = self.next_sequence_number;
        self.next_sequence_number += 1;
        *self.shares += 1;
        let mut frames = Vec::new();
        let Ground { channel_id, job_id, nonce, ntime, version, .. } = ground;
        if self.board.as_ref().is_some_and(Board::is_extended) {
            let extranonce = B032::new(&ground.extranonce).map_err(|error| error.to_string())?;
            let share = SubmitSharesExtended {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
                extranonce,
            };
            match self.persona.worker() {
                None => share.encode_frame(&mut frames),
                Some(worker) => share.encode_frame_with_tlvs(&[worker.to_tlv()], &mut frames),
            }
        } else {
            SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version }
                .encode_frame(&mut frames);
        }
        self.unanswered.insert(sequence_number, *self.shares);
        self.see(MinerSeen::Sent {
            share: *self.shares,
            share_id: ground.share_id(),
            hash: ground.shown_hash(),
            job_id,
            prev_hash: shown(&ground.prev_hash),
            class: ground.class,
        });
        if ground.class == ShareClass::Share {
            self.last = Some(ground);
        }
        self.connection.send(&frames).await
    }

    /// A header of the class; a good one where the class is not to be had yet.
    fn ground(&self, class: ShareClass) -> Option<Ground> {
        let board = self.board.as_ref()?;
        let nonce = self.env.rng.next_u64() as u32;
        let now_s = self.persona.header_time((self.env.wall.unix_ms() / 1000) as u32);
        let wanted = match class {
            // Only a share of the present tip is refused for being a replay.
            ShareClass::Replay => self
                .last
                .clone()
                .filter(|last| Some(last.prev_hash) == board.tip())
                .map(|last| last.into_class(class)),
            _ => board.grind(class, nonce, now_s),
        };
        match wanted {
            Some(ground) => Some(ground),
            None if class == ShareClass::Block => None,
            None => board.grind(ShareClass::Share, nonce, now_s),
        }
    }

    fn has_work(&self) -> bool {
        self.board.as_ref().is_some_and(Board::has_work)
    }

    fn next_class(&mut self) -> ShareClass {
        let classes = classes(self.config.behaviour);
        self.turn += 1;
        classes[self.turn % classes.len()]
    }

    /// Shares come as a Poisson process does. Around a mean they are cut at four times that; by
    /// hash rate hardly at all, because that would be a rate of its own.
    fn pause(&self) -> Duration {
        let unit = (self.env.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let means = -(1.0 - unit).ln();
        match self.config.pace {
            Pace::Every(mean) => mean.mul_f64(means.min(4.0)),
            Pace::Hashes(per_second) => {
                let share = self.board.as_ref().and_then(Board::hashes_a_share);
                let mean =
                    share.map_or(IDLE, |hashes| Duration::from_secs_f64(hashes / per_second));
                mean.mul_f64(means.min(32.0))
            }
        }
    }

    fn see(&self, what: MinerSeen) {
        self.recorder.record(Seen::Miner { miner: self.config.index, what });
    }
}

fn classes(behaviour: Behaviour) -> &'static [ShareClass] {
    use ShareClass::{
        BadExtranonce, BadNtime, BadVersionBits, LowDifficulty, OldJob, Replay, Share, Stale,
        UnknownChannel, UnknownJob,
    };
    match behaviour {
        Behaviour::Honest => &[Share],
        Behaviour::Replay => &[Replay, Share],
        Behaviour::Stale => &[Stale, Share],
        Behaviour::LowDifficulty => &[LowDifficulty, Share],
        Behaviour::BadNtime => &[BadNtime, Share],
        Behaviour::BadVersionBits => &[BadVersionBits, Share],
        Behaviour::UnknownJob => &[UnknownJob, Share],
        Behaviour::UnknownChannel => &[UnknownChannel, Share],
        Behaviour::BadExtranonce => &[BadExtranonce, Share],
        Behaviour::OldJob => &[OldJob, Share],
        Behaviour::Everything => &[
            Share,
            Replay,
            Stale,
            LowDifficulty,
            BadNtime,
            BadVersionBits,
            UnknownJob,
            UnknownChannel,
        ],
    }
}

/// What a message means for the channel. An error ends the connection.
fn take(
    message: MiningServerMessage<'_>,
    board: &mut Option<Board>,
    unanswered: &mut BTreeMap<u32, u64>,
    seen: &mut Vec<MinerSeen>,
) -> Result<(), String> {
    let text = |text: Str0255<'_>| String::from_utf8_lossy(text.as_bytes()).into_owned();
    match message {
        MiningServerMessage::SetupConnectionError(refusal) => {
            let code = text(refusal.error_code);
            seen.push(MinerSeen::OpenRejected { code: code.clone() });
            return Err(format!("setup refused: {code}"));
        }
        MiningServerMessage::OpenMiningChannelError(refusal) => {
            let code = text(refusal.error_code);
            seen.push(MinerSeen::OpenRejected { code: code.clone() });
            return Err(format!("channel refused: {code}"));
        }
        MiningServerMessage::OpenStandardMiningChannelSuccess(opened) => {
            *board = Some(Board::new(opened.channel_id, opened.target.0));
            seen.push(MinerSeen::ChannelOpened { channel_id: opened.channel_id });
        }
        MiningServerMessage::NewMiningJob(job) => {
            seen.push(MinerSeen::Job { job_id: job.job_id, future: job.min_ntime.is_none() });
            let has_tip = board.as_mut().ok_or("a job before the channel")?.job(&job);
            return on_a_tip(has_tip, job.job_id);
        }
        MiningServerMessage::OpenExtendedMiningChannelSuccess(opened) => {
            let rolled = usize::from(opened.extranonce_size);
            let prefix = opened.extranonce_prefix.as_bytes();
            *board = Some(Board::extended(opened.channel_id, opened.target.0, prefix, rolled));
            seen.push(MinerSeen::ChannelOpened { channel_id: opened.channel_id });
        }
        MiningServerMessage::NewExtendedMiningJob(job) => {
            seen.push(MinerSeen::Job { job_id: job.job_id, future: job.min_ntime.is_none() });
            let has_tip = board.as_mut().ok_or("a job before the channel")?.extended_job(&job);
            return on_a_tip(has_tip, job.job_id);
        }
        MiningServerMessage::SetNewPrevHash(new) => {
            let prev_hash = shown(&new.prev_hash.0);
            seen.push(MinerSeen::PrevHash { prev_hash, job_id: new.job_id });
            if !board.as_mut().ok_or("a tip before the channel")?.prev_hash(&new) {
                return Err(format!("job {} starts but was never announced", new.job_id));
            }
        }
        MiningServerMessage::SetTarget(target) => {
            if let Some(board) = board {
                board.target = target.maximum_target.0;
            }
        }
        MiningServerMessage::SubmitSharesSuccess(success) => {
            acknowledge(&success, unanswered, seen);
        }
        MiningServerMessage::SubmitSharesError(refusal) => {
            let number = refusal.sequence_number;
            seen.push(match unanswered.remove(&number) {
                Some(share) => MinerSeen::Rejected { share, code: text(refusal.error_code) },
                None => {
                    MinerSeen::Breach { what: format!("number {number} is refused, but not open") }
                }
            });
        }
        MiningServerMessage::CloseChannel(close) => {
            return Err(format!("channel closed: {}", text(close.reason_code)));
        }
        _ => {}
    }
    Ok(())
}

fn on_a_tip(has_tip: bool, job_id: u32) -> Result<(), String> {
    has_tip.then_some(()).ok_or_else(|| format!("job {job_id} is for a tip that never came"))
}

/// Takes the acknowledged shares from those that wait, and holds their number against the answer's.
fn acknowledge(
    success: &SubmitSharesSuccess,
    unanswered: &mut BTreeMap<u32, u64>,
    seen: &mut Vec<MinerSeen>,
) {
    let mut acked = 0;
    while let Some(first) = unanswered.first_entry()
        && *first.key() <= success.last_sequence_number
    {
        seen.push(MinerSeen::Acked { share: first.remove() });
        acked += 1;
    }
    if acked != success.new_submits_accepted_count {
        let count = success.new_submits_accepted_count;
        let what = format!("{count} shares are acknowledged, {acked} were waiting");
        seen.push(MinerSeen::Breach { what });
    }
}
