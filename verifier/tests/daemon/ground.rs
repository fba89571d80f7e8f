//! What the verifier makes of its own node.

use std::time::Duration;

use serde_json::{Value, json};
use templates::config::NodeAuth;
use tokio::time::{Instant, sleep};
use verifier::{Config, NodeConfig};
use verifier_protocol::{CheckOutcome, FeeTier, Verdict};

use crate::world::{FakeNode, NODE, Template, World};

const ENFORCE: &str =
    "[policy]\nmin_avg_fee_hi = 1\nmin_avg_fee_mid = 1\n[policy.mempool]\nenforce = true\n";
const ASK: &str =
    "[policy]\nmin_avg_fee_hi = 1\nmin_avg_fee_mid = 1\n[policy.node]\nproposal_check = true\n";

/// A verifier whose node holds `mempool`, a moment after its first poll.
async fn world(policy: &str, mempool: &[String]) -> (World, FakeNode) {
    world_of(policy, mempool, |_| ()).await
}

async fn world_of(
    policy: &str,
    mempool: &[String],
    change: impl FnOnce(&mut Config),
) -> (World, FakeNode) {
    let auth = NodeAuth::Password { user: "assay".to_owned(), password: "hunter2".into() };
    let node_config = NodeConfig::new(format!("http://{NODE}"), auth);
    let mut node = FakeNode::new(mempool);
    let world = World::prepared(policy, |config| {
        config.node = Some(node_config);
        change(config);
    });
    node.start(&world.env).await;
    let world = world.started().await;
    sleep(Duration::from_millis(1)).await;
    (world, node)
}

fn strangers(count: u8) -> Vec<String> {
    (0..count).map(|seed| format!("{seed:02x}").repeat(32)).collect()
}

async fn judge(world: &World, id: u64) -> Verdict {
    world.gateway().await.judge(&Template::new(id, 1)).await
}

async fn ready(world: &World) -> (u16, String) {
    world.get("/ready").await
}

#[tokio::test(start_paused = true)]
async fn the_measured_mempool_decides_the_fee_tier() {
    let policy = "[policy]\nmin_avg_fee_lo = 1\nmin_avg_fee_mid = 1000\nmin_avg_fee_hi = 2000\n\
                  low_mempool_tx = 1\nhigh_mempool_tx = 3\n";
    let (world, node) = world(policy, &strangers(1)).await;
    for (id, count, tier, accepted) in
        [(1, 1, FeeTier::Low, true), (2, 2, FeeTier::Mid, true), (3, 3, FeeTier::High, false)]
    {
        node.set(|node| node.mempool = strangers(count));
        sleep(Duration::from_secs(10)).await;
        let verdict = judge(&world, id).await;
        assert_eq!(verdict.policy_context.unwrap().fee_tier, tier);
        assert_eq!(verdict.accepted, accepted, "{verdict:?}");
        assert_eq!(verdict.checks.mempool, CheckOutcome::Skipped, "it is not enforced");
    }
    let (_, status) = world.get("/status").await;
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["mempool"]["state"], "fresh");
    assert_eq!(status["mempool"]["transactions"], 3);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_mempool_too_old_to_count_is_an_unknown_one() {
    let policy = "[policy]\nmin_avg_fee_hi = 1001\n[policy.mempool]\nmax_stale_secs = 20\n";
    let (world, node) = world(policy, &strangers(0)).await;
    assert!(judge(&world, 1).await.accepted);
    node.stop();
    sleep(Duration::from_secs(21)).await;
    let verdict = judge(&world, 2).await;
    assert_eq!(verdict.policy_context.unwrap().fee_tier, FeeTier::High);
    assert_eq!(verdict.reason_code.as_str(), "avg_fee_below_minimum");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_template_the_node_does_not_know_is_refused_with_examples() {
    let (world, node) = world(ENFORCE, &strangers(3)).await;
    let template = Template::new(1, 1);
    let verdict = world.gateway().await.judge(&template).await;
    assert_eq!(verdict.reason_code.as_str(), "mempool_unknown_ratio_exceeded");
    assert_eq!(verdict.checks.mempool, CheckOutcome::Failed);
    let detail = verdict.reason_detail.unwrap();
    assert!(detail.starts_with("unknown_pct=100.00 > tolerance_pct=4 (1 of 1)"), "{detail}");
    assert!(detail.contains(&template.payment_txid()), "{detail}");

    node.set(|node| node.mempool.push(template.payment_txid()));
    sleep(Duration::from_secs(10)).await;
    let verdict = judge(&world, 2).await;
    assert!(verdict.accepted, "{verdict:?}");
    assert_eq!(verdict.checks.mempool, CheckOutcome::Passed);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_view_goes_from_fresh_over_degraded_to_stale_and_back() {
    let known = [Template::new(1, 1).payment_txid()];
    let (world, mut node) = world(ENFORCE, &known).await;
    let state = async || {
        let (_, metrics) = world.get("/metrics").await;
        let states = ["fresh", "degraded", "stale", "unavailable"];
        let is_on = |state: &&str| {
            metrics.contains(&format!("verifier_mempool_view{{state=\"{state}\"}} 1\n"))
        };
        states.into_iter().filter(is_on).collect::<Vec<_>>()
    };
    assert_eq!(state().await, ["fresh"]);

    node.stop();
    sleep(Duration::from_secs(15)).await;
    assert_eq!(state().await, ["degraded"]);
    assert_eq!(judge(&world, 1).await.checks.mempool, CheckOutcome::Passed);
    assert_eq!(ready(&world).await.0, 200);

    sleep(Duration::from_secs(50)).await;
    assert_eq!(state().await, ["stale"]);
    let verdict = judge(&world, 2).await;
    assert_eq!(verdict.reason_code.as_str(), "mempool_view_stale");
    assert_eq!(verdict.checks.mempool, CheckOutcome::Skipped, "it did not run");
    let (status, missing) = ready(&world).await;
    assert!(status == 503 && missing.contains("mempool view: stale"), "{missing}");

    node.start(&world.env).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(state().await, ["fresh"]);
    assert!(judge(&world, 3).await.accepted);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_never_answered_cannot_vouch_for_anything() {
    let (world, node) = world(ENFORCE, &[]).await;
    world.stop().await;
    node.stop();

    let world = World::with_policy(ENFORCE).await;
    let verdict = judge(&world, 1).await;
    assert_eq!(verdict.reason_code.as_str(), "mempool_backend_unavailable");
    assert_eq!(verdict.checks.mempool, CheckOutcome::Skipped);
    let (_, metrics) = world.get("/metrics").await;
    let counted = "verifier_checks_skipped_total{check=\"mempool\",cause=\"could_not_run\"} 1\n";
    assert!(metrics.contains(counted), "{metrics}");
    assert_eq!(ready(&world).await.0, 503);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_polls_faster_is_heeded_at_once() {
    let policy = "[policy]\n[policy.mempool]\npoll_interval_secs = 3600\n";
    let (world, node) = world(policy, &strangers(1)).await;
    node.set(|node| node.mempool = strangers(2));
    world.write_policy("[policy]\n");
    world.reload.request();
    sleep(Duration::from_millis(1)).await;
    let (_, metrics) = world.get("/metrics").await;
    assert!(metrics.contains("verifier_mempool_transactions 2\n"), "{metrics}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_nodes_refusal_is_the_verdict_in_its_own_words() {
    let (world, node) = world(ASK, &[]).await;
    let template = Template::new(1, 1);
    let verdict = world.gateway().await.judge(&template).await;
    assert!(verdict.accepted, "{verdict:?}");
    assert_eq!(verdict.checks.node, CheckOutcome::Passed);
    assert_eq!(node.proposed(), [template.block_hex()]);

    node.set(|node| node.proposal = json!("bad-txns-inputs-missingorspent"));
    let verdict = judge(&world, 2).await;
    assert_eq!(verdict.reason_code.as_str(), "node_proposal_rejected");
    assert_eq!(verdict.reason_detail.as_deref(), Some("bad-txns-inputs-missingorspent"));
    assert_eq!(verdict.checks.node, CheckOutcome::Failed);
    assert!(verdict.policy_context.is_some());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_say_is_skipped_and_counted() {
    let (world, node) = world(ASK, &[]).await;
    node.set(|node| node.proposal = json!("inconclusive-not-best-prevblk"));
    assert_skipped(&world, 1, "other_tip").await;
    assert_eq!(ready(&world).await.0, 200, "it answers");
    node.set(|node| {
        node.proposal = json!("bad-cb-amount");
        node.proposal_delay = Duration::from_millis(1001);
    });
    assert_skipped(&world, 2, "timeout").await;
    node.set(|node| node.warming_up = true);
    assert_skipped(&world, 3, "warming_up").await;
    node.stop();
    assert_skipped(&world, 4, "unreachable").await;
    let (_, metrics) = world.get("/metrics").await;
    let counted = "verifier_checks_skipped_total{check=\"node\",cause=\"could_not_run\"} 4\n";
    assert!(metrics.contains(counted), "{metrics}");
    world.stop().await;
}

async fn assert_skipped(world: &World, id: u64, cause: &str) {
    let verdict = judge(world, id).await;
    assert!(verdict.accepted, "{verdict:?}");
    assert_eq!(verdict.checks.node, CheckOutcome::Skipped);
    let (_, metrics) = world.get("/metrics").await;
    let counted = format!("verifier_node_proposals_total{{outcome=\"{cause}\"}} 1\n");
    assert!(metrics.contains(&counted), "{counted}{metrics}");
}

#[tokio::test(start_paused = true)]
async fn a_verifier_whose_node_did_not_answer_is_not_ready_until_it_does() {
    let (world, node) = world(ASK, &[]).await;
    assert_eq!(ready(&world).await.0, 200);
    node.set(|node| node.warming_up = true);
    judge(&world, 1).await;
    let (status, missing) = ready(&world).await;
    assert!(status == 503 && missing.contains("proposal check: "), "{missing}");
    node.set(|node| node.warming_up = false);
    judge(&world, 2).await;
    assert_eq!(ready(&world).await.0, 200);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hangs_does_not_hold_up_the_next_tip() {
    let (world, node) = world(ASK, &[]).await;
    node.set(|node| node.proposal_delay = Duration::from_secs(3600));
    let mut gateway = world.gateway().await;
    let begun = Instant::now();
    gateway.propose(&Template::new(1, 1)).await;
    sleep(Duration::from_millis(100)).await;
    node.set(|node| node.proposal_delay = Duration::ZERO);
    // One more for the old tip waits for its predecessor; the new tip waits for nothing.
    gateway.propose(&Template::new(2, 1)).await;
    gateway.propose(&Template::new(3, 2)).await;
    let newer = gateway.verdict().await;
    assert_eq!((newer.proposal_id.0, begun.elapsed().as_millis()), (3, 100));
    assert_eq!(newer.verdict.checks.node, CheckOutcome::Passed);
    let older = gateway.verdict().await;
    assert_eq!((older.proposal_id.0, begun.elapsed().as_millis()), (1, 1000));
    assert_eq!(older.verdict.checks.node, CheckOutcome::Skipped);
    assert_eq!(gateway.verdict().await.verdict.checks.node, CheckOutcome::Passed);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_overdue_is_answered_while_the_node_hangs() {
    let (world, node) = world_of(ASK, &[], |config| {
        config.proposal_deadline = Duration::from_millis(300);
    })
    .await;
    node.set(|node| node.proposal_delay = Duration::from_secs(3600));
    let mut gateway = world.gateway().await;
    let begun = Instant::now();
    gateway.propose(&Template::new(1, 1)).await;
    gateway.propose(&Template::new(2, 1)).await;
    let late = gateway.verdict().await;
    assert_eq!((late.proposal_id.0, begun.elapsed().as_millis()), (2, 300));
    assert_eq!(late.verdict.reason_detail.as_deref(), Some("not judged within 300 ms"));
    assert_eq!(gateway.verdict().await.proposal_id.0, 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_operators_rules_refuse_is_not_put_to_the_node() {
    let (world, node) = world(ASK, &[]).await;
    let mut heavier = Template::new(1, 1);
    heavier.propose.weight += 4;
    let verdict = world.gateway().await.judge(&heavier).await;
    assert_eq!(verdict.reason_code.as_str(), "consensus_weight_mismatch");
    assert_eq!(node.proposed(), [""; 0]);
    world.stop().await;
}
