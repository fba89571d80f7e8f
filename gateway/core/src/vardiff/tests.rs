use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::sample::cases;

const AIM: Aim = Aim { shares_per_minute: 12.0, interval: Duration::from_secs(60) };

/// A channel and its miner: shares come when the work for one is done.
struct Rig {
    vardiff: Vardiff,
    target: Target,
    now: Duration,
    retargets: Vec<Duration>,
}

impl Rig {
    /// A channel whose first difficulty is right for `believed` hashes a second.
    fn new(aim: Aim, believed: f64, is_stated: bool) -> Self {
        let difficulty = Difficulty::for_hash_rate(believed, aim.shares_per_minute).unwrap();
        let target = Target::from_difficulty(difficulty);
        Self {
            vardiff: Vardiff::new(aim, target, is_stated, Duration::ZERO),
            target,
            now: Duration::ZERO,
            retargets: Vec::new(),
        }
    }

    /// Mines until `until`. Each share takes `luck()` times the work that it stands for.
    fn mine(&mut self, rate: f64, until: Duration, mut luck: impl FnMut() -> f64) {
        let mut began = self.now;
        let mut factor = luck();
        loop {
            let work = Hashes::of_share(self.target).as_f64() * factor;
            let found = began + Duration::from_secs_f64((work / rate).min(1e9));
            let deadline = self.vardiff.next_check();
            self.now = self.now.max(found.min(deadline).min(until));
            if found.min(deadline) > until {
                return;
            }
            if found <= deadline {
                self.vardiff.accepted(Hashes::of_share(self.target), self.now);
                (began, factor) = (self.now, luck());
            }
            self.check();
        }
    }

    /// Lets deadlines pass up to a time.
    fn be_quiet(&mut self, until: Duration) {
        loop {
            let deadline = self.vardiff.next_check();
            if deadline > until {
                return;
            }
            assert!(deadline > self.now || self.retargets.last() != Some(&self.now), "a spin");
            self.now = self.now.max(deadline);
            self.check();
        }
    }

    fn check(&mut self) {
        if let Some(difficulty) = self.vardiff.check(self.now) {
            let step = difficulty.as_f64() / self.target.difficulty().as_f64();
            assert!((1.0 / MAX_STEP - 1e-9..=MAX_STEP + 1e-9).contains(&step), "a step of {step}");
            self.target = Target::from_difficulty(difficulty);
            self.vardiff.set_target(self.target);
            self.retargets.push(self.now);
        }
    }

    /// Shares a minute at this rate, in parts of what is aimed at.
    fn share_rate(&self, rate: f64) -> f64 {
        let a_minute = rate * 60.0 / Hashes::of_share(self.target).as_f64();
        a_minute / self.vardiff.aim.shares_per_minute
    }
}

fn even() -> f64 {
    1.0
}

/// Exponential luck, as in mining, from a seed.
fn chance(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let uniform = ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64;
        -(1.0 - uniform).ln()
    }
}

const MINUTE: Duration = Duration::from_secs(60);

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn after_a_minute_the_share_rate_is_right_over_nine_decades(
        decade in 6.0f64..15.0,
        too_easy in 0.0f64..4.0,
        shares_per_minute in prop::sample::select(vec![6.0, 12.0, 60.0]),
    ) {
        let rate = 10f64.powf(decade);
        let aim = Aim { shares_per_minute, ..AIM };
        let mut rig = Rig::new(aim, rate / 10f64.powf(too_easy), false);
        rig.mine(rate, MINUTE, even);
        let found = rig.share_rate(rate);
        prop_assert!((0.8..=1.2).contains(&found), "{found} after {:?}", rig.retargets);
    }

    #[test]
    fn a_stated_rate_that_is_right_is_kept(decade in 6.0f64..15.0) {
        let rate = 10f64.powf(decade);
        let mut rig = Rig::new(AIM, rate, true);
        rig.mine(rate, 30 * MINUTE, even);
        prop_assert_eq!(rig.retargets, []);
    }
}

#[test]
fn luck_does_not_unsettle_a_stated_rate() {
    let rate = 1e12;
    let rates: Vec<f64> = (0..200)
        .map(|seed| {
            let mut rig = Rig::new(AIM, rate, true);
            rig.mine(rate, MINUTE, chance(seed));
            rig.share_rate(rate)
        })
        .collect();
    let near = rates.iter().filter(|found| (0.8..=1.2).contains(*found)).count();
    assert!(near >= 180, "{near} of 200 within a fifth");
}

#[test]
fn a_steady_miner_with_luck_is_left_mostly_alone() {
    let rate = 1e12;
    for seed in 0..20 {
        let mut rig = Rig::new(AIM, rate, true);
        rig.mine(rate, 60 * MINUTE, chance(seed));
        assert!(rig.retargets.len() < 50, "{} retargets in an hour", rig.retargets.len());
        let found = rig.share_rate(rate);
        assert!((0.4..=2.5).contains(&found), "{found} with seed {seed}");
    }
}

#[rstest]
#[case::from_the_start(false)]
#[case::after_an_hour(true)]
fn silence_lowers_without_end(#[case] worked_before: bool) {
    let rate = 1e12;
    let mut rig = Rig::new(AIM, rate, true);
    if worked_before {
        rig.mine(rate, 60 * MINUTE, even);
    }
    let start = rig.now;
    let before = rig.target;
    rig.be_quiet(start + MINUTE + Duration::from_secs(1));
    assert!(rig.target > before, "a minute of silence makes it easier");
    rig.be_quiet(start + 10 * MINUTE);
    let lowered = before.difficulty().as_f64() / rig.target.difficulty().as_f64();
    assert!(lowered > 1e6, "lowered by {lowered} in ten minutes");
}

#[rstest]
#[case::faster(100.0)]
#[case::a_little_faster(1.6)]
#[case::a_little_slower(0.6)]
#[case::slower(0.01)]
fn a_change_of_speed_is_followed(#[case] factor: f64) {
    let rate = 1e12;
    let mut rig = Rig::new(AIM, rate, true);
    rig.mine(rate, 10 * MINUTE, even);
    rig.mine(rate * factor, 14 * MINUTE, even);
    let found = rig.share_rate(rate * factor);
    assert!((0.8..=1.25).contains(&found), "{found} after {:?}", rig.retargets);
}

#[test]
fn retargets_keep_their_distance() {
    let rate = 1e15;
    let mut rig = Rig::new(AIM, rate / 1e4, false);
    rig.mine(rate, MINUTE, even);
    for pair in rig.retargets.windows(2) {
        assert!(pair[1] - pair[0] >= MIN_PAUSE);
    }
}

#[test]
fn shares_of_easier_jobs_count_for_what_they_are() {
    let mut rig = Rig::new(AIM, 1e12, false);
    let easier = Difficulty::new(rig.target.difficulty().as_f64() / 100.0).unwrap();
    let easier = Hashes::of_share(Target::from_difficulty(easier));
    for _ in 0..100 {
        rig.vardiff.accepted(easier, Duration::from_secs(1));
    }
    // A hundred hundredths are one share, which is no surprise after five seconds.
    assert_eq!(rig.vardiff.check(Duration::from_secs(5)), None);
}
