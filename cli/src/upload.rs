//! Sending files to a coordinator, and what became of each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use prelim_imaging::Limits;
use prelim_proto::v1::submit_studies_request::Part;
use prelim_proto::v1::{
    Disposition, ObjectEnd, ObjectOutcome, ObjectStart, Priority, SubmitHeader, SubmitStudiesRequest,
};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::client::{Connection, is_away, plain_of_submitting};

/// Bytes in one message.
const CHUNK_BYTES: usize = 1 << 20;

/// What became of the files.
pub(crate) struct Uploaded {
    /// One outcome a file. One whose disposition is unspecified was sent, and not answered for.
    pub(crate) objects: Vec<ObjectOutcome>,
    /// The files, in the same order: many have one name.
    pub(crate) paths: Vec<PathBuf>,
    /// The studies touched, each once.
    pub(crate) study_uids: Vec<String>,
    /// Why the upload was not taken to its end, and what to do.
    pub(crate) stopped: Option<anyhow::Error>,
}

impl Uploaded {
    /// How many files had this outcome.
    pub(crate) fn count(&self, wanted: Disposition) -> usize {
        self.objects.iter().filter(|object| object.disposition() == wanted).count()
    }
}

/// Sends the files, one after the other, in one stream, all of which must be taken to the end. An empty tenant means the
/// caller's own.
pub(crate) async fn upload(
    connection: &Connection,
    files: Vec<PathBuf>,
    priority: Priority,
    tenant: String,
) -> anyhow::Result<Uploaded> {
    let header = SubmitHeader { priority: priority as i32, tenant, ..SubmitHeader::default() };
    let uploaded = upload_some(connection, files, header).await?;
    match uploaded.stopped {
        Some(why) => Err(why),
        None => Ok(uploaded),
    }
}

/// The same, where an upload that ends half-way is told with what became of each file. The request id of the header is made
/// here.
///
/// # Errors
/// No coordinator answers: nothing was sent.
pub(crate) async fn upload_some(
    connection: &Connection,
    files: Vec<PathBuf>,
    header: SubmitHeader,
) -> anyhow::Result<Uploaded> {
    let mut client = connection.studies().await?;
    let (parts, stream) = mpsc::channel(4);
    let request_id = request_id(&files);
    let names: Vec<String> = files.iter().map(|path| name_of(path)).collect();
    let paths = files.clone();
    let sender = tokio::spawn(send_all(parts, files, SubmitHeader { request_id, ..header }));
    let answer = client.submit_studies(ReceiverStream::new(stream)).await;
    let sent = sender.await?;
    let (answered, study_uids, stopped, rest) = match answer {
        Ok(response) => {
            let response = response.into_inner();
            let stopped = response.stopped.map(|stopped| {
                let when = match stopped.retry_in_ms {
                    0 => "when that is mended".to_owned(),
                    ms => format!("in {} s", ms.div_ceil(1_000)),
                };
                anyhow::anyhow!("{}; send the same again {when}: what is held is passed over", stopped.message)
            });
            (response.objects, response.study_uids, stopped, Rest::NotLookedAt)
        }
        Err(status) => {
            // A coordinator that refuses an upload as a whole has taken nothing of it.
            let is_refused = !is_away(&status);
            let why = plain_of_submitting(status);
            let rest = if is_refused { Rest::Refused(format!("not taken: {why}")) } else { Rest::Unknown };
            (Vec::new(), Vec::new(), Some(why), rest)
        }
    };
    let objects = in_order(&names, sent, answered, &rest);
    Ok(Uploaded { objects, paths, study_uids, stopped })
}

/// What became of files that were sent and have no outcome.
enum Rest {
    /// The upload had been stopped.
    NotLookedAt,
    /// They are refused with the upload.
    Refused(String),
    /// Nobody said.
    Unknown,
}

/// One outcome a file. `answered` are those of the files that were sent, in order, as far as they go.
fn in_order(names: &[String], mut sent: Sent, answered: Vec<ObjectOutcome>, rest: &Rest) -> Vec<ObjectOutcome> {
    let mut answered = answered.into_iter();
    let outcome = |(place, name): (usize, &String)| {
        if let Some(reason) = sent.unsent.remove(&place) {
            return refused(name, &reason);
        }
        answered.next().unwrap_or_else(|| match rest {
            Rest::Refused(reason) => refused(name, reason),
            Rest::Unknown if place < sent.begun => unanswered(name),
            Rest::Unknown => refused(name, "not sent: the connection broke before it"),
            Rest::NotLookedAt => refused(name, "not taken: the upload was stopped before it"),
        })
    };
    names.iter().enumerate().map(outcome).collect()
}

/// How far a sender came.
struct Sent {
    /// Files looked at.
    begun: usize,
    /// Of them, those that were not sent, by place, with the reason.
    unsent: BTreeMap<usize, String>,
}

/// Sends the files until nobody listens any more.
async fn send_all(parts: mpsc::Sender<SubmitStudiesRequest>, files: Vec<PathBuf>, header: SubmitHeader) -> Sent {
    let mut sent = Sent { begun: 0, unsent: BTreeMap::new() };
    if send(&parts, Part::Header(header)).await.is_err() {
        return sent;
    }
    for (place, path) in files.iter().enumerate() {
        sent.begun = place + 1;
        let reason = match send_file(&parts, path).await {
            Ok(()) => continue,
            Err(SendError::Hangup) => break,
            Err(SendError::Unreadable(error)) => format!("cannot be read: {error}"),
            Err(SendError::TooLarge(limit)) => format!("larger than {} MiB, the limit of one object", limit >> 20),
        };
        sent.unsent.insert(place, reason);
    }
    sent
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
pub(crate) fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    name.chars().take(200).collect()
}

/// An outcome for a file that was not taken.
pub(crate) fn refused(name: &str, reason: &str) -> ObjectOutcome {
    let (name, reason) = (name.to_owned(), reason.to_owned());
    ObjectOutcome { name, disposition: Disposition::Refused as i32, reason, ..ObjectOutcome::default() }
}

/// An outcome for a file of which nobody said what became.
fn unanswered(name: &str) -> ObjectOutcome {
    let reason = "not answered for: it may be held; send it again, which does no harm".to_owned();
    ObjectOutcome { name: name.to_owned(), reason, ..ObjectOutcome::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(begun: usize, unsent: &[usize], answered: usize, rest: &Rest, want: &str) {
        let names: Vec<String> = (0..5).map(|n| format!("f{n}")).collect();
        let unsent = unsent.iter().map(|place| (*place, "cannot be read".to_owned())).collect();
        let accepted = |_| ObjectOutcome { disposition: Disposition::Accepted as i32, ..ObjectOutcome::default() };
        let outcomes = in_order(&names, Sent { begun, unsent }, (0..answered).map(accepted).collect(), rest);
        let letter = |object: &ObjectOutcome| match object.disposition() {
            Disposition::Accepted => 'a',
            Disposition::Refused if object.reason.contains("read") => 'u',
            Disposition::Refused => 'r',
            _ => '?',
        };
        assert_eq!(outcomes.iter().map(letter).collect::<String>(), want);
        assert!(outcomes.iter().zip(&names).all(|(object, name)| object.name.is_empty() || object.name == *name));
    }

    #[test]
    fn every_file_has_its_outcome_however_the_upload_ends() {
        check(5, &[], 5, &Rest::NotLookedAt, "aaaaa");
        check(5, &[1], 4, &Rest::NotLookedAt, "auaaa");
        check(4, &[1], 2, &Rest::NotLookedAt, "auarr");
        check(5, &[0], 0, &Rest::Refused("no room".into()), "urrrr");
        check(3, &[1], 0, &Rest::Unknown, "?u?rr");
    }
}
