//! Reading the configuration again while miners are served.

use serde_json::Value;

use crate::miner::Miner;
use crate::world::World;
use crate::{accepting, named};

async fn reload(world: &World) -> (u16, Value) {
    let (status, body) = world.post("/api/v1/reload").await;
    (status, serde_json::from_str(&body).unwrap())
}

#[tokio::test]
async fn a_reload_says_what_changed_and_what_waits_for_a_restart() {
    let world = World::new().await;
    let gateway = world.start_gateway_with(&[]);
    world.until_healthy().await;
    let unchanged = reload(&world).await;
    assert_eq!((unchanged.0, unchanged.1["changed"].to_string().as_str()), (200, "[]"));

    world.pool_expects("hunter2");
    world.write_config(&[
        ("\"pool-secret\"", "\"hunter2\""),
        ("[log]", "[limits]\nmax_connections = 5000\n[log]\nretention = 3"),
    ]);
    let (status, outcome) = reload(&world).await;
    assert_eq!(status, 200, "{outcome}");
    let changed = r#"["share.share_upstream_secret","log.retention","limits.max_connections"]"#;
    assert_eq!(outcome["changed"].to_string(), changed);
    assert_eq!(outcome["restart_required"].to_string(), r#"["log.retention"]"#);
    let shown = world.get("/api/v1/config").await.1;
    assert!(shown.contains(r#"{"key":"limits.max_connections","value":"5000","origin":"file","#));
    assert!(shown.contains(r#"{"key":"log.retention","value":"16","origin":"default","#));

    // The new secret signs what is posted from now on: the pool checks it.
    let mut miner = Miner::connect(&world).await;
    miner.open_channel("alice").await;
    miner.submit_block().await;
    world.next_post().await;
    let events = world.events_until("config_reloaded", 2).await;
    assert_eq!(named(&events, "config_reloaded")[1]["changed"].to_string(), changed);
    let told: String = events.iter().map(Value::to_string).collect();
    assert!(!told.contains("hunter2") && !told.contains("pool-secret"), "{told}");
    assert_eq!(gateway.stop().await, Ok(()));
}

#[tokio::test]
async fn a_file_with_problems_changes_nothing() {
    let world = World::new().await;
    let gateway = world.start_gateway_with(&[]);
    world.until_healthy().await;
    world.write_config(&[
        ("mode = \"observe\"", "mode = \"shadow\"\ncoinbase_tga = \"x\""),
        ("share_batch_interval_ms = 1", "share_batch_max = 0"),
    ]);
    let (status, outcome) = reload(&world).await;
    assert_eq!((status, outcome["problems"].as_array().unwrap().len()), (422, 2), "{outcome}");
    assert!(outcome["problems"][0].as_str().unwrap().contains("did you mean gateway.coinbase_tag"));
    assert!(world.get("/api/v1/status").await.1.contains(r#""mode":"observe""#));
    Miner::connect(&world).await.open_channel("alice").await;
    gateway.control.reload.request();
    let events = world.events_until("config_reloaded", 2).await;
    assert!(named(&events, "config_reloaded").iter().all(|event| event["applied"] == false));
    assert_eq!(gateway.stop().await, Ok(()));
}

#[tokio::test]
async fn the_mode_changes_under_a_connected_miner_and_shadow_sends_it_away() {
    let world = World::new().await;
    let _bodies = world.start_verifier(accepting()).await;
    let gateway = world.start_gateway_with(&[]);
    let mut miner = Miner::connect(&world).await;
    miner.open_channel("alice").await;
    world.events_until("template_verdict", 1).await;

    world.write_config(&[("\"observe\"", "\"inline\"")]);
    assert_eq!(reload(&world).await.0, 200);
    world.events_until("mode_changed", 1).await;
    miner.submit_block().await;
    miner.expect_accepted().await;
    let events = world.events_until("share_accepted", 1).await;
    assert_eq!(named(&events, "share_accepted")[0]["validation_level"], "full");
    assert!(named(&events, "connection_closed").is_empty());

    world.write_config(&[("\"observe\"", "\"shadow\"")]);
    assert_eq!(reload(&world).await.0, 200);
    assert_eq!(miner.read_to_end().await, "shutdown-drain");
    let events = world.events_until("mode_changed", 2).await;
    let changes = named(&events, "mode_changed");
    assert_eq!((&changes[1]["from"], &changes[1]["to"]), (&"inline".into(), &"shadow".into()));
    world.events_until("share_forward_result", 1).await;
    assert!(world.env.net.connect(&world.miner_address).await.is_err());

    world.write_config(&[]);
    assert_eq!(reload(&world).await.0, 200);
    Miner::connect(&world).await.open_channel("alice").await;
    assert_eq!(gateway.stop().await, Ok(()));
}

#[tokio::test]
async fn keys_are_rotated_under_connected_miners() {
    let world = World::new().await;
    let gateway = world.start_gateway_with(&[]);
    let mut old = Miner::connect(&world).await;
    old.open_channel("alice").await;
    let authority = world.rotate_keys();
    let (status, outcome) = reload(&world).await;
    assert_eq!(status, 200, "{outcome}");
    let changed =
        ["noise.noise_key_file", "noise.noise_cert_file", "noise.authority_public_key_file"];
    assert_eq!(outcome["changed"], serde_json::json!(changed));
    let mut new = Miner::connect_trusting(&world, authority).await;
    new.open_channel("bob").await;
    for miner in [&mut old, &mut new] {
        miner.submit_block().await;
        miner.expect_accepted().await;
    }
    assert_eq!(gateway.stop().await, Ok(()));
}
