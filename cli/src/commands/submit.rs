//! `prelim submit`: send DICOM files.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use prelim_imaging::Limits;
use prelim_proto::v1::submit_studies_request::Part;
use prelim_proto::v1::{
    Disposition, ObjectEnd, ObjectOutcome, ObjectStart, Priority, StudyState, SubmitHeader, SubmitStudiesRequest,
    SubmitStudiesResponse, WatchStudiesRequest,
};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::client::{Connection, plain};
use crate::commands::studies::study_json;
use crate::files::{self, Found};
use crate::progress::Bars;
use crate::table;

/// Bytes in one message.
const CHUNK_BYTES: usize = 1 << 20;
/// Refused files that people are told of, one line each.
const REFUSED_SHOWN: usize = 20;

/// Send DICOM files to a coordinator.
///
/// Every file of the folders is sent, but for the `truth.json` of phantoms; files that are no DICOM are refused one by one,
/// with what was found. The exit code is 0 only where nothing was refused and, with --wait, every study has its draft.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  prelim submit --wait ~/studies/chest\n  prelim submit --priority stat --json study1 study2"
)]
pub(crate) struct Submit {
    /// Folders, taken with everything in them, or files.
    #[arg(value_name = "DIR", required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    connection: Connection,
    /// Wait until every study has its draft, or failed.
    #[arg(long)]
    wait: bool,
    /// How soon the drafts are wanted.
    #[arg(long, value_enum, default_value_t = Urgency::Routine)]
    priority: Urgency,
    /// Whose the studies are; where not given, your only tenant, or else `default`.
    #[arg(long, value_name = "NAME", env = "PRELIM_TENANT")]
    tenant: Option<String>,
    /// For programs: one JSON object at the end.
    #[arg(long)]
    json: bool,
}

/// How soon the drafts are wanted.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Urgency {
    /// In their turn.
    Routine,
    /// Before routine work.
    Urgent,
    /// Before everything.
    Stat,
}

impl Submit {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let Found { mut files, unreadable } = files::below(&self.paths)?;
        files.retain(|path| !path.ends_with("truth.json") || self.paths.contains(path));
        let priority = match self.priority {
            Urgency::Routine => Priority::Routine,
            Urgency::Urgent => Priority::Urgent,
            Urgency::Stat => Priority::Stat,
        };
        let tenant = self.tenant.unwrap_or_default();
        let mut response = upload(&self.connection, files, priority, tenant).await?;
        response.objects.extend(unreadable.iter().map(|(path, reason)| refused(path, reason)));
        let studies =
            if self.wait { wait(&self.connection, &response.study_uids, !self.json).await? } else { Vec::new() };
        if self.json {
            let objects: Vec<_> = response.objects.iter().map(outcome_json).collect();
            let studies: Vec<_> = studies.iter().map(study_json).collect();
            let all = json!({"objects": objects, "study_uids": response.study_uids, "studies": studies});
            table::say(serde_json::to_string_pretty(&all)?)?;
        } else {
            tell(&response, &studies)?;
        }
        let refused = response.objects.iter().filter(|object| object.disposition() == Disposition::Refused).count();
        let failed = studies.iter().filter(|study| study.state() != StudyState::Drafted).count();
        let files = table::count(response.objects.len(), "file");
        anyhow::ensure!(refused < response.objects.len(), "none of {files} was accepted, each with its reason above");
        anyhow::ensure!(refused == 0, "{refused} of {files} refused, each with its reason above; the others are held");
        anyhow::ensure!(
            failed == 0,
            "{failed} of {} have no draft, each with its reason above",
            table::count(studies.len(), "study")
        );
        Ok(())
    }
}

/// Sends the files, one after the other, in one stream. An empty tenant means the caller's own.
pub(crate) async fn upload(
    connection: &Connection,
    files: Vec<PathBuf>,
    priority: Priority,
    tenant: String,
) -> anyhow::Result<SubmitStudiesResponse> {
    let mut client = connection.studies().await?;
    let (parts, stream) = mpsc::channel(4);
    let request_id = request_id(&files);
    let sender = tokio::spawn(async move {
        let header = SubmitHeader { request_id, priority: priority as i32, tenant };
        let mut unreadable = Vec::new();
        if send(&parts, Part::Header(header)).await.is_err() {
            return unreadable;
        }
        for path in files {
            match send_file(&parts, &path).await {
                Ok(()) => {}
                Err(SendError::Hangup) => break,
                Err(SendError::Unreadable(error)) => {
                    unreadable.push(refused(&path, &format!("cannot be read: {error}")));
                }
                Err(SendError::TooLarge(limit)) => {
                    let reason = format!("larger than {} MiB, the limit of one object", limit >> 20);
                    unreadable.push(refused(&path, &reason));
                }
            }
        }
        unreadable
    });
    let mut response = client.submit_studies(ReceiverStream::new(stream)).await.map_err(plain)?.into_inner();
    response.objects.extend(sender.await?);
    Ok(response)
}

/// A name for this upload, which a repeat after a lost answer would carry again.
fn request_id(files: &[PathBuf]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(std::process::id().to_le_bytes());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    hasher.update(now.as_nanos().to_le_bytes());
    for file in files {
        hasher.update(file.as_os_str().as_encoded_bytes());
    }
    hasher.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Why a file was not sent to its end.
enum SendError {
    /// The coordinator no longer listens; its answer says why.
    Hangup,
    /// The file could not be read.
    Unreadable(std::io::Error),
    /// No coordinator takes more than so many bytes.
    TooLarge(usize),
}

async fn send(parts: &mpsc::Sender<SubmitStudiesRequest>, part: Part) -> Result<(), SendError> {
    parts.send(SubmitStudiesRequest { part: Some(part) }).await.map_err(|_| SendError::Hangup)
}

/// Sends one file. It is opened and its first chunk read before anything is sent, so that most unreadable files send nothing.
async fn send_file(parts: &mpsc::Sender<SubmitStudiesRequest>, path: &Path) -> Result<(), SendError> {
    let mut file = tokio::fs::File::open(path).await.map_err(SendError::Unreadable)?;
    let size_bytes = file.metadata().await.map_err(SendError::Unreadable)?.len();
    let limit = Limits::default().max_object_bytes;
    if size_bytes > limit as u64 {
        return Err(SendError::TooLarge(limit));
    }
    let mut chunk = read_chunk(&mut file).await.map_err(SendError::Unreadable)?;
    send(parts, Part::Start(ObjectStart { name: name_of(path), size_bytes })).await?;
    let mut hasher = Sha256::new();
    while !chunk.is_empty() {
        hasher.update(&chunk);
        send(parts, Part::Chunk(chunk)).await?;
        // A read error in mid-file ends the object short of its length: the coordinator refuses it by name.
        chunk = read_chunk(&mut file).await.unwrap_or_default();
    }
    let digest = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    send(parts, Part::End(ObjectEnd { digest })).await
}

/// The next bytes, a whole chunk unless the file ends.
async fn read_chunk(file: &mut tokio::fs::File) -> std::io::Result<Vec<u8>> {
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    file.take(CHUNK_BYTES as u64).read_to_end(&mut chunk).await?;
    Ok(chunk)
}

/// The name under which a file is sent: without its folder, and short enough.
fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    name.chars().take(200).collect()
}

/// An outcome for a file that was never sent.
fn refused(path: &Path, reason: &str) -> ObjectOutcome {
    ObjectOutcome {
        name: name_of(path),
        disposition: Disposition::Refused as i32,
        reason: reason.to_owned(),
        ..ObjectOutcome::default()
    }
}

/// Follows the studies until each is settled, and returns them in the order given.
pub(crate) async fn wait(
    connection: &Connection,
    study_uids: &[String],
    show: bool,
) -> anyhow::Result<Vec<prelim_proto::v1::Study>> {
    if study_uids.is_empty() {
        return Ok(Vec::new());
    }
    let mut client = connection.studies().await?;
    let request = WatchStudiesRequest { study_uids: study_uids.to_vec() };
    let mut changes = client.watch_studies(request).await.map_err(plain)?.into_inner();
    let mut bars = show.then(Bars::new);
    let mut newest = std::collections::BTreeMap::new();
    while let Some(change) = changes.message().await.map_err(plain)? {
        if let (Some(bars), Some(progress)) = (&mut bars, &change.progress) {
            bars.update(progress);
        }
        if let Some(study) = change.study {
            newest.insert(study.uid.clone(), study);
        }
    }
    if let Some(bars) = bars {
        bars.finish();
    }
    Ok(study_uids.iter().filter_map(|uid| newest.remove(uid)).collect())
}

/// An outcome for programs.
fn outcome_json(outcome: &ObjectOutcome) -> serde_json::Value {
    json!({
        "name": outcome.name,
        "disposition": outcome.disposition().as_str_name().trim_start_matches("DISPOSITION_").to_lowercase(),
        "reason": outcome.reason,
        "study_uid": outcome.study_uid,
        "instance_uid": outcome.instance_uid,
    })
}

/// What became of the files, for people.
fn tell(response: &SubmitStudiesResponse, studies: &[prelim_proto::v1::Study]) -> anyhow::Result<()> {
    let count = |wanted| response.objects.iter().filter(|object| object.disposition() == wanted).count();
    table::say(format!(
        "{}: {} accepted, {} held already, {} refused; {}",
        table::count(response.objects.len(), "file"),
        count(Disposition::Accepted),
        count(Disposition::Duplicate),
        count(Disposition::Refused),
        table::count(response.study_uids.len(), "study"),
    ))?;
    let refused = || response.objects.iter().filter(|object| object.disposition() == Disposition::Refused);
    for object in refused().take(REFUSED_SHOWN) {
        table::say(format!("  refused {}: {}", table::cell(&object.name, 80), table::cell(&object.reason, 300)))?;
    }
    if refused().count() > REFUSED_SHOWN {
        table::say(format!("  and {} more; --json lists all", refused().count() - REFUSED_SHOWN))?;
    }
    if studies.is_empty() {
        for uid in &response.study_uids {
            table::say(format!("  study {uid}"))?;
        }
        return Ok(());
    }
    let mut rows = table::new(&["Study", "Modality", "Jobs", "State"]);
    for study in studies {
        rows.add_row([study.uid.clone(), study.modalities.join(" "), table::jobs(study), table::state(study)]);
    }
    table::one_line_a_row(&mut rows);
    table::say(rows)
}
