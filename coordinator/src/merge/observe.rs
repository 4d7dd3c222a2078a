//! Findings of jobs, taken apart: one observation for each image that shows the finding.

use std::collections::HashMap;

use prelim_proto::finding::{Evidence, Finding, ImageBox};
use prelim_proto::ids::Uid;
use prelim_proto::image::ImageKind;
use prelim_proto::job::{ImageRef, ImageRole, JobKind};
use prelim_proto::study::Study;

use super::Reading;

/// One finding on one image.
#[derive(Debug, Clone)]
pub(super) struct Observation<'a> {
    /// The finding, for code, side, zone, severity, size and presence.
    pub(super) finding: &'a Finding,
    /// Where it was seen; none where the model did not say.
    pub(super) evidence: Option<&'a Evidence>,
    /// How sure the model was.
    pub(super) confidence: f32,
    /// Where the image lies.
    pub(super) place: Place,
}

/// Where an image lies among the others.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    /// A projection: by number of the view in the study.
    View(usize),
    /// A slice of a stack.
    Slice(Slice),
    /// Nobody knows.
    Unknown,
}

/// A slice of a CT stack.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slice {
    /// Number of the stack in the study.
    pub(super) stack: usize,
    /// Number of the slice in the stack, in the order of the patient.
    pub(super) index: usize,
    /// Slices that were to be read in the stack.
    pub(super) slices: usize,
    /// Usual distance between neighbours, in mm, where known.
    pub(super) spacing_mm: Option<f64>,
    /// Centre of the finding in the patient, in mm, where known.
    pub(super) centre_mm: Option<[f64; 3]>,
    /// Half of the longer side of its box, in mm, where known.
    pub(super) radius_mm: Option<f64>,
}

/// Every finding of every job, image by image, in order of job.
pub(super) fn observe<'a>(study: &Study, readings: &[Reading<'a>]) -> Vec<Observation<'a>> {
    let atlas = Atlas::of(study, readings);
    let mut observations = Vec::new();
    for outcome in readings.iter().filter_map(|reading| reading.end.ok()) {
        for finding in &outcome.findings {
            for evidence in &finding.evidence {
                observations.push(Observation {
                    finding,
                    evidence: Some(evidence),
                    confidence: evidence.confidence,
                    place: atlas.place(evidence),
                });
            }
            if finding.evidence.is_empty() {
                let confidence = finding.confidence;
                observations.push(Observation { finding, evidence: None, confidence, place: Place::Unknown });
            }
        }
    }
    observations
}

/// Where the images of a study lie.
struct Atlas<'a> {
    images: HashMap<(&'a Uid, u32), (&'a ImageRef, Place)>,
    sizes: HashMap<Uid, (f64, f64)>,
}

impl<'a> Atlas<'a> {
    fn of(study: &Study, readings: &[Reading<'a>]) -> Self {
        let instances = study.series.iter().flat_map(|series| &series.instances);
        let size = |instance: &prelim_proto::study::Instance| {
            let image = instance.image.as_ref()?;
            Some((instance.uid.clone(), (f64::from(image.rows), f64::from(image.columns))))
        };
        let mut atlas = Self { images: HashMap::new(), sizes: instances.filter_map(size).collect() };

        // The partition put the slices of a stack in order, over its slabs, and reads each in one of them.
        let mut stacks: Vec<(&Uid, Vec<&'a ImageRef>)> = Vec::new();
        for reading in readings {
            let read = reading.spec.images.iter().filter(|image| image.role == ImageRole::Read);
            for image in read {
                match reading.spec.kind {
                    JobKind::Read(ImageKind::Ct) => match stacks.last_mut() {
                        Some((series, images)) if **series == image.series => images.push(image),
                        _ => stacks.push((&image.series, vec![image])),
                    },
                    _ => {
                        let view = Place::View(atlas.images.len());
                        atlas.images.insert((&image.instance, image.frame), (image, view));
                    }
                }
            }
        }
        for (stack, (_, images)) in stacks.into_iter().enumerate() {
            let (slices, spacing_mm) = (images.len(), spacing_mm(&images));
            for (index, image) in images.into_iter().enumerate() {
                let slice = Slice { stack, index, slices, spacing_mm, centre_mm: None, radius_mm: None };
                atlas.images.insert((&image.instance, image.frame), (image, Place::Slice(slice)));
            }
        }
        atlas
    }

    fn place(&self, evidence: &Evidence) -> Place {
        let Some((image, place)) = self.images.get(&(&evidence.instance, evidence.frame)) else {
            return Place::Unknown;
        };
        let mut place = place.clone();
        if let Place::Slice(slice) = &mut place
            && let Some(bounds) = &evidence.bounds
            && let Some((rows, columns)) = self.sizes.get(&evidence.instance)
        {
            let size_mm = image.pixel_spacing_mm.map(|(row, column)| (rows * row, columns * column));
            slice.radius_mm = size_mm.map(|size_mm| radius_mm(bounds, size_mm));
            slice.centre_mm = size_mm.and_then(|size_mm| centre_mm(image, bounds, size_mm));
        }
        place
    }
}

/// Median distance between neighbouring slices.
fn spacing_mm(images: &[&ImageRef]) -> Option<f64> {
    let position = |image: &ImageRef| image.plane.map(|plane| plane.position_mm);
    let step = |pair: &[&ImageRef]| {
        let (a, b) = (position(pair[0])?, position(pair[1])?);
        Some((0..3).map(|axis| (a[axis] - b[axis]).powi(2)).sum::<f64>().sqrt())
    };
    let mut steps: Vec<f64> = images.windows(2).filter_map(step).collect();
    steps.sort_by(f64::total_cmp);
    steps.get(steps.len() / 2).copied()
}

/// Half of the longer side of a box on an image of the given height and width.
fn radius_mm(bounds: &ImageBox, (height_mm, width_mm): (f64, f64)) -> f64 {
    let height = f64::from(bounds.bottom - bounds.top) * height_mm;
    let width = f64::from(bounds.right - bounds.left) * width_mm;
    height.max(width) / 2.0
}

/// The centre of a box in the patient (PS3.3 section C.7.6.2.1.1; half a pixel is left out of account).
fn centre_mm(image: &ImageRef, bounds: &ImageBox, (height_mm, width_mm): (f64, f64)) -> Option<[f64; 3]> {
    let plane = image.plane?;
    let down = f64::from(bounds.top + bounds.bottom) / 2.0 * height_mm;
    let across = f64::from(bounds.left + bounds.right) / 2.0 * width_mm;
    Some(std::array::from_fn(|axis| plane.position_mm[axis] + plane.row[axis] * across + plane.column[axis] * down))
}
