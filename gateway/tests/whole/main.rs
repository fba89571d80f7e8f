//! The whole gateway on this machine's loopback, between a stand-in for the template source and
//! the pool, and a miner that grinds real headers.
#![allow(clippy::unwrap_used)] // A test may.

mod disk;
mod http;
mod miner;
mod proxy;
mod reload;
mod world;

use serde_json::{Value, json};
use verifier_protocol::{Checks, FeeTier, PolicyContext, Verdict, VerdictCode};

use crate::miner::Miner;
use crate::world::World;

fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

#[tokio::test]
async fn a_share_travels_from_the_miner_to_the_pool_and_a_block_to_the_node() {
    let world = World::new().await;
    let before = world.env.tasks.live();
    let gateway = world.start_gateway("observe");
    let mut miner = Miner::connect(&world).await;
    miner.open_channel("alice").await;
    miner.submit_block().await;
    miner.expect_accepted().await;

    let block = world.next_block().await;
    assert_eq!(block["height"], 102);
    let post = world.next_post().await;
    assert_eq!(post["shares"].as_array().unwrap().len(), 1);
    assert_eq!(post["shares"][0]["worker_id"], "alice");
    let events = world.events_until("share_forward_result", 1).await;
    let accepted = named(&events, "share_accepted");
    assert_eq!(accepted[0]["sv2_response"], "success");
    assert_eq!(accepted[0]["share_id"], post["shares"][0]["share_id"]);
    let result = named(&events, "share_forward_result")[0];
    assert_eq!(result["event_id"], accepted[0]["event_id"]);
    assert_eq!(result["upstream_accepted"], true);
    let events = world.events_until("block_found", 1).await;
    assert_eq!(named(&events, "block_found")[0]["accepted"], true);

    // Every way of asking how it stands.
    assert_eq!(world.get("/health").await.0, 200);
    assert_eq!(world.get("/ready").await, (200, r#"{"ready":true,"missing":[]}"#.to_owned()));
    let metrics = world.get("/metrics").await.1;
    assert!(metrics.contains("gateway_shares_total{answer=\"success\"} 1"), "{metrics}");
    assert!(
        metrics.contains("gateway_escape_hatch_active{name=\"VELDRA_GATEWAY_ALLOW_OPEN_AUTH\"} 1")
    );
    assert!(world.get("/api/v1/status").await.1.contains(r#""connections":1"#));
    assert!(!world.get("/api/v1/config").await.1.contains("pool-secret"));

    assert_eq!(gateway.stop().await, Ok(()));
    assert_eq!(miner.read_to_end().await, "shutdown-drain");
    world.no_task_is_left(before).await;
}

#[tokio::test]
async fn a_block_that_the_node_will_never_take_is_recorded_once() {
    let world = World::new().await;
    let error = "error -22: Block decode failed";
    world.node_answers(json!({ "result": null, "error": error, "final": true }));
    let gateway = world.start_gateway("observe");
    let mut miner = Miner::connect(&world).await;
    miner.open_channel("alice").await;
    miner.submit_block().await;
    let events = world.events_until("block_found", 1).await;
    let block = named(&events, "block_found")[0];
    assert_eq!(block["accepted"], false);
    assert_eq!(block["results"][0], format!("node: {error}"));
    assert_eq!(gateway.stop().await, Ok(()));
}

#[tokio::test]
async fn a_miner_that_leaves_on_seeing_the_certificate_is_told_of_with_what_may_be_wrong() {
    let world = World::new().await;
    let gateway = world.start_gateway("observe");
    drop(Miner::connect(&world).await);
    let events = world.events_until("connection_closed", 1).await;
    let detail = named(&events, "connection_closed")[0]["detail"].to_string();
    assert!(detail.contains("its clock") && detail.contains("authority"), "{detail}");
    assert_eq!(gateway.stop().await, Ok(()));
}

#[tokio::test]
async fn what_was_never_reached_is_missing() {
    let world = World::new().await;
    let gateway = world.start_gateway_with(&[
        ("GATEWAY__GATEWAY__MODE", "inline"),
        ("GATEWAY__GATEWAY__UPSTREAM_URL", "http://127.0.0.1:1"),
        ("GATEWAY__SHARE__SHARE_UPSTREAM_URL", "http://127.0.0.1:1/shares"),
    ]);
    world.until_healthy().await;
    let missing = r#"["template_source","template","verifier","share_upstream"]"#;
    let expected = format!(r#"{{"ready":false,"missing":{missing}}}"#);
    assert_eq!(world.get("/ready").await, (503, expected));
    assert_eq!(gateway.stop().await, Ok(()));
}

#[tokio::test]
async fn a_share_that_a_crash_left_behind_is_sent_by_the_next_life() {
    let world = World::new().await;
    world.pool_answers(503);
    let gateway = world.start_gateway("observe");
    let mut miner = Miner::connect(&world).await;
    miner.open_channel("alice").await;
    miner.submit_block().await;
    miner.expect_accepted().await;
    let share_id = world.next_post().await["shares"][0]["share_id"].clone();
    gateway.kill().await;

    world.pool_answers(200);
    let gateway = world.start_gateway("observe");
    let events = world.events_until("share_forward_result", 1).await;
    let results = named(&events, "share_forward_result");
    assert_eq!(results[0]["share_id"], share_id);
    assert_eq!(results[0]["upstream_accepted"], true);
    assert_eq!(named(&events, "share_accepted").len(), 1);
    let metrics = world.get("/metrics").await.1;
    let window = "gateway_queue_length{queue=\"replay_window\"} 1\n";
    assert!(metrics.contains(window), "the window holds what was accepted before: {metrics}");
    assert_eq!(gateway.stop().await, Ok(()));
}

fn accepting() -> Verdict {
    let context = PolicyContext { fee_tier: FeeTier::Mid, min_avg_fee_used: 200 };
    Verdict::accepted(context, Vec::new(), Checks::default())
}

#[tokio::test]
async fn inline_gives_out_work_once_the_verifier_accepts_it() {
    let world = World::new().await;
    let mut bodies = world.start_verifier(accepting()).await;
    let gateway = world.start_gateway("inline");
    let mut miner = Miner::connect(&world).await;
    miner.open_channel("alice").await;
    // Header, transaction count, and a coinbase.
    assert!(bodies.recv().await.unwrap() > 81);
    miner.submit_block().await;
    miner.expect_accepted().await;
    let events = world.events_until("share_accepted", 1).await;
    let verdict = named(&events, "template_verdict")[0];
    assert_eq!((&verdict["accepted"], &verdict["policy_hash"]), (&true.into(), &"policy".into()));
    let accepted = named(&events, "share_accepted")[0];
    assert_eq!(accepted["validation_level"], "full");
    assert_eq!(accepted["fee_tier"], "mid");
    assert_eq!(named(&events, "prevhash_switch")[0]["outcome"], "switched");
    assert_eq!(gateway.stop().await, Ok(()));
}

#[tokio::test]
async fn inline_gives_out_nothing_that_the_verifier_rejects() {
    let world = World::new().await;
    let code = VerdictCode::CoinbaseValueZeroRejected;
    let verdict = Verdict::rejected(code, "zero", Checks::default());
    let _bodies = world.start_verifier(verdict).await;
    let gateway = world.start_gateway("inline");
    let events = world.events_until("template_verdict", 1).await;
    let verdict = named(&events, "template_verdict")[0];
    assert_eq!(verdict["reason_code"], "coinbase_value_zero_rejected");
    let (status, missing) = world.get("/ready").await;
    assert_eq!(status, 503);
    assert!(missing.contains(r#""template""#), "{missing}");
    assert_eq!(gateway.stop().await, Ok(()));
}

#[tokio::test]
async fn shadow_opens_no_miner_port_and_drains_when_asked_over_http() {
    let world = World::new().await;
    let gateway = world.start_gateway("shadow");
    world.until_healthy().await;
    assert!(world.env.net.connect(&world.miner_address).await.is_err());
    assert_eq!(world.post("/api/v1/drain").await.0, 202);
    assert_eq!(gateway.ended().await, Ok(()));
}

#[tokio::test]
async fn garbage_and_a_frame_too_large_end_with_their_codes() {
    let world = World::new().await;
    let gateway = world.start_gateway("observe");
    world.until_healthy().await;
    let mut garbage = Miner::connect(&world).await;
    garbage.send_raw(&[7; 64]).await;
    garbage.read_to_end().await;
    let mut large = Miner::connect(&world).await;
    large.send_header_announcing(0x00ff_ffff).await;
    large.read_to_end().await;
    let events = world.events_until("connection_closed", 2).await;
    let mut reasons: Vec<_> = named(&events, "connection_closed")
        .iter()
        .map(|event| event["reason_code"].as_str().unwrap())
        .collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["frame_too_large", "noise_handshake_failed"]);
    assert_eq!(gateway.stop().await, Ok(()));
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let world = World::new().await;
    let _taken = world.env.net.listen(&world.miner_address).await.unwrap();
    let error = world.start_gateway("observe").ended().await.unwrap_err();
    assert!(error.contains("gateway.listen_addr"), "{error}");
}
