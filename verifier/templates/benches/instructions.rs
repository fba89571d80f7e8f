//! Instructions that reading a full template takes (`cargo ci bench`).
#![allow(missing_docs, unused_qualifications)] // What the macros make.

use std::fmt::Write as _;

use gungraun::prelude::*;
use templates::gbt::BlockTemplate;

/// Transactions of a full block, and bytes of each.
const FULL: (usize, usize) = (4000, 250);

/// An answer of `getblocktemplate` with as much in it as a full block has. What the transactions
/// hold is of no account here: nobody decodes them yet.
fn answer(transactions: usize) -> String {
    let mut entries = String::new();
    for number in 0..transactions {
        let comma = if number == 0 { "" } else { "," };
        let (data, id) = (format!("{number:08x}").repeat(FULL.1 / 4), format!("{number:064x}"));
        write!(
            entries,
            r#"{comma}{{"data":"{data}","txid":"{id}","hash":"{id}","depends":[],"fee":1500,"#
        )
        .and_then(|()| write!(entries, r#""sigops":4,"weight":{}}}"#, 4 * FULL.1))
        .expect("writing to text cannot fail");
    }
    let tip = format!("{:064x}", 7);
    format!(
        r#"{{"version":536870912,"previousblockhash":"{tip}","transactions":[{entries}],
        "coinbasevalue":312500000,"longpollid":"x","target":"{tip}","mintime":1799999000,
        "mutable":[],"noncerange":"00000000ffffffff","sigoplimit":80000,"sizelimit":4000000,
        "weightlimit":4000000,"curtime":1800000000,"bits":"1d00ffff","height":900000}}"#
    )
}

#[library_benchmark]
#[bench::empty(answer(0))]
#[bench::full(answer(FULL.0))]
fn parse(answer: String) -> BlockTemplate {
    BlockTemplate::parse(answer.as_bytes()).expect("the answer is whole")
}

library_benchmark_group!(name = answers, benchmarks = [parse]);
main!(library_benchmark_groups = answers);
