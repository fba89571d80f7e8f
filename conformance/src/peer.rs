//! The suite's end of one connection.

use std::collections::BTreeMap;
use std::time::Duration;

use platform::Stream;
use sv2_noise::{
    ACT_2_LEN, AuthorityPublicKey, Certificate, FrameDecoder, HandshakeError, Initiator, Sealer,
    Transport,
};
use sv2_wire::{Message, MiningServerMessage};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use crate::bench::{Bench, Record, Waits};
use crate::case::{Judged, Stop};
use crate::frames::{Frame, client_frame_in_words, hex};
use crate::mining::Share;
use crate::view::View;

/// Longest payload that is taken from a server: what a frame header can announce.
const MAX_PAYLOAD: usize = 16_777_215;
/// Most frames that are read in one go: a server that sends more floods the client.
const MAX_FRAMES: usize = 20_000;
/// Where the searches for further shares begin: far from those of the cases, so that no share is
/// sent twice.
const FIRST_FURTHER_NONCE: u32 = 0x8000_0000;
/// Sequence number of the first further share, which no case uses.
const FIRST_FURTHER_NUMBER: u32 = 0x00f0_0000;

/// What a read ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A frame.
    Frame(Frame),
    /// The server ended the connection, or its sending half.
    Closed,
    /// Nothing came in time.
    Quiet,
    /// What came does not open; the connection is beyond use.
    Broken(String),
}

/// What came until the line was quiet or closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The frames, in order.
    pub frames: Vec<Frame>,
    /// The server ended the connection.
    pub closed: bool,
}

impl Heard {
    /// The messages, each read strictly.
    ///
    /// # Errors
    /// [`Stop::Breach`] for a frame that is no message of a server.
    pub fn messages(&self) -> Judged<Vec<MiningServerMessage<'_>>> {
        self.frames.iter().map(read).collect()
    }
}

/// One connection to the server.
pub struct Peer {
    read: Box<dyn AsyncRead + Send + Unpin>,
    write: Box<dyn AsyncWrite + Send + Unpin>,
    sealer: Option<Sealer>,
    decoder: Option<FrameDecoder>,
    closed: bool,
    record: Record,
    waits: Waits,
    /// What the server has said of channels and jobs so far.
    pub view: View,
    /// Shares that the server had to accept, by channel.
    good_shares: BTreeMap<u32, u64>,
    /// Where the search for the next further share begins, and its sequence number.
    further: (u32, u32),
}

impl Peer {
    pub(crate) fn new(stream: Stream, record: Record, waits: Waits) -> Self {
        record.add("connected");
        Self {
            read: stream.read,
            write: stream.write,
            sealer: None,
            decoder: None,
            closed: false,
            record,
            waits,
            view: View::default(),
            good_shares: BTreeMap::new(),
            further: (FIRST_FURTHER_NONCE, FIRST_FURTHER_NUMBER),
        }
    }

    /// Goes on without Noise.
    pub fn speak_plaintext(&mut self) {
        self.speak(Transport::plaintext());
    }

    /// Goes on over a transport.
    pub fn speak(&mut self, transport: Transport) {
        let (sealer, opener) = transport.split();
        self.sealer = Some(sealer);
        self.decoder = Some(FrameDecoder::new(opener, MAX_PAYLOAD));
    }

    /// The Noise handshake; `None` when the server ends the connection instead of answering, as
    /// one does that limits the rate of connections.
    ///
    /// # Errors
    /// [`Stop::Breach`] for an act 2 that is no answer, or whose certificate is not acceptable.
    pub async fn shake_hands(
        &mut self,
        bench: &Bench,
        authority: Option<AuthorityPublicKey>,
    ) -> Judged<Option<Certificate>> {
        let entropy = &mut |out: &mut [u8]| bench.env.rng.fill(out);
        let (initiator, act_1) = Initiator::new(authority, entropy).map_err(no_handshake)?;
        self.send_raw(&act_1, "act 1").await;
        let act_2 = self.receive_raw(ACT_2_LEN, self.waits.answer).await;
        if act_2.is_empty() && self.closed {
            return Ok(None);
        }
        let act_2: [u8; ACT_2_LEN] = act_2.as_slice().try_into().map_err(|_| {
            Stop::Breach(format!("act 2 has {} bytes instead of {ACT_2_LEN}", act_2.len()))
        })?;
        let (transport, certificate) =
            initiator.act_2(&act_2, bench.unix_secs()).map_err(no_handshake)?;
        self.speak(transport);
        Ok(Some(certificate))
    }

    /// Sends one message.
    pub async fn send<'m>(&mut self, message: &impl Message<'m>) {
        let mut frame = Vec::new();
        message.encode_frame(&mut frame);
        self.send_frame(&frame).await;
    }

    /// Sends one frame, given as header and payload in plaintext.
    pub async fn send_frame(&mut self, frame: &[u8]) {
        let sealed = self.seal(frame);
        self.write(&sealed).await;
    }

    /// The wire form of a frame, which then has to be sent before any other.
    pub fn seal(&mut self, frame: &[u8]) -> Vec<u8> {
        self.record.add(&format!("-> {}", client_frame_in_words(frame)));
        let mut sealed = Vec::new();
        self.sealer
            .as_mut()
            .expect("cases send frames after the handshake only")
            .seal_frame(frame, &mut sealed);
        sealed
    }

    /// Sends bytes as they are.
    pub async fn send_raw(&mut self, bytes: &[u8], what: &str) {
        self.record.add(&format!("-> {what}: {}", hex(bytes)));
        self.write(bytes).await;
    }

    /// Sends bytes in pieces of `size`, each on its own.
    pub async fn send_in_pieces(&mut self, bytes: &[u8], size: usize) {
        self.record.add(&format!("-> {} bytes in pieces of {size}", bytes.len()));
        for piece in bytes.chunks(size) {
            self.write(piece).await;
            tokio::task::yield_now().await;
        }
    }

    /// Ends the sending half.
    pub async fn finish(&mut self) {
        self.record.add("-> end of the sending half");
        // A server that has closed already is seen by the next read.
        let _ = timeout(self.waits.answer, self.write.shutdown()).await;
    }

    /// Up to `len` raw bytes: fewer when the connection ends or nothing more comes in time.
    pub async fn receive_raw(&mut self, len: usize, within: Duration) -> Vec<u8> {
        let deadline = Instant::now() + within;
        let mut bytes = vec![0; len];
        let mut filled = 0;
        while filled < len && !self.closed {
            match timeout_at(deadline, self.read.read(&mut bytes[filled..])).await {
                Err(_) => break,
                Ok(Ok(0) | Err(_)) => self.note_closed(),
                Ok(Ok(count)) => filled += count,
            }
        }
        bytes.truncate(filled);
        self.record.add(&format!("<- {}", hex(&bytes)));
        bytes
    }

    /// The next frame, or what came instead.
    pub async fn receive(&mut self, within: Duration) -> Event {
        let deadline = Instant::now() + within;
        loop {
            let decoder = self.decoder.as_mut().expect("frames come after the handshake only");
            match decoder.next_frame() {
                Ok(Some(frame)) => {
                    let frame = Frame { header: frame.header, payload: frame.payload.to_vec() };
                    self.record.add(&format!("<- {}", frame.in_words()));
                    self.view.note(&frame);
                    return Event::Frame(frame);
                }
                Ok(None) => {}
                Err(error) => return Event::Broken(error.to_string()),
            }
            if self.closed {
                return Event::Closed;
            }
            let mut buffer = vec![0; 65_536];
            match timeout_at(deadline, self.read.read(&mut buffer)).await {
                Err(_) => return Event::Quiet,
                Ok(Ok(0) | Err(_)) => self.note_closed(),
                Ok(Ok(count)) => {
                    let decoder =
                        self.decoder.as_mut().expect("frames come after the handshake only");
                    decoder.push(&buffer[..count]);
                }
            }
        }
    }

    /// Reads until `pick` takes a message; what it does not take is passed over.
    ///
    /// # Errors
    /// [`Stop::Breach`] when the connection ends, `what` does not come in time, or something comes
    /// that is no message of a server.
    pub async fn await_message<T>(
        &mut self,
        what: &str,
        pick: impl FnMut(&MiningServerMessage<'_>) -> Option<T>,
    ) -> Judged<T> {
        let within = self.waits.answer;
        self.seek(what, within, pick)
            .await?
            .ok_or_else(|| Stop::Breach(format!("no {what} came within {} ms", within.as_millis())))
    }

    /// As [`await_message`](Self::await_message); none when it does not come in time.
    ///
    /// # Errors
    /// [`Stop::Breach`] when the connection ends, or something comes that is no message of a server.
    pub(crate) async fn seek<T>(
        &mut self,
        what: &str,
        within: Duration,
        mut pick: impl FnMut(&MiningServerMessage<'_>) -> Option<T>,
    ) -> Judged<Option<T>> {
        let deadline = Instant::now() + within;
        loop {
            match self.receive(deadline.saturating_duration_since(Instant::now())).await {
                Event::Frame(frame) => {
                    if let Some(picked) = pick(&read(&frame)?) {
                        return Ok(Some(picked));
                    }
                }
                Event::Closed => {
                    return Err(Stop::Breach(format!(
                        "the server ended the connection instead of sending {what}"
                    )));
                }
                Event::Quiet => return Ok(None),
                Event::Broken(error) => return Err(Stop::Breach(format!("frame: {error}"))),
            }
        }
    }

    /// The wait for what must come.
    pub(crate) fn answer_wait(&self) -> Duration {
        self.waits.answer
    }

    /// Shares sent on a channel that the server had to accept.
    pub(crate) fn good_shares(&self, channel_id: u32) -> u64 {
        self.good_shares.get(&channel_id).copied().unwrap_or(0)
    }

    /// Counts shares that the server had to accept.
    pub(crate) fn note_good_shares(&mut self, channel_id: u32, count: u64) {
        *self.good_shares.entry(channel_id).or_default() += count;
    }

    /// A share that is unlike any before, before its nonce is searched.
    pub(crate) fn further_share(&self, blank: Share) -> Share {
        let (nonce, sequence_number) = self.further;
        Share { nonce, sequence_number, ..blank }
    }

    /// The next further share is another one than this.
    pub(crate) fn note_further_share(&mut self, found: &Share) {
        self.further = (found.nonce.wrapping_add(1), found.sequence_number.wrapping_add(1));
    }

    /// Everything that comes until nothing has come for `quiet`, or the connection ends.
    ///
    /// # Errors
    /// [`Stop::Breach`] for frames that do not open, and for a flood.
    pub async fn hear(&mut self, quiet: Duration) -> Judged<Heard> {
        let mut frames = Vec::new();
        loop {
            match self.receive(quiet).await {
                Event::Frame(frame) if frames.len() < MAX_FRAMES => frames.push(frame),
                Event::Frame(_) => return Err(Stop::breach("the server floods the client")),
                Event::Closed => return Ok(Heard { frames, closed: true }),
                Event::Quiet => return Ok(Heard { frames, closed: false }),
                Event::Broken(error) => return Err(Stop::Breach(format!("frame: {error}"))),
            }
        }
    }

    /// Everything that comes while nothing is expected.
    ///
    /// # Errors
    /// As [`hear`](Self::hear).
    pub async fn hear_quietly(&mut self) -> Judged<Heard> {
        self.hear(self.waits.quiet).await
    }

    /// Waits for the server to end the connection, whatever it sends before that.
    ///
    /// # Errors
    /// [`Stop::Breach`] when it does not within `within`.
    pub async fn await_close(&mut self, within: Duration, because: &str) -> Judged {
        let deadline = Instant::now() + within;
        while self.decoder.is_some() {
            match self.receive(deadline.saturating_duration_since(Instant::now())).await {
                Event::Frame(_) => {}
                Event::Closed => return Ok(()),
                Event::Quiet => return Err(kept_open(within, because)),
                // What does not open may still end.
                Event::Broken(error) => {
                    self.record.add(&format!("<- a frame that does not open: {error}"));
                    self.decoder = None;
                }
            }
        }
        let mut buffer = vec![0; 65_536];
        while !self.closed {
            match timeout_at(deadline, self.read.read(&mut buffer)).await {
                Err(_) => return Err(kept_open(within, because)),
                Ok(Ok(0) | Err(_)) => self.note_closed(),
                Ok(Ok(count)) => self.record.add(&format!("<- {}", hex(&buffer[..count]))),
            }
        }
        Ok(())
    }

    /// The record, for lines of a case's own.
    pub fn remark(&self, line: &str) {
        self.record.add(line);
    }

    async fn write(&mut self, bytes: &[u8]) {
        let writing = async {
            self.write.write_all(bytes).await?;
            self.write.flush().await
        };
        // What it means that a server takes no bytes is for the case to say, by what it reads.
        match timeout(self.waits.answer, writing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.record.add(&format!("the server takes no bytes: {error}")),
            Err(_) => self.record.add("the server does not read what is sent"),
        }
    }

    fn note_closed(&mut self) {
        self.closed = true;
        self.record.add("<- end of the connection");
    }
}

fn kept_open(within: Duration, because: &str) -> Stop {
    let waited = within.as_millis();
    Stop::Breach(format!("the server kept the connection open for {waited} ms after {because}"))
}

/// The message of a frame.
pub(crate) fn read(frame: &Frame) -> Judged<MiningServerMessage<'_>> {
    match frame.message() {
        Ok(decoded) => Ok(decoded.message),
        Err(error) => Err(Stop::Breach(format!(
            "the server sent what is no message of a mining server: {error}; {}",
            frame.in_words()
        ))),
    }
}

#[allow(clippy::needless_pass_by_value)] // So that it can be named in `map_err`.
fn no_handshake(error: HandshakeError) -> Stop {
    Stop::Breach(format!("handshake: {error}"))
}
