//! HTTP served over any listener.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;

use crate::{Listener, Shutdown, Stream, Tasks};

/// How long a client may take to send its request's header, and a connection may be idle.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections that one listener serves at a time; more wait to be accepted.
pub const MAX_CONNECTIONS: usize = 1024;

/// Serves `router` on `listener` until the future is dropped, each connection as a task of its
/// own. Answers carry no `Date`, so that equal requests get equal bytes.
///
/// Once the future is dropped, idle connections are closed and the others end with the answer
/// they are in.
pub async fn serve(mut listener: Box<dyn Listener>, router: Router, tasks: Tasks) {
    let closing = Shutdown::new();
    let _close_when_dropped = closing.clone().drop_guard();
    accept(listener.as_mut(), router, &tasks, &closing).await;
}

/// Serves as [`serve`] does until `shutdown`, then returns once every connection has ended, each
/// with the answer it was in; those that take longer than `grace` are cut off.
pub async fn serve_until(
    mut listener: Box<dyn Listener>,
    router: Router,
    tasks: &Tasks,
    shutdown: &Shutdown,
    grace: Duration,
) {
    let connections = tasks.group();
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = accept(listener.as_mut(), router, &connections, shutdown) => {}
    }
    drop(listener);
    if tokio::time::timeout(grace, connections.idle()).await.is_err() {
        tracing::warn!(connections = connections.live(), "HTTP connections cut off");
        connections.end().await;
    }
}

async fn accept(listener: &mut dyn Listener, router: Router, tasks: &Tasks, closing: &Shutdown) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("it is never closed");
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "HTTP connection not accepted");
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let (router, closing) = (router.clone(), closing.clone());
        drop(tasks.spawn("http_connection", async move {
            converse(stream, router, &closing).await;
            drop(place);
        }));
    }
}

async fn converse(stream: Stream, router: Router, closing: &Shutdown) {
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_READ_TIMEOUT)
            .auto_date_header(false)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
    );
    let served = tokio::select! {
        biased;
        served = connection.as_mut() => served,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "HTTP connection ended");
    }
}
