//! One seed, one run: the same bytes at the same times.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use platform::http_client::HttpClient;
use platform::{Env, serve};
use sim::net::{Latency, LinkConfig};
use sim::world::{self, World, below};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

type Trace = Arc<Mutex<Vec<String>>>;

fn note(trace: &Trace, world: &World, what: &str) {
    trace.lock().unwrap().push(format!("{:?} {what}", world.elapsed()));
}

/// A pool that answers with what it got and something random.
fn pool(world: &World, trace: &Trace, env: Env) -> Router {
    Router::new()
        .route(
            "/share",
            post(async |State((world, trace, env)): State<(World, Trace, Env)>, body: String| {
                note(&trace, &world, &format!("pool got {body}"));
                tokio::time::sleep(Duration::from_millis(env.rng.next_u64() % 20)).await;
                format!("{body}:{}", env.rng.next_u64())
            }),
        )
        .with_state((world.clone(), Arc::clone(trace), env))
}

/// A verifier that answers each line.
async fn answer_lines(env: Env) {
    let mut listener = env.net.listen("0.0.0.0:5001").await.unwrap();
    loop {
        let stream = listener.accept().await.unwrap();
        drop(env.tasks.clone().spawn("lines", async move {
            let mut write = stream.write;
            let mut lines = BufReader::new(stream.read).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if write.write_all(format!("{line} ok\n").as_bytes()).await.is_err() {
                    break;
                }
            }
        }));
    }
}

async fn talk_lines(world: World, trace: Trace, env: Env) {
    let mut random = world.stream(&format!("lines/{:?}", env.rng.next_u64()));
    let stream = env.net.connect("verifier:5001").await.unwrap();
    let mut write = stream.write;
    let mut lines = BufReader::new(stream.read).lines();
    for number in 0..50 {
        let line = format!("{} {number} {}\n", stream.local, "x".repeat(below(&mut random, 3000)));
        write.write_all(line.as_bytes()).await.unwrap();
        let answer = lines.next_line().await.unwrap().unwrap();
        note(&trace, &world, &answer);
    }
}

async fn post_shares(world: World, trace: Trace, client: HttpClient) {
    for number in 0..30 {
        let request = Request::post("http://pool:8080/share")
            .body(Full::new(Bytes::from(format!("share {number}"))))
            .unwrap();
        match client.send(request, Duration::from_millis(150), 1000).await {
            Ok(answer) => note(&trace, &world, &format!("{} {:?}", answer.status(), answer.body())),
            Err(error) => note(&trace, &world, &error.to_string()),
        }
    }
}

/// The trace of a chatty world, and the digest of its traffic.
fn chat(seed: u64) -> (Vec<String>, String) {
    world::run(seed, async |world: World| {
        let trace = Trace::default();
        world
            .net()
            .configure(
                "*",
                LinkConfig {
                    latency: Latency::Uniform {
                        min: Duration::ZERO,
                        max: Duration::from_millis(30),
                    },
                    chunk: Some((1, 1460)),
                    ..LinkConfig::default()
                },
            )
            .unwrap();
        let env = world.host("pool").env();
        let listener = env.net.listen("0.0.0.0:8080").await.unwrap();
        let router = pool(&world, &trace, env.clone());
        drop(env.tasks.spawn("pool", serve::serve(listener, router, env.tasks.clone())));
        let env = world.host("verifier").env();
        drop(env.tasks.clone().spawn("verifier", answer_lines(env)));
        let mut programs = Vec::new();
        for number in 0..4 {
            let env = world.host(&format!("gateway-{number}")).env();
            let client = HttpClient::new(&env);
            for _ in 0..3 {
                let talk = post_shares(world.clone(), Arc::clone(&trace), client.clone());
                programs.push(env.tasks.spawn("shares", talk));
            }
            let talk = talk_lines(world.clone(), Arc::clone(&trace), env.clone());
            programs.push(env.tasks.spawn("lines", talk));
        }
        world.sleep(Duration::from_millis(500)).await;
        world.net().cut("gateway-1<->pool", Some(Duration::from_secs(1))).unwrap();
        world.net().reset("gateway-2<->pool").unwrap();
        for program in programs {
            program.await.expect("it neither panics nor is aborted");
        }
        let lines = trace.lock().unwrap().clone();
        (lines, world.net().traffic_digest())
    })
}

#[test]
fn a_seed_gives_the_same_trace_twice_and_another_seed_another() {
    let (first, digest) = chat(77);
    assert!(first.len() > 500, "{}", first.len());
    assert!(first.iter().any(|line| line.contains("no answer within 150 ms")));
    assert!(first.iter().any(|line| line.contains("200 OK")));
    assert_eq!(chat(77), (first.clone(), digest.clone()));
    let (other, other_digest) = chat(78);
    assert_ne!(other, first);
    assert_ne!(other_digest, digest);
}

#[test]
fn worlds_that_run_at_once_do_not_touch_each_other() {
    let alone = chat(5);
    let threads: Vec<_> = (0..3).map(|_| std::thread::spawn(|| chat(5))).collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), alone);
    }
}

/// Fifty miners and a gateway that exchange a line each 100 ms, for ten virtual minutes.
#[test]
fn fifty_connections_pass_ten_minutes_without_a_task_or_socket_left() {
    world::run(1, async |world: World| {
        world
            .net()
            .set_latency(
                "*",
                Latency::Uniform { min: Duration::from_micros(300), max: Duration::from_millis(8) },
            )
            .unwrap();
        let verifier = world.host("verifier");
        drop(verifier.env().tasks.spawn("verifier", answer_lines(verifier.env())));
        let mut miners = Vec::new();
        for number in 0..50 {
            let env = world.host(&format!("miner-{number}")).env();
            miners.push(env.tasks.clone().spawn("miner", async move {
                let stream = env.net.connect("verifier:5001").await.unwrap();
                let mut write = stream.write;
                let mut lines = BufReader::new(stream.read).lines();
                for _ in 0..6000 {
                    write.write_all(b"share\n").await.unwrap();
                    assert_eq!(lines.next_line().await.unwrap().unwrap(), "share ok");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }));
        }
        for miner in miners {
            miner.await.expect("it neither panics nor is aborted");
        }
        assert!(world.elapsed() > Duration::from_secs(600));
        world.sleep(Duration::from_secs(1)).await;
        assert_eq!((verifier.live_tasks(), verifier.open_sockets()), (1, 1));
        assert_eq!(world.host("miner-7").open_sockets(), 0);
    });
}
