//! `prelim phantom`: studies made by formulae.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::{phantom, table};

/// Draw phantom studies, each in a folder with its truth.
///
/// The pictures are made by formulae and belong to no one. A study depends on the seed and its number only.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  prelim phantom --out studies --count 10 --seed 1\n  prelim phantom --out films --count 100 --seed 2 --modality dx"
)]
pub(crate) struct Phantom {
    /// Folder to write to.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Studies.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// Seed.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Only X-ray (dx) or only CT; in turn where not given.
    #[arg(long, value_enum)]
    modality: Option<Modality>,
    /// For programs: a JSON array of the folders.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Modality {
    /// Chest radiographs.
    Dx,
    /// Chest CT.
    Ct,
}

impl Phantom {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let modality = self.modality.map(|modality| match modality {
            Modality::Dx => phantom::Modality::Dx,
            Modality::Ct => phantom::Modality::Ct,
        });
        let folders = phantom::write(&self.out, self.count, self.seed, modality)?;
        if self.json {
            return table::say(serde_json::to_string_pretty(&folders)?);
        }
        table::say(format!("{} studies below {}", folders.len(), self.out.display()))
    }
}
