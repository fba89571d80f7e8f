use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::TemplateReport;
use crate::sample::{HARD_BITS, at, cases, shared, tip, work};

const NEW_TIP: PublicationKind = PublicationKind::NewTip;

/// A switch and a record of what it did, one word an output.
struct Rig {
    switch: Switch,
    shared: Arc<SharedState>,
}

impl Rig {
    fn new(mode: Mode) -> Self {
        Self::with(mode, |_| {})
    }

    fn with(mode: Mode, adjust: impl FnOnce(&mut Settings)) -> Self {
        let ms = Duration::from_millis;
        let mut settings = Settings {
            mode,
            verdict_window: ms(50),
            stale_hold: ms(5000),
            max_pending: 2,
            max_template_age: ms(60_000),
            broadcast_interval: ms(0),
            upstream_stale_max: ms(30_000),
            upstream_failure: UpstreamFailurePolicy::FailClosed,
        };
        adjust(&mut settings);
        let shared = shared(16, 8);
        Self { switch: Switch::new(settings, Arc::clone(&shared), at(0)), shared }
    }

    /// A switch in inline mode whose miners are on template 1 of tip 1.
    fn serving() -> Self {
        let mut rig = Self::new(Mode::Inline);
        rig.template(0, 1, 1);
        assert_eq!(rig.verdict(0, 1, true), ["verdict 1 ok", "publish 1 NewTip", "switched 1"]);
        rig
    }

    fn input(&mut self, ms: u64, input: Input) -> Vec<String> {
        self.switch.handle(input, at(ms));
        std::iter::from_fn(|| self.switch.poll()).map(|output| word(&output)).collect()
    }

    fn template(&mut self, ms: u64, id: u64, tip_byte: u8) -> Vec<String> {
        self.input(ms, Input::Template(work(id, tip_byte, HARD_BITS)))
    }

    fn verdict(&mut self, ms: u64, id: u64, accepted: bool) -> Vec<String> {
        let reason_code = if accepted { "ok" } else { "empty_template_rejected" }.to_owned();
        let verdict = Verdict { accepted, reason_code, ..Verdict::default() };
        self.input(ms, Input::Verdict { template_id: TemplateId(id), verdict })
    }

    /// Wakes the switch at its own deadlines until `ms`, as the daemon does.
    fn run_until(&mut self, ms: u64) -> Vec<String> {
        let mut words = Vec::new();
        while let Some(deadline) =
            self.switch.next_deadline().filter(|at| at.as_millis() <= u128::from(ms))
        {
            let at = deadline.as_millis() as u64;
            words.extend(
                self.input(at, Input::Tick).into_iter().map(|word| format!("{at}: {word}")),
            );
            assert_ne!(self.switch.next_deadline(), Some(deadline), "the deadline was not met");
        }
        words
    }

    fn published(&self) -> Option<u64> {
        self.switch.published().map(|published| published.work.template_id().0)
    }
}

fn word(output: &Output) -> String {
    match output {
        Output::Propose(work) => format!("propose {}", work.template_id()),
        Output::Publish(published) => {
            format!("publish {} {:?}", published.work.template_id(), published.kind)
        }
        Output::Disconnect(Disconnect { tip: lost, reason }) => match lost {
            Some(lost) => format!("disconnect {} {reason}", lost.to_string().split_at(2).0),
            None => format!("disconnect all {reason}"),
        },
        Output::Upstream(available) => format!("upstream {available}"),
        Output::Ignored(ignored) => {
            format!("ignored {} {}", ignored.template_id, ignored.cause.as_str())
        }
        Output::Event(event) => match event.as_ref() {
            Event::TemplateVerdict(event) => {
                format!("verdict {} {}", event.template_id, event.verdict.reason_code)
            }
            Event::PrevhashSwitch(event) => {
                let id = event.template_id.map_or(String::new(), |id| format!(" {id}"));
                format!("{}{id}", event.outcome.as_str())
            }
            Event::ModeChanged(event) => format!("mode {}", event.to),
            other => format!("{other:?}"),
        },
    }
}

fn last_switch(switch: &mut Switch) -> crate::event::PrevhashSwitch {
    let events = std::iter::from_fn(|| switch.poll());
    let found = events.filter_map(|output| match output {
        Output::Event(event) => match *event {
            Event::PrevhashSwitch(event) => Some(event),
            _ => None,
        },
        _ => None,
    });
    found.last().expect("a switch was reported")
}

#[rstest]
#[case::within_the_window(49, false)]
#[case::at_its_very_end(50, false)]
#[case::just_after(51, true)]
#[case::late_in_the_hold(4900, true)]
#[case::at_its_very_end(5000, true)]
fn an_accepting_verdict_switches_until_the_hold_ends(#[case] after: u64, #[case] held: bool) {
    let mut rig = Rig::serving();
    assert_eq!(rig.template(1000, 2, 2), ["propose 2"]);
    assert_eq!(rig.run_until(1000 + after - 1), Vec::<String>::new());
    assert_eq!(rig.published(), Some(1), "nothing of the new tip before its verdict");
    let verdict = Verdict { accepted: true, reason_code: "ok".into(), ..Verdict::default() };
    let input = Input::Verdict { template_id: TemplateId(2), verdict };
    rig.switch.handle(input, at(1000 + after));
    assert_eq!(rig.published(), Some(2));
    let report = last_switch(&mut rig.switch);
    assert_eq!(report.outcome, SwitchOutcome::Switched);
    assert_eq!(report.previous_prev_hash, Some(tip(1)));
    assert_eq!(report.verdict_after, Some(Duration::from_millis(after)));
    assert_eq!(report.held_after, held.then_some(Duration::from_millis(50)));
    assert_eq!(rig.run_until(20_000), Vec::<String>::new(), "the hold is over");
}

#[test]
fn a_verdict_after_the_hold_finds_the_old_tip_disconnected_and_completes_the_switch() {
    let mut rig = Rig::serving();
    rig.template(1000, 2, 2);
    assert_eq!(
        rig.run_until(6000),
        ["6000: disconnect 01 prevhash_switch_timeout", "6000: disconnected 2"]
    );
    assert_eq!(rig.published(), None, "new connections wait for work");
    assert_eq!(rig.verdict(6001, 2, true), ["verdict 2 ok", "publish 2 NewTip", "switched 2"]);
}

#[test]
fn a_verifier_that_stays_dark_costs_the_miners_once_and_the_process_never() {
    let mut rig = Rig::serving();
    rig.template(1000, 2, 2);
    rig.run_until(6000);
    assert_eq!(rig.template(7000, 3, 2), ["propose 3"]);
    assert_eq!(rig.run_until(12_000), Vec::<String>::new());
    assert_eq!(rig.verdict(12_501, 3, true), ["verdict 3 ok", "publish 3 NewTip", "switched 3"]);
    assert_eq!(rig.verdict(12_502, 2, true), ["verdict 2 ok", "ignored 2 older_template"]);
}

#[test]
fn a_rejection_holds_and_the_next_template_is_taken() {
    let mut rig = Rig::serving();
    rig.template(1000, 2, 2);
    assert_eq!(rig.verdict(1010, 2, false), ["verdict 2 empty_template_rejected", "rejected 2"]);
    assert_eq!(rig.published(), Some(1));
    assert_eq!(rig.template(1100, 3, 2), ["propose 3"]);
    rig.switch.handle(
        Input::Verdict {
            template_id: TemplateId(3),
            verdict: Verdict { accepted: true, reason_code: "ok".into(), ..Verdict::default() },
        },
        at(1120),
    );
    let report = last_switch(&mut rig.switch);
    assert_eq!(report.held_after, Some(Duration::from_millis(10)), "held from the rejection on");
    assert_eq!(report.ended_after, Duration::from_millis(120));
}

#[test]
fn with_another_template_pending_a_rejection_does_not_hold_yet() {
    let mut rig = Rig::serving();
    rig.template(1000, 2, 2);
    rig.template(1005, 3, 2);
    rig.verdict(1010, 2, false);
    assert_eq!(rig.verdict(1020, 3, true), ["verdict 3 ok", "publish 3 NewTip", "switched 3"]);
}

#[test]
fn of_two_tips_in_the_window_only_the_newer_counts_and_the_hold_is_not_renewed() {
    let mut rig = Rig::serving();
    rig.template(1000, 2, 2);
    assert_eq!(rig.template(1040, 3, 3), ["superseded", "propose 3"]);
    assert_eq!(
        rig.verdict(1060, 2, true),
        ["verdict 2 ok", "ignored 2 older_tip"],
        "a verdict for the older tip publishes nothing"
    );
    assert_eq!(
        rig.run_until(7000),
        ["6000: disconnect 01 prevhash_switch_timeout", "6000: disconnected 3"],
        "five seconds from the first tip, not from the second"
    );
}

#[test]
fn a_newer_tip_restarts_the_verdict_window() {
    let mut rig = Rig::serving();
    rig.template(1000, 2, 2);
    rig.template(1040, 3, 3);
    let verdict = Verdict { accepted: true, reason_code: "ok".into(), ..Verdict::default() };
    rig.switch.handle(Input::Verdict { template_id: TemplateId(3), verdict }, at(1085));
    assert_eq!(last_switch(&mut rig.switch).held_after, None, "45 ms after its own start");
}

#[test]
fn at_most_two_templates_are_pending_and_the_first_keeps_its_place() {
    let mut rig = Rig::serving();
    for id in [2, 3, 4] {
        rig.template(1000 + id, id, 2);
    }
    assert_eq!(rig.verdict(1010, 3, true), ["verdict 3 ok", "ignored 3 older_template"]);
    assert_eq!(rig.verdict(1011, 2, true), ["verdict 2 ok", "publish 2 NewTip", "switched 2"]);
    assert_eq!(rig.verdict(1012, 4, true), ["verdict 4 ok", "publish 4 Refresh"]);
}

#[test]
fn a_refresh_is_published_only_after_its_accepting_verdict() {
    let mut rig = Rig::serving();
    assert_eq!(rig.template(1000, 2, 1), ["propose 2"]);
    assert_eq!(rig.verdict(1010, 2, false), ["verdict 2 empty_template_rejected"]);
    assert_eq!(rig.published(), Some(1));
    rig.template(2000, 3, 1);
    assert_eq!(rig.verdict(2010, 3, true), ["verdict 3 ok", "publish 3 Refresh"]);
    assert_eq!(rig.run_until(20_000), Vec::<String>::new(), "a refresh holds nothing up");
}

#[test]
fn refreshes_keep_the_broadcast_interval_and_the_last_one_wins() {
    let mut rig = Rig::with(Mode::Observe, |settings| {
        settings.broadcast_interval = Duration::from_millis(100);
    });
    assert_eq!(rig.template(0, 1, 1), ["publish 1 NewTip", "switched 1", "propose 1"]);
    assert_eq!(rig.template(10, 2, 1), ["propose 2"]);
    assert_eq!(rig.template(20, 3, 1), ["propose 3"]);
    assert_eq!(rig.run_until(150), ["100: publish 3 Refresh"]);
    assert_eq!(
        rig.template(160, 4, 2),
        ["publish 4 NewTip", "switched 4", "propose 4"],
        "a new tip waits for nothing"
    );
}

#[test]
fn an_unknown_verdict_is_ignored_and_said_so() {
    let mut rig = Rig::serving();
    assert_eq!(rig.verdict(10, 99, true), ["ignored 99 unknown_proposal"]);
    assert_eq!(rig.verdict(11, 1, false), ["ignored 1 unknown_proposal"], "judged already");
    assert_eq!(rig.published(), Some(1));
}

#[test]
fn a_template_that_grew_old_before_its_verdict_is_stale() {
    let mut rig = Rig::serving();
    rig.template(1000, 2, 2);
    rig.template(1001, 3, 2);
    rig.run_until(6000);
    for ms in (10_000..70_000).step_by(10_000) {
        rig.input(ms, alive(0));
    }
    assert_eq!(rig.verdict(61_001, 2, true), ["verdict 2 template_stale", "rejected 2"]);
    assert_eq!(
        rig.verdict(61_002, 3, true),
        ["verdict 3 ok", "publish 3 NewTip", "switched 3"],
        "the source has vouched for the latest ever since"
    );
}

#[test]
fn a_reorganisation_back_to_the_held_tip_ends_the_hold() {
    let mut rig = Rig::serving();
    rig.template(1000, 2, 2);
    assert_eq!(rig.template(1030, 3, 1), ["superseded", "publish 1 NewTip", "propose 3"]);
    assert_eq!(rig.run_until(20_000), Vec::<String>::new(), "miners are on the newest tip");
    assert_eq!(rig.verdict(20_001, 3, true), ["verdict 3 ok", "publish 3 Refresh"]);
}

#[test]
fn older_templates_are_not_looked_at() {
    let mut rig = Rig::serving();
    rig.template(1000, 5, 2);
    assert_eq!(rig.template(1001, 4, 3), Vec::<String>::new());
    assert_eq!(rig.template(1002, 5, 3), Vec::<String>::new());
}

#[test]
fn observe_publishes_at_once_whatever_the_verifier_says() {
    let mut rig = Rig::new(Mode::Observe);
    assert_eq!(rig.template(0, 1, 1), ["publish 1 NewTip", "switched 1", "propose 1"]);
    assert_eq!(rig.verdict(10, 1, false), ["verdict 1 empty_template_rejected"]);
    assert_eq!(rig.template(1000, 2, 2), ["publish 2 NewTip", "switched 2", "propose 2"]);
    assert_eq!(rig.run_until(20_000), Vec::<String>::new(), "no verdict, no hold");
    assert_eq!(rig.published(), Some(2));
}

#[test]
fn shadow_judges_and_publishes_nothing() {
    let mut rig = Rig::new(Mode::Shadow);
    assert_eq!(rig.template(0, 1, 1), ["propose 1"]);
    assert_eq!(rig.verdict(10, 1, true), ["verdict 1 ok"]);
    assert_eq!(rig.published(), None);
}

#[test]
fn modes_change_while_running() {
    let mut rig = Rig::serving();
    rig.template(1000, 2, 2);
    assert_eq!(
        rig.input(1010, Input::Mode(Mode::Observe)),
        ["mode observe", "publish 2 NewTip", "switched 2"]
    );
    assert_eq!(rig.input(1020, Input::Mode(Mode::Inline)), ["mode inline", "propose 2"]);
    assert_eq!(rig.published(), Some(2), "no miner is dropped for it");
    assert!(rig.shared.work_is_withheld(), "and none gets it before it has passed");
    assert_eq!(rig.verdict(1030, 2, true), ["verdict 2 ok", "publish 2 NewTip"]);
    assert_eq!(rig.run_until(20_000), Vec::<String>::new());
    assert_eq!(
        rig.input(20_000, Input::Mode(Mode::Shadow)),
        ["mode shadow", "disconnect all shutdown_drain"]
    );
}

#[test]
fn work_that_observe_gave_out_must_pass_within_the_hold_once_inline_begins() {
    let mut rig = Rig::new(Mode::Observe);
    rig.template(0, 1, 1);
    rig.verdict(10, 1, false);
    rig.input(1000, Input::Mode(Mode::Inline));
    assert_eq!(
        rig.run_until(7000),
        ["6000: disconnect 01 prevhash_switch_timeout", "6000: disconnected 1"]
    );
}

#[rstest]
#[case(
    UpstreamFailurePolicy::FailClosed,
    &["30000: upstream false", "30000: disconnect 01 upstream_unavailable"]
)]
#[case(UpstreamFailurePolicy::FailOpen, &["30000: upstream false"])]
fn a_silent_source_is_unavailable_and_the_policy_decides_for_the_miners(
    #[case] policy: UpstreamFailurePolicy,
    #[case] expected: &[&str],
) {
    let mut rig = Rig::with(Mode::Inline, |settings| settings.upstream_failure = policy);
    rig.template(0, 1, 1);
    rig.verdict(0, 1, true);
    assert_eq!(rig.run_until(40_000), expected);
    let back = rig.input(41_000, alive(0));
    match policy {
        UpstreamFailurePolicy::FailClosed => {
            assert_eq!(back, ["upstream true", "propose 1"]);
            let verdict = rig.verdict(41_001, 1, true);
            assert_eq!(verdict, ["verdict 1 ok", "publish 1 NewTip", "switched 1"]);
        }
        UpstreamFailurePolicy::FailOpen => assert_eq!(back, ["upstream true"]),
    }
}

#[test]
fn work_of_the_old_tip_is_withheld_exactly_while_a_newer_one_waits() {
    let mut rig = Rig::serving();
    assert!(!rig.shared.work_is_withheld());
    rig.template(1000, 2, 1);
    assert!(!rig.shared.work_is_withheld(), "a refresh withholds nothing");
    rig.template(1010, 3, 2);
    assert!(rig.shared.work_is_withheld());
    rig.verdict(1020, 3, true);
    assert!(!rig.shared.work_is_withheld());
    let mut rig = Rig::new(Mode::Observe);
    rig.template(0, 1, 1);
    rig.template(1, 2, 2);
    assert!(!rig.shared.work_is_withheld());
}

#[test]
fn without_a_source_a_late_verdict_publishes_nothing() {
    let mut rig = Rig::serving();
    rig.template(1000, 2, 1);
    rig.run_until(31_000);
    assert_eq!(rig.verdict(31_001, 2, true), ["verdict 2 ok", "ignored 2 older_template"]);
    assert_eq!(rig.published(), None);
}

/// The source was reached, and its node said so this long ago.
fn alive(ms_ago: u64) -> Input {
    Input::SourceAlive { confirmed_ago: Duration::from_millis(ms_ago) }
}

#[test]
fn a_source_that_lives_before_a_dead_node_counts_as_gone() {
    let mut rig = Rig::serving();
    // Its node spoke last at 2 s.
    for ms in [4_000, 12_000, 22_000, 31_000] {
        assert_eq!(rig.input(ms, alive(ms - 2_000)), Vec::<String>::new());
    }
    assert_eq!(
        rig.run_until(32_000),
        ["32000: upstream false", "32000: disconnect 01 upstream_unavailable"]
    );
    assert_eq!(rig.input(40_000, alive(38_000)), Vec::<String>::new());
    assert_eq!(rig.input(41_000, alive(1_000)), ["upstream true", "propose 1"]);
}

#[derive(Clone, Debug)]
enum Step {
    Template { tip: u8 },
    Verdict { back: u64, accepted: bool },
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1u8..4).prop_map(|tip| Step::Template { tip }),
        4 => (0u64..4, any::<bool>()).prop_map(|(back, accepted)| Step::Verdict { back, accepted }),
        4 => (1u64..3000).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(cases(200))]

    /// The law of inline mode, under any history: what is published has passed, and miners are
    /// never on another tip than the newest for longer than the hold.
    #[test]
    fn nothing_unjudged_is_published_and_no_hold_outlasts_its_time(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut rig = Rig::with(Mode::Inline, |settings| {
            settings.upstream_stale_max = Duration::from_secs(1_000_000);
            settings.max_template_age = Duration::from_secs(1_000_000);
        });
        let (mut now, mut last_id, mut newest) = (0, 0, None);
        let mut passed = BTreeSet::new();
        let mut behind_since = None;
        for step in steps {
            match step {
                Step::Template { tip: byte } => {
                    last_id += 1;
                    newest = Some(tip(byte));
                    rig.template(now, last_id, byte);
                }
                Step::Verdict { back, accepted } => {
                    let id = last_id.saturating_sub(back);
                    if accepted {
                        passed.insert(id);
                    }
                    rig.verdict(now, id, accepted);
                }
                Step::Wait(ms) => {
                    now += ms;
                    rig.run_until(now);
                }
            }
            let published = rig.switch.published().map(|published| published.work.prev_hash());
            prop_assert!(rig.published().is_none_or(|id| passed.contains(&id)));
            behind_since = match published {
                Some(on) if Some(on) != newest => behind_since.or(Some(now)),
                _ => None,
            };
            prop_assert!(behind_since.is_none_or(|since| now - since < 5000), "{behind_since:?} {now}");
        }
    }
}

#[test]
fn published_work_is_held_with_its_verdict() {
    let rig = Rig::serving();
    let held = rig.shared.template(TemplateId(1)).unwrap();
    assert!(held.verdict.unwrap().accepted);
    assert_eq!(rig.switch.published().unwrap().kind, NEW_TIP);
}

#[test]
fn every_template_is_shown_with_what_became_of_it() {
    let shown = |rig: &Rig| -> Vec<String> {
        let word = |report: TemplateReport| {
            let code = report.verdict.as_ref().map_or("-", |verdict| verdict.reason_code.as_str());
            format!("{} {} {code}", report.template_id, report.state.as_str())
        };
        rig.shared.template_reports().into_iter().map(word).collect()
    };
    let mut rig = Rig::serving();
    rig.template(10, 2, 2);
    rig.template(11, 3, 2);
    rig.verdict(12, 2, false);
    let held = ["1 served ok", "2 rejected empty_template_rejected", "3 pending -"];
    assert_eq!(shown(&rig), held, "what one wants to know in a hold");
    rig.template(13, 4, 2);
    rig.verdict(14, 4, true);
    rig.verdict(15, 3, true);
    assert_eq!(shown(&rig)[2..], ["3 accepted ok", "4 served ok"]);
    for id in 5..40 {
        rig.template(id * 10, id, 3);
    }
    let pending = shown(&rig).iter().filter(|word| word.contains("pending")).count();
    assert_eq!(pending, crate::limits::MAX_PROPOSALS_SHOWN);
}
