//! `prelim quantize`: a checkpoint with whole numbers for weights.

use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use prelim_kernels::Grid;
use prelim_worker::quantize::{self, Plan};
use tokio_util::sync::CancellationToken;

use crate::table;

/// Write a checkpoint whose decoder has its weights in 8 or 4 bits.
///
/// It is in the format of compressed-tensors (pack-quantized), a scale for every 32 inputs, and gives the drafts that
/// --weights gives with the checkpoint that it was made from, bit for bit: with less to read, and less to hold. The tower and
/// the projector stay as they are. Nothing is overwritten, and the folder appears whole or not at all.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  prelim quantize --model ~/models/medgemma-4b-it --to ~/models/medgemma-4b-int8 --weights int8\n  prelim worker --model ~/models/medgemma-4b-int8 --arithmetic bf16"
)]
pub(crate) struct Quantize {
    /// Hugging Face checkpoint folder, not quantised.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Folder to write, which is not there yet.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// How many bits.
    #[arg(long, value_enum)]
    weights: Bits,
    /// Leave the table of embeddings as it is: transformers reads the folder so and not otherwise.
    #[arg(long)]
    leave_embedding: bool,
}

/// Whole numbers.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Bits {
    /// Of 8 bits.
    Int8,
    /// Of 4 bits.
    Int4,
}

impl Quantize {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let grid = match self.weights {
            Bits::Int8 => Grid::INT8,
            Bits::Int4 => Grid::INT4,
        };
        let style = ProgressStyle::with_template("{bar:32.cyan/dim} {bytes}/{total_bytes}  left {eta}")
            .context("the bar's own template")?
            .progress_chars("━╸─");
        let bar = ProgressBar::new(0).with_style(style);
        let plan = Plan { grid, embedding: !self.leave_embedding };
        // Where this is dropped at the signal to stop, so is the guard: the thread takes away what it has begun, and ends.
        let stop = CancellationToken::new();
        let _guard = stop.clone().drop_guard();
        let (from, to) = (self.model.clone(), self.to.clone());
        let (seen, shown) = (stop, bar.clone());
        let work = tokio::task::spawn_blocking(move || {
            quantize::quantize(&from, &to, plan, &mut |read, all| {
                shown.set_length(all);
                shown.set_position(read);
                if seen.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        });
        let done = work.await;
        bar.finish_and_clear();
        let done = done??;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        table::say(format!(
            "{}: {} weights quantised, {} tensors as they were, {:.1} MiB of {:.1}",
            self.to.display(),
            done.quantised,
            done.copied,
            mib(done.bytes_after),
            mib(done.bytes_before)
        ))
    }
}
