//! TCP.

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::net::{TcpListener, TcpStream};

use crate::{Listener, Net, Stream};

/// The operating system's TCP, with Nagle's algorithm off: a frame is never held back.
pub struct Sockets;

#[async_trait]
impl Net for Sockets {
    async fn connect(&self, address: &str) -> io::Result<Stream> {
        stream(TcpStream::connect(address).await?)
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        let listener = TcpListener::bind(address).await?;
        let local = listener.local_addr()?;
        Ok(Box::new(Socket { listener, local }))
    }
}

struct Socket {
    listener: TcpListener,
    local: SocketAddr,
}

#[async_trait]
impl Listener for Socket {
    async fn accept(&mut self) -> io::Result<Stream> {
        let (socket, _) = self.listener.accept().await?;
        stream(socket)
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

fn stream(socket: TcpStream) -> io::Result<Stream> {
    socket.set_nodelay(true)?;
    let (peer, local) = (socket.peer_addr()?, socket.local_addr()?);
    let (read, write) = socket.into_split();
    Ok(Stream { read: Box::new(read), write: Box::new(write), peer, local })
}
