//! Which of several reconstructions is read. A scanner makes many stacks of one acquisition: sharp and soft, thick and
//! thin, across and along. Reading all of them would find everything many times.

use prelim_imaging::geometry;
use prelim_proto::study::UnreadReason;

use super::Partition;
use super::stack::Slices;

/// Part of a stack that must lie within another for it to show the same.
const SAME_COVERAGE: f64 = 0.5;

/// What a reconstruction is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Purpose {
    Soft,
    Lung,
    Bone,
}

impl Purpose {
    fn word(self) -> &'static str {
        match self {
            Self::Soft => "soft tissue",
            Self::Lung => "lung",
            Self::Bone => "bone",
        }
    }
}

/// The stacks to read: of each acquisition the best one for each purpose. The others go to the unread, by name.
pub(super) fn choose<'a>(stacks: Vec<Slices<'a>>, result: &mut Partition) -> Vec<Slices<'a>> {
    let mut stacks = without_derived(stacks, result);
    // Best first, so that each stack is compared with better ones only.
    stacks.sort_by(|a, b| merit(a).total_cmp(&merit(b)).then_with(|| a.image().order().cmp(&b.image().order())));
    let mut chosen: Vec<Slices<'a>> = Vec::new();
    for stack in stacks {
        let better = chosen.iter().find(|better| shows_the_same(&stack, better));
        match better {
            None => chosen.push(stack),
            Some(better) => {
                let purpose = purpose(&stack).word();
                let why = format!("second {purpose} reconstruction of the same acquisition; {} is read", better.name());
                drop_stack(&stack, &why, result);
            }
        }
    }
    chosen.sort_by(|a, b| a.image().order().cmp(&b.image().order()));
    chosen
}

/// Without reformatted and other derived stacks, where there is an original one in the same frame of reference.
fn without_derived<'a>(stacks: Vec<Slices<'a>>, result: &mut Partition) -> Vec<Slices<'a>> {
    let is_derived = |stack: &Slices<'_>| {
        let image_type = &stack.image().attributes.image_type;
        image_type.first().is_some_and(|value| value == "DERIVED")
            || image_type.get(1).is_some_and(|value| value == "SECONDARY")
    };
    let (derived, mut kept): (Vec<_>, Vec<_>) = stacks.into_iter().partition(|stack| is_derived(stack));
    for stack in derived {
        if kept.iter().any(|original| !is_derived(original) && same_place(original, &stack)) {
            drop_stack(&stack, "derived from slices that are read", result);
        } else {
            result.notes.push(format!("CT {}: derived images, read because no original ones came.", stack.name()));
            kept.push(stack);
        }
    }
    kept
}

/// Names all slices of a stack as not needed, and says so in the notes.
fn drop_stack(stack: &Slices<'_>, why: &str, result: &mut Partition) {
    let mut last = None;
    for slice in &stack.slices {
        // A multi-frame instance is named once.
        if last != Some(&slice.image.instance.uid) {
            result.unread.push(slice.image.unread(UnreadReason::NotNeeded, why));
        }
        last = Some(&slice.image.instance.uid);
    }
    result.notes.push(format!("CT {}: not read: {why}.", stack.name()));
}

/// Whether both lie in one frame of reference. One without is taken to lie in any: copies often lose it.
fn same_place(a: &Slices<'_>, b: &Slices<'_>) -> bool {
    let frames = [a, b].map(|stack| stack.image().attributes.frame_of_reference.as_deref());
    frames[0].is_none() || frames[1].is_none() || frames[0] == frames[1]
}

/// Whether `stack` shows nothing that `better` does not: same acquisition and purpose, or the same slices cut another
/// way, over most of its length.
fn shows_the_same(stack: &Slices<'_>, better: &Slices<'_>) -> bool {
    let placed = |stack: &Slices<'_>| stack.geometry.unplaced.is_empty() && !stack.slices.is_empty();
    if !placed(stack) || !placed(better) || !same_place(stack, better) || stack.acquisition != better.acquisition {
        return false;
    }
    match (axis(stack), axis(better)) {
        // A coronal or sagittal cut of what is read across.
        (a, b) if a != b => b == Some(2),
        _ => purpose(stack) == purpose(better) && overlap(stack, better) >= SAME_COVERAGE,
    }
}

/// The patient axis that a stack runs along: 0 across the body, 1 front to back, 2 feet to head.
fn axis(stack: &Slices<'_>) -> Option<usize> {
    let plane = stack.image().attributes.planes.first()?;
    let normal = geometry::normal(plane)?;
    (0..3).max_by(|a, b| normal[*a].abs().total_cmp(&normal[*b].abs()))
}

/// The part of `stack` that lies within the reach of `other`, 0 to 1.
fn overlap(stack: &Slices<'_>, other: &Slices<'_>) -> f64 {
    let reach = |stack: &Slices<'_>| {
        let along = &stack.geometry.along_mm;
        along.first().zip(along.last()).map(|(first, last)| (*first, *last))
    };
    let (Some((low, high)), Some((other_low, other_high))) = (reach(stack), reach(other)) else { return 0.0 };
    let both = high.min(other_high) - low.max(other_low);
    if high > low { (both / (high - low)).clamp(0.0, 1.0) } else { f64::from(u8::from(both >= 0.0)) }
}

/// How good a stack is for reading; less is better. First axial stacks; then long ones; then thin ones, but not thinner
/// than 1 mm, which are noisy and many.
fn merit(stack: &Slices<'_>) -> f64 {
    let across = if axis(stack) == Some(2) { 0.0 } else { 1e9 };
    // In steps of 5 cm: a slice more or less does not make a stack longer.
    let short = -(stack.coverage_mm() / 50.0).round() * 1e3;
    let step = stack.geometry.spacing_mm.or(stack.image().attributes.slice_thickness_mm).unwrap_or(10.0);
    let thick = match step {
        step if step < 1.0 => 10.0 - step,
        step if step <= 5.0 => step,
        step => 20.0 + step.min(900.0),
    };
    across + short + thick
}

/// What a stack was reconstructed for, from the kernel's name and the series' description.
fn purpose(stack: &Slices<'_>) -> Purpose {
    let image = stack.image();
    let kernel = image.attributes.convolution_kernel.as_deref().unwrap_or("").to_uppercase();
    let words = format!("{kernel} {}", image.series.description.to_uppercase());
    let says = |list: &[&str]| list.iter().any(|word| words.contains(word));
    if says(&["BONE", "KNOCHEN", "OSSEUX"]) {
        Purpose::Bone
    } else if says(&["LUNG", "LUNGE", "POUMON", "PULMON"]) {
        Purpose::Lung
    } else if is_sharp(&kernel) {
        // Sharp kernels of the chest are for the lungs, elsewhere for bone.
        let part = image.body_part().unwrap_or_default();
        if part.is_empty() || part.contains("CHEST") || part.contains("LUNG") { Purpose::Lung } else { Purpose::Bone }
    } else {
        Purpose::Soft
    }
}

/// Whether a kernel is a sharp one, by the names that makers give: GE in words; Siemens (B70f, Br64, I50f), Canon
/// (FC51) by a number, which grows with sharpness; Philips by letter.
fn is_sharp(kernel: &str) -> bool {
    if ["EDGE", "DETAIL", "SHARP"].iter().any(|word| kernel.contains(word)) || matches!(kernel, "D" | "E" | "L" | "YC")
    {
        return true;
    }
    let digits: String = kernel.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    let lettered = kernel.starts_with(['B', 'I', 'F', 'H', 'U']);
    lettered && digits.parse::<u32>().is_ok_and(|number| (50..100).contains(&number))
}
