//! Variable difficulty: each channel finds shares at about the rate that the operator wants.
//!
//! Only accepted work counts, each share with the work of the target that **its job** was sent
//! with, so a miner neither gains nor loses by a change under way. What the shares say is weighed
//! against chance: at a dozen shares a minute a miner's luck alone makes a third more or less.
//!
//! - *Far more* shares than chance explains (three standard deviations) are acted on as soon as
//!   they are seen.
//! - *Silence* is acted on when it has lasted for the time of several shares; a deadline finds it.
//! - At the end of each interval what was seen is weighed together with what was believed before,
//!   and small differences are left alone.
//!
//! No step is greater than [`MAX_STEP`].

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::hashes::Hashes;
use crate::target::{Difficulty, Target};

/// Most that one retarget changes the difficulty by, either way.
pub const MAX_STEP: f64 = 16.0;
/// Least time between two retargets of a channel.
pub const MIN_PAUSE: Duration = Duration::from_secs(1);

/// Standard deviations that make too many shares.
const SURPRISE: f64 = 3.0;
/// Shares of evidence before a difficulty is raised at once: the new one is then good to a quarter.
const LEAST_SHARES_TO_RAISE: f64 = 16.0;
/// How many shares' time without one is silence: by chance once in 22 000 shares.
const SHARES_MISSED: f64 = 10.0;
/// The same for a channel that has not found one on its difficulty yet.
const SHARES_MISSED_AT_FIRST: f64 = 5.0;
/// The same where the difficulty was lowered for silence already.
const SHARES_MISSED_AGAIN: f64 = 2.5;
/// How many shares of evidence a stated hash rate is worth, and the most that any belief is.
const WEIGHT_OF_STATED: f64 = 24.0;
/// How many an unconfirmed difficulty is worth.
const WEIGHT_OF_GUESS: f64 = 1.0;
/// Changes smaller than this factor are not worth a message.
const DEAD_BAND: f64 = 1.1;
/// Anscombe's constant: makes the square root of a count of even spread.
const ANSCOMBE: f64 = 0.375;

/// What the difficulty of every channel aims at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aim {
    /// Shares a minute (`vardiff.target_shares_per_minute`).
    pub shares_per_minute: f64,
    /// How often a difficulty is reconsidered without a surprise
    /// (`vardiff.retarget_interval_secs`).
    pub interval: Duration,
}

impl Aim {
    fn shares_in(&self, time: Duration) -> f64 {
        self.shares_per_minute * time.as_secs_f64() / 60.0
    }

    fn time_for(&self, shares: f64) -> Duration {
        // A year is as good as never; it keeps the conversion within range.
        Duration::from_secs_f64((shares * 60.0 / self.shares_per_minute).clamp(0.0, 31_536_000.0))
    }
}

/// What is known of one channel's speed.
#[derive(Debug)]
pub struct Vardiff {
    aim: Aim,
    difficulty: Difficulty,
    /// What one share of that difficulty stands for.
    share: Hashes,
    /// Work accepted in the time watched.
    hashes: Hashes,
    /// Start of the time watched, minus what is left of earlier times.
    since: Duration,
    interval_began: Duration,
    retargeted: Duration,
    /// How many shares of evidence the present difficulty is worth.
    belief: f64,
    quiet_since: Duration,
    /// How many shares' time the quiet may last.
    patience: f64,
}

impl Vardiff {
    /// For a channel that gets its first job now, on this target. `is_stated`: the target follows
    /// from a hash rate that the miner stated.
    pub fn new(aim: Aim, target: Target, is_stated: bool, now: Duration) -> Self {
        Self {
            aim,
            difficulty: target.difficulty(),
            share: Hashes::of_share(target),
            hashes: Hashes::default(),
            since: now,
            interval_began: now,
            retargeted: now,
            belief: if is_stated { WEIGHT_OF_STATED } else { WEIGHT_OF_GUESS },
            quiet_since: now,
            patience: SHARES_MISSED_AT_FIRST,
        }
    }

    /// Follows changed settings.
    pub fn set_aim(&mut self, aim: Aim) {
        self.aim = aim;
    }

    /// Counts an accepted share by the work of its job's target.
    pub fn accepted(&mut self, work: Hashes, now: Duration) {
        self.hashes += work;
        self.quiet_since = now;
        self.patience = SHARES_MISSED;
    }

    /// The channel's target is another from here on.
    pub fn set_target(&mut self, target: Target) {
        self.difficulty = target.difficulty();
        self.share = Hashes::of_share(target);
    }

    /// When to [`check`](Self::check) if no share comes before.
    pub fn next_check(&self) -> Duration {
        self.quiet_ends().min(self.interval_ends()).max(self.retargeted + MIN_PAUSE)
    }

    /// The difficulty that the channel should have instead of its present one; `None` while that
    /// one does. The bounds are the caller's, who reports the change with
    /// [`set_target`](Self::set_target); one that is cut to nothing needs no report.
    pub fn check(&mut self, now: Duration) -> Option<Difficulty> {
        if now < self.retargeted + MIN_PAUSE {
            return None;
        }
        let seen = self.shares_seen();
        let expected = self.aim.shares_in(now.saturating_sub(self.since));
        let factor = if now >= self.quiet_ends() {
            self.after_silence(now)
        } else if is_far_more(seen, expected) {
            self.after_surprise(seen, expected, now)
        } else if now >= self.interval_ends() {
            self.after_interval(seen, expected, now)?
        } else {
            return None;
        };
        self.retargeted = now;
        Difficulty::new(self.difficulty.as_f64() * factor.clamp(1.0 / MAX_STEP, MAX_STEP))
    }

    /// Work seen, in shares of the present difficulty.
    fn shares_seen(&self) -> f64 {
        self.hashes.as_f64() / self.share.as_f64()
    }

    fn quiet_ends(&self) -> Duration {
        self.quiet_since + self.aim.time_for(self.patience)
    }

    fn interval_ends(&self) -> Duration {
        self.interval_began + self.aim.interval
    }

    fn after_silence(&mut self, now: Duration) -> f64 {
        self.forget(WEIGHT_OF_GUESS, now);
        self.patience = SHARES_MISSED_AGAIN;
        1.0 / MAX_STEP
    }

    fn after_surprise(&mut self, seen: f64, expected: f64, now: Duration) -> f64 {
        let factor = seen / expected;
        if factor <= MAX_STEP {
            self.forget(seen.min(WEIGHT_OF_STATED), now);
            return factor;
        }
        // Halfway, so that what is left to go is again too much to be chance and soon seen: after
        // a whole step the rest could be a factor of two, which takes a minute to tell from luck.
        self.forget(WEIGHT_OF_GUESS, now);
        factor.sqrt()
    }

    /// What was seen before the speed changed says nothing of what comes.
    fn forget(&mut self, belief: f64, now: Duration) {
        self.hashes = Hashes::default();
        self.since = now;
        self.belief = belief;
        self.quiet_since = now;
        self.patience = SHARES_MISSED_AT_FIRST;
    }

    /// Half of what was seen is kept, so that each interval stands on more than its own luck.
    fn after_interval(&mut self, seen: f64, expected: f64, now: Duration) -> Option<f64> {
        let factor = (seen + self.belief) / (expected + self.belief);
        self.hashes = self.hashes.half();
        self.since = now - now.saturating_sub(self.since) / 2;
        self.interval_began = now;
        self.belief = WEIGHT_OF_GUESS;
        (!(1.0 / DEAD_BAND..=DEAD_BAND).contains(&factor)).then_some(factor)
    }
}

/// Whether chance does not explain these many shares. The roots of such counts have all the same
/// spread, a half.
fn is_far_more(seen: f64, expected: f64) -> bool {
    let deviation = 2.0 * ((seen + ANSCOMBE).sqrt() - (expected + ANSCOMBE).sqrt());
    seen >= LEAST_SHARES_TO_RAISE && deviation >= SURPRISE
}
