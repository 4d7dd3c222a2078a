//! One observation, and where it was seen.

use serde::{Deserialize, Serialize};

use crate::ids::Uid;
use crate::vocabulary::FindingCode;

/// Whether the finding is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Seen.
    Present,
    /// Looked for and not seen.
    Absent,
    /// Perhaps.
    Uncertain,
}

/// The patient's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Laterality {
    /// The patient's left.
    Left,
    /// The patient's right.
    Right,
    /// Both sides.
    Bilateral,
}

/// How much of it there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Little of it.
    Small,
    /// Mild.
    Mild,
    /// In between.
    Moderate,
    /// Much of it.
    Large,
    /// Severe.
    Severe,
}

/// A part of the lung or chest, coarse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Zone {
    /// Upper third.
    Upper,
    /// Middle third.
    Mid,
    /// Lower third.
    Lower,
    /// Towards the front.
    Anterior,
    /// Towards the back.
    Posterior,
}

/// A rectangle on an image, in fractions of its height and width, `0 ≤ top ≤ bottom ≤ 1` and `0 ≤ left ≤ right ≤ 1`,
/// from the upper left corner of the frame as stored.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ImageBox {
    /// Upper edge.
    pub top: f32,
    /// Left edge.
    pub left: f32,
    /// Lower edge.
    pub bottom: f32,
    /// Right edge.
    pub right: f32,
}

impl ImageBox {
    /// The box, with its edges put in order and inside the image; nothing where a number is not finite.
    pub fn new(top: f32, left: f32, bottom: f32, right: f32) -> Option<Self> {
        if ![top, left, bottom, right].iter().all(|v| v.is_finite()) {
            return None;
        }
        let unit = |v: f32| v.clamp(0.0, 1.0);
        let (top, bottom) = (unit(top.min(bottom)), unit(top.max(bottom)));
        let (left, right) = (unit(left.min(right)), unit(left.max(right)));
        Some(Self { top, left, bottom, right })
    }

    /// Area as a fraction of the image.
    pub fn area(&self) -> f32 {
        (self.bottom - self.top) * (self.right - self.left)
    }

    /// Intersection over union with `other`; 0 where both are empty.
    pub fn iou(&self, other: &Self) -> f32 {
        let height = (self.bottom.min(other.bottom) - self.top.max(other.top)).max(0.0);
        let width = (self.right.min(other.right) - self.left.max(other.left)).max(0.0);
        let both = height * width;
        let union = self.area() + other.area() - both;
        if union > 0.0 { both / union } else { 0.0 }
    }
}

/// Where a finding was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The instance.
    pub instance: Uid,
    /// The series of the instance.
    pub series: Uid,
    /// The frame, from 1.
    pub frame: u32,
    /// Where on the frame, where the model said.
    #[serde(rename = "box")]
    pub bounds: Option<ImageBox>,
    /// How sure the model was on this frame, 0 to 1.
    pub confidence: f32,
}

/// One observation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is.
    pub code: FindingCode,
    /// Whether it is there.
    pub presence: Presence,
    /// On which side.
    pub laterality: Option<Laterality>,
    /// In which part.
    pub zone: Option<Zone>,
    /// How much.
    pub severity: Option<Severity>,
    /// Largest extent in mm, measured on the evidence where the spacing is known.
    pub size_mm: Option<f32>,
    /// How likely the finding is there, 0 to 1, from the model's token probabilities, calibrated where the model has a calibration.
    pub confidence: f32,
    /// Where it was seen; the first is the best to look at.
    pub evidence: Vec<Evidence>,
}
