//! The tree of blocks and the chain with the most work in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bitcoin::consensus::Params;
use bitcoin::{Block, BlockHash, CompactTarget, Network, Target, Transaction, Work};

use super::check::{self, Coins, Context, Reject, Undo};

/// A block whose header was accepted.
pub(super) struct Entry {
    pub(super) block: Arc<Block>,
    pub(super) height: u32,
    pub(super) work: Work,
    /// Whether its body is known: a body that does not fit its header leaves the header alone.
    stored: bool,
    failed: bool,
    /// The median time of the eleven blocks that end here.
    pub(super) median_time: u32,
}

/// What became of a submitted block.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The new tip. The transactions of blocks that left the chain, oldest first.
    Connected(Vec<Transaction>),
    /// A valid header and body beside the active chain.
    Inconclusive,
    /// Known already.
    Duplicate,
    /// Refused.
    Rejected(Reject),
}

/// All blocks, the active chain, and its unspent outputs.
pub(super) struct Chain {
    entries: BTreeMap<BlockHash, Entry>,
    active: Vec<BlockHash>,
    undo: Vec<Undo>,
    pub(super) coins: Coins,
    /// The target of every block after the genesis block.
    pub(super) bits: CompactTarget,
}

impl Chain {
    pub(super) fn new(bits: CompactTarget) -> Self {
        let genesis = bitcoin::constants::genesis_block(Params::new(Network::Regtest));
        let hash = genesis.block_hash();
        let entry = Entry {
            height: 0,
            work: genesis.header.work(),
            median_time: genesis.header.time,
            stored: true,
            failed: false,
            block: Arc::new(genesis),
        };
        Self {
            entries: BTreeMap::from([(hash, entry)]),
            active: vec![hash],
            // The genesis block's output can never be spent.
            undo: vec![Undo::new()],
            coins: Coins::new(),
            bits,
        }
    }

    pub(super) fn tip(&self) -> BlockHash {
        *self.active.last().expect("the genesis block is never taken back")
    }

    pub(super) fn tip_entry(&self) -> &Entry {
        &self.entries[&self.tip()]
    }

    pub(super) fn height(&self) -> u32 {
        self.tip_entry().height
    }

    /// The hash of the active chain's block at `height`.
    pub(super) fn hash_at(&self, height: u32) -> Option<BlockHash> {
        self.active.get(usize::try_from(height).ok()?).copied()
    }

    /// A block with a known body.
    pub(super) fn entry(&self, hash: &BlockHash) -> Option<&Entry> {
        self.entries.get(hash).filter(|entry| entry.stored)
    }

    pub(super) fn is_active(&self, hash: &BlockHash) -> bool {
        self.entries.get(hash).is_some_and(|entry| self.hash_at(entry.height) == Some(*hash))
    }

    /// The greatest height of any known header.
    pub(super) fn headers(&self) -> u32 {
        self.entries.values().map(|entry| entry.height).max().unwrap_or_default()
    }

    /// What a block on `parent` must obey.
    pub(super) fn context_on(&self, parent: &Entry, now: u64) -> Context {
        Context { height: parent.height + 1, median_time: parent.median_time, bits: self.bits, now }
    }

    /// Judges a block as `getblocktemplate` in proposal mode does: without proof of work, on the
    /// tip, and changing nothing.
    pub(super) fn propose(&mut self, block: &Block, now: u64) -> Result<(), Reject> {
        if let Some(entry) = self.entries.get(&block.block_hash()) {
            let reason = if entry.failed {
                "duplicate-invalid"
            } else if self.is_active(&block.block_hash()) {
                "duplicate"
            } else {
                "duplicate-inconclusive"
            };
            return Err(reason.into());
        }
        if block.header.prev_blockhash != self.tip() {
            return Err("inconclusive-not-best-prevblk".into());
        }
        let context = self.context_on(self.tip_entry(), now);
        check::check_header(&block.header, &context)?;
        check::check_block(block, false)?;
        check::check_in_context(block, &context)?;
        let undo = check::connect(block, &context, &mut self.coins)?;
        check::disconnect(block, undo, &mut self.coins);
        Ok(())
    }

    /// Takes a block in, and makes it the tip if it has the most work.
    pub(super) fn submit(&mut self, block: Block, now: u64) -> Outcome {
        let hash = block.block_hash();
        match self.accept(block, now) {
            Ok(true) => {}
            Ok(false) => return Outcome::Duplicate,
            Err(reject) => return Outcome::Rejected(reject),
        }
        if self.entries[&hash].work <= self.tip_entry().work {
            return Outcome::Inconclusive;
        }
        self.activate(hash, now)
    }

    /// Checks and stores a block; false when it was known.
    fn accept(&mut self, block: Block, now: u64) -> Result<bool, Reject> {
        check::check_block(&block, true)?;
        let hash = block.block_hash();
        match self.entries.get(&hash) {
            Some(entry) if entry.failed => return Err("duplicate-invalid".into()),
            Some(entry) if entry.stored => return Ok(false),
            _ => {}
        }
        let parent = self
            .entries
            .get(&block.header.prev_blockhash)
            .filter(|parent| parent.stored || parent.failed)
            .ok_or_else(|| Reject::from("prev-blk-not-found"))?;
        if parent.failed {
            return Err("bad-prevblk".into());
        }
        let context = self.context_on(parent, now);
        check::check_header(&block.header, &context)?;
        let body = check::check_in_context(&block, &context);
        let entry = Entry {
            height: context.height,
            work: parent.work + block.header.work(),
            median_time: self.median_time(&block),
            stored: body.is_ok(),
            failed: body.as_ref().is_err_and(|reject| !reject.mutated),
            block: Arc::new(block),
        };
        self.entries.insert(hash, entry);
        body.map(|()| true)
    }

    fn median_time(&self, block: &Block) -> u32 {
        let mut times = vec![block.header.time];
        let mut parent = self.entries.get(&block.header.prev_blockhash);
        while let Some(entry) = parent.filter(|_| times.len() < 11) {
            times.push(entry.block.header.time);
            parent = self.entries.get(&entry.block.header.prev_blockhash);
        }
        times.sort_unstable();
        times[times.len() / 2]
    }

    /// Makes `tip` the end of the active chain, or restores the chain when a block on the way
    /// does not connect.
    fn activate(&mut self, tip: BlockHash, now: u64) -> Outcome {
        let mut branch = Vec::new();
        let mut hash = tip;
        while !self.is_active(&hash) {
            branch.push(hash);
            hash = self.entries[&hash].block.header.prev_blockhash;
        }
        branch.reverse();
        let old = self.disconnect_to(self.entries[&hash].height);
        for (index, hash) in branch.iter().enumerate() {
            if let Err(reject) = self.connect(*hash, now) {
                for failed in &branch[index..] {
                    self.entries.get_mut(failed).expect("it was just walked").failed = true;
                }
                self.disconnect_to(self.height() - index as u32);
                for hash in old {
                    self.connect(hash, now).expect("it was connected before");
                }
                // The submitted block itself was only judged if it was the one refused.
                return match *hash == tip {
                    true => Outcome::Rejected(reject),
                    false => Outcome::Inconclusive,
                };
            }
        }
        let left = old.iter().flat_map(|hash| self.entries[hash].block.txdata.iter().skip(1));
        Outcome::Connected(left.cloned().collect())
    }

    fn connect(&mut self, hash: BlockHash, now: u64) -> Result<(), Reject> {
        let block = Arc::clone(&self.entries[&hash].block);
        let context = self.context_on(&self.entries[&block.header.prev_blockhash], now);
        self.undo.push(check::connect(&block, &context, &mut self.coins)?);
        self.active.push(hash);
        Ok(())
    }

    /// Takes blocks back until `height` is the tip's; their hashes, oldest first.
    fn disconnect_to(&mut self, height: u32) -> Vec<BlockHash> {
        let mut taken = Vec::new();
        while self.height() > height {
            let undo = self.undo.pop().expect("as long as the active chain");
            let hash = self.active.pop().expect("longer than one block");
            check::disconnect(&self.entries[&hash].block, undo, &mut self.coins);
            taken.push(hash);
        }
        taken.reverse();
        taken
    }

    /// The target as a number.
    pub(super) fn target(&self) -> Target {
        Target::from_compact(self.bits)
    }
}
