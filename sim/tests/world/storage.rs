//! What each fault of a disk does to programs.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use platform::AppendFile;
use sim::disk::DiskFaults;
use sim::world::{self, Crash, Host, World};

const LOG: &str = "/log";

async fn open(host: &Host) -> Box<dyn AppendFile> {
    host.env().storage.append(Path::new(LOG)).await.unwrap()
}

async fn content_after(host: &Host, crash: Crash) -> Vec<u8> {
    host.crash(crash).await;
    host.restart().storage.read(Path::new(LOG)).unwrap()
}

#[test]
fn a_power_loss_tears_what_was_not_synced_and_a_kill_keeps_it() {
    let lengths: Vec<usize> = (0..20)
        .map(|seed| {
            world::run(seed, async |world: World| {
                let host = world.host("gateway");
                let mut file = open(&host).await;
                file.append(b"synced").await.unwrap();
                file.sync().await.unwrap();
                file.append(b"|not").await.unwrap();
                assert_eq!(content_after(&host, Crash::KILL).await, b"synced|not");
                let left = content_after(&host, Crash::POWER_LOSS).await;
                assert!(b"synced|not".starts_with(&left) && left.len() >= 6);
                left.len()
            })
        })
        .collect();
    assert!(lengths.contains(&6) && lengths.iter().any(|&length| length > 6), "{lengths:?}");
}

#[test]
fn lost_syncs_say_they_succeeded() {
    let lost = (0..20).any(|seed| {
        world::run(seed, async |world: World| {
            let host = world.host("gateway");
            host.disk().set_faults(DiskFaults { lose_syncs: true, ..DiskFaults::default() });
            let mut file = open(&host).await;
            file.append(b"record").await.unwrap();
            file.sync().await.unwrap();
            content_after(&host, Crash::POWER_LOSS).await.len() < 6
        })
    });
    assert!(lost);
}

#[test]
fn a_full_disk_takes_what_fits_and_recovers() {
    world::run(1, async |world: World| {
        let host = world.host("gateway");
        host.disk().set_faults(DiskFaults { capacity: Some(10), ..DiskFaults::default() });
        let mut file = open(&host).await;
        file.append(b"1234567").await.unwrap();
        let error = file.append(b"89abcdef").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert_eq!(host.disk().peek(Path::new(LOG)).unwrap(), b"123456789a");
        assert_eq!(file.len(), 7);
        file.truncate(7).await.unwrap();
        host.disk().set_faults(DiskFaults::default());
        file.append(b"|89").await.unwrap();
        assert_eq!(host.disk().peek(Path::new(LOG)).unwrap(), b"1234567|89");
    });
}

#[test]
fn failing_operations_say_so() {
    world::run(1, async |world: World| {
        let host = world.host("gateway");
        let mut file = open(&host).await;
        file.append(b"record").await.unwrap();
        host.disk().set_faults(DiskFaults {
            fail_writes: true,
            fail_syncs: true,
            fail_reads: true,
            ..DiskFaults::default()
        });
        let storage = host.env().storage;
        assert!(file.append(b"more").await.is_err());
        assert!(file.sync().await.is_err());
        assert!(storage.read(Path::new(LOG)).is_err());
        assert!(storage.write_atomic(Path::new("/state"), b"x").is_err());
        assert!(host.disk().peek(Path::new("/state")).is_none());
    });
}

#[test]
fn slow_syncs_take_virtual_time_and_reads_may_flip_a_bit() {
    world::run(1, async |world: World| {
        let host = world.host("gateway");
        let ms = Duration::from_millis;
        host.disk().set_faults(DiskFaults {
            sync_latency: (ms(30), ms(50)),
            flip_on_read: 1.0,
            ..DiskFaults::default()
        });
        let mut file = open(&host).await;
        file.append(&[0; 8]).await.unwrap();
        file.sync().await.unwrap();
        assert!((ms(30)..=ms(51)).contains(&world.elapsed()), "{:?}", world.elapsed());
        let read = host.env().storage.read(Path::new(LOG)).unwrap();
        assert_eq!(read.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
    });
}
