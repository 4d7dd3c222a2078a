//! The upload stream: messages to objects, objects to intake in batches.

use std::collections::BTreeSet;

use prelim_imaging::Limits;
use prelim_imaging::header;
use prelim_proto::ids::Uid;
use prelim_proto::study::Priority;
use prelim_proto::v1::submit_studies_request::Part;
use prelim_proto::v1::{Disposition, ObjectEnd, ObjectOutcome, ObjectStart, SubmitHeader, SubmitStudiesRequest};
use tonic::{Status, Streaming};

use super::status;
use crate::intake::{Claim, Object, Outcome, Sending, Verdict};
use crate::service::{Coordinator, ServiceError};
use crate::session::Session;

/// Objects taken in together: their records share a transaction.
const BATCH_OBJECTS: usize = 64;
/// Bytes after which a batch is taken in, however few objects it holds: an upload holds that much and one object.
const BATCH_BYTES: usize = 64 << 20;
/// Longest name of an object, in bytes.
const MAX_NAME_BYTES: usize = 1_020;
/// Longest request id, in characters.
const MAX_REQUEST_ID: usize = 64;

/// Whether a batch is to be taken in now.
pub(super) fn is_full(objects: usize, bytes: usize) -> bool {
    objects >= BATCH_OBJECTS || bytes >= BATCH_BYTES
}

/// What an upload came to.
pub(super) struct Uploaded {
    pub(super) request_id: String,
    /// Instances that each study has in all, where the client knows.
    pub(super) expected_instances: Option<u32>,
    pub(super) outcomes: Vec<Outcome>,
    /// Why not all of it was taken.
    pub(super) stopped: Option<ServiceError>,
}

/// Reads the stream and takes its objects in, to its end or until no more can be taken. An error where nothing was taken.
pub(super) async fn receive(
    coordinator: &Coordinator,
    session: Session,
    mut stream: Streaming<SubmitStudiesRequest>,
) -> Result<Uploaded, Status> {
    let Some(SubmitStudiesRequest { part: Some(Part::Header(header)) }) = stream.message().await? else {
        return Err(status::invalid("part", "the first message is no header"));
    };
    let priority = check(&header)?;
    let tenant = session.tenant_for_submission(&header.tenant).await.map_err(status::of)?;
    let sending = Sending::new(tenant, &session.caller().name);
    let (batch, outcomes, noted) = (Vec::new(), Vec::new(), BTreeSet::new());
    let mut upload = Upload {
        coordinator,
        session,
        sending,
        priority,
        batch,
        batch_bytes: 0,
        current: None,
        outcomes,
        noted,
        stopped: None,
    };
    let read = upload.read(&mut stream).await;
    let Upload { sending, outcomes, stopped, .. } = upload;
    coordinator.end(sending, read.is_ok() && stopped.is_none()).await.map_err(status::of)?;
    read?;
    let expected_instances = Some(header.expected_instances).filter(|count| *count > 0);
    match stopped {
        Some(error) if outcomes.iter().all(Outcome::is_refused) => Err(status::of(error)),
        stopped => Ok(Uploaded { request_id: header.request_id, expected_instances, outcomes, stopped }),
    }
}

/// Refuses a request id that is too long.
pub(super) fn check_request_id(id: &str) -> Result<(), Status> {
    if id.chars().count() > MAX_REQUEST_ID {
        return Err(status::invalid("request_id", format!("longer than {MAX_REQUEST_ID} characters")));
    }
    Ok(())
}

fn check(header: &SubmitHeader) -> Result<Priority, Status> {
    check_request_id(&header.request_id)?;
    Priority::from_wire(header.priority).map_err(|error| status::of(error.into()))
}

/// An object of which more is to come.
struct Current {
    name: String,
    bytes: Vec<u8>,
    size_bytes: u64,
    /// It is refused already; the rest of it is read and dropped.
    refusal: Option<String>,
}

struct Upload<'a> {
    coordinator: &'a Coordinator,
    session: Session,
    sending: Sending,
    priority: Priority,
    batch: Vec<Object>,
    batch_bytes: usize,
    current: Option<Current>,
    outcomes: Vec<Outcome>,
    /// Studies that the audit has.
    noted: BTreeSet<Uid>,
    /// Why no more is taken.
    stopped: Option<ServiceError>,
}

impl Upload<'_> {
    /// Takes everything to the end of the stream, or until no more can be taken.
    async fn read(&mut self, stream: &mut Streaming<SubmitStudiesRequest>) -> Result<(), Status> {
        while self.stopped.is_none()
            && let Some(message) = stream.message().await?
        {
            self.take(message.part).await?;
        }
        self.finish().await
    }

    async fn take(&mut self, part: Option<Part>) -> Result<(), Status> {
        match part {
            Some(Part::Start(start)) => self.start(start),
            Some(Part::Chunk(chunk)) => self.chunk(&chunk),
            Some(Part::End(end)) => self.end(&end).await,
            Some(Part::Header(_)) => Err(status::invalid("part", "a second header")),
            None => Err(status::invalid("part", "an empty message")),
        }
    }

    fn start(&mut self, start: ObjectStart) -> Result<(), Status> {
        if self.current.is_some() {
            return Err(status::invalid("part", "an object begins before the one before it ended"));
        }
        if start.name.len() > MAX_NAME_BYTES {
            return Err(status::invalid("name", format!("longer than {MAX_NAME_BYTES} bytes")));
        }
        let size_bytes = start.size_bytes;
        self.current = Some(Current { name: start.name, bytes: Vec::new(), size_bytes, refusal: None });
        Ok(())
    }

    fn chunk(&mut self, chunk: &[u8]) -> Result<(), Status> {
        let Some(current) = &mut self.current else {
            return Err(status::invalid("part", "bytes before an object began"));
        };
        let limit = Limits::default().max_object_bytes;
        if current.bytes.len() + chunk.len() > limit {
            current.refusal = Some(format!("larger than {} MiB, the limit of one object", limit >> 20));
            current.bytes = Vec::new();
        }
        if current.refusal.is_none() {
            current.bytes.extend_from_slice(chunk);
        }
        Ok(())
    }

    async fn end(&mut self, end: &ObjectEnd) -> Result<(), Status> {
        let Some(current) = self.current.take() else {
            return Err(status::invalid("part", "an end without a beginning"));
        };
        self.batch_bytes += current.bytes.len();
        self.batch.push(current.finish(&end.digest));
        if is_full(self.batch.len(), self.batch_bytes) {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Status> {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let (taken, stopped) = self.coordinator.accept_some(&mut self.sending, batch, self.priority).await;
        self.stopped = stopped;
        // Here, and not at the end: a stream that breaks off has brought what it brought.
        self.session.note_submitted(&mut self.noted, &taken).await.map_err(status::of)?;
        self.outcomes.extend(taken);
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), Status> {
        if self.stopped.is_some() {
            return Ok(());
        }
        if let Some(current) = self.current.take() {
            let refusal = Err("the upload ended in the middle of it".to_owned());
            self.batch.push(Object { name: current.name, bytes: refusal, claimed: Claim::default() });
        }
        self.flush().await
    }
}

impl Current {
    /// The object, checked against what the client says of it.
    fn finish(self, digest: &str) -> Object {
        let found = self.bytes.len() as u64;
        let bytes = if let Some(refusal) = self.refusal {
            Err(refusal)
        } else if self.size_bytes != 0 && self.size_bytes != found {
            Err(format!("{found} bytes came of {}", self.size_bytes))
        } else if !digest.is_empty() && header::digest(&self.bytes).as_str() != digest {
            Err("its bytes do not have the digest that the client gave".to_owned())
        } else {
            Ok(self.bytes.into())
        };
        Object { name: self.name, bytes, claimed: Claim::default() }
    }
}

/// An outcome as a message.
pub(super) fn message(outcome: Outcome) -> ObjectOutcome {
    let (disposition, reason) = match outcome.verdict {
        Verdict::Accepted => (Disposition::Accepted, String::new()),
        Verdict::Duplicate => (Disposition::Duplicate, String::new()),
        Verdict::Refused(refused) => (Disposition::Refused, refused.to_string()),
    };
    let (study_uid, instance_uid) =
        outcome.ids.map_or_else(Default::default, |(study, instance)| (study.into(), instance.into()));
    ObjectOutcome { name: outcome.name, disposition: disposition as i32, reason, study_uid, instance_uid }
}
