//! The last templates with their bytes, to be judged again by other policies.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use verifier_protocol::{TemplatePropose, TemplateVerdict};

use crate::proposed::ProposedBlock;

/// The most bytes of blocks that are kept, whatever their number.
pub(crate) const MAX_KEPT_BYTES: usize = 64 << 20;

/// A template as it was judged.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Its verdict's.
    pub(crate) seq: u64,
    pub(crate) judged_at_ms: u64,
    /// How full the mempool was.
    pub(crate) mempool_tx: Option<u64>,
    pub(crate) propose: TemplatePropose,
    pub(crate) block: Arc<ProposedBlock>,
    pub(crate) verdict: TemplateVerdict,
}

/// Keeps a bounded number of templates of bounded size in memory.
pub(crate) struct Shelf {
    size: usize,
    kept: Mutex<VecDeque<Arc<Kept>>>,
}

impl Shelf {
    pub(crate) fn new(size: usize) -> Self {
        Self { size, kept: Mutex::default() }
    }

    /// Keeps a template; the oldest give way. They are handed back, as letting go of a full block
    /// takes longer than whoever waits for a verdict should wait.
    pub(crate) fn push(&self, template: Kept) -> Vec<Arc<Kept>> {
        let mut given_way = Vec::new();
        let mut kept = self.kept();
        kept.push_back(Arc::new(template));
        let mut bytes: usize = kept.iter().map(|template| template.block.size()).sum();
        while kept.len() > self.size || bytes > MAX_KEPT_BYTES {
            let Some(oldest) = kept.pop_front() else { break };
            bytes -= oldest.block.size();
            given_way.push(oldest);
        }
        given_way
    }

    /// The template whose verdict has this seq, or the latest.
    pub(crate) fn find(&self, seq: Option<u64>) -> Option<Arc<Kept>> {
        let kept = self.kept();
        match seq {
            None => kept.back().cloned(),
            Some(seq) => kept.iter().find(|template| template.seq == seq).cloned(),
        }
    }

    /// All kept templates, newest first.
    pub(crate) fn all(&self) -> Vec<Arc<Kept>> {
        self.kept().iter().rev().cloned().collect()
    }

    /// The seqs of the kept templates, oldest first.
    pub(crate) fn seqs(&self) -> Vec<u64> {
        self.kept().iter().map(|template| template.seq).collect()
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Arc<Kept>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use verifier_protocol::{BodyAnnouncement, Mode, ProposalId};

    use super::*;
    use crate::history::tests::entry;

    fn kept(seq: u64, bytes: usize) -> Kept {
        let propose = TemplatePropose {
            proposal_id: ProposalId(seq),
            mode: Mode::Inline,
            height: 1,
            prev_hash: String::new(),
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
        let verdict = entry(seq).verdict;
        let block = Arc::new(ProposedBlock::decode(vec![0; bytes]));
        Kept { seq, judged_at_ms: 0, mempool_tx: None, propose, block, verdict }
    }

    #[test]
    fn the_oldest_give_way_by_number_and_by_bytes() {
        let shelf = Shelf::new(2);
        for seq in 1..=3 {
            shelf.push(kept(seq, 1));
        }
        assert_eq!(shelf.seqs(), [2, 3]);
        assert_eq!(shelf.find(None).unwrap().seq, 3);
        assert_eq!(shelf.find(Some(2)).unwrap().seq, 2);
        assert!(shelf.find(Some(1)).is_none());
        shelf.push(kept(4, MAX_KEPT_BYTES));
        assert_eq!(shelf.seqs(), [4]);
        shelf.push(kept(5, MAX_KEPT_BYTES + 1));
        assert_eq!(shelf.seqs(), [0; 0]);
    }

    #[test]
    fn a_shelf_for_nothing_keeps_nothing() {
        let shelf = Shelf::new(0);
        shelf.push(kept(1, 1));
        assert!(shelf.find(None).is_none());
    }
}
