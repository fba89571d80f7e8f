//! Whether a refusal is what its share deserves.
//!
//! A gateway that refuses good work with a likely excuse costs its operator as much as one that
//! loses it. So each excuse is held against what the miner was told on the same connection, where
//! everything comes in the order in which the gateway decided it, and against what is configured.

use std::time::Duration;

use gateway_core::limits::{MAX_JOBS_PER_CHANNEL, MAX_UNLOGGED_SHARES};

use super::Record;
use super::index::{Answer, Sent};
use crate::actors::observe::{LinkSeen, ShareClass};

/// The answer to any other version where none may be rolled.
const FIXED_VERSION: &str = "version-rolling-not-allowed";

/// How long a template may be held before a miner hears of its job, beside the way.
const HANDING_OUT: Duration = Duration::from_secs(1);

/// What refusals are held against.
pub(super) struct Refusals<'r> {
    shares: &'r [Sent<'r>],
    /// When jobs came, to which miner, and on which of its connections.
    jobs: Vec<(Duration, (u32, u32))>,
    /// When templates were proposed to the verifier, and when they were accepted.
    proposed: Vec<Duration>,
    accepted: Vec<Duration>,
    transit: Duration,
    shares_per_second: f64,
    template_cache: usize,
}

impl<'r> Refusals<'r> {
    pub(super) fn of(record: &Record<'r>, shares: &'r [Sent<'r>]) -> Self {
        let link = |wanted: fn(&LinkSeen) -> bool| {
            record.link().filter(|(_, seen)| wanted(seen)).map(|(at, _)| at).collect()
        };
        Self {
            shares,
            jobs: record.jobs(),
            proposed: link(|seen| matches!(seen, LinkSeen::Proposed { .. })),
            accepted: link(|seen| matches!(seen, LinkSeen::Verdict { accepted: true, .. })),
            transit: record.setting.transit,
            shares_per_second: f64::from(record.setting.shares_per_second),
            template_cache: record.setting.template_cache,
        }
    }

    /// Judges the refusal of a share that its miner read at `at`.
    ///
    /// # Errors
    /// What speaks against it, to be put behind the code.
    pub(super) fn judge(&self, share: &Sent<'_>, at: Duration, code: &str) -> Result<(), String> {
        let class = share.class;
        if class.expected_code() == Some(code) && code != "stale-share" {
            return Ok(());
        }
        match code {
            // The gateway left the tip before it judged the share, and so the miner was told of
            // the next tip before it was told of the refusal.
            "stale-share" if share.is_superseded => Ok(()),
            "stale-share" => Err(", and nothing newer was sent to it".to_owned()),
            "template-cache-miss" if self.may_be_forgotten(share, at) => Ok(()),
            "template-cache-miss" => Err(", and its job is too young to be forgotten".to_owned()),
            "share-rate-limited" if self.may_be_over_rate(share) => Ok(()),
            "share-rate-limited" => Err(", and it sends less than it may".to_owned()),
            // What no miner may roll at all has another name than a bit that it may not.
            FIXED_VERSION if class == ShareClass::BadVersionBits => Ok(()),
            _ => Err(String::new()),
        }
    }

    /// Whether so many jobs came to the channel, or so many templates to the gateway, that the
    /// share's own had to give way.
    fn may_be_forgotten(&self, share: &Sent<'_>, refused: Duration) -> bool {
        let (_, since) = share.job;
        let line = (share.miner, share.connection);
        // What was held when the share was judged may be told only just after the refusal.
        let told = refused + self.transit + HANDING_OUT;
        let is_newer =
            |(at, to): &&(Duration, (u32, u32))| *to == line && *at > since && *at <= told;
        let jobs = self.jobs.iter().filter(is_newer).count();
        let from = since.saturating_sub(self.transit + HANDING_OUT);
        let between =
            |times: &[Duration]| times.iter().filter(|at| **at >= from && **at <= refused).count();
        let templates = jobs.max(between(&self.proposed)).max(between(&self.accepted));
        jobs >= MAX_JOBS_PER_CHANNEL || templates >= self.template_cache
    }

    /// Whether shares before it on its connection can have used up what the connection may send,
    /// or what may wait for the log. Each was judged between its sending and its answer.
    fn may_be_over_rate(&self, share: &Sent<'_>) -> bool {
        let before: Vec<&Sent<'_>> = self
            .shares
            .iter()
            .filter(|other| (other.miner, other.connection) == (share.miner, share.connection))
            .take_while(|other| !std::ptr::eq(*other, share))
            .collect();
        let answered = |other: &Sent<'_>| match other.answer {
            Answer::Acked(at) | Answer::Rejected(at, _) | Answer::ConnectionLost(at) => at,
            Answer::None => Duration::MAX,
        };
        let unlogged = before.iter().filter(|other| answered(other) >= share.at).count();
        // A bucket holds a second's worth, and gets another one each second.
        let exhausts = |judged: u32, first: &Sent<'_>| {
            let took = share.at - answered(first).min(share.at);
            f64::from(judged) + 1.0 > self.shares_per_second * (1.0 + took.as_secs_f64())
        };
        unlogged >= MAX_UNLOGGED_SHARES
            || before.iter().rev().zip(1..).any(|(first, judged)| exhausts(judged, first))
    }
}

#[cfg(test)]
mod tests {
    use super::super::shares::every_reject_has_reason;
    use super::super::testing::{Story, refused};
    use super::*;

    /// A miner on its first job of a tip, that sent a good share.
    fn sent() -> Story {
        Story::new().connected(0).prev_hash(0, "aa", 1).sent(0, 1, "s1", ShareClass::Share)
    }

    #[test]
    fn stale_is_what_the_miner_was_told_of_a_newer_tip_for() {
        let stale = |story: Story| {
            let story = story.rejected(0, 1, "stale-share");
            story.event(refused("stale_job_submission"))
        };
        stale(sent().prev_hash(0, "bb", 2)).check(every_reject_has_reason, "pass");
        stale(sent()).check(every_reject_has_reason, "nothing newer was sent");
        // Neither another job nor the tip of another miner makes a job stale.
        stale(sent().job(0, 2)).check(every_reject_has_reason, "nothing newer was sent");
        stale(sent().connected(1).prev_hash(1, "bb", 2))
            .check(every_reject_has_reason, "nothing newer was sent");
        // A tip that comes after the refusal is no reason for it.
        let early = sent().rejected(0, 1, "stale-share").prev_hash(0, "bb", 2);
        early
            .event(refused("stale_job_submission"))
            .check(every_reject_has_reason, "nothing newer");
    }

    #[test]
    fn a_bad_share_may_be_stale_first_of_all_but_only_where_it_is() {
        let low = |story: Story| {
            let story = story.sent(0, 1, "s1", ShareClass::LowDifficulty);
            story.later(100)
        };
        let story = || Story::new().connected(0).prev_hash(0, "aa", 1);
        low(story())
            .prev_hash(0, "bb", 2)
            .rejected(0, 1, "stale-share")
            .event(refused("stale_job_submission"))
            .check(every_reject_has_reason, "pass");
        low(story())
            .rejected(0, 1, "stale-share")
            .event(refused("stale_job_submission"))
            .check(every_reject_has_reason, "class low_difficulty was refused as stale-share");
    }

    #[test]
    fn a_template_is_forgotten_only_for_newer_ones() {
        let missed = |cache, newer: u32| {
            let mut story = Story::new().connected(0).prev_hash(0, "aa", 1).later(5_000);
            story.setting.template_cache = cache;
            story = (0..newer).fold(story, |story, job| story.job(0, 2 + job));
            let story = story.sent(0, 1, "s1", ShareClass::OldJob);
            story.rejected(0, 1, "template-cache-miss").event(refused("template_cache_miss"))
        };
        missed(1, 1).check(every_reject_has_reason, "pass");
        missed(1, 0).check(every_reject_has_reason, "too young to be forgotten");
        missed(64, 1).check(every_reject_has_reason, "too young to be forgotten");
        missed(1_000, MAX_JOBS_PER_CHANNEL as u32).check(every_reject_has_reason, "pass");
    }

    #[test]
    fn a_limit_must_be_within_reach() {
        // So many shares, one every so many milliseconds, and the last is refused.
        let limited = |shares: u64, apart_ms| {
            let mut story = Story::new().connected(0).prev_hash(0, "aa", 1);
            story.setting.shares_per_second = 10;
            story = (1..=shares).fold(story, |story, share| {
                let story = story.later(apart_ms).sent(0, share, "s1", ShareClass::Share);
                if share < shares { story.acked(0, share) } else { story }
            });
            let story = story.rejected(0, shares, "share-rate-limited");
            story.event(refused("share_rate_limited"))
        };
        limited(11, 1).check(every_reject_has_reason, "pass");
        limited(5, 1).check(every_reject_has_reason, "sends less than it may");
        limited(100, 100).check(every_reject_has_reason, "sends less than it may");
        limited(100, 50).check(every_reject_has_reason, "pass");
    }
}
