//! Bytes on their way to a miner.

use std::time::Duration;

use sv2_noise::Sealer;

use crate::limits::{OUTGOING_BYTES, UNREAD};

/// Sealed bytes that the socket has not taken yet.
#[derive(Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    /// Since when the socket has taken nothing although something was there.
    stuck_since: Option<Duration>,
}

impl Outgoing {
    pub(super) fn seal(&mut self, frames: &[u8], sealer: &mut Sealer, now: Duration) {
        sealer.seal_frames(frames, &mut self.bytes);
        self.stuck_since.get_or_insert(now);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn written(&mut self, length: usize, now: Duration) {
        self.bytes.drain(..length);
        self.stuck_since = (!self.bytes.is_empty()).then_some(now);
    }

    /// When the miner has read too little, if nothing changes.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.stuck_since.map(|since| since + UNREAD)
    }

    /// What is wrong with how the miner reads.
    pub(super) fn complaint(&self, now: Duration) -> Option<String> {
        if self.bytes.len() > OUTGOING_BYTES {
            return Some(format!("the miner leaves {} bytes unread", self.bytes.len()));
        }
        let is_stuck = self.deadline().is_some_and(|deadline| deadline <= now);
        is_stuck.then(|| format!("the miner has read nothing for {} s", UNREAD.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use sv2_noise::Transport;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn sent(outgoing: &mut Outgoing, len: usize, now: Duration) {
        let (mut sealer, _) = Transport::plaintext().split();
        let mut frame = vec![0; 6 + len];
        frame[3..6].copy_from_slice(&u32::try_from(len).unwrap().to_le_bytes()[..3]);
        outgoing.seal(&frame, &mut sealer, now);
    }

    #[test]
    fn a_miner_that_reads_slowly_is_borne_and_one_that_stopped_is_not() {
        let mut outgoing = Outgoing::default();
        assert_eq!(outgoing.deadline(), None);
        sent(&mut outgoing, 14, SECOND);
        sent(&mut outgoing, 14, 5 * SECOND);
        assert_eq!(outgoing.deadline(), Some(SECOND + UNREAD), "the first bytes count");
        outgoing.written(1, 20 * SECOND);
        assert_eq!(outgoing.complaint(20 * SECOND + UNREAD - SECOND), None);
        let complaint = outgoing.complaint(20 * SECOND + UNREAD).unwrap();
        assert!(complaint.starts_with("the miner has read nothing"), "{complaint}");
        outgoing.written(outgoing.bytes().len(), 60 * SECOND);
        assert_eq!((outgoing.deadline(), outgoing.complaint(1000 * SECOND)), (None, None));
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut outgoing = Outgoing::default();
        for _ in 0..OUTGOING_BYTES / (1 << 16) {
            sent(&mut outgoing, (1 << 16) - 6, SECOND);
        }
        assert_eq!(outgoing.complaint(SECOND), None);
        sent(&mut outgoing, 0, SECOND);
        assert!(outgoing.complaint(SECOND).unwrap().ends_with("bytes unread"));
    }
}
