//! Which of a link's proposals is judged next.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;
use verifier_protocol::{Body, TemplatePropose};

/// How many bytes they have together at most: four full templates, or two of the greatest bodies.
pub(crate) const MAX_WAITING_BYTES: usize = 16 << 20;

/// A proposal whose body is complete.
#[derive(Debug)]
pub(crate) struct Proposal {
    pub(crate) propose: TemplatePropose,
    pub(crate) body: Body,
    /// When its first line came.
    pub(crate) begun_at: Instant,
    /// When its last line came.
    pub(crate) complete_at: Instant,
}

/// Proposals in the order in which they came, those for the newest tip before all others: miners
/// wait for that verdict, and the others are of use only to the record.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: VecDeque<Proposal>,
    most: usize,
}

impl Queue {
    /// Holds at most so many proposals.
    pub(crate) fn new(most: usize) -> Self {
        Self { waiting: VecDeque::new(), most }
    }

    /// Adds a proposal; hands back those that no longer fit, the oldest.
    pub(crate) fn push(&mut self, proposal: Proposal) -> Vec<Proposal> {
        self.waiting.push_back(proposal);
        let mut bytes: usize = self.waiting.iter().map(|waiting| waiting.body.bytes.len()).sum();
        let mut evicted = Vec::new();
        while self.waiting.len() > self.most || bytes > MAX_WAITING_BYTES {
            let Some(oldest) = self.waiting.pop_front() else { break };
            bytes -= oldest.body.bytes.len();
            evicted.push(oldest);
        }
        evicted
    }

    /// Takes those whose first line came `deadline` ago or before, the oldest first: nobody waits
    /// for their verdicts any more.
    pub(crate) fn take_overdue(&mut self, now: Instant, deadline: Duration) -> VecDeque<Proposal> {
        let (overdue, waiting) =
            self.waiting.drain(..).partition(|waiting| waiting.begun_at + deadline <= now);
        self.waiting = waiting;
        overdue
    }

    /// When the first line of the proposal came that is overdue first.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.waiting.iter().map(|waiting| waiting.begun_at).min()
    }

    /// The tip of the proposal that came last, which is judged next.
    pub(crate) fn newest_tip(&self) -> Option<&str> {
        Some(&self.waiting.back()?.propose.prev_hash)
    }

    /// Takes the next proposal to judge.
    pub(crate) fn pop(&mut self) -> Option<Proposal> {
        let newest_tip = self.newest_tip()?.to_owned();
        let first = self.waiting.iter().position(|waiting| waiting.propose.prev_hash == newest_tip);
        self.waiting.remove(first?)
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use verifier_protocol::{BodyAnnouncement, Mode, ProposalId};

    use super::*;

    const MOST: usize = 20;

    fn proposal(id: u64, prev_hash: &str) -> Proposal {
        let propose = TemplatePropose {
            proposal_id: ProposalId(id),
            mode: Mode::Inline,
            height: 1,
            prev_hash: prev_hash.to_owned(),
            block_version: 0,
            bits: 0,
            curtime: 0,
            coinbase_value: 0,
            tx_count: 0,
            total_fees: 0,
            weight: 0,
            sigops_cost: 0,
            coinbase_sigops: 0,
            observed_at_ms: 0,
            gateway_instance_id: String::new(),
            body: BodyAnnouncement::of(&[0]),
        };
        let now = Instant::now();
        Proposal { propose, body: Body::default(), begun_at: now, complete_at: now }
    }

    fn order(proposals: &[(u64, &str)]) -> Vec<u64> {
        let mut queue = Queue::new(MOST);
        for (id, prev_hash) in proposals {
            assert!(queue.push(proposal(*id, prev_hash)).is_empty());
        }
        std::iter::from_fn(|| queue.pop()).map(|next| next.propose.proposal_id.0).collect()
    }

    #[test]
    fn the_newest_tip_overtakes_older_ones() {
        assert_eq!(order(&[(1, "a"), (2, "a"), (3, "b"), (4, "b")]), [3, 4, 1, 2]);
    }

    #[test]
    fn proposals_for_one_tip_keep_their_order() {
        assert_eq!(order(&[(1, "a"), (2, "a"), (3, "a")]), [1, 2, 3]);
    }

    #[test]
    fn a_tip_that_comes_back_is_the_newest_again() {
        assert_eq!(order(&[(1, "a"), (2, "b"), (3, "a")]), [1, 3, 2]);
    }

    #[test]
    fn the_oldest_gives_way_when_the_queue_is_full() {
        let mut queue = Queue::new(MOST);
        for id in 0..MOST as u64 {
            assert!(queue.push(proposal(id, "a")).is_empty());
        }
        let evicted = queue.push(proposal(999, "b"));
        assert_eq!(evicted[0].propose.proposal_id.0, 0);
        assert_eq!((evicted.len(), queue.len()), (1, MOST));
    }

    #[test]
    fn what_waited_for_too_long_is_taken_out() {
        let mut queue = Queue::new(MOST);
        let begun = Instant::now();
        for id in 0..4 {
            let begun_at = begun + Duration::from_millis(id);
            queue.push(Proposal { begun_at, ..proposal(id, "a") });
        }
        let deadline = Duration::from_millis(10);
        let overdue = queue.take_overdue(begun + Duration::from_millis(11), deadline);
        let ids: Vec<_> = overdue.iter().map(|one| one.propose.proposal_id.0).collect();
        assert_eq!((ids, queue.len()), (vec![0, 1], 2));
        assert_eq!(queue.oldest(), Some(begun + Duration::from_millis(2)));
    }

    #[test]
    fn large_ones_wait_in_smaller_numbers() {
        let mut queue = Queue::new(MOST);
        let large = |id| {
            let bytes = vec![0; MAX_WAITING_BYTES / 4];
            Proposal { body: Body { bytes, known: Vec::new() }, ..proposal(id, "a") }
        };
        for id in 0..4 {
            assert!(queue.push(large(id)).is_empty());
        }
        assert_eq!(queue.push(large(4))[0].propose.proposal_id.0, 0);
        assert!(queue.push(proposal(5, "a")).is_empty());
    }
}
