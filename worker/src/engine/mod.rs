//! The engine: requests in time. It batches whatever is asked at once, and promises that an answer does not depend on
//! what else was in the batch.
//!
//! # Layout
//! - [`request`]: what is asked and what is answered
//! - [`handle`]: the engine on its own thread, for callers that must not block
//! - `scheduler`: who is computed in the next pass
//! - `blocks`: the paged cache: who holds which block, and which hold a known prefix
//! - `image_cache`: encoded pictures by digest
//! - `grammar`: which tokens may, or must, come next; how an answer is closed
//! - `sampler`: how the next token is to be chosen
//! - `sequence`: one request on its way
//! - [`tokenizer`]: text to tokens and back
//! - [`language_model`]: what is needed of a model; [`device`]: a loaded one; [`room`]: how large its cache is
//!
//! **Invariant**: nothing here knows DICOM, findings, jobs or gRPC.
//! **Invariant**: equal requests get equal answers, whatever else runs, is preempted or is found in a cache.
//! **Invariant**: an answer under a grammar parses, also when its budget ended; then it says so.

pub mod device;
pub mod handle;
pub mod language_model;
pub mod request;
pub mod room;
pub mod tokenizer;

mod blocks;
mod grammar;
mod image_cache;
mod sampler;
mod scheduler;
mod sequence;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use prelim_kernels::{Choice, DeviceError, Pick};

use blocks::BlockPool;
use grammar::Grammars;
use image_cache::{ImageCache, ImageKey};
use language_model::{Capacity, Chunk, LanguageModel};
use request::{Completion, Cost, EngineError, Picture, Request};
use sampler::Wish;
use scheduler::{Planned, Scheduler};
use sequence::Sequence;
use tokenizer::Tokenizer;

pub use grammar::{GrammarError, GrammarSpec};
pub use scheduler::PassLimits;
pub use sequence::RequestId;

/// Encoded pictures that are kept. A study's prompts use each a few times, close together.
const KEPT_IMAGES: usize = 64;

/// Pictures that go through the vision tower in one go: bounds the memory for their patches.
const IMAGES_PER_PASS: usize = 8;

/// The token chosen for a request, or why there is none.
type Chosen = Result<Choice, EngineError>;

/// The work of one step, in tokens, for progress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Requests in flight.
    pub running: usize,
    /// Requests that wait.
    pub waiting: usize,
    /// Prompt tokens computed since the start; not those found in the cache.
    pub prompt_tokens: u64,
    /// Prompt tokens that requests found in the cache when they were first let in.
    pub prompt_tokens_cached: u64,
    /// Tokens generated since the start.
    pub generated_tokens: u64,
    /// Of them, tokens that a grammar forced or that closed an answer: nothing was chosen for them.
    pub forced_tokens: u64,
    /// Pictures that went through the vision tower.
    pub images_encoded: u64,
    /// Pictures found encoded, for an earlier request or another of a pass; not those whose tokens were found in the cache.
    pub images_cached: u64,
    /// How often a request gave its cache blocks back and was computed again.
    pub preemptions: u64,
}

impl Progress {
    /// Adds what a request's answer has grown by.
    fn note_generated(&mut self, before: &Cost, now: &Cost) {
        self.generated_tokens += (now.generated_tokens - before.generated_tokens) as u64;
        self.forced_tokens += (now.forced_tokens - before.forced_tokens) as u64;
    }
}

/// A batch engine around one model.
pub struct Engine<M: LanguageModel> {
    model: M,
    capacity: Capacity,
    tokenizer: Tokenizer,
    grammars: Grammars,
    scheduler: Scheduler<M::Image>,
    images: ImageCache<M::Image>,
    finished: Vec<(RequestId, Result<Completion, EngineError>)>,
    next_id: u64,
    progress: Progress,
}

impl<M: LanguageModel> Engine<M> {
    /// An engine for `model`. The token limit of a pass is raised to what one picture and every request need.
    pub fn new(model: M, tokenizer: Tokenizer, limits: PassLimits) -> Result<Self, EngineError> {
        let capacity = model.capacity();
        if tokenizer.vocabulary() != capacity.vocabulary {
            return Err(EngineError::Prompt("tokenizer and model disagree on the size of the vocabulary"));
        }
        let requests = limits.requests.max(1);
        let limits = PassLimits { requests, tokens: limits.tokens.max(capacity.image_tokens + requests) };
        Ok(Self {
            capacity,
            grammars: Grammars::new(tokenizer.clone())?,
            scheduler: Scheduler::new(BlockPool::new(capacity.blocks, capacity.block_tokens), limits),
            images: ImageCache::new(KEPT_IMAGES),
            finished: Vec::new(),
            next_id: 0,
            progress: Progress::default(),
            tokenizer,
            model,
        })
    }

    /// Takes a request. Refuses at once what can never be answered, with the numbers.
    pub fn submit(&mut self, request: Request) -> Result<RequestId, EngineError> {
        self.check(&request)?;
        let constraint = request.grammar.as_ref().map(|spec| self.grammars.constraint(spec)).transpose()?;
        let id = RequestId(self.next_id);
        self.next_id += 1;
        let sequence = Sequence::new(id, request, constraint, &self.tokenizer)?;
        self.progress.note_generated(&Cost::default(), &sequence.cost);
        if sequence.is_finished() {
            self.finished.push((id, Ok(sequence.into_completion())));
        } else {
            self.scheduler.add(sequence);
        }
        Ok(id)
    }

    /// Withdraws a request; one that is not in flight any more is left alone.
    pub fn cancel(&mut self, id: RequestId) {
        if self.scheduler.remove(id).is_some() {
            self.finished.push((id, Err(EngineError::Cancelled)));
        }
    }

    /// Nothing is left to do.
    pub fn is_idle(&self) -> bool {
        self.scheduler.is_idle() && self.finished.is_empty()
    }

    /// Where the engine stands.
    pub fn progress(&self) -> Progress {
        let (running, waiting) = self.scheduler.load();
        let (preemptions, prompt_tokens_cached) = (self.scheduler.preemptions(), self.scheduler.tokens_cached());
        Progress { running, waiting, preemptions, prompt_tokens_cached, ..self.progress }
    }

    /// One pass of the model, and what came of it: the requests that ended. A pass that the device has no memory for is made
    /// smaller, until it has; a request ends where it has none for a part of that request alone.
    pub fn step(&mut self) -> Vec<(RequestId, Result<Completion, EngineError>)> {
        let mut plan = self.scheduler.plan();
        loop {
            match self.encode_images(&plan).and_then(|()| self.compute(&plan)) {
                Ok(choices) => self.advance(&plan, choices),
                Err(error) if error.is_out_of_memory() && self.scheduler.halve(&mut plan) => {
                    tracing::warn!(%error, requests = plan.len(), "no room for a pass: it is made smaller");
                    continue;
                }
                Err(error) => self.fail(&plan, &error),
            }
            return self.retire();
        }
    }

    /// Encodes the pictures that this pass is the first to show.
    fn encode_images(&mut self, plan: &[Planned]) -> Result<(), DeviceError> {
        let mut wanted: Vec<(RequestId, usize, Option<usize>, Arc<Picture>)> = Vec::new();
        for planned in plan {
            let Some(sequence) = self.scheduler.get(planned.id) else { continue };
            let adapter = self.model.picture_adapter(sequence.adapter);
            for index in sequence.images_in(sequence.computed..sequence.computed + planned.tokens) {
                if sequence.images[index].is_none() {
                    wanted.push((planned.id, index, adapter, Arc::clone(&sequence.prompt.images[index].picture)));
                }
            }
        }
        let mut fresh: BTreeMap<Option<usize>, Vec<Arc<Picture>>> = BTreeMap::new();
        let mut ready: HashMap<ImageKey, M::Image> = HashMap::new();
        for (_, _, adapter, picture) in &wanted {
            let (key, fresh) = ((picture.digest, *adapter), fresh.entry(*adapter).or_default());
            if ready.contains_key(&key) || fresh.iter().any(|known| known.digest == picture.digest) {
                continue;
            }
            match self.images.get(&key) {
                Some(image) => drop(ready.insert(key, image)),
                None => fresh.push(Arc::clone(picture)),
            }
        }
        let cached = wanted.len() - fresh.values().map(Vec::len).sum::<usize>();
        let started = Instant::now();
        for (adapter, pictures) in fresh {
            for group in pictures.chunks(IMAGES_PER_PASS) {
                let pixels: Vec<&[f32]> = group.iter().map(|picture| &*picture.pixels).collect();
                let encoded = self.model.encode(&pixels, adapter)?;
                self.progress.images_encoded += group.len() as u64;
                for (picture, image) in group.iter().zip(encoded) {
                    self.images.put((picture.digest, adapter), image.clone());
                    ready.insert((picture.digest, adapter), image);
                }
            }
        }
        self.progress.images_cached += cached as u64;
        let share_ms = milliseconds(started) / wanted.len().max(1) as f64;
        for (id, index, adapter, picture) in wanted {
            if let Some(sequence) = self.scheduler.get_mut(id) {
                sequence.images[index] = ready.get(&(picture.digest, adapter)).cloned();
                sequence.cost.vision_ms += share_ms;
            }
        }
        Ok(())
    }

    /// Runs the pass, and chooses a token for the requests whose last token is computed, in order. What the grammars allow is
    /// worked out while the device computes.
    fn compute(&mut self, plan: &[Planned]) -> Result<Vec<Chosen>, DeviceError> {
        if plan.is_empty() {
            return Ok(Vec::new());
        }
        let chunks: Vec<_> =
            plan.iter().filter_map(|p| self.scheduler.get(p.id).map(|sequence| chunk(sequence, p.tokens))).collect();
        let started = Instant::now();
        let scores = self.model.forward(&chunks)?;
        drop(chunks);
        let wishes: Vec<Result<Wish, GrammarError>> = plan
            .iter()
            .filter_map(|planned| {
                let sequence = self.scheduler.get_mut(planned.id)?;
                (sequence.pending() == planned.tokens).then(|| sequence.wish())
            })
            .collect();
        // A request whose grammar is stuck has its row, too.
        let picks: Vec<Pick<'_>> =
            wishes.iter().map(|wish| wish.as_ref().map_or_else(|_| Pick::default(), Wish::pick)).collect();
        let choices = self.model.choose(&scores, &picks)?;
        let spent_ms = milliseconds(started);
        drop(picks);
        let tokens: usize = plan.iter().map(|planned| planned.tokens).sum();
        for planned in plan {
            let Some(sequence) = self.scheduler.get_mut(planned.id) else { continue };
            let share_ms = spent_ms * planned.tokens as f64 / tokens as f64;
            if sequence.is_generating() {
                sequence.cost.generate_ms += share_ms;
            } else {
                sequence.cost.prefill_ms += share_ms;
                self.progress.prompt_tokens += planned.tokens as u64;
            }
        }
        let chosen = wishes.into_iter().zip(choices);
        Ok(chosen
            .map(|(wish, choice)| wish.map_err(EngineError::from).and(choice.map_err(EngineError::from)))
            .collect())
    }

    /// Notes what is computed, and gives every request the token that was chosen for it.
    fn advance(&mut self, plan: &[Planned], choices: Vec<Chosen>) {
        let mut choices = choices.into_iter();
        for planned in plan {
            self.scheduler.mark_computed(planned.id, planned.tokens);
            let Some(sequence) = self.scheduler.get_mut(planned.id) else { continue };
            if sequence.pending() > 0 {
                continue;
            }
            let Some(choice) = choices.next() else { continue };
            let before = sequence.cost;
            let advanced = choice.and_then(|choice| sequence.advance(choice, &self.tokenizer));
            self.progress.note_generated(&before, &sequence.cost);
            if let Err(error) = advanced {
                self.scheduler.remove(planned.id);
                self.finished.push((planned.id, Err(error)));
            }
        }
    }

    /// Ends the requests of a pass that the model could not make.
    fn fail(&mut self, plan: &[Planned], error: &DeviceError) {
        let kind = if error.is_out_of_memory() { EngineError::Memory } else { EngineError::Model };
        for planned in plan {
            self.scheduler.remove(planned.id);
            self.finished.push((planned.id, Err(kind(error.to_string()))));
        }
    }

    /// Takes out what has ended.
    fn retire(&mut self) -> Vec<(RequestId, Result<Completion, EngineError>)> {
        let done = self.scheduler.take_finished();
        self.finished.extend(done.into_iter().map(|sequence| (sequence.id, Ok(sequence.into_completion()))));
        std::mem::take(&mut self.finished)
    }

    /// Whether the request fits model and cache at all.
    fn check(&self, request: &Request) -> Result<(), EngineError> {
        let (prompt, capacity) = (&request.prompt, &self.capacity);
        let need = |good: bool, problem| if good { Ok(()) } else { Err(EngineError::Prompt(problem)) };
        need(!prompt.tokens.is_empty(), "it is empty")?;
        need(request.max_new_tokens > 0, "its answer may have no token")?;
        need(request.adapter.is_none_or(|adapter| adapter < capacity.adapters), "the model has no such adapter")?;
        need(
            prompt.tokens.iter().all(|token| (*token as usize) < capacity.vocabulary),
            "a token is not in the vocabulary",
        )?;
        let mut end = 0;
        for image in &prompt.images {
            need(image.span.start >= end && image.span.end <= prompt.tokens.len(), "pictures overlap or lie outside")?;
            need(image.span.len() == capacity.image_tokens, "a picture has the wrong number of tokens")?;
            need(image.picture.pixels.len() == capacity.picture_values, "a picture has the wrong size")?;
            end = image.span.end;
        }
        let longest = prompt.tokens.len() + request.max_new_tokens;
        if longest > capacity.positions {
            return Err(EngineError::TooLong {
                prompt_tokens: prompt.tokens.len(),
                max_new_tokens: request.max_new_tokens,
                positions: capacity.positions,
            });
        }
        let (needed, blocks) = (self.scheduler.pool.blocks_for(longest), self.scheduler.pool.len());
        if needed > blocks {
            return Err(EngineError::TooLargeForCache { needed, blocks, block_tokens: capacity.block_tokens });
        }
        Ok(())
    }
}

/// The next `tokens` pending tokens of a request, as the model takes them.
fn chunk<I>(sequence: &Sequence<I>, tokens: usize) -> Chunk<'_, I> {
    let positions = sequence.computed..sequence.computed + tokens;
    let images = sequence.images_in(positions.clone()).filter_map(|index| {
        let image = sequence.images[index].as_ref()?;
        Some((sequence.prompt.images[index].span.clone(), image))
    });
    Chunk {
        start: positions.start,
        tokens: &sequence.tokens[positions.clone()],
        images: images.collect(),
        adapter: sequence.adapter,
        blocks: &sequence.blocks,
        wants_scores: positions.end == sequence.tokens.len(),
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
