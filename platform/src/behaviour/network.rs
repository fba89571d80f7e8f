//! What every [`Net`](crate::Net) does.

use std::io::ErrorKind;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use futures_util::future::poll_immediate;
use http::Request;
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::http_client::{HttpClient, HttpError};
use crate::{Env, Listener, Shutdown, Stream, serve};

/// A server and a client, which may be the same machine.
#[derive(Clone)]
pub struct Sides {
    /// Where the listeners are.
    pub server: Env,
    /// Where connections are made.
    pub client: Env,
    /// The address that the server listens on, without a port.
    pub bind: String,
    /// The name under which the client reaches the server.
    pub name: String,
}

impl Sides {
    async fn listen(&self) -> (Box<dyn Listener>, String) {
        let address = format!("{}:0", self.bind);
        let listener = self.server.net.listen(&address).await.expect("a free port is listened on");
        let port = listener.local_addr().port();
        (listener, format!("{}:{port}", self.name))
    }

    async fn pair(&self) -> (Stream, Stream) {
        let (mut listener, address) = self.listen().await;
        let (client, server) = tokio::join!(self.client.net.connect(&address), listener.accept());
        (client.expect("it connects"), server.expect("it is accepted"))
    }
}

/// Bytes that differ wherever one is missing or moved.
fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n % 251) as u8 ^ (n / 251 % 256) as u8).collect()
}

async fn read_to_end(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.expect("it ends without an error");
    bytes
}

/// A connection carries bytes both ways.
pub async fn connects_and_carries_bytes_both_ways(sides: Sides) {
    let (mut client, mut server) = sides.pair().await;
    let mut received = [0; 5];
    client.write_all(b"hello").await.expect("it is written");
    server.read_exact(&mut received).await.expect("it arrives");
    assert_eq!(&received, b"hello");
    server.write_all(b"world").await.expect("it is written");
    client.read_exact(&mut received).await.expect("it arrives");
    assert_eq!(&received, b"world");
}

/// What one end calls its own address, the other calls its peer's.
pub async fn names_both_ends_alike(sides: Sides) {
    let (client, server) = sides.pair().await;
    assert_eq!(client.peer, server.local);
    assert_eq!(client.local, server.peer);
}

/// A port without a listener refuses.
pub async fn refuses_where_nobody_listens(sides: Sides) {
    let (listener, address) = sides.listen().await;
    drop(listener);
    let error = sides.client.net.connect(&address).await.err().expect("it is refused");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

/// A dropped listener refuses, and leaves accepted connections alone.
pub async fn refuses_once_the_listener_is_gone(sides: Sides) {
    let (mut listener, address) = sides.listen().await;
    let (client, server) = tokio::join!(sides.client.net.connect(&address), listener.accept());
    let (mut client, mut server) = (client.expect("it connects"), server.expect("accepted"));
    drop(listener);
    let error = sides.client.net.connect(&address).await.err().expect("it is refused");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    client.write_all(b"!").await.expect("it is written");
    assert_eq!(server.read_u8().await.expect("it arrives"), b'!');
}

/// Two listeners do not share a port.
pub async fn refuses_a_taken_port(sides: Sides) {
    let (listener, _) = sides.listen().await;
    let address = format!("{}:{}", sides.bind, listener.local_addr().port());
    let error = sides.server.net.listen(&address).await.err().expect("the port is taken");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

/// After FIN one way, the other way still carries bytes.
pub async fn half_close_leaves_the_other_direction_open(sides: Sides) {
    let (mut client, mut server) = sides.pair().await;
    client.write_all(b"question").await.expect("it is written");
    client.shutdown().await.expect("it is shut down");
    assert_eq!(read_to_end(&mut server).await, b"question");
    server.write_all(b"answer").await.expect("it is written");
    drop(server);
    assert_eq!(read_to_end(&mut client).await, b"answer");
    let error = client.write_all(b"more").await.expect_err("that direction has ended");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

/// Dropping the write half is as good as shutting it down.
pub async fn dropped_write_half_ends_the_stream(sides: Sides) {
    let (client, mut server) = sides.pair().await;
    let Stream { mut read, mut write, .. } = client;
    write.write_all(b"last").await.expect("it is written");
    drop(write);
    assert_eq!(read_to_end(&mut server).await, b"last");
    server.write_all(b"!").await.expect("it is written");
    assert_eq!(read.read_u8().await.expect("it arrives"), b'!');
}

/// Dropping a stream whose received bytes are all read ends it in order.
pub async fn dropped_stream_ends_the_stream(sides: Sides) {
    let (mut client, mut server) = sides.pair().await;
    server.write_all(b"last").await.expect("it is written");
    drop(server);
    assert_eq!(read_to_end(&mut client).await, b"last");
}

/// Dropping a stream with received bytes unread resets it.
pub async fn unread_bytes_at_the_drop_reset_the_connection(sides: Sides) {
    let (mut client, mut server) = sides.pair().await;
    client.write_all(b"read me").await.expect("it is written");
    // One byte is read, so that the others have surely been received, or soon will be.
    server.read_u8().await.expect("it arrives");
    drop(server);
    let error = client.read_u8().await.expect_err("nothing was sent");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

/// Whoever writes to a stream that is gone is told in the end.
pub async fn writes_to_a_dropped_stream_fail(sides: Sides) {
    let (mut client, server) = sides.pair().await;
    drop(server);
    assert_eq!(client.read(&mut [0]).await.expect("it ends in order"), 0);
    let error = loop {
        if let Err(error) = client.write_all(b"is anybody there?").await {
            break error;
        }
        // Waits for what the other machine answers.
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
}

/// A writer is held back by a reader that does not read, and goes on once it does.
pub async fn a_writer_waits_for_a_reader_that_does_not_read(sides: Sides) {
    /// More than any kernel keeps for one connection.
    const BYTES: usize = 64 << 20;
    let (mut client, mut server) = sides.pair().await;
    let sent = vec![7; BYTES];
    let mut writing = pin!(async {
        client.write_all(&sent).await.expect("it is written");
        client.shutdown().await.expect("it is shut down");
    });
    for _ in 0..100 {
        assert_eq!(poll_immediate(writing.as_mut()).await, None, "nobody has read");
        tokio::task::yield_now().await;
    }
    let reading = async {
        let (mut buffer, mut total) = (vec![0; 1 << 16], 0);
        loop {
            match server.read(&mut buffer).await.expect("it arrives") {
                0 => break total,
                count => total += count,
            }
        }
    };
    let ((), total) = tokio::join!(writing, reading);
    assert_eq!(total, BYTES);
}

/// A task that waits in the read half does not hold up the write half.
pub async fn split_halves_work_on_their_own(sides: Sides) {
    let (client, mut server) = sides.pair().await;
    let Stream { mut read, mut write, .. } = client;
    let reader = sides.client.tasks.spawn("reader", async move { read_to_end(&mut read).await });
    write.write_all(b"ping").await.expect("it is written");
    let mut received = [0; 4];
    server.read_exact(&mut received).await.expect("it arrives");
    server.write_all(&received).await.expect("it is written");
    drop(server);
    assert_eq!(reader.await.expect("it neither panics nor is aborted"), b"ping");
}

/// Connections wait to be accepted, with what they sent, in their order.
pub async fn the_backlog_keeps_connections_and_their_order(sides: Sides) {
    let (mut listener, address) = sides.listen().await;
    let mut clients = Vec::new();
    for number in 0..16 {
        let mut client = sides.client.net.connect(&address).await.expect("it connects");
        client.write_u8(number).await.expect("it is written");
        clients.push(client);
    }
    for number in 0..16 {
        let mut server = listener.accept().await.expect("it is accepted");
        assert_eq!(server.read_u8().await.expect("it arrives"), number);
    }
}

/// A caller may give up waiting in `accept` without losing the connection that comes next.
pub async fn a_dropped_accept_loses_no_connection(sides: Sides) {
    let (mut listener, address) = sides.listen().await;
    assert!(poll_immediate(pin!(listener.accept())).await.is_none(), "nobody has connected");
    let mut client = sides.client.net.connect(&address).await.expect("it connects");
    client.write_u8(1).await.expect("it is written");
    let mut server = listener.accept().await.expect("it is accepted");
    assert_eq!(server.read_u8().await.expect("it arrives"), 1);
}

/// Many bytes both ways at once arrive whole and in order.
pub async fn big_transfers_arrive_whole_in_both_directions(sides: Sides) {
    async fn exchange(stream: Stream, sent: &[u8]) -> Vec<u8> {
        let Stream { mut read, mut write, .. } = stream;
        let writing = async {
            write.write_all(sent).await.expect("it is written");
            write.shutdown().await.expect("it is shut down");
        };
        tokio::join!(writing, read_to_end(&mut read)).1
    }
    let (client, server) = sides.pair().await;
    let (question, answer) = (pattern(3_000_001), pattern(2_000_003));
    let (at_client, at_server) =
        tokio::join!(exchange(client, &question), exchange(server, &answer));
    assert!(at_server == question && at_client == answer);
}

fn router() -> Router {
    Router::new().route("/greeting", get(async || "hello"))
}

async fn greet(client: &HttpClient, address: &str) -> Result<Bytes, HttpError> {
    greet_within(client, address, Duration::from_secs(20)).await
}

async fn greet_within(
    client: &HttpClient,
    address: &str,
    limit: Duration,
) -> Result<Bytes, HttpError> {
    let request = Request::get(format!("http://{address}/greeting"))
        .body(Full::default())
        .expect("the address is valid");
    client.send(request, limit, 100).await.map(http::Response::into_body)
}

/// The HTTP client keeps its connection, and the server its task for it.
pub async fn http_requests_share_a_connection(sides: Sides) {
    let (listener, address) = sides.listen().await;
    let tasks = sides.server.tasks.group();
    let connections = tasks.group();
    drop(tasks.spawn("serve", serve::serve(listener, router(), connections.clone())));
    let client = HttpClient::new(&sides.client);
    for _ in 0..5 {
        assert_eq!(greet(&client, &address).await.expect("it is answered"), "hello");
    }
    assert_eq!(connections.live(), 1);
    tasks.end().await;
}

/// When one idle connection turns out to be dead, the next request does not try another: as
/// after a power loss, the two that were there no longer answer, and a new one does.
pub async fn http_connections_are_forgotten_together(sides: Sides) {
    async fn answer(stream: &mut Stream) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.expect("a request comes"));
        }
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        stream.write_all(answer).await.expect("it is written");
    }
    let (mut listener, address) = sides.listen().await;
    let client = HttpClient::new(&sides.client);
    let (mut first, mut second) = (None, None);
    let both = async {
        first = Some(listener.accept().await.expect("accepted"));
        second = Some(listener.accept().await.expect("accepted"));
        answer(first.as_mut().expect("just accepted")).await;
        answer(second.as_mut().expect("just accepted")).await;
    };
    let (one, other, ()) = tokio::join!(greet(&client, &address), greet(&client, &address), both);
    assert_eq!(
        (one.expect("answered"), other.expect("answered")),
        ("hello".into(), "hello".into())
    );
    greet_within(&client, &address, Duration::from_millis(20)).await.expect_err("it is dead");
    let third = async { answer(&mut listener.accept().await.expect("accepted")).await };
    let (greeting, ()) = tokio::join!(greet(&client, &address), third);
    assert_eq!(greeting.expect("it is answered"), "hello");
}

/// A server that is told to end leaves no task behind, though its clients would stay.
pub async fn http_connections_end_with_their_server(sides: Sides) {
    let (listener, address) = sides.listen().await;
    let (tasks, shutdown) = (sides.server.tasks.group(), Shutdown::new());
    let client = HttpClient::new(&sides.client);
    let mut serving =
        pin!(serve::serve_until(listener, router(), &tasks, &shutdown, Duration::from_secs(60)));
    let mut greeting = pin!(greet(&client, &address));
    let answer = std::future::poll_fn(|cx| {
        assert!(serving.as_mut().poll(cx).is_pending(), "nobody told it to end");
        greeting.as_mut().poll(cx)
    })
    .await;
    assert_eq!(answer.expect("it is answered"), "hello");
    assert_eq!(tasks.live(), 1);
    shutdown.cancel();
    serving.await;
    assert_eq!(tasks.live(), 0);
    greet(&client, &address).await.expect_err("nobody listens");
}
