//! The bytes of one direction of a connection, on their way and arrived: a state machine
//! without I/O. Their order is always kept.

use std::collections::VecDeque;
use std::io;

use bytes::{Buf, Bytes};
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use super::link::{Link, Moment};
use crate::world::streams;

/// What a read finds.
#[derive(Debug, PartialEq)]
pub(crate) enum Read {
    /// So many bytes were copied.
    Bytes(usize),
    /// The sender has ended its direction.
    End,
    /// Nothing arrives before this moment ([`NEVER`](super::link::NEVER) with nothing under way).
    Until(Moment),
}

#[derive(Debug)]
struct Segment {
    arrival: Moment,
    /// Whether an outage set the arrival, so that healing moves it.
    delayed: bool,
    payload: Payload,
}

#[derive(Debug)]
enum Payload {
    Data(Bytes),
    Fin,
}

impl Payload {
    fn len(&self) -> usize {
        match self {
            Self::Data(bytes) => bytes.len(),
            Self::Fin => 0,
        }
    }
}

/// One direction of a connection.
#[derive(Debug)]
pub(crate) struct Flow {
    segments: VecDeque<Segment>,
    /// Bytes in `segments`.
    unread: usize,
    last_arrival: Moment,
    finished: bool,
    latencies: ChaCha8Rng,
    faults: ChaCha8Rng,
}

impl Flow {
    pub(crate) fn new(latencies: ChaCha8Rng, faults: ChaCha8Rng) -> Self {
        Self {
            segments: VecDeque::new(),
            unread: 0,
            last_arrival: Moment::ZERO,
            finished: false,
            latencies,
            faults,
        }
    }

    /// Takes as many bytes as the window has room for, and says how many.
    pub(crate) fn send(&mut self, now: Moment, bytes: &[u8], link: &mut Link) -> usize {
        let taken = bytes.len().min(link.config.window.saturating_sub(self.unread));
        let mut rest = &bytes[..taken];
        while !rest.is_empty() {
            let size = link.config.segment_bytes(&mut self.latencies).min(rest.len());
            let (segment, later) = rest.split_at(size);
            rest = later;
            let mut segment = segment.to_vec();
            let corruption = link.corruption();
            if corruption > 0.0 && streams::unit(&mut self.faults) < corruption {
                let at = streams::below(&mut self.faults, segment.len());
                segment[at] ^= 1 << (self.faults.next_u32() % 8);
            }
            self.push(now, Payload::Data(Bytes::from(segment)), link);
        }
        taken
    }

    /// Ends the direction: the reader sees it once all bytes have arrived.
    pub(crate) fn finish(&mut self, now: Moment, link: &mut Link) {
        if !self.finished {
            self.finished = true;
            self.push(now, Payload::Fin, link);
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Copies what has arrived.
    pub(crate) fn read(&mut self, now: Moment, out: &mut [u8], coalesce: bool) -> Read {
        let mut copied = 0;
        while let Some(first) = self.segments.front_mut() {
            if first.arrival > now || copied == out.len() || (copied > 0 && !coalesce) {
                break;
            }
            let Payload::Data(bytes) = &mut first.payload else { break };
            let size = bytes.len().min(out.len() - copied);
            bytes.copy_to_slice(&mut out[copied..copied + size]);
            copied += size;
            if bytes.is_empty() {
                self.segments.pop_front();
            }
        }
        self.unread -= copied;
        if copied > 0 {
            return Read::Bytes(copied);
        }
        match self.segments.front() {
            None => Read::Until(Moment::MAX),
            Some(first) if first.arrival > now => Read::Until(first.arrival),
            // An empty buffer reads nothing; the end of the direction stays where it is.
            Some(Segment { payload: Payload::Data(_), .. }) => Read::Bytes(0),
            Some(Segment { payload: Payload::Fin, .. }) => Read::End,
        }
    }

    /// When the first data that was not read yet arrives.
    pub(crate) fn first_data(&self) -> Option<Moment> {
        let first = self.segments.front()?;
        matches!(first.payload, Payload::Data(_)).then_some(first.arrival)
    }

    /// Whether anything has still to arrive.
    pub(crate) fn is_under_way(&self, now: Moment) -> bool {
        self.segments.back().is_some_and(|last| last.arrival > now)
    }

    /// When everything that was sent has arrived.
    pub(crate) fn last_arrival(&self) -> Moment {
        self.last_arrival
    }

    /// How long a packet without bytes takes on a link (a RST, say).
    pub(crate) fn bare_latency(&mut self, link: &Link) -> Moment {
        link.latency(&mut self.latencies)
    }

    /// Gives everything under way a new arrival: an outage began, or (`healed`) ended, when only
    /// what the outage delayed moves.
    pub(crate) fn reschedule(&mut self, now: Moment, link: &mut Link, healed: bool) {
        let mut last = Moment::ZERO;
        for segment in &mut self.segments {
            if segment.arrival > now && (segment.delayed || !healed) {
                let (arrival, delayed) =
                    link.arrival(now, segment.payload.len(), &mut self.latencies);
                segment.arrival = arrival;
                segment.delayed = delayed;
            }
            segment.arrival = segment.arrival.max(last);
            last = segment.arrival;
        }
        self.last_arrival = last;
    }

    fn push(&mut self, now: Moment, payload: Payload, link: &mut Link) {
        let (arrival, delayed) = link.arrival(now, payload.len(), &mut self.latencies);
        let arrival = arrival.max(self.last_arrival);
        self.last_arrival = arrival;
        self.unread += payload.len();
        self.segments.push_back(Segment { arrival, delayed, payload });
    }
}

/// A failure that an end of a connection notices at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Failure {
    pub(crate) at: Moment,
    pub(crate) kind: io::ErrorKind,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::net::link::{Latency, LinkConfig, NEVER, Outage};

    const MS: Duration = Duration::from_millis(1);

    fn flow() -> Flow {
        Flow::new(streams::derive(7, "test"), streams::derive(7, "faults"))
    }

    fn link(latency: Duration) -> Link {
        Link::new(LinkConfig { latency: Latency::Fixed(latency), ..LinkConfig::default() })
    }

    fn read(flow: &mut Flow, now: Moment) -> (Read, Vec<u8>) {
        let mut out = [0; 1024];
        let read = flow.read(now, &mut out, true);
        let bytes = if let Read::Bytes(count) = read { out[..count].to_vec() } else { Vec::new() };
        (read, bytes)
    }

    #[test]
    fn bytes_arrive_after_their_latency_and_then_the_end() {
        let (mut flow, mut link) = (flow(), link(5 * MS));
        assert_eq!(flow.send(MS, b"abc", &mut link), 3);
        flow.finish(2 * MS, &mut link);
        assert_eq!(read(&mut flow, 5 * MS).0, Read::Until(6 * MS));
        assert_eq!(read(&mut flow, 6 * MS).1, b"abc");
        assert_eq!(read(&mut flow, 6 * MS).0, Read::Until(7 * MS));
        assert_eq!(read(&mut flow, 7 * MS).0, Read::End);
        assert_eq!(read(&mut flow, 9 * MS).0, Read::End);
    }

    #[test]
    fn the_window_counts_what_is_unread() {
        let (mut flow, mut link) = (flow(), link(MS));
        link.config.window = 4;
        assert_eq!(flow.send(MS, b"abcdef", &mut link), 4);
        assert_eq!(flow.send(MS, b"ef", &mut link), 0);
        assert_eq!(read(&mut flow, 2 * MS).1, b"abcd");
        assert_eq!(flow.send(2 * MS, b"ef", &mut link), 2);
    }

    #[test]
    fn a_cut_keeps_the_bytes_until_it_ends_or_is_healed() {
        let (mut flow, mut link) = (flow(), link(2 * MS));
        flow.send(MS, b"a", &mut link);
        link.outage = Some(Outage { until: 50 * MS, lossy: true });
        flow.reschedule(2 * MS, &mut link, false);
        flow.send(3 * MS, b"b", &mut link);
        assert_eq!(read(&mut flow, 4 * MS).0, Read::Until(52 * MS));
        link.outage = None;
        flow.reschedule(10 * MS, &mut link, true);
        assert_eq!(read(&mut flow, 12 * MS).1, b"ab");
    }

    #[test]
    fn an_endless_cut_never_delivers() {
        let (mut flow, mut link) = (flow(), link(2 * MS));
        link.outage = Some(Outage { until: NEVER, lossy: true });
        flow.send(MS, b"a", &mut link);
        assert_eq!(read(&mut flow, 1000 * MS).0, Read::Until(NEVER));
    }

    #[test]
    fn corruption_flips_one_bit_of_a_segment() {
        let (mut flow, mut link) = (flow(), link(MS));
        link.config.corrupt = 1.0;
        flow.send(MS, &[0; 64], &mut link);
        let bytes = read(&mut flow, 2 * MS).1;
        assert_eq!(bytes.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn any_writes_cuts_and_reads_keep_the_bytes_in_order(
            writes in proptest::collection::vec((0u64..30, 1usize..400, 0u8..4), 1..40),
            chunk in 1usize..200,
            coalesce: bool,
        ) {
            let mut flow = flow();
            let mut link = Link::new(LinkConfig {
                latency: Latency::Uniform { min: MS, max: 20 * MS },
                chunk: Some((1, chunk)),
                ..LinkConfig::default()
            });
            let (mut now, mut sent, mut received) = (MS, Vec::<u8>::new(), Vec::<u8>::new());
            let mut out = [0; 64];
            for (wait, size, fault) in writes {
                now += MS * u32::try_from(wait).unwrap();
                let bytes: Vec<u8> = (0..size).map(|n| (sent.len() + n) as u8).collect();
                sent.extend(&bytes);
                prop_assert_eq!(flow.send(now, &bytes, &mut link), size);
                if fault < 2 {
                    link.outage = (fault == 0).then_some(Outage { until: NEVER, lossy: true });
                    flow.reschedule(now, &mut link, fault == 1);
                }
                if let Read::Bytes(count) = flow.read(now, &mut out, coalesce) {
                    received.extend_from_slice(&out[..count]);
                }
            }
            link.outage = None;
            flow.reschedule(now, &mut link, true);
            flow.finish(now, &mut link);
            loop {
                match flow.read(now, &mut out, coalesce) {
                    Read::Bytes(count) => received.extend_from_slice(&out[..count]),
                    Read::Until(later) => now = later,
                    Read::End => break,
                }
            }
            prop_assert_eq!(sent, received);
        }
    }
}
