//! Records written by hand, for the tests of judges.

use std::time::Duration;

use gateway_core::mode::Mode;
use serde_json::{Value, json};

use super::{Judgement, Record, Setting};
use crate::actors::observe::{
    HostSeen, LinkSeen, MinerSeen, NodeSeen, Observation, PoolSeen, Seen, ShareClass,
};
use crate::report::model::Verdict;

/// A record under construction. Each step is one millisecond after the one before.
pub(super) struct Story {
    now_ms: u64,
    observations: Vec<Observation>,
    pub(super) setting: Setting,
    tip: String,
}

pub(super) const EPOCH_MS: u64 = 1_700_000_000_000;

impl Story {
    pub(super) fn new() -> Self {
        Self {
            now_ms: 0,
            observations: Vec::new(),
            setting: Setting {
                mode: Mode::Inline,
                miners: 1,
                verdict_window: Duration::from_millis(50),
                stale_hold: Duration::from_secs(5),
                transit: Duration::from_millis(20),
                epoch_ms: EPOCH_MS,
                payouts: Vec::new(),
                drop_old: false,
                shares_per_second: super::DEFAULT_SHARES_PER_SECOND,
                template_cache: super::DEFAULT_TEMPLATE_CACHE,
                secrets: vec!["hunter2-secret".to_owned()],
            },
            tip: "00".to_owned(),
        }
    }

    pub(super) fn mode(mut self, mode: Mode) -> Self {
        self.setting.mode = mode;
        self
    }

    pub(super) fn see(mut self, what: Seen) -> Self {
        self.now_ms += 1;
        self.observations.push(Observation { at: Duration::from_millis(self.now_ms), what });
        self
    }

    pub(super) fn later(mut self, ms: u64) -> Self {
        self.now_ms += ms;
        self
    }

    pub(super) fn event(self, line: Value) -> Self {
        self.see(Seen::Event(line))
    }

    /// A switch to `tip` that was seen so long ago and ended now.
    pub(super) fn switch(self, tip: &str, outcome: &str, ago_ms: u64) -> Self {
        let (now, mode) = (EPOCH_MS + self.now_ms, self.setting.mode.as_str());
        self.event(json!({
            "event": "prevhash_switch", "prev_hash": tip, "outcome": outcome, "mode": mode,
            "tip_seen_at_ms": now - ago_ms, "timestamp_ms": now,
        }))
    }

    pub(super) fn miner(self, miner: u32, what: MinerSeen) -> Self {
        self.see(Seen::Miner { miner, what })
    }

    pub(super) fn connected(self, miner: u32) -> Self {
        self.miner(miner, MinerSeen::Connected)
    }

    pub(super) fn closed(self, miner: u32) -> Self {
        self.miner(miner, MinerSeen::Closed { error: "end of stream".to_owned() })
    }

    pub(super) fn future_job(self, miner: u32, job_id: u32) -> Self {
        self.miner(miner, MinerSeen::Job { job_id, future: true })
    }

    /// SetNewPrevHash with a job that was announced before.
    pub(super) fn prev_hash(mut self, miner: u32, tip: &str, job_id: u32) -> Self {
        tip.clone_into(&mut self.tip);
        let what = MinerSeen::PrevHash { prev_hash: tip.to_owned(), job_id };
        self.future_job(miner, job_id).miner(miner, what)
    }

    pub(super) fn sent(self, miner: u32, share: u64, share_id: &str, class: ShareClass) -> Self {
        let tip = self.tip.clone();
        self.sent_on(miner, share, share_id, class, &tip)
    }

    pub(super) fn sent_on(
        self,
        miner: u32,
        share: u64,
        share_id: &str,
        class: ShareClass,
        tip: &str,
    ) -> Self {
        self.miner(
            miner,
            MinerSeen::Sent {
                share,
                share_id: share_id.to_owned(),
                hash: format!("hash-{share_id}"),
                job_id: 1,
                prev_hash: tip.to_owned(),
                class,
            },
        )
    }

    /// A job on the tip that the miner is on.
    pub(super) fn job(self, miner: u32, job_id: u32) -> Self {
        self.miner(miner, MinerSeen::Job { job_id, future: false })
    }

    pub(super) fn acked(self, miner: u32, share: u64) -> Self {
        self.miner(miner, MinerSeen::Acked { share })
    }

    pub(super) fn rejected(self, miner: u32, share: u64, code: &str) -> Self {
        self.miner(miner, MinerSeen::Rejected { share, code: code.to_owned() })
    }

    pub(super) fn credit(self, share_id: &str) -> Self {
        self.see(Seen::Pool(PoolSeen::Share {
            share_id: share_id.to_owned(),
            event_id: String::new(),
            check: Ok(()),
            credited: true,
            work_id: "work".to_owned(),
            pays: Vec::new(),
        }))
    }

    pub(super) fn tip(self, hash: &str) -> Self {
        self.see(Seen::Node(NodeSeen::Tip { hash: hash.to_owned(), height: 1 }))
    }

    pub(super) fn submitted(self, hash: &str, result: &str) -> Self {
        let (hash, result) = (hash.to_owned(), result.to_owned());
        self.see(Seen::Node(NodeSeen::Submitted { hash, result, pays: Vec::new() }))
    }

    /// A template on `tip` is proposed.
    pub(super) fn proposed(self, proposal_id: u64, tip: &str) -> Self {
        self.see(Seen::Link(LinkSeen::Proposed {
            proposal_id,
            connection: 0,
            prev_hash: tip.to_owned(),
            work_id: "work".to_owned(),
        }))
    }

    pub(super) fn verdict(self, proposal_id: u64, accepted: bool) -> Self {
        let code = if accepted { "ok" } else { "total_fees_below_minimum" }.to_owned();
        self.see(Seen::Link(LinkSeen::Verdict { proposal_id, connection: 0, accepted, code }))
    }

    pub(super) fn host(self, what: HostSeen) -> Self {
        self.see(Seen::Host(what))
    }

    pub(super) fn settled(self) -> Self {
        self.see(Seen::Settled)
    }

    pub(super) fn record<T>(&self, read: impl FnOnce(&Record<'_>) -> T) -> T {
        read(&Record { observations: &self.observations, setting: &self.setting })
    }

    /// Judges the story: `pass`, `not exercised`, or text of the violation.
    #[track_caller]
    pub(super) fn check(&self, judge: fn(&Record<'_>) -> Judgement, expected: &str) {
        let judged = self.record(judge).unwrap_or_else(|violation| violation);
        match judged.outcome {
            Verdict::Pass => assert_eq!(expected, "pass", "passed with {}", judged.detail),
            Verdict::NotExercised => assert_eq!(expected, "not exercised"),
            Verdict::Fail => {
                assert!(judged.detail.contains(expected), "failed with {}", judged.detail);
            }
        }
    }
}

pub(super) fn accepted(event_id: &str, share_id: &str) -> Value {
    json!({
        "event": "share_accepted", "event_id": event_id, "share_id": share_id,
        "sv2_response": "success",
    })
}

pub(super) fn refused(reason_code: &str) -> Value {
    json!({ "event": "share_accepted", "sv2_response": "error", "reason_code": reason_code })
}

pub(super) fn result(event_id: &str, share_id: &str) -> Value {
    json!({
        "event": "share_forward_result", "event_id": event_id, "share_id": share_id,
        "forwarded": true, "upstream_accepted": true,
    })
}
