//! One miner of a load: an SV2 client whose connection and shares are due at drawn moments.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sv2_wire::common::{MINING_PROTOCOL, PROTOCOL_VERSION, SetupConnection};
use sv2_wire::mining::{OpenStandardMiningChannel, SubmitSharesStandard};
use sv2_wire::{Message as _, MiningServerMessage, Str0255, U256};
use tokio::time::Instant;

use super::load::{Counted, Load};
use super::measure::Metric;
use super::tips::TipHash;
use crate::actors::miner::connection::{self, Connection};
use crate::actors::miner::work::{Board, Ground};
use crate::actors::observe::ShareClass;

/// REQUIRES_STANDARD_JOBS (specification 5.3.1).
const SETUP_FLAGS: u32 = 0b001;

/// What a miner says of itself, in hashes a second.
const HASHRATE: f32 = 1e6;

/// How long a miner waits at most before it connects again.
const PAUSE: Duration = Duration::from_secs(2);

/// How long a miner of a flood waits before it looks again whether it may send.
const FLOOD_PAUSE: Duration = Duration::from_millis(20);
/// Shares of one miner of a flood that wait for their answers at once: enough to keep a gateway
/// busy. With more of them what is measured is how slow memory is.
pub(super) const FLOOD_WINDOW: usize = 80;

/// The answer that a share gets whose tip was replaced while it was on its way.
const STALE: &[u8] = b"stale-share";

/// Mines until the future is dropped. The first connection is due at `due`.
pub(super) async fn mine(load: Arc<Load>, index: u32, mut due: Instant) {
    let mut rng = ChaCha8Rng::seed_from_u64(u64::from(index));
    loop {
        tokio::time::sleep_until(due).await;
        let mut had_work = false;
        let Err(why) = connect_and_work(&load, index, due, &mut rng, &mut had_work).await;
        load.ended(had_work, why);
        due = Instant::now() + PAUSE.mul_f64(unit(&mut rng));
    }
}

async fn connect_and_work(
    load: &Load,
    index: u32,
    due: Instant,
    rng: &mut ChaCha8Rng,
    had_work: &mut bool,
) -> Result<std::convert::Infallible, String> {
    let address = &load.address;
    let connection = connection::open(load.env(index), address, load.authority).await?;
    let mut session = Session {
        load,
        connection,
        identity: format!("{}{index}", load.identity),
        rng,
        board: None,
        unanswered: VecDeque::new(),
        waiting: Counted::waiting(load),
        next_sequence_number: 1,
        read_at: None,
    };
    session.set_up(address).await?;
    while !session.has_work() {
        session.receive(due).await?;
    }
    load.record(Metric::FirstJob, due.elapsed());
    *had_work = true;
    let _working = Counted::working(load);
    match load.burst {
        None => session.work(due).await,
        Some(burst) => session.flood(due, burst).await,
    }
}

struct Session<'a> {
    load: &'a Load,
    connection: Connection,
    identity: String,
    rng: &'a mut ChaCha8Rng,
    board: Option<Board>,
    /// In the order of their sequence numbers.
    unanswered: VecDeque<Unanswered>,
    waiting: Counted<'a>,
    next_sequence_number: u32,
    /// When the bytes came that were not looked at yet.
    read_at: Option<Instant>,
}

struct Unanswered {
    sequence_number: u32,
    due: Instant,
    sent: Instant,
    prev_hash: TipHash,
    /// Whether it was sent while it was measured.
    counts: bool,
}

impl Session<'_> {
    async fn work(&mut self, connected: Instant) -> Result<std::convert::Infallible, String> {
        let mut share_due = Instant::now() + self.pause();
        // Set anew for each share only: a timer for each message would be work beside the
        // gateway's.
        let mut timer = std::pin::pin!(tokio::time::sleep_until(share_due));
        loop {
            tokio::select! {
                biased;
                received = self.receive(connected) => received?,
                () = timer.as_mut() => {
                    self.submit(share_due).await?;
                    // The next is due when it is due, however late this one was.
                    share_due += self.pause();
                    timer.as_mut().reset(share_due);
                }
            }
        }
    }

    /// Sends shares as fast as they are answered, `burst` in each write.
    async fn flood(
        &mut self,
        connected: Instant,
        burst: u32,
    ) -> Result<std::convert::Infallible, String> {
        loop {
            if self.unanswered.len() + burst as usize > FLOOD_WINDOW || !self.load.is_sending() {
                // Nothing need come before it is time to send.
                let received = tokio::time::timeout(FLOOD_PAUSE, self.receive(connected)).await;
                received.unwrap_or(Ok(()))?;
                continue;
            }
            let mut frames = Vec::new();
            for _ in 0..burst {
                self.next_share(Instant::now(), &mut frames);
            }
            self.connection.send(&frames).await?;
        }
    }

    async fn set_up(&mut self, address: &str) -> Result<(), String> {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
        let text = |text: &'static str| Str0255::new(text.as_bytes()).expect("the text is short");
        let mut frames = Vec::new();
        SetupConnection {
            protocol: MINING_PROTOCOL,
            min_version: PROTOCOL_VERSION,
            max_version: PROTOCOL_VERSION,
            flags: SETUP_FLAGS,
            endpoint_host: Str0255::new(host.as_bytes()).map_err(|error| error.to_string())?,
            endpoint_port: port.parse().unwrap_or_default(),
            vendor: text("assay"),
            hardware_version: text("load"),
            firmware: text(env!("CARGO_PKG_VERSION")),
            device_id: text(""),
        }
        .encode_frame(&mut frames);
        self.connection.send(&frames).await
    }

    async fn open_channel(&mut self) -> Result<(), String> {
        let mut frames = Vec::new();
        OpenStandardMiningChannel {
            request_id: 1,
            user_identity: Str0255::new(self.identity.as_bytes())
                .map_err(|error| format!("identity: {error}"))?,
            nominal_hash_rate: HASHRATE,
            max_target: U256::MAX,
        }
        .encode_frame(&mut frames);
        self.connection.send(&frames).await
    }

    /// Waits for bytes and takes every frame that is whole. May be dropped while it waits.
    async fn receive(&mut self, connected: Instant) -> Result<(), String> {
        if self.read_at.is_none() {
            self.connection.receive().await?;
            self.read_at = Some(Instant::now());
            // Every miner that has something to read notes the time before any opens it.
            tokio::task::yield_now().await;
        }
        let now = self.read_at.take().unwrap_or_else(Instant::now);
        loop {
            let decoder = self.connection.decoder();
            let Some(frame) = decoder.next_frame().map_err(|error| error.to_string())? else {
                return Ok(());
            };
            let decoded = MiningServerMessage::decode(frame.header, frame.payload)
                .map_err(|error| error.to_string())?;
            let context = Context {
                load: self.load,
                board: &mut self.board,
                unanswered: &mut self.unanswered,
            };
            let is_set_up =
                matches!(decoded.message, MiningServerMessage::SetupConnectionSuccess(_));
            context.take(decoded.message, now)?;
            self.waiting.set(self.unanswered.len());
            if is_set_up {
                self.load.record(Metric::Setup, now - connected);
                self.open_channel().await?;
            }
        }
    }

    async fn submit(&mut self, due: Instant) -> Result<(), String> {
        if !self.load.is_sending() {
            return Ok(());
        }
        let mut frames = Vec::new();
        self.next_share(due, &mut frames);
        self.connection.send(&frames).await
    }

    /// Finds a share, which counts as sent. None where there is no work.
    fn next_share(&mut self, due: Instant, frames: &mut Vec<u8>) {
        let counts = self.load.is_measuring();
        let nonce = self.rng.next_u32();
        let now_s = (self.load.env(0).wall.unix_ms() / 1000) as u32;
        let ground =
            self.board.as_ref().and_then(|board| board.grind(ShareClass::Share, nonce, now_s));
        let Some(ground) = ground else {
            self.load.count(|tally| {
                tally.due += u64::from(counts);
                tally.idle += u64::from(counts);
            });
            return;
        };
        let Ground { channel_id, job_id, nonce, ntime, version, prev_hash, .. } = ground;
        let sequence_number = self.next_sequence_number;
        self.next_sequence_number += 1;
        SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version }
            .encode_frame(frames);
        let sent = Instant::now();
        self.unanswered.push_back(Unanswered { sequence_number, due, sent, prev_hash, counts });
        self.waiting.set(self.unanswered.len());
        if counts {
            self.load.record(Metric::Lateness, sent - due);
            self.load.count(|tally| {
                tally.due += 1;
                tally.sent += 1;
            });
        }
    }

    fn has_work(&self) -> bool {
        self.board.as_ref().is_some_and(Board::has_work)
    }

    /// Shares come as a Poisson process does, cut at eight times the mean.
    fn pause(&mut self) -> Duration {
        self.load.share_interval.mul_f64((-(1.0 - unit(self.rng)).ln()).min(8.0))
    }
}

/// From 0 to 1, without 1.
fn unit(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// What a message changes; apart from the session because the message borrows its buffer.
struct Context<'a> {
    load: &'a Load,
    board: &'a mut Option<Board>,
    unanswered: &'a mut VecDeque<Unanswered>,
}

impl Context<'_> {
    fn take(self, message: MiningServerMessage<'_>, now: Instant) -> Result<(), String> {
        let text = |text: Str0255<'_>| String::from_utf8_lossy(text.as_bytes()).into_owned();
        let no_channel = "work before a channel";
        match message {
            MiningServerMessage::SetupConnectionError(refusal) => {
                return Err(format!("setup refused: {}", text(refusal.error_code)));
            }
            MiningServerMessage::OpenMiningChannelError(refusal) => {
                return Err(format!("channel refused: {}", text(refusal.error_code)));
            }
            MiningServerMessage::CloseChannel(close) => {
                return Err(format!("channel closed: {}", text(close.reason_code)));
            }
            MiningServerMessage::OpenStandardMiningChannelSuccess(opened) => {
                *self.board = Some(Board::new(opened.channel_id, opened.target.0));
            }
            MiningServerMessage::NewMiningJob(job) => {
                let known_tip = self.board.as_mut().ok_or(no_channel)?.job(&job);
                known_tip
                    .then_some(())
                    .ok_or_else(|| format!("job {} is for a tip that never came", job.job_id))?;
            }
            MiningServerMessage::SetNewPrevHash(new) => {
                let board = self.board.as_mut().ok_or(no_channel)?;
                let moved = board.tip().is_some_and(|tip| tip != new.prev_hash.0);
                if !board.prev_hash(&new) {
                    return Err(format!("job {} starts but was never announced", new.job_id));
                }
                if moved {
                    self.load.tip_arrived(new.prev_hash.0, now);
                }
            }
            MiningServerMessage::SetTarget(target) => {
                if let Some(board) = self.board {
                    board.target = target.maximum_target.0;
                }
            }
            MiningServerMessage::SubmitSharesSuccess(success) => {
                while let Some(share) = self
                    .unanswered
                    .pop_front_if(|share| share.sequence_number <= success.last_sequence_number)
                {
                    self.answered(&share, now);
                    self.load.count(|tally| tally.accepted += u64::from(share.counts));
                }
            }
            MiningServerMessage::SubmitSharesError(refusal) => {
                let number = refusal.sequence_number;
                let Some(at) =
                    self.unanswered.iter().position(|share| share.sequence_number == number)
                else {
                    return Err(format!("share {number} is refused, but was not sent"));
                };
                let share = self.unanswered.remove(at).expect("it was just found");
                self.answered(&share, now);
                self.refused(&share, refusal.error_code);
            }
            _ => {}
        }
        Ok(())
    }

    fn answered(&self, share: &Unanswered, now: Instant) {
        if share.counts {
            self.load.record(Metric::ShareAck, now - share.due);
            self.load.record(Metric::ShareAckSent, now - share.sent);
        }
    }

    /// A share of the tip before is refused when its miner could not have known better. It
    /// counts as a loss where the miner had heard of the new tip long before.
    fn refused(&self, share: &Unanswered, code: Str0255<'_>) {
        let tip = self.board.as_ref().and_then(Board::tip);
        let overtaken = code.as_bytes() == STALE && tip != Some(share.prev_hash);
        let code = String::from_utf8_lossy(code.as_bytes()).into_owned();
        self.load.count(|tally| match (share.counts, overtaken) {
            (false, _) => {}
            (true, true) => tally.overtaken += 1,
            (true, false) => *tally.refused.entry(code).or_default() += 1,
        });
    }
}
