//! The behaviour suite on real sockets and the real file system.

use std::sync::Arc;

use platform::behaviour::network::Sides;
use platform::behaviour::storage::Place;
use platform::behaviour::{network, storage};

fn sides() -> Sides {
    let env = platform::real::env();
    let loopback = "127.0.0.1".to_owned();
    Sides { server: env.clone(), client: env, bind: loopback.clone(), name: loopback }
}

macro_rules! on_sockets {
    ($($test:ident)*) => {
        $(#[tokio::test]
        async fn $test() {
            network::$test(sides()).await;
        })*
    };
}
platform::network_behaviour!(on_sockets);

macro_rules! on_files {
    ($($test:ident)*) => {
        $(#[tokio::test]
        async fn $test() {
            let directory = tempfile::tempdir().unwrap();
            let storage = Arc::new(platform::real::Disk);
            storage::$test(Place { storage, directory: directory.path().to_owned() }).await;
        })*
    };
}
platform::storage_behaviour!(on_files);
