//! One job: its images to findings. [`run`] is the path; that of a question is in [`crate::answer`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use futures::future::join_all;
use opentelemetry::KeyValue;
use prelim_kernels::ChoiceError;
use prelim_proto::cost::JobCost;
use prelim_proto::demand::{Demand, PromptName};
use prelim_proto::ids::Digest;
use prelim_proto::image::ImageKind;
use prelim_proto::job::{ImageRef, ImageRole, JobKind, JobOutcome, JobSpec, Lease};
use prelim_proto::priors::{MAX_TOLD_BYTES, ToldPrior};
use prelim_proto::study::{Unread, UnreadReason};

use crate::answer;
use crate::desk::{NoRoom, Place};
use crate::engine::GrammarSpec;
use crate::engine::request::{Completion, EngineError, Request, Sampling};
use crate::fetch::{FetchError, ObjectSource, Objects};
use crate::findings::{SeenImage, read_answer};
use crate::pictures::{PictureError, Seen};
use crate::profile::KindProfile;
use crate::prompt::{PromptError, Shown};
use crate::reader::Reader;
use crate::traces;

/// Why an attempt at a job came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The model reads no images of this kind.
    #[error("the model reads no {0}")]
    Kind(&'static str),
    /// The job demands a model or prompt that this worker does not offer.
    #[error("this worker does not offer {0}")]
    NotOffered(Demand),
    /// The prompt that the job demands is not for such images.
    #[error("prompt {:?} is not for {kind}: give it a section for them, or send them to another by rule", prompt.as_str())]
    PromptKind {
        /// The prompt.
        prompt: PromptName,
        /// The images.
        kind: &'static str,
    },
    /// The model was not made for such a question.
    #[error("the model was not made to {0}")]
    QuestionKind(&'static str),
    /// The question did not come with its job.
    #[error("the question did not come with the job: the coordinator is of another version")]
    NoQuestion,
    /// Nothing of what is asked about can be looked at.
    #[error("no image that is asked about can be looked at: {0}")]
    NothingSeen(String),
    /// The model had no words.
    #[error("the model said nothing")]
    NoWords,
    /// The bytes.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A decoder process that does not start, or no memory for it.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// More images at once than there is memory for.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The prompt.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A part of the work panicked. What it said is not repeated: it may quote what it read.
    #[error("a part of the job panicked")]
    Panic,
}

impl JobError {
    /// Whether another attempt, here or elsewhere, may go better.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Kind(_) | Self::Prompt(_) | Self::PromptKind { .. } => false,
            Self::QuestionKind(_) | Self::NothingSeen(_) | Self::NoWords => false,
            // The coordinator knows who offers it.
            Self::NotOffered(_) | Self::NoQuestion => true,
            Self::Fetch(error) => error.is_retryable(),
            // Another worker may have more memory.
            Self::Picture(_) | Self::NoRoom(_) | Self::Panic => true,
            Self::Engine(error) => {
                use EngineError::{Cancelled, Choice, Memory, Model, Stopped};
                // Scores that overflow may do so in this device's numbers alone.
                matches!(error, Choice(ChoiceError::NotFinite) | Model(_) | Memory(_) | Cancelled | Stopped)
            }
        }
    }

    /// Whether this worker can do no job any more.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Engine(EngineError::Stopped))
    }
}

/// Reads the images of the leased job. An image that cannot be read is listed with the reason, and the rest is read; one
/// whose stored bytes are damaged fails the job, since nobody knows what they were.
pub async fn run<S: ObjectSource>(
    reader: &Arc<Reader>,
    objects: &Objects<S>,
    lease: &Lease,
) -> Result<JobOutcome, JobError> {
    let job = &lease.job;
    if job.kind == JobKind::Answer {
        return answer::run(reader, objects, lease).await;
    }
    let (image_kind, kind) = reader.kind(job)?;
    let mut outcome = reader.blank_outcome(job, kind);
    let wanted = wanted_images(job, kind);
    let mut held = hold(reader, &wanted).await?;
    let bytes = traces::step("fetch", fetch(objects, lease, &wanted, &mut outcome)).await?;
    let pictures = traces::step("decode", see(reader, image_kind, &wanted, bytes, &mut outcome)).await?;
    held.keep(reader.sight.picture_bytes() * pictures.len() as u64);
    let told = told(objects, lease, kind.priors.is_some(), &mut outcome).await?;
    let prompts = group(pictures, kind.images_per_prompt);
    let answers = traces::step("read", ask(reader, (kind, reader.adapter(job)), &prompts, &told)).await?;
    for (prompt, answer) in prompts.iter().zip(&answers) {
        note_answer(&mut outcome, kind, prompt, answer);
    }
    conclude(&mut outcome, image_kind, kind);
    let cost = &outcome.cost;
    traces::note([
        KeyValue::new("prelim.vision_ms", cost.vision_ms),
        KeyValue::new("prelim.prefill_ms", cost.prefill_ms),
        KeyValue::new("prelim.generate_ms", cost.generate_ms),
        KeyValue::new("prelim.prompt_tokens", cost.prompt_tokens as i64),
        KeyValue::new("prelim.generated_tokens", cost.generated_tokens as i64),
    ]);
    Ok(outcome)
}

/// An image of the job with its picture.
struct Pictured<'a> {
    image: &'a ImageRef,
    seen: Seen,
}

/// The images that go into prompts. Where a prompt holds one image, those that are only shown have no place.
fn wanted_images<'a>(job: &'a JobSpec, kind: &KindProfile) -> Vec<&'a ImageRef> {
    let shows_context = kind.images_per_prompt > 1;
    job.images.iter().filter(|image| shows_context || image.role == ImageRole::Read).collect()
}

/// Takes room for the images of a job: their objects, the largest of them twice while it comes, and their pictures.
pub(crate) async fn hold(reader: &Reader, images: &[&ImageRef]) -> Result<Place, JobError> {
    let sizes: HashMap<&Digest, u64> = images.iter().map(|image| (&image.digest, image.size_bytes)).collect();
    let objects = sizes.values().sum::<u64>() + sizes.values().max().copied().unwrap_or_default();
    Ok(reader.desk.hold(objects + reader.sight.picture_bytes() * images.len() as u64).await?)
}

/// Fetches each instance once. Where one is missing the job fails: a draft that passes over it in silence would look whole.
pub(crate) async fn fetch<S: ObjectSource>(
    objects: &Objects<S>,
    lease: &Lease,
    images: &[&ImageRef],
    outcome: &mut JobOutcome,
) -> Result<HashMap<Digest, Arc<[u8]>>, JobError> {
    let started = Instant::now();
    let mut fetched = HashMap::new();
    for image in images {
        if fetched.contains_key(&image.digest) {
            continue;
        }
        let bytes = objects.get(lease, &image.digest, image.size_bytes).await?;
        fetched.insert(image.digest.clone(), bytes);
    }
    outcome.cost.fetch_ms += milliseconds(started);
    Ok(fetched)
}

/// What the model is told of earlier studies, where it takes that.
pub(crate) async fn told<S: ObjectSource>(
    objects: &Objects<S>,
    lease: &Lease,
    is_told: bool,
    outcome: &mut JobOutcome,
) -> Result<Vec<ToldPrior>, JobError> {
    let (Some(blob), true) = (&lease.job.told, is_told) else { return Ok(Vec::new()) };
    let told = match blob.size_bytes {
        0..=MAX_TOLD_BYTES => ToldPrior::from_blob(&objects.get(lease, &blob.digest, blob.size_bytes).await?),
        _ => None,
    };
    outcome.limitations.push(match &told {
        Some(_) => TOLD.to_owned(),
        None => NOT_TOLD.to_owned(),
    });
    Ok(told.unwrap_or_default())
}

/// Makes the pictures, in the job's order, on a thread that may block.
async fn see<'a>(
    reader: &Arc<Reader>,
    image_kind: ImageKind,
    images: &[&'a ImageRef],
    bytes: HashMap<Digest, Arc<[u8]>>,
    outcome: &mut JobOutcome,
) -> Result<Vec<Pictured<'a>>, JobError> {
    let mut pictured: Vec<Option<Pictured<'a>>> = images.iter().map(|_| None).collect();
    for (digest, bytes) in in_order(images, bytes) {
        let places: Vec<usize> = (0..images.len()).filter(|at| images[*at].digest == digest).collect();
        let frames: Vec<u32> = places.iter().map(|at| images[*at].frame).collect();
        let windows = reader.profile.kind(image_kind).and_then(|kind| kind.windows_hu);
        let worker = Arc::clone(reader);
        let seeing = tokio::task::spawn_blocking(move || worker.sight.see(&bytes, &frames, windows, &worker.desk));
        let (seen, spent) = seeing.await.map_err(|_| JobError::Panic)?;
        outcome.cost.decode_ms += spent.decode_ms;
        outcome.cost.preprocess_ms += spent.preprocess_ms;
        for (at, seen) in places.into_iter().zip(seen) {
            match seen {
                Ok(seen) => pictured[at] = Some(Pictured { image: images[at], seen }),
                Err(error) if error.is_retryable() => return Err(error.into()),
                Err(error) => note_unread(outcome, images[at], error.unread_reason(), error.to_string()),
            }
        }
    }
    Ok(pictured.into_iter().flatten().collect())
}

/// The instances in the order in which the job first names them.
fn in_order(images: &[&ImageRef], mut bytes: HashMap<Digest, Arc<[u8]>>) -> Vec<(Digest, Arc<[u8]>)> {
    images.iter().filter_map(|image| Some((image.digest.clone(), bytes.remove(&image.digest)?))).collect()
}

/// Pictures prompt by prompt; a prompt in which nothing is to be read is not asked.
fn group(pictures: Vec<Pictured<'_>>, images_per_prompt: usize) -> Vec<Vec<Pictured<'_>>> {
    let mut prompts: Vec<Vec<Pictured<'_>>> = Vec::new();
    for picture in pictures {
        match prompts.last_mut() {
            Some(last) if last.len() < images_per_prompt => last.push(picture),
            _ => prompts.push(vec![picture]),
        }
    }
    prompts.retain(|prompt| prompt.iter().any(|picture| picture.image.role == ImageRole::Read));
    prompts
}

/// Asks all prompts at once: the engine computes them together, and with those of other jobs.
async fn ask(
    reader: &Reader,
    (kind, adapter): (&KindProfile, Option<usize>),
    prompts: &[Vec<Pictured<'_>>],
    told: &[ToldPrior],
) -> Result<Vec<Completion>, JobError> {
    let mut pending = Vec::with_capacity(prompts.len());
    for pictures in prompts {
        let shown: Vec<_> = pictures
            .iter()
            .map(|p| Shown { picture: Arc::clone(&p.seen.picture), label: p.image.label.clone() })
            .collect();
        pending.push(reader.engine.submit(Request {
            prompt: reader.prompts.write(kind, &shown, told)?,
            adapter,
            grammar: Some(GrammarSpec::JsonSchema(kind.answer_schema(shown.len()))),
            max_new_tokens: kind.max_new_tokens,
            sampling: Sampling::default(),
            alternatives: 0,
        }));
    }
    Ok(join_all(pending).await.into_iter().collect::<Result<_, _>>()?)
}

/// Adds what one answer says.
fn note_answer(outcome: &mut JobOutcome, kind: &KindProfile, prompt: &[Pictured<'_>], answer: &Completion) {
    let images: Vec<_> = prompt.iter().map(seen_image).collect();
    let reading = read_answer(answer, kind, &images);
    outcome.truncated |= reading.truncated;
    // What an answer says before it is cut counts; that it says nothing does not mean that there is nothing.
    if !reading.truncated || !reading.findings.is_empty() {
        outcome.frames_read += images.iter().filter(|image| image.role == ImageRole::Read).count() as u32;
    }
    if reading.truncated {
        let most = kind.max_new_tokens;
        let detail = format!("the model's answer was cut off at its limit of {most} tokens (max_new_tokens)");
        for picture in prompt {
            note_unread(outcome, picture.image, UnreadReason::TooLarge, detail.clone());
        }
    }
    if reading.boxes_without_area > 0 {
        outcome.limitations.push(NO_AREA.to_owned());
    }
    outcome.findings.extend(reading.findings);
    add_cost(&mut outcome.cost, answer);
}

const NO_AREA: &str = "The model marked a finding with a box that has no area; the finding is listed without a place.";
const TOLD: &str = "The model was told what reports of earlier studies say; its findings may lean on them.";
const NOT_TOLD: &str = "What is known of earlier studies could not be read, and the model was not told of them.";
const NO_SPACING: &str = "Sizes are not given where the pixel spacing is not known.";
const PROJECTED: &str = "Sizes on X-rays are those of the projection, which is larger than what is in the patient.";

/// What qualifies the reading as a whole. Each sentence once, in a fixed order; that an answer was cut is
/// [`JobOutcome::truncated`], which drafts put into words.
fn conclude(outcome: &mut JobOutcome, image_kind: ImageKind, kind: &KindProfile) {
    let unmeasured = |finding: &prelim_proto::finding::Finding| {
        let is_placed = finding.evidence.iter().any(|evidence| evidence.bounds.is_some());
        kind.measured.contains(&finding.code) && is_placed && finding.size_mm.is_none()
    };
    if outcome.findings.iter().any(unmeasured) {
        outcome.limitations.push(NO_SPACING.to_owned());
    }
    if image_kind == ImageKind::Xray && outcome.findings.iter().any(|finding| finding.size_mm.is_some()) {
        outcome.limitations.push(PROJECTED.to_owned());
    }
    let mut seen = std::collections::HashSet::new();
    outcome.limitations.retain(|sentence| seen.insert(sentence.clone()));
}

fn seen_image(picture: &Pictured<'_>) -> SeenImage {
    let image = picture.image;
    SeenImage {
        instance: image.instance.clone(),
        series: image.series.clone(),
        frame: image.frame,
        role: image.role,
        size: picture.seen.size,
        pixel_spacing_mm: image.pixel_spacing_mm,
    }
}

/// Lists an image that is not read. One that was only to be shown is listed by the job that was to read it.
fn note_unread(outcome: &mut JobOutcome, image: &ImageRef, reason: UnreadReason, detail: String) {
    if image.role == ImageRole::Read {
        outcome.unread.push(Unread { instance: image.instance.clone(), frame: Some(image.frame), reason, detail });
    }
}

pub(crate) fn add_cost(cost: &mut JobCost, answer: &Completion) {
    cost.prompt_tokens += answer.cost.prompt_tokens as u64;
    cost.generated_tokens += answer.cost.generated_tokens as u64;
    cost.forced_tokens += answer.cost.forced_tokens as u64;
    cost.vision_ms += answer.cost.vision_ms;
    cost.prefill_ms += answer.cost.prefill_ms;
    cost.generate_ms += answer.cost.generate_ms;
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// The kinds of job in words.
pub(crate) fn name_of(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Read(ImageKind::Xray) => "X-rays",
        JobKind::Read(ImageKind::Ct) => "CT",
        JobKind::Merge => "merge jobs, which coordinators do themselves",
        JobKind::Answer => "questions",
    }
}
