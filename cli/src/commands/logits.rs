//! `prelim logits`: a porter's tool.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum as _};
use prelim_kernels::{Arithmetic, Cpu};
use prelim_worker::config::{ArithmeticChoice, WeightChoice};
use prelim_worker::logits::{self, Distance, Dump};
use prelim_worker::model::WeightType;
use prelim_worker::preprocess::Picture;
use serde::Serialize;

use crate::files::write_whole;
use crate::png_file::PngFile;
use crate::table;

/// Write the tensors of one prompt, to be held against another implementation; or show what kinds of weights cost.
///
/// The prompt is text that has gone through the model's chat template; without one it is what the model is asked of an
/// X-ray. The file holds input_ids, pixel_values, vision_last_hidden_state, projected_image_tokens, logits and
/// greedy_tokens. With --beside, the logits of every position are computed with each kind of weights and held beside those
/// of exact products with weights in 32 bits: the largest and the mean difference, the divergence of the probabilities
/// (Kullback-Leibler, in nats), and at how many positions the likeliest token is the same.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  prelim logits --model ~/models/medgemma-4b-it --prompt prompt.txt --image film.png -o out.safetensors\n  prelim logits --model ~/models/medgemma-4b-it --image film.png --beside bf16,int8,int4 --arithmetic bf16"
)]
pub(crate) struct Logits {
    /// Hugging Face checkpoint folder.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Folder with an adapter (LoRA, in PEFT's format) that the model is run with.
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// File with the prompt, after the chat template.
    #[arg(long, value_name = "FILE")]
    prompt: Option<PathBuf>,
    /// A picture (PNG, 8 bits, grey or RGB); once for each in the prompt.
    #[arg(long = "image", value_name = "FILE")]
    images: Vec<PathBuf>,
    /// Where the tensors are written.
    #[arg(short, long, value_name = "OUT.safetensors", required_unless_present = "beside")]
    output: Option<PathBuf>,
    /// How weights are kept for the tensors that are written.
    #[arg(long, value_enum, default_value_t = WeightChoice::AsStored)]
    weights: WeightChoice,
    /// What factors of products are rounded to; products with weights in 32 bits are exact.
    #[arg(long, value_enum, default_value_t = ArithmeticChoice::Exact)]
    arithmetic: ArithmeticChoice,
    /// Kinds of weights to hold beside exact products with weights in 32 bits.
    #[arg(long, value_name = "KINDS", value_enum, value_delimiter = ',')]
    beside: Vec<WeightChoice>,
    /// For programs: the distances as a JSON array.
    #[arg(long, requires = "beside")]
    json: bool,
}

impl Logits {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let prompt = match &self.prompt {
            Some(path) => {
                std::fs::read_to_string(path).with_context(|| format!("prompt {} cannot be read", path.display()))?
            }
            None => logits::own_prompt(&self.model, self.images.len())?,
        };
        let images = self.images.iter().map(|path| PngFile::read(path)).collect::<anyhow::Result<Vec<_>>>()?;
        let pictures: Vec<Picture<'_>> = images.iter().map(PngFile::picture).collect();
        let dump = |weights: WeightChoice| -> anyhow::Result<Dump> {
            let arithmetic = match self.arithmetic {
                ArithmeticChoice::Exact => Arithmetic::Exact,
                ArithmeticChoice::Bf16 => Arithmetic::Bf16,
            };
            let cpu = Cpu::new()?.with_arithmetic(arithmetic);
            Ok(logits::dump(&self.model, cpu, WeightType::from(weights), self.adapter.as_deref(), &prompt, &pictures)?)
        };
        if let Some(path) = &self.output {
            write_whole(path, &dump(self.weights)?.to_safetensors()?)?;
        }
        if self.beside.is_empty() {
            return Ok(());
        }
        let exact = dump(WeightChoice::F32)?;
        let mut rows = Vec::new();
        for kind in &self.beside {
            let weights = kind.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
            let distance = dump(*kind)?.distance(&exact).context("the model gives no logits")?;
            anyhow::ensure!(
                distance.largest.is_finite() && distance.divergence.is_finite(),
                "logits with weights {weights} or f32 hold what is no number (NaN or infinite), and no distance can be told: \
                 fetch the checkpoint again, or look at what wrote it"
            );
            rows.push(Row { weights, distance });
        }
        if self.json { table::say(serde_json::to_string_pretty(&rows)?) } else { show(&rows) }
    }
}

/// A kind of weights and what it costs.
#[derive(Serialize)]
struct Row {
    weights: String,
    #[serde(flatten)]
    distance: Distance,
}

fn show(rows: &[Row]) -> anyhow::Result<()> {
    let columns = ["Weights", "Largest difference", "Mean", "Divergence, nats", "Same likeliest token", "Positions"];
    let mut shown = table::new(&columns);
    for Row { weights, distance } in rows {
        shown.add_row([
            weights.clone(),
            format!("{:.3}", distance.largest),
            format!("{:.4}", distance.mean),
            format!("{:.6}", distance.divergence),
            format!("{:.3}", distance.agreement),
            distance.positions.to_string(),
        ]);
    }
    table::align_right(&mut shown, &[1, 2, 3, 4, 5]);
    table::say(shown)
}
