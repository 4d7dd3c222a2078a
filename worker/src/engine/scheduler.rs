//! Who is computed in the next pass. Pure: no clock, no model.
//!
//! Requests that generate go first, a token or a few each; what is left of a pass's room goes to prompts, in order of
//! arrival, in chunks that do not cut a picture. When the cache runs out, the youngest request gives its blocks back and
//! is computed again later; the oldest always goes on, so all end.

use std::collections::VecDeque;

use super::blocks::BlockPool;
use super::sequence::{RequestId, Sequence};

/// How much goes into one pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassLimits {
    /// Requests in flight at once.
    pub requests: usize,
    /// New tokens in one pass; at least the tokens of a picture, which is not cut.
    pub tokens: usize,
}

/// A part of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) id: RequestId,
    /// Pending tokens to compute.
    pub(super) tokens: usize,
}

/// Requests that wait and requests in flight.
pub(super) struct Scheduler<I> {
    pub(super) pool: BlockPool,
    limits: PassLimits,
    /// In order of arrival, oldest first, as is `running`.
    waiting: VecDeque<Sequence<I>>,
    running: Vec<Sequence<I>>,
    preemptions: u64,
    /// Prompt tokens that requests found in the cache when they were first let in.
    tokens_cached: u64,
}

impl<I> Scheduler<I> {
    pub(super) fn new(pool: BlockPool, limits: PassLimits) -> Self {
        Self { pool, limits, waiting: VecDeque::new(), running: Vec::new(), preemptions: 0, tokens_cached: 0 }
    }

    pub(super) fn add(&mut self, sequence: Sequence<I>) {
        self.waiting.push_back(sequence);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Requests in flight and requests that wait.
    pub(super) fn load(&self) -> (usize, usize) {
        (self.running.len(), self.waiting.len())
    }

    /// How often a request had to give its blocks back.
    pub(super) fn preemptions(&self) -> u64 {
        self.preemptions
    }

    /// Prompt tokens that were found in the cache. A request that comes back after it gave its blocks away counts no more: it
    /// would find what it computed itself.
    pub(super) fn tokens_cached(&self) -> u64 {
        self.tokens_cached
    }

    pub(super) fn get(&self, id: RequestId) -> Option<&Sequence<I>> {
        self.running.iter().find(|sequence| sequence.id == id)
    }

    pub(super) fn get_mut(&mut self, id: RequestId) -> Option<&mut Sequence<I>> {
        self.running.iter_mut().find(|sequence| sequence.id == id)
    }

    /// Takes a request out, whether it runs or waits.
    pub(super) fn remove(&mut self, id: RequestId) -> Option<Sequence<I>> {
        if let Some(at) = self.waiting.iter().position(|sequence| sequence.id == id) {
            return self.waiting.remove(at);
        }
        let at = self.running.iter().position(|sequence| sequence.id == id)?;
        let mut sequence = self.running.remove(at);
        self.clear(&mut sequence);
        Some(sequence)
    }

    /// Takes out the requests whose answers are finished.
    pub(super) fn take_finished(&mut self) -> Vec<Sequence<I>> {
        let ids: Vec<_> = self.running.iter().filter(|s| s.is_finished()).map(|s| s.id).collect();
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// Plans one pass, and gives each request in it the blocks that it needs. Empty only when there is nothing to do.
    pub(super) fn plan(&mut self) -> Vec<Planned> {
        self.admit();
        let mut plan = Vec::new();
        let mut room = self.limits.tokens;
        // Prompts keep room for one picture, or a steady stream of generation would hold them up for ever.
        let largest = self.running.iter().filter(|s| !s.is_generating()).flat_map(|s| &s.prompt.images);
        let reserve = largest.map(|image| image.span.len()).max().unwrap_or(0);
        self.plan_phase(true, &mut plan, room.saturating_sub(reserve), &mut room);
        let left = room;
        self.plan_phase(false, &mut plan, left, &mut room);
        plan.sort_by_key(|planned| planned.id);
        plan
    }

    /// Makes a plan smaller: the older half of its requests, or half the tokens of the only one. What is left out keeps its
    /// blocks, and is planned again. Says no where nothing less can be computed.
    pub(super) fn halve(&self, plan: &mut Vec<Planned>) -> bool {
        match &mut plan[..] {
            [] => false,
            [only] => {
                let Some(sequence) = self.get(only.id) else { return false };
                let fewer = sequence.chunk(only.tokens / 2).max(sequence.least_chunk());
                let is_less = fewer < only.tokens;
                only.tokens = fewer.min(only.tokens);
                is_less
            }
            [..] => {
                plan.truncate(plan.len() / 2);
                true
            }
        }
    }

    /// Plans the requests that generate, or those that read their prompts, into `share` tokens of the pass.
    fn plan_phase(&mut self, generating: bool, plan: &mut Vec<Planned>, mut share: usize, room: &mut usize) {
        let ids: Vec<_> = self.running.iter().filter(|s| s.is_generating() == generating).map(|s| s.id).collect();
        for id in ids {
            let Some(tokens) = self.get(id).map(|sequence| sequence.chunk(share)) else { continue };
            if tokens > 0 && self.reserve_blocks(id, tokens, plan) {
                plan.push(Planned { id, tokens });
                share -= tokens;
                *room -= tokens;
            }
        }
    }

    /// Lets waiting requests in while the cache has room for their prompts.
    fn admit(&mut self) {
        while self.running.len() < self.limits.requests {
            let Some(mut sequence) = self.waiting.pop_front() else { return };
            self.share_prefix(&mut sequence);
            let wanted = self.pool.blocks_for(sequence.tokens.len()) - sequence.blocks.len();
            if wanted > self.pool.available() && !self.running.is_empty() {
                self.clear(&mut sequence);
                self.waiting.push_front(sequence);
                return;
            }
            if std::mem::take(&mut sequence.is_new) {
                self.tokens_cached += sequence.computed as u64;
            }
            self.running.push(sequence);
        }
    }

    /// Starts a request from the longest prefix that the cache still holds.
    fn share_prefix(&mut self, sequence: &mut Sequence<I>) {
        let block_tokens = self.pool.block_tokens();
        let most = sequence.sharable_blocks(block_tokens);
        while sequence.blocks.len() < most {
            let key = sequence.prefix_key(sequence.blocks.len(), block_tokens);
            let Some(block) = self.pool.take_known(&key) else { break };
            sequence.blocks.push(block);
        }
        // A prefix may end inside a picture, which is computed in one piece: go back to its start.
        let mut end = sequence.blocks.len() * block_tokens;
        while let Some(image) = sequence.prompt.images.iter().find(|i| i.span.start < end && end < i.span.end) {
            end = image.span.start / block_tokens * block_tokens;
        }
        for block in sequence.blocks.split_off(end / block_tokens) {
            self.pool.give_back(block);
        }
        sequence.computed = end;
    }

    /// Gives `id` the blocks for `tokens` more tokens, taking them from younger requests where there are none.
    fn reserve_blocks(&mut self, id: RequestId, tokens: usize, plan: &mut Vec<Planned>) -> bool {
        loop {
            let Some(sequence) = self.running.iter_mut().find(|sequence| sequence.id == id) else { return false };
            let wanted = self.pool.blocks_for(sequence.computed + tokens);
            while sequence.blocks.len() < wanted {
                let Some(block) = self.pool.take() else { break };
                sequence.blocks.push(block);
            }
            if sequence.blocks.len() >= wanted {
                return true;
            }
            let Some(youngest) = self.running.last().map(|sequence| sequence.id).filter(|last| *last > id) else {
                return false;
            };
            plan.retain(|planned| planned.id != youngest);
            self.preempt(youngest);
        }
    }

    fn preempt(&mut self, id: RequestId) {
        let Some(sequence) = self.remove(id) else { return };
        self.preemptions += 1;
        self.waiting.push_front(sequence);
    }

    /// Gives all blocks of a request back; what it has computed is lost, unless its prefix is found again.
    fn clear(&mut self, sequence: &mut Sequence<I>) {
        sequence.computed = 0;
        for block in sequence.blocks.drain(..).rev() {
            self.pool.give_back(block);
        }
    }

    /// Notes that `tokens` pending tokens of `id` are in the cache, and names the blocks that they filled.
    pub(super) fn mark_computed(&mut self, id: RequestId, tokens: usize) {
        let block_tokens = self.pool.block_tokens();
        let Some(sequence) = self.running.iter_mut().find(|sequence| sequence.id == id) else { return };
        let before = sequence.computed / block_tokens;
        sequence.computed += tokens;
        let full = (sequence.computed / block_tokens).min(sequence.prompt.tokens.len() / block_tokens);
        for at in before..full {
            let key = sequence.prefix_key(at, block_tokens);
            self.pool.name(sequence.blocks[at], key);
        }
    }
}
