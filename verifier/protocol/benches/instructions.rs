//! Instructions that reading a proposal takes (`cargo ci bench`).
#![allow(missing_docs)] // The macros make public modules.

use gungraun::prelude::*;
use verifier_protocol::{
    Body, BodyAnnouncement, BodyAssembler, KnownTransaction, LineDecoder, Message, Mode,
    ProposalId, TemplatePropose, body_lines, decode, encode, known_lines,
};

const ID: ProposalId = ProposalId(7);
/// The bytes of a full block, and of one whose transactions were seen before.
const FULL: usize = 1_300_000;
const REST: usize = 300;
/// The transactions of a full block.
const SEEN: u32 = 3_700;

/// A proposal's lines, as they come from the socket.
fn lines(bytes: usize, known: u32) -> Vec<u8> {
    let body: Vec<u8> = (0..bytes).map(|index| (index * 7 % 251) as u8).collect();
    let known: Vec<_> =
        (1..=known).map(|place| KnownTransaction { place, wtxid: [place as u8; 32] }).collect();
    let propose = TemplatePropose {
        proposal_id: ID,
        mode: Mode::Inline,
        height: 900_000,
        prev_hash: "0f".repeat(32),
        block_version: 0x2000_0000,
        bits: 0x1d00_ffff,
        curtime: 1_800_000_000,
        coinbase_value: 312_500_000,
        tx_count: SEEN,
        total_fees: 10_000_000,
        weight: 3_990_000,
        sigops_cost: 3_700,
        coinbase_sigops: 0,
        observed_at_ms: 1_800_000_000_000,
        gateway_instance_id: "gateway".to_owned(),
        body: BodyAnnouncement::beside(&body, &known),
    };
    let first = encode(&Message::TemplatePropose(propose));
    let rest = known_lines(ID, &known).chain(body_lines(ID, &body));
    std::iter::once(first).chain(rest).flatten().collect()
}

#[library_benchmark]
#[bench::full(lines(FULL, 0))]
#[bench::seen(lines(REST, SEEN))]
fn read(lines: Vec<u8>) -> Body {
    let (mut decoder, mut assembler) = (LineDecoder::new(), None);
    decoder.feed(&lines);
    while let Some(line) = decoder.next_line().expect("no line is too long") {
        match decode(line).expect("we wrote it") {
            Message::TemplatePropose(propose) => {
                assembler = BodyAssembler::new(&propose.body).ok();
            }
            Message::TxKnown(known) => {
                let assembler = assembler.as_mut().expect("the proposal comes first");
                assembler.push_known(&known).expect("as announced");
            }
            Message::TemplateBody(piece) => {
                let assembler = assembler.as_mut().expect("the proposal comes first");
                if let Some(body) = assembler.push(&piece).expect("as announced") {
                    return body;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("the body is not whole")
}

library_benchmark_group!(name = protocol, benchmarks = [read]);
main!(library_benchmark_groups = protocol);
