//! Where clients come to: the keys of the scripted server, and who waits.

use std::sync::Arc;
use std::time::Duration;

use platform::{Env, Stream};
use sv2_noise::{AuthoritySecretKey, Certificate, StaticKey, Validity};
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use super::visitor::Visitor;
use crate::bench::Record;
use crate::case::{Judged, Stop};

/// Period of the certificates before and after now, in seconds.
const BEFORE_SECS: u64 = 3_600;
const AFTER_SECS: u64 = 86_400;

/// How the scripted server is set up.
#[derive(Debug)]
pub struct Hosting {
    /// Where it listens, as `host:port`.
    pub listen: String,
    /// The key that clients were told to trust.
    pub authority: AuthoritySecretKey,
    /// Whether the client was given that key; without it, it cannot refuse another.
    pub client_knows_authority: bool,
    /// Hashes that a share takes on the average; by the client's nominal hash rate when absent.
    pub hashes_per_share: Option<u64>,
    /// The waits.
    pub waits: ClientWaits,
}

/// How long the scripted server waits.
#[derive(Clone, Copy, Debug)]
pub struct ClientWaits {
    /// For a client to connect, again after each case.
    pub arrival: Duration,
    /// For its next message of the set-up, the opening of a channel included.
    pub answer: Duration,
    /// For a share.
    pub share: Duration,
    /// For what must not come.
    pub quiet: Duration,
}

impl Default for ClientWaits {
    fn default() -> Self {
        Self {
            arrival: Duration::from_secs(90),
            answer: Duration::from_secs(30),
            share: Duration::from_secs(30),
            quiet: Duration::from_secs(2),
        }
    }
}

/// What the server shows in act 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credentials {
    Good,
    OtherAuthority,
    Expired,
    NotYetValid,
}

/// What the cases share.
pub(crate) struct Front {
    pub(crate) env: Env,
    pub(crate) hosting: Arc<Hosting>,
    static_key: StaticKey,
    other_authority: AuthoritySecretKey,
    queue: Mutex<mpsc::Receiver<Stream>>,
}

impl Front {
    pub(crate) fn new(env: Env, hosting: Arc<Hosting>, queue: mpsc::Receiver<Stream>) -> Self {
        let entropy = &mut |out: &mut [u8]| env.rng.fill(out);
        let static_key = StaticKey::generate(entropy);
        let other_authority = AuthoritySecretKey::generate(entropy);
        Self { env, hosting, static_key, other_authority, queue: Mutex::new(queue) }
    }

    /// Ends the connections that nobody took: the next case wants a fresh one.
    pub(crate) async fn turn_away(&self) {
        let mut queue = self.queue.lock().await;
        while queue.try_recv().is_ok() {}
    }

    pub(crate) fn static_key(&self) -> &StaticKey {
        &self.static_key
    }

    pub(crate) fn certificate(&self, credentials: Credentials) -> Certificate {
        let now = self.env.wall.unix_ms() / 1_000;
        let (from, to) = match credentials {
            Credentials::Good | Credentials::OtherAuthority => {
                (now.saturating_sub(BEFORE_SECS), now + AFTER_SECS)
            }
            Credentials::Expired => (now.saturating_sub(AFTER_SECS), now - BEFORE_SECS),
            Credentials::NotYetValid => (now + BEFORE_SECS, now + AFTER_SECS),
        };
        let seconds = |at: u64| u32::try_from(at).unwrap_or(u32::MAX);
        let validity = Validity { valid_from: seconds(from), not_valid_after: seconds(to) };
        let signer = match credentials {
            Credentials::OtherAuthority => &self.other_authority,
            _ => &self.hosting.authority,
        };
        let entropy = &mut |out: &mut [u8]| self.env.rng.fill(out);
        Certificate::mint(signer, &self.static_key.public(), validity, entropy)
    }
}

/// What a case for clients is given.
pub struct Counter {
    pub(crate) front: Arc<Front>,
    record: Record,
}

impl Counter {
    pub(crate) fn new(front: Arc<Front>) -> Self {
        Self { front, record: Record::default() }
    }

    /// What has been sent and seen, a line each.
    pub fn record(&self) -> Vec<String> {
        self.record.lines()
    }

    pub(crate) fn waits(&self) -> ClientWaits {
        self.front.hosting.waits
    }

    /// The next client, of which nothing has been read.
    pub(crate) async fn visitor(&self) -> Judged<Visitor> {
        let wait = self.waits().arrival;
        match self.visitor_within(wait).await {
            Some(visitor) => Ok(visitor),
            None => {
                let waited = wait.as_secs();
                Err(Stop::Inapplicable(format!("no client came within {waited} s")))
            }
        }
    }

    pub(crate) async fn visitor_within(&self, wait: Duration) -> Option<Visitor> {
        let mut queue = self.front.queue.lock().await;
        let stream = timeout(wait, queue.recv()).await.ok().flatten()?;
        Some(Visitor::new(stream, Arc::clone(&self.front), self.record.next_connection()))
    }

    /// The next client, after the handshake.
    pub(crate) async fn guest(&self) -> Judged<Visitor> {
        let mut visitor = self.visitor().await?;
        visitor.shake_hands(Credentials::Good).await?;
        Ok(visitor)
    }

    /// The next client, with its connection set up.
    pub(crate) async fn set_up(&self) -> Judged<Visitor> {
        let mut visitor = self.guest().await?;
        visitor.await_setup().await?;
        visitor.grant_setup(0).await;
        Ok(visitor)
    }

    /// The next client, with a channel on which nothing has been sent, and the channel's id.
    pub(crate) async fn opened(&self) -> Judged<(Visitor, u32)> {
        let mut visitor = self.set_up().await?;
        let channel_id = visitor.await_channel().await?;
        Ok((visitor, channel_id))
    }

    /// The next client, with work, and its channel's id.
    pub(crate) async fn miner(&self) -> Judged<(Visitor, u32)> {
        let (mut visitor, channel_id) = self.opened().await?;
        let job_id = visitor.future_job(channel_id).await;
        visitor.tip(channel_id, job_id).await;
        Ok((visitor, channel_id))
    }
}
