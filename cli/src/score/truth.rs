//! The `truth.json` beside a study.

use prelim_proto::finding::{ImageBox, Laterality};
use prelim_proto::ids::Uid;
use prelim_proto::vocabulary::FindingCode;
use serde::Deserialize;

/// What is in a study.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Truth {
    /// "DX" or "CT".
    pub(crate) modality: String,
    /// Study Instance UID.
    pub(crate) study: Uid,
    /// The findings, each code at most once; empty for a normal study.
    pub(crate) findings: Vec<TrueFinding>,
}

impl Truth {
    /// The finding with this code.
    pub(crate) fn finding(&self, code: FindingCode) -> Option<&TrueFinding> {
        self.findings.iter().find(|finding| finding.finding == code)
    }
}

/// A finding that is there.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct TrueFinding {
    /// What it is.
    pub(crate) finding: FindingCode,
    /// On which side.
    #[serde(default)]
    pub(crate) side: Option<Laterality>,
    /// Where it shows, a box a frame.
    #[serde(default)]
    pub(crate) boxes: Vec<TrueBox>,
}

/// Where a finding shows on one frame.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct TrueBox {
    /// SOP Instance UID.
    pub(crate) instance: Uid,
    /// The frame, from 1.
    #[serde(default = "one")]
    pub(crate) frame: u32,
    /// Top, left, bottom, right as fractions of the frame.
    #[serde(rename = "box")]
    edges: [f32; 4],
}

fn one() -> u32 {
    1
}

impl TrueBox {
    /// The rectangle.
    pub(crate) fn bounds(&self) -> Option<ImageBox> {
        let [top, left, bottom, right] = self.edges;
        ImageBox::new(top, left, bottom, right)
    }
}
