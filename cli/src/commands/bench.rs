//! `prelim bench`: studies a minute through the whole path, and where the time goes.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use prelim_proto::v1::{Priority, Study, StudyState};
use prelim_worker::config::WorkerLimits;
use serde::Serialize;

use crate::client::Connection;
use crate::commands::bench_engine::EngineBench;
use crate::commands::bench_queue::QueueBench;
use crate::commands::report::Format;
use crate::drafts;
use crate::files;
use crate::follow::wait;
use crate::machine::{self, MemoryWatch};
use crate::stack::{Stack, StackConfig};
use crate::table;
use crate::upload::upload;

/// Measure studies a minute from submission to draft, and where the time goes.
///
/// Every run starts a coordinator and a worker on an empty store, over gRPC, reads all studies, and stops them. The table
/// is that of the run in the middle. Times of stages are added up over all jobs; jobs run side by side, so that stages
/// other than those of the model may sum to more than the time that has passed.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  prelim bench\n  prelim bench --model ~/models/medgemma-4b-it --runs 1 ~/studies --json"
)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: Option<What>,
    /// Folders with DICOM studies; phantoms are drawn where none is given.
    #[arg(value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Phantom studies to draw, X-ray and CT in turn.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// Seed of the phantoms.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// How often everything is read.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// A Hugging Face checkpoint folder; the demonstration model where not given.
    #[arg(long, value_name = "DIR", env = "PRELIM_MODEL")]
    model: Option<PathBuf>,
    #[command(flatten)]
    limits: WorkerLimits,
    /// For programs: one JSON object.
    #[arg(long)]
    json: bool,
}

/// What else to measure.
#[derive(Debug, Subcommand)]
enum What {
    /// Measure the model's passes, beside those of other programs on the same weights.
    Engine(EngineBench),
    /// Measure the queue: coordinators on a Redis, simulated workers, no images.
    Queue(Box<QueueBench>),
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Results {
    machine: String,
    memory_gib: Option<f64>,
    model: String,
    model_digest: String,
    arithmetic: String,
    demonstration: bool,
    /// Studies a minute of every run, in order.
    studies_per_minute_of_runs: Vec<f64>,
    /// The run in the middle.
    #[serde(flatten)]
    run: Run,
}

/// One run.
#[derive(Debug, Clone, Serialize)]
struct Run {
    studies: usize,
    /// Studies that have a draft.
    drafted: usize,
    jobs: u32,
    instances: u32,
    load_s: f64,
    seconds: f64,
    studies_per_minute: f64,
    prompt_tokens: u64,
    generated_tokens: u64,
    tokens_per_second: f64,
    /// Milliseconds a study, by stage, in the order of the path.
    stages: Vec<Stage>,
    peak_memory_mib: Option<f64>,
}

#[derive(Debug, Clone, Serialize)]
struct Stage {
    stage: &'static str,
    what: &'static str,
    ms_per_study: f64,
}

impl Bench {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self.what {
            Some(What::Engine(engine)) => return Box::pin(engine.run()).await,
            Some(What::Queue(queue)) => return queue.run().await,
            None => {}
        }
        let drawn = files::private_folder().context("no folder for the phantoms")?;
        let folders = if self.folders.is_empty() { vec![self.draw(drawn.path())?] } else { self.folders.clone() };
        let mut files = files::below(&folders)?.files;
        files.retain(|path| path.extension().is_none_or(|end| end != "json"));
        let mut runs = Vec::new();
        let mut model = None;
        for number in 1..=self.runs {
            crate::progress::note(&format!("run {number} of {} …", self.runs));
            let (run, provenance) = self.measure(files.clone()).await?;
            runs.push(run);
            model = Some(provenance);
        }
        let model = model.context("no runs")?;
        let studies_per_minute_of_runs = runs.iter().map(|run| run.studies_per_minute).collect();
        runs.sort_by(|a, b| a.studies_per_minute.total_cmp(&b.studies_per_minute));
        let results = Results {
            machine: machine::processor(),
            memory_gib: machine::memory_gib("MemTotal"),
            model: model.name,
            model_digest: model.digest.to_string(),
            arithmetic: model.arithmetic,
            demonstration: model.demonstration,
            studies_per_minute_of_runs,
            run: runs[runs.len() / 2].clone(),
        };
        if self.json { table::say(serde_json::to_string_pretty(&results)?) } else { show(&results) }
    }

    /// Draws phantoms in another process, whose memory is not counted.
    fn draw(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        crate::progress::note("drawing phantom studies …");
        let program = std::env::current_exe().context("the path of this program is not known")?;
        let mut drawing = std::process::Command::new(program);
        drawing.arg("phantom").arg("--out").arg(folder).args(["--json", "--count", &self.count.to_string()]);
        let output = drawing.args(["--seed", &self.seed.to_string()]).output()?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(folder.to_owned())
    }

    /// Reads all files once, on a store of its own.
    async fn measure(&self, files: Vec<PathBuf>) -> anyhow::Result<(Run, prelim_proto::report::ModelProvenance)> {
        let store = files::private_folder().context("no folder for the store of this run")?;
        let memory = MemoryWatch::start();
        let began = Instant::now();
        let config = StackConfig {
            limits: self.limits.clone(),
            ..StackConfig::on_a_free_port(store.path(), self.model.clone())
        };
        let stack = Stack::start(config).await?;
        let load_s = began.elapsed().as_secs_f64();
        let (connection, model) = (stack.connection().clone(), stack.model().clone());
        let read = stack.during(self.read(&connection, files)).await?;
        let peak_memory_mib = memory.stop();
        Ok((Run { load_s, peak_memory_mib, ..read }, model))
    }

    async fn read(&self, connection: &Connection, files: Vec<PathBuf>) -> anyhow::Result<Run> {
        let began = Instant::now();
        let response = upload(connection, files, Priority::Routine, String::new()).await?;
        let upload_s = began.elapsed().as_secs_f64();
        let studies = wait(connection, &response.study_uids, !self.json).await?;
        let seconds = began.elapsed().as_secs_f64();
        anyhow::ensure!(!studies.is_empty(), "no study was accepted: `prelim submit` says why");
        let drafted = || studies.iter().filter(|study| is_drafted(study));
        if let Some(without) = studies.iter().find(|study| !is_drafted(study)) {
            let (count, state) = (studies.len() - drafted().count(), table::state(without));
            anyhow::ensure!(count < studies.len(), "none of {} studies was drafted: {state}", studies.len());
            crate::progress::note(&format!(
                "{count} of {} studies were not drafted, and do not count: {state}",
                studies.len()
            ));
        }
        let began = Instant::now();
        for study in drafted() {
            for format in [Format::Html, Format::Sr] {
                drafts::fetch(connection, &study.uid, format).await?;
            }
        }
        Ok(summary(&studies, seconds, upload_s, began.elapsed().as_secs_f64()))
    }
}

/// Whether it was read.
fn is_drafted(study: &Study) -> bool {
    study.state() == StudyState::Drafted
}

/// The numbers of the studies that were drafted: what becomes of others takes no time.
fn summary(studies: &[Study], seconds: f64, upload_s: f64, pages_s: f64) -> Run {
    let drafted: Vec<&Study> = studies.iter().filter(|study| is_drafted(study)).collect();
    let costs: Vec<_> = drafted.iter().filter_map(|study| study.cost).collect();
    let jobs: Vec<_> = costs.iter().filter_map(|cost| cost.jobs).collect();
    let per_study = |ms: f64| ms / drafted.len().max(1) as f64;
    let stage = |stage, what, ms| Stage { stage, what, ms_per_study: per_study(ms) };
    let prompt_tokens = jobs.iter().map(|cost| cost.prompt_tokens).sum();
    let generated_tokens = jobs.iter().map(|cost| cost.generated_tokens).sum();
    Run {
        studies: studies.len(),
        drafted: drafted.len(),
        jobs: drafted.iter().map(|study| study.jobs_total).sum(),
        instances: drafted.iter().map(|study| study.instance_count).sum(),
        load_s: 0.0,
        seconds,
        studies_per_minute: drafted.len() as f64 / seconds * 60.0,
        prompt_tokens,
        generated_tokens,
        tokens_per_second: (prompt_tokens + generated_tokens) as f64 / seconds,
        stages: vec![
            stage("upload", "files to the coordinator: scan, hash, store", upload_s * 1e3),
            stage("queue", "jobs waiting for the worker", costs.iter().map(|cost| cost.queue_ms).sum()),
            stage("fetch", "bytes to the worker", jobs.iter().map(|cost| cost.fetch_ms).sum()),
            stage("decode", "bytes to pixels", jobs.iter().map(|cost| cost.decode_ms).sum()),
            stage("preprocess", "window, resize, normalise", jobs.iter().map(|cost| cost.preprocess_ms).sum()),
            stage("vision", "tower and projector", jobs.iter().map(|cost| cost.vision_ms).sum()),
            stage("prefill", "prompts read", jobs.iter().map(|cost| cost.prefill_ms).sum()),
            stage("generation", "answers written", jobs.iter().map(|cost| cost.generate_ms).sum()),
            stage("report", "findings merged, draft written", costs.iter().map(|cost| cost.report_ms).sum()),
            stage("pages", "HTML and DICOM SR, after the draft", pages_s * 1e3),
        ],
        peak_memory_mib: None,
    }
}

fn show(results: &Results) -> anyhow::Result<()> {
    let run = &results.run;
    let memory = results.memory_gib.map_or_else(String::new, |gib| format!(", {gib:.0} GiB"));
    table::say(format!("{}{memory}", results.machine))?;
    let what = if results.demonstration { ", a demonstration" } else { "" };
    table::say(format!("{}{what}, {}, loaded in {:.1} s", results.model, results.arithmetic, run.load_s))?;
    table::say(format!(
        "{} studies ({} files, {} jobs), {} drafted, in {:.1} s: {:.1} studies/min, {:.0} tokens/s",
        run.studies, run.instances, run.jobs, run.drafted, run.seconds, run.studies_per_minute, run.tokens_per_second,
    ))?;
    let all: Vec<String> = results.studies_per_minute_of_runs.iter().map(|each| format!("{each:.1}")).collect();
    table::say(format!("studies/min of every run: {}", all.join(", ")))?;
    let mut rows = table::new(&["Stage", "ms a study", ""]);
    for stage in &run.stages {
        rows.add_row([stage.stage.to_owned(), format!("{:.1}", stage.ms_per_study), stage.what.to_owned()]);
    }
    table::align_right(&mut rows, &[1]);
    table::say(rows)?;
    let peak = run.peak_memory_mib.map_or_else(|| "not known here".to_owned(), |mib| format!("{mib:.0} MiB"));
    table::say(format!("peak memory, coordinator, worker and decoders together: {peak}"))
}

#[cfg(test)]
mod tests {
    use prelim_proto::v1::{JobCost, StudyCost};

    use super::*;

    #[test]
    fn studies_that_were_not_drafted_take_no_part_in_rates() {
        let study = |state: StudyState, generated_tokens: u64| Study {
            state: state as i32,
            jobs_total: 1,
            instance_count: 2,
            cost: Some(StudyCost {
                jobs: Some(JobCost { generated_tokens, ..JobCost::default() }),
                ..StudyCost::default()
            }),
            ..Study::default()
        };
        let studies = [study(StudyState::Drafted, 30), study(StudyState::Failed, 7), study(StudyState::Skipped, 0)];
        let run = summary(&studies, 60.0, 0.0, 0.0);
        assert_eq!((run.studies, run.drafted, run.jobs, run.instances), (3, 1, 1, 2));
        assert_eq!((run.studies_per_minute, run.generated_tokens), (1.0, 30));
        assert_eq!(summary(&studies[1..], 60.0, 0.0, 0.0).studies_per_minute, 0.0);
    }
}
