//! What a gateway meets on its link.

use std::time::Duration;

use crate::world::{Template, World};
use rstest::rstest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};
use verifier_protocol::{
    CheckOutcome, Heartbeat, HeartbeatAck, MAX_INTERNAL_LINE_BYTES, Message, ProposalId, encode,
};

#[tokio::test(start_paused = true)]
async fn a_real_block_is_accepted_and_a_changed_one_is_not() {
    let world = World::start().await;
    let mut gateway = world.gateway().await;

    let verdict = gateway.judge(&Template::new(1, 1)).await;
    assert!(verdict.accepted, "{verdict:?}");
    assert_eq!(verdict.reason_code.as_str(), "ok");
    assert_eq!(verdict.checks.policy, CheckOutcome::Passed);
    assert_eq!(verdict.checks.consensus, CheckOutcome::Passed);
    assert_eq!(verdict.checks.mempool, CheckOutcome::Skipped);
    assert_eq!(verdict.checks.node, CheckOutcome::Skipped);

    let mut heavier = Template::new(2, 1);
    heavier.propose.weight += 4;
    let verdict = gateway.judge(&heavier).await;
    assert_eq!(verdict.reason_code.as_str(), "consensus_weight_mismatch");
    assert_eq!(verdict.checks.consensus, CheckOutcome::Failed);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_block_passes() {
    let policy = "[policy]\nmin_avg_fee_hi = 1\nmax_weight_ratio = 1.0\n";
    let world = World::with_policy(policy).await;
    let full = Template::full(1);
    assert_eq!(full.propose.weight, 4_000_000);
    assert!(full.block.len() > 3_990_000);
    let verdict = world.gateway().await.judge(&full).await;
    assert!(verdict.accepted, "{verdict:?}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_age_is_taken_at_the_verifier() {
    let world = World::start().await;
    world.pass_ms(30_001);
    let verdict = world.gateway().await.judge(&Template::new(1, 1)).await;
    assert_eq!(verdict.reason_code.as_str(), "template_too_old");
    assert_eq!(verdict.checks.policy, CheckOutcome::Failed);
    assert_eq!(verdict.checks.consensus, CheckOutcome::Skipped);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_newest_tip_is_judged_before_older_ones() {
    let world = World::start().await;
    let mut gateway = world.gateway().await;
    let templates = [Template::new(1, 1), Template::new(2, 1), Template::new(3, 2)];
    // One write, so that all of it is there before the first is judged to its end.
    let lines: Vec<Vec<u8>> = templates.iter().flat_map(Template::lines).collect();
    gateway.send(&lines.concat()).await;
    let mut order = Vec::new();
    for _ in 0..3 {
        order.push(gateway.verdict().await.proposal_id.0);
    }
    assert_eq!(order, [1, 3, 2]);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn gateways_do_not_disturb_each_other() {
    let world = World::start().await;
    let (mut first, mut second) = (world.gateway().await, world.gateway().await);
    let [propose, body] = <[Vec<u8>; 2]>::try_from(Template::new(1, 1).lines()).unwrap();
    first.send(&propose).await;
    assert!(second.judge(&Template::new(1, 2)).await.accepted);
    first.send(&body).await;
    assert!(first.verdict().await.verdict.accepted);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_is_answered_between_a_bodys_lines() {
    let world = World::start().await;
    let mut gateway = world.gateway().await;
    let [propose, body] = <[Vec<u8>; 2]>::try_from(Template::new(1, 1).lines()).unwrap();
    gateway.send(&propose).await;
    gateway.send(&encode(&Message::Heartbeat(Heartbeat { seq: 5 }))).await;
    assert_eq!(
        gateway.receive().await,
        Some(Message::HeartbeatAck(HeartbeatAck { seq: 5, tx_known: true }))
    );
    gateway.send(&body).await;
    assert!(gateway.verdict().await.verdict.accepted);
    world.stop().await;
}

#[rstest]
#[case::every_second(1, 303)]
#[case::every_hour(3600, 3 * 3600 + 300)]
#[tokio::test(start_paused = true)]
async fn a_silent_gateway_is_given_up_by_its_own_heartbeats(
    #[case] interval_secs: u64,
    #[case] given_up_secs: u64,
) {
    let world = World::start().await;
    let mut gateway = world.gateway().await;
    for seq in 1..=3 {
        sleep(Duration::from_secs(interval_secs)).await;
        gateway.send(&encode(&Message::Heartbeat(Heartbeat { seq }))).await;
        assert!(matches!(gateway.receive().await, Some(Message::HeartbeatAck(_))));
    }
    let begun = Instant::now();
    assert_eq!(gateway.stream.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(begun.elapsed().as_secs(), given_up_secs);
    world.stop().await;
}

#[rstest]
#[case::garbage(b"?\n".as_slice(), 3, "internal_framing_error")]
#[case::a_flood(
    b"{\"msg_type\":\"poem\",\"version\":2}\n".as_slice(),
    61,
    "internal_unknown_msg_flood"
)]
#[case::another_version(
    b"{\"msg_type\":\"heartbeat\",\"version\":3,\"seq\":1}\n".as_slice(),
    60,
    "internal_version_mismatch"
)]
#[tokio::test(start_paused = true)]
async fn mistakes_close_the_link_and_nothing_else(
    #[case] line: &[u8],
    #[case] count: usize,
    #[case] reason_code: &str,
) {
    let world = World::start().await;
    let mut gateway = world.gateway().await;
    gateway.send(&line.repeat(count - 1)).await;
    assert!(gateway.judge(&Template::new(1, 1)).await.accepted, "one less is forgiven");

    let mut gateway = world.gateway().await;
    gateway.send(&line.repeat(count)).await;
    assert_eq!(gateway.receive().await, None);
    let (_, metrics) = world.get("/metrics").await;
    let counted = format!("verifier_link_faults_total{{reason_code=\"{reason_code}\"}}");
    assert!(metrics.contains(&counted), "{metrics}");
    assert!(world.gateway().await.judge(&Template::new(1, 1)).await.accepted);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_line_without_end_closes_the_link() {
    let world = World::start().await;
    let mut gateway = world.gateway().await;
    // The verifier may close before it has taken all of it.
    let _ = gateway.stream.write_all(&vec![b'x'; MAX_INTERNAL_LINE_BYTES + 1]).await;
    assert_eq!(gateway.receive().await, None);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_proposal_of_another_version_is_refused_by_name() {
    let world = World::start().await;
    let mut gateway = world.gateway().await;
    gateway.send(b"{\"msg_type\":\"template_propose\",\"version\":3,\"proposal_id\":8}\n").await;
    let judged = gateway.verdict().await;
    assert_eq!(judged.proposal_id, ProposalId(8));
    assert_eq!(judged.verdict.reason_code.as_str(), "protocol_version_mismatch");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_prev_hash_without_end_is_refused_and_kept_short() {
    let world = World::start().await;
    let mut endless = Template::new(1, 1);
    endless.propose.prev_hash = "0".repeat(500_000);
    endless.propose.gateway_instance_id = "g".repeat(500_000);
    let verdict = world.gateway().await.judge(&endless).await;
    assert_eq!(verdict.reason_code.as_str(), "prev_hash_len_mismatch");
    let (_, page) = world.get("/api/v1/verdicts").await;
    assert!(page.len() < 2000, "{} bytes", page.len());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_the_announced_one_is_refused() {
    let world = World::start().await;
    let mut gateway = world.gateway().await;
    let mut template = Template::new(1, 1);
    template.block[90] ^= 1;
    let verdict = gateway.judge(&template).await;
    assert_eq!(verdict.reason_code.as_str(), "consensus_decode_failed");

    // A proposal that is overtaken by the next before its body is complete.
    gateway.send(&Template::new(2, 1).lines()[0]).await;
    gateway.propose(&Template::new(3, 1)).await;
    let abandoned = gateway.verdict().await;
    assert_eq!(abandoned.proposal_id, ProposalId(2));
    assert_eq!(abandoned.verdict.reason_code.as_str(), "consensus_decode_failed");
    assert!(gateway.verdict().await.verdict.accepted);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_gateway_over_the_limit_is_turned_away() {
    let policy = "[policy]\nmin_avg_fee_hi = 1\n";
    let world = World::with_config(policy, |config| config.max_links = 1).await;
    let mut first = world.gateway().await;
    assert!(first.judge(&Template::new(1, 1)).await.accepted);
    assert_eq!(world.gateway().await.receive().await, None);
    assert!(first.judge(&Template::new(2, 1)).await.accepted);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_complete_at_the_shutdown_is_judged_yet() {
    let world = World::start().await;
    let mut gateway = world.gateway().await;
    gateway.propose(&Template::new(1, 1)).await;
    tokio::task::yield_now().await;
    world.stop().await;
    assert!(gateway.verdict().await.verdict.accepted);
    assert_eq!(gateway.receive().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_become_whole_is_not_waited_for() {
    let world = World::start().await;
    let mut gateway = world.gateway().await;
    let lines = Template::full(1).lines();
    let begun = Instant::now();
    for line in &lines[..lines.len() - 1] {
        gateway.send(line).await;
    }
    let verdict = gateway.verdict().await;
    assert_eq!(begun.elapsed().as_secs(), 10);
    assert_eq!(verdict.verdict.reason_code.as_str(), "consensus_decode_failed");
    assert_eq!(verdict.verdict.reason_detail.as_deref(), Some("not whole within 10000 ms"));
    // What comes of it afterwards is dropped, and the link goes on.
    gateway.send(&lines[lines.len() - 1]).await;
    assert!(gateway.judge(&Template::new(2, 1)).await.accepted);
    world.stop().await;
}
