//! Which findings a phantom has.

use prelim_proto::vocabulary::FindingCode;

use super::Modality;
use super::dice::{Dice, Side};

/// Findings of a radiograph with their weights.
const ON_RADIOGRAPHS: [(FindingCode, f32); 9] = [
    (FindingCode::PleuralEffusion, 0.17),
    (FindingCode::Pneumothorax, 0.14),
    (FindingCode::Consolidation, 0.17),
    (FindingCode::Nodule, 0.16),
    (FindingCode::Mass, 0.11),
    (FindingCode::Cardiomegaly, 0.14),
    (FindingCode::InterstitialEdema, 0.11),
    (FindingCode::Pacemaker, 0.10),
    (FindingCode::EndotrachealTube, 0.10),
];
/// Findings of a CT with their weights.
const ON_CT: [(FindingCode, f32); 5] = [
    (FindingCode::PleuralEffusion, 0.20),
    (FindingCode::Pneumothorax, 0.16),
    (FindingCode::Consolidation, 0.20),
    (FindingCode::Nodule, 0.20),
    (FindingCode::Mass, 0.14),
];
/// Share of studies without a finding, and the shares with at most none, one and two of them.
const SHARES: [f32; 3] = [0.18, 0.55, 0.85];

/// Draws what a study is to show: nothing, or one to three findings, in the order of the vocabulary.
pub(super) fn draw(dice: &mut Dice, modality: Modality) -> Vec<FindingCode> {
    let table: &[(FindingCode, f32)] = match modality {
        Modality::Dx => &ON_RADIOGRAPHS,
        Modality::Ct => &ON_CT,
    };
    let lot = dice.between(0.0, 1.0);
    let count = SHARES.iter().filter(|share| lot >= **share).count();
    let mut left = table.to_vec();
    let mut drawn = Vec::with_capacity(count);
    for _ in 0..count {
        let weights: Vec<f32> = left.iter().map(|(_, weight)| *weight).collect();
        drawn.push(left.remove(dice.weighted(&weights)).0);
    }
    drawn.sort();
    drawn
}

/// How much of a finding there is, by a measure and two borders.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    borders: [f32; 2],
    words: [&'static str; 3],
}

impl Scale {
    /// small, moderate, large.
    pub(super) const fn of_size(borders: [f32; 2]) -> Self {
        Self { borders, words: ["small", "moderate", "large"] }
    }

    /// mild, moderate, severe.
    pub(super) const fn of_degree(borders: [f32; 2]) -> Self {
        Self { borders, words: ["mild", "moderate", "severe"] }
    }

    /// The word for a measure.
    pub(super) fn word(&self, measure: f32) -> &'static str {
        self.words[self.borders.iter().filter(|border| measure >= **border).count()]
    }
}

/// A finding as drawn, before its places are known.
#[derive(Debug, Clone)]
pub(super) struct Drawn {
    pub(super) code: FindingCode,
    pub(super) side: Option<&'static str>,
    pub(super) zone: Option<&'static str>,
    pub(super) severity: Option<&'static str>,
    pub(super) size_mm: Option<f32>,
}

impl Drawn {
    /// A finding without side or attributes.
    pub(super) fn new(code: FindingCode) -> Self {
        Self { code, side: None, zone: None, severity: None, size_mm: None }
    }

    /// On one side.
    pub(super) fn on(mut self, side: Side) -> Self {
        self.side = Some(side.word());
        self
    }

    /// In a zone.
    pub(super) fn zone(mut self, zone: &'static str) -> Self {
        self.zone = Some(zone);
        self
    }

    /// With a severity.
    pub(super) fn severity(mut self, severity: &'static str) -> Self {
        self.severity = Some(severity);
        self
    }

    /// With a size.
    pub(super) fn size(mut self, size_mm: f32) -> Self {
        self.size_mm = Some((size_mm * 10.0).round() / 10.0);
        self
    }
}
