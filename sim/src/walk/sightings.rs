//! What was seen, in the words of the walk.

use std::time::Duration;

use super::story::MINERS;
use crate::actors::observe::{MinerSeen, Observation, Recorder, Seen};

/// What miners got for their shares so far.
pub(super) struct Answers {
    sent: usize,
    pub(super) acked: usize,
    rejected: usize,
}

impl Answers {
    pub(super) fn of(recorder: &Recorder) -> Self {
        let mut answers = Self { sent: 0, acked: 0, rejected: 0 };
        for Observation { what, .. } in recorder.observations() {
            match what {
                Seen::Miner { what: MinerSeen::Sent { .. }, .. } => answers.sent += 1,
                Seen::Miner { what: MinerSeen::Acked { .. }, .. } => answers.acked += 1,
                Seen::Miner { what: MinerSeen::Rejected { .. }, .. } => answers.rejected += 1,
                _ => {}
            }
        }
        answers
    }

    /// Shares without an answer.
    pub(super) fn open(&self) -> usize {
        self.sent - self.acked - self.rejected
    }
}

/// From a block's way to the gateway until the last miner heard that it is the tip.
pub(super) fn switch_time(observations: &[Observation], block: &str) -> Duration {
    let mut sent = None;
    let mut last = Duration::ZERO;
    for Observation { at, what } in observations {
        match what {
            Seen::Miner { what: MinerSeen::Sent { hash, .. }, .. } if hash == block => {
                sent = Some(*at);
            }
            Seen::Miner { what, .. } if is_tip(what, block) => last = *at,
            _ => {}
        }
    }
    last.saturating_sub(sent.unwrap_or(last))
}

/// How many miners saw this at least once.
pub(super) fn count_in(observations: &[Observation], matches: impl Fn(&MinerSeen) -> bool) -> u32 {
    let mut seen_by = [false; MINERS as usize];
    for observation in observations {
        if let Seen::Miner { miner, what } = &observation.what
            && matches(what)
        {
            seen_by[*miner as usize] = true;
        }
    }
    seen_by.iter().map(|seen| u32::from(*seen)).sum()
}

/// Whether all miners are where they should be, or how many are.
pub(super) fn all(count: u32, what: &str) -> Result<(), String> {
    if count == MINERS { Ok(()) } else { Err(format!("{count} of {MINERS} {what}")) }
}

/// The miner is told that this is the tip.
pub(super) fn is_tip(seen: &MinerSeen, tip: &str) -> bool {
    matches!(seen, MinerSeen::PrevHash { prev_hash, .. } if prev_hash == tip)
}

/// The gateway says that the node took this block.
pub(super) fn is_block_found(seen: &Seen, hash: &str) -> bool {
    matches!(seen, Seen::Event(line)
        if line["event"] == "block_found" && line["hash"] == hash && line["accepted"] == true)
}

/// The gateway accepted a share.
pub(super) fn is_accepted(seen: &Seen) -> bool {
    matches!(seen, Seen::Event(line)
        if line["event"] == "share_accepted" && line["sv2_response"] == "success")
}

/// The gateway closed a miner because it drains.
pub(super) fn is_drained(seen: &Seen) -> bool {
    matches!(seen, Seen::Event(line)
        if line["event"] == "connection_closed" && line["reason_code"] == "shutdown_drain")
}

/// The number of an event.
pub(super) fn seq(seen: &Seen) -> Option<u64> {
    match seen {
        Seen::Event(line) => line["seq"].as_u64(),
        _ => None,
    }
}
