//! CT frames to stacks of slices, in the order in which they lie in the patient.

use std::collections::BTreeMap;

use prelim_imaging::geometry::{self, Stack};
use prelim_proto::image::Plane;
use prelim_proto::study::{Unread, UnreadReason};

use super::{Image, Partition};

/// A slice: an image and one of its frames, from 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slice<'a> {
    pub(super) image: Image<'a>,
    pub(super) frame: u32,
}

impl Slice<'_> {
    fn plane(&self) -> Option<Plane> {
        self.image.attributes.planes.get(self.frame as usize - 1).copied()
    }

    fn unread(&self, detail: String) -> Unread {
        let frame = (self.image.attributes.frames > 1).then_some(self.frame);
        Unread { frame, ..self.image.unread(UnreadReason::NotNeeded, detail) }
    }
}

/// Slices of one series that lie one behind the other, from the feet to the head.
#[derive(Debug, Clone)]
pub(super) struct Slices<'a> {
    /// The slices in order.
    pub(super) slices: Vec<Slice<'a>>,
    /// What geometry says of them.
    pub(super) geometry: Stack,
    /// Acquisition Number, where the slices of the series have one.
    pub(super) acquisition: Option<i32>,
}

impl<'a> Slices<'a> {
    /// Any of its images: all share series and reconstruction.
    pub(super) fn image(&self) -> &Image<'a> {
        &self.slices[0].image
    }

    /// What to call it in sentences.
    pub(super) fn name(&self) -> String {
        name(self.image())
    }

    /// Distance between the first and the last slice, in mm.
    pub(super) fn coverage_mm(&self) -> f64 {
        let along = &self.geometry.along_mm;
        along.last().zip(along.first()).map_or(0.0, |(last, first)| last - first)
    }
}

/// A series in words.
fn name(image: &Image<'_>) -> String {
    let number = image.series.number.map_or("without number".to_owned(), |number| number.to_string());
    let description = image.series.description.trim();
    if description.is_empty() { format!("series {number}") } else { format!("series {number} ({description})") }
}

/// The stacks of a study's CT images. Localizers and dose sheets are left out; slices at the place of another, and ones
/// that stand across, too.
pub(super) fn stacks<'a>(images: &[Image<'a>], result: &mut Partition) -> Vec<Slices<'a>> {
    let mut stacks = Vec::new();
    for series in images.chunk_by(|a, b| a.series.uid == b.series.uid) {
        let mut slices: Vec<Slice<'a>> = Vec::new();
        for image in series {
            match not_a_slice(image) {
                Some(what) => result.unread.push(image.unread(UnreadReason::NotNeeded, what)),
                None => slices.extend((1..=image.attributes.frames).map(|frame| Slice { image: *image, frame })),
            }
        }
        for part in acquisitions(slices) {
            stacks.push(ordered(part, result));
        }
    }
    stacks
}

/// What an image is that is in a CT series and no slice (PS3.3 section C.8.2.1.1.1).
fn not_a_slice(image: &Image<'_>) -> Option<&'static str> {
    let is = |word: &str| image.attributes.image_type.iter().any(|value| value.to_uppercase().contains(word));
    if is("LOCALIZER") || is("SCOUT") {
        Some("localizer")
    } else if is("DOSE") {
        Some("dose sheet")
    } else {
        None
    }
}

/// Slices of one series by acquisition, where they share places: phases of contrast that a scanner put into one series
/// would otherwise look like duplicates.
fn acquisitions(slices: Vec<Slice<'_>>) -> Vec<Vec<Slice<'_>>> {
    let planes: Vec<_> = slices.iter().map(Slice::plane).collect();
    let mut parts: BTreeMap<Option<i32>, Vec<Slice<'_>>> = BTreeMap::new();
    if !geometry::stack(&planes).duplicates.is_empty() {
        for slice in &slices {
            parts.entry(slice.image.attributes.acquisition_number).or_default().push(*slice);
        }
    }
    match parts.len() {
        0 | 1 if slices.is_empty() => Vec::new(),
        0 | 1 => vec![slices],
        _ => parts.into_values().collect(),
    }
}

/// Puts slices in order; those that have no place in it are left out or put at the end.
fn ordered<'a>(slices: Vec<Slice<'a>>, result: &mut Partition) -> Slices<'a> {
    let planes: Vec<_> = slices.iter().map(Slice::plane).collect();
    let geometry = geometry::stack(&planes);
    let series = name(&slices[0].image);
    for (indices, what) in [
        (&geometry.duplicates, "at the place of another slice of its series"),
        (&geometry.oblique, "not parallel to the other slices of its series"),
    ] {
        for index in indices {
            result.unread.push(slices[*index].unread(format!("slice {what}")));
        }
        if !indices.is_empty() {
            result.notes.push(format!("CT {series}: {} left out: {what}.", count(indices.len(), "slice")));
        }
    }
    if !geometry.unplaced.is_empty() {
        let unplaced = geometry.unplaced.len();
        let how = if geometry.order.is_empty() {
            "they are read in the order of their numbers, and neither gaps nor sizes across slices are known".to_owned()
        } else {
            "they are read after the others".to_owned()
        };
        result
            .notes
            .push(format!("CT {series}: {} without a position in the patient: {how}.", count(unplaced, "slice")));
    }
    let order = geometry.order.iter().chain(&geometry.unplaced);
    Slices {
        slices: order.map(|index| slices[*index]).collect(),
        acquisition: slices[0].image.attributes.acquisition_number,
        geometry,
    }
}

/// "1 slice", "2 slices".
pub(super) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
