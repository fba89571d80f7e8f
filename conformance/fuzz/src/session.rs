//! A whole session, driven by bytes: what a miner sends, what the daemon tells, and time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, CompactTarget, ScriptBuf};
use gateway_core::auth::{AuthMode, Authenticator};
use gateway_core::channel::ExtranonceSpace;
use gateway_core::ids::{ConnectionId, InstanceId, Receipt, TemplateId};
use gateway_core::job::{CoinbaseSpec, PayoutOutput, Template, Work};
use gateway_core::mode::ValidationLevel;
use gateway_core::prevhash::{Disconnect, Publication, PublicationKind};
use gateway_core::reason::ReasonCode;
use gateway_core::session::{DifficultySettings, Input, NtimeWindow, Output, Session, Settings};
use gateway_core::target::Difficulty;
use gateway_core::{Moment, SharedBounds, SharedState};
use sv2_wire::common::SetupConnection;
use sv2_wire::extensions::RequestExtensions;
use sv2_wire::mining::{
    CloseChannel, OpenExtendedMiningChannel, OpenStandardMiningChannel, SubmitSharesExtended,
    SubmitSharesStandard, UpdateChannel,
};
use sv2_wire::{
    B032, FrameHeader, Message, MiningServerMessage as Told, Seq064K, Str0255, U24, U256,
};

/// The clock at the beginning, in Unix milliseconds.
const START_MS: u64 = 1_800_000_000_000;
/// Channels that a connection may have.
const MAX_CHANNELS: usize = 3;
/// Steps of one input.
const MAX_STEPS: usize = 400;
/// Four tips with two templates each.
const WORKS: u64 = 8;

/// Plays the bytes, and holds every answer against what a miner may rely on.
pub(crate) fn play(input: &[u8]) {
    let mut rig = Rig::new();
    let mut script = Script(input);
    for _ in 0..MAX_STEPS {
        if script.0.is_empty() {
            break;
        }
        rig.step(&mut script);
    }
}

/// Bytes that decide what happens; zeroes where they have run out.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u32 {
        u32::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn target(&mut self) -> U256 {
        let mut target = [self.byte(); 32];
        target[31] = self.byte();
        U256(target)
    }
}

/// One session, its miner and its daemon.
struct Rig {
    session: Session,
    settings: Flags,
    now_ms: u64,
    tip: Option<BlockHash>,
    sequence_number: u32,
    receipts: u64,
    durable: u64,
    acknowledged: u64,
    /// Accepted and refused shares.
    judged: usize,
    is_closed: bool,
    view: View,
}

/// The settings that steps change.
#[derive(Clone, Copy)]
struct Flags {
    group_addressing: bool,
    extended_channels: bool,
    rolls_version: bool,
}

/// What a miner knows.
#[derive(Default)]
struct View {
    /// Every channel that was opened, by id: its group, and the bytes that it rolls.
    channels: BTreeMap<u32, (u32, u16)>,
    groups: BTreeSet<u32>,
    /// Jobs by channel or group, and those of them that wait for their tip.
    jobs: BTreeMap<u32, Vec<u32>>,
    futures: BTreeSet<(u32, u32)>,
}

impl Rig {
    fn new() -> Self {
        let settings =
            Flags { group_addressing: false, extended_channels: true, rolls_version: true };
        let now = moment(0);
        let bounds =
            SharedBounds { replay_window: 64, templates: 3, channels: MAX_CHANNELS, workers: 6 };
        let shared = Arc::new(SharedState::new(InstanceId::new("fuzz"), bounds, now, 7));
        let session = Session::new(ConnectionId(1), Arc::new(settings.whole()), shared, now);
        Self {
            session,
            settings,
            now_ms: 0,
            tip: None,
            sequence_number: 0,
            receipts: 0,
            durable: 0,
            acknowledged: 0,
            judged: 0,
            is_closed: false,
            view: View::default(),
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 16 {
            0 => self.raw(script),
            1 => self.set_up(script),
            2 => self.open_standard(script),
            3 => self.open_extended(script),
            4..=6 => self.share(script),
            7 => self.update(script),
            8 => self.close(script),
            9 | 10 => self.publish(script.byte()),
            11 => {
                self.durable = self.receipts;
                self.handle(Input::Durable(Receipt(self.receipts)));
            }
            12 => {
                self.now_ms += u64::from(script.byte()) * u64::from(script.byte());
                self.handle(Input::Tick);
            }
            13 => {
                let tip = if script.byte().is_multiple_of(4) { None } else { self.tip };
                let reason = ReasonCode::PrevhashSwitchTimeout;
                self.handle(Input::Disconnect(Disconnect { tip, reason }));
            }
            14 => {
                let flags = script.byte();
                self.settings = Flags {
                    group_addressing: flags & 1 != 0,
                    extended_channels: flags & 2 == 0,
                    rolls_version: flags & 4 == 0,
                };
                self.handle(Input::Settings(Arc::new(self.settings.whole())));
            }
            _ => match script.byte() {
                0 => self.handle(Input::Drain),
                1..=127 => self.handle(Input::Upstream(script.byte().is_multiple_of(2))),
                _ => self.request_extensions(script),
            },
        }
    }

    /// A frame of any kind.
    fn raw(&mut self, script: &mut Script<'_>) {
        let extension_type = u16::from(script.byte() % 4);
        let (msg_type, len) = (script.byte(), usize::from(script.byte()));
        let payload = script.bytes(len);
        let msg_length = U24::from_len(payload.len()).expect("a byte counts them");
        let channel_msg = msg_type & 0x80 != 0;
        let msg_type = msg_type & 0x7f;
        let header = FrameHeader { extension_type, channel_msg, msg_type, msg_length };
        self.handle(Input::Frame { header, payload });
    }

    fn set_up(&mut self, script: &mut Script<'_>) {
        let empty = Str0255::new(b"").expect("nothing fits");
        let message = SetupConnection {
            protocol: script.byte() % 3,
            min_version: 2,
            max_version: 2,
            flags: script.byte().into(),
            endpoint_host: empty,
            endpoint_port: 3333,
            vendor: empty,
            hardware_version: empty,
            firmware: empty,
            device_id: empty,
        };
        self.send(&message);
    }

    fn open_standard(&mut self, script: &mut Script<'_>) {
        let message = OpenStandardMiningChannel {
            request_id: script.byte().into(),
            user_identity: Str0255::new(b"fuzz").expect("the name is short"),
            nominal_hash_rate: f32::from_bits(script.word()),
            max_target: script.target(),
        };
        self.send(&message);
    }

    fn open_extended(&mut self, script: &mut Script<'_>) {
        let message = OpenExtendedMiningChannel {
            request_id: script.byte().into(),
            user_identity: Str0255::new(b"fuzz").expect("the name is short"),
            nominal_hash_rate: f32::from_bits(script.word()),
            max_target: script.target(),
            min_extranonce_size: u16::from(script.byte() % 20),
        };
        self.send(&message);
    }

    /// A share for one of the channels and one of its jobs, near to what is right. It is judged
    /// exactly once, unless it ends the session.
    fn share(&mut self, script: &mut Script<'_>) {
        let count = self.view.channels.len().max(1);
        let chosen = usize::from(script.byte()) % count;
        let Some((id, (group, rolled))) =
            self.view.channels.iter().nth(chosen).map(|(id, channel)| (*id, *channel))
        else {
            return;
        };
        let jobs: Vec<u32> =
            [id, group].iter().filter_map(|id| self.view.jobs.get(id)).flatten().copied().collect();
        let back = usize::from(script.byte() % 8);
        let job_id = jobs.iter().rev().nth(back).copied().unwrap_or_default();
        self.sequence_number += 1;
        let seconds = i64::from(script.byte()) - 64;
        let now_s = i64::try_from((START_MS + self.now_ms) / 1000).expect("the clock is sane");
        let ntime = u32::try_from(now_s + seconds).expect("the clock is sane");
        let version = 0x2000_0000 ^ (u32::from(script.byte()) << 8);
        let (sequence_number, nonce) = (self.sequence_number, script.byte().into());
        let before = self.judged;
        if rolled == 0 {
            self.send(&SubmitSharesStandard {
                channel_id: id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
            });
        } else {
            let extranonce = [script.byte(); 32];
            let len = usize::from(rolled).min(32);
            self.send(&SubmitSharesExtended {
                channel_id: id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
                extranonce: B032::new(&extranonce[..len]).expect("32 bytes fit"),
            });
        }
        assert!(self.is_closed || self.judged == before + 1, "a share is not judged once");
    }

    fn update(&mut self, script: &mut Script<'_>) {
        let message = UpdateChannel {
            channel_id: script.byte().into(),
            nominal_hash_rate: f32::from_bits(script.word()),
            maximum_target: script.target(),
        };
        self.send(&message);
    }

    fn close(&mut self, script: &mut Script<'_>) {
        let channel_id = u32::from(script.byte() % 8);
        self.send(&CloseChannel {
            channel_id,
            reason_code: Str0255::new(b"bye").expect("the text is short"),
        });
        let is_group = self.view.groups.contains(&channel_id);
        self.view
            .channels
            .retain(|id, (group, _)| *id != channel_id && !(is_group && *group == channel_id));
    }

    fn request_extensions(&mut self, script: &mut Script<'_>) {
        let asked = [u16::from(script.byte() % 4), u16::from(script.byte() % 4)];
        let requested_extensions = Seq064K::new(&asked).expect("two fit");
        self.send(&RequestExtensions { request_id: 1, requested_extensions });
    }

    fn publish(&mut self, choice: u8) {
        let work = Arc::clone(&ALL_WORK[usize::from(choice) % ALL_WORK.len()]);
        let is_new = self.tip != Some(work.prev_hash());
        let kind = if is_new { PublicationKind::NewTip } else { PublicationKind::Refresh };
        self.tip = Some(work.prev_hash());
        let now = moment(self.now_ms);
        let publication = Publication { work, kind, tip_seen: now, published: now };
        self.handle(Input::Work(Arc::new(publication)));
    }

    fn send<'a>(&mut self, message: &impl Message<'a>) {
        let mut frame = Vec::new();
        message.encode_frame(&mut frame);
        let (header, payload) = frame.split_first_chunk().expect("a frame has a header");
        self.handle(Input::Frame { header: FrameHeader::decode(*header), payload });
    }

    fn handle(&mut self, input: Input<'_>) {
        self.session.handle(input, moment(self.now_ms));
        while let Some(output) = self.session.poll() {
            assert!(!self.is_closed, "{output:?} comes after the end");
            match output {
                Output::Send(bytes) => self.read(&bytes),
                Output::Accepted(share) => {
                    assert_eq!(share.receipt.0, self.receipts + 1, "receipts count upwards");
                    self.receipts += 1;
                    self.judged += 1;
                }
                Output::Rejected(_) => self.judged += 1,
                Output::Close(_) => self.is_closed = true,
                _ => {}
            }
        }
        assert_eq!(self.is_closed, self.session.is_closed());
        assert!(self.session.channels() <= MAX_CHANNELS, "there are too many channels");
    }

    /// What the miner is sent divides into whole frames that it can read.
    fn read(&mut self, mut bytes: &[u8]) {
        while let Some((header, rest)) = bytes.split_first_chunk() {
            let header = FrameHeader::decode(*header);
            let (payload, rest) = rest.split_at(header.msg_length.to_len());
            bytes = rest;
            let decoded = Told::decode(header, payload).expect("a server's message decodes");
            if let Told::SubmitSharesSuccess(success) = &decoded.message {
                self.acknowledged += u64::from(success.new_submits_accepted_count);
                assert!(self.acknowledged <= self.durable, "a share is told of before it is kept");
            }
            self.view.take(&decoded.message);
        }
        assert!(bytes.is_empty(), "{} bytes are no frame", bytes.len());
    }
}

impl View {
    fn take(&mut self, message: &Told<'_>) {
        match message {
            Told::OpenStandardMiningChannelSuccess(opened) => {
                self.open(opened.channel_id, opened.group_channel_id, 0);
            }
            Told::OpenExtendedMiningChannelSuccess(opened) => {
                self.open(opened.channel_id, opened.group_channel_id, opened.extranonce_size);
            }
            Told::NewMiningJob(job) => self.job(job.channel_id, job.job_id, job.min_ntime),
            Told::NewExtendedMiningJob(job) => self.job(job.channel_id, job.job_id, job.min_ntime),
            Told::CloseChannel(closed) => drop(self.channels.remove(&closed.channel_id)),
            Told::SetNewPrevHash(new) => {
                let known = self.futures.contains(&(new.channel_id, new.job_id));
                assert!(known, "job {} starts and was never sent", new.job_id);
            }
            _ => {}
        }
    }

    fn open(&mut self, id: u32, group: u32, rolled: u16) {
        assert!(!self.groups.contains(&id) && id != group, "channel {id} is a group");
        assert!(!self.jobs.contains_key(&id), "channel {id} was there before");
        assert!(self.channels.insert(id, (group, rolled)).is_none(), "channel {id} is there");
        self.groups.insert(group);
        self.jobs.insert(id, Vec::new());
    }

    fn job(&mut self, id: u32, job_id: u32, min_ntime: Option<u32>) {
        assert!(self.jobs.contains_key(&id) || self.groups.contains(&id), "whose job is it");
        let jobs = self.jobs.entry(id).or_default();
        assert!(!jobs.contains(&job_id), "job {job_id} is there already");
        jobs.push(job_id);
        if min_ntime.is_none() {
            self.futures.insert((id, job_id));
        }
    }
}

impl Flags {
    fn whole(self) -> Settings {
        let seconds = Duration::from_secs;
        let easiest = Difficulty::new(1e-12).expect("it is above zero");
        Settings {
            auth: Authenticator { mode: AuthMode::Open, max_worker_id_bytes: 32 },
            validation: ValidationLevel::Full,
            version_rolling_mask: if self.rolls_version { 0x1fff_ffe0 } else { 0 },
            extended_channels: self.extended_channels,
            group_addressing: self.group_addressing,
            extranonce_space: ExtranonceSpace::of_index(0),
            reconnect: None,
            difficulty: DifficultySettings {
                initial: easiest,
                aim: None,
                least: easiest,
                most: Difficulty::new(1e12).expect("it is above zero"),
            },
            ntime_window: NtimeWindow::DeFacto(seconds(7200)),
            setup_timeout: seconds(10),
            first_channel_timeout: seconds(60),
            idle_timeout: seconds(3600),
            max_channels: MAX_CHANNELS,
            max_workers: 2,
            max_frame_bytes: 1000,
            messages_per_second: 10_000,
            bytes_per_second: 1_000_000,
            shares_per_second: 10_000,
            ack_batch: 2,
            ack_max_delay: Duration::from_millis(100),
        }
    }
}

fn moment(ms: u64) -> Moment {
    Moment::new(Duration::from_millis(ms), START_MS + ms)
}

/// Template `n` is for tip `n / 2`.
static ALL_WORK: LazyLock<Vec<Arc<Work>>> = LazyLock::new(|| {
    let payouts = vec![PayoutOutput { script_pubkey: ScriptBuf::from_bytes(vec![0x51]), parts: 1 }];
    let spec = CoinbaseSpec { tag: b"/fuzz/".to_vec(), payouts };
    let work = |number| {
        Arc::new(Work::build(Arc::new(template(number)), &spec).expect("the template is whole"))
    };
    (0..WORKS).map(work).collect()
});

fn template(number: u64) -> Template {
    let tip = (number / 2) as u8;
    Template {
        template_id: TemplateId(number),
        source: "fuzz".to_owned(),
        observed_at_ms: START_MS,
        height: 100 + u32::from(tip),
        prev_hash: BlockHash::from_byte_array([tip + 1; 32]),
        version: 0x2000_0000,
        bits: CompactTarget::from_consensus(0x207f_ffff),
        curtime: 1_800_000_000,
        mintime: 1_799_999_000,
        coinbase_value: 5_000_000_000,
        transactions: Vec::new(),
        witness_commitment: None,
        mempool_tx: None,
    }
}

/// Scripts that get somewhere.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let set_up = |flags| vec![1, 0, flags];
    let standard = |id| vec![2, id, 0, 0, 0, 0x44, 0xff, 0xff];
    let extended = |id| vec![3, id, 0, 0, 0, 0x44, 0xff, 0xff, 4];
    let share = |channel, nonce| vec![4, channel, 0, 64, 0, nonce, 9];
    let publish = |work| vec![9, work];
    let durable = vec![11];
    let tick = vec![12, 20, 20];
    let mining = [set_up(1), publish(0), standard(1), share(0, 1), durable.clone(), share(0, 2)];
    let moving = [set_up(0), publish(0), extended(1), extended(2), publish(1), share(0, 1)];
    let tips = [publish(2), share(1, 2), tick.clone(), publish(4), share(0, 3), durable, tick];
    let grouped = [vec![14, 1], set_up(4), publish(0), extended(1), standard(2), publish(2)];
    let ending = [vec![7, 2, 0, 0, 0, 0, 0xff, 0x80], vec![8, 2], vec![13, 1], vec![15, 0]];
    vec![
        mining.concat(),
        [moving.concat(), tips.concat()].concat(),
        [grouped.concat(), tips.concat(), ending.concat()].concat(),
        [vec![15, 200, 1, 2], set_up(0), vec![15, 200, 1, 2], standard(1), publish(3)].concat(),
    ]
}
