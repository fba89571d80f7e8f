//! A source that answers by a script.

use std::io;
use std::sync::Mutex;

use async_trait::async_trait;
use platform::http_client::HttpClient;
use platform::{Env, Listener, Net, Stream, Tasks};
use tokio::time::Instant;

use super::*;

/// Remembers when it was connected to, and refuses.
#[derive(Default)]
struct Refusing(Mutex<Vec<Instant>>);

#[async_trait]
impl Net for Refusing {
    async fn connect(&self, _: &str) -> io::Result<Stream> {
        self.0.lock().unwrap().push(Instant::now());
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    async fn listen(&self, _: &str) -> io::Result<Box<dyn Listener>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Draws the longest waits.
struct Most;

impl Entropy for Most {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(0xff);
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_is_asked_again_soon_and_then_ever_more_rarely() {
    let (net, tasks, stop) = (Arc::new(Refusing::default()), Tasks::new(), Shutdown::new());
    let env = Env {
        net: Arc::clone(&net) as Arc<dyn Net>,
        tasks: tasks.clone(),
        rng: Arc::new(Most),
        ..platform::real::env()
    };
    let timeout = Duration::from_secs(5);
    let link = TemplateLink {
        client: TemplateClient::new(
            HttpClient::new(&env),
            Arc::clone(&env.cpu),
            "http://source:1",
            None,
            timeout,
        ),
        cpu: Arc::clone(&env.cpu),
        rng: Arc::clone(&env.rng),
        switch: mpsc::channel(1).0,
        payouts: Arc::new(Payouts::new(Vec::new(), Vec::new())),
        poll_interval: Duration::from_secs(3),
        long_poll: timeout,
        is_up: Arc::default(),
        newest_id: Arc::default(),
    };
    let running = tasks.spawn("link", link.run(stop.clone()));
    tokio::time::sleep(Duration::from_secs(11)).await;
    stop.cancel();
    running.await.expect("no panic");
    let asked = net.0.lock().unwrap().clone();
    let waits: Vec<u128> = asked.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert_eq!(waits, [100, 200, 400, 800, 1600, 3000, 3000]);
}
