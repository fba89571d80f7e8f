//! What each fault of the network does to programs.

use std::io::ErrorKind;
use std::time::Duration;

use platform::{Listener, Stream};
use sim::net::{Latency, LinkError};
use sim::world::{self, Crash, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

async fn listen(world: &World) -> Box<dyn Listener> {
    world.host("verifier").env().net.listen("0.0.0.0:5001").await.unwrap()
}

async fn connect(world: &World) -> std::io::Result<Stream> {
    world.host("gateway").env().net.connect("verifier:5001").await
}

/// A connection from the gateway to the verifier, each way taking 5 ms.
async fn pair(world: &World) -> (Stream, Stream) {
    world.net().set_latency("*", Latency::Fixed(5 * MS)).unwrap();
    let mut listener = listen(world).await;
    let (near, far) = tokio::join!(connect(world), listener.accept());
    (near.unwrap(), far.unwrap())
}

async fn error_of(stream: &mut Stream) -> ErrorKind {
    stream.read_u8().await.unwrap_err().kind()
}

#[test]
fn latency_is_paid_by_the_handshake_and_each_way() {
    world::run(1, async |world: World| {
        let (mut near, mut far) = pair(&world).await;
        assert_eq!(world.elapsed(), 15 * MS, "SYN, SYN-ACK, ACK");
        near.write_u8(1).await.unwrap();
        far.read_u8().await.unwrap();
        assert_eq!(world.elapsed(), 20 * MS);
        far.write_u8(1).await.unwrap();
        near.read_u8().await.unwrap();
        assert_eq!(world.elapsed(), 25 * MS);
    });
}

#[test]
fn bandwidth_and_window_hold_a_sender_back() {
    world::run(1, async |world: World| {
        let (mut near, mut far) = pair(&world).await;
        world.net().set_bandwidth("gateway->verifier", Some(1_000_000)).unwrap();
        let start = world.elapsed();
        let sending = async {
            near.write_all(&vec![0; 2_000_000]).await.unwrap();
            drop(near);
        };
        let mut received = Vec::new();
        let ((), read) = tokio::join!(sending, far.read_to_end(&mut received));
        assert_eq!(read.unwrap(), 2_000_000);
        let took = (world.elapsed() - start).as_millis();
        assert!((2000..2100).contains(&took), "{took} ms");
    });
}

#[test]
fn a_cut_keeps_bytes_and_delivers_them_when_it_ends() {
    world::run(1, async |world: World| {
        let (mut near, mut far) = pair(&world).await;
        near.write_all(b"under way").await.unwrap();
        world.net().cut("gateway->verifier", Some(7 * SECOND)).unwrap();
        let cut_at = world.elapsed();
        near.write_all(b" and later").await.unwrap();
        // The other direction works.
        far.write_u8(1).await.unwrap();
        near.read_u8().await.unwrap();
        let mut received = [0; 19];
        far.read_exact(&mut received).await.unwrap();
        assert_eq!(&received, b"under way and later");
        assert_eq!(world.elapsed() - cut_at, 7 * SECOND + 5 * MS);
    });
}

#[test]
fn healing_ends_a_cut_early_and_wakes_who_waits() {
    world::run(1, async |world: World| {
        let (mut near, mut far) = pair(&world).await;
        world.net().cut("gateway<->verifier", None).unwrap();
        near.write_u8(7).await.unwrap();
        let env = world.host("verifier").env();
        let reader = env.tasks.spawn("reader", async move { far.read_u8().await });
        world.sleep(SECOND).await;
        world.net().heal("gateway<->verifier").unwrap();
        let healed_at = world.elapsed();
        assert_eq!(reader.await.unwrap().unwrap(), 7);
        assert_eq!(world.elapsed() - healed_at, 5 * MS);
    });
}

#[test]
fn a_sender_gives_up_on_a_cut_that_does_not_end() {
    world::run(1, async |world: World| {
        let (mut near, mut far) = pair(&world).await;
        world.net().cut("gateway<->verifier", None).unwrap();
        near.write_u8(1).await.unwrap();
        let sent_at = world.elapsed();
        assert_eq!(error_of(&mut near).await, ErrorKind::TimedOut);
        assert_eq!(world.elapsed() - sent_at, Duration::from_secs(924));
        drop(near);
        world.net().heal("*").unwrap();
        // The other end hears of it only when it sends.
        far.read_u8().await.unwrap();
        far.write_u8(1).await.unwrap();
        assert_eq!(error_of(&mut far).await, ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_stall_delays_without_ever_timing_out() {
    world::run(1, async |world: World| {
        let (mut near, mut far) = pair(&world).await;
        world.net().stall("gateway->verifier", Some(2000 * SECOND)).unwrap();
        near.write_u8(1).await.unwrap();
        far.read_u8().await.unwrap();
        assert!(world.elapsed() > 2000 * SECOND);
        near.write_u8(1).await.unwrap();
    });
}

#[test]
fn a_reset_and_a_finish_end_the_connections_of_a_link() {
    world::run(1, async |world: World| {
        let (mut near, mut far) = pair(&world).await;
        assert_eq!(world.net().reset("gateway<->verifier"), Ok(1));
        assert_eq!(error_of(&mut near).await, ErrorKind::ConnectionReset);
        assert_eq!(far.write_u8(1).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        drop((near, far));
        let (mut near, mut far) = pair(&world).await;
        assert_eq!(world.net().finish("verifier->gateway"), Ok(1));
        assert_eq!(near.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
    });
}

#[test]
fn a_half_open_connection_is_found_out_by_sending() {
    world::run(1, async |world: World| {
        let (mut near, mut far) = pair(&world).await;
        assert_eq!(world.net().half_open("gateway->verifier"), Ok(1));
        assert_eq!(error_of(&mut far).await, ErrorKind::ConnectionAborted);
        let silence = tokio::time::timeout(100 * SECOND, near.read_u8()).await;
        assert!(silence.is_err(), "nothing tells it");
        near.write_u8(1).await.unwrap();
        let sent_at = world.elapsed();
        assert_eq!(error_of(&mut near).await, ErrorKind::ConnectionReset);
        assert_eq!(world.elapsed() - sent_at, 10 * MS);
    });
}

#[test]
fn connects_are_refused_ignored_or_repeated() {
    world::run(1, async |world: World| {
        let _listener = listen(&world).await;
        world.host("gateway");
        let net = world.net();
        net.refuse("gateway->verifier", Some(SECOND)).unwrap();
        assert_eq!(connect(&world).await.err().unwrap().kind(), ErrorKind::ConnectionRefused);
        world.sleep(SECOND).await;
        net.ignore_connects("gateway->verifier", None).unwrap();
        let start = world.elapsed();
        assert_eq!(connect(&world).await.err().unwrap().kind(), ErrorKind::TimedOut);
        assert_eq!(world.elapsed() - start, 127 * SECOND);
        net.heal("gateway->verifier").unwrap();
        net.cut("verifier->gateway", Some(2 * SECOND)).unwrap();
        let start = world.elapsed();
        connect(&world).await.unwrap();
        assert_eq!((world.elapsed() - start).as_secs(), 3, "the third attempt gets through");
    });
}

#[test]
fn a_full_backlog_leaves_connects_waiting() {
    world::run(1, async |world: World| {
        world.host("verifier").set_backlog(1);
        let mut listener = listen(&world).await;
        let _first = connect(&world).await.unwrap();
        let early = tokio::time::timeout(500 * MS, connect(&world)).await;
        assert!(early.is_err(), "there is no room");
        let (second, accepted) = tokio::join!(connect(&world), async {
            world.sleep(2 * SECOND).await;
            listener.accept().await
        });
        assert!(second.is_ok() && accepted.is_ok());
    });
}

#[test]
fn corruption_changes_bytes_but_not_their_number() {
    world::run(1, async |world: World| {
        let (mut near, mut far) = pair(&world).await;
        world.net().set_corruption("gateway->verifier", 1.0).unwrap();
        near.write_all(&[0; 100]).await.unwrap();
        let mut received = [0; 100];
        far.read_exact(&mut received).await.unwrap();
        assert_ne!(received, [0; 100]);
    });
}

#[test]
fn a_listener_on_loopback_is_reached_from_its_own_host_only() {
    world::run(1, async |world: World| {
        let (gateway, verifier) = (world.host("gateway").env(), world.host("verifier").env());
        let _listener = verifier.net.listen("127.0.0.1:9").await.unwrap();
        let error = gateway.net.connect("verifier:9").await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        verifier.net.connect("localhost:9").await.unwrap();
        assert!(gateway.net.connect("nobody:9").await.is_err());
    });
}

#[test]
fn a_killed_process_closes_its_connections_and_a_dead_machine_does_not() {
    world::run(1, async |world: World| {
        let verifier = world.host("verifier");
        let (mut near, _far) = pair(&world).await;
        verifier.crash(Crash::KILL).await;
        assert_eq!(near.read(&mut [0]).await.unwrap(), 0, "its kernel says FIN");
        assert_eq!(connect(&world).await.err().unwrap().kind(), ErrorKind::ConnectionRefused);
        drop(near);
        verifier.restart();

        let (mut near, _far) = pair(&world).await;
        verifier.crash(Crash::POWER_LOSS).await;
        near.write_u8(1).await.unwrap();
        assert!(tokio::time::timeout(100 * SECOND, near.read_u8()).await.is_err());
        assert!(tokio::time::timeout(100 * SECOND, connect(&world)).await.is_err());
        verifier.restart();
        assert_eq!(error_of(&mut near).await, ErrorKind::ConnectionReset);
        assert_eq!(verifier.open_sockets(), 0);
        drop(near);
        assert_eq!(world.open_sockets("gateway"), 0);
    });
}

#[test]
fn links_that_do_not_exist_are_named() {
    world::run(1, async |world: World| {
        world.host("gateway");
        let error = world.net().cut("gateway->verfier", None).unwrap_err();
        assert!(matches!(error, LinkError::NoSuchLink(..)));
        assert!(error.to_string().contains("\"gateway->verfier\" matches no two hosts"));
    });
}
