//! What operators meet over HTTP.

use crate::world::{Template, World};

const LOCAL: &str = "127.0.0.1:8081";
const PUBLIC: &str = "10.0.0.1:8081";

#[tokio::test(start_paused = true)]
async fn a_verifier_without_a_policy_rejects_and_is_not_ready() {
    let world = World::with_policy("[policy]\nmax_tx_cuont = 1\n").await;
    let (status, body) = world.get("/ready").await;
    assert_eq!(status, 503);
    assert!(body.contains("did you mean"), "{body}");
    assert_eq!(world.get("/health").await.0, 200);
    let mut gateway = world.gateway().await;
    let verdict = gateway.judge(&Template::new(1, 1)).await;
    assert_eq!(verdict.reason_code.as_str(), "policy_load_error");

    world.write_policy("[policy]\nmin_avg_fee_hi = 1\n");
    world.reload.request();
    tokio::task::yield_now().await;
    assert_eq!(world.get("/ready").await.0, 200);
    assert!(gateway.judge(&Template::new(2, 1)).await.accepted);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_bad_policy_leaves_the_old_one_and_says_why() {
    let world = World::start().await;
    let before = world.get("/api/v1/policy").await;
    let put = "PUT /api/v1/policy";
    let (status, body) = world.http(LOCAL, put, "", "[policy]\nmax_tx_count = -1\n").await;
    assert_eq!(status, 422);
    assert!(body.contains("policy.max_tx_count: -1 is out of range"), "{body}");
    assert_eq!(world.get("/api/v1/policy").await, before);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_policy_judges_at_once_and_marks_its_verdicts() {
    let world = World::start().await;
    let mut gateway = world.gateway().await;
    gateway.propose(&Template::new(1, 1)).await;
    let before = gateway.verdict().await;
    assert!(before.verdict.accepted);

    let policy = "[policy]\nmin_avg_fee_hi = 1001\n";
    assert_eq!(world.http(LOCAL, "PUT /api/v1/policy", "", policy).await.0, 200);
    gateway.propose(&Template::new(2, 1)).await;
    let after = gateway.verdict().await;
    let detail = after.verdict.reason_detail.as_deref();
    assert_eq!(detail, Some("avg_fee=1000 < min_avg_fee_used=1001"));
    assert_ne!(before.policy_hash, after.policy_hash);
    let written = world.env.storage.read(&world.policy_file).unwrap();
    assert_eq!(written, policy.as_bytes(), "it survives a restart");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn verdicts_are_paged_newest_first() {
    let world = World::start().await;
    let mut gateway = world.gateway().await;
    for id in 1..=3 {
        gateway.judge(&Template::new(id, 1)).await;
    }
    let page = |body: &str| -> serde_json::Value { serde_json::from_str(body).unwrap() };
    let (_, body) = world.get("/api/v1/verdicts?limit=2").await;
    let first = page(&body);
    assert_eq!(first["verdicts"][0]["proposal_id"], 3);
    assert_eq!(first["verdicts"][0]["reason_code"], "ok");
    assert_eq!(first["next_before"], 2);
    let (_, body) = world.get("/api/v1/verdicts?limit=2&before=2").await;
    let second = page(&body);
    assert_eq!(second["verdicts"][0]["proposal_id"], 1);
    assert!(second["next_before"].is_null());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn verdicts_and_skipped_checks_are_counted() {
    let world = World::start().await;
    world.gateway().await.judge(&Template::new(1, 1)).await;
    let (status, metrics) = world.get("/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "verifier_verdicts_total{reason_code=\"ok\"} 1\n",
        "verifier_checks_skipped_total{check=\"mempool\",cause=\"not_asked\"} 1\n",
        "verifier_checks_skipped_total{check=\"node\",cause=\"not_asked\"} 1\n",
        "verifier_judgement_seconds_count 1\n",
        "verifier_waiting_proposals 0\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    assert!(!metrics.contains("check=\"policy\""));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn off_loopback_everything_but_the_probes_needs_the_key() {
    let world = World::with_config("", |config| {
        config.http_addr = PUBLIC.to_owned();
        config.http_api_key = Some("secret".into());
    })
    .await;
    let key = "X-API-Key: secret\r\n";
    assert_eq!(world.http(PUBLIC, "GET /health", "", "").await.0, 200);
    assert_eq!(world.http(PUBLIC, "GET /status", "", "").await.0, 401);
    assert_eq!(world.http(PUBLIC, "GET /status", "X-API-Key: secre\r\n", "").await.0, 401);
    assert_eq!(world.http(PUBLIC, "GET /status", key, "").await.0, 200);
    let reload = "POST /api/v1/policy/reload";
    assert_eq!(world.http(PUBLIC, reload, "", "").await.0, 401);
    assert_eq!(world.http(PUBLIC, reload, key, "").await.0, 200);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_key_nothing_is_changed_off_loopback() {
    let world = World::with_config("", |config| config.http_addr = PUBLIC.to_owned()).await;
    assert_eq!(world.http(PUBLIC, "GET /status", "", "").await.0, 200);
    assert_eq!(world.http(PUBLIC, "PUT /api/v1/policy", "", "").await.0, 403);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_web_page_cannot_change_the_policy() {
    let world = World::start().await;
    let page = "Origin: http://evil.example\r\n";
    let before = world.get("/api/v1/policy").await;
    for request in ["POST /api/v1/policy", "PUT /api/v1/policy", "POST /api/v1/policy/reload"] {
        let (status, body) = world.http(LOCAL, request, page, "[policy]\nmax_tx_count = 9\n").await;
        assert!(status == 403 && body.contains("not from a web page"), "{request}: {body}");
    }
    assert_eq!(world.get("/api/v1/policy").await, before);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_configured_key_is_asked_for_on_loopback_too() {
    let world = World::with_config("", |config| config.http_api_key = Some("secret".into())).await;
    let policy = "[policy]\nmax_tx_count = 9\n";
    let put = "PUT /api/v1/policy";
    assert_eq!(world.http(LOCAL, put, "", policy).await.0, 401);
    assert_eq!(world.http(LOCAL, put, "X-API-Key: secret\r\n", policy).await.0, 200);
    assert_eq!(world.get("/status").await.0, 401);
    assert_eq!(world.get("/ready").await.0, 200);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn whom_coinbases_must_pay_changes_with_a_key_only() {
    let payout = "[policy.consensus]\npayout_scripts = [\"51\"]\n";
    let put = "PUT /api/v1/policy";
    let keyless = World::with_config("", |_| ()).await;
    let (status, body) = keyless.http(LOCAL, put, "", payout).await;
    assert_eq!(status, 403, "{body}");
    assert_eq!(keyless.http(LOCAL, put, "X-API-Key: wrong\r\n", payout).await.0, 403);
    assert_eq!(keyless.http(LOCAL, put, "", "[policy]\nmax_tx_count = 9\n").await.0, 200);
    // The other way round: no payout check any more.
    keyless.write_policy(payout);
    keyless.reload.request();
    tokio::task::yield_now().await;
    assert_eq!(keyless.http(LOCAL, put, "", "").await.0, 403);
    keyless.stop().await;

    let world = World::with_config("", |config| config.http_api_key = Some("secret".into())).await;
    let key = "X-API-Key: secret\r\n";
    assert_eq!(world.http(LOCAL, put, key, payout).await.0, 200);
    assert_eq!(world.http(LOCAL, put, key, "").await.0, 200);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_policy_is_replaced_with_a_key_only() {
    let broken = "[policy]\nmax_tx_cuont = 1\n[policy.consensus]\npayout_scripts = [\"51\"]\n";
    let world =
        World::with_config(broken, |config| config.http_api_key = Some("secret".into())).await;
    let keyless = World::with_policy(broken).await;
    let put = "PUT /api/v1/policy";
    assert_eq!(keyless.http(LOCAL, put, "", "").await.0, 403);
    let (status, body) = keyless.http(LOCAL, put, "", "[polcy]").await;
    assert!(status == 422 && body.contains("did you mean"), "{body}");
    assert_eq!(world.http(LOCAL, put, "X-API-Key: secret\r\n", "").await.0, 200);
    world.stop().await;
    keyless.stop().await;
}

#[tokio::test(start_paused = true)]
async fn every_documented_endpoint_is_served_with_the_documented_guard() {
    let world = World::with_config("", |config| {
        config.http_addr = PUBLIC.to_owned();
        config.http_api_key = Some("secret".into());
    })
    .await;
    let (_, document) = world.http(PUBLIC, "GET /openapi.json", "", "").await;
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let mut count = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let request = format!("{} {path}", method.to_uppercase());
            let (status, body) = world.http(PUBLIC, &request, "X-API-Key: secret\r\n", "").await;
            // Of two 404s one says that the template is not kept.
            assert!(status != 405 && (status != 404 || !body.is_empty()), "{request}: {status}");
            let (status, _) = world.http(PUBLIC, &request, "", "").await;
            assert_eq!(status == 401, !operation["security"].is_null(), "{request}: {status}");
            count += 1;
        }
    }
    assert_eq!(count, 14);
    world.stop().await;
}
