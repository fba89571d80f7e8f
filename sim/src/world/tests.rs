use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rand_core::Rng;

use super::*;

fn hashed_order(seed: u64) -> Vec<u32> {
    run(seed, async |_| {
        let map: HashMap<u32, u32> = (0..100).map(|n| (n, n)).collect();
        #[allow(clippy::iter_over_hash_type)] // That order is what is tested.
        let order = map.into_keys().collect();
        order
    })
}

#[test]
fn hash_maps_iterate_alike_in_two_runs_of_a_seed() {
    assert_eq!(hashed_order(1), hashed_order(1));
    assert_ne!(hashed_order(1), hashed_order(2));
}

#[test]
fn threads_outside_of_worlds_keep_real_randomness() {
    let orders: HashSet<Vec<u32>> = (0..4)
        .map(|_| {
            std::thread::spawn(|| {
                let map: HashMap<u32, u32> = (0..100).map(|n| (n, n)).collect();
                map.into_keys().collect()
            })
            .join()
            .unwrap()
        })
        .collect();
    assert_eq!(orders.len(), 4);
    let inside: HashSet<Vec<u32>> = (0..4).map(|_| hashed_order(9)).collect();
    assert_eq!(inside.len(), 1);
}

#[test]
fn streams_depend_on_seed_and_name_alone() {
    let draws = |seed| {
        run(seed, async |world: World| {
            let mut workload = world.stream("workload");
            let first = workload.next_u64();
            (first, world.stream("faults").next_u64(), world.stream("workload").next_u64())
        })
    };
    let (first, other, again) = draws(5);
    assert_eq!(first, again);
    assert_ne!(first, other);
    assert_eq!(draws(5), draws(5));
    assert_ne!(draws(5), draws(6));
}

#[test]
fn wall_clocks_follow_virtual_time_and_jump_alone() {
    run(0, async |world: World| {
        let (one, other) = (world.host("one"), world.host("other"));
        world.sleep(Duration::from_secs(86_400)).await;
        one.jump_clock(-5000);
        assert_eq!(world.unix_ms(), EPOCH_UNIX_MS + 86_400_000);
        assert_eq!(one.env().wall.unix_ms(), EPOCH_UNIX_MS + 86_395_000);
        assert_eq!(other.env().wall.unix_ms(), EPOCH_UNIX_MS + 86_400_000);
    });
}

#[test]
#[should_panic(expected = "the world of seed 4 waits for what never comes")]
fn a_story_that_waits_for_ever_ends() {
    run(4, async |_| std::future::pending::<()>().await);
}

#[test]
fn a_crash_leaves_no_task_and_a_restart_finds_the_disk() {
    run(0, async |world: World| {
        let host = world.host("gateway");
        let env = host.env();
        let path = std::path::Path::new("/log");
        let mut file = env.storage.append(path).await.unwrap();
        file.append(b"kept").await.unwrap();
        for _ in 0..3 {
            env.tasks.spawn("waits", std::future::pending::<()>());
        }
        world.sleep(Duration::from_secs(1)).await;
        assert_eq!(host.live_tasks(), 3);
        host.crash(Crash::KILL).await;
        assert_eq!(host.live_tasks(), 0);
        assert!(env.net.listen("0.0.0.0:1").await.is_err(), "the old boot has no network");
        assert!(file.append(b"late").await.is_err(), "the old boot has no disk");

        let env = host.restart();
        assert_eq!(env.storage.read(path).unwrap(), b"kept");
        host.crash(Crash::REPLACED).await;
        assert!(host.restart().storage.read(path).is_err());
    });
}

#[test]
fn each_boot_draws_other_randomness() {
    run(0, async |world: World| {
        let host = world.host("gateway");
        let first = host.env().rng.next_u64();
        host.crash(Crash::POWER_LOSS).await;
        assert_ne!(host.restart().rng.next_u64(), first);
    });
}
