//! A small conforming server for the suite to judge: connections and the transport.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use platform::{Entropy, Stream};
use sv2_noise::{
    ACT_1_LEN, AuthorityPublicKey, AuthoritySecretKey, Certificate, FrameDecoder, Responder,
    Sealer, StaticKey, Validity,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::timeout;

use crate::breakage::Breakage;
use crate::memory::NOW;
use crate::session::Session;

/// How long a connection may be silent before its first channel.
const PATIENCE: Duration = Duration::from_secs(15);
/// Less than deployed miners need.
const IMPATIENCE: Duration = Duration::from_secs(4);
/// How long a connection with a channel may be silent.
const IDLE: Duration = Duration::from_secs(600);
/// How long a server that gathers acknowledgements keeps an accepted share waiting.
const ACK_DELAY: Duration = Duration::from_secs(20);
/// Answers in one go that a server may lose.
const LATE_BYTES: usize = 10_000;
/// Longest payload that is taken.
const MAX_PAYLOAD: usize = 200_000;

/// What the connections of a server share.
pub(crate) struct Shared {
    pub(crate) breakage: Option<Breakage>,
    /// Accepted shares that one acknowledgement gathers.
    pub(crate) batch: u32,
    pub(crate) authority: AuthorityPublicKey,
    static_key: StaticKey,
    certificate: Certificate,
    rng: Arc<dyn Entropy>,
    prefixes: AtomicU32,
}

impl Shared {
    pub(crate) fn new(breakage: Option<Breakage>, batch: u32, rng: Arc<dyn Entropy>) -> Self {
        let entropy = &mut |out: &mut [u8]| rng.fill(out);
        let (authority, other) =
            (AuthoritySecretKey::generate(entropy), AuthoritySecretKey::generate(entropy));
        let static_key = StaticKey::generate(entropy);
        let now = u32::try_from(NOW).unwrap();
        let validity = match breakage {
            Some(Breakage::ExpiredCertificate) => {
                Validity { valid_from: now - 9_000, not_valid_after: now - 5 }
            }
            Some(Breakage::FreshCertificate) => {
                Validity { valid_from: now, not_valid_after: now + 90_000 }
            }
            _ => Validity { valid_from: now - 3_600, not_valid_after: now + 90_000 },
        };
        let signer = if breakage == Some(Breakage::WrongAuthority) { &other } else { &authority };
        let mut certificate = Certificate::mint(signer, &static_key.public(), validity, entropy);
        if breakage == Some(Breakage::CertificateVersion) {
            let mut bytes = certificate.to_bytes();
            bytes[0] = 1;
            certificate = Certificate::from_bytes(&bytes);
        }
        let authority = authority.public();
        let batch = if breakage == Some(Breakage::FullBatchesOnly) { 10 } else { batch };
        let prefixes = AtomicU32::new(1);
        Self { breakage, batch, authority, static_key, certificate, rng, prefixes }
    }

    pub(crate) fn is(&self, breakage: Breakage) -> bool {
        self.breakage == Some(breakage)
    }

    pub(crate) fn next_prefix(&self) -> u32 {
        match self.is(Breakage::PrefixReused) {
            true => 1,
            false => self.prefixes.fetch_add(1, Ordering::Relaxed),
        }
    }
}

/// Serves one connection to its end.
pub(crate) async fn serve(mut stream: Stream, shared: Arc<Shared>) {
    if shared.is(Breakage::SpeaksFirst) {
        let _ = stream.write_all(&[0]).await;
    }
    let Some((sealer, decoder)) = shake_hands(&mut stream, &shared).await else { return };
    let (read, write) = tokio::io::split(stream);
    let session = Session::new(shared);
    Connection { read, write, sealer, decoder, session }.serve().await;
}

async fn shake_hands(stream: &mut Stream, shared: &Shared) -> Option<(Sealer, FrameDecoder)> {
    let mut act_1 = [0; ACT_1_LEN];
    let patience = if shared.is(Breakage::NoHandshakeDeadline) { IDLE } else { PATIENCE };
    timeout(patience, stream.read_exact(&mut act_1)).await.ok()?.ok()?;
    let in_plaintext = act_1.starts_with(&[0, 0, 0]);
    if shared.is(Breakage::ServesPlaintext) && in_plaintext {
        stream.write_all(&[0, 0, 1, 6, 0, 0, 2, 0, 0, 0, 0, 0]).await.ok()?;
    }
    if shared.is(Breakage::RefusesPlaintext) && in_plaintext {
        stream.write_all(&[0, 0, 2, 7, 0, 0, 0, 0, 0, 0, 2, b'n', b'o']).await.ok()?;
    }
    let responder =
        Responder::new(&shared.static_key, &shared.certificate, &mut |out| match shared
            .is(Breakage::FixedEphemeral)
        {
            true => out.fill(0x11),
            false => shared.rng.fill(out),
        });
    let (act_2, transport) = responder.unwrap().act_1(&act_1).unwrap();
    stream.write_all(&act_2).await.ok()?;
    if shared.is(Breakage::BytesAfterAct2) {
        stream.write_all(&[0; 3]).await.ok()?;
    }
    let (sealer, opener) = transport.split();
    Some((sealer, FrameDecoder::new(opener, MAX_PAYLOAD)))
}

struct Connection {
    read: ReadHalf<Stream>,
    write: WriteHalf<Stream>,
    sealer: Sealer,
    decoder: FrameDecoder,
    session: Session,
}

impl Connection {
    async fn serve(mut self) {
        self.session.start();
        let mut buffer = vec![0; 65_536];
        while self.flush().await {
            let owes = self.session.owes() && !self.session.is(Breakage::FullBatchesOnly);
            let patience = match self.session.has_channels() {
                true if owes => ACK_DELAY,
                true => IDLE,
                false if self.session.is(Breakage::NoDeadline) => IDLE,
                false if self.session.is(Breakage::NoPatience) => IMPATIENCE,
                false => PATIENCE,
            };
            let count = match timeout(patience, self.read.read(&mut buffer)).await {
                Ok(Ok(count @ 1..)) => count,
                Err(_) if owes => {
                    self.session.acknowledge_all();
                    continue;
                }
                _ => return,
            };
            self.decoder.push(&buffer[..count]);
            self.frames().await;
            if self.session.is(Breakage::WholeReadsOnly) && self.decoder.is_mid_frame() {
                return;
            }
        }
    }

    /// Acts on every frame that is whole.
    async fn frames(&mut self) {
        while !self.session.ended {
            match self.decoder.next_frame() {
                Ok(Some(frame)) => self.session.frame(frame.header, frame.payload),
                Ok(None) => return,
                Err(_) if self.session.is(Breakage::KeepsUnauthentic) => {
                    tokio::time::sleep(IDLE).await;
                }
                Err(_) => self.session.ended = true,
            }
        }
    }

    /// Sends what there is; false when the connection is to end.
    async fn flush(&mut self) -> bool {
        let mut sealed = Vec::new();
        if self.session.is(Breakage::LosesLateAnswers) && self.session.out.len() > LATE_BYTES {
            self.session.out.clear();
        }
        self.sealer.seal_frames(&std::mem::take(&mut self.session.out), &mut sealed);
        self.write.write_all(&sealed).await.is_ok() && !self.session.ended
    }
}
