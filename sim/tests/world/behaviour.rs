//! The behaviour suite of `platform` on the simulated network and disk.

use std::sync::Arc;
use std::time::Duration;

use platform::behaviour::network::Sides;
use platform::behaviour::storage::Place;
use sim::net::{Latency, LinkConfig};
use sim::world::{self, World};

fn sides(world: &World) -> Sides {
    Sides {
        server: world.host("server").env(),
        client: world.host("client").env(),
        bind: "0.0.0.0".to_owned(),
        name: "server".to_owned(),
    }
}

/// Torn writes that arrive whenever they like.
fn rough() -> LinkConfig {
    LinkConfig {
        latency: Latency::Exponential {
            mean: Duration::from_millis(3),
            cap: Duration::from_millis(80),
        },
        chunk: Some((1, 1460)),
        coalesce: false,
        window: 20_000,
        ..LinkConfig::default()
    }
}

macro_rules! on_plain_links {
    ($($test:ident)*) => {
        mod plain {
            use super::*;
            $(#[test]
            fn $test() {
                world::run(1, async |world: World| {
                    platform::behaviour::network::$test(sides(&world)).await;
                });
            })*
        }
    };
}
platform::network_behaviour!(on_plain_links);

macro_rules! on_rough_links {
    ($($test:ident)*) => {
        mod rough {
            use super::*;
            $(#[test]
            fn $test() {
                world::run(2, async |world: World| {
                    world.net().configure("*", rough()).unwrap();
                    platform::behaviour::network::$test(sides(&world)).await;
                });
            })*
        }
    };
}
platform::network_behaviour!(on_rough_links);

macro_rules! on_loopback {
    ($($test:ident)*) => {
        mod loopback {
            use super::*;
            $(#[test]
            fn $test() {
                world::run(3, async |world: World| {
                    let env = world.host("alone").env();
                    let ip = "127.0.0.1".to_owned();
                    let sides =
                        Sides { server: env.clone(), client: env, bind: ip.clone(), name: ip };
                    platform::behaviour::network::$test(sides).await;
                });
            })*
        }
    };
}
platform::network_behaviour!(on_loopback);

macro_rules! on_disks {
    ($($test:ident)*) => {
        mod disk {
            use super::*;
            $(#[test]
            fn $test() {
                world::run(1, async |world: World| {
                    let storage = Arc::clone(&world.host("any").env().storage);
                    let directory = "/var/lib/gateway".into();
                    platform::behaviour::storage::$test(Place { storage, directory }).await;
                });
            })*
        }
    };
}
platform::storage_behaviour!(on_disks);
