//! What the `config.json` of every family has in common: how values are written, and the largest that are read.

use prelim_kernels::Activation;
use serde::Deserialize;

use super::rope::Rope;

/// How `transformers` spells GELU in its tanh form.
pub(super) const GELU_TANH: &str = "gelu_pytorch_tanh";

/// An activation by the name that `transformers` has for it.
pub(super) fn activation(name: &str) -> Option<Activation> {
    match name {
        GELU_TANH | "gelu_new" => Some(Activation::GeluTanh),
        "gelu" | "gelu_python" => Some(Activation::GeluErf),
        "silu" | "swish" => Some(Activation::Silu),
        _ => None,
    }
}

/// Largest sizes that are read: several times those of any published checkpoint, and small enough that no product of
/// them overflows.
pub(super) const MAX_LAYERS: usize = 1 << 10;
pub(super) const MAX_WIDTH: usize = 1 << 18;
pub(super) const MAX_HEADS: usize = 1 << 10;
pub(super) const MAX_HEAD_DIM: usize = 1 << 12;
pub(super) const MAX_VOCABULARY: usize = 1 << 22;
pub(super) const MAX_POSITIONS: usize = 1 << 24;
pub(super) const MAX_SIDE: usize = 1 << 12;

/// One token or several.
#[derive(Clone, Deserialize)]
#[serde(untagged, expecting = "expected a token's id, or a list of them")]
pub(super) enum OneOrMany {
    One(u32),
    Many(Vec<u32>),
}

impl OneOrMany {
    /// The tokens of all that are there, each once, in rising order.
    pub(super) fn union(all: impl IntoIterator<Item = Option<Self>>) -> Vec<u32> {
        let one = |one| match one {
            OneOrMany::One(id) => vec![id],
            OneOrMany::Many(ids) => ids,
        };
        let mut ids: Vec<u32> = all.into_iter().flatten().flat_map(one).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}

/// `rope_scaling`, and an entry of `rope_parameters`.
#[derive(Clone, Default, Deserialize)]
#[serde(expecting = "an object")]
pub(super) struct RawRope {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    pub(super) rope_theta: Option<f32>,
    factor: Option<f32>,
}

impl RawRope {
    /// With the base that is written beside it, or in it.
    pub(super) fn resolve(rope: Option<&Self>, theta: f32) -> Result<Rope, String> {
        let factor = match rope.map(|rope| (rope.rope_type.as_deref(), rope.factor)) {
            None | Some((None | Some("default"), _)) => 1.0,
            Some((Some("linear"), factor)) => factor.ok_or("a linear rope has no factor")?,
            Some((Some(other), _)) => {
                return Err(format!("text_config has a rope of type {other}, which prelim does not compute"));
            }
        };
        check_factors("a rope of text_config", &[("rope_theta", theta), ("factor", factor)])?;
        Ok(Rope { theta, factor })
    }
}

/// Refuses sizes that no model has, before anything is made of them. Each comes with its name and the largest that is
/// read.
pub(super) fn check_sizes(section: &str, sizes: &[(&str, usize, usize)]) -> Result<(), String> {
    match sizes.iter().find(|(_, found, most)| !(1..=*most).contains(found)) {
        Some((name, found, most)) => Err(format!("{section} has {name} {found}, and prelim reads 1 to {most}")),
        None => Ok(()),
    }
}

/// Refuses what makes NaN of everything that it is a part of.
pub(super) fn check_factors(section: &str, factors: &[(&str, f32)]) -> Result<(), String> {
    match factors.iter().find(|(_, found)| !(found.is_finite() && *found > 0.0)) {
        Some((name, found)) => Err(format!("{section} has {name} {found}, and prelim reads what is above 0")),
        None => Ok(()),
    }
}

/// Refuses what a family could have and is not computed, so that nothing is computed wrongly in silence.
pub(super) fn refuse(section: &str, table: &[(bool, &str)]) -> Result<(), String> {
    match table.iter().find(|(found, _)| *found) {
        Some((_, what)) => Err(format!("{section} has {what}, which prelim does not compute")),
        None => Ok(()),
    }
}

/// Refuses a width that heads cannot share.
pub(super) fn check_width(section: &str, width: usize, heads: usize) -> Result<(), String> {
    if width.is_multiple_of(heads) { Ok(()) } else { Err(format!("{section} cannot divide {width} by its heads")) }
}

/// Refuses heads of a decoder whose halves cannot be rotated, or that cannot share keys and values.
pub(super) fn check_heads(heads: usize, kv_heads: usize, head_dim: usize) -> Result<(), String> {
    if !head_dim.is_multiple_of(2) {
        return Err(format!("text_config has head_dim {head_dim}, which is odd"));
    }
    if !heads.is_multiple_of(kv_heads) {
        return Err(format!("{heads} query heads cannot share {kv_heads} key and value heads"));
    }
    Ok(())
}

/// Refuses pictures of other channels, and sides that have no whole patches.
pub(super) fn check_pictures(channels: usize, sides: &[usize], patch: usize) -> Result<(), String> {
    if channels != 3 {
        return Err(format!("vision_config has num_channels {channels}, and pictures have 3"));
    }
    match sides.iter().find(|side| **side < patch || !side.is_multiple_of(patch)) {
        Some(side) => Err(format!("a picture of {side} px has no whole patches of {patch}")),
        None => Ok(()),
    }
}

/// A token's id, which old files call `…_index` and new ones `…_id`.
pub(super) fn token(name: &str, found: [Option<u32>; 2], default: u32) -> Result<u32, String> {
    match found {
        [Some(index), Some(id)] if index != id => {
            Err(format!("{name}_index is {index} and {name}_id is {id}, which are names of one token"))
        }
        [index, id] => Ok(index.or(id).unwrap_or(default)),
    }
}

/// Refuses ids that no vocabulary has.
pub(super) fn check_ids(ids: &[(&str, u32)]) -> Result<(), String> {
    match ids.iter().find(|(_, id)| *id as usize >= MAX_VOCABULARY) {
        Some((name, id)) => Err(format!("{name} is {id}, and prelim reads ids below {MAX_VOCABULARY}")),
        None => Ok(()),
    }
}
