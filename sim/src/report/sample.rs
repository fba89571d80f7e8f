//! Hand-made reports for the tests of what shows them.

use std::collections::BTreeMap;

use super::model::{
    Header, Latency, Node, Point, Property, PropertyKind, Report, SCHEMA, Shares, TimelineEntry,
    TimelineKind, Verdict,
};
use crate::mutants::{Board, Caught, Mutant, Row, prey};
use crate::sweep::{FailedRun, Failure, PropertyTally, ScenarioTally, Summary};

/// Holds a rendering against its snapshot under `golden/sim/`.
pub(crate) fn snapshot(name: &str, text: &str) {
    insta::with_settings!({
        snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/../golden/sim"),
        prepend_module_to_snapshot => false,
        omit_expression => true
    }, {
        insta::assert_snapshot!(name, text);
    });
}

/// A run in which every property holds.
pub(crate) fn passing() -> Report {
    Report {
        header: header(),
        properties: vec![
            property(PropertyKind::Always, "share_join", "1 204 accepted, 1 204 results"),
            property(PropertyKind::Always, "no_unverified_job", "96 jobs, each with a verdict"),
            property(PropertyKind::Sometimes, "closed:prevhash_switch_timeout", "10 times"),
            property(
                PropertyKind::Within,
                "cut → connection_closed",
                "first after 5.004 s, window 5.000 s to 5.060 s",
            ),
            property(PropertyKind::Eventually, "all_miners_on_tip", "10 of 10 at the end"),
            property(PropertyKind::Latency, "prevhash_to_miner", "p99 7.94 ms ≤ 300 ms"),
        ],
        reason_codes: codes(&[
            ("prevhash_switch_timeout", 10),
            ("share_difficulty_below_target", 41),
            ("stale_job_submission", 7),
        ]),
        verdict_codes: codes(&[("ok", 12), ("total_fees_below_minimum", 1)]),
        shares: Shares {
            submitted: 1_256,
            accepted: 1_204,
            rejected: 48,
            unanswered: 4,
            forwarded: 1_189,
            upstream_rejected: 12,
            undelivered: 3,
            blocks: 2,
        },
        latencies: latencies(),
        timeline: timeline(),
        series: series(),
        trace_digest: "9f2b6c0d51e8a7734c19ab3f5e6d7081920314253647586970a1b2c3d4e5f607".to_owned(),
    }
}

/// The same run with a failed property and one that was not exercised.
pub(crate) fn failing() -> Report {
    let mut report = passing();
    report.properties[0] = Property {
        outcome: Verdict::Fail,
        detail: "event 7f31c09a… has two results: forwarded, share_forward_failed".to_owned(),
        at_ms: Some(41_207),
        ..property(PropertyKind::Always, "share_join", "")
    };
    report.properties[2] = Property {
        outcome: Verdict::NotExercised,
        ..property(PropertyKind::Sometimes, "closed:prevhash_switch_timeout", "0 times")
    };
    report
}

/// The passing run with a change of each kind that a golden must notice.
pub(crate) fn changed() -> Report {
    let mut report = passing();
    report.properties[0].outcome = Verdict::Fail;
    report.properties.remove(1);
    report.reason_codes.insert("stale_job_submission".to_owned(), 8);
    report.reason_codes.insert("share_replay_detected".to_owned(), 1);
    report.verdict_codes.remove("total_fees_below_minimum");
    report.timeline.remove(1);
    report.timeline[2].t_ms += 1;
    report
}

/// A run in which nothing happened.
pub(crate) fn empty() -> Report {
    Report {
        properties: Vec::new(),
        reason_codes: BTreeMap::new(),
        verdict_codes: BTreeMap::new(),
        shares: Shares::default(),
        latencies: BTreeMap::from([("share_ack".to_owned(), Latency::default())]),
        timeline: Vec::new(),
        series: BTreeMap::from([("shares_accepted".to_owned(), Vec::new())]),
        header: Header { duration_ms: 0, parameters: BTreeMap::new(), ..header() },
        ..passing()
    }
}

/// A sweep in which one run of three failed.
pub(crate) fn sweep() -> Summary {
    let report = failing();
    let failure = Failure::first(&report).expect("it fails");
    let of_scenario =
        ScenarioTally { runs: 2, failed: 1, reason_codes: report.reason_codes.clone() };
    let line = "FAIL share_join t=41.207s seed=77 faults=2/38 (shrunk)  \
                replay: sim replay prevhash-verifier-dark-77";
    Summary {
        of: "prevhash".to_owned(),
        first_seed: 76,
        runs: 3,
        storms: 2,
        failed: 1,
        seconds: 1.5,
        virtual_seconds: 180.0,
        jobs: 2,
        shares: report.shares.clone(),
        scenarios: BTreeMap::from([
            ("prevhash-verifier-dark".to_owned(), of_scenario),
            ("prevhash-happy".to_owned(), ScenarioTally { runs: 1, ..ScenarioTally::default() }),
        ]),
        faults: codes(&[("cut", 30), ("crash", 8)]),
        reason_codes: report.reason_codes,
        verdict_codes: report.verdict_codes,
        properties: BTreeMap::from([
            ("share_join".to_owned(), PropertyTally { held: 2, failed: 1, idle: 0 }),
            ("observe_never_gates".to_owned(), PropertyTally { held: 0, failed: 0, idle: 3 }),
        ]),
        failures: vec![FailedRun {
            scenario: "prevhash-verifier-dark".to_owned(),
            seed: 77,
            failure,
            line: line.to_owned(),
            steps: ["40s cut gateway->pool", "41s kill gateway"].map(str::to_owned).to_vec(),
        }],
    }
}

/// A board with a bug that was caught and one that was not.
pub(crate) fn board() -> Board {
    let caught = |seeds| {
        let failure = Failure::first(&failing()).expect("it fails");
        Some(Caught { seeds, seed: 10 + seeds, scenario: "smoke".to_owned(), failure })
    };
    let row = |mutant: Mutant, trials| Row {
        mutant: mutant.as_str().to_owned(),
        doc: mutant.doc().to_owned(),
        property: prey(mutant).property.to_owned(),
        trials,
        others: codes(&[("stale_work", 2)]),
        control_runs: 10,
        control_failures: Vec::new(),
    };
    let alarm = "stale_work in 7@smoke: a tip too late".to_owned();
    let torn = row(Mutant::TornEndKept, vec![caught(9), None, None]);
    Board {
        rows: vec![
            row(Mutant::Canary, vec![caught(1), caught(1), caught(1)]),
            row(Mutant::AckBeforeLog, vec![caught(9), caught(4), caught(30)]),
            Row { control_failures: vec![alarm], ..torn },
        ],
    }
}

fn header() -> Header {
    Header {
        schema: SCHEMA,
        scenario: "prevhash-verifier-dark".to_owned(),
        family: "prevhash".to_owned(),
        doc: "New tip while the verifier link is cut: hold stale work 5 s, then a deterministic \
              disconnect"
            .to_owned(),
        scenario_sha256: "3c5d9b1f0a7e26488b61d2c4f5e09a17b38c7d6e5f40312a1b2c3d4e5f60718a"
            .to_owned(),
        seed: 77,
        node: Node { kind: "replay".to_owned(), version: "/Satoshi:29.5.0/".to_owned() },
        parameters: [("topology.miners", "10"), ("links.default.latency", "2.417ms")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        duration_ms: 60_000,
    }
}

fn property(kind: PropertyKind, name: &str, detail: &str) -> Property {
    Property {
        name: name.to_owned(),
        kind,
        outcome: Verdict::Pass,
        detail: detail.to_owned(),
        at_ms: None,
    }
}

fn codes(codes: &[(&str, u64)]) -> BTreeMap<String, u64> {
    codes.iter().map(|&(code, count)| (code.to_owned(), count)).collect()
}

fn latencies() -> BTreeMap<String, Latency> {
    let latency =
        |count, min, p50, p90, p95, p99, max| Latency { count, min, p50, p90, p95, p99, max };
    [
        ("prevhash_to_miner", latency(40, 1_150, 3_420, 6_010, 6_800, 7_940, 5_004_100)),
        ("share_ack", latency(1_204, 640, 2_410, 4_020, 4_410, 5_900, 9_120)),
        ("verdict", latency(13, 410, 950, 1_800, 2_050, 2_400, 2_400)),
        ("block_submit", Latency::default()),
    ]
    .map(|(name, latency)| (name.to_owned(), latency))
    .into()
}

fn timeline() -> Vec<TimelineEntry> {
    let mut timeline: Vec<TimelineEntry> = [
        (0, TimelineKind::Tip, "height 101 3a7f…"),
        (4, TimelineKind::Switch, "3a7f… switched in 4 ms"),
        (6_000, TimelineKind::Step, "200 transactions"),
        (10_000, TimelineKind::Fault, "cut gateway<->verifier"),
        (10_000, TimelineKind::Tip, "height 102 51c0…"),
        (10_050, TimelineKind::Switch, "51c0… holding"),
        (17_000, TimelineKind::Heal, "heal gateway<->verifier"),
        (17_040, TimelineKind::Switch, "51c0… switched in 7040 ms"),
        (22_300, TimelineKind::Verdict, "total_fees_below_minimum"),
        (27_500, TimelineKind::Block, "height 103 found by miner-4"),
        (27_501, TimelineKind::Tip, "height 103 77de…"),
        (27_506, TimelineKind::Switch, "77de… switched in 5 ms"),
        (30_000, TimelineKind::Crash, "kill pool"),
        (30_000, TimelineKind::Crash, "pool died"),
        (33_000, TimelineKind::Start, "pool started"),
        (40_000, TimelineKind::Fault, "cut gateway->pool"),
        (52_000, TimelineKind::Block, "height 104 found by miner-9"),
        (52_001, TimelineKind::Tip, "height 104 0b1e…"),
        (52_007, TimelineKind::Switch, "0b1e… switched in 6 ms"),
    ]
    .into_iter()
    .map(|(t_ms, kind, text)| TimelineEntry { t_ms, kind, text: text.to_owned() })
    .collect();
    timeline.extend((0..10).map(|miner| TimelineEntry {
        t_ms: 15_004,
        kind: TimelineKind::Close,
        text: format!("miner-{miner} prevhash_switch_timeout"),
    }));
    timeline.sort_by_key(|entry| entry.t_ms);
    timeline
}

fn series() -> BTreeMap<String, Vec<Point>> {
    // Shares come steadily but for the five seconds in which no miner is connected.
    let steady = |each: f64| {
        (0..=60)
            .map(|second| Point {
                t_ms: second * 1000,
                value: each * (second.min(15) + second.max(20) - 20) as f64,
            })
            .collect()
    };
    let depth = |second: u64| if (30..33).contains(&second) { second - 29 } else { 0 };
    BTreeMap::from([
        ("shares_accepted".to_owned(), steady(22.0)),
        ("shares_rejected".to_owned(), steady(1.0)),
        (
            "queue_depth".to_owned(),
            (0..=60).map(|s| Point { t_ms: s * 1000, value: 22.0 * depth(s) as f64 }).collect(),
        ),
    ])
}
