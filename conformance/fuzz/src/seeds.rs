//! Inputs to begin with.

use std::collections::BTreeSet;
use std::path::Path;

use bitcoin::consensus::serialize;
use sim::node::{EmbeddedNode, Node};
use sv2_noise::Initiator;
use sv2_wire::common::{
    ChannelEndpointChanged, Reconnect, SetupConnection, SetupConnectionError,
    SetupConnectionSuccess,
};
use sv2_wire::extensions::{RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess};
use sv2_wire::mining::{
    CloseChannel, NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess, OpenMiningChannelError, OpenStandardMiningChannel,
    OpenStandardMiningChannelSuccess, SetCustomMiningJob, SetExtranoncePrefix, SetGroupChannel,
    SetNewPrevHash, SetTarget, SubmitSharesError, SubmitSharesExtended, SubmitSharesStandard,
    SubmitSharesSuccess, UpdateChannel, UpdateChannelError,
};
use sv2_wire::template_distribution::{
    CoinbaseOutputConstraints, NewTemplate, RequestTransactionData, SubmitSolution,
};
use sv2_wire::{
    B032, B064K, B0255, FrameHeader, Message, Seq064K, Seq0255, Str0255, U256, WorkerIdentity,
};
use verifier_protocol::{Heartbeat, Message as Line, ProposalId, TemplateBody, encode};

use crate::handshake::{answer, entropy, identity};

const HASH: U256 = U256([7; 32]);
const PATH: [U256; 2] = [HASH, U256([9; 32])];
const IDS: [u32; 3] = [2, 3, 4];
const EXTENSIONS: [u16; 2] = [1, 2];

fn frame<'a>(message: &impl Message<'a>) -> Vec<u8> {
    let mut frame = Vec::new();
    message.encode_frame(&mut frame);
    frame
}

fn text(text: &'static str) -> Str0255<'static> {
    Str0255::new(text.as_bytes()).expect("the text is short")
}

fn short(bytes: &'static [u8]) -> B032<'static> {
    B032::new(bytes).expect("the bytes are few")
}

fn long(bytes: &'static [u8]) -> B064K<'static> {
    B064K::new(bytes).expect("the bytes are few")
}

/// Connection set-up.
pub(crate) fn common() -> Vec<Vec<u8>> {
    vec![
        frame(&SetupConnection {
            protocol: 0,
            min_version: 2,
            max_version: 2,
            flags: 0b101,
            endpoint_host: text("pool.example"),
            endpoint_port: 3333,
            vendor: text("vendor"),
            hardware_version: text("s19"),
            firmware: text("1.2"),
            device_id: text("0001"),
        }),
        frame(&SetupConnectionSuccess { used_version: 2, flags: 0 }),
        frame(&SetupConnectionError { flags: 2, error_code: text("unsupported-feature-flags") }),
        frame(&ChannelEndpointChanged { channel_id: 2 }),
        frame(&Reconnect { new_host: text("other.example"), new_port: 3334 }),
    ]
}

/// Extension negotiation.
pub(crate) fn extensions() -> Vec<Vec<u8>> {
    let list = Seq064K::new(&EXTENSIONS).expect("the list is short");
    vec![
        frame(&RequestExtensions { request_id: 1, requested_extensions: list }),
        frame(&RequestExtensionsSuccess { request_id: 1, supported_extensions: list }),
        frame(&RequestExtensionsError {
            request_id: 1,
            unsupported_extensions: list,
            required_extensions: Seq064K::default(),
        }),
    ]
}

/// What miners send.
pub(crate) fn mining_client() -> Vec<Vec<u8>> {
    let share = SubmitSharesExtended {
        channel_id: 2,
        sequence_number: 1,
        job_id: 1,
        nonce: 5,
        ntime: 1_790_000_000,
        version: 0x2000_0000,
        extranonce: short(&[1, 2, 3, 4]),
    };
    let mut with_worker = frame(&share);
    WorkerIdentity::new("rig-7").expect("the name is short").to_tlv().encode(&mut with_worker);
    vec![
        frame(&OpenStandardMiningChannel {
            request_id: 1,
            user_identity: text("alice.1"),
            nominal_hash_rate: 1e14,
            max_target: U256::MAX,
        }),
        frame(&OpenExtendedMiningChannel {
            request_id: 2,
            user_identity: text("alice.2"),
            nominal_hash_rate: f32::NAN,
            max_target: HASH,
            min_extranonce_size: 8,
        }),
        frame(&UpdateChannel { channel_id: 2, nominal_hash_rate: 0.0, maximum_target: HASH }),
        frame(&CloseChannel { channel_id: 2, reason_code: text("bye") }),
        frame(&SubmitSharesStandard {
            channel_id: 2,
            sequence_number: 1,
            job_id: 1,
            nonce: 5,
            ntime: 1_790_000_000,
            version: 0x2000_0000,
        }),
        frame(&share),
        with_worker,
        frame(&SetCustomMiningJob {
            channel_id: 2,
            request_id: 1,
            mining_job_token: B0255::new(&[1, 2]).expect("the token is short"),
            version: 0x2000_0000,
            prev_hash: HASH,
            min_ntime: 1,
            nbits: 0x207f_ffff,
            coinbase_tx_version: 2,
            coinbase_prefix: B0255::new(&[3, 1, 2, 3]).expect("the prefix is short"),
            coinbase_tx_input_n_sequence: u32::MAX,
            coinbase_tx_outputs: long(&[0; 9]),
            coinbase_tx_locktime: 0,
            merkle_path: Seq0255::new(&PATH).expect("the path is short"),
        }),
    ]
}

/// What mining servers send.
pub(crate) fn mining_server() -> Vec<Vec<u8>> {
    vec![
        frame(&OpenStandardMiningChannelSuccess {
            request_id: 1,
            channel_id: 2,
            target: HASH,
            extranonce_prefix: short(&[1; 20]),
            group_channel_id: 1,
        }),
        frame(&OpenExtendedMiningChannelSuccess {
            request_id: 1,
            channel_id: 2,
            target: HASH,
            extranonce_size: 16,
            extranonce_prefix: short(&[1; 4]),
            group_channel_id: 1,
        }),
        frame(&OpenMiningChannelError { request_id: 1, error_code: text("unknown-user") }),
        frame(&UpdateChannelError { channel_id: 2, error_code: text("invalid-channel-id") }),
        frame(&SetExtranoncePrefix { channel_id: 2, extranonce_prefix: short(&[2; 4]) }),
        frame(&NewMiningJob {
            channel_id: 2,
            job_id: 1,
            min_ntime: Some(1),
            version: 0x2000_0000,
            merkle_root: HASH,
        }),
        frame(&NewExtendedMiningJob {
            channel_id: 1,
            job_id: 1,
            min_ntime: None,
            version: 0x2000_0000,
            version_rolling_allowed: true,
            merkle_path: Seq0255::new(&PATH).expect("the path is short"),
            coinbase_tx_prefix: long(&[1; 60]),
            coinbase_tx_suffix: long(&[2; 40]),
        }),
        frame(&SetNewPrevHash {
            channel_id: 1,
            job_id: 1,
            prev_hash: HASH,
            min_ntime: 1,
            nbits: 0x207f_ffff,
        }),
        frame(&SetTarget { channel_id: 2, maximum_target: HASH }),
        frame(&SetGroupChannel {
            group_channel_id: 1,
            channel_ids: Seq064K::new(&IDS).expect("the list is short"),
        }),
        frame(&SubmitSharesSuccess {
            channel_id: 2,
            last_sequence_number: 1,
            new_submits_accepted_count: 1,
            new_shares_sum: 1,
        }),
        frame(&SubmitSharesError {
            channel_id: 2,
            sequence_number: 1,
            error_code: text("stale-share"),
        }),
    ]
}

/// Template distribution.
pub(crate) fn templates() -> Vec<Vec<u8>> {
    vec![
        frame(&CoinbaseOutputConstraints {
            coinbase_output_max_additional_size: 100,
            coinbase_output_max_additional_sigops: 4,
        }),
        frame(&NewTemplate {
            template_id: 7,
            future_template: true,
            version: 0x2000_0000,
            coinbase_tx_version: 2,
            coinbase_prefix: B0255::new(&[3, 1, 2, 3]).expect("the prefix is short"),
            coinbase_tx_input_sequence: u32::MAX,
            coinbase_tx_value_remaining: 5_000_000_000,
            coinbase_tx_outputs_count: 1,
            coinbase_tx_outputs: long(&[0; 9]),
            coinbase_tx_locktime: 0,
            merkle_path: Seq0255::new(&PATH).expect("the path is short"),
        }),
        frame(&RequestTransactionData { template_id: 7 }),
        frame(&SubmitSolution {
            template_id: 7,
            version: 0x2000_0000,
            header_timestamp: 1,
            header_nonce: 2,
            coinbase_tx: long(&[1; 80]),
        }),
    ]
}

/// Several frames, behind the size of the pieces.
pub(crate) fn streams() -> Vec<Vec<u8>> {
    let whole = [common(), mining_client()].concat().concat();
    [1, 5, 22, 255].map(|size| [[size].as_slice(), &whole].concat()).to_vec()
}

/// TLVs: one worker, two extensions, one without a value.
pub(crate) fn tlvs() -> Vec<Vec<u8>> {
    let mut worker = Vec::new();
    WorkerIdentity::new("rig-7").expect("the name is short").to_tlv().encode(&mut worker);
    let other = [0x42, 0x42, 1, 2, 0, 5, 6];
    vec![worker.clone(), [worker.as_slice(), &other].concat(), vec![2, 0, 1, 0, 0]]
}

/// An initiator's act with what may follow it.
pub(crate) fn act_1() -> Vec<Vec<u8>> {
    let (_, act_1) = Initiator::new(None, &mut entropy()).expect("the keys are in order");
    vec![act_1.to_vec(), [act_1.as_slice(), &[0; FrameHeader::LEN + 16]].concat(), vec![0; 64]]
}

/// The answer of the server, and one to somebody else.
pub(crate) fn act_2() -> Vec<Vec<u8>> {
    let (authority, ..) = identity();
    let (_, act_1) =
        Initiator::new(Some(authority), &mut entropy()).expect("the keys are in order");
    vec![answer(&act_1), answer(&[5; 64])]
}

/// A certificate and keys as text.
pub(crate) fn keys() -> Vec<Vec<u8>> {
    let (authority, _, certificate) = identity();
    let known = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
    vec![
        certificate.to_bytes().to_vec(),
        authority.to_string().into_bytes(),
        known.as_bytes().to_vec(),
    ]
}

/// Lines of both directions.
pub(crate) fn ndjson() -> Vec<Vec<u8>> {
    let data = vec![1, 2, 3];
    let body = TemplateBody { proposal_id: ProposalId(7), index: 0, data };
    let beat = Heartbeat { seq: 5 };
    let known = [encode(&Line::TemplateBody(body)), encode(&Line::Heartbeat(beat))];
    vec![known.concat(), b"{\"msg_type\":\"heartbeat\",\"version\":2}\n\n{}\n".to_vec()]
}

/// A log with an event, a job and a share.
pub(crate) fn segments() -> Vec<Vec<u8>> {
    use gateway::log::segment::{Kind, encode};
    let mut log = Vec::new();
    let event = r#"{"event":"share_accepted","schema":1,"seq":1,"event_id":"e","share_id":"s","sv2_response":"success"}"#;
    encode(Kind::Event, event, &mut log);
    encode(Kind::Job, r#"{"job_ref":"j","prev_hash":"00"}"#, &mut log);
    encode(Kind::Share, r#"{"event_id":"e","job_ref":"j","share_id":"s"}"#, &mut log);
    let torn = log[..log.len() - 9].to_vec();
    vec![log, torn]
}

/// The largest template of each story that a real node told, alone.
fn recorded_templates() -> Vec<Vec<u8>> {
    let template_of = |line: &[u8]| {
        let line: serde_json::Value = serde_json::from_slice(line).ok()?;
        (line["method"] == "getblocktemplate").then(|| line["result"].to_string().into_bytes())
    };
    let largest = |story: Vec<u8>| {
        story.split(|byte| *byte == b'\n').filter_map(template_of).max_by_key(Vec::len)
    };
    let stories = files("scenarios/cassettes", ".ndjson").into_iter();
    let different: BTreeSet<Vec<u8>> = stories.filter_map(largest).collect();
    different.into_iter().collect()
}

/// What the embedded node answers, and what real ones did.
pub(crate) fn block_templates() -> Vec<Vec<u8>> {
    let mut node = EmbeddedNode::new(1_790_000_000);
    let node: &mut dyn Node = &mut node;
    let rules = serde_json::json!([{ "rules": ["segwit"] }]);
    let answer: serde_json::Value =
        node.ask("getblocktemplate", &rules).expect("a node without blocks has work");
    let result = answer.to_string();
    let wrapped = format!(
        r#"{{"template_id":1,"source":"n","network":"regtest","observed_at_ms":1,"mempool_tx":0,"template":{result}}}"#
    );
    [vec![result.into_bytes(), wrapped.into_bytes()], recorded_templates()].concat()
}

/// What pools, and nodes behind a template source, answer.
pub(crate) fn http() -> Vec<Vec<u8>> {
    let id = "ab".repeat(32);
    let results = format!(
        r#"{{"results":[{{"share_id":"{id}","accepted":true,"error":null}},{{"share_id":"x","accepted":false,"error":"stale"}}]}}"#
    );
    let taken = r#"{"accepted":true,"results":[{"node":"a","result":null,"error":null,"final":true},{"node":"b","result":"duplicate","error":null},{"node":"c","result":null,"error":"timeout"}]}"#;
    let found = format!(r#"{{"block":"00","hash":"{id}","height":7}}"#);
    vec![results.into_bytes(), taken.as_bytes().to_vec(), found.into_bytes()]
}

/// The first block of regtest.
pub(crate) fn blocks() -> Vec<Vec<u8>> {
    vec![serialize(&bitcoin::constants::genesis_block(bitcoin::Network::Regtest))]
}

/// Files of the source tree, so that the fuzzers know every key.
fn files(folder: &str, extension: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let disk = platform::real::Disk;
    let read = |name: &String| platform::Storage::read(&disk, &root.join(name)).ok();
    let names = platform::Storage::list(&disk, &root).unwrap_or_default();
    names.iter().filter(|name| name.ends_with(extension)).filter_map(read).collect()
}

/// Every scenario.
pub(crate) fn scenarios() -> Vec<Vec<u8>> {
    let families = [
        "auth",
        "bugs",
        "crash",
        "forward",
        "lifecycle",
        "limits",
        "modes",
        "prevhash",
        "profiles",
        "reorg",
        "shares",
        "smoke",
        "soak",
        "templates",
    ];
    families.iter().flat_map(|family| files(&format!("scenarios/{family}"), ".toml")).collect()
}

/// The gateway's example.
pub(crate) fn gateway() -> Vec<Vec<u8>> {
    files("docs/regtest", "gateway.toml")
}

/// The verifier's example.
pub(crate) fn verifier() -> Vec<Vec<u8>> {
    files("docs/regtest", "verifier.toml")
}

/// The template-manager's example.
pub(crate) fn template_manager() -> Vec<Vec<u8>> {
    files("docs/regtest", "template-manager.toml")
}

/// The policy's example.
pub(crate) fn policies() -> Vec<Vec<u8>> {
    files("docs/regtest", "policy.toml")
}
