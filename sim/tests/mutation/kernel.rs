//! The consensus code of Bitcoin Core, in this process: an oracle beside the node's proposal mode.
//! It has no blind spot for proof of work, and none for what comes after the block.

use bitcoin::consensus::encode::deserialize;
use bitcoin::{Block as Solved, Target};
use bitcoinkernel::prelude::*;
use bitcoinkernel::{
    BLOCK_CHECK_MERKLE, Block, BlockCheckResult, ChainParams, ChainType, ChainstateManager,
    Context, ContextBuilder,
};

/// A chain that follows the node's.
pub(crate) struct Kernel {
    chain: ChainstateManager,
    parameters: ChainParams,
    _context: Context,
    _directory: tempfile::TempDir,
}

impl Kernel {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let context = ContextBuilder::new().chain_type(ChainType::Regtest).build().unwrap();
        let place = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let chain = ChainstateManager::builder(&context, &place("data"), &place("blocks"))
            .unwrap()
            .block_tree_db_in_memory(true)
            .chainstate_db_in_memory(true)
            .build()
            .unwrap();
        chain.import_blocks().unwrap();
        let parameters = ChainParams::new(ChainType::Regtest);
        Self { chain, parameters, _context: context, _directory: directory }
    }

    /// Takes a block; whether it is its tip now, all of it judged.
    pub(crate) fn connects(&self, block: &[u8]) -> bool {
        let block = Block::new(block).unwrap();
        let _ = self.chain.process_block(&block);
        let tip = self.chain.active_chain().tip().block_hash().to_owned();
        tip == block.hash()
    }

    /// What it says of a block by itself: that it does not decode, or breaks a rule which needs no
    /// chain.
    pub(crate) fn objection(&self, block: &[u8]) -> Option<String> {
        let decoded = match Block::new(block) {
            Ok(decoded) => decoded,
            Err(error) => return Some(error.to_string()),
        };
        if decoded.consensus_encode().unwrap() != block {
            return Some("other bytes mean the same block".to_owned());
        }
        match decoded.check(&self.parameters, BLOCK_CHECK_MERKLE) {
            BlockCheckResult::Valid => None,
            BlockCheckResult::Invalid(state) => Some(format!("{:?}", state.result())),
        }
    }
}

/// The block with a nonce that meets its target.
pub(crate) fn solved(block: &[u8]) -> Vec<u8> {
    let mut block: Solved = deserialize(block).unwrap();
    let target = Target::from_compact(block.header.bits);
    while !target.is_met_by(block.block_hash()) {
        block.header.nonce += 1;
    }
    bitcoin::consensus::serialize(&block)
}
