//! `prelim training-pixels`: what a training run reads; not for users, so hidden.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::phantom::{self, training};

/// Turn studies with truth into the pictures that the worker would hand to a model, with labels.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  prelim training-pixels --model worker/demo-model/checkpoint --draw 1 --count 500 --modality dx -o dx.safetensors /tmp/studies"
)]
pub(crate) struct TrainingPixels {
    /// Folder of studies, as `prelim phantom` writes them.
    studies: PathBuf,
    /// Model folder, for its image processor and its CT windows.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Pictures, as bytes `[n, 3, height, width]`; the labels lie beside them as `.jsonl`.
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Slices to take of each volume; all where zero.
    #[arg(long, default_value_t = 12)]
    slices: usize,
    /// Draw the studies first, with this seed and with masks, and delete them after.
    #[arg(long, value_name = "SEED", requires_all = ["count", "modality"])]
    draw: Option<u64>,
    /// Number of the first study to draw.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Studies to draw.
    #[arg(long, value_name = "N")]
    count: Option<u32>,
    /// What to draw.
    #[arg(long, value_enum)]
    modality: Option<Modality>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Modality {
    /// Chest radiographs.
    Dx,
    /// Chest CT.
    Ct,
}

impl TrainingPixels {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if let (Some(seed), Some(count), Some(modality)) = (self.draw, self.count, self.modality) {
            let modality = match modality {
                Modality::Dx => phantom::Modality::Dx,
                Modality::Ct => phantom::Modality::Ct,
            };
            let request = phantom::Request { first: self.first, count, seed, modality: Some(modality), masks: true };
            phantom::write_request(&self.studies, &request)?;
        }
        let request = training::Request { model: self.model, studies: self.studies.clone(), slices: self.slices };
        let pictures = training::read(&request)?;
        let view = TensorView::new(Dtype::U8, pictures.shape, &pictures.bytes)?;
        // Written under another name first: a file that is there is whole.
        let partial = self.out.with_extension("partial");
        safetensors::serialize_to_file(HashMap::from([("pixels", view)]), None, &partial)?;
        let labels = self.out.with_extension("jsonl");
        let lines: String = pictures.labels.iter().map(|label| format!("{label}\n")).collect();
        fs::write(&labels, lines).with_context(|| labels.display().to_string())?;
        fs::rename(&partial, &self.out).with_context(|| self.out.display().to_string())?;
        if self.draw.is_some() {
            fs::remove_dir_all(&self.studies).with_context(|| self.studies.display().to_string())?;
        }
        Ok(())
    }
}
