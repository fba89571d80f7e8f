//! The last verdicts, for operators.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use verifier_protocol::TemplateVerdict;

/// A verdict with what it was about.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Entry {
    /// Counted up from 1 over the life of the process; pages are cut by it.
    pub(crate) seq: u64,
    pub(crate) judged_at_ms: u64,
    pub(crate) gateway_instance_id: String,
    pub(crate) height: u32,
    pub(crate) prev_hash: String,
    #[serde(flatten)]
    pub(crate) verdict: TemplateVerdict,
}

/// Remembers a bounded number of verdicts.
pub(crate) struct History {
    size: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    last_seq: u64,
    entries: VecDeque<Entry>,
}

/// A page of verdicts, newest first.
#[derive(Debug, Serialize)]
pub(crate) struct Page {
    pub(crate) verdicts: Vec<Entry>,
    /// Ask with `before` set to this for the next page; null at the end.
    pub(crate) next_before: Option<u64>,
}

impl History {
    pub(crate) fn new(size: usize) -> Self {
        Self { size, inner: Mutex::default() }
    }

    /// Adds an entry under the next `seq`, whatever its own; the oldest gives way.
    pub(crate) fn push(&self, mut entry: Entry) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.last_seq += 1;
        entry.seq = inner.last_seq;
        if inner.entries.len() == self.size {
            inner.entries.pop_front();
        }
        inner.entries.push_back(entry);
    }

    /// Up to `limit` verdicts older than `before`, newest first.
    pub(crate) fn page(&self, before: Option<u64>, limit: usize) -> Page {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let older = |entry: &&Entry| before.is_none_or(|before| entry.seq < before);
        let mut rest = inner.entries.iter().rev().filter(older);
        let verdicts: Vec<Entry> = rest.by_ref().take(limit).cloned().collect();
        let next_before = rest.next().and_then(|_| verdicts.last()).map(|entry| entry.seq);
        Page { verdicts, next_before }
    }

    /// How many verdicts there were since the start.
    pub(crate) fn total(&self) -> u64 {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).last_seq
    }
}

#[cfg(test)]
mod tests {
    use verifier_protocol::{ProposalId, Verdict};

    use super::*;
    use crate::judge::other_version;

    fn history(size: usize, pushed: u64) -> History {
        let history = History::new(size);
        for id in 0..pushed {
            let verdict: Verdict = other_version(3);
            history.push(Entry {
                seq: 0,
                judged_at_ms: id,
                gateway_instance_id: String::new(),
                height: 0,
                prev_hash: String::new(),
                verdict: TemplateVerdict {
                    proposal_id: ProposalId(id),
                    verdict,
                    policy_hash: String::new(),
                    judged_in_us: 0,
                },
            });
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
        assert_eq!(history.total(), 8);
    }

    #[test]
    fn nothing_is_a_page_too() {
        let page = history(5, 0).page(None, 3);
        assert_eq!((seqs(&page), page.next_before), (vec![], None));
    }
}
