use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::ids::{ChannelId, EventId, ShareId, WorkerId};
use crate::sample::{HARD_BITS, at, cases, work};
use crate::target::Difficulty;

fn settings() -> Settings {
    Settings {
        queue_size: 3,
        drop_policy: DropPolicy::DropNew,
        batch_max: 2,
        batch_interval: Duration::from_millis(100),
        max_in_flight: 1,
        retries: 2,
        backoff_base: Duration::from_millis(200),
        backoff_max: Duration::from_millis(1000),
    }
}

fn share(number: u8) -> Arc<ForwardShare> {
    Arc::new(ForwardShare {
        share_id: ShareId([number; 32]),
        event_id: EventId([number; 32]),
        job: Arc::clone(work(1, 1, HARD_BITS).job_data()),
        channel_id: ChannelId(2),
        worker_id: WorkerId::new("alice"),
        version: 0x2000_0000,
        ntime: 1,
        nonce: number.into(),
        extranonce: [0; 24],
        difficulty: Difficulty::new(1.0).unwrap(),
        timestamp_ms: 0,
        header: [number; 80],
    })
}

/// A queue, told and asked in words.
struct Rig(ForwardQueue);

impl Rig {
    fn new(adjust: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = settings();
        adjust(&mut settings);
        Self(ForwardQueue::new(settings, 1))
    }

    fn input(&mut self, ms: u64, input: Input) -> Vec<String> {
        self.0.handle(input, at(ms));
        std::iter::from_fn(|| self.0.poll()).map(|output| word(&output)).collect()
    }

    fn share(&mut self, ms: u64, number: u8) -> Vec<String> {
        self.input(ms, Input::Share(share(number)))
    }

    fn answer(&mut self, ms: u64, batch: u64, answer: Answer) -> Vec<String> {
        self.input(ms, Input::Answer { batch_id: BatchId(batch), answer })
    }

    /// Wakes the queue at its next deadline.
    fn tick(&mut self) -> (u64, Vec<String>) {
        let deadline = self.0.next_deadline().expect("something is to be done").as_millis() as u64;
        (deadline, self.input(deadline, Input::Tick))
    }
}

fn word(output: &Output) -> String {
    match output {
        Output::Post(batch) => {
            let shares: Vec<_> = batch.shares.iter().map(|share| share.header[0]).collect();
            format!("post {} attempt {} {shares:?}", batch.batch_id, batch.attempt)
        }
        Output::Result(result) => format!(
            "result {} {} after {}",
            result.share_id.0[0],
            result.reason_code.map_or("ok", ReasonCode::as_str),
            result.attempts
        ),
    }
}

fn accepted(numbers: &[u8]) -> Answer {
    let answers = numbers.iter().map(|number| ShareAnswer {
        share_id: ShareId([*number; 32]),
        accepted: true,
        error: None,
    });
    Answer::Results(answers.collect())
}

fn status(status: u16, retry_after_secs: Option<u64>) -> Answer {
    Answer::Status { status, retry_after_secs, detail: "no".into() }
}

#[test]
fn a_batch_leaves_when_it_is_full_or_when_its_time_has_come() {
    let mut rig = Rig::new(|settings| settings.max_in_flight = 2);
    assert_eq!(rig.share(0, 1), Vec::<String>::new());
    assert_eq!(rig.share(50, 2), ["post 1 attempt 1 [1, 2]"]);
    rig.share(60, 3);
    assert_eq!(rig.tick(), (160, vec!["post 2 attempt 1 [3]".to_owned()]));
    assert_eq!(
        rig.answer(200, 1, accepted(&[1, 2])),
        ["result 1 ok after 1", "result 2 ok after 1"]
    );
}

#[test]
fn what_waits_follows_when_there_is_room_again() {
    let mut rig = Rig::new(|_| {});
    for number in 1..=4 {
        rig.share(0, number);
    }
    assert_eq!(rig.0.next_deadline(), None, "the one request is out");
    let words = rig.answer(10, 1, accepted(&[1, 2]));
    assert_eq!(words, ["result 1 ok after 1", "result 2 ok after 1", "post 2 attempt 1 [3, 4]"]);
}

#[rstest]
#[case(DropPolicy::DropNew, "result 6 share_dropped_queue_full after 0")]
#[case(DropPolicy::DropOld, "result 3 share_evicted_from_queue after 0")]
fn a_full_queue_gives_one_share_up(#[case] policy: DropPolicy, #[case] expected: &str) {
    let mut rig = Rig::new(|settings| settings.drop_policy = policy);
    for number in 1..=5 {
        rig.share(0, number);
    }
    assert_eq!(rig.0.queued(), 3);
    assert_eq!(rig.share(1, 6), [expected]);
    assert_eq!(rig.0.queued(), 3);
}

#[rstest]
#[case(Answer::Transport("refused".into()))]
#[case(status(500, None))]
#[case(status(408, None))]
#[case(status(429, None))]
#[case(status(200, None))]
fn a_failure_that_may_pass_is_retried_and_then_final(#[case] failure: Answer) {
    let mut rig = Rig::new(|settings| settings.batch_max = 1);
    rig.share(0, 1);
    let mut waits = Vec::new();
    let mut now = 0;
    for attempt in 1..=2 {
        assert_eq!(rig.answer(now, attempt, failure.clone()), Vec::<String>::new());
        let (at, words) = rig.tick();
        assert_eq!(words, [format!("post {} attempt {} [1]", attempt + 1, attempt + 1)]);
        waits.push(at - now);
        now = at;
    }
    assert!((100..=200).contains(&waits[0]) && (200..=400).contains(&waits[1]), "{waits:?}");
    assert_eq!(rig.answer(now, 3, failure), ["result 1 share_forward_failed after 3"]);
    assert!(rig.0.is_empty());
}

#[test]
fn other_client_errors_are_final_at_once() {
    let mut rig = Rig::new(|settings| settings.batch_max = 1);
    rig.share(0, 1);
    assert_eq!(rig.answer(1, 1, status(400, None)), ["result 1 share_forward_failed after 1"]);
}

#[test]
fn retry_after_is_honoured_up_to_a_bound() {
    for (asked, waited) in [(5, 5_000), (86_400, 60_000)] {
        let mut rig = Rig::new(|settings| settings.batch_max = 1);
        rig.share(0, 1);
        rig.answer(0, 1, status(429, Some(asked)));
        assert_eq!(rig.tick().0, waited);
    }
}

#[test]
fn a_share_that_the_answer_leaves_out_goes_again_alone() {
    let mut rig = Rig::new(|_| {});
    rig.share(0, 1);
    rig.share(0, 2);
    assert_eq!(rig.answer(10, 1, accepted(&[2])), ["result 2 ok after 1"]);
    let (at, words) = rig.tick();
    assert_eq!(words, ["post 2 attempt 2 [1]"]);
    assert_eq!(rig.answer(at, 2, accepted(&[1])), ["result 1 ok after 2"]);
}

#[test]
fn the_pools_refusal_is_passed_on_in_its_words() {
    let mut rig = Rig::new(|settings| settings.batch_max = 1);
    rig.share(0, 1);
    let refusal =
        ShareAnswer { share_id: ShareId([1; 32]), accepted: false, error: Some("stale".into()) };
    let answer = Answer::Results(vec![refusal]);
    rig.0.handle(Input::Answer { batch_id: BatchId(1), answer }, at(20));
    let results: Vec<_> = std::iter::from_fn(|| rig.0.poll()).collect();
    let Some(Output::Result(result)) = results.last() else { panic!("no result: {results:?}") };
    assert!(result.forwarded);
    assert_eq!(result.upstream_accepted, Some(false));
    assert_eq!(result.upstream_http_status, Some(200));
    assert_eq!(result.upstream_error.as_deref(), Some("stale"));
    assert_eq!(result.reason_code, Some(ReasonCode::ShareUpstreamRejected));
    assert_eq!(result.timestamp_ms, at(20).unix_ms);
}

#[test]
fn draining_waits_for_no_company() {
    let mut rig = Rig::new(|_| {});
    rig.share(0, 1);
    assert_eq!(rig.input(1, Input::Drain), ["post 1 attempt 1 [1]"]);
    rig.answer(2, 1, accepted(&[1]));
    assert!(rig.0.is_empty());
}

#[test]
fn an_answer_that_nobody_awaits_changes_nothing() {
    let mut rig = Rig::new(|settings| settings.batch_max = 1);
    rig.share(0, 1);
    assert_eq!(rig.answer(1, 9, accepted(&[1])), Vec::<String>::new());
    rig.answer(2, 1, Answer::Transport("cut".into()));
    assert_eq!(rig.answer(3, 1, accepted(&[1])), Vec::<String>::new(), "it waits for its retry");
    assert!(!rig.0.is_empty());
}

#[test]
fn idempotency_keys_name_the_shares() {
    let batch = |numbers: &[u8]| Batch {
        batch_id: BatchId(1),
        attempt: 1,
        shares: numbers.iter().map(|number| share(*number)).collect(),
    };
    assert_eq!(batch(&[1]).idempotency_key(), ShareId([1; 32]).to_string());
    let text = format!("{}{}", ShareId([1; 32]), ShareId([2; 32]));
    let expected = const_hex::encode(crate::ids::sha256(&[text.as_bytes()]));
    assert_eq!(batch(&[1, 2]).idempotency_key(), expected);
}

#[derive(Clone, Debug)]
enum Step {
    Share,
    Answer { pick: usize, kind: u8 },
    Wait(u64),
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Share),
        5 => (any::<usize>(), 0u8..7).prop_map(|(pick, kind)| Step::Answer { pick, kind }),
        3 => (0u64..1500).prop_map(Step::Wait),
        1 => Just(Step::Drain),
    ]
}

fn answer_of_kind(kind: u8, batch: &Batch) -> Answer {
    let answers = batch.shares.iter().map(|share| ShareAnswer {
        share_id: share.share_id,
        accepted: share.share_id.0[0] % 2 == 0,
        error: None,
    });
    match kind {
        0 => Answer::Transport("cut".into()),
        1 => status(503, Some(1)),
        2 => status(403, None),
        3 => Answer::Results(answers.skip(1).collect()),
        _ => Answer::Results(answers.collect()),
    }
}

/// Plays the world around a queue and counts what comes out.
struct World {
    queue: ForwardQueue,
    open: BTreeMap<BatchId, Batch>,
    results: BTreeMap<EventId, usize>,
}

impl World {
    fn input(&mut self, input: Input, ms: u64) {
        self.queue.handle(input, at(ms));
        while let Some(output) = self.queue.poll() {
            match output {
                Output::Post(batch) => {
                    self.open.insert(batch.batch_id, batch);
                }
                Output::Result(result) => *self.results.entry(result.event_id).or_default() += 1,
            }
        }
    }

    fn answer(&mut self, batch_id: BatchId, kind: u8, ms: u64) {
        let batch = self.open.remove(&batch_id).expect("chosen among the open ones");
        self.input(Input::Answer { batch_id, answer: answer_of_kind(kind, &batch) }, ms);
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn every_share_gets_exactly_one_result(
        steps in prop::collection::vec(step(), 0..60),
        drop_old in any::<bool>(),
        queue_size in 1usize..6,
        batch_max in 1usize..4,
        max_in_flight in 1usize..4,
        seed in any::<u64>(),
    ) {
        let drop_policy = if drop_old { DropPolicy::DropOld } else { DropPolicy::DropNew };
        let settings = Settings { queue_size, batch_max, max_in_flight, drop_policy, ..settings() };
        let queue = ForwardQueue::new(settings, seed);
        let mut world = World { queue, open: BTreeMap::new(), results: BTreeMap::new() };
        let (mut now, mut shares) = (0, 0u8);
        for step in steps {
            match step {
                Step::Share => {
                    shares += 1;
                    world.input(Input::Share(share(shares)), now);
                }
                Step::Answer { pick, kind } if !world.open.is_empty() => {
                    let batch_id = *world.open.keys().nth(pick % world.open.len()).unwrap();
                    world.answer(batch_id, kind, now);
                }
                Step::Answer { .. } => {}
                Step::Wait(ms) => {
                    now += ms;
                    world.input(Input::Tick, now);
                }
                Step::Drain => world.input(Input::Drain, now),
            }
            prop_assert!(world.queue.queued() <= queue_size);
            prop_assert!(world.queue.in_flight() <= max_in_flight);
            prop_assert!(world.results.values().all(|count| *count == 1));
        }
        // The pool recovers: everything comes to its end.
        world.input(Input::Drain, now);
        while !world.queue.is_empty() {
            if let Some(batch_id) = world.open.keys().next().copied() {
                world.answer(batch_id, 6, now);
            } else {
                let deadline = world.queue.next_deadline().expect("it is not empty");
                now = now.max(deadline.as_millis() as u64 + 1);
                world.input(Input::Tick, now);
            }
        }
        prop_assert_eq!(world.results.len(), usize::from(shares));
        prop_assert!(world.results.values().all(|count| *count == 1));
    }
}
