//! A found block as the log keeps it until a node has answered.

use bitcoin::BlockHash;
use gateway_core::ids::{ShareId, TemplateId, WorkerId};
use gateway_core::session::FoundBlock;
use serde::{Deserialize, Serialize};

use crate::log::Block;

/// `block` is the whole block in hex, `hash` in the order that Bitcoin's RPC prints.
#[derive(Serialize, Deserialize)]
struct LoggedBlock {
    hash: BlockHash,
    height: u32,
    template_id: u64,
    share_id: String,
    worker_id: String,
    block: String,
}

/// The block as the log keeps it.
pub(crate) fn encode_block(found: &FoundBlock) -> Block {
    let logged = LoggedBlock {
        hash: found.hash,
        height: found.height,
        template_id: found.template_id.0,
        share_id: found.share_id.to_string(),
        worker_id: found.worker_id.as_str().to_owned(),
        block: const_hex::encode(&found.bytes),
    };
    let json = serde_json::to_string(&logged).expect("texts and numbers always encode");
    Block { hash: found.hash.to_string().into(), json: json.into() }
}

/// A block from the log; `None` where it is not what this program writes.
pub(crate) fn decode_block(json: &str) -> Option<FoundBlock> {
    let logged: LoggedBlock = serde_json::from_str(json).ok()?;
    Some(FoundBlock {
        hash: logged.hash,
        height: logged.height,
        template_id: TemplateId(logged.template_id),
        share_id: ShareId(const_hex::decode_to_array(&logged.share_id).ok()?),
        worker_id: WorkerId::new(&logged.worker_id),
        bytes: const_hex::decode(&logged.block).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash as _;

    use super::*;

    #[test]
    fn a_block_comes_back_as_it_was() {
        let found = FoundBlock {
            hash: BlockHash::from_byte_array([7; 32]),
            height: 840_000,
            template_id: TemplateId(9),
            share_id: ShareId([8; 32]),
            worker_id: WorkerId::new("a worker \"quoted\""),
            bytes: vec![0, 1, 254, 255],
        };
        let logged = encode_block(&found);
        assert_eq!(*logged.hash, *found.hash.to_string());
        assert_eq!(decode_block(&logged.json), Some(found));
        assert_eq!(decode_block(r#"{"hash":"07"}"#), None);
    }
}
