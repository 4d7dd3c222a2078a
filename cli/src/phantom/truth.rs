//! What is in a phantom, for whoever checks a reader against it: `truth.json`.

use serde::Serialize;

/// Edge of the coarse grid that a mask is written on.
pub(super) const MASK_GRID: usize = 24;
/// A pixel belongs to a finding from this coverage on.
const COVERED: f32 = 0.4;

/// The truth of one study.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Truth {
    /// DX or CT.
    pub(super) modality: &'static str,
    /// CHEST.
    pub(super) body_part: &'static str,
    /// The seed of the run.
    pub(super) seed: u64,
    /// The study's number in the run.
    pub(super) index: u64,
    /// Study Instance UID.
    pub(super) study: String,
    /// Instances in order, without the localizer.
    pub(super) instances: Vec<String>,
    /// What there is to find.
    pub(super) findings: Vec<TrueFinding>,
}

/// One finding.
#[derive(Debug, Clone, Serialize)]
pub(super) struct TrueFinding {
    /// The word of the vocabulary.
    pub(super) finding: &'static str,
    /// left, right or bilateral.
    pub(super) side: Option<&'static str>,
    /// upper, mid, lower on a radiograph; anterior, mid, posterior on CT.
    pub(super) zone: Option<&'static str>,
    /// small to large, or mild to severe.
    pub(super) severity: Option<&'static str>,
    /// Largest extent in mm: the diameter of a nodule or mass, the depth of fluid or air.
    pub(super) size_mm: Option<f32>,
    /// Where it is, image by image.
    pub(super) boxes: Vec<TrueBox>,
    /// The instance on which it is largest.
    pub(super) key_instance: String,
}

/// A finding's place on one image.
#[derive(Debug, Clone, Serialize)]
pub(super) struct TrueBox {
    /// SOP Instance UID.
    pub(super) instance: String,
    /// Frame, from 1.
    pub(super) frame: u32,
    /// Top, left, bottom, right in fractions of the picture.
    #[serde(rename = "box")]
    pub(super) bounds: [f32; 4],
    /// Area that it covers, in mm².
    pub(super) area_mm2: f32,
    /// Severity as far as this image shows it, where that can differ between images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) severity: Option<&'static str>,
    /// Coverage of a 24 × 24 grid, one hexadecimal digit a cell from the upper left; only where masks were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mask: Option<String>,
}

/// Collects the pixels of a finding on one picture.
#[derive(Debug, Clone)]
pub(super) struct Trace {
    size: usize,
    rows: (usize, usize),
    columns: (usize, usize),
    pixels: usize,
    cells: Vec<f32>,
}

impl Trace {
    /// Nothing yet, on a picture of `size × size`.
    pub(super) fn new(size: usize) -> Self {
        Self {
            size,
            rows: (usize::MAX, 0),
            columns: (usize::MAX, 0),
            pixels: 0,
            cells: vec![0.0; MASK_GRID * MASK_GRID],
        }
    }

    /// Notes that the finding covers `coverage` (0 to 1) of a pixel.
    pub(super) fn mark(&mut self, x: usize, y: usize, coverage: f32) {
        if coverage <= 0.02 {
            return;
        }
        self.cells[y * MASK_GRID / self.size * MASK_GRID + x * MASK_GRID / self.size] += coverage;
        if coverage > COVERED {
            self.rows = (self.rows.0.min(y), self.rows.1.max(y));
            self.columns = (self.columns.0.min(x), self.columns.1.max(x));
            self.pixels += 1;
        }
    }

    /// Its place, where enough of it is there to be seen.
    pub(super) fn finish(&self, place: &Place<'_>) -> Option<TrueBox> {
        if self.pixels < 4 {
            return None;
        }
        let edge = |pixel: usize| pixel as f32 / self.size as f32;
        let bounds = [edge(self.rows.0), edge(self.columns.0), edge(self.rows.1 + 1), edge(self.columns.1 + 1)];
        Some(TrueBox {
            instance: place.instance.to_owned(),
            frame: 1,
            bounds,
            area_mm2: self.pixels as f32 * place.pixel_mm * place.pixel_mm,
            severity: place.severity,
            mask: place.with_mask.then(|| self.mask()),
        })
    }

    fn mask(&self) -> String {
        let full = (self.size as f32 / MASK_GRID as f32).powi(2);
        let digit = |sum: &f32| char::from_digit((sum / full * 15.0).round().min(15.0) as u32, 16);
        self.cells.iter().filter_map(digit).collect()
    }
}

/// The picture that a [`Trace`] lies on.
pub(super) struct Place<'a> {
    /// SOP Instance UID.
    pub(super) instance: &'a str,
    /// Edge of a pixel.
    pub(super) pixel_mm: f32,
    /// Severity on this picture.
    pub(super) severity: Option<&'static str>,
    /// Whether the mask is written.
    pub(super) with_mask: bool,
}
