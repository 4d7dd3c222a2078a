//! From a complete study to jobs.
//!
//! # Layout
//! - [`partition`]: the spine
//! - `xray`: the views of a study, together as far as the model can take them
//! - `ct`: which series, in which order, in which slabs
//!
//! **Invariant**: pure and deterministic: the same study gives the same jobs, under the same numbers.
//! **Invariant**: every image of the study is in a job or in `unread` with its reason.

mod ct;
#[cfg(test)]
mod tests;
mod xray;

use prelim_proto::ids::JobId;
use prelim_proto::image::{ImageAttributes, ImageKind};
use prelim_proto::job::{ImageRef, ImageRole, JobKind, JobSpec};
use prelim_proto::study::{Instance, Series, Study, Unread, UnreadReason};

/// What one job may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionLimits {
    /// X-ray views in one job.
    pub views_per_job: usize,
    /// CT slices read in one job.
    pub slices_per_slab: usize,
    /// Slices of the neighbouring slab shown at either end of a slab.
    pub slab_overlap: usize,
    /// Frames read of one study. More are listed as unread.
    pub frames_per_study: usize,
}

impl Default for PartitionLimits {
    /// Slabs of 16 slices keep several workers busy on one study and a lost job cheap.
    fn default() -> Self {
        Self { views_per_job: 4, slices_per_slab: 16, slab_overlap: 1, frames_per_study: 4_000 }
    }
}

/// How a study is read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Partition {
    /// The read jobs, numbered from 0.
    pub jobs: Vec<JobSpec>,
    /// What is in no job, with reasons.
    pub unread: Vec<Unread>,
    /// What was decided, in sentences.
    pub notes: Vec<String>,
}

/// Takes `study` apart.
pub fn partition(study: &Study, limits: &PartitionLimits) -> Partition {
    let mut plan = Plan { limits, frames_left: limits.frames_per_study, partition: Partition::default() };
    let mut xrays: Vec<Picture<'_>> = Vec::new();
    let mut cts: Vec<(&Series, Vec<Picture<'_>>)> = Vec::new();
    for series in &study.series {
        let pictures = plan.pictures(series);
        match series.kind() {
            Some(ImageKind::Xray) => xrays.extend(pictures),
            Some(ImageKind::Ct) => cts.push((series, pictures)),
            None => {}
        }
    }
    for group in xray::jobs(&mut plan, xrays) {
        plan.add_job(study, ImageKind::Xray, group);
    }
    for slab in ct::slabs(&mut plan, cts) {
        plan.add_job(study, ImageKind::Ct, slab);
    }
    plan.partition
}

/// One image instance that may be read.
#[derive(Clone, Copy)]
struct Picture<'a> {
    series: &'a Series,
    instance: &'a Instance,
    image: &'a ImageAttributes,
}

impl Picture<'_> {
    /// The word at `place` (from 0) of Image Type, upper case.
    fn image_type(&self, place: usize) -> &str {
        self.image.image_type.get(place).map_or("", String::as_str)
    }

    /// Whether Image Type holds `word` anywhere.
    fn is_typed(&self, word: &str) -> bool {
        self.image.image_type.iter().any(|value| value.eq_ignore_ascii_case(word))
    }

    fn reference(&self, frame: u32, role: ImageRole, label: String) -> ImageRef {
        ImageRef {
            instance: self.instance.uid.clone(),
            series: self.series.uid.clone(),
            frame,
            digest: self.instance.digest.clone(),
            size_bytes: self.instance.size_bytes,
            role,
            plane: self.image.planes.get(frame as usize - 1).copied(),
            pixel_spacing_mm: self.image.pixel_spacing_mm,
            label,
        }
    }
}

/// The images of a job, with the body part where it is known.
struct Group {
    images: Vec<ImageRef>,
    body_part: Option<String>,
}

/// The partition in the making.
struct Plan<'a> {
    limits: &'a PartitionLimits,
    frames_left: usize,
    partition: Partition,
}

impl Plan<'_> {
    /// The instances of a series that are images of a kind that is read; the others are noted as unread.
    fn pictures<'s>(&mut self, series: &'s Series) -> Vec<Picture<'s>> {
        let mut pictures = Vec::new();
        for instance in &series.instances {
            match (&instance.image, series.kind()) {
                (None, _) => self.leave(
                    instance,
                    UnreadReason::NotReadable,
                    format!("no image: SOP class {} ({})", instance.sop_class, modality(series)),
                ),
                (Some(_), None) => {
                    self.leave(instance, UnreadReason::NotReadable, format!("{} is not read", modality(series)));
                }
                (Some(image), Some(_)) => pictures.push(Picture { series, instance, image }),
            }
        }
        pictures
    }

    /// Notes that `instance` is not read.
    fn leave(&mut self, instance: &Instance, reason: UnreadReason, detail: String) {
        self.partition.unread.push(Unread { instance: instance.uid.clone(), frame: None, reason, detail });
    }

    /// Takes `wanted` frames out of the study's allowance; false where it is spent.
    fn allow(&mut self, wanted: usize) -> bool {
        match self.frames_left.checked_sub(wanted) {
            Some(left) => {
                self.frames_left = left;
                true
            }
            None => false,
        }
    }

    /// Notes that the study has more frames than are read.
    fn leave_past_limit(&mut self, picture: &Picture<'_>) {
        let limit = self.limits.frames_per_study;
        self.leave(
            picture.instance,
            UnreadReason::TooLarge,
            format!("{} frames, past the limit of {limit} frames a study", picture.image.frames.max(1)),
        );
    }

    fn note(&mut self, sentence: String) {
        self.partition.notes.push(sentence);
    }

    fn add_job(&mut self, study: &Study, kind: ImageKind, group: Group) {
        let number = self.partition.jobs.len() as u32;
        self.partition.jobs.push(JobSpec {
            id: JobId::new(study.uid.clone(), number),
            kind: JobKind::Read(kind),
            images: group.images,
            body_part: group.body_part,
            priority: study.priority,
        });
    }
}

/// The modality in words.
fn modality(series: &Series) -> String {
    if series.modality.is_empty() { "no modality given".to_owned() } else { format!("modality {}", series.modality) }
}

/// The body part of the first picture that names one.
fn body_part(pictures: &[Picture<'_>]) -> Option<String> {
    pictures.iter().find_map(|picture| picture.image.body_part.clone())
}
