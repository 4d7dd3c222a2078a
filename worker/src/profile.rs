//! The reading profile: what one model wants to be asked, by kind of image, and what it may answer.
//!
//! A model folder that holds `prelim.json` brings its own profile; any other folder is read with the built-in one,
//! written for MedGemma. The profile is data: a new model needs a file, not code.
//!
//! What people ask a model in plain words is in `questions`.
//!
//! **Invariant**: a [`ReadingProfile`] in hand has been validated; the grammar made of it can name no finding,
//! side, zone or severity outside the vocabulary.

mod check;
pub mod named;
mod questions;
mod schema;

pub use questions::QuestionProfile;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use prelim_proto::finding::{Laterality, Severity, Zone};
use prelim_proto::image::ImageKind;
use prelim_proto::vocabulary::FindingCode;
use serde::Deserialize;

/// The profile's name in a model folder.
pub const PROFILE_FILE: &str = "prelim.json";

/// The version of the format that this software reads.
pub const PROFILE_SCHEMA: u32 = 1;

/// The profile of models that bring none.
const BUILT_IN: &str = include_str!("profile/medgemma.json");

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The file is there and could not be read.
    #[error("reading profile {path} is not readable: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not the JSON of a profile.
    #[error("reading profile {path} is not understood: {detail}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        detail: String,
    },
    /// JSON of the right shape that contradicts itself.
    #[error("reading profile {path} is not usable: {}", problems.join("; "))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Every problem, not only the first.
        problems: Vec<String>,
    },
}

/// What a model wants, as a whole.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct ReadingProfile {
    /// Version of the format: [`PROFILE_SCHEMA`].
    pub schema: u32,
    /// The model's name for people; the folder's name where absent.
    #[serde(default)]
    pub name: Option<String>,
    /// The weights are a demonstration, and every report must say so.
    #[serde(default)]
    pub demonstration: bool,
    /// Version of prompt and grammar, part of a draft's provenance.
    pub prompt_version: String,
    /// Body parts in DICOM's word that the model was made for; empty where it was made for all.
    #[serde(default)]
    pub body_parts: Vec<String>,
    /// What it wants, by kind of image.
    pub kinds: Kinds,
    /// What it is asked when somebody asks about a study; absent for a model that answers no questions.
    #[serde(default)]
    pub questions: Option<QuestionProfile>,
}

/// Profiles by kind of image; a kind that is absent is not read by the model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct Kinds {
    /// Projection X-ray.
    #[serde(default)]
    pub xray: Option<KindProfile>,
    /// Computed tomography.
    #[serde(default)]
    pub ct: Option<KindProfile>,
}

/// What a model wants to be asked about one kind of image, and what it may answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct KindProfile {
    /// The system turn, where the model wants one.
    #[serde(default)]
    pub system: Option<String>,
    /// The user turn. `{images}` stands where the images go (before the text where it is absent), `{count}` for how
    /// many there are.
    pub prompt: String,
    /// Text before each image: `{number}` from 1, `{label}` what it shows.
    #[serde(default)]
    pub image_caption: Option<String>,
    /// Text at the head of the user turn that tells of earlier studies, `{priors}` where they go, a line each. Absent for a
    /// model that was not made to be told of them; and left out where there are none.
    #[serde(default)]
    pub priors: Option<String>,
    /// Images that go into one prompt; more are read in several prompts.
    pub images_per_prompt: usize,
    /// Tokens that an answer may have before the grammar closes it.
    pub max_new_tokens: usize,
    /// For CT: the windows, in HU, that become the red, green and blue of the picture.
    #[serde(default)]
    pub windows_hu: Option<[[f32; 2]; 3]>,
    /// Findings that the answer may name.
    pub findings: Vec<FindingCode>,
    /// Sides that a finding may have.
    #[serde(default)]
    pub sides: Vec<Laterality>,
    /// Zones that a finding may have.
    #[serde(default)]
    pub zones: Vec<Zone>,
    /// Severities that a finding may have.
    #[serde(default)]
    pub severities: Vec<Severity>,
    /// How places are written, where the model gives them.
    #[serde(default, rename = "box")]
    pub bounds: Option<BoxFormat>,
    /// Findings that one answer may hold.
    #[serde(default = "default_max_findings")]
    pub max_findings: usize,
    /// Longest impression in characters; 0 where the model writes none. It is never shown: reports write their own.
    #[serde(default)]
    pub impression_chars: usize,
    /// Findings whose box is a measure of their size.
    #[serde(default = "default_measured")]
    pub measured: Vec<FindingCode>,
    /// From the model's probability to how often it is right: points of a rising piecewise linear map, fitted on
    /// studies that the model was not trained on. Empty where the model is not calibrated.
    #[serde(default)]
    pub calibration: Vec<[f32; 2]>,
    /// Confidence below which a finding is said to be uncertain.
    #[serde(default)]
    pub uncertain_below: f32,
    /// Confidence below which a finding is left out.
    #[serde(default)]
    pub report_from: f32,
}

/// How a box is written: `[top, left, bottom, right]`, whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct BoxFormat {
    /// What the full height or width is.
    pub scale: u32,
    /// Numbers are multiples of it.
    pub step: u32,
    /// The largest number that is written.
    pub maximum: u32,
}

fn default_max_findings() -> usize {
    12
}

fn default_measured() -> Vec<FindingCode> {
    vec![FindingCode::Nodule, FindingCode::Mass]
}

impl ReadingProfile {
    /// The profile of the model in `folder`: its own where it has one, else the built-in one.
    pub fn load(folder: &Path) -> Result<Self, ProfileError> {
        let path = folder.join(PROFILE_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text, &path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::parse(BUILT_IN, Path::new("(built in)")),
            Err(source) => Err(ProfileError::Unreadable { path, source }),
        }
    }

    /// Reads and validates a profile; `path` is for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ProfileError> {
        let profile: Self = serde_json::from_str(text)
            .map_err(|error| ProfileError::Malformed { path: path.to_owned(), detail: error.to_string() })?;
        let problems = check::problems(&profile);
        if problems.is_empty() { Ok(profile) } else { Err(ProfileError::Invalid { path: path.to_owned(), problems }) }
    }

    /// The same of a model whose confidences mean something else.
    #[must_use]
    pub fn uncalibrated(&self) -> Self {
        let mut profile = self.clone();
        for kind in [&mut profile.kinds.xray, &mut profile.kinds.ct].into_iter().flatten() {
            kind.calibration.clear();
        }
        profile
    }

    /// What the model wants for `kind`; nothing where it does not read such images.
    pub fn kind(&self, kind: ImageKind) -> Option<&KindProfile> {
        self.kinds.of(kind)
    }

    /// Whether the model was made for `body_part`; unknown parts get the benefit of the doubt.
    pub fn covers(&self, body_part: Option<&str>) -> bool {
        body_part.is_none_or(|part| {
            self.body_parts.is_empty() || self.body_parts.iter().any(|known| known.eq_ignore_ascii_case(part))
        })
    }
}

impl Kinds {
    /// The profiles of all kinds that there are.
    pub fn each(&self) -> impl Iterator<Item = &KindProfile> {
        [&self.xray, &self.ct].into_iter().flatten()
    }

    /// The profile of a kind of image; nothing where it is absent.
    pub fn of(&self, kind: ImageKind) -> Option<&KindProfile> {
        match kind {
            ImageKind::Xray => self.xray.as_ref(),
            ImageKind::Ct => self.ct.as_ref(),
        }
    }
}

impl KindProfile {
    /// Whether confidences mean what they say.
    pub fn is_calibrated(&self) -> bool {
        !self.calibration.is_empty()
    }

    /// The confidence for a `probability` that the model gave.
    pub fn calibrate(&self, probability: f32) -> f32 {
        let points = &self.calibration;
        let (Some(first), Some(last)) = (points.first(), points.last()) else {
            return probability;
        };
        let after = points.partition_point(|[x, _]| *x <= probability);
        if after == 0 {
            return first[1];
        }
        if after == points.len() {
            return last[1];
        }
        let ([x0, y0], [x1, y1]) = (points[after - 1], points[after]);
        y0 + (y1 - y0) * (probability - x0) / (x1 - x0)
    }
}

#[cfg(test)]
mod tests;
