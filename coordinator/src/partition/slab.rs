//! A stack of CT slices to overlapping slabs, one job each.

use prelim_proto::image::ImageKind;
use prelim_proto::job::{ImageRef, ImageRole};

use super::stack::{Slices, count, stacks};
use super::{Group, Image, Partition, PartitionLimits, reconstruction};

/// The jobs of a study's CT images.
pub(super) fn groups(images: &[Image<'_>], limits: &PartitionLimits, result: &mut Partition) -> Vec<Group> {
    let stacks = stacks(images, result);
    let chosen = reconstruction::choose(stacks, result);
    let mut groups = Vec::new();
    for stack in &chosen {
        let slabs = slabs(stack, limits);
        result.notes.push(describe(stack, slabs.len()));
        let body_part = stack.image().body_part();
        let group = |images| Group { kind: ImageKind::Ct, images, body_part: body_part.clone() };
        groups.extend(slabs.into_iter().map(group));
    }
    groups
}

/// Slabs of nearly equal thickness. Each slice is read in one of them; the ones next to a slab are shown beside it, so
/// that nothing is cut in two at its border.
fn slabs(stack: &Slices<'_>, limits: &PartitionLimits) -> Vec<Vec<ImageRef>> {
    let total = stack.slices.len();
    let number = total.div_ceil(limits.slab_slices.max(1));
    (0..number)
        .map(|slab| {
            let (first, end) = (slab * total / number, (slab + 1) * total / number);
            let from = first.saturating_sub(limits.slab_overlap_slices);
            let to = (end + limits.slab_overlap_slices).min(total);
            (from..to)
                .map(|at| {
                    let slice = &stack.slices[at];
                    let role = if (first..end).contains(&at) { ImageRole::Read } else { ImageRole::Context };
                    let label = format!("slice {} of {total}", at + 1);
                    ImageRef { role, ..slice.image.reference(slice.frame, label) }
                })
                .collect()
        })
        .collect()
}

/// What is read of a stack, with everything unusual about its geometry.
fn describe(stack: &Slices<'_>, slabs: usize) -> String {
    let geometry = &stack.geometry;
    let mut note = format!("CT {}: {}", stack.name(), count(stack.slices.len(), "slice"));
    if let Some(spacing) = geometry.spacing_mm {
        note += &format!(", {spacing:.1} mm apart");
    }
    note += &format!(", in {}", count(slabs, "slab"));
    if geometry.is_tilted() {
        note += &format!("; the stack leans by {:.0} degrees (gantry tilt)", geometry.lean_deg);
    }
    if geometry.gaps.is_empty() && geometry.is_uneven() {
        note += "; slices are unevenly spaced";
    }
    if let Some((after, step)) = geometry.gaps.first() {
        note += &format!("; gap of {step:.1} mm after slice {}", after + 1);
        let more = geometry.gaps.len() - 1;
        if more > 0 {
            note += &format!(", and {}", count(more, "other gap"));
        }
    }
    note + "."
}
