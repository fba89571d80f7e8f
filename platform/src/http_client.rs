//! An HTTP client that connects through [`Net`].

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tower_service::Service;

use crate::tls::Trust;
use crate::{Env, Net, Tasks};

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// No connection, or it broke.
    #[error("{0}")]
    Transport(String),
    /// No whole answer in time.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The answer's body is larger than the caller allows.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
}

/// A gateway under load has this many posts under way together. Each that finds no idle connection
/// opens one, and what is over this bound is closed after its answer.
const IDLE_PER_HOST: usize = 64;

/// Keeps connections alive between requests and shares them between its clones.
#[derive(Clone)]
pub struct HttpClient {
    shared: Arc<Shared>,
}

struct Shared {
    connector: Connector,
    executor: Executor,
    trust: Trust,
    pool: Mutex<Pool>,
}

/// The idle connections, dropped together: when one of a host that lost its power is dead, so
/// are the others, and each would cost the next request a timeout.
#[derive(Clone)]
struct Pool {
    client: Client<Connector, Full<Bytes>>,
    generation: u64,
}

impl HttpClient {
    /// A client on `env`'s network, to whom the public authorities vouch for `https://` servers.
    pub fn new(env: &Env) -> Self {
        Self::trusting(env, Trust::public())
    }

    /// The same, with a say in who vouches.
    pub fn trusting(env: &Env, trust: Trust) -> Self {
        Self::build(Arc::clone(&env.net), Executor(env.tasks.clone()), trust)
    }

    /// This client with these to vouch: itself where they do already, a new one otherwise.
    #[must_use]
    pub fn with_trust(&self, trust: Trust) -> Self {
        let Shared { connector, executor, trust: trusted, .. } = self.shared.as_ref();
        if trust == *trusted {
            return self.clone();
        }
        Self::build(Arc::clone(&connector.net), executor.clone(), trust)
    }

    fn build(net: Arc<dyn Net>, executor: Executor, trust: Trust) -> Self {
        let connector = Connector { net, tls: trust.connector() };
        let pool = Mutex::new(Pool::new(&connector, &executor, 0));
        Self { shared: Arc::new(Shared { connector, executor, trust, pool }) }
    }

    /// Sends a request and gathers the whole answer within `timeout`, its body at most
    /// `max_body_bytes`.
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
        timeout: Duration,
        max_body_bytes: usize,
    ) -> Result<Response<Bytes>, HttpError> {
        let pool = self.shared.pool().clone();
        let exchange = async {
            let (parts, body) = pool.request(request).await?.into_parts();
            let body = Limited::new(body, max_body_bytes).collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    HttpError::TooLarge(max_body_bytes)
                } else {
                    HttpError::Transport(chain(error.as_ref()))
                }
            })?;
            Ok(Response::from_parts(parts, body.to_bytes()))
        };
        let answer = tokio::time::timeout(timeout, exchange).await;
        let answer = answer.unwrap_or(Err(HttpError::Timeout(timeout)));
        if let Err(HttpError::Timeout(_) | HttpError::Transport(_)) = &answer {
            self.shared.renew(pool.generation);
        }
        answer
    }

    /// Sends a request and returns the answer as soon as its header is there, for bodies that
    /// are streams.
    pub async fn open(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, HttpError> {
        let pool = self.shared.pool().clone();
        let answer = pool.request(request).await;
        if answer.is_err() {
            self.shared.renew(pool.generation);
        }
        answer
    }
}

impl Shared {
    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().expect("nobody panics while holding it")
    }

    /// Forgets the idle connections of the `failed` generation, once.
    fn renew(&self, failed: u64) {
        let mut pool = self.pool();
        if pool.generation == failed {
            *pool = Pool::new(&self.connector, &self.executor, failed + 1);
        }
    }
}

impl Pool {
    fn new(connector: &Connector, executor: &Executor, generation: u64) -> Self {
        let client = Client::builder(executor.clone())
            // Idle connections are timed by a clock that the simulator does not own; the server
            // ends them instead.
            .pool_idle_timeout(None)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .build(connector.clone());
        Self { client, generation }
    }

    async fn request(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, HttpError> {
        self.client.request(request).await.map_err(|error| HttpError::Transport(chain(&error)))
    }
}

/// An error with its causes: hyper's own text alone says little.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[derive(Clone)]
struct Executor(Tasks);

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        drop(self.0.spawn("http_client", future));
    }
}

#[derive(Clone)]
struct Connector {
    net: Arc<dyn Net>,
    tls: TlsConnector,
}

impl Connector {
    async fn connect(self, uri: Uri) -> io::Result<HttpStream> {
        let host = uri.host().ok_or_else(|| invalid(&uri, "names no host"))?;
        let (port, secure) = match uri.scheme_str() {
            Some("http") => (80, false),
            Some("https") => (443, true),
            _ => return Err(invalid(&uri, "is neither an http:// nor an https:// address")),
        };
        let address = format!("{host}:{}", uri.port_u16().unwrap_or(port));
        let stream = self.net.connect(&address).await?;
        if !secure {
            return Ok(HttpStream(Box::new(stream)));
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare).map_err(|_| invalid(&uri, "names no valid host"))?;
        Ok(HttpStream(Box::new(self.tls.connect(name, stream).await?)))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<HttpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { Ok(TokioIo::new(connector.connect(uri).await?)) })
    }
}

fn invalid(uri: &Uri, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{uri} {what}"))
}

/// A connection as hyper's client wants it, inside TLS for `https`.
struct HttpStream(Box<dyn Duplex>);

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Connection for HttpStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for HttpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for HttpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
