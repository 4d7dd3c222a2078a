//! The commands.

mod account;
mod ask;
mod audit;
mod bench;
mod bench_engine;
mod bench_queue;
mod cancel;
mod complete;
mod decoder;
mod deidentify;
mod demo;
mod doctor;
mod embed;
mod eval;
mod export;
mod fetch;
mod logits;
mod phantom;
mod quantize;
mod queue;
mod reidentify;
mod remove;
pub(crate) mod report;
mod route;
mod serve;
mod sign;
mod studies;
mod submit;
mod training_pixels;
mod watch;

use clap::{Parser, Subcommand};

use crate::telemetry::traced;

/// Draft radiology reports from DICOM studies with a vision language model.
///
/// Every draft is unsigned, made by software that is not a medical device, and must be reviewed by a radiologist.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Write logs as JSON lines.
    #[arg(long, global = true, env = "PRELIM_LOG_JSON")]
    pub(crate) log_json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "Examples:
  prelim demo                          everything on this machine, with phantom studies
  prelim up                            a coordinator and a worker in one process
  prelim submit --wait ~/dicom         send a folder and wait for the drafts
  prelim report 1.2.840.1 --format html -o draft.html";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Draw phantom studies, read them, and show the drafts: everything on this machine.
    Demo(demo::Demo),
    /// Run a coordinator and a worker in one process.
    Up(serve::Up),
    /// Run a coordinator.
    Coordinator(serve::Coordinator),
    /// Run a worker.
    Worker(serve::Worker),
    /// Send DICOM files to a coordinator.
    Submit(submit::Submit),
    /// Show the cluster as it works, or follow studies until their drafts are made.
    Watch(watch::Watch),
    /// List the studies that a coordinator holds.
    Studies(studies::Studies),
    /// Try the rules that say which studies are read, how soon, and where their reports go.
    Route(route::Route),
    /// Fetch the report of a study, a draft or signed.
    Report(report::Report),
    /// Ask a question about a study.
    Ask(ask::Ask),
    /// Sign a study's report, as it is or with changes.
    Sign(sign::Sign),
    /// Reject the draft of a study.
    Reject(sign::Reject),
    /// List which drafts were sent where, and what became of them; or send one again.
    Export(export::Export),
    /// Bring studies from a PACS.
    Fetch(fetch::Fetch),
    /// Say that all images of studies are there.
    Complete(complete::Complete),
    /// Stop work on studies that are not drafted yet.
    Cancel(cancel::Cancel),
    /// Remove studies for good.
    Remove(remove::Remove),
    /// List the workers, and how much waits for them.
    Workers(queue::Workers),
    /// Tell a worker to take no more jobs, finish those it has, and stop.
    Drain(queue::Drain),
    /// List the jobs that were given up, with what went wrong.
    Dead(queue::Dead),
    /// Try jobs again that were given up.
    Requeue(queue::Requeue),
    /// Draw phantom studies, each in a folder with its truth.
    Phantom(phantom::Phantom),
    /// Read studies whose truth is known, and score the drafts.
    Eval(eval::Eval),
    /// Measure studies a minute, and where the time goes.
    Bench(bench::Bench),
    /// Write the tensors of one prompt, to be held against another implementation.
    Logits(logits::Logits),
    /// Write a checkpoint whose decoder has its weights in 8 or 4 bits.
    Quantize(quantize::Quantize),
    /// Say how well pictures and texts go together, by an encoder such as MedSigLIP.
    Embed(embed::Embed),
    /// Write DICOM files without what names the patient.
    Deidentify(deidentify::Deidentify),
    /// Find what a pseudonym stands for.
    Reidentify(reidentify::Reidentify),
    /// Let people sign in to the page with a password.
    Account(account::Account),
    /// Check the record of who did what.
    Audit(audit::Audit),
    /// Say what this machine has, and what stands in the way.
    Doctor(doctor::Doctor),
    /// Decode pixels for a parent process, on stdin and stdout.
    #[command(hide = true)]
    Decoder(decoder::Decoder),
    /// Turn studies with truth into what a training run reads.
    #[command(hide = true)]
    TrainingPixels(training_pixels::TrainingPixels),
}

impl Command {
    /// Does it.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Bench(command) => block_on(interruptible(command.run())),
            Self::Demo(command) => block_on(interruptible(command.run())),
            Self::Up(command) => block_on(traced("prelim", command.run())),
            Self::Coordinator(command) => block_on(traced("prelim-coordinator", command.run())),
            Self::Worker(command) => block_on(traced("prelim-worker", command.run())),
            Self::Phantom(command) => command.run(),
            Self::Eval(command) => block_on(interruptible(command.run())),
            Self::Logits(command) => command.run(),
            Self::Quantize(command) => block_on(interruptible(command.run())),
            Self::Embed(command) => command.run(),
            Self::Deidentify(command) => command.run(),
            Self::Account(command) => command.run(),
            Self::Audit(command) => command.run(),
            Self::Doctor(command) => command.run(),
            Self::Decoder(command) => command.run(),
            Self::Submit(command) => block_on(command.run()),
            Self::Watch(command) => block_on(command.run()),
            Self::Studies(command) => block_on(command.run()),
            Self::Route(command) => block_on(command.run()),
            Self::Reidentify(command) => block_on(command.run()),
            Self::Report(command) => block_on(command.run()),
            Self::Ask(command) => block_on(command.run()),
            Self::Sign(command) => block_on(command.run()),
            Self::Reject(command) => block_on(command.run()),
            Self::Export(command) => block_on(command.run()),
            Self::Fetch(command) => block_on(command.run()),
            Self::Complete(command) => block_on(command.run()),
            Self::Cancel(command) => block_on(command.run()),
            Self::Remove(command) => block_on(command.run()),
            Self::Workers(command) => block_on(command.run()),
            Self::Drain(command) => block_on(command.run()),
            Self::Dead(command) => block_on(command.run()),
            Self::Requeue(command) => block_on(command.run()),
            Self::TrainingPixels(command) => command.run(),
        }
    }
}

/// Ends `work` at the signal to stop, so that it takes its temporary folders, with studies in them, away.
async fn interruptible(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let stopped = crate::stack::stop_signal();
    tokio::select! {
        ended = work => ended,
        () = stopped => anyhow::bail!("interrupted; what it had begun is taken away"),
    }
}

/// Runs `work` on a runtime of its own.
fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(work)
}
