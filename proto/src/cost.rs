//! What reading costs, for progress and benchmarks. It has no part in a draft.

use serde::{Deserialize, Serialize};

/// What a job cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct JobCost {
    /// Tokens read: text and image tokens of all prompts.
    pub prompt_tokens: u64,
    /// Tokens generated, forced ones included.
    pub generated_tokens: u64,
    /// Of them, tokens that the grammar forced and the model did not choose.
    pub forced_tokens: u64,
    /// Time to fetch the bytes, in ms.
    pub fetch_ms: f64,
    /// Time to decode the pixels, in ms.
    pub decode_ms: f64,
    /// Time to window, resize and normalise, in ms.
    pub preprocess_ms: f64,
    /// Time in the vision tower and projector, in ms.
    pub vision_ms: f64,
    /// Time to read the prompts, in ms.
    pub prefill_ms: f64,
    /// Time to generate, in ms.
    pub generate_ms: f64,
}

impl JobCost {
    /// The time of all stages, in s.
    pub fn spent_s(&self) -> f64 {
        let parts_ms =
            [self.fetch_ms, self.decode_ms, self.preprocess_ms, self.vision_ms, self.prefill_ms, self.generate_ms];
        parts_ms.iter().sum::<f64>() / 1_000.0
    }
}

impl std::ops::AddAssign for JobCost {
    fn add_assign(&mut self, other: Self) {
        self.prompt_tokens = self.prompt_tokens.saturating_add(other.prompt_tokens);
        self.generated_tokens = self.generated_tokens.saturating_add(other.generated_tokens);
        self.forced_tokens = self.forced_tokens.saturating_add(other.forced_tokens);
        self.fetch_ms += other.fetch_ms;
        self.decode_ms += other.decode_ms;
        self.preprocess_ms += other.preprocess_ms;
        self.vision_ms += other.vision_ms;
        self.prefill_ms += other.prefill_ms;
        self.generate_ms += other.generate_ms;
    }
}

/// What a study cost so far. Of jobs that were tried several times, only the attempt that ended well counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct StudyCost {
    /// The jobs done, added up.
    pub jobs: JobCost,
    /// Time that jobs waited for a worker, added up, in ms.
    pub queue_ms: f64,
    /// Time to merge the findings and write the draft, in ms.
    pub report_ms: f64,
}
