//! A synthetic Stratum V1 miner, for what stands between such miners and the gateway.
//!
//! It rolls extranonce 2, nonce and the version bits that it was given (BIP 310), and grinds a
//! header of the class that is wanted, a share or a block. It knows the whole header, so it knows
//! the `share_id` under which a gateway must account for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bitcoin::CompactTarget;
use bitcoin::hashes::{Hash as _, sha256, sha256d};
use platform::{Env, Stream};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

/// The wait before it connects again.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest line it takes.
const MAX_LINE_BYTES: usize = 1 << 20;
/// Headers that are tried for one share.
const TRIES: u32 = 1 << 20;
/// The version bits it asks for: those that BIP 320 lets a miner roll.
const VERSION_MASK: u32 = 0x1fff_e000;
/// The target of difficulty 1 is 65535 × 2^208.
const DIFFICULTY_ONE: f64 = 65_535.0;

/// What a miner is told to be.
#[derive(Clone)]
pub(super) struct Sv1Config {
    /// Its index among the miners.
    pub(super) index: usize,
    /// The server, as `host:port`.
    pub(super) address: String,
    /// Its worker name.
    pub(super) user: String,
    /// The time between two shares.
    pub(super) share_interval: Duration,
    /// Whether it sends shares.
    pub(super) working: watch::Receiver<bool>,
    /// How many blocks it is asked to find so far.
    pub(super) blocks_wanted: watch::Receiver<u32>,
}

/// What a miner saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sv1Seen {
    /// It is subscribed and authorized.
    Subscribed,
    /// Work came, on this tip as it is shown.
    Work { prev_hash: String },
    /// It sent a share.
    Sent { share_id: String, hash: String, is_block: bool },
    /// Its server took a share.
    Accepted { share_id: String },
    /// Its server refused one.
    Refused { share_id: String, error: String },
    /// The connection ended, or there was none.
    Closed { error: String },
}

/// What all miners saw, in order; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal {
    entries: Arc<Mutex<Vec<(usize, Sv1Seen)>>>,
}

impl Journal {
    fn add(&self, miner: usize, what: Sv1Seen) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push((miner, what));
    }

    /// Everything so far.
    pub(super) fn entries(&self) -> Vec<(usize, Sv1Seen)> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Mines until the future is dropped, and connects again whenever it has to.
pub(super) async fn mine(env: Env, mut config: Sv1Config, journal: Journal) {
    loop {
        let error = match env.net.connect(&config.address).await {
            Err(error) => error.to_string(),
            Ok(stream) => {
                let mut session = Session::new(stream, &env, &mut config, &journal);
                match session.run().await {
                    Ok(never) => match never {},
                    Err(error) => error,
                }
            }
        };
        journal.add(config.index, Sv1Seen::Closed { error });
        tokio::time::sleep(PAUSE).await;
    }
}

/// Work as `mining.notify` brings it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Work {
    job_id: String,
    /// Internal byte order.
    prev_hash: [u8; 32],
    coinbase_1: Vec<u8>,
    coinbase_2: Vec<u8>,
    branch: Vec<[u8; 32]>,
    version: u32,
    nbits: u32,
    ntime: u32,
}

/// A header as it is submitted.
struct Ground {
    extranonce_2: Vec<u8>,
    nonce: u32,
    version_bits: u32,
    header: [u8; 80],
}

struct Session<'a> {
    stream: Stream,
    pending: Vec<u8>,
    env: &'a Env,
    config: &'a mut Sv1Config,
    journal: &'a Journal,
    next_id: u64,
    /// Questions without an answer, by their id.
    asked: BTreeMap<u64, Asked>,
    extranonce_1: Vec<u8>,
    extranonce_2_size: usize,
    version_mask: u32,
    /// Absent until the server tells it, which may be after the first work.
    difficulty: Option<f64>,
    work: Option<Work>,
    is_authorized: bool,
}

enum Asked {
    Configure,
    Subscribe,
    Authorize,
    Submit(String),
}

impl<'a> Session<'a> {
    fn new(stream: Stream, env: &'a Env, config: &'a mut Sv1Config, journal: &'a Journal) -> Self {
        Self {
            stream,
            pending: Vec::new(),
            env,
            config,
            journal,
            next_id: 1,
            asked: BTreeMap::new(),
            extranonce_1: Vec::new(),
            extranonce_2_size: 0,
            version_mask: 0,
            difficulty: None,
            work: None,
            is_authorized: false,
        }
    }

    async fn run(&mut self) -> Result<std::convert::Infallible, String> {
        let mask = format!("{VERSION_MASK:08x}");
        let configure = json!([["version-rolling"], {
            "version-rolling.mask": mask, "version-rolling.min-bit-count": 2
        }]);
        self.ask(Asked::Configure, "mining.configure", configure).await?;
        let mut tick = tokio::time::interval(self.config.share_interval);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let can_mine = self.is_authorized && self.work.is_some() && self.difficulty.is_some();
            let mut buffer = [0; 4096];
            tokio::select! {
                biased;
                read = self.stream.read(&mut buffer) => {
                    let count = read.map_err(|error| error.to_string())?;
                    if count == 0 {
                        return Err("closed by the server".to_owned());
                    }
                    self.pending.extend_from_slice(&buffer[..count]);
                    self.read_lines().await?;
                }
                Ok(()) = self.config.blocks_wanted.changed(), if can_mine => {
                    self.submit(true).await?;
                }
                _ = tick.tick(), if can_mine && *self.config.working.borrow() => {
                    self.submit(false).await?;
                }
            }
        }
    }

    async fn read_lines(&mut self) -> Result<(), String> {
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            let message: Value = serde_json::from_slice(&line)
                .map_err(|error| format!("{error} in {}", line.escape_ascii()))?;
            match message["method"].as_str() {
                Some(method) => self.told(method, &message["params"])?,
                None => self.answered(&message).await?,
            }
        }
        if self.pending.len() > MAX_LINE_BYTES {
            return Err("a line without an end".to_owned());
        }
        Ok(())
    }

    fn told(&mut self, method: &str, params: &Value) -> Result<(), String> {
        match method {
            "mining.notify" => {
                let work =
                    Work::parse(params).ok_or_else(|| format!("what work is this: {params}"))?;
                self.see(Sv1Seen::Work { prev_hash: shown(work.prev_hash) });
                self.work = Some(work);
            }
            "mining.set_difficulty" => {
                let difficulty = params[0]
                    .as_f64()
                    .ok_or_else(|| format!("what difficulty is this: {params}"))?;
                self.difficulty = Some(difficulty);
            }
            "mining.set_extranonce" => self.set_extranonce(&params[0], &params[1])?,
            "mining.set_version_mask" => {
                self.version_mask = hex_u32(&params[0]).unwrap_or_default();
            }
            _ => {}
        }
        Ok(())
    }

    async fn answered(&mut self, message: &Value) -> Result<(), String> {
        let id =
            message["id"].as_u64().ok_or_else(|| format!("an answer to nothing: {message}"))?;
        let asked = self.asked.remove(&id).ok_or_else(|| format!("not asked for: {message}"))?;
        let (result, error) = (&message["result"], &message["error"]);
        match asked {
            Asked::Configure => {
                self.version_mask = hex_u32(&result["version-rolling.mask"]).unwrap_or_default();
                self.ask(Asked::Subscribe, "mining.subscribe", json!(["assay/sv1"])).await
            }
            Asked::Subscribe => {
                self.set_extranonce(&result[1], &result[2])?;
                let who = json!([self.config.user, "x"]);
                self.ask(Asked::Authorize, "mining.authorize", who).await
            }
            Asked::Authorize if result == &Value::Bool(true) => {
                self.is_authorized = true;
                self.see(Sv1Seen::Subscribed);
                Ok(())
            }
            Asked::Authorize => Err(format!("not authorized: {error}")),
            Asked::Submit(share_id) if result == &Value::Bool(true) => {
                self.see(Sv1Seen::Accepted { share_id });
                Ok(())
            }
            Asked::Submit(share_id) => {
                self.see(Sv1Seen::Refused { share_id, error: error.to_string() });
                Ok(())
            }
        }
    }

    fn set_extranonce(&mut self, prefix: &Value, size: &Value) -> Result<(), String> {
        let wrong = || format!("what extranonce is this: {prefix}, {size}");
        self.extranonce_1 = hex(prefix).ok_or_else(wrong)?;
        self.extranonce_2_size =
            size.as_u64().and_then(|size| size.try_into().ok()).ok_or_else(wrong)?;
        Ok(())
    }

    async fn submit(&mut self, is_block: bool) -> Result<(), String> {
        let work = self.work.clone().expect("only who has work submits");
        let ground = self.grind(&work, is_block).ok_or("no header of the class was found")?;
        let share_id = sha256::Hash::hash(&ground.header).to_string();
        let hash = shown(sha256d::Hash::hash(&ground.header).to_byte_array());
        self.see(Sv1Seen::Sent { share_id: share_id.clone(), hash, is_block });
        let mut params = vec![
            json!(self.config.user),
            json!(work.job_id),
            json!(const_hex::encode(&ground.extranonce_2)),
            json!(format!("{:08x}", work.ntime)),
            json!(format!("{:08x}", ground.nonce)),
        ];
        if self.version_mask != 0 {
            params.push(json!(format!("{:08x}", ground.version_bits)));
        }
        self.ask(Asked::Submit(share_id), "mining.submit", Value::Array(params)).await
    }

    /// A header of the class: what meets the network target, or what meets the own one only.
    fn grind(&self, work: &Work, is_block: bool) -> Option<Ground> {
        let drawn = self.env.rng.next_u64();
        let extranonce_2: Vec<u8> =
            drawn.to_le_bytes().into_iter().cycle().take(self.extranonce_2_size).collect();
        let version_bits = (drawn >> 24) as u32 & self.version_mask;
        let network =
            bitcoin::Target::from_compact(CompactTarget::from_consensus(work.nbits)).to_le_bytes();
        let own = target_of(self.difficulty?);
        let version = work.version & !self.version_mask | version_bits;
        let mut header = work.header(&self.extranonce_1, &extranonce_2, version);
        for step in 0..TRIES {
            let nonce = (drawn as u32).wrapping_add(step);
            header[76..].copy_from_slice(&nonce.to_le_bytes());
            let hash = sha256d::Hash::hash(&header).to_byte_array();
            let meets = |target: &[u8; 32]| hash.iter().rev().le(target.iter().rev());
            if meets(&own) && meets(&network) == is_block {
                return Some(Ground { extranonce_2, nonce, version_bits, header });
            }
        }
        None
    }

    async fn ask(&mut self, asked: Asked, method: &str, params: Value) -> Result<(), String> {
        let id = self.next_id;
        self.next_id += 1;
        self.asked.insert(id, asked);
        let line = format!("{}\n", json!({ "id": id, "method": method, "params": params }));
        let sent = async {
            self.stream.write_all(line.as_bytes()).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| error.to_string())
    }

    fn see(&self, what: Sv1Seen) {
        self.journal.add(self.config.index, what);
    }
}

impl Work {
    fn parse(params: &Value) -> Option<Self> {
        let mut prev_hash: [u8; 32] = hex(&params[1])?.try_into().ok()?;
        // Each of the eight words comes with its bytes turned round.
        prev_hash.chunks_exact_mut(4).for_each(<[u8]>::reverse);
        let branch = params[4].as_array()?.iter().map(|node| hex(node)?.try_into().ok());
        Some(Self {
            job_id: params[0].as_str()?.to_owned(),
            prev_hash,
            coinbase_1: hex(&params[2])?,
            coinbase_2: hex(&params[3])?,
            branch: branch.collect::<Option<_>>()?,
            version: hex_u32(&params[5])?,
            nbits: hex_u32(&params[6])?,
            ntime: hex_u32(&params[7])?,
        })
    }

    /// The header with a nonce of zero.
    fn header(&self, extranonce_1: &[u8], extranonce_2: &[u8], version: u32) -> [u8; 80] {
        let coinbase =
            [&self.coinbase_1, extranonce_1, extranonce_2, self.coinbase_2.as_slice()].concat();
        let leaf = sha256d::Hash::hash(&coinbase).to_byte_array();
        let root = self.branch.iter().fold(leaf, |node, sibling| {
            sha256d::Hash::hash(&[node, *sibling].concat()).to_byte_array()
        });
        let mut header = [0; 80];
        header[..4].copy_from_slice(&version.to_le_bytes());
        header[4..36].copy_from_slice(&self.prev_hash);
        header[36..68].copy_from_slice(&root);
        header[68..72].copy_from_slice(&self.ntime.to_le_bytes());
        header[72..76].copy_from_slice(&self.nbits.to_le_bytes());
        header
    }
}

/// The target of a Stratum V1 difficulty, little-endian; every hash where it is beyond all.
fn target_of(difficulty: f64) -> [u8; 32] {
    let mut target = [0xff; 32];
    // How many hashes in 2^48 meet it; a float holds that to the precision it has itself.
    let of_48 = DIFFICULTY_ONE / difficulty;
    if of_48 < 2f64.powi(48) {
        target[26..].copy_from_slice(&(of_48 as u64).to_le_bytes()[..6]);
        target[..26].fill(0);
    }
    target
}

fn hex(value: &Value) -> Option<Vec<u8>> {
    const_hex::decode(value.as_str()?).ok()
}

fn hex_u32(value: &Value) -> Option<u32> {
    u32::from_str_radix(value.as_str()?, 16).ok()
}

/// A hash in internal byte order, as it is shown.
fn shown(mut hash: [u8; 32]) -> String {
    hash.reverse();
    const_hex::encode(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difficulties_have_their_targets() {
        assert_eq!(target_of(1e-12), [0xff; 32], "beyond every hash");
        let mut one = [0; 32];
        one[26..28].fill(0xff);
        assert_eq!(target_of(1.0), one);
        // The easiest of regtest's blocks is of twice the hashes of the easiest share.
        assert_eq!(target_of(65_535.0 / 2f64.powi(47))[31], 0x80);
    }

    #[test]
    fn work_is_read_and_its_hash_turned_round() {
        let hash: String = (0..8).map(|word| format!("{word:08x}")).collect();
        let params = json!([
            "7",
            hash,
            "aa",
            "bb",
            ["11".repeat(32)],
            "20000000",
            "207fffff",
            "6b49d200",
            true
        ]);
        let work = Work::parse(&params).unwrap();
        assert_eq!(work.prev_hash[4..8], [1, 0, 0, 0]);
        assert_eq!((work.version, work.nbits, work.ntime), (0x2000_0000, 0x207f_ffff, 0x6b49_d200));
        assert_eq!((work.coinbase_1, work.branch.len()), (vec![0xaa], 1));
        assert_eq!(Work::parse(&json!(["7", "00"])), None);
    }
}
