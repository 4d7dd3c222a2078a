//! Cache blocks: who holds which, and which hold a prefix that another sequence can start from.
//!
//! A block is *held* by one or more sequences, or *free*. A free block may still hold a known prefix; it is found again
//! until it is handed out for something else, the longest unused one first.
//!
//! **Invariant**: a block that is held is never handed out again.
//! **Invariant**: a known block is full and never written again: equal keys mean equal tokens and pictures before and in
//! it, and the model computes equal keys and values for them.

use std::collections::{BTreeMap, HashMap};

/// Names the content of a block and of everything before it.
pub(super) type PrefixKey = [u8; 32];

/// All blocks of a cache.
#[derive(Debug)]
pub(super) struct BlockPool {
    block_tokens: usize,
    states: Vec<State>,
    /// Free blocks by the time they became free.
    free: BTreeMap<u64, u32>,
    known: HashMap<PrefixKey, u32>,
    clock: u64,
}

#[derive(Debug, Clone, Default)]
struct State {
    holders: u32,
    freed_at: u64,
    key: Option<PrefixKey>,
}

impl BlockPool {
    pub(super) fn new(blocks: usize, block_tokens: usize) -> Self {
        let states = (0..blocks).map(|at| State { freed_at: at as u64, ..State::default() }).collect();
        let free = (0..blocks as u32).map(|at| (u64::from(at), at)).collect();
        Self { block_tokens, states, free, known: HashMap::new(), clock: blocks as u64 }
    }

    /// Blocks in all.
    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    /// Blocks that can be handed out now.
    pub(super) fn available(&self) -> usize {
        self.free.len()
    }

    /// Tokens in a block.
    pub(super) fn block_tokens(&self) -> usize {
        self.block_tokens
    }

    /// Blocks that `tokens` tokens take.
    pub(super) fn blocks_for(&self, tokens: usize) -> usize {
        tokens.div_ceil(self.block_tokens)
    }

    /// Hands out a block with nothing in it.
    pub(super) fn take(&mut self) -> Option<u32> {
        let (_, block) = self.free.pop_first()?;
        let state = &mut self.states[block as usize];
        debug_assert_eq!(state.holders, 0);
        state.holders = 1;
        if let Some(key) = state.key.take() {
            self.known.remove(&key);
        }
        Some(block)
    }

    /// Hands out the block that holds `key`, if there is one.
    pub(super) fn take_known(&mut self, key: &PrefixKey) -> Option<u32> {
        let block = *self.known.get(key)?;
        let state = &mut self.states[block as usize];
        if state.holders == 0 {
            self.free.remove(&state.freed_at);
        }
        state.holders += 1;
        Some(block)
    }

    /// Says what a full block holds. Where another block holds the same, that one stays the known one.
    pub(super) fn name(&mut self, block: u32, key: PrefixKey) {
        let state = &mut self.states[block as usize];
        debug_assert!(state.holders > 0);
        if state.key.is_none() && !self.known.contains_key(&key) {
            state.key = Some(key);
            self.known.insert(key, block);
        }
    }

    /// Gives a block back.
    pub(super) fn give_back(&mut self, block: u32) {
        let state = &mut self.states[block as usize];
        assert!(state.holders > 0, "block {block} is given back by nobody");
        state.holders -= 1;
        if state.holders == 0 {
            state.freed_at = self.clock;
            self.free.insert(self.clock, block);
            self.clock += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_back_when_the_last_holder_gives_them_back() {
        let mut pool = BlockPool::new(2, 16);
        let (a, b) = (pool.take().unwrap(), pool.take().unwrap());
        assert_eq!((a, b, pool.take()), (0, 1, None));
        pool.name(a, [7; 32]);
        assert_eq!(pool.take_known(&[7; 32]), Some(a));
        pool.give_back(a);
        assert_eq!(pool.available(), 0);
        pool.give_back(a);
        assert_eq!(pool.available(), 1);
    }

    #[test]
    fn a_free_block_is_found_by_its_content_until_it_is_handed_out_again() {
        let mut pool = BlockPool::new(2, 16);
        let (a, b) = (pool.take().unwrap(), pool.take().unwrap());
        pool.name(a, [1; 32]);
        pool.name(b, [2; 32]);
        pool.give_back(b);
        pool.give_back(a);
        assert_eq!(pool.take_known(&[1; 32]), Some(a));
        assert_eq!(pool.take(), Some(b), "the other one, whose content is lost");
        assert_eq!(pool.take_known(&[2; 32]), None);
    }

    #[test]
    #[should_panic(expected = "given back by nobody")]
    fn a_block_is_not_given_back_twice() {
        let mut pool = BlockPool::new(1, 16);
        let block = pool.take().unwrap();
        pool.give_back(block);
        pool.give_back(block);
    }
}
