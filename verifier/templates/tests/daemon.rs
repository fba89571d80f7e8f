//! The whole daemon against nodes in memory, in paused time.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // Fixtures write their own files.

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use platform::Offload;
use platform::http_client::HttpClient;
use platform::tls::Trust;
use serde_json::Value;
use templates::client::{BlockSubmission, ClientError, TemplateAnswer, TemplateClient, TemplateId};
use tokio::time::Instant;
use world::{DAEMON, FakeNode, START_MS, World, hash};

const SECOND: Duration = Duration::from_secs(1);

async fn current(world: &World) -> TemplateAnswer {
    let fetched = world.client.fetch(None, Duration::ZERO).await.unwrap();
    fetched.template.expect("a template without `after`")
}

async fn next(world: &World, after: &TemplateAnswer, wait: Duration) -> Option<TemplateAnswer> {
    world.client.fetch(Some(after.template_id), wait).await.unwrap().template
}

fn tip(answer: &TemplateAnswer) -> String {
    answer.block_template().unwrap().previous_block_hash.to_string()
}

#[tokio::test(start_paused = true)]
async fn a_new_tip_reaches_a_waiting_client_at_once() {
    let mut world = World::new();
    let node = FakeNode::new().start(&world.env, "a").await;
    world.start(&["a"], "poll_interval_ms = 60000");
    world.pass(SECOND).await;
    let first = current(&world).await;
    assert_eq!(first.template_id, TemplateId(START_MS));
    assert_eq!((first.source.as_str(), first.network.as_str()), ("a", "regtest"));

    let started = Instant::now();
    let (second, ()) = tokio::join!(next(&world, &first, 30 * SECOND), async {
        tokio::time::sleep(SECOND).await;
        node.mine(2);
    });
    let second = second.expect("the tip moved");
    assert_eq!(tip(&second), hash(2));
    assert!(second.template_id > first.template_id);
    assert!(started.elapsed() < SECOND + Duration::from_millis(10), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn mempool_changes_are_found_by_polling() {
    let mut world = World::new();
    let node = FakeNode::new().start(&world.env, "a").await;
    world.start(&["a"], "poll_interval_ms = 500");
    world.pass(SECOND).await;
    let first = current(&world).await;
    node.set(|chain| (chain.fees, chain.mempool) = (700, 3));
    let second = next(&world, &first, SECOND).await.expect("the fees changed");
    assert_eq!(second.mempool_tx, Some(0), "counted after the template before");
    assert_eq!(second.block_template().unwrap().coinbase_value.to_sat(), 5_000_000_700);
    node.set(|chain| chain.fees = 800);
    let third = next(&world, &second, SECOND).await.expect("the fees changed");
    assert_eq!(third.mempool_tx, Some(3));
}

#[tokio::test(start_paused = true)]
async fn no_template_waits_for_the_size_of_the_mempool() {
    let mut world = World::new();
    let node = FakeNode::new();
    node.set(|chain| (chain.mempool, chain.mempool_delay) = (9, SECOND / 3));
    let node = node.start(&world.env, "a").await;
    world.start(&["a"], "poll_interval_ms = 60000");
    world.pass(SECOND).await;
    let mut known = current(&world).await;
    let mut counted = vec![known.mempool_tx];
    for block in 2..5 {
        let started = Instant::now();
        let (new, ()) = tokio::join!(next(&world, &known, SECOND), async { node.mine(block) });
        known = new.expect("the tip moved");
        assert!(started.elapsed() < Duration::from_millis(10), "{:?}", started.elapsed());
        assert_eq!(tip(&known), hash(block));
        counted.push(known.mempool_tx);
        world.pass(SECOND).await;
    }
    assert_eq!(counted, [None, Some(9), Some(0), Some(0)], "each as counted before the block");
}

/// Runs work at once, and counts it.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Offload for Counting {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        work();
    }
}

#[tokio::test(start_paused = true)]
async fn large_templates_are_read_and_written_away_from_the_event_loop() {
    let mut world = World::new();
    let cpu = Arc::new(Counting::default());
    world.env.cpu = Arc::clone(&cpu) as Arc<dyn Offload>;
    let offloaded = || cpu.0.load(Ordering::Relaxed);
    let node = FakeNode::new().start(&world.env, "a").await;
    world.start(&["a"], "poll_interval_ms = 60000");
    world.pass(SECOND).await;
    let first = current(&world).await;
    assert_eq!(offloaded(), 0, "a small one is not worth the way");
    node.set(|chain| chain.padding = 1 << 20);
    node.mine(2);
    let second = next(&world, &first, SECOND).await.expect("the tip moved");
    assert!(second.template_json().len() > 1 << 20);
    assert_eq!(offloaded(), 3, "the node's answer, the template in it, the answer to clients");
}

#[tokio::test(start_paused = true)]
async fn a_quiet_template_is_renewed_for_its_time_alone() {
    let mut world = World::new();
    let node = FakeNode::new().start(&world.env, "a").await;
    world.start(&["a"], "poll_interval_ms = 500\nrefresh_interval_ms = 20000");
    world.pass(SECOND).await;
    let first = current(&world).await;
    node.set(|chain| chain.curtime += 9);
    assert_eq!(next(&world, &first, 15 * SECOND).await, None);
    let second = next(&world, &first, 15 * SECOND).await.expect("renewed after 20 s");
    assert_eq!(second.block_template().unwrap().curtime, 1_700_000_009);
}

#[tokio::test(start_paused = true)]
async fn a_node_without_long_poll_is_polled() {
    let mut world = World::new();
    let node = FakeNode::new();
    node.set(|chain| chain.long_poll = false);
    let node = node.start(&world.env, "a").await;
    world.start(&["a"], "poll_interval_ms = 500");
    world.pass(SECOND).await;
    let first = current(&world).await;
    node.mine(2);
    let second = next(&world, &first, SECOND).await.expect("the tip moved");
    assert_eq!(tip(&second), hash(2));
}

#[tokio::test(start_paused = true)]
async fn a_slow_poll_does_not_bring_the_old_tip_back() {
    let mut world = World::new();
    let node = FakeNode::new().start(&world.env, "a").await;
    world.start(&["a"], "poll_interval_ms = 1000\nrefresh_interval_ms = 600000");
    world.pass(SECOND / 2).await;
    node.set(|chain| chain.template_delay = SECOND);
    let first = current(&world).await;
    // The poll is asked at 1 s and answered at 2 s; the tip moves in between.
    world.pass(SECOND).await;
    node.mine(2);
    let second = next(&world, &first, SECOND).await.expect("the tip moved");
    assert_eq!(tip(&second), hash(2));
    assert_eq!(next(&world, &second, 10 * SECOND).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_down_at_start_is_waited_for() {
    let mut world = World::new();
    world.start(&["a"], "");
    world.pass(SECOND).await;
    let (status, body) = world.get("/ready").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("no node has given a template yet"), "{body}");
    assert!(body.contains("a: unreachable: "), "{body}");
    let error = world.client.fetch(None, Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, ClientError::NoTemplate { .. }), "{error}");
    assert_eq!(world.get("/health").await.0, StatusCode::OK);

    let node = FakeNode::new();
    node.set(|chain| chain.warming_up = true);
    let node = node.start(&world.env, "a").await;
    world.pass(6 * SECOND).await;
    let (_, body) = world.get("/ready").await;
    assert!(body.contains("a: warming up: Loading block index"), "{body}");

    node.set(|chain| chain.warming_up = false);
    world.pass(6 * SECOND).await;
    assert_eq!(world.get("/ready").await.0, StatusCode::OK);
    assert_eq!(tip(&current(&world).await), hash(1));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_goes_away_makes_the_template_stale() {
    let mut world = World::new();
    let node = FakeNode::new().start(&world.env, "a").await;
    world.start(&["a"], "poll_interval_ms = 500\nrpc_timeout_ms = 1000");
    world.pass(SECOND).await;
    assert_eq!(world.get("/ready").await.0, StatusCode::OK);
    node.stop();
    world.pass(10 * SECOND).await;
    let (status, body) = world.get("/ready").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("no node has confirmed the template for "), "{body}");
    // Nobody is given work that no node vouches for, waiting or not.
    for path in ["/template", &format!("/template?after={START_MS}&wait_ms=30000")] {
        let started = Instant::now();
        let (status, body) = world.get(path).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(started.elapsed(), Duration::ZERO, "{path}");
        let body: Value = serde_json::from_str(&body).unwrap();
        let error = body["error"].as_str().unwrap();
        assert!(error.contains("no node has confirmed the template for 10 s"), "{error}");
        assert!(error.contains("a: unreachable: "), "{error}");
        assert_eq!(
            (body["age_ms"].as_u64(), &body["confirmed_at_ms"]),
            (Some(10_000), &START_MS.into())
        );
    }
    let _node = node.start(&world.env, "a").await;
    world.pass(6 * SECOND).await;
    let fetched = world.client.fetch(None, Duration::ZERO).await.unwrap();
    assert_eq!(fetched.template.unwrap().template_id, TemplateId(START_MS));
    assert!(fetched.confirmed_ago.is_some_and(|ago| ago <= SECOND), "{:?}", fetched.confirmed_ago);
}

#[tokio::test(start_paused = true)]
async fn a_client_learns_how_long_ago_the_template_was_confirmed() {
    let mut world = World::new();
    let node = FakeNode::new().start(&world.env, "a").await;
    world.start(&["a"], "poll_interval_ms = 4000\nrpc_timeout_ms = 1000");
    world.pass(SECOND).await;
    let first = current(&world).await;
    // Confirmed at 0 s, 4 s, 8 s, and gone from then on.
    world.pass(7 * SECOND + Duration::from_millis(1)).await;
    node.stop();
    let fetched = world.client.fetch(Some(first.template_id), 3 * SECOND).await.unwrap();
    assert_eq!(fetched.template, None);
    assert_eq!(fetched.confirmed_ago.map(|ago| ago.as_secs()), Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_notified_tip_is_there_at_once() {
    let mut world = World::new();
    let node = FakeNode::new();
    node.set(|chain| chain.long_poll = false);
    let node = node.start(&world.env, "a").await;
    world.start(&["a"], "poll_interval_ms = 60000");
    world.pass(SECOND).await;
    let first = current(&world).await;
    node.mine(2);
    assert_eq!(next(&world, &first, SECOND).await, None, "nobody told of it");
    let (status, _) = world.send("POST", "/notify?hash=00", "", "").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let second = next(&world, &first, Duration::from_millis(10)).await.expect("the tip moved");
    assert_eq!(tip(&second), hash(2));

    // However often it is called, the answer comes.
    node.set(|chain| chain.template_delay = SECOND);
    node.mine(3);
    for _ in 0..20 {
        world.send("POST", "/notify", "", "").await;
        world.pass(Duration::from_millis(100)).await;
    }
    assert_eq!(tip(&current(&world).await), hash(3));
}

#[tokio::test(start_paused = true)]
async fn settings_change_while_it_runs_for_whoever_has_the_key() {
    let mut world = World::new();
    let node = FakeNode::new().start(&world.env, "a").await;
    world.start(&["a"], "poll_interval_ms = 60000\nhttp_api_key = \"open sesame\"");
    world.pass(SECOND).await;
    let change = r#"{"poll_interval_ms":200}"#;
    let put = |key: &'static str, body: &'static str| world.send("PUT", "/settings", key, body);
    assert_eq!(put("", change).await.0, StatusCode::UNAUTHORIZED);
    for (body, text) in [
        (r#"{"poll_interval_ms":1}"#, "poll_interval_ms: must be from 50 to 60000"),
        (r#"{"payout_script":"51"}"#, "unknown field `payout_script`"),
    ] {
        let (status, answer) = put("open sesame", body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(answer.contains(text), "{answer}");
    }
    let (status, answer) = put("open sesame", change).await;
    assert_eq!(status, StatusCode::OK);
    assert!(answer.contains(r#""poll_interval_ms":{"from":"api","value":"200"}"#), "{answer}");
    node.set(|chain| chain.fees = 9);
    world.pass(SECOND).await;
    let (_, template) = world.get_with_key("/template", "open sesame").await;
    assert!(template.contains("5000000009"), "{template}");
}

#[tokio::test(start_paused = true)]
async fn without_a_key_no_setting_changes() {
    let mut world = World::new();
    let _node = FakeNode::new().start(&world.env, "a").await;
    world.start(&["a"], "");
    world.pass(SECOND).await;
    let (status, body) = world.send("PUT", "/settings", "", r#"{"poll_interval_ms":200}"#).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
}

#[tokio::test(start_paused = true)]
async fn the_freshest_tip_of_several_nodes_wins() {
    let mut world = World::new();
    let a = FakeNode::new().start(&world.env, "a").await;
    let b = FakeNode::new();
    b.set(|chain| chain.tip = 9);
    world.start(&["a", "b"], "poll_interval_ms = 500");
    world.pass(SECOND).await;
    let b = b.start(&world.env, "b").await;
    world.pass(6 * SECOND).await;
    // Equal height: the tip first seen.
    assert_eq!(tip(&current(&world).await), hash(1));
    // The greater height, whoever has it.
    b.mine(10);
    world.pass(SECOND).await;
    assert_eq!(tip(&current(&world).await), hash(10));
    // The other node follows to the same tip: its source stays, its lag is measured.
    a.set(|chain| (chain.tip, chain.height) = (10, 102));
    world.pass(SECOND).await;
    assert_eq!(current(&world).await.source, "b");
    let (_, metrics) = world.get("/metrics").await;
    assert!(metrics.contains("template_manager_node_tip_lag_seconds_count{node=\"a\"} 1"));
    assert!(metrics.contains("template_manager_node_blocks_behind{node=\"a\"} 0"));
    // The one with the template goes away: the other takes over.
    b.stop();
    a.set(|chain| chain.fees = 5);
    world.pass(20 * SECOND).await;
    assert_eq!(current(&world).await.source, "a");
}

#[tokio::test(start_paused = true)]
async fn a_node_of_another_network_is_refused() {
    let mut world = World::new();
    let _a = FakeNode::new().start(&world.env, "a").await;
    let b = FakeNode::new();
    b.set(|chain| (chain.network, chain.height) = ("main", 900_000));
    world.start(&["a", "b"], "");
    world.pass(SECOND).await;
    let _b = b.start(&world.env, "b").await;
    world.pass(6 * SECOND).await;
    assert_eq!(current(&world).await.source, "a");
    let (_, body) = world.get("/ready").await;
    assert!(body.contains("is on main, but the other nodes are on regtest"), "{body}");
}

fn submission() -> BlockSubmission {
    BlockSubmission { block: "00".repeat(200), hash: hash(3), height: 101 }
}

#[tokio::test(start_paused = true)]
async fn a_block_goes_to_every_node() {
    let mut world = World::new();
    let a = FakeNode::new().start(&world.env, "a").await;
    let b = FakeNode::new();
    b.set(|chain| chain.submit = "inconclusive".into());
    let b = b.start(&world.env, "b").await;
    world.start(&["a", "b", "c"], "");
    world.pass(SECOND).await;
    let answer = world.client.submit_block(&submission()).await.unwrap();
    assert!(answer.accepted);
    assert_eq!(answer.results[0].result, None);
    assert_eq!(answer.results[0].error, None);
    assert_eq!(answer.results[1].result.as_deref(), Some("inconclusive"));
    assert!(answer.results[2].error.as_ref().unwrap().starts_with("unreachable: "));
    assert_eq!(a.submitted(), [submission().block]);
    assert_eq!(b.submitted(), [submission().block]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_block_is_told_in_the_nodes_words() {
    let mut world = World::new();
    let node = FakeNode::new();
    node.set(|chain| chain.submit = "high-hash".into());
    let _node = node.start(&world.env, "a").await;
    world.start(&["a"], "");
    world.pass(SECOND).await;
    let answer = world.client.submit_block(&submission()).await.unwrap();
    assert!(!answer.accepted);
    assert_eq!(answer.results[0].result.as_deref(), Some("high-hash"));
    let no_block = BlockSubmission { block: "zz".repeat(100), ..submission() };
    let error = world.client.submit_block(&no_block).await.unwrap_err();
    assert!(matches!(error, ClientError::Status { status: 400, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_will_not_change_is_told_from_one_that_may() {
    let mut world = World::new();
    let node = FakeNode::new();
    node.set(|chain| chain.submit_error = Some((-22, "Block decode failed")));
    let _node = node.start(&world.env, "a").await;
    world.start(&["a", "b"], "");
    world.pass(SECOND).await;
    let answer = world.client.submit_block(&submission()).await.unwrap();
    assert!(!answer.accepted);
    assert_eq!(answer.results[0].error.as_deref(), Some("error -22: Block decode failed"));
    assert_eq!([answer.results[0].is_final, answer.results[1].is_final], [true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_new_cookie_is_read_after_the_node_restarts() {
    let mut world = World::new();
    let directory = tempfile::tempdir().unwrap();
    let cookie = directory.path().join(".cookie");
    let node = FakeNode::new();
    std::fs::write(&cookie, "__cookie__:one").unwrap();
    node.set(|chain| chain.authorization = "Basic X19jb29raWVfXzpvbmU=".to_owned());
    let node = node.start(&world.env, "a").await;
    world.start_with(&format!(
        "poll_interval_ms = 500\n[[nodes]]\nname = \"a\"\nurl = \"http://a:1\"\ncookie_file = {cookie:?}\n"
    ));
    world.pass(SECOND).await;
    let first = current(&world).await;
    std::fs::write(&cookie, "__cookie__:two").unwrap();
    node.set(|chain| {
        chain.authorization = "Basic X19jb29raWVfXzp0d28=".to_owned();
        chain.fees = 1;
    });
    assert!(next(&world, &first, SECOND).await.is_some());
    // A wrong cookie is told without its text.
    node.set(|chain| chain.authorization = "Basic other".to_owned());
    world.pass(10 * SECOND).await;
    let (_, body) = world.get("/ready").await;
    assert!(body.contains("a: HTTP 401: user, password or cookie refused"), "{body}");
    assert!(!body.contains("__cookie__"), "{body}");
}

#[tokio::test(start_paused = true)]
async fn shutdown_answers_the_waiting_and_leaves_no_task() {
    let mut world = World::new();
    let _node = FakeNode::new().start(&world.env, "a").await;
    world.start(&["a"], "");
    world.pass(SECOND).await;
    let first = current(&world).await;
    let shutdown = world.shutdown.clone();
    let (waited, ()) =
        tokio::join!(world.client.fetch(Some(first.template_id), 30 * SECOND), async {
            tokio::time::sleep(SECOND).await;
            shutdown.cancel();
        });
    assert!(waited.unwrap_err().to_string().contains("shutting down"));
    let outcome = world.daemon.take().unwrap().await;
    assert!(matches!(outcome, Some(Ok(()))));
    assert_eq!(world.daemon_tasks.live(), 0);
    assert!(world.net_is_free().await);
}

#[tokio::test(start_paused = true)]
async fn an_address_in_use_is_named() {
    let mut world = World::new();
    let _taken = world.env.net.listen(DAEMON).await.unwrap();
    world.start(&["a"], "");
    let error = world.daemon.take().unwrap().await.unwrap().unwrap_err().to_string();
    assert!(error.starts_with("cannot listen on 127.0.0.1:8082: "), "{error}");
}

#[tokio::test(start_paused = true)]
async fn with_a_key_only_the_probes_are_open() {
    let mut world = World::new();
    let _node = FakeNode::new().start(&world.env, "a").await;
    world.start(&["a"], "http_api_key = \"open sesame\"");
    world.pass(SECOND).await;
    for path in ["/template", "/mempool?txids=true", "/settings"] {
        assert_eq!(world.get(path).await.0, StatusCode::UNAUTHORIZED, "{path}");
        let (status, body) = world.get_with_key(path, "open sesame").await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        assert!(!body.contains("sesame") && !body.contains("hunter2"), "{path}: {body}");
    }
    for path in ["/health", "/ready", "/metrics"] {
        assert_eq!(world.get(path).await.0, StatusCode::OK, "{path}");
    }
    assert_eq!(world.get("/nothing").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn every_documented_endpoint_is_served_with_the_documented_guard() {
    let mut world = World::new();
    let _node = FakeNode::new().start(&world.env, "a").await;
    world.start(&["a"], "http_api_key = \"open sesame\"");
    world.pass(SECOND).await;
    let (_, document) = world.get("/openapi.json").await;
    let document: Value = serde_json::from_str(&document).unwrap();
    let mut count = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let method = method.to_uppercase();
            let (status, _) = world.send(&method, path, "open sesame", "").await;
            let served = ![StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED].contains(&status);
            assert!(served, "{method} {path}: {status}");
            let (status, _) = world.send(&method, path, "wrong", "").await;
            let guarded = status == StatusCode::UNAUTHORIZED;
            assert_eq!(guarded, !operation["security"].is_null(), "{method} {path}");
            count += 1;
        }
    }
    assert_eq!(count, 10);
}

#[tokio::test(start_paused = true)]
async fn whoever_trusts_its_certificate_is_served_over_https() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    let make_pair = || {
        let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(place("cert"), pair.cert.pem()).unwrap();
        std::fs::write(place("key"), pair.signing_key.serialize_pem()).unwrap();
        pair.cert.pem()
    };
    let first = make_pair();
    let mut world = World::new();
    let _node = FakeNode::new().start(&world.env, "a").await;
    let files =
        format!("http_tls_cert_file = {:?}\nhttp_tls_key_file = {:?}", place("cert"), place("key"));
    world.start(&["a"], &files);
    world.pass(SECOND).await;
    let is_served = async |http: HttpClient| {
        let cpu = Arc::clone(&world.env.cpu);
        let client = TemplateClient::new(http, cpu, &format!("https://{DAEMON}"), None, SECOND);
        client.fetch(None, Duration::ZERO).await.is_ok()
    };
    let client =
        |pem: &str| HttpClient::trusting(&world.env, Trust::public_and(pem.as_bytes()).unwrap());
    assert!(is_served(client(&first)).await);
    assert!(!is_served(HttpClient::new(&world.env)).await);
    assert!(world.client.fetch(None, Duration::ZERO).await.is_err(), "in plaintext");

    let second = make_pair();
    std::fs::write(place("cert"), "none").unwrap();
    world.reload.request();
    world.pass(SECOND).await;
    assert!(is_served(client(&first)).await, "a file that cannot be used changes nothing");
    std::fs::write(place("cert"), &second).unwrap();
    world.reload.request();
    world.pass(SECOND).await;
    assert!(is_served(client(&second)).await);
    assert!(!is_served(client(&first)).await);
}
