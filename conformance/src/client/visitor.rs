//! The scripted server's end of one connection.

use std::sync::Arc;
use std::time::Duration;

use platform::Stream;
use sv2_noise::{ACT_1_LEN, FrameDecoder, Responder, Sealer};
use sv2_wire::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::counter::{ClientWaits, Credentials, Front};
use super::watch::Watch;
use crate::bench::Record;
use crate::case::{Judged, Stop, demand};
use crate::frames::{Frame, hex, server_frame_in_words};
use crate::peer::Event;

/// Longest payload that is taken from a client.
const MAX_PAYLOAD: usize = 1 << 20;

/// One client's connection.
pub(crate) struct Visitor {
    pub(super) front: Arc<Front>,
    stream: Stream,
    sealer: Option<Sealer>,
    decoder: Option<FrameDecoder>,
    closed: bool,
    record: Record,
    /// What the client was given and has done.
    pub(super) watch: Watch,
    /// Shares get no answer.
    pub(super) holds_answers: bool,
}

impl Visitor {
    pub(super) fn new(stream: Stream, front: Arc<Front>, record: Record) -> Self {
        record.add("a client connected");
        Self {
            front,
            stream,
            sealer: None,
            decoder: None,
            closed: false,
            record,
            watch: Watch::default(),
            holds_answers: false,
        }
    }

    pub(super) fn waits(&self) -> ClientWaits {
        self.front.hosting.waits
    }

    /// Act 1, which must be whole.
    pub(super) async fn await_act_1(&mut self) -> Judged<[u8; ACT_1_LEN]> {
        let bytes = self.receive_raw(ACT_1_LEN, self.waits().answer).await;
        bytes.as_slice().try_into().map_err(|_| {
            Stop::Breach(format!("act 1 has {} bytes instead of {ACT_1_LEN}", bytes.len()))
        })
    }

    /// The answer to act 1, not yet sent; frames are then possible.
    pub(super) fn act_2(
        &mut self,
        act_1: &[u8; ACT_1_LEN],
        credentials: Credentials,
    ) -> Judged<Vec<u8>> {
        let certificate = self.front.certificate(credentials);
        let front = Arc::clone(&self.front);
        let entropy = &mut |out: &mut [u8]| front.env.rng.fill(out);
        let answered = Responder::new(front.static_key(), &certificate, entropy)
            .and_then(|responder| responder.act_1(act_1));
        let (act_2, transport) =
            answered.map_err(|error| Stop::Breach(format!("handshake: {error}")))?;
        let (sealer, opener) = transport.split();
        self.sealer = Some(sealer);
        self.decoder = Some(FrameDecoder::new(opener, MAX_PAYLOAD));
        Ok(act_2.to_vec())
    }

    /// The whole handshake.
    pub(super) async fn shake_hands(&mut self, credentials: Credentials) -> Judged {
        let act_1 = self.await_act_1().await?;
        let act_2 = self.act_2(&act_1, credentials)?;
        self.send_raw(&act_2, "act 2").await;
        Ok(())
    }

    /// Sends one message.
    pub(super) async fn send<'m>(&mut self, message: &impl Message<'m>) {
        let sealed = self.seal(message);
        self.write(&sealed).await;
    }

    /// The wire form of a message, which then has to be sent before any other.
    pub(super) fn seal<'m>(&mut self, message: &impl Message<'m>) -> Vec<u8> {
        let mut frame = Vec::new();
        message.encode_frame(&mut frame);
        self.seal_frame(&frame)
    }

    /// As [`seal`](Self::seal), for a frame of any kind.
    pub(super) fn seal_frame(&mut self, frame: &[u8]) -> Vec<u8> {
        self.record.add(&format!("-> {}", server_frame_in_words(frame)));
        let mut sealed = Vec::new();
        let sealer = self.sealer.as_mut().expect("cases send frames after the handshake only");
        sealer.seal_frame(frame, &mut sealed);
        sealed
    }

    /// Sends bytes as they are.
    pub(super) async fn send_raw(&mut self, bytes: &[u8], what: &str) {
        self.record.add(&format!("-> {what}: {}", hex(bytes)));
        self.write(bytes).await;
    }

    /// Sends bytes one by one.
    pub(super) async fn send_in_bytes(&mut self, bytes: &[u8]) {
        self.record.add(&format!("-> {} bytes, one by one", bytes.len()));
        for byte in bytes {
            self.write(std::slice::from_ref(byte)).await;
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) {
        let writing = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        if !matches!(timeout(self.front.hosting.waits.answer, writing).await, Ok(Ok(()))) {
            self.record.add("the client takes no bytes");
        }
    }

    /// Up to `len` raw bytes: fewer when the connection ends or nothing more comes in time.
    pub(super) async fn receive_raw(&mut self, len: usize, within: Duration) -> Vec<u8> {
        let deadline = Instant::now() + within;
        let mut bytes = vec![0; len];
        let mut filled = 0;
        while filled < len && !self.closed {
            match timeout_at(deadline, self.stream.read(&mut bytes[filled..])).await {
                Err(_) => break,
                Ok(Ok(0) | Err(_)) => self.note_closed(),
                Ok(Ok(count)) => filled += count,
            }
        }
        bytes.truncate(filled);
        self.record.add(&format!("<- {}", hex(&bytes)));
        bytes
    }

    /// The next frame, or what came instead. A frame is held against the rules that always hold.
    pub(super) async fn receive(&mut self, within: Duration) -> Event {
        let deadline = Instant::now() + within;
        loop {
            let decoder = self.decoder.as_mut().expect("frames come after the handshake only");
            match decoder.next_frame() {
                Ok(Some(frame)) => {
                    let frame = Frame { header: frame.header, payload: frame.payload.to_vec() };
                    let bytes = [frame.header.encode().as_slice(), &frame.payload].concat();
                    self.record
                        .add(&format!("<- {}", crate::frames::client_frame_in_words(&bytes)));
                    return Event::Frame(frame);
                }
                Ok(None) => {}
                Err(error) => return Event::Broken(error.to_string()),
            }
            if self.closed {
                return Event::Closed;
            }
            let mut buffer = vec![0; 65_536];
            match timeout_at(deadline, self.stream.read(&mut buffer)).await {
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

    /// Waits for the client to end the connection, whatever it sends before that. Frames of it
    /// are not answered.
    ///
    /// # Errors
    /// [`Stop::Breach`] when it does not within the wait for an answer.
    pub(super) async fn await_close(&mut self, because: &str) -> Judged {
        let within = self.waits().answer;
        let deadline = Instant::now() + within;
        while self.decoder.is_some() {
            match self.receive(deadline.saturating_duration_since(Instant::now())).await {
                Event::Frame(_) => {}
                Event::Closed | Event::Quiet => break,
                // What does not open may still end.
                Event::Broken(error) => {
                    self.record.add(&format!("<- a frame that does not open: {error}"));
                    self.decoder = None;
                }
            }
        }
        self.receive_raw(1 << 20, deadline.saturating_duration_since(Instant::now())).await;
        demand(self.closed, || {
            format!(
                "the client kept the connection open for {} ms after {because}",
                within.as_millis()
            )
        })
    }

    fn note_closed(&mut self) {
        self.closed = true;
        self.record.add("<- end of the connection");
    }
}
