//! TCP.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::{Listener, Net, Stream};

/// The operating system's TCP, with Nagle's algorithm off: a frame is never held back.
pub struct Sockets;

#[async_trait]
impl Net for Sockets {
    async fn connect(&self, address: &str) -> io::Result<Stream> {
        let socket = TcpStream::connect(address).await?;
        let peer = socket.peer_addr()?;
        stream(socket, peer)
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        let listener = TcpListener::bind(address).await?;
        let local = listener.local_addr()?;
        Ok(Box::new(Socket { listener, local }))
    }
}

/// The same, connecting from an address of this machine: a load from one address is held to what
/// one address may do, and has no more ports than it has.
pub struct SocketsFrom(pub IpAddr);

#[async_trait]
impl Net for SocketsFrom {
    async fn connect(&self, address: &str) -> io::Result<Stream> {
        let peers = tokio::net::lookup_host(address).await?;
        let mut peers = peers.filter(|peer| peer.is_ipv4() == self.0.is_ipv4());
        let peer = peers.next().ok_or_else(|| {
            io::Error::new(
                ErrorKind::AddrNotAvailable,
                format!("{address} cannot be reached from {}", self.0),
            )
        })?;
        let socket = if peer.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind(SocketAddr::new(self.0, 0))?;
        stream(socket.connect(peer).await?, peer)
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        Sockets.listen(address).await
    }
}

struct Socket {
    listener: TcpListener,
    local: SocketAddr,
}

#[async_trait]
impl Listener for Socket {
    async fn accept(&mut self) -> io::Result<Stream> {
        loop {
            let accepted = self.listener.accept().await;
            match accepted.and_then(|(socket, peer)| stream(socket, peer)) {
                // Whoever has left already must not hold up those behind.
                Err(error) if has_left(&error) => {}
                outcome => return outcome,
            }
        }
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

/// The fault is the one connection's.
fn has_left(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | NotConnected)
}

fn stream(socket: TcpStream, peer: SocketAddr) -> io::Result<Stream> {
    socket.set_nodelay(true)?;
    let local = socket.local_addr()?;
    let (read, write) = socket.into_split();
    let reader_gone = Arc::new(AtomicBool::new(false));
    let read = ReadHalf { half: read, gone: Arc::clone(&reader_gone) };
    let write = WriteHalf { half: Some(write), reader_gone };
    Ok(Stream { read: Box::new(read), write: Box::new(write), peer, local })
}

struct ReadHalf {
    half: OwnedReadHalf,
    gone: Arc<AtomicBool>,
}

impl Drop for ReadHalf {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Release);
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.half).poll_read(cx, buf)
    }
}

struct WriteHalf {
    /// There until it is dropped.
    half: Option<OwnedWriteHalf>,
    reader_gone: Arc<AtomicBool>,
}

impl WriteHalf {
    fn half(&mut self) -> Pin<&mut OwnedWriteHalf> {
        Pin::new(self.half.as_mut().expect("taken only by drop"))
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        if let Some(half) = self.half.take()
            && self.reader_gone.load(Ordering::Acquire)
        {
            // The socket closes now, and the kernel knows best: RST where bytes are unread,
            // else FIN. A FIN of our own before it would hide the RST from the other end.
            half.forget();
        }
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.half().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.half().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.half().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.half().poll_shutdown(cx)
    }
}
