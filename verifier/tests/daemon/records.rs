//! What operators learn from templates that were judged already.

use policy::Policy;
use serde_json::Value;
use verifier::{Assume, ExplainError, explain};

use crate::world::{Template, World};

const LOCAL: &str = "127.0.0.1:8081";
const DEARER: &str = "[policy]\nmin_avg_fee_hi = 1001\n";

async fn get(world: &World, path: &str) -> Value {
    let (status, body) = world.get(path).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

async fn dry_run(world: &World, query: &str, policy: &str) -> (u16, Value) {
    let request = format!("POST /api/v1/policy/dry-run{query}");
    let (status, body) = world.http(LOCAL, &request, "", policy).await;
    (status, serde_json::from_str(&body).unwrap())
}

async fn judge(world: &World, ids: std::ops::RangeInclusive<u64>) {
    let mut gateway = world.gateway().await;
    for id in ids {
        assert!(gateway.judge(&Template::new(id, 1)).await.accepted);
    }
}

#[tokio::test(start_paused = true)]
async fn a_candidate_policy_is_tried_and_changes_nothing() {
    let world = World::start().await;
    judge(&world, 1..=2).await;
    // A dry run is not a matter of today's clock.
    world.pass_ms(3_600_000);
    let before = get(&world, "/api/v1/policy").await;
    let (status, run) = dry_run(&world, "", DEARER).await;
    assert_eq!(status, 200, "{run}");
    assert_eq!(run["policy_hash_in_force"], before["policy_hash"]);
    assert_ne!(run["policy_hash"], before["policy_hash"]);
    assert_eq!(run["template"]["seq"], 2);
    assert_eq!(run["template"]["then"]["reason_code"], "ok");
    assert_eq!(run["template"]["now"]["reason_code"], "avg_fee_below_minimum");
    let rules = run["template"]["rules"].as_array().unwrap();
    let failed: Vec<&Value> = rules.iter().filter(|rule| rule["result"] == "failed").collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["input"], "avg_fee=1000");
    assert_eq!(failed[0]["limit"], "min_avg_fee_used=1001 (tier high, per tx)");
    assert_eq!(run["history"]["newly_refused"], 2);

    let (_, first) = dry_run(&world, "?seq=1", "[policy]\nmin_avg_fee_hi = 1000\n").await;
    assert_eq!(first["template"]["seq"], 1);
    assert_eq!(first["template"]["now"]["accepted"], true);
    assert_eq!(first["template"]["now"]["checks"]["consensus"], "passed");
    assert_eq!(first["history"]["same"], 2);
    assert_eq!(get(&world, "/api/v1/policy").await, before);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn two_policies_are_compared_over_all_that_is_kept() {
    let world = World::start().await;
    judge(&world, 1..=2).await;
    let mut heavier = Template::new(3, 1);
    heavier.propose.weight += 4;
    assert!(!world.gateway().await.judge(&heavier).await.accepted);
    let (_, run) = dry_run(&world, "", DEARER).await;
    assert_eq!(run["against"], Value::Null);
    assert_eq!(run["templates"]["newly_refused"], 2);
    assert_eq!(run["templates"]["refused_otherwise"], 1);
    assert_eq!(run["templates"]["changes"][0]["then"], "consensus_weight_mismatch");

    let in_force = get(&world, "/api/v1/policy").await["policy_hash"].clone();
    let query = format!("?against={}", in_force.as_str().unwrap());
    let unjudged = "[policy]\nmin_avg_fee_hi = 1\n[policy.consensus]\nenforce = false\n";
    let (status, run) = dry_run(&world, &query, unjudged).await;
    assert_eq!((status, &run["against"]), (200, &in_force));
    assert_eq!(
        (&run["templates"]["same"], &run["templates"]["newly_passed"]),
        (&2.into(), &1.into())
    );
    assert_eq!((&run["history"]["same"], &run["history"]["not_compared"]), (&3.into(), &0.into()));
    assert_eq!(dry_run(&world, "?against=0a", DEARER).await.0, 404);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_puts_a_policy_learns_whether_it_lasts() {
    for (with_file, expect) in [(true, "\"persisted\":true"), (false, "\"persisted\":false")] {
        let world = World::with_config("", |config| {
            config.policy_file = config.policy_file.take().filter(|_| with_file);
        })
        .await;
        let (status, body) = world.http(LOCAL, "PUT /api/v1/policy", "", DEARER).await;
        assert!(status == 200 && body.contains(expect), "{body}");
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_of_nothing_says_so() {
    let world = World::start().await;
    let (status, run) = dry_run(&world, "", DEARER).await;
    assert_eq!((status, &run["template"]), (200, &Value::Null));
    assert_eq!(dry_run(&world, "?seq=1", DEARER).await.0, 404);
    let (status, refused) = dry_run(&world, "", "[policy]\nmax_tx_cuont = 1\n").await;
    assert_eq!(status, 422);
    assert!(refused["problems"][0].as_str().unwrap().contains("did you mean"), "{refused}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_saved_template_is_explained() {
    let world = World::start().await;
    judge(&world, 1..=1).await;
    let (status, lines) = world.get("/api/v1/template?seq=1").await;
    assert_eq!(status, 200);
    assert_eq!(world.get("/api/v1/template?seq=2").await.0, 404);
    world.stop().await;

    let policy = Policy::from_toml(DEARER).unwrap();
    let explanation = explain(lines.as_bytes(), &policy, Assume::default()).unwrap();
    assert!(!explanation.verdict.accepted);
    let text = explanation.to_string();
    assert!(text.starts_with(&format!("policy {}\n", policy.content_hash())), "{text}");
    assert!(text.contains("max_template_age_secs=30"), "{text}");
    let end = "rejected: avg_fee_below_minimum: avg_fee=1000 < min_avg_fee_used=1001\n";
    assert!(text.contains("check consensus: skipped\n") && text.ends_with(end), "{text}");

    let assume = Assume { mempool_tx: Some(1), age_ms: 30_001 };
    let old = explain(lines.as_bytes(), &policy, assume).unwrap();
    assert_eq!(old.verdict.reason_code.as_str(), "avg_fee_below_minimum", "mid costs 2000");
    let assume = Assume { mempool_tx: Some(0), ..assume };
    let old = explain(lines.as_bytes(), &policy, assume).unwrap();
    assert_eq!(old.verdict.reason_code.as_str(), "template_too_old");
    let assume = Assume { age_ms: 30_000, ..assume };
    assert!(explain(lines.as_bytes(), &policy, assume).unwrap().verdict.accepted);

    let first_line = lines.lines().next().unwrap();
    let cut = explain(first_line.as_bytes(), &policy, assume);
    assert!(matches!(cut, Err(ExplainError::Incomplete)));
    let other = explain(b"{\"version\":2}", &policy, assume);
    assert!(matches!(other, Err(ExplainError::Decode { line: 1, .. })));
}

#[tokio::test(start_paused = true)]
async fn verdicts_come_as_a_table_and_as_figures() {
    let world = World::start().await;
    judge(&world, 1..=3).await;
    let mut heavier = Template::new(4, 1);
    heavier.propose.weight += 4;
    world.gateway().await.judge(&heavier).await;

    let (status, table) = world.get("/api/v1/verdicts?format=csv&limit=2").await;
    assert_eq!(status, 200);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("seq,judged_at_ms,gateway_instance_id,height,"));
    assert!(lines[1].contains(",4,false,consensus_weight_mismatch,"), "{table}");
    assert!(lines[2].contains(",3,true,ok,,high,1,,passed,passed,skipped,skipped,"), "{table}");
    assert_eq!(lines.len(), 3);

    let stats = get(&world, "/api/v1/stats").await;
    assert_eq!(stats["since_start"], 4);
    let kept = &stats["kept"];
    assert_eq!((&kept["accepted"], &kept["rejected"]), (&3.into(), &1.into()));
    assert_eq!(kept["by_reason"]["consensus_weight_mismatch"], 1);
    assert_eq!(kept["by_gateway"]["gw"], 4);
    assert_eq!(kept["checks"]["consensus"]["failed"], 1);
    assert_eq!(kept["checks"]["node"]["skipped"], 4);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_hundred_swaps_under_load_leave_each_verdict_with_its_policy() {
    const SWAPS: u64 = 100;
    let world = World::start().await;
    let mut gateway = world.gateway().await;
    let mut by_hash = std::collections::BTreeMap::new();
    let swapping = async {
        for swap in 1..=SWAPS {
            // Half of them refuse the template's average of 1000.
            let min = if swap % 2 == 0 { 1000 - swap } else { 1000 + swap };
            let policy = format!("[policy]\nmin_avg_fee_hi = {min}\n");
            by_hash.insert(Policy::from_toml(&policy).unwrap().content_hash(), min <= 1000);
            let (status, _) = world.http(LOCAL, "PUT /api/v1/policy", "", &policy).await;
            assert_eq!(status, 200);
            let (status, _) = world.http(LOCAL, "PUT /api/v1/policy", "", "[polcy]").await;
            assert_eq!(status, 422, "a broken one changes nothing");
        }
    };
    let judging = async {
        let mut verdicts = Vec::new();
        for id in 1..=5 * SWAPS {
            gateway.propose(&Template::new(id, 1)).await;
            verdicts.push(gateway.verdict().await);
        }
        verdicts
    };
    let before = Policy::from_toml("[policy]\nmin_avg_fee_hi = 1\n").unwrap().content_hash();
    let ((), verdicts) = tokio::join!(swapping, judging);
    by_hash.insert(before, true);
    let mut judged_by = std::collections::BTreeSet::new();
    for judged in verdicts {
        assert_eq!(by_hash.get(&judged.policy_hash), Some(&judged.verdict.accepted), "{judged:?}");
        judged_by.insert(judged.policy_hash);
    }
    assert!(judged_by.len() > 50, "only {} of the policies judged anything", judged_by.len());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn verdicts_and_policies_outlive_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        World::with_config("[policy]\n", |config| {
            config.policy_file = None;
            config.state_dir = Some(directory.path().to_owned());
        })
    };
    let world = start().await;
    let default = get(&world, "/api/v1/policy").await;
    let cheap = "[policy]\nmin_avg_fee_hi = 1\n";
    assert_eq!(world.http(LOCAL, "PUT /api/v1/policy", "", cheap).await.0, 200);
    judge(&world, 1..=2).await;
    world.stop().await;

    let world = start().await;
    judge(&world, 3..=3).await;
    let page = get(&world, "/api/v1/verdicts").await;
    let ids: Vec<(u64, u64)> = page["verdicts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["seq"].as_u64().unwrap(), entry["proposal_id"].as_u64().unwrap()))
        .collect();
    assert_eq!(ids, [(3, 3), (2, 2), (1, 1)]);
    let versions = get(&world, "/api/v1/policy/versions").await;
    assert_eq!(versions["versions"][0], default["policy_hash"]);
    assert_eq!(versions["versions"][1], versions["in_force"]);
    let hash = default["policy_hash"].as_str().unwrap();
    assert_eq!(get(&world, &format!("/api/v1/policy?hash={hash}")).await, default);
    assert_eq!(world.get("/api/v1/policy?hash=0a").await.0, 404);
    world.stop().await;
}
