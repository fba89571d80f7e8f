use std::sync::Arc;

use gateway_core::event::{Event, ModeChanged};
use gateway_core::mode::Mode;

use super::*;
use crate::fake_disk::{FakeDisk, Inline};
use crate::log::segment::{self, Kind};

fn event() -> Event {
    Event::ModeChanged(ModeChanged { from: Mode::Inline, to: Mode::Observe, timestamp_ms: 7 })
}

fn archive(disk: &FakeDisk) -> EventArchive {
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    EventArchive { storage, cpu: Arc::new(Inline), directory: "log".into() }
}

/// The numbers of the events in the bytes.
fn numbers(bytes: &[u8]) -> Vec<u64> {
    let text = std::str::from_utf8(bytes).unwrap();
    let parse = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    text.lines().map(|line| parse(line)["seq"].as_u64().unwrap()).collect()
}

fn fill(feed: &EventFeed, from: u64, count: u64) {
    let line = |seq| {
        let mut bytes = Vec::new();
        let told = segment::encode_event(&event(), seq, &mut bytes);
        Bytes::from(bytes).slice(told)
    };
    feed.publish((from..from + count).map(line).collect());
}

#[tokio::test]
async fn a_reader_gets_what_comes_after_it() {
    let feed = Arc::new(EventFeed::new(1, 2));
    fill(&feed, 1, 3);
    let mut live = feed.subscribe(None, archive(&FakeDisk::default())).unwrap();
    let mut since = feed.subscribe(Some(1), archive(&FakeDisk::default())).unwrap();
    assert!(feed.subscribe(None, archive(&FakeDisk::default())).is_none(), "places are bounded");
    assert_eq!(numbers(&since.next_lines().await.unwrap()), [2, 3]);
    fill(&feed, 4, 1);
    assert_eq!(numbers(&live.next_lines().await.unwrap()), [4]);
    assert_eq!(numbers(&since.next_lines().await.unwrap()), [4]);
}

#[tokio::test]
async fn a_reader_that_resumes_is_served_from_the_log_and_then_from_memory() {
    let disk = FakeDisk::default();
    for first in [1, 3] {
        let mut bytes = Vec::new();
        for seq in first..first + 2 {
            segment::encode(Kind::Share, "{}", &mut bytes);
            segment::encode_event(&event(), seq, &mut bytes);
        }
        disk.put(&format!("log/{}", segment::name(first)), &bytes);
    }
    let feed = Arc::new(EventFeed::new(5, 1));
    fill(&feed, 5, 2);
    let mut reader = feed.subscribe(Some(1), archive(&disk)).unwrap();
    assert_eq!(numbers(&reader.next_lines().await.unwrap()), [2]);
    assert_eq!(numbers(&reader.next_lines().await.unwrap()), [3, 4]);
    assert_eq!(numbers(&reader.next_lines().await.unwrap()), [5, 6]);
}

#[tokio::test]
async fn a_slow_reader_is_told_how_much_it_missed() {
    let ring = EVENT_RING_LINES as u64;
    let feed = Arc::new(EventFeed::new(1, 1));
    let mut reader = feed.subscribe(None, archive(&FakeDisk::default())).unwrap();
    fill(&feed, 1, ring + 7);
    let lagged = reader.next_lines().await.unwrap();
    assert_eq!(
        std::str::from_utf8(&lagged).unwrap(),
        "{\"event\":\"lagged\",\"schema\":1,\"seq\":7,\"missed\":7}\n"
    );
    let rest = numbers(&reader.next_lines().await.unwrap());
    assert_eq!((rest[0], rest.len() as u64), (8, ring));
}

#[tokio::test]
async fn a_reader_that_knows_more_than_the_log_is_told_so_and_misses_nothing_new() {
    let feed = Arc::new(EventFeed::new(5, 1));
    let mut reader = feed.subscribe(Some(9), archive(&FakeDisk::default())).unwrap();
    assert_eq!(
        std::str::from_utf8(&reader.next_lines().await.unwrap()).unwrap(),
        "{\"event\":\"lagged\",\"schema\":1,\"seq\":4,\"missed\":0}\n"
    );
    fill(&feed, 5, 2);
    assert_eq!(numbers(&reader.next_lines().await.unwrap()), [5, 6]);
}
