//! WADO-RS: objects out (PS3.18 section 10.4).

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use hyper::Response;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use prelim_imaging::syntax::EXPLICIT_LITTLE;
use prelim_proto::ids::Uid;
use prelim_proto::trace::without_uids;

use super::Web;
use super::held::{Instance, Source, Study};
use super::memory::Room;
use super::multipart::Writer;
use super::negotiate::{Accepted, DICOM, Encoding, ObjectForm};
use super::problem::Problem;
use super::query;
use super::request::Call;
use super::route::Scope;
use crate::audit::Act;
use crate::bytes::PIECE_BYTES;

/// An answer in the making: what goes wrong now breaks it off.
pub(super) type Pieces = BoxStream<'static, Result<Bytes, std::io::Error>>;

/// Gives out the instances in a study, a series, or one of them.
pub(super) async fn retrieve(call: &Call<'_>, scope: Scope) -> Result<Response<Body>, Problem> {
    let form = Accepted::read(&call.head.headers, query::accept(call.head.uri.query()).as_deref())?.objects()?;
    let (study, instances) = call.instances(&scope).await?;
    let uid = study.record.uid;
    if form.is_single {
        return match &instances[..] {
            [instance] => single(call.web, &uid, instance, &form).await,
            several => Err(Problem::not_acceptable(format!(
                "{} instances do not go into one application/dicom; ask for multipart/related",
                several.len()
            ))),
        };
    }
    let given =
        |instance: Instance| Some((form.encoding(instance.record.instance.transfer_syntax.as_str())?, instance));
    let given: Vec<(Encoding, Instance)> = instances.into_iter().filter_map(given).collect();
    if given.is_empty() {
        return Err(form.refused());
    }
    let writer = Writer::new(rand::random());
    let media_type = writer.media_type(DICOM);
    Ok(answer(&media_type, None, Body::from_stream(parts(call.web.clone(), uid, given, writer))))
}

impl Call<'_> {
    /// The study in `scope` with the instances there, recorded as read; at least one.
    pub(super) async fn instances(&self, scope: &Scope) -> Result<(Study, Vec<Instance>), Problem> {
        let Some(uid) = &scope.study else { return Err(Problem::nothing_here("no study is named")) };
        let study = self.web.study(&self.session, uid, scope).await?;
        let instances = study.some_instances(scope)?;
        let is_draft = |instance: &Instance| matches!(instance.source, Source::Draft(..));
        // Both are the same event of PS3.15, and one call is one record.
        let act = if instances.iter().all(is_draft) { Act::Reported } else { Act::Read };
        self.session.note(act, std::slice::from_ref(uid)).await?;
        Ok((study, instances))
    }
}

/// One object as the whole answer.
async fn single(
    web: &Arc<Web>,
    study: &Uid,
    instance: &Instance,
    form: &ObjectForm,
) -> Result<Response<Body>, Problem> {
    let stored = instance.record.instance.transfer_syntax.as_str();
    match form.encoding(stored) {
        None => Err(form.refused()),
        Some(Encoding::AsStored) => {
            let length = instance.record.instance.size_bytes;
            let body = Body::from_stream(as_stored(web, study, instance).await?);
            Ok(answer(&media_type(stored), Some(length), body))
        }
        Some(Encoding::Plain) => {
            let (plain, room) = web.plain(study, instance).await?;
            let length = plain.len() as u64;
            Ok(answer(&media_type(EXPLICIT_LITTLE), Some(length), Body::from_stream(in_pieces(plain, room))))
        }
    }
}

fn media_type(syntax: &str) -> String {
    format!("{DICOM}; transfer-syntax={syntax}")
}

/// An answer of that media type.
pub(super) fn answer(media_type: &str, length: Option<u64>, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    // It is made of our own words and of UIDs.
    if let Ok(value) = HeaderValue::from_str(media_type) {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    if let Some(length) = length {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    response
}

/// The objects as parts, one after the other: at most one is held.
fn parts(web: Arc<Web>, study: Uid, given: Vec<(Encoding, Instance)>, writer: Writer) -> Pieces {
    let end = writer.end();
    let parts = stream::iter(given.into_iter().enumerate()).then(move |(at, (encoding, instance))| {
        let (web, study, writer) = (web.clone(), study.clone(), writer.clone());
        async move {
            let (syntax, body) = part(&web, &study, &instance, encoding).await?;
            let head = writer.head(&media_type(&syntax), at == 0);
            Ok::<_, std::io::Error>(stream::once(async move { Ok(head) }).chain(body))
        }
    });
    let end = stream::once(async move { Ok(end) });
    parts.try_flatten().chain(end).boxed()
}

/// The bytes of one part, with the transfer syntax that they are in. An object that cannot be decoded is given as it is
/// stored: its part says so, and the others are given as they were asked for.
async fn part(
    web: &Arc<Web>,
    study: &Uid,
    instance: &Instance,
    encoding: Encoding,
) -> Result<(String, Pieces), std::io::Error> {
    if encoding == Encoding::Plain {
        match web.plain(study, instance).await {
            Ok((plain, room)) => return Ok((EXPLICIT_LITTLE.to_owned(), in_pieces(plain, room))),
            Err(problem) => tracing::warn!(error = without_uids(&problem), "object given as stored"),
        }
    }
    let stored = instance.record.instance.transfer_syntax.as_str().to_owned();
    let pieces = as_stored(web, study, instance).await.map_err(|problem| broken(&problem))?;
    Ok((stored, pieces))
}

/// The bytes of an object as they are stored, piece by piece.
async fn as_stored(web: &Arc<Web>, study: &Uid, instance: &Instance) -> Result<Pieces, Problem> {
    match &instance.source {
        Source::Draft(..) => {
            let bytes = web.bytes_of(study, instance).await?;
            Ok(stream::once(async move { Ok(bytes) }).boxed())
        }
        Source::Stored(digest) => {
            let pieces = web.coordinator.bytes.read(study, digest).await?;
            Ok(pieces.map_err(|error| broken(&error)).boxed())
        }
    }
}

/// Bytes in pieces of their own, with the room for the whole until the last of them: a client may take its time.
pub(super) fn in_pieces(bytes: Vec<u8>, room: Room) -> Pieces {
    let pieces = stream::unfold((bytes, 0, room), |(bytes, at, room)| async move {
        let end = bytes.len().min(at + PIECE_BYTES);
        let piece = (end > at).then(|| Bytes::copy_from_slice(&bytes[at..end]))?;
        Some((Ok(piece), (bytes, end, room)))
    });
    pieces.boxed()
}

/// Breaks an answer off: its head is out already, and the client sees that its end is missing.
fn broken(error: &impl std::fmt::Display) -> std::io::Error {
    tracing::error!(error = without_uids(error), "answer broken off");
    std::io::Error::other("broken off")
}

impl Web {
    /// The whole bytes of an object, for which the caller holds room.
    pub(crate) async fn bytes_of(&self, study: &Uid, instance: &Instance) -> Result<Bytes, Problem> {
        let held = &instance.record.instance;
        let digest = match &instance.source {
            Source::Draft(version, format) => {
                return self.draft_bytes(study, *version, *format, &held.digest).await;
            }
            Source::Stored(digest) => digest,
        };
        // Of an object with many frames, more will be asked for.
        let has_frames = held.image.as_ref().is_some_and(|image| image.frames > 1);
        if has_frames && let Some(kept) = self.memory.kept(digest) {
            return Ok(kept);
        }
        let bytes = self.coordinator.bytes.get(study, digest).await?;
        if has_frames {
            self.memory.keep(digest.clone(), bytes.clone());
        }
        Ok(bytes)
    }
}
