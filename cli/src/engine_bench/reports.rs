//! Reports end to end: films through the whole path, from files to drafts.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use prelim_proto::v1::Priority;
use prelim_worker::WorkerLimits;
use serde::Serialize;
use tempfile::TempDir;

use super::Times;
use crate::follow::wait;
use crate::phantom::{self, Modality};
use crate::stack::{Stack, StackConfig};
use crate::upload::upload;

/// Films, and how they are read.
pub(crate) struct Films {
    count: u32,
    files: Vec<PathBuf>,
    model: PathBuf,
    limits: WorkerLimits,
    _drawn: TempDir,
}

/// What a round took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Reports {
    pub(crate) per_minute: f64,
    /// Tokens of a prompt, those of its image among them; a mean.
    pub(crate) prompt_tokens: f64,
    /// Tokens of an answer; a mean.
    pub(crate) answer_tokens: f64,
    /// Those of them that the grammar leaves no choice for; a mean.
    pub(crate) forced_tokens: f64,
}

impl Films {
    /// Draws the films that are to be read in a round.
    pub(crate) fn draw(count: u32, model: &Path, limits: WorkerLimits) -> anyhow::Result<Self> {
        let drawn = crate::files::private_folder().context("no folder for the phantoms")?;
        let folders = phantom::write(drawn.path(), count, 1, Some(Modality::Dx))?;
        let mut files = crate::files::below(&folders)?.files;
        files.retain(|path| path.extension().is_some_and(|end| end == "dcm"));
        Ok(Self { count, files, model: model.to_owned(), limits, _drawn: drawn })
    }

    /// Reads them once, with a coordinator and a worker over gRPC, on a store of their own. What is timed begins when both
    /// are ready, and ends with the last draft.
    pub(crate) async fn read(&self) -> anyhow::Result<Reports> {
        let store = crate::files::private_folder().context("no folder for the store of this round")?;
        let model = Some(self.model.clone());
        let config = StackConfig { limits: self.limits.clone(), ..StackConfig::on_a_free_port(store.path(), model) };
        let stack = Stack::start(config).await?;
        let connection = stack.connection().clone();
        let read = async {
            let began = Instant::now();
            let response = upload(&connection, self.files.clone(), Priority::Routine, String::new()).await?;
            let studies = wait(&connection, &response.study_uids, false).await?;
            Ok((studies, began.elapsed().as_secs_f64()))
        };
        let (studies, seconds) = stack.during(read).await?;
        let costs: Vec<_> = studies.iter().filter_map(|study| study.cost?.jobs).collect();
        let count = self.count;
        // A film that was given up has a cost, too, and no answer.
        let read = costs.iter().filter(|cost| cost.generated_tokens > 0).count();
        if read < count as usize {
            let why = studies.iter().find_map(|study| study.state_reason.as_deref()).unwrap_or("nobody said why");
            anyhow::bail!("{read} of {count} films were read: {}", crate::table::cell(why, 300));
        }
        let mean = |sum: u64| sum as f64 / f64::from(count);
        Ok(Reports {
            per_minute: f64::from(count) / seconds * 60.0,
            prompt_tokens: mean(costs.iter().map(|cost| cost.prompt_tokens).sum()),
            answer_tokens: mean(costs.iter().map(|cost| cost.generated_tokens).sum()),
            forced_tokens: mean(costs.iter().map(|cost| cost.forced_tokens).sum()),
        })
    }
}

impl Reports {
    /// The round in the middle.
    pub(crate) fn median(mut rounds: Vec<Self>) -> Option<Self> {
        rounds.sort_by(|a, b| a.per_minute.total_cmp(&b.per_minute));
        rounds.get(rounds.len() / 2).copied()
    }

    /// Reports a minute of a program that reads as long prompts and writes as long answers, token by token, by its passes one
    /// after the other: nothing else that a report takes is counted.
    pub(crate) fn by_passes(&self, times: &Times, batch: usize, prompt_tokens: usize) -> Option<f64> {
        let prefill_s = times.prefill_s * self.prompt_tokens / prompt_tokens as f64;
        Some(batch as f64 * 60.0 / (times.encode_s? + prefill_s + times.step_s * self.answer_tokens))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_are_those_of_as_long_a_prompt_and_answer() {
        let reports = Reports { per_minute: 1.0, prompt_tokens: 300.0, answer_tokens: 50.0, forced_tokens: 20.0 };
        let times = Times { encode_s: Some(2.0), prefill_s: 2.0, step_s: 0.1 };
        assert!((reports.by_passes(&times, 8, 200).unwrap() - 8.0 * 60.0 / 10.0).abs() < 1e-9);
        assert_eq!(reports.by_passes(&Times { encode_s: None, ..times }, 8, 200), None);
    }

    #[test]
    fn the_round_in_the_middle_is_taken_whole() {
        let round =
            |per_minute: f64| Reports { per_minute, prompt_tokens: per_minute, answer_tokens: 1.0, forced_tokens: 0.0 };
        assert_eq!(Reports::median(vec![round(3.0), round(1.0), round(2.0)]), Some(round(2.0)));
        assert_eq!(Reports::median(Vec::new()), None);
    }
}
