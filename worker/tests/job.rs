//! One job from bytes to findings, with the demonstration model.
//!
//! Verifies issue 2, promises 6 and 9: real slices are read, what does not decode is listed with its reason and stops
//! nothing else, and a job's outcome does not depend on what else is read.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::join_all;
use prelim_imaging::sandbox::DecoderCommand;
use prelim_proto::cost::JobCost;
use prelim_proto::demand::ModelName;
use prelim_proto::finding::Finding;
use prelim_proto::ids::{Digest, FencingToken, JobId, Uid};
use prelim_proto::image::ImageKind;
use prelim_proto::job::{ImageRef, ImageRole, JobKind, JobOutcome, JobSpec, Lease};
use prelim_proto::priors::{ToldBlob, ToldPrior};
use prelim_proto::question::{Asked, QuestionKind};
use prelim_proto::study::{Priority, UnreadReason};
use prelim_worker::WorkerLimits;
use prelim_worker::backend::DeviceChoice;
use prelim_worker::config::{ArithmeticChoice, NamedAdapter, WeightChoice};
use prelim_worker::coordinator::{CallError, Way};
use prelim_worker::fetch::{ObjectSource, Objects};
use prelim_worker::job::{self, JobError};
use prelim_worker::model::weights::Weights;
use prelim_worker::reader::{LoadError, Reader};
use safetensors::tensor::TensorView;
use sha2::{Digest as _, Sha256};

#[path = "../../kernels/tests/cuda/stand_in.rs"]
#[allow(dead_code, reason = "the kernels' tests use more of it")]
mod stand_in;

const CRATE: &str = env!("CARGO_MANIFEST_DIR");

/// Files in memory.
struct Files(HashMap<Digest, Vec<u8>>);

impl ObjectSource for Files {
    async fn read(&self, _: &Lease, digest: &Digest, _: u64, _: Way) -> Result<Vec<u8>, CallError> {
        self.0.get(digest).cloned().ok_or_else(|| CallError::NotFound(digest.to_string()))
    }
}

fn read_file(name: &str) -> (Digest, Vec<u8>) {
    let path = Path::new(CRATE).join("../tests/data/dicom").join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (Digest::from_bytes(&Sha256::digest(&bytes).into()), bytes)
}

fn demonstration() -> PathBuf {
    Path::new(CRATE).join("demo-model/checkpoint")
}

fn reader() -> Arc<Reader> {
    reader_of(&demonstration())
}

fn reader_of(folder: &Path) -> Arc<Reader> {
    reader_on(folder, DeviceChoice::Cpu)
}

fn reader_on(folder: &Path, device: DeviceChoice) -> Arc<Reader> {
    reader_with(folder, &WorkerLimits { device, cache_mib: Some(16), ..WorkerLimits::default() })
}

fn reader_with(folder: &Path, limits: &WorkerLimits) -> Arc<Reader> {
    Arc::new(Reader::load(folder, &[], limits, no_decoder()).expect("the demonstration model loads"))
}

/// Native pixels are decoded in this process: no decoder is started, and one that were would not be found.
fn no_decoder() -> DecoderCommand {
    DecoderCommand { program: "/nowhere/decoder".into(), arguments: Vec::new(), environment: Vec::new() }
}

fn image(number: u32, digest: &Digest, role: ImageRole) -> ImageRef {
    ImageRef {
        instance: Uid::parse(&format!("1.2.3.{number}")).unwrap(),
        series: Uid::parse("1.2.3").unwrap(),
        frame: 1,
        digest: digest.clone(),
        size_bytes: 1 << 20,
        role,
        plane: None,
        pixel_spacing_mm: Some((0.5, 0.5)),
        label: format!("slice {number}"),
    }
}

fn leased(kind: JobKind, images: Vec<ImageRef>) -> Lease {
    let id = JobId::new(Uid::parse("1.2").unwrap(), 0);
    let body_part = Some("HEAD".to_owned());
    let priority = Priority::Routine;
    let demand = Default::default();
    let job = JobSpec { id, kind, images, body_part, priority, demand, told: None, compared: None };
    Lease { job, token: FencingToken(1), attempt: 1, ttl_ms: 30_000, waited_ms: 0, attempt_waited_ms: 0, asked: None }
}

fn without_cost(outcome: JobOutcome) -> JobOutcome {
    JobOutcome { cost: JobCost::default(), ..outcome }
}

const SLICES: [&str; 4] =
    ["ct_series/ge_head_13.dcm", "ct_series/ge_head_14.dcm", "ct_series/ge_head_15.dcm", "ct_series/ge_head_16.dcm"];

#[tokio::test]
async fn what_can_be_read_is_read_and_the_rest_has_its_reason() {
    let good = read_file(SLICES[0]);
    let no_rows = read_file("malformed/gen_rows0.dcm");
    let no_data = read_file("malformed/gen_only_preamble.dcm");
    let images = vec![
        image(1, &no_rows.0, ImageRole::Read),
        image(2, &good.0, ImageRole::Read),
        image(4, &no_data.0, ImageRole::Read),
    ];
    let (job, objects) = (leased(JobKind::Read(ImageKind::Ct), images), Files([good, no_rows, no_data].into()));
    let outcome = job::run(&reader(), &Objects::new(objects, 1 << 24), &job).await.unwrap();
    assert_eq!(outcome.frames_read, 1);
    let mut unread: Vec<_> = outcome.unread.iter().map(|u| (u.instance.as_str(), u.reason)).collect();
    unread.sort_by_key(|(instance, _)| *instance);
    let corrupt = UnreadReason::Corrupt;
    assert_eq!(unread, [("1.2.3.1", corrupt), ("1.2.3.4", corrupt)], "{:?}", outcome.unread);
    assert!(outcome.limitations[0].contains("made for CHEST") && outcome.limitations[0].contains("HEAD"));
    assert!(outcome.model.demonstration);
    assert_eq!(outcome.model.arithmetic, "cpu bf16");
    let cost = outcome.cost;
    assert!(cost.prompt_tokens > 36 && cost.generated_tokens > 3 && cost.forced_tokens > 0);
    assert!(cost.decode_ms > 0.0 && cost.preprocess_ms > 0.0 && cost.vision_ms > 0.0 && cost.prefill_ms > 0.0);
}

/// Verifies issue 5, promise 1: a draft tells by its provenance what its products were rounded to.
#[tokio::test]
async fn an_outcome_names_the_arithmetic_that_it_was_computed_in() {
    let (bf16, exact) = (ArithmeticChoice::Bf16, ArithmeticChoice::Exact);
    let (stored, f32) = (WeightChoice::AsStored, WeightChoice::F32);
    let table = [
        (stored, exact, "cpu bf16"),
        (stored, bf16, "cpu bf16, products of bf16"),
        (f32, exact, "cpu f32"),
        // Nothing is rounded with f32 weights.
        (f32, bf16, "cpu f32"),
        (WeightChoice::Int8, exact, "cpu int8"),
        (WeightChoice::Int4, bf16, "cpu int4, products of bf16"),
    ];
    for (weights, arithmetic, wanted) in table {
        let limits = WorkerLimits { weights, arithmetic, ..WorkerLimits::default() };
        let reader = reader_with(&demonstration(), &limits);
        let good = read_file(SLICES[0]);
        let images = vec![image(1, &good.0, ImageRole::Read)];
        let (job, objects) = (leased(JobKind::Read(ImageKind::Ct), images), Files([good].into()));
        let outcome = job::run(&reader, &Objects::new(objects, 1 << 24), &job).await.unwrap();
        assert_eq!((outcome.frames_read, outcome.model.arithmetic.as_str()), (1, wanted));
    }
}

/// An adapter of the demonstration model's first layer that adds so much.
fn adapter(folder: &Path, name: &str, amount: f32) -> NamedAdapter {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let weights = Weights::open(&demonstration()).unwrap();
    let module = "language_model.layers.0.mlp.down_proj";
    let shape = weights.tensor(&format!("{module}.weight")).unwrap().shape().to_vec();
    let bytes = |count: usize| -> Vec<u8> {
        (0..count).flat_map(|index| (amount * ((index % 7) as f32 - 3.0) / 7.0).to_le_bytes()).collect()
    };
    let (down, up) = (bytes(shape[1]), bytes(shape[0]));
    let view = |shape: [usize; 2], bytes| TensorView::new(safetensors::Dtype::F32, shape.to_vec(), bytes).unwrap();
    let tensors = [("lora_A", view([1, shape[1]], &down)), ("lora_B", view([shape[0], 1], &up))]
        .map(|(part, view)| (format!("base_model.model.model.{module}.{part}.weight"), view));
    std::fs::write(folder.join("adapter_model.safetensors"), safetensors::serialize(tensors, None).unwrap()).unwrap();
    let config = serde_json::json!({"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["down_proj"]});
    std::fs::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
    NamedAdapter { name: ModelName::parse(name).unwrap(), folder }
}

/// Issue promise: a job is read with the adapter that it demands, beside others that demand another or none; the draft names
/// it, and one that changes nothing changes nothing.
#[tokio::test]
async fn a_job_is_read_with_the_adapter_that_it_demands() {
    let folder = tempfile::tempdir().unwrap();
    let adapters = [adapter(folder.path(), "idle", 0.0), adapter(folder.path(), "other", 4.0)];
    let limits = WorkerLimits::default();
    let load = |adapters: &[NamedAdapter]| Reader::load(&demonstration(), adapters, &limits, no_decoder());
    let reader = Arc::new(load(&adapters).unwrap());
    let offered: Vec<String> = reader.offer().adapters.iter().map(ToString::to_string).collect();
    assert_eq!(offered, ["idle", "other"]);
    let good = read_file(SLICES[1]);
    let objects = Objects::new(Files([good.clone()].into()), 1 << 24);
    let job = |model: Option<&str>| {
        let mut job = leased(JobKind::Read(ImageKind::Ct), vec![image(1, &good.0, ImageRole::Read)]);
        job.job.demand.model = model.map(|name| ModelName::parse(name).unwrap());
        job
    };
    let demonstration_model = reader.provenance().name.clone();
    let jobs = [None, Some("idle"), Some("other"), Some(demonstration_model.as_str())].map(job);
    let outcomes: [JobOutcome; 4] = join_all(jobs.iter().map(|job| job::run(&reader, &objects, job)))
        .await
        .into_iter()
        .map(|outcome| without_cost(outcome.unwrap()))
        .collect::<Vec<_>>()
        .try_into()
        .expect("four outcomes");
    let models: Vec<&str> = outcomes.iter().map(|outcome| outcome.model.name.as_str()).collect();
    assert_eq!(models, [&demonstration_model, "idle", "other", &demonstration_model]);
    let bases = outcomes.each_ref().map(|outcome| outcome.model.base.as_deref());
    let base = Some(demonstration_model.as_str());
    assert_eq!(bases, [None, base, base, None], "an adapter is told with what it changes");
    assert_eq!(outcomes[0], outcomes[3]);
    assert!(!outcomes[0].findings.is_empty());
    let places = |outcome: &JobOutcome| outcome.findings.iter().map(without_confidence).collect::<Vec<_>>();
    assert_eq!(places(&outcomes[0]), places(&outcomes[1]));
    assert_ne!(places(&outcomes[0]), places(&outcomes[2]));
    let uncalibrated = "The model's confidences are not calibrated.".to_owned();
    assert_eq!(outcomes.each_ref().map(|o| o.limitations.contains(&uncalibrated)), [false, true, true, false]);
    let digests: std::collections::BTreeSet<_> = outcomes.iter().map(|outcome| &outcome.model.digest).collect();
    assert_eq!(digests.len(), 3, "a model with an adapter is another model");
    let unknown = job(Some("nobody's"));
    assert!(matches!(job::run(&reader, &objects, &unknown).await, Err(JobError::NotOffered(_))));
    // Names that rules could not tell apart.
    let said = |loaded: Result<Reader, LoadError>| loaded.err().expect("two of one name").to_string();
    assert!(said(load(&[adapters[0].clone(), adapters[0].clone()])).contains("\"idle\" is the name of two"));
    let renamed = load(&adapters).unwrap().called(&ModelName::parse("ours").unwrap()).unwrap();
    assert!(renamed.adapted().all(|model| model.base.as_deref() == Some("ours")));
    let called = load(&adapters).unwrap().called(&ModelName::parse("other").unwrap());
    assert!(said(called).contains("\"other\" is the name of two"));
}

#[tokio::test]
async fn a_missing_object_fails_the_job_for_another_worker_to_try() {
    let good = read_file(SLICES[0]);
    let gone = Digest::from_bytes(&[7; 32]);
    let images = vec![image(1, &good.0, ImageRole::Read), image(2, &gone, ImageRole::Read)];
    let (job, objects) = (leased(JobKind::Read(ImageKind::Ct), images), Files([good].into()));
    let error = job::run(&reader(), &Objects::new(objects, 1 << 24), &job).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains(gone.as_str()), "{error}");
    assert!(error.to_string().contains("missing from the byte store"), "{error}");
}

/// Another device's numbers may reach further.
#[tokio::test]
async fn scores_that_are_not_finite_fail_the_job_for_another_worker_to_try() {
    let folder = tempfile::tempdir().unwrap();
    let adapters = [adapter(folder.path(), "overflowing", 1e30)];
    let loaded = Reader::load(&demonstration(), &adapters, &WorkerLimits::default(), no_decoder());
    let reader = Arc::new(loaded.unwrap());
    let good = read_file(SLICES[1]);
    let mut job = leased(JobKind::Read(ImageKind::Ct), vec![image(1, &good.0, ImageRole::Read)]);
    job.job.demand.model = Some(ModelName::parse("overflowing").unwrap());
    let error = job::run(&reader, &Objects::new(Files([good].into()), 1 << 24), &job).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("scores are not finite"), "{error}");
}

#[tokio::test]
async fn a_jobs_outcome_is_the_same_alone_and_beside_others() {
    let files: Vec<_> = SLICES.iter().map(|name| read_file(name)).collect();
    let images =
        |picks: &[usize]| picks.iter().map(|at| image(*at as u32, &files[*at].0, ImageRole::Read)).collect::<Vec<_>>();
    let jobs: Vec<_> = [&[0usize, 1][..], &[2], &[3, 0, 1, 2]]
        .into_iter()
        .map(|picks| leased(JobKind::Read(ImageKind::Ct), images(picks)))
        .collect();
    let objects = || Objects::new(Files(files.iter().cloned().collect()), 1 << 24);
    let mut alone = Vec::new();
    for job in &jobs {
        alone.push(without_cost(job::run(&reader(), &objects(), job).await.unwrap()));
    }
    let (reader, objects) = (reader(), objects());
    let together = join_all(jobs.iter().map(|one| job::run(&reader, &objects, one))).await;
    for (alone, together) in alone.into_iter().zip(together) {
        assert_eq!(without_cost(together.unwrap()), alone);
    }
}

/// The demonstration model, with something else in its profile for CT, and without the adapter that answers questions.
fn demonstration_with(field: &str, value: serde_json::Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_files(&demonstration(), folder.path());
    let path = folder.path().join("prelim.json");
    let mut profile: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    profile["kinds"]["ct"][field] = value;
    profile.as_object_mut().unwrap().remove("questions");
    std::fs::write(&path, profile.to_string()).unwrap();
    folder
}

/// Promise: a model is told of earlier studies where its profile takes that, and its outcome says so; another is not even
/// handed the text.
#[tokio::test]
async fn earlier_studies_are_told_to_a_model_that_takes_them() {
    let prior = ToldPrior {
        what: "chest CT".into(),
        days_before: 42,
        source: "verified report".into(),
        text: "Nodule, 9 mm.<end_of_turn>".into(),
    };
    let blob = ToldPrior::to_blob(&[prior]);
    let (digest, size_bytes) = (Digest::from_bytes(&Sha256::digest(&blob).into()), blob.len() as u64);
    let file = read_file(SLICES[0]);
    let plain = leased(JobKind::Read(ImageKind::Ct), vec![image(1, &file.0, ImageRole::Read)]);
    let mut told = plain.clone();
    told.job.told = Some(ToldBlob { digest: digest.clone(), size_bytes });
    let without = || Objects::new(Files([file.clone()].into()), 1 << 24);
    let with = Objects::new(Files([file.clone(), (digest, blob)].into()), 1 << 24);

    let demonstration = reader();
    let read = job::run(&demonstration, &without(), &plain).await.unwrap();
    let same = job::run(&demonstration, &without(), &told).await.unwrap();
    assert_eq!(without_cost(same), without_cost(read.clone()), "it is not told");

    let folder = demonstration_with("priors", "Earlier: {priors}".into());
    let taking = reader_of(folder.path());
    let leaning = job::run(&taking, &with, &told).await.unwrap();
    assert!(leaning.limitations.iter().any(|line| line.contains("told what reports of earlier studies say")));
    assert!(leaning.cost.prompt_tokens > read.cost.prompt_tokens);
    assert!(job::run(&taking, &without(), &told).await.unwrap_err().is_retryable());
    let none = job::run(&taking, &without(), &plain).await.unwrap();
    assert_eq!(none.findings, read.findings, "without earlier studies the prompt is the same");
}

#[tokio::test]
async fn an_answer_that_was_cut_is_said_by_its_flag_alone() {
    let folder = demonstration_with("max_new_tokens", 1.into());
    let file = read_file(SLICES[0]);
    let job = leased(JobKind::Read(ImageKind::Ct), vec![image(1, &file.0, ImageRole::Read)]);
    let objects = Objects::new(Files([file].into()), 1 << 24);
    let outcome = job::run(&reader_of(folder.path()), &objects, &job).await.unwrap();
    assert!(outcome.truncated);
    // That nothing was said before it was cut does not mean that nothing is there.
    assert_eq!((outcome.findings.len(), outcome.frames_read), (0, 0));
    assert_eq!(outcome.unread.len(), 1);
    assert!(outcome.unread[0].detail.contains("cut off at its limit of 1 tokens"), "{}", outcome.unread[0].detail);
    // The coordinator puts the flag into words; a limitation would say it twice.
    assert!(outcome.limitations.iter().all(|sentence| !sentence.contains("cut")), "{:?}", outcome.limitations);
}

/// Promise: what can only fail for good is refused before a job is taken.
#[test]
fn a_model_that_can_never_be_asked_is_refused_at_the_start() {
    let limits = WorkerLimits { cache_mib: Some(16), ..WorkerLimits::default() };
    let refusal =
        |folder: &Path| Reader::load(folder, &[], &limits, no_decoder()).err().expect("a refusal").to_string();
    let long = demonstration_with("max_new_tokens", 4_000.into());
    let said = refusal(long.path());
    assert!(said.contains("for CT") && said.contains("4000 (max_new_tokens)") && said.contains("2048"), "{said}");
    let wordy = demonstration_with("prompt", "effusion ".repeat(2_000).into());
    assert!(refusal(wordy.path()).contains("tokens with 1 images"));
    let marked = demonstration_with("prompt", "Look: <start_of_image>".into());
    assert!(refusal(marked.path()).contains("2 places for pictures, there are 1"));

    // The same of prompts of the site's; and there must be one.
    let other = demonstration_with("measured", serde_json::json!([]));
    let path = other.path().join("prelim.json");
    let profile =
        std::fs::read_to_string(&path).unwrap().replace(r#""demonstration":true"#, r#""demonstration":false"#);
    std::fs::write(&path, profile).unwrap();
    let site = tempfile::tempdir().unwrap();
    let with = |text: &str| {
        if !text.is_empty() {
            std::fs::write(site.path().join("p.toml"), format!("version = '1'\n[ct]\n{text}")).unwrap();
        }
        Reader::load(other.path(), &[], &limits, no_decoder()).unwrap().with_prompts(site.path())
    };
    assert!(with("").err().unwrap().to_string().contains("has no prompt: each is a file NAME.toml"));
    assert!(with("prompt = 'Any nodule?'\n").is_ok());
    for (text, says) in [
        ("prompt = 'See <start_of_image>'\n", "prompt \"p\" for CT cannot be written"),
        ("prompt = 'See.'\nmax_new_tokens = 4000\n", "prompt \"p\" for CT has"),
    ] {
        let said = with(text).err().expect("a refusal").to_string();
        assert!(said.contains(says), "{said}");
    }
}

#[tokio::test]
async fn what_the_model_does_not_read_is_refused_for_good() {
    let job = leased(JobKind::Merge, Vec::new());
    let error = job::run(&reader(), &Objects::new(Files(HashMap::new()), 0), &job).await.unwrap_err();
    assert!(matches!(error, JobError::Kind(_)) && !error.is_retryable());
}

#[tokio::test]
async fn a_decoder_that_does_not_start_is_this_machines_fault() {
    let compressed = read_file("malformed/gen_garbage_j2k.dcm");
    let job = leased(JobKind::Read(ImageKind::Ct), vec![image(1, &compressed.0, ImageRole::Read)]);
    let objects = Objects::new(Files([compressed].into()), 1 << 24);
    let error = job::run(&reader(), &objects, &job).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("/nowhere/decoder"), "{error}");
}

fn without_confidence(finding: &Finding) -> Finding {
    let mut finding = Finding { confidence: 0.0, ..finding.clone() };
    finding.evidence.iter_mut().for_each(|evidence| evidence.confidence = 0.0);
    finding
}

/// On the kernels' simulator, behind the stand-in for the driver: 16 bits and other sums, and the same draft.
#[tokio::test]
#[allow(clippy::await_holding_lock, reason = "no other test of this process waits for the device")]
async fn a_gpu_reads_what_the_processor_reads() {
    let (_turn, _) = stand_in::StandIn::turn();
    let slice = read_file(SLICES[1]);
    let job = leased(JobKind::Read(ImageKind::Ct), vec![image(1, &slice.0, ImageRole::Read)]);
    let mut outcomes = Vec::new();
    for device in [DeviceChoice::Cpu, DeviceChoice::Cuda(0)] {
        let objects = Objects::new(Files([slice.clone()].into()), 1 << 24);
        outcomes.push(job::run(&reader_on(&demonstration(), device), &objects, &job).await.unwrap());
    }
    let [processor, gpu] = &outcomes[..] else { unreachable!("two outcomes") };
    assert_eq!((processor.model.arithmetic.as_str(), gpu.model.arithmetic.as_str()), ("cpu bf16", "cuda f16"));
    assert_eq!(gpu.cost.generated_tokens, processor.cost.generated_tokens);
    assert_eq!(gpu.findings.len(), processor.findings.len());
    for (found, wanted) in gpu.findings.iter().zip(&processor.findings) {
        let near = found.confidence - wanted.confidence;
        assert_eq!(without_confidence(found), without_confidence(wanted));
        assert!(near.abs() < 0.01, "{found:?} for {wanted:?}");
    }
}

/// The files of a model's folder, without those of its adapters.
fn copy_files(of: &Path, to: &Path) {
    for entry in std::fs::read_dir(of).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A folder with a model's files, and a profile of its own.
fn model_with(folder: &Path, of: &Path, questions: &str) -> PathBuf {
    copy_files(of, folder);
    let built_in = Path::new(CRATE).join("src/profile/medgemma.json");
    let mut profile: serde_json::Value = serde_json::from_slice(&std::fs::read(built_in).unwrap()).unwrap();
    profile["questions"] = serde_json::from_str(questions).unwrap();
    // A tiny model does not look back far.
    for kind in ["xray", "ct"] {
        let kind = profile["kinds"][kind].as_object_mut().unwrap();
        kind.remove("system");
        kind.extend([("prompt".into(), "Read.".into()), ("images_per_prompt".into(), 2.into())]);
        kind.insert("max_new_tokens".into(), 40.into());
    }
    std::fs::write(folder.join("prelim.json"), profile.to_string()).unwrap();
    folder.to_owned()
}

fn question(kind: QuestionKind, text: &str, images: Vec<ImageRef>) -> Lease {
    let asked =
        Asked { kind, text: text.to_owned(), report: "Impression: none.".to_owned(), is_ct: true, bounds: None };
    let mut lease = leased(JobKind::Answer, images);
    lease.job.id = JobId::new(lease.job.id.study().clone(), JobId::FIRST_QUESTION);
    Lease { asked: Some(asked), ..lease }
}

/// Promise: a question is answered in plain words, the same each time, with the images that were looked at; what the model was
/// not made for, or cannot see, is said.
#[tokio::test]
async fn a_question_is_answered_from_the_images_that_it_names() {
    let (folder, parity) = (tempfile::tempdir().unwrap(), Path::new(CRATE).join("../tests/data/parity"));
    let questions = r#"{ "prompt_version": "q-7", "question": "{images}{question}", "shorten": "Shorten: {text}",
        "image_caption": "{label}", "report": "It says: {report}", "images_per_prompt": 2, "max_new_tokens": 12,
        "adapter": "attention" }"#;
    let model = model_with(folder.path(), &parity.join("tiny-gemma3"), questions);
    let adapter = NamedAdapter {
        name: ModelName::parse("attention").unwrap(),
        folder: parity.join("tiny-gemma3-adapters/attention"),
    };
    let limits = WorkerLimits { cache_mib: Some(16), ..WorkerLimits::default() };
    // The adapter that the profile names is given, or in the model's folder; without it nothing is answered.
    let without = Reader::load(&model, &[], &limits, no_decoder()).unwrap();
    assert_eq!(without.kinds().len(), 2, "{:?}", without.kinds());
    let reader = Arc::new(Reader::load(&model, std::slice::from_ref(&adapter), &limits, no_decoder()).unwrap());
    assert!(reader.kinds().contains(&JobKind::Answer));
    assert!(reader.offer().adapters.is_empty(), "nothing is read with it");

    let (one, two, no_rows) = (read_file(SLICES[0]), read_file(SLICES[1]), read_file("malformed/gen_rows0.dcm"));
    let named = |files: &[&(Digest, Vec<u8>)]| -> Vec<ImageRef> {
        files.iter().zip(1..).map(|(file, number)| image(number, &file.0, ImageRole::Read)).collect()
    };
    let objects = Objects::new(Files([one.clone(), two.clone(), no_rows.clone()].into()), 1 << 24);
    let ask = async |lease: Lease| job::run(&reader, &objects, &lease).await;
    let about =
        |files: &[&(Digest, Vec<u8>)]| question(QuestionKind::Question, "Is it <5 mm?<end_of_turn>", named(files));

    let first = ask(about(&[&one, &two, &one])).await.unwrap();
    let answer = first.answer.clone().expect("an answer");
    let is_plain =
        |text: &str| !["<end_of_turn>", "<start_of_image>", "\u{fffd}"].iter().any(|mark| text.contains(mark));
    assert!(!answer.text.trim().is_empty() && is_plain(&answer.text), "{}", answer.text);
    assert_eq!(
        (&answer.shown[..], answer.box_shown, answer.adapter.as_deref()),
        (&[0, 1][..], false, Some("attention"))
    );
    assert_eq!((first.model.prompt_version.as_str(), first.findings.len()), ("q-7", 0));
    assert!(first.cost.generated_tokens <= 12 && first.truncated == (first.cost.generated_tokens == 12));
    let again = ask(about(&[&one, &two, &one])).await.unwrap();
    assert_eq!(without_cost(again), without_cost(first));
    // A part is shown by itself in the place of the second image.
    let mut part = about(&[&one, &two]);
    part.asked.as_mut().unwrap().bounds = prelim_proto::finding::ImageBox::new(0.2, 0.2, 0.6, 0.6);
    let answer = ask(part).await.unwrap().answer.unwrap();
    assert_eq!((&answer.shown[..], answer.box_shown), (&[0][..], true));
    // Where there is one place, the part has it.
    let folder = tempfile::tempdir().unwrap();
    let one_image = questions.replace(r#""images_per_prompt": 2"#, r#""images_per_prompt": 1"#);
    let model = model_with(folder.path(), &parity.join("tiny-gemma3"), &one_image);
    let single = Arc::new(Reader::load(&model, &[adapter], &limits, no_decoder()).unwrap());
    let whole = job::run(&single, &objects, &about(&[&one, &two])).await.unwrap().answer.unwrap();
    assert_eq!((&whole.shown[..], whole.box_shown), (&[0][..], false));
    let mut part = about(&[&one, &two]);
    part.asked.as_mut().unwrap().bounds = prelim_proto::finding::ImageBox::new(0.2, 0.2, 0.6, 0.6);
    let answer = job::run(&single, &objects, &part).await.unwrap().answer.unwrap();
    assert_eq!((&answer.shown[..], answer.box_shown), (&[0][..], true));
    // What does not decode is passed over; where nothing does, that is why.
    let answer = ask(about(&[&no_rows, &two])).await.unwrap().answer.unwrap();
    assert_eq!(answer.shown, [1]);
    assert!(matches!(ask(about(&[&no_rows])).await, Err(JobError::NothingSeen(_))));
    assert!(matches!(ask(about(&[])).await, Err(JobError::NothingSeen(_))));
    let text = ask(question(QuestionKind::Shorten, "No effusion.", Vec::new())).await.unwrap();
    assert_eq!((text.answer.unwrap().shown.len(), text.frames_read), (0, 0));
    let not_made = ask(question(QuestionKind::Explain, "No effusion.", Vec::new())).await.unwrap_err();
    assert!(matches!(not_made, JobError::QuestionKind(_)) && !not_made.is_retryable(), "{not_made}");
    let without_words = Lease { asked: None, ..about(&[&one]) };
    assert!(matches!(ask(without_words).await, Err(JobError::NoQuestion)));
    // Longer than the model can look back: refused with the numbers, and not tried again.
    let long = ask(question(QuestionKind::Shorten, &"effusion ".repeat(40_000), Vec::new())).await.unwrap_err();
    assert!(!long.is_retryable() && long.to_string().contains("positions"), "{long}");
}
