//! What real devices and proxies are like, and what they would not survive.
//!
//! A persona says what a miner tells of itself and looks at every message before the session acts
//! on it. What the real program would panic on, or leave the pool for, ends the connection and is
//! written down as a breach, which no scenario forgives.

use std::time::Duration;

use sv2_wire::common::{SetupConnectionError, SetupConnectionSuccess};
use sv2_wire::mining::{
    OpenExtendedMiningChannelSuccess, REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING,
    REQUIRES_WORK_SELECTION,
};
use sv2_wire::{MiningServerMessage as Told, U256, WorkerIdentity};
use tokio::time::Instant;

use crate::scenario::{MinerKind, Profile};

/// Version bits that firmware rolls: those of BIP 320.
const BIP_320_MASK: u32 = 0x1fff_e000;
/// The largest frame that a Bitaxe takes.
const BITAXE_FRAME_BYTES: usize = 8_192;
/// The longest merkle path that a Bitaxe takes.
const BITAXE_PATH: usize = 20;
/// Future jobs that a Bitaxe keeps, by the remainder of their id.
const BITAXE_SLOTS: usize = 8;
/// A Bitaxe connects again after so long without a frame.
const BITAXE_SILENCE: Duration = Duration::from_secs(180);
/// How long the CPU miner measures itself before it opens a channel.
const MEASURING: Duration = Duration::from_secs(5);
/// How far ahead of the clock the CPU miner's headers are, in seconds.
const AHEAD_S: u32 = 60;
/// A translator's last V1 miner leaves, or its first one comes, after so long.
const MINERS_COME_AND_GO: Duration = Duration::from_secs(7);
/// Bytes that a translator's V1 miners roll.
const TRANSLATOR_EXTRANONCE: u16 = 4;
/// The whole extranonce of a channel, at most.
const MAX_EXTRANONCE: usize = 32;

/// What `SetupConnection` says of the client.
pub(super) struct Greeting {
    pub(super) flags: u32,
    pub(super) vendor: &'static str,
    pub(super) hardware_version: &'static str,
    pub(super) firmware: &'static str,
    pub(super) device_id: &'static str,
}

/// What it asks for in a channel.
pub(super) struct Asks {
    pub(super) request_id: u32,
    pub(super) nominal_hash_rate: f32,
    pub(super) max_target: U256,
    pub(super) min_extranonce_size: u16,
}

/// Whether the session acts on a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    Act,
    Ignore,
}

/// What a persona does of its own accord.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Impulse {
    /// It tells another hash rate.
    Update(f32),
    /// It has heard nothing for too long and connects again.
    Leave,
}

/// The answer that must be the very next frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Setup,
    Channel,
}

/// One device over all its connections.
pub(super) struct Persona {
    profile: Profile,
    kind: MinerKind,
    /// What a JDC falls back to: work selection was refused.
    is_refused_work_selection: bool,
    due: Option<Due>,
    /// The own channel and its group.
    channel: Option<(u32, u32)>,
    slots: [Option<u32>; BITAXE_SLOTS],
    has_tip: bool,
    heard: Instant,
    /// When a translator's miners come or go next, and whether there are any.
    turn: Option<(Instant, bool)>,
    names_workers: bool,
}

impl Persona {
    pub(super) fn new(profile: Profile, kind: MinerKind) -> Self {
        Self {
            profile,
            kind,
            is_refused_work_selection: false,
            due: None,
            channel: None,
            slots: [None; BITAXE_SLOTS],
            has_tip: false,
            heard: Instant::now(),
            turn: None,
            names_workers: false,
        }
    }

    /// A new connection begins: only what outlives one is kept.
    pub(super) fn begin(&mut self) {
        let refused = self.is_refused_work_selection;
        *self = Self { is_refused_work_selection: refused, ..Self::new(self.profile, self.kind) };
        if self.answers_in_turn() {
            self.due = Some(Due::Setup);
        }
    }

    pub(super) fn greeting(&self) -> Greeting {
        let greeting = |flags, vendor, hardware_version, firmware, device_id| Greeting {
            flags,
            vendor,
            hardware_version,
            firmware,
            device_id,
        };
        let standard = if self.kind == MinerKind::Standard { REQUIRES_STANDARD_JOBS } else { 0 };
        match self.profile {
            Profile::Assay => {
                greeting(standard, "assay", "synthetic", env!("CARGO_PKG_VERSION"), "")
            }
            Profile::Bitaxe => greeting(standard, "bitaxe", "", "", ""),
            Profile::MiningDevice => greeting(REQUIRES_STANDARD_JOBS, "", "", "", ""),
            Profile::Translator => {
                greeting(REQUIRES_VERSION_ROLLING, "SRI", "Translator Proxy", "", "")
            }
            Profile::Braiins => greeting(0, "Braiins", "1", "Braiins OS 2019-06-05", "xyz"),
            Profile::Jdc if self.is_refused_work_selection => {
                greeting(REQUIRES_VERSION_ROLLING, "", "", "", "")
            }
            Profile::Jdc => {
                greeting(REQUIRES_VERSION_ROLLING | REQUIRES_WORK_SELECTION, "", "", "", "")
            }
        }
    }

    /// How long it does nothing between the answer to its set-up and its channel.
    pub(super) fn rest(&self) -> Duration {
        if self.profile == Profile::MiningDevice { MEASURING } else { Duration::ZERO }
    }

    /// Whether it asks for the extension that names workers, without waiting for the answer.
    pub(super) fn wants_extension(&self) -> bool {
        self.profile == Profile::Translator
    }

    /// What it asks for; `hash_rate` is the scenario's. The channel's answer is now due.
    ///
    /// Braiins' own `max_target` is that of difficulty 1, whose shares would take four billion
    /// hashes each; it states the easiest one here.
    pub(super) fn asks(&mut self, hash_rate: f32) -> Asks {
        if self.answers_in_turn() {
            self.due = Some(Due::Channel);
        }
        let (request_id, nominal_hash_rate, min_extranonce_size) = match self.profile {
            Profile::Assay => (1, hash_rate, 8),
            Profile::Bitaxe => (1, 1e12, 2),
            Profile::MiningDevice => (10, hash_rate, 0),
            Profile::Braiins => (10, 1e9, 4),
            Profile::Translator | Profile::Jdc => (1, hash_rate, TRANSLATOR_EXTRANONCE),
        };
        let max_target = self.max_target();
        Asks { request_id, nominal_hash_rate, max_target, min_extranonce_size }
    }

    /// A translator states the target of its configured hash rate, so that a server's own choice
    /// may be too easy for it.
    pub(super) fn max_target(&self) -> U256 {
        let mut target = [0xff; 32];
        if self.profile == Profile::Translator {
            target[31] = 0xb0;
        }
        U256(target)
    }

    /// Which version bits it rolls.
    pub(super) fn version_mask(&self) -> u32 {
        match self.profile {
            Profile::Assay | Profile::MiningDevice => 0,
            Profile::Bitaxe | Profile::Translator | Profile::Braiins | Profile::Jdc => BIP_320_MASK,
        }
    }

    /// The time of its headers.
    pub(super) fn header_time(&self, now_s: u32) -> u32 {
        if self.profile == Profile::MiningDevice { now_s + AHEAD_S } else { now_s }
    }

    /// The worker that a share is of, once that extension is negotiated.
    pub(super) fn worker(&self) -> Option<WorkerIdentity<'static>> {
        self.names_workers.then(|| WorkerIdentity::new("rig.1").expect("the name is short"))
    }

    /// Whether it has nobody to mine for it.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.turn, Some((_, false)))
    }

    /// Waits for what it does of its own accord. May be dropped while it waits.
    pub(super) async fn impulse(&mut self, hash_rate: f32) -> Impulse {
        match (self.profile, self.turn) {
            (Profile::Bitaxe, _) => {
                tokio::time::sleep_until(self.heard + BITAXE_SILENCE).await;
                Impulse::Leave
            }
            (Profile::Translator, Some((at, has_miners))) => {
                tokio::time::sleep_until(at).await;
                self.turn = Some((at + MINERS_COME_AND_GO, !has_miners));
                Impulse::Update(if has_miners { 0.0 } else { hash_rate })
            }
            _ => std::future::pending().await,
        }
    }

    /// Whether each of its questions is answered by the very next frame, or not at all.
    fn answers_in_turn(&self) -> bool {
        matches!(self.profile, Profile::Bitaxe | Profile::Braiins)
    }

    /// Looks at a message with a payload of so many bytes.
    ///
    /// # Errors
    /// What the real program would not survive.
    pub(super) fn looks_at(
        &mut self,
        message: &Told<'_>,
        payload_len: usize,
    ) -> Result<Reaction, String> {
        self.heard = Instant::now();
        self.remember(message);
        match self.profile {
            Profile::Assay => Ok(Reaction::Act),
            Profile::Bitaxe => self.bitaxe(message, payload_len),
            Profile::MiningDevice => self.mining_device(message),
            Profile::Translator => self.translator(message),
            Profile::Braiins => self.answered_in_turn(message).map(|()| Reaction::Act),
            Profile::Jdc => self.jdc(message),
        }
    }

    fn remember(&mut self, message: &Told<'_>) {
        match message {
            Told::OpenStandardMiningChannelSuccess(opened) => {
                self.channel = Some((opened.channel_id, opened.group_channel_id));
            }
            Told::OpenExtendedMiningChannelSuccess(opened) => {
                self.channel = Some((opened.channel_id, opened.group_channel_id));
                if self.profile == Profile::Translator {
                    self.turn = Some((Instant::now() + MINERS_COME_AND_GO, true));
                }
            }
            Told::RequestExtensionsSuccess(granted) => {
                self.names_workers = granted
                    .supported_extensions
                    .iter()
                    .any(|id| id == WorkerIdentity::EXTENSION_TYPE);
            }
            _ => {}
        }
    }

    fn answered_in_turn(&mut self, message: &Told<'_>) -> Result<(), String> {
        let fits = match (self.due.take(), message) {
            (None, _) => true,
            (Some(Due::Setup), message) => {
                matches!(message, Told::SetupConnectionSuccess(_) | Told::SetupConnectionError(_))
            }
            (Some(Due::Channel), message) => matches!(
                message,
                Told::OpenStandardMiningChannelSuccess(_)
                    | Told::OpenExtendedMiningChannelSuccess(_)
                    | Told::OpenMiningChannelError(_)
            ),
        };
        fits.then_some(())
            .ok_or_else(|| format!("{} comes where the answer is due", message.name()))
    }

    fn bitaxe(&mut self, message: &Told<'_>, payload_len: usize) -> Result<Reaction, String> {
        self.answered_in_turn(message)?;
        if payload_len > BITAXE_FRAME_BYTES {
            return Err(format!("{} has {payload_len} bytes", message.name()));
        }
        let own = self.channel.map(|(own, _)| own);
        let slot = |id: u32| id as usize % BITAXE_SLOTS;
        let addressed = match message {
            Told::NewMiningJob(job) => {
                if job.min_ntime.is_none() {
                    self.slots[slot(job.job_id)] = Some(job.job_id);
                }
                job.channel_id
            }
            Told::NewExtendedMiningJob(job) => {
                if job.merkle_path.len() > BITAXE_PATH {
                    return Err(format!("a merkle path of {}", job.merkle_path.len()));
                }
                if job.min_ntime.is_none() && Some(job.channel_id) == own {
                    self.slots[slot(job.job_id)] = Some(job.job_id);
                }
                job.channel_id
            }
            Told::SetNewPrevHash(new) => {
                let kept = self.slots[slot(new.job_id)];
                if Some(new.channel_id) == own && kept != Some(new.job_id) {
                    return Err(format!("job {} starts, its slot has {kept:?}", new.job_id));
                }
                new.channel_id
            }
            Told::SetTarget(target) => target.channel_id,
            Told::SetExtranoncePrefix(_)
            | Told::CloseChannel(_)
            | Told::Reconnect(_)
            | Told::SetGroupChannel(_) => return Ok(Reaction::Ignore),
            _ => return Ok(Reaction::Act),
        };
        Ok(if Some(addressed) == own { Reaction::Act } else { Reaction::Ignore })
    }

    fn mining_device(&mut self, message: &Told<'_>) -> Result<Reaction, String> {
        match message {
            Told::SetupConnectionSuccess(_)
            | Told::OpenStandardMiningChannelSuccess(_)
            | Told::SubmitSharesSuccess(_)
            | Told::SubmitSharesError(_)
            | Told::SetTarget(_) => Ok(Reaction::Act),
            Told::NewMiningJob(job) if job.min_ntime.is_some() && !self.has_tip => {
                Err(format!("job {} is for now, and there is no tip", job.job_id))
            }
            Told::NewMiningJob(_) => Ok(Reaction::Act),
            Told::SetNewPrevHash(_) => {
                self.has_tip = true;
                Ok(Reaction::Act)
            }
            other => Err(format!("it panics on {}", other.name())),
        }
    }

    fn translator(&mut self, message: &Told<'_>) -> Result<Reaction, String> {
        let is_own = |id: u32| self.channel.is_some_and(|(own, group)| id == own || id == group);
        match message {
            Told::Reconnect(_) | Told::ChannelEndpointChanged(_) => {
                Err(format!("it panics on {}", message.name()))
            }
            Told::SetupConnectionError(_)
            | Told::OpenMiningChannelError(_)
            | Told::RequestExtensionsError(_) => {
                Err(format!("it leaves for another pool on {}", message.name()))
            }
            Told::OpenExtendedMiningChannelSuccess(opened) => {
                let target = opened.target.0;
                if target.iter().rev().gt(self.max_target().0.iter().rev()) {
                    return Err("the target is easier than it takes".to_owned());
                }
                fits_a_translator(opened).map(|()| Reaction::Act)
            }
            Told::NewExtendedMiningJob(job) if !job.version_rolling_allowed => {
                Err(format!("job {} forbids version rolling", job.job_id))
            }
            Told::NewExtendedMiningJob(job) if !is_own(job.channel_id) => Ok(Reaction::Ignore),
            Told::SetNewPrevHash(new) if !is_own(new.channel_id) => Ok(Reaction::Ignore),
            Told::NewMiningJob(_) => Ok(Reaction::Ignore),
            _ => Ok(Reaction::Act),
        }
    }

    /// Who asks for work selection has to be told that it is just this that is not served.
    fn jdc(&mut self, message: &Told<'_>) -> Result<Reaction, String> {
        match message {
            Told::SetupConnectionError(SetupConnectionError { flags, .. })
                if !self.is_refused_work_selection =>
            {
                self.is_refused_work_selection = true;
                let asked = REQUIRES_VERSION_ROLLING | REQUIRES_WORK_SELECTION;
                if *flags & asked == REQUIRES_WORK_SELECTION {
                    Ok(Reaction::Act)
                } else {
                    Err(format!("flags {flags:#b} are refused instead of work selection alone"))
                }
            }
            Told::SetupConnectionSuccess(SetupConnectionSuccess { flags, .. }) if *flags != 0 => {
                Err(format!("the server asks for flags {flags:#b}"))
            }
            _ => Ok(Reaction::Act),
        }
    }
}

fn fits_a_translator(opened: &OpenExtendedMiningChannelSuccess<'_>) -> Result<(), String> {
    let (channel, group) = (opened.channel_id, opened.group_channel_id);
    let whole = opened.extranonce_prefix.len() + usize::from(opened.extranonce_size);
    if opened.extranonce_size < TRANSLATOR_EXTRANONCE || whole > MAX_EXTRANONCE {
        let rolled = opened.extranonce_size;
        return Err(format!("{rolled} bytes to roll of an extranonce of {whole}"));
    }
    if group == channel || group == u32::MAX {
        return Err(format!("channel {channel} is in group {group}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use sv2_wire::mining::{
        CloseChannel, NewExtendedMiningJob, NewMiningJob, OpenStandardMiningChannelSuccess,
        SetNewPrevHash, SetTarget,
    };
    use sv2_wire::{B032, B064K, Seq0255, Str0255};

    use super::*;

    fn job(channel_id: u32, job_id: u32, min_ntime: Option<u32>) -> Told<'static> {
        let (version, merkle_root) = (0x2000_0000, U256([1; 32]));
        Told::NewMiningJob(NewMiningJob { channel_id, job_id, min_ntime, version, merkle_root })
    }

    fn extended_job(channel_id: u32, version_rolling_allowed: bool) -> Told<'static> {
        Told::NewExtendedMiningJob(NewExtendedMiningJob {
            channel_id,
            job_id: 1,
            min_ntime: None,
            version: 0x2000_0000,
            version_rolling_allowed,
            merkle_path: Seq0255::new(&[]).unwrap(),
            coinbase_tx_prefix: B064K::new(&[]).unwrap(),
            coinbase_tx_suffix: B064K::new(&[]).unwrap(),
        })
    }

    fn start(channel_id: u32, job_id: u32) -> Told<'static> {
        let prev_hash = U256([2; 32]);
        Told::SetNewPrevHash(SetNewPrevHash {
            channel_id,
            job_id,
            prev_hash,
            min_ntime: 1,
            nbits: 0x207f_ffff,
        })
    }

    fn standard_opened() -> Told<'static> {
        Told::OpenStandardMiningChannelSuccess(OpenStandardMiningChannelSuccess {
            request_id: 1,
            channel_id: 2,
            target: U256::MAX,
            extranonce_prefix: B032::new(&[1; 24]).unwrap(),
            group_channel_id: 1,
        })
    }

    fn extended_opened(group_channel_id: u32, top: u8, size: u16) -> Told<'static> {
        let mut target = [0xff; 32];
        target[31] = top;
        Told::OpenExtendedMiningChannelSuccess(OpenExtendedMiningChannelSuccess {
            request_id: 1,
            channel_id: 2,
            target: U256(target),
            extranonce_size: size,
            extranonce_prefix: B032::new(&[1; 8]).unwrap(),
            group_channel_id,
        })
    }

    fn closed() -> Told<'static> {
        let reason_code = Str0255::new(b"bye").unwrap();
        Told::CloseChannel(CloseChannel { channel_id: 2, reason_code })
    }

    fn set_up(flags: u32) -> Told<'static> {
        Told::SetupConnectionSuccess(SetupConnectionSuccess { used_version: 2, flags })
    }

    /// Plays messages; what the last one comes to.
    fn last(profile: Profile, messages: &[Told<'_>]) -> Result<Reaction, String> {
        let kind = profile.only_kind().unwrap_or(MinerKind::Standard);
        let mut persona = Persona::new(profile, kind);
        persona.begin();
        let (last, before) = messages.split_last().unwrap();
        for message in before {
            persona.looks_at(message, 100).unwrap();
            if matches!(message, Told::SetupConnectionSuccess(_)) {
                persona.asks(1e12);
            }
        }
        persona.looks_at(last, 100)
    }

    #[rstest]
    #[case(Profile::MiningDevice, &[closed()], "panics on CloseChannel")]
    #[case(Profile::MiningDevice, &[extended_job(2, true)], "panics on NewExtendedMiningJob")]
    #[case(Profile::MiningDevice, &[job(2, 1, Some(5))], "there is no tip")]
    #[case(Profile::Bitaxe, &[set_up(0), job(2, 1, None)], "where the answer is due")]
    #[case(Profile::Braiins, &[job(2, 1, None)], "where the answer is due")]
    #[case(
        Profile::Bitaxe,
        &[set_up(0), standard_opened(), job(2, 1, None), job(2, 9, None), start(2, 1)],
        "its slot has Some(9)"
    )]
    #[case(Profile::Translator, &[extended_opened(2, 0x10, 16)], "is in group 2")]
    #[case(Profile::Translator, &[extended_opened(u32::MAX, 0x10, 16)], "is in group 4294967295")]
    #[case(Profile::Translator, &[extended_opened(1, 0xc0, 16)], "easier than it takes")]
    #[case(Profile::Translator, &[extended_opened(1, 0x10, 25)], "of an extranonce of 33")]
    #[case(Profile::Translator, &[extended_job(2, false)], "forbids version rolling")]
    #[case(Profile::Jdc, &[set_up(1)], "asks for flags 0b1")]
    fn what_the_real_thing_would_not_survive(
        #[case] profile: Profile,
        #[case] messages: &[Told<'_>],
        #[case] why: &str,
    ) {
        let error = last(profile, messages).unwrap_err();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn a_bitaxe_ignores_what_is_not_for_its_channel() {
        let ready = [set_up(0), standard_opened(), job(2, 1, None), start(2, 1)];
        let then = |message| last(Profile::Bitaxe, &[ready.as_slice(), &[message]].concat());
        let target = SetTarget { channel_id: 1, maximum_target: U256::MAX };
        assert_eq!(then(Told::SetTarget(target)), Ok(Reaction::Ignore));
        assert_eq!(then(extended_job(1, true)), Ok(Reaction::Ignore));
        assert_eq!(then(closed()), Ok(Reaction::Ignore));
        assert_eq!(then(job(2, 3, Some(5))), Ok(Reaction::Act));
    }

    #[test]
    fn a_jdc_does_without_what_it_is_refused() {
        let error_code = Str0255::new(b"unsupported-feature-flags").unwrap();
        let refusal = |flags| {
            let refusal = SetupConnectionError { flags, error_code };
            let mut persona = Persona::new(Profile::Jdc, MinerKind::Extended);
            assert_eq!(persona.greeting().flags, 0b110);
            let reaction = persona.looks_at(&Told::SetupConnectionError(refusal), 100);
            persona.begin();
            assert_eq!(persona.greeting().flags, 0b100);
            reaction
        };
        assert_eq!(refusal(!0b101), Ok(Reaction::Act));
        assert!(refusal(0b110).is_err(), "version rolling is not what is refused");
        assert!(refusal(0).is_err(), "the flags are the cause");
    }

    #[tokio::test(start_paused = true)]
    async fn miners_of_a_translator_leave_and_come_back() {
        let mut persona = Persona::new(Profile::Translator, MinerKind::Extended);
        persona.looks_at(&extended_opened(1, 0x10, 16), 100).unwrap();
        assert!(!persona.is_idle());
        assert_eq!(persona.impulse(1e13).await, Impulse::Update(0.0));
        assert!(persona.is_idle());
        assert_eq!(persona.impulse(1e13).await, Impulse::Update(1e13));
        assert!(!persona.is_idle());
    }
}
