//! Targets that follow the miner, and jobs that are renewed.

use rstest::rstest;
use sv2_wire::mining::UpdateChannel;

use super::*;
use crate::hashes::Hashes;
use crate::roster::ChannelReport;
use crate::sample::HARD_BITS;
use crate::target::Difficulty;
use crate::vardiff::Aim;

const AIM: Aim = Aim { shares_per_minute: 12.0, interval: Duration::from_secs(60) };

fn aiming(settings: &mut Settings) {
    settings.difficulty.aim = Some(AIM);
}

/// The target at which this rate finds what is aimed at.
fn right_for(rate: f64) -> Target {
    Target::from_difficulty(Difficulty::for_hash_rate(rate, AIM.shares_per_minute).unwrap())
}

impl Rig {
    /// Lets every deadline up to a time pass; what was said, with the time.
    fn wait(&mut self, until_ms: u64) -> Vec<String> {
        let mut said = Vec::new();
        loop {
            let deadline = self.session.next_deadline().unwrap();
            let ms = u64::try_from(deadline.as_nanos().div_ceil(1_000_000)).unwrap();
            if ms > until_ms {
                return said;
            }
            let words = self.input(ms, Input::Tick);
            said.extend(words.into_iter().map(|word| format!("{ms}: {word}")));
            assert!(self.session.next_deadline().unwrap() > deadline, "a spin");
        }
    }
}

#[test]
fn too_many_shares_raise_the_target_and_a_fresh_job_carries_it() {
    let mut rig = Rig::mining(HARD_BITS, aiming);
    let easy = rig.target;
    let in_flight = (1..=20).map(|nonce| rig.share(nonce)).collect::<Vec<_>>();
    let words: Vec<_> = in_flight
        .iter()
        .flat_map(|share| rig.frame(1_000 + u64::from(share.nonce) * 10, share))
        .filter(|word| !word.starts_with("accepted"))
        .collect();
    assert_eq!(words, ["target + job 2 from 1800000001"]);
    assert!(rig.target < easy);
    assert_eq!(rig.share(1).job_id, 2);
    assert_eq!(rig.accepted.len(), 20, "no share in flight is lost");
}

#[test]
fn refused_shares_are_no_work() {
    let mut rig = Rig::mining(HARD_BITS, aiming);
    for nonce in 1..=40 {
        let mut share = rig.share(nonce);
        share.version ^= 1;
        let words = rig.frame(1_000 + u64::from(nonce), &share);
        assert_eq!(words.len(), 2, "no target in {words:?}");
    }
}

#[test]
fn silence_lowers_the_target_down_to_the_easiest() {
    let mut rig = Rig::ready(aiming);
    rig.publish(0, work(1, 1, HARD_BITS));
    rig.frame(0, &open("alice", 1e12, Target::MAX));
    let before = rig.target;
    let words = rig.wait(60_000);
    assert!(words.iter().any(|word| word.contains("target + job")), "{words:?}");
    assert!(rig.target > before);
    rig.wait(1_800_000);
    assert_eq!(rig.target, Target::from_difficulty(difficulty(TRIVIAL)));
}

#[test]
fn mp32_a_target_never_passes_the_miners_maximum() {
    let mut rig = Rig::ready(aiming);
    rig.publish(0, work(1, 1, HARD_BITS));
    let maximum = right_for(1e12);
    rig.frame(0, &open("alice", 1e12, maximum));
    rig.wait(1_800_000);
    assert_eq!(rig.target, maximum);
}

#[test]
fn bounds_hold_on_both_sides() {
    let mut rig = Rig::mining(HARD_BITS, |settings| {
        aiming(settings);
        settings.difficulty.most = difficulty(TRIVIAL * 2.0);
        settings.shares_per_second = 10_000;
    });
    for nonce in 1..=50 {
        let share = rig.share(nonce);
        rig.frame(1_000 + u64::from(nonce) * 100, &share);
    }
    assert_eq!(rig.target, Target::from_difficulty(difficulty(TRIVIAL * 2.0)));
}

#[test]
fn a_limit_that_a_proxy_names_is_granted_first_and_the_target_follows_before_any_job() {
    let mut rig = Rig::ready(aiming);
    rig.publish(0, work(1, 1, HARD_BITS));
    let words = rig.frame(0, &open("alice", 1e12, right_for(1e11)));
    let expected = ["open 2 in group 1 + target + job 1 future + prevhash for 1", "ChannelOpened"];
    assert_eq!(words, expected);
    assert_eq!(rig.target, right_for(f64::from(1e12f32)));
}

#[test]
fn a_new_nominal_rate_is_followed_at_once_and_a_repeated_one_changes_nothing() {
    let mut rig = Rig::mining(HARD_BITS, aiming);
    let update = |nominal_hash_rate| UpdateChannel {
        channel_id: 2,
        nominal_hash_rate,
        maximum_target: U256::MAX,
    };
    assert_eq!(rig.frame(10, &update(1e12)), ["target + job 2 from 1800000000"]);
    assert_eq!(rig.target, right_for(f64::from(1e12f32)));
    assert_eq!(rig.frame(20, &update(1e12)), Vec::<String>::new());
    assert_eq!(rig.frame(30, &update(0.0)), Vec::<String>::new(), "mp38: a proxy without devices");
}

#[test]
fn while_work_is_withheld_nothing_is_renewed_and_nothing_spins() {
    let mut rig = Rig::mining(HARD_BITS, aiming);
    rig.shared.withhold_work(true);
    assert_eq!(rig.wait(600_000), Vec::<String>::new());
    rig.shared.withhold_work(false);
    rig.publish(600_000, work(2, 2, HARD_BITS));
    assert_ne!(rig.wait(700_000), Vec::<String>::new());
}

#[rstest]
#[case::alone(&[], &["55000: job 2 from 1800000055", "110000: job 3 from 1800000110"])]
#[case::after_better_work(
    &[30_000],
    &["85000: job 3 from 1800000055"]
)]
fn a_job_is_renewed_within_a_minute_of_the_last(#[case] better: &[u64], #[case] said: &[&str]) {
    let mut rig = Rig::mining(HARD_BITS, |_| {});
    for (id, ms) in (2..).zip(better) {
        assert_eq!(rig.publish(*ms, work(id, 1, HARD_BITS)).len(), 1);
    }
    assert_eq!(rig.wait(120_000), said);
    let share = rig.share(1);
    assert_eq!(rig.frame(120_000, &share), ["accepted 1"]);
}

#[test]
fn settings_that_change_are_followed() {
    let hard = |settings: &mut Settings| settings.difficulty.initial = difficulty(1.0);
    let mut rig = Rig::mining(HARD_BITS, hard);
    assert!(rig.wait(50_000).is_empty());
    let mut changed = settings();
    aiming(&mut changed);
    rig.input(50_000, Input::Settings(Arc::new(changed)));
    rig.publish(50_000, work(2, 2, HARD_BITS));
    let before = rig.target;
    rig.wait(120_000);
    assert!(rig.target > before);
}

#[test]
fn open_channels_and_their_workers_are_listed_with_their_rates() {
    let mut rig = Rig::mining(HARD_BITS, |_| {});
    rig.frame(0, &open("alice", 0.0, Target::MAX));
    let shares: Vec<_> = (1..=10).map(|nonce| rig.share(nonce)).collect();
    for share in &shares {
        rig.frame(10_000, share);
    }
    let replayed = shares[0];
    rig.frame(11_000, &replayed);
    let now = Duration::from_secs(10);
    let later = rig.shared.channel_reports(None, 10, Duration::from_secs(14));
    assert_eq!(later[1].last_share_age, Some(Duration::from_secs(4)));
    let counts = |report: &ChannelReport| (report.shares_accepted, report.shares_refused);
    assert_eq!([counts(&later[0]), counts(&later[1])], [(0, 0), (10, 1)]);
    assert_eq!((later[0].last_share_age, later[0].is_extended), (None, false));
    let channels = rig.shared.channel_reports(None, 10, now);
    let keys: Vec<_> = channels.iter().map(|report| (report.key.0.0, report.key.1.0)).collect();
    assert_eq!(keys, [(5, 2), (5, 3)]);
    let a_share = Hashes::of_share(rig.target).as_f64();
    assert_eq!(channels[0].rates.one_minute, 0.0);
    assert_eq!(channels[1].rates.one_minute, a_share);
    assert_eq!(channels[1].difficulty, rig.target.difficulty());
    let workers = rig.shared.worker_reports(None, 10, now);
    assert_eq!(workers.len(), 1, "one worker with two channels");
    assert_eq!((workers[0].worker.as_str(), workers[0].rates.one_hour), ("alice", a_share));
    assert_eq!(rig.shared.channel_reports(Some(channels[0].key), 10, now).len(), 1);
    let shared = Arc::clone(&rig.shared);
    drop(rig);
    assert!(shared.channel_reports(None, 10, now).is_empty());
    assert!(shared.worker_reports(None, 10, now).is_empty());
}
