//! A part of a study that one worker reads in one go.

use serde::{Deserialize, Serialize};

use crate::cost::JobCost;
use crate::demand::Demand;
use crate::finding::Finding;
use crate::ids::{Digest, FencingToken, JobId, Uid};
use crate::image::{ImageKind, Plane};
use crate::priors::ToldBlob;
use crate::question::{Answer, Asked};
use crate::report::ModelProvenance;
use crate::study::{Priority, Unread};

/// What is to be done. It names no patient.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Which job.
    pub id: JobId,
    /// What kind of work it is.
    pub kind: JobKind,
    /// The images, in reading order (views of an X-ray study; slices from the feet to the head).
    pub images: Vec<ImageRef>,
    /// Body part in DICOM's word (CHEST, HEAD, …), where known.
    pub body_part: Option<String>,
    /// How soon it is wanted.
    pub priority: Priority,
    /// What it demands of the worker that reads it.
    #[serde(default, skip_serializing_if = "Demand::is_any")]
    pub demand: Demand,
    /// What it is told of earlier studies, for models that take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<ToldBlob>,
    /// SHA-256 of what the study is to be compared with, a blob of the study. The coordinator's own: it is not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared: Option<Digest>,
}

/// The kinds of job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Read images of one kind and say what is found.
    Read(ImageKind),
    /// Join the findings of all read jobs of the study into a draft. Done by a coordinator.
    Merge,
    /// Answer a question about a study. It takes no part in what becomes of the study: see [`crate::question`].
    Answer,
}

impl JobKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Read(ImageKind::Xray), Self::Read(ImageKind::Ct), Self::Merge, Self::Answer];

    /// Whether a worker reads images in it, for the study's draft.
    pub fn is_read(self) -> bool {
        matches!(self, Self::Read(_))
    }
}

/// One frame that a job reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageRef {
    /// The instance.
    pub instance: Uid,
    /// The series of the instance.
    pub series: Uid,
    /// The frame, from 1.
    pub frame: u32,
    /// SHA-256 of the instance's bytes, by which they are fetched and checked.
    pub digest: Digest,
    /// Length of the instance's bytes.
    pub size_bytes: u64,
    /// Whether findings are wanted in this image, or it is shown to help.
    pub role: ImageRole,
    /// Where the frame lies in the patient, where known.
    pub plane: Option<Plane>,
    /// Row and column spacing in mm, where known.
    pub pixel_spacing_mm: Option<(f64, f64)>,
    /// What it shows, in a few words for the prompt: "PA", "lateral", "slice 12 of 40".
    pub label: String,
}

/// What an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageRole {
    /// To be read.
    Read,
    /// Shown beside the others (another view, an overlapping slice, a prior).
    Context,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for a worker, at once or from a time on.
    Ready,
    /// A worker holds it.
    Leased,
    /// Its outcome is stored.
    Done,
    /// Given up after the last attempt, or at once for a reason that no retry mends.
    Dead,
    /// Its study was cancelled.
    Cancelled,
}

/// The right to work on a job for a while.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// What to do.
    pub job: JobSpec,
    /// The token that every renewal and commit carries.
    pub token: FencingToken,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How long the lease lasts from now, in ms, unless renewed.
    pub ttl_ms: u64,
    /// How long the job waited for workers so far, in ms.
    pub waited_ms: u64,
    /// Of that, how long it waited for this attempt, in ms; 0 where the lease was given before.
    pub attempt_waited_ms: u64,
    /// What is asked, where the job is to answer a question. No store holds it: it is added where the lease is given out.
    #[serde(skip)]
    pub asked: Option<Asked>,
}

/// What came of a read job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobOutcome {
    /// What was found, in the order in which the model said it.
    pub findings: Vec<Finding>,
    /// Frames of this job that were read.
    pub frames_read: u32,
    /// Images of this job that were not read, with reasons.
    pub unread: Vec<Unread>,
    /// The model reached its token budget and its answer was closed by the grammar.
    pub truncated: bool,
    /// What qualifies the reading, in sentences (out of the model's scope, no spacing, …).
    pub limitations: Vec<String>,
    /// Which model, prompt and preprocessing made it.
    pub model: ModelProvenance,
    /// What it cost.
    pub cost: JobCost,
    /// What the model says, where the job was to answer a question. No store holds it with the job.
    #[serde(skip)]
    pub answer: Option<Answer>,
}
