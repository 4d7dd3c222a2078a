//! STOW-RS: objects in (PS3.18 section 10.5), through the intake that gRPC and C-STORE use.
//!
//! The body streams: of its parts at most a batch is held, and each is stored durably, and is in its study's record, before
//! the answer names it. A part that is too long, or finds no room, is read to its end and refused; the others go on.

use std::collections::BTreeSet;

use axum::body::Body;
use bytes::Bytes;
use hyper::Response;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use prelim_imaging::Limits;
use prelim_proto::ids::Uid;
use prelim_proto::study::Priority;

use super::body::Received;
use super::memory::Room;
use super::multipart::{Event, Reader};
use super::negotiate::{Accepted, DICOM, MediaType, RELATED};
use super::problem::Problem;
use super::query;
use super::request::Call;
use super::stored::{Failure, Stored};
use crate::intake::{Claim, Object, Sending};
use crate::service::ServiceError;

/// Objects taken in together: their records share a transaction.
const BATCH_OBJECTS: usize = 64;
/// Bytes after which a batch is taken in, however few objects it holds.
const BATCH_BYTES: usize = 64 << 20;
/// Parts that one request may have: its answer names each.
const MAX_PARTS: usize = 50_000;

/// Takes in the objects of a request.
pub(super) async fn store(call: &Call<'_>, study: Option<Uid>, body: &mut Received) -> Result<Response<Body>, Problem> {
    Accepted::read(&call.head.headers, query::accept(call.head.uri.query()).as_deref())?.json()?;
    let parts = form(call)?;
    let tenant = call.session.tenant_for_submission(call.tenant()).await?;
    let sending = Sending::new(tenant, &call.session.caller().name);
    let mut intake = Intake::new(call, sending, Claim { instance: None, study });
    let read = intake.read(parts, body).await;
    let Intake { sending, mut stored, stopped, is_cut, .. } = intake;
    // What did not come to its end comes again.
    call.web.coordinator.end(sending, read.is_ok() && stopped.is_none() && !is_cut).await?;
    read?;
    match stopped {
        Some(error) if !stored.has_taken() => return Err(error.into()),
        Some(_) => stored.fail(Failure::Stopped),
        None if stored.is_empty() => return Err(Problem::bad("the body holds no part")),
        None => {}
    }
    Ok(stored.response(&call.base))
}

enum Form {
    /// The body is one object.
    Single,
    /// It holds parts.
    Related(Box<Reader>),
}

/// What the body is, as its head says.
fn form(call: &Call<'_>) -> Result<Form, Problem> {
    let headers = &call.head.headers;
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(encoding) = text(CONTENT_ENCODING).filter(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err(Problem::media_type(format!(
            "Content-Encoding {encoding:?} is not taken: send the objects as they are"
        )));
    }
    let wanted = "send multipart/related; type=\"application/dicom\"; boundary=…";
    let said = text(CONTENT_TYPE).unwrap_or_default();
    let media_type = MediaType::parse(said).ok_or_else(|| Problem::media_type(format!("no Content-Type; {wanted}")))?;
    match media_type.essence.as_str() {
        DICOM => Ok(Form::Single),
        RELATED => match media_type.parameter("type").map(str::to_ascii_lowercase).as_deref() {
            Some(DICOM) => {
                let boundary = media_type.parameter("boundary").unwrap_or_default();
                let reader = Reader::new(boundary).map_err(|error| Problem::bad(format!("Content-Type: {error}")))?;
                Ok(Form::Related(Box::new(reader)))
            }
            Some(other) => Err(Problem::media_type(format!(
                "parts of {other:?} (metadata and bulk data apart) are not taken; {wanted}"
            ))),
            None => Err(Problem::media_type(format!("multipart/related without its type; {wanted}"))),
        },
        other => Err(Problem::media_type(format!("{other:?} is not taken; {wanted}"))),
    }
}

/// A part of which more is to come.
#[derive(Default)]
struct Part {
    bytes: Vec<u8>,
    room: Option<Room>,
    failure: Option<Failure>,
}

/// Objects on their way in.
struct Intake<'a> {
    call: &'a Call<'a>,
    sending: Sending,
    claim: Claim,
    current: Option<Part>,
    batch: Vec<Object>,
    /// What the batch holds, and its room.
    batch_bytes: usize,
    rooms: Vec<Room>,
    stored: Stored,
    /// Studies that the audit has.
    noted: BTreeSet<Uid>,
    /// Why no more is taken.
    stopped: Option<ServiceError>,
    /// Something of the request was not there, or found no room, so that its sender will send it again.
    is_cut: bool,
}

impl<'a> Intake<'a> {
    fn new(call: &'a Call<'a>, sending: Sending, claim: Claim) -> Self {
        Self {
            call,
            sending,
            claim,
            current: None,
            batch: Vec::new(),
            batch_bytes: 0,
            rooms: Vec::new(),
            stored: Stored::default(),
            noted: BTreeSet::new(),
            stopped: None,
            is_cut: false,
        }
    }

    /// Takes everything to the end of the body, or until no more can be taken.
    async fn read(&mut self, parts: Form, body: &mut Received) -> Result<(), Problem> {
        match parts {
            Form::Single => {
                self.current = Some(Part::default());
                while let Some(piece) = body.next().await? {
                    self.add(&piece);
                }
                self.end().await?;
            }
            Form::Related(mut reader) => {
                while self.stopped.is_none()
                    && let Some(piece) = body.next().await?
                {
                    for event in reader.push(&piece).map_err(|error| Problem::bad(error.to_string()))? {
                        self.take(event).await?;
                    }
                }
                if self.stopped.is_none() && !reader.is_over() {
                    self.break_off();
                }
            }
        }
        self.flush().await
    }

    async fn take(&mut self, event: Event) -> Result<(), Problem> {
        if self.stopped.is_some() {
            return Ok(());
        }
        match event {
            Event::Begin(media_type) => self.begin(media_type.as_deref()),
            Event::Bytes(bytes) => {
                self.add(&bytes);
                Ok(())
            }
            Event::End => self.end().await,
        }
    }

    fn begin(&mut self, media_type: Option<&str>) -> Result<(), Problem> {
        if self.stored.len() + self.batch.len() >= MAX_PARTS {
            return Err(Problem::too_large(format!("more than {MAX_PARTS} parts in one request")));
        }
        let essence = media_type.map(|text| MediaType::parse(text).map(|media_type| media_type.essence));
        let failure = match essence {
            None => None,
            Some(Some(essence)) if essence == DICOM => None,
            Some(_) => Some(Failure::MediaType),
        };
        self.current = Some(Part { failure, ..Part::default() });
        Ok(())
    }

    fn add(&mut self, bytes: &[u8]) {
        let Some(part) = &mut self.current else { return };
        if part.failure.is_some() {
            return;
        }
        let length = part.bytes.len() + bytes.len();
        if length > Limits::default().max_object_bytes {
            *part = Part { failure: Some(Failure::TooLong), ..Part::default() };
        } else if !self.call.web.memory.grow(&mut part.room, length) {
            *part = Part { failure: Some(Failure::NoRoom), ..Part::default() };
        } else {
            // Not to twice the length, as a vector grows by itself: nobody has counted that.
            if part.bytes.capacity() < length {
                part.bytes.reserve_exact(bytes.len().max(part.bytes.len() / 8));
            }
            part.bytes.extend_from_slice(bytes);
        }
    }

    async fn end(&mut self) -> Result<(), Problem> {
        let Some(part) = self.current.take() else { return Ok(()) };
        if let Some(failure) = part.failure {
            self.is_cut |= failure == Failure::NoRoom;
            self.stored.fail(failure);
            return Ok(());
        }
        self.batch_bytes += part.bytes.len();
        self.rooms.extend(part.room);
        let bytes = Ok(Bytes::from(part.bytes));
        self.batch.push(Object { name: String::new(), bytes, claimed: self.claim.clone() });
        if self.batch.len() >= BATCH_OBJECTS || self.batch_bytes >= BATCH_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    /// The body ended in the middle.
    fn break_off(&mut self) {
        self.is_cut = true;
        if self.current.take().is_some() || self.stored.is_empty() && self.batch.is_empty() {
            self.stored.fail(Failure::BrokenOff);
        }
    }

    async fn flush(&mut self) -> Result<(), Problem> {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        // Held until the objects are stored.
        let _rooms = std::mem::take(&mut self.rooms);
        if batch.is_empty() {
            return Ok(());
        }
        let coordinator = &self.call.web.coordinator;
        let (outcomes, stopped) = coordinator.accept_some(&mut self.sending, batch, Priority::Routine).await;
        let is_stopped = stopped.is_some();
        self.stopped = stopped;
        // Here, and not at the end: a body that breaks off has brought what it brought.
        self.call.session.note_submitted(&mut self.noted, &outcomes).await?;
        self.stored.extend(outcomes, is_stopped);
        Ok(())
    }
}
