//! A disk that has no room for a while.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use platform::{AppendFile, Env, Storage};

use crate::miner::Miner;
use crate::named;
use crate::world::World;

/// Stands in front of the real disk.
#[derive(Clone)]
struct FullDisk {
    inner: Arc<dyn Storage>,
    is_full: Arc<AtomicBool>,
}

impl FullDisk {
    fn in_front_of(env: &mut Env) -> Self {
        let disk = Self { inner: Arc::clone(&env.storage), is_full: Arc::default() };
        env.storage = Arc::new(disk.clone());
        disk
    }

    fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
    }
}

#[async_trait]
impl Storage for FullDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.inner.read(path)
    }

    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_atomic(path, bytes)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.inner.list(directory)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn create_dir_all(&self, directory: &Path) -> io::Result<()> {
        self.inner.create_dir_all(directory)
    }

    async fn append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let file = self.inner.append(path).await?;
        Ok(Box::new(File { file, is_full: Arc::clone(&self.is_full) }))
    }
}

struct File {
    file: Box<dyn AppendFile>,
    is_full: Arc<AtomicBool>,
}

#[async_trait]
impl AppendFile for File {
    async fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.is_full.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.append(bytes).await
    }

    async fn sync(&mut self) -> io::Result<()> {
        self.file.sync().await
    }

    async fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.file.truncate(length).await
    }

    fn len(&self) -> u64 {
        self.file.len()
    }
}

#[tokio::test]
async fn a_full_disk_is_told_everywhere_and_so_is_its_end() {
    let mut world = World::new().await;
    let disk = FullDisk::in_front_of(&mut world.env);
    let gateway = world.start_gateway("observe");
    let mut miner = Miner::connect(&world).await;
    miner.open_channel("alice").await;
    world.until_ready().await;
    let metrics = world.get("/metrics").await.1;
    assert!(metrics.contains("gateway_log_stalls_total{cause=\"disk_full\"} 0"), "{metrics}");

    disk.set_full(true);
    miner.submit_block().await;
    let full = (503, r#"{"ready":false,"missing":["log_disk_full"]}"#.to_owned());
    while world.get("/ready").await != full {
        tokio::task::yield_now().await;
    }
    let status: serde_json::Value =
        serde_json::from_str(&world.get("/api/v1/status").await.1).unwrap();
    assert_eq!(status["log_stall"]["cause"], "disk_full");
    assert!(status["log_stall"]["since_ms"].is_u64());
    let metrics = world.get("/metrics").await.1;
    assert!(metrics.contains("gateway_log_stalls_total{cause=\"disk_full\"} 1"), "{metrics}");
    assert!(metrics.contains("gateway_up{of=\"log\"} 0"), "{metrics}");

    disk.set_full(false);
    miner.expect_accepted().await;
    let events = world.events_until("log_recovered", 1).await;
    let recovered = named(&events, "log_recovered")[0];
    assert_eq!(recovered["cause"], "disk_full");
    assert_eq!(recovered["since_ms"], status["log_stall"]["since_ms"]);
    let metrics = world.get("/metrics").await.1;
    assert!(metrics.contains("gateway_log_stalled_seconds 0.0"), "{metrics}");
    assert_eq!(gateway.stop().await, Ok(()));
}
