//! The gateway's verdict on shares against one that is written from the specifications.
//!
//! Whatever is drawn goes to a session in frames. Its answer must be the right one by [`book`],
//! which knows of the gateway only what a miner reads on the wire, and the templates.

mod book;
mod gateway;

use std::collections::BTreeSet;

use book::{Header, Share, is_at_most, neighbour};
use gateway::{Gateway, Kind, START_S, Verdict};
use proptest::prelude::*;

/// What is done next.
#[derive(Clone, Debug)]
enum Step {
    Submit(Draft),
    /// The channel's target becomes the hash of the next share, or a number beside it.
    SubmitAtTheEdge {
        nonce: u32,
        edge: Edge,
    },
    /// A share that was sent before is sent again.
    Repeat(prop::sample::Index),
    Template {
        is_new_tip: bool,
        transactions: usize,
    },
    Wait(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    Below,
    At,
    Above,
}

/// A share before the job it is for is known.
#[derive(Clone, Debug)]
struct Draft {
    /// How many jobs ago its job was sent; beyond the first there is none.
    jobs_ago: usize,
    wrong_channel: bool,
    version_bits: u32,
    ntime: Ntime,
    nonce: u32,
    /// The rolled bytes are all this one, and so many are missing.
    rolled: (u8, usize),
}

/// Times about which there may be a doubt.
#[derive(Clone, Copy, Debug)]
enum Ntime {
    OfJob(i64),
    OfClock(i64),
    /// As far ahead as may be, by the letter and beyond.
    Latest(i64),
}

/// Mostly no version bit, else one or any.
fn version_bits() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => Just(0),
        2 => (0..32_u32).prop_map(|bit| 1 << bit),
        1 => any::<u32>().prop_map(|bits| bits & 0x1fff_e000),
        1 => any::<u32>(),
    ]
}

fn ntime() -> impl Strategy<Value = Ntime> {
    prop_oneof![
        3 => Just(Ntime::OfJob(0)),
        1 => (-2..3_i64).prop_map(Ntime::OfJob),
        1 => (-2..3_i64).prop_map(Ntime::OfClock),
        1 => (-2..3_i64).prop_map(Ntime::Latest),
    ]
}

fn draft() -> impl Strategy<Value = Draft> {
    let jobs_ago = prop_oneof![8 => 0..2_usize, 1 => 0..8_usize];
    let rolled = (0..2_u8, prop_oneof![12 => Just(0_usize), 1 => 1..3_usize]);
    let wrong_channel = prop::bool::weighted(0.05);
    (jobs_ago, wrong_channel, version_bits(), ntime(), 0..3_u32, rolled).prop_map(
        |(jobs_ago, wrong_channel, version_bits, ntime, nonce, rolled)| Draft {
            jobs_ago,
            wrong_channel,
            version_bits,
            ntime,
            nonce,
            rolled,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let edge = prop_oneof![Just(Edge::Below), Just(Edge::At), Just(Edge::Above)];
    prop_oneof![
        10 => draft().prop_map(Step::Submit),
        3 => (any::<u32>(), edge)
            .prop_map(|(nonce, edge)| Step::SubmitAtTheEdge { nonce, edge }),
        2 => any::<prop::sample::Index>().prop_map(Step::Repeat),
        2 => (any::<bool>(), 0..9_usize)
            .prop_map(|(is_new_tip, transactions)| Step::Template { is_new_tip, transactions }),
        2 => (150..3_000_u64).prop_map(Step::Wait),
    ]
}

/// A case under way: the gateway, and what was sent to it.
struct Case {
    gateway: Gateway,
    sent: Vec<Share>,
    accepted: BTreeSet<Vec<u8>>,
    ahead_s: Option<u64>,
}

impl Case {
    fn step(&mut self, step: Step) {
        match step {
            Step::Submit(draft) => {
                let share = self.made(&draft);
                self.submit(share);
            }
            Step::SubmitAtTheEdge { nonce, edge } => self.submit_at_the_edge(nonce, edge),
            Step::Repeat(index) => {
                if !self.sent.is_empty() {
                    let share = index.get(&self.sent).clone();
                    self.submit(share);
                }
            }
            Step::Template { is_new_tip, transactions } => {
                self.gateway.template(is_new_tip, transactions);
            }
            Step::Wait(ms) => self.gateway.wait(ms),
        }
    }

    fn made(&self, draft: &Draft) -> Share {
        let jobs = &self.gateway.jobs;
        let newest = jobs.last().expect("a channel has a job");
        let job = jobs.iter().rev().nth(draft.jobs_ago).unwrap_or(newest);
        let job_id = if draft.jobs_ago < jobs.len() { job.id } else { newest.id + 7 };
        let clock = START_S + self.gateway.now_ms / 1000;
        let by_the_letter = u64::from(job.min_ntime) + (self.gateway.now_ms - job.sent_ms) / 1000;
        let latest =
            self.ahead_s.map_or(by_the_letter, |ahead| by_the_letter.max(clock + 10) + ahead);
        let ntime = match draft.ntime {
            Ntime::OfJob(off) => i64::from(job.min_ntime) + off,
            Ntime::OfClock(off) => clock as i64 + off,
            Ntime::Latest(off) => latest as i64 + off,
        };
        let (byte, missing) = draft.rolled;
        let rolled_bytes = self.gateway.rules.rolled_bytes;
        Share {
            channel_id: self.gateway.rules.channel_id + u32::from(draft.wrong_channel) * 50,
            job_id,
            version: job.version ^ draft.version_bits,
            ntime: ntime as u32,
            nonce: draft.nonce,
            rolled: vec![byte; rolled_bytes.saturating_sub(missing)],
        }
    }

    /// A share whose hash decides about the target that its job is given.
    fn submit_at_the_edge(&mut self, nonce: u32, edge: Edge) {
        let job = self.gateway.jobs.last().expect("a channel has a job").clone();
        let passed = (self.gateway.now_ms - job.sent_ms) / 1000;
        let mut share = Share {
            channel_id: self.gateway.rules.channel_id,
            job_id: job.id,
            version: job.version,
            // What is right for this job is right for the next one on the same template.
            ntime: job.min_ntime + passed as u32,
            nonce,
            rolled: vec![7; self.gateway.rules.rolled_bytes],
        };
        let hash = self.gateway.header(&share, &job).hash();
        let wanted = match edge {
            Edge::Below => neighbour(&hash, false),
            Edge::At => hash,
            Edge::Above => neighbour(&hash, true),
        };
        let is_harder = is_at_most(&wanted, &job.target) && wanted != job.target;
        self.gateway.limit_target(wanted);
        let next = self.gateway.jobs.last().expect("a channel has a job");
        assert_eq!(next.id != job.id, is_harder, "a harder target comes with a job of its own");
        if is_harder {
            assert_eq!(next.target, wanted);
        }
        share.job_id = next.id;
        self.submit(share);
    }

    fn submit(&mut self, share: Share) {
        let (rules, now_ms) = (&self.gateway.rules, self.gateway.now_ms);
        let job = self.gateway.jobs.iter().find(|job| job.id == share.job_id).cloned();
        let mut faults =
            rules.faults(&share, job.as_ref(), self.gateway.tip(), now_ms, START_S + now_ms / 1000);
        let header = job.as_ref().map(|job| self.gateway.header(&share, job));
        if let (Some(job), Some(header)) = (&job, header.filter(|_| faults.is_empty())) {
            if !is_at_most(&header.hash(), &job.target) {
                faults.push("difficulty-too-low");
            }
            if self.accepted.contains(&header.bytes()) {
                faults.push("duplicate-share");
            }
        }
        match self.gateway.submit(&share) {
            Verdict::Accepted(forwarded) => {
                assert!(faults.is_empty(), "accepted in spite of {faults:?}");
                let bytes = header.as_ref().map(Header::bytes).expect("it has a job");
                assert_eq!(forwarded, bytes, "what is forwarded is what was submitted");
                assert!(self.accepted.insert(bytes));
            }
            Verdict::Refused(code) => {
                assert!(faults.contains(&code.as_str()), "refused as {code}, not {faults:?}");
            }
        }
        self.sent.push(share);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1024) })]

    #[test]
    fn shares_are_judged_by_the_book(
        kind in prop_oneof![Just(Kind::Standard), Just(Kind::Extended)],
        version_mask in prop_oneof![
            Just(0), Just(0x1fff_e000), Just(0x1fff_ffe0), any::<u32>(),
        ],
        ahead_s in prop_oneof![Just(None), (0..7200_u64).prop_map(Some)],
        height in prop_oneof![Just(127_u32), Just(128), Just(255), 17..10_000_000_u32],
        steps in prop::collection::vec(step(), 1..30),
    ) {
        let gateway = Gateway::new(kind, version_mask, ahead_s, height);
        let (sent, accepted) = (Vec::new(), BTreeSet::new());
        let mut case = Case { gateway, sent, accepted, ahead_s };
        for step in steps {
            case.step(step);
        }
    }
}
