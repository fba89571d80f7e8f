//! A synthetic miner: a real SV2 client over Noise, whose hash rate is a clock.
//!
//! It knows nothing of the simulator but the [`Env`] it is given, so it runs on real sockets as
//! well. What it does wrong, it does on purpose ([`Behaviour`]), and writes down with the class
//! of each share.

pub(crate) mod connection;
pub mod hostile;
mod persona;
mod session;
pub(crate) mod work;

use std::time::Duration;

use platform::Env;
use sv2_noise::AuthorityPublicKey;
use tokio::sync::watch;

use super::observe::{MinerSeen, Recorder, Seen};
use crate::scenario::{Behaviour, MinerKind, Profile};
use persona::Persona;

/// What a miner is told to be.
#[derive(Clone)]
pub struct MinerConfig {
    /// Its index among the miners of its world.
    pub index: u32,
    /// The gateway's `host:port`.
    pub address: String,
    /// Whose certificate the gateway must show; none accepts any.
    pub authority: Option<AuthorityPublicKey>,
    /// `user_identity` of its channel.
    pub identity: String,
    /// What channel it opens.
    pub kind: MinerKind,
    /// Its nominal hash rate, in hashes a second.
    pub hashrate: f32,
    /// How often it finds shares.
    pub pace: Pace,
    /// What it does with its work.
    pub behaviour: Behaviour,
    /// Which real device or proxy it is like.
    pub profile: Profile,
    /// Whether it sends shares; it stays connected in any case.
    pub working: watch::Receiver<bool>,
    /// How many blocks it is asked to find so far; it finds the next at once when this grows.
    pub blocks_wanted: watch::Receiver<u32>,
}

/// How often a miner finds shares, by chance either way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So often on the average, whatever the target.
    Every(Duration),
    /// As often as so many hashes a second meet the target of the job.
    Hashes(f64),
}

/// The first pause before it connects again.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// How long it waits for the handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// How long it waits for its first work after the handshake. Whoever waits longer may wait for a
/// gateway that is gone without a word.
const FIRST_WORK_LIMIT: Duration = Duration::from_secs(10);

/// Mines until the future is dropped: connects, works, and connects again with growing pauses.
pub async fn mine(env: Env, mut config: MinerConfig, recorder: Recorder) {
    let mut shares = 0;
    let mut pause = FIRST_PAUSE;
    let mut persona = Persona::new(config.profile, config.kind);
    loop {
        let miner = config.index;
        let see = |what| recorder.record(Seen::Miner { miner, what });
        let opening = connection::open(&env, &config.address, config.authority);
        let opened = tokio::time::timeout(HANDSHAKE_LIMIT, opening).await;
        match opened.unwrap_or_else(|_| Err("handshake: no answer in time".to_owned())) {
            Err(error) => see(MinerSeen::Refused { error }),
            Ok(connection) => {
                see(MinerSeen::Connected);
                let persona = &mut persona;
                let ended =
                    session::work(connection, &env, &mut config, persona, &recorder, &mut shares);
                let ended = ended.await;
                if ended.had_work {
                    pause = FIRST_PAUSE;
                }
                see(MinerSeen::Closed { error: ended.error });
            }
        }
        // Half of the pause at least, so that miners closed together come back apart.
        let jitter = env.rng.next_u64() % 1_000;
        tokio::time::sleep(pause / 2 + (pause / 2).mul_f64(jitter as f64 / 1e3)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
