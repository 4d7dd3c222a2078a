//! Costs.

use crate::cost::{JobCost, StudyCost};
use crate::v1;

impl From<JobCost> for v1::JobCost {
    fn from(c: JobCost) -> Self {
        Self {
            prompt_tokens: c.prompt_tokens,
            generated_tokens: c.generated_tokens,
            forced_tokens: c.forced_tokens,
            fetch_ms: c.fetch_ms,
            decode_ms: c.decode_ms,
            preprocess_ms: c.preprocess_ms,
            vision_ms: c.vision_ms,
            prefill_ms: c.prefill_ms,
            generate_ms: c.generate_ms,
        }
    }
}

impl From<v1::JobCost> for JobCost {
    fn from(c: v1::JobCost) -> Self {
        Self {
            prompt_tokens: c.prompt_tokens,
            generated_tokens: c.generated_tokens,
            forced_tokens: c.forced_tokens,
            fetch_ms: c.fetch_ms,
            decode_ms: c.decode_ms,
            preprocess_ms: c.preprocess_ms,
            vision_ms: c.vision_ms,
            prefill_ms: c.prefill_ms,
            generate_ms: c.generate_ms,
        }
    }
}

impl From<StudyCost> for v1::StudyCost {
    fn from(c: StudyCost) -> Self {
        Self { jobs: Some(c.jobs.into()), queue_ms: c.queue_ms, report_ms: c.report_ms }
    }
}
