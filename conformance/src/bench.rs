//! Where a case runs: the server under judgement, and the record of what was sent and seen.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use platform::Env;
use sv2_noise::AuthorityPublicKey;

use crate::case::{Judged, Stop};
use crate::peer::Peer;

/// How often a connection is tried that the server ends before its handshake: a server may limit
/// the rate of connections from one address, and that is no breach.
const CONNECT_ATTEMPTS: u32 = 6;
/// Wait before the second attempt; each further wait is twice as long.
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// Most lines of a case's record; more means that the server floods the client.
const MAX_RECORD_LINES: usize = 2_000;

/// The server under judgement, and what is known of it.
#[derive(Clone, Debug)]
pub struct Target {
    /// `host:port`.
    pub address: String,
    /// The key that the server's certificate must be signed with; unknown keys are not judged.
    pub authority: Option<AuthorityPublicKey>,
    /// The listener speaks without Noise.
    pub plaintext: bool,
    /// Who opens channels.
    pub user_identity: String,
    /// Hashes that may be spent on one share.
    pub grind_budget: u32,
    /// The waits.
    pub waits: Waits,
}

/// How long the suite waits.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// For something that must come: an answer, a close.
    pub answer: Duration,
    /// For something that must not come.
    pub quiet: Duration,
    /// For a server to end a connection that stalls; servers that give a minute for the first
    /// channel have to be given more.
    pub stall: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(5),
            quiet: Duration::from_millis(400),
            stall: Duration::from_secs(75),
        }
    }
}

/// What a case is given.
pub struct Bench {
    /// Where sockets, the wall clock and randomness come from.
    pub env: Env,
    /// The server.
    pub target: Arc<Target>,
    record: Record,
}

impl Bench {
    /// A bench with an empty record.
    pub fn new(env: Env, target: Arc<Target>) -> Self {
        Self { env, target, record: Record::default() }
    }

    /// What has been sent and seen, a line each.
    pub fn record(&self) -> Vec<String> {
        self.record.lines()
    }

    /// The waits.
    pub fn waits(&self) -> Waits {
        self.target.waits
    }

    /// The wall clock in seconds.
    pub fn unix_secs(&self) -> u64 {
        self.env.wall.unix_ms() / 1_000
    }

    /// Random bytes.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.env.rng.fill(&mut bytes);
        bytes
    }

    /// Ends the case on a listener without Noise.
    ///
    /// # Errors
    /// [`Stop::Inapplicable`] on such a listener.
    pub fn needs_noise(&self) -> Judged {
        if self.target.plaintext {
            return Err(Stop::inapplicable("the listener has no encryption"));
        }
        Ok(())
    }

    /// A TCP connection on which nothing has been sent.
    ///
    /// # Errors
    /// [`Stop::Breach`] when there is none.
    pub async fn dial(&self) -> Judged<Peer> {
        let address = &self.target.address;
        let connecting = self.env.net.connect(address);
        let stream = match tokio::time::timeout(self.waits().answer, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return Err(Stop::Breach(format!("cannot connect to {address}: {error}")));
            }
            Err(_) => return Err(Stop::Breach(format!("no connection to {address} in time"))),
        };
        let record = self.record.next_connection();
        Ok(Peer::new(stream, record, self.waits()))
    }

    /// A connection whose handshake is done, if the listener has one.
    ///
    /// # Errors
    /// [`Stop::Breach`] when the handshake fails.
    pub async fn connect(&self) -> Judged<Peer> {
        let mut retry = FIRST_RETRY;
        for _ in 1..CONNECT_ATTEMPTS {
            let mut peer = self.dial().await?;
            if self.target.plaintext {
                peer.speak_plaintext();
                return Ok(peer);
            }
            if peer.shake_hands(self, None).await?.is_some() {
                return Ok(peer);
            }
            tokio::time::sleep(retry).await;
            retry *= 2;
        }
        Err(Stop::breach("the server ends connections before the handshake, again and again"))
    }
}

/// What was sent and seen, shared by the connections of a case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    lines: Arc<Mutex<Lines>>,
    connection: u32,
}

#[derive(Debug, Default)]
struct Lines {
    connections: u32,
    lines: Vec<String>,
}

impl Record {
    pub(crate) fn next_connection(&self) -> Self {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.connections += 1;
        Self { lines: Arc::clone(&self.lines), connection: lines.connections }
    }

    pub(crate) fn add(&self, line: &str) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.lines.len() < MAX_RECORD_LINES {
            let line = format!("[{}] {line}", self.connection);
            lines.lines.push(line);
        }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).lines.clone()
    }
}
