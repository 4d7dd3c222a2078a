//! A complete study to read jobs, with everything that will not be read and why. Pure and deterministic: the same
//! instances give the same jobs, in whatever order they arrived.
//!
//! # Layout
//! - `sort`: which instances are images that prelim reads, by kind
//! - `xray`: the views of an X-ray study
//! - `stack`: CT frames to stacks of slices in the order of the patient
//! - `reconstruction`: which stack of an acquisition is read
//! - `slab`: a stack to overlapping slabs
//!
//! **Invariant**: every instance of the study is in a job or in [`Partition::unread`], and every frame of a multi-frame
//! instance likewise.

mod reconstruction;
mod slab;
mod sort;
mod stack;
#[cfg(test)]
mod tests;
mod xray;

use prelim_proto::demand::Demand;
use prelim_proto::ids::{JobId, Uid};
use prelim_proto::image::{ImageAttributes, ImageKind};
use prelim_proto::job::{ImageRef, ImageRole, JobKind, JobSpec};
use prelim_proto::study::{Instance, Series, Study, Unread, UnreadReason};

/// Longest meaning of a code, in bytes (PS3.5 section 6.2: LO).
const MAX_CODE_BYTES: usize = 64;

/// How much goes into one job and one study.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionLimits {
    /// X-ray views that one job shows together.
    pub max_views_per_job: usize,
    /// CT slices that one job reads.
    pub slab_slices: usize,
    /// Neighbouring slices shown beside a slab at each end.
    pub slab_overlap_slices: usize,
    /// Frames read of one study; a whole-body CT with thin slices has about 3,000.
    pub max_frames_per_study: usize,
}

impl Default for PartitionLimits {
    fn default() -> Self {
        Self { max_views_per_job: 4, slab_slices: 16, slab_overlap_slices: 2, max_frames_per_study: 5_000 }
    }
}

/// A study cut up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Partition {
    /// What is to be read.
    pub jobs: Vec<JobSpec>,
    /// What will not be.
    pub unread: Vec<Unread>,
    /// How it came to that, in sentences.
    pub notes: Vec<String>,
    /// Why nothing can be read, where there are no jobs.
    pub failure: String,
}

/// One image instance with the series that it is in.
#[derive(Debug, Clone, Copy)]
struct Image<'a> {
    series: &'a Series,
    instance: &'a Instance,
    attributes: &'a ImageAttributes,
}

impl Image<'_> {
    /// Place among the others where geometry says nothing: by number, then by UID.
    fn order(&self) -> (Option<i32>, &Uid, Option<i32>, &Uid) {
        (self.series.number, &self.series.uid, self.instance.number, &self.instance.uid)
    }

    /// Body part in DICOM's word; from the description of the series where the header has none.
    fn body_part(&self) -> Option<String> {
        if let Some(part) = self.attributes.body_part.as_deref().and_then(code_word) {
            return Some(part.to_owned());
        }
        let words = self.series.description.to_uppercase();
        let parts = [
            ("CHEST", ["CHEST", "THORAX", "LUNG"]),
            ("HEAD", ["HEAD", "BRAIN", "SKULL"]),
            ("ABDOMEN", ["ABDOMEN", "ABDOM", "LIVER"]),
        ];
        parts.iter().find(|(_, said)| said.iter().any(|word| words.contains(word))).map(|(part, _)| (*part).to_owned())
    }

    /// The instance as something that is not read.
    fn unread(&self, reason: UnreadReason, detail: impl Into<String>) -> Unread {
        Unread { instance: self.instance.uid.clone(), frame: None, reason, detail: detail.into() }
    }

    /// A frame (from 1) as something to be read.
    fn reference(&self, frame: u32, label: String) -> ImageRef {
        ImageRef {
            instance: self.instance.uid.clone(),
            series: self.series.uid.clone(),
            frame,
            digest: self.instance.digest.clone(),
            size_bytes: self.instance.size_bytes,
            role: ImageRole::Read,
            plane: self.attributes.planes.get(frame as usize - 1).copied(),
            pixel_spacing_mm: self.attributes.pixel_spacing_mm,
            label,
        }
    }
}

/// A text that stands where a code should, if it can be one. Jobs name no patient, and damaged objects have names anywhere:
/// their components are parted by carets and equals signs, which no code has (PS3.5 section 6.2).
fn code_word(text: &str) -> Option<&str> {
    let allowed = |c: char| c.is_alphanumeric() || " _-/,.()+".contains(c);
    (text.len() <= MAX_CODE_BYTES && text.chars().all(allowed)).then_some(text)
}

/// The images of one job, before it has a number.
#[derive(Debug, Clone, PartialEq)]
struct Group {
    kind: ImageKind,
    images: Vec<ImageRef>,
    body_part: Option<String>,
}

/// Cuts a study up. Jobs are numbered from `first_job`.
pub fn partition(study: &Study, first_job: u32, limits: &PartitionLimits) -> Partition {
    let mut result = Partition::default();
    let sorted = sort::by_kind(study, &mut result.unread);
    let mut groups = xray::groups(&sorted.xray, limits, &mut result);
    groups.extend(slab::groups(&sorted.ct, limits, &mut result));
    cap(&mut groups, limits, &mut result);
    result.jobs = groups
        .into_iter()
        .zip(first_job..)
        .map(|(group, number)| JobSpec {
            id: JobId::new(study.uid.clone(), number),
            kind: JobKind::Read(group.kind),
            images: group.images,
            body_part: group.body_part,
            priority: study.priority,
            demand: Demand::default(),
            told: None,
            compared: None,
        })
        .collect();
    result.unread.sort_by(|a, b| (&a.instance, a.frame).cmp(&(&b.instance, b.frame)));
    if result.jobs.is_empty() {
        result.failure = failure(&result.unread);
    }
    result
}

/// One frame of a study, with its kind and body part, whatever is made of the others.
///
/// # Errors
/// Why it cannot be looked at, in words.
pub(crate) fn image(
    study: &Study,
    instance: &Uid,
    frame: u32,
) -> Result<(ImageKind, ImageRef, Option<String>), String> {
    let all = study.series.iter().flat_map(|series| series.instances.iter().map(move |instance| (series, instance)));
    let found = all.into_iter().find(|(_, held)| held.uid == *instance);
    let (series, instance) = found.ok_or_else(|| "it is no instance of the study".to_owned())?;
    let (kind, attributes) = sort::readable(series, instance).map_err(|(_, detail)| detail)?;
    if !(1..=attributes.frames.max(1)).contains(&frame) {
        return Err(match attributes.frames {
            0 | 1 => "it has 1 frame".to_owned(),
            frames => format!("it has {frames} frames"),
        });
    }
    let image = Image { series, instance, attributes };
    let label = match kind {
        ImageKind::Xray => xray::view(&image).1,
        ImageKind::Ct => "CT slice".to_owned(),
    };
    Ok((kind, image.reference(frame, label), image.body_part()))
}

/// Leaves out whole jobs past the limit of frames, from the end.
fn cap(groups: &mut Vec<Group>, limits: &PartitionLimits, result: &mut Partition) {
    let is_read = |image: &&ImageRef| image.role == ImageRole::Read;
    let mut frames = 0;
    let fitting = groups
        .iter()
        .take_while(|group| {
            frames += group.images.iter().filter(is_read).count();
            frames <= limits.max_frames_per_study
        })
        .count();
    if fitting == groups.len() {
        return;
    }
    let limit = limits.max_frames_per_study;
    for image in groups.drain(fitting..).flat_map(|group| group.images).filter(|image| image.role == ImageRole::Read) {
        result.unread.push(Unread {
            instance: image.instance,
            frame: Some(image.frame),
            reason: UnreadReason::TooLarge,
            detail: format!("past the limit of {limit} frames for a study"),
        });
    }
    result.notes.push(format!("The study has more than {limit} frames: the rest is not read."));
}

/// Why nothing can be read: each kind of thing that was found, once.
fn failure(unread: &[Unread]) -> String {
    let mut details: Vec<&str> = unread.iter().map(|unread| unread.detail.as_str()).collect();
    details.sort_unstable();
    details.dedup();
    let more = details.len().saturating_sub(3);
    details.truncate(3);
    let found = if details.is_empty() { "it holds no instances".to_owned() } else { details.join("; ") };
    let more = if more > 0 { format!("; and {more} other reasons") } else { String::new() };
    format!("nothing in the study can be read: {found}{more}")
}
