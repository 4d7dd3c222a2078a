//! From an answer to findings.
//!
//! # Confidence
//! An answer lists findings one after another. Two decisions make one: that the list goes on, and which code comes. The
//! confidence of a finding is the product of the probabilities, among what the grammar allows, of the tokens that spell
//! both: every chosen token from the end of the finding before (or the opening of the list) to the end of the code.
//! Forced tokens count as certain. Side, zone, severity and box have no part in it: they say how and where, not whether.
//! The product is then put through the profile's calibration, where it has one.

mod located;

use prelim_proto::finding::{Evidence, Finding, ImageBox, Presence};
use prelim_proto::ids::Uid;
use prelim_proto::job::ImageRole;
use prelim_proto::vocabulary::FindingCode;
use serde::de::DeserializeOwned;

use crate::engine::request::{AnswerToken, Completion, Finish, Origin};
use crate::profile::{BoxFormat, KindProfile};
use located::Located;

/// Two findings of one code and side whose boxes overlap by this much are one.
const SAME_BOX_IOU: f32 = 0.5;

/// An image that a prompt showed.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenImage {
    /// The instance.
    pub instance: Uid,
    /// The series of the instance.
    pub series: Uid,
    /// The frame, from 1.
    pub frame: u32,
    /// Whether findings are wanted in it.
    pub role: ImageRole,
    /// Rows and columns of the frame as stored.
    pub size: (u32, u32),
    /// Row and column spacing in mm, where known.
    pub pixel_spacing_mm: Option<(f64, f64)>,
}

/// What one answer says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// The findings, in the model's order.
    pub findings: Vec<Finding>,
    /// The answer ended with its budget; what was begun last is left out.
    pub truncated: bool,
    /// Boxes without an area, whose findings are kept without a place.
    pub boxes_without_area: u32,
}

/// Reads an answer about `images`, which the prompt showed in this order.
///
/// An answer that does not follow the profile's grammar gives what can be read of it; under the grammar there is none.
pub fn read_answer(answer: &Completion, kind: &KindProfile, images: &[SeenImage]) -> Reading {
    let mut reading = Reading { truncated: answer.finish == Finish::Length, ..Reading::default() };
    let Some(list) = Located::read(&answer.text).and_then(|all| all.get("findings").cloned()) else { return reading };
    let mut decided_from = list.bytes.start + 1;
    for item in list.items() {
        let said = Said { item, answer, own_bytes: answer.own_bytes(), kind };
        if let Some(finding) = said.finding(decided_from, images, &mut reading.boxes_without_area) {
            join(&mut reading.findings, finding);
        }
        decided_from = item.bytes.end;
    }
    reading
}

/// One element of an answer's list.
struct Said<'a> {
    item: &'a Located,
    answer: &'a Completion,
    /// Where the model's own words end: past it a budget's end was closed by the grammar.
    own_bytes: usize,
    kind: &'a KindProfile,
}

impl Said<'_> {
    /// The finding, unless its code is not the model's own word, its image is not to be read, or it is too unlikely.
    fn finding(&self, decided_from: usize, images: &[SeenImage], boxes_without_area: &mut u32) -> Option<Finding> {
        let said_code = self.own("finding")?;
        let code: FindingCode = word(said_code)?;
        let image = self.image(images)?;
        let probability = decided(&self.answer.tokens, decided_from, said_code.bytes.end);
        let confidence = self.kind.calibrate(probability).clamp(0.0, 1.0);
        if image.role != ImageRole::Read || confidence < self.kind.report_from {
            return None;
        }
        let bounds = match self.own("box").zip(self.kind.bounds) {
            None => None,
            Some((said, format)) => {
                let bounds = image_box(said, format);
                *boxes_without_area += u32::from(bounds.is_none());
                bounds
            }
        };
        let measured = self.kind.measured.contains(&code);
        let uncertain = confidence < self.kind.uncertain_below;
        Some(Finding {
            code,
            presence: if uncertain { Presence::Uncertain } else { Presence::Present },
            laterality: self.own("side").and_then(word),
            zone: self.own("zone").and_then(word),
            severity: self.own("severity").and_then(word),
            size_mm: bounds.filter(|_| measured).and_then(|bounds| size_mm(&bounds, image)),
            confidence,
            evidence: vec![Evidence {
                instance: image.instance.clone(),
                series: image.series.clone(),
                frame: image.frame,
                bounds,
                confidence,
            }],
        })
    }

    /// A member whose value the model finished itself.
    fn own(&self, key: &str) -> Option<&Located> {
        self.item.get(key).filter(|value| value.bytes.end <= self.own_bytes)
    }

    /// The image that is spoken of: the only one, or the one whose number is given.
    fn image<'a>(&self, images: &'a [SeenImage]) -> Option<&'a SeenImage> {
        if let [only] = images {
            return Some(only);
        }
        let number = self.own("image")?.number()?;
        images.get((number as usize).checked_sub(1)?)
    }
}

/// The product of the probabilities of the tokens chosen for any of the bytes `from..to`.
fn decided(tokens: &[AnswerToken], from: usize, to: usize) -> f32 {
    let inside = tokens.iter().filter(|token| token.bytes.end > from && token.bytes.start < to);
    let probabilities = inside.filter_map(|token| match &token.origin {
        Origin::Chosen { probability, .. } => Some(f64::from(*probability)),
        Origin::Forced | Origin::Closing => None,
    });
    probabilities.product::<f64>() as f32
}

/// A word of the vocabulary, by the name that serde gives it.
fn word<T: DeserializeOwned>(said: &Located) -> Option<T> {
    serde_json::from_value(said.text()?.into()).ok()
}

/// The box, unless it has no area.
fn image_box(said: &Located, format: BoxFormat) -> Option<ImageBox> {
    let edges: Vec<f32> = said.items().iter().filter_map(Located::number).map(|edge| edge as f32).collect();
    let &[top, left, bottom, right] = edges.as_slice() else { return None };
    if bottom <= top || right <= left {
        return None;
    }
    let scale = format.scale as f32;
    ImageBox::new(top / scale, left / scale, bottom / scale, right / scale)
}

/// The longer side of the box.
fn size_mm(bounds: &ImageBox, image: &SeenImage) -> Option<f32> {
    let (row_mm, column_mm) = image.pixel_spacing_mm?;
    let height_mm = f64::from(bounds.bottom - bounds.top) * f64::from(image.size.0) * row_mm;
    let width_mm = f64::from(bounds.right - bounds.left) * f64::from(image.size.1) * column_mm;
    let size_mm = height_mm.max(width_mm) as f32;
    (size_mm.is_finite() && size_mm > 0.0).then_some(size_mm)
}

/// Adds a finding, or joins it with the one that it repeats, keeping the surer of the two.
fn join(findings: &mut Vec<Finding>, new: Finding) {
    match findings.iter_mut().find(|known| is_repeated(known, &new)) {
        Some(known) if new.confidence > known.confidence => *known = new,
        Some(_) => {}
        None => findings.push(new),
    }
}

/// Whether two findings of one answer are the same thing said twice: same image, code and side, and the same place. A
/// second nodule elsewhere in the same lung is another finding.
fn is_repeated(a: &Finding, b: &Finding) -> bool {
    let (seen_a, seen_b) = (&a.evidence[0], &b.evidence[0]);
    let same_image = (&seen_a.instance, seen_a.frame) == (&seen_b.instance, seen_b.frame);
    let same_place = match (seen_a.bounds, seen_b.bounds) {
        (Some(a), Some(b)) => a.iou(&b) >= SAME_BOX_IOU,
        _ => a.zone == b.zone,
    };
    same_image && a.code == b.code && a.laterality == b.laterality && same_place
}

#[cfg(test)]
#[path = "findings_tests.rs"]
mod tests;
