//! Transactions that are named instead of sent.

use bitcoin::Block;
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use verifier_protocol::{
    BodyAnnouncement, Heartbeat, HeartbeatAck, KnownTransaction, Message, TemplatePropose, TxNeed,
    body_lines, encode, known_lines,
};

use crate::world::{Template, World};

/// The lines that propose `template` with its payment left out and named by `wtxid`.
fn named(template: &Template, wtxid: [u8; 32]) -> Vec<u8> {
    let block: Block = deserialize(&template.block).unwrap();
    let mut bytes = serialize(&block.header);
    bytes.push(2);
    bytes.extend(serialize(&block.txdata[0]));
    let known = [KnownTransaction { place: 1, wtxid }];
    let id = template.propose.proposal_id;
    let body = BodyAnnouncement::beside(&bytes, &known);
    let propose = TemplatePropose { body, ..template.propose.clone() };
    let mut lines = encode(&Message::TemplatePropose(propose));
    lines.extend(known_lines(id, &known).chain(body_lines(id, &bytes)).flatten());
    lines
}

fn wtxid(template: &Template) -> [u8; 32] {
    let block: Block = deserialize(&template.block).unwrap();
    block.txdata[1].compute_wtxid().to_byte_array()
}

fn need(template: &Template) -> Option<Message> {
    Some(Message::TxNeed(TxNeed { proposal_id: template.propose.proposal_id, places: vec![1] }))
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_was_seen_need_not_be_sent_again() {
    let world = World::start().await;
    let mut first = world.gateway().await;
    let template = Template::new(1, 1);
    assert!(first.judge(&template).await.accepted);

    // Another gateway may name it as well, on another tip.
    let mut second = world.gateway().await;
    let again = Template::new(2, 2);
    second.send(&named(&again, wtxid(&template))).await;
    let judged = second.verdict().await;
    assert!(judged.verdict.accepted, "{judged:?}");

    // What is kept of it for dry runs is the whole block.
    let (_, lines) = world.get("/api/v1/template").await;
    assert!(!lines.contains("tx_known"), "{lines}");
    let whole: Vec<u8> = again.lines().concat();
    assert_eq!(lines.as_bytes(), whole);
    let (_, metrics) = world.get("/metrics").await;
    assert!(metrics.contains("verifier_transactions_known_total 1\n"), "{metrics}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_asked_for() {
    let world = World::start().await;
    let mut gateway = world.gateway().await;
    let template = Template::new(1, 1);
    gateway.send(&named(&template, wtxid(&template))).await;
    assert_eq!(gateway.receive().await, need(&template));
    assert!(gateway.judge(&template).await.accepted);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_refused_for_a_wrong_name_before_the_bytes_were_seen() {
    let world = World::start().await;
    let mut gateway = world.gateway().await;
    let other = Template::with_output(1, 1, bitcoin::ScriptBuf::from_bytes(vec![0x52]));
    assert!(gateway.judge(&other).await.accepted);

    let template = Template::new(2, 1);
    gateway.send(&named(&template, wtxid(&other))).await;
    assert_eq!(gateway.receive().await, need(&template));
    assert!(gateway.judge(&template).await.accepted);

    // With the bytes there, a wrong block is refused as ever.
    let mut wrong = Template::new(3, 1);
    wrong.propose.weight += 4;
    gateway.send(&named(&wrong, wtxid(&template))).await;
    assert_eq!(gateway.receive().await, need(&wrong));
    let verdict = gateway.judge(&wrong).await;
    assert_eq!(verdict.reason_code.as_str(), "consensus_weight_mismatch");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn names_that_do_not_fit_are_a_bad_body() {
    let world = World::start().await;
    let mut gateway = world.gateway().await;
    let template = Template::new(1, 1);
    assert!(gateway.judge(&template).await.accepted);
    // The block has two transactions, and there are three.
    let known = [KnownTransaction { place: 2, wtxid: wtxid(&template) }];
    let body = BodyAnnouncement::beside(&template.block, &known);
    let propose = TemplatePropose { body, ..template.propose.clone() };
    let id = template.propose.proposal_id;
    let mut lines = encode(&Message::TemplatePropose(propose));
    lines.extend(known_lines(id, &known).chain(body_lines(id, &template.block)).flatten());
    gateway.send(&lines).await;
    let places = vec![2];
    let asked = gateway.receive().await;
    assert_eq!(asked, Some(Message::TxNeed(TxNeed { proposal_id: id, places })));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_verifier_that_keeps_nothing_says_so() {
    let world = World::with_config("", |config| config.tx_cache_bytes = 0).await;
    let mut gateway = world.gateway().await;
    gateway.send(&encode(&Message::Heartbeat(Heartbeat { seq: 1 }))).await;
    let ack = HeartbeatAck { seq: 1, tx_known: false };
    assert_eq!(gateway.receive().await, Some(Message::HeartbeatAck(ack)));
    let template = Template::new(1, 1);
    gateway.send(&named(&template, wtxid(&template))).await;
    assert_eq!(gateway.receive().await, need(&template));
    world.stop().await;
}
