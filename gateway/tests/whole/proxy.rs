//! A client with two channels on one connection, as proxies are, under a gateway that reloads.

use std::collections::BTreeMap;

use bitcoin::hashes::{Hash as _, sha256d};
use serde_json::Value;
use sv2_wire::common::{MINING_PROTOCOL, PROTOCOL_VERSION, SetupConnection};
use sv2_wire::mining::{
    NewExtendedMiningJob, OpenExtendedMiningChannel, OpenStandardMiningChannel, SetNewPrevHash,
    SubmitSharesStandard,
};
use sv2_wire::{MiningServerMessage, Str0255, U256};

use crate::miner::Miner;
use crate::named;
use crate::world::World;

#[derive(Default)]
struct Proxy {
    prefixes: BTreeMap<u32, Vec<u8>>,
    tip: Option<SetNewPrevHash>,
    job: Job,
}

/// The last extended job.
#[derive(Default)]
struct Job {
    id: u32,
    version: u32,
    ntime: u32,
    coinbase: (Vec<u8>, Vec<u8>),
    path: Vec<[u8; 32]>,
}

impl Proxy {
    /// What came, in words.
    fn take(&mut self, message: &MiningServerMessage<'_>) -> String {
        match message {
            MiningServerMessage::OpenStandardMiningChannelSuccess(opened) => {
                self.prefixes.insert(opened.channel_id, opened.extranonce_prefix.as_bytes().into());
                format!("standard {}", opened.channel_id)
            }
            MiningServerMessage::OpenExtendedMiningChannelSuccess(opened) => {
                self.prefixes.insert(opened.channel_id, opened.extranonce_prefix.as_bytes().into());
                format!("extended {}", opened.channel_id)
            }
            MiningServerMessage::SetExtranoncePrefix(set) => {
                self.prefixes.insert(set.channel_id, set.extranonce_prefix.as_bytes().into());
                format!("prefix of {}", set.channel_id)
            }
            MiningServerMessage::SetGroupChannel(group) => {
                let members: Vec<_> = group.channel_ids.iter().collect();
                format!("group {} of {members:?}", group.group_channel_id)
            }
            MiningServerMessage::NewExtendedMiningJob(job) => {
                self.job = Job::of(job);
                format!("extended job {} on {}", job.job_id, job.channel_id)
            }
            MiningServerMessage::NewMiningJob(job) => {
                format!("job {} on {}", job.job_id, job.channel_id)
            }
            MiningServerMessage::SetNewPrevHash(tip) => {
                self.tip = Some(*tip);
                format!("tip on {}", tip.channel_id)
            }
            MiningServerMessage::Reconnect(to) => {
                format!("reconnect to {}:{}", to.new_host, to.new_port)
            }
            MiningServerMessage::CloseChannel(close) => {
                format!("close {} {}", close.channel_id, close.reason_code)
            }
            other => other.name().to_owned(),
        }
    }

    /// A share of a standard channel on the last extended job.
    fn share(&self, channel_id: u32) -> SubmitSharesStandard {
        let (job, tip) = (&self.job, self.tip.unwrap());
        let hash = |bytes: &[u8]| sha256d::Hash::hash(bytes).to_byte_array();
        let coinbase =
            [&job.coinbase.0, &self.prefixes[&channel_id], &job.coinbase.1].map(Vec::as_slice);
        let root = job
            .path
            .iter()
            .fold(hash(&coinbase.concat()), |root, node| hash(&[root, *node].concat()));
        let nonce = (0..).find(|nonce: &u32| {
            let header = [
                &job.version.to_le_bytes()[..],
                &tip.prev_hash.0,
                &root,
                &job.ntime.to_le_bytes(),
                &tip.nbits.to_le_bytes(),
                &nonce.to_le_bytes(),
            ];
            // Far below the easiest targets of the chain and of the channel.
            let hash = hash(&header.concat());
            hash[31] == 0 && hash[30] < 0x10
        });
        SubmitSharesStandard {
            channel_id,
            sequence_number: 1,
            job_id: job.id,
            nonce: nonce.unwrap(),
            ntime: job.ntime,
            version: job.version,
        }
    }
}

impl Job {
    fn of(job: &NewExtendedMiningJob<'_>) -> Self {
        Self {
            id: job.job_id,
            version: job.version,
            ntime: job.min_ntime.unwrap_or_default(),
            coinbase: (
                job.coinbase_tx_prefix.as_bytes().to_vec(),
                job.coinbase_tx_suffix.as_bytes().to_vec(),
            ),
            path: job.merkle_path.iter().map(|node| node.0).collect(),
        }
    }
}

/// The next messages, as many as are expected.
async fn expect(miner: &mut Miner, proxy: &mut Proxy, expected: &[&str]) {
    for expected in expected {
        assert_eq!(miner.message(|message| proxy.take(message)).await.as_deref(), Some(*expected));
    }
}

/// A client with the extended channel 2 and the standard channel 3.
async fn open_both(world: &World) -> (Miner, Proxy) {
    let (mut miner, mut proxy) = (Miner::connect(world).await, Proxy::default());
    let empty = Str0255::new(b"").unwrap();
    let setup = SetupConnection {
        protocol: MINING_PROTOCOL,
        min_version: PROTOCOL_VERSION,
        max_version: PROTOCOL_VERSION,
        flags: 0,
        endpoint_host: empty,
        endpoint_port: 0,
        vendor: "proxy".try_into().unwrap(),
        hardware_version: empty,
        firmware: empty,
        device_id: empty,
    };
    miner.send(setup).await;
    expect(&mut miner, &mut proxy, &["SetupConnectionSuccess"]).await;
    world.until_ready().await;
    let extended = OpenExtendedMiningChannel {
        request_id: 1,
        user_identity: "alice".try_into().unwrap(),
        nominal_hash_rate: 1.0,
        max_target: U256::MAX,
        min_extranonce_size: 8,
    };
    miner.send(extended).await;
    expect(&mut miner, &mut proxy, &["extended 2", "extended job 1 on 2", "tip on 2"]).await;
    let standard = OpenStandardMiningChannel {
        request_id: 2,
        user_identity: "bob".try_into().unwrap(),
        nominal_hash_rate: 1.0,
        max_target: U256::MAX,
    };
    miner.send(standard).await;
    expect(&mut miner, &mut proxy, &["standard 3", "job 1 on 3", "tip on 3"]).await;
    (miner, proxy)
}

#[tokio::test]
async fn open_channels_follow_a_reload_and_a_drain_sends_them_elsewhere() {
    let world = World::new().await;
    let gateway = world.start_gateway_with(&[]);
    let (mut miner, mut proxy) = open_both(&world).await;

    let addressing = "mode = \"observe\"\njob_addressing = \"group\"\nextranonce_index = 9";
    let elsewhere = "reconnect_addr = \"second.example:3334\"\nreconnect_vendors = \"proxy\"";
    let changed = format!("{addressing}\n{elsewhere}");
    world.write_config(&[("mode = \"observe\"", &changed)]);
    assert_eq!(world.post("/api/v1/reload").await.0, 200);
    let moved = ["group 1 of [2, 3]", "prefix of 2", "prefix of 3", "extended job 2 on 1"];
    expect(&mut miner, &mut proxy, &moved).await;
    assert!(proxy.prefixes.values().all(|prefix| prefix[..4] == [0, 0, 0, 9]));

    miner.send(proxy.share(3)).await;
    expect(&mut miner, &mut proxy, &["SubmitSharesSuccess"]).await;
    let share = world.next_post().await["shares"][0].clone();
    assert_eq!(share["worker_id"], "bob");
    assert!(share["extranonce"].as_str().unwrap().starts_with("00000009"), "{share}");

    let leaving = async {
        expect(&mut miner, &mut proxy, &["reconnect to second.example:3334"]).await;
        assert_eq!(miner.message(|_| ()).await, None);
    };
    let (stopped, ()) = tokio::join!(gateway.stop(), leaving);
    assert_eq!(stopped, Ok(()));
}

#[tokio::test]
async fn a_reload_closes_the_channel_of_a_worker_who_was_struck_off() {
    let world = World::new().await;
    let gateway = world.start_gateway_with(&[]);
    let (mut miner, mut proxy) = open_both(&world).await;
    let only_bob = "mode = \"allowlist\"\nallowlist = [{ username = \"bob\" }]";
    world.write_config(&[("mode = \"open\"", only_bob)]);
    assert_eq!(world.post("/api/v1/reload").await.0, 200);
    expect(&mut miner, &mut proxy, &["close 2 miner-unauthorized"]).await;
    let events = world.events_until("config_reloaded", 1).await;
    let keys: Vec<&Value> = named(&events, "config_reloaded");
    assert_eq!(keys[0]["changed"], serde_json::json!(["auth.mode", "auth.allowlist"]));
    assert_eq!(gateway.stop().await, Ok(()));
}
