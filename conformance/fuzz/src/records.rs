//! Lines, log segments, templates and blocks.

use std::path::Path;

use bytes::Bytes;
use consensus::{Declared, Options};
use gateway::log::{recovery, segment};
use templates::client::TemplateAnswer;
use templates::gbt::BlockTemplate;
use verifier_protocol::{LineDecoder, Message, decode, encode};

use crate::disk::OneFile;

/// Longest line that is fed.
const MAX_LINE: usize = 1 << 14;

/// Lines come out the same in any pieces; what decodes encodes to what decodes to the same.
pub(crate) fn ndjson(input: &[u8]) {
    let whole = lines(input, usize::MAX);
    assert_eq!(whole, lines(input, 7), "pieces change what is read");
    for line in whole {
        let Ok(message) = decode(&line) else { continue };
        let again = encode(&message);
        let text = again.strip_suffix(b"\n").expect("a line ends with a newline");
        let reread: Message = decode(text).expect("what was encoded decodes");
        assert_eq!(encode(&reread), again);
    }
}

fn lines(input: &[u8], size: usize) -> Vec<Vec<u8>> {
    let mut decoder = LineDecoder::with_max_line_bytes(MAX_LINE);
    let mut lines = Vec::new();
    for piece in input.chunks(size.min(input.len().max(1))) {
        decoder.feed(piece);
        loop {
            match decoder.next_line() {
                Ok(Some(line)) => lines.push(line.to_vec()),
                Ok(None) => break,
                Err(_) => return lines,
            }
        }
    }
    lines
}

/// Recovery ends, and a record that is read was written with its checksum.
pub(crate) fn segment(input: &[u8]) {
    for line in input.split(|byte| *byte == b'\n') {
        if let Ok(record) = segment::decode(line) {
            let mut again = Vec::new();
            segment::encode(record.kind, record.json, &mut again);
            // Its checksum may be written with capital digits.
            assert_eq!(again[8..again.len() - 1], line[8..], "another record comes back");
        }
    }
    let names = vec![segment::name(1)];
    let disk = OneFile { bytes: input, names };
    if let Ok(recovered) = recovery::recover(&disk, Path::new("log"), 9)
        && let Some(torn) = recovered.torn
    {
        assert!(torn.offset + torn.bytes <= input.len() as u64, "{torn:?} is beyond the end");
    }
}

/// A template is read or refused, whatever a node sends.
pub(crate) fn block_template(input: &[u8]) {
    if let Ok(template) = BlockTemplate::parse(input) {
        let _ = template.total_fees();
    }
    if let Ok(answer) = TemplateAnswer::parse(&Bytes::copy_from_slice(input)) {
        let _ = answer.block_template();
    }
}

/// A block is derived from or refused; what is derived stays within consensus.
pub(crate) fn block(input: &[u8]) {
    let declared = declared();
    if let Ok(derived) = consensus::check(input, &declared, &Options::default()) {
        assert_eq!(derived.height, declared.height);
        assert!(derived.weight <= 4_000_000, "it weighs {}", derived.weight);
    }
}

/// What the first block of regtest would declare.
fn declared() -> Declared {
    Declared {
        prev_hash: "00".repeat(32),
        version: 1,
        bits: 0x207f_ffff,
        time: 1_296_688_602,
        height: 0,
        coinbase_value: 5_000_000_000,
        total_fees: 0,
        tx_count: 0,
        weight: 1_140,
        sigops_cost: 4,
        coinbase_sigops: 1,
    }
}
