//! The behaviour suite on real sockets and the real file system.

use std::net::IpAddr;
use std::sync::Arc;

use platform::Net;
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

#[tokio::test]
async fn a_load_can_come_from_several_addresses() {
    let env = platform::real::env();
    let mut listener = env.net.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().to_string();
    for last in [2, 3] {
        let from = IpAddr::from([127, 0, 0, last]);
        let net = platform::real::SocketsFrom(from);
        let (connected, accepted) = tokio::join!(net.connect(&address), listener.accept());
        assert_eq!(connected.unwrap().local.ip(), from);
        assert_eq!(accepted.unwrap().peer.ip(), from);
    }
    let error = platform::real::SocketsFrom(IpAddr::from([127, 0, 0, 2])).connect("[::1]:1").await;
    assert!(error.err().unwrap().to_string().contains("cannot be reached from 127.0.0.2"));
}
