//! Compares what a model shows with a golden.

use prelim_kernels::Backend;
use prelim_worker::model::{Embedder, Model};

use crate::golden::{Collector, Golden, Session, Tensors};

/// Tensors that a golden has besides those that the model shows.
const NOT_SHOWN: &[&str] = &[
    "attention_mask",
    "token_type_ids",
    "input_ids",
    "pixel_values",
    "greedy_tokens",
    "greedy_logits",
    // DINOv2's last norm, which LLaVA does not use.
    "vision_last_hidden_state_ln",
];

/// How far a tensor may be off.
#[derive(Clone, Copy)]
pub(crate) struct Tolerances {
    /// Of logits, absolute.
    pub(crate) logits: f32,
    /// Of intermediates, in parts of the largest value of the tensor where that is more than 1.
    pub(crate) intermediates: f32,
}

/// How far one tensor is off.
pub(crate) struct Deviation {
    pub(crate) name: String,
    pub(crate) error: f32,
    pub(crate) tolerance: f32,
}

impl Deviation {
    /// NaN is not within any tolerance.
    #[allow(clippy::neg_cmp_op_on_partial_ord, reason = "`error > tolerance` lets NaN pass")]
    pub(crate) fn fails(&self) -> bool {
        !(self.error <= self.tolerance)
    }
}

/// Every tensor of the golden against the model's, greedy tokens last.
pub(crate) fn compare<B: Backend>(model: &Model<B>, golden: &Golden, tolerances: Tolerances) -> Vec<Deviation> {
    let mut session = Session::read(model, golden);
    let (tokens, greedy_logits) = session.greedy(golden.tokens.len(), golden.greedy.len());
    let mut deviations = Vec::new();
    for (name, wanted) in golden.tensors.iter().filter(|(name, _)| !NOT_SHOWN.contains(&name.as_str())) {
        let seen = session.seen.get(name).unwrap_or_else(|| panic!("{name} is not shown"));
        let seen = if name.ends_with("q_norm_out") {
            heads_first(model.config().cache.head_dim, golden.tokens.len(), seen)
        } else {
            seen.clone()
        };
        deviations.push(deviation(name, &seen, wanted, tolerances));
    }
    if let Some(wanted) = golden.tensors.get("greedy_logits") {
        deviations.push(deviation("greedy_logits", &greedy_logits, wanted, tolerances));
    }
    let differing = tokens.iter().zip(&golden.greedy).filter(|(a, b)| a != b).count();
    deviations.push(Deviation { name: "greedy_tokens".to_owned(), error: differing as f32, tolerance: 0.0 });
    deviations
}

/// The same for a model that turns pictures and texts into points.
pub(crate) fn compare_points<B: Backend>(
    model: &Embedder<B>,
    golden: &Tensors,
    tolerances: Tolerances,
) -> Vec<Deviation> {
    let positions = model.config().text.positions;
    let ids: Vec<u32> = golden["input_ids"].iter().map(|id| *id as u32).collect();
    let texts: Vec<Vec<u32>> = ids.chunks(positions).map(<[u32]>::to_vec).collect();
    let mut seen = Collector::default();
    let images = model.embed_images_observed(&golden["pixel_values"], Some(&mut seen));
    let texts = model.embed_texts_observed(&texts, Some(&mut seen));
    let logits = model.logits_per_image(&images, &texts);
    let per_text = (0..texts.len()).flat_map(|text| logits.iter().map(move |row| row[text]));
    seen.0.insert("logits_per_text".to_owned(), per_text.collect());
    seen.0.insert("logits_per_image".to_owned(), logits.concat());
    seen.0.insert("image_embeds".to_owned(), images.values().to_vec());
    seen.0.insert("text_embeds".to_owned(), texts.values().to_vec());
    let inputs = ["input_ids", "pixel_values"];
    let compared = golden.iter().filter(|(name, _)| !inputs.contains(&name.as_str()));
    compared.map(|(name, wanted)| deviation(name, &seen.0[name], wanted, tolerances)).collect()
}

pub(crate) fn deviation(name: &str, seen: &[f32], wanted: &[f32], tolerances: Tolerances) -> Deviation {
    assert_eq!(seen.len(), wanted.len(), "length of {name}");
    let largest = wanted.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let difference = seen.iter().zip(wanted).map(|(a, b)| (a - b).abs());
    // `f32::max` drops NaN.
    let error = difference.fold(0.0f32, |worst, d| if d.is_nan() || worst.is_nan() { f32::NAN } else { worst.max(d) });
    let (error, tolerance) = match name {
        _ if name.starts_with("mask_") => (error, 0.0),
        _ if name.ends_with("logits") => (error, tolerances.logits),
        _ => (error / largest.max(1.0), tolerances.intermediates),
    };
    Deviation { name: name.to_owned(), error, tolerance }
}

/// `[tokens, heads, head_dim]` to the golden's `[heads, tokens, head_dim]`.
fn heads_first(head_dim: usize, tokens: usize, values: &[f32]) -> Vec<f32> {
    let heads = values.len() / (tokens * head_dim);
    let head = |token: usize, head: usize| &values[(token * heads + head) * head_dim..][..head_dim];
    (0..heads).flat_map(|h| (0..tokens).flat_map(move |token| head(token, h).to_vec())).collect()
}
