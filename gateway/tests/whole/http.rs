//! What the gateway serves over HTTP.

use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use crate::miner::Miner;
use crate::world::World;

/// Whether the value is what the schema of the OpenAPI document says.
fn fits(value: &Value, schema: &Value, document: &Value) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return fits(value, document.pointer(&reference[1..]).unwrap(), document);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let fitting = choices.iter().any(|choice| fits(value, choice, document).is_ok());
        return fitting.then_some(()).ok_or_else(|| format!("{value} fits nothing of {schema}"));
    }
    let is_right = match schema["type"].as_str().unwrap() {
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "array" => {
            let items = value.as_array().ok_or_else(|| format!("{value} is no array"))?;
            items.iter().try_for_each(|item| fits(item, &schema["items"], document))?;
            true
        }
        "object" => value.is_object(),
        other => panic!("unknown type {other}"),
    };
    let Some(properties) = schema["properties"].as_object() else {
        return is_right.then_some(()).ok_or_else(|| format!("{value} is no {schema}"));
    };
    let fields = value.as_object().ok_or_else(|| format!("{value} is no object"))?;
    for (name, field) in fields {
        let schema = properties.get(name).ok_or_else(|| format!("{name} is not documented"))?;
        fits(field, schema, document).map_err(|problem| format!("{name}: {problem}"))?;
    }
    let missing = properties.keys().find(|name| !fields.contains_key(*name));
    missing.map_or(Ok(()), |name| Err(format!("{name} is missing")))
}

#[tokio::test]
async fn every_answer_is_as_the_openapi_document_says() {
    let world = World::new().await;
    let gateway = world.start_gateway_with(&[]);
    let mut miner = Miner::connect(&world).await;
    miner.open_channel("alice").await;
    miner.submit_block().await;
    miner.expect_accepted().await;
    world.events_until("share_forward_result", 1).await;

    let document: Value = serde_json::from_str(&world.get("/openapi.json").await.1).unwrap();
    let mut checked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let schema = &methods["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        if schema.is_null() {
            continue;
        }
        let (status, body) = world.get(path).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, fits(&body, schema, &document)), (200, Ok(())), "{path}: {body}");
        checked += 1;
    }
    assert_eq!(checked, 9);
    let status: Value = serde_json::from_str(&world.get("/api/v1/status").await.1).unwrap();
    assert_eq!(status["submissions"].to_string(), r#"{"success":1}"#);
    assert_eq!(status["last_switch"]["outcome"], "switched");
    assert_eq!(status["template"]["height"], 102);
    assert_eq!(gateway.stop().await, Ok(()));
}

#[tokio::test]
async fn a_bad_request_is_told_what_is_wrong() {
    let world = World::new().await;
    let gateway = world.start_gateway_with(&[]);
    world.until_healthy().await;
    let bad = [
        ("/nope", 404, "/nope is not served; see /openapi.json"),
        ("/api/v1/reload", 405, "/api/v1/reload does not take GET; see /openapi.json"),
        ("/api/v1/channels?limit=0", 400, "limit=0 is not from 1 to 1000"),
        ("/api/v1/channels?after=x", 400, "after=\"x\" is no `next` of a page before"),
        ("/api/v1/channels?lmit=3", 400, "unknown field `lmit`, expected `after` or `limit`"),
        ("/gateway/events?since=abc", 400, "since: invalid digit found in string"),
        ("/api/v1/shares.csv?from_ms=-1", 400, "from_ms: invalid digit found in string"),
    ];
    for (path, status, problem) in bad {
        let answer = world.get(path).await;
        let body: Value = serde_json::from_str(&answer.1).unwrap_or_else(|_| panic!("{answer:?}"));
        let told = body["error"].as_str().unwrap();
        assert!(answer.0 == status && told.contains(problem), "{path}: {answer:?}");
    }
    assert_eq!(gateway.stop().await, Ok(()));
}

#[tokio::test]
async fn channels_come_by_pages_and_shares_as_csv() {
    let world = World::new().await;
    let gateway = world.start_gateway_with(&[]);
    let mut miners = Vec::new();
    for worker in ["alice", "=cmd()"] {
        let mut miner = Miner::connect(&world).await;
        miner.open_channel(worker).await;
        miner.submit_block().await;
        miner.expect_accepted().await;
        miners.push(miner);
    }
    let events = world.events_until("share_forward_result", 2).await;
    let mut path = "/api/v1/channels?limit=1".to_owned();
    let mut workers = Vec::new();
    while let Some(page) = Some(world.get(&path).await.1) {
        let page: Value = serde_json::from_str(&page).unwrap();
        workers.extend(page["channels"].as_array().unwrap().iter().map(|c| c["worker_id"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/channels?limit=1&after={next}");
    }
    assert_eq!(workers, ["alice", "=cmd()"]);

    let (status, csv) = world.get("/api/v1/shares.csv").await;
    let rows: Vec<&str> = csv.lines().collect();
    assert_eq!((status, rows.len()), (200, 5), "{csv}");
    assert!(rows[0].starts_with("seq,event,timestamp_ms,share_id,event_id,worker_id"));
    assert!(csv.contains(",\"'=cmd()\","), "{csv}");
    let is_share = |event: &&Value| event["event"].as_str().unwrap().starts_with("share_");
    let seqs: Vec<u64> =
        events.iter().filter(is_share).map(|e| e["seq"].as_u64().unwrap()).collect();
    let range = format!("/api/v1/shares.csv?since={}&until={}", seqs[0], seqs[2]);
    let csv = world.get(&range).await.1;
    let told: Vec<String> =
        csv.lines().skip(1).map(|row| row.split(',').next().unwrap().to_owned()).collect();
    assert_eq!(told, [seqs[1].to_string(), seqs[2].to_string()]);
    assert_eq!(world.get("/api/v1/shares.csv?from_ms=9999999999999").await.1.lines().count(), 1);
    assert_eq!(gateway.stop().await, Ok(()));
}

/// The status line of an answer over TLS to whoever trusts this certificate.
async fn over_tls(world: &World, cert_pem: &str) -> Result<String, std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(cert_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = loop {
        match world.env.net.connect(&world.http_address).await {
            Ok(stream) => break stream,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

fn write_pair(world: &World) -> String {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    world.put("tls.cert", &pair.cert.pem());
    world.put("tls.key", &pair.signing_key.serialize_pem());
    pair.cert.pem()
}

#[tokio::test]
async fn https_is_served_and_its_certificate_rotated() {
    let world = World::new().await;
    let first = write_pair(&world);
    let (cert, key) = (world.path("tls.cert"), world.path("tls.key"));
    let gateway = world.start_gateway_with(&[
        ("GATEWAY__GATEWAY__HTTP_TLS_CERT_FILE", &cert),
        ("GATEWAY__GATEWAY__HTTP_TLS_KEY_FILE", &key),
    ]);
    assert_eq!(over_tls(&world, &first).await.unwrap(), "HTTP/1.1 200 OK");
    let second = write_pair(&world);
    gateway.control.reload.request();
    while over_tls(&world, &second).await.is_err() {}
    assert!(over_tls(&world, &first).await.is_err());
    assert_eq!(gateway.stop().await, Ok(()));
}

#[tokio::test]
async fn without_the_key_only_the_probes_answer() {
    let world = World::new().await;
    let gateway = world.start_gateway_with(&[("GATEWAY__GATEWAY__HTTP_API_KEY", "hunter2")]);
    world.until_healthy().await;
    assert_eq!(world.get("/metrics").await.0, 200);
    for path in ["/api/v1/status", "/gateway/events", "/openapi.json", "/api/v1/shares.csv"] {
        let (status, body) = world.get(path).await;
        assert_eq!((status, body.contains("X-API-Key")), (401, true), "{path}");
    }
    assert_eq!(gateway.stop().await, Ok(()));
}
