//! Connections and listeners.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Opens connections and listeners. Addresses are `host:port`; a host is a name or an IP address.
#[async_trait]
pub trait Net: Send + Sync {
    /// Connects to `address`, trying every address that its host resolves to.
    async fn connect(&self, address: &str) -> io::Result<Stream>;

    /// Listens on `address`; port 0 takes a free one.
    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>>;
}

/// Accepts connections.
#[async_trait]
pub trait Listener: Send {
    /// The next connection.
    ///
    /// # Errors
    /// An error concerns one connection (or a passing shortage of descriptors), never the
    /// listener: the caller goes on accepting.
    async fn accept(&mut self) -> io::Result<Stream>;

    /// Where it listens.
    fn local_addr(&self) -> SocketAddr;
}

/// A connection: an ordered stream of bytes each way, whose halves can be taken apart.
///
/// Dropping the write half (or shutting it down) sends FIN; dropping both while received bytes
/// are unread resets the connection, as TCP does.
pub struct Stream {
    /// The receiving half.
    pub read: Box<dyn AsyncRead + Send + Unpin>,
    /// The sending half.
    pub write: Box<dyn AsyncWrite + Send + Unpin>,
    /// The other end.
    pub peer: SocketAddr,
    /// This end.
    pub local: SocketAddr,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.write).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.write).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.write.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_shutdown(cx)
    }
}
