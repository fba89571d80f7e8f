//! A small conforming miner for the suite to judge.

use std::time::Duration;

use platform::{Env, Stream};
use sv2_noise::{ACT_2_LEN, AuthorityPublicKey, FrameDecoder, Initiator, Sealer};
use sv2_wire::common::SetupConnection;
use sv2_wire::extensions::RequestExtensions;
use sv2_wire::mining::{OpenExtendedMiningChannel, OpenStandardMiningChannel, UpdateChannel};
use sv2_wire::{
    DecodeError, FrameHeader, Message, MiningServerMessage, Seq064K, Str0255, U24, U256,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout_at};

use crate::breakage::Breakage;
use crate::work::{Board, Heard};

const SHARE_INTERVAL: Duration = Duration::from_millis(300);
/// So that more than a second lies between two updates.
const SHARES_PER_UPDATE: u32 = 4;
const PAUSE: Duration = Duration::from_millis(500);
const CLOCK_OFF_SECS: u64 = 7_200;

/// A miner, and what is wrong with it.
#[derive(Clone)]
pub(crate) struct Miner {
    pub(crate) env: Env,
    pub(crate) authority: AuthorityPublicKey,
    pub(crate) is_extended: bool,
    pub(crate) breakage: Option<Breakage>,
}

impl Miner {
    pub(crate) fn is(&self, breakage: Breakage) -> bool {
        self.breakage == Some(breakage)
    }

    pub(crate) fn unix_secs(&self) -> u64 {
        self.env.wall.unix_ms() / 1_000
    }

    /// Mines, and connects again whenever its connection ends.
    pub(crate) async fn mine(self) {
        for connection in 1.. {
            if let Ok(mut stream) = self.env.net.connect("server:3333").await {
                if self.is(Breakage::PlainSecondTime) && connection > 1 {
                    let _ = stream.write_all(&[0; FrameHeader::LEN]).await;
                    sleep(PAUSE).await;
                    continue;
                }
                let _ = self.connection(stream).await;
                if self.is(Breakage::GivesUp) {
                    return;
                }
            }
            sleep(PAUSE).await;
        }
    }

    async fn connection(&self, mut stream: Stream) -> Option<()> {
        let now = match self.breakage {
            Some(Breakage::ClockBehind) => self.unix_secs() - CLOCK_OFF_SECS,
            Some(Breakage::ClockAhead) => self.unix_secs() + CLOCK_OFF_SECS,
            _ => self.unix_secs(),
        };
        let trusted = (!self.is(Breakage::TrustsAnyone)).then_some(self.authority);
        let entropy = &mut |out: &mut [u8]| self.env.rng.fill(out);
        let (initiator, act_1) = Initiator::new(trusted, entropy).ok()?;
        stream.write_all(&act_1).await.ok()?;
        if self.is(Breakage::BytesAfterAct1) {
            stream.write_all(&[0]).await.ok()?;
        }
        let mut act_2 = [0; ACT_2_LEN];
        stream.read_exact(&mut act_2).await.ok()?;
        let (transport, _) = initiator.act_2(&act_2, now).ok()?;
        let (sealer, opener) = transport.split();
        let decoder = FrameDecoder::new(opener, 1 << 20);
        let board = Board::new(self.clone());
        Session { miner: self, stream, sealer, decoder, board, shares: 0 }.live().await
    }
}

struct Session<'m> {
    miner: &'m Miner,
    stream: Stream,
    sealer: Sealer,
    decoder: FrameDecoder,
    board: Board,
    shares: u32,
}

impl Session<'_> {
    async fn live(mut self) -> Option<()> {
        if self.miner.is(Breakage::OpensFirst) {
            self.open().await?;
        }
        self.set_up().await?;
        if self.miner.is(Breakage::DoesNotWait) {
            self.open().await?;
        }
        let mut next_share = Instant::now() + SHARE_INTERVAL;
        let mut buffer = vec![0; 1 << 16];
        loop {
            match timeout_at(next_share, self.stream.read(&mut buffer)).await {
                Ok(Ok(0) | Err(_)) => return None,
                Ok(Ok(count)) => {
                    self.decoder.push(&buffer[..count]);
                    self.frames().await?;
                }
                Err(_) => {
                    next_share += SHARE_INTERVAL;
                    self.work().await?;
                }
            }
        }
    }

    async fn frames(&mut self) -> Option<()> {
        loop {
            let frame = match self.decoder.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return Some(()),
                Err(_) if self.miner.is(Breakage::KeepsUnauthentic) => {
                    sleep(Duration::from_secs(600)).await;
                    return None;
                }
                Err(_) => return None,
            };
            let heard = match MiningServerMessage::decode(frame.header, frame.payload) {
                Ok(decoded) => self.board.hear(&decoded.message),
                Err(DecodeError::UnknownExtension { .. })
                    if !self.miner.is(Breakage::UnknownExtensionFatal) =>
                {
                    Heard::Nothing
                }
                Err(_) => return None,
            };
            match heard {
                Heard::Nothing => {}
                Heard::SetUp if self.miner.is(Breakage::NeverOpens) => {}
                Heard::SetUp => self.begin().await?,
                Heard::Refused => {
                    if self.miner.is(Breakage::AsksOnRefusal) {
                        self.open().await?;
                    }
                }
                Heard::NeverAgain => sleep(Duration::from_secs(3_600)).await,
                Heard::End => return None,
            }
        }
    }

    async fn set_up(&mut self) -> Option<()> {
        let is = |breakage| self.miner.is(breakage);
        let version = if is(Breakage::OldVersion) { 1 } else { 2 };
        let standard = u32::from(!self.miner.is_extended);
        let setup = SetupConnection {
            protocol: u8::from(is(Breakage::WrongProtocol)),
            min_version: version,
            max_version: version,
            flags: if is(Breakage::OddFlags) { 1 << 20 } else { standard },
            endpoint_host: text("server"),
            endpoint_port: 3333,
            vendor: text(if is(Breakage::NoVendor) { "" } else { "tests" }),
            hardware_version: text("1"),
            firmware: text("1"),
            device_id: text(""),
        };
        self.send(&setup).await
    }

    async fn begin(&mut self) -> Option<()> {
        let late = self.miner.is(Breakage::LateExtensions);
        if late {
            self.open().await?;
        }
        let requested_extensions = Seq064K::new(&[2]).unwrap();
        if !self.miner.is(Breakage::SaysLittle) {
            self.send(&RequestExtensions { request_id: 1, requested_extensions }).await?;
        }
        if !late {
            self.open().await?;
        }
        if self.miner.is(Breakage::RequestIdReused) {
            self.open().await?;
        }
        Some(())
    }

    async fn open(&mut self) -> Option<()> {
        let nominal_hash_rate = if self.miner.is(Breakage::NegativeRate) { -1.0 } else { 1e3 };
        let (request_id, user_identity, max_target) = (7, text("tests"), U256::MAX);
        if !self.miner.is_extended {
            let open = OpenStandardMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
            };
            return self.send(&open).await;
        }
        let open = OpenExtendedMiningChannel {
            request_id,
            user_identity,
            nominal_hash_rate,
            max_target,
            min_extranonce_size: 8,
        };
        self.send(&open).await
    }

    async fn work(&mut self) -> Option<()> {
        let maximum_target = U256::MAX;
        let updates = match self.miner.breakage {
            Some(Breakage::UpdatesUnknown) => vec![99],
            Some(Breakage::UpdatesOften) => vec![2, 2],
            Some(Breakage::SaysLittle) => vec![],
            // Shares are only sent once there is a channel.
            _ if self.shares > 0 && self.shares.is_multiple_of(SHARES_PER_UPDATE) => vec![2],
            _ => vec![],
        };
        for channel_id in updates {
            self.send(&UpdateChannel { channel_id, nominal_hash_rate: 1e3, maximum_target })
                .await?;
        }
        for frame in self.board.shares() {
            self.shares += 1;
            self.send_frame(frame).await?;
        }
        Some(())
    }

    async fn send<'a>(&mut self, message: &impl Message<'a>) -> Option<()> {
        let mut frame = Vec::new();
        message.encode_frame(&mut frame);
        self.send_frame(frame).await
    }

    async fn send_frame(&mut self, mut frame: Vec<u8>) -> Option<()> {
        let header = FrameHeader::decode(*frame.first_chunk()?);
        // Of shares only, so that the connection comes so far.
        let is_share = matches!(header.msg_type, 0x1a | 0x1b);
        if is_share && self.miner.is(Breakage::ChannelBit) {
            frame[1] ^= 0x80;
        }
        if is_share && self.miner.is(Breakage::TrailingByte) {
            frame.push(0);
            let msg_length = U24::from_len(frame.len() - FrameHeader::LEN)?;
            frame[..FrameHeader::LEN]
                .copy_from_slice(&FrameHeader { msg_length, ..header }.encode());
        }
        let mut sealed = Vec::new();
        self.sealer.seal_frame(&frame, &mut sealed);
        self.stream.write_all(&sealed).await.ok()
    }
}

fn text(text: &str) -> Str0255<'_> {
    Str0255::new(text.as_bytes()).unwrap()
}
