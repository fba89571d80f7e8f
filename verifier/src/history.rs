//! The last verdicts, for operators: in memory to be asked, on disk to outlive the process.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use policy::TemplateFacts;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use verifier_protocol::TemplateVerdict;

/// Verdicts that may wait to be written.
pub(crate) const MAX_UNWRITTEN: usize = 4096;

/// A verdict with what it was about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Counted up from 1 over the life of the history; pages are cut by it.
    pub(crate) seq: u64,
    pub(crate) judged_at_ms: u64,
    pub(crate) gateway_instance_id: String,
    pub(crate) height: u32,
    pub(crate) prev_hash: String,
    #[serde(flatten)]
    pub(crate) verdict: TemplateVerdict,
    /// What the policy's rules looked at, so that another policy can be held against it.
    pub(crate) facts: TemplateFacts,
}

/// Remembers a bounded number of verdicts.
pub(crate) struct History {
    size: usize,
    inner: Mutex<Inner>,
}

struct Inner {
    last_seq: u64,
    since_start: u64,
    entries: VecDeque<Entry>,
    /// To whoever writes them down; `None` once the history is closed, or kept in memory only.
    writer: Option<mpsc::Sender<Entry>>,
}

/// A page of verdicts, newest first.
#[derive(Debug, Serialize)]
pub(crate) struct Page {
    pub(crate) verdicts: Vec<Entry>,
    /// Ask with `before` set to this for the next page; null at the end.
    pub(crate) next_before: Option<u64>,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pushed {
    pub(crate) seq: u64,
    /// `false`: it will not be on disk, because too many wait to be written.
    pub(crate) will_be_written: bool,
}

impl History {
    /// A history of at most `size` entries that goes on from `earlier`, which is in the order of
    /// its seqs.
    pub(crate) fn new(
        size: usize,
        earlier: Vec<Entry>,
        writer: Option<mpsc::Sender<Entry>>,
    ) -> Self {
        let last_seq = earlier.last().map_or(0, |entry| entry.seq);
        let skipped = earlier.len().saturating_sub(size);
        let entries = earlier.into_iter().skip(skipped).collect();
        Self { size, inner: Mutex::new(Inner { last_seq, since_start: 0, entries, writer }) }
    }

    /// Adds an entry under the next `seq`, whatever its own; the oldest gives way.
    pub(crate) fn push(&self, mut entry: Entry) -> Pushed {
        let mut inner = self.inner();
        inner.last_seq += 1;
        inner.since_start += 1;
        entry.seq = inner.last_seq;
        let will_be_written =
            inner.writer.as_ref().is_none_or(|writer| writer.try_send(entry.clone()).is_ok());
        if inner.entries.len() == self.size {
            inner.entries.pop_front();
        }
        inner.entries.push_back(entry);
        Pushed { seq: inner.last_seq, will_be_written }
    }

    /// Nothing more is written; what waits still is.
    pub(crate) fn close(&self) {
        self.inner().writer = None;
    }

    /// Up to `limit` verdicts older than `before`, newest first.
    pub(crate) fn page(&self, before: Option<u64>, limit: usize) -> Page {
        let inner = self.inner();
        let older = |entry: &&Entry| before.is_none_or(|before| entry.seq < before);
        let mut rest = inner.entries.iter().rev().filter(older);
        let verdicts: Vec<Entry> = rest.by_ref().take(limit).cloned().collect();
        let next_before = rest.next().and_then(|_| verdicts.last()).map(|entry| entry.seq);
        Page { verdicts, next_before }
    }

    /// What `read` makes of all kept entries, oldest first.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&VecDeque<Entry>) -> T) -> T {
        read(&self.inner().entries)
    }

    /// How many verdicts there were since the start of the process.
    pub(crate) fn since_start(&self) -> u64 {
        self.inner().since_start
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use verifier_protocol::ProposalId;

    use super::*;
    use crate::judge::other_version;

    pub(crate) fn entry(seq: u64) -> Entry {
        Entry {
            seq,
            judged_at_ms: seq,
            gateway_instance_id: "gw".to_owned(),
            height: 101,
            prev_hash: "0a".repeat(32),
            verdict: TemplateVerdict {
                proposal_id: ProposalId(seq),
                verdict: other_version(3),
                policy_hash: String::new(),
                judged_in_us: 100 * seq,
            },
            facts: TemplateFacts {
                protocol_version: 2,
                prev_hash: "0a".repeat(32),
                coinbase_value: 5_000_000_000,
                tx_count: 1,
                total_fees: 1000,
                weight: 1000,
                sigops_cost: 0,
                coinbase_sigops: 0,
                age_ms: 0,
                mempool_tx: None,
            },
        }
    }

    fn history(size: usize, pushed: u64) -> History {
        let history = History::new(size, Vec::new(), None);
        for id in 0..pushed {
            history.push(entry(id));
        }
        history
    }

    fn seqs(page: &Page) -> Vec<u64> {
        page.verdicts.iter().map(|entry| entry.seq).collect()
    }

    #[test]
    fn pages_run_from_the_newest_to_the_oldest_kept() {
        let history = history(5, 8);
        let first = history.page(None, 3);
        assert_eq!((seqs(&first), first.next_before), (vec![8, 7, 6], Some(6)));
        let second = history.page(first.next_before, 3);
        assert_eq!((seqs(&second), second.next_before), (vec![5, 4], None));
        assert_eq!(history.since_start(), 8);
    }

    #[test]
    fn nothing_is_a_page_too() {
        let page = history(5, 0).page(None, 3);
        assert_eq!((seqs(&page), page.next_before), (vec![], None));
    }

    #[test]
    fn a_history_goes_on_where_it_ended() {
        let history = History::new(2, vec![entry(4), entry(5), entry(7)], None);
        assert_eq!(seqs(&history.page(None, 9)), [7, 5]);
        assert_eq!(history.push(entry(0)).seq, 8);
        assert_eq!((seqs(&history.page(None, 9)), history.since_start()), (vec![8, 7], 1));
    }

    #[test]
    fn a_writer_that_is_behind_does_not_hold_up_verdicts() {
        let (writer, mut written) = mpsc::channel(1);
        let history = History::new(5, Vec::new(), Some(writer));
        assert!(history.push(entry(0)).will_be_written);
        assert!(!history.push(entry(0)).will_be_written);
        assert_eq!(written.try_recv().map(|entry| entry.seq), Ok(1));
        history.close();
        assert!(written.try_recv().is_err() && written.is_closed());
    }
}
