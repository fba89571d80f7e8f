//! What lies between gateway and pool: it passes every post on at once, and can hold answers
//! back, so that a kill finds shares that the pool has and the gateway does not know it has.

use platform::{Env, Stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

/// Serves `listen` until the future is dropped; `hold` says whether answers wait.
///
/// # Errors
/// When it cannot listen.
pub(super) async fn serve(
    env: Env,
    listen: String,
    pool: String,
    hold: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let mut listener = env.net.listen(&listen).await?;
    loop {
        let near = listener.accept().await?;
        let (inner, pool, hold) = (env.clone(), pool.clone(), hold.clone());
        drop(env.tasks.spawn("relay", async move {
            if let Ok(far) = inner.net.connect(&pool).await {
                join(near, far, hold).await;
            }
        }));
    }
}

/// Passes bytes on until either side ends.
async fn join(near: Stream, far: Stream, hold: watch::Receiver<bool>) {
    let Stream { read: mut from_gateway, write: mut to_gateway, .. } = near;
    let Stream { read: mut from_pool, write: mut to_pool, .. } = far;
    let answers = async move {
        let mut hold = hold;
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from_pool.read(&mut buffer).await {
            let released = hold.wait_for(|held| !held).await.is_ok();
            if !released || to_gateway.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        _ = tokio::io::copy(&mut from_gateway, &mut to_pool) => {}
        () = answers => {}
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use platform::Tasks;

    use super::*;

    fn pair() -> (Stream, Stream) {
        let (one, other) = tokio::io::duplex(64);
        let stream = |end| {
            let (read, write) = tokio::io::split(end);
            let address = SocketAddr::from(([127, 0, 0, 1], 1));
            Stream { read: Box::new(read), write: Box::new(write), peer: address, local: address }
        };
        (stream(one), stream(other))
    }

    #[tokio::test(start_paused = true)]
    async fn answers_wait_and_questions_do_not() {
        let ((mut gateway, near), (mut pool, far)) = (pair(), pair());
        let (held, hold) = watch::channel(true);
        let relay = Tasks::new().spawn("relay", join(near, far, hold));
        gateway.write_all(b"ask").await.unwrap();
        let mut buffer = [0; 3];
        pool.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"ask");
        pool.write_all(b"yes").await.unwrap();
        let early = gateway.read_exact(&mut buffer);
        assert!(tokio::time::timeout(Duration::from_secs(60), early).await.is_err());
        held.send_replace(false);
        gateway.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"yes");
        drop(gateway);
        relay.await.unwrap();
    }
}
